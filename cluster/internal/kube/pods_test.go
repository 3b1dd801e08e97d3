package kube

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func pod(name, uid, version string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(uid), ResourceVersion: version}}
}

func TestWatchPodsCatchesUp(t *testing.T) {
	var told []string
	w := &podWatch{known: map[string]*corev1.Pod{}, tell: func(event string, p *corev1.Pod) {
		told = append(told, event+" "+p.Name+" "+p.ResourceVersion)
	}}
	w.catchUp([]corev1.Pod{pod("a", "1", "1"), pod("b", "1", "2"), pod("c", "1", "3"), pod("d", "1", "4")})
	told = nil
	// While there was no watch: a stayed, b changed, c was replaced, d went.
	w.catchUp([]corev1.Pod{pod("a", "1", "1"), pod("b", "1", "5"), pod("c", "2", "6")})
	want := []string{"DELETED d 4", "MODIFIED b 5", "DELETED c 3", "ADDED c 6"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchPods(t *testing.T) {
	a, c := serve(t)
	watches := 0
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" {
			return false
		}
		if watches++; watches == 1 { // as an API server whose history doesn't reach back that far
			tell(w, "ERROR", metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Code: http.StatusGone, Reason: metav1.StatusReasonExpired})
			return true
		}
		return false
	}
	a.put(podPath, podYAML)
	a.put("/api/v1/namespaces/shop/pods/other", "apiVersion: v1\nkind: Pod\nmetadata: {name: other, namespace: shop}\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var told []string
	err := c.WatchPods(ctx, "shop", map[string]string{"app": "app"}, func(event string, p *corev1.Pod) {
		told = append(told, event+" "+p.Name)
		switch event {
		case Added:
			go a.put(podPath, strings.Replace(podYAML, "it waits", "still", 1))
		case Modified:
			go func() {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.drop(podPath)
			}()
		case Deleted:
			cancel()
		}
	})
	want := []string{"ADDED app-1", "MODIFIED app-1", "DELETED app-1"}
	if diff := cmp.Diff(want, told); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestWatchPodsForbidden(t *testing.T) {
	a, c := serve(t)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/pods") {
			failure(w, http.StatusForbidden, "you may not list", "")
			return true
		}
		return false
	}
	err := c.WatchPods(t.Context(), "shop", nil, func(string, *corev1.Pod) {})
	if err == nil || !strings.Contains(err.Error(), "you may not list") {
		t.Error(err)
	}
}

func TestListPages(t *testing.T) {
	a, c := serve(t)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/pods") {
			return false
		}
		page, next := r.URL.Query().Get("continue"), "second"
		if page != "" {
			next = ""
		}
		answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{"continue": next},
			"items": []any{map[string]any{"metadata": map[string]any{"name": "p" + page}}}})
		return true
	}
	pods, err := c.Pods(t.Context(), "", nil)
	if err != nil || len(pods) != 2 || pods[1].Name != "psecond" {
		t.Errorf("%v, %v", pods, err)
	}
	if got, err := c.List(t.Context(), "no.example/v1", "Nothing", "", nil); err != nil || got != nil {
		t.Errorf("a kind that is not there: %v, %v", got, err)
	}
	if got, err := c.Get(t.Context(), decode(t, "apiVersion: no.example/v1\nkind: Nothing\nmetadata: {name: one}")[0]); err != nil || got != nil {
		t.Errorf("a kind that is not there: %v, %v", got, err)
	}
}

func TestLogs(t *testing.T) {
	a, c := serve(t)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprintf(w, "%s?%s", r.URL.Path, r.URL.RawQuery)
		return true
	}
	var b strings.Builder
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := c.Logs(t.Context(), "shop", "p", "istio-proxy", since, &b); err != nil {
		t.Fatal(err)
	}
	if want := "/api/v1/namespaces/shop/pods/p/log?container=istio-proxy&sinceTime=2026-01-02T03%3A04%3A05Z"; b.String() != want {
		t.Errorf("asked for %s", b.String())
	}
}

func TestUsages(t *testing.T) {
	a, c := serve(t)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/nodes/n1/proxy/stats/summary" && r.URL.RawQuery == "only_cpu_and_memory=true" {
			w.Write([]byte(summary))
			return true
		}
		return false
	}
	a.put("/api/v1/nodes/n1", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n")
	got, err := c.Usages(t.Context())
	want := []Usage{{Namespace: "shop", Pod: "p", Container: "app", Seconds: 1.5}, {Namespace: "shop", Pod: "p", Container: "istio-proxy", Seconds: 0.25}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Usage{}, "Time")); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	a.put("/api/v1/nodes/n2", "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n")
	if _, err := c.Usages(t.Context()); err == nil || !strings.Contains(err.Error(), "CPU of node n2") {
		t.Errorf("a node that doesn't answer: %v", err)
	}
}
