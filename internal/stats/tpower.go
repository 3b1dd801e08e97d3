package stats

import "math"

// sizeLimit is the greatest number of units that TSize thinks of.
const sizeLimit = 1_000_000

// TPower is the power of the one-sided one-sample t test at alpha with n units: the probability that Above (or Below)
// is at most alpha where the true mean lies the effect, in the unit of the values, beyond the limit and the units'
// standard deviation is sd. It is 0 where n is below 2. Without any spread it is 0 or 1.
//
// Source: the test statistic is noncentral t with n−1 degrees of freedom and the noncentrality effect/sd·√n (Johnson
// and Welch, Biometrika 31 (1940), 362–389).
func TPower(n int, effect, sd, alpha float64) float64 {
	switch {
	case n < 2 || (sd <= 0 && effect <= 0):
		return 0
	case sd <= 0:
		return 1
	}
	nu := float64(n - 1)
	// P(T > t) as P(−T < −t), which keeps the digits of a small power.
	return NoncentralT(studentQuantile(nu, alpha), nu, -effect/sd*math.Sqrt(float64(n)))
}

// TSize is the least number of units, at least 2, with which TPower reaches power; 0 where 1e6 do not. The effect must
// not be negative, as the power falls with n then.
func TSize(effect, sd, alpha, power float64) int {
	n := search(2, sizeLimit+1, func(n int) bool { return TPower(n, effect, sd, alpha) >= power })
	if n > sizeLimit {
		return 0
	}
	return n
}
