package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/mesh"
)

// Counters and receipts are two books of the same traffic.
func TestCountersEqualReceipts(t *testing.T) {
	const n = 2000
	s := spec(t, `  - {match: [{method: {exact: POST}}], route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}
`+tenth)
	s.App = map[string]mesh.Behaviour{"v1": {Latency: mesh.Latency{P50: 200 * time.Microsecond, P99: 2 * time.Millisecond}}, "v2": {ErrorRate: 0.1}}
	b := up(t, s)
	var group sync.WaitGroup
	group.Go(func() { b.sendMany("GET", "", n/2) })
	group.Go(func() { b.sendMany("POST", "body", n/2) })
	group.Wait()
	state, all := b.drained(), b.receipts()
	for cluster, receipts := range map[string]int{v1: len(all["v1"]), v2: len(all["v2"])} {
		wantCounters(t, state, cluster, map[string]uint64{"upstream_rq_total": uint64(receipts), "upstream_rq_completed": uint64(receipts), "upstream_rq_retry": 0})
	}
	failed := 0
	for _, r := range all["v2"] {
		if r.Status == 503 {
			failed++
		}
	}
	wantCounters(t, state, v2, map[string]uint64{"internal.upstream_rq_503": uint64(failed), "internal.upstream_rq_5xx": uint64(failed)})
	if len(all["v1"]) != n || failed == 0 {
		t.Errorf("%d at the primary, %d failed at the shadow", len(all["v1"]), failed)
	}
}

// The same seed gives the same samples, another seed others.
func TestSeed(t *testing.T) {
	var sets [][]string
	for _, seed := range []uint64{1, 1, 2} {
		s := spec(t, tenth)
		s.Seed = seed
		b := up(t, s)
		b.sendMany("GET", "", 300)
		b.drained()
		sets = append(sets, ids(b.receipts()["v2"]))
	}
	if !slices.Equal(sets[0], sets[1]) || slices.Equal(sets[0], sets[2]) {
		t.Errorf("sets of %d, %d and %d", len(sets[0]), len(sets[1]), len(sets[2]))
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	for _, shadow := range []string{"healthy", "hung", "dead"} {
		t.Run(shadow, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			before := runtime.NumGoroutine()
			s := spec(t, mirrored)
			s.Faults.Shadow = shadow
			b := up(t, s)
			b.sendMany("POST", "body", 100)
			if left, err := os.ReadDir(dir); runtime.GOOS != "windows" && len(left) != 0 {
				t.Errorf("what a kill would leave: %v, %v", left, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if err := b.Close(); err != nil {
				t.Errorf("closed again: %v", err)
			}
			b.client.CloseIdleConnections()
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := b.client.Do(b.request(t.Context(), "GET", "/", "late", "")); err == nil {
				t.Error("the gateway still answers")
			}
			b.await("its goroutines have ended", func(*mesh.State) bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// Close while clients wait for answers that would take an hour.
func TestCloseUnderLoad(t *testing.T) {
	s := spec(t, mirrored)
	slow := mesh.Behaviour{Latency: mesh.Latency{P50: time.Hour}}
	s.App = map[string]mesh.Behaviour{"v1": slow, "v2": slow}
	b := up(t, s)
	const n = 20
	var failed atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if _, err := b.client.Do(b.request(t.Context(), "GET", "/", "", "")); err != nil {
				failed.Add(1)
			}
		})
	}
	b.await("all copies are on their way", func(s *mesh.State) bool {
		return s.Counter(v1, "upstream_rq_active") == n && s.Counter(v2, "upstream_rq_active") == n
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
	if failed.Load() != n {
		t.Errorf("%d of %d clients were cut off", failed.Load(), n)
	}
}

func TestReceiptsOfAnEndedContext(t *testing.T) {
	b := up(t, spec(t, mirrored))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.Receipts(ctx, func(string, string, io.Reader) error { return nil })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "shop-v1-0") {
		t.Errorf("error %v", err)
	}
	wrong := errors.New("full")
	if err := b.Receipts(t.Context(), func(string, string, io.Reader) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v", err)
	}
}

func TestUpRefuses(t *testing.T) {
	percent := 101.0
	for _, tc := range []struct {
		name   string
		routes string
		change func(*mesh.Spec)
		want   []string
	}{
		{"port", mirrored, func(s *mesh.Spec) { s.Port = 8080 }, []string{"HTTP server at port 8080", "80 (default/gw HTTP)"}},
		{"shadow of no pod", toV1, func(s *mesh.Spec) { s.Faults.Shadow = "hung" }, []string{"shadow=hung: no pod belongs to mirrors only"}},
		{"writes to no mirror", toV1, func(s *mesh.Spec) { s.Faults.MirrorWrites = 1 }, []string{"mirror-writes: no route mirrors"}},
		{"all at once", mirrored, func(s *mesh.Spec) {
			s.Port = 1
			s.Faults = mesh.Faults{Fraction: &percent, Drop: 2, Duplicate: -1, Mutate: 3, LosePrimary: 4, SlowPrimary: -1, Shadow: "tired"}
			s.App = map[string]mesh.Behaviour{"v1": {ErrorRate: 2}, "v2": {ResponseSize: -1}}
		}, []string{"port 1", "fraction: 101", "drop: 2", "duplicate: -1", "mutate: 3", "lose-primary: 4", "slow-primary: -1", `shadow: "tired"`, "app v1: error rate", "app v2: response size"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := spec(t, tc.routes)
			tc.change(&s)
			m, err := Embedded{}.Up(t.Context(), s)
			if err == nil {
				m.Close()
				t.Fatal("it is up")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestUpThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := (Embedded{}).Up(ctx, spec(t, mirrored)); err == nil {
		m.Close()
		t.Fatal("it is up")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("goroutines are left")
		}
	}
}
