//go:build e2e

package cluster_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"umbra/cluster/internal/kube"
	"umbra/internal/verdict"
	"umbra/reports"
)

// codes are the findings of a verdict.
func codes(v verdict.Verdict) (all []string) {
	for _, f := range v.Findings {
		all = append(all, f.Code)
	}
	return all
}

// wantWholePrimary wants that nothing is said against the primary: Integrity has no finding, and where it did not pass that is for
// receipts that are missing, or of which there are none.
func wantWholePrimary(t *testing.T, r *reports.Report, missing bool) {
	t.Helper()
	v := judged(r, verdict.Integrity)
	if v.State != verdict.Pass && (v.State != verdict.Inconclusive || !missing) || len(v.Findings) > 0 {
		t.Errorf("%s: %s: %s %+v %q", v.Name, v.State, v.Summary, v.Findings, v.Warnings)
	}
	if r.Figures.OK != r.Figures.Planned {
		t.Errorf("%d of %d requests were answered", r.Figures.OK, r.Figures.Planned)
	}
}

// A shadow that misbehaves as the run asks it to is told apart by its findings.
func TestE2EShadowModes(t *testing.T) {
	for _, c := range []struct {
		mode     string
		delivery verdict.State
		code     string // of Delivery's only finding; empty: none
		says     string // among its warnings; empty: nothing
	}{
		{"slow", verdict.Pass, "", ""},
		{"errors", verdict.Pass, verdict.ShadowAnswered5xx, "answered 5xx"},
		{"dead", verdict.Fail, verdict.ShadowRefused, ""},
		{"hung", verdict.Pass, "", "never ended (hung shadow?)"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			r, status := runOn(t, scenario("trouble-brief"), "--shadow", c.mode)
			v := judged(r, verdict.Delivery)
			warnings := strings.Join(v.Warnings, "\n")
			t.Logf("%s: %s %+v %s", v.State, v.Summary, v.Findings, warnings)
			if v.State != c.delivery || strings.Join(codes(v), " ") != c.code || !strings.Contains(warnings, c.says) || c.says == "" && warnings != "" {
				t.Errorf("%s: %s %v %s, want %s %q %q", v.Name, v.State, codes(v), warnings, c.delivery, c.code, c.says)
			}
			if v.State == verdict.Fail && status != verdict.ExitFailed {
				t.Errorf("exit status %d", status)
			}
			wantWholePrimary(t, r, c.mode == "dead")
		})
	}
}

// victim is the shadow of the run under way.
type victim struct {
	t *testing.T
	c *kube.Client
	d dynamic.Interface
}

const namespace = "shop"

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

func newVictim(t *testing.T) *victim {
	t.Helper()
	config, err := kube.Load(kubeconfig(t), "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &victim{t, client(t), d}
}

// pods are those that serve.
func (v *victim) pods() []corev1.Pod {
	v.t.Helper()
	pods, err := v.c.Pods(v.t.Context(), namespace, map[string]string{"app": "my-app", "version": "v2"})
	if err != nil {
		v.t.Fatal(err)
	}
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// scaleToZero does what kubectl scale does.
func (v *victim) scaleToZero() {
	v.t.Helper()
	_, err := v.d.Resource(deployments).Namespace(namespace).
		Patch(v.t.Context(), "my-app-v2", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{FieldManager: "kubectl"})
	if err != nil {
		v.t.Fatal(err)
	}
}

// deletePod does what kubectl delete pod does, with a grace period.
func (v *victim) deletePod(grace *int64) (name string) {
	v.t.Helper()
	name = v.pods()[0].Name
	if err := v.d.Resource(podResource).Namespace(namespace).Delete(v.t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
		v.t.Fatal(err)
	}
	return name
}

// killApp kills the app's process in a pod, as the kernel does with one that takes too much memory.
func (v *victim) killApp() {
	v.t.Helper()
	for _, c := range v.pods()[0].Status.ContainerStatuses {
		if c.Name == "app" {
			id := strings.TrimPrefix(c.ContainerID, "containerd://")
			engine(v.t, "exec", clusterName()+"-control-plane", "ctr", "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", id)
			return
		}
	}
	v.t.Fatal("the pod has no container app")
}

// during plays the scenario that something happens in the middle of, and gives its report.
func during(t *testing.T, do func(v *victim)) (*reports.Report, verdict.Verdict) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	v := newVictim(t)
	b := start(t, "run", scenario("trouble"), "--on", "kind", "--name", cluster(t), "--json", "--out", dir)
	b.until(" ended, ")
	do(v)
	status := b.end()
	r := report(t, dir)
	if status != r.ExitStatus || r.Partial != "" {
		t.Errorf("exit status %d, the report's is %d, partial %q", status, r.ExitStatus, r.Partial)
	}
	d := judged(r, verdict.Delivery)
	t.Logf("%s: %s %+v %q\nwhat happened to pods: %+v", d.State, d.Summary, d.Findings, d.Warnings, r.Run.Restarts)
	return r, d
}

// A shadow that is scaled to zero, and one whose process is killed, in the middle of a run, are told apart, and nothing of it is held
// against the primary.
func TestE2EShadowLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		do      func(v *victim)
		code    string
		says    string
		missing bool // receipts that the process had not written yet
	}{
		{"scaled to zero", (*victim).scaleToZero, verdict.ShadowScaledToZero, "shadow scaled to zero: ", false},
		{"killed", (*victim).killApp, verdict.ShadowKilled, "shadow killed mid-run: ", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, d := during(t, c.do)
			if d.State != verdict.Fail || !slices.Equal(codes(d), []string{c.code}) || !strings.HasPrefix(d.Summary, c.says) || r.ExitStatus != verdict.ExitFailed {
				t.Errorf("exit status %d, %s: %s %v, want FAIL %s", r.ExitStatus, d.Name, d.State, codes(d), c.code)
			}
			wantWholePrimary(t, r, c.missing)
		})
	}
}

// A pod of the shadow that is deleted in the middle of a run is named. Without a grace period it may take requests and receipts with
// it, which fails Delivery and never the primary; with one it gives what it has.
func TestE2EShadowPodDeleted(t *testing.T) {
	atOnce := int64(0)
	for _, c := range []struct {
		name  string
		grace *int64
	}{{"at once", &atOnce}, {"with grace", nil}} {
		t.Run(c.name, func(t *testing.T) {
			pod := ""
			r, d := during(t, func(v *victim) { pod = v.deletePod(c.grace) })
			i := slices.IndexFunc(r.Run.Restarts, func(r verdict.Restart) bool { return r.Pod == pod && strings.HasPrefix(r.What, "ended") })
			if i < 0 {
				t.Fatalf("the end of %s is not told: %+v", pod, r.Run.Restarts)
			}
			lost := r.Run.Restarts[i].Lost
			want := verdict.ShadowEnded
			if lost {
				want = verdict.ShadowKilled
			}
			all := codes(d)
			switch told := strings.Contains(d.Summary+strings.Join(d.Warnings, "\n"), pod); {
			case !told:
				t.Errorf("%s is not named: %s %q", pod, d.Summary, d.Warnings)
			case len(all) > 0 && !slices.Equal(all, []string{want}), len(all) > 0 && d.State != verdict.Fail:
				t.Errorf("%s: %s %v, want FAIL %s", d.Name, d.State, all, want)
			case len(all) == 0 && d.State == verdict.Pass && missing(d) != 0:
				t.Errorf("%s: PASS with %d requests missing", d.Name, missing(d))
			case len(all) == 0 && d.State == verdict.Fail:
				t.Errorf("%s: FAIL without a finding: %s", d.Name, d.Summary)
			case c.grace == nil && lost:
				t.Errorf("receipts of %s were lost, though it had the time to give them", pod)
			}
			wantWholePrimary(t, r, lost)
		})
	}
}

// missing is how many requests Delivery misses at all mirrors.
func missing(v verdict.Verdict) (n int64) {
	for _, i := range v.Items {
		if i.Delivery != nil {
			n += i.Delivery.Missing
		}
	}
	return n
}
