package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// BCa gives the one-sided lower and upper bound, each at alpha, of what statistic estimates, by the bias-corrected and
// accelerated bootstrap over independent units (whole blocks, where what is inside a block is not independent). The
// statistic is called with the indexes of the units it shall use, from 0, some of them several times: all in order for
// the estimate, without each in turn, and resamples times with as many drawn at random. It must neither change nor keep
// them. The seed determines the result; at alpha 0.05 another one moves a bound by about 1.3/√resamples of its distance
// from the estimate.
//
// Where no resample differs from the estimate, both bounds are the estimate. Below 2 units or 1 resample they are
// infinite, and where the statistic is NaN for any pick they are NaN.
//
// Source: Efron, Journal of the American Statistical Association 82 (1987), 171–185. A resample equal to the estimate
// counts as half below it, which leaves statistics of few different values unbiased.
func BCa(units int, statistic func(pick []int) float64, alpha float64, resamples int, seed uint64) (low, high float64) {
	if units < 2 || resamples < 1 {
		return math.Inf(-1), math.Inf(1)
	}
	pick := make([]int, units)
	for i := range pick {
		pick[i] = i
	}
	estimate := statistic(pick)
	drawn := resample(pick, statistic, resamples, seed)
	if first, last := drawn[0], drawn[resamples-1]; first == last && first == estimate {
		return estimate, estimate
	}
	b := bca{bias: medianBias(drawn, estimate), acceleration: acceleration(pick, statistic)}
	if math.IsNaN(drawn[0]) || math.IsNaN(b.acceleration) {
		return math.NaN(), math.NaN()
	}
	return MedianUnbiased(drawn, b.level(zOf(alpha))), MedianUnbiased(drawn, b.level(zOf(1-alpha)))
}

// resample gives the statistics of random picks, sorted, NaNs first. It uses pick up.
func resample(pick []int, statistic func([]int) float64, resamples int, seed uint64) []float64 {
	random, drawn := rand.New(rand.NewPCG(seed, 0)), make([]float64, resamples)
	for r := range drawn {
		for i := range pick {
			pick[i] = random.IntN(len(pick))
		}
		drawn[r] = statistic(pick)
	}
	slices.Sort(drawn)
	return drawn
}

// medianBias is Efron's z₀: how far, in standard errors, the estimate lies from the median of the resamples. It is
// kept finite where all of them lie on one side. The same units in another order may sum up to another last digit,
// which makes no difference here.
func medianBias(sorted []float64, estimate float64) float64 {
	rounding := 1e-14 * math.Abs(estimate)
	below, _ := slices.BinarySearch(sorted, estimate-rounding)
	upTo, _ := slices.BinarySearch(sorted, math.Nextafter(estimate+rounding, math.Inf(1)))
	n, rank := float64(len(sorted)), float64(below+upTo)/2
	return zOf(min(n-0.5, max(0.5, rank)) / n)
}

// acceleration is Efron's a, a sixth of the skewness of the jackknife's influences: how fast the standard error changes
// with the estimated value. It uses pick up.
//
// Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), (14.15).
func acceleration(pick []int, statistic func([]int) float64) float64 {
	n := len(pick)
	without := make([]float64, n)
	for i := range pick {
		pick[i] = i + 1
	}
	for i := range without {
		without[i] = statistic(pick[:n-1])
		pick[i] = i // puts unit i back in the place of i+1
	}
	mean := MeanOf(without).Mean
	squares, cubes := 0.0, 0.0
	for _, w := range without {
		d := mean - w
		squares += d * d
		cubes += d * d * d
	}
	if squares == 0 {
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}

// bca is what BCa corrects the levels of percentiles by.
type bca struct{ bias, acceleration float64 }

// level is the share of resamples below the bound of the normal quantile z. Where the acceleration outruns z, the
// bound is the last resample on its side.
//
// Source: Efron and Tibshirani (1993), (14.10).
func (b bca) level(z float64) float64 {
	w := b.bias + z
	slower := 1 - b.acceleration*w
	if slower <= 0 {
		return normalCDF(math.Copysign(math.Inf(1), w))
	}
	return normalCDF(b.bias + w/slower)
}
