package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Change is a place in a series where its distribution changes.
type Change struct {
	At int // the index of the first value behind it
	// P is the permutation p-value of "there is no further change" at the step that found this one: the chance of a place as telling
	// as this where there is none.
	P float64
	// Statistic is the energy statistic Q of its step.
	Statistic float64
}

// Divisive holds what Changes is looked for with.
type Divisive struct {
	Least        int     // values on both sides of a change; at least 2
	Level        float64 // a step whose p-value is above it ends the search
	Permutations int     // at the most; a p-value is at least 1/(Permutations + 1)
	Seed         uint64  // determines the result
}

// Changes finds the changes of the distribution of a series, in the order of their places; those that were found earlier in the search
// tell more. Values within a stretch without changes must be exchangeable: a drift is found as changes, and so is strong dependence
// between neighbours.
//
// It splits hierarchically: of all stretches, the place is taken where the energy distance between what is before and some stretch behind
// it is greatest, and it is tested by permuting the values within the stretches.
//
// Source: Matteson and James, Journal of the American Statistical Association 109 (2014), 334–345: E-divisive with α = 1. The test ends
// early once as many permutations exceeded as settle that the p-value is above the level, whose p-value is exact as well (Besag and
// Clifford, Biometrika 78 (1991), 301–304).
func (d Divisive) Changes(values []float64) []Change {
	random := rand.New(rand.NewPCG(d.Seed, 0x652d646976)) // "e-div"
	var found []Change
	for {
		stretches := d.stretches(found, len(values))
		at, q := d.split(values, stretches)
		if at < 0 {
			return found
		}
		p := d.test(values, stretches, q, random)
		if p > d.Level {
			return found
		}
		found = append(found, Change{At: at, P: p, Statistic: q})
		slices.SortFunc(found, func(a, b Change) int { return a.At - b.At })
	}
}

// stretches are what changes cut n values into, as half-open ranges of indexes.
func (d Divisive) stretches(changes []Change, n int) (out [][2]int) {
	begin := 0
	for _, c := range changes {
		out, begin = append(out, [2]int{begin, c.At}), c.At
	}
	return append(out, [2]int{begin, n})
}

// split gives the place with the greatest statistic of all stretches; at is −1 where all of them are too short.
func (d Divisive) split(values []float64, stretches [][2]int) (at int, q float64) {
	at, q = -1, math.Inf(-1)
	for _, s := range stretches {
		if place, energy := d.place(values[s[0]:s[1]]); place >= 0 && energy > q {
			at, q = s[0]+place, energy
		}
	}
	return at, q
}

// test is the p-value of a statistic under permutations within the stretches.
func (d Divisive) test(values []float64, stretches [][2]int, q float64, random *rand.Rand) float64 {
	shuffled := slices.Clone(values)
	enough := int(math.Ceil(d.Level*float64(d.Permutations+1))) + 10
	over := 0
	// The same sums in another order differ in their last digits, which must not make a permutation less than what it equals.
	atLeast := q - 1e-9*math.Abs(q)
	for r := 1; r <= d.Permutations; r++ {
		for _, s := range stretches {
			part := shuffled[s[0]:s[1]]
			random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		if _, drawn := d.split(shuffled, stretches); drawn >= atLeast {
			over++
		}
		if over == enough {
			return float64(over) / float64(r)
		}
	}
	return float64(over+1) / float64(d.Permutations+1)
}

// place gives the best place to cut a stretch in two, the second of which may end before the stretch does. It takes time in the square of
// the length, and memory in proportion to it.
func (d Divisive) place(z []float64) (at int, q float64) {
	at, q = -1, math.Inf(-1)
	if len(z) < 2*d.Least {
		return at, q
	}
	within := within(z)
	rows := make([]float64, len(z)+1) // the sum of |z[a] − z[b]| over a < tau and b < end, by end
	for tau := 1; tau <= len(z)-d.Least; tau++ {
		row := 0.0
		for end := 1; end <= len(z); end++ {
			row += math.Abs(z[tau-1] - z[end-1])
			rows[end] += row
		}
		if tau < d.Least {
			continue
		}
		for end := tau + d.Least; end <= len(z); end++ {
			if energy := energy(tau, end, within[tau], rows[end], within[end]); energy > q {
				at, q = tau, energy
			}
		}
	}
	return at, q
}

// within gives the sum of |z[a] − z[b]| over a, b < end, by end.
func within(z []float64) []float64 {
	sums := make([]float64, len(z)+1)
	for end := 1; end <= len(z); end++ {
		last := 0.0
		for _, v := range z[:end-1] {
			last += math.Abs(v - z[end-1])
		}
		sums[end] = sums[end-1] + 2*last
	}
	return sums
}

// energy is Q of the values up to tau against those from there to end: the energy distance times nm/(n+m), in the form of U-statistics. It
// takes the sums of the distances within those up to tau, of those up to tau from those up to end, and within those up to end.
func energy(tau, end int, left, cross, all float64) float64 {
	n, m := float64(tau), float64(end-tau)
	right := all - 2*cross + left
	return n * m / (n + m) * (2*(cross-left)/(n*m) - left/(n*(n-1)) - right/(m*(m-1)))
}
