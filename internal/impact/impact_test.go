package impact

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestOrders(t *testing.T) {
	for quads := range 40 {
		orders := Orders(quads, 7)
		if !slices.Equal(orders, Orders(quads, 7)) {
			t.Errorf("%d: the same seed draws other orders", quads)
		}
		count := map[Order]int{}
		for _, o := range orders {
			count[o]++
		}
		if d := count[abba] - count[baab]; len(orders) != quads || count[abba]+count[baab] != quads || max(d, -d) > 1 {
			t.Errorf("%d: %d orders, %v", quads, len(orders), count)
		}
	}
	// By seed each order comes first, and is the odd one, about as often as the other.
	first, odd := 0, 0
	for seed := range uint64(1000) {
		orders, n := Orders(5, seed), 0
		for _, o := range orders {
			if o == abba {
				n++
			}
		}
		if orders[0] == abba {
			first++
		}
		if n == 3 {
			odd++
		}
	}
	if first < 420 || first > 580 || odd < 420 || odd > 580 {
		t.Errorf("of 1000 seeds %d begin with off-on-on-off, and %d have one of it more", first, odd)
	}
}

func TestOrderCancelsDrift(t *testing.T) {
	for _, o := range []Order{abba, baab} {
		instants, pairs := 0, [2]int{}
		for i, treated := range o {
			if treated {
				instants += 2*i - (Blocks - 1)
				pairs[i/2]++
			}
		}
		if instants != 0 || pairs != [2]int{1, 1} {
			t.Errorf("%v: instants %d, treated in each pair %v", o, instants, pairs)
		}
	}
}

func TestLooks(t *testing.T) {
	for planned := MinUnits; planned <= 200; planned++ {
		looks, spent, before := Looks(planned), 0.0, MinUnits-1
		for _, l := range looks {
			if l.Quadruples <= before {
				t.Errorf("%d planned: a look at %d after one at %d", planned, l.Quadruples, before)
			}
			before, spent = l.Quadruples, spent+l.Level
			if got := FailLevel(l.Quadruples, planned); got != l.Level {
				t.Errorf("%d planned: level %v at the look at %d, want %v", planned, got, l.Quadruples, l.Level)
			}
		}
		if before != planned || math.Abs(spent-TotalLevel) > 1e-12 {
			t.Errorf("%d planned: the last look is at %d, and %v is spent", planned, before, spent)
		}
	}
	if TotalLevel+DirectLevel > Level+1e-12 {
		t.Errorf("both effects spend %v", TotalLevel+DirectLevel)
	}
	if got := FailLevel(7, 20); got != 0.005 {
		t.Errorf("between the looks at 5 and at 10: %v, want 0.005", got)
	}
	if got := FailLevel(25, 20); got != 0.025 {
		t.Errorf("beyond the plan: %v, want 0.025", got)
	}
}

// blank are quadruples with so many requests in each block.
func blank(quads, requests int) []Quadruple {
	out := make([]Quadruple, quads)
	for i, o := range Orders(quads, 1) {
		out[i].Order = o
		for b := range out[i].Blocks {
			out[i].Blocks[b] = &Sample{Took: make([]float64, requests)}
		}
	}
	return out
}

func TestStretch(t *testing.T) {
	for _, c := range []struct {
		name            string
		quads, requests int
		q               float64
		want            Stretch
		ok              bool
	}{
		{"p50 in short blocks", 20, 40, 0.5, Stretch{true, 1}, true},
		{"p50 in shorter ones", 20, 39, 0.5, Stretch{false, 1}, true},
		{"p99 in pairs", 20, 2000, 0.99, Stretch{true, 1}, true},
		{"p99 in quadruples", 20, 1000, 0.99, Stretch{false, 1}, true},
		{"p99 in two", 20, 600, 0.99, Stretch{false, 2}, true},
		{"p99 in five units of two", 10, 600, 0.99, Stretch{false, 2}, true},
		{"p99 in four units", 9, 600, 0.99, Stretch{}, false},
		{"few quadruples", 4, 2000, 0.5, Stretch{true, 1}, false},
		{"p99.9 in few requests", 20, 600, 0.999, Stretch{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := StretchFor(blank(c.quads, c.requests), c.q)
			if ok != c.ok || (ok && got != c.want) {
				t.Errorf("%+v, %v, want %+v, %v", got, ok, c.want, c.ok)
			}
		})
	}
	if got := []int{Need(0.5), Need(0.9), Need(0.99), Need(0.999)}; !slices.Equal(got, []int{40, 200, 2000, 20000}) {
		t.Errorf("needs %v", got)
	}
}

func TestUnitsLoseNoQuadruple(t *testing.T) {
	for quads := 1; quads < 40; quads++ {
		all := blank(quads, 1)
		for n := 1; n <= quads; n++ {
			var got []Quadruple
			count := 0
			for unit := range units(all, n) {
				got, count = append(got, unit...), count+1
				if len(unit) < n || len(unit) >= 2*n {
					t.Errorf("%d in units of %d: one of %d", quads, n, len(unit))
				}
			}
			if count != quads/n || !slices.Equal(got, all) {
				t.Errorf("%d in units of %d: %d units of %d", quads, n, count, len(got))
			}
		}
	}
}

func TestPoolIsSortedFromItsQuantileUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		unit := blank(3, 1+random.IntN(40))
		var want []float64
		for i := range unit {
			for b, s := range unit[i].Blocks {
				for j := range s.Took {
					s.Took[j] = float64(random.IntN(50))
				}
				slices.Sort(s.Took)
				if unit[i].Order[b] {
					want = append(want, s.Took...)
				}
			}
		}
		slices.Sort(want)
		for _, q := range []float64{0, 0.5, 0.9, 0.99} {
			from := max(0, int(q*float64(len(want)))-1)
			if got := pool(unit, true, q, took); len(got) != len(want) || !slices.Equal(got[from:], want[from:]) {
				t.Fatalf("q %v: %v, want %v", q, got, want)
			}
		}
	}
}

// made are quadruples of so many requests a block, from 1 to 2 ms, slower by the effect where treated, in the logarithm, and by noise
// that goes up in two quadruples and down in the next two.
func made(quads, requests int, effect, noise float64) []Quadruple {
	out := blank(quads, requests)
	for i := range out {
		for b, s := range out[i].Blocks {
			factor := 1e-3
			if out[i].Order[b] {
				factor *= math.Exp(effect + noise*float64(1-2*(i/2%2)))
			}
			for j := range s.Took {
				s.Took[j] = factor * (1 + float64(j)/float64(requests))
			}
			s.Less = s.Took
		}
	}
	return out
}

func margins() []Margin {
	return []Margin{{Quantile: 50, Percent: 5, Asked: true}, {Quantile: 90, Percent: 5}, {Quantile: 99, Percent: 10}}
}

func judged(quads []Quadruple) Result {
	return Judge(quads, Criteria{Margins: margins(), Errors: 0.1, Planned: len(quads), Seed: 1})
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		quads []Quadruple
		want  State
		of    []State // p50, p90, p99, failed
	}{
		{"no effect", made(20, 600, 0, 0.02), Pass, []State{Pass, Pass, Pass, Pass}},
		{"no effect and no spread", made(20, 600, 0, 0), Pass, []State{Pass, Pass, Pass, Pass}},
		{"slower by 20 %", made(20, 600, 0.2, 0.02), Fail, []State{Fail, Fail, Fail, Pass}},
		{"slower by 7 %, within the margin of p99", made(20, 600, math.Log(1.07), 0.01), Fail, []State{Fail, Fail, Pass, Pass}},
		{"too much spread", made(20, 600, 0, 0.2), Inconclusive, []State{Inconclusive, Inconclusive, "", Pass}},
		{"p99 cannot be tested, and nobody asked", made(6, 600, 0, 0.01), Pass, []State{Pass, Pass, "", Pass}},
		{"few quadruples", made(4, 2000, 0, 0.01), Inconclusive, []State{"", "", "", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := judged(c.quads)
			if r.State != c.want {
				t.Errorf("%s, want %s", r.State, c.want)
			}
			for i, want := range c.of {
				if f := r.Figures[i]; want != "" && f.State != want {
					t.Errorf("figure %v: %s, want %s (%+v)", f.Quantile, f.State, want, f)
				}
				if f := r.Figures[i]; f.Gated == (f.Why != "") {
					t.Errorf("figure %v: tested %v, why %q", f.Quantile, f.Tested, f.Why)
				}
			}
		})
	}
	if r := Judge(made(4, 600, 0, 0), Criteria{Margins: margins()[1:], Errors: 0.1, Planned: 20, Seed: 1}); r.State != Inconclusive {
		t.Errorf("nothing was gated nor asked for: %s", r.State)
	}
	few := judged(made(10, 100, 0, 0.01))
	if f := few.Figures[3]; few.State != Inconclusive || f.Gated || !f.Tested {
		t.Errorf("too few requests to tell of failed ones: %s, %+v", few.State, f)
	}
	weak := Judge(made(20, 2000, 0, 0.01), Criteria{Margins: unasked(), Errors: 0.1, Planned: 20, Seed: 1, Weak: map[float64]bool{50: true, 90: true, 99: true}})
	if weak.State != Inconclusive || weak.Figures[0].Gated {
		t.Errorf("no quantile is gated: %s", weak.State)
	}
}

// unasked are margins that no scenario names.
func unasked() (all []Margin) {
	for _, m := range margins() {
		m.Asked = false
		all = append(all, m)
	}
	return all
}

// A quantile that lies among requests without a complete answer is known from below only, and does not pass; nor does a delay find it.
func TestCensored(t *testing.T) {
	cut := func(share float64) []Quadruple {
		quads := made(20, 2000, 0, 0.01)
		for i := range quads {
			for _, s := range quads[i].Blocks {
				s.Cut = int(share * 2000)
				s.Failed = s.Cut
				for at := 2000 - s.Cut; at < 2000; at++ {
					s.Took[at], s.Less[at] = 2, 2
				}
			}
		}
		return quads
	}
	for _, c := range []struct {
		share float64
		of    [3]bool // censored
	}{{0, [3]bool{}}, {0.005, [3]bool{false, false, false}}, {0.03, [3]bool{false, false, true}}, {0.2, [3]bool{false, true, true}}, {1, [3]bool{true, true, true}}} {
		r := judged(cut(c.share))
		for i, want := range c.of {
			if f := r.Figures[i]; f.Censored != want || want && f.State == Pass {
				t.Errorf("%v cut: %+v", c.share, f)
			}
		}
		if c.of[2] && r.State == Pass {
			t.Errorf("%v cut: PASS", c.share)
		}
	}
	quads := cut(1)
	if _, found := Found(Delayed(quads, time.Second), margins()[0], Criteria{Seed: 1}); found {
		t.Error("a delay of what never came was found")
	}
}

func TestJudgeTellsWhatWouldDecide(t *testing.T) {
	r := judged(made(20, 2000, 0, 0.15))
	if f := r.Figures[0]; f.State != Inconclusive || f.Decides <= 20 || f.Decides > 100 {
		t.Errorf("%s, and %d quadruples would decide", f.State, f.Decides)
	}
}

func TestWeakQuantileIsToldUnlessAskedFor(t *testing.T) {
	quads := made(20, 2000, 0, 0.01)
	for i := range quads { // p99 alone has a great spread
		for b, s := range quads[i].Blocks {
			s.Took = slices.Clone(s.Took)
			if quads[i].Order[b] == (i%2 == 0) {
				for j := 1900; j < 2000; j++ {
					s.Took[j] *= 2
				}
			}
			s.Less = s.Took
		}
	}
	c := Criteria{Margins: margins(), Errors: 0.1, Planned: 20, Seed: 1, Weak: map[float64]bool{99: true}}
	if r := Judge(quads, c); r.State != Pass || r.Figures[2].Gated || r.Figures[2].State != Inconclusive || r.Figures[2].Why == "" {
		t.Errorf("%s, %+v", r.State, r.Figures[2])
	}
	c.Margins[2].Asked = true
	if r := Judge(quads, c); r.State != Inconclusive || !r.Figures[2].Gated {
		t.Errorf("asked for: %s, %+v", r.State, r.Figures[2])
	}
	c.Weak, c.Margins[2].Asked = nil, false
	if r := Judge(quads, c); r.State != Inconclusive {
		t.Errorf("with power: %s", r.State)
	}
}

func TestClientsOwnPartFailsNobody(t *testing.T) {
	quads, own := made(20, 2000, 0.2, 0.01), made(20, 2000, 0, 0.01)
	for i := range quads {
		for b, s := range quads[i].Blocks {
			s.Less = own[i].Blocks[b].Took
			s.Lag = []float64{0.001}
		}
	}
	r := judged(quads)
	if f := r.Figures[0]; r.State == Fail || *f.PHolm > Level || *f.WithoutFail < 0.5 || *f.WithoutPass > Level || !f.Suspect() {
		t.Errorf("%s, %+v", r.State, f)
	}
}

func TestFailedRequests(t *testing.T) {
	fail := func(quads []Quadruple, on, off int) []Quadruple {
		for i := range quads {
			for b, s := range quads[i].Blocks {
				s.Failed = off
				if quads[i].Order[b] {
					s.Failed = on
				}
				if i%4 == 0 {
					s.Failed++
				}
			}
		}
		return quads
	}
	for _, c := range []struct {
		name     string
		quads    []Quadruple
		want     State
		requests int
	}{
		{"none", made(20, 600, 0, 0.01), Pass, 24000},
		{"as many on as off", fail(made(20, 600, 0, 0.01), 1, 1), Pass, 24000},
		{"3 of 600 more", fail(made(20, 600, 0, 0.01), 3, 0), Fail, 24000},
		{"half of the margin more", fail(made(20, 2000, 0, 0.01), 1, 0), Pass, 80000},
		{"the margin more", fail(made(20, 1000, 0, 0.01), 1, 0), Inconclusive, 40000},
		{"few requests", made(10, 100, 0, 0.01), Inconclusive, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := failures(c.quads, &Criteria{Errors: 0.1, Seed: 1})
			if f.State = ""; f.Tested {
				f.PHolm, f.WithoutFail = f.PFail, &f.failLess
				f.State = f.state(TotalLevel)
			}
			if f.State != c.want || f.NOn != c.requests || (f.NOn < MinErrors) != (f.Why != "") {
				t.Errorf("%s, want %s: %+v", f.State, c.want, f)
			}
		})
	}
}

func TestBurstsCountAsBursts(t *testing.T) {
	arms := func(failed ...float64) (on, off *arm) {
		on, off = &arm{}, &arm{}
		for _, x := range failed {
			on.failed, on.n = append(on.failed, x), append(on.n, 600)
			off.failed, off.n = append(off.failed, 0), append(off.n, 600)
		}
		return on, off
	}
	for _, c := range []struct {
		name      string
		failed    []float64
		low, high float64
	}{
		{"none", []float64{0, 0, 0, 0}, 1, 1},
		{"one of one", []float64{1, 0, 0, 0}, (1 + supposed) / 2., (1+supposed)/2. + 0.001},
		{"each for itself", []float64{3, 2, 4, 3, 1, 2, 5, 3, 2, 3}, 1, (10 + supposed) / 11.},
		{"one burst", []float64{0, 20, 0, 0, 0, 0, 0, 0, 0, 0}, (19 + supposed) / 2., (21 + supposed) / 2.},
	} {
		t.Run(c.name, func(t *testing.T) {
			on, off := arms(c.failed...)
			if got := clustering(on, off); got < c.low || got > c.high {
				t.Errorf("design effect %v, want %v to %v", got, c.low, c.high)
			}
		})
	}
	single := clustered{on: 12, nOn: 24000, off: 12, nOff: 24000, effect: 1, blocks: 80}
	bursts := single
	bursts.effect = 4
	if a, b := single.below(0.001), bursts.below(0.001); a > 0.05 || b < 2*a {
		t.Errorf("p-values: %v each for itself, %v in bursts", a, b)
	}
	for _, c := range []clustered{single, bursts} {
		if got := c.below(c.upper(Level)); math.Abs(got-Level) > 1e-6 {
			t.Errorf("at the upper bound the p-value is %v", got)
		}
	}
}

func TestBoundsSayWhatTestsSay(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	passed := 0
	for range 300 {
		quads := made(6+random.IntN(10), 2000, 0.05*random.NormFloat64(), 0)
		for i := range quads {
			for b, s := range quads[i].Blocks {
				factor := math.Exp(0.05*random.NormFloat64() + 0.02*random.ExpFloat64())
				for j := range s.Took {
					s.Took[j] *= factor
				}
				s.Failed = random.IntN(4)
				if quads[i].Order[b] && random.IntN(5) == 0 {
					s.Failed += random.IntN(12)
				}
			}
		}
		for _, f := range judged(quads).Figures {
			if (*f.PPass <= Level) != (f.High < f.MarginPct) {
				t.Errorf("p of PASS %v, upper bound %v, margin %v", *f.PPass, f.High, f.MarginPct)
			}
			if *f.PFail <= Level != (f.Low > f.MarginPct) && f.Quantile > 0 {
				t.Errorf("p of FAIL %v, lower bound %v, margin %v", *f.PFail, f.Low, f.MarginPct)
			}
			if *f.PPass <= Level {
				passed++
			}
		}
	}
	if passed < 100 || passed > 1100 {
		t.Errorf("%d of 1200 passed: nothing was tried", passed)
	}
}

func TestNegative(t *testing.T) {
	for _, c := range []struct {
		name  string
		quads []Quadruple
		want  State
	}{
		{"no effect", made(20, 2000, 0, 0.02), Pass},
		{"slower", made(20, 2000, 0.2, 0.02), Fail},
		{"faster", made(20, 2000, -0.2, 0.02), Fail},
		{"too much spread", made(20, 2000, 0, 0.2), Inconclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Negative(c.quads, Criteria{Margins: margins(), Errors: 0.1, Planned: 20, Seed: 1})
			if r.State != c.want || (c.want == Fail) != (r.Figures[0].State == Fail) {
				t.Errorf("%s, want %s (%+v)", r.State, c.want, r.Figures[0])
			}
		})
	}
}

func TestDelayed(t *testing.T) {
	quads := made(6, 50, 0, 0)
	quads[0].Blocks[0].Failed, quads[0].Blocks[1].Failed = 3, 4
	before := quads[0].Blocks[1].Took[7]
	slower := Delayed(quads, 3*time.Millisecond)
	for i := range quads {
		for b, s := range quads[i].Blocks {
			got := slower[i].Blocks[b]
			switch {
			case slower[i].Order != quads[i].Order || got.Failed != s.Failed:
				t.Errorf("quadruple %d, block %d: order or failed requests differ", i, b)
			case !quads[i].Order[b] && got != s:
				t.Errorf("quadruple %d, block %d has no effect, and was changed", i, b)
			case quads[i].Order[b] && (got.Took[7] != s.Took[7]+0.003 || got.Less[7] != s.Less[7]+0.003):
				t.Errorf("quadruple %d, block %d: %v, want %v", i, b, got.Took[7], s.Took[7]+0.003)
			}
		}
	}
	if quads[0].Blocks[1].Took[7] != before {
		t.Error("the quadruples themselves were changed")
	}
}

func TestPlansAndFound(t *testing.T) {
	control := made(20, 2000, 0, 0.03)
	plans := Plans(control, margins(), 20)
	if len(plans) != 3 {
		t.Fatalf("%d plans", len(plans))
	}
	for i, p := range plans {
		if !p.Powered || p.Power < 0.9 || p.Quadruples < MinUnits || p.Quadruples > 20 {
			t.Errorf("%+v", p)
		}
		if want := 2 * p.MarginNS; p.Delay() != want {
			t.Errorf("p%v: delay %v, want %v", p.Quantile, p.Delay(), want)
		}
		if f, found := Found(Delayed(control, p.Delay()), margins()[i], Criteria{Seed: 1}); !found || f.State != Fail {
			t.Errorf("p%v: twice the margin was not found: %+v", p.Quantile, f)
		}
		if _, found := Found(control, margins()[i], Criteria{Seed: 1}); found {
			t.Errorf("p%v: an effect was found where there is none", p.Quantile)
		}
	}
	if f, found := Found(made(4, 2000, 0.5, 0), margins()[0], Criteria{Seed: 1}); found || f.Tested {
		t.Errorf("four quadruples: %+v", f)
	}
	for _, p := range Plans(made(20, 2000, 0, 0.2), margins(), 20) {
		if p.Powered || p.Power > 0.9 || (p.Quadruples <= 20 && p.Quadruples > 0) {
			t.Errorf("too much spread: %+v", p)
		}
	}
	if plans := Plans(made(6, 600, 0, 0.01), margins(), 6); len(plans) != 2 {
		t.Errorf("p99 cannot be tested: %d plans", len(plans))
	}
}

func TestMarginIsTheGreaterOfBoth(t *testing.T) {
	m := Margin{Quantile: 50, Percent: 5, Floor: 100 * time.Microsecond}
	if got := m.Share(1e-3); math.Abs(got-0.1) > 1e-12 {
		t.Errorf("of 1 ms: %v, want 0.1", got)
	}
	if got := m.Share(1); got != 0.05 {
		t.Errorf("of 1 s: %v, want 0.05", got)
	}
}

// What builds up is played off-on-on-off throughout, in fewer and longer blocks.
func TestBuildup(t *testing.T) {
	for _, o := range Buildup(7) {
		if o != abba || !Is(o[:]) {
			t.Errorf("%v", o)
		}
	}
	for planned, want := range map[int]int{5: 5, 20: 5, 21: 6, 40: 10} {
		if got := Fewer(planned); got != want {
			t.Errorf("%d quadruples in the place of %d, want %d", got, planned, want)
		}
	}
	for _, treated := range [][]bool{nil, {false, true, true}, {false, false, true, true}, {true, true, false, false}, {false, true, false, true}, {true, true, true, true}} {
		if Is(treated) {
			t.Errorf("%v is taken for a quadruple", treated)
		}
	}
	if !Is(baab[:]) {
		t.Error("on-off-off-on is not taken for a quadruple")
	}
}
