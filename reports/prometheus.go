package reports

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// Prometheus renders r as Prometheus' text format 0.0.4, for a push gateway or the text folder of a node exporter: without time
// stamps, which the latter refuses. Times are in seconds, shares from 0 to 1. A counter is of one run, and starts again with the next.
func (r *Report) Prometheus(w io.Writer) error {
	m := &metrics{}
	m.run(r)
	m.verdicts(r.Verdicts)
	m.requests(&r.Figures)
	m.latencies(&r.Figures)
	m.mesh(r.Mesh)
	for _, part := range []func([]verdict.Verdict){m.sampling, m.integrity, m.delivery, m.impact, m.effect, m.harm, m.objectives, m.rate} {
		part(r.Verdicts)
	}
	for _, family := range m.families {
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return err
		}
	}
	return nil
}

// metrics are the families of an exposition, in its order.
type metrics struct{ families []*dto.MetricFamily }

// adder adds a series to a family. Labels are names and values in turn; where they are those of an earlier series, as names that were cut
// may be, the earlier one stays.
type adder func(value float64, labels ...string)

// gauge begins a family of what can rise and fall.
func (m *metrics) gauge(name, help string) adder {
	return m.family(name, help, dto.MetricType_GAUGE, func(into *dto.Metric, v float64) { into.Gauge = &dto.Gauge{Value: &v} })
}

// counter begins a family of what was counted in the run.
func (m *metrics) counter(name, help string) adder {
	return m.family(name, help, dto.MetricType_COUNTER, func(into *dto.Metric, v float64) { into.Counter = &dto.Counter{Value: &v} })
}

func (m *metrics) family(name, help string, kind dto.MetricType, set func(*dto.Metric, float64)) adder {
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	m.families = append(m.families, f)
	seen := map[string]bool{}
	return func(value float64, labels ...string) {
		series := &dto.Metric{}
		for i := 0; i < len(labels); i += 2 {
			value := inert(labels[i+1])
			series.Label = append(series.Label, &dto.LabelPair{Name: &labels[i], Value: &value})
		}
		if key := fmt.Sprintf("%q", series.Label); !seen[key] {
			seen[key] = true
			set(series, value)
			f.Metric = append(f.Metric, series)
		}
	}
}

// histogram adds a classic histogram.
func (m *metrics) histogram(name, help string, h *summary.Histogram) {
	kind, count, sum := dto.MetricType_HISTOGRAM, uint64(max(0, h.Count)), inSeconds(h.Sum)
	out := &dto.Histogram{SampleCount: &count, SampleSum: &sum}
	for _, b := range h.Buckets {
		le, below := inSeconds(b.Le), uint64(max(0, b.Count))
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: &le, CumulativeCount: &below})
	}
	m.families = append(m.families, &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: []*dto.Metric{{Histogram: out}}})
}

func (m *metrics) run(r *Report) {
	run := &r.Run
	labels := []string{"name", r.Name, "umbra", run.Version, "mesh", run.Mesh, "client", run.Transport, "seed", strconv.FormatUint(r.Seed, 10),
		"os", run.Machine.OS, "arch", run.Machine.Arch, "go", run.Machine.Go, "istio", "", "kubernetes", "", "proxy", ""}
	if c := run.Cluster; c != nil {
		for name, version := range map[string]string{"istio": c.Istio, "kubernetes": c.Kubernetes, "proxy": c.Proxy} {
			labels[slices.Index(labels, name)+1] = version
		}
	}
	m.gauge("umbra_run_info", "What was run, on what.")(1, labels...)
	m.gauge("umbra_run_start_timestamp_seconds", "When the run began, in Unix time.")(unix(run.Started))
	if !run.Ended.IsZero() {
		m.gauge("umbra_run_end_timestamp_seconds", "When the run ended, in Unix time.")(unix(run.Ended))
	}
	m.gauge("umbra_run_partial", "1 where the run is not whole.")(truth(r.Partial != ""))
	m.gauge("umbra_run_exit_status", "umbra's exit status: 0 passed, 1 failed, 3 the client is not to be trusted, 4 inconclusive or invalid.")(float64(r.ExitStatus))
}

// inSeconds and ratio are the nearest numbers to what they are given, which a sum of seconds and parts of one, or a division of a
// rounded percentage, would not be.
func inSeconds(d time.Duration) float64 { return float64(d) / 1e9 }

func ratio(percent float64) float64 { return math.Round(percent*1e10) / 1e12 }

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// states are those that a verdict may be in.
var states = []verdict.State{verdict.Pass, verdict.Fail, verdict.Inconclusive, verdict.Invalid, verdict.NotTested}

func (m *metrics) verdicts(vs []verdict.Verdict) {
	add := m.gauge("umbra_verdict", "1 for the state that a verdict is in, 0 for the others.")
	for i := range vs {
		for _, s := range states {
			add(truth(vs[i].State == s), "verdict", vs[i].Name, "state", string(s))
		}
	}
}

func (m *metrics) requests(f *summary.Figures) {
	requests := m.counter("umbra_requests_total", "Requests planned, of all phases, by what became of them.")
	for _, o := range f.Outcomes() {
		requests(float64(o.Count), "outcome", string(o.Outcome))
	}
	responses := m.counter("umbra_responses_total", "Complete responses, of all phases, by status code.")
	for _, s := range f.Statuses {
		responses(float64(s.Count), "code", strconv.Itoa(s.Code))
	}
	failures := m.counter("umbra_request_errors_total", "Requests of all phases without a complete response, by outcome and error class.")
	for _, c := range f.Errors {
		failures(float64(c.Count), "outcome", string(c.Outcome), "class", c.Class)
	}
	rate := m.gauge("umbra_requests_per_second", "Requests a second of the stages.")
	rate(f.Asked, "kind", "asked")
	rate(f.Sent, "kind", "sent")
}

func (m *metrics) latencies(f *summary.Figures) {
	m.histogram("umbra_response_time_seconds", "Response time of the stages' requests, from the instant that each was due.", &f.ResponseHistogram)
	m.histogram("umbra_service_time_seconds", "Service time of the stages' requests, from the instant that each was sent.", &f.ServiceHistogram)
	percentiles := m.gauge("umbra_latency_seconds", "Percentiles of the stages, from HDR histograms; 100 is the greatest value.")
	for _, of := range []struct {
		time string
		summary.Latency
	}{{"response", f.Response}, {"service", f.Service}, {"lag", f.Lag}, {"read_lag", f.ReadLag}} {
		if of.N == 0 {
			continue
		}
		for _, p := range []struct {
			percentile string
			value      time.Duration
		}{{"50", of.P50}, {"90", of.P90}, {"99", of.P99}, {"99.9", of.P999}, {"100", of.Max}} {
			percentiles(inSeconds(p.value), "time", of.time, "percentile", p.percentile)
		}
	}
}

func (m *metrics) mesh(mesh *Mesh) {
	if mesh == nil {
		return
	}
	configured := m.gauge("umbra_mirror_fraction_configured_ratio", "Share of a route's requests that the manifests ask to mirror.")
	given := m.gauge("umbra_mirror_fraction_programmed_ratio", "The share that the gateway was programmed with.")
	for _, r := range mesh.Routes {
		for _, mirror := range r.Mirrors {
			configured(ratio(mirror.Percent), "route", r.Name, "cluster", mirror.Cluster)
			given(float64(mirror.Numerator)/1e6, "route", r.Name, "cluster", mirror.Cluster)
		}
	}
}

// itemsIn gives the items of all verdicts.
func itemsIn(vs []verdict.Verdict) func(func(*verdict.Item) bool) {
	return func(yield func(*verdict.Item) bool) {
		for i := range vs {
			for j := range vs[i].Items {
				if !yield(&vs[i].Items[j]) {
					return
				}
			}
		}
	}
}

func (m *metrics) sampling(vs []verdict.Verdict) {
	eligible := m.counter("umbra_mirror_eligible_requests_total", "Requests of the stages that reached the gateway's mirroring.")
	mirrored := m.counter("umbra_mirror_mirrored_requests_total", "Of these, those that arrived at the mirror.")
	estimate := m.gauge("umbra_mirror_fraction_ratio", "Estimated share of requests that are mirrored.")
	low := m.gauge("umbra_mirror_fraction_low_ratio", "Lower end of the 90 % interval of the share.")
	high := m.gauge("umbra_mirror_fraction_high_ratio", "Upper end of the 90 % interval of the share.")
	within := m.gauge("umbra_mirror_fraction_within_ratio", "How far from the programmed share it may lie.")
	for item := range itemsIn(vs) {
		f := item.Sampling
		if f == nil || f.Eligible == 0 {
			continue
		}
		labels := []string{"route", item.Route, "cluster", item.Cluster}
		eligible(float64(f.Eligible), labels...)
		mirrored(float64(f.Mirrored), labels...)
		estimate(ratio(f.EstimatePercent), labels...)
		low(ratio(f.LowPercent), labels...)
		high(ratio(f.HighPercent), labels...)
		within(ratio(f.WithinPoints), labels...)
	}
}

func (m *metrics) integrity(vs []verdict.Verdict) {
	requests := m.counter("umbra_integrity_requests_total", "Requests sent on a route, whose copies were looked at.")
	compared := m.counter("umbra_integrity_compared_total", "Copies that were compared with what the primary got.")
	failed := m.counter("umbra_integrity_failed_total", "Requests with a finding that fails.")
	for item := range itemsIn(vs) {
		if f := item.Integrity; f != nil {
			requests(float64(f.Requests), "route", item.Route)
			compared(float64(f.Compared), "route", item.Route)
			failed(float64(f.Failed), "route", item.Route)
		}
	}
}

func (m *metrics) delivery(vs []verdict.Verdict) {
	counted := m.counter("umbra_delivery_counted_total", "Copies sent to a mirror, by the gateway's own count.")
	arrived := m.counter("umbra_delivery_arrived_total", "Copies that arrived there.")
	for item := range itemsIn(vs) {
		if f := item.Delivery; f != nil {
			counted(float64(f.Counted), "cluster", item.Cluster)
			arrived(float64(f.Arrived), "cluster", item.Cluster)
		}
	}
}

// changes begins the families of a change with its bounds and its margin, which are shares, and gives what adds to them in percent.
func (m *metrics) changes(name, of string) func(change, low, high, margin float64, labels ...string) {
	c := m.gauge(name+"_change_ratio", of+".")
	l := m.gauge(name+"_change_low_ratio", of+": the one-sided 95 % lower bound.")
	h := m.gauge(name+"_change_high_ratio", of+": the one-sided 95 % upper bound.")
	g := m.gauge(name+"_margin_ratio", of+": the margin.")
	return func(change, low, high, margin float64, labels ...string) {
		c(ratio(change), labels...)
		l(ratio(low), labels...)
		h(ratio(high), labels...)
		g(ratio(margin), labels...)
	}
}

func (m *metrics) impact(vs []verdict.Verdict) {
	took := m.gauge("umbra_impact_seconds", "Response time of the paired blocks, with mirroring off and on.")
	changed := m.changes("umbra_impact", "Relative change of the response time with mirroring on, by paired blocks")
	failed := m.changes("umbra_impact_failed", "Change of the share of failed requests with mirroring on, by paired blocks")
	for item := range itemsIn(vs) {
		f := item.Impact
		switch {
		case f == nil || !f.Tested:
		case f.Quantile == 0:
			failed(f.Change, f.Low, f.High, f.MarginPct)
		default:
			changed(f.Change, f.Low, f.High, f.MarginPct, "percentile", number(f.Quantile))
			took(inSeconds(f.Off), "percentile", number(f.Quantile), "mirroring", "off")
			took(inSeconds(f.On), "percentile", number(f.Quantile), "mirroring", "on")
		}
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (m *metrics) effect(vs []verdict.Verdict) {
	changed := m.changes("umbra_direct_effect", "Relative change of the response time of mirrored requests, against those of the same run that were not mirrored")
	for item := range itemsIn(vs) {
		if f := item.Effect; f != nil && f.Gated {
			changed(f.Change, f.Low, f.High, f.MarginPct, "route", item.Route, "percentile", number(f.Quantile))
		}
	}
}

func (m *metrics) harm(vs []verdict.Verdict) {
	requests := m.counter("umbra_harm_requests_total", "Requests played against a shadow that misbehaves.")
	failed := m.counter("umbra_harm_failed_total", "Of these, those that failed.")
	for item := range itemsIn(vs) {
		f := item.Harm
		if f == nil {
			continue
		}
		labels := func(mirroring string) []string {
			return []string{"shadow", f.Shadow, "route", f.Route, "body_bytes", strconv.Itoa(f.Body), "setting", f.Setting, "mirroring", mirroring}
		}
		requests(float64(f.Off), labels("off")...)
		requests(float64(f.On), labels("on")...)
		failed(float64(f.FailedOff), labels("off")...)
		failed(float64(f.FailedOn), labels("on")...)
	}
}

func (m *metrics) objectives(vs []verdict.Verdict) {
	met := m.gauge("umbra_objective", "1 for the state that an objective is in, 0 for the others.")
	times := m.gauge("umbra_objective_seconds", "The response time that an objective is about.")
	under := m.gauge("umbra_objective_under_seconds", "What it has to be under.")
	share := m.gauge("umbra_objective_errors_ratio", "The share of errors that an objective is about.")
	limit := m.gauge("umbra_objective_errors_limit_ratio", "What it may be at most.")
	for item := range itemsIn(vs) {
		o := item.Objective
		if o == nil {
			continue
		}
		labels := []string{"objective", objectiveName(o), "route", item.Route}
		for _, s := range states {
			met(truth(item.State == s), append(slices.Clone(labels), "state", string(s))...)
		}
		switch {
		case o.LimitPercent != nil:
			share(ratio(o.EstimatePercent), labels...)
			limit(ratio(*o.LimitPercent), labels...)
		case o.EstimateNS != nil:
			times(inSeconds(*o.EstimateNS), labels...)
			under(inSeconds(o.UnderNS), labels...)
		}
	}
}

func (m *metrics) rate(vs []verdict.Verdict) {
	rate := m.gauge("umbra_rate_per_second", "Requests a second that were asked for, and that were sent before the plan's end.")
	for item := range itemsIn(vs) {
		if f := item.Rate; f != nil && !f.Closed {
			rate(f.Asked, "kind", "asked")
			rate(f.InTime, "kind", "in_time")
		}
	}
}
