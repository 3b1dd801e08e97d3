package summary

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

func ok(due, took time.Duration) traffic.Result {
	return traffic.Result{ID: "i", Name: "get", Route: "r", Phase: traffic.PhaseStage, Due: due, Ready: due, Sent: due, FirstByte: due + took,
		LastByte: due + took, End: due + took, Outcome: traffic.OK, Status: 200}
}

func rows() []traffic.Result {
	var out []traffic.Result
	warm := ok(0, time.Second)
	warm.Phase = traffic.PhaseWarmup
	out = append(out, warm)
	for i := range 100 {
		out = append(out, ok(time.Duration(i)*10*time.Millisecond, time.Duration(i+1)*time.Millisecond))
	}
	late := ok(time.Second, 500*time.Millisecond)
	late.Sent, late.Ready, late.Status = late.Due+300*time.Millisecond, late.Due+100*time.Millisecond, 503
	lost := ok(time.Second+10*time.Millisecond, 0)
	lost.ID, lost.Outcome, lost.Error, lost.Status, lost.LastByte, lost.End = "lost", traffic.Timeout, "timeout_headers", 0, traffic.Never, lost.Due+2*time.Second
	never := ok(time.Second+20*time.Millisecond, 0)
	never.ID, never.Outcome, never.Error, never.Status, never.Sent, never.LastByte = "never", traffic.Unsent, "queue_full", 0, traffic.Never, traffic.Never
	return append(out, late, lost, never)
}

func TestFigures(t *testing.T) {
	s := New()
	for _, r := range rows() {
		s.Add(&r)
	}
	f := s.Figures()
	if f.Planned != 104 || f.Planned != f.OK+f.Error+f.Timeout+f.Inflight+f.Unsent || f.OK != 102 || f.Timeout != 1 || f.Unsent != 1 {
		t.Errorf("counts do not add up: %+v", f)
	}
	if f.Warmup != 1 || f.Failed != 1 || s.Rows() != 104 {
		t.Errorf("warm-up %d, failed %d, rows %d", f.Warmup, f.Failed, s.Rows())
	}
	// 103 rows of the stage, due every 10 ms
	if f.Span.Round(time.Millisecond) != 1030*time.Millisecond || int(f.Asked+.5) != 100 || f.Sent >= f.Asked {
		t.Errorf("span %v, asked %g, sent %g", f.Span, f.Asked, f.Sent)
	}
	near := func(name string, got, want time.Duration) {
		if d := float64(got-want) / float64(want); d < -0.001 || d > 0.001 {
			t.Errorf("%s = %v, want %v within 0.1 %%", name, got, want)
		}
	}
	near("response p50", f.Response.P50, 51*time.Millisecond)
	near("response p99", f.Response.P99, 500*time.Millisecond)
	near("response max", f.Response.Max, 2*time.Second)
	near("service max", f.Service.Max, 2*time.Second)
	near("lag max", f.Lag.Max, 200*time.Millisecond) // sent 300 ms late, 100 of them waiting for a connection
	if f.Response.N != 102 || f.Response.LowerBound != 1 {
		t.Errorf("response %+v", f.Response)
	}
	want := []Class{{traffic.Timeout, "timeout_headers", 1, []string{"lost"}}, {traffic.Unsent, "queue_full", 1, []string{"never"}}}
	if diff := cmp.Diff(want, f.Errors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Status{{200, 101}, {503, 1}}, f.Statuses); diff != "" {
		t.Error(diff)
	}
	if len(f.Names) != 1 || f.Names[0].Rows != 102 || f.Names[0].NotOK != 2 {
		t.Errorf("names %+v", f.Names)
	}
}

// What a stop took out of the plan is counted, and asks for no rate.
func TestStopped(t *testing.T) {
	s := New()
	for i := range 20 {
		r := ok(time.Duration(i)*10*time.Millisecond, time.Millisecond)
		if i >= 10 {
			r.Outcome, r.Error, r.Sent = traffic.Unsent, traffic.Stopped, traffic.Never
		}
		s.Add(&r)
	}
	if f := s.Figures(); f.Planned != 20 || f.Unsent != 10 || f.Span.Round(time.Millisecond) != 100*time.Millisecond || f.Sent != f.Asked {
		t.Errorf("%+v", f)
	}
}

func TestNoRows(t *testing.T) {
	if f := New().Figures(); f.Planned != 0 || f.Span != 0 || f.Response.N != 0 {
		t.Errorf("%+v", f)
	}
}

// The logs are read by HdrHistogram's own reader, and their sum is what the table says.
func TestHDR(t *testing.T) {
	files := map[string]*bytes.Buffer{}
	open := func(suffix string) func(string) (io.Writer, error) {
		return func(metric string) (io.Writer, error) {
			files[metric+suffix] = &bytes.Buffer{}
			return files[metric+suffix], nil
		}
	}
	start := time.Unix(1700000000, 0)
	h, err := NewHDR(start, open(".hlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows() {
		if err := h.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(open(".hgrm")); err != nil {
		t.Fatal(err)
	}
	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(files["response.hlog"].Bytes()))
	counts, sum := map[string]int64{}, histogram()
	for {
		interval, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if interval == nil {
			break
		}
		counts[interval.Tag()] += interval.TotalCount()
		if interval.Tag() == string(traffic.PhaseStage) {
			sum.Merge(interval)
		}
		if length := interval.EndTimeMs() - interval.StartTimeMs(); length != 1000 {
			t.Errorf("an interval of %d ms", length)
		}
	}
	if diff := cmp.Diff(map[string]int64{"warmup": 1, "stage": 102}, counts); diff != "" {
		t.Error(diff)
	}
	s := New()
	for _, r := range rows() {
		s.Add(&r)
	}
	if got, want := sum.ValueAtQuantile(99), int64(s.Figures().Response.P99); got != want {
		t.Errorf("p99 of the log is %d, of the figures %d", got, want)
	}
	if table := files["response.hgrm"].String(); !strings.Contains(table, "Percentile") || !strings.Contains(table, "#[Max     =") {
		t.Errorf("no percentile table:\n%s", table)
	}
}
