package stats

import "testing"

// R: summary(lm(y ~ x))$coef[2, c(1, 4)]
func TestTrend(t *testing.T) {
	cars := [2][]float64{ // R's data set of 1920: speed and stopping distance
		{4, 4, 7, 7, 8, 9, 10, 10, 10, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 16, 16, 17, 17,
			17, 18, 18, 18, 18, 19, 19, 19, 20, 20, 20, 20, 20, 22, 23, 24, 24, 24, 24, 25},
		{2, 10, 4, 22, 16, 10, 18, 26, 34, 17, 28, 14, 20, 24, 28, 26, 34, 34, 46, 26, 36, 60, 80, 20, 26, 54, 32, 40, 32,
			40, 50, 42, 56, 76, 84, 36, 46, 68, 32, 48, 52, 56, 64, 66, 54, 70, 92, 93, 120, 85},
	}
	steady := []float64{5.1, 4.9, 5.3, 5.0, 5.2, 4.8, 5.1}
	for _, c := range []struct {
		name     string
		xs, ys   []float64
		slope, p float64
	}{
		{"cars", cars[0], cars[1], 3.9324087591240855, 1.4898364962950928e-12},
		{"no drift", []float64{0, 1, 2, 3, 4, 5, 6}, steady, -0.010714285714285602, 0.7733884907652524},
		{"no drift, in seconds", []float64{0, 60, 120, 180, 240, 300, 360}, steady, -0.00017857142857142659, 0.77338849076525262},
		{"no drift, since 1970", []float64{1.7e9, 1.7e9 + 60, 1.7e9 + 120, 1.7e9 + 180, 1.7e9 + 240, 1.7e9 + 300, 1.7e9 + 360},
			steady, -0.00017857142857142659, 0.77338849076525262},
		{"three", []float64{1, 2, 3}, []float64{1, 2, 4}, 1.5, 0.12103771832367675},
		{"two say nothing", []float64{1, 2}, []float64{1, 2}, 1, 1},
		{"one", []float64{1}, []float64{1}, 0, 1},
		{"none", nil, nil, 0, 1},
		{"all at one time", []float64{2, 2, 2}, []float64{1, 2, 3}, 0, 1},
		{"flat", []float64{1, 2, 3}, []float64{4, 4, 4}, 0, 1},
		{"a line", []float64{1, 2, 3}, []float64{4, 2, 0}, -2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			slope, p := Trend(c.xs, c.ys)
			near(t, "slope", slope, c.slope, 1e-9)
			near(t, "p", p, c.p, 1e-9)
		})
	}
}
