package stats

import "math"

// pair is two independent counts, x1 of n1 and x2 of n2, whose shares' difference p2 − p1 is in question.
type pair struct{ x1, n1, x2, n2 float64 }

// DifferencePValue is the one-sided p-value of the score test of "p2 − p1 is at most margin" against "above it", for
// independent shares x1 of n1 and x2 of n2 and a margin from −1 to 1. It is 1 where a share has no trial, or where
// margin is 1 or more, and 0 where margin is below −1, as no difference is.
//
// Source: Miettinen and Nurminen, Statistics in Medicine 4 (1985), 213–226, with their variance factor N/(N−1).
func DifferencePValue(x1, n1, x2, n2 int, margin float64) float64 {
	switch {
	case n1 <= 0 || n2 <= 0 || margin >= 1:
		return 1
	case margin < -1:
		return 0
	}
	return normalCDF(-pairOf(x1, n1, x2, n2).score(margin))
}

// DifferenceBounds gives the one-sided lower and upper bound of p2 − p1, each at alpha (below 0.5): low is where
// DifferencePValue is alpha, high where it is 1 − alpha. Both together are a two-sided interval at 1 − 2·alpha. It is
// −1 to 1 where a share has no trial.
//
// Source: as DifferencePValue; the inversion of the test.
func DifferenceBounds(x1, n1, x2, n2 int, alpha float64) (low, high float64) {
	if n1 <= 0 || n2 <= 0 {
		return -1, 1
	}
	p, z := pairOf(x1, n1, x2, n2), zOf(1-alpha)
	low = bisect(-1, p.difference(), func(d float64) bool { return p.score(d) <= z })
	high = bisect(p.difference(), 1, func(d float64) bool { return p.score(d) <= -z })
	return low, high
}

// bisect gives the least value of [low, high] from which on ok holds, to the last digit or 1e-30; ok must hold at high.
func bisect(low, high float64, ok func(float64) bool) float64 {
	for range 100 {
		mid := low + (high-low)/2
		if mid <= low || mid >= high {
			break
		}
		if ok(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

func pairOf(x1, n1, x2, n2 int) pair {
	return pair{float64(x1), float64(n1), float64(x2), float64(n2)}
}

func (p pair) difference() float64 { return p.x2/p.n2 - p.x1/p.n1 }

// score is the score statistic of "p2 − p1 = d", which falls as d rises. Where the shares seen differ by d it is 0,
// without a variance as well: its limit from both sides.
func (p pair) score(d float64) float64 {
	above := p.difference() - d
	if above == 0 {
		return 0
	}
	p1 := p.restricted(d)
	p2 := min(1, max(0, p1+d))
	n := p.n1 + p.n2
	return above / math.Sqrt((p1*(1-p1)/p.n1+p2*(1-p2)/p.n2)*n/(n-1))
}

// restricted is the maximum-likelihood estimate of p1 under p2 = p1 + d. The likelihood is log-concave, so that its
// slope falls: the estimate is an end of the range that the slope points out of, or its one root inside. The closed
// form gives that root to some 8 digits only where two roots of the cubic almost meet (rare events), and Newton's
// steps, mostly one, give the rest.
func (p pair) restricted(d float64) float64 {
	low, high := max(0, -d), min(1, 1-d)
	if low >= high {
		return low
	}
	if down, _ := p.slope(low, d); down >= 0 {
		return low
	}
	if down, _ := p.slope(high, d); down <= 0 {
		return high
	}
	return solve(low, high, p.cubic(d), func(p1 float64) (float64, float64) { return p.slope(p1, d) })
}

// cubic is the root of the likelihood equation L3·p³ + L2·p² + L1·p + L0 = 0 that lies in the range of p1.
//
// Source: Miettinen and Nurminen (1985), appendix, whose group 0 is group 1 here.
func (p pair) cubic(d float64) float64 {
	l3 := p.n1 + p.n2
	l2 := ((p.n2+2*p.n1)*d - l3 - p.x1 - p.x2) / (3 * l3)
	l1 := ((p.n1*d-l3-2*p.x1)*d + p.x1 + p.x2) / (3 * l3)
	l0 := p.x1 * d * (1 - d) / l3
	q := l2*l2*l2 - 1.5*l1*l2 + l0/2
	r := math.Copysign(math.Sqrt(max(0, l2*l2-l1)), q)
	if r == 0 {
		return -l2
	}
	angle := math.Acos(min(1, max(-1, q/(r*r*r))))
	return 2*r*math.Cos((math.Pi+angle)/3) - l2
}

// slope is the negated derivative of the log-likelihood in p1 under p2 = p1 + d, and its own derivative. A count of 0
// says nothing, at the ends of the range as well.
func (p pair) slope(p1, d float64) (down, steeper float64) {
	p2 := p1 + d
	for _, part := range [4]struct{ count, share, sign float64 }{
		{p.x1, p1, -1}, {p.n1 - p.x1, 1 - p1, 1}, {p.x2, p2, -1}, {p.n2 - p.x2, 1 - p2, 1},
	} {
		if part.count > 0 {
			each := part.count / max(0, part.share)
			down += part.sign * each
			steeper += each / part.share
		}
	}
	return down, steeper
}
