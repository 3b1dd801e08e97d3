package reports

import (
	"fmt"
	"math"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/impact"
	"umbra/internal/stats"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

const v1 = "outbound|80|v1|my-app.shop.svc.cluster.local"

// samples are reports as real runs make them, by how they end.
func samples() map[string]*Report {
	return map[string]*Report{"passing": passing(), "failing": failing(), "inconclusive": inconclusive(), "partial": partial(), "everything": sample()}
}

func floatOf(v float64) *float64 { return &v }

// latencyOf is a latency whose median is so many milliseconds.
func latencyOf(n int64, p50 float64) summary.Latency {
	at := func(times float64) time.Duration { return time.Duration(p50 * times * 1e6) }
	return summary.Latency{N: n, P50: at(1), P90: at(1.4), P99: at(3.1), P999: at(9.7), Max: at(31)}
}

// spectrumOf is that of a log-normal body with a tail.
func spectrumOf(n int64, p50 float64) (out []summary.Percentile) {
	for _, p := range stats.Percentiles(n) {
		v := time.Duration(p50 * 1e6 * math.Pow(100/(100-p)/2, 0.42))
		out = append(out, summary.Percentile{Percentile: p, Value: v, Low: v - v/2048})
	}
	return out
}

func histogramOf(n int64, p50 float64) (h summary.Histogram) {
	h.Count, h.Sum = n, time.Duration(float64(n)*p50*1.3e6)
	for _, ms := range []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100} {
		share := 1 / (1 + math.Pow(p50/ms, 3))
		h.Buckets = append(h.Buckets, summary.Bucket{Le: time.Duration(ms * 1e6), Count: int64(float64(n) * share)})
	}
	return h
}

func timelineOf(seconds int) (t summary.Timeline) {
	t.Width = time.Second
	for i := range seconds {
		asked := 200 + 30*i
		k := summary.Tick{At: time.Duration(i) * time.Second, Asked: asked, Sent: asked - i%3, Ended: asked - i%4, InFlight: i % 5,
			P50: time.Duration(1200+20*(i%7)) * time.Microsecond, P99: time.Duration(4000+500*(i%5)) * time.Microsecond, LagP99: 90 * time.Microsecond, LagMax: 400 * time.Microsecond}
		if i == seconds/2 {
			k.NotOK, k.LagMax, k.P99 = 7, 12*time.Millisecond, 80*time.Millisecond
		}
		t.Ticks = append(t.Ticks, k)
	}
	return t
}

func ticksOf(seconds int, percent float64) (out []verdict.SamplingTick) {
	for i := range seconds {
		n := 200 + 30*i
		low, high := stats.Band(n, percent/100, 0.95)
		mirrored := int(float64(n)*percent/100) + i%7 - 3
		out = append(out, verdict.SamplingTick{At: time.Duration(i) * time.Second, Eligible: n, Mirrored: mirrored, Percent: 100 * float64(mirrored) / float64(n),
			LowPercent: 100 * float64(low) / float64(n), HighPercent: 100 * float64(high) / float64(n)})
	}
	return out
}

// experimentOf is an experiment whose primary is so many percent slower with mirroring on.
func experimentOf(change float64, state impact.State) *verdict.ExperimentFigures {
	x := &verdict.ExperimentFigures{Rate: 300, Block: 2 * time.Second, LoadShare: 17.2, Controls: "off against off: PASS in 20 quadruples; a primary 0.12 ms slower at p50: found", Played: 80}
	x.Result = impact.Result{State: state, Done: 20, Planned: 20, Level: 0.025}
	for i, q := range []float64{50, 90, 99} {
		off := time.Duration([]float64{1.2, 1.5, 3.2}[i] * 1e6)
		f := impact.Figure{Quantile: q, Tested: true, Gated: true, State: state, Units: 20, Quadruples: 1, Off: off, On: off + time.Duration(float64(off)*change/100), NOff: 24000, NOn: 24000,
			MarginPct: []float64{8.3, 6.7, 15.7}[i], MarginNS: 100 * time.Microsecond, Change: change, Low: change - 1.4, High: change + 1.6, Spread: 4.2,
			PFail: floatOf(0.4), PHolm: floatOf(0.9), PPass: floatOf(0.001), WithoutFail: floatOf(0.9), WithoutPass: floatOf(0.001), Lag: 60 * time.Microsecond, LagLimit: 200 * time.Microsecond}
		if state == impact.Fail {
			f.PHolm, f.PPass = floatOf(0.00004), floatOf(0.99)
		}
		x.Figures = append(x.Figures, f)
		x.Plans = append(x.Plans, impact.Plan{Quantile: q, Off: off, MarginPct: f.MarginPct, MarginNS: f.MarginNS, Spread: 4.2, Quadruples: 12, Power: 0.97, Powered: true})
	}
	x.Figures = append(x.Figures, impact.Figure{Tested: true, Gated: true, State: impact.Pass, NOff: 24000, NOn: 24000, FailedOff: 3, FailedOn: 2, MarginPct: 0.1, Change: -0.004, Low: -0.021, High: 0.013, PHolm: floatOf(1), PPass: floatOf(0.0001)})
	for _, p := range stats.Percentiles(24000) {
		v := 1.2e6 * math.Pow(100/(100-p)/2, 0.42)
		value := func(v float64) verdict.HDRValue {
			h := verdict.HDRValue{Value: time.Duration(v), Low: time.Duration(v * 0.9995), High: time.Duration(v)}
			if p < 99.6 {
				h.Interval = &impact.Interval{Low: time.Duration(v * 0.96), High: time.Duration(v * 1.05)}
			}
			return h
		}
		x.Spectrum = append(x.Spectrum, verdict.Point{Percentile: p, Off: value(v), On: value(v * (1 + change/100))})
	}
	x.Drift = []verdict.Drift{{Quantile: 50, Change: -1.2, PValue: 0.4}}
	return x
}

func objectiveItem(state verdict.State) verdict.Item {
	at := func(d time.Duration) *time.Duration { return &d }
	return verdict.Item{State: state, Summary: "p99 4.91 ms (4.70 … 5.20), under 50.0 ms", Objective: &verdict.ObjectiveFigures{Quantile: 99, UnderNS: 50 * time.Millisecond, Requests: 19050,
		EstimateNS: at(4910 * time.Microsecond), LowNS: at(4700 * time.Microsecond), HighNS: at(5200 * time.Microsecond)}}
}

// passing is a run of 30 s with blocks in which all passes.
func passing() *Report {
	const route = "shop/my-app/all"
	n := int64(19050)
	rate := verdict.RateCounts{Planned: 19050, Span: 30 * time.Second, Sent: 19050, Busy: 20 * time.Second, Own: 100 * time.Millisecond}
	x := experimentOf(0.5, impact.Pass)
	impacts := verdict.Verdict{Name: verdict.Impact, State: verdict.Pass, Summary: "no harm beyond the margins: p50 +0.5 % (-0.9 … +2.1; margin 8.3); the controls were found", Experiment: x,
		Warnings: []string{"client, gateway and both versions share 2 CPUs here"}}
	for i := range x.Figures {
		f := &x.Figures[i]
		impacts.Items = append(impacts.Items, verdict.Item{State: verdict.Pass, Impact: f, Summary: fmt.Sprintf("p%g %.2f ms off, %.2f ms on", f.Quantile, float64(f.Off)/1e6, float64(f.On)/1e6)})
	}
	r := &Report{
		Name: "canary-10",
		Verdicts: []verdict.Verdict{
			{Name: verdict.Integrity, State: verdict.Pass, Summary: "every request once and unchanged", Items: []verdict.Item{{Route: route, State: verdict.Pass, Summary: "19,050 requests, 1,912 copies, each compared with its primary's",
				Integrity: &verdict.IntegrityFigures{Requests: 19050, OK: 19050, Primaries: 19050, Mirrored: 1912, Compared: 1912, Mirrors: true, Reads: 13335, ReadsAtShadow: 1340, Writes: 5715, WritesAtShadow: 572}}}},
			{Name: verdict.Delivery, State: verdict.Pass, Summary: "the gateway mirrored 1,912 requests, all arrived", Items: []verdict.Item{{Cluster: v2, State: verdict.Pass, Summary: "1,912 counted, 1,912 arrived",
				Delivery: &verdict.DeliveryFigures{Counted: 1912, Arrived: 1912, Eligible: 19050, Answers: map[string]int{"2xx": 1910, "5xx": 2}}}}},
			{Name: verdict.Sampling, State: verdict.Pass, Summary: "10.04 % of 19,050 mirrored (90 % interval 9.68 … 10.4), programmed 10 % ± 1", Items: []verdict.Item{{Route: route, Cluster: v2, State: verdict.Pass, Summary: "10.04 % of 19,050",
				Sampling: &verdict.SamplingFigures{ConfiguredPercent: 10, Numerator: 100000, WithinPoints: 1, Eligible: 19050, Mirrored: 1912, EstimatePercent: 10.036745, LowPercent: 9.68, HighPercent: 10.4, TickWidth: time.Second, Ticks: ticksOf(30, 10)}}}},
			impacts,
			{Name: verdict.Objectives, State: verdict.Pass, Summary: "p99 4.91 ms, under 50.0 ms", Items: []verdict.Item{objectiveItem(verdict.Pass)}},
			verdict.JudgeRate(rate, verdict.Facts{}),
		},
		Figures: summary.Figures{Planned: 115050, OK: 115045, Error: 5, Blocks: 96000, Failed: 2, Rate: rate, Span: 30 * time.Second, Asked: 635, Sent: 635, Response: latencyOf(n, 1.2), Service: latencyOf(n, 1.1),
			Lag: latencyOf(n, 0.05), ReadLag: latencyOf(n, 0.02), Names: []summary.Group{{Name: "buy", Rows: 5715, NotOK: 2, Response: latencyOf(5715, 1.6)}, {Name: "list", Rows: 13335, Response: latencyOf(13335, 1.1)}},
			Routes: []summary.Group{{Name: route, Rows: 19050, NotOK: 2, Response: latencyOf(n, 1.2)}},
			Errors: []summary.Class{{Outcome: traffic.Error, Class: "reset", Count: 5, Examples: []string{"0123456789abcdef", "1123456789abcdef"}}}, Statuses: []summary.Status{{Code: 200, Count: 115043}, {Code: 503, Count: 2}},
			ResponseSpectrum: spectrumOf(n, 1.2), ServiceSpectrum: spectrumOf(n, 1.1), ResponseHistogram: histogramOf(n, 1.2), ServiceHistogram: histogramOf(n, 1.1), Timeline: timelineOf(30)},
		Mesh:     &Mesh{Host: "my-app.example.com", Routes: []Route{{Name: route, To: []string{v1}, Mirrors: []Mirror{{Cluster: v2, Percent: 10, Numerator: 100000, Programmed: 10}}}}},
		Versions: versions(),
		Load:     "a scripted mix for 30s", Seed: 7,
		Run: evidence.Record{Version: "1.0", Command: []string{"umbra", "run", "canary-10.yaml", "--on", "kind"}, Mesh: "kind", Transport: "epoll, 1 loop", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
			Planned: 115050, Started: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), Ended: time.Date(2026, 11, 23, 1, 12, 3, 0, time.UTC), Finished: true, Drained: true,
			Cluster: &evidence.ClusterFacts{Kubernetes: "v1.36.1", Istio: "1.31.0", Proxy: "1.39.0", Node: "kindest/node:v1.36.1"}},
	}
	r.Close()
	return r
}

func failing() *Report {
	r := passing()
	v := &r.Verdicts[3]
	v.State, v.Summary, v.Experiment = verdict.Fail, "mirroring makes the primary slower: p50 +41.2 % (+39.8 … +42.8; margin 8.3)", experimentOf(41.2, impact.Fail)
	for i := range v.Items {
		v.Items[i].Impact = &v.Experiment.Figures[i]
		if v.Items[i].Impact.Quantile > 0 {
			v.Items[i].State = verdict.Fail
		}
	}
	w := &r.Verdicts[0]
	w.State, w.Summary = verdict.Fail, "requests whose copy differs: 3"
	w.Items[0].State, w.Items[0].Integrity.Failed = verdict.Fail, 3
	w.Findings = []verdict.Finding{{Code: "body", Severity: verdict.Failure, Text: "requests whose copy has another body", Count: 3, Examples: []string{"0123456789abcdef", "1123456789abcdef"}}}
	r.Verdicts = append(r.Verdicts[:5], verdict.Verdict{Name: verdict.HarmVerdict, State: verdict.Fail, Summary: "a hung shadow stops uploads of 32 MiB", Items: []verdict.Item{{State: verdict.Fail, Summary: "7 of 8 fail, 0 of 8 off",
		Harm: &verdict.HarmFigures{Cell: verdict.Cell{Shadow: "hung", Body: 32 << 20, Timeout: 5 * time.Second}, Off: 8, On: 8, FailedOn: 7, P50Off: 90 * time.Millisecond, P50On: 5 * time.Second, PValue: 0.0007, Whole: true}}}}, r.Verdicts[5])
	r.Close()
	return r
}

func inconclusive() *Report {
	r := passing()
	v := &r.Verdicts[3]
	v.State, v.Summary, v.Experiment = verdict.Inconclusive, "p50 1.20 ms off, 1.29 ms on: +7.4 % (+6.0 … +9.0), margin 8.3 %; about 64 quadruples would decide", experimentOf(7.4, impact.Inconclusive)
	for i := range v.Items {
		v.Items[i].Impact = &v.Experiment.Figures[i]
		if v.Items[i].Impact.Quantile > 0 {
			v.Items[i].State = verdict.Inconclusive
		}
	}
	r.Close()
	return r
}

func partial() *Report {
	r := passing()
	r.Partial, r.Run.Finished, r.Run.Interrupted = "the run was interrupted", false, true
	r.Warnings = []string{"results.arrows has 900 rows of 19050 planned"}
	r.Figures.Timeline.Ticks = r.Figures.Timeline.Ticks[:9]
	r.Close()
	return r
}

// figured gives the items of sample their figures.
func figured(r *Report) {
	r.Verdicts[0].Items[0].Integrity = &verdict.IntegrityFigures{Requests: 1000, OK: 998, Primaries: 998, Mirrored: 100, Compared: 99, Mirrors: true, Reads: 700, Writes: 300, Failed: 1}
	r.Verdicts[1].Items[0].Delivery = &verdict.DeliveryFigures{Counted: 100, Arrived: 100, Eligible: 1000, Answers: map[string]int{"2xx": 100}}
	r.Verdicts[2].Items[0].Sampling = &verdict.SamplingFigures{ConfiguredPercent: 10, Numerator: 100000, WithinPoints: 1, Eligible: 1000, Mirrored: 99, EstimatePercent: 9.9, LowPercent: 8.39, HighPercent: 11.6,
		TickWidth: time.Second, Ticks: ticksOf(13, 10)}
}
