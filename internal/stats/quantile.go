package stats

import "math"

// Rank is the 1-based rank of the nearest-rank quantile that HdrHistogram's valueAtPercentile uses in Go: q·n rounded
// half up, at least 1 and at most n. It is 0 where n is 0.
func Rank(n int, q float64) int {
	return min(n, max(1, int(math.Floor(q*float64(n)+0.5))))
}

// Quantile is the element of rank Rank of a sorted, non-empty slice.
func Quantile[T any](sorted []T, q float64) T { return sorted[Rank(len(sorted), q)-1] }

// MedianUnbiased estimates the quantile q from a sorted, non-empty slice, interpolated so that it is
// median-unbiased whatever the distribution: two samples of different sizes can be compared without the bias of rank
// rounding.
//
// Source: Hyndman and Fan, The American Statistician 50 (1996), 361–365, definition 8.
func MedianUnbiased(sorted []float64, q float64) float64 {
	n := len(sorted)
	h := (float64(n)+1./3)*q + 1./3
	i := int(math.Floor(h))
	switch {
	case i < 1:
		return sorted[0]
	case i >= n:
		return sorted[n-1]
	}
	return sorted[i-1] + (h-float64(i))*(sorted[i]-sorted[i-1])
}

// UpperRank is the smallest rank u (from 1) of n sorted independent values whose value is at or above the quantile q of
// their distribution, whatever that is, with a confidence of at least 1−alpha; 0 where no rank is (n too small).
//
// Source: Hahn and Meeker, Statistical Intervals (1991), section 5.2: values at or below the quantile are
// binomial (n, q), and P(X ≤ u−1) ≥ 1−alpha is asked for.
func UpperRank(n int, q, alpha float64) int {
	u := search(1, n+1, func(u int) bool { return TailGE(n, u, q) <= alpha })
	if u > n {
		return 0
	}
	return u
}

// LowerRank is the greatest rank l (from 1) whose value is at or below the quantile q with a confidence of at least
// 1−alpha: P(X ≥ l) ≥ 1−alpha, as in UpperRank; 0 where no rank is.
func LowerRank(n int, q, alpha float64) int {
	return search(1, n+1, func(l int) bool { return TailLE(n, l-1, q) > alpha }) - 1
}
