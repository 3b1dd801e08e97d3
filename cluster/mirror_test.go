package cluster

import (
	"fmt"
	"slices"
	"testing"

	"umbra/internal/mesh"
)

func TestFractions(t *testing.T) {
	const n = 2000
	mirror := func(percentage string) string {
		return `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}` + percentage + `}`
	}
	for _, tc := range []struct {
		name, routes string
		numerator    uint64
	}{
		{"absent", mirror(""), 1_000_000},
		{"100 %", mirror(", mirrorPercentage: {value: 100}"), 1_000_000},
		{"10 %", tenth, 100_000},
		{"0.57 %", mirror(", mirrorPercentage: {value: 0.57}"), 5699},
		{"0 %", mirror(", mirrorPercentage: {value: 0}"), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := up(t, spec(t, tc.routes))
			b.sendMany("GET", "", n)
			state, want := b.drained(), drawn(7, n, tc.numerator)
			all := b.receipts()
			if got := ids(all["v2"]); !slices.Equal(got, want) {
				t.Errorf("%d mirrored, not the %d drawn", len(got), len(want))
			}
			if got := ids(all["v1"]); len(slices.Compact(got)) != n {
				t.Errorf("%d at the primary", len(got))
			}
			m := uint64(len(want))
			wantCounters(t, state, v1, map[string]uint64{"upstream_rq_total": n, "upstream_rq_200": n, "external.upstream_rq_200": n, "internal.upstream_rq_200": 0})
			wantCounters(t, state, v2, map[string]uint64{"upstream_rq_total": m, "upstream_rq_2xx": m, "internal.upstream_rq_200": m, "external.upstream_rq_200": 0, "upstream_rq_completed": m})
		})
	}
}

func TestNestedMirrors(t *testing.T) {
	const n = 1000
	s := spec(t, `  - route: [{destination: {host: shop, subset: v1}}]
    mirrors:
    - {destination: {host: shop, subset: v2}, percentage: {value: 10}}
    - {destination: {host: shop, subset: v3}, percentage: {value: 50}}`)
	third := s.Workloads[1]
	third.Name, third.Version, third.Labels = "shop-v3", "v3", map[string]string{"app": "shop", "version": "v3"}
	s.Workloads = append(s.Workloads, third)
	b := up(t, s)
	b.sendMany("POST", "body", n)
	b.drained()
	all := b.receipts()
	small, large := ids(all["v2"]), ids(all["v3"])
	if !slices.Equal(small, drawn(7, n, 100_000)) || !slices.Equal(large, drawn(7, n, 500_000)) {
		t.Errorf("%d and %d mirrored", len(small), len(large))
	}
	for _, id := range small {
		if _, found := slices.BinarySearch(large, id); !found {
			t.Errorf("%s is in the set of 10 %% and not in that of 50 %%", id)
		}
	}
}

func TestRequestsWithoutAnIDAreDrawnToo(t *testing.T) {
	b := up(t, spec(t, tenth))
	for range 300 {
		b.send("GET", "/", "", "")
	}
	b.drained()
	all := b.receipts()
	if p, m := len(all["v1"]), len(all["v2"]); p != 300 || m < 10 || m > 51 { // a fixed seed: 30 within four standard deviations
		t.Errorf("%d at the primary, %d mirrored", p, m)
	}
}

func TestMissingMirrorIsSkipped(t *testing.T) {
	b := up(t, spec(t, `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v9}}`))
	if res, _ := b.send("GET", "/", "r-0", ""); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	state := b.drained()
	missing := "outbound|80|v9|shop.default.svc.cluster.local"
	if _, there := state.Counters["cluster."+missing+".upstream_rq_total"]; there {
		t.Error("a cluster without a configuration has counters")
	}
	if _, there := state.Endpoints[missing]; there {
		t.Error("a cluster without a configuration has endpoints")
	}
	if want := []mesh.Mirror{{Cluster: missing, Numerator: 1_000_000}}; !slices.Equal(state.Routes[0].Mirrors, want) {
		t.Errorf("mirrors %v", state.Routes[0].Mirrors)
	}
}

func TestMirrorWithoutEndpoints(t *testing.T) {
	b := up(t, spec(t, `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v3}}`))
	if res, _ := b.send("GET", "/", "r-0", ""); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	wantCounters(t, b.drained(), v3, map[string]uint64{"upstream_cx_none_healthy": 1, "internal.upstream_rq_503": 1, "upstream_rq_total": 0, "external.upstream_rq_503": 0})
}

func TestMirrorToThePrimarysCluster(t *testing.T) {
	b := up(t, spec(t, `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v1}}`))
	for i := range 10 {
		b.send("GET", "/", fmt.Sprint(i), "")
	}
	wantCounters(t, b.drained(), v1, map[string]uint64{"upstream_rq_total": 20, "external.upstream_rq_200": 10, "internal.upstream_rq_200": 10, "upstream_rq_200": 20})
}

func TestStateIsWhatTheManifestsSay(t *testing.T) {
	fraction := 12.0
	s := spec(t, `  - {name: zero, match: [{uri: {prefix: /z}}], route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}, mirrorPercentage: {value: 0}}
`+tenth)
	s.Faults.Fraction = &fraction
	state := up(t, s).state()
	if len(state.Routes) != 2 || len(state.Routes[0].Mirrors) != 0 || !slices.Equal(state.Routes[1].Mirrors, []mesh.Mirror{{Cluster: v2, Numerator: 100_000}}) {
		t.Errorf("routes %+v", state.Routes)
	}
	for cluster, want := range map[string][]string{v1: {"shop-v1-0", "shop-v1-1", "shop-v1-2"}, v2: {"shop-v2-0", "shop-v2-1"}} {
		if got := state.Endpoints[cluster]; !slices.Equal(got, want) {
			t.Errorf("endpoints of %s: %v", cluster, got)
		}
	}
}
