package summary

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of the histograms: values outside are counted at its ends.
const (
	lowest  = 1
	highest = int64(time.Hour)
	digits  = 3
)

// The geometry that follows: buckets of 2048 sub-buckets, each twice as wide as those of the bucket before, whose upper
// halves lie one behind the other (HdrHistogram, "counts array").
const (
	halfBits = 10
	half     = 1 << halfBits // counts a page
	pages    = 33            // up to highest
)

// histogram is an HdrHistogram that takes memory only for the buckets that something fell into, so that one for each second
// and name is cheap to keep, to merge and to clear. It agrees with hdrhistogram.New(lowest, highest, digits) in every count.
type histogram struct {
	pages [pages]*[half]int64
	n     int64
}

// add counts a duration.
func (h *histogram) add(d time.Duration) {
	at := place(d)
	page := h.pages[at>>halfBits]
	if page == nil {
		page = new([half]int64)
		h.pages[at>>halfBits] = page
	}
	page[at&(half-1)]++
	h.n++
}

// place is where a duration is counted.
func place(d time.Duration) int {
	v := uint64(min(max(int64(d), 0), highest))
	bucket := bits.Len64(v|(2*half-1)) - (halfBits + 1)
	return int(uint64(bucket)<<halfBits + v>>bucket)
}

// merge adds what from has, exactly.
func (h *histogram) merge(from *histogram) { h.mergeTimes(from, 1) }

// mergeTimes merges so many times; −1 takes out again what was merged.
func (h *histogram) mergeTimes(from *histogram, times int64) {
	if from.n == 0 {
		return
	}
	h.n += times * from.n
	for i, page := range from.pages {
		if page == nil {
			continue
		}
		if h.pages[i] == nil {
			h.pages[i] = new([half]int64)
		}
		for j, n := range page {
			if n != 0 {
				h.pages[i][j] += times * n
			}
		}
	}
}

// clear keeps the memory.
func (h *histogram) clear() {
	if h.n == 0 {
		return
	}
	h.n = 0
	for _, page := range h.pages {
		if page != nil {
			clear(page[:])
		}
	}
}

// each gives the counts that are not 0 by their place, in order, until yield is false.
func (h *histogram) each(yield func(at int, n int64) bool) {
	for i, page := range h.pages {
		if page == nil {
			continue
		}
		for j, n := range page {
			if n != 0 && !yield(i<<halfBits+j, n) {
				return
			}
		}
	}
}

// bounds are the least and the greatest value that a place counts.
func bounds(at int) (low, high int64) {
	bucket := max(0, at>>halfBits-1)
	low = int64(at-bucket<<halfBits) << bucket
	return low, low + 1<<bucket - 1
}

// quantiles gives the values at percentages that rise, as HdrHistogram's ValueAtPercentile does; 0 where there is nothing.
func (h *histogram) quantiles(percent ...float64) []time.Duration {
	out := make([]time.Duration, len(percent))
	next, sum := 0, int64(0)
	for at, n := range h.each {
		for sum += n; next < len(percent) && sum >= h.rank(percent[next]); next++ {
			_, high := bounds(at)
			out[next] = time.Duration(high)
		}
	}
	return out
}

// rank is the place of a percentile among the values, from 1.
func (h *histogram) rank(percent float64) int64 {
	return min(h.n, max(1, int64(percent/100*float64(h.n)+0.5)))
}

// max is the greatest value, as HdrHistogram gives it.
func (h *histogram) max() time.Duration {
	for i, page := range slices.Backward(h.pages[:]) {
		if page == nil {
			continue
		}
		for j, n := range slices.Backward(page[:]) {
			if n != 0 {
				_, high := bounds(i<<halfBits + j)
				return time.Duration(high)
			}
		}
	}
	return 0
}

// hdr makes an hdrhistogram.Histogram of h, for what it can print.
func (h *histogram) hdr() *hdrhistogram.Histogram {
	out := hdrhistogram.New(lowest, highest, digits)
	for at, n := range h.each {
		low, _ := bounds(at)
		_ = out.RecordValues(low, n) // cannot fail within the range
	}
	return out
}

// The marks of HdrHistogram's V2 encoding (AbstractHistogram.java, V2EncodingCookieBase and V2CompressedEncodingCookieBase),
// for counts in ZigZag LEB128.
const (
	cookie           = 0x1c849303 | 0x10
	compressedCookie = 0x1c849304 | 0x10
)

// appendV2 appends the V2 encoding of h, not yet compressed: a header, then the counts, with runs of zeros as negative
// numbers. hdrhistogram-go's encoder gives the same, and takes a megabyte of memory for each call.
func (h *histogram) appendV2(b []byte) []byte {
	begin := len(b)
	b = binary.BigEndian.AppendUint32(b, cookie)
	b = binary.BigEndian.AppendUint32(b, 0) // the length of the counts
	b = binary.BigEndian.AppendUint32(b, 0) // the normalizing index offset
	b = binary.BigEndian.AppendUint32(b, digits)
	b = binary.BigEndian.AppendUint64(b, lowest)
	b = binary.BigEndian.AppendUint64(b, uint64(highest))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(1)) // the integer-to-double ratio
	counts := len(b)
	next := 0
	for at, n := range h.each {
		switch zeros := at - next; zeros {
		case 0:
		case 1:
			b = append(b, 0)
		default:
			b = binary.AppendVarint(b, -int64(zeros))
		}
		b = binary.AppendVarint(b, n)
		next = at + 1
	}
	binary.BigEndian.PutUint32(b[begin+4:], uint32(len(b)-counts))
	return b
}
