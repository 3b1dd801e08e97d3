package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/pause"
	"umbra/internal/route"
)

// manifestsOf are other manifests than a Spec's, with their table.
func manifestsOf(t testing.TB, text string) (*route.Manifests, *route.Table) {
	t.Helper()
	s := specOf(t, text)
	return s.Manifests, s.Table
}

// unmirroredOf are a Spec's manifests without mirroring.
func unmirroredOf(t testing.TB, s mesh.Spec) (*route.Manifests, *route.Table) {
	t.Helper()
	m, err := s.Manifests.Unmirrored()
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, table
}

func (b *bed) reroute(m *route.Manifests, t *route.Table) {
	b.t.Helper()
	if err := b.Reroute(b.t.Context(), m, t); err != nil {
		b.t.Fatal(err)
	}
}

// With mirroring off nothing arrives at the shadow, with mirroring on again everything does; counters go on.
func TestReroute(t *testing.T) {
	const n = 200
	s := spec(t, mirrored)
	b := up(t, s)
	off, unmirrored := unmirroredOf(t, s)
	want := 0
	for i := range 3 {
		b.reroute(off, unmirrored)
		if r := b.state().Routes; len(r) != 1 || len(r[0].Mirrors) != 0 {
			t.Errorf("with mirroring off the routes are %+v", r)
		}
		if err := mesh.Differences(unmirrored, b.state()); err != nil {
			t.Error(err)
		}
		b.sendMany("POST", "body", n)
		wantCounters(t, b.drained(), v2, map[string]uint64{"upstream_rq_total": uint64(want)})
		b.reroute(s.Manifests, s.Table)
		if err := mesh.Differences(s.Table, b.state()); err != nil {
			t.Error(err)
		}
		b.sendMany("POST", "body", n)
		want += n
		state := b.drained()
		wantCounters(t, state, v2, map[string]uint64{"upstream_rq_total": uint64(want)})
		wantCounters(t, state, v1, map[string]uint64{"upstream_rq_total": uint64(2 * n * (i + 1))})
	}
	if all := b.receipts(); len(all["v2"]) != want || len(all["v1"]) != 2*want {
		t.Errorf("%d receipts at the shadow, %d at the primary", len(all["v2"]), len(all["v1"]))
	}
}

// Routes and apps that are switched to and fro under load lose no request, and each goes by what there was as it came.
func TestRerouteUnderLoad(t *testing.T) {
	const n = 1000
	s := spec(t, mirrored)
	b := up(t, s)
	off, unmirrored := unmirroredOf(t, s)
	ctx, stop := context.WithCancel(t.Context())
	var switching sync.WaitGroup
	switching.Go(func() {
		for pause.For(ctx, time.Millisecond) {
			b.reroute(off, unmirrored)
			b.state()
			b.reroute(s.Manifests, s.Table)
		}
	})
	switching.Go(func() {
		for pause.For(ctx, time.Millisecond) {
			b.conduct(mesh.Conduct{Delay: map[string]time.Duration{"v1": time.Microsecond}})
			b.state()
		}
	})
	b.sendMany("GET", "", n)
	stop()
	switching.Wait()
	state, all := b.drained(), b.receipts()
	if len(all["v1"]) != n || uint64(len(all["v2"])) != state.Counter(v2, "upstream_rq_total") {
		t.Errorf("%d at the primary, %d at the shadow of %d", len(all["v1"]), len(all["v2"]), state.Counter(v2, "upstream_rq_total"))
	}
	if err := mesh.Differences(s.Table, state); err != nil {
		t.Error(err)
	}
}

// A request under way is answered by the destination that it began with, and its copy was sent to the mirror of then.
func TestRerouteLeavesRequestsUnderWay(t *testing.T) {
	s := spec(t, mirrored)
	s.App = map[string]mesh.Behaviour{"v1": {Latency: mesh.Latency{P50: 50 * time.Millisecond}}}
	b := up(t, s)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		b.sendMany("GET", "", 1)
	}()
	b.await("the request is at the primary", func(s *mesh.State) bool { return s.Counter(v1, "upstream_rq_active") == 1 })
	to, table := manifestsOf(t, frame+`  - {route: [{destination: {host: shop, subset: v2}}]}`)
	b.reroute(to, table)
	<-answered
	b.send("GET", "/", "after", "")
	b.drained()
	all := b.receipts()
	if len(all["v1"]) != 1 || len(all["v2"]) != 2 || all["v1"][0].ID != "r-0" {
		t.Errorf("%v at v1, %v at v2", ids(all["v1"]), ids(all["v2"]))
	}
}

func TestRerouteRefuses(t *testing.T) {
	s := spec(t, mirrored)
	b := up(t, s)
	manifests := frame + toV1
	for name, c := range map[string]struct {
		manifests string
		want      []string
	}{
		"another kind": {strings.Replace(manifests, "targetPort: 8080", "targetPort: 8081", 1), []string{"Service default/shop has changed"}},
		"a rule":       {strings.Replace(manifests, "labels: {version: v1}", "labels: {version: v3}", 1), []string{"the cluster " + v1 + " selects the pods"}},
		"one is new":   {manifests + "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", []string{"ConfigMap default/c is new"}},
		"one has gone": {strings.Replace(manifests, "kind: Service\nmetadata: {name: shop}", "kind: Service\nmetadata: {name: other}", 1),
			[]string{"Service default/other is new", "Service default/shop is not there any more"}},
		"another cluster": {frame + `  - {route: [{destination: {host: shop, subset: v3}}]}`, []string{"lead to the cluster " + v3}},
		"a host of nobody's": {frame + `  - {route: [{destination: {host: other}}]}`,
			[]string{"lead to the cluster outbound|80||other.default.svc.cluster.local"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, table := manifestsOf(t, c.manifests)
			err := b.Reroute(t.Context(), m, table)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Reroute(ended, s.Manifests, s.Table); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := mesh.Differences(s.Table, b.state()); err != nil {
		t.Errorf("what was refused changed something: %v", err)
	}
}

// Without --apply nothing of the user's cluster is changed, and that is said before anything is asked of it.
func TestRerouteNeedsApply(t *testing.T) {
	s := spec(t, mirrored)
	m := &onKubernetes{spec: s, restore: true}
	off, unmirrored := unmirroredOf(t, s)
	if err := m.Reroute(t.Context(), off, unmirrored); err == nil || !strings.Contains(err.Error(), "need --apply") {
		t.Errorf("error %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func (b *bed) conduct(c mesh.Conduct) {
	b.t.Helper()
	if err := b.Conduct(b.t.Context(), c); err != nil {
		b.t.Fatal(err)
	}
}

// Whatever the shadow was told before, it does what it is told now, and no primary does.
func TestConduct(t *testing.T) {
	s := spec(t, mirrored)
	s.Faults.Shadow = "errors"
	b := up(t, s)
	total := uint64(0)
	shadows := func(state *mesh.State) map[string]uint64 {
		return map[string]uint64{"200": state.Counter(v2, "internal.upstream_rq_200"), "503": state.Counter(v2, "internal.upstream_rq_503")}
	}
	var last map[string]uint64
	for i, c := range []struct {
		shadow string
		want   string // the status that the gateway has of the shadow
		hits   int    // of the fault shadow so far
	}{
		{"-", "503", 1}, {"", "200", 1}, {"dead", "503", 2}, {"healthy", "200", 2}, {"dead", "503", 3}, {"errors", "503", 4}, {"", "200", 4},
	} {
		if c.shadow != "-" {
			b.conduct(mesh.Conduct{Shadow: c.shadow})
		}
		b.send("GET", "/", fmt.Sprintf("r-%d", i), "")
		total++
		state := b.drained()
		wantCounters(t, state, v1, map[string]uint64{"external.upstream_rq_200": total})
		now := shadows(state)
		if now[c.want] != last[c.want]+1 || now["200"]+now["503"] != total {
			t.Errorf("%d: with the shadow %q: %v after %v", i, c.shadow, now, last)
		}
		if got := b.FaultHits()["shadow"]; got != c.hits {
			t.Errorf("%d: with the shadow %q the fault has acted %d times, not %d", i, c.shadow, got, c.hits)
		}
		last = now
	}
}

func TestConductAfterHung(t *testing.T) {
	const n = 20
	b := up(t, spec(t, mirrored))
	b.conduct(mesh.Conduct{Shadow: "hung"})
	b.sendMany("GET", "", n)
	b.await("all copies hang", func(*mesh.State) bool { return len(b.receipts()["v2"]) == n })
	b.conduct(mesh.Conduct{})
	wantCounters(t, b.drained(), v2, map[string]uint64{"internal.upstream_rq_503": n, "upstream_rq_200": 0})
	b.sendMany("GET", "", n)
	wantCounters(t, b.drained(), v2, map[string]uint64{"internal.upstream_rq_200": n})
}

func TestConductDelays(t *testing.T) {
	const delay = 20 * time.Millisecond
	b := up(t, spec(t, mirrored))
	b.conduct(mesh.Conduct{Delay: map[string]time.Duration{"v1": delay}})
	b.sendMany("GET", "", 10)
	b.drained()
	for _, r := range b.receipts()["v1"] {
		if r.Duration < delay {
			t.Errorf("it took v1 %v", r.Duration)
		}
	}
	b.conduct(mesh.Conduct{})
	for _, p := range b.pods {
		if got, err := (app.Client{Base: "http://" + p.app.AdminAddr()}).Settings(t.Context()); err != nil || got.Delay != 0 {
			t.Errorf("%s has a delay of %v, %v", p.name, got.Delay, err)
		}
	}
}

func TestConductRefuses(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b := up(t, spec(t, toV1))
	for want, err := range map[string]error{
		`shadow: "tired" is unknown; use healthy`:     b.Conduct(t.Context(), mesh.Conduct{Shadow: "tired"}),
		"shadow=dead: no pod belongs to mirrors only": b.Conduct(t.Context(), mesh.Conduct{Shadow: "dead"}),
		"delay of v1: -1ns is negative":               b.Conduct(t.Context(), mesh.Conduct{Delay: map[string]time.Duration{"v1": -1}}),
		"delay of v9: no pod of umbra's app has that": b.Conduct(t.Context(), mesh.Conduct{Delay: map[string]time.Duration{"v9": 1}}),
		"context canceled":                            b.Conduct(ended, mesh.Conduct{}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
