package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"umbra/internal/stats"
)

// TimeFigures are how long the versions took for the same requests, at one quantile of each version's service times at the app.
// They are of pairs with equal statuses.
type TimeFigures struct {
	Quantile  float64       `json:"quantile"` // percent
	Pairs     int           `json:"pairs"`    // of these
	PrimaryNS time.Duration `json:"primary_ns"`
	ShadowNS  time.Duration `json:"shadow_ns"`
	Ratio     float64       `json:"ratio"` // of ShadowNS to PrimaryNS, with its 95 % interval:
	Low       float64       `json:"low"`
	High      float64       `json:"high"`
	Stretches int           `json:"stretches"` // of consecutive pairs, that the interval rests on
}

// paceQuantiles are those that are told, in percent.
var paceQuantiles = []float64{50, 90, 99}

// The bootstrap of the intervals. Requests near each other depend on each other, so that stretches of consecutive ones are
// drawn, each with both times of its pairs: as many stretches as leave stretch pairs in each, within these bounds. The seed is
// fixed, so that a folder is always told of alike.
//
// Source: Künsch, Annals of Statistics 17 (1989), 1217–1241, with blocks that do not overlap (Carlstein, 1986).
const (
	stretch      = 10
	minStretches = 20
	maxStretches = 40
	resamples    = 2000
	paceSeed     = 1
)

// paces tells the ratio at each quantile that has enough requests beyond it, and why the others are left out.
func paces(pairs []pairTimes) (out []TimeFigures, leftOut []string) {
	out = []TimeFigures{}
	slices.SortStableFunc(pairs, func(a, b pairTimes) int { return cmp.Compare(a.due, b.due) })
	k := min(maxStretches, max(minStretches, len(pairs)/stretch))
	primary := newStretches(pairs, k, func(p pairTimes) float32 { return p.primary })
	shadow := newStretches(pairs, k, func(p pairTimes) float32 { return p.shadow })
	for _, percent := range paceQuantiles {
		if need := needed(percent / 100); len(pairs) < need {
			leftOut = append(leftOut, fmt.Sprintf("%s needs %s pairs, for %d beyond it", QuantileName(percent), count(need), beyond))
			continue
		}
		out = append(out, pace(primary, shadow, percent))
	}
	return out, leftOut
}

func pace(primary, shadow *stretches, percent float64) TimeFigures {
	q, all := percent/100, primary.every()
	g := TimeFigures{Quantile: percent, Pairs: len(primary.all), Stretches: len(all)}
	p, s := primary.quantile(all, q), shadow.quantile(all, q)
	g.PrimaryNS, g.ShadowNS, g.Ratio = duration(p), duration(s), s/p
	g.Low, g.High = stats.BCa(len(all), func(pick []int) float64 { return shadow.quantile(pick, q) / primary.quantile(pick, q) }, (1-level)/2, resamples, paceSeed)
	return g
}

// stretches are one version's times in stretches of consecutive pairs. It is not changed once it is made.
type stretches struct {
	all  []float32   // sorted
	each [][]float32 // likewise
}

// shortest is the shortest time that a ratio is taken of: the receipts have nanoseconds.
const shortest = 1e-9

func newStretches(pairs []pairTimes, k int, of func(pairTimes) float32) *stretches {
	s := &stretches{all: make([]float32, len(pairs)), each: make([][]float32, k)}
	for i, p := range pairs {
		s.all[i] = max(shortest, of(p))
	}
	inOrder := slices.Clone(s.all)
	for u := range k {
		from, to := cut(len(pairs), u, k)
		s.each[u] = inOrder[from:to:to]
		slices.Sort(s.each[u])
	}
	slices.Sort(s.all)
	return s
}

// every picks each stretch once.
func (s *stretches) every() []int {
	pick := make([]int, len(s.each))
	for i := range pick {
		pick[i] = i
	}
	return pick
}

// quantile is the nearest-rank quantile of the times of the stretches picked, some of them more than once: the smallest time
// that enough of them do not exceed. It looks at few of them, as it is asked for thousands of times.
func (s *stretches) quantile(pick []int, q float64) float64 {
	n := 0
	for _, u := range pick {
		n += len(s.each[u])
	}
	rank := stats.Rank(n, q)
	i := sort.Search(len(s.all), func(i int) bool {
		upTo := 0
		for _, u := range pick {
			upTo += sort.Search(len(s.each[u]), func(j int) bool { return s.each[u][j] > s.all[i] })
		}
		return upTo >= rank
	})
	return float64(s.all[min(i, len(s.all)-1)])
}
