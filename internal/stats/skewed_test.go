package stats

import (
	"math"
	"testing"
)

func TestSkew(t *testing.T) {
	for _, c := range []struct {
		name string
		xs   []float64
		want float64
	}{
		{"two", []float64{1, 2}, 0},
		{"without spread", []float64{3, 3, 3}, 0},
		{"symmetric", []float64{-2, -1, 0, 1, 2}, 0},
		// By hand: mean 2, m₂ = 4, m₃ = 12, g₁ = 12/8, G₁ = g₁·√(4·5)/3 = 1.5·1.4907119849998598.
		{"one great one", []float64{1, 1, 1, 1, 6}, 1.5 * 1.4907119849998598},
	} {
		t.Run(c.name, func(t *testing.T) { near(t, "skewness", Skew(c.xs)+1, c.want+1, 1e-12) })
	}
}

func TestSkewedBound(t *testing.T) {
	m := Mean{N: 12, Mean: 0.3, SE: 0.1}
	for _, skew := range []float64{0, 0.5, 1, 2, 3} {
		high := m.UpperSkewed(0.05, skew)
		near(t, "BelowSkewed at UpperSkewed", m.BelowSkewed(high, skew), 0.05, 1e-6)
		if skew == 0 {
			near(t, "the bound of t", high, m.Upper(0.05), 1e-12)
		} else if high <= m.Upper(0.05) {
			t.Errorf("skewness %v: bound %v is not above that of t, %v", skew, high, m.Upper(0.05))
		}
	}
	if got, want := m.BelowSkewed(0.5, -2), m.Below(0.5); got != want {
		t.Errorf("skewed to the left: %v, want %v as t says", got, want)
	}
	if got := (Mean{N: 5, Mean: 1}).BelowSkewed(2, 0); got != 0 {
		t.Errorf("without spread: %v, want 0", got)
	}
	if got := (Mean{N: 1}).UpperSkewed(0.05, 1); !math.IsInf(got, 1) {
		t.Errorf("one value: %v, want +Inf", got)
	}
}
