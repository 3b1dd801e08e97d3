package verdict

import (
	"slices"
	"testing"
	"time"

	"umbra/internal/traffic"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func (b *bed) restarted(pod, what string, lost bool) {
	version := "v1"
	if slices.Contains(b.facts.Pods[v2], pod) {
		version = "v2"
	}
	b.facts.Restarts = append(b.facts.Restarts, Restart{Pod: pod, Version: version, What: what, At: noon, Lost: lost})
}

// refuse has the gateway get 5xx for the first n requests mirrored to a cluster, of which the app knows nothing.
func (b *bed) refuse(cluster string, n int) {
	for range n {
		b.lose(cluster)
		b.facts.After["cluster."+cluster+".internal.upstream_rq_2xx"]--
		b.facts.After["cluster."+cluster+".internal.upstream_rq_5xx"]++
	}
}

// answer5xx has the app itself answer the first n requests at a cluster so.
func (b *bed) answer5xx(cluster string, n int) {
	for i := range b.receipts {
		if n > 0 && slices.Contains(b.facts.Pods[cluster], b.receipts[i].Pod) {
			b.receipts[i].Status = 503
			b.facts.After["cluster."+cluster+".internal.upstream_rq_2xx"]--
			b.facts.After["cluster."+cluster+".internal.upstream_rq_5xx"]++
			n--
		}
	}
}

// empty leaves a cluster without endpoints when the last n requests are mirrored to it.
func (b *bed) empty(cluster string, n int) {
	for range n {
		b.lose(cluster)
		b.facts.After["cluster."+cluster+".upstream_rq_total"]--
		b.bump(cluster, "upstream_cx_none_healthy", 1)
	}
}

func (b *bed) members(healthy uint64) {
	b.facts.After["cluster."+v2+".membership_healthy"] = healthy
}

// How a shadow is wrong is told apart, each by a sentence and a finding of its own; the primary's integrity stays whole.
func TestShadowTroublesAreToldApart(t *testing.T) {
	lost := map[string]State{Integrity: Inconclusive, Delivery: Inconclusive}
	for _, c := range []struct {
		name  string
		spoil func(*bed)
		want  map[string]State
		says  []string
		code  string // of Delivery's only finding; empty: it has none
	}{
		{"healthy", func(b *bed) { b.members(2) }, nil, []string{"all arrived"}, ""},
		{"scaled to zero", func(b *bed) {
			b.empty(v2, 5)
			b.members(0)
			b.restarted("v2-a", "ended", false)
			b.restarted("v2-b", "ended", false)
		}, map[string]State{Delivery: Fail}, []string{"shadow scaled to zero: app:80/v2 has no healthy endpoint left; 5 requests found no healthy endpoint", "pod v2-b (v2) ended at 2026-11-23T12:00:00Z; none of its receipts is missing"}, ShadowScaledToZero},
		{"scaled to zero, and receipts are lost", func(b *bed) {
			b.empty(v2, 5)
			b.members(0)
			b.lose(v2)
			b.restarted("v2-a", "ended", true)
		}, map[string]State{Integrity: Inconclusive, Delivery: Fail}, []string{"shadow scaled to zero", "1 of "}, ShadowScaledToZero},
		{"without endpoints, and who has them is not known", func(b *bed) { b.empty(v2, 5) }, map[string]State{Delivery: Fail}, []string{"shadow down, or scaled to zero: 5 requests"}, ShadowDown},
		{"killed behind its sidecar", func(b *bed) {
			b.refuse(v2, 5)
			b.restarted("v2-a", "restarted 1 time", true)
		}, map[string]State{Integrity: Inconclusive, Delivery: Fail}, []string{"shadow killed mid-run: pod v2-a (v2) restarted 1 time at 2026-11-23T12:00:00Z; the gateway got 5xx for 5 requests to app:80/v2 of which the app has no receipt"}, ShadowKilled},
		{"killed with its sidecar", func(b *bed) {
			b.empty(v2, 3)
			b.bump(v2, "upstream_cx_connect_fail", 2)
			b.members(0)
			b.restarted("v2-a", "restarted 2 times", false)
		}, map[string]State{Delivery: Fail}, []string{"shadow killed mid-run: pod v2-a (v2) restarted 2 times", "2 connections failed"}, ShadowKilled},
		{"a pod went at once", func(b *bed) {
			b.bump(v2, "upstream_cx_connect_fail", 1)
			b.members(1)
			b.restarted("v2-a", "ended at once", true)
		}, map[string]State{Integrity: Inconclusive, Delivery: Fail}, []string{"shadow killed mid-run: pod v2-a (v2) ended at once"}, ShadowKilled},
		{"a pod was replaced, and connections failed", func(b *bed) {
			b.bump(v2, "upstream_cx_connect_fail", 1)
			b.restarted("v2-b", "began", false)
			b.restarted("v2-a", "ended", false)
		}, map[string]State{Delivery: Fail}, []string{"shadow lost a pod mid-run: pod v2-a (v2) ended"}, ShadowEnded},
		{"refused by its sidecar", func(b *bed) { b.refuse(v2, 5); b.members(2) }, map[string]State{Delivery: Fail}, []string{"shadow refused: the gateway got 5xx for 5 requests"}, ShadowRefused},
		{"refusing connections", func(b *bed) { b.bump(v2, "upstream_cx_connect_fail", 3); b.members(2) }, map[string]State{Delivery: Fail}, []string{"shadow down: 3 connections failed"}, ShadowDown},
		{"answering 5xx", func(b *bed) { b.answer5xx(v2, 5); b.members(2) }, nil, []string{"all arrived; the shadow itself answered 5xx to 5"}, ShadowAnswered5xx},
		{"5xx by a time-out", func(b *bed) {
			b.refuse(v2, 1)
			b.bump(v2, "upstream_rq_timeout", 1)
		}, map[string]State{Delivery: Fail}, []string{"the shadow lost requests"}, ""},
		{"restarted, and nothing is missing", func(b *bed) { b.restarted("v2-a", "restarted 1 time", false) }, nil, []string{"all arrived", "none of its receipts is missing"}, ""},
		{"restarted, and all counted arrived", func(b *bed) { b.restarted("v2-a", "restarted 1 time", true) }, map[string]State{Integrity: Inconclusive}, []string{"all arrived", "receipts of it may be missing"}, ""},
		{"restarted, and receipts are lost", func(b *bed) {
			b.lose(v2)
			b.lose(v2)
			b.restarted("v2-a", "restarted 1 time", true)
		}, lost, []string{"2 of ", "did not arrive, and pod v2-a (v2) restarted 1 time at 2026-11-23T12:00:00Z, and receipts of it may be missing"}, ""},
		{"receipts lost of a pod in no cluster", func(b *bed) {
			b.lose(v2)
			b.restarted("v2-gone", "ended", true)
		}, lost, []string{"pod v2-gone"}, ""},
		{"the primary lost receipts, the shadow requests", func(b *bed) {
			b.lose(v2)
			b.restarted("v1-a", "restarted 1 time", true)
		}, map[string]State{Integrity: Inconclusive, Delivery: Fail}, []string{"the shadow lost requests"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7})
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Delivery], c.says...)
			says(t, vs[Integrity], "no lost primary")
			var codes []string
			for _, f := range vs[Delivery].Findings {
				codes = append(codes, f.Code)
			}
			if c.code == "" && len(codes) > 0 || c.code != "" && !slices.Equal(codes, []string{c.code}) {
				t.Errorf("findings %v, want %q", codes, c.code)
			}
		})
	}
}

// Receipts of 5xx may be among the lost ones: then nothing tells whether the app had the requests.
func TestLostReceiptsOf5xx(t *testing.T) {
	b := newBed(setup{n: 20_000, seed: 7})
	b.answer5xx(v2, 5)
	b.refuse(v2, 2)
	b.restarted("v2-a", "restarted 1 time", true)
	vs := b.judge(t)
	expect(t, vs, map[string]State{Integrity: Inconclusive, Delivery: Inconclusive})
}

func TestPrimaryRestarts(t *testing.T) {
	for _, c := range []struct {
		name  string
		lost  bool
		spoil func(*bed)
		want  map[string]State
		says  []string
	}{
		{"nothing lost", false, func(*bed) {}, nil, []string{"pod v1-a (v1) restarted 1 time at 2026-11-23T12:00:00Z; none of its receipts is missing"}},
		{"nothing missing", true, func(*bed) {}, map[string]State{Integrity: Inconclusive}, []string{"no lost primary", "receipts of it may be missing"}},
		{"a receipt is missing", true, func(b *bed) { b.loseAlone(v1) }, map[string]State{Integrity: Inconclusive}, []string{"1 answered request without a primary receipt", "lost_primary_partial"}},
		{"a receipt of a 5xx is missing", true, func(b *bed) { b.result(b.loseAlone(v1)).Status = 503 }, map[string]State{Integrity: Inconclusive}, []string{"lost_primary_partial"}},
		{"a receipt is missing that was not lost", false, func(b *bed) { b.loseAlone(v1) }, map[string]State{Integrity: Fail}, []string{"lost_primary "}},
		{"a duplicate fails all the same", true, func(b *bed) {
			r, _ := b.first(v2)
			b.receipts = append(b.receipts, *r)
		}, map[string]State{Integrity: Fail}, []string{"duplicate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7})
			b.restarted("v1-a", "restarted 1 time", c.lost)
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Integrity], c.says...)
		})
	}
}

// loseAlone takes back the primary's receipt of a request that was not mirrored.
func (b *bed) loseAlone(cluster string) string {
	mirrored := map[string]int{}
	for i := range b.receipts {
		mirrored[b.receipts[i].ID]++
	}
	id := ""
	for i := range b.results {
		if r := &b.results[i]; r.Route == reads && mirrored[r.ID] == 1 {
			id = r.ID
			break
		}
	}
	b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool { return r.ID == id && slices.Contains(b.facts.Pods[cluster], r.Pod) })
	return id
}

// The gateway's counters bound the fraction where receipts are lost; without them nothing does.
func TestSamplingOfLostReceipts(t *testing.T) {
	lose := func(b *bed, n int) {
		for range n {
			b.lose(v2)
		}
		b.restarted("v2-a", "restarted 1 time", true)
	}
	for _, c := range []struct {
		name      string
		numerator uint32
		spoil     func(*bed)
		want      State
		says      string
	}{
		{"few, and counted", 100_000, func(b *bed) { lose(b, 20) }, Pass, "by the gateway's word alone"},
		{"many, and not counted", 100_000, func(b *bed) { lose(b, 200); b.facts.After = nil }, Inconclusive, "receipts of it may be missing"},
		{"all of 100 %, and counted", 1_000_000, func(b *bed) { lose(b, 20) }, Pass, "by the gateway's word alone"},
		{"all of 100 %, and not counted", 1_000_000, func(b *bed) { lose(b, 20); b.facts.After = nil }, Inconclusive, "receipts of it may be missing"},
		{"0 %, and counted", 0, func(b *bed) { b.restarted("v2-a", "restarted 1 time", true) }, Pass, "0 of "},
		{"0 %, and not counted", 0, func(b *bed) { b.restarted("v2-a", "restarted 1 time", true); b.facts.After = nil }, Inconclusive, "receipts of it may be missing"},
		{"0 %, and more counted than arrived", 0, func(b *bed) {
			b.restarted("v2-a", "restarted 1 time", true)
			b.bump(v2, "upstream_rq_total", 1)
		}, Inconclusive, "receipts of it may be missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7, routes: defaultRoutes(c.numerator)})
			c.spoil(b)
			v := b.judge(t)[Sampling]
			if v.State != c.want {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
			says(t, v, c.says)
		})
	}
}

// An answer with the abort status may be the app's where the primary's receipts are lost.
func TestAbortsOfLostPrimaries(t *testing.T) {
	for _, c := range []struct {
		name string
		lost bool
		want State
	}{{"not lost", false, Fail}, {"lost", true, Inconclusive}} {
		t.Run(c.name, func(t *testing.T) {
			routes := defaultRoutes(100_000)
			routes[0].AbortStatus, routes[0].AbortNumerator = 503, 1
			b := newBed(setup{n: 20_000, seed: 7, routes: routes})
			for range 20 {
				b.result(b.loseAlone(v1)).Status = 503
			}
			b.restarted("v1-a", "restarted 1 time", c.lost)
			v := b.judge(t)[Integrity]
			if v.State != c.want {
				t.Errorf("%s, want %s: %s", v.State, c.want, v.Summary)
			}
		})
	}
}
