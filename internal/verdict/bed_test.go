package verdict

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

const (
	v1, v2 = "outbound|80|v1|app", "outbound|80|v2|app"
	reads  = "default/app/reads"
	writer = "default/app/writes"
)

// bed is a synthetic run: every request's record, and what the mesh says. Tests spoil it before they judge it.
type bed struct {
	facts    Facts
	options  Options
	results  []traffic.Result
	receipts []traffic.Receipt
	random   *rand.Rand
	start    time.Time
}

// setup says what a synthetic run is like; the zero value of a member is its default.
type setup struct {
	n, warmup int
	routes    []RouteFact
	pods      map[string][]string
	route     func(i int) string // of the request i; default: three of four read
	seed      uint64
}

func defaultRoutes(numerator uint32) []RouteFact {
	return []RouteFact{
		{Name: reads, Upstream: true, Clusters: []string{v1}, Retries: 2, Mirrors: []MirrorFact{{v2, float64(numerator) / 1e4, numerator}}},
		{Name: writer, Upstream: true, Clusters: []string{v1}, Retries: 2},
	}
}

func within(points float64) *float64 { return &points }

// newBed plays a flawless run.
func newBed(s setup) *bed {
	if s.routes == nil {
		s.routes = defaultRoutes(100_000)
	}
	if s.pods == nil {
		s.pods = map[string][]string{v1: {"v1-a", "v1-b", "v1-c"}, v2: {"v2-a", "v2-b"}}
	}
	if s.route == nil {
		s.route = func(i int) string {
			if i%4 == 3 {
				return writer
			}
			return reads
		}
	}
	b := &bed{
		facts:   Facts{Routes: s.routes, Pods: s.pods, Before: map[string]uint64{}, After: map[string]uint64{}},
		options: Options{Fraction: within(1)},
		random:  rand.New(rand.NewPCG(s.seed, 1)),
		start:   time.Unix(1_790_000_000, 0),
	}
	for c := range s.pods {
		for _, name := range append(slices.Clone(used), "upstream_rq_retry", "upstream_rq_active") {
			b.facts.Before["cluster."+c+"."+name] = 7
			b.facts.After["cluster."+c+"."+name] = 7
		}
		b.facts.Before["cluster."+c+".upstream_rq_active"], b.facts.After["cluster."+c+".upstream_rq_active"] = 0, 0
	}
	for i := range s.warmup + s.n {
		phase := traffic.PhaseStage
		if i < s.warmup {
			phase = traffic.PhaseWarmup
		}
		b.play(i, s.route(i), phase, s.seed)
	}
	return b
}

// draw is a number from 0 to 999,999 that depends on the seed and the id, as the embedded gateway's.
func draw(seed uint64, id string) uint32 {
	x := hash(strconv.FormatUint(seed, 10), id)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return uint32(x % 1_000_000)
}

// play sends one request and lets it arrive where it should.
func (b *bed) play(i int, route string, phase traffic.Phase, seed uint64) {
	id := fmt.Sprintf("%08x", i)
	due := time.Duration(i) * time.Millisecond
	took := time.Duration(2e6 * math.Exp(0.3*b.random.NormFloat64()))
	res := traffic.Result{ID: id, Route: route, Method: "GET", Path: "/api/items", Phase: phase, Block: -1,
		Due: due, Ready: due, Sent: due, FirstByte: due + took, LastByte: due + took, End: due + took, Outcome: traffic.OK, Status: 200}
	if route == writer {
		res.Method = "POST"
	}
	b.results = append(b.results, res)
	for _, r := range b.facts.Routes {
		if r.Name != route || !r.Upstream {
			continue
		}
		b.arrive(id, r.Clusters[0], false)
		for _, m := range r.Mirrors {
			if draw(seed, id) < m.Numerator {
				b.arrive(id, m.Cluster, true)
			}
		}
	}
}

// arrive counts and receives one copy.
func (b *bed) arrive(id, cluster string, mirrored bool) {
	b.send(cluster, mirrored, 200)
	b.receive(id, cluster)
}

func (b *bed) send(cluster string, mirrored bool, status int) {
	origin := ".external.upstream_rq_"
	if mirrored {
		origin = ".internal.upstream_rq_"
	}
	b.facts.After["cluster."+cluster+".upstream_rq_total"]++
	b.facts.After["cluster."+cluster+origin+strconv.Itoa(status/100)+"xx"]++
}

func (b *bed) receive(id, cluster string) *traffic.Receipt {
	res := b.result(id)
	pods := b.facts.Pods[cluster]
	b.receipts = append(b.receipts, traffic.Receipt{ID: id, Pod: pods[len(b.receipts)%len(pods)],
		Arrived: b.start.Add(res.Due + time.Duration(len(b.receipts))), Duration: time.Millisecond, Method: res.Method, Authority: "my-app.example.com",
		Path: "/rewritten" + res.Path, HeaderSHA256: "h" + id, BodySHA256: "b" + id, BodyBytes: 17, Status: 200})
	return &b.receipts[len(b.receipts)-1]
}

func (b *bed) result(id string) *traffic.Result {
	for i := len(b.results) - 1; i >= 0; i-- {
		if b.results[i].ID == id {
			return &b.results[i]
		}
	}
	panic("no result " + id)
}

// first gives the first receipt at a cluster's pods, and its index.
func (b *bed) first(cluster string) (*traffic.Receipt, int) {
	for i := range b.receipts {
		if slices.Contains(b.facts.Pods[cluster], b.receipts[i].Pod) {
			return &b.receipts[i], i
		}
	}
	panic("no receipt at " + cluster)
}

// lose takes back the first receipt at a cluster and gives its id.
func (b *bed) lose(cluster string) string {
	r, i := b.first(cluster)
	id := r.ID
	b.receipts = slices.Delete(b.receipts, i, i+1)
	return id
}

func (b *bed) bump(cluster, name string, n uint64) {
	b.facts.After["cluster."+cluster+"."+name] += n
}

// at counts receipts at a cluster's pods.
func (b *bed) at(cluster string) (n int) {
	for i := range b.receipts {
		if slices.Contains(b.facts.Pods[cluster], b.receipts[i].Pod) {
			n++
		}
	}
	return n
}

func (b *bed) judge(t testing.TB) map[string]Verdict {
	t.Helper()
	r := NewRecon()
	for i := range b.results {
		r.AddResult(&b.results[i])
	}
	for i := range b.receipts {
		r.AddReceipt(&b.receipts[i])
	}
	vs, err := r.Judge(b.facts, b.options)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Verdict{}
	for _, v := range vs {
		byName[v.Name] = v
	}
	return byName
}

// expect compares the states of verdicts; those that want does not name have to be as in a flawless run.
func expect(t testing.TB, got map[string]Verdict, want map[string]State) {
	t.Helper()
	all := map[string]State{Integrity: Pass, Delivery: Pass, Sampling: Pass, Impact: NotTested, Objectives: NotTested, Rate: Pass}
	maps.Copy(all, want)
	for _, name := range []string{Integrity, Delivery, Sampling, Impact, Objectives, Rate} {
		if got[name].State != all[name] {
			t.Errorf("%s is %s, want %s: %s", name, got[name].State, all[name], got[name].Summary)
		}
	}
}

// says looks for words in a verdict's sentences.
func says(t testing.TB, v Verdict, words ...string) {
	t.Helper()
	text := v.Summary + "\n" + strings.Join(v.Warnings, "\n")
	for _, item := range v.Items {
		text += "\n" + item.Summary
	}
	for _, f := range v.Findings {
		text += "\n" + f.Code + " " + f.Text
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", v.Name, w, text)
		}
	}
}

// found gives a finding by its code.
func found(t testing.TB, v Verdict, code string) Finding {
	t.Helper()
	for _, f := range v.Findings {
		if f.Code == code {
			return f
		}
	}
	t.Fatalf("%s has no finding %s: %+v", v.Name, code, v.Findings)
	return Finding{}
}
