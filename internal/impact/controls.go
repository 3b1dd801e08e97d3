package impact

import (
	"math"
	"time"

	"umbra/internal/stats"
)

// Plan is what the control off against off says of the power that the experiment will have at one quantile.
type Plan struct {
	Quantile   float64       `json:"quantile"` // percent
	Off        time.Duration `json:"off_ns"`
	MarginPct  float64       `json:"margin_percent"`
	MarginNS   time.Duration `json:"margin_ns"`
	Spread     float64       `json:"spread_percent"` // the standard deviation of a unit's log ratio, × 100
	Quadruples int           `json:"quadruples"`     // that a power of 0.9 asks for, where there is no effect; 0: more than a million
	Power      float64       `json:"power"`          // that the planned number has
	Powered    bool          `json:"powered"`        // the planned number is enough
}

// Plans plans each margin from the quadruples of the control. A quantile that has not what a test needs has no plan.
//
// Source: the one-sided one-sample t test is powered by the noncentral t distribution (stats.TPower), and costs skewCost units more.
func Plans(control []Quadruple, margins []Margin, planned int) (plans []Plan) {
	for _, m := range margins {
		stretch, ok := StretchFor(control, m.Quantile/100)
		if !ok {
			continue
		}
		all := logRatios(control, m.Quantile/100, stretch, took)
		mean, off := stats.MeanOf(all.ratio), math.Exp(stats.MeanOf(all.off).Mean)
		share, spread := m.Share(off), mean.SE*math.Sqrt(float64(mean.N))
		p := Plan{Quantile: m.Quantile, Off: duration(off), MarginPct: 100 * share, MarginNS: duration(share * off), Spread: 100 * spread,
			Quadruples: needed(stats.TSize(math.Log1p(share), spread, Level, Power)) * stretch.Quadruples,
			Power:      stats.TPower(planned/stretch.Quadruples-skewCost, math.Log1p(share), spread, Level)}
		p.Powered = p.Quadruples > 0 && p.Quadruples <= planned
		plans = append(plans, p)
	}
	return plans
}

// skewCost is about how many units the correction for skewness costs where there is no skewness (calibration.md).
const skewCost = 1

// needed is how many units a test takes that t alone would take n for; 0 where n is.
func needed(n int) int {
	if n == 0 {
		return 0
	}
	return max(MinUnits, n+skewCost)
}

// Delay is how much slower the positive control makes the primary at a quantile: twice its margin.
func (p Plan) Delay() time.Duration { return 2 * p.MarginNS }

// Negative judges off against off, where there is no effect to find. FAIL: an effect beyond a margin, to either side, was found all the
// same (Holm over both sides of all figures). PASS: each gated upper bound lies inside its margin.
func Negative(quads []Quadruple, c Criteria) Result {
	r := Judge(quads, c)
	r.Level = Level
	var p []float64
	var of []*Figure
	for i := range r.Figures {
		if f := &r.Figures[i]; f.Tested {
			of = append(of, f, f)
			p = append(p, f.fail, f.mean.Below(-f.limit))
			equivalent := stats.TOST(f.mean, -f.limit, f.limit)
			f.PEquivalent = &equivalent
		}
	}
	adjusted := stats.Holm(p)
	r.State = ""
	for i, f := range of {
		switch {
		case adjusted[i] <= Level:
			f.State, r.State = Fail, Fail
		case f.State == Fail && i%2 == 0: // by the experiment's level
			f.State = Inconclusive
		}
	}
	if r.State == Fail {
		return r
	}
	for i := range r.Figures {
		f := &r.Figures[i]
		switch {
		case !f.Gated:
		case f.State != Pass:
			r.State = Inconclusive
		case r.State == "":
			r.State = Pass
		}
	}
	return r
}

// Found judges the positive control of one margin: whether the experiment would have failed the quantile alone, at 5 %.
func Found(quads []Quadruple, m Margin, c Criteria) (f Figure, found bool) {
	f = quantile(quads, m, &c)
	if !f.Tested {
		return f, false
	}
	f.PHolm, f.WithoutFail = f.PFail, &f.failLess
	f.State = f.state(Level)
	return f, f.State == Fail
}
