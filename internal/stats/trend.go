package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// Trend is the slope of ys over xs by ordinary least squares, in units of y per unit of x, and the two-sided p-value
// of "it is 0" by the t test with n−2 degrees of freedom. Points of drift must be independent for it to hold. The
// slope is 0 and p is 1 where all xs are alike, and p is 1 below 3 points; without any residual it is 0 or 1. The
// slices must be as long as each other.
//
// Source: Draper and Smith, Applied Regression Analysis (1998), chapter 1.
func Trend(xs, ys []float64) (slope, p float64) {
	n := len(xs)
	spread := 0.0
	if n > 1 {
		spread = stat.Variance(xs, nil) * float64(n-1)
	}
	if !(spread > 0) {
		return 0, 1
	}
	_, slope = stat.LinearRegression(xs, ys, nil, false)
	if n < 3 {
		return slope, 1
	}
	fit := Mean{N: n - 1, Mean: math.Abs(slope), SE: math.Sqrt(residual(xs, ys, slope) / float64(n-2) / spread)}
	return slope, min(1, 2*fit.Above(0)) // a Mean has N−1 degrees of freedom
}

// residual is the sum of the squared distances from the line of that slope through the point of both means, from which
// they are taken: times since 1970 would cost the digits of an intercept.
func residual(xs, ys []float64, slope float64) float64 {
	x, y, sum := stat.Mean(xs, nil), stat.Mean(ys, nil), 0.0
	for i := range xs {
		d := ys[i] - y - slope*(xs[i]-x)
		sum += d * d
	}
	return sum
}
