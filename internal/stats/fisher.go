package stats

import "math"

// FisherGreater is the exact one-sided p-value of "both shares, x1 of n1 and x2 of n2, are alike" against "the second
// is greater": the probability, the margins of the table given, of x2 or more. It is 1 where a share has no trial.
//
// Source: Fisher, Journal of the Royal Statistical Society 98 (1935), 39–82.
func FisherGreater(x1, n1, x2, n2 int) float64 {
	h := hypergeometric{n1: n1, n2: n2, all: x1 + x2}
	switch {
	case x2 <= h.least():
		return 1
	case float64(x2)*float64(n1+n2) > float64(h.all)*float64(n2): // above the mean
		return h.sumUp(x2)
	}
	return max(0, 1-h.sumDown(x2-1))
}

// hypergeometric is the distribution of how many of all successes fall into the second group.
type hypergeometric struct{ n1, n2, all int }

// least is the least count with any probability.
func (h hypergeometric) least() int { return max(0, h.all-h.n1) }

// mass is P(X = x).
//
// Source: Loader (2000), as LogPMF: of two binomial counts given their sum, whatever their common share.
func (h hypergeometric) mass(x int) float64 {
	p := float64(h.all) / float64(h.n1+h.n2)
	return math.Exp(LogPMF(h.n2, x, p) + LogPMF(h.n1, h.all-x, p) - LogPMF(h.n1+h.n2, h.all, p))
}

// sumUp is P(X ≥ x) for x above the mean, summed away from it.
func (h hypergeometric) sumUp(x int) float64 {
	term, sum := 1.0, 1.0
	for k := x; k < min(h.n2, h.all) && term > sum*1e-18; k++ {
		term *= h.ratio(k)
		sum += term
	}
	return min(1, h.mass(x)*sum)
}

// sumDown is P(X ≤ x) for x below the mean.
func (h hypergeometric) sumDown(x int) float64 {
	term, sum := 1.0, 1.0
	for k := x; k > h.least() && term > sum*1e-18; k-- {
		term /= h.ratio(k - 1)
		sum += term
	}
	return min(1, h.mass(x)*sum)
}

// ratio is P(X = k+1)/P(X = k).
func (h hypergeometric) ratio(k int) float64 {
	return float64(h.n2-k) / float64(k+1) * float64(h.all-k) / float64(h.n1-h.all+k+1)
}
