package stats

import "math"

// alpha is the level of each side of the sampling verdict: a 90 % interval.
const alpha = 0.05

// exactLimit is the n above which SampleSize rounds up the normal approximation, which is right to 1 in 1000 there.
const exactLimit = 1e8

// PassRange gives the counts from low to high of n whose 90 % Clopper–Pearson interval lies strictly inside
// (p0−delta, p0+delta); low > high where no count does.
//
// Source: the interval's definition; LowerBound(x) > q just where P(X ≥ x | q) < alpha, and likewise above.
func PassRange(n int, p0, delta float64) (low, high int) {
	low = search(0, n+1, func(x int) bool { return TailGE(n, x, p0-delta) < alpha })
	high = search(0, n+1, func(x int) bool { return TailLE(n, x, p0+delta) >= alpha }) - 1
	return low, high
}

// search gives the first x in [low, high) for which ok holds, high where there is none; ok must stay true once it is.
func search(low, high int, ok func(int) bool) int {
	for low < high {
		mid := low + (high-low)/2
		if ok(mid) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// Power is the exact probability that the sampling verdict passes a true share p0: that the 90 % Clopper–Pearson
// interval of a binomial count lies strictly inside p0 ± delta.
func Power(n int, p0, delta float64) float64 {
	low, high := PassRange(n, p0, delta)
	return between(n, low, high, p0)
}

// between is P(low ≤ X ≤ high).
func between(n, low, high int, p float64) float64 {
	if low > high {
		return 0
	}
	return max(0, 1-TailLE(n, low-1, p)-TailGE(n, high+1, p))
}

// SampleSize is the n from which on Power stays at or above power: counts are whole, so the power is a sawtooth, and
// a smaller n may reach it by luck and lose it again. It is 0 where no n can decide: unless 0 < p0−delta and
// p0+delta < 1. Above 1e8 it is the normal approximation.
//
// Source: exact enumeration; Chernick and Liu, The American Statistician 56 (2002), 149–155, on the sawtooth.
func SampleSize(p0, delta, power float64) int {
	if !(delta > 0 && p0-delta > 0 && p0+delta < 1) || !(power > 0 && power < 1) {
		return 0
	}
	if rough := roughSize(p0, delta, power); rough > exactLimit {
		return int(math.Ceil(min(rough, math.MaxInt64/2)))
	}
	s := newSawtooth(safeSize(p0, delta, power), p0, delta)
	for s.n > 1 && s.power() >= power {
		s.down()
	}
	return s.n + 1
}

// roughSize solves the same by the normal approximation, with both sides alike.
func roughSize(p0, delta, power float64) float64 {
	z := zOf(1-alpha) + zOf((1+power)/2)
	return z * z * p0 * (1 - p0) / (delta * delta)
}

// zOf is the quantile of the standard normal distribution.
func zOf(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// safeSize gives an n beyond which the power cannot fall below the asked one: two counts are taken off each end of
// the range of passing counts, which is more than a tooth, and what is left grows with n.
func safeSize(p0, delta, power float64) int {
	safe := func(n int) bool {
		low, high := PassRange(n, p0, delta)
		return between(n, low+2, high-2, p0) >= power
	}
	high := 16
	for !safe(high) {
		high *= 2
	}
	return search(high/2, high, safe)
}

// sawtooth walks the exact power down from an n, one by one, in constant time a step: four tails, each moved by one
// probability of one count.
//
// Source: of n+1 trials, P(X ≥ x) = P(X' ≥ x) + p·P(X' = x−1) with X' of the first n.
type sawtooth struct {
	n         int
	low, high tail // P(X ≥ low.x) at p0−delta; P(X > high.x−1), from which P(X ≤ high.x−1), at p0+delta
	atLow     tail // the same counts at p0
	atHigh    tail
}

func newSawtooth(n int, p0, delta float64) *sawtooth {
	low, high := PassRange(n, p0, delta)
	return &sawtooth{
		n:      n,
		low:    newTail(n, low, p0-delta),
		high:   newTail(n, high+1, p0+delta),
		atLow:  newTail(n, low, p0),
		atHigh: newTail(n, high+1, p0),
	}
}

// power is P(low ≤ X ≤ high) at p0, high.x being the first count above the range.
func (s *sawtooth) power() float64 {
	if s.low.x >= s.high.x {
		return 0
	}
	return s.atLow.ge - s.atHigh.ge
}

// down goes from n to n−1 and finds the range that passes there: each end stays or moves down by one.
func (s *sawtooth) down() {
	s.n--
	for _, t := range []*tail{&s.low, &s.high, &s.atLow, &s.atHigh} {
		t.fewer()
	}
	for s.low.lowered() < alpha {
		s.low.lower()
		s.atLow.lower()
	}
	for 1-s.high.ge >= alpha { // the greatest count, x−1, no longer passes
		s.high.lower()
		s.atHigh.lower()
	}
}

// tail is ge = P(X ≥ x) of n trials.
type tail struct {
	n, x int
	p    float64
	ge   float64
}

func newTail(n, x int, p float64) tail { return tail{n, x, p, TailGE(n, x, p)} }

// fewer takes a trial away.
func (t *tail) fewer() {
	t.n--
	t.ge -= t.p * t.mass(t.x-1)
}

// lowered is P(X ≥ x−1).
func (t *tail) lowered() float64 { return t.ge + t.mass(t.x-1) }

func (t *tail) lower() {
	t.ge = t.lowered()
	t.x--
}

func (t *tail) mass(x int) float64 { return math.Exp(LogPMF(t.n, x, t.p)) }

// DecisiveSize is about the n at which a one-sided bound at level alpha would part the share x of n, should it stay
// what it is, from limit: LowerBound above it or UpperBound below it. It is 0 where the share is the limit.
func DecisiveSize(x, n int, limit, alpha float64) int {
	if n <= 0 || limit <= 0 || limit >= 1 {
		return 0
	}
	share := float64(x) / float64(n)
	decides := func(m int) bool {
		if share < limit {
			return UpperBound(int(math.Ceil(share*float64(m)-1e-9)), m, alpha) < limit
		}
		return LowerBound(int(share*float64(m)+1e-9), m, alpha) > limit
	}
	high := 1
	for ; !decides(high); high *= 2 {
		if high > exactLimit {
			return 0
		}
	}
	return search(high/2, high, decides)
}
