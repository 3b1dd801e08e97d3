package live

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

var update = flag.Bool("update", false, "write the golden files anew")

// start is when the runs of the tests start.
var start = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

// counts is a Gauge.
type counts struct{ due, ended int64 }

func (c *counts) Due() int64      { return c.due }
func (c *counts) UnderWay() int64 { return c.due - c.ended }

// bed is a state with a clock that is set by hand.
type bed struct {
	*State
	clock time.Time
	gauge counts
}

func newBed(run Run) *bed {
	b := &bed{clock: start}
	run.Gauge = &b.gauge
	b.State = New(run)
	b.State.now = func() time.Time { return b.clock }
	return b
}

func (b *bed) at(elapsed time.Duration) Snapshot {
	b.clock = start.Add(elapsed)
	return b.Snapshot()
}

// row is a request that was answered.
func row(due, took time.Duration) traffic.Result {
	return traffic.Result{Route: "shop/app/all", Phase: traffic.PhaseStage, Due: due, Ready: due, Sent: due, FirstByte: due + took, LastByte: due + took, End: due + took,
		Outcome: traffic.OK, Status: 200, Block: -1}
}

// play has the requests of a steady load come, 100 a second, from one instant up to another; every 50th fails.
func (b *bed) play(from, to time.Duration) {
	for due := from; due < to; due += 10 * time.Millisecond {
		r := row(due, 4*time.Millisecond)
		switch due / (10 * time.Millisecond) % 100 {
		case 50:
			r.Status = 503
		case 99:
			r.Outcome, r.Error, r.Status, r.LastByte = traffic.Error, "reset", 0, traffic.Never
		}
		b.clock = start.Add(due)
		b.gauge.due++
		b.Results([]traffic.Result{r})
		b.gauge.ended++
	}
	b.clock = start.Add(to)
}

var stages = []Leg{{traffic.PhaseWarmup, 100, 100, 2 * time.Second}, {traffic.PhaseStage, 100, 100, 10 * time.Second}, {traffic.PhaseStage, 100, 300, 20 * time.Second}}

// The story of a run, as its lines tell it and as /state.json does at one instant.
func TestLinesOfARun(t *testing.T) {
	b := newBed(Run{Title: "canary-10", Folder: "runs/canary-10", Shares: map[string]uint64{"shop/app/all": 100_000}})
	var lines []string
	say := func(at time.Duration) Snapshot {
		x := b.at(at)
		lines = append(lines, x.Line())
		return x
	}
	say(0)
	b.Step("starting the mesh")
	say(0)
	b.Step("replaying a scripted mix through the gateway")
	b.Playing(PartOf(start, 0, stages, 0))
	say(-100 * time.Millisecond)
	b.play(0, time.Second)
	say(time.Second)
	b.play(time.Second, 10*time.Second)
	b.Counted(101)
	b.play(10*time.Second, 11500*time.Millisecond)
	at := say(11500 * time.Millisecond)
	b.gauge.due += 12 // that hang
	say(17 * time.Second)
	b.gauge.ended += 12
	say(32100 * time.Millisecond)
	b.Playing(Part{})
	b.Step("paired blocks: 20 quadruples")
	say(33 * time.Second)
	b.Playing(Part{Start: start, Begin: 34 * time.Second, Closed: true, Span: 2 * time.Second})
	say(35 * time.Second)
	blocks := PartOf(start, 36*time.Second, []Leg{{traffic.PhaseWarmup, 300, 300, 400 * time.Millisecond}, {traffic.PhaseBlock, 300, 300, 2 * time.Second}}, 0)
	blocks.Block = &Block{Experiment: "mirroring off against on", Arm: "on", Number: 46, Of: 80, Done: 11, Quadruples: 20}
	b.Playing(blocks)
	say(36200 * time.Millisecond)
	b.Counted(5000) // of the experiment
	say(38 * time.Second)
	b.Results([]traffic.Result{{Phase: traffic.PhaseStage, Outcome: traffic.Unsent, Error: traffic.Stopped, Sent: traffic.Never}})
	say(38100 * time.Millisecond)
	b.Playing(Part{})
	b.Step("waiting until the mirrors have ended")
	say(45 * time.Second)
	b.Over()
	say(46 * time.Second)
	golden(t, "lines.txt", []byte(strings.Join(lines, "\n")+"\n"))
	data, err := json.MarshalIndent(at, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "state.json", append(data, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs; go test ./internal/live -update writes it anew:\n%s", path, d)
	}
}

// Asked is what was planned, over ramps and over pauses between plans, also where nothing came of it.
func TestAskedIsThePlans(t *testing.T) {
	b := newBed(Run{})
	b.Playing(PartOf(start, 0, stages, 0))
	for at, want := range map[time.Duration]float64{1500 * time.Millisecond: 100, 12500 * time.Millisecond: 100, 17500 * time.Millisecond: 125, 32500 * time.Millisecond: 275, 34500 * time.Millisecond: 171} {
		if x := b.at(at); x.Asked == nil || *x.Asked < want-.01 || *x.Asked > want+.01 || *x.Answered != 0 {
			t.Errorf("at %v: %s, want %g asked, and none answered", at, x.rates(), want)
		}
	}
	if x := b.at(500 * time.Millisecond); x.Asked != nil || x.Answered != nil {
		t.Error("a rate before a second was over")
	}
}

// As captured nobody names a rate: what fell due counts. Here those are 30 a second, and 60 from the 20th on.
func TestAskedAsCapturedIsWhatFellDue(t *testing.T) {
	b := newBed(Run{})
	b.Playing(Part{Start: start, Span: time.Minute})
	for i := range 300 {
		b.clock = start.Add(time.Duration(i) * 100 * time.Millisecond)
		b.gauge.due += 3 + 3*int64(i/200)
		b.Results(nil)
	}
	if x := b.at(29900 * time.Millisecond); x.Asked == nil || *x.Asked != 60 {
		t.Errorf("%s, want 60/s asked", x.rates())
	}
}

func TestPlaceWalksTheLegs(t *testing.T) {
	p := PartOf(start, 5*time.Second, stages, 0)
	b := newBed(Run{})
	b.Playing(p)
	for _, c := range []struct {
		at    time.Duration // of the plan
		phase traffic.Phase
		stage int
		rate  float64
	}{{-time.Second, traffic.PhaseWarmup, 0, 100}, {time.Second, traffic.PhaseWarmup, 0, 100}, {2 * time.Second, traffic.PhaseStage, 1, 100}, {22 * time.Second, traffic.PhaseStage, 2, 200}, {time.Hour, traffic.PhaseStage, 2, 300}} {
		got := b.at(5*time.Second + c.at).Place
		if got.Phase != c.phase || got.Stage != c.stage || got.Rate != c.rate || got.Stages != 2 || got.Span != 32*time.Second {
			t.Errorf("at %v: %+v", c.at, got)
		}
	}
	if share, known := b.at(5*time.Second + 16*time.Second).Place.Share(); share != .5 || !known {
		t.Errorf("share %g, %t; want the half", share, known)
	}
	block := Place{Elapsed: time.Second, Span: 2 * time.Second, Block: &Block{Number: 3, Of: 10}}
	if share, _ := block.Share(); share != .25 {
		t.Errorf("in the middle of block 3 of 10: %g", share)
	}
}

// A reading of the counters is held against the requests that were sent before it, not those whose rows had come by then.
func TestMirroredIsOfWhatWasSentBeforeTheReading(t *testing.T) {
	b := newBed(Run{Shares: map[string]uint64{"shop/app/all": 500_000}})
	b.Playing(PartOf(start, 0, stages, 0))
	b.play(0, 5*time.Second)
	late := row(4*time.Second, 1200*time.Millisecond)
	other := row(4*time.Second, time.Millisecond)
	other.Route = "shop/app/writes"
	unsent := row(4*time.Second, time.Millisecond)
	unsent.Sent = traffic.Never
	b.Counted(260)
	b.Results([]traffic.Result{late, other, unsent})
	if x := b.at(5500 * time.Millisecond); x.Mirrored != nil {
		t.Errorf("rows may still come, and it shows %+v", x.Mirrored)
	}
	b.play(5500*time.Millisecond, 6500*time.Millisecond)
	want := &Mirrored{Requests: 501, Mirrored: 260, Configured: .5}
	if d := gocmp.Diff(want, b.at(6500*time.Millisecond).Mirrored); d != "" {
		t.Error(d)
	}
	b.Counted(320)
	b.Playing(Part{Start: start, Begin: 6 * time.Second, Closed: true, Span: time.Second})
	b.Counted(9999)
	want = &Mirrored{Requests: 601, Mirrored: 320, Configured: .5}
	if d := gocmp.Diff(want, b.at(8*time.Second).Mirrored); d != "" {
		t.Error(d)
	}
}

// What comes from outside is inert, and no longer than a line.
func TestTextsFromOutsideAreInert(t *testing.T) {
	hostile := "a\x1b[31mb\u202ec\x00\n\xff" + strings.Repeat("x", 1<<20)
	b := newBed(Run{Title: hostile, Folder: hostile})
	b.Step(hostile)
	b.Results([]traffic.Result{{Outcome: traffic.Error, Error: hostile, Phase: traffic.PhaseStage}})
	x := b.at(0)
	for _, text := range []string{x.Title, x.Folder, x.Step, x.Line(), x.Failures[0].What} {
		if strings.ContainsAny(text, "\x1b\u202e\x00\n") || !utf8.ValidString(text) || len(text) > 2000 || !strings.Contains(text, "a\uFFFD[31mb\uFFFDc\uFFFD\uFFFD\uFFFDxxx") {
			t.Errorf("%.80q, %d bytes", text, len(text))
		}
	}
}

// What a row costs the goroutine that writes rows: 256 at a time, as a loop hands them on, two routes in turn and one in 100 that fails.
func BenchmarkResults(b *testing.B) {
	s := New(Run{Shares: map[string]uint64{"shop/app/all": 100_000}, Gauge: &counts{}})
	s.Playing(PartOf(time.Now(), 0, stages, 0))
	rows := make([]traffic.Result, 256)
	for i := range rows {
		rows[i] = row(time.Duration(i)*10*time.Microsecond, time.Duration(i)*13*time.Microsecond)
		if i%2 == 1 {
			rows[i].Route = "shop/app/writes"
		}
		if i%100 == 99 {
			rows[i].Outcome, rows[i].Error = traffic.Error, "reset"
		}
	}
	s.Results(rows)
	b.ReportAllocs()
	for b.Loop() {
		s.Results(rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/row")
}

func BenchmarkSnapshot(b *testing.B) {
	bed := newBed(Run{})
	bed.Playing(PartOf(start, 0, stages, 0))
	bed.play(0, 10*time.Second)
	for b.Loop() {
		x := bed.Snapshot()
		_ = x.Line()
	}
}
