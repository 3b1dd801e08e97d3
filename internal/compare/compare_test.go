package compare

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/impact"
	"umbra/internal/runs"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

const cluster = "outbound|80|v2|my-app.shop.svc.cluster.local"

var began = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

// run is one whose median is so many milliseconds, the i-th of its kind: 30,000 requests in 30 s, 10 % of them mirrored.
func run(i int, p50 float64) runs.Run {
	at := func(times float64) time.Duration { return time.Duration(p50 * times * 1e6) }
	r := runs.Run{Source: fmt.Sprintf("runs/%03d", i), Name: "canary-10", Digests: &runs.Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "y"}, Seed: 7,
		Record: evidence.Record{Version: "1.0", Mesh: "embedded", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2}, Started: began.Add(time.Duration(i) * time.Hour),
			Finished: true, Stages: []verdict.Stage{{Begin: time.Second, End: 31 * time.Second, Asked: 30_000}}},
		Figures: summary.Figures{Planned: 30_000 + i, Asked: 1000, Sent: 1000, Judged: summary.Counts{Rows: 30_000},
			Response: summary.Latency{N: 30_000, P50: at(1), P90: at(1.4), P99: at(3), P999: at(9)}},
		Verdicts: []verdict.Verdict{{Name: verdict.Sampling, Items: []verdict.Item{{Route: "all", Cluster: cluster, State: verdict.Pass,
			Sampling: &verdict.SamplingFigures{Numerator: 100_000, Eligible: 30_000, Mirrored: 3000, EstimatePercent: 10}}}}}}
	r.Figures.Timeline = ticks(func(int) float64 { return p50 })
	return r
}

// ticks are those of 32 s, the first of them a warm-up, with 1,000 requests each.
func ticks(p50 func(second int) float64) summary.Timeline {
	line := summary.Timeline{Width: time.Second}
	for i := range 32 {
		v := time.Duration(p50(i) * 1e6)
		line.Ticks = append(line.Ticks, summary.Tick{At: time.Duration(i) * time.Second, Asked: 1000, Sent: 1000, Ended: 1000, P50: v, P99: 3 * v})
	}
	return line
}

// side is runs of medians, which begin in the order of their numbers.
func side(first int, medians ...float64) (out []runs.Run) {
	for i, m := range medians {
		out = append(out, run(first+i, m))
	}
	return out
}

func compared(t *testing.T, a, b []runs.Run, o Options) *Result {
	t.Helper()
	r, err := Compare(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// figureOf gives the figure whose name begins so.
func figureOf(t *testing.T, r *Result, name string) *Figure {
	t.Helper()
	for i := range r.Figures {
		if strings.HasPrefix(r.Figures[i].Name, name) {
			return &r.Figures[i]
		}
	}
	t.Fatalf("no figure %s", name)
	return nil
}

func TestBetweenRuns(t *testing.T) {
	base := []float64{10, 10.1, 9.9, 10.05, 9.95}
	for name, c := range map[string]struct {
		a, b   []runs.Run
		state  State
		status int
		figure string
		is     State
	}{
		"alike":       {side(0, base...), side(10, base...), NoWorse, 0, "p50", NoWorse},
		"slower":      {side(0, base...), side(10, 12, 12.1, 11.9, 12, 12.2), Worse, 1, "p50", Worse},
		"faster":      {side(0, base...), side(10, 8, 8.1, 7.9), NoWorse, 0, "p99", NoWorse},
		"a little":    {side(0, base...), side(10, 10.4, 10.6, 10.5, 10.3, 10.7), Inconclusive, 4, "p50", Inconclusive},
		"wide":        {side(0, 10, 14, 8), side(10, 9, 13, 10), Inconclusive, 4, "p50", Inconclusive},
		"errors":      {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Judged.NotOK = 300 }), Worse, 1, "not answered", Worse},
		"5xx":         {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Judged.Failed = 300 }), Worse, 1, "answered 5xx", Worse},
		"rate":        {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Sent = 900 }), Worse, 1, "achieved rate", Worse},
		"other share": {side(0, base...), with(side(10, base...), mirrors(3600)), Worse, 1, "mirrored", Worse},
		"set right":   {with(side(0, base...), mirrors(3600)), side(10, base...), NoWorse, 0, "mirrored", NoWorse},
		"as wrong":    {with(side(0, base...), mirrors(3600)), with(side(10, base...), mirrors(3610)), NoWorse, 0, "mirrored", NoWorse},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, c.a, c.b, Defaults())
			if r.State != c.state || r.ExitStatus != c.status || !r.Between {
				t.Errorf("%s, exit status %d, want %s, %d: %s", r.State, r.ExitStatus, c.state, c.status, r.Headline)
			}
			if got := figureOf(t, r, c.figure).State; got != c.is {
				t.Errorf("%s is %s, want %s", c.figure, got, c.is)
			}
			if !strings.HasPrefix(r.Headline, string(c.state)) {
				t.Error(r.Headline)
			}
		})
	}
}

// with changes each run of a side.
func with(of []runs.Run, change func(*runs.Run)) []runs.Run {
	for i := range of {
		change(&of[i])
	}
	return of
}

// mirrors has so many of 30,000 requests mirrored.
func mirrors(n int) func(*runs.Run) {
	return func(r *runs.Run) {
		s := r.Verdicts[0].Items[0].Sampling
		s.Mirrored, s.EstimatePercent = n, 100*float64(n)/30_000
	}
}

// Rates that say nothing of each other are told, and not tested.
func TestUnlikeRates(t *testing.T) {
	base := []float64{10, 10.1, 9.9}
	o := Defaults()
	o.Anyway = true
	half := func(r *runs.Run) {
		r.Figures.Asked, r.Figures.Sent = 500, 500
		r.Record.Stages = []verdict.Stage{{Begin: time.Second, End: 31 * time.Second, Asked: 15_000}}
	}
	for name, c := range map[string]struct {
		change func(*runs.Run)
		why    string
	}{"another load": {half, "other rates were asked for: 1000/s in A, 500/s in B"}, "one a loop": {func(r *runs.Run) { r.Record.ClosedLoop, r.Figures.Sent = true, 500 }, "some of the runs are closed loops"}} {
		f := figureOf(t, compared(t, side(0, base...), with(side(10, base...), c.change), o), "achieved")
		if f.State != NotTested || !strings.Contains(f.Why, c.why) || f.Change != -50 || f.Low != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	loop := func(r *runs.Run) { r.Record.ClosedLoop, r.Figures.Asked = true, r.Figures.Sent }
	slower := func(r *runs.Run) { loop(r); r.Figures.Sent = 900 }
	if f := figureOf(t, compared(t, with(side(0, base...), loop), with(side(10, base...), slower), o), "achieved"); f.State != Worse {
		t.Errorf("slower loops are %s: %s", f.State, f.Why)
	}
}

// R: t.test(log(b), log(a), mu = log(1.05), alternative = "greater") and "less", and their bounds.
func TestResponseAsR(t *testing.T) {
	a, b := []float64{10, 10.1, 9.9}, []float64{10.8, 10.2, 11.1, 10.6}
	f := figureOf(t, compared(t, side(0, a...), side(10, b...), Defaults()), "p50")
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"worse", *f.PWorse, 0.22106525740376118}, {"no worse", *f.PNoWorse, 0.77893474259623885}, {"change", f.Change, 6.7032555360858392}, {"low", *f.Low, 2.4102155209702492}, {"high", *f.High, 11.176259947112799}} {
		if math.Abs(c.got-c.want) > 1e-6*math.Abs(c.want) {
			t.Errorf("%s: %.17g, want %.17g", c.name, c.got, c.want)
		}
	}
}

// Fewer than three runs a side never show that B is no worse.
func TestWithinRuns(t *testing.T) {
	few := func(i int, medians ...float64) []runs.Run {
		out := side(i, medians...)
		for j := range out {
			jitter := rand.New(rand.NewPCG(uint64(i+j), 9))
			out[j].Figures.Timeline = ticks(func(int) float64 { return medians[j] * math.Exp(0.01*jitter.NormFloat64()) })
		}
		return out
	}
	for name, c := range map[string]struct {
		a, b  []runs.Run
		state State
		says  string
	}{
		"alike":              {few(0, 10), few(10, 10), Inconclusive, ""},
		"slower":             {few(0, 10), few(10, 12), Worse, "WORSE within these runs: p50"},
		"two against two":    {few(0, 10, 10.1), few(10, 12, 11.9), Worse, "WORSE within these runs: p50"},
		"two against many":   {few(0, 10, 10.1), few(10, 10, 10, 10, 10, 10), Inconclusive, ""},
		"so much the better": {few(0, 10), few(10, 5), Inconclusive, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, c.a, c.b, Defaults())
			if r.State != c.state || r.Between || !strings.HasPrefix(r.Headline, c.says) {
				t.Errorf("%s: %s", r.State, r.Headline)
			}
			for _, f := range r.Figures {
				if f.State == NoWorse {
					t.Errorf("%s is %s", f.Name, f.State)
				}
			}
			if len(r.Warnings) == 0 || !strings.Contains(r.Warnings[0], "run to run") {
				t.Errorf("no warning: %q", r.Warnings)
			}
			if f := figureOf(t, r, "p90"); f.State != NotTested || f.Why == "" {
				t.Errorf("p90 is %s: %s", f.State, f.Why)
			}
		})
	}
	o := Defaults()
	o.Margins = o.Margins[:1]
	r := compared(t, few(0, 10), few(10, 10), o)
	if want := "no difference that these runs can show"; r.State != Inconclusive || !strings.Contains(r.Headline, want) {
		t.Error(r.Headline)
	}
}

// What keeps a figure from a state, whatever its p-values.
func TestDoubts(t *testing.T) {
	base := []float64{10, 10.1, 9.9}
	lag := func(r *runs.Run) { r.Figures.Lag.P50 = 2 * time.Millisecond }
	bounds := func(r *runs.Run) { r.Figures.Response.LowerBound, r.Figures.Judged.NotOK = 100, 0 }
	for name, c := range map[string]struct {
		a, b   []runs.Run
		figure string
		is     State
		why    string
	}{
		"late client, slower":        {side(0, base...), with(side(10, 12, 12.1, 11.9), lag), "p50", Inconclusive, "itself 2ms late"},
		"late client, alike":         {with(side(0, base...), lag), side(10, base...), "p50", Inconclusive, "itself 2ms late"},
		"lower bounds in B":          {side(0, base...), with(side(10, base...), bounds), "p99", Inconclusive, "B may be slower"},
		"lower bounds in B, slower":  {side(0, base...), with(side(10, 12, 12.1, 11.9), bounds), "p99", Worse, ""},
		"lower bounds in A":          {with(side(0, base...), bounds), side(10, 12, 12.1, 11.9), "p99", Inconclusive, "A may be slower"},
		"lower bounds, the median":   {side(0, base...), with(side(10, base...), bounds), "p50", NoWorse, ""},
		"too few requests":           {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Response.N = 1500 }), "p99", NotTested, "p99 needs 2000"},
		"no requests":                {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Response = summary.Latency{} }), "p50", NotTested, "no response times"},
		"not counted":                {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Figures.Judged = summary.Counts{} }), "not answered", NotTested, "older umbra"},
		"the client missed the rate": {side(0, base...), with(side(10, base...), invalidRate), "achieved rate", Inconclusive, "did not keep the rate"},
		"no such mirror":             {side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Verdicts = nil }), "mirrored", NotTested, "no request"},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, c.a, c.b, Defaults())
			f := figureOf(t, r, c.figure)
			if f.State != c.is || !strings.Contains(f.Why, c.why) {
				t.Errorf("%s: %s, want %s: %s", f.State, f.Why, c.is, c.why)
			}
			if f.State != NoWorse && r.State == NoWorse {
				t.Errorf("%s although %s is %s", r.State, f.Name, f.State)
			}
		})
	}
}

func invalidRate(r *runs.Run) {
	r.Verdicts = append(r.Verdicts, verdict.Verdict{Name: verdict.Rate, State: verdict.Invalid})
}

func TestRefuses(t *testing.T) {
	base := []float64{10, 10.1, 9.9}
	for name, c := range map[string]struct {
		change func(*runs.Run)
		names  string
	}{
		"name":       {func(r *runs.Run) { r.Name = "other" }, "scenario: canary-10 in A, other in B"},
		"load":       {func(r *runs.Run) { r.Digests.Load = "other" }, "load: l in A, other in B"},
		"checks":     {func(r *runs.Run) { r.Digests.Checks = "other" }, "checks: c in A, other in B"},
		"stages":     {func(r *runs.Run) { r.Record.Stages = []verdict.Stage{{End: time.Second, Asked: 10}} }, "stages: 30000 in 30s in A, 10 in 1s in B"},
		"mesh":       {func(r *runs.Run) { r.Record.Mesh = "kind" }, "mesh: embedded in A, kind in B"},
		"machine":    {func(r *runs.Run) { r.Record.Machine.CPUs = 8 }, "machine: linux/amd64 with 2 CPUs in A, linux/amd64 with 8 CPUs in B"},
		"no digests": {func(r *runs.Run) { r.Digests = nil }, "load: l in A, not recorded in B"},
		"partial":    {func(r *runs.Run) { r.Partial = "the run was interrupted" }, "runs that are not whole: none in A, runs/010: the run was interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := side(0, base...), with(side(10, base...), c.change)
			_, err := Compare(a, b, Defaults())
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.names) {
				t.Fatalf("%v, want %s", err, c.names)
			}
			o := Defaults()
			o.Anyway = true
			r := compared(t, a, b, o)
			if len(r.Differences) == 0 || len(r.Warnings) == 0 || !strings.Contains(r.Headline, "not of the same thing") {
				t.Errorf("compared anyway, without a word: %s", r.Headline)
			}
			if name == "partial" && r.State == NoWorse {
				t.Error("runs that are not whole show that B is no worse")
			}
		})
	}
	neither := func(r *runs.Run) { r.Digests = nil }
	if _, err := Compare(with(side(0, base...), neither), with(side(10, base...), neither), Defaults()); err == nil {
		t.Error("what no report tells may differ, and is compared")
	}
	versions := compared(t, side(0, base...), with(side(10, base...), func(r *runs.Run) { r.Record.Version, r.Seed = "2.0", 8 }), Defaults())
	if len(versions.Differences) != 2 || versions.State != NoWorse {
		t.Errorf("%+v", versions.Differences)
	}
}

func TestCountsARunOnce(t *testing.T) {
	a, b := side(0, 10, 10.1, 9.9), side(10, 10, 10.1, 9.9)
	copied := a[0]
	copied.Source = "elsewhere"
	for name, c := range map[string][2][]runs.Run{"twice in A": {append(a, copied), b}, "on both sides": {a, append(b, copied)}, "no run": {nil, b}} {
		if _, err := Compare(c[0], c[1], Defaults()); err == nil {
			t.Error(name + " is compared")
		}
	}
}

// A margin that is left out is not tested, and one of p99.9 that is named has to be decided.
func TestMargins(t *testing.T) {
	base := []float64{10, 10.1, 9.9}
	tail := func(r *runs.Run) { r.Figures.Response.N = 5000 }
	o := Defaults()
	if r := compared(t, with(side(0, base...), tail), with(side(10, base...), tail), o); r.State != NoWorse || !strings.Contains(r.Headline, "not decided, and not asked for: p99.9") {
		t.Error(r.Headline)
	}
	o.Margins[3].Asked = true
	if r := compared(t, with(side(0, base...), tail), with(side(10, base...), tail), o); r.State != Inconclusive {
		t.Error(r.Headline)
	}
	none := Options{}
	if r := compared(t, side(0, base...), side(10, base...), none); r.State != Inconclusive || len(r.Figures) != 0 {
		t.Errorf("nothing is tested, and that is %s", r.State)
	}
	if m := figureOf(t, compared(t, side(0, 0.5, 0.51, 0.49), side(10, 0.5, 0.51, 0.49), Defaults()), "p50").Margin; math.Abs(m-20) > 0.1 {
		t.Errorf("a floor of 0.1 ms is %g %% of 0.5 ms", m)
	}
}

// At the edge of the margin, B is found no worse, and worse, each in about 5 % of the cases at most, whatever the spreads and the numbers of
// runs; within the margin it is seldom worse, and beyond it seldom no worse.
func TestErrorRates(t *testing.T) {
	const times = 800
	o := Options{Margins: []impact.Margin{{Quantile: 50, Percent: 10, Asked: true}}}
	for _, c := range []struct {
		na, nb         int
		sa, sb         float64
		change         float64 // percent
		worse, noWorse float64 // the greatest shares
	}{
		{3, 3, 0.05, 0.05, 10, 0.06, 0.06}, {5, 5, 0.02, 0.1, 10, 0.06, 0.06}, {10, 3, 0.05, 0.05, 10, 0.065, 0.065}, {6, 6, 0.03, 0.03, 0, 0.001, 1}, {6, 6, 0.03, 0.03, 25, 1, 0.001},
	} {
		random, worse, noWorse := rand.New(rand.NewPCG(3, uint64(c.na))), 0, 0
		draw := func(first, n int, mean, spread float64) (out []runs.Run) {
			for i := range n {
				r := run(first+i, mean*math.Exp(spread*random.NormFloat64()))
				out = append(out, r)
			}
			return out
		}
		for range times {
			switch r := compared(t, draw(0, c.na, 10, c.sa), draw(20, c.nb, 10*(1+c.change/100), c.sb), o); r.State {
			case Worse:
				worse++
			case NoWorse:
				noWorse++
			}
		}
		if float64(worse)/times > c.worse+0.01 || float64(noWorse)/times > c.noWorse+0.01 {
			t.Errorf("%+v: worse %.3f, no worse %.3f", c, float64(worse)/times, float64(noWorse)/times)
		}
	}
}

// All figures at once, of runs that are alike, seldom are worse in any.
func TestFalseAlarmsOverAllFigures(t *testing.T) {
	const times = 400
	random, worse := rand.New(rand.NewPCG(4, 4)), 0
	draw := func(first int) []runs.Run {
		out := side(first, 10, 10, 10, 10)
		for i := range out {
			f := &out[i].Figures
			for _, p := range []*time.Duration{&f.Response.P50, &f.Response.P90, &f.Response.P99, &f.Response.P999} {
				*p = time.Duration(float64(*p) * math.Exp(0.2*random.NormFloat64()))
			}
			f.Sent *= math.Exp(0.1 * random.NormFloat64())
			f.Judged.NotOK = int(30 * math.Exp(random.NormFloat64()))
			mirrors(3000 + int(50*random.NormFloat64()))(&out[i])
		}
		return out
	}
	for range times {
		if compared(t, draw(0), draw(10), Defaults()).State == Worse {
			worse++
		}
	}
	if share := float64(worse) / times; share > 0.06 {
		t.Errorf("worse in %.3f of the cases", share)
	}
}

// Within runs whose neighbouring stretches depend on each other, B is worse about as seldom as it may be.
func TestStretchesThatDepend(t *testing.T) {
	const times = 400
	random, worse := rand.New(rand.NewPCG(8, 8)), 0
	o := Options{Margins: []impact.Margin{{Quantile: 50, Percent: 1e-9, Asked: true}}}
	one := func(i int) []runs.Run {
		state := 0.0
		out := side(i, 10)
		line := summary.Timeline{Width: time.Second}
		for s := range 242 {
			state = 0.3*state + 0.05*random.NormFloat64()
			v := time.Duration(1e7 * math.Exp(state))
			line.Ticks = append(line.Ticks, summary.Tick{At: time.Duration(s) * time.Second, Ended: 1000, Sent: 1000, P50: v, P99: v})
		}
		out[0].Figures.Timeline, out[0].Record.Stages = line, []verdict.Stage{{Begin: time.Second, End: 241 * time.Second, Asked: 240_000}}
		return out
	}
	for range times {
		if compared(t, one(0), one(1), o).State == Worse {
			worse++
		}
	}
	if share := float64(worse) / times; share > 0.09 {
		t.Errorf("worse in %.3f of the cases", share)
	}
}

// At the edges of its margin a fraction is found worse, and no worse, in about 5 % of the cases at most.
func TestFractionErrorRates(t *testing.T) {
	const times = 600
	for _, c := range []struct {
		a, b           float64 // shares; 10 % is programmed
		worse, noWorse float64
	}{{0.1, 0.11, 0.07, 0.07}, {0.1, 0.09, 0.07, 0.07}, {0.12, 0.13, 0.07, 0.07}, {0.12, 0.07, 0.07, 0.07}, {0.1, 0.1, 0.01, 1}} {
		random, worse, noWorse := rand.New(rand.NewPCG(5, 5)), 0, 0
		draw := func(first int, share float64) []runs.Run {
			out := side(first, 10, 10, 10, 10)
			for i := range out {
				mirrors(int(math.Round(30_000*share + math.Sqrt(30_000*share*(1-share))*random.NormFloat64())))(&out[i])
			}
			return out
		}
		one := 1.0
		for range times {
			switch compared(t, draw(0, c.a), draw(10, c.b), Options{Fraction: &one}).State {
			case Worse:
				worse++
			case NoWorse:
				noWorse++
			}
		}
		if float64(worse)/times > c.worse || float64(noWorse)/times > c.noWorse {
			t.Errorf("%+v: worse %.3f, no worse %.3f", c, float64(worse)/times, float64(noWorse)/times)
		}
	}
}

// A fraction that is known from below and above only is worse, or no worse, where it is so in every reading.
func TestFractionReadings(t *testing.T) {
	base := []float64{10, 10.1, 9.9}
	doubtful := func(r *runs.Run) {
		s := r.Verdicts[0].Items[0].Sampling
		s.Mirrored, s.MissingHigh, s.EstimatePercent = 2400, 900, 8
	}
	if f := figureOf(t, compared(t, side(0, base...), with(side(10, base...), doubtful), Defaults()), "mirrored"); f.State != Inconclusive {
		t.Errorf("8 to 11 %% of 10 %% is %s", f.State)
	}
	programmed := func(r *runs.Run) {
		s := r.Verdicts[0].Items[0].Sampling
		s.Numerator, s.Mirrored, s.EstimatePercent = 200_000, 6000, 20
	}
	f := figureOf(t, compared(t, side(0, base...), with(side(10, base...), programmed), Defaults()), "mirrored")
	if f.State != NoWorse || !strings.Contains(f.Name, "programmed 10 % in A, 20 % in B") {
		t.Errorf("each as programmed: %s, %s", f.State, f.Name)
	}
}
