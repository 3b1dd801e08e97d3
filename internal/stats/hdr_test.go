package stats

import (
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// By hand: at 3 digits, 2048 values of one unit, then 1024 of two, of four, …
func TestFromHDR(t *testing.T) {
	for _, c := range []struct {
		name             string
		lowest, recorded int64
		digits           int
		q                float64
		value, low, high int64
	}{
		{"exact", 1, 2047, 3, 50, 2047, 2047, 2047},
		{"of two", 1, 2048, 3, 50, 2049, 2048, 2049},
		{"of two, the second", 1, 2051, 3, 50, 2051, 2050, 2051},
		{"of four", 1, 4096, 3, 99, 4099, 4096, 4099},
		{"of 1024, in 1e6", 1, 1_000_000, 3, 100, 1_000_447, 999_936, 1_000_447},
		{"at 0 % the lowest", 1, 1_000_000, 3, 0, 999_936, 999_936, 1_000_447},
		{"a coarse unit", 1000, 700, 3, 50, 1023, 512, 1023},
		{"one digit", 1, 100, 1, 50, 103, 100, 103},
		{"nothing but zero", 1, 0, 3, 50, 0, 0, 0},
		{"beyond 100 %", 1, 5, 3, 101, 5, 5, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hdrhistogram.New(c.lowest, 3_600_000_000_000, c.digits)
			if err := h.RecordValue(c.recorded); err != nil {
				t.Fatal(err)
			}
			value, low, high := FromHDR(h, c.q)
			if value != c.value || low != c.low || high != c.high {
				t.Errorf("%d, %d to %d, want %d, %d to %d", value, low, high, c.value, c.low, c.high)
			}
		})
	}
	if value, low, high := FromHDR(hdrhistogram.New(1000, 1e9, 3), 50); value != 0 || low != 0 || high != 0 {
		t.Errorf("nothing: %d, %d to %d", value, low, high)
	}
}

// Every bucket is the one that Distribution shows, up to the greatest value of all.
func TestFromHDRIsTheBucket(t *testing.T) {
	for _, lowest := range []int64{1, 3, 1000} {
		for digits := 1; digits <= 5; digits++ {
			h := hdrhistogram.New(lowest, math.MaxInt64, digits)
			for v := int64(0); ; v = v*3 + 1 {
				checkBucket(t, h, v)
				if v > (math.MaxInt64-1)/3 {
					break
				}
			}
			checkBucket(t, h, math.MaxInt64)
		}
	}
}

func checkBucket(t *testing.T, h *hdrhistogram.Histogram, v int64) {
	t.Helper()
	h.Reset()
	if err := h.RecordValue(v); err != nil {
		t.Fatal(err)
	}
	value, low, high := FromHDR(h, 50)
	if low > v || high < v || value != high {
		t.Errorf("%d: %d, %d to %d", v, value, low, high)
	}
	if below := max(0, low-1); below < low && h.ValuesAreEquivalent(below, v) {
		t.Errorf("%d: %d is in the bucket, too", v, below)
	}
	if high < math.MaxInt64 && h.ValuesAreEquivalent(high+1, v) {
		t.Errorf("%d: %d is in the bucket, too", v, high+1)
	}
	if !h.ValuesAreEquivalent(low, high) {
		t.Errorf("%d: %d and %d are not in one bucket", v, low, high)
	}
}
