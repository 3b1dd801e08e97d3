package verdict

import (
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// spoilCopy changes the first receipt at the shadow.
func spoilCopy(change func(*traffic.Receipt)) func(*bed) {
	return func(b *bed) {
		r, _ := b.first(v2)
		change(r)
	}
}

// ended makes the row of the first copy one that the client ended.
func ended(then func(b *bed, copy *traffic.Receipt, res *traffic.Result)) func(*bed) {
	return func(b *bed) {
		r, _ := b.first(v2)
		res := b.result(r.ID)
		res.Outcome, res.Status = traffic.Timeout, 0
		then(b, r, res)
	}
}

func TestIntegrityFindings(t *testing.T) {
	for _, c := range []struct {
		name     string
		spoil    func(*bed)
		code     string // "": none
		severity Severity
		state    State
	}{
		{"method", spoilCopy(func(r *traffic.Receipt) { r.Method = "HEAD" }), "mismatch_method", Failure, Fail},
		{"authority", spoilCopy(func(r *traffic.Receipt) { r.Authority = "other.example.com" }), "mismatch_authority", Failure, Fail},
		{"authority with Envoy's suffix", spoilCopy(func(r *traffic.Receipt) { r.Authority += "-shadow" }), "", "", Pass},
		{"path", spoilCopy(func(r *traffic.Receipt) { r.Path = "/api/items" }), "mismatch_path", Failure, Fail},
		{"body", spoilCopy(func(r *traffic.Receipt) { r.BodySHA256 = "x" }), "mismatch_body", Failure, Fail},
		{"size of the body alone", spoilCopy(func(r *traffic.Receipt) { r.BodyBytes++ }), "mismatch_body", Failure, Fail},
		{"headers", spoilCopy(func(r *traffic.Receipt) { r.HeaderSHA256 = "x" }), "mismatch_headers", Failure, Fail},
		{"a cut body on an answered request", spoilCopy(func(r *traffic.Receipt) { r.BodyCut, r.BodyBytes = true, 3 }), "mismatch_body", Failure, Fail},
		{"no digests", spoilCopy(func(r *traffic.Receipt) { r.BodySHA256, r.HeaderSHA256 = "", "" }), "no_digest", Warning, Inconclusive},
		{"an unfinished copy with another body", spoilCopy(func(r *traffic.Receipt) { r.BodySHA256, r.Duration = "part", traffic.Never }), "unfinished_body", Warning, Inconclusive},
		{"an unfinished copy with the body", spoilCopy(func(r *traffic.Receipt) { r.Duration = traffic.Never }), "", "", Pass},
		{"an unknown id at the shadow", spoilCopy(func(r *traffic.Receipt) { r.ID = "ffff" }), "unknown_id", Failure, Fail},
		{"no id at the shadow", spoilCopy(func(r *traffic.Receipt) { r.ID = "" }), "unknown_id", Failure, Fail},
		{"other traffic at a primary", func(b *bed) {
			r, _ := b.first(v1)
			other := *r
			other.ID = "ffff"
			b.receipts = append(b.receipts, other)
		}, "unknown_id_primary", Warning, Pass},
		{"a request that was never sent arrived", func(b *bed) {
			r, _ := b.first(v2)
			res := b.result(r.ID)
			res.Outcome, res.Sent = traffic.Unsent, traffic.Never
		}, "arrived_unsent", Failure, Fail},
		{"one id, two requests", func(b *bed) { b.results = append(b.results, b.results[4]) }, "id_reused", Failure, Fail},
		{"a read mirrored from a route without a mirror", func(b *bed) {
			b.results[3].Method = "GET"
			b.arrive(b.results[3].ID, v2, true)
		}, "mirrored_read", Failure, Fail},
		{"more primaries than tries", func(b *bed) {
			b.bump(v1, "upstream_rq_retry", 3)
			for range 3 {
				b.arrive(b.results[0].ID, v1, false)
			}
		}, "repeated_primary", Failure, Fail},
		{"primaries as often as tried", func(b *bed) {
			b.bump(v1, "upstream_rq_retry", 2)
			b.arrive(b.results[0].ID, v1, false)
			b.arrive(b.results[0].ID, v1, false)
		}, "", "", Pass},
		{"two primaries, although nothing was retried", func(b *bed) { b.arrive(b.results[0].ID, v1, false) }, "repeated_primary", Failure, Fail},
		{"two primaries, and nobody knows of retries", func(b *bed) {
			delete(b.facts.After, "cluster."+v1+".upstream_rq_retry")
			b.arrive(b.results[0].ID, v1, false)
		}, "", "", Pass},
		{"a primary that another try equals", func(b *bed) {
			b.bump(v1, "upstream_rq_retry", 1)
			r, _ := b.first(v2)
			try := b.receive(r.ID, v1)
			try.BodySHA256, try.BodyCut, try.Arrived = "part", true, b.start
		}, "", "", Pass},
		{"a primary answered 503 by the gateway", func(b *bed) { b.result(b.lose(v1)).Status = 503 }, "lost_primary_5xx", Failure, Fail},
		{"a primary at a pod of no cluster", func(b *bed) {
			r, _ := b.first(v1)
			r.Pod = "v1-new"
		}, "foreign_pod", Warning, Inconclusive},
		{"a primary at another cluster's pod", func(b *bed) {
			b.facts.Pods["outbound|80|v3|app"] = []string{"v3-a"}
			b.results[0].Outcome = traffic.OK
			b.receipts = append(b.receipts, b.receipts[0])
			b.receipts[len(b.receipts)-1].Pod = "v3-a"
		}, "stray", Failure, Fail},
		{"timed out, the copy's body cut", ended(func(_ *bed, r *traffic.Receipt, _ *traffic.Result) { r.BodyCut, r.BodySHA256 = true, "part" }), "cut_body", Warning, Pass},
		{"timed out, another path", ended(func(_ *bed, r *traffic.Receipt, _ *traffic.Result) { r.Path = "/x" }), "mismatch_path", Failure, Fail},
		{"timed out, no primary", ended(func(b *bed, r *traffic.Receipt, _ *traffic.Result) {
			id := r.ID
			b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return r.ID == id && strings.HasPrefix(r.Pod, "v1") })
		}), "no_primary_receipt", Warning, Pass},
		{"timed out, three primaries", ended(func(b *bed, r *traffic.Receipt, _ *traffic.Result) {
			id := r.ID
			b.bump(v1, "upstream_rq_retry", 2)
			b.arrive(id, v1, false)
			b.arrive(id, v1, false)
		}), "", "", Pass},
		{"timed out, two primaries, although nothing was retried", ended(func(b *bed, r *traffic.Receipt, _ *traffic.Result) { b.arrive(r.ID, v1, false) }), "repeated_primary", Failure, Fail},
		{"timed out, twice at the shadow", ended(func(b *bed, r *traffic.Receipt, _ *traffic.Result) { b.receipts = append(b.receipts, *r) }), "duplicate", Failure, Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 2000, seed: 3})
			c.spoil(b)
			v := b.judge(t)[Integrity]
			if v.State != c.state {
				t.Errorf("%s: %s", v.State, v.Summary)
			}
			if c.code == "" {
				if len(v.Findings) > 0 {
					t.Errorf("findings: %+v", v.Findings)
				}
				return
			}
			if f := found(t, v, c.code); f.Severity != c.severity || f.Count != 1 || len(v.Findings) != 1 {
				t.Errorf("%+v", v.Findings)
			}
		})
	}
}

// At the gateway: direct responses, redirects, aborts, and what no route matches.
func TestAnsweredAtTheGateway(t *testing.T) {
	abort := func(numerator uint32) []RouteFact {
		routes := defaultRoutes(100_000)
		routes[0].AbortStatus, routes[0].AbortNumerator = 418, numerator
		return routes
	}
	swallow := func(b *bed, id string) { // as an abort does
		b.result(id).Status = 418
		b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return r.ID == id })
		b.facts.After["cluster."+v1+".upstream_rq_total"]--
		if draw(3, id) < 100_000 {
			b.facts.After["cluster."+v2+".upstream_rq_total"]--
		}
	}
	for _, c := range []struct {
		name   string
		routes []RouteFact
		spoil  func(*bed)
		code   string
		want   map[string]State
	}{
		{"a redirect", append(defaultRoutes(100_000), RouteFact{Name: "r"}), func(b *bed) { b.play(90_000, "r", traffic.PhaseStage, 3) }, "", nil},
		{"a redirect that arrived", append(defaultRoutes(100_000), RouteFact{Name: "r"}), func(b *bed) {
			b.play(90_000, "r", traffic.PhaseStage, 3)
			b.arrive("00015f90", v1, false)
		}, "answered_at_gateway", map[string]State{Integrity: Fail}},
		{"no route", defaultRoutes(100_000), func(b *bed) { b.unrouted(404) }, "", nil},
		{"no route, a malformed request", defaultRoutes(100_000), func(b *bed) { b.unrouted(400) }, "", nil},
		{"no route, a redirect to https", defaultRoutes(100_000), func(b *bed) { b.unrouted(301) }, "", nil},
		{"no route, and somebody answered it", defaultRoutes(100_000), func(b *bed) { b.unrouted(200) }, "unrouted_answered", map[string]State{Integrity: Inconclusive}},
		{"no route, and the gateway could not", defaultRoutes(100_000), func(b *bed) { b.unrouted(503) }, "unrouted_answered", map[string]State{Integrity: Inconclusive}},
		{"no route, and it arrived", defaultRoutes(100_000), func(b *bed) {
			b.play(90_000, "", traffic.PhaseStage, 3)
			b.arrive("00015f90", v1, false)
		}, "unrouted", map[string]State{Integrity: Fail}},
		{"some aborted", abort(100_000), func(b *bed) {
			for i := 0; i < 40; i += 4 {
				swallow(b, b.results[i].ID)
			}
		}, "", nil},
		{"without an abort that is a lost primary", defaultRoutes(100_000), func(b *bed) { swallow(b, b.results[0].ID) }, "lost_primary", map[string]State{Integrity: Fail}},
		{"all are to be aborted, and arrived", abort(million), func(*bed) {}, "answered_at_gateway",
			map[string]State{Integrity: Fail, Delivery: Inconclusive, Sampling: Inconclusive}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 3, routes: c.routes})
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			if c.code != "" {
				found(t, vs[Integrity], c.code)
			} else if len(vs[Integrity].Findings) > 0 {
				t.Errorf("%+v", vs[Integrity].Findings)
			}
		})
	}
}

func TestAbortedAreCountedAndNotEligible(t *testing.T) {
	routes := defaultRoutes(100_000)
	routes[0].AbortStatus, routes[0].AbortNumerator = 503, 1000
	b := newBed(setup{n: 20_000, seed: 3, routes: routes})
	id := b.results[0].ID
	b.results[0].Status = 503
	b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return r.ID == id })
	vs := b.judge(t)
	if g := vs[Integrity].Items[0].Integrity; g.Aborted != 1 || g.OK != 15_000 {
		t.Errorf("%+v", g)
	}
	if g := vs[Sampling].Items[0].Sampling; g.Eligible != 14_999 {
		t.Errorf("%+v", g)
	}
}

func TestAuthorityForms(t *testing.T) {
	for _, c := range []struct{ primary, copy, want string }{
		{"shop.example.com", "shop.example.com", "host"},
		{"shop.example.com", "shop.example.com-shadow", "host-shadow"},
		{"shop.example.com:8080", "shop.example.com-shadow:8080", "host-shadow"},
		{"[::1]", "[::1]-shadow", "host-shadow"},
		{"[::1]:80", "[::1]-shadow:80", "host-shadow"},
		{"shop.example.com:8080", "shop.example.com:8080-shadow", ""},
		{"shop.example.com-shadow", "shop.example.com", ""},
	} {
		t.Run(c.copy, func(t *testing.T) {
			b := newBed(setup{n: 500, seed: 3})
			for i := range b.receipts {
				b.receipts[i].Authority = c.primary
				if slices.Contains(b.facts.Pods[v2], b.receipts[i].Pod) {
					b.receipts[i].Authority = c.copy
				}
			}
			v := b.judge(t)[Integrity]
			if got := v.Items[0].Integrity.AuthorityForms; got != c.want {
				t.Errorf("saw %q, want %q", got, c.want)
			}
			if (v.State == Pass) != (c.want != "") {
				t.Errorf("%s: %s", v.State, v.Summary)
			}
		})
	}
}

func TestIntegrityWithoutEvidence(t *testing.T) {
	noMirror := []RouteFact{{Name: reads, Upstream: true, Clusters: []string{v1}}, {Name: writer, Upstream: true, Clusters: []string{v1}}}
	for _, c := range []struct {
		name  string
		setup setup
		spoil func(*bed)
		want  State
		says  string
	}{
		{"no request", setup{n: 0}, func(*bed) {}, Inconclusive, "no request was sent"},
		{"no request has a route", setup{n: 100, route: func(int) string { return "?" }}, func(*bed) {}, Inconclusive, "no route matches any of 100 requests"},
		{"no mirror is configured", setup{n: 100, routes: noMirror}, func(*bed) {}, Pass, "no route mirrors"},
		{"a mirror of 0 %", setup{n: 100, routes: defaultRoutes(0)}, func(*bed) {}, Pass, "no route mirrors"},
		{"nothing mirrored yet", setup{n: 4, seed: 3}, func(*bed) {}, Inconclusive, "no mirrored request could be compared"},
		{"no copy has a digest", setup{n: 100, seed: 3}, func(b *bed) {
			for i := range b.receipts {
				b.receipts[i].BodySHA256 = ""
			}
		}, Inconclusive, "no mirrored request could be compared"},
		{"cut short", setup{n: 2000, seed: 3}, func(b *bed) { b.facts.Partial = true }, Inconclusive, "cut short"},
		{"cut short, and mutated", setup{n: 2000, seed: 3}, func(b *bed) {
			b.facts.Partial = true
			spoilCopy(func(r *traffic.Receipt) { r.Path = "/x" })(b)
		}, Fail, "mismatch_path"},
		{"killed: receipts are missing", setup{n: 2000, seed: 3}, func(b *bed) {
			b.facts.Incomplete = true
			b.lose(v1)
		}, Inconclusive, "lost_primary_partial"},
		{"killed: results are missing", setup{n: 2000, seed: 3}, func(b *bed) {
			b.facts.Incomplete = true
			b.results = b.results[:1000]
		}, Inconclusive, "unknown_id_partial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(c.setup)
			c.spoil(b)
			v := b.judge(t)[Integrity]
			if v.State != c.want {
				t.Errorf("%s: %s", v.State, v.Summary)
			}
			says(t, v, c.says)
		})
	}
}

func TestExamplesAreTheFirstTen(t *testing.T) {
	b := newBed(setup{n: 2000, seed: 3})
	var want []string
	for i := range b.receipts {
		if r := &b.receipts[i]; slices.Contains(b.facts.Pods[v2], r.Pod) {
			r.Path = "/x"
			want = append(want, r.ID)
		}
	}
	f := found(t, b.judge(t)[Integrity], "mismatch_path")
	if f.Count != len(want) || !slices.Equal(f.Examples, want[:10]) {
		t.Errorf("%+v, want %d as %v", f, len(want), want[:10])
	}
}

// The order of rows within and between the two streams does not matter, but for that of examples.
func TestOrderDoesNotMatter(t *testing.T) {
	b := newBed(setup{n: 3000, seed: 3})
	want := b.judge(t)
	r := NewRecon()
	for i := len(b.receipts) - 1; i >= 0; i-- {
		r.AddReceipt(&b.receipts[i])
	}
	for i := len(b.results) - 1; i >= 0; i-- {
		r.AddResult(&b.results[i])
	}
	vs, err := r.Judge(b.facts, b.options)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if v.Summary != want[v.Name].Summary || v.State != want[v.Name].State {
			t.Errorf("%s: %s, want %s", v.Name, v.Summary, want[v.Name].Summary)
		}
	}
}

// Rows of a caller's reused buffers are not kept.
func TestInputIsCopied(t *testing.T) {
	r := NewRecon()
	var res traffic.Result
	for _, id := range []string{"a", "b"} {
		res = traffic.Result{ID: id, Route: reads, Outcome: traffic.OK, Phase: traffic.PhaseStage, End: time.Second}
		r.AddResult(&res)
	}
	res.ID = "c"
	if len(r.rows) != 2 || r.rows[0].id != "a" || r.rows[1].id != "b" {
		t.Errorf("%+v", r.rows)
	}
}

// unrouted plays a request that no route matches, answered with the status.
func (b *bed) unrouted(status int) {
	b.play(90_000, "", traffic.PhaseStage, 3)
	b.results[len(b.results)-1].Status = status
}

// A mirror of 0 % is no policy at all. What reaches it has one judge: the exact set of Sampling the reads, where the
// fraction is asked for, Integrity all else.
func TestMirrorOfZero(t *testing.T) {
	const v3 = "outbound|80|v3|app"
	pods := map[string][]string{v1: {"v1-a"}, v2: {"v2-a", "v2-b"}, v3: {"v3-a"}}
	alone := defaultRoutes(100_000)
	alone[1].Mirrors = []MirrorFact{{v3, 0, 0}}
	beside := defaultRoutes(100_000)
	beside[1].Mirrors = []MirrorFact{{v2, 10, 100_000}, {v3, 0, 0}}
	for _, c := range []struct {
		name   string
		asked  bool
		method string
		want   map[string]State
		code   string
	}{
		{"a write, fraction asked for", true, "POST", map[string]State{Integrity: Fail}, "mirrored_write"},
		{"a read, fraction asked for", true, "GET", map[string]State{Sampling: Fail}, "mirrored_at_zero"},
		{"a write, fraction not asked for", false, "POST", map[string]State{Integrity: Fail, Sampling: NotTested}, "mirrored_write"},
		{"a read, fraction not asked for", false, "GET", map[string]State{Integrity: Fail, Sampling: NotTested}, "mirrored_read"},
	} {
		for name, routes := range map[string][]RouteFact{"alone": alone, "beside an active mirror": beside} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				b := newBed(setup{n: 40_000, seed: 7, routes: routes, pods: pods})
				if !c.asked {
					b.options.Fraction = nil
				}
				expect(t, b.judge(t), map[string]State{Sampling: map[bool]State{true: Pass, false: NotTested}[c.asked]})
				b.results[3].Method = c.method
				for i := range b.receipts {
					if r := &b.receipts[i]; r.ID == b.results[3].ID {
						r.Method = c.method
					}
				}
				b.arrive(b.results[3].ID, v3, true)
				vs := b.judge(t)
				expect(t, vs, c.want)
				for verdict, state := range c.want {
					if state == Fail {
						if f := found(t, vs[verdict], c.code); f.Count != 1 || f.Examples[0] != b.results[3].ID {
							t.Errorf("%+v", f)
						}
					}
				}
			})
		}
	}
}

// A route of 0 % that mirrors everything does not pass because nobody asked for the fraction.
func TestAllMirroredAtZero(t *testing.T) {
	routes := defaultRoutes(100_000)
	routes[1].Mirrors = []MirrorFact{{v2, 100, million}}
	b := newBed(setup{n: 2000, seed: 7, routes: routes})
	b.facts.Routes[1].Mirrors[0] = MirrorFact{v2, 0, 0}
	b.options.Fraction = nil
	vs := b.judge(t)
	expect(t, vs, map[string]State{Integrity: Fail, Sampling: NotTested})
	if f := found(t, vs[Integrity], "mirrored_write"); f.Count != 500 {
		t.Errorf("%+v", f)
	}
}

// Copies that could not be compared keep the verdict from passing: any of an answered request, and most of those that
// the client ended.
func TestNotCompared(t *testing.T) {
	copies := func(change func(b *bed, r *traffic.Receipt)) func(*bed) {
		return func(b *bed) {
			first := true
			for i := range b.receipts {
				if r := &b.receipts[i]; slices.Contains(b.facts.Pods[v2], r.Pod) {
					if !first {
						change(b, r)
					}
					first = false
				}
			}
		}
	}
	timedOut := func(n int) func(*bed) {
		return func(b *bed) {
			gone := map[string]bool{}
			for i := range b.results[:n] {
				r := &b.results[i]
				r.Outcome, r.Status, gone[r.ID] = traffic.Timeout, 0, true
			}
			b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return gone[r.ID] && strings.HasPrefix(r.Pod, "v1") })
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(*bed)
		want  State
		says  string
	}{
		{"one copy has digests", copies(func(_ *bed, r *traffic.Receipt) { r.BodySHA256, r.HeaderSHA256 = "", "" }), Inconclusive, "1 of 2,000 mirrored requests compared"},
		{"one copy was read", copies(func(_ *bed, r *traffic.Receipt) { r.Duration, r.BodySHA256 = traffic.Never, "part" }), Inconclusive, "1 of 2,000 mirrored requests compared"},
		{"one copy was read, and the others are duplicates", copies(func(b *bed, r *traffic.Receipt) {
			r.Duration, r.BodySHA256 = traffic.Never, "part"
			b.receipts = append(b.receipts, *r)
		}), Fail, "arrived more than once at one mirror"},
		{"the client ended 1,000", timedOut(1000), Pass, "1,000 of 2,000 mirrored requests compared"},
		{"the client ended 1,001", timedOut(1001), Inconclusive, "999 of 2,000 mirrored requests compared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 2000, seed: 7, routes: defaultRoutes(million), route: onlyReads})
			c.spoil(b)
			v := b.judge(t)[Integrity]
			if v.State != c.want || !strings.Contains(v.Summary, c.says) {
				t.Errorf("%s, want %s with %q: %s", v.State, c.want, c.says, v.Summary)
			}
		})
	}
}

// More aborts than the fault's share explains are losses that hide behind its status.
func TestTooManyAborts(t *testing.T) {
	for _, c := range []struct {
		name string
		lost int
		want map[string]State
	}{
		{"1 % of 15,000", 150, nil},
		{"within chance: 170", 170, nil},
		{"in doubt: 171", 171, map[string]State{Integrity: Inconclusive}},
		{"in doubt: 189", 189, map[string]State{Integrity: Inconclusive}},
		{"beyond chance: 190", 190, map[string]State{Integrity: Fail}},
		{"half", 7500, map[string]State{Integrity: Fail}},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := defaultRoutes(100_000)
			routes[0].AbortStatus, routes[0].AbortNumerator = 503, 10_000
			b := newBed(setup{n: 20_000, seed: 7, routes: routes})
			lost := map[string]bool{}
			for i := range b.results {
				if r := &b.results[i]; r.Route == reads && len(lost) < c.lost {
					r.Status, lost[r.ID] = 503, true
					if draw(7, r.ID) < 100_000 {
						b.facts.After["cluster."+v2+".upstream_rq_total"]--
					}
				}
			}
			b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return lost[r.ID] })
			vs := b.judge(t)
			expect(t, vs, c.want)
			if c.want[Integrity] != Fail {
				return
			}
			if f := found(t, vs[Integrity], "excess_aborts"); f.Count != c.lost-150 || len(f.Examples) != 10 {
				t.Errorf("%+v", f)
			}
			if item := vs[Integrity].Items[0]; item.State != Fail || item.Integrity.AbortPValue == nil {
				t.Errorf("%+v", item)
			}
		})
	}
}

// Requests without a route are told, answered as they should be or not.
func TestUnroutedIsTold(t *testing.T) {
	most := func(i int) string {
		if i%100 == 0 {
			return reads
		}
		return ""
	}
	b := newBed(setup{n: 1000, seed: 7, routes: defaultRoutes(million), route: most})
	for i := range b.results {
		if b.results[i].Route == "" {
			b.results[i].Status = 404
		}
	}
	vs := b.judge(t)
	expect(t, vs, nil)
	says(t, vs[Integrity], "990 requests match no route and were answered 404 by the gateway")
	b.results[1].Status = 200
	vs = b.judge(t)
	expect(t, vs, map[string]State{Integrity: Inconclusive})
	if f := found(t, vs[Integrity], "unrouted_answered"); f.Count != 1 || f.Severity != Warning {
		t.Errorf("%+v", f)
	}
	says(t, vs[Integrity], "990 requests match no route; 989 of them were answered 404 by the gateway")
}

// One retry explains one primary that came twice, whoever shares its cluster.
func TestRetriesExplainNoMore(t *testing.T) {
	for _, c := range []struct {
		name     string
		again    int // requests of both routes whose primary comes twice
		retries  uint64
		timedOut bool
		want     map[string]State
		count    int
	}{
		{"as many as retried", 100, 100, false, nil, 0},
		{"one more", 101, 100, false, map[string]State{Integrity: Fail}, 1},
		{"all, and one was retried", 2000, 1, false, map[string]State{Integrity: Fail}, 1999},
		{"of requests that timed out too", 101, 100, true, map[string]State{Integrity: Fail}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 2000, seed: 7, routes: defaultRoutes(million)})
			b.bump(v1, "upstream_rq_retry", c.retries)
			for i := range b.results[:c.again] {
				b.arrive(b.results[i].ID, v1, false)
				if c.timedOut {
					b.results[i].Outcome, b.results[i].Status = traffic.Timeout, 0
				}
			}
			vs := b.judge(t)
			expect(t, vs, c.want)
			if c.count > 0 {
				if f := found(t, vs[Integrity], "repeated_primary"); f.Count != c.count {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// Retries of a cluster that a route does not use explain nothing of its, and each route's surplus is told.
func TestRetriesOfOtherClusters(t *testing.T) {
	const other, both = "default/app/other", "default/app/both"
	routes := []RouteFact{
		{Name: reads, Upstream: true, Clusters: []string{v1}, Retries: 2},
		{Name: other, Upstream: true, Clusters: []string{v2}, Retries: 2},
		{Name: both, Upstream: true, Clusters: []string{v1, v2}, Retries: 2},
	}
	b := newBed(setup{n: 30, routes: routes, route: func(i int) string { return routes[i%3].Name }})
	b.bump(v1, "upstream_rq_retry", 1)
	b.bump(v2, "upstream_rq_retry", 2)
	for _, i := range []int{0, 1, 2} { // one of each route
		b.arrive(b.results[i].ID, v1, false)
		b.receipts[len(b.receipts)-1].Pod = b.facts.Pods[routes[i].Clusters[0]][0]
	}
	if v := b.judge(t)[Integrity]; v.State != Pass {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	b.receive(b.results[3].ID, v1)
	v := b.judge(t)[Integrity]
	if f := found(t, v, "repeated_primary"); v.State != Fail || f.Count != 1 || f.Examples[0] != b.results[0].ID || v.Items[0].State != Fail {
		t.Errorf("%s: %+v", v.State, f)
	}
}
