package trend

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"umbra/internal/impact"
	"umbra/internal/runs"
	"umbra/internal/verdict"
)

// figure is a series with how it is looked at.
type figure struct {
	Series
	logs bool    // on logarithms, where all values are above 0
	harm float64 // 1: more is worse; −1: more is better; 0: neither
}

// figures are the series of a group, in the order in which they are shown.
func figures(members []runs.Run) (out []figure) {
	for _, q := range []float64{50, 90, 99, 99.9} {
		out = append(out, seriesOf(members, verdict.QuantileName(q)+" response time", "ms", true, 1, func(r *runs.Run) (float64, bool) {
			took, ok := r.Quantile(q)
			return float64(took) / float64(time.Millisecond), ok
		}))
	}
	out = append(out,
		seriesOf(members, "achieved rate", "/s", true, -1, func(r *runs.Run) (float64, bool) { return r.Figures.Sent, r.Figures.Sent > 0 }),
		seriesOf(members, "not answered", "%", false, 1, share(func(r *runs.Run) int { return r.Figures.Judged.NotOK })),
		seriesOf(members, "answered 5xx", "%", false, 1, share(func(r *runs.Run) int { return r.Figures.Judged.Failed })))
	for _, m := range mirrors(members) {
		out = append(out, seriesOf(members, "mirrored, "+m.Name(), "%", false, 0, func(r *runs.Run) (float64, bool) {
			for _, other := range r.Mirrors() {
				if other.Route == m.Route && other.Cluster == m.Cluster {
					return other.EstimatePercent, true
				}
			}
			return 0, false
		}))
	}
	for _, q := range []float64{50, 90, 99, 99.9} {
		s := seriesOf(members, verdict.QuantileName(q)+" change with mirroring on", "%", false, 1, func(r *runs.Run) (float64, bool) { return impactChange(r, q) })
		if len(s.Values) > 0 {
			out = append(out, s)
		}
	}
	return out
}

func seriesOf(members []runs.Run, name, unit string, logs bool, harm float64, of func(*runs.Run) (float64, bool)) figure {
	f := figure{Series: Series{Name: name, Unit: unit, ChangeUnit: "points", Values: []Value{}}, harm: harm}
	positive := true
	for i := range members {
		if v, ok := of(&members[i]); ok && !math.IsInf(v, 0) && !math.IsNaN(v) {
			f.Values = append(f.Values, Value{i, v})
			positive = positive && v > 0
		}
	}
	if f.logs = logs && positive; logs {
		f.ChangeUnit = "%"
	}
	return f
}

func share(count func(*runs.Run) int) func(*runs.Run) (float64, bool) {
	return func(r *runs.Run) (float64, bool) {
		n := r.Figures.Judged.Rows
		return 100 * float64(count(r)) / float64(max(1, n)), n > 0
	}
}

// mirrors are those that any of the runs has, in the order of the first that has them.
func mirrors(members []runs.Run) (out []runs.Mirror) {
	known := map[[2]string]bool{}
	for i := range members {
		for _, m := range members[i].Mirrors() {
			if key := [2]string{m.Route, m.Cluster}; !known[key] {
				known[key], out = true, append(out, m)
			}
		}
	}
	return out
}

// impactChange is by how much the primary was slower with mirroring on, in percent.
func impactChange(r *runs.Run, quantile float64) (float64, bool) {
	for _, v := range r.Verdicts {
		if v.Name != verdict.Impact || v.Experiment == nil {
			continue
		}
		for _, f := range v.Experiment.Figures {
			if f.Tested && f.Quantile == quantile {
				return f.Change, true
			}
		}
	}
	return 0, false
}

// lacks tells why a series is not looked at for changes; "" where it is.
func (s *figure) lacks() string {
	switch n := len(s.Values); {
	case n < MinRuns:
		return fmt.Sprintf("%s of it: nothing can be told below %d", plural(n, "run", "runs"), MinRuns)
	case constant(s.Values):
		return "it is the same in all runs"
	}
	return ""
}

func constant(values []Value) bool {
	for _, v := range values {
		if v.Value != values[0].Value {
			return false
		}
	}
	return true
}

// scaled are the values as they are tested: logarithms of times and rates.
func (s *figure) scaled() []float64 {
	out := make([]float64, len(s.Values))
	for i, v := range s.Values {
		out[i] = v.Value
		if s.logs {
			out[i] = math.Log(v.Value)
		}
	}
	return out
}

// unscaled is a tested value in the series' unit.
func (s *figure) unscaled(v float64) float64 {
	if s.logs {
		return math.Exp(v)
	}
	return v
}

// change is a difference of tested values in the series' unit of changes.
func (s *figure) change(v float64) float64 {
	if s.logs {
		return impact.PercentOf(v)
	}
	return v
}

// Sentence is "p99 response time 4.91 ms → 5.82 ms, +18.5 % (+12.1 … +25.3), worse since runs/b (2026-11-23), confidence 99.2 %".
func (s *Series) Sentence(c *Change) string {
	unit := s.Unit
	if unit != "/s" {
		unit = " " + unit
	}
	return fmt.Sprintf("%s %s%s → %s%s, %+.3g %s (%+.3g … %+.3g), %s since %s (%s), confidence %.1f %%", s.Name, verdict.Digits(c.Before), unit, verdict.Digits(c.After), unit,
		c.Change, s.ChangeUnit, c.Low, c.High, cmp.Or(c.Verdict, "other"), c.Source, c.Started.UTC().Format(time.DateOnly), c.Confidence)
}
