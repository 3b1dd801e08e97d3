package stats

import "math"

// Interval is the two-sided Clopper–Pearson interval of a share, x of n, at a level such as 0.90: each side misses
// with at most (1−level)/2. It is 0 to 1 where n is 0. The bounds below take an alpha under 0.4.
//
// Source: Clopper and Pearson, Biometrika 26 (1934), 404–413.
func Interval(x, n int, level float64) (low, high float64) {
	alpha := (1 - level) / 2
	return LowerBound(x, n, alpha), UpperBound(x, n, alpha)
}

// LowerBound is the one-sided Clopper–Pearson bound: the p with P(X ≥ x | p) = alpha, 0 where x is 0. A true share
// below it would show x or more with at most alpha.
func LowerBound(x, n int, alpha float64) float64 {
	if x <= 0 || n <= 0 {
		return 0
	}
	share := float64(x) / float64(n)
	return solve(0, share, start(x, n, -1), func(p float64) (float64, float64) {
		tail := TailGE(n, x, p)
		// d/dp P(X ≥ x) = x/p · P(X = x); the logarithm is close to straight, so that Newton's steps are few.
		return math.Log(tail / alpha), float64(x) / p * math.Exp(LogPMF(n, x, p)) / tail
	})
}

// UpperBound is the one-sided Clopper–Pearson bound: the p with P(X ≤ x | p) = alpha, 1 where x is n.
func UpperBound(x, n int, alpha float64) float64 {
	if x >= n || n <= 0 {
		return 1
	}
	if x == 0 {
		return -math.Expm1(math.Log(alpha) / float64(n))
	}
	share := float64(x) / float64(n)
	return solve(share, 1, start(x, n, 1), func(p float64) (float64, float64) {
		tail := TailLE(n, x, p)
		// d/dp P(X ≤ x) = −(n−x)/(1−p) · P(X = x); negated, so that it rises.
		return math.Log(alpha / tail), float64(n-x) / (1 - p) * math.Exp(LogPMF(n, x, p)) / tail
	})
}

// start guesses a bound by the normal approximation at about two standard errors to one side, on the scale of
// log-odds, which cannot leave (0, 1). Any start is right; a near one is fast.
func start(x, n int, side float64) float64 {
	X, N := float64(x), float64(n)
	logit := math.Log((X+0.5)/(N-X+0.5)) + side*1.8/math.Sqrt((X+0.5)*(N-X+0.5)/(N+1))
	return 1 / (1 + math.Exp(-logit))
}

// solve finds the root of a rising f in (low, high) by Newton's method, kept inside a bracket that every step
// shrinks; f gives its value and its derivative. An infinite value (a tail that underflowed) halves the bracket.
func solve(low, high, x float64, f func(float64) (value, slope float64)) float64 {
	if !(x > low && x < high) {
		x = low + (high-low)/2
	}
	for range 200 {
		value, slope := f(x)
		if value == 0 {
			return x
		}
		if value < 0 {
			low = x
		} else {
			high = x
		}
		next := x - value/slope
		if !(next > low && next < high) {
			next = low + (high-low)/2
		}
		if math.Abs(next-x) <= 1e-15*x {
			return next
		}
		x = next
	}
	return x
}
