package impact

import (
	"math"
	"time"

	"umbra/internal/stats"
)

// Interval is a two-sided 95 % interval of one arm's quantile.
type Interval struct {
	Low  time.Duration `json:"low_ns"`
	High time.Duration `json:"high_ns"`
}

// Intervals gives those of a quantile, in percent, with mirroring off and on, by Student's t on the logarithms of units; nil where there
// are too few. What both arms share, such as a drift, is in each of them, so that they may overlap where their difference is sure.
func Intervals(quads []Quadruple, quantile float64) (off, on *Interval) {
	stretch, ok := StretchFor(quads, quantile/100)
	if !ok {
		return nil, nil
	}
	all := logRatios(quads, quantile/100, stretch, took)
	return interval(all.off), interval(all.on)
}

func interval(logs []float64) *Interval {
	m := stats.MeanOf(logs)
	return &Interval{duration(math.Exp(m.Lower(Level / 2))), duration(math.Exp(m.Upper(Level / 2)))}
}
