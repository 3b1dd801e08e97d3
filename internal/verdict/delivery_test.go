package verdict

import (
	"strings"
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
	if !strings.HasSuffix(vs[Sampling].Summary, "; not tested: idle") {
		t.Error(vs[Sampling].Summary)
	}
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

// A policy that does nothing is not hidden by another route's copies at the same cluster.
func TestAbsentPolicy(t *testing.T) {
	const second = "default/app/second"
	for _, c := range []struct {
		name  string
		share uint32 // of the second route, of which nothing is mirrored
		every int    // one of so many requests is the second route's
		spoil func(*bed)
		want  map[string]State
		says  string
	}{
		{"100 %", million, 2, func(*bed) {}, map[string]State{Delivery: Fail}, "mirror absent: of 5,000 requests of default/app/second that could have been mirrored to app:80/v2 none was"},
		{"10 %", 100_000, 2, func(*bed) {}, map[string]State{Delivery: Fail}, "mirror absent"},
		{"10 % of few", 100_000, 1000, func(*bed) {}, nil, "all arrived"},
		{"10 % of few more", 100_000, 300, func(*bed) {}, map[string]State{Delivery: Inconclusive}, "of 34 requests of default/app/second"},
		{"10 %, and as much is lost", 100_000, 300, func(b *bed) { b.bump(v2, "upstream_rq_total", 5) }, map[string]State{Delivery: Fail}, "lost requests"},
		{"100 %, and a little is lost", million, 2, func(b *bed) { b.lose(v2) }, map[string]State{Delivery: Fail}, "mirror absent"},
		{"the shadow is dead", million, 2, func(b *bed) { b.kill(v2) }, map[string]State{Delivery: Fail, Integrity: Inconclusive}, "shadow down"},
		{"killed", million, 2, func(b *bed) { b.facts.Incomplete = true }, map[string]State{Delivery: Inconclusive, Integrity: Inconclusive, Rate: Inconclusive}, "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := []RouteFact{
				{Name: reads, Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 10, 100_000}}},
				{Name: second, Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 0, 0}}},
			}
			b := newBed(setup{n: 10_000, seed: 7, routes: routes, route: func(i int) string {
				if i%c.every == 0 {
					return second
				}
				return reads
			}})
			b.facts.Routes[1].Mirrors[0] = MirrorFact{v2, float64(c.share) / 1e4, c.share}
			b.options.Fraction = nil
			c.spoil(b)
			vs := b.judge(t)
			want := map[string]State{Sampling: NotTested}
			for name, state := range c.want {
				want[name] = state
			}
			expect(t, vs, want)
			says(t, vs[Delivery], c.says)
		})
	}
}

// What the cluster lost may have been all of a route's: then its mirror is not known to be absent.
func TestAbsentOrLost(t *testing.T) {
	routes := []RouteFact{
		{Name: "a", Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 10, 100_000}}},
		{Name: "b", Upstream: true, Clusters: []string{v1}, Mirrors: []MirrorFact{{v2, 10, 100_000}}},
	}
	b := newBed(setup{n: 4000, seed: 7, routes: routes, route: func(i int) string { return []string{"a", "b"}[i%2] }})
	kept := b.receipts[:0]
	for _, r := range b.receipts {
		if b.result(r.ID).Route == "a" || r.Pod != "v2-a" && r.Pod != "v2-b" {
			kept = append(kept, r)
		}
	}
	b.receipts = kept
	v := b.judge(t)[Delivery]
	if last := v.Items[len(v.Items)-1]; v.State != Fail || last.Route != "b" || last.State != Inconclusive {
		t.Errorf("%s: %+v", v.State, v.Items)
	}
	says(t, v, "lost requests", "which losses may explain")
}

// What is not over is not judged as if it were.
func TestUndrained(t *testing.T) {
	pending := func(n uint64) func(*bed) { return func(b *bed) { b.bump(v2, "upstream_rq_pending_active", n) } }
	for _, c := range []struct {
		name      string
		undrained bool
		spoil     func(*bed)
		want      map[string]State
		says      string // of Delivery
	}{
		{"drained, one missing", false, func(b *bed) { b.lose(v2) }, map[string]State{Delivery: Fail}, "lost requests"},
		{"one missing", true, func(b *bed) { b.lose(v2) }, map[string]State{Integrity: Inconclusive, Delivery: Inconclusive}, "before the mirror clusters were idle"},
		{"one waits", true, pending(1), map[string]State{Integrity: Inconclusive, Delivery: Inconclusive}, "1 shadow request to app:80/v2 still waits for a connection"},
		{"drained, and one waits", false, pending(1), map[string]State{Delivery: Inconclusive}, "1 shadow request to app:80/v2 still waits for a connection"},
		{"hung, and all arrived", true, func(b *bed) { b.bump(v2, "upstream_rq_active", 9) }, nil, "9 shadow requests to app:80/v2 never ended (hung shadow?)"},
		{"three missing that wait", false, func(b *bed) {
			pending(3)(b)
			b.lose(v2)
			b.lose(v2)
			b.lose(v2)
		}, map[string]State{Delivery: Inconclusive}, "in flight"},
		{"three arrived that waited when the gateway was asked", false, func(b *bed) {
			pending(3)(b)
			b.facts.After["cluster."+v2+".upstream_rq_total"] -= 3
		}, map[string]State{Delivery: Inconclusive}, "more than the"},
		{"four arrived, of three that waited", false, func(b *bed) {
			pending(3)(b)
			b.facts.After["cluster."+v2+".upstream_rq_total"] -= 4
		}, map[string]State{Delivery: Fail}, "more than the"},
		{"all wait", true, func(b *bed) { pending(b.vanish(v2))(b) }, map[string]State{Integrity: Inconclusive, Delivery: Inconclusive, Sampling: Inconclusive}, "still wait for a connection"},
		{"dead", true, func(b *bed) { b.kill(v2) }, map[string]State{Integrity: Inconclusive, Delivery: Fail}, "shadow down"},
		{"a duplicate", true, func(b *bed) {
			r, _ := b.first(v2)
			b.receipts = append(b.receipts, *r)
			pending(1)(b)
		}, map[string]State{Integrity: Fail, Delivery: Inconclusive}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7})
			b.facts.Undrained = c.undrained
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Delivery], c.says)
		})
	}
}

// A mirror to pods that the route's own primaries use, through another cluster: a retry looks like a copy.
func TestRetryTakenForACopy(t *testing.T) {
	app := "outbound|80||app"
	for _, c := range []struct {
		name  string
		share uint32
		asked bool
		spoil func(b *bed, plain, mirrored string)
		want  map[string]State
	}{
		{"10 %", 100_000, true, func(b *bed, plain, _ string) { b.retry(app, plain) }, map[string]State{Delivery: Inconclusive}},
		{"10 %, of a request that was mirrored", 100_000, true, func(b *bed, _, mirrored string) { b.retry(app, mirrored) }, nil},
		{"10 %, and one more than was retried", 100_000, true, func(b *bed, plain, _ string) {
			b.retry(app, plain)
			b.receive(b.results[len(b.results)-1].ID, app)
			b.receive(b.results[len(b.results)-2].ID, app)
		}, map[string]State{Delivery: Fail}},
		{"0 %", 0, true, func(b *bed, plain, _ string) { b.retry(app, plain) }, map[string]State{Delivery: Inconclusive, Sampling: Inconclusive}},
		{"0 %, fraction not asked for", 0, false, func(b *bed, plain, _ string) { b.retry(app, plain) }, map[string]State{Sampling: NotTested}},
		{"0 %, fraction not asked for, nothing retried", 0, false, func(b *bed, plain, _ string) { b.receive(plain, app) }, map[string]State{Integrity: Fail, Delivery: Fail, Sampling: NotTested}},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{app}, Retries: 2, Mirrors: []MirrorFact{{v1, float64(c.share) / 1e4, c.share}}}}
			b := newBed(setup{n: 20_000, seed: 7, routes: routes, pods: map[string][]string{app: {"a"}, v1: {"a"}}, route: onlyReads})
			if !c.asked {
				b.options.Fraction = nil
			}
			plain, mirrored := "", ""
			for _, r := range b.results[:1000] {
				if draw(7, r.ID) < c.share {
					mirrored = r.ID
				} else {
					plain = r.ID
				}
			}
			c.spoil(b, plain, mirrored)
			vs := b.judge(t)
			expect(t, vs, c.want)
			if strings.Contains(vs[Sampling].Summary, "-1") {
				t.Error(vs[Sampling].Summary)
			}
		})
	}
}

// retry lets a primary arrive once more.
func (b *bed) retry(cluster, id string) {
	b.bump(cluster, "upstream_rq_retry", 1)
	b.arrive(id, cluster, false)
}

// A pod that came during the run may have got what is missing.
func TestMissingAtAForeignPod(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*bed)
		want  map[string]State
		says  string
	}{
		{"a copy at a new pod", func(b *bed) {
			r, _ := b.first(v2)
			r.Pod = "v2-new"
		}, map[string]State{Delivery: Inconclusive, Integrity: Inconclusive}, "at pods that are in no cluster"},
		{"a copy at a new pod, and another lost", func(b *bed) {
			r, _ := b.first(v2)
			r.Pod = "v2-new"
			b.lose(v2)
		}, map[string]State{Delivery: Fail, Integrity: Inconclusive}, "lost requests"},
		{"a primary at a new pod, and a copy lost", func(b *bed) {
			b.lose(v2)
			r, _ := b.first(v1)
			r.Pod = "v1-new"
		}, map[string]State{Delivery: Fail, Integrity: Inconclusive}, "lost requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7})
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Delivery], c.says)
		})
	}
}
