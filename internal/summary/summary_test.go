package summary

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

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
	s.Add(rows())
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
	if diff := gocmp.Diff(want, f.Errors); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]Status{{200, 101}, {503, 1}}, f.Statuses); diff != "" {
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
		s.Add([]traffic.Result{r})
	}
	if f := s.Figures(); f.Planned != 20 || f.Unsent != 10 || f.Span.Round(time.Millisecond) != 100*time.Millisecond || f.Sent != f.Asked {
		t.Errorf("%+v", f)
	}
}

// What still waited for a connection when the run was stopped has waited at least so long: it is in the response times, at
// that bound, and in no other.
func TestStoppedWhileWaiting(t *testing.T) {
	s := New()
	for i := range 20 {
		r := ok(time.Duration(i)*10*time.Millisecond, time.Millisecond)
		if i >= 15 {
			r.Outcome, r.Error, r.Status, r.Ready, r.Sent, r.LastByte, r.End = traffic.Unsent, "stopped_in_queue", 0, traffic.Never, traffic.Never, traffic.Never, r.Due+3*time.Second
		}
		s.Add([]traffic.Result{r})
	}
	f := s.Figures()
	if f.Unsent != 5 || f.Response.N != 20 || f.Response.LowerBound != 5 || f.Response.P99 < 3*time.Second || f.Service.N != 15 || f.Lag.N != 15 {
		t.Errorf("%+v", f)
	}
}

// Figures in the middle of a second change nothing: not the second's interval, nor what is told of it, nor later figures.
func TestFiguresWithinASecond(t *testing.T) {
	told := func(within bool) (folder, []Second, Figures) {
		f, s := folder{}, New()
		var seconds []Second
		s.OnSecond(func(x Second) { seconds = append(seconds, x) })
		if err := s.LogTo(time.UnixMilli(1700000000250), f.open); err != nil {
			t.Fatal(err)
		}
		for i, r := range rows() {
			s.Add([]traffic.Result{r})
			if within {
				if n := s.Figures().Response.N; n != s.Figures().Response.N || i > 0 && n == 0 {
					t.Errorf("after %d rows: %d", i+1, n)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return f, seconds, s.Figures()
	}
	files, seconds, figures := told(false)
	gotFiles, gotSeconds, gotFigures := told(true)
	for name := range files {
		if files[name].String() != gotFiles[name].String() {
			t.Errorf("%s differs:\n%s\n%s", name, files[name], gotFiles[name])
		}
	}
	if diff := gocmp.Diff(seconds, gotSeconds) + gocmp.Diff(figures, gotFigures); diff != "" {
		t.Error(diff)
	}
}

func TestNoRows(t *testing.T) {
	if f := New().Figures(); f.Planned != 0 || f.Span != 0 || f.Response.N != 0 {
		t.Errorf("%+v", f)
	}
}

// The warm-up and the cool-down are counted, and are in no rate and no latency.
func TestPhasesApart(t *testing.T) {
	s := New()
	for i := range 40 {
		r := ok(time.Duration(i)*100*time.Millisecond, time.Millisecond)
		switch {
		case i < 10:
			r.Phase, r.LastByte, r.End = traffic.PhaseWarmup, r.Due+time.Second, r.Due+time.Second
		case i >= 30:
			r.Phase, r.LastByte, r.End = traffic.PhaseCooldown, r.Due+time.Second, r.Due+time.Second
		}
		s.Add([]traffic.Result{r})
	}
	f := s.Figures()
	if f.Planned != 40 || f.Warmup != 10 || f.Cooldown != 10 || f.Rate.Planned != 20 || f.Rate.Sent != 20 {
		t.Errorf("%+v", f)
	}
	if f.Span.Round(time.Millisecond) != 2*time.Second || f.Response.N != 20 || f.Response.Max > 2*time.Millisecond {
		t.Errorf("span %v, response %+v", f.Span, f.Response)
	}
}

// What was sent when the plan was over is known, in whatever order the rows come.
func TestLate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var rows []traffic.Result
		gap, late := time.Duration(1+random.IntN(20))*time.Millisecond, 0
		n := 2 + random.IntN(2000)
		for i := range n {
			r := ok(gap*time.Duration(i), time.Millisecond)
			r.Sent += time.Duration(random.ExpFloat64() * float64(time.Second))
			if r.Sent > gap*time.Duration(n) {
				late++
			}
			r.End, r.LastByte = r.Sent+time.Millisecond, r.Sent+time.Millisecond
			rows = append(rows, r)
		}
		slices.SortFunc(rows, func(a, b traffic.Result) int { return cmp.Compare(a.End, b.End) })
		s := New()
		s.Add(rows)
		if c := s.Figures().Rate; c.Waited+c.Lagged != late || c.Sent != n {
			t.Errorf("%d rows, %v apart: %d late, want %d", n, gap, c.Waited+c.Lagged, late)
		}
	}
}

// Names without end take no memory without end, and no row is lost.
func TestNamesWithoutEnd(t *testing.T) {
	s := New()
	for i := range 20 * maxSeries {
		r := ok(time.Duration(i)*time.Millisecond, time.Millisecond)
		r.Name, r.Route = fmt.Sprint("name ", i), fmt.Sprint("route ", i%3)
		s.Add([]traffic.Result{r, r})
	}
	if n := len(s.groups.known); n > maxSeries+1 {
		t.Errorf("%d series", n)
	}
	f := s.Figures()
	sum, further := 0, 0
	for _, g := range f.Names {
		if sum += g.Rows; g.Name == Further {
			further = g.Rows
		}
	}
	if want := 2 * 20 * maxSeries; sum != want || further != want-2*maxSeries || f.Response.N != int64(want) {
		t.Errorf("%d rows in names, %d in all, %d further", sum, f.Response.N, further)
	}
}

// An interval ends by the clock too, where no row ends it, and is told of.
func TestSeconds(t *testing.T) {
	var got []Second
	s := New()
	s.OnSecond(func(x Second) { got = append(got, x) })
	r := ok(100*time.Millisecond, 1024)
	r.Sent += 512
	r.ReadLag = 256
	lost := ok(100*time.Millisecond, 1024)
	lost.Outcome, lost.Error, lost.Sent, lost.LastByte = traffic.Error, "connect_refused", traffic.Never, traffic.Never
	s.Add([]traffic.Result{r, lost})
	s.Turn(900 * time.Millisecond)
	s.Turn(1100 * time.Millisecond)
	s.Turn(2100 * time.Millisecond)
	s.Add([]traffic.Result{ok(4*time.Second, 1024)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := []Second{
		{Rows: 2, LagP50: 512, LagP99: 512, LagMax: 512, ReadLagMax: 256, ResponseP99: 1024, Errors: map[string]int64{"connect_refused": 1}},
		{Second: 1}, {Second: 2}, {Second: 4, Rows: 1, ResponseP99: 1024},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, names := range []int{1, 50} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			batch := make([]traffic.Result, 4096)
			for i := range batch {
				batch[i] = ok(time.Duration(i)*50*time.Microsecond, time.Duration(100e3+random.ExpFloat64()*100e3))
				batch[i].Sent += time.Duration(random.IntN(50e3))
				batch[i].ReadLag = time.Duration(random.IntN(20e3))
				batch[i].Name = fmt.Sprint("name-", random.IntN(names))
			}
			s := New()
			b.ReportAllocs()
			for b.Loop() {
				s.Add(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/row")
		})
	}
}

// What is judged is counted apart: the stages' rows, without what a stop took out.
func TestJudgedCounts(t *testing.T) {
	s := New()
	s.Add(rows())
	stopped := ok(2*time.Second, 0)
	stopped.Outcome, stopped.Error, stopped.Sent = traffic.Unsent, traffic.Stopped, traffic.Never
	block := ok(3*time.Second, time.Millisecond)
	block.Phase, block.Status = traffic.PhaseBlock, 500
	s.Add([]traffic.Result{stopped, block})
	if got, want := s.Figures().Judged, (Counts{Rows: 103, NotOK: 2, Failed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
