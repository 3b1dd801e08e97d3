package impact

import (
	"fmt"
	"math"

	"umbra/internal/stats"
)

// Power is the one that a plan is made for.
const Power = 0.9

// Criteria are what an experiment is judged by.
type Criteria struct {
	Margins []Margin
	Errors  float64 // percentage points
	Planned int     // quadruples
	Seed    uint64  // of the bootstrap
	Bare    bool    // leaves out what only tells, bounds and what would decide, and takes most of a simulation's time
	// Weak are the quantiles that the experiment has no power for, as the control showed: told, and not gated, unless asked for.
	Weak map[float64]bool
}

// Result is what an experiment comes to.
type Result struct {
	State   State    `json:"state,omitempty"` // none where nothing was gated
	Done    int      `json:"quadruples"`
	Planned int      `json:"planned_quadruples"`
	Level   float64  `json:"fail_level"` // that FAIL had, after what earlier looks had spent
	Figures []Figure `json:"figures"`    // a figure for each margin, and that of the failed requests
}

// Judge is the law of the total effect. PASS: every gated figure's upper bound lies inside its margin, each at 5 %, uncorrected: an
// intersection–union test, which passes wrongly with at most 5 % (Berger, Technometrics 24 (1982), 295–300). FAIL: the lower bound
// of one that was tested lies outside, after Holm over all of them, also without the client's own part. A quantile that the scenario
// asks for and that could not be tested leaves nothing to pass; nor does too small a number of requests to tell of failed ones, or no
// quantile at all that is gated.
func Judge(quads []Quadruple, c Criteria) Result {
	r := Result{Done: len(quads), Planned: c.Planned, Level: FailLevel(len(quads), c.Planned)}
	for _, m := range c.Margins {
		f := quantile(quads, m, &c)
		weak := c.Weak[m.Quantile]
		f.Gated = f.Tested && (m.Asked || !weak)
		if f.Tested && !f.Gated {
			f.Why = "no control showed that the experiment has the power for it"
		}
		r.Figures = append(r.Figures, f)
	}
	f := failures(quads, &c)
	f.Gated = f.Tested && f.Why == ""
	r.Figures = append(r.Figures, f)
	holm(r.Figures)
	r.settle(c)
	return r
}

// holm adjusts the p-values of FAIL over all tested figures, with and without the client's part.
func holm(figures []Figure) {
	var tested []*Figure
	var p, without []float64
	for i := range figures {
		if f := &figures[i]; f.Tested {
			tested, p, without = append(tested, f), append(p, f.fail), append(without, f.failLess)
		}
	}
	p, without = stats.Holm(p), stats.Holm(without)
	for i, f := range tested {
		f.PHolm, f.WithoutFail = &p[i], &without[i]
	}
}

// settle gives each figure its state, and the experiment its own.
func (r *Result) settle(c Criteria) {
	gated, passed, failed, missing := 0, 0, false, true // as long as no quantile is gated
	for i := range c.Margins {
		missing = missing && !r.Figures[i].Gated
	}
	missing = missing || !r.Figures[len(r.Figures)-1].Gated
	for i := range r.Figures {
		f := &r.Figures[i]
		asked := i < len(c.Margins) && c.Margins[i].Asked
		if !f.Tested {
			missing = missing || asked
			continue
		}
		f.State = f.state(r.Level)
		failed = failed || f.State == Fail
		if f.State == Inconclusive && !c.Bare {
			f.Decides = f.decides()
		}
		if f.Gated {
			gated++
			if f.State == Pass {
				passed++
			}
		}
	}
	switch {
	case failed:
		r.State = Fail
	case passed == gated && !missing:
		r.State = Pass
	default:
		r.State = Inconclusive
	}
}

// state is the figure's own.
func (f *Figure) state(failLevel float64) State {
	switch {
	case *f.PHolm <= failLevel && *f.WithoutFail <= failLevel:
		return Fail
	case f.pass <= Level && !f.Censored:
		return Pass
	}
	return Inconclusive
}

// decides is about how many quadruples would decide with a power of 0.9, should the estimate and its spread stay: 0 where the estimate is
// the margin, or there is no spread to go by.
func (f *Figure) decides() int {
	distance, spread := math.Abs(f.mean.Mean-f.limit), f.mean.SE*math.Sqrt(float64(f.mean.N))
	if f.Quantile == 0 {
		return scaled(f.mean.N, f)
	}
	return needed(stats.TSize(distance, spread, Level, Power)) * f.Quadruples
}

// scaled is about the number for the share of failed requests: its bounds close in with the square root of the requests.
func scaled(n int, f *Figure) int {
	half, distance := (f.High-f.Low)/2, math.Abs(f.Change-f.MarginPct)
	if distance <= 0 {
		return 0
	}
	need := math.Ceil(float64(n) * (half / distance) * (half / distance))
	return int(min(need, 1e6))
}

// whyTooFew says what a quantile lacks.
func whyTooFew(quads []Quadruple, q float64) string {
	if len(quads) < MinUnits {
		return fmt.Sprintf("%d quadruples, and a test rests on at least %d", len(quads), MinUnits)
	}
	return fmt.Sprintf("too few requests: each arm of at least %d units needs %d, so that %d are beyond the quantile", MinUnits, Need(q), Beyond)
}

func whyTooFewErrors(f *Figure, quadruples int) string {
	return fmt.Sprintf("too few requests: %d with mirroring off and %d on, in %d quadruples; %d each in at least %d are needed", f.NOff, f.NOn, quadruples, MinErrors, MinUnits)
}
