package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is a value with its standard error and the degrees of freedom that this rests on.
type Estimate struct{ Value, SE, DF float64 }

// Contrast is the sum of independent means, each times its weight. Their spreads need not be alike. Where a mean has fewer than 2 values
// nothing bounds the sum: DF is 0.
//
// Source: Welch, Biometrika 34 (1947), 28–35, with the degrees of freedom of Satterthwaite, Biometrics Bulletin 2 (1946), 110–114.
func Contrast(weights []float64, means ...Mean) Estimate {
	e, variance, per := Estimate{}, 0.0, 0.0
	few := false
	for i, m := range means {
		v := weights[i] * weights[i] * m.SE * m.SE
		e.Value += weights[i] * m.Mean
		variance += v
		per += v * v / float64(max(1, m.N-1))
		few = few || m.N < 2
	}
	e.SE = math.Sqrt(variance)
	switch {
	case few:
		e.DF = 0
	case per > 0:
		e.DF = variance * variance / per
	default:
		e.DF = math.Inf(1) // without any spread
	}
	return e
}

// Welch is the difference of two means, b − a.
func Welch(a, b Mean) Estimate { return Contrast([]float64{-1, 1}, a, b) }

// EstimateOf is a mean as an Estimate.
func EstimateOf(m Mean) Estimate { return Contrast([]float64{1}, m) }

// Above is the p-value of the one-sided t test of "the true value is at most limit" against "above it"; 1 where DF is 0. Without any
// spread it is 0 or 1.
func (e Estimate) Above(limit float64) float64 {
	switch {
	case e.DF == 0 || (e.SE == 0 && e.Value <= limit):
		return 1
	case e.SE == 0:
		return 0
	}
	return distuv.StudentsT{Sigma: 1, Nu: e.DF}.Survival((e.Value - limit) / e.SE)
}

// Below is the p-value of the one-sided t test of "the true value is at least limit" against "below it", as Above.
func (e Estimate) Below(limit float64) float64 {
	return Estimate{-e.Value, e.SE, e.DF}.Above(-limit)
}

// Lower is the one-sided lower t bound of the true value at alpha, where Above is alpha; −Inf where DF is 0.
func (e Estimate) Lower(alpha float64) float64 { return e.Value - e.margin(alpha) }

// Upper is the one-sided upper t bound of the true value at alpha, where Below is alpha; +Inf where DF is 0.
func (e Estimate) Upper(alpha float64) float64 { return e.Value + e.margin(alpha) }

func (e Estimate) margin(alpha float64) float64 {
	switch {
	case e.DF == 0:
		return math.Inf(1)
	case e.SE == 0:
		return 0
	}
	return -studentQuantile(e.DF, alpha) * e.SE
}
