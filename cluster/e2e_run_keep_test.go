//go:build e2e

package cluster_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	meshes "umbra/cluster"
	"umbra/cluster/internal/kube"
	"umbra/internal/evidence"
	"umbra/internal/verdict"
)

// status asks umbra status, whose exit status says whether the mesh serves.
func status(t *testing.T, args ...string) (s meshes.Status, exit int) {
	t.Helper()
	stdout, _, exit := umbra(t, append([]string{"status", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	return s, exit
}

// A run that failed leaves its cluster where it is asked to; the next run uses it and leaves it, too; umbra down takes it away
// without a trace.
func TestE2EKeep(t *testing.T) {
	m, before := ownMachine(t, clusterName()+"-keep")
	on := []string{"--on", "kind", "--name", m.name}
	if s, exit := status(t, on...); exit != 5 || s.Serves || !strings.Contains(s.Missing, "umbra up") {
		t.Errorf("nothing is there: exit status %d, %+v", exit, s)
	}
	if said, _, exit := umbra(t, append([]string{"down"}, on...)...); exit != 0 || !strings.Contains(said, "there is no kind cluster "+m.name) {
		t.Errorf("nothing is there: exit status %d, %q", exit, said)
	}

	dir := filepath.Join(t.TempDir(), "failed")
	_, _, exit := umbra(t, append([]string{"run", scenario("brief"), "--json", "--out", dir, "--shadow", "dead", "--keep=failed"}, on...)...)
	if v := judged(report(t, dir), verdict.Delivery); exit != verdict.ExitFailed || v.State != verdict.Fail {
		t.Errorf("exit status %d, %s: %s: %s", exit, v.Name, v.State, v.Summary)
	}
	if !m.stands(t) {
		t.Fatal("--keep=failed: the run failed, and its cluster is gone")
	}

	dir = filepath.Join(t.TempDir(), "again")
	began := time.Now()
	b := start(t, append([]string{"run", scenario("brief"), "--json", "--out", dir, "--keep"}, on...)...)
	b.until("replaying")
	t.Logf("the load begins %.1f s after the start on a cluster that stands", time.Since(began).Seconds())
	exit = b.end()
	r := report(t, dir)
	wantPassed(t, r, exit) // its shadow is no longer dead
	if r.Run.Cluster == nil || !r.Run.Cluster.Reused {
		t.Errorf("the run's cluster is %+v, want one that stood already", r.Run.Cluster)
	}

	s, exit := status(t, on...)
	if exit != 0 || !s.Serves || s.Gateway == "" || len(s.Pods) < 4 {
		t.Errorf("the mesh serves: exit status %d, %+v", exit, s)
	}
	if said, _, exit := umbra(t, append([]string{"down"}, on...)...); exit != 0 || !strings.Contains(said, "kind cluster "+m.name+" deleted") {
		t.Errorf("exit status %d, %q", exit, said)
	}
	m.wantNoTrace(t, before)
}

// In the user's own cluster nothing is changed without --apply, and with it everything is put back.
func TestE2EExisting(t *testing.T) {
	if _, _, exit := umbra(t, "up", example("canary-10"), "--on", "kind", "--name", cluster(t)); exit != 0 {
		t.Fatalf("exit status %d", exit)
	}
	config, c := kubeconfig(t), client(t)
	on := []string{"--on", "existing", "--kubeconfig", config}
	if s, exit := status(t, on...); exit != 0 || !s.Serves {
		t.Errorf("the mesh serves: exit status %d, %+v", exit, s)
	}
	before := objects(t, c)

	t.Run("as it stands", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		_, _, exit := umbra(t, append([]string{"run", scenario("brief"), "--json", "--out", dir}, on...)...)
		r := report(t, dir)
		wantPassed(t, r, exit)
		wantFolder(t, dir)
		if len(r.Run.Changes) > 0 {
			t.Errorf("it says that it changed %q", r.Run.Changes)
		}
		wantSame(t, before, objects(t, c))
	})

	t.Run("other manifests, without leave", func(t *testing.T) {
		_, said, exit := umbra(t, append([]string{"run", scenario("mirrors"), "--wait", "3s", "--json", "--out", filepath.Join(t.TempDir(), "run")}, on...)...)
		if exit != 5 || !strings.Contains(said, "my-app-v3") && !strings.Contains(said, "v3") {
			t.Errorf("exit status %d, want 5 and what is missing: %s", exit, said)
		}
		wantSame(t, before, objects(t, c))
	})

	t.Run("applied", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		_, _, exit := umbra(t, append([]string{"run", scenario("mirrors"), "--apply", "--app-image", appImage(t, c), "--json", "--out", dir}, on...)...)
		r := report(t, dir)
		wantPassed(t, r, exit)
		if !slices.ContainsFunc(r.Run.Changes, func(s string) bool { return strings.Contains(s, "my-app-v3") }) {
			t.Errorf("it does not say that it added a Deployment: %q", r.Run.Changes)
		}
		if got := receiptsBy(t, dir); got["v3"] == 0 {
			t.Errorf("receipts by version %v, want some of v3", got)
		}
		wantSame(t, before, objects(t, c))
	})

	t.Run("nothing is left to put back", func(t *testing.T) {
		if said, _, exit := umbra(t, append([]string{"down"}, on...)...); exit != 0 || !strings.Contains(said, "nothing of umbra's is applied") {
			t.Errorf("exit status %d, %q", exit, said)
		}
	})
}

func receiptsBy(t *testing.T, dir string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, r := range receipts(t, dir, evidence.ShadowReceipts) {
		n[r.Version]++
	}
	return n
}

// appImage is the image of umbra's app that is in the node.
func appImage(t *testing.T, c *kube.Client) string {
	t.Helper()
	pods, err := c.Pods(t.Context(), namespace, map[string]string{"app": "my-app"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		for _, container := range pods[i].Spec.Containers {
			if strings.HasPrefix(container.Image, "umbra-app:") {
				return container.Image
			}
		}
	}
	t.Fatal("no pod has the app")
	return ""
}

// objects are all of the kinds that a run may touch, by their names, as their owners see them: without what the API server and
// controllers count and note.
func objects(t *testing.T, c *kube.Client) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, k := range []struct{ apiVersion, kind string }{
		{"v1", "Namespace"}, {"v1", "Service"}, {"v1", "ServiceAccount"}, {"v1", "ConfigMap"}, {"apps/v1", "Deployment"},
		{"networking.istio.io/v1", "VirtualService"}, {"networking.istio.io/v1", "DestinationRule"}, {"networking.istio.io/v1", "Gateway"},
		{"telemetry.istio.io/v1", "Telemetry"},
	} {
		list, err := c.List(t.Context(), k.apiVersion, k.kind, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			o = o.DeepCopy()
			o.SetManagedFields(nil)
			o.SetResourceVersion("")
			o.SetGeneration(0)
			delete(o.Object, "status")
			notes := o.GetAnnotations()
			delete(notes, "deployment.kubernetes.io/revision")
			delete(notes, "control-plane.alpha.kubernetes.io/leader")
			o.SetAnnotations(notes)
			all[fmt.Sprintf("%s %s/%s", k.kind, o.GetNamespace(), o.GetName())] = o.Object
		}
	}
	return all
}

// wantSame wants the objects as they were.
func wantSame(t *testing.T, before, after map[string]map[string]any) {
	t.Helper()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("objects are not as they were (- before, + after):\n%s", diff)
	}
}
