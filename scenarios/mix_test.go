package scenarios

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

// sampleEntries are the mix of the format's sample.
func sampleEntries() []Entry {
	return []Entry{
		{Name: "list", Weight: 70, Method: "GET", Path: "/api/items?page={{ int 1 50 }}"},
		{Name: "buy", Weight: 30, Method: "POST", Path: "/api/orders",
			Headers: []traffic.Header{{"content-type", "application/json"}}, Body: `{"sku":"{{ pick "a" "b" }}"}`},
	}
}

// compiled makes a mix as the loader does.
func compiled(t testing.TB, entries []Entry, seed uint64) *Mix {
	t.Helper()
	makers := make([]maker, len(entries))
	for i, e := range entries {
		makers[i].path, _ = compile(e.Path, inPath, &tables{})
		makers[i].body, _ = compile(e.Body, inBody, &tables{})
		for _, h := range e.Headers {
			value, slips := compile(h[1], inHeader, &tables{})
			if len(slips) > 0 {
				t.Fatal(slips)
			}
			makers[i].headers = append(makers[i].headers, value)
		}
	}
	return newMix(entries, makers, "my-app.example.com", seed)
}

func TestMixIsAPureFunctionOfSeedAndIndex(t *testing.T) {
	one, two, other := compiled(t, sampleEntries(), 7), compiled(t, sampleEntries(), 7), compiled(t, sampleEntries(), 8)
	const n = 1000
	var forward, backward, elsewhere []*traffic.Request
	for i := range uint64(n) {
		_, request := one.Request(i)
		forward = append(forward, request)
		_, request = two.Request(n - 1 - i)
		backward = append(backward, request)
		_, request = other.Request(i)
		elsewhere = append(elsewhere, request)
	}
	slices.Reverse(backward)
	if d := cmp.Diff(forward, backward); d != "" {
		t.Errorf("the order of the calls matters:\n%s", d)
	}
	if cmp.Equal(forward, elsewhere) {
		t.Error("another seed makes the same requests")
	}
}

func TestMixRequest(t *testing.T) {
	m := compiled(t, sampleEntries(), 7)
	seen := map[string]*traffic.Request{}
	for i := range uint64(100) {
		name, request := m.Request(i)
		seen[name] = request
	}
	buy := seen["buy"]
	want := &traffic.Request{Method: "POST", Scheme: "http", Authority: "my-app.example.com", Path: "/api/orders",
		Headers: []traffic.Header{{"content-type", "application/json"}}, Body: buy.Body}
	if d := cmp.Diff(want, buy); d != "" {
		t.Error(d)
	}
	if body := string(buy.Body); body != `{"sku":"a"}` && body != `{"sku":"b"}` {
		t.Errorf("body %q", body)
	}
	if seen["list"].Body != nil {
		t.Errorf("a request without a body has %q", seen["list"].Body)
	}
}

// Every round holds each entry as often as its weight says, and no two rounds in a row begin alike.
func TestMixKeepsTheWeightsInEveryRound(t *testing.T) {
	m := compiled(t, sampleEntries(), 3)
	const round = 10 // 70:30 is 7:3
	orders := map[string]bool{}
	for r := range uint64(50) {
		order, lists := "", 0
		for i := range uint64(round) {
			name, _ := m.Request(r*round + i)
			order += name[:1]
			if name == "list" {
				lists++
			}
		}
		if lists != 7 {
			t.Fatalf("round %d is %s, want 7 lists of 10", r, order)
		}
		orders[order] = true
	}
	if len(orders) < 5 {
		t.Errorf("50 rounds have only %d different orders", len(orders))
	}
}

func TestMixCountsEachEntry(t *testing.T) {
	m := compiled(t, []Entry{
		{Name: "a", Weight: 3, Method: "GET", Path: "/{{ seq }}"},
		{Name: "never", Weight: 0, Method: "GET", Path: "/"},
		{Name: "b", Weight: 5, Method: "GET", Path: "/{{ seq }}", Headers: []traffic.Header{{"x-n", "{{ seq }}"}, {"x-same", "s"}}},
	}, 11)
	next := map[string]int{}
	for i := range uint64(8 * 200) {
		name, request := m.Request(i)
		if want := fmt.Sprintf("/%d", next[name]); request.Path != want {
			t.Fatalf("request %d is %s of %s, want %s", i, request.Path, name, want)
		}
		if name == "b" {
			want := []traffic.Header{{"x-n", fmt.Sprint(next[name])}, {"x-same", "s"}}
			if d := cmp.Diff(want, request.Headers); d != "" {
				t.Fatal(d)
			}
		}
		next[name]++
	}
	if d := cmp.Diff(map[string]int{"a": 600, "b": 1000}, next); d != "" {
		t.Error(d)
	}
}

// Entries without templates give one request again and again, so that what is prepared for it is prepared once.
func TestMixSharesWhatIsTheSame(t *testing.T) {
	m := compiled(t, []Entry{
		{Name: "same", Weight: 1, Method: "POST", Path: "/", Headers: []traffic.Header{{"x-a", "1"}}, Body: "b"},
		{Name: "path", Weight: 1, Method: "GET", Path: "/{{ seq }}"},
		{Name: "header", Weight: 1, Method: "GET", Path: "/", Headers: []traffic.Header{{"x-n", "{{ seq }}"}}},
		{Name: "body", Weight: 1, Method: "POST", Path: "/", Body: "{{ seq }}"},
	}, 3)
	made := map[string]map[*traffic.Request]bool{}
	for i := range uint64(40) {
		name, request := m.Request(i)
		if made[name] == nil {
			made[name] = map[*traffic.Request]bool{}
		}
		made[name][request] = true
	}
	for name, want := range map[string]int{"same": 1, "path": 10, "header": 10, "body": 10} {
		if len(made[name]) != want {
			t.Errorf("%s: %d requests, want %d", name, len(made[name]), want)
		}
	}
	_, one := m.Request(0)
	for i := uint64(0); one.Method != "POST" || string(one.Body) != "b"; i++ {
		_, one = m.Request(i)
	}
	want := &traffic.Request{Method: "POST", Scheme: "http", Authority: "my-app.example.com", Path: "/", Headers: []traffic.Header{{"x-a", "1"}}, Body: []byte("b")}
	if d := cmp.Diff(want, one); d != "" {
		t.Error(d)
	}
}

func BenchmarkMixRequest(b *testing.B) {
	m := compiled(b, sampleEntries(), 7)
	b.ReportAllocs()
	for i := range uint64(b.N) {
		if _, request := m.Request(i); request.Path == "" {
			b.Fatal("no path")
		}
	}
}

// What the plan of an example costs for each item, with the route that the model gives it.
func BenchmarkPlan(b *testing.B) {
	for _, name := range []string{"canary-10", "basic-100"} {
		s := mustLoad(b, filepath.Join("examples", name+".yaml"))
		s.Load.Stages = []Stage{{1e6, 1e6, 24 * time.Hour}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for item, err := range s.Plan() {
				if err != nil || item.Request == nil {
					b.Fatal(err)
				}
				if n++; n == b.N {
					return
				}
			}
		})
	}
}
