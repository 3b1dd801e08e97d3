package stats

import "testing"

// R: prop.test(x, n, conf.level = level, correct = FALSE)$conf.int; the last is Newcombe's example (1998), 0.2553 to
// 0.3662.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		name      string
		x, n      int
		level     float64
		low, high float64
	}{
		{"3 of 10", 3, 10, 0.95, 0.10779126740630104, 0.60322185253885452},
		{"none", 0, 10, 0.95, 0, 0.27753279986288915},
		{"all", 10, 10, 0.95, 0.72246720013711085, 1},
		{"10 % of 20,000", 2014, 20000, 0.9, 0.097253738247183627, 0.10425427949060424},
		{"one of 3,000", 1, 3000, 0.9, 7.436758658395555e-05, 0.0014927336113185511},
		{"all but one of 3,000", 2999, 3000, 0.9, 0.99850726638868137, 0.99992563241341592},
		{"10 % of 1e8", 10_000_000, 100_000_000, 0.9, 0.099950665212845791, 0.10004935643150126},
		{"57 of 1e8", 57, 100_000_000, 0.9, 4.5860937941519869e-07, 7.0844602355056437e-07},
		{"nothing", 0, 0, 0.9, 0, 1},
		{"published", 81, 263, 0.95, 0.25528851987827428, 0.36620957698280016},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high := Wilson(c.x, c.n, c.level)
			near(t, "low", low, c.low, 1e-9)
			near(t, "high", high, c.high, 1e-9)
		})
	}
}

// The interval turns round with the counts, and holds the share.
func TestWilsonTurnsRound(t *testing.T) {
	for _, n := range []int{1, 2, 7, 60, 1000} {
		for x := 0; x <= n; x++ {
			low, high := Wilson(x, n, 0.9)
			l, h := Wilson(n-x, n, 0.9)
			near(t, "low", low, 1-h, 1e-12)
			near(t, "high", high, 1-l, 1e-12)
			if share := float64(x) / float64(n); low > share || high < share {
				t.Errorf("%d of %d: %v to %v", x, n, low, high)
			}
		}
	}
}
