package summary

import (
	"testing"
	"time"

	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

func TestRecentIsOfWholeSecondsThatAreOver(t *testing.T) {
	var r Recent
	for i := range 1000 { // ten seconds of 100 a second, the i-th one's taking i × 0.9 ms
		row := ok(time.Duration(i)*10*time.Millisecond, time.Duration(i/100+1)*900*time.Microsecond)
		if i%100 == 0 {
			row.Status = 503
		}
		r.Add(&row)
	}
	w := r.Window(10*time.Second + recentGrace)
	if w.From != 5*time.Second || w.To != 10*time.Second || w.Answered != 500 || w.NotOK != 5 || w.Response.N != 500 {
		t.Errorf("window %+v", w)
	}
	near := func(name string, got, want time.Duration) {
		t.Helper()
		if d := float64(got-want) / float64(want); d < -0.001 || d > 0.001 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	near("p50 of the last 5 s", w.Response.P50, 7200*time.Microsecond)
	near("p99 of the last 5 s", w.Response.P99, 9*time.Millisecond)
	near("p50 so far", r.SoFar().P50, 4500*time.Microsecond)
	if n := r.SoFar().N; n != 1000 {
		t.Errorf("%d so far, want 1000", n)
	}
	if w := r.Window(10*time.Second + recentGrace - 1); w.To != 9*time.Second {
		t.Errorf("the second up to 10 s is shown before its rows have come: %+v", w)
	}
	if w := r.Window(12*time.Second + recentGrace); w.Answered != 300 || w.From != 7*time.Second {
		t.Errorf("seconds without rows: %+v", w)
	}
	if w := r.Window(-200 * time.Millisecond); w != (Window{}) {
		t.Errorf("before the start: %+v", w)
	}
}

// The figures so far are those of the report that follows.
func TestRecentAgreesWithTheSummary(t *testing.T) {
	s, r := New(), &Recent{}
	all := rows()
	s.Add(all)
	for i := range all {
		r.Add(&all[i])
	}
	want := s.Figures().Response
	if got := r.SoFar(); got != (Times{want.N, want.P50, want.P99}) {
		t.Errorf("so far %+v, the report has %+v", got, want)
	}
}

// What a client drops did not respond; what was stopped while it waited had waited for so long.
func TestRecentTimesWhatWasWaitedFor(t *testing.T) {
	var r Recent
	dropped := traffic.Result{Phase: traffic.PhaseStage, Outcome: traffic.Unsent, Error: "dropped", Sent: traffic.Never, End: time.Second}
	waited := dropped
	waited.Error = verdict.StoppedWaiting
	r.Add(&dropped)
	r.Add(&waited)
	if w := r.Window(3 * time.Second); w.NotOK != 2 || w.Answered != 0 || w.Response.N != 1 || r.SoFar().N != 1 {
		t.Errorf("window %+v, so far %+v", w, r.SoFar())
	}
}

func BenchmarkRecent(b *testing.B) {
	var r Recent
	all := rows()
	for i := range all {
		r.Add(&all[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Add(&all[i%100])
	}
}
