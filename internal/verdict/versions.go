package verdict

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"umbra/internal/stats"
)

// Versions is how the versions' answers to the same requests compare. It is no verdict: nobody said how much the versions may
// differ. Its p-values and intervals are each for itself, not corrected for how many there are.
type Versions struct {
	Mirrors  []VersionFigures `json:"mirrors"`
	Examples []VersionExample `json:"examples,omitempty"` // the most telling pairs of all mirrors, the most telling one first
}

// VersionFigures are one route's and mirror's. A pair is a request of the stages or blocks that was answered to the client, and
// of which each of the two versions has exactly one receipt that tells of an answer. Statuses, bodies and times are those that
// the app's receipts tell, so that what the gateway does itself is not in them.
type VersionFigures struct {
	Route       string `json:"route"`
	Cluster     string `json:"cluster"`
	Primary     string `json:"primary"` // the version, as receipts name it; several are joined by ", "
	Shadow      string `json:"shadow"`
	Approximate bool   `json:"approximate,omitempty"` // primary and mirror share pods
	Pairs       int    `json:"pairs"`
	LeftOut     int    `json:"left_out"` // mirrored requests that are no pair: repeated, unfinished, or without a primary receipt

	Status StatusFigures `json:"status"`
	Body   BodyFigures   `json:"body"`
	Noise  NoiseFigures  `json:"noise"`
	Times  []TimeFigures `json:"times"`
	// TimesLeftOut says which quantiles have too few pairs.
	TimesLeftOut []string `json:"times_left_out,omitempty"`
}

// Share is a count with its share in percent, and Wilson's 95 % interval of that.
type Share struct {
	N       int     `json:"n"`
	Count   int     `json:"count"`
	Percent float64 `json:"percent"`
	Low     float64 `json:"low_percent"`
	High    float64 `json:"high_percent"`
}

// level is that of the two-sided intervals.
const level = 0.95

func shareOf(count, n int) Share {
	low, high := stats.Wilson(count, n, level)
	return Share{N: n, Count: count, Percent: 100 * float64(count) / float64(max(1, n)), Low: 100 * low, High: 100 * high}
}

// StatusFigures compare the statuses of pairs. One below 500 is a success here, any other a failure.
type StatusFigures struct {
	Differing Share `json:"differing"` // of all pairs, statuses of any kind that are not the same

	BothSucceeded int            `json:"both_succeeded"`
	PrimaryFailed int            `json:"primary_failed"` // where the shadow succeeded
	ShadowFailed  int            `json:"shadow_failed"`  // where the primary succeeded
	BothFailed    int            `json:"both_failed"`
	PValue        float64        `json:"p_value"`           // McNemar's exact test, two-sided, that either fails alone as often
	Changes       []StatusChange `json:"changes,omitempty"` // the most frequent ones first, up to maxChanges
}

// StatusChange is a kind of pair whose statuses differ.
type StatusChange struct {
	Primary int `json:"primary"`
	Shadow  int `json:"shadow"`
	Count   int `json:"count"`
}

const maxChanges = 10

// BodyFigures compare the answers' bodies, of pairs with equal statuses.
type BodyFigures struct {
	Differing Share `json:"differing"` // of those whose bodies are known
	// Normalised is how many of Differing.N were compared as normalised JSON without the ignored paths; the others were by the
	// digest of the body.
	Normalised int `json:"normalised"`
}

// add compares two answers of equal status, and tells whether their bodies differ.
func (g *BodyFigures) add(p, s *arrival) (differ bool) {
	switch {
	case !p.is(jsonUnknown) && !s.is(jsonUnknown):
		g.Normalised++
		differ = p.json != s.json
	case p.is(responseUnknown) || s.is(responseUnknown):
		return false
	default:
		differ = p.response != s.response
	}
	g.Differing.N++
	if differ {
		g.Differing.Count++
	}
	return differ
}

func (g *BodyFigures) close() { g.Differing = shareOf(g.Differing.Count, g.Differing.N) }

// Versions compares the versions' answers; nil where no route mirrors, or no request was answered by two versions. It can be
// called again, as Judge, and its examples can be completed by the files (TellResult, TellReceipt).
func (r *Recon) Versions(f Facts) *Versions {
	t := newTopology(f)
	v := &versions{recon: r, comparisons: map[*mirror]*comparison{}, again: map[int32][]resent{}}
	told := &fates{topology: t, recon: r}
	for i := range r.rows {
		v.visit(told.of(&r.rows[i]))
	}
	return v.close(t)
}

// versions gathers pairs.
type versions struct {
	recon       *Recon
	comparisons map[*mirror]*comparison
	telling     [contrarieties][]candidate // of each kind the most telling ones so far, in their order, up to maxExamples
	again       map[int32][]resent         // the requests of each block
}

// comparison is what is gathered of one mirror.
type comparison struct {
	figures           VersionFigures
	primaries, shadow map[string]bool // versions
	changes           map[StatusChange]int
	times             []pairTimes
}

func (v *versions) visit(f *fate) {
	if !f.row.is(planned) || f.row.is(reused) || f.row.phase == warmup {
		return
	}
	if f.row.phase == block {
		v.again[f.row.block] = append(v.again[f.row.block], resentOf(f))
	}
	if f.route == nil || f.row.outcome != ok {
		return
	}
	for i, copies := range f.copies {
		if len(copies) == 0 {
			continue
		}
		c := v.comparison(f.route.mirrors[i])
		if len(copies) > 1 || !copies[0].answered() || f.primary() == nil {
			c.figures.LeftOut++
			continue
		}
		v.pair(c, f, copies[0])
	}
}

// answered tells whether the app gave an answer.
func (a *arrival) answered() bool { return !a.is(unfinished) && a.status > 0 }

// primary is the only primary arrival, where it was answered; nil elsewhere.
func (f *fate) primary() *arrival {
	if len(f.primaries) != 1 || !f.primaries[0].answered() {
		return nil
	}
	return f.primaries[0]
}

func (v *versions) comparison(m *mirror) *comparison {
	c := v.comparisons[m]
	if c == nil {
		c = &comparison{primaries: map[string]bool{}, shadow: map[string]bool{}, changes: map[StatusChange]int{},
			figures: VersionFigures{Route: m.route.Name, Cluster: m.Cluster, Approximate: m.shared, Times: []TimeFigures{}}}
		v.comparisons[m] = c
	}
	return c
}

// pair enters a request that both versions answered.
func (v *versions) pair(c *comparison, f *fate, s *arrival) {
	p := f.primary()
	c.primaries[v.recon.versions[p.pod]], c.shadow[v.recon.versions[s.pod]] = true, true
	c.figures.Pairs++
	if p.status == s.status { // how long a failure took says nothing of the work that it did not do
		c.times = append(c.times, pairTimes{f.row.due, p.took, s.took})
	}
	v.tell(candidate{kind: c.differences(p, s), row: f.row, primary: p, shadow: s, of: c})
}

// differences compares the answers of a pair, and gives the most telling difference.
func (c *comparison) differences(p, s *arrival) contrariety {
	c.outcome(p.status < 500, s.status < 500)
	if p.status != s.status {
		c.changes[StatusChange{Primary: int(p.status), Shadow: int(s.status)}]++
		if (p.status < 500) != (s.status < 500) {
			return failureDiffers
		}
		return statusDiffers
	}
	if c.figures.Body.add(p, s) {
		return answerDiffers
	}
	return timeDiffers
}

// outcome counts a pair in the table of McNemar's test.
func (c *comparison) outcome(primary, shadow bool) {
	g := &c.figures.Status
	switch {
	case primary && shadow:
		g.BothSucceeded++
	case primary:
		g.ShadowFailed++
	case shadow:
		g.PrimaryFailed++
	default:
		g.BothFailed++
	}
}

// close makes the figures of what was gathered.
func (v *versions) close(t *topology) *Versions {
	out := &Versions{}
	noise := v.noise(t.facts.Experiment.blocks())
	for _, r := range t.routes {
		for _, m := range r.mirrors {
			c := v.comparisons[m]
			if c == nil {
				continue
			}
			c.close()
			c.figures.Noise = noise.of(r, &c.figures)
			out.Mirrors = append(out.Mirrors, c.figures)
		}
	}
	if !slices.ContainsFunc(out.Mirrors, func(g VersionFigures) bool { return g.Pairs > 0 }) {
		return nil
	}
	out.Examples = v.examples()
	return out
}

func (c *comparison) close() {
	g := &c.figures
	g.Primary, g.Shadow = listed(c.primaries), listed(c.shadow)
	differing := 0
	for change, n := range c.changes {
		differing += n
		change.Count = n
		g.Status.Changes = append(g.Status.Changes, change)
	}
	slices.SortFunc(g.Status.Changes, func(a, b StatusChange) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Primary, b.Primary), cmp.Compare(a.Shadow, b.Shadow))
	})
	g.Status.Changes = g.Status.Changes[:min(maxChanges, len(g.Status.Changes))]
	g.Status.Differing = shareOf(differing, g.Pairs)
	g.Status.PValue = stats.McNemar(g.Status.PrimaryFailed, g.Status.ShadowFailed)
	g.Body.close()
	g.Times, g.TimesLeftOut = paces(c.times)
}

// listed joins the names of a set.
func listed(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// pairTimes are how long both versions took for a request, in seconds.
type pairTimes struct {
	due             time.Duration
	primary, shadow float32
}
