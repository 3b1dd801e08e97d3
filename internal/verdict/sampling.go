package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"umbra/internal/stats"
)

// SamplingFigures are one mirror policy's: how many of how many were mirrored. Percentages are 0 to 100.
type SamplingFigures struct {
	ConfiguredPercent float64 `json:"configured_percent"`
	Numerator         uint32  `json:"numerator"` // as programmed, per million: what is tested
	WithinPoints      float64 `json:"within_points"`
	Eligible          int     `json:"eligible"`     // requests of the stages that reached the gateway's mirroring
	Unknown           int     `json:"unknown"`      // requests more that may have reached it, counted both ways
	Mirrored          int     `json:"mirrored"`     // of Eligible, those that arrived at the shadow
	MissingLow        int     `json:"missing_low"`  // more that the gateway decided to mirror and that did not arrive:
	MissingHigh       int     `json:"missing_high"` // between these bounds; cut at what was eligible
	EstimatePercent   float64 `json:"estimate_percent"`
	LowPercent        float64 `json:"low_percent"` // 90 % Clopper–Pearson interval, over all of these readings
	HighPercent       float64 `json:"high_percent"`

	PValue  *float64 `json:"p_value,omitempty"`   // one-sided exact, against a fraction inside the margin
	PHolm   *float64 `json:"p_holm,omitempty"`    // the same after Holm over all mirrors
	Decides int      `json:"n_decides,omitempty"` // the n from which a right fraction passes with a probability of 0.9

	TickWidth time.Duration  `json:"tick_width_ns,omitempty"`
	Ticks     []SamplingTick `json:"ticks,omitempty"` // of Eligible and Mirrored
	Outside   int            `json:"ticks_outside"`   // of Ticks, those outside their band; one in twenty is to be expected
}

// tally is what was seen of one mirror policy.
type tally struct {
	eligible, unknown, mirrored int
	elsewhere                   int // requests of the route, not mirrored, that a missing delivery may have been of: warm-up and the like
	with, without               []string
	overTime                    overTime
}

// alpha is the level of every one-sided test and bound.
const alpha = 0.05

// power is what a planned n is to have.
const power = 0.9

// sampling judges whether the programmed fraction was mirrored.
type sampling struct {
	topology *topology
	within   *float64      // points
	width    time.Duration // of the ticks
	nested   nesting
}

// visit enters one id in the tallies of its route's mirrors.
func (s *sampling) visit(f *fate) {
	if f.route == nil || !f.route.upstream() {
		return
	}
	reached := f.reached()
	for i, m := range f.route.mirrors {
		if m.Numerator == 0 && len(f.leaked) > 0 {
			continue // Integrity judges it
		}
		m.tally.overTime.width = s.width
		m.tally.enter(f, f.shadowed(i), reached)
	}
	if f.judged() && reached == certainThere {
		s.nested.visit(f)
	}
}

// enter counts one id.
func (t *tally) enter(f *fate, mirrored bool, reached reach) {
	judged := f.judged() && reached == certainThere
	if judged {
		t.overTime.count(f.row.due, mirrored)
	}
	switch {
	case judged && mirrored:
		t.eligible++
		t.mirrored++
		t.with = example(t.with, f.row.id)
	case judged:
		t.eligible++
		t.without = example(t.without, f.row.id)
	case f.judged() && reached == maybeThere:
		t.unknown++
		t.elsewhere++
	case f.row.is(sent) && !mirrored && (!f.aborted() || f.route.lost != nil):
		t.elsewhere++
	}
}

// example keeps the first few ids.
func example(ids []string, id string) []string {
	if len(ids) < maxExamples {
		ids = append(ids, id)
	}
	return ids
}

// verdict judges every mirror policy; the ledgers must be settled.
func (s *sampling) verdict() Verdict {
	v := Verdict{Name: Sampling}
	if s.within == nil {
		v.State, v.Summary = NotTested, "the scenario asks for no check of the fraction (checks.fraction)"
		return v
	}
	var cases []*sample
	for _, r := range s.topology.routes {
		for _, m := range r.mirrors {
			cases = append(cases, newSample(m, *s.within, s.topology.facts.Incomplete, s.confusing(m)))
		}
	}
	correct(cases)
	for _, c := range cases {
		item, findings := c.judge()
		v.Items = append(v.Items, item)
		v.Findings = append(v.Findings, findings...)
		if item.State == NotTested {
			v.Warnings = append(v.Warnings, item.Summary)
		}
	}
	v.Findings = append(v.Findings, s.nested.findings()...)
	v.State = worst(v.Items)
	switch {
	case len(cases) == 0:
		v.Summary = "no route mirrors"
	case v.State == NotTested:
		v.State, v.Summary = Inconclusive, "no mirroring route got a request that could be mirrored"
	default:
		v.Summary = join([]string{headline(v.Items, v.State), untested(v.Items)}, "; ")
	}
	return v
}

// untested names the routes that were not tested.
func untested(items []Item) string {
	var routes []string
	for _, item := range items {
		if item.State == NotTested && !slices.Contains(routes, item.Route) {
			routes = append(routes, item.Route)
		}
	}
	if len(routes) == 0 {
		return ""
	}
	return "not tested: " + strings.Join(routes, ", ")
}

// confusing is how many retries of primaries may have been taken for copies, as they share pods with the mirror.
func (s *sampling) confusing(m *mirror) int {
	if n, known := s.topology.confusing(m); known {
		return n
	}
	return m.tally.mirrored
}

// sample is the test of one mirror policy. What is not known exactly is bounded: x from xLow to xHigh of n from nLow to
// nHigh. The verdict holds for every reading in between, as the interval and the tests are monotone in x and in n.
type sample struct {
	mirror                   *mirror
	p0, delta                float64
	xLow, xHigh, nLow, nHigh int
	unsure                   string // why x is not known exactly
	figures                  SamplingFigures
}

func newSample(m *mirror, within float64, incomplete bool, retries int) *sample {
	t := &m.tally
	c := &sample{mirror: m, p0: m.p(), delta: within / 100, xLow: t.mirrored, xHigh: t.mirrored, nLow: t.eligible, nHigh: t.eligible + t.unknown}
	low, high := c.missing()
	if lost := m.cluster.lost; lost != nil && high > 0 {
		c.unsure = lost.doubt()
	}
	if incomplete {
		low, high = 0, c.nHigh
		c.unsure = "results or receipts are missing"
	}
	if retries > 0 {
		c.xLow = max(0, c.xLow-retries)
		c.unsure = "primaries were retried at pods that the mirror uses too, so retries and mirrors cannot be told apart"
	}
	c.xLow, c.xHigh = min(c.xLow+low, c.nHigh), min(c.xHigh+high, c.nHigh)
	c.nLow = max(c.nLow, c.xHigh)
	c.figures = SamplingFigures{
		ConfiguredPercent: m.Percent, Numerator: m.Numerator, WithinPoints: within,
		Eligible: t.eligible, Unknown: t.unknown, Mirrored: t.mirrored,
		MissingLow: c.xLow - t.mirrored, MissingHigh: c.xHigh - t.mirrored,
		TickWidth: t.overTime.width, Ticks: t.overTime.ticks(c.p0),
	}
	c.figures.Outside = outside(c.figures.Ticks)
	c.estimate()
	return c
}

// missing bounds how many of the route's requests the gateway decided to mirror that did not arrive. Where no other
// mirror uses the cluster they are this route's; of those, what the warm-up cannot have lost is certain.
func (c *sample) missing() (low, high int) {
	l := &c.mirror.cluster.ledger
	low, high = l.missing()
	switch {
	case !l.known:
		c.unsure = "the gateway's counters say nothing"
	case high == 0:
		return 0, 0
	default:
		c.unsure = "shadow down or losing requests: the fraction cannot be told"
	}
	for _, other := range c.mirror.cluster.mirrors {
		if other != c.mirror && other.Numerator > 0 && other.route.rows > 0 {
			low = 0
			c.unsure = "shadow down or losing requests: the fraction cannot be told per route"
		}
	}
	return max(0, low-c.mirror.tally.elsewhere), high
}

// estimate fills in the share and its interval, the widest of all readings.
func (c *sample) estimate() {
	if c.nLow == 0 {
		return
	}
	c.figures.EstimatePercent = 100 * float64(c.xLow) / float64(c.nLow)
	c.figures.LowPercent = 100 * stats.LowerBound(c.xLow, c.nHigh, alpha)
	c.figures.HighPercent = 100 * stats.UpperBound(c.xHigh, c.nLow, alpha)
}

// tested tells whether the fraction is one to test by chance, rather than an exact set.
func (c *sample) tested() bool { return c.mirror.partly() && c.nLow > 0 }

// above and below are the exact p-values of a fraction at or beyond either end of the margin, each in the reading that
// speaks least for it.
func (c *sample) above() float64 { return stats.TailGE(c.nHigh, c.xLow, c.p0+c.delta) }
func (c *sample) below() float64 { return stats.TailLE(c.nLow, c.xHigh, c.p0-c.delta) }

// correct fills in the p-values, and after Holm over all tests.
func correct(cases []*sample) {
	var tests []*sample
	var p []float64
	for _, c := range cases {
		if c.tested() {
			tests, p = append(tests, c), append(p, min(c.above(), c.below()))
		}
	}
	for i, adjusted := range stats.Holm(p) {
		tests[i].figures.PValue, tests[i].figures.PHolm = &p[i], &adjusted
	}
}

func (c *sample) judge() (Item, []Finding) {
	item := Item{Route: c.mirror.route.Name, Cluster: c.mirror.cluster.name, Approximate: c.mirror.shared, Sampling: &c.figures}
	var findings []Finding
	switch {
	case c.mirror.route.rows == 0 || c.nHigh == 0:
		item.State, item.Summary = NotTested, fmt.Sprintf("route %s got no request that could be mirrored to %s", item.Route, ShortCluster(item.Cluster))
	case c.nLow == 0:
		item.State, item.Summary = Inconclusive, fmt.Sprintf("no request of route %s is known to have reached the gateway", item.Route)
	case c.mirror.Numerator == 0:
		item.State, item.Summary, findings = c.nobody()
	case c.mirror.Numerator >= million:
		item.State, item.Summary, findings = c.everybody()
	default:
		item.State, item.Summary = c.fraction()
	}
	return item, findings
}

// nobody judges a fraction of 0.
func (c *sample) nobody() (State, string, []Finding) {
	switch {
	case c.mirror.tally.mirrored > 0 && c.xLow > 0:
		return Fail, fmt.Sprintf("%s of %s mirrored, of a route that mirrors 0 %%", count(c.mirror.tally.mirrored), count(c.nLow)),
			[]Finding{{Code: "mirrored_at_zero", Severity: Failure, Text: "requests that were mirrored although the fraction is 0", Count: c.mirror.tally.mirrored, Examples: c.mirror.tally.with}}
	case c.mirror.tally.mirrored > 0:
		return Inconclusive, fmt.Sprintf("%s arrived of 0 %%; %s", count(c.mirror.tally.mirrored), c.unsure), nil
	case c.xHigh > 0:
		return Inconclusive, "nothing of 0 % arrived; " + c.unsure, nil
	}
	return Pass, fmt.Sprintf("0 of %s mirrored, as configured", count(c.nLow)), nil
}

// everybody judges a fraction of 100 %.
func (c *sample) everybody() (State, string, []Finding) {
	absent := c.mirror.tally.eligible - c.mirror.tally.mirrored
	findings := []Finding{{Code: "not_mirrored", Severity: Warning, Text: "requests that did not arrive at the shadow although all are mirrored", Count: absent, Examples: c.mirror.tally.without}}
	if absent == 0 {
		findings = nil
	}
	switch {
	case c.xLow >= c.nHigh:
		return Pass, fmt.Sprintf("all %s mirrored, as configured", count(c.nHigh)) + c.aside(), findings
	case c.xHigh < c.nLow:
		findings[0].Severity = Failure
		return Fail, fmt.Sprintf("%s of %s not mirrored, of a route that mirrors 100 %%", count(c.nLow-c.xHigh), count(c.nLow)), findings
	case c.unsure != "":
		return Inconclusive, fmt.Sprintf("%s of %s did not arrive; %s", count(absent), count(c.nLow), c.unsure), findings
	}
	return Inconclusive, fmt.Sprintf("all %s mirrored that are known to have reached the gateway, but the fate of %s is unknown", count(c.nLow), plural(c.mirror.tally.unknown, "more", "more")), findings
}

// fraction judges one between 0 and 100 %.
func (c *sample) fraction() (State, string) {
	low, high := c.figures.LowPercent/100, c.figures.HighPercent/100
	switch {
	case c.xLow > 0 && low > c.p0-c.delta && high < c.p0+c.delta:
		return Pass, c.sentence()
	case *c.figures.PHolm <= alpha && c.above() < c.below():
		return Fail, c.sentence() + ": too many"
	case *c.figures.PHolm <= alpha:
		return Fail, c.sentence() + ": too few"
	}
	c.figures.Decides = stats.SampleSize(c.p0, c.delta, power)
	return Inconclusive, c.sentence() + ": " + c.undecided()
}

// sentence is "10.1 % of 20,000 mirrored (90 % interval 9.72 … 10.43), programmed 10 % ± 1".
func (c *sample) sentence() string {
	share := number(c.figures.EstimatePercent)
	if high := number(100 * float64(c.xHigh) / float64(c.nLow)); high != share {
		share += " to " + high
	}
	return fmt.Sprintf("%s %% of %s mirrored (90 %% interval %s … %s), programmed %s %% ± %s", share, count(c.nLow),
		number(c.figures.LowPercent), number(c.figures.HighPercent), number(c.p0*100), number(c.figures.WithinPoints)) + c.aside()
}

// aside tells of what was counted in although it did not arrive.
func (c *sample) aside() string {
	if c.xLow <= c.mirror.tally.mirrored {
		return ""
	}
	return fmt.Sprintf(", %s of them by the gateway's word alone, as the shadow did not get them", count(c.xLow-c.mirror.tally.mirrored))
}

// undecided tells what keeps the test from deciding.
func (c *sample) undecided() string {
	switch {
	case c.xLow != c.xHigh:
		return c.unsure
	case c.nHigh >= c.figures.Decides && c.mirror.tally.unknown > 0:
		return fmt.Sprintf("the fate of %s is unknown", plural(c.mirror.tally.unknown, "request", "requests"))
	case c.nHigh >= c.figures.Decides:
		return "the fraction is too near to the edge of the margin to tell"
	}
	return fmt.Sprintf("%s requests would decide", count(c.figures.Decides))
}

// nesting looks for requests that a smaller mirror of a route got and a larger one did not. Envoy shares one random
// value among a route's mirrors; a proxy that does not is no failure, so this only warns.
type nesting struct {
	count    int
	examples []string
}

func (n *nesting) visit(f *fate) {
	for i, small := range f.route.mirrors {
		for j, large := range f.route.mirrors {
			if small.Numerator <= large.Numerator && i != j && f.shadowed(i) && !f.shadowed(j) {
				n.count++
				n.examples = example(n.examples, f.row.id)
				return
			}
		}
	}
}

func (n *nesting) findings() []Finding {
	if n.count == 0 {
		return nil
	}
	return []Finding{{Code: "not_nested", Severity: Warning, Count: n.count, Examples: n.examples,
		Text: "requests that a mirror of a smaller fraction got and one of a larger fraction of the same route did not"}}
}
