package stats

import "testing"

// TestBand holds bands against R's qbinom: c(qbinom(0.025, n, p), qbinom(0.025, n, p, lower.tail = FALSE)).
func TestBand(t *testing.T) {
	for _, c := range []struct {
		n         int
		p         float64
		low, high int
	}{{0, 0.1, 0, 0}, {10, 0, 0, 0}, {10, 1, 10, 10}, {1, 0.5, 0, 1}, {20, 0.1, 0, 5}, {200, 0.1, 12, 29}, {1000, 0.5, 469, 531}, {10000, 0.001, 4, 17}} {
		if low, high := Band(c.n, c.p, 0.95); low != c.low || high != c.high {
			t.Errorf("n = %d, p = %g: %d to %d, want %d to %d", c.n, c.p, low, high, c.low, c.high)
		}
	}
}
