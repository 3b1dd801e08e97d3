package arrivals

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// rows are requests that were due at some instants, and sent so late.
func rows(dues []time.Duration, late func(i int) time.Duration) (out []traffic.Result) {
	for i, due := range dues {
		out = append(out, traffic.Result{Due: due, Sent: due + late(i), Outcome: traffic.OK})
	}
	return out
}

// every gives n instants with the gaps.
func every(n int, gap func(i int) time.Duration) (out []time.Duration) {
	at := time.Duration(0)
	for i := range n {
		out = append(out, at)
		at += gap(i)
	}
	return out
}

func compare(all ...traffic.Result) *Shape {
	c := New(0)
	c.Add(all)
	return c.Close()
}

// distance is the statistic by its definition, of whole gaps.
func distance(a, b []time.Duration) (d float64) {
	share := func(of []time.Duration, x time.Duration) float64 {
		n := 0
		for _, g := range of {
			if g <= x {
				n++
			}
		}
		return float64(n) / float64(len(of))
	}
	for _, x := range slices.Concat(a, b) {
		d = max(d, math.Abs(share(a, x)-share(b, x)))
	}
	return d
}

func gapsOf(instants []time.Duration) (out []time.Duration) {
	sorted := slices.Sorted(slices.Values(instants))
	for i := 1; i < len(sorted); i++ {
		out = append(out, sorted[i]-sorted[i-1])
	}
	return out
}

// Gaps below 2,048 ns have a bucket each, so that the statistic is exact.
func TestDistanceIsThatOfItsDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 2 + random.IntN(200)
		dues := every(n, func(int) time.Duration { return time.Duration(random.IntN(900)) })
		all := rows(dues, func(int) time.Duration { return time.Duration(random.IntN(900)) })
		var sents []time.Duration
		for _, r := range all {
			sents = append(sents, r.Sent)
		}
		random.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
		got := compare(all...)
		if want := distance(gapsOf(dues), gapsOf(sents)); math.Abs(got.Distance-want) > 1e-12 || got.LeftOut != 0 || got.Beyond != 0 {
			t.Fatalf("%+v, want a distance of %v", got, want)
		}
	}
}

func TestShapes(t *testing.T) {
	const n = 10_000
	even := every(n, func(int) time.Duration { return 10 * time.Millisecond })
	bursts := every(n, func(i int) time.Duration {
		if i%10 == 9 {
			return 100 * time.Millisecond
		}
		return 0
	})
	jitter := rand.New(rand.NewPCG(3, 4))
	for name, c := range map[string]struct {
		all                      []traffic.Result
		distance, beyond, within float64
	}{
		"on time":             {all: rows(even, func(int) time.Duration { return 0 })},
		"late by the same":    {all: rows(bursts, func(int) time.Duration { return time.Second })},
		"a jittering client":  {all: rows(even, func(int) time.Duration { return time.Duration(jitter.IntN(50_000)) }), distance: 0.5, within: 0.1},
		"bursts drawn apart":  {all: rows(bursts, func(i int) time.Duration { return time.Duration(i%10) * time.Millisecond }), distance: 0.9, beyond: 0.9, within: 0.01},
		"bursts, a bit apart": {all: rows(bursts, func(i int) time.Duration { return time.Duration(i%10) * 10 * time.Microsecond }), distance: 0.9, within: 0.01},
	} {
		t.Run(name, func(t *testing.T) {
			s := compare(c.all...)
			if math.Abs(s.Distance-c.distance) > c.within || math.Abs(s.Beyond-c.beyond) > c.within || s.Differs != (s.Distance > Noticeable) {
				t.Errorf("%+v, want %v and %v", s, c.distance, c.beyond)
			}
			if s.Due.N != n-1 || s.Sent.N != n-1 {
				t.Errorf("%d and %d gaps, want %d", s.Due.N, s.Sent.N, n-1)
			}
		})
	}
}

// A histogram's bars are wider than the tolerance where gaps are long, which makes no request late.
func TestLongGaps(t *testing.T) {
	const n = 501
	random := rand.New(rand.NewPCG(7, 8))
	for _, gap := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 5 * time.Second, time.Hour} {
		even := every(n, func(int) time.Duration { return gap })
		late := func(int) time.Duration { return time.Duration(20_000 + random.IntN(80_000)) }
		s := compare(rows(even, late)...)
		if s.Beyond != 0 {
			t.Errorf("gaps of %v, sent a little late: %+v", gap, s)
		}
		if want := (Gaps{n - 1, gap, gap, gap, gap, gap}); s.Due != want {
			t.Errorf("%+v, want %+v", s.Due, want)
		}
		if s.Sent.Max > gap+80*time.Microsecond || s.Sent.P99 > s.Sent.Max {
			t.Errorf("gaps of %v are shown as %+v", gap, s.Sent)
		}
		s = compare(rows(even, func(i int) time.Duration { return time.Duration(i%2) * gap / 50 })...)
		if math.Abs(s.Beyond-0.5) > 0.01 {
			t.Errorf("gaps of %v, every second one shorter by a fiftieth: %+v", gap, s)
		}
	}
}

func TestQuantiles(t *testing.T) {
	dues := every(1001, func(i int) time.Duration { return time.Duration(i+1) * time.Microsecond })
	s := compare(rows(dues, func(int) time.Duration { return 0 })...)
	near := func(got time.Duration, want float64) bool { return math.Abs(float64(got)/want-1) < 0.002 }
	if g := s.Due; !near(g.P10, 1e5) || !near(g.P50, 5e5) || !near(g.P90, 9e5) || !near(g.P99, 99e4) || !near(g.Max, 1e6) || s.Due != s.Sent {
		t.Errorf("%+v", s)
	}
}

// Rows that nobody sent have no place among the sent ones, and those that a stop took away none at all.
func TestUnsent(t *testing.T) {
	all := rows(every(100, func(int) time.Duration { return time.Millisecond }), func(int) time.Duration { return 0 })
	all[50].Sent, all[50].Outcome, all[50].Error = traffic.Never, traffic.Unsent, "dropped"
	all[99].Sent, all[99].Outcome, all[99].Error = traffic.Never, traffic.Unsent, traffic.Stopped
	if s := compare(all...); s.Due.N != 98 || s.Sent.N != 97 || s.Sent.Max < 2*time.Millisecond {
		t.Errorf("%+v", s)
	}
	for name, few := range map[string][]traffic.Result{"none": nil, "one": all[:1], "none sent": all[99:]} {
		if s := compare(few...); s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// However many rows there are, only a window of them is held; what comes later than it is left out and counted.
func TestWindow(t *testing.T) {
	g := newGaps()
	g.window = 8
	for _, at := range []time.Duration{3, 1, 2, 0, 7, 6, 5, 4, 9, 8, 10, 11, 0, 12} {
		g.add(at)
		if len(g.held) >= 8 {
			t.Fatalf("%d instants are held", len(g.held))
		}
	}
	g.flush()
	if s := g.sum(); g.late != 1 || s.N != 12 || s.Max != 1 {
		t.Errorf("%d late, %+v", g.late, s)
	}
}

// What a row of a long run costs.
func BenchmarkAdd(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	batch := make([]traffic.Result, 4096)
	c, at := New(0), time.Duration(0)
	for n := 0; n < b.N; n += len(batch) {
		for i := range batch {
			at += 12 * time.Microsecond
			batch[i] = traffic.Result{Due: at - time.Duration(random.IntN(1e6)), Sent: at, Outcome: traffic.OK}
		}
		c.Add(batch)
	}
	c.Close()
}
