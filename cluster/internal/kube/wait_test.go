package kube

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReadiness(t *testing.T) {
	workload := func(kind, spec, status string) string {
		return "apiVersion: apps/v1\nkind: " + kind + "\nmetadata: {name: x, generation: 2}\nspec: {" + spec + "}\nstatus: {" + status + "}\n"
	}
	tests := []struct{ name, yaml, want string }{
		{"deployment", workload("Deployment", "replicas: 2", "observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2"), ""},
		{"deployment without a status", workload("Deployment", "", ""), "its controller has not seen it yet"},
		{"deployment of an older spec", workload("Deployment", "", "observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1"), "its controller has not seen it yet"},
		{"deployment, old replicas only", workload("Deployment", "replicas: 2", "observedGeneration: 2, replicas: 2, availableReplicas: 2"), "0 of 2 replicas updated"},
		{"deployment, one old replica left", workload("Deployment", "", "observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2"), "1 old replicas still there"},
		{"deployment, not available", workload("Deployment", "", "observedGeneration: 2, replicas: 1, updatedReplicas: 1"), "0 of 1 replicas available"},
		{"deployment scaled to zero", workload("Deployment", "replicas: 0", "observedGeneration: 2"), ""},
		{"stateful set", workload("StatefulSet", "replicas: 1", "observedGeneration: 2, updatedReplicas: 1, readyReplicas: 1"), ""},
		{"stateful set, old", workload("StatefulSet", "replicas: 2", "observedGeneration: 2, updatedReplicas: 1, readyReplicas: 2"), "1 of 2 replicas updated"},
		{"stateful set, partition", workload("StatefulSet", "replicas: 2, updateStrategy: {rollingUpdate: {partition: 1}}", "observedGeneration: 2, updatedReplicas: 1, readyReplicas: 2"), ""},
		{"stateful set, not ready", workload("StatefulSet", "updateStrategy: {type: OnDelete}", "observedGeneration: 2"), "0 of 1 replicas ready"},
		{"daemon set", workload("DaemonSet", "", "observedGeneration: 2, desiredNumberScheduled: 1, updatedNumberScheduled: 1, numberAvailable: 1"), ""},
		{"daemon set, not available", workload("DaemonSet", "", "observedGeneration: 2, desiredNumberScheduled: 1, updatedNumberScheduled: 1"), "0 of 1 pods available"},
		{"crd", "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nstatus: {conditions: [{type: Established, status: 'True'}]}", ""},
		{"crd, not established", "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nstatus: {conditions: [{type: Established, status: 'False'}]}", "it is not Established"},
		{"namespace", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\nstatus: {phase: Active}", ""},
		{"namespace, ending", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\nstatus: {phase: Terminating}", `its phase is "Terminating", not Active`},
		{"pod", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {conditions: [{type: Ready, status: 'True'}]}", ""},
		{"pod that is done", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {phase: Succeeded}", ""},
		{"pod, pending", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "it is not Ready"},
		{"another kind", configMap, ""},
		{"being deleted", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, deletionTimestamp: '2026-01-01T00:00:00Z'}\n", "it is being deleted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := readiness(decode(t, test.yaml)[0]); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func waitingPod(reason, message string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop", UID: "u"}, Status: corev1.PodStatus{
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}}
}

func TestHopeless(t *testing.T) {
	running := waitingPod("", "")
	running.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ending := waitingPod("ErrImageNeverPull", "")
	ending.DeletionTimestamp = &metav1.Time{}
	tests := []struct {
		name   string
		states []corev1.Pod // seen 5 s apart
		at     int          // the look that gives up, from 0; -1: none
	}{
		{"an image that is never pulled", []corev1.Pod{waitingPod("ErrImageNeverPull", ""), waitingPod("ErrImageNeverPull", "")}, 1},
		{"an image's name", []corev1.Pod{waitingPod("InvalidImageName", ""), waitingPod("InvalidImageName", "")}, 1},
		{"an image's name, told by the pull", []corev1.Pod{waitingPod("ErrImagePull", "invalid reference format"), waitingPod("ImagePullBackOff", "invalid reference format")}, 1},
		{"a pull that fails for 10 s", []corev1.Pod{waitingPod("ErrImagePull", ""), waitingPod("ImagePullBackOff", ""), waitingPod("ErrImagePull", "")}, 2},
		{"a pull that succeeds", []corev1.Pod{waitingPod("ErrImagePull", ""), running, waitingPod("ErrImagePull", ""), waitingPod("ErrImagePull", "")}, -1},
		{"a pull that succeeds, then a start that fails", []corev1.Pod{waitingPod("ErrImagePull", ""), waitingPod("CrashLoopBackOff", ""), waitingPod("ErrImagePull", ""), waitingPod("ErrImagePull", "")}, -1},
		{"a start that fails", []corev1.Pod{waitingPod("CrashLoopBackOff", ""), waitingPod("CrashLoopBackOff", ""), waitingPod("CrashLoopBackOff", "")}, -1},
		{"a pod that is being deleted", []corev1.Pod{ending, ending, ending}, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			since, now, got := map[string]time.Time{}, time.Unix(0, 0), -1
			for i, p := range test.states {
				if why := hopeless([]corev1.Pod{p}, since, now.Add(time.Duration(i)*5*time.Second)); why != "" {
					got = i
					break
				}
			}
			if got != test.at {
				t.Errorf("gave up at look %d, want %d", got, test.at)
			}
		})
	}
}

const (
	deploymentPath = "/apis/apps/v1/namespaces/shop/deployments/app"
	notReadyYAML   = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: shop}\nspec: {selector: {matchLabels: {app: app}}}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, conditions: [{type: Available, status: 'False', reason: Min, message: not enough}, {type: Progressing, status: 'True'}]}\n"
	readyYAML      = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: shop}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}\n"
	podPath        = "/api/v1/namespaces/shop/pods/app-1"
	podYAML        = "apiVersion: v1\nkind: Pod\nmetadata: {name: app-1, namespace: shop, uid: u, labels: {app: app}}\nstatus: {conditions: [{type: Ready, status: 'False'}], containerStatuses: [{name: app, restartCount: 3, state: {waiting: {reason: REASON, message: it waits}}, lastState: {terminated: {exitCode: 2, reason: Error}}}]}\n"
)

func TestWaitWatches(t *testing.T) {
	a, c := serve(t)
	watches := 0
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" || !strings.HasSuffix(r.URL.Path, "deployments") {
			return false
		}
		watches++
		switch watches {
		case 1: // ends at once, as an API server's do after a while
			answer(w, http.StatusOK, nil)
			return true
		case 2:
			failure(w, http.StatusServiceUnavailable, "not now", "")
			return true
		}
		return false
	}
	a.put(configMapPath, configMap)
	a.put(deploymentPath, notReadyYAML)
	done := make(chan error)
	go func() { done <- c.Wait(t.Context(), time.Minute, decode(t, configMap+"---\n"+notReadyYAML)...) }()
	for { // until the third watch has begun
		a.mu.Lock()
		n := watches
		a.mu.Unlock()
		if n == 3 || !pause(t.Context(), 10*time.Millisecond) {
			break
		}
	}
	select {
	case err := <-done:
		t.Fatalf("ready before it is: %v", err)
	default:
	}
	a.put(deploymentPath, readyYAML)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitTellsWhatIsMissing(t *testing.T) {
	a, c := serve(t)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/log") {
			return false
		}
		if q := r.URL.Query(); q.Get("previous") != "true" || q.Get("tailLines") != "10" || q.Get("container") != "app" {
			t.Errorf("asked for the log by %v", q)
		}
		w.Write([]byte("first\npanic: no\n"))
		return true
	}
	a.put(deploymentPath, notReadyYAML)
	a.put(podPath, strings.Replace(podYAML, "REASON", "CrashLoopBackOff", 1))
	a.put("/api/v1/namespaces/shop/events/1", "apiVersion: v1\nkind: Event\nmetadata: {name: '1'}\ntype: Warning\nreason: BackOff\nmessage: back off\ncount: 7\ninvolvedObject: {kind: Pod, name: app-1}\n")
	objects := decode(t, notReadyYAML+"---\n"+configMap)
	ctx, giveUp := context.WithCancelCause(t.Context())
	all := make(chan []*waiting)
	go func() { all <- c.awaitAll(ctx, giveUp, objects) }()
	const pods = "/api/v1/namespaces/shop/pods" // are looked at once the Deployment was seen
	for !slices.Contains(a.asked("GET"), pods) && pause(t.Context(), 10*time.Millisecond) {
	}
	giveUp(errors.New("the time is up"))
	not := c.account(t.Context(), 0, nil, pending(<-all))
	not.Waited = time.Second
	want := `not ready after 1s
Deployment shop/app: 0 of 1 replicas available
  condition Available is False: Min: not enough
  pod app-1, container app: CrashLoopBackOff: it waits; 3 restarts, before: exited 2 (Error)
  event BackOff of Pod app-1: back off (7 times)
  last lines of container app of pod app-1:
    first
    panic: no
ConfigMap shop/c: there is none`
	if diff := cmp.Diff(want, not.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWaitEndsEarly(t *testing.T) {
	a, c := serve(t)
	a.put(deploymentPath, notReadyYAML)
	a.put(podPath, strings.Replace(podYAML, "REASON", "ErrImageNeverPull", 1))
	err := c.Wait(t.Context(), time.Hour, decode(t, notReadyYAML)...)
	var not *NotReady
	if !errors.As(err, &not) || not.Early != "container app of pod shop/app-1 can't become ready by itself: ErrImageNeverPull" {
		t.Error(err)
	}
}

func TestWaitEnds(t *testing.T) {
	t.Run("cancelled", func(t *testing.T) {
		_, c := serve(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Wait(ctx, time.Hour, decode(t, configMap)...); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("forbidden", func(t *testing.T) {
		a, c := serve(t)
		a.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("watch") != "" {
				failure(w, http.StatusForbidden, "you may not watch", "")
				return true
			}
			return false
		}
		var r *Rejected
		if err := c.Wait(t.Context(), time.Hour, decode(t, configMap)...); !errors.As(err, &r) || r.Message != "you may not watch" {
			t.Error(err)
		}
	})
	t.Run("a kind that is not there", func(t *testing.T) {
		_, c := serve(t)
		err := c.Wait(t.Context(), 50*time.Millisecond, decode(t, "apiVersion: a.example/v1\nkind: A\nmetadata: {name: a}")...)
		if err == nil || !strings.Contains(err.Error(), "the cluster has no kind A of a.example/v1") {
			t.Error(err)
		}
	})
}

func TestPickEvents(t *testing.T) {
	e := func(kind, reason, last string) *Object {
		return decode(t, "apiVersion: v1\nkind: Event\nmetadata: {name: e}\ntype: "+kind+"\nreason: "+reason+"\nlastTimestamp: '"+last+"'\ninvolvedObject: {kind: Pod, name: p}")[0]
	}
	all := []*Object{e("Warning", "C", "2026-01-01T00:00:03Z"), e("Normal", "N", "2026-01-01T00:00:09Z"), e("Warning", "A", "2026-01-01T00:00:01Z"),
		e("Warning", "B", "2026-01-01T00:00:02Z"), e("Warning", "D", "2026-01-01T00:00:04Z"), e("Warning", "E", "2026-01-01T00:00:05Z"), e("Warning", "F", "2026-01-01T00:00:06Z")}
	got := pickEvents(all)
	want := []string{"event B of Pod p: ", "event C of Pod p: ", "event D of Pod p: ", "event E of Pod p: ", "event F of Pod p: "}
	for i := range got {
		got[i] = strings.TrimSpace(got[i]) + " "
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := pickEvents([]*Object{e("Normal", "N", "")}); len(got) != 1 {
		t.Errorf("without a warning: %q", got)
	}
}

func TestNotReadyIsShort(t *testing.T) {
	e := &NotReady{}
	long := strings.Repeat("x", 10000)
	for range 50 {
		e.Objects = append(e.Objects, Unready{Object: decode(t, configMap)[0], Why: long})
	}
	if got := e.Error(); len(got) > maxUnready*(maxLine+40)+100 || !strings.HasSuffix(got, "… and 45 more") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-20:])
	}
}
