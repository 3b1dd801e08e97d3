package trend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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

// night is the i-th run of a series, whose median is so many milliseconds.
func night(i int, p50 float64) runs.Run {
	at := func(times float64) time.Duration { return time.Duration(p50 * times * 1e6) }
	return runs.Run{Source: fmt.Sprintf("runs/%03d", i), Name: "canary-10", Digests: &runs.Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "y"},
		Record: evidence.Record{Version: "1.0", Mesh: "kind", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2}, Started: time.Date(2026, 11, 1+i, 2, 0, 0, 0, time.UTC)},
		Figures: summary.Figures{Planned: 30_000, Asked: 1000, Sent: 1000, Judged: summary.Counts{Rows: 30_000},
			Response: summary.Latency{N: 30_000, P50: at(1), P90: at(1.4), P99: at(3), P999: at(9)}},
		Verdicts: []verdict.Verdict{{Name: verdict.Sampling, State: verdict.Pass, Items: []verdict.Item{{Route: "all", Cluster: cluster, State: verdict.Pass,
			Sampling: &verdict.SamplingFigures{Numerator: 100_000, Eligible: 30_000, Mirrored: 3000, EstimatePercent: 10 + math.Sin(float64(i))/10}}}}}}
}

// nights are so many, with noise of 2 %, slower from the change-th on.
func nights(n, change int, by float64) (out []runs.Run) {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	for i := range n {
		p50 := 10 * math.Exp(0.02*random.NormFloat64())
		if i >= change {
			p50 *= by
		}
		out = append(out, night(i, p50))
	}
	return out
}

func series(t *testing.T, g *Group, name string) *Series {
	t.Helper()
	for i := range g.Series {
		if strings.HasPrefix(g.Series[i].Name, name) {
			return &g.Series[i]
		}
	}
	t.Fatalf("no series %s", name)
	return nil
}

func TestFindsTheRunAndWhatChanged(t *testing.T) {
	all := nights(24, 15, 1.2)
	for i := 15; i < 24; i++ {
		all[i].Record.Version = "1.1"
		all[i].Digests = &runs.Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "z"}
	}
	all[20].Seed = 9
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	r := Of(all, Defaults())
	if len(r.Groups) != 1 || !r.Told || r.Groups[0].Why != "" {
		t.Fatalf("%+v", r)
	}
	g := &r.Groups[0]
	for _, name := range []string{"p50 response", "p90 response", "p99 response", "p99.9 response"} {
		s := series(t, g, name)
		if len(s.Changes) != 1 {
			t.Fatalf("%s: %+v", name, s.Changes)
		}
		c := &s.Changes[0]
		if c.Run != 15 || c.Source != "runs/015" || c.Verdict != "worse" || c.RunsBefore != 15 || c.RunsAfter != 9 {
			t.Errorf("%s: %+v", name, c)
		}
		if !(c.Low < 20 && 20 < c.High && c.Low > 15 && c.High < 25) || c.Confidence < 95 || c.P > 0.05 {
			t.Errorf("%s: %+v", name, c)
		}
		want := []runs.Difference{{What: "manifests", A: "y", B: "z"}, {What: "umbra", A: "1.0", B: "1.1"}}
		if !slices.Equal(c.Differences, want) {
			t.Errorf("%s: %+v", name, c.Differences)
		}
		if s.Spread == nil || math.Abs(*s.Spread-2) > 1 {
			t.Errorf("%s: spread %v", name, s.Spread)
		}
	}
	if s := series(t, g, "achieved"); len(s.Changes) != 0 || s.Why != "it is the same in all runs" {
		t.Errorf("%+v", s)
	}
	if s := series(t, g, "mirrored"); len(s.Changes) != 0 || s.Why != "" {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(r.Headline, "4 changes in 24 runs") || !strings.Contains(r.Headline, "worse since runs/015 (2026-11-16)") {
		t.Error(r.Headline)
	}
}

func TestNothingCanBeToldOfFew(t *testing.T) {
	for _, n := range []int{1, 3, 7, 9} {
		r := Of(nights(n, n/2, 3), Defaults())
		if r.Told || r.Groups[0].Why == "" || !strings.HasPrefix(r.Headline, "nothing can be told") {
			t.Errorf("%d runs: %s", n, r.Headline)
		}
		for _, s := range r.Groups[0].Series {
			if s.Changes != nil {
				t.Errorf("%d runs: %+v", n, s)
			}
		}
	}
	if r := Of(nil, Defaults()); r.Told || r.Headline != "nothing can be told: there is no whole run" {
		t.Error(r.Headline)
	}
	r := Of(nights(24, 24, 1), Defaults())
	if want := "no change was found in 24 runs, which does not tell that there was none"; r.Headline != want {
		t.Errorf("%s, want %s", r.Headline, want)
	}
}

// The least number of runs is that of which the clearest change can be found.
func TestEnough(t *testing.T) {
	for _, c := range []struct {
		level float64
		want  int
	}{{0.05, 8}, {0.02, 9}, {0.01, 10}, {0.005, 11}, {0.001, 14}} {
		if got := enough(c.level); got != c.want {
			t.Errorf("%g: %d, want %d", c.level, got, c.want)
		}
	}
	// Such a change is found in so many of the cases indeed, and seldom in one run less.
	one := func(n int) bool {
		r := Of(nights(n, n/2, 5), Defaults())
		return len(series(t, &r.Groups[0], "p50").Changes) == 1
	}
	if need := enough(Defaults().Level / 5); !one(need+1) || one(need-1) {
		t.Errorf("%d runs should do", need+1)
	}
}

func TestLeavesOutByName(t *testing.T) {
	all := nights(12, 12, 1)
	all[3].Partial = "the run was interrupted"
	all[4].Record.Started = time.Time{}
	copied := all[5]
	copied.Source = "runs/copy"
	other := night(40, 10)
	other.Name = "other"
	r := Of(append(all, copied, other), Defaults())
	got := map[string]string{}
	for _, l := range r.LeftOut {
		got[l.Source] = l.Why
	}
	for source, why := range map[string]string{"runs/003": "the run was interrupted", "runs/004": "it does not tell when it began", "runs/copy": "it is the same run as runs/005"} {
		if got[source] != why {
			t.Errorf("%s: %q, want %q", source, got[source], why)
		}
	}
	if len(r.LeftOut) != 3 || len(r.Groups) != 2 || r.Groups[1].Name != "other" || len(r.Groups[0].Runs) != 10 || r.Groups[1].Why == "" {
		t.Errorf("%d left out, %s: %s", len(r.LeftOut), r.Groups[0].Name, r.Headline)
	}
}

// A figure that only some runs have is a series of its own runs.
func TestSeriesOfSomeRuns(t *testing.T) {
	all := nights(24, 24, 1)
	for i := 2; i < 24; i += 2 {
		change := 1 + math.Cos(float64(i))/10
		if i > 12 {
			change += 20
		}
		all[i].Verdicts = append(all[i].Verdicts, verdict.Verdict{Name: verdict.Impact, Experiment: &verdict.ExperimentFigures{Result: impact.Result{Figures: []impact.Figure{{Quantile: 99, Tested: true, Change: change}}}}})
	}
	r := Of(all, Options{Level: 0.2, Permutations: 999, Seed: 1})
	s := series(t, &r.Groups[0], "p99 change")
	if len(s.Values) != 11 || len(s.Changes) != 1 || s.Changes[0].Run != 14 || s.Changes[0].RunsBefore != 6 || s.ChangeUnit != "points" {
		t.Errorf("%+v", s)
	}
	if len(s.Changes[0].Differences) != 0 {
		t.Errorf("%+v", s.Changes[0].Differences)
	}
}

// Of series without any change, one of the figures has a change told about as seldom as the level says.
func TestFalseAlarms(t *testing.T) {
	const times = 150
	random, alarms := rand.New(rand.NewPCG(9, 9)), 0
	for range times {
		var all []runs.Run
		for i := range 14 {
			r := night(i, 10)
			l := &r.Figures.Response
			for _, p := range []*time.Duration{&l.P50, &l.P90, &l.P99, &l.P999} {
				*p = time.Duration(float64(*p) * math.Exp(0.05*random.NormFloat64()))
			}
			r.Figures.Judged.NotOK = random.IntN(30)
			r.Figures.Sent += 10 * random.NormFloat64()
			all = append(all, r)
		}
		g := Of(all, Options{Level: 0.05, Permutations: 199, Seed: 1}).Groups[0]
		if slices.ContainsFunc(g.Series, func(s Series) bool { return len(s.Changes) > 0 }) {
			alarms++
		}
	}
	if alarms > 17 { // 7.5 are expected at the most; 3.5 standard errors are 9.3
		t.Errorf("%d alarms in %d series", alarms, times)
	}
}
