package stats

import (
	"math"
	"testing"
)

// R, without the cubic: the restricted estimate is the root of the score equation, and the bounds those of the score.
//
//	mle <- function(x1, n1, x2, n2, d) {
//	  lo <- max(0, -d); hi <- min(1, 1-d); e <- (hi-lo)*1e-14
//	  t <- function(c, s) if (c == 0) 0 else c/s
//	  g <- function(q) t(x1, q) - t(n1-x1, 1-q) + t(x2, q+d) - t(n2-x2, 1-q-d)
//	  if (g(lo+e) <= 0) return(lo)
//	  if (g(hi-e) >= 0) return(hi)
//	  lo + (hi-lo)*plogis(uniroot(function(l) g(lo + (hi-lo)*plogis(l)), c(-32, 32), tol = 1e-15)$root)
//	}
//	sc <- function(x1, n1, x2, n2, d) {
//	  q <- mle(x1, n1, x2, n2, d); r <- min(1, max(0, q+d)); N <- n1+n2
//	  (x2/n2 - x1/n1 - d) / sqrt((q*(1-q)/n1 + r*(1-r)/n2) * N/(N-1))
//	}
func TestDifferencePValue(t *testing.T) {
	for _, c := range []struct {
		name           string
		x1, n1, x2, n2 int
		margin, want   float64
	}{
		// pnorm(sc(x1, n1, x2, n2, margin), lower.tail = FALSE)
		{"no margin", 48, 80, 56, 70, 0, 0.004129143964690378},
		{"a margin below", 48, 80, 56, 70, 0.05, 0.022930023999198409},
		{"a margin above", 48, 80, 56, 70, 0.3, 0.91977821530088555},
		{"rare", 3, 3000, 5, 3000, 0.001, 0.63537827964948868},
		{"rarer", 1, 3000, 0, 3000, 0.001, 0.97730384999507558},
		{"none", 0, 3000, 0, 3000, 0.0009, 0.94988820173623123},
		{"more errors", 2, 3000, 40, 3000, 0.001, 1.0867177170624759e-08},
		{"far in the tail", 10, 100000, 12, 1000, -0.002, 6.3551094059613285e-291},
		{"all, none", 0, 10, 10, 10, 0.9, 0.15865525393145716},
		{"close to -1", 10, 10, 3, 10, -0.9, 0.019948937600701596},
		{"5 and 1e8", 3, 5, 1_000_000, 100_000_000, -0.7, 0.29388766208814865},
		{"none of the first", 0, 29, 5, 56, 0, 0.049587827285275408},
		{"all of the first", 20, 20, 19, 20, -0.1, 0.2308714126955434},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "p", DifferencePValue(c.x1, c.n1, c.x2, c.n2, c.margin), c.want, 1e-9)
		})
	}
}

func TestDifferenceEdges(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"no trial of the first", DifferencePValue(0, 0, 5, 10, 0), 1},
		{"no trial of the second", DifferencePValue(5, 10, 0, 0, 0), 1},
		{"nothing", DifferencePValue(0, 0, 0, 0, 0), 1},
		{"none at all: the limit from both sides", DifferencePValue(0, 9, 0, 9, 0), 0.5},
		{"all at all", DifferencePValue(9, 9, 9, 9, 0), 0.5},
		{"one and one trial", DifferencePValue(0, 1, 1, 1, 0), normalCDF(-math.Sqrt(1 / (0.5 * 2)))},
		{"a margin of 1", DifferencePValue(0, 10, 10, 10, 1), 1},
		{"a margin of -1", DifferencePValue(0, 10, 1, 10, -1), 0},
		{"a margin below -1", DifferencePValue(10, 10, 0, 10, -2), 0},
	} {
		near(t, c.name, c.got, c.want, 1e-15)
	}
}

// The first seven are examples of Newcombe, Statistics in Medicine 17 (1998), 873–890, table II, method 6.
func TestDifferenceBounds(t *testing.T) {
	for _, c := range []struct {
		name             string
		x1, n1, x2, n2   int
		alpha, low, high float64
	}{
		// uniroot(function(d) sc(x1, n1, x2, n2, d) - qnorm(1-alpha), ...), + for high
		{"0.0528 to 0.3382", 48, 80, 56, 70, 0.025, 0.052829713245844713, 0.3381729400158684},
		{"0.1700 to 0.8406", 3, 10, 9, 10, 0.025, 0.17002501642439899, 0.84064954394332836},
		{"0.0342 to 0.8534", 2, 7, 6, 7, 0.025, 0.034175545084364503, 0.85340525989742022},
		{"-0.0326 to 0.1933", 0, 29, 5, 56, 0.025, -0.032596561743513691, 0.19333097669088067},
		{"-0.1658 to 0.2844", 0, 20, 0, 10, 0.025, -0.1657602275421716, 0.28438133953437728},
		{"-0.2879 to 0.2879", 0, 10, 0, 10, 0.025, -0.28793394128201211, 0.28793394128201211},
		{"0.7156 to 1", 0, 20, 10, 10, 0.025, 0.71561866046562284, 1},
		{"all against none", 10, 10, 0, 10, 0.05, -1, -0.75070484092533263},
		{"none of 3,000", 0, 3000, 0, 3000, 0.05, -0.000901185283597418, 0.000901185283597418},
		{"rare", 3, 3000, 5, 3000, 0.05, -0.0010343107492628788, 0.0025361747759393271},
		{"almost all", 3000, 3000, 2998, 3000, 0.05, -0.0020126955313440774, 0.00023481904731029342},
		{"different sizes", 10, 100000, 12, 1000, 0.05, 0.0074091005494038367, 0.019024185375630887},
		{"a million", 12345, 1_000_000, 12400, 1_000_000, 0.05, -0.00020214937521300779, 0.00031215501701315591},
		{"one of 3,000", 1, 3000, 0, 3000, 0.05, -0.0014928914471678727, 0.00056800219048684924},
		{"no trial", 0, 0, 3, 10, 0.05, -1, 1},
		{"no trial of the second", 3, 10, 0, 0, 0.05, -1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high := DifferenceBounds(c.x1, c.n1, c.x2, c.n2, c.alpha)
			near(t, "low", low, c.low, 1e-9)
			near(t, "high", high, c.high, 1e-9)
		})
	}
}

// None of both: by hand, p1 is 0 and z² = n·d/(1−d)·(N−1)/N.
func TestDifferenceBoundsOfNone(t *testing.T) {
	for _, n := range []int{1, 10, 3000, 100_000_000} {
		N, zz := 2*float64(n), zOf(0.95)*zOf(0.95)
		want := zz * N / (N - 1) / (N/2 + zz*N/(N-1))
		low, high := DifferenceBounds(0, n, 0, n, 0.05)
		near(t, "high", high, want, 1e-12)
		near(t, "low", low, -want, 1e-12)
		low, high = DifferenceBounds(n, n, n, n, 0.05)
		near(t, "high of all", high, want, 1e-7) // 1 − d costs a d of 1e-8 its digits
		near(t, "low of all", low, -want, 1e-7)
	}
}

// Over all tables of small groups: the estimate is where the likelihood is greatest, and where the closed form says,
// p-values rise with the margin, the bounds hold the difference and turn round with the groups.
func TestDifferenceOfAllTables(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, 4}, {5, 3}, {9, 9}} {
		for x1 := range n[0] + 1 {
			for x2 := range n[1] + 1 {
				p, last := pairOf(x1, n[0], x2, n[1]), 0.0
				for d := -1.0; d <= 1; d += 1. / 16 {
					checkGreatest(t, p, d)
					now := DifferencePValue(x1, n[0], x2, n[1], d)
					if !(now >= last-1e-12) {
						t.Errorf("%v: p falls from %v to %v at %v", p, last, now, d)
					}
					last = now
				}
				low, high := DifferenceBounds(x1, n[0], x2, n[1], 0.05)
				if d := p.difference(); !(low <= d && d <= high) {
					t.Errorf("%v: %v is not in %v to %v", p, d, low, high)
				}
				l, h := DifferenceBounds(x2, n[1], x1, n[0], 0.05)
				if math.Abs(low+h)+math.Abs(high+l) > 1e-12 {
					t.Errorf("%v: %v to %v, turned round %v to %v", p, low, high, l, h)
				}
			}
		}
	}
}

// checkGreatest compares the likelihood at the restricted estimate with that of a grid.
func checkGreatest(t *testing.T, p pair, d float64) {
	t.Helper()
	logs := func(p1 float64) float64 {
		sum := 0.0
		for _, part := range [][2]float64{{p.x1, p1}, {p.n1 - p.x1, 1 - p1}, {p.x2, p1 + d}, {p.n2 - p.x2, 1 - p1 - d}} {
			if part[0] > 0 {
				sum += part[0] * math.Log(max(0, part[1]))
			}
		}
		return sum
	}
	low, high := max(0, -d), min(1, 1-d)
	best := p.restricted(d)
	if best < low || best > high {
		t.Errorf("%v at %v: the estimate %v is not in %v to %v", p, d, best, low, high)
	}
	if best > low && best < high && math.Abs(p.cubic(d)-best) > 1e-7 {
		t.Errorf("%v at %v: the closed form gives %v, its polish %v", p, d, p.cubic(d), best)
	}
	for i := range 101 {
		if other := low + (high-low)*float64(i)/100; logs(other) > logs(best)+1e-12 {
			t.Errorf("%v at %v: %v is more likely than %v", p, d, other, best)
		}
	}
}

func FuzzDifference(f *testing.F) {
	f.Add(48, 80, 56, 70, 0.05)
	f.Add(0, 3000, 0, 3000, 0.0009)
	f.Add(1, 100_000_000, 99_999_999, 100_000_000, 1e-9)
	f.Fuzz(func(t *testing.T, x1, n1, x2, n2 int, margin float64) {
		if x1 < 0 || x2 < 0 || x1 > n1 || x2 > n2 || max(n1, n2) > 1_000_000_000 || !(margin >= -1 && margin <= 1) {
			return // no table
		}
		if p := DifferencePValue(x1, n1, x2, n2, margin); !(p >= 0 && p <= 1) {
			t.Errorf("p is %v", p)
		}
		low, high := DifferenceBounds(x1, n1, x2, n2, 0.05)
		if !(low >= -1 && low <= high && high <= 1) {
			t.Fatalf("%v to %v", low, high)
		}
		if low > -1 && n1 > 0 && n2 > 0 {
			near(t, "p at low", DifferencePValue(x1, n1, x2, n2, low), 0.05, 1e-5)
		}
	})
}

func BenchmarkDifferenceBounds(b *testing.B) {
	for b.Loop() {
		DifferenceBounds(3, 3000, 5, 3000, 0.05)
	}
}
