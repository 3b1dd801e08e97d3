package host

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// calm is a second in which the client kept up: a loop used half a core.
func calm(second int64) Second {
	return Second{Second: second, Rows: 1000, Lag: Lag{40 * time.Microsecond, 150 * time.Microsecond, 900 * time.Microsecond},
		ReadLagMax: 500 * time.Microsecond, Response: ms,
		Usage: Usage{For: time.Second, CPUs: 2, Process: &Process{User: 200 * ms, System: 350 * ms}, Throttled: &Throttling{},
			Loops: []Loop{{7, "umbra-loop/0", 500 * ms, ptr(5 * ms), 1000, 1}}, Machine: &Machine{Total: 2 * time.Second, Busy: 900 * ms}}}
}

// run is n calm seconds, some of them spoilt.
func run(n int, spoil map[int]func(*Second)) []Second {
	out := make([]Second, n)
	for i := range out {
		out[i] = calm(int64(i))
		if f := spoil[i]; f != nil {
			f(&out[i])
		}
	}
	return out
}

// late makes a second late, and then something else of it.
func late(by time.Duration, more func(*Second)) func(*Second) {
	return func(s *Second) {
		s.Lag = Lag{by / 4, by / 2, by}
		if more != nil {
			more(s)
		}
	}
}

func TestDiagnose(t *testing.T) {
	for name, c := range map[string]struct {
		seconds []Second
		spans   []string // "from to cause,cause"
		says    string
	}{
		"calm":       {run(10, nil), nil, ""},
		"no seconds": {nil, nil, ""},
		"throttled": {run(20, map[int]func(*Second){
			12: late(80*ms, func(s *Second) { s.Throttled = &Throttling{8, 600 * ms} }),
			13: late(90*ms, func(s *Second) { s.Throttled = &Throttling{4, 300 * ms}; s.Loops[0].Wait = ptr(300 * ms) })}),
			[]string{"12 14 throttled"}, "from 12 s to 14 s the client sent up to 90ms late: the limit of its cgroup stopped it 12 times, for 900ms"},
		"stolen": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Machine.Steal = 100 * ms; s.Loops[0].Wait = ptr(60 * ms) })}),
			[]string{"3 4 stolen"}, "the hypervisor took 5 % of the machine's CPU time"},
		"another process": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops[0].Wait = ptr(400 * ms); s.Loops[0].Involuntary = 90 })}),
			[]string{"3 4 crowded"}, "another process took its event loop's core (400ms in the run queue, 90 involuntary switches)"},
		"its own threads": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops[0].Wait = ptr(400 * ms); s.Process.User = time.Second })}),
			[]string{"3 4 own threads"}, "its other threads took"},
		"the garbage collector": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.GC = GC{5, 10, 40 * ms, 9 * ms} })}),
			[]string{"3 4 garbage collector"}, "stopped it 10 times, for up to 9ms"},
		"saturated": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops[0].CPU = 970 * ms })}),
			[]string{"3 4 saturated"}, "its event loop had 97 % of a core"},
		"two causes": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops[0].CPU = 970 * ms; s.Throttled = &Throttling{1, 50 * ms} })}),
			[]string{"3 4 throttled,saturated"}, "; its event loop"},
		"unknown": {run(5, map[int]func(*Second){3: late(20*ms, nil)}), []string{"3 4 unknown"}, "nothing that was measured explains it"},
		"no measurements": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Usage = Usage{For: time.Second} })}),
			[]string{"3 4 unknown"}, ""},
		"no loops, saturated": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops = nil; s.Process.User = 1600 * ms })}),
			[]string{"3 4 saturated"}, "it used 1.95 of its 2 CPUs"},
		"no loops, crowded": {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Loops = nil; s.Machine.Busy = 1990 * ms })}),
			[]string{"3 4 crowded"}, "busy for 99.5 %"},
		"ports": {run(5, map[int]func(*Second){3: func(s *Second) { s.Errors = map[string]int64{NoPorts: 12} }}),
			[]string{"3 4 ports"}, "the client sent up to 900µs late: no local port was left for 12 connections"},
		"descriptors, nothing sent": {run(5, map[int]func(*Second){3: func(s *Second) { s.Errors, s.Lag = map[string]int64{NoDescriptors: 1}, Lag{} }}),
			[]string{"3 4 descriptors"}, "the client could not connect"},
		"another's errors": {run(5, map[int]func(*Second){3: func(s *Second) { s.Errors = map[string]int64{"reset": 12} }}), nil, ""},
		"it began seconds before": {run(10, map[int]func(*Second){6: late(2500*ms, nil), 5: func(s *Second) { s.Throttled = &Throttling{3, 900 * ms} }}),
			[]string{"4 7 throttled"}, "from 4 s to 7 s the client sent up to 2.5s late"},
		"spans that overlap are one":   {run(10, map[int]func(*Second){3: late(ms, nil), 6: late(2500*ms, nil)}), []string{"3 7 halted"}, ""},
		"a span over several before":   {run(10, map[int]func(*Second){3: late(ms, nil), 5: late(ms, nil), 8: late(7*time.Second, nil)}), []string{"1 9 halted"}, ""},
		"apart":                        {run(10, map[int]func(*Second){3: late(ms, nil), 6: late(ms, nil)}), []string{"3 4 unknown", "6 7 unknown"}, ""},
		"a tenth of a slow response":   {run(5, map[int]func(*Second){3: late(20*ms, func(s *Second) { s.Response = 200 * ms })}), nil, ""},
		"0.2 ms of a fast one":         {run(5, map[int]func(*Second){3: func(s *Second) { s.Lag.P99 = 200 * time.Microsecond }}), nil, ""},
		"more than 0.2 ms":             {run(5, map[int]func(*Second){3: func(s *Second) { s.Lag.P99 = 201 * time.Microsecond }}), []string{"3 4 unknown"}, ""},
		"it read late":                 {run(5, map[int]func(*Second){3: func(s *Second) { s.ReadLagMax = 300 * ms }}), []string{"3 4 unknown"}, "the client read up to 300ms late"},
		"it read a little late":        {run(5, map[int]func(*Second){3: func(s *Second) { s.ReadLagMax = 2 * ms }}), nil, ""},
		"seconds are missing":          {append(run(3, nil), run(9, map[int]func(*Second){8: late(ms, nil)})[8]), []string{"8 9 unknown"}, ""},
		"late before the first second": {run(2, map[int]func(*Second){0: late(9*time.Second, nil)}), []string{"0 1 halted"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := Diagnose(c.seconds, 0)
			var text string
			for _, span := range d.Spans {
				text += span.Text + "\n"
			}
			if diff := cmp.Diff(c.spans, spelled(d.Spans)); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("%q is not said: %s", c.says, text)
			}
		})
	}
}

// What a quantum makes late is put on nobody else, and what made it later than that is.
func TestQuantum(t *testing.T) {
	// busy is a second with another process on the loop's core.
	busy := func(p99 time.Duration) func(*Second) {
		return late(20*ms, func(s *Second) { s.Lag.P99 = p99; s.Loops[0].Wait = ptr(400 * ms) })
	}
	for name, c := range map[string]struct {
		seconds []Second
		quantum time.Duration
		spans   []string
		says    string
	}{
		"within it":          {run(3, map[int]func(*Second){1: busy(1150 * time.Microsecond)}), ms, []string{"1 2 quantum"}, "the client sent up to 20ms late: what is due within its quantum of 1ms is sent at once"},
		"beyond it":          {run(3, map[int]func(*Second){1: busy(1151 * time.Microsecond)}), ms, []string{"1 2 crowded"}, "another process"},
		"none":               {run(3, map[int]func(*Second){1: busy(ms)}), 0, []string{"1 2 crowded"}, "another process"},
		"in one of two":      {run(4, map[int]func(*Second){1: busy(ms), 2: busy(9 * ms)}), ms, []string{"1 3 crowded,quantum"}, "another process"},
		"it read late":       {run(3, map[int]func(*Second){1: func(s *Second) { s.Lag.P99, s.ReadLagMax = ms, 300*ms }}), ms, []string{"1 2 unknown"}, "read up to 300ms late"},
		"no port too":        {run(3, map[int]func(*Second){1: func(s *Second) { s.Lag.P99, s.Errors = ms, map[string]int64{NoPorts: 1} }}), ms, []string{"1 2 ports"}, "no local port"},
		"too little to tell": {run(3, nil), ms, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := Diagnose(c.seconds, c.quantum)
			if diff := cmp.Diff(c.spans, spelled(d.Spans)); diff != "" {
				t.Error(diff)
			}
			if text := strings.Join(d.Sentences(10), "\n"); !strings.Contains(text, c.says) {
				t.Errorf("%q is not said: %s", c.says, text)
			}
		})
	}
}

// spelled is "from to cause,cause" for each span.
func spelled(spans []Span) (out []string) {
	for _, s := range spans {
		text := fmt.Sprint(s.From, " ", s.To, " ")
		for i, cause := range s.Causes {
			if i > 0 {
				text += ","
			}
			text += string(cause)
		}
		out = append(out, text)
	}
	return out
}

// The totals are sums, and what a second does not know they do not either.
func TestTotals(t *testing.T) {
	seconds := run(3, map[int]func(*Second){1: func(s *Second) { s.ReadLagMax, s.Rows = ms, 500 }})
	d := Diagnose(seconds, 0)
	if d.Seconds != 3 || d.Rows != 2500 || d.Looped != 2500 || d.ReadLag != ms {
		t.Errorf("%+v", d)
	}
	want := Usage{For: 3 * time.Second, CPUs: 2, Process: &Process{User: 600 * ms, System: 1050 * ms}, Throttled: &Throttling{},
		Loops: []Loop{{7, "umbra-loop/0", 1500 * ms, ptr(15 * ms), 3000, 3}}, Machine: &Machine{Total: 6 * time.Second, Busy: 2700 * ms}}
	if diff := cmp.Diff(want, d.Total); diff != "" {
		t.Error(diff)
	}
	seconds[1].Process, seconds[1].Loops[0].Wait, seconds[0].Machine = nil, nil, nil
	d = Diagnose(seconds, 0)
	if d.Total.Process != nil || d.Total.Machine != nil || d.Total.Loops[0].Wait != nil || d.Total.Throttled == nil {
		t.Errorf("%+v", d.Total)
	}
	seconds[2].Loops = nil
	if d := Diagnose(seconds, 0); d.Rows != 2500 || d.Looped != 1500 {
		t.Errorf("of %d rows %d are those of seconds with loops", d.Rows, d.Looped)
	}
	if *seconds[0].Loops[0].Wait != 5*ms || seconds[0].Process.User != 200*ms {
		t.Error("the seconds were changed")
	}
}

// The worst spans are said, in their order, and the others are counted.
func TestSentences(t *testing.T) {
	d := Diagnose(run(20, map[int]func(*Second){3: late(ms, nil), 6: late(30*ms, nil), 9: late(2*ms, nil), 12: late(40*ms, nil)}), 0)
	got := d.Sentences(2)
	if len(got) != 3 || !strings.HasPrefix(got[0], "from 6 s") || !strings.HasPrefix(got[1], "from 12 s") || !strings.Contains(got[2], "2 other intervals") {
		t.Errorf("%q", got)
	}
	if all := d.Sentences(10); len(all) != 4 || d.Spans[0].From != 3 {
		t.Errorf("%q", all)
	}
}

func TestRead(t *testing.T) {
	var file bytes.Buffer
	want := run(3, map[int]func(*Second){1: late(20*ms, func(s *Second) { s.Errors = map[string]int64{NoPorts: 1} })})
	for i := range want {
		if err := Write(&file, &want[i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		text, says string // says is empty where there is no error
		seconds    int
	}{
		"empty":            {"", "", 0},
		"a cut last line":  {"{\"second\":0}\n{\"second\":1", "", 1},
		"no JSON":          {"{\"second\":0}\nx\n{\"second\":1}\n", "line 2: not a second", 1},
		"an unknown key":   {"{\"second\":0,\"colour\":1}\n", "line 1: not a second", 0},
		"a wrong type":     {"{\"second\":\"0\"}\n", "line 1: not a second", 0},
		"two values":       {"{\"second\":0}{\"second\":1}\n", "line 1: more than one", 0},
		"negative":         {"{\"second\":-1}\n", "line 1: a negative figure", 0},
		"twice the same":   {"{\"second\":1}\n{\"second\":1}\n", "line 2: second 1 follows second 1", 1},
		"an endless line":  {"{\"second\":1}\n" + strings.Repeat(" ", longestLine+1), "line 2 has more than", 1},
		"an empty line":    {"\n", "line 1: not a second", 0},
		"seconds left out": {"{\"second\":1}\n{\"second\":9}\n", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			seconds, err := Read(strings.NewReader(c.text))
			if len(seconds) != c.seconds || (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%d seconds, %v", len(seconds), err)
			}
		})
	}
}

func TestRound(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{0: 0, 999: 999, 123456: 123000, 1500 * ms: 1500 * ms, 1234567 * ms: 1230000 * ms} {
		if got := round(in); got != want {
			t.Errorf("%v becomes %v, not %v", in, got, want)
		}
	}
}

// FuzzRead reads any text: what it takes can be written, read again alike, and diagnosed into spans that follow each other.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"second\":0,\"rows\":3,\"lag\":{\"p99_ns\":900000,\"max_ns\":9000000000}}\n{\"second\":7,\"for_ns\":1000000000,\"loops\":[{\"thread\":1,\"cpu_ns\":999999999}]}\n"))
	f.Add([]byte("{\"second\":1,\"errors\":{\"no_ports\":1},\"throttled\":{\"times\":1,\"for_ns\":500000000},\"gc\":{\"longest_pause_ns\":5}}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		seconds, _ := Read(bytes.NewReader(data))
		var file bytes.Buffer
		for i := range seconds {
			if err := Write(&file, &seconds[i]); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Read(&file)
		if err != nil || len(again) != len(seconds) {
			t.Fatalf("%d of %d seconds, %v", len(again), len(seconds), err)
		}
		end := int64(-1)
		for _, s := range Diagnose(seconds, time.Duration(len(data))*100*time.Microsecond).Spans {
			if s.From <= end || s.To <= s.From || len(s.Causes) == 0 || s.Text == "" || slices.Contains(s.Causes, "") {
				t.Errorf("%+v after %d", s, end)
			}
			end = s.To
		}
	})
}
