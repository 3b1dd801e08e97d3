package verdict

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

// Point is a percentile of both arms, from HDR histograms of three significant digits. Each value stands for all from low to high, which
// its bucket cannot tell from it.
type Point struct {
	Percentile float64  `json:"percentile"`
	Off        HDRValue `json:"off"`
	On         HDRValue `json:"on"`
}

// HDRValue is a quantile with its resolution, in nanoseconds.
type HDRValue struct {
	Value time.Duration `json:"value_ns"`
	Low   time.Duration `json:"low_ns"`
	High  time.Duration `json:"high_ns"`
	// Interval is a 95 % interval of the quantile; nil where the blocks are too few for one.
	Interval *impact.Interval `json:"interval,omitempty"`
}

// longest is what the histograms hold at the most.
const longest = int64(time.Hour)

// spectrum gives the percentiles of both arms, as far as one of their requests is recorded in both.
func spectrum(quads []impact.Quadruple) (points []Point) {
	arms := [2]*hdrhistogram.Histogram{hdrhistogram.New(1, longest, 3), hdrhistogram.New(1, longest, 3)}
	for _, q := range quads {
		for i, sample := range q.Blocks {
			arm := arms[0]
			if q.Order[i] {
				arm = arms[1]
			}
			for _, t := range sample.Took {
				_ = arm.RecordValue(min(max(int64(math.Round(t*1e9)), 1), longest)) // within its range
			}
		}
	}
	n := min(arms[0].TotalCount(), arms[1].TotalCount())
	if n == 0 {
		return nil
	}
	for _, percentile := range stats.Percentiles(n) {
		p := Point{percentile, hdrValue(arms[0], percentile), hdrValue(arms[1], percentile)}
		p.Off.Interval, p.On.Interval = impact.Intervals(quads, percentile)
		points = append(points, p)
	}
	return points
}

func hdrValue(h *hdrhistogram.Histogram, percentile float64) HDRValue {
	value, low, high := stats.FromHDR(h, percentile)
	return HDRValue{Value: time.Duration(value), Low: time.Duration(low), High: time.Duration(high)}
}
