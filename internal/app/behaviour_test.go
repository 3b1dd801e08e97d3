package app

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

func TestLatencyQuantiles(t *testing.T) {
	for _, tc := range []struct {
		name    string
		latency Latency
	}{
		{"wide", Latency{2 * time.Millisecond, 20 * time.Millisecond}},
		{"narrow", Latency{10 * time.Millisecond, 11 * time.Millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const n = 100_000
			sample := make([]time.Duration, n)
			for i := range sample {
				sample[i], _ = Behaviour{Latency: tc.latency}.plan(NewDraws(7, "v1", fmt.Sprintf("id-%d", i)))
			}
			slices.Sort(sample)
			// A fixed seed: these hold or do not, whatever the machine.
			near(t, "p50", sample[n/2], tc.latency.P50, 0.02)
			near(t, "p99", sample[n*99/100], tc.latency.P99, 0.05)
			// Symmetric on the log scale: p1 · p99 = p50².
			near(t, "p1", sample[n/100], time.Duration(float64(tc.latency.P50)*float64(tc.latency.P50)/float64(tc.latency.P99)), 0.05)
		})
	}
}

func near(t *testing.T, what string, got, want time.Duration, within float64) {
	t.Helper()
	if math.Abs(float64(got-want)) > within*float64(want) {
		t.Errorf("%s is %v, not %v", what, got, want)
	}
}

func TestLatencyAt(t *testing.T) {
	for _, tc := range []struct {
		latency Latency
		p       float64
		want    time.Duration
	}{
		{Latency{}, 0.5, 0},
		{Latency{P50: 5}, 0.999, 5},
		{Latency{P50: 5, P99: 5}, 0.001, 5},
		{Latency{time.Second, 10 * time.Second}, 0.5, time.Second},
		{Latency{time.Second, 10 * time.Second}, 0.99, 10 * time.Second},
	} {
		if got := tc.latency.At(tc.p); math.Abs(float64(got-tc.want)) > 1e-9*float64(tc.want) {
			t.Errorf("%v at %v is %v, not %v", tc.latency, tc.p, got, tc.want)
		}
	}
}

func TestErrorRate(t *testing.T) {
	for _, rate := range []float64{0, 0.01, 0.5, 1} {
		const n = 100_000
		failed := 0
		for i := range n {
			if _, fails := (Behaviour{ErrorRate: rate}).plan(NewDraws(7, "v1", fmt.Sprint(i))); fails {
				failed++
			}
		}
		if sd := math.Sqrt(n * rate * (1 - rate)); math.Abs(float64(failed)-n*rate) > 4*sd {
			t.Errorf("rate %v: %d of %d failed", rate, failed, n)
		}
	}
}

func TestDifferRate(t *testing.T) {
	for _, share := range []float64{0, 0.05, 1} {
		const n = 100_000
		differ, both := 0, 0
		for i := range n {
			draws := NewDraws(7, "v2", fmt.Sprint(i))
			b := Behaviour{Differ: share, ErrorRate: share}
			if b.differs(draws) {
				differ++
				if _, fails := b.plan(draws); fails {
					both++
				}
			}
		}
		within := func(what string, got int, p float64) {
			if sd := math.Sqrt(n * p * (1 - p)); math.Abs(float64(got)-n*p) > 4*sd {
				t.Errorf("share %v: %d of %d %s", share, got, n, what)
			}
		}
		within("differ", differ, share)
		within("differ and fail, which are drawn apart", both, share*share)
	}
}

func TestDraws(t *testing.T) {
	d := NewDraws(1, "a", "bc")
	if d != NewDraws(1, "a", "bc") {
		t.Error("not reproducible")
	}
	for name, other := range map[string]Draws{"seed": NewDraws(2, "a", "bc"), "boundary": NewDraws(1, "ab", "c"), "order": NewDraws(1, "bc", "a")} {
		if d == other {
			t.Errorf("%s makes no difference", name)
		}
	}
	if d.At(0) == d.At(1) {
		t.Error("draws repeat")
	}
}

// SplitMix64's first outputs from 1234567, as published with Vigna's reference code and Rosetta Code's task.
func TestDrawsAreSplitMix64(t *testing.T) {
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := Draws(1234567).At(uint64(i)); got != want {
			t.Errorf("output %d is %d, not %d", i, got, want)
		}
	}
}

func TestUnitIsOpen(t *testing.T) {
	for i := range uint64(10_000) {
		if u := Draws(3).Unit(i); u <= 0 || u >= 1 {
			t.Fatalf("draw %d is %v", i, u)
		}
	}
}

func FuzzLatency(f *testing.F) {
	f.Add(uint64(1), int64(time.Millisecond), int64(10*time.Millisecond))
	f.Add(uint64(2), int64(0), int64(0))
	f.Add(uint64(3), int64(5), int64(5))
	f.Fuzz(func(t *testing.T, draws uint64, p50, p99 int64) {
		b := Behaviour{Latency: Latency{time.Duration(p50), time.Duration(p99)}}
		if b.Check() != nil || p99 > int64(time.Hour) || p50 > int64(time.Hour) {
			return
		}
		if got, _ := b.plan(Draws(draws)); got < 0 {
			t.Errorf("%+v gives %v", b.Latency, got)
		}
	})
}
