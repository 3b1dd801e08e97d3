package stats

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// R's pt(t, nu, ncp) is AS 243, right to 1e-12, so that the digits of these are of the integral over Z, which shares
// nothing with the one over U; pt agrees to 1e-9 where ncp is below 37.
//
//	pnorm(-d) + sum(sapply(seq(max(-d, -9), 8.8, by = 0.2), function(a) integrate(function(z)
//	  dnorm(z)*pchisq(nu*((z+d)/t)^2, nu, lower.tail = FALSE), a, a+0.2, rel.tol = 1e-13, abs.tol = 0)$value))
func TestNoncentralT(t *testing.T) {
	for _, c := range []struct{ t, nu, delta, want float64 }{
		{2, 10, 1, 0.80761156253037525},
		{1.9, 20, 9, 5.3154155422013741e-12},
		{60, 1, 50, 0.40472200885941417},
		{50, 3, 30, 0.78163779385113585},
		{35, 500, 30, 0.99961481791673523},
		{1.64, 99999, 3, 0.086915760134344128},
		{1010, 60, 1000, 0.51899555305494538},
		{8, 2, -1, 0.99883898568058893},
		{100, 1, 20, 0.84148840139697778},
		{9.5, 400, 12, 0.0087812739202941231},
		// pt(t, nu, ncp)
		{-1, 10, 1, 0.02680185676949598},
		{0, 5, 2, 0.022750131948179212},
		{30, 1, 30, 0.31757921494087626},
		{-28, 20, -30, 0.70437588696049991},
		{-3, 7, -1.5, 0.13589019579441253},
		{1.5, 50, 4, 0.0065765806992135918},
		{2.2, 9, 0, 0.9723297136006942},
		{31, 4, 30, 0.44190026969444279},
		{1.7, 499, 0.5, 0.88442801876717891},
	} {
		near(t, "P(T ≤ t)", NoncentralT(c.t, c.nu, c.delta), c.want, 1e-9)
		near(t, "turned round", NoncentralT(-c.t, c.nu, -c.delta), 1-c.want, 1e-9)
	}
}

// gonum's AS 243 is right in absolute terms where delta is below 37.
func TestNoncentralTAgreesWithSeries(t *testing.T) {
	for _, nu := range []float64{1, 1.5, 2, 3, 7, 20, 99, 250, 500} {
		for _, delta := range []float64{-30, -8, -1, -0.1, 0, 0.5, 2, 5, 12, 30} {
			for _, z := range []float64{-6, -3, -1, 0, 0.3, 2, 4, 20} {
				want := distuv.NoncentralT{Nu: nu, Mu: delta}.CDF(delta + z)
				if got := NoncentralT(delta+z, nu, delta); !(math.Abs(got-want) < 1e-11) {
					t.Errorf("t %v, nu %v, delta %v: %v, not %v", delta+z, nu, delta, got, want)
				}
			}
		}
	}
}

// Without noncentrality it is Student's, whose tail for nu = 1 is arctan.
func TestNoncentralTOfNone(t *testing.T) {
	for _, x := range []float64{1e-9, 0.1, 1, 30, 1e6} {
		near(t, "nu = 1", NoncentralT(-x, 1, 0), math.Atan(1/x)/math.Pi, 1e-12)
		near(t, "nu = 2", NoncentralT(-x, 2, 0), 1/(math.Sqrt(x*x+2)*(math.Sqrt(x*x+2)+x)), 1e-12)
	}
}

func TestNoncentralTEdges(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name               string
		t, nu, delta, want float64
	}{
		{"t = ∞", inf, 5, 3, 1},
		{"t = −∞", -inf, 5, 3, 0},
		{"delta = ∞", 3, 5, inf, 0},
		{"delta = −∞", 3, 5, -inf, 1},
		{"a great delta, t of the other sign", -3, 5, 1e9, 0},
		{"a great negative delta, t of the other sign", 3, 5, -1e9, 1},
		{"a great delta, t = 0", 0, 5, 1e9, 0},
		// R: pchisq(4 * (1e6/1.1e6)^2, 4, lower.tail = FALSE), and its complement
		{"a great delta", 1.1e6, 4, 1e6, 0.50801617850997383},
		{"a great negative delta", -1.1e6, 4, -1e6, 0.49198382149002617},
	} {
		near(t, c.name, NoncentralT(c.t, c.nu, c.delta), c.want, 1e-9)
	}
	for _, c := range [][3]float64{{1, 0, 1}, {1, -1, 1}, {math.NaN(), 2, 1}, {1, 2, math.NaN()}, {1, math.NaN(), 1}} {
		if got := NoncentralT(c[0], c[1], c[2]); !math.IsNaN(got) {
			t.Errorf("%v: %v", c, got)
		}
	}
	near(t, "where both forms meet", NoncentralT(9990, 50, 1e4), NoncentralT(9991, 50, 10001), 1e-5)
}

// R: qt(p, nu).
func TestStudentQuantile(t *testing.T) {
	for _, c := range []struct{ nu, p, want float64 }{
		{1, 0.4, -0.32491969623290634},
		{1, 1e-9, -318309886.18379068},
		{1, 1e-15, -3.1830988618379069e14},
		{29, 0.05, -1.6991270265334975},
		{29, 1e-9, -8.5564273076113011},
		{500, 1e-15, -8.20278044644861382},
		{1e5, 0.05, -1.6448688647849694},
		{1e5, 1e-9, -5.9983614616790764},
		{3, 0.975, 3.1824463052837091},
		{3, 0.5, 0},
		{3, 0, math.Inf(-1)},
		{3, 1, math.Inf(1)},
		{2, 1e-18, -707106781.18654764},
	} {
		if got := studentQuantile(c.nu, c.p); got != c.want {
			near(t, "quantile", got, c.want, 1e-9)
		}
	}
}

func BenchmarkNoncentralT(b *testing.B) {
	for b.Loop() {
		NoncentralT(2, 20, 1.5)
	}
}
