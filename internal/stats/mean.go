package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Mean is the mean of independent values with its standard error.
type Mean struct {
	N        int
	Mean, SE float64 // SE is 0 where N is below 2, which says nothing then
}

// MeanOf takes the mean of xs, which must not be empty.
func MeanOf(xs []float64) Mean {
	m := Mean{N: len(xs), Mean: stat.Mean(xs, nil)}
	if m.N > 1 {
		m.SE = stat.StdDev(xs, nil) / math.Sqrt(float64(m.N))
	}
	return m
}

// Interval is Student's t interval at a two-sided level such as 0.90; infinite where N is below 2.
//
// Source: Student, Biometrika 6 (1908), 1–25.
func (m Mean) Interval(level float64) (low, high float64) {
	if m.N < 2 {
		return math.Inf(-1), math.Inf(1)
	}
	half := m.student().Quantile((1+level)/2) * m.SE
	return m.Mean - half, m.Mean + half
}

// Above is the p-value of the one-sided t test of "the true mean is at most limit" against "above it"; 1 where N is
// below 2. Without any spread it is 0 or 1.
func (m Mean) Above(limit float64) float64 {
	switch {
	case m.N < 2 || (m.SE == 0 && m.Mean <= limit):
		return 1
	case m.SE == 0:
		return 0
	}
	return m.student().Survival((m.Mean - limit) / m.SE)
}

// Below is the p-value of the one-sided t test of "the true mean is at least limit" against "below it"; 1 where N is
// below 2. Without any spread it is 0 or 1.
func (m Mean) Below(limit float64) float64 {
	return Mean{N: m.N, Mean: -m.Mean, SE: m.SE}.Above(-limit)
}

// Lower is the one-sided lower t bound of the true mean at alpha, where Above is alpha; −Inf where N is below 2.
func (m Mean) Lower(alpha float64) float64 { return m.Mean - m.margin(alpha) }

// Upper is the one-sided upper t bound of the true mean at alpha, where Below is alpha; +Inf where N is below 2.
func (m Mean) Upper(alpha float64) float64 { return m.Mean + m.margin(alpha) }

// margin is the distance of a one-sided bound at alpha from the mean.
func (m Mean) margin(alpha float64) float64 {
	if m.N < 2 {
		return math.Inf(1)
	}
	return -studentQuantile(float64(m.N-1), alpha) * m.SE
}

func (m Mean) student() distuv.StudentsT {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(m.N - 1)}
}
