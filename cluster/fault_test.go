package cluster

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/traffic"
)

// outcome is what a run under a fault comes to.
type outcome struct {
	state           *mesh.State
	primary, shadow []traffic.Receipt
	hits            map[string]int
}

// distinct counts the ids at the shadow.
func (o *outcome) distinct() int { return len(slices.Compact(ids(o.shadow))) }

// changed counts the shadow's receipts that differ from the primary's of the same id in path or body.
func (o *outcome) changed() int {
	primary, n := map[string]traffic.Receipt{}, 0
	for _, r := range o.primary {
		primary[r.ID] = r
	}
	for _, r := range o.shadow {
		if p := primary[r.ID]; p.Path != r.Path || p.BodySHA256 != r.BodySHA256 {
			n++
		}
	}
	return n
}

func underFault(t *testing.T, routes, method, body string, n int, f mesh.Faults) *outcome {
	t.Helper()
	s := spec(t, routes)
	s.Faults = f
	b := up(t, s)
	b.sendMany(method, body, n)
	o := &outcome{state: b.drained(), hits: b.FaultHits()}
	all := b.receipts()
	o.primary, o.shadow = all["v1"], all["v2"]
	return o
}

// TestFaults: each fault changes exactly what it is about. All requests are mirrored where nothing else is said.
func TestFaults(t *testing.T) {
	const n = 1000
	const few = 1e-9 // the first candidate alone
	twelve, none, all := 12.0, 0.0, 100.0
	notMirrored := `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}, mirrorPercentage: {value: 0}}`
	readsOnly := `  - {match: [{method: {exact: GET}}], route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}
` + toV1
	type figures struct{ primary, sent, shadow, distinct, changed int } // sent: what the gateway claims
	healthy := figures{n, n, n, n, 0}
	tenPercent := len(drawn(7, n, 100_000))
	twelvePercent := len(drawn(7, n, 120_000))
	for _, tc := range []struct {
		name         string
		routes       string
		method, body string
		faults       mesh.Faults
		want         figures
		hits         map[string]int
	}{
		{name: "none", method: "POST", body: "body", want: healthy, hits: map[string]int{}},
		{name: "fraction", routes: tenth, method: "GET", faults: mesh.Faults{Fraction: &twelve},
			want: figures{n, twelvePercent, twelvePercent, twelvePercent, 0}, hits: map[string]int{"fraction": twelvePercent - tenPercent}},
		{name: "fraction of a mirror at 0", routes: notMirrored, method: "GET", faults: mesh.Faults{Fraction: &all},
			want: healthy, hits: map[string]int{"fraction": n}},
		{name: "fraction 0", method: "GET", faults: mesh.Faults{Fraction: &none}, want: figures{n, 0, 0, 0, 0}, hits: map[string]int{"fraction": n}},
		{name: "drop one", method: "GET", faults: mesh.Faults{Drop: few}, want: figures{n, n, n - 1, n - 1, 0}, hits: map[string]int{"drop": 1}},
		{name: "drop all", method: "GET", faults: mesh.Faults{Drop: 1}, want: figures{n, n, 0, 0, 0}, hits: map[string]int{"drop": n}},
		{name: "duplicate one", method: "POST", body: "body", faults: mesh.Faults{Duplicate: few}, want: figures{n, n, n + 1, n, 0}, hits: map[string]int{"duplicate": 1}},
		{name: "duplicate all", method: "GET", faults: mesh.Faults{Duplicate: 1}, want: figures{n, n, 2 * n, n, 0}, hits: map[string]int{"duplicate": n}},
		{name: "mutate a body", method: "POST", body: "body", faults: mesh.Faults{Mutate: few}, want: figures{n, n, n, n, 1}, hits: map[string]int{"mutate": 1}},
		{name: "mutate all paths", method: "GET", faults: mesh.Faults{Mutate: 1}, want: figures{n, n, n, n, n}, hits: map[string]int{"mutate": n}},
		{name: "mirror one write", routes: readsOnly, method: "POST", body: "b", faults: mesh.Faults{MirrorWrites: few},
			want: figures{n, 1, 1, 1, 0}, hits: map[string]int{"mirror-writes": 1}},
		{name: "mirror writes of a mirror at 0", routes: notMirrored, method: "DELETE", faults: mesh.Faults{MirrorWrites: 1},
			want: healthy, hits: map[string]int{"mirror-writes": n}},
		{name: "mirror writes where none is a candidate", routes: readsOnly, method: "GET", faults: mesh.Faults{MirrorWrites: 1},
			want: healthy, hits: map[string]int{"mirror-writes": 0}},
		{name: "lose one primary", method: "GET", faults: mesh.Faults{LosePrimary: few}, want: figures{n - 1, n, n, n, 1}, hits: map[string]int{"lose-primary": 1}},
		{name: "slow primary", method: "GET", faults: mesh.Faults{SlowPrimary: time.Microsecond}, want: healthy, hits: map[string]int{"slow-primary": n}},
		{name: "several", method: "POST", body: "body", faults: mesh.Faults{Drop: few, Duplicate: few, Mutate: few},
			want: figures{n, n, n, n - 1, 1}, hits: map[string]int{"drop": 1, "duplicate": 1, "mutate": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			routes := tc.routes
			if routes == "" {
				routes = mirrored
			}
			o := underFault(t, routes, tc.method, tc.body, n, tc.faults)
			got := figures{len(o.primary), int(o.state.Counter(v2, "upstream_rq_total")), len(o.shadow), o.distinct(), o.changed()}
			if tc.name == "several" { // the mutated request is the duplicated one where that came first: once or twice changed
				got.changed = min(got.changed, 1)
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			for name, want := range tc.hits {
				if o.hits[name] != want {
					t.Errorf("%s acted %d times, not %d", name, o.hits[name], want)
				}
			}
			if len(o.hits) != len(tc.hits) {
				t.Errorf("hits %v", o.hits)
			}
			sent := uint64(tc.want.sent)
			wantCounters(t, o.state, v2, map[string]uint64{"internal.upstream_rq_200": sent, "upstream_rq_200": sent, "external.upstream_rq_200": 0})
			wantCounters(t, o.state, v1, map[string]uint64{"upstream_rq_total": n, "external.upstream_rq_200": n, "upstream_rq_retry": 0})
		})
	}
}

// A share hits the same requests whatever the order, but for the first candidate.
func TestFaultShare(t *testing.T) {
	const n, share = 2000, 0.05
	o := underFault(t, mirrored, "GET", "", n, mesh.Faults{Drop: share})
	lost := n - len(o.shadow)
	if lost != o.hits["drop"] || lost < 61 || lost > 139 { // a fixed seed: 100 within four standard deviations
		t.Errorf("%d lost, %d hits", lost, o.hits["drop"])
	}
}

func TestSlowPrimaryDelaysMirroredRequestsOnly(t *testing.T) {
	s := spec(t, `  - {match: [{method: {exact: POST}}], route: [{destination: {host: shop, subset: v1}}]}
`+mirrored)
	s.Faults.SlowPrimary = 60 * time.Millisecond
	b := up(t, s)
	start := time.Now()
	b.send("GET", "/", "r-0", "")
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("a mirrored request took %v", took)
	}
	b.send("POST", "/", "r-1", "")
	if got := b.FaultHits()["slow-primary"]; got != 1 {
		t.Errorf("%d delayed", got)
	}
}

func TestShadows(t *testing.T) {
	for _, tc := range []struct {
		shadow   string
		receipts int
		want     map[string]uint64
	}{
		{"healthy", 1, map[string]uint64{"upstream_rq_total": 1, "internal.upstream_rq_200": 1}},
		{"errors", 1, map[string]uint64{"upstream_rq_total": 1, "internal.upstream_rq_503": 1, "upstream_rq_5xx": 1}},
		{"dead", 0, map[string]uint64{"upstream_rq_total": 0, "internal.upstream_rq_503": 1, "upstream_cx_connect_fail": 1, "upstream_rq_pending_failure_eject": 1}},
		{"slow", 1, map[string]uint64{"upstream_rq_total": 1, "internal.upstream_rq_200": 1}},
	} {
		t.Run(tc.shadow, func(t *testing.T) {
			s := spec(t, mirrored)
			s.Faults.Shadow = tc.shadow
			b := up(t, s)
			if res, _ := b.send("GET", "/", "r-0", ""); res.StatusCode != 200 {
				t.Errorf("the primary answered %d", res.StatusCode)
			}
			wantCounters(t, b.drained(), v2, tc.want)
			all := b.receipts()
			if len(all["v1"]) != 1 || len(all["v2"]) != tc.receipts {
				t.Errorf("receipts %v", all)
			}
			if hits, asked := b.FaultHits()["shadow"]; asked != (tc.shadow != "healthy") || asked && hits != 1 {
				t.Errorf("hits %v", b.FaultHits())
			}
			if tc.shadow == "slow" && all["v2"][0].Duration < time.Second {
				t.Errorf("the slow shadow took %v", all["v2"][0].Duration)
			}
		})
	}
}

// A hung shadow holds its own copies and nobody else.
func TestHungShadow(t *testing.T) {
	s := spec(t, mirrored)
	s.Faults.Shadow = "hung"
	b := up(t, s)
	const n = 50
	b.sendMany("POST", "body", n) // every primary is answered although no mirror ever is
	state := b.await("the mirrors are with the shadow", func(s *mesh.State) bool { return s.Counter(v2, "upstream_rq_total") == n })
	wantCounters(t, state, v2, map[string]uint64{"upstream_rq_active": n, "upstream_rq_completed": 0})
	wantCounters(t, state, v1, map[string]uint64{"upstream_rq_active": 0, "external.upstream_rq_200": n})
	b.await("the shadow has read them", func(*mesh.State) bool {
		read := 0
		for _, r := range b.receipts()["v2"] {
			if r.Duration == traffic.Never && r.Status == 0 && r.BodyBytes == 4 {
				read++
			}
		}
		return read == n
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	wantCounters(t, b.state(), v2, map[string]uint64{"upstream_rq_active": 0, "upstream_rq_tx_reset": 0, "upstream_rq_completed": 0})
}

func TestMutatedPath(t *testing.T) {
	for _, tc := range []struct {
		path string
		at   uint64
		want string
	}{
		{"/", 0, "/x"}, {"/?", 5, "/x?"}, {"/a", 0, "/b"}, {"/z", 0, "/y"}, {"/Z9", 1, "/Z8"}, {"/%41b", 0, "/%41c"}, {"/%zz", 0, "/x%zz"}, {"/items/17?page=3", 6, "/items/18?page=3"},
	} {
		if got := mutatedPath(tc.path, tc.at); got != tc.want {
			t.Errorf("%s at %d: %s, not %s", tc.path, tc.at, got, tc.want)
		}
	}
}

func FuzzMutated(f *testing.F) {
	for _, path := range []string{"/", "/a/b?c=d", "/%2F%2f", "/a%2", "//", "/?#"} {
		f.Add(path, []byte("body"), uint64(7))
		f.Add(path, []byte(nil), uint64(1<<63))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte, d uint64) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		p, changed := mutated(path, body, app.Draws(d))
		if (p == path) == (string(changed) == string(body)) {
			t.Errorf("not exactly one of path and body changed: %q %q", p, changed)
		}
		if _, err := url.ParseRequestURI(path); err == nil {
			if _, err := url.ParseRequestURI(p); err != nil {
				t.Errorf("%q is not valid any more: %v", p, err)
			}
		}
	})
}
