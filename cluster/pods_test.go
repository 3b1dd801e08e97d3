package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// watched are pods of an app that serve, in a cluster that does not answer: whatever is asked of a pod fails.
func watched(t *testing.T) (*pods, *corev1.Pod) {
	t.Helper()
	client, err := kube.Connect(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "shop", "version": "v2"}
	p := newPods(client, &mesh.Spec{}, []istio.App{{Workload: route.Workload{Namespace: "shop", Name: "shop-v2", Labels: labels, Version: "v2"}, Container: "app", AdminPort: 8081}}, t.Logf)
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	pod := podIn("shop", "10.0.0.1", labels)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app"}, {Name: "istio-proxy"}}
	p.add(&pod)
	p.dropEnded()
	return p, &pod
}

// happenings are what was told, and whether receipts may be lost by it.
func happenings(p *pods) (all []string) {
	p.running.Wait()
	for _, r := range p.happened() {
		all = append(all, fmt.Sprintf("%s %s lost=%v", r.Pod, r.What, r.Lost))
	}
	return all
}

func TestWhatHappensToPods(t *testing.T) {
	restart := func(pod *corev1.Pod, container int) {
		pod.Status.ContainerStatuses[container].RestartCount++
		pod.Status.ContainerStatuses[container].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: metav1.Now()}
	}
	end := func(pod *corev1.Pod) { pod.DeletionTimestamp = &metav1.Time{Time: time.Now()} }
	for name, c := range map[string]struct {
		do   func(p *pods, pod *corev1.Pod)
		want []string
	}{
		"nothing": {func(p *pods, pod *corev1.Pod) { p.see(kube.Modified, pod) }, nil},
		"its app is restarted": {func(p *pods, pod *corev1.Pod) {
			restart(pod, 0)
			p.see(kube.Modified, pod)
			p.see(kube.Modified, pod)
		}, []string{"pod-10.0.0.1 restarted (container app: OOMKilled, exit code 137) lost=true"}},
		"its sidecar is restarted": {func(p *pods, pod *corev1.Pod) {
			restart(pod, 1)
			p.see(kube.Modified, pod)
		}, []string{"pod-10.0.0.1 restarted (container istio-proxy: OOMKilled, exit code 137) lost=false"}},
		"it crashed, and its deletion is seen at the same time": {func(p *pods, pod *corev1.Pod) {
			restart(pod, 0)
			end(pod)
			p.see(kube.Modified, pod)
		}, []string{"pod-10.0.0.1 restarted (container app: OOMKilled, exit code 137) lost=true", "pod-10.0.0.1 ended lost=true"}},
		"it ends, and does not give its receipts": {func(p *pods, pod *corev1.Pod) {
			end(pod)
			p.see(kube.Modified, pod)
			p.see(kube.Modified, pod)
			p.running.Wait()
			p.see(kube.Deleted, pod)
		}, []string{"pod-10.0.0.1 ended lost=true"}},
		"it is gone at once": {func(p *pods, pod *corev1.Pod) { p.see(kube.Deleted, pod) }, []string{"pod-10.0.0.1 ended at once lost=true"}},
		"one comes": {func(p *pods, pod *corev1.Pod) {
			other := *pod
			other.Name, other.Status.StartTime = "other", &metav1.Time{Time: time.Now().Add(time.Second)}
			p.see(kube.Added, &other)
		}, []string{"other began lost=false"}},
		"one that is older gets ready": {func(p *pods, pod *corev1.Pod) {
			other := *pod
			other.Name, other.Status.StartTime = "other", &metav1.Time{Time: time.Now().Add(-time.Hour)}
			p.see(kube.Added, &other)
		}, []string{"other began lost=true"}},
		"one of nobody's": {func(p *pods, pod *corev1.Pod) {
			other := podIn("shop", "10.0.0.9", map[string]string{"app": "other"})
			p.see(kube.Added, &other)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, pod := watched(t)
			c.do(p, pod)
			if diff := cmp.Diff(c.want, happenings(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A process that is another one than at the begin is told once, whether the watch saw it or not.
func TestAnAppThatBeganAnew(t *testing.T) {
	p, pod := watched(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"started_unix_ns": 2000000000}`) }))
	t.Cleanup(server.Close)
	r := p.replicas(nil)[0]
	r.admin, r.began = app.Client{Base: server.URL}, 2000000000
	for range 2 {
		if err := p.same(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r.began = 1000000000
	}
	if err := p.same(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses[0].RestartCount++
	p.see(kube.Modified, pod)
	if diff := cmp.Diff([]string{"pod-10.0.0.1 restarted (its app began anew at 1970-01-01T00:00:02Z) lost=true"}, happenings(p)); diff != "" {
		t.Error(diff)
	}
}

// Pods that end before the run are an earlier run's.
func TestPodsThatEndBeforeTheRun(t *testing.T) {
	p, pod := watched(t)
	p.served = time.Time{}
	pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	p.see(kube.Modified, pod)
	p.dropEnded()
	if got := happenings(p); got != nil || len(p.replicas(nil)) != 0 {
		t.Errorf("%v, %d replicas", got, len(p.replicas(nil)))
	}
}

func TestByStatus(t *testing.T) {
	for name, want := range map[string]bool{
		"cluster.a.upstream_rq_200": true, "cluster.a.upstream_rq_5xx": true, "cluster.a.internal.upstream_rq_completed": true, "cluster.a.external.upstream_rq_200": true,
		"cluster.a.upstream_rq_total": false, "cluster.a.upstream_rq_active": false, "cluster.a.membership_healthy": false,
	} {
		if byStatus(name) != want {
			t.Error(name)
		}
	}
}
