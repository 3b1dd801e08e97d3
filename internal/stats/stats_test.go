package stats

import (
	"math"
	"testing"
)

// near fails unless got is within a relative error of want (absolute below 1e-300).
func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > relative*math.Abs(want)+1e-300 {
		t.Errorf("%s = %.17g, want %.17g", what, got, want)
	}
}

// Values of scipy 1.17's binom.sf and binom.cdf (boost), except where noted.
func TestTails(t *testing.T) {
	for _, c := range []struct {
		name   string
		n, x   int
		p      float64
		ge, le float64
	}{
		{"by hand", 10, 3, 0.2, 0.32220047360000015, 0.8791261183999999},
		{"fraction 12 within 1 of 10", 20000, 2400, 0.11, 4.215084148710283e-06, 0.999996197097598},
		{"far below", 20000, 1800, 0.11, 1, 8.016930082464384e-21},
		{"at the mean", 20000, 2000, 0.1, 0.5034478093684318, 0.5059549542140778},
		{"0.57 %", 1_000_000, 5699, 0.005699, 0.5017766379219202, 0.5035229908420251},
		{"1e8 at the mean", 100_000_000, 10_000_000, 0.1, 0.5000487596119569, 0.5000842211470571},
		{"1e8 above", 100_000_000, 10_050_000, 0.1, 1.4098516002560394e-62, 1},
		{"1e8 below", 100_000_000, 9_900_000, 0.1, 1, 1.2213007462714677e-244},
		{"rare of 1e8", 100_000_000, 57, 1e-6, 0.9999988414970991, 2.076421827309158e-06},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "P(X ≥ x)", TailGE(c.n, c.x, c.p), c.ge, 1e-9)
			near(t, "P(X ≤ x)", TailLE(c.n, c.x, c.p), c.le, 1e-9)
		})
	}
}

func TestTailEdges(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"none is at least 0", TailGE(5, 0, 0.3), 1},
		{"6 of 5", TailGE(5, 6, 0.3), 0},
		{"below 0", TailLE(5, -1, 0.3), 0},
		{"all", TailLE(5, 5, 0.3), 1},
		{"p = 0, some", TailGE(5, 1, 0), 0},
		{"p = 0, none", TailLE(5, 0, 0), 1},
		{"p = 1, all", TailGE(5, 5, 1), 1},
		{"p = 1, fewer", TailLE(5, 4, 1), 0},
		{"0 of 0", TailLE(0, 0, 0.5), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

// The probabilities of all counts sum to 1, and the tails are their sums.
func TestTailsAreSumsOfMasses(t *testing.T) {
	for _, p := range []float64{0.001, 0.1, 0.5, 0.93} {
		for _, n := range []int{1, 2, 17, 300} {
			sum := 0.0
			for x := 0; x <= n; x++ {
				near(t, "P(X ≥ x)", TailGE(n, x, p)+sum, 1, 1e-12)
				sum += math.Exp(LogPMF(n, x, p))
				near(t, "P(X ≤ x)", TailLE(n, x, p), sum, 1e-11)
			}
			near(t, "the sum", sum, 1, 1e-12)
		}
	}
}

// Values of scipy's beta.ppf and beta.isf.
func TestInterval(t *testing.T) {
	for _, c := range []struct {
		name      string
		x, n      int
		level     float64
		low, high float64
	}{
		{"none", 0, 10, 0.95, 0, 0.3084971078187607},
		{"all", 10, 10, 0.95, 0.6915028921812392, 1},
		{"3 of 10", 3, 10, 0.95, 0.0667395111777345, 0.6524528500599973},
		{"10 % of 20,000", 2014, 20000, 0.9, 0.09721796154900104, 0.10426813537115578},
		{"10 % of 1e8", 10_000_000, 100_000_000, 0.9, 0.0999506579404234, 0.1000493591580223},
		{"none of 1e8", 0, 100_000_000, 0.9, 0, 2.9957322286819324e-08},
		{"0.57 %", 5699, 1_000_000, 0.9, 0.005575740558107064, 0.005824382900542592},
		{"one of 3,000", 1, 3000, 0.9, 1.7097618629902705e-05, 0.0015803018274587314},
		{"nothing", 0, 0, 0.9, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high := Interval(c.x, c.n, c.level)
			near(t, "low", low, c.low, 1e-9)
			near(t, "high", high, c.high, 1e-9)
		})
	}
}

// A bound is where the tail is alpha, for every count of many n.
func TestBoundsInvertTails(t *testing.T) {
	for _, n := range []int{1, 2, 7, 60, 1000} {
		for x := 0; x <= n; x += 1 + n/50 {
			for _, alpha := range []float64{0.3, 0.05, 1e-6} {
				if x > 0 {
					near(t, "P(X ≥ x | low)", TailGE(n, x, LowerBound(x, n, alpha)), alpha, 1e-9)
				}
				if x < n {
					near(t, "P(X ≤ x | high)", TailLE(n, x, UpperBound(x, n, alpha)), alpha, 1e-8)
				}
			}
		}
	}
}

// The sizes are those of a plain enumeration with scipy's beta.ppf, beta.isf and binom.cdf, n by n. The published
// ones (of a coarser search) have the power too, but some n above them has not: 39,229 has 0.8990.
func TestSampleSize(t *testing.T) {
	for _, c := range []struct {
		name             string
		p0, delta, power float64
		want, published  int
	}{
		{"10 % ± 0.5", 0.10, 0.005, 0.9, 39230, 39221},
		{"10 % ± 1", 0.10, 0.01, 0.9, 9896, 9950},
		{"25 % ± 1", 0.25, 0.01, 0.9, 20422, 20450},
		{"50 % ± 1", 0.50, 0.01, 0.9, 27215, 27211},
		{"1 % ± 0.5", 0.01, 0.005, 0.9, 4731, 4750},
		{"10 % ± 1, never red by chance", 0.10, 0.01, 0.999, 22182, 22200},
		{"50 % ± 2, never red by chance", 0.50, 0.02, 0.999, 15309, 15350},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := SampleSize(c.p0, c.delta, c.power)
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			near(t, "the size", float64(got), float64(c.published), 0.006)
			if power := Power(c.published, c.p0, c.delta); power < c.power {
				t.Errorf("the published n, %d, has the power %v", c.published, power)
			}
		})
	}
}

func TestSampleSizeWhereNothingDecides(t *testing.T) {
	for _, c := range []struct {
		name             string
		p0, delta, power float64
	}{
		{"the margin is the fraction", 0.01, 0.01, 0.9},
		{"the margin reaches 100 %", 0.99, 0.02, 0.9},
		{"no margin", 0.5, 0, 0.9},
		{"power 1", 0.5, 0.1, 1},
	} {
		if got := SampleSize(c.p0, c.delta, c.power); got != 0 {
			t.Errorf("%s: %d", c.name, got)
		}
	}
}

// From the sample size on the power holds, and just before it does not: by Power, which shares no state with the walk.
func TestSampleSizeIsTheLastTooth(t *testing.T) {
	for _, c := range []struct{ p0, delta, power float64 }{
		{0.1, 0.05, 0.9}, {0.05, 0.03, 0.9}, {0.5, 0.1, 0.8}, {0.9, 0.04, 0.99}, {0.02, 0.015, 0.5}, {0.3, 0.2, 0.999},
	} {
		n := SampleSize(c.p0, c.delta, c.power)
		if got := Power(n-1, c.p0, c.delta); got >= c.power {
			t.Errorf("%v: the power is %v at %d already", c, got, n-1)
		}
		for m := n; m < 3*n; m++ {
			if got := Power(m, c.p0, c.delta); got < c.power {
				t.Fatalf("%v: the power at %d is %v, below, after %d", c, m, got, n)
			}
		}
	}
}

func TestSampleSizeBeyondEnumeration(t *testing.T) {
	exact := float64(SampleSize(0.5, 0.0002, 0.9))
	if rough := roughSize(0.5, 0.0002, 0.9); math.Abs(exact/rough-1) > 1e-3 {
		t.Errorf("exact %v, approximated %v", exact, rough)
	}
	if got := SampleSize(0.5, 1e-5, 0.9); got < 27e9 || got > 28e9 {
		t.Errorf("± 0.001 points: %d", got)
	}
}

// PassRange is what intervals say, count by count.
func TestPassRange(t *testing.T) {
	for _, c := range []struct {
		n         int
		p0, delta float64
	}{{400, 0.1, 0.05}, {1000, 0.5, 0.03}, {50, 0.1, 0.02}, {777, 0.9, 0.05}} {
		low, high := PassRange(c.n, c.p0, c.delta)
		for x := 0; x <= c.n; x++ {
			l, h := Interval(x, c.n, 0.9)
			if inside := l > c.p0-c.delta && h < c.p0+c.delta; inside != (x >= low && x <= high) {
				t.Errorf("%v: %d has the interval %v to %v, but the range is %d to %d", c, x, l, h, low, high)
			}
		}
	}
}

func TestHolm(t *testing.T) {
	for _, c := range []struct {
		name    string
		p, want []float64
	}{
		{"none", nil, nil},
		{"one is as it was", []float64{0.03}, []float64{0.03}},
		// R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
		{"four", []float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{"capped at 1", []float64{0.9, 0.6}, []float64{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, got := range Holm(c.p) {
				near(t, "adjusted", got, c.want[i], 1e-12)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	ten := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		q    float64
		want int
	}{{0, 1}, {0.5, 5}, {0.54, 5}, {0.55, 6}, {0.9, 9}, {0.99, 10}, {1, 10}} {
		if got := Quantile(ten, c.q); got != c.want {
			t.Errorf("quantile %v is %d, want %d", c.q, got, c.want)
		}
	}
	if Rank(0, 0.5) != 0 {
		t.Error("nothing has no rank")
	}
}

// numpy.quantile(range(1, 11), q, method="median_unbiased").
func TestMedianUnbiased(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct{ q, want float64 }{{0.01, 1}, {0.25, 2.9166666666666665}, {0.5, 5.5}, {0.9, 9.633333333333333}, {0.99, 10}} {
		near(t, "quantile", MedianUnbiased(ten, c.q), c.want, 1e-12)
	}
}

func TestRanks(t *testing.T) {
	for _, c := range []struct {
		name         string
		n            int
		q            float64
		lower, upper int
	}{
		// Wilks (1941): 59 values for a 95 % bound on the 95th percentile, 299 on the 99th.
		{"Wilks, one too few", 58, 0.95, 52, 0},
		{"Wilks", 59, 0.95, 53, 59},
		{"p99, one too few", 298, 0.99, 292, 0},
		{"p99", 299, 0.99, 293, 299},
		// Signs: P(Bin(20, ½) ≤ 5) = 0.0207, ≤ 6 is 0.0577.
		{"median of 20", 20, 0.5, 6, 15},
		{"nothing", 0, 0.5, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := LowerRank(c.n, c.q, 0.05); got != c.lower {
				t.Errorf("lower rank %d, want %d", got, c.lower)
			}
			if got := UpperRank(c.n, c.q, 0.05); got != c.upper {
				t.Errorf("upper rank %d, want %d", got, c.upper)
			}
		})
	}
}

// Student's sleep data (Biometrika 6, 1908): R's t.test(extra[11:20] - extra[1:10]) has t = 4.0621, the 95 % interval
// 0.7001142 to 2.4598858 and the two-sided p 0.002832890.
func TestMean(t *testing.T) {
	m := MeanOf([]float64{1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4})
	low, high := m.Interval(0.95)
	near(t, "mean", m.Mean, 1.58, 1e-12)
	near(t, "low", low, 0.7001142366, 1e-8)
	near(t, "high", high, 2.4598857634, 1e-8)
	near(t, "p", 2*m.Above(0), 0.002832890197, 1e-8)
	near(t, "p, other side", m.Above(3.16)+m.Above(0), 1, 1e-9)
	if one := MeanOf([]float64{3}); one.Above(0) != 1 {
		t.Error("one value proves nothing")
	}
	if same := MeanOf([]float64{3, 3}); same.Above(3) != 1 || same.Above(2) != 0 {
		t.Error("without spread the test is a comparison")
	}
}

func TestDecisiveSize(t *testing.T) {
	for _, c := range []struct {
		name  string
		x, n  int
		limit float64
		want  int
	}{
		{"no error, limit 0.1 %: ln 0.05 / ln 0.999", 0, 100, 0.001, 2995},
		{"no error, limit 1 %", 0, 1, 0.01, 299},
		{"all of them are errors", 2, 2, 0.001, 1},
		{"on the limit", 1, 100, 0.01, 0},
		{"no limit", 1, 100, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := DecisiveSize(c.x, c.n, c.limit, 0.05); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
	n := DecisiveSize(5, 10000, 0.001, 0.05)
	if high := UpperBound(n/2000, n, 0.05); high >= 0.001 {
		t.Errorf("0.05 %% of %d is bounded by %v", n, high)
	}
}

func FuzzTails(f *testing.F) {
	f.Add(20000, 2000, 0.1)
	f.Add(1, 0, 1e-9)
	f.Add(1_000_000, 999_999, 0.999999)
	f.Fuzz(func(t *testing.T, n, x int, p float64) {
		if n < 0 || n > 1_000_000 || !(p >= 0 && p <= 1) {
			return // no binomial variable
		}
		ge, le := TailGE(n, x, p), TailLE(n, x-1, p)
		if !(ge >= 0 && ge <= 1 && le >= 0 && le <= 1) || math.Abs(ge+le-1) > 1e-9 {
			t.Errorf("n %d, x %d, p %v: %v and %v", n, x, p, ge, le)
		}
	})
}

func BenchmarkSampleSize(b *testing.B) {
	for b.Loop() {
		SampleSize(0.1, 0.005, 0.9)
	}
}

func BenchmarkSampleSizeWide(b *testing.B) {
	for b.Loop() {
		SampleSize(0.5, 0.001, 0.9)
	}
}

func BenchmarkInterval1e8(b *testing.B) {
	for b.Loop() {
		Interval(10_000_000, 100_000_000, 0.9)
	}
}
