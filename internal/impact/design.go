// Package impact is the statistics of the total effect: what mirroring costs the primary, from blocks of requests that were
// played with mirroring off and on in turn. It is pure, and knows response times and counts alone.
//
// The experiment and its words are those of a randomised crossover trial: two pairs of blocks make a quadruple, off-on-on-off
// or on-off-off-on at random, under the same schedule of requests, so that what drifts in a straight line cancels. The
// quadruple is the unit of inference, never the request: requests within a block depend on each other.
package impact

import (
	"math"
	"math/rand/v2"
)

// Blocks is how many blocks a quadruple has.
const Blocks = 4

// Order is which blocks of a quadruple are treated, in the order of their play.
type Order [Blocks]bool

// The two orders. In both, each pair (the first two blocks, the last two) has one of each, and the instants of the treated
// blocks add up to those of the untreated.
var (
	abba = Order{false, true, true, false}
	baab = Order{true, false, false, true}
)

// Orders draws an order for each quadruple: one of the two at random, in equal numbers as far as that is possible.
func Orders(quadruples int, seed uint64) []Order {
	random := rand.New(rand.NewPCG(seed, 0x6162626162616162))
	orders := make([]Order, quadruples)
	for i := range orders {
		orders[i] = abba
		if i%2 == 1 {
			orders[i] = baab
		}
	}
	if quadruples%2 == 1 && random.IntN(2) == 1 {
		orders[quadruples-1] = baab
	}
	random.Shuffle(quadruples, func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	return orders
}

// Buildup gives the orders of quadruples whose treated blocks leave something behind that does not go by itself: it is to build up over
// both of them, and to be taken away behind. So all are off-on-on-off, and nothing is drawn: a straight drift all but cancels, as far as
// taking it away is soon done, and what goes along with the order does not. So an experiment of these may FAIL, and does not PASS.
func Buildup(quadruples int) []Order {
	orders := make([]Order, quadruples)
	for i := range orders {
		orders[i] = abba
	}
	return orders
}

// Longer is how many times longer the blocks of a build-up are, so that much of it is seen.
const Longer = 4

// Fewer is how many quadruples of such blocks take the place of so many others: they take as long, but where MinUnits ask for more.
func Fewer(quadruples int) int { return max(MinUnits, (quadruples+Longer-1)/Longer) }

// Is tells whether blocks in the order of their play are a quadruple: each pair has one of each arm, and so have the inner two and the
// outer two alike.
func Is(treated []bool) bool {
	return len(treated) == Blocks && (Order(treated) == abba || Order(treated) == baab)
}

// Level is that of every one-sided bound: 95 %.
const Level = 0.05

// The share of Level that the total effect may spend on FAIL; the direct effect, which is tested in the same run, has the rest.
// Together they keep the chance of a false FAIL at or below Level (Bonferroni's inequality).
const (
	TotalLevel  = 0.04
	DirectLevel = 0.01
)

// A Look is an instant at which the experiment may end early, with FAIL only.
type Look struct {
	Quadruples int     // so many are done
	Level      float64 // that FAIL may spend there
}

// looks are the shares of the planned quadruples at which it is looked, and what of TotalLevel is spent there. The spending is
// fixed beforehand and adds up to TotalLevel, so that the chance of a false FAIL at any of the looks is at or below it whatever
// the dependence between them (Bonferroni's inequality; alpha spending after Lan and DeMets, Biometrika 70 (1983), 659–663).
var looks = []struct{ share, level float64 }{{0.25, 0.0025}, {0.5, 0.005}, {0.75, 0.0075}, {1, 0.025}}

// MinUnits is the least number of units that a test rests on.
const MinUnits = 5

// Looks gives the looks of so many planned quadruples. Looks at fewer than MinUnits quadruples are left out, and what they would have
// spent is spent at the next one.
func Looks(planned int) (out []Look) {
	saved := 0.0
	for i, l := range looks {
		at := int(math.Ceil(l.share * float64(planned)))
		last := i == len(looks)-1
		if !last && (at < MinUnits || at >= planned) {
			saved += l.level
			continue
		}
		out, saved = append(out, Look{at, l.level + saved}), 0
	}
	return out
}

// FailLevel is what FAIL may spend once so many of the planned quadruples are done: the level of the first look at or behind them.
// Whoever ends an experiment between two looks has seen no more than that look would have.
func FailLevel(done, planned int) float64 {
	all := Looks(planned)
	for _, l := range all {
		if done <= l.Quadruples {
			return l.Level
		}
	}
	return all[len(all)-1].Level
}
