package impact

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"umbra/internal/stats"
)

// Requests seldom fail one by one. What is known of how they cluster comes from the failures that were seen, so that it is least where
// they are few, and the few bursts that a sample has are mostly small ones. The design effect is therefore taken from the blocks, and
// from one more failing block of this one, with which bursts of 5 on average pass no more often than they may (calibration.md).
const supposed = 10

// arm counts the failed requests of an arm by block.
type arm struct{ failed, n []float64 }

func (a *arm) add(s *Sample) {
	a.failed, a.n = append(a.failed, float64(s.Failed)), append(a.n, float64(len(s.Took)))
}

// clustering is the design effect: how many times more the shares vary from block to block than they would if each request failed
// for itself. It is at least 1, and 1 where nothing failed.
//
// Source: Rao and Scott, Biometrics 48 (1992), 577–585, with one effect for both arms.
func clustering(arms ...*arm) float64 {
	seen, expected, failing := 0.0, 0.0, 0.0
	for _, a := range arms {
		failed, all := sum(a.failed), sum(a.n)
		if failed == 0 {
			continue
		}
		p := failed / all
		for i, n := range a.n {
			d := a.failed[i] - n*p
			seen += d * d
			expected += p * (1 - p) * n * (1 - n/all)
			if a.failed[i] > 0 {
				failing++
			}
		}
	}
	if failing == 0 || expected <= 0 {
		return 1
	}
	return (failing*max(1, seen/expected) + supposed) / (failing + 1)
}

func sum(xs []float64) (s float64) {
	for _, x := range xs {
		s += x
	}
	return s
}

// clustered is the p-value of "the share of failed requests has risen by the margin or more" against "by less", for requests that fail in
// clusters: the score test, with the variance of the design effect, after the treated arm has got one cluster more.
type clustered struct {
	on, off, nOn, nOff int
	effect             float64
	blocks             int
}

func (c clustered) below(margin float64) float64 {
	more := min(c.nOn, c.on+int(math.Round(c.effect-1)))
	z := distuv.UnitNormal.Quantile(stats.DifferencePValue(more, c.nOn, c.off, c.nOff, -margin))
	return distuv.StudentsT{Sigma: 1, Nu: float64(c.blocks - 2)}.CDF(z / math.Sqrt(c.effect))
}

// upper is the margin from which on below is at most alpha.
func (c clustered) upper(alpha float64) float64 {
	low, high := -1.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; c.below(mid) <= alpha {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

// Clusters counts the failed requests of one side by what they may cluster in: a run, a stretch of one.
type Clusters struct{ Failed, N []float64 }

// DesignEffect is how many times more the shares of failed requests vary from cluster to cluster than they would if each request failed
// for itself; at least 1, and above what was seen, as for the total effect.
func DesignEffect(sides ...Clusters) float64 {
	arms := make([]*arm, len(sides))
	for i, s := range sides {
		arms[i] = &arm{s.Failed, s.N}
	}
	return clustering(arms...)
}

// Risen is the test of whether the share of failed requests is higher by a margin or more on the second side than on the first, with the
// variance of the design effect.
type Risen struct{ c clustered }

// RisenOf tests failed requests of two sides, which must have at least 3 clusters between them.
func RisenOf(before, after Clusters) Risen {
	return Risen{clustered{on: int(sum(after.Failed)), off: int(sum(before.Failed)), nOn: int(sum(after.N)), nOff: int(sum(before.N)),
		effect: DesignEffect(before, after), blocks: len(before.N) + len(after.N)}}
}

// Less is the p-value of "it has risen by the margin or more" against "by less".
func (r Risen) Less(margin float64) float64 { return r.c.below(margin) }

// Upper is the margin from which on Less is at most alpha.
func (r Risen) Upper(alpha float64) float64 { return r.c.upper(alpha) }
