package stats

import "testing"

// R: binom.test(b, b + c)$p.value
func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		name string
		b, c int
		want float64
	}{
		{"5 and 15", 5, 15, 0.041389465332031285},
		{"10 and 21", 10, 21, 0.070755545981228324},
		{"121 and 59", 121, 59, 4.4344492637551611e-06},
		{"100 and 200", 100, 200, 8.0148752165388866e-09},
		{"0 and 6: 2/64", 0, 6, 0.03125},
		{"6 and 0", 6, 0, 0.03125},
		{"alike, at most 1", 7, 7, 1},
		{"one", 1, 0, 1},
		{"none differ", 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "p", McNemar(c.b, c.c), c.want, 1e-9)
		})
	}
}
