package stats

import "testing"

// R: power.t.test(n, effect, sd, alpha, type = "one.sample", alternative = "one.sided")$power
func TestTPower(t *testing.T) {
	for _, c := range []struct {
		n                       int
		effect, sd, alpha, want float64
	}{
		{20, 1, 2, 0.05, 0.69514933824465752},
		{5, 0.5, 1, 0.05, 0.23899517090373645},
		{100, 0.3, 1, 0.01, 0.73648422439350814},
		{2, 1, 1, 0.05, 0.17956248755739923},
		{12, 1, 1, 0.05, 0.94468954302333152},
		{400, 0.05, 1, 0.05, 0.25896204843820581},
		// by definition
		{9, 0, 1, 0.05, 0.05},
		{1, 1, 1, 0.05, 0},
		{0, 1, 1, 0.05, 0},
		{5, 1, 0, 0.05, 1},
		{5, 0, 0, 0.05, 0},
	} {
		near(t, "power", TPower(c.n, c.effect, c.sd, c.alpha), c.want, 1e-9)
	}
}

// R: the first n of 2, 3, ... or, above 100,000, of a binary search, with
// pt(qt(alpha, n-1, lower.tail = FALSE), n-1, effect/sd*sqrt(n), lower.tail = FALSE) >= power
func TestTSize(t *testing.T) {
	for _, c := range []struct {
		name                     string
		effect, sd, alpha, power float64
		want                     int
	}{
		{"one sd", 1, 1, 0.05, 0.9, 11},
		{"half an sd", 0.5, 1, 0.05, 0.9, 36},
		{"half an sd, less power", 1, 2, 0.05, 0.8, 27},
		{"a tenth", 0.1, 1, 0.05, 0.9, 858},
		{"three sd", 3, 1, 0.05, 0.9, 3},
		{"a fiftieth", 0.02, 1, 0.025, 0.9, 26271},
		{"ten sd", 10, 1, 0.05, 0.9, 2},
		{"many", 0.0033, 1, 0.05, 0.9, 786397},
		{"at 1e-9", 0.01, 1, 1e-9, 0.9, 529909},
		{"too many", 0.001, 1, 0.05, 0.9, 0},
		{"no effect", 0, 1, 0.05, 0.9, 0},
		{"a negative effect", -1, 1, 0.05, 0.9, 0},
		{"no spread", 1, 0, 0.05, 0.9, 2},
		{"any size has it", 0, 1, 0.05, 0.05 - 1e-9, 2},
		{"a huge effect", 1e9, 1, 1e-9, 0.9, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := TSize(c.effect, c.sd, c.alpha, c.power); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func BenchmarkTSize(b *testing.B) {
	for b.Loop() {
		TSize(0.5, 1, 0.05, 0.9)
	}
}
