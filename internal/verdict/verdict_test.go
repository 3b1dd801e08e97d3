package verdict

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"umbra/internal/traffic"
)

func sortDurations(t *times) {
	slices.Sort(t.low)
	t.high = slices.Clone(t.low)
}

func TestExitStatus(t *testing.T) {
	v := func(state State, items ...Item) Verdict { return Verdict{State: state, Items: items} }
	byClient := Item{State: Invalid, ClientSuspect: true}
	for _, c := range []struct {
		name string
		vs   []Verdict
		want int
	}{
		{"nothing", nil, 0},
		{"passed", []Verdict{v(Pass), v(NotTested)}, 0},
		{"inconclusive", []Verdict{v(Pass), v(Inconclusive)}, 4},
		{"invalid", []Verdict{v(Invalid, Item{State: Invalid})}, 4},
		{"the client", []Verdict{v(Invalid, byClient), v(Inconclusive)}, 3},
		{"failed, and the client", []Verdict{v(Invalid, byClient), v(Fail)}, 1},
		{"an invalid item beside a failed one", []Verdict{v(Fail, byClient)}, 1},
		{"a suspect item that holds", []Verdict{v(NotTested, Item{State: NotTested, ClientSuspect: true})}, 0},
	} {
		if got := ExitStatus(c.vs); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWorst(t *testing.T) {
	order := []State{NotTested, Pass, Inconclusive, Invalid, Fail}
	for i, a := range order {
		for j, b := range order {
			if got := worst([]Item{{State: a}, {State: b}}); got != order[max(i, j)] {
				t.Errorf("%s and %s make %s", a, b, got)
			}
		}
	}
}

// Verdicts are data: they survive JSON, without numbers that it cannot hold.
func TestJSON(t *testing.T) {
	for name, spoil := range map[string]func(*bed){
		"flawless":      func(*bed) {},
		"dead":          func(b *bed) { b.kill(v2) },
		"without facts": func(b *bed) { b.facts = Facts{} },
		"without rows":  func(b *bed) { b.results, b.receipts = nil, nil },
		"constant times": func(b *bed) {
			for i := range b.results {
				b.results[i].End = b.results[i].Due
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(setup{n: 4000, seed: 7})
			b.options.Objectives = []Objective{{Quantile: 99, Under: time.Second}, {Errors: 0.1}}
			spoil(b)
			want := b.judge(t)
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]Verdict
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			again, _ := json.Marshal(got)
			if string(again) != string(text) {
				t.Errorf("%s\nbecame\n%s", text, again)
			}
		})
	}
}

// Judging changes nothing, so that it can be done again, and gives the same.
func TestJudgeAgain(t *testing.T) {
	b := newBed(setup{n: 4000, seed: 7})
	r := NewRecon()
	for i := range b.results {
		r.AddResult(&b.results[i])
	}
	for i := range b.receipts {
		r.AddReceipt(&b.receipts[i])
	}
	first, _ := r.Judge(b.facts, b.options)
	second, _ := r.Judge(b.facts, b.options)
	one, _ := json.Marshal(first)
	two, _ := json.Marshal(second)
	if string(one) != string(two) || len(first) != 6 {
		t.Errorf("%s\nthen\n%s", one, two)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(-1234567), "-1,234,567"}, {count(uint64(100000)), "100,000"},
		{number(10), "10"}, {number(0.1 * 100), "10"}, {number(0.5699), "0.5699"}, {number(7.000000000000001), "7"}, {number(math.Pi * 10), "31.42"},
		{ms(1500 * time.Microsecond), "1.50 ms"}, {ms(50 * time.Millisecond), "50.0 ms"}, {ms(2 * time.Second), "2000 ms"},
		{QuantileName(99.9), "p99.9"}, {plural(1, "row", "rows"), "1 row"}, {plural(2, "row", "rows"), "2 rows"},
		{ShortCluster("outbound|80|v2|my-app.shop.svc.cluster.local"), "my-app.shop:80/v2"}, {ShortCluster("outbound|9000||audit.example.com"), "audit.example.com:9000"},
		{ShortCluster("shadow"), "shadow"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// BenchmarkMillion reconciles a million requests of which a tenth is mirrored.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	facts := newBed(setup{}).facts
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		r := reconMillion(n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/row")
		if _, err := r.Judge(facts, Options{Fraction: within(1), Objectives: []Objective{{Quantile: 99, Under: time.Second}}}); err != nil {
			b.Fatal(err)
		}
	}
}

func reconMillion(n int) *Recon {
	r := NewRecon()
	digest := fmt.Sprintf("%064d", 1)
	for i := range n {
		id := fmt.Sprintf("%016x", i)
		due := time.Duration(i) * time.Microsecond
		r.AddResult(&traffic.Result{ID: id, Route: reads, Method: "GET", Phase: traffic.PhaseStage, Due: due, Ready: due, Sent: due, End: due + time.Millisecond, Outcome: traffic.OK, Status: 200})
		receipt := traffic.Receipt{ID: id, Pod: "v1-a", Method: "GET", Authority: "a", Path: "/" + id, HeaderSHA256: digest, BodySHA256: digest, Status: 200}
		r.AddReceipt(&receipt)
		if i%10 == 0 {
			receipt.Pod = "v2-a"
			r.AddReceipt(&receipt)
		}
	}
	return r
}

// FuzzJudge gives any rows to the judge: it must give six verdicts, and never pass what cannot pass.
func FuzzJudge(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Add([]byte{0, 0, 0, 255, 1, 128, 7, 7, 7})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := NewRecon()
		pods := []string{"v1-a", "v1-b", "v2-a", "elsewhere"}
		outcomes := []traffic.Outcome{traffic.OK, traffic.Error, traffic.Timeout, traffic.Inflight, traffic.Unsent}
		for i := 0; i+2 < len(script); i += 3 {
			id := fmt.Sprint(script[i] % 16)
			if script[i+1]%2 == 0 {
				r.AddResult(&traffic.Result{ID: id, Route: []string{reads, writer, ""}[script[i+2]%3], Phase: traffic.PhaseStage,
					Outcome: outcomes[script[i+1]/2%5], Sent: time.Duration(script[i+2]%5) - 1, End: time.Duration(script[i+2]), Status: 200 + int(script[i+1])})
			} else {
				r.AddReceipt(&traffic.Receipt{ID: id, Pod: pods[script[i+1]/2%4], Path: fmt.Sprint(script[i+2] % 2), Status: 200, BodySHA256: "b", HeaderSHA256: "h"})
			}
		}
		b := newBed(setup{})
		b.bump(v2, "upstream_rq_total", uint64(len(script)%7))
		b.facts.Partial = len(script)%2 == 0
		b.facts.Undrained = len(script)%3 == 0
		b.bump(v2, "upstream_rq_pending_active", uint64(len(script)%4))
		if len(script)%5 == 0 {
			b.options.Fraction = nil
		}
		if len(script)%11 == 0 {
			b.facts.Routes[1].Mirrors = []MirrorFact{{v1, 0, 0}}
		}
		vs, err := r.Judge(b.facts, b.options)
		if err != nil || len(vs) != 6 {
			t.Fatalf("%d verdicts, %v", len(vs), err)
		}
		for _, v := range vs {
			if v.State == Pass && (b.facts.Partial || v.Name == Impact) {
				t.Errorf("%s passed", v.Name)
			}
			if v.State == Pass && v.Name == Integrity && b.facts.Undrained && len(script)%4 > 0 {
				t.Error("Integrity passed before the mirrors were idle")
			}
			for _, item := range v.Items {
				if item.State == Pass && item.Delivery != nil && item.Delivery.Pending > 0 {
					t.Errorf("Delivery to %s passed with requests that wait", item.Cluster)
				}
			}
			for _, finding := range v.Findings {
				if v.State != Fail && finding.Severity == Failure {
					t.Errorf("%s is %s with %+v", v.Name, v.State, finding)
				}
			}
		}
		if _, err := json.Marshal(vs); err != nil {
			t.Error(err)
		}
		if v := r.Versions(b.facts); v != nil {
			if _, err := json.Marshal(v); err != nil || len(v.Mirrors) == 0 || len(v.Examples) > maxExamples {
				t.Errorf("%+v, %v", v, err)
			}
		}
	})
}
