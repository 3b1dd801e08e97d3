package verdict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

// ImpactOptions are what the total effect is judged by.
type ImpactOptions struct {
	Margins    []impact.Margin
	Errors     float64 // percentage points
	Seed       uint64
	Quadruples int           // planned
	Timeout    time.Duration // of a request
	Controls   bool          // they are to be played with every run
}

// ExperimentFigures are what the paired blocks came to.
type ExperimentFigures struct {
	impact.Result
	Negative *impact.Result   `json:"negative_control,omitempty"`
	Positive []PositiveFigure `json:"positive_controls,omitempty"`
	Plans    []impact.Plan    `json:"plans,omitempty"`
	Controls string           `json:"controls"` // what became of them, in words
	Rate     float64          `json:"rate_per_second"`
	Block    time.Duration    `json:"block_ns"`
	// LoadShare is the rate as a share of the measured saturation, in percent; 0 where that was not measured.
	LoadShare float64 `json:"load_percent_of_saturation,omitempty"`
	Drift     []Drift `json:"drift,omitempty"`
	Spectrum  []Point `json:"spectrum,omitempty"` // of the blocks that count, off and on
	Played    int     `json:"blocks_played"`      // of the total effect
	Dropped   int     `json:"blocks_dropped"`     // of them, those that do not count, and those whose quadruple is not whole
}

// PositiveFigure is the positive control of a quantile: a primary that is slower by twice the margin.
type PositiveFigure struct {
	Delay  time.Duration `json:"delay_ns"`
	Stamps bool          `json:"by_stamps"` // the delay is in the client's stamps, as the app could not be told
	Found  bool          `json:"found"`
	impact.Figure
}

// Drift is how the primary changed over the blocks with mirroring off, at one quantile.
type Drift struct {
	Quantile float64 `json:"quantile"`
	Change   float64 `json:"change_percent"` // from the first to the last block, by the straight line through them
	PValue   float64 `json:"p_value"`        // of there being none
}

// saturationLimit is the share of the measured saturation above which what queues decides, and no PASS is given.
const saturationLimit = 0.6

// Quadruples are those of an experiment that count, by the rows alone: what a run knows while it goes on. quantile is that of a positive
// control, else 0.
func (r *Recon) Quadruples(said *Experiment, o ImpactOptions, experiment string, quantile float64) []impact.Quadruple {
	quads, _, _ := r.played(said, o).quadruples(func(b *Block) bool { return b.Experiment == experiment && b.Quantile == quantile })
	return quads
}

// Total judges the total effect by the rows alone, for a look while the run goes on.
func (r *Recon) Total(said *Experiment, o ImpactOptions) impact.Result {
	e := r.played(said, o)
	quads, _, _ := e.quadruples(is(Total))
	return impact.Judge(quads, e.criteria())
}

// played enters the rows of blocks without what became of them behind the gateway.
func (r *Recon) played(said *Experiment, o ImpactOptions) *experiment {
	e := newExperiment(r, &Facts{Experiment: said}, &o)
	e.live = true
	for i := range r.rows {
		if w := &r.rows[i]; w.phase == block && w.is(planned) {
			e.enter(w, int32(i))
		}
	}
	e.settle()
	return e
}

// experiment judges the total effect.
type experiment struct {
	recon   *Recon
	facts   *Facts
	said    *Experiment
	options ImpactOptions
	blocks  map[int32]*blockTally
	start   time.Time
	live    bool // the run goes on: there are no receipts yet
}

// blockTally is what was seen of a block.
type blockTally struct {
	said     *Block
	rows     []int32
	eligible float64 // sum of the programmed fractions of its requests
	sendings int     // that it adds up: one for each mirror of each request
	copies   int     // that arrived at shadows
	own      int     // requests that failed by the client's own doing
	why      string  // it does not count
}

// newExperiment is nil where the run has no blocks.
func newExperiment(r *Recon, f *Facts, o *ImpactOptions) *experiment {
	if f.Experiment == nil || o == nil {
		return nil
	}
	e := &experiment{recon: r, facts: f, said: f.Experiment, options: *o, blocks: map[int32]*blockTally{}, start: f.Start}
	if e.said.Buildup {
		e.options.Quadruples = impact.Fewer(o.Quadruples)
	}
	for i := range e.said.Blocks {
		b := &e.said.Blocks[i]
		e.blocks[int32(b.Index)] = &blockTally{said: b}
	}
	return e
}

// visit enters a row in its block.
func (e *experiment) visit(f *fate, at int32) {
	if e == nil || f.row.phase != block || !f.row.is(planned) {
		return
	}
	t := e.enter(f.row, at)
	if t == nil || f.route == nil {
		return
	}
	for i, m := range f.route.mirrors {
		if f.reached() == certainThere {
			t.sendings++
			t.eligible += m.p()
		}
		if f.shadowed(i) {
			t.copies++
		}
	}
	t.copies += len(f.leaked)
}

// enter gives the block of a row; nil where the run told of none.
func (e *experiment) enter(w *row, at int32) *blockTally {
	t := e.blocks[w.block]
	if t == nil {
		return nil
	}
	t.rows = append(t.rows, at)
	if w.is(ownFailure) {
		t.own++
	}
	return t
}

// settle says which blocks count. What the run itself found out stands first.
func (e *experiment) settle() {
	for _, t := range e.blocks {
		switch b := t.said; {
		case !b.Counted:
			t.why = cmp.Or(b.Why, "the run did not count it")
		case len(t.rows) != b.Planned || t.stopped(e.recon):
			t.why = "not all of its requests were sent"
		case e.misfits(t):
			t.why = "its rows are not those of its arm or of its time"
		case b.Mirrored && e.said.Shadow != "dead" && e.unlikely(t):
			t.why = fmt.Sprintf("mirroring was on, and %s copies arrived where about %.0f should", count(t.copies), t.eligible)
		case !b.Mirrored && t.copies > 0:
			t.why = fmt.Sprintf("mirroring was off, and %s arrived at a shadow", plural(t.copies, "copy", "copies"))
		case e.restarted(b) != "":
			t.why = e.restarted(b)
		}
	}
}

// misfits tells whether what the run says of a block is not what its rows say.
func (e *experiment) misfits(t *blockTally) bool {
	b := t.said
	if b.Mirrored != (b.Treated && (b.Experiment == Total || b.Experiment == Harm)) {
		return true
	}
	return slices.ContainsFunc(t.rows, func(i int32) bool {
		w := &e.recon.rows[i]
		return w.is(mirroredIn) != b.Mirrored || w.is(treatedIn) != b.Treated || w.due < b.Begin || w.due > b.End
	})
}

// unlikely tells whether the copies of a block are no chance result of the programmed fractions: beyond one in a million to either side
// (exact binomial, with the mean fraction; of what is all or nothing, half a percent may be missing or over).
func (e *experiment) unlikely(t *blockTally) bool {
	const chance, slack = 1e-6, 0.005
	if t.sendings == 0 || e.live {
		return false
	}
	p := t.eligible / float64(t.sendings)
	return stats.TailLE(t.sendings, t.copies, min(p, 1-slack)) < chance || stats.TailGE(t.sendings, t.copies, max(p, slack)) < chance
}

// stopped tells whether the run was stopped within the block.
func (t *blockTally) stopped(r *Recon) bool {
	return slices.ContainsFunc(t.rows, func(i int32) bool { return r.rows[i].is(stopped) })
}

// restarted names a pod that did not last the block and its settling.
func (e *experiment) restarted(b *Block) string {
	begin, end := e.start.Add(b.Begin-e.said.Settle), e.start.Add(b.End)
	for _, r := range e.facts.Restarts {
		if !r.At.Before(begin) && !r.At.After(end) {
			return fmt.Sprintf("pod %s %s in its time", r.Pod, r.What)
		}
	}
	return ""
}

// quadruples are those of an experiment whose four blocks count, with how many of the blocks played they leave out.
func (e *experiment) quadruples(of func(*Block) bool) (quads []impact.Quadruple, played, dropped int) {
	var group []*blockTally
	flush := func() {
		counts := ordered(group) && !slices.ContainsFunc(group, func(t *blockTally) bool { return t.why != "" })
		played += len(group)
		if !counts {
			dropped += len(group)
		} else {
			quads = append(quads, e.quadruple(group))
		}
		group = nil
	}
	for i := range e.said.Blocks {
		b := &e.said.Blocks[i]
		if !of(b) {
			continue
		}
		if len(group) > 0 && group[0].said.Quadruple != b.Quadruple {
			flush()
		}
		group = append(group, e.blocks[int32(b.Index)])
	}
	flush()
	return quads, played, dropped
}

// ordered tells whether blocks are a quadruple.
func ordered(group []*blockTally) bool {
	var treated []bool
	for _, t := range group {
		treated = append(treated, t.said.Treated)
	}
	return impact.Is(treated)
}

func (e *experiment) quadruple(group []*blockTally) (q impact.Quadruple) {
	for i, t := range group {
		q.Order[i], q.Blocks[i] = t.said.Treated, e.sample(t)
	}
	return q
}

// sample is a block's requests. One without a complete answer counts as one that took at least its time-out.
func (e *experiment) sample(t *blockTally) *impact.Sample {
	s := &impact.Sample{}
	for _, i := range t.rows {
		w := &e.recon.rows[i]
		took, less := w.took, w.without()
		if w.outcome != ok {
			took, less = max(took, e.options.Timeout), max(less, e.options.Timeout)
			s.Cut++
		}
		if w.outcome != ok || w.status >= 500 {
			s.Failed++
		}
		s.Took = append(s.Took, seconds(took))
		s.Less = append(s.Less, seconds(less))
		s.Lag = append(s.Lag, w.client.Seconds())
	}
	sort.Float64s(s.Took)
	sort.Float64s(s.Less)
	sort.Float64s(s.Lag)
	return s
}

func is(experiment string) func(*Block) bool {
	return func(b *Block) bool { return b.Experiment == experiment }
}

// criteria are what the experiment is judged by, once the control has shown what it has the power for.
func (e *experiment) criteria() impact.Criteria {
	c := impact.Criteria{Margins: e.options.Margins, Errors: e.options.Errors, Planned: e.options.Quadruples, Seed: e.options.Seed, Weak: map[float64]bool{}}
	powered := map[float64]bool{}
	for _, p := range e.said.Plans {
		powered[p.Quantile] = p.Powered
	}
	for _, m := range c.Margins {
		c.Weak[m.Quantile] = !powered[m.Quantile] && (len(e.said.Plans) > 0 || m.Quantile > 99)
	}
	return c
}

// figures analyses everything that was played.
func (e *experiment) figures() *ExperimentFigures {
	e.settle()
	c := e.criteria()
	x := &ExperimentFigures{Plans: e.said.Plans, Rate: e.said.Rate, Block: e.said.Block}
	total, played, dropped := e.quadruples(is(Total))
	x.Result, x.Played, x.Dropped = impact.Judge(total, c), played, dropped
	x.Drift, x.Spectrum = e.drift(), spectrum(total)
	if e.said.Saturated && e.said.Saturation > 0 {
		x.LoadShare = 100 * e.said.Rate / e.said.Saturation
	}
	negative, played, _ := e.quadruples(is(Negative))
	if played > 0 {
		n := impact.Negative(negative, c)
		x.Negative = &n
	}
	for _, m := range c.Margins {
		if p, played := e.positive(m, negative); played {
			x.Positive = append(x.Positive, p)
		}
	}
	x.Controls = e.controls(x)
	return x
}

// positive judges the positive control of a margin, where it was played or can be had from the client's stamps.
func (e *experiment) positive(m impact.Margin, negative []impact.Quadruple) (PositiveFigure, bool) {
	if e.said.ByStamps {
		for _, plan := range e.said.Plans {
			if plan.Quantile == m.Quantile {
				p := PositiveFigure{Delay: plan.Delay(), Stamps: true}
				p.Figure, p.Found = impact.Found(impact.Delayed(negative, plan.Delay()), m, e.criteria())
				return p, true
			}
		}
		return PositiveFigure{}, false
	}
	of := func(b *Block) bool { return b.Experiment == Positive && b.Quantile == m.Quantile }
	quads, played, _ := e.quadruples(of)
	if played == 0 {
		return PositiveFigure{}, false
	}
	var p PositiveFigure
	for i := range e.said.Blocks {
		if b := &e.said.Blocks[i]; of(b) {
			p.Delay = max(p.Delay, b.Delay)
		}
	}
	p.Figure, p.Found = impact.Found(quads, m, e.criteria())
	p.Found = p.Found && len(quads) >= e.options.Quadruples
	return p, true
}

// drift looks at the blocks with mirroring off, in the order of their play.
func (e *experiment) drift() (out []Drift) {
	for _, m := range e.options.Margins {
		var at, logs []float64
		for i := range e.said.Blocks {
			b := &e.said.Blocks[i]
			t := e.blocks[int32(b.Index)]
			if b.Experiment != Total || b.Treated || t.why != "" || len(t.rows) < impact.Need(m.Quantile/100) {
				continue
			}
			at = append(at, b.Begin.Seconds())
			logs = append(logs, math.Log(stats.MedianUnbiased(e.sample(t).Took, m.Quantile/100)))
		}
		if len(at) < 2*impact.MinUnits {
			continue
		}
		slope, p := stats.Trend(at, logs)
		out = append(out, Drift{m.Quantile, impact.PercentOf(slope * (at[len(at)-1] - at[0])), p})
	}
	return out
}

// controls says in words what became of them.
func (e *experiment) controls(x *ExperimentFigures) string {
	switch {
	case e.said.NoControls != "" && !e.options.Controls:
		return e.said.NoControls
	case x.Negative == nil:
		return "the controls were not played: nothing shows that this test can pass and can fail"
	}
	text := fmt.Sprintf("off against off: %s in %s", x.Negative.State, plural(x.Negative.Done, "quadruple", "quadruples"))
	for _, p := range x.Positive {
		found := "not found"
		if p.Found {
			found = "found"
		}
		by := ""
		if p.Stamps {
			by = " (in the client's stamps)"
		}
		text += fmt.Sprintf("; a primary %s slower at %s%s: %s", ms(p.Delay), QuantileName(p.Quantile), by, found)
	}
	if len(x.Positive) == 0 {
		text += "; the slower primary was not played, as nothing had passed"
	}
	return text
}

// verdict joins the total effect with the direct one.
func (e *experiment) verdict(direct Verdict) Verdict {
	x := e.figures()
	v := Verdict{Name: Impact, Experiment: x, Warnings: direct.Warnings}
	for i := range x.Figures {
		v.Items = append(v.Items, e.item(x, &x.Figures[i]))
	}
	v.Findings = e.dropped()
	doubts := e.doubts(x)
	v.Warnings = append(v.Warnings, e.qualifications(x)...)
	v.State = e.state(x, v.Items, &v, doubts)
	v.Summary = e.summary(x, &v, doubts)
	switch {
	case direct.State == Fail:
		if v.State != Fail {
			v.Summary = direct.Summary
		}
		v.State = Fail
	case direct.State == Invalid && v.State == Pass:
		v.State, v.Summary = Invalid, direct.Summary
	}
	if len(direct.Items) > 0 {
		v.Warnings = append(v.Warnings, "the direct effect compares mirrored with unmirrored requests of the stages: it is blind to what both share, CPU and connections above all")
	}
	v.Items = append(v.Items, direct.Items...)
	return v
}

// item is a figure of the total effect, after what the controls say of it.
func (e *experiment) item(x *ExperimentFigures, f *impact.Figure) Item {
	item := Item{Impact: f, State: State(f.State), Summary: e.sentence(f)}
	switch {
	case !f.Tested:
		item.State = NotTested
		return item
	case !f.Gated && f.State != impact.Fail:
		item.State = NotTested
		item.Summary += "; not gated: " + f.Why
		return item
	case f.State == impact.Fail:
		return item
	}
	suspect := f.Quantile != 0 && f.Suspect()
	differ := (*f.PPass <= impact.Level) != (*f.WithoutPass <= impact.Level) || (*f.PHolm <= x.Level) != (*f.WithoutFail <= x.Level)
	switch {
	case suspect:
		item.State, item.ClientSuspect = Invalid, true
		item.Summary += fmt.Sprintf("; the client lagged %s there (limit %s), so not judged", ms(f.Lag), ms(f.LagLimit))
	case differ:
		item.State, item.ClientSuspect = Invalid, true
		item.Summary += "; without the client's own lag it would be decided otherwise, so not judged"
	case f.State == impact.Pass && e.missed(x, f.Quantile):
		item.State = Inconclusive
		item.Summary += "; but the control, a primary slower by twice the margin, was not found there"
	case f.State == impact.Inconclusive && f.Decides > 0:
		item.Summary += fmt.Sprintf("; about %s would decide", e.pairs(f.Decides))
	}
	return item
}

// pairs says how many quadruples are meant, and where they are longer ones, what the scenario has to ask for to get them.
func (e *experiment) pairs(quadruples int) string {
	text := plural(quadruples, "quadruple", "quadruples")
	if e.said.Buildup {
		text += fmt.Sprintf(" (pairs: %d)", 2*impact.Longer*quadruples)
	}
	return text
}

// missed tells whether a quantile's positive control was played and not found.
func (e *experiment) missed(x *ExperimentFigures, quantile float64) bool {
	if quantile == 0 || x.Negative == nil {
		return false
	}
	for _, p := range x.Positive {
		if p.Quantile == quantile {
			return !p.Found
		}
	}
	return true
}

// sentence says what was found at a figure.
func (e *experiment) sentence(f *impact.Figure) string {
	if f.Quantile == 0 {
		if !f.Tested {
			return "failed requests not tested: " + f.Why
		}
		return fmt.Sprintf("failed requests %s of %s off, %s of %s on: %s points (%s … %s), margin %s", count(f.FailedOff), count(f.NOff), count(f.FailedOn), count(f.NOn),
			points(f.Change), points(f.Low), points(f.High), number(f.MarginPct))
	}
	if !f.Tested {
		return fmt.Sprintf("%s not tested: %s", QuantileName(f.Quantile), f.Why)
	}
	return fmt.Sprintf("%s %s off, %s on: %s %% (%s … %s), margin %s %% (%s)", QuantileName(f.Quantile), ms(f.Off), ms(f.On), signed(f.Change), signed(f.Low), signed(f.High),
		number(f.MarginPct), ms(f.MarginNS))
}

// points writes percentage points with their sign and three decimals.
func points(v float64) string { return fmt.Sprintf("%+.3f", v) }

// dropped tells of the blocks that do not count, by reason.
func (e *experiment) dropped() (out []Finding) {
	at := map[string]int{}
	for i := range e.said.Blocks {
		b := &e.said.Blocks[i]
		why := e.blocks[int32(b.Index)].why
		if why == "" || b.Experiment == Harm {
			continue
		}
		n, known := at[why]
		if !known {
			n = len(out)
			at[why] = n
			out = append(out, Finding{Code: "block_dropped", Severity: Warning, Text: "block that does not count: " + why})
		}
		out[n].Count++
		out[n].Examples = example(out[n].Examples, fmt.Sprintf("block %d (%s)", b.Index, b.Experiment))
	}
	return out
}

// doubts are why nothing may pass.
func (e *experiment) doubts(x *ExperimentFigures) (out []string) {
	if share := x.LoadShare; share > 100*saturationLimit {
		out = append(out, fmt.Sprintf("the load was %s %% of the measured saturation of %s requests a second, and above %s %% queues decide", number(share), number(e.said.Saturation), number(100*saturationLimit)))
	}
	switch n := x.Negative; {
	case n == nil && (e.said.NoControls == "" || e.options.Controls):
		out = append(out, "the controls were not played")
	case n != nil && n.Done < e.options.Quadruples:
		out = append(out, fmt.Sprintf("of the control off against off %d of %d quadruples count", n.Done, e.options.Quadruples))
	}
	if x.Done < e.options.Quadruples {
		out = append(out, fmt.Sprintf("%d of %d quadruples count", x.Done, e.options.Quadruples))
	}
	if x.Dropped*mostDropped > x.Played {
		out = append(out, fmt.Sprintf("%d of %s do not count, and which these are is no chance", x.Dropped, plural(x.Played, "block", "blocks")))
	}
	if e.said.Saturated && e.said.Saturation == 0 {
		out = append(out, "a closed loop got nothing answered just before")
	}
	if own, n := e.own(); own*mostOwn > n {
		out = append(out, fmt.Sprintf("%s of the blocks failed by the client's own doing", plural(own, "request", "requests")))
	}
	if off := x.Figures[len(x.Figures)-1]; off.FailedOff*mostFailed > off.NOff {
		out = append(out, fmt.Sprintf("with mirroring off %d of %d requests failed: this primary is not well", off.FailedOff, off.NOff))
	}
	if e.refused() {
		out = append(out, "with mirroring off most requests were refused (4xx): this is not the service's work")
	}
	if e.said.Buildup {
		out = append(out, "a shadow that ends nothing it gets makes requests pile up for as long as it is so, and this saw "+e.mirroredFor().String()+" of it at a time: nothing passes")
	}
	if !e.said.Buildup && e.relieved() > 0 {
		out = append(out, "what piles up at the shadow for longer than a block is not in this: it was told to let go before each")
	}
	if lost := e.lost(); lost != "" {
		out = append(out, "receipts may be missing ("+lost+"), so that nothing shows that the blocks were mirrored as they should")
	}
	return append(out, e.unmirrored()...)
}

// lost names a pod whose receipts may be missing.
func (e *experiment) lost() string {
	for _, r := range e.facts.Restarts {
		if r.Lost {
			return "pod " + r.Pod + " " + r.What
		}
	}
	if e.facts.Incomplete {
		return "the evidence is not whole"
	}
	return ""
}

// The shares, as one in so many, above which nothing passes: of blocks that do not count, of requests that failed by the client's own
// doing, and of those that fail with mirroring off.
const (
	mostDropped = 10
	mostOwn     = 1000
	mostFailed  = 20
)

// refused tells whether most requests of the blocks with mirroring off got a status from 400 to 499.
func (e *experiment) refused() bool {
	n, refused := 0, 0
	for _, t := range e.blocks {
		if t.said.Experiment != Total || t.said.Treated {
			continue
		}
		for _, i := range t.rows {
			n++
			if s := e.recon.rows[i].status; s >= 400 && s < 500 {
				refused++
			}
		}
	}
	return 2*refused > n
}

// relieved counts the blocks of the total effect before which the shadow had to be told to let go.
func (e *experiment) relieved() (n int) {
	for i := range e.said.Blocks {
		if b := &e.said.Blocks[i]; b.Experiment == Total && b.Relieved {
			n++
		}
	}
	return n
}

// enoughCopies is from how many expected copies on none at all is no chance: e⁻²⁰ is 2e-9.
const enoughCopies = 20

// unmirrored tells where the blocks with mirroring on were not.
func (e *experiment) unmirrored() []string {
	expected, copies := 0.0, 0
	for i := range e.said.Blocks {
		b := &e.said.Blocks[i]
		if t := e.blocks[int32(b.Index)]; b.Experiment == Total && b.Mirrored && t.why == "" {
			expected, copies = expected+t.eligible, copies+t.copies
		}
	}
	if copies > 0 || expected < enoughCopies || e.said.Shadow == "dead" {
		return nil
	}
	return []string{"mirroring was on, and nothing arrived at a shadow: this is not the cost of mirroring to one that works"}
}

// qualifications say in words what a reader has to know.
func (e *experiment) qualifications(x *ExperimentFigures) (out []string) {
	if e.said.Shared {
		out = append(out, fmt.Sprintf("client, gateway and both versions share %s here: the total effect is mostly what they take from each other, and may be smaller where each has its own", plural(e.said.CPUs, "CPU", "CPUs")))
	}
	if e.said.Shadow != "" && e.said.Shadow != "healthy" {
		out = append(out, "the shadow was told to misbehave: "+e.said.Shadow)
	}
	if e.said.Buildup {
		out = append(out, fmt.Sprintf("in each of %s the blocks were off, on, on, off: up to %s mirrored requests were under way at the end of those with mirroring on, and the shadow was told to let go of what it held %s. That order was not drawn, and letting go takes time: what goes along with either counts as mirroring's",
			plural(x.Done, "quadruple", "quadruples"), count(e.piled()), plural(e.relieved(), "time", "times")))
		if n := x.Negative; n != nil && n.State == impact.Fail {
			out = append(out, "off against off FAILs in the same order: something goes along with it, and a FAIL may be its doing")
		}
	}
	for _, d := range x.Drift {
		if d.PValue < 0.01 && math.Abs(d.Change) > 10 {
			out = append(out, fmt.Sprintf("with mirroring off the primary's %s changed by %s %% over the blocks (p %s): quadruples keep a straight drift out, and no other", QuantileName(d.Quantile), signed(d.Change), number(d.PValue)))
		}
	}
	if x.Dropped > 0 {
		out = append(out, fmt.Sprintf("%d of %s do not count", x.Dropped, plural(x.Played, "block", "blocks")))
	}
	if share := x.LoadShare; share > 100*saturationLimit {
		out = append(out, fmt.Sprintf("the load was %s %% of what a closed loop got answered: so near to it every request more queues", number(share)))
	}
	if own, _ := e.own(); own > 0 {
		out = append(out, fmt.Sprintf("%s of the blocks failed by the client's own doing", plural(own, "request", "requests")))
	}
	if e.said.Stopped != "" {
		out = append(out, "the experiment ended early: "+e.said.Stopped)
	}
	return out
}

// mirroredFor is how long mirroring is on in a quadruple.
func (e *experiment) mirroredFor() time.Duration {
	return impact.Blocks / 2 * (e.said.Block + e.said.Settle)
}

// piled is how many mirrored requests were under way at the end of a block of the total effect, at the most.
func (e *experiment) piled() (most uint64) {
	for i := range e.said.Blocks {
		if b := &e.said.Blocks[i]; b.Experiment == Total {
			most = max(most, b.Left)
		}
	}
	return most
}

// own counts the requests of the total effect that failed by the client's own doing, and all of them.
func (e *experiment) own() (own, n int) {
	for _, t := range e.blocks {
		if t.said.Experiment == Total {
			own, n = own+t.own, n+len(t.rows)
		}
	}
	return own, n
}

// state is the law of the total effect after controls and validity: what failed stays failed.
func (e *experiment) state(x *ExperimentFigures, items []Item, v *Verdict, doubts []string) State {
	state := State(x.State)
	if state == Fail {
		return Fail
	}
	for _, item := range items {
		if item.State == Invalid {
			return Invalid
		}
		if item.State == Inconclusive {
			state = Inconclusive
		}
	}
	if state != Pass {
		return state
	}
	switch n := x.Negative; {
	case n != nil && n.State == impact.Fail:
		v.Warnings = append(v.Warnings, "off against off FAILs: this machine shows effects where there are none")
		return Invalid
	case n != nil && n.State != impact.Pass, len(doubts) > 0:
		return Inconclusive
	}
	return Pass
}

// summary says the verdict in a sentence.
func (e *experiment) summary(x *ExperimentFigures, v *Verdict, doubts []string) string {
	var told []string
	for _, item := range v.Items {
		f := item.Impact
		switch {
		case f.Quantile == 0:
		case item.State == v.State || v.State == Pass && item.State == Pass:
			told = append(told, fmt.Sprintf("%s %s %% (%s … %s; margin %s)", QuantileName(f.Quantile), signed(f.Change), signed(f.Low), signed(f.High), number(f.MarginPct)))
		}
	}
	what := strings.Join(told, ", ")
	switch {
	case v.State == Fail && what == "":
		return "mirroring makes the primary fail more requests: " + v.Items[len(v.Items)-1].Summary
	case v.State == Fail:
		return "mirroring makes the primary slower: " + what
	case v.State == Invalid && State(x.State) == Pass && !slices.ContainsFunc(v.Items, func(i Item) bool { return i.State == Invalid }):
		return "off against off FAILs: something else than mirroring changes the primary here" + after(what)
	case len(doubts) > 0:
		return strings.Join(doubts, "; ") + after(what)
	case v.State == Pass && e.said.NoControls != "":
		return "no harm beyond the margins: " + what + "; " + e.said.NoControls
	case v.State == Pass:
		return "no harm beyond the margins: " + what + "; the controls were found"
	case v.State == Inconclusive && x.Negative != nil && x.Negative.State != impact.Pass && State(x.State) == Pass:
		return "off against off does not pass: this machine is too coarse for these margins" + after(what)
	}
	return e.undecided(v.Items, v.State)
}

func after(what string) string {
	if what == "" {
		return ""
	}
	return "; " + what
}

// undecided gives the first item that is in the verdict's state.
func (e *experiment) undecided(items []Item, state State) string {
	for _, item := range items {
		if item.State == state {
			return item.Summary
		}
	}
	return items[0].Summary
}
