package summary

import (
	"testing"
	"time"

	"umbra/internal/traffic"
)

func ended(due, sent, end time.Duration) traffic.Result {
	return traffic.Result{ID: "x", Name: "list", Phase: traffic.PhaseStage, Due: due, Ready: due, Sent: sent, FirstByte: end, LastByte: end, End: end, Outcome: traffic.OK, Status: 200}
}

// Each instant of a request is counted where it is, and what is under way at the end of a tick is told.
func TestTimeline(t *testing.T) {
	s := New()
	second := time.Second
	late := ended(900*time.Millisecond, 1100*time.Millisecond, 2500*time.Millisecond)
	failed := ended(second, second, 2100*time.Millisecond)
	failed.Outcome, failed.Error, failed.LastByte = traffic.Error, "reset", traffic.Never
	unsent := traffic.Result{ID: "y", Phase: traffic.PhaseStage, Due: 2200 * time.Millisecond, Ready: traffic.Never, Sent: traffic.Never, FirstByte: traffic.Never, LastByte: traffic.Never, End: 2200 * time.Millisecond,
		Outcome: traffic.Unsent, Error: "overload"}
	s.Add([]traffic.Result{ended(0, 0, 3*time.Millisecond), failed, late, unsent})
	for range 2 { // asking changes nothing
		line := s.Figures().Timeline
		if line.Width != second || len(line.Ticks) != 3 {
			t.Fatalf("%+v", line)
		}
		for i, want := range []Tick{{At: 0, Asked: 2, Sent: 1, Ended: 1}, {At: second, Asked: 1, Sent: 2, InFlight: 2}, {At: 2 * second, Asked: 1, Ended: 2, NotOK: 1}} {
			got := line.Ticks[i]
			if got.P99 < got.P50 || (got.Ended > 0) != (got.P50 > 0) {
				t.Errorf("tick %d: %+v", i, got)
			}
			got.P50, got.P99, got.LagP99, got.LagMax = 0, 0, 0, 0
			if got != want {
				t.Errorf("tick %d is %+v, want %+v", i, got, want)
			}
		}
		if lag := line.Ticks[2].LagMax; lag < 199*time.Millisecond || lag > 201*time.Millisecond {
			t.Errorf("a lag of %v, want 200 ms", lag)
		}
	}
}

// A run of any length has few ticks, and no request falls between them.
func TestTimelineWidens(t *testing.T) {
	s := New()
	const seconds = 1000
	for i := range seconds {
		at := time.Duration(i) * time.Second
		s.Add([]traffic.Result{ended(at, at, at+time.Millisecond), ended(at, at, at+2*time.Millisecond)})
	}
	line := s.Figures().Timeline
	if line.Width != 4*time.Second || len(line.Ticks) != seconds/4 {
		t.Fatalf("%d ticks of %v", len(line.Ticks), line.Width)
	}
	for _, k := range line.Ticks {
		if k.Asked != 8 || k.Sent != 8 || k.Ended != 8 || k.InFlight != 0 || k.P50 < time.Millisecond || k.P99 < 2*time.Millisecond {
			t.Fatalf("%+v", k)
		}
	}
}

// A spectrum is that of the percentile table, and a classic histogram counts what the values are.
func TestSpectrumAndClassic(t *testing.T) {
	s := New()
	for i := range 1000 {
		took := time.Duration(i+1) * 100 * time.Microsecond
		s.Add([]traffic.Result{ended(0, 0, took)})
	}
	f := s.Figures()
	last := f.ResponseSpectrum[len(f.ResponseSpectrum)-1]
	if last.Percentile != 99.9 || last.Low > 99900*time.Microsecond || last.Value < 99900*time.Microsecond || last.Value-last.Low > 100*time.Microsecond {
		t.Errorf("the last point is %+v", last)
	}
	h := f.ResponseHistogram
	if want := 50.05 * 1000 * float64(time.Millisecond); h.Count != 1000 || float64(h.Sum)/want > 1.001 || float64(h.Sum)/want < 0.999 {
		t.Errorf("%d values, sum %v", h.Count, h.Sum)
	}
	want := map[time.Duration]int64{100 * time.Microsecond: 1, 250 * time.Microsecond: 2, time.Millisecond: 10, 50 * time.Millisecond: 500, 100 * time.Millisecond: 1000, time.Minute: 1000}
	for _, b := range h.Buckets {
		if n, asked := want[b.Le]; asked && b.Count != n {
			t.Errorf("%d at or below %v, want %d", b.Count, b.Le, n)
		}
	}
	if empty := New().Figures(); len(empty.ResponseSpectrum) != 0 || empty.ResponseHistogram.Count != 0 || len(empty.Timeline.Ticks) != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}
