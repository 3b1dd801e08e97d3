// Package compare tells whether runs B are worse than runs A beyond margins. It is pure: the figures of reports go in, and data come out
// that a renderer only has to print.
//
// With at least MinRuns runs a side the run is the unit of inference, so that what varies from run to run is in every interval. With fewer,
// the units are stretches of the runs: then nothing is said about any other run, and B is never found to be no worse.
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/runs"
	"umbra/internal/stats"
)

// Format is the version that a comparison's JSON names.
const Format = "compare/v1"

// MinRuns is how many runs a side has to have for the run to be the unit.
const MinRuns = 3

// Level is that of every one-sided bound, and of WORSE over all figures together.
const Level = 0.05

// State is what a figure, or a comparison, comes to.
type State string

// The states.
const (
	Worse        State = "WORSE"
	NoWorse      State = "NO WORSE"
	Inconclusive State = "INCONCLUSIVE" // the runs do not decide
	NotTested    State = "NOT TESTED"   // a figure's alone: the runs lack what a test needs
)

// Exits are the exit statuses of the states.
var exits = map[State]int{NoWorse: 0, Worse: 1, Inconclusive: 4}

// Options are what runs are held against.
type Options struct {
	// Margins are those of response times. One that is Asked has to be decided: without it B is not found to be no worse.
	Margins []impact.Margin
	// The others; nil leaves the figure out.
	Errors   *float64 // percentage points that more requests may have no complete response, or a status of 500 and above
	Rate     *float64 // percent of A's rate that B may be slower by
	Fraction *float64 // percentage points that B's fraction may be farther than A's from what is programmed
	// Anyway compares runs that are not of the same thing, or not whole.
	Anyway bool
}

// The defaults of Options.
const (
	DefaultErrors   = impact.DefaultErrors
	DefaultRate     = 5.0
	DefaultFraction = 1.0
)

// Defaults are the margins of the total effect, and those above. p99.9 is told, can be worse, and need not be decided.
func Defaults() Options {
	margins := impact.DefaultMargins()
	for i := range margins {
		margins[i].Asked = true
	}
	errors, rate, fraction := DefaultErrors, DefaultRate, DefaultFraction
	return Options{Margins: append(margins, impact.TailMargin()), Errors: &errors, Rate: &rate, Fraction: &fraction}
}

// Result is what a comparison comes to.
type Result struct {
	Umbra    string `json:"umbra"`
	Headline string `json:"headline"`
	State    State  `json:"state"`
	// Between: the run was the unit of inference. Otherwise all is about these runs alone.
	Between     bool              `json:"between_runs"`
	ExitStatus  int               `json:"exit_status"`
	Level       float64           `json:"level"`
	A           []Member          `json:"a"`
	B           []Member          `json:"b"`
	Figures     []Figure          `json:"figures"`
	Differences []runs.Difference `json:"differences,omitempty"`
	Warnings    []string          `json:"warnings,omitempty"`
}

// Member is a run of a side.
type Member struct {
	Source  string    `json:"source"`
	Name    string    `json:"name"`
	Version string    `json:"umbra_version"`
	Started time.Time `json:"started"`
}

// Kind is what a figure is of.
type Kind string

// The kinds.
const (
	Response Kind = "response"
	NotOK    Kind = "not_ok"
	Failed   Kind = "failed"
	Rate     Kind = "rate"
	Fraction Kind = "fraction"
)

// Figure is one thing compared.
type Figure struct {
	Name     string  `json:"name"`
	Kind     Kind    `json:"kind"`
	Quantile float64 `json:"quantile,omitempty"` // percent, of a response time
	Route    string  `json:"route,omitempty"`
	Cluster  string  `json:"cluster,omitempty"`
	// A and B are the sides' figures in Unit: of a response time the geometric mean over the units, of a share that of all requests.
	A     float64   `json:"a"`
	B     float64   `json:"b"`
	Unit  string    `json:"unit"` // ms, %, /s
	EachA []float64 `json:"each_a"`
	EachB []float64 `json:"each_b"`
	// Change is from A to B, in ChangeUnit. Low and High are its one-sided 95 % bounds; nil where it was not tested.
	Change     float64  `json:"change"`
	Low        *float64 `json:"low,omitempty"`
	High       *float64 `json:"high,omitempty"`
	ChangeUnit string   `json:"change_unit"` // %, points
	Margin     float64  `json:"margin"`      // in ChangeUnit
	// Gated: B is no worse only if this figure is.
	Gated bool   `json:"gated"`
	State State  `json:"state"`
	Why   string `json:"why,omitempty"` // it is not decided
	// Units is how many a side the test rests on.
	Units    int      `json:"units,omitempty"`
	PWorse   *float64 `json:"p_worse,omitempty"` // of the change being within the margin
	PHolm    *float64 `json:"p_holm,omitempty"`  // the same after Holm over all tested figures
	PNoWorse *float64 `json:"p_no_worse,omitempty"`
	Summary  string   `json:"summary"`

	// What keeps a figure from the one or the other state, whatever its p-values.
	notWorse, notNoWorse string
}

// RefusedError tells why runs are not compared.
type RefusedError struct{ Differences []runs.Difference }

func (e *RefusedError) Error() string {
	var parts []string
	for _, d := range e.Differences {
		if d.Apart {
			parts = append(parts, fmt.Sprintf("%s: %s in A, %s in B", d.What, d.A, d.B))
		}
	}
	return "A and B are not of the same thing, so that their figures say nothing of each other (--anyway compares them all the same): " + strings.Join(parts, "; ")
}

// Compare holds runs B against runs A. The error is a *RefusedError where they are not of the same thing, and another where a side has no
// run or a run is there twice.
func Compare(a, b []runs.Run, o Options) (*Result, error) {
	if err := distinct(a, b); err != nil {
		return nil, err
	}
	c := &comparison{a: a, b: b, options: o}
	r := &c.result
	r.Umbra, r.Level, r.A, r.B = Format, Level, members(a), members(b)
	r.Between = min(len(a), len(b)) >= MinRuns
	r.Differences = append(runs.Differences(a, b), partial(a, b)...)
	apart := false
	for _, d := range r.Differences {
		apart = apart || d.Apart
	}
	if apart && !o.Anyway {
		return nil, &RefusedError{r.Differences}
	}
	c.figures()
	c.settle()
	c.warn(apart)
	r.Headline = c.headline(apart)
	return r, nil
}

// comparison is one being made.
type comparison struct {
	a, b    []runs.Run
	options Options
	result  Result
}

// distinct sees to it that no run counts twice.
func distinct(a, b []runs.Run) error {
	if len(a) == 0 || len(b) == 0 {
		return errors.New("both sides need at least one run")
	}
	all := append(append([]runs.Run(nil), a...), b...)
	for i := range all {
		for j := range i {
			if all[i].Same(&all[j]) {
				return fmt.Errorf("%s and %s are the same run, which may count once only", all[j].Source, all[i].Source)
			}
		}
	}
	return nil
}

func members(of []runs.Run) []Member {
	out := make([]Member, len(of))
	for i := range of {
		out[i] = Member{of[i].Source, of[i].Name, of[i].Record.Version, of[i].Record.Started}
	}
	return out
}

// partial tells of runs that are not whole.
func partial(a, b []runs.Run) []runs.Difference {
	what := func(of []runs.Run) string {
		var parts []string
		for i := range of {
			if of[i].Partial != "" {
				parts = append(parts, of[i].Source+": "+of[i].Partial)
			}
		}
		return strings.Join(parts, ", ")
	}
	inA, inB := what(a), what(b)
	if inA == "" && inB == "" {
		return nil
	}
	return []runs.Difference{{What: "runs that are not whole", A: cmp.Or(inA, "none"), B: cmp.Or(inB, "none"), Apart: true}}
}

func (c *comparison) figures() {
	for _, m := range c.options.Margins {
		c.add(c.response(m))
	}
	if m := c.options.Errors; m != nil {
		c.add(c.share(NotOK, "not answered", *m, func(r *runs.Run) int { return r.Figures.Judged.NotOK }))
		c.add(c.share(Failed, "answered 5xx", *m, func(r *runs.Run) int { return r.Figures.Judged.Failed }))
	}
	if m := c.options.Rate; m != nil {
		c.add(c.rate(*m))
	}
	if m := c.options.Fraction; m != nil {
		for _, f := range c.fractions(*m) {
			c.add(f)
		}
	}
}

func (c *comparison) add(f Figure) { c.result.Figures = append(c.result.Figures, f) }

// settle gives each figure its state, and the comparison its own. WORSE: after Holm over all that was tested. NO WORSE: every gated figure
// is, each at its level, uncorrected: an intersection–union test, which is wrong with at most 5 % (Berger, Technometrics 24 (1982),
// 295–300).
func (c *comparison) settle() {
	var tested []*Figure
	var p []float64
	for i := range c.result.Figures {
		if f := &c.result.Figures[i]; f.PWorse != nil {
			tested, p = append(tested, f), append(p, *f.PWorse)
		}
	}
	for i, adjusted := range stats.Holm(p) {
		tested[i].PHolm = &adjusted
	}
	r := &c.result
	r.State = NoWorse
	if len(tested) == 0 || !r.Between || len(partial(c.a, c.b)) > 0 {
		r.State = Inconclusive
	}
	worse := false
	for i := range r.Figures {
		f := &r.Figures[i]
		f.settle(r.Between)
		f.Summary = f.sentence()
		worse = worse || f.State == Worse
		if f.Gated && f.State != NoWorse {
			r.State = Inconclusive
		}
	}
	if worse {
		r.State = Worse
	}
	r.ExitStatus = exits[r.State]
}

func (f *Figure) settle(between bool) {
	switch {
	case f.PWorse == nil:
		f.State = NotTested
	case *f.PHolm <= Level && f.notWorse == "":
		f.State = Worse
	case *f.PHolm <= Level:
		f.State, f.Why = Inconclusive, f.notWorse
	case *f.PNoWorse <= Level && f.notNoWorse != "":
		f.State, f.Why = Inconclusive, f.notNoWorse
	case *f.PNoWorse <= Level && between:
		f.State = NoWorse
	case *f.PNoWorse <= Level:
		f.State, f.Why = Inconclusive, "no difference beyond the margin that these runs can show"
	default:
		f.State, f.Why = Inconclusive, "the bounds hold the margin between them"
	}
}

// tested enters p-values and the bounds of the change.
func (f *Figure) tested(units int, worse, noWorse, low, high float64) {
	f.Units, f.PWorse, f.PNoWorse, f.Low, f.High = units, &worse, &noWorse, &low, &high
}

// warn tells what is to be known before a figure is believed.
func (c *comparison) warn(apart bool) {
	r := &c.result
	if !r.Between {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: what varies from run to run is in no interval, and the units are stretches of these runs. "+
			"Another run of A may differ from this one as much as B does. At least %d runs a side tell of runs in general, and only then B can be found no worse",
			c.sides(), MinRuns))
	}
	if apart {
		r.Warnings = append(r.Warnings, "the sides are not of the same thing (see the differences), and were compared as --anyway asks for it")
	}
	for _, side := range []struct {
		name string
		of   []runs.Run
	}{{"A", c.a}, {"B", c.b}} {
		for i := range side.of {
			if side.of[i].Status == clientSuspect {
				r.Warnings = append(r.Warnings, fmt.Sprintf("%s, %s: the run itself says that its client was too late for its times to be trusted", side.name, side.of[i].Source))
			}
		}
	}
}

// clientSuspect is the exit status of such a run.
const clientSuspect = 3

// sides counts the runs.
func (c *comparison) sides() string {
	if len(c.b) == 1 {
		return fmt.Sprintf("1 run of B against %d of A", len(c.a))
	}
	return fmt.Sprintf("%d runs of B against %d of A", len(c.b), len(c.a))
}

func (c *comparison) headline(apart bool) string {
	r := &c.result
	sides, text := c.sides(), ""
	switch {
	case r.State == Worse && r.Between:
		text = fmt.Sprintf("%s: %s, in %s. %s", Worse, c.names(Worse), sides, c.first(Worse))
	case r.State == Worse:
		text = fmt.Sprintf("%s within these runs: %s, in %s. %s", Worse, c.names(Worse), sides, c.first(Worse))
	case r.State == NoWorse:
		text = fmt.Sprintf("%s: %s, each within its margin, in %s", NoWorse, c.names(NoWorse), sides)
		if others := c.undecided(false); others != "" {
			text += "; not decided, and not asked for: " + others
		}
	case !r.Between && c.undecided(true) == "":
		text = fmt.Sprintf("%s: no difference that these runs can show, in %s, which does not tell that there is none", Inconclusive, sides)
	default:
		text = fmt.Sprintf("%s: %s, in %s. %s", Inconclusive, cmp.Or(c.undecided(true), "the runs are not whole"), sides, c.first(Inconclusive))
		text = strings.TrimSpace(text)
	}
	if apart {
		text += " (the sides are not of the same thing)"
	}
	return text
}

// names are those of the figures in a state.
func (c *comparison) names(s State) string {
	var names []string
	for _, f := range c.result.Figures {
		if f.State == s {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// undecided names the figures that are not decided, gated ones or the others. Within runs, those that show no difference are as decided as
// they can be.
func (c *comparison) undecided(gated bool) string {
	var names []string
	for _, f := range c.result.Figures {
		none := !c.result.Between && f.PNoWorse != nil && *f.PNoWorse <= Level && f.notNoWorse == ""
		if f.Gated == gated && (f.State == Inconclusive || f.State == NotTested) && !none {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// first is the sentence of the first figure in a state, of the gated ones where it decided nothing.
func (c *comparison) first(s State) string {
	for _, f := range c.result.Figures {
		if f.State == s && (f.Gated || s == Worse) {
			return f.Summary
		}
	}
	return ""
}
