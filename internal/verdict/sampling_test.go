package verdict

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"umbra/internal/impact"
	"umbra/internal/stats"
	"umbra/internal/traffic"
)

func onlyReads(int) string { return reads }

func TestSampling(t *testing.T) {
	for _, c := range []struct {
		name   string
		setup  setup
		points float64
		spoil  func(*bed)
		want   State
		says   string
	}{
		{"10 % of enough", setup{n: 20_000, seed: 7, route: onlyReads}, 1, func(*bed) {}, Pass, "programmed 10 % ± 1"},
		{"10 % of too few", setup{n: 1000, seed: 7, route: onlyReads}, 1, func(*bed) {}, Inconclusive, "9,896 requests would decide"},
		{"11 % of 10 % ± 1", setup{n: 40_000, seed: 7, route: onlyReads, routes: defaultRoutes(110_000)}, 1, func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000}
		}, Inconclusive, "too near to the edge"},
		{"0.57 %, programmed as 5,699", setup{n: 60_000, seed: 7, route: onlyReads, routes: defaultRoutes(5699)}, 0.1, func(*bed) {}, Pass, "programmed 0.5699 % ± 0.1"},
		{"0 %", setup{n: 2000, route: onlyReads, routes: defaultRoutes(0)}, 1, func(*bed) {}, Pass, "0 of 2,000 mirrored"},
		{"0 %, one mirrored", setup{n: 2000, route: onlyReads, routes: defaultRoutes(0)}, 1, func(b *bed) { b.arrive(b.results[9].ID, v2, true) }, Fail, "mirrored_at_zero"},
		{"100 %", setup{n: 2000, route: onlyReads, routes: defaultRoutes(million)}, 1, func(*bed) {}, Pass, "all 2,000 mirrored"},
		{"100 %, one not mirrored", setup{n: 2000, route: onlyReads, routes: defaultRoutes(million)}, 1, func(b *bed) {
			b.lose(v2)
			b.facts.After["cluster."+v2+".upstream_rq_total"]--
		}, Fail, "1 of 2,000 not mirrored"},
		{"100 %, one lost on the way", setup{n: 2000, route: onlyReads, routes: defaultRoutes(million)}, 1, func(b *bed) { b.lose(v2) }, Pass, "1 of them by the gateway's word alone"},
		{"100 %, one lost, maybe of the warm-up", setup{n: 2000, warmup: 9, route: onlyReads, routes: defaultRoutes(million)}, 1, func(b *bed) {
			b.receipts = b.receipts[:len(b.receipts)-1]
			b.lose(v2)
			b.facts.After["cluster."+v2+".upstream_rq_total"]--
		}, Inconclusive, "1 of 2,000 did not arrive"},
		{"100 %, dead", setup{n: 2000, route: onlyReads, routes: defaultRoutes(million)}, 1, func(b *bed) { b.kill(v2) }, Pass, "2,000 of them by the gateway's word"},
		{"only the warm-up", setup{warmup: 2000, route: onlyReads}, 1, func(*bed) {}, Inconclusive, "could be mirrored"},
		{"a warm-up does not count", setup{n: 20_000, warmup: 5000, seed: 7, route: onlyReads}, 1, func(*bed) {}, Pass, "of 20,000 mirrored"},
		{"blocks with the mirror off do not count", setup{n: 40_000, seed: 7, route: onlyReads}, 1, func(b *bed) {
			for i := range b.results[:20_000] {
				b.results[i].Phase, b.results[i].Arm = traffic.PhaseBlock, []string{"off", "on"}[i%2]
			}
		}, Pass, "of 30,000 mirrored"},
		{"no counters", setup{n: 20_000, seed: 7, route: onlyReads}, 1, func(b *bed) { b.facts.After = nil }, Inconclusive, "the gateway's counters say nothing"},
		{"no counters, and too many", setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(120_000)}, 1, func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000}
			b.facts.After = nil
		}, Fail, "too many"},
		{"no counters, and too few arrived", setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(50_000)}, 1, func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000}
			b.facts.After = nil
		}, Inconclusive, "the gateway's counters say nothing"},
		{"killed, too few arrived", setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(50_000)}, 1, func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000}
			b.facts.Incomplete = true
		}, Inconclusive, "results or receipts are missing"},
		{"cut short", setup{n: 20_000, seed: 7, route: onlyReads}, 1, func(b *bed) { b.facts.Partial = true }, Inconclusive, "cut short"},
		{"dead after a warm-up", setup{n: 20_000, warmup: 2000, seed: 7, route: onlyReads}, 1, func(b *bed) { b.kill(v2) }, Inconclusive, "shadow down"},
		{"dead, and fraction 12 for 10", setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(120_000)}, 1, func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000}
			b.kill(v2)
		}, Fail, "by the gateway's word alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(c.setup)
			b.options.Fraction = within(c.points)
			c.spoil(b)
			v := b.judge(t)[Sampling]
			if v.State != c.want {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
			says(t, v, c.says)
		})
	}
}

func TestSamplingNotAskedFor(t *testing.T) {
	b := newBed(setup{n: 100})
	b.options.Fraction = nil
	if v := b.judge(t)[Sampling]; v.State != NotTested || len(v.Items) != 0 {
		t.Errorf("%+v", v)
	}
}

// fates of requests that got no answer, of 20,000 at 10 %.
func TestUnknownFates(t *testing.T) {
	// spoil ends count requests that were not mirrored without an answer, and without a receipt.
	spoil := func(b *bed, count int, outcome traffic.Outcome, class string, sent bool) {
		gone := map[string]bool{}
		for i := range b.results {
			r := &b.results[i]
			if len(gone) < count && draw(7, r.ID) >= 100_000 {
				gone[r.ID] = true
				r.Outcome, r.Error, r.Status = outcome, class, 0
				if !sent {
					r.Sent = traffic.Never
				}
			}
		}
		kept := b.receipts[:0]
		for _, r := range b.receipts {
			if !gone[r.ID] {
				kept = append(kept, r)
			}
		}
		b.receipts = kept
	}
	for _, c := range []struct {
		name              string
		spoil             func(*bed)
		want              State
		eligible, unknown int
		says              string
	}{
		{"few time-outs change nothing", func(b *bed) { spoil(b, 100, traffic.Timeout, "timeout", true) }, Pass, 19_900, 100, ""},
		{"many could", func(b *bed) { spoil(b, 3000, traffic.Timeout, "timeout", true) }, Inconclusive, 17_000, 3000, "the fate of 3,000 requests is unknown"},
		{"resets", func(b *bed) { spoil(b, 3000, traffic.Error, "reset", true) }, Inconclusive, 17_000, 3000, "the fate of"},
		{"in flight", func(b *bed) { spoil(b, 3000, traffic.Inflight, "", true) }, Inconclusive, 17_000, 3000, "the fate of"},
		{"refused connections are not eligible", func(b *bed) { spoil(b, 100, traffic.Error, "connect_refused", true) }, Pass, 19_900, 0, ""},
		{"unsent are not eligible", func(b *bed) { spoil(b, 100, traffic.Unsent, "", false) }, Pass, 19_900, 0, ""},
		{"timed out before it was sent", func(b *bed) { spoil(b, 100, traffic.Timeout, "timeout", false) }, Pass, 19_900, 0, ""},
		{"a time-out that arrived is eligible", func(b *bed) {
			for i := range b.results[:3000] {
				b.results[i].Outcome, b.results[i].Status = traffic.Timeout, 0
			}
		}, Pass, 20_000, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7, route: onlyReads})
			c.spoil(b)
			v := b.judge(t)[Sampling]
			g := v.Items[0].Sampling
			if v.State != c.want || g.Eligible != c.eligible || g.Unknown != c.unknown {
				t.Errorf("%s: %s, %+v", v.State, v.Summary, g)
			}
			says(t, v, c.says)
		})
	}
}

// At 100 % a request of unknown fate keeps the exact set from being known.
func TestUnknownFateOfAll(t *testing.T) {
	b := newBed(setup{n: 100, route: onlyReads, routes: defaultRoutes(million)})
	b.play(500, reads, traffic.PhaseStage, 0)
	b.results[100].Outcome, b.results[100].Status = traffic.Timeout, 0
	b.receipts = b.receipts[:200]
	b.facts.After["cluster."+v2+".upstream_rq_total"]--
	v := b.judge(t)[Sampling]
	if v.State != Inconclusive {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, v, "the fate of 1 more is unknown")
}

// Two mirrors of one route: 10 % inside 50 %.
func TestNestedMirrors(t *testing.T) {
	const v3 = "outbound|80|v3|app"
	routes := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 10, 100_000}, {v3, 50, 500_000}}}}
	pods := map[string][]string{v1: {"v1-a"}, v2: {"v2-a", "v2-b"}, v3: {"v3-a"}}
	b := newBed(setup{n: 30_000, seed: 7, routes: routes, pods: pods, route: onlyReads})
	b.options.Fraction = within(2)
	vs := b.judge(t)
	expect(t, vs, nil)
	if len(vs[Sampling].Items) != 2 || len(vs[Sampling].Findings) != 0 || len(vs[Delivery].Items) != 2 {
		t.Errorf("%+v", vs[Sampling])
	}
	small, other := "", ""
	for _, r := range b.results {
		switch d := draw(7, r.ID); {
		case d < 100_000:
			small = r.ID
		case d >= 500_000:
			other = r.ID
		}
	}
	for i := range b.receipts { // one of the 50 % goes to a request that is in neither
		if b.receipts[i].Pod == "v3-a" && b.receipts[i].ID == small {
			b.receipts = append(b.receipts[:i], b.receipts[i+1:]...)
			break
		}
	}
	b.receive(other, v3)
	vs = b.judge(t)
	expect(t, vs, nil)
	if f := found(t, vs[Sampling], "not_nested"); f.Count != 1 || f.Severity != Warning || f.Examples[0] != small {
		t.Errorf("%+v", f)
	}
}

// Two mirrors of one route to the same pods are told apart by their fractions, the larger one first.
func TestMirrorsOfTheSamePods(t *testing.T) {
	routes := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 10, 100_000}, {"v2-again", 50, 500_000}}}}
	pods := map[string][]string{v1: {"v1-a"}, v2: {"v2-a"}, "v2-again": {"v2-a"}}
	b := newBed(setup{n: 30_000, seed: 7, routes: routes, pods: pods, route: onlyReads})
	b.options.Fraction = within(2)
	vs := b.judge(t)
	expect(t, vs, nil)
	if !vs[Sampling].Items[0].Approximate {
		t.Error("not marked approximate")
	}
}

func TestMargins(t *testing.T) {
	for _, c := range []struct {
		name      string
		p0, delta float64
		refused   bool
	}{
		{"fits", 0.1, 0.01, false},
		{"as large as the fraction", 0.1, 0.1, true},
		{"larger", 0.005, 0.01, true},
		{"as large as the rest", 0.9, 0.1, true},
		{"none", 0.1, 0, true},
		{"0 % is exact", 0, 0.01, false},
		{"100 % is exact", 1, 0.01, false},
	} {
		if err := CheckMargin(c.p0, c.delta); errors.Is(err, ErrMargin) != c.refused {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b := newBed(setup{n: 10})
	b.options.Fraction = within(10)
	b.options.Objectives = []Objective{{Quantile: 101, Under: 1}, {Quantile: 99}, {Errors: -1}}
	b.options.Margins = []impact.Margin{{Quantile: 0}}
	b.facts.Routes = append(b.facts.Routes, b.facts.Routes[1])
	_, err := NewRecon().Judge(b.facts, b.options)
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 6 || !errors.Is(err, ErrMargin) {
		t.Errorf("not all six faults at once: %v", err)
	}
}

// coin judges one binomial sample of a true fraction p.
func coin(x, n int, p0, points float64) State {
	m := &mirror{MirrorFact: MirrorFact{v2, p0 * 100, uint32(math.Round(p0 * million))}, route: &route{rows: n}}
	m.cluster = &cluster{mirrors: []*mirror{m}, ledger: ledger{known: true}}
	m.tally = tally{eligible: n, mirrored: x}
	c := newSample(m, points, false, 0)
	correct([]*sample{c})
	item, _ := c.judge()
	return item.State
}

// False verdicts at the edge of the margin, and powers at the programmed fraction, by simulation with fixed seeds: 4,000
// runs each, so that an error rate of 5 % is seen as at most 6.1 % but once in a thousand.
func TestSamplingErrorRates(t *testing.T) {
	const runs, most = 4000, 0.061
	random := rand.New(rand.NewPCG(11, 3))
	n := stats.SampleSize(0.1, 0.01, power)
	states := map[int]State{} // by count
	rate := func(p float64, want State) float64 {
		hits := 0
		for range runs {
			x := binomial(random, n, p)
			if states[x] == "" {
				states[x] = coin(x, n, 0.1, 1)
			}
			if states[x] == want {
				hits++
			}
		}
		return float64(hits) / runs
	}
	if got := rate(0.11, Pass); got > most {
		t.Errorf("false PASS at the upper edge: %v", got)
	}
	if got := rate(0.09, Pass); got > most {
		t.Errorf("false PASS at the lower edge: %v", got)
	}
	if got := rate(0.11, Fail); got > most {
		t.Errorf("false FAIL at the upper edge: %v", got)
	}
	if got := rate(0.09, Fail); got > most {
		t.Errorf("false FAIL at the lower edge: %v", got)
	}
	if got := rate(0.1, Pass); got < power-0.02 {
		t.Errorf("power %v at the planned n", got)
	}
	if got := rate(0.1, Fail); got > 0 {
		t.Errorf("false FAIL of a right fraction: %v", got)
	}
	if got := rate(0.13, Fail); got < 0.99 {
		t.Errorf("13 %% for 10 %% is found in %v", got)
	}
}

// binomial draws a count by inversion, started at the mean.
func binomial(random *rand.Rand, n int, p float64) int {
	u := random.Float64()
	x := int(float64(n) * p)
	below := stats.TailLE(n, x, p)
	for ; below < u && x < n; below += math.Exp(stats.LogPMF(n, x, p)) {
		x++
	}
	for ; x > 0 && below-math.Exp(stats.LogPMF(n, x, p)) >= u; x-- {
		below -= math.Exp(stats.LogPMF(n, x, p))
	}
	return x
}

// With many mirrors Holm keeps the chance of any false FAIL at 5 %.
func TestHolmOverMirrors(t *testing.T) {
	const mirrors, n, runs = 6, 4000, 1000
	random := rand.New(rand.NewPCG(2, 9))
	any := 0
	for range runs {
		var cases []*sample
		for range mirrors {
			m := &mirror{MirrorFact: MirrorFact{v2, 10, 100_000}, route: &route{rows: n}, tally: tally{eligible: n, mirrored: binomial(random, n, 0.12)}}
			m.cluster = &cluster{mirrors: []*mirror{m}, ledger: ledger{known: true}}
			cases = append(cases, newSample(m, 2, false, 0))
		}
		correct(cases)
		for _, c := range cases {
			if item, _ := c.judge(); item.State == Fail {
				any++
				break
			}
		}
	}
	if got := float64(any) / runs; got > 0.072 {
		t.Errorf("any false FAIL in %v", got)
	}
}
