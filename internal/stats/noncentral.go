package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// pointlike is the noncentrality beyond which the unit spread of the normal part is nothing beside it.
const pointlike = 1e4

// negligible is the part of a density's peak below which it is left out.
const negligible = 1e-30

// NoncentralT is P(T ≤ t) of the noncentral t distribution with nu degrees of freedom (above 0) and the noncentrality
// delta: of (Z + delta)/U, with a standard normal Z and nu·U² a chi-squared of nu degrees. It is right to 1e-12 for
// any nu from 1 to 1e6 and |delta| up to 1e4, probabilities down to 1e-18 in relative terms, too, and to about
// nu/delta² beyond. It is NaN where nu is not above 0.
//
// gonum's, AS 243, is right to 1e-12 in absolute terms only, and where |delta| is above 38 a normal approximation: for
// t = 60, nu = 1 and delta = 50 it gives 0.453 where 0.405 is right.
//
// Source: the definition, P = ∫ Φ(t·u − delta) f(u) du, with u = exp(x). The integrand is analytic and falls off on
// both sides faster than any power, so that the trapezoidal rule converges exponentially: Trefethen and Weideman, SIAM
// Review 56 (2014), 385–458.
func NoncentralT(t, nu, delta float64) float64 {
	switch {
	case !(nu > 0) || math.IsNaN(t) || math.IsNaN(delta):
		return math.NaN()
	case math.Abs(delta) > pointlike:
		return pointT(t, nu, delta)
	}
	// The widths, in x, of the density and of the step of Φ are 1/√(2·nu) and 1/delta.
	h := min(0.1, 0.5/math.Sqrt(2*nu+delta*delta))
	below, all := 0.0, 0.0
	add := func(x float64) (more bool) {
		w := chiDensity(x, nu)
		below += w * normalCDF(t*math.Exp(x)-delta)
		all += w
		return w > negligible
	}
	add(0)
	for k := 1.0; add(k * h); k++ {
	}
	for k := 1.0; add(-k * h); k++ {
	}
	return below / all
}

// chiDensity is the density of x = ln U as a part of its peak, at 0.
func chiDensity(x, nu float64) float64 { return math.Exp(-nu / 2 * (math.Expm1(2*x) - 2*x)) }

// normalCDF is Φ(z), with all digits of a small one, which gonum's loses.
func normalCDF(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// pointT is P(delta/U ≤ t): NoncentralT without the spread of Z.
func pointT(t, nu, delta float64) float64 {
	u := delta / t
	switch {
	case u <= 0 || t == 0: // T has the sign of delta
		if delta > 0 {
			return 0
		}
		return 1
	case delta > 0:
		return mathext.GammaIncRegComp(nu/2, nu/2*u*u) // U ≥ u
	}
	return mathext.GammaIncReg(nu/2, nu/2*u*u) // U ≤ u
}

// studentQuantile is the t below which Student's t falls with the probability p, by Newton's method on the logarithms of
// t and of the tail: the tail is the steeper there the farther out, so that no step but the first overshoots.
//
// gonum's inverse of the incomplete beta function fails in long tails: for nu = 1e5 and p = 1e-9 it gives −82 where −6
// is right.
func studentQuantile(nu, p float64) float64 {
	switch {
	case p <= 0:
		return math.Inf(-1)
	case p == 0.5:
		return 0
	case p > 0.5:
		return -studentQuantile(nu, 1-p)
	}
	student, t := distuv.StudentsT{Sigma: 1, Nu: nu}, min(8, -zOf(p)) // zOf is infinite for the smallest
	for range 100 {
		tail := NoncentralT(-t, nu, 0)
		step := math.Log(tail/p) * tail / (t * student.Prob(t))
		t *= math.Exp(step)
		if math.Abs(step) <= 1e-14 {
			break
		}
	}
	return -t
}
