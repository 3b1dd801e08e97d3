package stats

import "github.com/HdrHistogram/hdrhistogram-go"

// FromHDR is the value at the quantile q, in percent, of what h recorded, as its ValueAtPercentile gives it, with the
// lowest and the highest value that h counts in the same bucket: the true one may be any of them, and value is mostly
// high. All are in the unit of h, and 0 where h is empty.
//
// Source: HdrHistogram's buckets are 2^k values wide and start at a multiple of that; k is found by doubling, as the
// package keeps its geometry to itself.
func FromHDR(h *hdrhistogram.Histogram, q float64) (value, low, high int64) {
	if h.TotalCount() == 0 {
		return 0, 0, 0
	}
	value = h.ValueAtPercentile(q)
	low, high = value, value
	for mask := int64(1); mask > 0; mask = mask<<1 | 1 {
		if !h.ValuesAreEquivalent(value&^mask, value|mask) {
			break
		}
		low, high = value&^mask, value|mask
	}
	return value, low, high
}
