package stats

import (
	"math"
	"testing"
)

// sleep is Student's data, as in TestMean.
var sleep = MeanOf([]float64{1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4})

// R: e <- c(1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4)
func TestMeanSides(t *testing.T) {

	for _, c := range []struct {
		name      string
		got, want float64
	}{
		// t.test(e, mu = 2, alternative = "less")$p.value
		{"below 2", sleep.Below(2), 0.15415723566909742},
		{"below 1", sleep.Below(1), 0.91494411455128866},
		// t.test(e, alternative = "less", conf.level = 0.95)$conf.int[2], "greater" and [1]
		{"upper", sleep.Upper(0.05), 2.2930052670292835},
		{"lower", sleep.Lower(0.05), 0.86699473297071661},
		{"upper at 0.001", sleep.Upper(0.001), 3.2512800473718597},
		// mean(e) + qt(1e-9, 9) * sd(e)/sqrt(10)
		{"lower at 1e-9", sleep.Lower(1e-9), -7.6499593309193994},
		{"at one half", sleep.Upper(0.5), 1.58},
		{"the other side", sleep.Upper(0.95), sleep.Lower(0.05)},
		{"both sides", sleep.Below(2) + sleep.Above(2), 1},
	} {
		near(t, c.name, c.got, c.want, 1e-9)
	}
}

// Bounds are where the tests' p is alpha, and the ends of the two-sided interval.
func TestMeanBoundsInvertTests(t *testing.T) {
	for _, n := range []int{2, 3, 10, 1000, 1_000_000} {
		m := Mean{N: n, Mean: -3, SE: 0.25}
		for _, alpha := range []float64{0.4, 0.05, 1e-4} {
			near(t, "p at lower", m.Above(m.Lower(alpha)), alpha, 2e-9)
			near(t, "p at upper", m.Below(m.Upper(alpha)), alpha, 2e-9)
			low, high := m.Interval(1 - 2*alpha)
			near(t, "lower", m.Lower(alpha), low, 1e-9)
			near(t, "upper", m.Upper(alpha), high, 1e-9)
		}
	}
}

func TestTOST(t *testing.T) {
	one, same := MeanOf([]float64{3}), MeanOf([]float64{3, 3})
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		// max(t.test(e, mu = 0.5, alternative = "greater")$p.value, t.test(e, mu = 3, alternative = "less")$p.value)
		{"inside", TOST(sleep, 0.5, 3), 0.010759243378387252},
		{"close to the upper end", TOST(sleep, -1, 2), 0.15415723566909742},
		{"outside", TOST(sleep, 2, 3), sleep.Above(2)},
		{"at the 90 % interval's end", TOST(sleep, sleep.Lower(0.05), 9), 0.05},
		{"no limits", TOST(sleep, math.Inf(-1), math.Inf(1)), 0},
		{"one value proves nothing", TOST(one, 0, 9), 1},
		{"no spread, inside", TOST(same, 2, 4), 0},
		{"no spread, on the end", TOST(same, 3, 4), 1},
		{"no spread, on the other end", TOST(same, 2, 3), 1},
		{"no spread, below", same.Below(3), 1},
		{"no spread, below 4", same.Below(4), 0},
		{"one value, below", one.Below(4), 1},
	} {
		near(t, c.name, c.got, c.want, 1e-9)
	}
	if one.Upper(0.05) != math.Inf(1) || one.Lower(0.05) != math.Inf(-1) {
		t.Error("one value bounds nothing")
	}
	if same.Upper(0.05) != 3 || same.Lower(0.05) != 3 {
		t.Error("without spread the bounds are the mean")
	}
}
