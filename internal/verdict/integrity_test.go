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
		{"no digests", spoilCopy(func(r *traffic.Receipt) { r.BodySHA256, r.HeaderSHA256 = "", "" }), "no_digest", Warning, Pass},
		{"an unfinished copy with another body", spoilCopy(func(r *traffic.Receipt) { r.BodySHA256, r.Duration = "part", traffic.Never }), "unfinished_body", Warning, Pass},
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
			b.arrive(id, v1, false)
			b.arrive(id, v1, false)
		}), "", "", Pass},
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
		{"no route", defaultRoutes(100_000), func(b *bed) { b.play(90_000, "", traffic.PhaseStage, 3) }, "", nil},
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
