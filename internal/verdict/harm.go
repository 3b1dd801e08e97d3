package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

// Cell is a look for harm: blocks with mirroring off and on, every request mirrored, while the shadow misbehaves.
type Cell struct {
	Shadow string `json:"shadow"`          // its mode
	Route  string `json:"route,omitempty"` // that uploads take
	Body   int    `json:"body_bytes"`      // of each upload; 0: the scenario's own requests
	// Setting is what was changed in the manifests to see whether it removes the harm; empty: they are as configured.
	Setting string `json:"setting,omitempty"`
	// Piling: the setting was tried against requests that pile up, rather than against failures.
	Piling bool `json:"piling,omitempty"`
	// Narrows: harm at a greater size had been found, and this one was looked at to know from which size on.
	Narrows bool          `json:"narrows,omitempty"`
	Timeout time.Duration `json:"timeout_ns"` // of each request
}

// HarmFigures are one look's. A request fails that has no complete answer, or a status of 500 and above.
type HarmFigures struct {
	Cell
	Off        int           `json:"off"` // requests
	FailedOff  int           `json:"failed_off"`
	On         int           `json:"on"`
	FailedOn   int           `json:"failed_on"`
	P50Off     time.Duration `json:"p50_off_ns"` // of a failed one at least the time-out
	P50On      time.Duration `json:"p50_on_ns"`
	PValue     float64       `json:"p_value"`               // of no more failing with mirroring on: Fisher's exact test, one-sided
	PHolm      *float64      `json:"p_holm,omitempty"`      // the same after Holm over the looks at the configuration as it is
	High       float64       `json:"high_points"`           // the one-sided 95 % bound of how many percentage points more fail
	RefusedOff int           `json:"refused_off,omitempty"` // with a status from 400 to 499, with mirroring off
	// Mirrored is how many requests the gateway counted as sent to mirrors in the blocks with mirroring on.
	Mirrored uint64 `json:"mirrored"`
	// Whole: every request that was planned was sent.
	Whole bool `json:"whole"`
	// Again: it had found harm, and was played once more.
	Again bool `json:"again,omitempty"`
	// Left is how many mirrored requests were still under way when the block was over and they had had LeftAfter to end, at the most of
	// its blocks with mirroring on.
	Left      uint64        `json:"left"`
	LeftAfter time.Duration `json:"left_after_ns"`
}

// HarmAt is the rise of failed requests, in percentage points, that a look without findings rules out.
const HarmAt = 50.0

// LeftAfter is how long mirrored requests have to end behind a block of a look for harm.
const LeftAfter = 3 * time.Second

// PileUp is from how many mirrored requests that do not end on they are said to pile up.
const PileUp = 10

// harm judges the looks.
type harm struct {
	recon *Recon
	said  *Experiment
	cells []harmTally
	of    map[int32]*Block
}

type harmTally struct {
	figures HarmFigures
	off, on []float64
	planned int
	blocks  int
}

// newHarm is nil where the run did not look for harm.
func newHarm(r *Recon, f *Facts) *harm {
	if f.Experiment == nil || len(f.Experiment.Looks) == 0 {
		return nil
	}
	h := &harm{recon: r, said: f.Experiment, of: map[int32]*Block{}}
	for _, c := range h.said.Cells {
		h.cells = append(h.cells, harmTally{figures: HarmFigures{Cell: c, LeftAfter: LeftAfter}})
	}
	for i := range h.said.Blocks {
		b := &h.said.Blocks[i]
		if b.Experiment != Harm || b.Cell >= len(h.cells) {
			continue
		}
		h.of[int32(b.Index)] = b
		h.cells[b.Cell].planned += b.Planned
		h.cells[b.Cell].blocks++
		if b.Mirrored {
			h.cells[b.Cell].figures.Mirrored += b.Sent
		}
		h.cells[b.Cell].figures.Left = max(h.cells[b.Cell].figures.Left, b.Left)
	}
	return h
}

// aside tells whether a row is of a look for harm, which no other verdict is given: what it does to the mesh is its own doing.
func (h *harm) aside(w *row) bool {
	return h != nil && w.phase == block && h.of[w.block] != nil
}

// visit enters a row.
func (h *harm) visit(w *row) {
	if !w.is(planned) || w.is(stopped) {
		return
	}
	b := h.of[w.block]
	t := &h.cells[b.Cell]
	took, failed := w.took, w.outcome != ok || w.status >= 500
	if w.outcome != ok {
		took = max(took, t.figures.Timeout)
	}
	n, bad, times := &t.figures.Off, &t.figures.FailedOff, &t.off
	if b.Treated {
		n, bad, times = &t.figures.On, &t.figures.FailedOn, &t.on
	}
	*n++
	if !b.Treated && w.status >= 400 && w.status < 500 {
		t.figures.RefusedOff++
	}
	if failed {
		*bad++
	}
	*times = append(*times, seconds(took))
}

// verdict is FAIL where more requests fail with mirroring on in any look at the configuration as it is.
func (h *harm) verdict() Verdict {
	v := Verdict{Name: HarmVerdict}
	var asIs, planned, narrowing []*HarmFigures
	for i := range h.cells {
		f := h.cells[i].close()
		f.Whole, f.Again = h.cells[i].planned == f.Off+f.On, h.cells[i].blocks > impact.Blocks
		switch {
		case f.Setting != "":
			continue
		case f.Narrows:
			narrowing = append(narrowing, f)
		default:
			planned = append(planned, f)
		}
		asIs = append(asIs, f)
	}
	holmLooks(planned)
	holmLooks(narrowing) // these are there only where one of the former found harm, which they must not weaken
	for _, f := range asIs {
		v.Items = append(v.Items, h.judge(f))
	}
	for i := range h.cells {
		if f := &h.cells[i].figures; f.Setting != "" {
			v.Items = append(v.Items, h.tried(f))
		}
	}
	v.State = worst(v.Items)
	v.Findings = h.piles()
	if h.said.NoUploads != "" {
		v.Warnings = append(v.Warnings, h.said.NoUploads)
	}
	if others := h.said.OtherRoutes; len(others) > 0 {
		v.Warnings = append(v.Warnings, "uploads were sent by one route alone; these mirror uploads too: "+strings.Join(others, ", "))
	}
	v.Summary = h.summary(v.State, asIs)
	return v
}

// holmLooks adjusts the p-values of looks among each other.
func holmLooks(looks []*HarmFigures) {
	p := make([]float64, len(looks))
	for i, f := range looks {
		p[i] = f.PValue
	}
	for i, adjusted := range stats.Holm(p) {
		looks[i].PHolm = &adjusted
	}
}

func (t *harmTally) close() *HarmFigures {
	f := &t.figures
	slices.Sort(t.off)
	slices.Sort(t.on)
	f.PValue, f.High = 1, 100
	if f.Off > 0 && f.On > 0 {
		f.P50Off, f.P50On = duration(stats.MedianUnbiased(t.off, 0.5)), duration(stats.MedianUnbiased(t.on, 0.5))
		f.PValue = stats.FisherGreater(f.FailedOff, f.Off, f.FailedOn, f.On)
		_, high := stats.DifferenceBounds(f.FailedOff, f.Off, f.FailedOn, f.On, alpha)
		f.High = 100 * high
	}
	return f
}

// MoreFail tells whether more of n2 fail than of n1 (Fisher's exact test, one-sided, at 5 %).
func MoreFail(failed1, n1, failed2, n2 int) bool {
	return n1 > 0 && n2 > 0 && stats.FisherGreater(failed1, n1, failed2, n2) <= alpha
}

// judge is the law of a look at the configuration as it is.
func (h *harm) judge(f *HarmFigures) Item {
	item := Item{Harm: f, State: Inconclusive, Summary: f.sentence()}
	switch {
	case *f.PHolm <= alpha && (!f.Narrows || h.narrowed(f)):
		item.State = Fail
	case *f.PHolm <= alpha:
		item.Summary += "; but the greater uploads that led to this look do not fail for sure"
	case h.said.Buffers && f.Body > 0:
		item.State = NotTested
		item.Summary += "; this gateway reads a request whole before it sends it on, so that no upload can stall here: look on kind"
	case !f.Whole:
		item.Summary += "; not all of its requests were sent"
	case f.Shadow != "dead" && f.Mirrored*2 < uint64(f.On):
		item.Summary += fmt.Sprintf("; the gateway mirrored %d of them, so that nothing can be told", f.Mirrored)
	case f.blind():
		item.Summary += "; most fail, or are refused, with mirroring off, too: nothing can be told"
	case f.Again:
		item.Summary += "; it looked like harm and was played once more, which did not decide it: it does not pass"
	case f.slower():
		item.Summary += "; no more fail, but they take much longer: so few blocks show no cause, and nothing passes"
	case f.On > 0 && f.High < HarmAt:
		item.State = Pass
		item.Summary += fmt.Sprintf("; that %s points more fail is ruled out", number(f.High))
	}
	return item
}

// blind tells whether so many fail, or are refused, with mirroring off that no more can be seen to fail with it.
func (f *HarmFigures) blind() bool { return 2*(f.FailedOff+f.RefusedOff) > f.Off }

// slower tells whether the median of the requests rose so much that a look without failures does not pass: to more than twice, and by more
// than a machine's noise.
func (f *HarmFigures) slower() bool {
	return f.P50On > 2*f.P50Off && f.P50On-f.P50Off > 20*time.Millisecond
}

// tried tells of a look with a changed setting, which judges nothing.
func (h *harm) tried(f *HarmFigures) Item {
	does := f.removes(h.asItIs(f))
	if f.Piling {
		does = f.bounds()
	}
	return Item{Harm: f, State: NotTested, Summary: fmt.Sprintf("with %s: %s: %s", f.Setting, f.sentence(), does)}
}

// asItIs is the same look at the configuration as it is.
func (h *harm) asItIs(f *HarmFigures) *HarmFigures {
	for i := range h.cells {
		if other := &h.cells[i].figures; other.Setting == "" && other.Shadow == f.Shadow && other.Body == f.Body {
			return other
		}
	}
	return nil
}

// bounded tells whether with a setting mirrored requests do not pile up, and none fail for it.
func (f *HarmFigures) bounded() bool {
	return f.On > 0 && f.Whole && f.PValue > alpha && f.Left < PileUp
}

func (f *HarmFigures) bounds() string {
	switch {
	case f.bounded():
		return "they do not pile up"
	case f.On > 0 && f.PValue <= alpha:
		return "requests fail with it"
	case f.Left >= PileUp:
		return "they pile up all the same"
	}
	return "not decided"
}

// narrowed tells whether a look at a greater size, as planned, found harm.
func (h *harm) narrowed(f *HarmFigures) bool {
	for i := range h.cells {
		other := &h.cells[i].figures
		if other.Setting == "" && !other.Narrows && other.Shadow == f.Shadow && other.Body > f.Body && *other.PHolm <= alpha {
			return true
		}
	}
	return false
}

// unharmed tells whether no more fail with mirroring on, and it would have been seen if half did.
func (f *HarmFigures) unharmed() bool {
	return f.On > 0 && f.Whole && f.FailedOn <= f.FailedOff && f.High < HarmAt && !f.blind()
}

// removed tells whether the setting removes the harm: nothing is left of it, and less than without the setting by more than chance.
func (f *HarmFigures) removed(was *HarmFigures) bool {
	return f.unharmed() && !f.slower() && was != nil && MoreFail(f.FailedOn, f.On, was.FailedOn, was.On)
}

func (f *HarmFigures) removes(was *HarmFigures) string {
	switch {
	case f.removed(was):
		return "it removes the harm"
	case f.PValue <= alpha:
		return "it does not remove it"
	}
	return "not decided"
}

func (f *HarmFigures) sentence() string {
	text := fmt.Sprintf("shadow %s, %s: %d of %d failed off (p50 %s), %d of %d on (p50 %s)", f.Shadow, f.bodies(), f.FailedOff, f.Off, ms(f.P50Off), f.FailedOn, f.On, ms(f.P50On))
	if f.Left >= PileUp {
		text += fmt.Sprintf(", %s mirrored ones had not ended %v later", count(f.Left), f.LeftAfter)
	}
	return text
}

// bodies names what the requests carry.
func (f *HarmFigures) bodies() string {
	if f.Body == 0 {
		return "the scenario's own requests"
	}
	return "uploads of " + Size(f.Body)
}

// Size writes a number of bytes with its binary unit.
func Size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// piles tells of mirrored requests that do not end, whether or not a user was hurt while the look lasted.
func (h *harm) piles() (out []Finding) {
	for i := range h.cells {
		f := &h.cells[i].figures
		if f.Left < PileUp || f.Setting != "" {
			continue
		}
		finding := Finding{Code: "streams_pile_up", Severity: Warning, Count: int(f.Left),
			Text: fmt.Sprintf("mirrored request of %s to the %s shadow that had not ended %v after its block: such streams pile up for as long as the shadow is so", f.bodies(), f.Shadow, f.LeftAfter)}
		if settings := h.settings(f, (*HarmFigures).bounded); len(settings) > 0 {
			finding.Text += "; bounded by " + strings.Join(settings, ", and by ")
		}
		out = append(out, finding)
	}
	return out
}

// settings are those tried for the same shadow and body of which something holds.
func (h *harm) settings(like *HarmFigures, holds func(*HarmFigures) bool) (out []string) {
	for i := range h.cells {
		if f := &h.cells[i].figures; f.Setting != "" && f.Shadow == like.Shadow && f.Body == like.Body && holds(f) {
			out = append(out, f.Setting)
		}
	}
	return out
}

// summary says from which size on uploads are hurt, and what removes it.
func (h *harm) summary(state State, asIs []*HarmFigures) string {
	var told []string
	for _, f := range asIs {
		if f.Narrows || *f.PHolm > alpha || slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "a "+f.Shadow+" shadow") }) {
			continue
		}
		told = append(told, h.harmed(f, asIs))
	}
	switch {
	case len(told) > 0:
		return strings.Join(told, "; ")
	case state == Pass && slices.ContainsFunc(asIs, func(f *HarmFigures) bool { return f.FailedOn > f.FailedOff }):
		return fmt.Sprintf("that a shadow which misbehaves makes half of the primary's requests fail is ruled out; looked for in %s, with every request mirrored", plural(len(asIs), "way", "ways"))
	case state == Pass:
		return fmt.Sprintf("no shadow that misbehaved made the primary fail; looked for in %s, with every request mirrored", plural(len(asIs), "way", "ways"))
	}
	if len(asIs) == 0 {
		return "nothing was looked for: " + cmp.Or(h.said.NoUploads, "the run ended before it")
	}
	if state == NotTested {
		return h.judge(asIs[0]).Summary
	}
	return headline(h.items(asIs), state)
}

func (h *harm) items(asIs []*HarmFigures) (items []Item) {
	for _, f := range asIs {
		items = append(items, h.judge(f))
	}
	return items
}

// harmed tells of a body with which a shadow hurts, from which size on it does, and what was tried against it.
func (h *harm) harmed(f *HarmFigures, asIs []*HarmFigures) string {
	text := fmt.Sprintf("a %s shadow makes %s fail: %d of %d, against %d of %d with mirroring off", f.Shadow, f.bodies(), f.FailedOn, f.On, f.FailedOff, f.Off)
	least := leastHarmed(f, asIs)
	switch smaller := largestUnharmed(f, least, asIs); {
	case smaller > 0:
		text += fmt.Sprintf(" (from between %s and %s on)", Size(smaller), Size(least))
	case least < f.Body:
		text += fmt.Sprintf(" (seen from %s on)", Size(least))
	}
	tried := h.settings(f, func(*HarmFigures) bool { return true })
	removes := h.settings(f, func(t *HarmFigures) bool { return t.removed(f) })
	switch {
	case len(tried) == 0:
	case len(removes) == 0:
		text += "; none of the settings tried removes it: " + strings.Join(tried, ", ")
	default:
		text += "; removed by " + strings.Join(removes, ", and by ")
		if others := slices.DeleteFunc(tried, func(s string) bool { return slices.Contains(removes, s) }); len(others) > 0 {
			text += "; not by " + strings.Join(others, ", nor by ")
		}
	}
	return text
}

// leastHarmed is the smallest body with which the same shadow hurts.
func leastHarmed(f *HarmFigures, asIs []*HarmFigures) (body int) {
	body = f.Body
	for _, other := range asIs {
		if other.Shadow == f.Shadow && other.Body > 0 && *other.PHolm <= alpha {
			body = min(body, other.Body)
		}
	}
	return body
}

// largestUnharmed is the largest body below one, above which the same shadow was not seen to hurt, with which none fail for it; 0 where there
// is none.
func largestUnharmed(f *HarmFigures, below int, asIs []*HarmFigures) (body int) {
	for _, other := range asIs {
		if other.Shadow == f.Shadow && other.Body < below && other.unharmed() {
			body = max(body, other.Body)
		}
	}
	return body
}
