package stats

import "math"

// LogPMF is ln P(X = x) of a binomial variable, right to about 1e-13 for n up to 1e8, where differences of
// log-gammas lose half of their digits.
//
// Source: Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000), the saddle-point expansion.
func LogPMF(n, x int, p float64) float64 {
	switch {
	case x < 0 || x > n || (p <= 0 && x > 0) || (p >= 1 && x < n):
		return math.Inf(-1)
	case p <= 0 || p >= 1:
		return 0
	case x == 0:
		return float64(n) * math.Log1p(-p)
	case x == n:
		return float64(n) * math.Log(p)
	}
	N, X, Y := float64(n), float64(x), float64(n-x)
	return stirlingError(N) - stirlingError(X) - stirlingError(Y) -
		deviance(X, N*p) - deviance(Y, N*(1-p)) + 0.5*(math.Log(N)-math.Log(2*math.Pi*X)-math.Log(Y))
}

// stirlingError is ln n! − ln(√(2πn)·(n/e)ⁿ): Loader's δ(n).
func stirlingError(n float64) float64 {
	if n < 16 {
		lg, _ := math.Lgamma(n + 1)
		return lg - (n+0.5)*math.Log(n) + n - 0.5*math.Log(2*math.Pi)
	}
	nn := n * n
	return (1./12 - (1./360-(1./1260-(1./1680-1./1188/nn)/nn)/nn)/nn) / n
}

// deviance is x·ln(x/m) + m − x: Loader's bd0, by its series where x is close to m and the terms would cancel.
func deviance(x, m float64) float64 {
	if math.Abs(x-m) >= 0.1*(x+m) {
		return x*math.Log(x/m) + m - x
	}
	v := (x - m) / (x + m)
	sum, term := (x-m)*v, 2*x*v
	for j := 3.0; ; j += 2 {
		term *= v * v
		next := sum + term/j
		if next == sum {
			return sum
		}
		sum = next
	}
}

// TailGE is P(X ≥ x), exact: the probabilities are summed from x outwards, away from the mean, until they no longer
// count. Some 9·√(np(1−p)) terms.
func TailGE(n, x int, p float64) float64 {
	switch {
	case x <= 0:
		return 1
	case x > n:
		return 0
	case float64(x) > float64(n)*p:
		return sumUp(n, x, p)
	}
	return max(0, 1-sumDown(n, x-1, p))
}

// TailLE is P(X ≤ x), exact, as TailGE.
func TailLE(n, x int, p float64) float64 {
	switch {
	case x < 0:
		return 0
	case x >= n:
		return 1
	case float64(x) < float64(n)*p:
		return sumDown(n, x, p)
	}
	return max(0, 1-sumUp(n, x+1, p))
}

// sumUp is P(X ≥ x) for x above the mean. Source: the ratio of neighbours, P(k+1)/P(k) = (n−k)/(k+1)·p/(1−p).
func sumUp(n, x int, p float64) float64 {
	odds, term, sum := p/(1-p), 1.0, 1.0
	for k := x; k < n && term > sum*1e-18; k++ {
		term *= float64(n-k) / float64(k+1) * odds
		sum += term
	}
	return min(1, math.Exp(LogPMF(n, x, p)+math.Log(sum)))
}

// sumDown is P(X ≤ x) for x below the mean. It does not go through 1 − p, which would cost a small p its digits.
func sumDown(n, x int, p float64) float64 {
	odds, term, sum := (1-p)/p, 1.0, 1.0
	for k := x; k > 0 && term > sum*1e-18; k-- {
		term *= float64(k) / float64(n-k+1) * odds
		sum += term
	}
	return min(1, math.Exp(LogPMF(n, x, p)+math.Log(sum)))
}
