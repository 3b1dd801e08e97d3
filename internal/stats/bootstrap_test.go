package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// meanOver and varianceOver are statistics of xs; the variance is that with the divisor n.
func meanOver(xs []float64) func([]int) float64 {
	return func(pick []int) float64 {
		sum := 0.0
		for _, i := range pick {
			sum += xs[i]
		}
		return sum / float64(len(pick))
	}
}

func varianceOver(xs []float64) func([]int) float64 {
	return func(pick []int) float64 {
		mean, sum := meanOver(xs)(pick), 0.0
		for _, i := range pick {
			sum += (xs[i] - mean) * (xs[i] - mean)
		}
		return sum / float64(len(pick))
	}
}

func inOrder(n int) []int {
	pick := make([]int, n)
	for i := range pick {
		pick[i] = i
	}
	return pick
}

// spatial is test A of 26 children: Efron and Tibshirani, An Introduction to the Bootstrap (1993), table 14.1.
var spatial = []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}

// The book's variance is 171.5, the acceleration 0.061, the bias 0.146 and the 90 % interval 115.8 to 259.6, of 2,000
// resamples (table 14.2).
func TestBCaOfPublishedData(t *testing.T) {
	variance := varianceOver(spatial)
	near(t, "the variance", variance(inOrder(26)), 171.53402366863907, 1e-12)
	// R: j <- sapply(1:26, function(i) v(A[-i])); d <- mean(j) - j; sum(d^3)/(6*sum(d^2)^1.5)
	near(t, "the acceleration", acceleration(inOrder(26), variance), 0.061240119812307453, 1e-9)
	drawn := resample(inOrder(26), variance, 200_000, 1)
	if bias := medianBias(drawn, 171.53402366863907); math.Abs(bias-0.146) > 0.05 { // 2,000 resamples have an error of 0.028
		t.Errorf("the bias is %v", bias)
	}
	low, high := BCa(26, variance, 0.05, 200_000, 1)
	near(t, "low", low, 115.8, 0.02)
	near(t, "high", high, 259.6, 0.02)
}

// All 6⁶ picks of six values, enumerated in R, for what BCa draws:
//
//	all <- as.matrix(expand.grid(rep(list(1:6), 6))); s <- apply(all, 1, function(i) f(x[i])); e <- f(x)
//	z0 <- qnorm((sum(s < e-1e-12) + sum(abs(s-e) <= 1e-12)/2)/length(s)); a as above
//	lv <- function(z) pnorm(z0 + (z0+z)/(1-a*(z0+z))); quantile(s, lv(qnorm(c(alpha, 1-alpha))), type = 8)
func TestBCaOfAllPicks(t *testing.T) {
	six := []float64{0.31, 1.27, 0.88, 4.13, 2.04, 0.57}
	for _, c := range []struct {
		name                              string
		statistic                         func([]int) float64
		alpha                             float64
		bias, acceleration, below, beyond float64
		low, high                         float64
	}{
		{"mean", meanOver(six), 0.05, 0.094968497552042272, 0.077968784258291818,
			0.098904812470798201, 0.98247759904317633, 0.875, 2.7633333333333332},
		{"mean at 0.1", meanOver(six), 0.1, 0.094968497552042272, 0.077968784258291818,
			0.16081047086027159, 0.94918336201272846, 0.9916666666666667, 2.475},
		{"variance", varianceOver(six), 0.05, 0.17517816180171711, 0.11097573843661032,
			0.13820741626592112, 0.99297262057270097, 0.29225555555555555, 3.165947222222222},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "acceleration", acceleration(inOrder(6), c.statistic), c.acceleration, 1e-9)
			b := bca{bias: c.bias, acceleration: c.acceleration}
			near(t, "level of low", b.level(zOf(c.alpha)), c.below, 1e-9)
			near(t, "level of high", b.level(zOf(1-c.alpha)), c.beyond, 1e-9)
			drawn := resample(inOrder(6), c.statistic, 400_000, 7)
			near(t, "bias", medianBias(drawn, c.statistic(inOrder(6))), c.bias, 0.05)
			low, high := BCa(6, c.statistic, c.alpha, 400_000, 7)
			near(t, "low", low, c.low, 0.01)
			near(t, "high", high, c.high, 0.01)
		})
	}
}

// By hand: leaving a unit out moves a mean in proportion to the unit's deviation, so that the acceleration is the
// skewness/(6√n).
func TestAccelerationOfMean(t *testing.T) {
	mean, m2, m3 := meanOver(spatial)(inOrder(26)), 0.0, 0.0
	for _, x := range spatial {
		m2 += (x - mean) * (x - mean) / 26
		m3 += (x - mean) * (x - mean) * (x - mean) / 26
	}
	near(t, "acceleration", acceleration(inOrder(26), meanOver(spatial)), m3/math.Pow(m2, 1.5)/6/math.Sqrt(26), 1e-9)
}

// Bounds move and stretch with the statistic, and turn round with its sign.
func TestBCaIsEquivariant(t *testing.T) {
	variance := varianceOver(spatial)
	low, high := BCa(26, variance, 0.05, 999, 3)
	l, h := BCa(26, func(pick []int) float64 { return 5 - 2*variance(pick) }, 0.05, 999, 3)
	near(t, "low", l, 5-2*high, 1e-9)
	near(t, "high", h, 5-2*low, 1e-9)
}

func TestBCaFollowsTheSeed(t *testing.T) {
	low, high := BCa(26, meanOver(spatial), 0.05, 500, 9)
	l, h := BCa(26, meanOver(spatial), 0.05, 500, 9)
	if low != l || high != h {
		t.Error("one seed gives two results")
	}
	if l, h = BCa(26, meanOver(spatial), 0.05, 500, 10); low == l && high == h {
		t.Error("two seeds give one result")
	}
}

func TestBCaEdges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	same := meanOver([]float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1})
	greatest := func(pick []int) float64 { return float64(slices.Max(pick)) }
	distinct := func(pick []int) float64 {
		seen := map[int]bool{}
		for _, i := range pick {
			seen[i] = true
		}
		return float64(len(seen))
	}
	most := slices.Max(resample(inOrder(30), distinct, 100, 1))
	for _, c := range []struct {
		name             string
		units, resamples int
		statistic        func([]int) float64
		low, high        float64
	}{
		{"no spread", 10, 100, same, same(inOrder(10)), same(inOrder(10))},
		{"a constant", 2, 100, func([]int) float64 { return 7 }, 7, 7},
		{"one unit proves nothing", 1, 100, same, -inf, inf},
		{"no unit", 0, 100, same, -inf, inf},
		{"no resample", 10, 0, same, -inf, inf},
		{"never a number", 10, 100, func([]int) float64 { return nan }, nan, nan},
		{"not without the first", 10, 100, func(pick []int) float64 { return math.Sqrt(float64(5 - slices.Min(pick)*6)) }, nan, nan},
		{"the greatest", 10, 100, greatest, 8, 9},
		{"all resamples below the estimate: the greatest of them", 30, 100, distinct, most, most},
	} {
		low, high := BCa(c.units, c.statistic, 0.05, c.resamples, 1)
		if !alike(low, c.low) || !alike(high, c.high) {
			t.Errorf("%s: %v to %v, want %v to %v", c.name, low, high, c.low, c.high)
		}
	}
}

func alike(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// Where the acceleration outruns the quantile, the bound is the last resample, not one of the other side.
func TestBCaLevelSaturates(t *testing.T) {
	// R: pnorm(0.146 + (0.146+z)/(1-0.061*(0.146+z))) at qnorm(0.05) and qnorm(0.95)
	near(t, "level", bca{0.146, 0.061}.level(zOf(0.05)), 0.10985618255582347, 1e-9)
	near(t, "level", bca{0.146, 0.061}.level(zOf(0.95)), 0.98447701308406266, 1e-9)
	near(t, "no correction", bca{}.level(zOf(0.05)), 0.05, 1e-12)
	near(t, "outrun above", bca{0, 0.7}.level(zOf(0.95)), 1, 0)
	near(t, "outrun below", bca{0, -0.7}.level(zOf(0.05)), 0, 0)
}

// Each bound of a skew distribution's mean (exponential, 50 units) misses nearly as often as alpha, 5 %, says: 4.5 %
// below and 6.5 % above, where plain percentiles miss 3.2 % and 8.9 %; 2,000 times, with a standard error of 0.5 points.
func TestBCaCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 0))
	xs, missed, plain := make([]float64, 50), [2]float64{}, [2]float64{}
	const times = 2000
	for range times {
		for i := range xs {
			xs[i] = random.ExpFloat64()
		}
		seed := random.Uint64()
		low, high := BCa(len(xs), meanOver(xs), 0.05, 400, seed)
		countMisses(&missed, low, high)
		drawn := resample(inOrder(len(xs)), meanOver(xs), 400, seed)
		countMisses(&plain, MedianUnbiased(drawn, 0.05), MedianUnbiased(drawn, 0.95))
	}
	for side, m := range missed {
		if m < 0.035*times || m > 0.075*times {
			t.Errorf("side %d misses %v of %d", side, m, times)
		}
		if math.Abs(m-0.05*times) >= math.Abs(plain[side]-0.05*times) {
			t.Errorf("side %d misses %v of %d, plain percentiles %v", side, m, times, plain[side])
		}
	}
}

func countMisses(missed *[2]float64, low, high float64) {
	if low > 1 {
		missed[0]++
	}
	if high < 1 {
		missed[1]++
	}
}

// What is allocated does not depend on the number of resamples.
func TestBCaAllocations(t *testing.T) {
	mean := meanOver(spatial)
	few := testing.AllocsPerRun(5, func() { BCa(26, mean, 0.05, 10, 1) })
	many := testing.AllocsPerRun(5, func() { BCa(26, mean, 0.05, 10_000, 1) })
	if many != few {
		t.Errorf("%v allocations with 10 resamples, %v with 10,000", few, many)
	}
}

func BenchmarkBCa(b *testing.B) {
	mean := meanOver(spatial)
	for b.Loop() {
		BCa(26, mean, 0.05, 2000, 1)
	}
}
