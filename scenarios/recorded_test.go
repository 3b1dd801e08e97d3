package scenarios

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/evidence"
	"umbra/internal/traffic"
	"umbra/replay"
)

// untouched sends requests as they are.
func untouched(*traffic.Request) {}

// of makes a captured request of a session.
func of(session string, at time.Duration, method, path string) traffic.Request {
	r := captured(at, path)
	r.Session, r.Method = session, method
	return r
}

// paths are those of the items, in their order.
func paths(items []replay.Item) string {
	var all []string
	for _, item := range items {
		all = append(all, item.Request.Path)
	}
	return strings.Join(all, " ")
}

// asCaptured gives the plan of what is recorded at its own speed.
func asCaptured(t *testing.T, r *Recorded) []replay.Item {
	t.Helper()
	return items(t, replay.PlanAsCaptured(1, 1, r.Requests(false)))
}

// How much of a file is kept changes nothing in what is replayed: 1<<20 keeps these, 1 none of them.
var keeps = map[string]int{"kept": 1 << 20, "read again": 1}

func TestSelection(t *testing.T) {
	file := captureFile(t, of("a", 0, "GET", "/0"), of("b", 1e9, "POST", "/1"), of("a", 2e9, "HEAD", "/2"), of("", 3e9, "DELETE", "/3"), of("b", 4e9, "POST", "/4"),
		of("c", 5e9, "GET", "/5"))
	for name, c := range map[string]struct {
		selection Selection
		paths     string
		want      evidence.Capture
	}{
		"all":            {Selection{}, "/0 /1 /2 /3 /4 /5", evidence.Capture{Replayed: 6}},
		"from":           {Selection{From: 2e9}, "/2 /3 /4 /5", evidence.Capture{Replayed: 4, Outside: 2}},
		"to":             {Selection{To: 2e9}, "/0 /1", evidence.Capture{Replayed: 2, Outside: 4}},
		"both":           {Selection{From: 1, To: 2e9 + 1}, "/1 /2", evidence.Capture{Replayed: 2, Outside: 4}},
		"first":          {Selection{From: 1e9, First: 3}, "/1 /2 /3", evidence.Capture{Replayed: 3, Outside: 3}},
		"safe":           {Selection{Methods: SafeMethods}, "/0 /2 /5", evidence.Capture{Replayed: 3, Unsafe: 3, Methods: []evidence.MethodLeft{{Method: "POST", Count: 2}, {Method: "DELETE", Count: 1}}}},
		"a list":         {Selection{Methods: []string{"POST"}}, "/1 /4", evidence.Capture{Replayed: 2, Unasked: 4, Methods: []evidence.MethodLeft{{Method: "GET", Count: 2}, {Method: "DELETE", Count: 1}, {Method: "HEAD", Count: 1}}}},
		"first and safe": {Selection{First: 2, Methods: SafeMethods}, "/0", evidence.Capture{Replayed: 1, Outside: 4, Unsafe: 1, Methods: []evidence.MethodLeft{{Method: "POST", Count: 1}}}},
	} {
		for kept, keep := range keeps {
			t.Run(name+", "+kept, func(t *testing.T) {
				r, err := readTraffic(file, c.selection, untouched, keep)
				if err != nil {
					t.Fatal(err)
				}
				c.want.File, c.want.Source, c.want.Captured, c.want.Rounds, c.want.Loss = file, "test", 6, 1, evidence.Loss{Whole: 100}
				if d := cmp.Diff(c.want, r.Replay); d != "" {
					t.Error(d)
				}
				if (r.kept != nil) != (keep > 1) || r.Count != c.want.Replayed {
					t.Errorf("%d kept of %d", len(r.kept), r.Count)
				}
				plan := asCaptured(t, r)
				if got := paths(plan); got != c.paths || plan[0].Due != 0 {
					t.Errorf("replayed %s, want %s; the first is due at %v", got, c.paths, plan[0].Due)
				}
			})
		}
	}
}

func TestNothingLeftToReplay(t *testing.T) {
	file := captureFile(t, of("a", 0, "POST", "/"), of("a", 0, "POST", "/"))
	for name, c := range map[string]struct {
		selection Selection
		want      string
	}{
		"by the method":  {Selection{Methods: SafeMethods}, "of its 2 requests none is left to replay: 0 lie outside of the cuts, 2 have methods that are left out"},
		"by the cuts":    {Selection{From: time.Hour}, "2 lie outside of the cuts"},
		"at one instant": {Selection{Loops: 2}, "came at one instant"},
	} {
		if _, err := ReadSelection(file, c.selection, untouched); err == nil || !strings.Contains(err.Error(), c.want) || !isInput(err) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	long := captureFile(t, of("a", 0, "GET", "/"), of("a", 200*365*24*time.Hour, "GET", "/"))
	if _, err := ReadSelection(long, Selection{Loops: 3}, untouched); err == nil || !strings.Contains(err.Error(), "last for centuries") {
		t.Errorf("rounds of centuries: %v", err)
	}
}

// A sample has whole sessions, always the same ones, about as many as asked for.
func TestSampleBySession(t *testing.T) {
	const sessions, each = 2000, 3
	var all []traffic.Request
	for i := range sessions * each {
		all = append(all, of(fmt.Sprintf("10.0.0.1:%d", i%sessions), time.Duration(i), "GET", "/"))
		all = append(all, of("", time.Duration(i), "GET", "/alone"))
	}
	file := captureFile(t, all...)
	drawn := func(seed uint64) map[string]int {
		r, err := ReadSelection(file, Selection{Sample: 25, Seed: seed}, untouched)
		if err != nil {
			t.Fatal(err)
		}
		if r.Replay.Replayed+r.Replay.Sampled != len(all) {
			t.Errorf("%+v do not add up to %d", r.Replay, len(all))
		}
		counts := map[string]int{}
		for _, item := range asCaptured(t, r) {
			counts[item.Request.Session]++
		}
		return counts
	}
	one := drawn(1)
	if d := cmp.Diff(one, drawn(1)); d != "" {
		t.Errorf("the same seed draws others: %s", d)
	}
	if cmp.Equal(one, drawn(2)) {
		t.Error("another seed draws the same ones")
	}
	// Five standard deviations of a binomial are 97 of 2,000 and 168 of 6,000.
	if alone := one[""]; alone < 1500-168 || alone > 1500+168 {
		t.Errorf("%d of 6000 requests without session are drawn, want a quarter", alone)
	}
	delete(one, "")
	if n := len(one); n < 500-97 || n > 500+97 {
		t.Errorf("%d of %d sessions are drawn, want a quarter", n, sessions)
	}
	for session, n := range one {
		if n != each {
			t.Errorf("%d of %d requests of %s are drawn", n, each, session)
		}
	}
}

// A hand-made file need not be in order, as long as it can be sorted in memory.
func TestTrafficOutOfOrderIsSorted(t *testing.T) {
	file := captureFile(t, of("a", 5e9, "GET", "/5"), of("b", 2e9, "GET", "/2"), of("a", 7e9, "GET", "/7"), of("a", 2e9, "GET", "/2b"), of("c", 0, "GET", "/0"))
	r, err := ReadSelection(file, Selection{From: 1e9, First: 3}, untouched)
	if err != nil {
		t.Fatal(err)
	}
	plan := asCaptured(t, r)
	if got := paths(plan); got != "/2 /2b /5" || plan[2].Due != 3e9 || r.Length != 3e9 {
		t.Errorf("replayed %s, the last one due at %v, length %v", got, plan[2].Due, r.Length)
	}
	for name, keep := range map[string]int{"as the first lines are kept": 600, "as none is": 1} {
		if _, err := readTraffic(file, Selection{}, untouched, keep); err == nil || !strings.Contains(err.Error(), "c.jsonl.zst:3: request 2 was captured 3s before") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each round is the whole selection again, a mean gap behind the last one, with sessions of its own.
func TestRounds(t *testing.T) {
	file := captureFile(t, of("a", 1e9, "GET", "/0"), of("", 2e9, "GET", "/1"), of("a", 5e9, "GET", "/2"))
	for kept, keep := range keeps {
		t.Run(kept, func(t *testing.T) {
			r, err := readTraffic(file, Selection{Loops: 3}, untouched, keep)
			if err != nil {
				t.Fatal(err)
			}
			plan := asCaptured(t, r)
			var dues []time.Duration
			sessions := map[string]int{}
			for _, item := range plan {
				dues = append(dues, item.Due)
				sessions[item.Session]++
			}
			if want := []time.Duration{0, 1e9, 4e9, 6e9, 7e9, 10e9, 12e9, 13e9, 16e9}; !slices.Equal(dues, want) || r.Count != 9 || r.Length != 16e9 {
				t.Errorf("due at %v, want %v; %d in %v", dues, want, r.Count, r.Length)
			}
			if want := map[string]int{"": 5, "a\x001": 2, "a\x002": 2}; !cmp.Equal(sessions, want) {
				t.Errorf("sessions %v, want %v", sessions, want)
			}
			if got := paths(plan); got != "/0 /1 /2 /0 /1 /2 /0 /1 /2" {
				t.Error(got)
			}
		})
	}
}

// The names of a round's sessions stay the same also where there are more than are remembered.
func TestSessionsOfARoundAreNamedAlike(t *testing.T) {
	p := rounds{Recorded: &Recorded{selection: Selection{Loops: 2}}}
	if !p.more() {
		t.Fatal("no second round")
	}
	for i := range 3 * knownNames {
		name := fmt.Sprint(i % (knownNames + 1))
		if got := p.session(name); got != name+"\x001" || len(p.names) > knownNames {
			t.Fatalf("session %q is called %q; %d names are known", name, got, len(p.names))
		}
	}
}

// A file that changes while it is played is not trusted.
func TestTrafficThatChanges(t *testing.T) {
	file := captureFile(t, captured(0, "/0"), captured(1, "/1"))
	r, err := readTraffic(file, Selection{}, untouched, 1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(captureFile(t, captured(2, "/0"), captured(1, "/1")))
	if err == nil {
		err = os.WriteFile(file, other, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range replay.PlanAsCaptured(1, 1, r.Requests(false)) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "request 2 was captured 1ns before") {
		t.Errorf("it ends with %v", last)
	}
}

func TestRewrite(t *testing.T) {
	r := captured(0, "/v1/items?debug=1&x=debug=0")
	r.Headers = []traffic.Header{{"Accept", "*/*"}, {"X-Old", "1"}, {"x-old", "2"}, {"X-Set", "3"}}
	s := mustLoad(t, "testdata/valid-capture-selection.yaml")
	s.rewriting.Headers = []traffic.Header{{"x-set", "new"}, {"x-old", ""}, {"x-more", "4"}}
	s.adapt(&r)
	want := traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example.com", Path: "/items?trace=1&price=$&x=trace=0&price=$",
		Headers: []traffic.Header{{"Accept", "*/*"}, {"x-set", "new"}, {"x-more", "4"}}}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	s.rewriting = nil
	if s.adapt(&r); r.Authority != "my-app.example.com" {
		t.Errorf("without rules the authority is %s", r.Authority)
	}
}

// A path that the rules make unfit to be sent is told with its line, before the run, and the rule that did it.
func TestRewriteThatBreaksAPath(t *testing.T) {
	for name, c := range map[string]struct{ path, rules, want string }{
		"a space":       {"/bad", "{match: ^/bad, replace: b a d}", `line 3: traffic.capture.rewrite.paths[0], replacing "^/bad" by "b a d", makes of the captured path "/bad": path "b a d" is empty or has a space`},
		"no slash":      {"/v1/x", "{match: x, replace: y}, {match: ^/v1/, replace: ''}", `traffic.capture.rewrite.paths[1], replacing "^/v1/" by "", makes of the captured path "/v1/x": path "y" does not begin with a slash`},
		"nothing":       {"/v1", "{match: ^/v1, replace: ''}", `paths[0], replacing "^/v1" by "", makes of the captured path "/v1": path "" is empty`},
		"a star":        {"/v1", "{match: ^/v1, replace: '*'}", `path "*" does not begin with a slash`},
		"spoiled again": {"/v1/x", "{match: ^/v1/, replace: ''}, {match: ^x, replace: /x}, {match: ^/x, replace: z}", "paths[2], replacing"},
		"mended":        {"/v1/x", "{match: ^/v1/, replace: ''}, {match: ^x, replace: /x}", ""},
		"one mended":    {"v1/x", "{match: ^v1, replace: ''}", ""},
		"captured so":   {"v1/x", "{match: x, replace: y}", `line 3: path "v1/y" does not begin with a slash`},
	} {
		t.Run(name, func(t *testing.T) {
			rules := rewritingOf(t, c.rules)
			_, err := readRewritten(captureFile(t, captured(0, "/ok"), captured(1, c.path)), Selection{}, rules.apply, rules)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !isInput(err)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if strings.Contains(name, "captured") && strings.Contains(err.Error(), "rewrite") {
				t.Errorf("the rules are blamed: %v", err)
			}
		})
	}
	s := runScenario(t, "traffic: {capture: {file: "+captureFile(t, captured(0, "/ok"), captured(1, "/bad"))+", rewrite: {paths: [{match: ^/bad, replace: b a d}]}}}\n")
	if err := s.CheckPlan(); err == nil || !strings.Contains(err.Error(), "line 3: traffic.capture.rewrite") {
		t.Errorf("%v", err)
	}
}

// rewritingOf compiles rules.
func rewritingOf(t *testing.T, rules string) *rewriting {
	t.Helper()
	return runScenario(t, "traffic: {capture: {file: "+captureFile(t, captured(0, "/"))+", rewrite: {paths: ["+rules+"]}}}\n").rewriting
}

// What was captured without a slash, or with a star, is replayed as an origin server takes it, or not at all.
func TestTargetsThatAnOriginServerTakes(t *testing.T) {
	for _, c := range []struct {
		method, path string
		good         bool
	}{{"GET", "/", true}, {"GET", "//", true}, {"OPTIONS", "*", true}, {"OPTIONS", "/*", true}, {"GET", "*", false}, {"OPTIONS", "**", false}, {"GET", "x", false},
		{"GET", "?q", false}, {"GET", "http://a.example.com/", false}} {
		_, err := ReadTraffic(captureFile(t, of("", 0, c.method, c.path)), untouched)
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "line 2: path") {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
	}
}

// Faults of a traffic file that was made for the run name what people gave, as the file is gone when they read of them.
func TestFaultsNameTheOriginal(t *testing.T) {
	for name, c := range map[string]struct {
		requests  []traffic.Request
		selection Selection
		keep      int
		want      string
	}{
		"a bad request":  {[]traffic.Request{captured(0, "/a b")}, Selection{}, 1, "line 2: path"},
		"no request":     {nil, Selection{}, 1, "no requests in it"},
		"none left":      {[]traffic.Request{captured(0, "/")}, Selection{From: 1}, 1, "none is left to replay"},
		"out of order":   {[]traffic.Request{captured(1, "/"), captured(0, "/")}, Selection{}, 1, "request 2 was captured 1ns before"},
		"at one instant": {[]traffic.Request{captured(1, "/")}, Selection{Loops: 2}, 1, "came at one instant"},
	} {
		t.Run(name, func(t *testing.T) {
			file := captureFile(t, c.requests...)
			c.selection.Original = "shop.pcapng"
			_, err := readTraffic(file, c.selection, untouched, c.keep)
			if err == nil || !strings.HasPrefix(err.Error(), "shop.pcapng: in the traffic file made of it: ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), file) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := ReadSelection("gone.jsonl.zst", Selection{Original: "shop.pcapng"}, untouched); err == nil || !strings.HasPrefix(err.Error(), "shop.pcapng: ") {
		t.Errorf("%v", err)
	}
}

func TestCheckPlanOfACapture(t *testing.T) {
	day := captureFile(t, captured(0, "/"), captured(24*time.Hour, "/"))
	for name, c := range map[string]struct{ keys, want string }{
		"too slow":         {"speed: 0.01", "traffic.capture: it lasts 2400 hours: 720h0m0s is the most"},
		"too many rounds":  {"loops: 1000", "720h0m0s is the most"},
		"without sessions": {"ordered: session", "traffic.capture.ordered: no request of"},
		"as it is":         {"speed: 1", ""},
	} {
		s := runScenario(t, "traffic: {capture: {file: "+day+", "+c.keys+"}}\n")
		if err := s.CheckPlan(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A run's record says what was replayed, and how.
func TestRecordOfACapture(t *testing.T) {
	file := captureFile(t, of("a", 0, "GET", "/"), of("a", 1, "PUT", "/"))
	s := runScenario(t, "traffic: {capture: {file: "+file+", speed: 4, ordered: session}}\n")
	got, err := s.capture()
	want := &evidence.Capture{File: file, Source: "test", Speed: 4, Ordered: true, Captured: 2, Replayed: 1, Rounds: 1, Unsafe: 1,
		Methods: []evidence.MethodLeft{{Method: "PUT", Count: 1}}, Loss: evidence.Loss{Whole: 100}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	s = runScenario(t, "traffic: {capture: {file: "+file+"}}\nload: {arrivals: constant, stages: [{rate: 10, for: 1s}]}\n")
	if got, err = s.capture(); err != nil || got.Speed != 0 || got.Ordered {
		t.Errorf("%+v, %v", got, err)
	}
}
