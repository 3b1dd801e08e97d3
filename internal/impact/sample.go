package impact

import (
	"math"
	"slices"
	"time"

	"umbra/internal/stats"
)

// Sample is the requests of one block.
type Sample struct {
	Took []float64 // response times from due in seconds, sorted; of what got no complete answer, at least the time-out
	Less []float64 // the same without the client's own part, sorted
	Lag  []float64 // the client's own part in seconds, sorted
	// Failed are those without a complete answer, or with a status of 500 and above.
	Failed int
	// Cut are those without a complete answer: the last of Took and of Less, which are lower bounds.
	Cut int
}

// Quadruple is four blocks in the order of their play.
type Quadruple struct {
	Order  Order
	Blocks [Blocks]*Sample
}

// Beyond is how many requests a unit must have beyond a quantile in each arm for the quantile to be tested.
const Beyond = 20

// Need is how many requests an arm needs for that: 2,000 at p99.
func Need(q float64) int { return int(math.Ceil(Beyond/(1-q) - 1e-6)) }

// Stretch is how blocks are put together so that an arm has what a quantile needs: a pair of blocks, a quadruple, or several.
type Stretch struct {
	Pairs      bool // a stretch is a pair, and the unit a quadruple: the mean of its two log ratios
	Quadruples int  // in a unit
}

// StretchFor is the shortest one that has what a quantile needs everywhere; ok is false where fewer than MinUnits units would be left.
func StretchFor(quads []Quadruple, q float64) (s Stretch, ok bool) {
	need := Need(q)
	least := math.MaxInt
	for i := range quads {
		for _, b := range quads[i].Blocks {
			least = min(least, len(b.Took))
		}
	}
	if least >= need {
		return Stretch{true, 1}, len(quads) >= MinUnits
	}
	for n := 1; len(quads)/n >= MinUnits; n++ {
		if enough(quads, n, need) {
			return Stretch{false, n}, true
		}
	}
	return Stretch{}, false
}

// enough tells whether both arms of every unit of n quadruples have what is needed.
func enough(quads []Quadruple, n, need int) bool {
	for unit := range units(quads, n) {
		on, off := 0, 0
		for i := range unit {
			for b, sample := range unit[i].Blocks {
				if unit[i].Order[b] {
					on += len(sample.Took)
				} else {
					off += len(sample.Took)
				}
			}
		}
		if min(on, off) < need {
			return false
		}
	}
	return true
}

// units cuts quadruples into units of n neighbours; what is over goes to the last one.
func units(quads []Quadruple, n int) func(yield func([]Quadruple) bool) {
	return func(yield func([]Quadruple) bool) {
		count := len(quads) / n
		for u := range count {
			from, to := u*n, (u+1)*n
			if u == count-1 {
				to = len(quads)
			}
			if !yield(quads[from:to]) {
				return
			}
		}
	}
}

// ratios are what a quantile did in each unit.
type ratios struct {
	ratio   []float64 // ln Q(on) − ln Q(off)
	off, on []float64 // the logarithms of the quantiles, of the same units
}

// logRatios takes a quantile of each unit's arms. The quantiles are median-unbiased (stats.MedianUnbiased); times picks which of a
// sample's times are meant.
func logRatios(quads []Quadruple, q float64, s Stretch, times func(*Sample) []float64) (r ratios) {
	for unit := range units(quads, s.Quadruples) {
		off, on := unitLogs(unit, q, s.Pairs, times)
		r.off, r.on, r.ratio = append(r.off, off), append(r.on, on), append(r.ratio, on-off)
	}
	return r
}

// unitLogs gives the logarithms of a unit's quantiles: the means over its pairs, or those of its pooled arms.
func unitLogs(unit []Quadruple, q float64, pairs bool, times func(*Sample) []float64) (off, on float64) {
	if !pairs {
		a, b := pool(unit, false, q, times), pool(unit, true, q, times)
		return ln(stats.MedianUnbiased(a, q)), ln(stats.MedianUnbiased(b, q))
	}
	for i := range unit {
		for b, sample := range unit[i].Blocks {
			value := ln(stats.MedianUnbiased(times(sample), q))
			if unit[i].Order[b] {
				on += value
			} else {
				off += value
			}
		}
	}
	n := float64(len(unit) * Blocks / 2)
	return off / n, on / n
}

// pool is an arm of a unit, sorted, as far down as its quantile q takes: what lies below is left 0. A tail is so had without sorting what
// is not looked at, for which simulations have no time.
func pool(unit []Quadruple, treated bool, q float64, times func(*Sample) []float64) []float64 {
	var parts [][]float64
	n := 0
	for i := range unit {
		for b, sample := range unit[i].Blocks {
			if part := times(sample); unit[i].Order[b] == treated && len(part) > 0 {
				parts, n = append(parts, part), n+len(part)
			}
		}
	}
	all := make([]float64, n)
	for at := n - 1; at >= max(0, int(q*float64(n))-1); at-- {
		top := 0
		for p, part := range parts {
			if last(part) > last(parts[top]) {
				top = p
			}
		}
		all[at] = last(parts[top])
		if parts[top] = parts[top][:len(parts[top])-1]; len(parts[top]) == 0 {
			parts = slices.Delete(parts, top, top+1)
		}
	}
	return all
}

func last(sorted []float64) float64 { return sorted[len(sorted)-1] }

// ln takes nothing for a nanosecond.
func ln(seconds float64) float64 { return math.Log(max(seconds, 1e-9)) }

func took(s *Sample) []float64 { return s.Took }
func less(s *Sample) []float64 { return s.Less }

// Delayed are the same quadruples with a delay in the client's stamps of the treated blocks: what a primary that is so much slower for
// every request would at least have shown.
func Delayed(quads []Quadruple, by time.Duration) []Quadruple {
	out := make([]Quadruple, len(quads))
	for i, quad := range quads {
		out[i] = Quadruple{Order: quad.Order}
		for b, sample := range quad.Blocks {
			out[i].Blocks[b] = sample
			if quad.Order[b] {
				out[i].Blocks[b] = &Sample{Took: shifted(sample.Took, sample.Cut, by), Less: shifted(sample.Less, sample.Cut, by), Lag: sample.Lag, Failed: sample.Failed, Cut: sample.Cut}
			}
		}
	}
	return out
}

// shifted leaves the last ones, which were cut, as they are: they would have been cut at the same time.
func shifted(times []float64, cut int, by time.Duration) []float64 {
	out := slices.Clone(times)
	for i := range len(out) - cut {
		out[i] += by.Seconds()
		if cut > 0 {
			out[i] = min(out[i], times[len(times)-cut])
		}
	}
	return out
}

// censored tells whether the quantile of some arm of some stretch lies among its requests without a complete answer, so that it is known
// from below only.
func censored(quads []Quadruple, q float64, s Stretch) bool {
	for unit := range units(quads, s.Quadruples) {
		var cut, n [2]int
		for i := range unit {
			for b, sample := range unit[i].Blocks {
				arm := 0
				if unit[i].Order[b] {
					arm = 1
				}
				if s.Pairs && beyond(sample.Cut, len(sample.Took), q) {
					return true
				}
				cut[arm], n[arm] = cut[arm]+sample.Cut, n[arm]+len(sample.Took)
			}
		}
		if beyond(cut[0], n[0], q) || beyond(cut[1], n[1], q) {
			return true
		}
	}
	return false
}

// beyond tells whether so many of the greatest of n reach down to their quantile q.
func beyond(cut, n int, q float64) bool { return cut > 0 && float64(cut) >= (1-q)*float64(n)-1 }
