//go:build e2e

package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	meshes "umbra/cluster"
	"umbra/cluster/internal/kube"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/scenarios"
)

const (
	switches = 12  // to mirroring off and to on again, each
	perBatch = 200 // requests behind a switch, on connections that stood before
)

// standing is a mesh of an example's on the shared cluster.
type standing struct {
	mesh.Running
	table
	client *http.Client
}

func standingOf(t *testing.T, name string) *standing {
	t.Helper()
	app, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	settings := meshes.FromEnvironment(os.Getenv)
	settings.Name, settings.AppBinary, settings.Wait = cluster(t), app, 2*time.Minute
	s, err := scenarios.Load(example(name))
	if err != nil {
		t.Fatal(err)
	}
	spec := s.Spec()
	spec.App = nil // all answer at once
	ctx, cancel := context.WithTimeout(t.Context(), commandIn)
	defer cancel()
	running, err := (&meshes.Kind{Settings: settings}).Up(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Close(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &standing{running, table{s.Name, s.Mesh.Host, spec}, &http.Client{Transport: transport}}
}

// batch sends requests by some workers and wants all of them answered.
func (s *standing) batch(t *testing.T, name string, n int) {
	t.Helper()
	ids := make(chan int)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range ids {
				if err := s.send(t.Context(), fmt.Sprintf("%s-%d", name, i)); err != nil {
					t.Errorf("%s-%d: %v", name, i, err)
				}
			}
		})
	}
	for i := range n {
		ids <- i
	}
	close(ids)
	group.Wait()
}

func (s *standing) send(ctx context.Context, id string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address()+"/api/items", nil)
	if err != nil {
		return err
	}
	r.Host = s.host
	r.Header.Set(traffic.IDHeader, id)
	res, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// book holds receipts by id and version.
type book map[string]map[string][]traffic.Receipt

// book gives all receipts so far, once nothing is under way.
func (s *standing) book(t *testing.T) book {
	t.Helper()
	s.drained(t.Context(), t, s)
	b, err := collect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// of gives those of a batch at a version.
func (b book) of(version, name string, n int) (all []traffic.Receipt) {
	for i := range n {
		all = append(all, b[fmt.Sprintf("%s-%d", name, i)][version]...)
	}
	return all
}

func (s *standing) conduct(t *testing.T, c mesh.Conduct) {
	t.Helper()
	began := time.Now()
	if err := s.Conduct(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v: told after %v", c, time.Since(began).Round(time.Millisecond))
}

// TestE2EReroute: from the instant at which Reroute returns, no request is mirrored, or every one, though load goes on.
func TestE2EReroute(t *testing.T) {
	s := standingOf(t, "basic-100")
	off, err := s.spec.Manifests.Unmirrored()
	if err != nil {
		t.Fatal(err)
	}
	unmirrored, err := route.NewTable(off)
	if err != nil {
		t.Fatal(err)
	}
	stop := s.load(t)
	var took []time.Duration
	to := func(m *route.Manifests, table *route.Table, name string) {
		began := time.Now()
		if err := s.Reroute(t.Context(), m, table); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		s.batch(t, name, perBatch)
		state, err := s.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := mesh.Differences(table, state); err != nil || state.Doubt != "" {
			t.Errorf("%s: %v, %s", name, err, state.Doubt)
		}
	}
	for i := range switches {
		to(off, unmirrored, fmt.Sprintf("off-%d", i))
		to(s.spec.Manifests, s.spec.Table, fmt.Sprintf("on-%d", i))
	}
	stop()
	slices.Sort(took)
	t.Logf("%d switches: %v, median %v", len(took), took, took[len(took)/2])
	arrived := s.book(t)
	for i := range switches {
		if n := len(arrived.of("v2", fmt.Sprintf("off-%d", i), perBatch)); n != 0 {
			t.Errorf("switch %d: %d of %d requests were mirrored with mirroring off", i, n, perBatch)
		}
		if n := len(arrived.of("v2", fmt.Sprintf("on-%d", i), perBatch)); n != perBatch {
			t.Errorf("switch %d: %d of %d requests were mirrored with mirroring on", i, n, perBatch)
		}
	}
}

// load sends requests until it is told to stop.
func (s *standing) load(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 2 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := s.send(ctx, fmt.Sprintf("load-%d-%d", i, n)); err != nil && ctx.Err() == nil {
					t.Errorf("load-%d-%d: %v", i, n, err)
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// A mesh that is left while its mirroring is off has it on again.
func TestE2ERerouteIsPutBack(t *testing.T) {
	s := standingOf(t, "basic-100")
	off, err := s.spec.Manifests.Unmirrored()
	if err != nil {
		t.Fatal(err)
	}
	unmirrored, err := route.NewTable(off)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reroute(t.Context(), off, unmirrored); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	live, err := client(t).List(t.Context(), "networking.istio.io/v1", "VirtualService", "shop", nil)
	if err != nil || len(live) != 1 {
		t.Fatalf("%d VirtualServices, %v", len(live), err)
	}
	if text := fmt.Sprint(live[0].Object["spec"]); !strings.Contains(text, "mirror:") || strings.Contains(text, "mirrorPercentage:map[value:0]") {
		t.Error(text)
	}
}

// TestE2EConduct: whatever the shadow is told, and whatever it was told before, it does from then on; and so do delays.
func TestE2EConduct(t *testing.T) {
	s := standingOf(t, "basic-100")
	const n = 50
	for i, c := range []struct {
		conduct mesh.Conduct
		shadows int // receipts there
		status  int // in them
	}{
		{mesh.Conduct{Shadow: "errors"}, n, 503},
		{mesh.Conduct{Shadow: "dead"}, 0, 0},
		{mesh.Conduct{Shadow: "healthy", Delay: map[string]time.Duration{"v1": 20 * time.Millisecond}}, n, 200},
		{mesh.Conduct{}, n, 200},
	} {
		s.conduct(t, c.conduct)
		name := fmt.Sprintf("conduct-%d", i)
		s.batch(t, name, n)
		if c.conduct.Shadow == "dead" {
			awaitUnready(t, client(t))
		}
		arrived := s.book(t)
		got := arrived.of("v2", name, n)
		if len(got) != c.shadows {
			t.Errorf("%+v: %d receipts at the shadow", c.conduct, len(got))
		}
		for _, r := range got {
			if r.Status != c.status {
				t.Errorf("%+v: receipt %+v", c.conduct, r)
			}
		}
		primary := arrived.of("v1", name, n)
		if len(primary) != n {
			t.Errorf("%+v: %d receipts at the primary", c.conduct, len(primary))
		}
		for _, r := range primary {
			if r.Duration < c.conduct.Delay["v1"] {
				t.Errorf("%+v: it took the primary %v", c.conduct, r.Duration)
			}
		}
	}
}

// awaitUnready waits until the kubelet has found out that the shadow is dead: then it takes longest to revive.
func awaitUnready(t *testing.T, c *kube.Client) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(drainIn); ; <-again.C {
		list, err := c.Pods(t.Context(), "shop", map[string]string{"version": "v2"})
		if err != nil {
			t.Fatal(err)
		}
		unready := func(p corev1.Pod) bool {
			return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse
			})
		}
		if slices.ContainsFunc(list, unready) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the dead shadow was ready for %v", drainIn)
		}
	}
}

// awaitReceipts waits until all of a batch has arrived at a version, whether or not it was answered.
func (s *standing) awaitReceipts(t *testing.T, version, name string, n int) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(drainIn); ; <-again.C {
		all, err := collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		got := len(book(all).of(version, name, n))
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests arrived at %s within %v", got, n, version, drainIn)
		}
	}
}

// Hung requests are cut off as their shadow gets healthy.
func TestE2EConductAfterHung(t *testing.T) {
	s := standingOf(t, "basic-100")
	const n = 30
	s.conduct(t, mesh.Conduct{Shadow: "hung"})
	s.batch(t, "hung", n)
	s.awaitReceipts(t, "v2", "hung", n)
	s.conduct(t, mesh.Conduct{})
	s.batch(t, "well", n)
	arrived := s.book(t)
	for _, r := range arrived.of("v2", "hung", n) {
		if r.Status != 0 || r.Duration == traffic.Never {
			t.Errorf("receipt %+v", r)
		}
	}
	if got := arrived.of("v2", "well", n); len(got) != n || got[0].Status != http.StatusOK {
		t.Errorf("%d receipts, %+v", len(got), got)
	}
}
