package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// Skew is the skewness of the distribution that xs, at least three of them, are drawn from, as far as they tell; 0 below three and
// without any spread.
//
// Source: Joanes and Gill, Journal of the Royal Statistical Society D 47 (1998), 183–189: G₁.
func Skew(xs []float64) float64 {
	if len(xs) < 3 || stat.Variance(xs, nil) == 0 {
		return 0
	}
	return stat.Skew(xs, nil)
}

// BelowSkewed is Below for values that are skewed to the right: where few great ones make up the mean and a sample has too few of them,
// its mean and its spread are both too small, and Below says so too often. It is the greater of the two p-values, and Below itself
// where the skewness is not positive.
//
// Source: Hall, Journal of the Royal Statistical Society B 54 (1992), 221–228: the t statistic is transformed by a cubic that takes
// its skewness off and rises everywhere.
func (m Mean) BelowSkewed(limit, skew float64) float64 {
	p := m.Below(limit)
	if a := skew / math.Sqrt(float64(m.N)); a > 0 && m.N > 1 && m.SE > 0 {
		t := (m.Mean - limit) / m.SE
		p = max(p, m.student().CDF(t+a*t*t/3+a*a*t*t*t/27+a/6))
	}
	return p
}

// UpperSkewed is the one-sided upper bound of the true mean at alpha, where BelowSkewed is alpha.
//
// Source: Hall (1992), the inverse of the cubic.
func (m Mean) UpperSkewed(alpha, skew float64) float64 {
	high := m.Upper(alpha)
	if a := skew / math.Sqrt(float64(m.N)); a > 0 && m.N > 1 {
		t := studentQuantile(float64(m.N-1), alpha)
		high = max(high, m.Mean-m.SE*3/a*(math.Cbrt(1+a*(t-a/6))-1))
	}
	return high
}
