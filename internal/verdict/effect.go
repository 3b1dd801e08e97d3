package verdict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

// EffectFigures are the direct effect of being mirrored on one route at one quantile: mirrored against unmirrored
// requests of the same time, by response time from due. Durations are nanoseconds, changes percent of the unmirrored.
type EffectFigures struct {
	Quantile   float64       `json:"quantile"` // percent
	Mirrored   int           `json:"mirrored"`
	Unmirrored int           `json:"unmirrored"`
	Gated      bool          `json:"gated"`           // it has the requests that a test needs
	Units      int           `json:"units,omitempty"` // stretches of the run that the test rests on
	MirroredNS time.Duration `json:"mirrored_ns"`     // the quantile over the whole run
	PlainNS    time.Duration `json:"unmirrored_ns"`
	MarginPct  float64       `json:"margin_percent"`
	MarginNS   time.Duration `json:"margin_ns"`
	Change     float64       `json:"change_percent"` // the mean over units, with its one-sided 95 % bounds:
	Low        float64       `json:"low_percent"`
	High       float64       `json:"high_percent"`
	PValue     *float64      `json:"p_value,omitempty"`    // of the effect being within the margin
	PHolm      *float64      `json:"p_holm,omitempty"`     // after Holm over all gated quantiles
	PHolmLag   *float64      `json:"p_holm_lag,omitempty"` // the same with the client's part taken off each row
	LagNS      time.Duration `json:"lag_ns"`               // the client's part (generator and read lag) at this quantile
	LagLimitNS time.Duration `json:"lag_limit_ns"`         // above which the figure is suspect
}

// The size of the direct effect's test: a quantile is gated with at least beyond requests beyond it in each arm of each
// unit, in as many equal units as that allows within these bounds.
const (
	beyond   = 20
	minUnits = 6
	maxUnits = 40
)

// effect judges whether being mirrored slowed requests down. The proxy's sampling is a randomised experiment: within a
// route, mirrored and unmirrored requests differ in nothing else. It is blind to what both share (CPU, connections), so
// it can fail and never pass.
type effect struct {
	recon   *Recon
	margins []impact.Margin
	asked   bool    // the scenario names the margins, and no paired blocks judge them
	level   float64 // of FAIL, after Holm
	routes  []*route
	arms    map[*route][]observation
	others  map[*route]int // not ok, so in neither arm
}

// observation is a row in an arm.
type observation struct {
	row      int32
	mirrored bool
}

// newEffect gets whether there are paired blocks, which share the level of FAIL with it.
func newEffect(t *topology, r *Recon, margins []impact.Margin, blocks bool) *effect {
	asked, level := margins != nil && !blocks, alpha
	if margins == nil {
		margins = impact.DefaultMargins()
	}
	if blocks {
		level = impact.DirectLevel
	}
	e := &effect{recon: r, margins: margins, asked: asked, level: level, arms: map[*route][]observation{}, others: map[*route]int{}}
	for _, rt := range t.routes {
		if rt.upstream() && slices.ContainsFunc(rt.mirrors, (*mirror).partly) {
			e.routes = append(e.routes, rt)
		}
	}
	return e
}

// visit enters the row at index at in its arm.
func (e *effect) visit(f *fate, at int32) {
	if f.route == nil || f.row.phase != stage || !slices.Contains(e.routes, f.route) || !f.row.is(planned) || f.aborted() {
		return
	}
	if f.row.outcome != ok {
		e.others[f.route]++
		return
	}
	mirrored := false
	for i, m := range f.route.mirrors {
		mirrored = mirrored || m.partly() && f.shadowed(i)
	}
	e.arms[f.route] = append(e.arms[f.route], observation{at, mirrored})
}

// contrast is the test of one quantile on one route, with response times as they are and without the client's part.
type contrast struct {
	route       *route
	margin      impact.Margin
	q           float64
	figures     EffectFigures
	asked       bool
	level       float64
	plain, less stats.Mean // log ratios over units
	limit       float64    // ln of 1 + the margin
	limitLess   float64    // the same, of the unmirrored quantile without the client's part
}

func (e *effect) verdict() Verdict {
	v := Verdict{Name: Impact, State: NotTested}
	var contrasts []*contrast
	for _, r := range e.routes {
		contrasts = append(contrasts, e.contrasts(r)...)
		if n := e.others[r]; n > 0 {
			v.Warnings = append(v.Warnings, fmt.Sprintf("route %s: %s that did not end ok are in neither arm of the direct effect", r.Name, plural(n, "request", "requests")))
		}
	}
	v.Warnings = append(v.Warnings, e.losses()...)
	holm(contrasts)
	for _, c := range contrasts {
		item := c.judge()
		v.Items = append(v.Items, item)
	}
	v.Warnings = append(v.Warnings, lagging(contrasts)...)
	v.State = worst(v.Items)
	v.Summary = e.summary(v)
	return v
}

// losses tells of mirrored requests that stand in the wrong arm, as their copy did not arrive.
func (e *effect) losses() (ws []string) {
	for _, r := range e.routes {
		for _, m := range r.mirrors {
			if _, high := m.cluster.ledger.missing(); high > 0 && m.partly() && r.rows > 0 {
				ws = append(ws, fmt.Sprintf("route %s: mirrored requests whose copy did not arrive at %s count as unmirrored in the direct effect", r.Name, ShortCluster(m.Cluster)))
			}
		}
	}
	return ws
}

// lagging tells, once for a route, at which gated quantiles the client was too late for the figure to be trusted.
func lagging(cs []*contrast) (ws []string) {
	late := map[*route][]string{}
	var routes []*route
	for _, c := range cs {
		g := &c.figures
		if !g.Gated || g.LagNS <= g.LagLimitNS {
			continue
		}
		if late[c.route] == nil {
			routes = append(routes, c.route)
		}
		late[c.route] = append(late[c.route], fmt.Sprintf("%s at %s (limit %s)", ms(g.LagNS), QuantileName(g.Quantile), ms(g.LagLimitNS)))
	}
	for _, r := range routes {
		ws = append(ws, fmt.Sprintf("route %s: the client lagged %s, which is too much for the direct effect to be trusted there", r.Name, strings.Join(late[r], ", ")))
	}
	return ws
}

// summary says what was seen, and always what the direct effect cannot see.
func (e *effect) summary(v Verdict) string {
	const blind = "total effect (CPU and connections that both share) needs checks.impact blocks"
	if v.State == Fail || v.State == Invalid {
		return headline(v.Items, v.State)
	}
	if len(e.routes) == 0 {
		return "no direct effect to see, as no route mirrors between 0 % and 100 %; " + blind
	}
	var seen []string
	for _, item := range v.Items {
		if g := item.Effect; g.Gated {
			seen = append(seen, QuantileName(g.Quantile)+" "+g.interval())
		}
	}
	if len(seen) == 0 {
		return "direct effect: too few requests to gate any quantile; " + blind
	}
	const shown = 3 // the first route's; the others are in the items
	return "direct effect " + join(seen[:min(shown, len(seen))], ", ") + "; " + blind
}

// interval is "+0.4 % (−1.2 … +2.0)".
func (g *EffectFigures) interval() string {
	return fmt.Sprintf("%s %% (%s … %s)", signed(g.Change), signed(g.Low), signed(g.High))
}

// arm is one arm's response times, in seconds, as they are and without the client's part.
type arm struct{ took, less []float64 }

func (a *arm) add(w *row) {
	a.took = append(a.took, seconds(w.took))
	a.less = append(a.less, seconds(w.without()))
}

// sort makes quantiles readable; the two are no longer in step then.
func (a *arm) sort() {
	slices.Sort(a.took)
	slices.Sort(a.less)
}

// seconds is never 0, as its logarithm is taken.
func seconds(d time.Duration) float64 { return max(d, 1).Seconds() }

// contrasts tests every quantile of a route that got requests.
func (e *effect) contrasts(r *route) []*contrast {
	seen := e.arms[r]
	if len(seen) == 0 {
		return nil
	}
	rows := e.recon.rows
	slices.SortStableFunc(seen, func(a, b observation) int { return cmp.Compare(rows[a.row].due, rows[b.row].due) })
	whole := e.split(seen)
	var lags []time.Duration
	for _, o := range seen {
		lags = append(lags, rows[o.row].client)
	}
	slices.Sort(lags)
	var cs []*contrast
	for _, m := range e.margins {
		c := &contrast{route: r, margin: m, q: m.Quantile / 100, asked: e.asked, level: e.level}
		c.describe(&whole, lags)
		if k := units(seen, c.q); k > 0 {
			e.test(c, seen, k)
		}
		cs = append(cs, c)
	}
	return cs
}

// arms are the mirrored and the unmirrored requests of a stretch.
type arms struct{ on, off arm }

func (e *effect) split(seen []observation) (a arms) {
	for _, o := range seen {
		if o.mirrored {
			a.on.add(&e.recon.rows[o.row])
		} else {
			a.off.add(&e.recon.rows[o.row])
		}
	}
	a.on.sort()
	a.off.sort()
	return a
}

// describe fills in what needs no test. The margin in time becomes a ratio by the unmirrored quantile.
func (c *contrast) describe(whole *arms, lags []time.Duration) {
	g := &c.figures
	g.Quantile, g.Mirrored, g.Unmirrored = c.margin.Quantile, len(whole.on.took), len(whole.off.took)
	g.LagNS = stats.Quantile(lags, c.q)
	if g.Mirrored > 0 {
		g.MirroredNS = duration(stats.MedianUnbiased(whole.on.took, c.q))
	}
	if g.Unmirrored == 0 {
		return
	}
	g.PlainNS = duration(stats.MedianUnbiased(whole.off.took, c.q))
	ratio := c.margin.Share(g.PlainNS.Seconds())
	c.limit, c.limitLess = math.Log1p(ratio), math.Log1p(c.margin.Share(stats.MedianUnbiased(whole.off.less, c.q)))
	g.MarginPct, g.MarginNS = 100*ratio, time.Duration(ratio*float64(g.PlainNS))
	g.LagLimitNS = lagLimit(g.PlainNS)
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// lagLimit is the client's part above which a time figure is suspect: more than a tenth of it, and more than 0.2 ms.
func lagLimit(figure time.Duration) time.Duration { return max(figure/10, 200*time.Microsecond) }

// units is how many equal stretches of consecutive requests leave enough of them beyond the quantile in each arm of
// each; 0 where not even minUnits do.
func units(seen []observation, q float64) int {
	need := needed(q)
	mirrored := make([]int, len(seen)+1)
	for i, o := range seen {
		mirrored[i+1] = mirrored[i]
		if o.mirrored {
			mirrored[i+1]++
		}
	}
	for k := maxUnits; k >= minUnits; k-- {
		enough := true
		for u := range k {
			from, to := cut(len(seen), u, k)
			on := mirrored[to] - mirrored[from]
			enough = enough && on >= need && to-from-on >= need
		}
		if enough {
			return k
		}
	}
	return 0
}

// needed is how many requests leave enough of them beyond the quantile.
func needed(q float64) int { return int(math.Ceil(beyond/(1-q) - 1e-9)) }

// cut gives the bounds of stretch u of k of n rows.
func cut(n, u, k int) (from, to int) { return n * u / k, n * (u + 1) / k }

// test takes the mean log ratio of the arms' quantiles over k units. The quantiles are median-unbiased, as the arms
// differ in size.
func (e *effect) test(c *contrast, seen []observation, k int) {
	var took, less []float64
	for u := range k {
		from, to := cut(len(seen), u, k)
		a := e.split(seen[from:to])
		took = append(took, math.Log(stats.MedianUnbiased(a.on.took, c.q)/stats.MedianUnbiased(a.off.took, c.q)))
		less = append(less, math.Log(stats.MedianUnbiased(a.on.less, c.q)/stats.MedianUnbiased(a.off.less, c.q)))
	}
	c.plain, c.less = stats.MeanOf(took), stats.MeanOf(less)
	g := &c.figures
	g.Gated, g.Units = true, k
	low, high := c.plain.Interval(1 - 2*alpha)
	g.Change, g.Low, g.High = impact.PercentOf(c.plain.Mean), impact.PercentOf(low), impact.PercentOf(high)
}

// holm fills in the p-values of all gated quantiles, with and without the client's part.
func holm(cs []*contrast) {
	var gated []*contrast
	var p, less []float64
	for _, c := range cs {
		if c.figures.Gated {
			gated, p, less = append(gated, c), append(p, c.plain.Above(c.limit)), append(less, c.less.Above(c.limitLess))
		}
	}
	adjusted, adjustedLess := stats.Holm(p), stats.Holm(less)
	for i, c := range gated {
		c.figures.PValue, c.figures.PHolm, c.figures.PHolmLag = &p[i], &adjusted[i], &adjustedLess[i]
	}
}

// beyondLag tells whether the effect is above the margin by more than the client lagged at this quantile.
func (c *contrast) beyondLag() bool {
	g := &c.figures
	return g.Low > g.MarginPct+100*float64(g.LagNS)/float64(max(g.PlainNS, 1))
}

// judge is the law of the direct effect at one quantile: it fails where the effect is above the margin, also without the
// client's part, and where that part is large, by more than it; it never passes. It is invalid where the client's part
// decides (load-engine.md, item 4), and where that is large against a figure that the scenario asks for: one that it does
// not ask for only gates by failing.
func (c *contrast) judge() Item {
	g := &c.figures
	item := Item{Route: c.route.Name, State: NotTested, Effect: g, Approximate: c.route.shared()}
	name := QuantileName(g.Quantile)
	if !g.Gated {
		item.Summary = fmt.Sprintf("%s not gated: too few (%s mirrored, %s unmirrored; %d beyond it in each arm of %d units are needed)", name, count(g.Mirrored), count(g.Unmirrored), beyond, minUnits)
		return item
	}
	item.ClientSuspect = g.LagNS > g.LagLimitNS
	item.Summary = fmt.Sprintf("direct effect %s %s, margin %s %% (%s)", name, g.interval(), number(g.MarginPct), ms(g.MarginNS))
	switch over, without := *g.PHolm <= c.level, *g.PHolmLag <= c.level; {
	case over && without && (!item.ClientSuspect || c.beyondLag()):
		item.State = Fail
		item.Summary = fmt.Sprintf("mirrored requests of %s are slower: %s", c.route.Name, item.Summary)
		return item
	case over && without:
		item.Summary += ": beyond the margin, but not by more than the client lagged, so not judged"
	case over:
		item.Summary += ": beyond the margin only by the client's own lag, so not judged"
	case without:
		item.Summary += ": within the margin only by the client's own lag, so not judged"
	case item.ClientSuspect && c.asked:
		item.Summary += fmt.Sprintf(": the client lagged %s, so not judged", ms(g.LagNS))
	default:
		return item
	}
	item.State, item.ClientSuspect = Invalid, true
	return item
}
