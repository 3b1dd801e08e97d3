// Package replay plays a plan of requests against a server: a pure schedule says when each is due, a Transport sends
// it then, and a Recorder keeps what became of it. Every planned request yields exactly one traffic.Result.
package replay

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
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

// inverse gives the instant, in seconds from the stage's begin, by which the integral of the rate has reached n. It inverts
// n = a·t + k·t²/2, with k = (b−a)/T, where the rate is lowest: from the begin of a stage that rises, from the end of one
// that falls. There rise adds what is positive only, so that no digits cancel, however near to 0 the rate comes.
func (s Stage) inverse() func(n float64) float64 {
	length, all := s.For.Seconds(), s.expected()
	switch {
	case s.To > s.From:
		return func(n float64) float64 { return rise(s.From, (s.To-s.From)/length, n) }
	case s.To < s.From:
		return func(n float64) float64 { return length - rise(s.To, (s.From-s.To)/length, all-n) }
	}
	return func(n float64) float64 { return n / s.From }
}

// rise is the t of n = a·t + k·t²/2 for a, k ≥ 0: the quadratic formula in the form that stays exact where k is small,
// 2n / (a + √(a² + 2kn)) (Press et al., Numerical Recipes, 3rd edition, 5.6). The conversions forbid the compiler to fuse
// a product with the sum (Go specification, Floating-point operators), so that every architecture gives the same instants.
func rise(a, k, n float64) float64 {
	if n <= 0 {
		return 0
	}
	return 2 * n / (a + math.Sqrt(float64(a*a)+float64(2*k*n)))
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

// The bounds of a plan: each of its requests gets a row, also where the run is stopped before; and up to a length of 104
// days float64 keeps nanoseconds apart.
const (
	maxPlanned = 100_000_000
	maxLength  = 30 * 24 * time.Hour
)

// CheckStages tells what a schedule cannot be made of.
func CheckStages(stages []Stage) error {
	var planned float64
	var length time.Duration
	for i, s := range stages {
		if err := s.check(); err != nil {
			return fmt.Errorf("stage %d: %w", i+1, err)
		}
		if planned, length = planned+s.expected(), length+s.For; length > maxLength {
			return fmt.Errorf("stage %d: the stages last longer than %v until its end: play them in parts", i+1, maxLength)
		}
	}
	if planned > maxPlanned {
		return fmt.Errorf("%.0f requests: a plan has %d at the most; play it slower or in parts", planned, maxPlanned)
	}
	return nil
}

func (s Stage) check() error {
	switch {
	case s.For <= 0:
		return fmt.Errorf("it lasts %v: give it a time above 0", s.For)
	case s.For > maxLength:
		return fmt.Errorf("it lasts %v: %v is the most", s.For, maxLength)
	case !(s.From >= 0 && s.To >= 0 && s.From+s.To > 0) || math.IsInf(s.From+s.To, 0):
		return fmt.Errorf("a rate of %g to %g per second: give a positive one", s.From, s.To)
	}
	return nil
}

// Schedule gives the arrivals of stages that follow each other, the first at 0 where arrivals are constant. It is pure:
// ranging over it again gives the same instants, and so do equal seeds. Each instant is computed from the arrival's place
// in the integrated rate, never from the instant before: constant arrival i stands where the integral is i, Poisson arrival
// i where it is the sum of i exponential steps (the time-rescaling theorem, Brown et al. 2002), so ramps are Poisson too.
// It is within a microsecond of the ideal instant for as long as a plan may last.
func Schedule(stages []Stage, arrivals Arrivals, seed uint64) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		next := places(arrivals, seed)
		place := next()
		var passed float64           // the integral over the stages that are over
		var begin, due time.Duration // of the stage, of the arrival
		for _, s := range stages {
			end, at := roundIfNear(passed+s.expected()), s.inverse()
			for ; place < end; place = next() {
				instant := begin + time.Duration(math.Round(at(place-passed)*1e9))
				due = max(due, min(instant, begin+s.For-1)) // rounding moves no arrival in front of another, nor out of its stage
				if !yield(Arrival{due, s.Phase}) {
					return
				}
			}
			passed, begin = end, begin+s.For
		}
	}
}

// places gives the places of the arrivals in the integrated rate, one after the other. The sum of the exponential steps
// carries what rounding took from it (Kahan 1965), so that a hundred million of them are as exact as one.
func places(arrivals Arrivals, seed uint64) func() float64 {
	if arrivals == Poisson {
		random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
		var sum, lost float64
		return func() float64 {
			step := -math.Log1p(-random.Float64()) - lost
			next := sum + step
			lost = (next - sum) - step
			sum = next
			return sum
		}
	}
	n := -1.0
	return func() float64 { n++; return n }
}

// roundIfNear takes back what floating point added to a whole number, a few units in the last place, so that 0.7 per
// second for 10 s are 7 arrivals.
func roundIfNear(x float64) float64 {
	if r := math.Round(x); math.Abs(x-r) <= 1e-14*x {
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

// CountOf is how many requests the stages have: exactly for constant arrivals, on average for Poisson ones.
func CountOf(stages []Stage) int {
	var n float64
	for _, s := range stages {
		n = roundIfNear(n + s.expected())
	}
	return int(math.Ceil(n))
}

// TopRate is the highest rate of the stages, in requests per second.
func TopRate(stages []Stage) (rate float64) {
	for _, s := range stages {
		rate = max(rate, s.From, s.To)
	}
	return rate
}

var stagePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?:-([0-9]+(?:\.[0-9]+)?))?:(.+)$`)

// ParseStages reads stages as a command line gives them, rate:duration for a step and rate-to:duration for a ramp, separated
// by commas: 200:10s,200-1000:20s,500:5s.
func ParseStages(text string) (stages []Stage, err error) {
	for i, part := range strings.Split(text, ",") {
		m := stagePattern.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("stage %d: %q is neither rate:duration nor rate-to:duration, like 200:10s or 200-1000:20s", i+1, part)
		}
		s := Stage{Phase: traffic.PhaseStage}
		if s.For, err = time.ParseDuration(m[3]); err != nil {
			return nil, fmt.Errorf("stage %d: %q is not a duration with its unit, like 10s or 1m30s", i+1, m[3])
		}
		s.From, err = strconv.ParseFloat(m[1], 64)
		s.To = s.From
		if m[2] != "" && err == nil {
			s.To, err = strconv.ParseFloat(m[2], 64)
		}
		if err != nil {
			return nil, fmt.Errorf("stage %d: %q: the rate is out of range", i+1, part)
		}
		stages = append(stages, s)
	}
	return stages, CheckStages(stages)
}

// Requests opens the requests of a plan, once more for each time that the plan is ranged over. next gives them one after the
// other, as items without id and phase, and io.EOF behind the last; stop frees what they took. The due time of what was
// captured is the capture's own, from its first request on and never falling; else it is not set.
type Requests func() (next func() (Item, error), stop func())

// Repeat gives the same request for ever.
func Repeat(r *traffic.Request) Requests {
	return func() (func() (Item, error), func()) {
		return func() (Item, error) { return Item{Request: r}, nil }, func() {}
	}
}

// PlanAt puts requests to arrivals, until either ends.
func PlanAt(arrivals iter.Seq[Arrival], seed uint64, requests Requests) Plan {
	return func(yield func(Item, error) bool) {
		next, stop := requests()
		defer stop()
		id := IDs(seed)
		for a := range arrivals {
			item, err := next()
			if errors.Is(err, io.EOF) {
				return
			}
			item.ID, item.Phase, item.Due = id(), a.Phase, a.Due
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// DueAsCaptured is when a request is due that came so long after the first one of its capture: each from its own instant, none
// from the one before, so that nothing adds up. int64 nanoseconds of up to 104 days are float64 without loss, and the quotient
// of two float64 is off by half a unit in its last place, so the instant is the ideal one rounded for as long as a plan may
// last.
func DueAsCaptured(since time.Duration, speed float64) time.Duration {
	return time.Duration(math.Round(float64(since) / speed))
}

// CheckCaptured tells what of a capture cannot be planned: requests in all, the last of them that long after the first.
func CheckCaptured(requests int, length time.Duration, speed float64) error {
	switch lasts := float64(length) / speed; {
	case !(speed > 0) || math.IsInf(speed, 0):
		return fmt.Errorf("a speed of %g: give a positive one", speed)
	case requests > maxPlanned:
		return fmt.Errorf("%d requests: a plan has %d at the most; play the capture in parts", requests, maxPlanned)
	case lasts > float64(maxLength):
		return fmt.Errorf("it lasts %.0f hours: %v is the most; play it faster or in parts", lasts/float64(time.Hour), maxLength)
	}
	return nil
}

// PlanAsCaptured sends each request when it came in the capture, speed times as fast.
func PlanAsCaptured(speed float64, seed uint64, requests Requests) Plan {
	return func(yield func(Item, error) bool) {
		next, stop := requests()
		defer stop()
		id := IDs(seed)
		for {
			item, err := next()
			if errors.Is(err, io.EOF) {
				return
			}
			item.ID, item.Phase = id(), traffic.PhaseStage
			if err == nil {
				item.Due = DueAsCaptured(item.Due, speed)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// ClosedLoop is the arrivals of a closed loop: each when a connection is free, without end.
func ClosedLoop(yield func(Arrival) bool) {
	for yield(Arrival{AsSoonAsPossible, traffic.PhaseStage}) {
	}
}

// idsAtOnce is how many ids are cut from one string.
const idsAtOnce = 64

// IDs gives ID(seed, 0), ID(seed, 1) and so on. They are cut from one string for each idsAtOnce, so that an id has no
// allocation of its own; who keeps one keeps a kilobyte.
func IDs(seed uint64) func() string {
	var ids string
	var i uint64
	key := mix(seed)
	return func() string {
		if len(ids) == 0 {
			ids = idBlock(key, i)
		}
		id := ids[:16]
		ids = ids[16:]
		i++
		return id
	}
}

// idBlock is idsAtOnce ids behind each other, from that of request i.
func idBlock(key, i uint64) string {
	var raw [8 * idsAtOnce]byte
	var text [2 * len(raw)]byte
	for n := range uint64(idsAtOnce) {
		binary.BigEndian.PutUint64(raw[8*n:], mix((i+n)^key))
	}
	hex.Encode(text[:], raw[:])
	return string(text[:])
}
