package replay

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

func dues(s iter.Seq[Arrival]) (out []time.Duration) {
	for a := range s {
		out = append(out, a.Due)
	}
	return out
}

func TestConstantCounts(t *testing.T) {
	for _, c := range []struct {
		rate float64
		d    time.Duration
		want int
	}{
		{1000, 12 * time.Second, 12000}, {0.7, 10 * time.Second, 7}, {0.1, 10 * time.Second, 1}, {333.3, 3 * time.Second, 1000},
		{1, 500 * time.Millisecond, 1}, {3, time.Second / 3, 1}, {1e5, time.Second, 100000}, {49.9, 10 * time.Second, 499},
	} {
		t.Run(fmt.Sprint(c.rate, c.d), func(t *testing.T) {
			got := dues(Schedule([]Stage{{Phase: traffic.PhaseStage, From: c.rate, To: c.rate, For: c.d}}, Constant, 1))
			if len(got) != c.want || got[0] != 0 || got[len(got)-1] >= c.d {
				t.Errorf("%d arrivals from %v to %v, want %d from 0 to below %v", len(got), got[0], got[len(got)-1], c.want, c.d)
			}
		})
	}
}

// precise is the precision of the references, in bits.
const precise = 300

func exactly(x float64) *big.Float { return new(big.Float).SetPrec(precise).SetFloat64(x) }

// ideal is the instant, in seconds, at which the integrated rate of the stages reaches place, in exact arithmetic but for a
// square root of 300 bits: t = (−a + √(a² + 2kn)) / k, the school form, whose cancelled digits such a precision can spare.
func ideal(stages []Stage, place *big.Float) *big.Float {
	float := func() *big.Float { return new(big.Float).SetPrec(precise) }
	left, begin := float().Set(place), float()
	for i, s := range stages {
		length := float().Quo(float().SetInt64(int64(s.For)), exactly(1e9))
		a, b := exactly(s.From), exactly(s.To)
		all := float().Mul(float().Quo(float().Add(a, b), exactly(2)), length)
		if i < len(stages)-1 && left.Cmp(all) >= 0 {
			left.Sub(left, all)
			begin.Add(begin, length)
			continue
		}
		k := float().Quo(float().Sub(b, a), length)
		if k.Sign() == 0 {
			return begin.Add(begin, left.Quo(left, a))
		}
		root := float().Add(float().Mul(a, a), float().Mul(exactly(2), float().Mul(k, left)))
		if root.Sign() < 0 { // a place that stands at the very end of a fall to 0
			root = float()
		}
		return begin.Add(begin, float().Quo(float().Sub(root.Sqrt(root), a), k))
	}
	return begin
}

// off is how far due is from the ideal instant, in seconds.
func off(due time.Duration, ideal *big.Float) float64 {
	d := new(big.Float).SetPrec(precise).SetInt64(int64(due))
	x, _ := d.Sub(d.Quo(d, exactly(1e9)), ideal).Float64()
	return math.Abs(x)
}

// bound is what the due times hold, well below the microsecond that they promise: half a nanosecond of rounding, a whole one
// at the end of a stage, and what floating point leaves.
const bound = 5e-9

var hours = map[string][]Stage{
	"an hour at a rate that is no fraction of two": {{From: 333.3, To: 333.3, For: time.Hour}},
	"steps":                          {{From: 0.7, To: 0.7, For: 20 * time.Minute}, {From: 100.1, To: 100.1, For: time.Hour}, {From: 7, To: 7, For: time.Hour / 7}},
	"a ramp from nothing":            {{From: 0, To: 150, For: time.Hour}},
	"a ramp to nothing":              {{From: 150, To: 0, For: time.Hour}},
	"a ramp that hardly rises":       {{From: 100, To: 100.0000001, For: time.Hour}},
	"a ramp that hardly falls":       {{From: 100, To: 99.9999999, For: time.Hour}},
	"up, along, down, and up again":  {{From: 10, To: 300.3, For: 20 * time.Minute}, {From: 300.3, To: 300.3, For: 20 * time.Minute}, {From: 300.3, To: 1, For: 20 * time.Minute}, {From: 1, To: 9, For: time.Minute}},
	"a fast ramp and a slow stretch": {{From: 1, To: 100000, For: 10 * time.Second}, {From: 0.5, To: 0.25, For: time.Hour}},
}

// Constant arrival i is due where the integrated rate is i.
func TestConstantDueTimesAreExact(t *testing.T) {
	for name, stages := range hours {
		t.Run(name, func(t *testing.T) {
			worst, n := 0.0, 0
			for a := range Schedule(stages, Constant, 1) {
				if n%997 == 0 || n < 100 {
					worst = max(worst, off(a.Due, ideal(stages, exactly(float64(n)))))
				}
				n++
			}
			if n != CountOf(stages) || worst > bound {
				t.Errorf("%d arrivals of %d, off by up to %.3g s", n, CountOf(stages), worst)
			}
		})
	}
}

// Poisson arrival i is due where the integrated rate is the sum of i exponential steps, and no sum of theirs drifts.
func TestPoissonDueTimesAreExact(t *testing.T) {
	for name, stages := range hours {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 0x9e3779b97f4a7c15))
			place := new(big.Float).SetPrec(precise)
			worst, n := 0.0, 0
			for a := range Schedule(stages, Poisson, 3) {
				place.Add(place, exactly(-math.Log1p(-random.Float64())))
				if n%997 == 0 || n < 100 {
					worst = max(worst, off(a.Due, ideal(stages, place)))
				}
				n++
			}
			if n < 1000 || worst > bound {
				t.Errorf("%d arrivals, off by up to %.3g s", n, worst)
			}
		})
	}
}

// After an hour at 20,000 a second, and at the last place that a plan may have.
func TestNoDrift(t *testing.T) {
	for _, s := range []Stage{{From: 20000, To: 20000, For: time.Hour}, {From: 1, To: 39999, For: time.Hour}, {From: 39999, To: 1, For: time.Hour}, {From: 55000, To: 0, For: time.Hour}} {
		for _, n := range []float64{1, 12345, 1e6, 3.6e7, 7.2e7 - 1} {
			due := time.Duration(math.Round(s.inverse()(n) * 1e9))
			if d := off(due, ideal([]Stage{s}, exactly(n))); d > bound {
				t.Errorf("%+v: arrival %g is off by %.3g s", s, n, d)
			}
		}
	}
}

// FuzzSchedule: whatever the stages, the arrivals are as many as expected, stay within their stages and never fall.
func FuzzSchedule(f *testing.F) {
	f.Add(10.0, 100.0, int64(time.Second), 5.0, 5.0, int64(time.Second), true, uint64(1))
	f.Add(0.0, 1000.0, int64(time.Second), 1000.0, 0.0, int64(time.Second), false, uint64(2))
	f.Add(1e-3, 1e6, int64(time.Millisecond), 1e6, 1e-3, int64(time.Millisecond), true, uint64(3))
	f.Fuzz(func(t *testing.T, a, b float64, first int64, c, d float64, second int64, poisson bool, seed uint64) {
		stages := []Stage{{traffic.PhaseWarmup, a, b, time.Duration(first)}, {traffic.PhaseStage, c, d, time.Duration(second)}}
		if CheckStages(stages) != nil || CountOf(stages) > 100_000 {
			return
		}
		arrivals := Constant
		if poisson {
			arrivals = Poisson
		}
		var last time.Duration
		n := 0
		for a := range Schedule(stages, arrivals, seed) {
			warm := a.Phase == traffic.PhaseWarmup
			if a.Due < last || a.Due >= Duration(stages) || warm != (a.Due < stages[0].For) {
				t.Fatalf("arrival %d is due at %v after %v, phase %s, in %+v", n, a.Due, last, a.Phase, stages)
			}
			last = a.Due
			n++
		}
		if !poisson && n != CountOf(stages) {
			t.Fatalf("%d arrivals, want %d, in %+v", n, CountOf(stages), stages)
		}
	})
}

// A ramp's inverse put back into the integral gives the arrival's number.
func TestRampIsTheInverseOfTheIntegratedRate(t *testing.T) {
	for _, s := range []Stage{{From: 0, To: 100, For: 10 * time.Second}, {From: 100, To: 0, For: 10 * time.Second}, {From: 50, To: 50.0001, For: time.Minute},
		{From: 200, To: 1000, For: 20 * time.Second}} {
		k := (s.To - s.From) / s.For.Seconds()
		for n := 0.5; n < s.expected(); n += 7.3 {
			x := s.inverse()(n)
			if back := s.From*x + k*x*x/2; math.Abs(back-n) > 1e-9*s.expected() || x < 0 || x > s.For.Seconds() {
				t.Fatalf("%+v: n=%g → t=%g → n=%g", s, n, x, back)
			}
		}
	}
}

func TestStagesFollowEachOther(t *testing.T) {
	stages := []Stage{{traffic.PhaseWarmup, 10, 10, time.Second}, {traffic.PhaseStage, 10, 30, time.Second}, {traffic.PhaseStage, 30, 30, time.Second}}
	var warm, stage int
	last := time.Duration(-1)
	for a := range Schedule(stages, Constant, 1) {
		if a.Due <= last {
			t.Fatalf("due %v after %v", a.Due, last)
		}
		last = a.Due
		if inWarm := a.Due < time.Second; inWarm != (a.Phase == traffic.PhaseWarmup) {
			t.Fatalf("phase %s at %v", a.Phase, a.Due)
		}
		if a.Phase == traffic.PhaseWarmup {
			warm++
		} else {
			stage++
		}
	}
	if warm != 10 || stage != 50 {
		t.Errorf("%d warm-up and %d stage arrivals, want 10 and 50", warm, stage)
	}
}

// Poisson arrivals of a ramp, put through the integrated rate, are a unit-rate Poisson process: gaps have mean 1 and
// variance 1.
func TestPoisson(t *testing.T) {
	s := Stage{From: 100, To: 900, For: 100 * time.Second}
	k := (s.To - s.From) / s.For.Seconds()
	var last, sum, squares, n float64
	for a := range Schedule([]Stage{s}, Poisson, 42) {
		x := a.Due.Seconds()
		place := s.From*x + k*x*x/2
		gap := place - last
		last, sum, squares, n = place, sum+gap, squares+gap*gap, n+1
	}
	mean := sum / n
	variance := squares/n - mean*mean
	if math.Abs(n-50000) > 4*math.Sqrt(50000) || math.Abs(mean-1) > 0.02 || math.Abs(variance-1) > 0.05 {
		t.Errorf("n=%g, mean gap %g, variance %g; want about 50000, 1, 1", n, mean, variance)
	}
}

func TestEqualSeedsGiveEqualSchedules(t *testing.T) {
	stages := []Stage{{traffic.PhaseStage, 100, 200, 10 * time.Second}}
	s := Schedule(stages, Poisson, 7)
	if !slices.Equal(dues(s), dues(s)) {
		t.Error("ranging over a schedule again gives other instants")
	}
	if slices.Equal(dues(s), dues(Schedule(stages, Poisson, 8))) {
		t.Error("another seed gives the same instants")
	}
}

func TestCheckStages(t *testing.T) {
	for _, s := range []Stage{{From: 0, To: 0, For: time.Second}, {From: -1, To: 5, For: time.Second}, {From: 5, To: 5}, {From: math.NaN(), To: 1, For: 1}, {From: math.Inf(1), To: 1, For: 1}, {From: 1e6, To: 1e6, For: time.Hour}} {
		if CheckStages([]Stage{s}) == nil {
			t.Errorf("%+v accepted", s)
		}
	}
	long := Stage{From: 1, To: 1, For: maxLength}
	if CheckStages([]Stage{long, long}) == nil {
		t.Error("two months accepted")
	}
	if err := CheckStages([]Stage{{From: 0, To: 1, For: 1}, {From: 1, To: 1, For: time.Hour}}); err != nil {
		t.Error(err)
	}
}

func TestParseStages(t *testing.T) {
	stage := func(from, to float64, d time.Duration) Stage { return Stage{traffic.PhaseStage, from, to, d} }
	for text, want := range map[string][]Stage{
		"200:10s":                       {stage(200, 200, 10*time.Second)},
		"200:10s,200-1000:20s, 500:5s":  {stage(200, 200, 10*time.Second), stage(200, 1000, 20*time.Second), stage(500, 500, 5*time.Second)},
		"0-0.5:1m30s,1000-0:1h":         {stage(0, 0.5, 90*time.Second), stage(1000, 0, time.Hour)},
		"0.1:10s,33.3-66.6:500ms,7:1ms": {stage(0.1, 0.1, 10*time.Second), stage(33.3, 66.6, 500*time.Millisecond), stage(7, 7, time.Millisecond)},
	} {
		if got, err := ParseStages(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                               `stage 1: "" is neither rate:duration`,
		"200":                            `stage 1: "200" is neither`,
		"200:10s,":                       `stage 2: "" is neither`,
		"10s:200":                        "stage 1",
		"-5:10s":                         "stage 1",
		"200-:10s":                       "stage 1",
		"200-300-400:10s":                "stage 1",
		"1e3:10s":                        "stage 1",
		"200:10":                         `"10" is not a duration`,
		"200:10 s":                       `"10 s" is not a duration`,
		"200:1s,0:10s":                   "stage 2: a rate of 0 to 0",
		"200:1s,5:-1s":                   "stage 2: it lasts -1s",
		"1000000:10h":                    "100000000 at the most",
		"1:9999h":                        "stage 1: it lasts",
		strings.Repeat("9", 400) + ":1s": "out of range",
	} {
		if got, err := ParseStages(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", text, got, err, want)
		}
	}
}

// FuzzParseStages: what is taken can be played, and written down again it is read as the same.
func FuzzParseStages(f *testing.F) {
	for _, seed := range []string{"200:10s,200-1000:20s,500:5s", "0-0.5:1m30s", "7:1ms", "1e3:10s", "5:-1s", ",:-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		stages, err := ParseStages(text)
		if err != nil {
			return
		}
		var again []string
		for _, s := range stages {
			again = append(again, strconv.FormatFloat(s.From, 'f', -1, 64)+"-"+strconv.FormatFloat(s.To, 'f', -1, 64)+":"+s.For.String())
		}
		if got, err := ParseStages(strings.Join(again, ",")); err != nil || !slices.Equal(got, stages) || CheckStages(stages) != nil {
			t.Fatalf("%q is read as %+v, and that as %+v, %v", text, stages, got, err)
		}
	})
}

// planOf takes a plan down, to be compared.
func planOf(t *testing.T, plan Plan) (items []Item) {
	t.Helper()
	for item, err := range plan {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	return items
}

func TestPlanAt(t *testing.T) {
	r := &traffic.Request{Method: "GET", Path: "/"}
	stages := []Stage{{traffic.PhaseWarmup, 100, 100, time.Second}, {traffic.PhaseStage, 100, 200, time.Second}, {traffic.PhaseCooldown, 200, 200, time.Second}}
	plan := PlanAt(Schedule(stages, Poisson, 5), 5, Repeat(r))
	items := planOf(t, plan)
	if !slices.Equal(items, planOf(t, plan)) {
		t.Error("ranging over a plan again gives other items")
	}
	phases := map[traffic.Phase]int{}
	for i, item := range items {
		phases[item.Phase]++
		if item.ID != ID(5, uint64(i)) || item.Request != r {
			t.Fatalf("item %d: %+v", i, item)
		}
	}
	if len(phases) != 3 || len(items) < 300 {
		t.Errorf("%d items, phases %v", len(items), phases)
	}
}

// some gives requests that came at the given times, and then the error.
func some(end error, stopped *int, times ...time.Duration) Requests {
	return func() (func() (Item, error), func()) {
		i := 0
		return func() (Item, error) {
			if i == len(times) {
				return Item{}, end
			}
			i++
			return Item{Name: fmt.Sprint(i), Due: times[i-1], Request: &traffic.Request{At: times[i-1]}}, nil
		}, func() { *stopped++ }
	}
}

func TestPlansEndWithTheirRequests(t *testing.T) {
	broken := errors.New("line 3 is bad")
	for name, c := range map[string]struct {
		plan func(Requests) Plan
		dues []time.Duration
	}{
		"as captured": {func(r Requests) Plan { return PlanAsCaptured(2.5, 1, r) }, []time.Duration{0, 4, 40}},
		"at a rate": {func(r Requests) Plan {
			return PlanAt(Schedule([]Stage{{"", 1e9, 1e9, time.Second}}, Constant, 1), 1, r)
		}, []time.Duration{0, 1, 2}},
		"closed loop":  {func(r Requests) Plan { return PlanAt(ClosedLoop, 1, r) }, []time.Duration{-1, -1, -1}},
		"short stages": {func(r Requests) Plan { return PlanAt(Schedule([]Stage{{"", 3, 3, time.Second}}, Constant, 1), 1, r) }, []time.Duration{0, 333333333, 666666667}},
	} {
		for _, end := range []error{io.EOF, broken} {
			t.Run(fmt.Sprint(name, " ", end), func(t *testing.T) {
				stopped := 0
				var got []time.Duration
				var failed error
				for item, err := range c.plan(some(end, &stopped, 0, 10, 99)) {
					if failed = err; err != nil {
						continue
					}
					got = append(got, item.Due)
				}
				if !slices.Equal(got, c.dues) || stopped != 1 {
					t.Errorf("due %v, want %v; stopped %d times", got, c.dues, stopped)
				}
				if wants := end == broken && name != "short stages"; (failed != nil) != wants {
					t.Errorf("the plan ends with %v after its requests ended with %v", failed, end)
				}
			})
		}
	}
}

func TestIDsAreThoseOfID(t *testing.T) {
	next := IDs(99)
	for i := range uint64(1000) {
		if got := next(); got != ID(99, i) {
			t.Fatalf("id %d is %s, want %s", i, got, ID(99, i))
		}
	}
}

// What a plan of one request costs for each item.
func BenchmarkPlan(b *testing.B) {
	r := &traffic.Request{Method: "GET", Path: "/"}
	second := func(rate float64, a Arrivals) Plan {
		return PlanAt(Schedule([]Stage{{traffic.PhaseStage, rate, rate, 24 * time.Hour}}, a, 1), 1, Repeat(r))
	}
	for name, plan := range map[string]Plan{"constant": second(1e6, Constant), "poisson": second(1e6, Poisson), "closed": PlanAt(ClosedLoop, 1, Repeat(r))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for item, err := range plan {
				if err != nil || item.ID == "" {
					b.Fatal(err)
				}
				if n++; n == b.N {
					return
				}
			}
		})
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(3) {
		for i := range uint64(10000) {
			id := ID(seed, i)
			if len(id) != 16 || seen[id] {
				t.Fatalf("id %q of %d/%d is short or not unique", id, seed, i)
			}
			seen[id] = true
		}
	}
	if got := ID(1, 2); got != "bcd9dbb49673066b" {
		t.Errorf("ID(1, 2) = %s: ids of equal seeds must stay the same", got)
	}
}

// A capture that spans five hours, with gaps of all sizes: each request, the last one too, is due within a microsecond of its
// ideal instant, whatever the speed.
func TestNoDriftAsCaptured(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	const span = 5 * time.Hour
	var times []time.Duration
	for at := time.Duration(0); at < span; at += time.Duration(math.Exp(24 * random.Float64())) { // 1 ns to 26 s
		times = append(times, at)
	}
	times = append(times, span)
	for _, speed := range []string{"0.5", "1", "3", "0.7", "10", "9999.9"} {
		exact, _ := new(big.Rat).SetString(speed)
		factor, _ := strconv.ParseFloat(speed, 64)
		stopped, i := 0, 0
		for item, err := range PlanAsCaptured(factor, 1, some(io.EOF, &stopped, times...)) {
			if err != nil {
				t.Fatal(err)
			}
			ideal := new(big.Rat).Quo(new(big.Rat).SetInt64(int64(times[i])), exact)
			off := new(big.Rat).Sub(ideal, new(big.Rat).SetInt64(int64(item.Due)))
			if off.Abs(off).Cmp(big.NewRat(1, 1)) > 0 {
				t.Fatalf("× %s: request %d is due at %v, %s ns off its ideal instant", speed, i, item.Due, off.FloatString(3))
			}
			i++
		}
		if i != len(times) {
			t.Errorf("× %s: %d of %d requests", speed, i, len(times))
		}
	}
}

func TestCheckCaptured(t *testing.T) {
	for name, c := range map[string]struct {
		requests int
		length   time.Duration
		speed    float64
		want     string
	}{
		"good":      {10, 30 * 24 * time.Hour, 1, ""},
		"no speed":  {10, time.Hour, 0, "a speed of 0"},
		"no number": {10, time.Hour, math.NaN(), "a speed of NaN"},
		"too many":  {100_000_001, time.Hour, 1, "100000001 requests: a plan has 100000000 at the most"},
		"too long":  {10, 30*24*time.Hour + time.Second, 1, "720h0m0s is the most"},
		"too slow":  {10, math.MaxInt64, 1e-300, "720h0m0s is the most"},
	} {
		if err := CheckCaptured(c.requests, c.length, c.speed); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
