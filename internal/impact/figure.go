package impact

import (
	"math"
	"slices"
	"time"

	"umbra/internal/stats"
)

// Margin is how much slower the primary may be at a quantile: Percent of what it takes with mirroring off, or Floor where that is more.
type Margin struct {
	Quantile float64 // percent, as 99
	Percent  float64
	Floor    time.Duration
	// Asked: the scenario names it. One that it does not name is gated only where the experiment has the power for it.
	Asked bool
}

// DefaultMargins are those of scenarios that name none.
func DefaultMargins() []Margin {
	return []Margin{
		{Quantile: 50, Percent: 5, Floor: 100 * time.Microsecond},
		{Quantile: 90, Percent: 5, Floor: 100 * time.Microsecond},
		{Quantile: 99, Percent: 10, Floor: 500 * time.Microsecond},
	}
}

// TailMargin is that of p99.9, which is told, and gated only where the experiment has the power for it.
func TailMargin() Margin {
	return Margin{Quantile: 99.9, Percent: 10, Floor: 500 * time.Microsecond}
}

// DefaultErrors is the margin of the share of failed requests, in percentage points.
const DefaultErrors = 0.1

// Share is the margin as a ratio to a time in seconds.
func (m Margin) Share(base float64) float64 {
	return max(m.Percent/100, m.Floor.Seconds()/max(base, 1e-9))
}

// State is what a figure, or an experiment, comes to.
type State string

// The states. A figure that was not tested has none.
const (
	Pass         State = "PASS"
	Fail         State = "FAIL"
	Inconclusive State = "INCONCLUSIVE"
)

// Figure is what was found at one quantile, or of the share of failed requests where Quantile is 0. Changes are percent of the time with
// mirroring off; of the failed requests they are percentage points.
type Figure struct {
	Quantile float64 `json:"quantile,omitempty"` // percent
	// Tested: it has what a test needs. Gated: besides, it decides: PASS asks for it.
	Tested bool   `json:"tested"`
	Gated  bool   `json:"gated"`
	Why    string `json:"why,omitempty"` // it is not gated
	State  State  `json:"state,omitempty"`

	Units      int           `json:"units,omitempty"`               // that the test rests on
	Quadruples int           `json:"quadruples_per_unit,omitempty"` // of each of them
	Off        time.Duration `json:"off_ns,omitempty"`              // the quantile, the geometric mean over units
	On         time.Duration `json:"on_ns,omitempty"`
	FailedOff  int           `json:"failed_off,omitempty"`
	FailedOn   int           `json:"failed_on,omitempty"`
	NOff       int           `json:"n_off"`
	NOn        int           `json:"n_on"`

	MarginPct float64       `json:"margin_percent"` // points, of the failed requests
	MarginNS  time.Duration `json:"margin_ns,omitempty"`
	Change    float64       `json:"change_percent"`
	Low       float64       `json:"low_percent"` // one-sided 95 % bounds, the wider ones of both ways of a test
	High      float64       `json:"high_percent"`
	Spread    float64       `json:"spread_percent,omitempty"` // the standard deviation of a unit's log ratio, × 100
	// BootLow and BootHigh are the same bounds by the bootstrap, beside those that decide.
	BootLow  *float64 `json:"bootstrap_low_percent,omitempty"`
	BootHigh *float64 `json:"bootstrap_high_percent,omitempty"`

	PFail *float64 `json:"p_fail,omitempty"` // of the effect being within the margin
	PHolm *float64 `json:"p_holm,omitempty"` // the same after Holm over all tested figures
	PPass *float64 `json:"p_pass,omitempty"` // of the effect being at or beyond the margin
	// WithoutFail and WithoutPass are PHolm and PPass with the client's own part taken off each request.
	WithoutFail *float64 `json:"p_holm_without_client,omitempty"`
	WithoutPass *float64 `json:"p_pass_without_client,omitempty"`

	// PEquivalent is that of the effect lying outside the margin to either side, by two one-sided tests, of the control off against off.
	PEquivalent *float64 `json:"p_equivalent,omitempty"`

	Lag      time.Duration `json:"lag_ns,omitempty"` // the client's own part at this quantile
	LagLimit time.Duration `json:"lag_limit_ns,omitempty"`

	Decides int `json:"quadruples_decide,omitempty"` // about so many would, with a power of 0.9, should the effect and its spread stay

	// Censored: it lies among requests without a complete answer, so that it is a lower bound, and does not pass.
	Censored bool `json:"censored,omitempty"`

	mean, without                     stats.Mean
	limit                             float64 // ln of 1 + the margin
	pass, fail, passWithout, failLess float64
}

// Suspect tells whether the client was too late for the figure to be trusted (load-engine.md, item 4).
func (f *Figure) Suspect() bool { return f.Lag > f.LagLimit }

// lagLimit is the client's part above which a figure is suspect: more than a tenth of it, and more than 0.2 ms.
func lagLimit(figure time.Duration) time.Duration { return max(figure/10, 200*time.Microsecond) }

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// PercentOf turns a log ratio into a change in percent, within what a report can hold.
func PercentOf(logRatio float64) float64 { return 100 * math.Expm1(max(-700, min(logRatio, 100))) }

// bootstraps is how many resamples an interval takes.
const bootstraps = 2000

// quantile tests a margin. Source of the test: Student's t on the log ratios of independent units (Biometrika 6 (1908), 1–25), one-sided
// against the margin: non-inferiority by the upper bound (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987), 657–680). PASS
// asks for it after Hall's correction for skewness, too: an effect that strikes few blocks makes log ratios skewed, and t passes those
// too often (calibration.md).
func quantile(quads []Quadruple, m Margin, c *Criteria) Figure {
	f := Figure{Quantile: m.Quantile, MarginPct: m.Percent, MarginNS: m.Floor}
	f.count(quads)
	q := m.Quantile / 100
	stretch, ok := StretchFor(quads, q)
	if !ok {
		f.Why = whyTooFew(quads, q)
		return f
	}
	all := logRatios(quads, q, stretch, took)
	own := logRatios(quads, q, stretch, less)
	f.Tested, f.Units, f.Quadruples = true, len(all.ratio), stretch.Quadruples
	f.mean, f.without = stats.MeanOf(all.ratio), stats.MeanOf(own.ratio)
	off := math.Exp(stats.MeanOf(all.off).Mean)
	f.Off, f.On = duration(off), duration(math.Exp(stats.MeanOf(all.on).Mean))
	share := m.Share(off)
	f.MarginPct, f.MarginNS, f.limit = 100*share, duration(share*off), math.Log1p(share)
	f.bound(c, all.ratio)
	limitWithout := math.Log1p(m.Share(math.Exp(stats.MeanOf(own.off).Mean)))
	f.fail, f.pass = f.mean.Above(f.limit), f.mean.BelowSkewed(f.limit, stats.Skew(all.ratio))
	f.failLess, f.passWithout = f.without.Above(limitWithout), f.without.BelowSkewed(limitWithout, stats.Skew(own.ratio))
	f.PFail, f.PPass, f.WithoutPass = &f.fail, &f.pass, &f.passWithout
	f.Lag, f.LagLimit = lagAt(quads, q), lagLimit(f.Off)
	f.Censored = censored(quads, q, stretch)
	return f
}

func (f *Figure) count(quads []Quadruple) {
	for i := range quads {
		for b, sample := range quads[i].Blocks {
			if quads[i].Order[b] {
				f.NOn += len(sample.Took)
			} else {
				f.NOff += len(sample.Took)
			}
		}
	}
}

// bound fills in the estimate with its bounds.
func (f *Figure) bound(c *Criteria, ratio []float64) {
	f.Change = PercentOf(f.mean.Mean)
	f.Spread = 100 * f.mean.SE * math.Sqrt(float64(f.mean.N))
	if c.Bare {
		return
	}
	low, high := f.mean.Lower(Level), f.mean.UpperSkewed(Level, stats.Skew(ratio))
	f.Low, f.High = PercentOf(low), PercentOf(high)
	low, high = stats.BCa(len(ratio), meanOf(ratio), Level, bootstraps, c.Seed)
	bootLow, bootHigh := PercentOf(low), PercentOf(high)
	f.BootLow, f.BootHigh = &bootLow, &bootHigh
}

// meanOf is the mean of picked values.
func meanOf(values []float64) func(pick []int) float64 {
	return func(pick []int) float64 {
		sum := 0.0
		for _, i := range pick {
			sum += values[i]
		}
		return sum / float64(len(pick))
	}
}

// lagAt is the client's part at a quantile, over all blocks.
func lagAt(quads []Quadruple, q float64) time.Duration {
	var all []float64
	for i := range quads {
		for _, sample := range quads[i].Blocks {
			all = append(all, sample.Lag...)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return duration(stats.Quantile(all, q))
}

// MinErrors is how many requests an arm needs for the share of failed ones to be tested.
const MinErrors = 3000

// failures tests the share of failed requests against a margin in percentage points. Two tests have to agree, so that neither few failures
// nor failures that come in bursts decide what they cannot: the score test on counts (Miettinen and Nurminen, Statistics in Medicine 4
// (1985), 213–226), for PASS with what blocks show of bursts, and Student's t on the differences of the quadruples.
func failures(quads []Quadruple, c *Criteria) Figure {
	f := Figure{MarginPct: c.Errors}
	f.count(quads)
	var differences []float64
	var arms [2]arm
	for i := range quads {
		on, off, failedOn, failedOff := 0, 0, 0, 0
		for b, sample := range quads[i].Blocks {
			if quads[i].Order[b] {
				arms[1].add(sample)
				on, failedOn = on+len(sample.Took), failedOn+sample.Failed
			} else {
				arms[0].add(sample)
				off, failedOff = off+len(sample.Took), failedOff+sample.Failed
			}
		}
		f.FailedOn, f.FailedOff = f.FailedOn+failedOn, f.FailedOff+failedOff
		if on > 0 && off > 0 {
			differences = append(differences, float64(failedOn)/float64(on)-float64(failedOff)/float64(off))
		}
	}
	if min(f.NOn, f.NOff) < MinErrors || len(differences) < MinUnits {
		f.Why = whyTooFewErrors(&f, len(differences))
	}
	if len(differences) < MinUnits {
		return f
	}
	f.Tested, f.Units, f.Quadruples, f.mean = true, len(differences), 1, stats.MeanOf(differences)
	f.limit = c.Errors / 100
	f.fail = max(stats.DifferencePValue(f.FailedOff, f.NOff, f.FailedOn, f.NOn, f.limit), f.mean.Above(f.limit))
	bursts := clustered{f.FailedOn, f.FailedOff, f.NOn, f.NOff, clustering(&arms[0], &arms[1]), Blocks * len(differences)}
	f.pass = max(bursts.below(f.limit), f.mean.Below(f.limit))
	f.failLess, f.passWithout = f.fail, f.pass
	f.PFail, f.PPass, f.WithoutPass = &f.fail, &f.pass, &f.passWithout
	f.Change = 100 * (float64(f.FailedOn)/float64(f.NOn) - float64(f.FailedOff)/float64(f.NOff))
	f.Spread = 100 * f.mean.SE * math.Sqrt(float64(f.mean.N))
	if c.Bare {
		return f
	}
	low, _ := stats.DifferenceBounds(f.FailedOff, f.NOff, f.FailedOn, f.NOn, Level)
	f.Low, f.High = 100*min(low, f.mean.Lower(Level)), 100*max(bursts.upper(Level), f.mean.Upper(Level))
	return f
}
