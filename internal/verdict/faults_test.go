package verdict

import (
	"testing"
	"time"

	"umbra/internal/traffic"
)

func TestFlawless(t *testing.T) {
	vs := newBed(setup{n: 20_000, warmup: 500, seed: 7}).judge(t)
	expect(t, vs, nil)
	says(t, vs[Integrity], "0 of 5,125 writes on routes without a mirror reached the shadow", "no duplicate")
	says(t, vs[Delivery], "all arrived")
	says(t, vs[Sampling], "of 15,000 mirrored", "programmed 10 % ± 1")
	says(t, vs[Impact], "direct effect p50", "needs checks.impact blocks")
	if s := vs[Sampling].Items[0].Sampling; s.Eligible != 15_000 || s.Numerator != 100_000 || s.Mirrored == 0 {
		t.Errorf("%+v", s)
	}
}

// Every misbehaviour that a mesh can be told to have turns exactly its own verdict into FAIL.
func TestFaults(t *testing.T) {
	onlyReads := func(int) string { return reads }
	for _, c := range []struct {
		name  string
		setup setup
		spoil func(*bed)
		want  map[string]State
		says  []string // in the verdict that fails
		count int      // of the finding named last in says; 0: not looked at
	}{
		{
			name: "fraction 12 for 10", setup: setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(120_000)},
			spoil: func(b *bed) { b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000} },
			want:  map[string]State{Sampling: Fail}, says: []string{"too many"},
		},
		{
			name: "fraction 8 for 10", setup: setup{n: 20_000, seed: 7, route: onlyReads, routes: defaultRoutes(80_000)},
			spoil: func(b *bed) { b.facts.Routes[0].Mirrors[0] = MirrorFact{v2, 10, 100_000} },
			want:  map[string]State{Sampling: Fail}, says: []string{"too few"},
		},
		{
			name:  "one dropped, which the gateway counted",
			spoil: func(b *bed) { b.lose(v2) },
			want:  map[string]State{Delivery: Fail}, says: []string{"1 of the ", "did not arrive: the shadow lost requests"},
		},
		{
			name: "one duplicate, which the gateway counted once",
			spoil: func(b *bed) {
				r, _ := b.first(v2)
				b.receipts = append(b.receipts, *r)
			},
			want: map[string]State{Integrity: Fail}, says: []string{"duplicate"}, count: 1,
		},
		{
			name: "one body changed",
			spoil: func(b *bed) {
				r, _ := b.first(v2)
				r.BodySHA256 = "other"
			},
			want: map[string]State{Integrity: Fail}, says: []string{"mismatch_body"}, count: 1,
		},
		{
			name: "one path changed",
			spoil: func(b *bed) {
				r, _ := b.first(v2)
				r.Path += "x"
			},
			want: map[string]State{Integrity: Fail}, says: []string{"mismatch_path"}, count: 1,
		},
		{
			name:  "one write mirrored",
			spoil: func(b *bed) { b.arrive(b.results[3].ID, v2, true) },
			want:  map[string]State{Integrity: Fail}, says: []string{"mirrored_write"}, count: 1,
		},
		{
			name:  "one primary lost",
			spoil: func(b *bed) { b.lose(v1) },
			want:  map[string]State{Integrity: Fail}, says: []string{"lost_primary"}, count: 1,
		},
		{
			name: "primary slowed where mirrored",
			spoil: func(b *bed) {
				for i := range b.results {
					if r := &b.results[i]; r.Route == reads && draw(7, r.ID) < 100_000 {
						r.End += 20 * time.Millisecond
						r.LastByte = r.End
					}
				}
			},
			want: map[string]State{Impact: Fail}, says: []string{"mirrored requests of default/app/reads are slower"},
		},
		{
			name: "shadow dead", spoil: func(b *bed) { b.kill(v2) },
			want: map[string]State{Delivery: Fail, Integrity: Inconclusive}, says: []string{"shadow down", "connections failed"},
		},
		{
			name:  "shadow without endpoints",
			spoil: func(b *bed) { n := b.vanish(v2); b.bump(v2, "upstream_cx_none_healthy", n) },
			want:  map[string]State{Delivery: Fail, Integrity: Inconclusive}, says: []string{"shadow down", "no healthy endpoint"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.setup.n == 0 {
				c.setup = setup{n: 20_000, seed: 7}
			}
			b := newBed(c.setup)
			c.spoil(b)
			vs := b.judge(t)
			expect(t, vs, c.want)
			for name, state := range c.want {
				if state != Fail {
					continue
				}
				says(t, vs[name], c.says...)
				if c.count > 0 {
					f := found(t, vs[name], c.says[len(c.says)-1])
					if f.Count != c.count || len(f.Examples) != c.count || f.Severity != Failure {
						t.Errorf("%+v", f)
					}
				}
			}
			if got := ExitStatus(values(vs)); got != ExitFailed {
				t.Errorf("exit status %d", got)
			}
		})
	}
}

func values(vs map[string]Verdict) (all []Verdict) {
	for _, v := range vs {
		all = append(all, v)
	}
	return all
}

// vanish takes away all that arrived at a mirror's cluster, and what the gateway counted of it.
func (b *bed) vanish(cluster string) uint64 {
	n := uint64(b.at(cluster))
	for b.at(cluster) > 0 {
		kept := b.receipts[:0]
		for _, r := range b.receipts {
			if r.Pod != b.facts.Pods[cluster][0] && r.Pod != b.facts.Pods[cluster][len(b.facts.Pods[cluster])-1] {
				kept = append(kept, r)
			}
		}
		b.receipts = kept
	}
	b.facts.After["cluster."+cluster+".upstream_rq_total"] -= n
	return n
}

// kill makes a mirror's cluster refuse connections.
func (b *bed) kill(cluster string) {
	n := b.vanish(cluster)
	b.bump(cluster, "upstream_rq_pending_failure_eject", n)
	b.bump(cluster, "upstream_cx_connect_fail", n)
}

// A shadow that answers 5xx, or never, is no failure of mirroring, but is told.
func TestShadowTroubleIsTold(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*bed, *traffic.Receipt)
		want  map[string]State
		says  string
	}{
		{"5xx", func(_ *bed, r *traffic.Receipt) { r.Status = 503 }, nil, "answered 5xx to "},
		{"hung, bodies read", func(b *bed, r *traffic.Receipt) {
			r.Status, r.Duration = 0, traffic.Never
			b.bump(v2, "upstream_rq_active", 1)
		}, nil, "never ended (hung shadow?)"},
		{"hung, bodies unread", func(b *bed, r *traffic.Receipt) {
			r.Status, r.Duration, r.BodySHA256, r.BodyBytes = 0, traffic.Never, "", 0
			b.bump(v2, "upstream_rq_active", 1)
		}, map[string]State{Integrity: Inconclusive}, "never ended (hung shadow?)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(setup{n: 20_000, seed: 7})
			for i := range b.receipts {
				if r := &b.receipts[i]; r.Pod == "v2-a" || r.Pod == "v2-b" {
					c.spoil(b, r)
				}
			}
			vs := b.judge(t)
			expect(t, vs, c.want)
			says(t, vs[Delivery], c.says)
		})
	}
}
