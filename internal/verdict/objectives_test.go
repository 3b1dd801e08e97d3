package verdict

import (
	"math/rand/v2"
	"testing"
	"time"

	"umbra/internal/traffic"
)

const msec = time.Millisecond

// client gives the rows of a run in which request i took the time that took gives.
func client(n int, took func(i int) time.Duration) []traffic.Result {
	rs := make([]traffic.Result, n)
	for i := range rs {
		d := took(i)
		rs[i] = traffic.Result{ID: string(rune('a'+i%26)) + time.Duration(i).String(), Phase: traffic.PhaseStage, Outcome: traffic.OK, Status: 200, Sent: 0, FirstByte: d, LastByte: d, End: d}
	}
	return rs
}

func TestObjectives(t *testing.T) {
	ramp := func(i int) time.Duration { return time.Duration(i+1) * 10 * time.Microsecond } // 10 µs to 10 ms of 1,000
	p99 := func(under time.Duration) Objective { return Objective{Quantile: 99, Under: under} }
	errors := func(percent float64) Objective { return Objective{Errors: percent} }
	failed := func(n int, outcome traffic.Outcome, status int) func([]traffic.Result) {
		return func(rs []traffic.Result) {
			for i := range rs[:n] {
				rs[i].Outcome, rs[i].Status = outcome, status
			}
		}
	}
	lagging := func(by time.Duration) func([]traffic.Result) {
		return func(rs []traffic.Result) {
			for i := range rs {
				rs[i].Sent += by
				rs[i].End += by
			}
		}
	}
	reading := func(by time.Duration) func([]traffic.Result) {
		return func(rs []traffic.Result) {
			for i := range rs {
				rs[i].ReadLag = by
				rs[i].End += by
			}
		}
	}
	for _, c := range []struct {
		name    string
		n       int
		spoil   func([]traffic.Result)
		asked   Objective
		want    State
		suspect bool
		says    string
	}{
		{"p99 inside", 1000, nil, p99(10 * msec), Pass, false, "p99 9.90 ms"},
		{"p99 outside", 1000, nil, p99(9 * msec), Fail, false, "p99 9.90 ms"},
		{"p99 at the limit", 1000, nil, p99(9905 * time.Microsecond), Inconclusive, false, "too near to the limit"},
		{"the bound is the limit", 1000, nil, p99(9960 * time.Microsecond), Inconclusive, false, "would decide"},
		{"too few for p99", 298, nil, p99(time.Second), Inconclusive, false, "about 299 requests would decide"},
		{"just enough for p99", 299, nil, p99(time.Second), Pass, false, "to be under 1000 ms"},
		{"time-outs are infinite", 1000, failed(20, traffic.Timeout, 0), p99(10 * msec), Inconclusive, false, "20 requests have no known response time"},
		{"time-outs at their lower bound", 1000, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].End = traffic.Timeout, 2*time.Second
			}
		}, p99(20 * msec), Fail, false, "to be under 20.0 ms"},
		{"few time-outs", 1000, failed(2, traffic.Timeout, 0), p99(20 * msec), Pass, false, "to be under 20.0 ms"},
		{"nothing", 0, nil, p99(msec), Inconclusive, false, "no request"},
		{"the warm-up does not count", 1000, func(rs []traffic.Result) {
			for i := range rs {
				rs[i].Phase = traffic.PhaseWarmup
			}
		}, p99(time.Second), Inconclusive, false, "no request"},
		{"fails by lag alone", 1000, lagging(5 * msec), p99(12 * msec), Invalid, true, "without the client's own lag (5.00 ms) it would be PASS"},
		{"fails, lag or not, but lag is large", 1000, lagging(5 * msec), p99(8 * msec), Invalid, true, "the client lagged 5.00 ms at this quantile (limit 1.49 ms)"},
		{"passes with large lag", 1000, lagging(5 * msec), p99(time.Second), Invalid, true, "the client lagged"},
		{"passes with small lag", 1000, lagging(900 * time.Microsecond), p99(time.Second), Pass, false, ""},
		{"fails by what it read late", 1000, reading(5 * msec), p99(12 * msec), Invalid, true, "without the client's own lag (5.00 ms) it would be PASS"},
		{"passes with large read lag", 1000, reading(5 * msec), p99(time.Second), Invalid, true, "the client lagged 5.00 ms"},
		{"fails by both kinds of lag", 1000, func(rs []traffic.Result) { lagging(msec)(rs); reading(msec)(rs) }, p99(11 * msec), Invalid, true, "the client's own lag (2.00 ms)"},
		{"too few, and late", 100, lagging(5 * msec), p99(time.Second), Invalid, true, "the client lagged"},
		{"the cool-down does not count", 1000, func(rs []traffic.Result) {
			for i := range rs {
				rs[i].Phase = traffic.PhaseCooldown
			}
		}, p99(time.Second), Inconclusive, false, "no request"},
		{"what was aborted has no known time", 1000, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].Due, rs[i].End = traffic.Unsent, "aborted", traffic.Never, time.Hour, time.Second
			}
		}, p99(time.Second), Inconclusive, false, "30 requests have no known response time"},
		{"errors: what was aborted", 3000, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent = traffic.Unsent, "aborted", traffic.Never
			}
		}, errors(0.1), Fail, false, "30 of 3,000"},
		{"a lag of 0.2 ms is no matter", 1000, lagging(200 * time.Microsecond), Objective{Quantile: 5, Under: msec}, Pass, false, ""},
		{"errors: none", 3000, nil, errors(0.1), Pass, false, "0 of 3,000"},
		{"errors: none of few", 100, nil, errors(0.1), Inconclusive, false, "about 2,995 requests would decide"},
		{"errors: 5xx", 3000, failed(30, traffic.OK, 503), errors(0.1), Fail, false, "30 of 3,000"},
		{"errors: 4xx is an answer", 3000, failed(30, traffic.OK, 404), errors(0.1), Pass, false, "0 of 3,000"},
		{"errors: time-outs", 3000, failed(30, traffic.Timeout, 0), errors(0.1), Fail, false, ""},
		{"errors: in flight", 3000, failed(30, traffic.Inflight, 0), errors(0.1), Fail, false, ""},
		{"errors: unsent", 3000, failed(30, traffic.Unsent, 0), errors(0.1), Fail, false, ""},
		{"errors: what a stop took out of the plan", 6000, func(rs []traffic.Result) {
			for i := range rs[:3000] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent = traffic.Unsent, traffic.Stopped, traffic.Never
			}
		}, errors(0.1), Pass, false, "0 of 3,000"},
		{"errors: time-outs of a late client", 3100, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].End = traffic.Timeout, "timeout_headers", 1900*msec, 2000*msec
			}
		}, errors(0.1), Invalid, true, "without 30 errors by the client's own doing it would be PASS"},
		{"errors: never sent, though a connection was free", 3100, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].End = traffic.Timeout, "timeout_queue", traffic.Never, 2000*msec
			}
		}, errors(0.1), Invalid, true, "it would be PASS"},
		{"errors: no ports", 3100, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].Ready = traffic.Error, "no_ports", traffic.Never, traffic.Never
			}
		}, errors(0.1), Invalid, true, "it would be PASS"},
		{"errors: the server's are enough", 3000, func(rs []traffic.Result) {
			failed(30, traffic.OK, 503)(rs)
			rs[40].Outcome, rs[40].Error, rs[40].Ready = traffic.Error, "no_ports", traffic.Never
		}, errors(0.1), Fail, false, "31 of 3,000"},
		{"errors: the client's alone, none other", 30, func(rs []traffic.Result) {
			for i := range rs {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].Ready = traffic.Error, "no_ports", traffic.Never, traffic.Never
			}
		}, errors(1), Invalid, true, "it would be INCONCLUSIVE"},
		{"p99 of requests that were never sent, though a connection was free", 1000, func(rs []traffic.Result) {
			for i := range rs[:30] {
				rs[i].Outcome, rs[i].Error, rs[i].Sent, rs[i].End = traffic.Timeout, "timeout_queue", traffic.Never, 2000*msec
			}
		}, p99(20 * msec), Invalid, true, "without the client's own lag"},
		{"errors: at the limit", 10_000, failed(10, traffic.OK, 500), errors(0.1), Inconclusive, false, "too near"},
		{"errors: none tolerated", 10, nil, errors(0), Pass, false, "none is tolerated"},
		{"errors: none tolerated, one seen", 10_000, failed(1, traffic.OK, 500), errors(0), Fail, false, "1 of 10,000"},
		{"errors: nothing", 0, nil, errors(1), Inconclusive, false, "no request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rs := client(c.n, ramp)
			if c.spoil != nil {
				c.spoil(rs)
			}
			r := NewRecon()
			for i := range rs {
				r.AddResult(&rs[i])
			}
			vs, err := r.Judge(Facts{}, Options{Objectives: []Objective{c.asked}})
			if err != nil {
				t.Fatal(err)
			}
			v := vs[4]
			if v.State != c.want || v.Items[0].ClientSuspect != c.suspect {
				t.Errorf("%s, want %s; suspect %v: %s", v.State, c.want, v.Items[0].ClientSuspect, v.Summary)
			}
			says(t, v, c.says)
		})
	}
}

// Lag never touches what is not a figure of time.
func TestLagChangesTimesAlone(t *testing.T) {
	b := newBed(setup{n: 20_000, seed: 7})
	b.options.Objectives = []Objective{{Quantile: 50, Under: time.Second}, {Errors: 1}}
	for i := range b.results {
		b.results[i].Sent += 50 * msec
		b.results[i].End += 50 * msec
	}
	vs := b.judge(t)
	expect(t, vs, map[string]State{Objectives: Invalid, Rate: Invalid})
	if vs[Objectives].Items[1].State != Pass {
		t.Error("errors are no figure of time")
	}
	if got := ExitStatus(values(vs)); got != ExitClient {
		t.Errorf("exit status %d", got)
	}
}

// The bounds of a quantile miss it in at most 5 % of runs on each side: 4,000 runs with a fixed seed.
func TestQuantileCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	high, low := 0, 0
	for range 4000 {
		ts := newTimes(nil, false)
		for range 500 {
			ts.low = append(ts.low, time.Duration(random.Int64N(1_000_000)))
		}
		sortDurations(ts)
		switch l, h := ts.bounds(0.9); {
		case *h < 900_000:
			high++
		case *l > 900_000:
			low++
		}
	}
	if high > 245 || low > 245 {
		t.Errorf("missed above in %d and below in %d of 4,000", high, low)
	}
}
