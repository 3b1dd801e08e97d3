package stats

import "math"

// Wilson is the two-sided score interval of a share, x of n, at a level such as 0.90: the shares that a score test
// with their own standard error does not reject. It covers the level on average, where Interval covers at least the
// level always. It is 0 to 1 where n is 0.
//
// Source: Wilson, Journal of the American Statistical Association 22 (1927), 209–212.
func Wilson(x, n int, level float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	z := zOf((1 + level) / 2)
	X, N, zz := float64(x), float64(n), z*z
	high = (X + zz/2 + z*math.Sqrt(X*(N-X)/N+zz/4)) / (N + zz)
	// The roots' product is x²/(n·(n+z²)): taken from it, a small low loses no digits to a difference.
	low = X * X / (N * (N + zz)) / high
	if x >= n {
		high = 1 // to the last digit
	}
	return low, high
}
