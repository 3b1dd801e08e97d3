package summary

import (
	"math"
	"slices"
	"time"

	"umbra/internal/stats"
)

// Percentile is a point of a latency spectrum. The value is the greatest of those that the histogram counts with it, and Low the least.
type Percentile struct {
	Percentile float64       `json:"percentile"`
	Value      time.Duration `json:"value_ns"`
	Low        time.Duration `json:"low_ns"`
}

// spectrum reads a histogram.
func spectrum(h *histogram) (out []Percentile) {
	at := stats.Percentiles(h.n)
	for i, v := range h.quantiles(at...) {
		out = append(out, Percentile{at[i], v, lowestLike(v)})
	}
	return out
}

// lowestLike is the least value that a histogram cannot tell from one.
func lowestLike(v time.Duration) time.Duration {
	low, _ := bounds(place(v))
	return time.Duration(low)
}

// Bucket is a bucket of a classic histogram: how many values are at or below a bound.
type Bucket struct {
	Le    time.Duration `json:"le_ns"`
	Count int64         `json:"count"`
}

// Histogram is a classic one, cumulative. Sum is made from the middle of each of the HDR histogram's buckets, so that it is right to
// 0.05 %; a value is at or below a bound where the least of its bucket is, which takes in what is up to 0.1 % above.
type Histogram struct {
	Buckets []Bucket      `json:"buckets,omitempty"`
	Count   int64         `json:"count"`
	Sum     time.Duration `json:"sum_ns"`
}

// les are the bounds: 1, 2.5 and 5 of each decade, from 100 µs to a minute.
var les = func() (out []time.Duration) {
	for decade := 100 * time.Microsecond; decade <= 10*time.Second; decade *= 10 {
		out = append(out, decade, decade*5/2, decade*5)
	}
	return append(slices.Clone(out), time.Minute)
}()

// classic turns a histogram into one.
func classic(h *histogram) Histogram {
	out := Histogram{Count: h.n}
	counts := make([]int64, len(les))
	sum := 0.0
	for at, n := range h.each {
		low, high := bounds(at)
		sum += (float64(low)/2 + float64(high)/2) * float64(n)
		i, _ := slices.BinarySearch(les, time.Duration(low))
		if i < len(les) {
			counts[i] += n
		}
	}
	out.Sum = time.Duration(min(sum, math.MaxInt64/2))
	total := int64(0)
	for i, n := range counts {
		total += n
		out.Buckets = append(out.Buckets, Bucket{les[i], total})
	}
	return out
}
