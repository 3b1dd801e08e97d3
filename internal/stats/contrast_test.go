package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// R: t.test(b, a, mu = m, alternative = "greater") and "less": p.value, parameter, stderr, conf.int.
func TestWelch(t *testing.T) {
	small, large := []float64{0.10, 0.13, 0.11}, []float64{0.21, 0.19, 0.25, 0.16}
	wide, narrow := []float64{5, 7, 9, 30, 2}, []float64{6, 6.1, 6.2}
	for _, c := range []struct {
		name                          string
		a, b                          []float64
		limit                         float64
		above, below, df, se, low, up float64
	}{
		{"at 0", small, large, 0, 0.0059138273668505725, 0.99408617263314936, 4.1558061599021237, 0.020833333333333336, 0.045227322402681611, 0.13310601093065172},
		{"at 0.05", small, large, 0.05, 0.065299690671431959, 0.93470030932856807, 4.1558061599021237, 0.020833333333333336, 0.045227322402681611, 0.13310601093065172},
		{"at 0.1", small, large, 0.1, 0.685230134162084, 0.314769865837916, 4.1558061599021237, 0.020833333333333336, 0.045227322402681611, 0.13310601093065172},
		{"unlike spreads", wide, narrow, 1, 0.83404967086373261, 0.16595032913626737, 4.0010726016861833, 4.9863146043278634, -15.129240041940726, 6.1292400419407249},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Welch(MeanOf(c.a), MeanOf(c.b))
			near(t, "above", d.Above(c.limit), c.above, 1e-9)
			near(t, "below", d.Below(c.limit), c.below, 1e-9)
			near(t, "degrees of freedom", d.DF, c.df, 1e-12)
			near(t, "standard error", d.SE, c.se, 1e-12)
			near(t, "low", d.Lower(0.05), c.low, 1e-9)
			near(t, "high", d.Upper(0.05), c.up, 1e-9)
		})
	}
}

func TestContrastEdges(t *testing.T) {
	one, two := MeanOf([]float64{3}), MeanOf([]float64{3, 5})
	if d := Welch(one, two); d.DF != 0 || d.Above(-9) != 1 || d.Below(9) != 1 || !math.IsInf(d.Lower(0.05), -1) || !math.IsInf(d.Upper(0.05), 1) {
		t.Errorf("one value bounds a difference: %+v", d)
	}
	same := MeanOf([]float64{3, 3, 3})
	if d := Welch(same, same); d.Above(0) != 1 || d.Above(-1) != 0 || d.Below(0) != 1 || d.Below(1) != 0 || d.Lower(0.05) != 0 || d.Upper(0.05) != 0 {
		t.Errorf("without any spread: %+v", d)
	}
	m := MeanOf(spatial)
	e := EstimateOf(m)
	near(t, "above, as a mean's", e.Above(25), m.Above(25), 1e-12)
	near(t, "low, as a mean's", e.Lower(0.05), m.Lower(0.05), 1e-12)
	if sum := Contrast([]float64{1, 1}, two, two); sum.Value != 8 || sum.DF != 2 {
		t.Errorf("a sum: %+v", sum)
	}
}

// Tests are wrong as often as they may be, with spreads and numbers that are not alike as well.
func TestWelchCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	draw := func(n int, mean, spread float64) Mean {
		xs := make([]float64, n)
		for i := range xs {
			xs[i] = mean + spread*random.NormFloat64()
		}
		return MeanOf(xs)
	}
	for _, c := range []struct {
		na, nb int
		sa, sb float64
	}{{3, 3, 1, 1}, {3, 3, 1, 4}, {3, 10, 1, 3}, {3, 10, 3, 1}, {20, 20, 1, 2}} {
		const times = 20_000
		missed := 0
		for range times {
			if Welch(draw(c.na, 1, c.sa), draw(c.nb, 3, c.sb)).Below(2) <= 0.05 {
				missed++
			}
		}
		// About its level; with 3 values against more of lesser spread it is known to miss a little more often.
		if share := float64(missed) / times; share < 0.025 || share > 0.07 {
			t.Errorf("%+v: a test at 5 %% is wrong in %.3f of the cases", c, share)
		}
	}
}
