package verdict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

// sentInTime gives the rows of an open loop of n requests at 1,000 a second, each sent 50 µs late and answered after 2 ms.
func sentInTime(n int) []traffic.Result {
	rows := make([]traffic.Result, n)
	for i := range rows {
		due := time.Duration(i) * msec
		sent := due + 50*time.Microsecond
		rows[i] = traffic.Result{ID: fmt.Sprint(i), Phase: traffic.PhaseStage, Due: due, Ready: 0, Sent: sent, FirstByte: sent + 2*msec,
			LastByte: sent + 2*msec, End: sent + 2*msec, Outcome: traffic.OK, Status: 200}
	}
	return rows
}

// never makes a row one that was never sent.
func never(r *traffic.Result, outcome traffic.Outcome, class string) {
	r.Outcome, r.Error, r.Ready, r.Sent, r.FirstByte, r.LastByte = outcome, class, traffic.Never, traffic.Never, traffic.Never, traffic.Never
	r.End = r.Due
}

// waits makes a row wait for a connection; late makes the client send it late.
func waits(r *traffic.Result, by time.Duration) {
	r.Ready = r.Due + by
	r.Sent = r.Ready + 50*time.Microsecond
	r.End = r.Sent + 2*msec
}

func late(r *traffic.Result, by time.Duration) {
	r.Sent = r.Due + by
	r.End = r.Sent + 2*msec
}

// staged is the one stage that rows are of, with all that a stop took; none where there are too few rows to tell.
func staged(rows []traffic.Result) []Stage {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r traffic.Result) bool { return r.Phase != traffic.PhaseStage })
	if len(rows) < 2 {
		return nil
	}
	return []Stage{{rows[0].Due, rows[len(rows)-1].Due + msec, len(rows)}}
}

// tallied counts rows, of a plan of these stages where it is known.
func tallied(rows []traffic.Result, stages ...Stage) RateCounts {
	var t RateTally
	t.In(stages)
	for i := range rows {
		t.Add(&rows[i])
	}
	return t.Counts()
}

func TestRate(t *testing.T) {
	each := func(rows []traffic.Result, do func(r *traffic.Result)) {
		for i := range rows {
			do(&rows[i])
		}
	}
	for _, c := range []struct {
		name  string
		n     int
		spoil func([]traffic.Result)
		want  State
		says  string
	}{
		{"kept", 10_000, func([]traffic.Result) {}, Pass, "10,000 requests were asked for at 1000/s, and were sent in time"},
		{"one dropped", 10_000, func(rs []traffic.Result) { never(&rs[5], traffic.Unsent, "dropped") }, Fail, "the system under test did not take the rate: 10,000 requests were asked for at 1000/s; 1 were left out by the overload policy"},
		{"the queue was full", 10_000, func(rs []traffic.Result) {
			each(rs[:50], func(r *traffic.Result) { never(r, traffic.Unsent, "queue_full") })
		}, Fail, "50 × requests that were due while the queue"},
		{"aborted", 10_000, func(rs []traffic.Result) {
			each(rs[5000:], func(r *traffic.Result) { never(r, traffic.Unsent, "aborted"); r.End = 5 * time.Second })
		}, Fail, "5,000 were left out by the overload policy"},
		{"all dropped", 10, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { never(r, traffic.Unsent, "dropped") })
		}, Fail, "10 were left out"},
		{"what a stop took is not asked for", 10_000, func(rs []traffic.Result) {
			each(rs[5000:], func(r *traffic.Result) { never(r, traffic.Unsent, traffic.Stopped); r.End = 5 * time.Second })
		}, Pass, "5,000 requests were asked for at 1000/s, and were sent in time"},
		{"many waited when it was stopped", 10_000, func(rs []traffic.Result) {
			each(rs[9000:], func(r *traffic.Result) { never(r, traffic.Unsent, "stopped_in_queue"); r.End = 10 * time.Second })
		}, Fail, "1,000 got no connection"},
		{"few timed out in the queue", 10_000, func(rs []traffic.Result) {
			each(rs[:10], func(r *traffic.Result) { never(r, traffic.Timeout, "timeout_queue") })
		}, Pass, "were sent in time, but for 10"},
		{"more timed out in the queue", 10_000, func(rs []traffic.Result) {
			each(rs[:11], func(r *traffic.Result) { never(r, traffic.Timeout, "timeout_queue") })
		}, Fail, "11 got no connection"},
		{"refused", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { never(r, traffic.Error, "connect_refused") })
		}, Fail, "10,000 got no connection"},
		{"frozen in the middle, and caught up", 10_000, func(rs []traffic.Result) {
			each(rs[2000:7000], func(r *traffic.Result) { waits(r, 7*time.Second-r.Due) })
		}, Pass, "sent in time"},
		{"frozen at the end", 10_000, func(rs []traffic.Result) {
			each(rs[8000:], func(r *traffic.Result) { waits(r, 13*time.Second-r.Due) })
		}, Fail, "2,000 waited for a connection until after the plan's end (by up to 3000 ms)"},
		{"a little too slow", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { waits(r, r.Due/100) })
		}, Fail, "99 waited for a connection until after the plan's end"},
		{"slower by a two-thousandth", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { waits(r, r.Due/2000) })
		}, Pass, "sent in time"},
		{"one that waited long", 10_000, func(rs []traffic.Result) { waits(&rs[9999], 5*time.Second) }, Pass, "but for 1"},
		{"the last waited as others do", 1000, func(rs []traffic.Result) {
			each(rs[990:], func(r *traffic.Result) { waits(r, 9*msec) })
		}, Pass, "the last one 8.05 ms after the plan's end"},
		{"a client that stood still at the end", 10_000, func(rs []traffic.Result) {
			each(rs[8000:], func(r *traffic.Result) { late(r, 13*time.Second-r.Due) })
		}, Invalid, "the client did not keep the rate: 10,000 requests were asked for at 1000/s; 2,000 were sent after the plan's end, though a connection was free (by up to 3000 ms)"},
		{"a client that stood still for seconds", 10_000, func(rs []traffic.Result) {
			each(rs[2000:5000], func(r *traffic.Result) { late(r, 5*time.Second-r.Due) })
		}, Invalid, "were sent more than a second late, though a connection was free"},
		{"a client that stood still for less", 10_000, func(rs []traffic.Result) {
			each(rs[2000:2900], func(r *traffic.Result) { late(r, 2900*msec-r.Due) })
		}, Pass, "sent in time"},
		{"no ports", 10_000, func(rs []traffic.Result) {
			each(rs[:50], func(r *traffic.Result) { never(r, traffic.Error, "no_ports") })
		}, Invalid, "50 were never sent, for want of nothing but the client"},
		{"time-outs with a free connection", 10_000, func(rs []traffic.Result) {
			each(rs[:50], func(r *traffic.Result) { never(r, traffic.Timeout, "timeout_send"); r.Ready = r.Due })
		}, Invalid, "50 were never sent"},
		{"a server that died, and a client that reads late", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { r.ReadLag = 1500 * time.Microsecond })
			each(rs[9000:], func(r *traffic.Result) { never(r, traffic.Error, "connect_refused") })
		}, Fail, "1,000 got no connection"},
		{"few refused, and a client that reads late", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { r.ReadLag = 1500 * time.Microsecond })
			each(rs[9000:9010], func(r *traffic.Result) { never(r, traffic.Error, "connect_timeout") })
			each(rs[9100:], func(r *traffic.Result) { never(r, traffic.Timeout, "timeout_queue") })
		}, Invalid, "which may be why"},
		{"a client that looked late by its hiccup, and then dropped", 10_000, func(rs []traffic.Result) {
			each(rs[2000:2020], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped"); r.End = r.Due + 201*time.Microsecond })
		}, Invalid, "20 were never sent, for want of nothing but the client"},
		{"a client that looked late, and then dropped", 10_000, func(rs []traffic.Result) {
			each(rs[2000:5000], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped"); r.End = 5*time.Second + 11*msec })
		}, Invalid, "3,000 were never sent"},
		{"dropped as late as a quantum allows", 10_000, func(rs []traffic.Result) {
			each(rs[2000:5000], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped"); r.End = r.Due + 200*time.Microsecond })
		}, Fail, "3,000 were left out"},
		{"both, the system's part enough", 10_000, func(rs []traffic.Result) {
			each(rs[:50], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped") })
			each(rs[50:90], func(r *traffic.Result) { never(r, traffic.Error, "no_ports") })
		}, Fail, "50 were left out by the overload policy, 40 were never sent"},
		{"both, the client's part deciding", 10_000, func(rs []traffic.Result) {
			each(rs[:6], func(r *traffic.Result) { never(r, traffic.Timeout, "timeout_queue") })
			each(rs[50:56], func(r *traffic.Result) { never(r, traffic.Error, "no_ports") })
		}, Invalid, "6 got no connection, 6 were never sent"},
		{"a client that reads late makes the server busy", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { waits(r, r.Due/10); r.ReadLag = 1500 * time.Microsecond })
		}, Invalid, "the client took 75.61 % of its connections' time itself"},
		{"a client that reads late drops", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { r.ReadLag = 1500 * time.Microsecond })
			each(rs[:5000], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped") })
		}, Invalid, "which may be why"},
		{"a client that reads late, too little for what was missed", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { r.ReadLag = 700 * time.Microsecond })
			each(rs[:5000], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped") })
		}, Fail, "5,000 were left out"},
		{"a client that reads a little late", 10_000, func(rs []traffic.Result) {
			each(rs, func(r *traffic.Result) { r.ReadLag = 100 * time.Microsecond })
			never(&rs[0], traffic.Unsent, "dropped")
		}, Fail, "1 were left out"},
		{"in flight at the end is sent", 10_000, func(rs []traffic.Result) {
			each(rs[9000:], func(r *traffic.Result) { r.Outcome = traffic.Inflight })
		}, Pass, "sent in time"},
		{"the warm-up and the cool-down do not count", 10_000, func(rs []traffic.Result) {
			each(rs[:2000], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped"); r.Phase = traffic.PhaseWarmup })
			each(rs[8000:], func(r *traffic.Result) { never(r, traffic.Unsent, "dropped"); r.Phase = traffic.PhaseCooldown })
		}, Pass, "6,000 requests were asked for at 1000/s"},
		{"late into the cool-down", 10_000, func(rs []traffic.Result) {
			each(rs[8000:], func(r *traffic.Result) { r.Phase = traffic.PhaseCooldown })
			each(rs[7000:8000], func(r *traffic.Result) { waits(r, 9*time.Second-r.Due) })
		}, Fail, "1,000 waited"},
		{"nothing", 0, func([]traffic.Result) {}, NotTested, "no request of the stages was due"},
		{"one request", 1, func([]traffic.Result) {}, NotTested, "1 request at one instant ask for no rate"},
		{"one request, dropped", 1, func(rs []traffic.Result) { never(&rs[0], traffic.Unsent, "dropped") }, Fail, "1 request was asked for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := sentInTime(c.n)
			c.spoil(rows)
			v := JudgeRate(tallied(rows, staged(rows)...), Facts{})
			if v.State != c.want {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
			text := v.Summary
			for _, f := range v.Findings {
				text += fmt.Sprintf("\n%d × %s", f.Count, f.Text)
				if (f.Severity == Failure) != (v.State == Fail) {
					t.Errorf("%s with %+v", v.State, f)
				}
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("it does not say %q: %s", c.says, text)
			}
			if want := map[State]int{Fail: ExitFailed, Invalid: ExitClient, Inconclusive: ExitInconclusive}[c.want]; ExitStatus([]Verdict{v}) != want {
				t.Errorf("exit status %d, want %d", ExitStatus([]Verdict{v}), want)
			}
		})
	}
}

// Each stage is held to its own end: what one stage missed is not made up for in the time of another.
func TestRateByStages(t *testing.T) {
	// at gives the rows of stages that follow each other, served by a server of so many a second, from warm-up on.
	served := func(capacity int, stages ...Stage) (rows []traffic.Result) {
		free := time.Duration(0)
		for _, s := range stages {
			for i := range s.Asked {
				due := s.Begin + (s.End-s.Begin)*time.Duration(i)/time.Duration(s.Asked)
				sent := max(due, free)
				free = sent + time.Second/time.Duration(capacity)
				rows = append(rows, traffic.Result{ID: fmt.Sprint(len(rows)), Phase: traffic.PhaseStage, Due: due, Ready: sent, Sent: sent,
					LastByte: free, End: free, Outcome: traffic.OK})
			}
		}
		return rows
	}
	fast, slow := Stage{0, 4 * time.Second, 4000}, Stage{4 * time.Second, 14 * time.Second, 100}
	early, late := Stage{0, time.Second, 10_000}, Stage{time.Second, 60 * time.Second, 1}
	for name, c := range map[string]struct {
		rows   []traffic.Result
		stages []Stage
		want   State
		says   string
	}{
		"missed, and then caught up": {served(600, fast, slow), []Stage{fast, slow}, Fail,
			"stage 1 of 2, 1000/s: the system under test did not take the rate: 4,000 requests were asked for at 1000/s; 1,599 waited for a connection until after the stage's end"},
		"missed, the stages not known":      {served(600, fast, slow), nil, Fail, "waited more than a second for a connection"},
		"a burst, the stages not known":     {served(600, early, late), nil, Fail, "9,3"},
		"kept":                              {served(2000, fast, slow), []Stage{fast, slow}, Pass, "4,100 requests were asked for in 2 stages, and were sent in time"},
		"kept, the stages not known":        {served(2000, fast, slow), nil, Pass, "4,100 requests were asked for at 29"},
		"stages that do not follow":         {served(600, fast, slow), []Stage{slow, fast}, Fail, "waited more than a second for a connection"},
		"a stage that nothing was due in":   {served(2000, fast), []Stage{fast, slow}, Pass, "4,000 requests were asked for in 2 stages"},
		"the second missed":                 {served(5, slow), []Stage{{0, 4 * time.Second, 0}, slow}, Fail, "stage 2 of 2, 10/s"},
		"one request in a stage, in time":   {served(600, late), []Stage{late}, Pass, "1 request was asked for"},
		"a little over a thousandth behind": {served(998, fast, slow), []Stage{fast, slow}, Pass, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			v := JudgeRate(tallied(c.rows, c.stages...), Facts{})
			if v.State != c.want || !strings.Contains(v.Summary, c.says) {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
		})
	}
}

// A freeze that is caught up within its stage is the stage's own; the worst stage decides, and the client's is not the
// system's.
func TestRateByStagesWorst(t *testing.T) {
	stages := []Stage{{0, 5 * time.Second, 5000}, {5 * time.Second, 10 * time.Second, 5000}}
	rows := sentInTime(10_000)
	for i := 1000; i < 3500; i++ {
		waits(&rows[i], 3500*msec-rows[i].Due)
	}
	if v := JudgeRate(tallied(rows, stages...), Facts{}); v.State != Pass {
		t.Errorf("a freeze within its stage: %+v", v)
	}
	for i := 9000; i < 9020; i++ {
		never(&rows[i], traffic.Error, "no_ports")
	}
	v := JudgeRate(tallied(rows, stages...), Facts{})
	if v.State != Invalid || !v.Items[0].ClientSuspect || !strings.HasPrefix(v.Summary, "stage 2 of 2, 1000/s: the client did not keep the rate") {
		t.Errorf("a client that failed: %+v", v)
	}
	never(&rows[0], traffic.Unsent, "dropped")
	if v := JudgeRate(tallied(rows, stages...), Facts{}); v.State != Fail || !strings.HasPrefix(v.Summary, "stage 1 of 2") {
		t.Errorf("a system that failed: %+v", v)
	}
}

// The rows may come in any order: the counts are the same, but for which ids are named.
func TestRateInAnyOrder(t *testing.T) {
	for name, stages := range map[string][]Stage{"not known": nil, "one": {{0, 5 * time.Second, 5000}}, "three": {{0, time.Second, 1000}, {time.Second, 3 * time.Second, 2000}, {3 * time.Second, 5 * time.Second, 2000}}} {
		t.Run(name, func(t *testing.T) { inAnyOrder(t, stages) })
	}
}

func inAnyOrder(t *testing.T, stages []Stage) {
	rows := sentInTime(5000)
	for i := 3000; i < 5000; i++ {
		waits(&rows[i], 6*time.Second-rows[i].Due)
	}
	for i := 0; i < 5000; i += 50 {
		late(&rows[i], 5500*msec-rows[i].Due)
	}
	for i := 1; i < 5000; i += 100 {
		never(&rows[i], traffic.Unsent, []string{"dropped", traffic.Stopped}[i/100%2])
	}
	want := tallied(rows, stages...)
	if want.Waited == 0 || want.Lagged == 0 || want.Unsent == 0 || want.Stopped == 0 || want.Displaced == 0 {
		t.Fatalf("a poor example: %+v", want)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		got := tallied(rows, stages...)
		for i := range got.Classes {
			got.Classes[i].Examples = want.Classes[i].Examples
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

// The tally keeps as many rows as are under way, not as many as there are, also behind a server that is far too slow.
func TestRateTallyIsFlat(t *testing.T) {
	for name, wait := range map[string]func(due time.Duration) time.Duration{
		"in time":    func(time.Duration) time.Duration { return 0 },
		"overloaded": func(due time.Duration) time.Duration { return min(due, 200*msec) },
	} {
		var tally RateTally
		most := 0
		rows := sentInTime(200_000)
		for i := range rows {
			waits(&rows[i], wait(rows[i].Due))
			tally.Add(&rows[i])
			most = max(most, cap(tally.stages[0].behind))
		}
		if most > 1024 {
			t.Errorf("%s: memory for %d rows", name, most)
		}
	}
}

func TestRateOfAClosedLoop(t *testing.T) {
	c := tallied(sentInTime(100))
	c.Closed = true
	if v := JudgeRate(c, Facts{}); v.State != NotTested || v.Summary != "a closed loop asks for no rate" {
		t.Errorf("%+v", v)
	}
}

// A run that was cut short passes nothing, and a rate that it missed is missed.
func TestRateCutShort(t *testing.T) {
	rows := sentInTime(10_000)
	for name, f := range map[string]Facts{"partial": {Partial: true}, "incomplete": {Incomplete: true}} {
		v := JudgeRate(tallied(rows), f)
		if v.State != Inconclusive || v.Items[0].State != Inconclusive {
			t.Errorf("%s: %+v", name, v)
		}
	}
	never(&rows[3], traffic.Unsent, "dropped")
	if v := JudgeRate(tallied(rows), Facts{Partial: true}); v.State != Fail {
		t.Errorf("%+v", v)
	}
}

// What is not to be trusted because of the client says when and why the client was late, and nothing else does.
func TestClientIsBlamed(t *testing.T) {
	b := newBed(setup{n: 20_000, seed: 7})
	b.options.Objectives = []Objective{{Quantile: 50, Under: time.Second}, {Errors: 1}}
	b.lag(50 * msec)
	b.facts.Client = []string{"from 1 s to 2 s …", "from 4 s to 5 s …", "from 7 s to 9 s …", "from 11 s to 12 s …", "from 15 s to 16 s …"}
	for name, v := range b.judge(t) {
		blamed := slices.ContainsFunc(v.Warnings, func(w string) bool { return strings.HasPrefix(w, "the client's part: from 1 s") })
		if blamed != (v.State == Invalid) {
			t.Errorf("%s is %s: %q", name, v.State, v.Warnings)
		}
		if blamed {
			says(t, v, "from 7 s to 9 s", "2 intervals more")
			if strings.Contains(strings.Join(v.Warnings, " "), "from 11 s") {
				t.Errorf("%q", v.Warnings)
			}
		}
	}
	vs := newBed(setup{n: 100, seed: 7}).judge(t)
	if len(vs[Rate].Warnings) != 0 {
		t.Errorf("%q", vs[Rate].Warnings)
	}
}

// The rows of the cool-down are judged as those of the warm-up are: by integrity, and by nothing else.
func TestCooldown(t *testing.T) {
	for _, phase := range []traffic.Phase{traffic.PhaseWarmup, traffic.PhaseCooldown} {
		b := newBed(setup{n: 20_000, seed: 7})
		b.options.Objectives = []Objective{{Errors: 1}}
		for i := range b.results[15_000:] {
			r := &b.results[15_000+i]
			r.Phase, r.Status = phase, 500
			r.End += time.Second
		}
		vs := b.judge(t)
		expect(t, vs, map[string]State{Objectives: Pass})
		if s := vs[Sampling].Items[0].Sampling; s.Eligible != 11_250 {
			t.Errorf("%s: sampling on %d", phase, s.Eligible)
		}
		if g := vs[Integrity].Items[0].Integrity; g.Requests != 15_000 {
			t.Errorf("%s: integrity on %d", phase, g.Requests)
		}
		if o := vs[Objectives].Items[0].Objective; o.Requests != 15_000 || vs[Rate].Items[0].Rate.Planned != 15_000 {
			t.Errorf("%s: %+v, %+v", phase, o, vs[Rate].Items[0].Rate)
		}
		last := b.results[19_999].ID
		for _, r := range b.receipts {
			if r.ID == last {
				b.receipts = append(b.receipts, r, r, r)
				break
			}
		}
		if v := b.judge(t)[Integrity]; v.State != Fail {
			t.Errorf("%s: a duplicate in it is %s", phase, v.State)
		}
	}
}

// BenchmarkRateTally is what counting a row costs.
func BenchmarkRateTally(b *testing.B) {
	rows := sentInTime(1 << 16)
	var t RateTally
	i := 0
	for b.Loop() {
		t.Add(&rows[i&(1<<16-1)])
		i++
	}
}

// FuzzRate gives any rows to the tally: the counts add up, nothing is negative, and no rate passes that missed more than it
// may.
func FuzzRate(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{0, 1, 0, 0, 9, 9, 1, 200, 3, 255, 0, 4, 8, 8, 5})
	f.Fuzz(func(t *testing.T, script []byte) {
		outcomes := []traffic.Outcome{traffic.OK, traffic.Error, traffic.Timeout, traffic.Inflight, traffic.Unsent}
		classes := []string{"", "dropped", traffic.Stopped, "timeout_queue", "no_ports", "stopped_in_queue", "connect_refused"}
		var tally RateTally
		if len(script)%2 == 0 {
			tally.In([]Stage{{0, time.Second, 100}, {time.Second, 2 * time.Second, 100}})
		}
		rows, left := 0, 0
		for ; len(script) >= 4; script = script[4:] {
			due := time.Duration(script[0]) * 10 * msec
			r := traffic.Result{Phase: traffic.PhaseStage, Due: due, Ready: time.Duration(script[1])*20*msec - 1, Outcome: outcomes[script[3]%5], Error: classes[script[3]/5%7]}
			r.Sent = max(due, r.Ready) + time.Duration(script[2])*msec
			if script[3] > 200 || r.Outcome == traffic.Unsent {
				r.Sent = traffic.Never
			}
			r.End = max(r.Sent, due) + time.Duration(script[3])
			tally.Add(&r)
			rows++
			if r.Outcome == traffic.Unsent && r.Error != traffic.Stopped && r.Error != "no_ports" && r.Error != "stopped_in_queue" && r.End-r.Due <= lagLimit(0) {
				left++
			}
		}
		c := tally.Counts()
		if c.Planned+c.Stopped != rows || c.Sent+c.Unsent+c.NoConnection+c.Held != c.Planned || c.Waited+c.Lagged > c.Sent || c.Unsent != left || c.Refused > c.NoConnection || c.Postponed > c.Waited || c.Own > c.Busy || c.Overrun < 0 {
			t.Errorf("%d rows: %+v", rows, c)
		}
		v := JudgeRate(c, Facts{})
		for _, c := range append(c.Stages, c) {
			late := c.Overrun > max(grace, c.Span/1000) && c.missedBy(c.Waited+c.Lagged)
			if v.State == Pass && (c.Unsent > 0 || c.missedBy(c.NoConnection+c.Held) || c.missedBy(c.Postponed) || late) {
				t.Errorf("PASS with %+v", c)
			}
		}
	})
}
