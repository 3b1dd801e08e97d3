package verdict

import (
	"testing"

	"umbra/internal/traffic"
)

func TestDelivery(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup setup
		spoil func(*bed)
		want  State
		says  string
	}{
		{"all arrived", setup{n: 2000}, func(*bed) {}, Pass, "all arrived"},
		{"all of a warm-up too", setup{n: 2000, warmup: 1000}, func(*bed) {}, Pass, "all arrived"},
		{"one of the warm-up is missing", setup{n: 2000, warmup: 1000}, func(b *bed) { b.lose(v2) }, Fail, "lost requests"},
		{"one missing, one in flight", setup{n: 2000}, func(b *bed) { b.lose(v2); b.bump(v2, "upstream_rq_active", 1) }, Inconclusive, "in flight"},
		{"two missing, one in flight", setup{n: 2000}, func(b *bed) { b.lose(v2); b.lose(v2); b.bump(v2, "upstream_rq_active", 1) }, Fail, "lost requests"},
		{"none missing, one never ends", setup{n: 2000}, func(b *bed) { b.bump(v2, "upstream_rq_active", 1) }, Pass, "1 shadow request to "},
		{"more than counted", setup{n: 2000}, func(b *bed) { b.receive(b.notMirrored(), v2) }, Fail, "more than"},
		{"overflow", setup{n: 2000}, func(b *bed) { b.bump(v2, "upstream_rq_pending_overflow", 1) }, Fail, "overflowed the circuit breaker"},
		{"a connection failed", setup{n: 2000}, func(b *bed) { b.bump(v2, "upstream_cx_connect_fail", 1) }, Fail, "1 connection failed"},
		{"absent", setup{n: 2000}, func(b *bed) { b.vanish(v2) }, Fail, "mirror absent"},
		{"absent, and unknown to the gateway", setup{n: 2000}, func(b *bed) { b.vanish(v2); b.forget(v2) }, Fail, "mirror absent"},
		{"nothing of few", setup{n: 4, seed: 3}, func(*bed) {}, Inconclusive, "nothing was mirrored to"},
		{"0 %", setup{n: 2000, routes: defaultRoutes(0)}, func(*bed) {}, Pass, "as configured"},
		{"no mirroring route got a request", setup{n: 100, route: func(int) string { return writer }}, func(*bed) {}, Inconclusive, "nothing was mirrored yet"},
		{"no route mirrors", setup{n: 100, routes: []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}}, {Name: writer, Upstream: true, Clusters: []string{v1}}}}, func(*bed) {}, NotTested, "no route mirrors"},
		{"restarted", setup{n: 2000}, func(b *bed) { b.facts.After["cluster."+v2+".upstream_rq_total"] = 1 }, Inconclusive, "restarted"},
		{"no counters", setup{n: 2000}, func(b *bed) { b.facts.After = nil }, Inconclusive, "missing"},
		{"counters not exported", setup{n: 2000}, func(b *bed) { b.forget(v2) }, Inconclusive, "proxyStatsMatcher"},
		{"no cluster's counters exported", setup{n: 2000}, func(b *bed) { b.vanish(v2); b.forget(v2); b.forget(v1); b.facts.After["server.uptime"] = 9 }, Inconclusive, "proxyStatsMatcher"},
		{"killed", setup{n: 2000}, func(b *bed) { b.facts.Incomplete = true; b.lose(v2) }, Inconclusive, "missing"},
		{"killed, and the shadow down", setup{n: 2000}, func(b *bed) { b.facts.Incomplete = true; b.kill(v2) }, Fail, "shadow down"},
		{"cut short", setup{n: 2000}, func(b *bed) { b.facts.Partial = true }, Inconclusive, "cut short"},
		{"cut short, and one lost", setup{n: 2000}, func(b *bed) { b.facts.Partial = true; b.lose(v2) }, Fail, "lost requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(c.setup)
			c.spoil(b)
			v := b.judge(t)[Delivery]
			if v.State != c.want {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
			says(t, v, c.says)
		})
	}
}

// notMirrored gives an id of the mirroring route that was not mirrored.
func (b *bed) notMirrored() string {
	mirrored := map[string]bool{}
	for _, r := range b.receipts {
		if r.Pod == "v2-a" || r.Pod == "v2-b" {
			mirrored[r.ID] = true
		}
	}
	for _, r := range b.results {
		if r.Route == reads && !mirrored[r.ID] {
			return r.ID
		}
	}
	panic("all mirrored")
}

// forget takes a cluster's counters out of what the gateway exports.
func (b *bed) forget(cluster string) {
	for _, m := range []map[string]uint64{b.facts.Before, b.facts.After} {
		for key := range m {
			if len(key) > len("cluster.")+len(cluster) && key[len("cluster."):len("cluster.")+len(cluster)] == cluster {
				delete(m, key)
			}
		}
	}
}

// A route goes straight to the cluster that another route mirrors to: the total counts both, Envoy's internal counters
// only the mirrors.
func TestSharedCluster(t *testing.T) {
	routes := append(defaultRoutes(100_000), RouteFact{Name: "beta", Upstream: true, Clusters: []string{v2}})
	mix := func(i int) string { return []string{reads, "beta", reads, writer, reads}[i%5] }
	for _, c := range []struct {
		name  string
		spoil func(*bed)
		want  map[string]State
		says  string
	}{
		{"flawless", func(*bed) {}, nil, "all arrived"},
		{"one mirror lost", func(b *bed) {
			for i, r := range b.receipts {
				if b.result(r.ID).Route == reads && (r.Pod == "v2-a" || r.Pod == "v2-b") {
					b.receipts = append(b.receipts[:i], b.receipts[i+1:]...)
					return
				}
			}
		}, map[string]State{Delivery: Fail}, "lost requests"},
		{"one write mirrored", func(b *bed) { b.arrive(b.results[3].ID, v2, true) }, map[string]State{Integrity: Fail}, "all arrived"},
		{"clients count as internal", func(b *bed) {
			b.facts.After["cluster."+v2+".internal.upstream_rq_2xx"] += b.facts.After["cluster."+v2+".external.upstream_rq_2xx"]
			b.facts.After["cluster."+v2+".external.upstream_rq_2xx"] = 0
		}, map[string]State{Delivery: Inconclusive, Sampling: Inconclusive}, "do not part them"},
		{"a time-out, which may be counted or not", func(b *bed) { b.bump(v2, "upstream_rq_timeout", 1) }, map[string]State{Delivery: Inconclusive}, "between"},
		{"a failure, which may be anyone's", func(b *bed) { b.bump(v2, "upstream_cx_none_healthy", 1) }, map[string]State{Delivery: Inconclusive}, "cannot be told whose"},
		{"more mirrors than counted", func(b *bed) { b.facts.After["cluster."+v2+".internal.upstream_rq_2xx"]-- }, map[string]State{Delivery: Fail}, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 5, routes: routes, route: mix})
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Delivery], c.says)
			if !vs[Delivery].Items[0].Approximate {
				t.Error("not marked approximate")
			}
		})
	}
}

// A mirror that goes to its own primary's pods: receipts are told apart by their order.
func TestMirrorToThePrimaryItself(t *testing.T) {
	routes := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v1, 10, 100_000}}}}
	only := func(int) string { return reads }
	b := newBed(setup{n: 20_000, seed: 7, routes: routes, route: only})
	vs := b.judge(t)
	expect(t, vs, nil)
	for _, name := range []string{Integrity, Delivery, Sampling} {
		if !vs[name].Items[0].Approximate {
			t.Errorf("%s is not marked approximate", name)
		}
	}
	says(t, vs[Integrity], "approximate")

	b.receipts = append(b.receipts, b.receipts[0], b.receipts[0])
	expect(t, b.judge(t), map[string]State{Integrity: Fail, Delivery: Fail})
}

// Retries at pods that a mirror shares could be copies: the fraction is then only known within bounds.
func TestRetriesAtSharedPods(t *testing.T) {
	routes := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}, Retries: 2, Mirrors: []MirrorFact{{v1, 10, 100_000}}}}
	b := newBed(setup{n: 20_000, seed: 7, routes: routes, route: func(int) string { return reads }})
	b.bump(v1, "upstream_rq_retry", 1000)
	v := b.judge(t)[Sampling]
	if v.State != Inconclusive {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, v, "cannot be told apart")
}

// Two routes mirror to one cluster, each with its own fraction.
func TestClusterOfTwoRoutes(t *testing.T) {
	routes := func(a, b uint32) []RouteFact {
		return []RouteFact{
			{Name: "a", Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, float64(a) / 1e4, a}}},
			{Name: "b", Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, float64(b) / 1e4, b}}},
		}
	}
	either := func(i int) string { return []string{"a", "b"}[i%2] }
	for _, c := range []struct {
		name  string
		spoil func(*bed)
		want  map[string]State
		says  string
	}{
		{"flawless", func(*bed) {}, nil, "programmed 50 % ± 2"},
		{"a's fraction is b's", func(b *bed) {
			b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 40, 400_000}
		}, map[string]State{Sampling: Fail}, "too few"},
		{"dead", func(b *bed) { b.kill(v2) }, map[string]State{Delivery: Fail, Integrity: Inconclusive, Sampling: Inconclusive}, "cannot be told per route"},
		{"one lost", func(b *bed) { b.lose(v2) }, map[string]State{Delivery: Fail}, "programmed 10 % ± 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 40_000, seed: 7, routes: routes(100_000, 500_000), route: either})
			b.options.Fraction = within(2)
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Sampling], c.says)
		})
	}
}

// A route that no request took is not tested, which alone decides nothing.
func TestRouteWithoutTraffic(t *testing.T) {
	routes := append(defaultRoutes(100_000), RouteFact{Name: "idle", Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{"v9", 100, million}}})
	vs := newBed(setup{n: 20_000, seed: 7, routes: routes}).judge(t)
	expect(t, vs, nil)
	for _, v := range []Verdict{vs[Integrity], vs[Delivery], vs[Sampling]} {
		if last := v.Items[len(v.Items)-1]; last.State != NotTested {
			t.Errorf("%s: %+v", v.Name, last)
		}
	}
	says(t, vs[Sampling], "route idle got no request")
}

func TestShadowAnswersAreCounted(t *testing.T) {
	b := newBed(setup{n: 2000, seed: 7})
	n := b.at(v2)
	r, _ := b.first(v2)
	r.Status, r.Duration = 0, traffic.Never
	answers := b.judge(t)[Delivery].Items[0].Delivery.Answers
	if answers["2xx"] != n-1 || answers["unfinished"] != 1 || len(answers) != 2 {
		t.Errorf("%v of %d", answers, n)
	}
}
