package replay

import (
	"fmt"
	"iter"
	"math"
	"slices"
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

// The ideal instant of arrival i at a constant rate is i/rate: after an hour at 20,000 a second, within a microsecond.
func TestNoDrift(t *testing.T) {
	s := Stage{From: 20000, To: 20000, For: time.Hour}
	for _, i := range []float64{1, 12345, 1e6, 7.2e7 - 1} {
		if got, want := s.at(i), i/20000; math.Abs(got-want) > 1e-9 {
			t.Errorf("arrival %g at %.12f s, want %.12f", i, got, want)
		}
	}
}

// A ramp's inverse put back into the integral gives the arrival's number.
func TestRampIsTheInverseOfTheIntegratedRate(t *testing.T) {
	for _, s := range []Stage{{From: 0, To: 100, For: 10 * time.Second}, {From: 100, To: 0, For: 10 * time.Second}, {From: 50, To: 50.0001, For: time.Minute},
		{From: 200, To: 1000, For: 20 * time.Second}} {
		k := (s.To - s.From) / s.For.Seconds()
		for n := 0.5; n < s.expected(); n += 7.3 {
			x := s.at(n)
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
	if err := CheckStages([]Stage{{From: 0, To: 1, For: 1}}); err != nil {
		t.Error(err)
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
