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
}

// longest is what the histograms hold at the most.
const longest = int64(time.Hour)

// spectrum gives the percentiles of both arms: the quartiles and tenths of the first decade, and 90, 95 and 97.5 % of each decade of what
// is left, as far as one of its requests is recorded in both.
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
	for _, p := range []float64{10, 25, 50, 75} {
		points = append(points, pointAt(arms, p))
	}
	for left := 100.0; float64(n)*left/10 >= 100; left /= 10 {
		for _, share := range []float64{0.9, 0.95, 0.975} {
			if beyond := left * (1 - share); float64(n)*beyond >= 100 {
				points = append(points, pointAt(arms, 100-beyond))
			}
		}
	}
	return points
}

func pointAt(arms [2]*hdrhistogram.Histogram, percentile float64) Point {
	percentile = math.Round(percentile*1e9) / 1e9 // sums of tenths are none
	return Point{percentile, hdrValue(arms[0], percentile), hdrValue(arms[1], percentile)}
}

func hdrValue(h *hdrhistogram.Histogram, percentile float64) HDRValue {
	value, low, high := stats.FromHDR(h, percentile)
	return HDRValue{time.Duration(value), time.Duration(low), time.Duration(high)}
}
