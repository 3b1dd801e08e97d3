// Package replay plays a plan of requests against a server: a pure schedule says when each is due, a Transport sends
// it then, and a Recorder keeps what became of it. Every planned request yields exactly one traffic.Result.
package replay

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"umbra/internal/traffic"
)

// Stage is a stretch of load whose rate goes from From to To, in requests per second, in a straight line.
type Stage struct {
	Phase    traffic.Phase
	From, To float64
	For      time.Duration
}

// expected is how many arrivals the stage has on average: the integral of its rate.
func (s Stage) expected() float64 { return (s.From + s.To) / 2 * s.For.Seconds() }

// at is the instant, in seconds from the stage's begin, by which the integral of the rate has reached n: the inverse of
// n = a·t + k·t²/2 with k = (b−a)/T, in the form that stays exact where k is small (2n / (a + √(a² + 2kn))).
func (s Stage) at(n float64) float64 {
	if n <= 0 {
		return 0
	}
	k := (s.To - s.From) / s.For.Seconds()
	return 2 * n / (s.From + math.Sqrt(max(0, s.From*s.From+2*k*n)))
}

// Arrivals is the process that a schedule's due times follow.
type Arrivals string

// The processes.
const (
	Constant Arrivals = "constant" // evenly spaced
	Poisson  Arrivals = "poisson"  // independent of each other, as many users are
)

// Arrival is an instant of a schedule.
type Arrival struct {
	Due   time.Duration // from the start of the run
	Phase traffic.Phase
}

// maxPlanned bounds a plan, as each of its requests gets a row, also where the run is stopped before.
const maxPlanned = 100_000_000

// CheckStages tells what a schedule cannot be made of.
func CheckStages(stages []Stage) error {
	var planned float64
	for i, s := range stages {
		switch {
		case s.For <= 0:
			return fmt.Errorf("stage %d: it lasts %v: say how long", i+1, s.For)
		case !(s.From >= 0 && s.To >= 0 && s.From+s.To > 0) || math.IsInf(s.From+s.To, 0):
			return fmt.Errorf("stage %d: a rate of %g to %g per second: give a positive one", i+1, s.From, s.To)
		}
		planned += s.expected()
	}
	if planned > maxPlanned {
		return fmt.Errorf("%.0f requests: a plan has %d at the most; play it slower or in parts", planned, maxPlanned)
	}
	return nil
}

// Schedule gives the arrivals of stages that follow each other, the first at 0 where arrivals are constant. It is pure:
// ranging over it again gives the same instants, and so do equal seeds. Each instant is computed from the arrival's place
// in the integrated rate, never from the instant before: constant arrival i stands where the integral is i, Poisson arrival
// i where it is the sum of i exponential steps (the time-rescaling theorem, Brown et al. 2002), so ramps are Poisson too.
func Schedule(stages []Stage, arrivals Arrivals, seed uint64) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		next := places(arrivals, seed)
		place := next()
		var passed float64 // the integral over the stages that are over
		var begin time.Duration
		for _, s := range stages {
			end := roundIfNear(passed + s.expected())
			for ; place < end; place = next() {
				due := min(begin+time.Duration(math.Round(s.at(place-passed)*1e9)), begin+s.For-1)
				if !yield(Arrival{due, s.Phase}) {
					return
				}
			}
			passed, begin = end, begin+s.For
		}
	}
}

// places gives the places of the arrivals in the integrated rate, one after the other.
func places(arrivals Arrivals, seed uint64) func() float64 {
	if arrivals == Poisson {
		random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
		var sum float64
		return func() float64 {
			sum += -math.Log1p(-random.Float64())
			return sum
		}
	}
	n := -1.0
	return func() float64 { n++; return n }
}

// roundIfNear takes back what floating point added to a whole number, so that 0.7 per second for 10 s are 7 arrivals.
func roundIfNear(x float64) float64 {
	if r := math.Round(x); math.Abs(x-r) < 1e-6 {
		return r
	}
	return x
}

// Duration is how long the stages last together.
func Duration(stages []Stage) (d time.Duration) {
	for _, s := range stages {
		d += s.For
	}
	return d
}
