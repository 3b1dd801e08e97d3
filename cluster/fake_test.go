package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"umbra/cluster/internal/envoy"
	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// fakeCluster is an API server of few kinds, and the Envoys of gateways that obey the VirtualServices that it is given a
// few questions later, with the example basic-100.
type fakeCluster struct {
	t      *testing.T
	after  int // questions for its routes that a gateway answers as before
	refuse bool

	mu      sync.Mutex
	pods    []corev1.Pod
	applied []string       // VirtualServices as they were sent
	asked   map[string]int // for the routes, since the last of them, by gateway
	before  string         // the last but one of applied
}

// specOfExample is of the manifests that the gateways' dump is of.
func specOfExample(t *testing.T) mesh.Spec {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "scenarios", "examples", "basic-100-istio.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := specOf(t, string(data))
	s.Workloads = route.Workloads(s.Manifests, s.Table)
	return s
}

// newFakeCluster gives a mesh that serves there by two gateways.
func newFakeCluster(t *testing.T) (*fakeCluster, *onKubernetes) {
	t.Helper()
	f := &fakeCluster{t: t, asked: map[string]int{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	client, err := kube.Connect(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	m := &onKubernetes{spec: specOfExample(t), client: client, deployed: &istio.Deployed{}, wait: patience, log: t.Logf}
	for _, name := range []string{"gateway-a", "gateway-b"} {
		pod := podIn("istio-system", "10.0.1.1", gatewayLabels)
		pod.Name = name
		f.pods = append(f.pods, pod)
		m.gateways = append(m.gateways, &gatewayPod{pod.Namespace, name, client.Forward(pod.Namespace, name, envoyAdmin), envoy.Admin{Transport: fakeEnvoy{f, name}}})
	}
	for _, w := range m.spec.Workloads {
		m.deployed.Apps = append(m.deployed.Apps, istio.App{Workload: w, Container: "app", AdminPort: 8081})
	}
	m.pods = newPods(client, &m.spec, m.deployed.Apps, t.Logf)
	return f, m
}

// userSeed is what pods were told before a mesh tells them something.
const userSeed = 77

// settingsOf asks a pod what it was told.
func settingsOf(t *testing.T, a *app.App) app.Settings {
	t.Helper()
	s, err := (app.Client{Base: "http://" + a.AdminAddr()}).Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addPod adds a pod of a workload, whose app is this process's own.
func (f *fakeCluster) addPod(m *onKubernetes, w *route.Workload, ip string) *app.App {
	f.t.Helper()
	a, err := app.Start(f.t.Context(), app.Config{Version: w.Version, Pod: "pod-" + ip, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", SpillDir: f.t.TempDir(), Seed: userSeed})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { a.Close(f.t.Context()) })
	pod := podIn(w.Namespace, ip, w.Labels)
	m.pods.add(&pod).admin = app.Client{Base: "http://" + a.AdminAddr()}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods = append(f.pods, pod)
	return a
}

func (f *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	switch path := r.URL.Path; {
	case path == "/apis/networking.istio.io/v1beta1":
		answer(metav1.APIResourceList{GroupVersion: "networking.istio.io/v1beta1", APIResources: []metav1.APIResource{{Name: "virtualservices", Kind: "VirtualService", Namespaced: true}}})
	case path == "/api/v1":
		answer(metav1.APIResourceList{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods", Kind: "Pod", Namespaced: true}}})
	case strings.HasSuffix(path, "/pods"):
		answer(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: f.selected(r)})
	case r.Method == http.MethodPatch && strings.HasSuffix(path, "/namespaces/shop/virtualservices/my-app") && r.URL.Query().Get("fieldManager") == "umbra" && !f.refuse:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			f.t.Error(err)
		}
		if n := len(f.applied); n > 0 {
			f.before = f.applied[n-1]
		}
		f.applied = append(f.applied, string(body))
		clear(f.asked)
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	default:
		w.WriteHeader(http.StatusForbidden)
		answer(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: r.Method + " " + path + " is not for you"})
	}
}

// selected are the pods of a namespace, or of the gateway.
func (f *fakeCluster) selected(r *http.Request) (all []corev1.Pod) {
	for _, p := range f.pods {
		ofGateway := strings.Contains(r.URL.Query().Get("labelSelector"), "istio")
		if ofGateway == has(p.Labels, gatewayLabels) {
			all = append(all, p)
		}
	}
	return all
}

// fakeEnvoy is the admin interface of a gateway.
type fakeEnvoy struct {
	*fakeCluster
	name string
}

func (e fakeEnvoy) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var body string
	switch r.URL.Path {
	case "/config_dump":
		body = e.dump()
	case "/clusters":
		body = e.endpoints()
	default:
		return nil, errors.New("no page " + r.URL.Path)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// dump is the routes as they are after the last VirtualService, or still after the one before it. The second gateway is
// the later one.
func (e fakeEnvoy) dump() string {
	obeyed, late := e.before, e.after
	if e.name == "gateway-b" {
		late *= 2
	}
	if e.asked[e.name]++; e.asked[e.name] > late && len(e.applied) > 0 {
		obeyed = e.applied[len(e.applied)-1]
	}
	data, err := os.ReadFile(filepath.Join("internal", "envoy", "testdata", "routes", "basic-100.json"))
	if err != nil {
		e.t.Error(err)
	}
	if strings.Contains(obeyed, `"mirrorPercentage":{"value":0}`) {
		return strings.ReplaceAll(string(data), "request_mirror_policies", "no_policies")
	}
	return string(data)
}

// endpoints are the pods that are ready, of all clusters.
func (e fakeEnvoy) endpoints() string {
	var clusters []string
	for _, version := range []string{"v1", "v2"} {
		var hosts []string
		for i := range e.pods {
			if p := &e.pods[i]; p.Labels["version"] == version && ready(p) {
				hosts = append(hosts, fmt.Sprintf(`{"address": {"socket_address": {"address": %q, "port_value": 8080}}}`, p.Status.PodIP))
			}
		}
		clusters = append(clusters, fmt.Sprintf(`{"name": "outbound|80|%s|my-app.shop.svc.cluster.local", "host_statuses": [%s]}`, version, strings.Join(hosts, ",")))
	}
	return `{"cluster_statuses": [` + strings.Join(clusters, ",") + `]}`
}

func (f *fakeCluster) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.applied...)
}

// Reroute returns when the last gateway has the routes, and puts the manifests' own back as the mesh is closed.
func TestRerouteOnKubernetes(t *testing.T) {
	f, m := newFakeCluster(t)
	f.after = 2
	off, unmirrored := unmirroredOf(t, m.spec)
	for i := range 2 {
		if err := m.Reroute(t.Context(), off, unmirrored); err != nil {
			t.Fatal(err)
		}
		if f.asked["gateway-a"] <= f.after || f.asked["gateway-b"] <= 2*f.after {
			t.Errorf("it did not wait for both: %v", f.asked)
		}
		if m.table() != unmirrored {
			t.Error("another table is in force")
		}
		if err := m.configured(m.table())(t.Context()); err != nil {
			t.Error(err)
		}
		if err := m.Reroute(t.Context(), m.spec.Manifests, m.spec.Table); err != nil {
			t.Fatal(err)
		}
		if sent := f.sent(); len(sent) != 2*i+2 || !strings.Contains(sent[2*i], `"mirrorPercentage":{"value":0}`) || strings.Contains(sent[2*i+1], `{"value":0}`) {
			t.Errorf("applied %v", sent)
		}
	}
	for _, o := range f.sent() {
		if !strings.Contains(o, `"app.kubernetes.io/managed-by":"umbra"`) || !strings.Contains(o, `"namespace":"shop"`) {
			t.Errorf("applied %s", o)
		}
	}
	if err := m.Reroute(t.Context(), off, unmirrored); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if sent := f.sent(); len(sent) != 6 || strings.Contains(sent[5], `{"value":0}`) {
		t.Errorf("as it was closed %v were applied", sent)
	}
}

// What is applied of a VirtualService is what Deploy would apply.
func TestRerouteAppliesWhatDeployDoes(t *testing.T) {
	f, m := newFakeCluster(t)
	off, unmirrored := unmirroredOf(t, m.spec)
	deployed, err := istio.Deploy(off, unmirrored, m.spec.Workloads, "umbra-app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Reroute(t.Context(), off, unmirrored); err != nil {
		t.Fatal(err)
	}
	got := &istio.Object{}
	if err := got.UnmarshalJSON([]byte(f.sent()[0])); err != nil {
		t.Fatal(err)
	}
	got.SetLabels(nil)
	for _, o := range deployed.Objects {
		if o.GetKind() == "VirtualService" && fmt.Sprint(o.Object) != fmt.Sprint(got.Object) {
			t.Errorf("Deploy applies %v, Reroute %v", o.Object, got.Object)
		}
	}
}

func TestRerouteFailsOnKubernetes(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(f *fakeCluster, m *onKubernetes)
		want  []string
	}{
		"a gateway never obeys": {func(f *fakeCluster, m *onKubernetes) { f.after, m.wait = 1e9, 300*time.Millisecond },
			[]string{"waited 300ms for the gateway to obey other routes", "gateway-a", "mirrors"}},
		"it is refused": {func(f *fakeCluster, _ *onKubernetes) { f.refuse = true }, []string{"rejected by the API server", "not for you"}},
		"a gateway came": {func(f *fakeCluster, _ *onKubernetes) {
			pod := podIn("istio-system", "10.0.1.9", gatewayLabels)
			f.pods = append(f.pods, pod)
		}, []string{"gateway pod-10.0.1.9 came after"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, m := newFakeCluster(t)
			c.wrong(f, m)
			off, unmirrored := unmirroredOf(t, m.spec)
			err := m.Reroute(t.Context(), off, unmirrored)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if m.table() != m.spec.Table {
				t.Error("the other table is in force")
			}
			f.mu.Lock()
			f.refuse = false
			f.mu.Unlock()
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			if sent := f.sent(); len(sent) == 0 || strings.Contains(sent[len(sent)-1], `{"value":0}`) {
				t.Errorf("in the end the routes are %v", sent)
			}
		})
	}
}

// Every pod is told, one that comes later too, and all are told to be healthy at the end.
func TestConductOnKubernetes(t *testing.T) {
	f, m := newFakeCluster(t)
	var apps []*app.App
	for i := range m.spec.Workloads {
		w := &m.spec.Workloads[i]
		apps = append(apps, f.addPod(m, w, fmt.Sprintf("10.0.0.%d", i)))
	}
	if len(apps) != 2 || m.spec.Workloads[1].Version != "v2" {
		t.Fatalf("workloads %+v", m.spec.Workloads)
	}
	const delay = time.Millisecond
	if err := m.Conduct(t.Context(), mesh.Conduct{Shadow: "dead", Delay: map[string]time.Duration{"v1": delay}}); err != nil {
		t.Fatal(err)
	}
	late := f.addPod(m, &m.spec.Workloads[1], "10.0.0.7")
	m.pods.came(m.pods.replicas(nil)[2], time.Now())
	m.pods.running.Wait()
	for i, want := range []struct {
		mode  string
		delay time.Duration
	}{{"", delay}, {"dead", 0}, {"dead", 0}} {
		if got := settingsOf(t, []*app.App{apps[0], apps[1], late}[i]); got.Mode != want.mode || got.Delay != want.delay {
			t.Errorf("pod %d was told %+v", i, got)
		}
	}
	if err := m.Conduct(t.Context(), mesh.Conduct{Delay: map[string]time.Duration{"v9": delay}}); err == nil || !strings.Contains(err.Error(), "delay of v9") {
		t.Errorf("error %v", err)
	}
	if err := m.Conduct(t.Context(), mesh.Conduct{Shadow: "slow"}); err != nil {
		t.Fatal(err)
	}
	if got := settingsOf(t, late); got.Mode != "slow" {
		t.Errorf("a pod that came was told %+v", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for i, a := range append(apps, late) {
		if got := settingsOf(t, a); got.Mode != "" || got.Delay != 0 {
			t.Errorf("at the end pod %d was told %+v", i, got)
		}
		if c, err := net.Dial("tcp", a.Addr()); err != nil {
			t.Errorf("pod %d does not listen: %v", i, err)
		} else {
			c.Close()
		}
	}
}

// The user's own pods are told again what they had been told before, those that came later too.
func TestConductOfTheUsersPods(t *testing.T) {
	f, m := newFakeCluster(t)
	m.restore, m.pods.restore = true, true
	var apps []*app.App
	for i := range m.spec.Workloads {
		apps = append(apps, f.addPod(m, &m.spec.Workloads[i], fmt.Sprintf("10.0.0.%d", i)))
	}
	if err := m.Conduct(t.Context(), mesh.Conduct{}); err != nil {
		t.Fatal(err)
	}
	apps = append(apps, f.addPod(m, &m.spec.Workloads[1], "10.0.0.7"))
	if err := m.Conduct(t.Context(), mesh.Conduct{Shadow: "dead"}); err != nil { // before the watch has told the pod
		t.Fatal(err)
	}
	m.pods.came(m.pods.replicas(nil)[2], time.Now())
	m.pods.running.Wait()
	for i, a := range apps {
		if got := settingsOf(t, a); got.Seed != m.spec.Seed || (got.Mode == "dead") != (i > 0) {
			t.Errorf("pod %d was told %+v", i, got)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for i, a := range apps {
		if got := settingsOf(t, a); got.Seed != userSeed || got.Mode != "" {
			t.Errorf("at the end pod %d was told %+v", i, got)
		}
	}
}

// Pods that were dead are waited for until all are ready, have been so for a while, and are endpoints.
func TestReached(t *testing.T) {
	f, m := newFakeCluster(t)
	defer m.Close()
	for i := range m.spec.Workloads {
		f.addPod(m, &m.spec.Workloads[i], fmt.Sprintf("10.0.0.%d", i))
	}
	f.addPod(m, &m.spec.Workloads[1], "10.0.0.7")
	last := &f.pods[len(f.pods)-1]
	set := func(status corev1.ConditionStatus) {
		f.mu.Lock()
		defer f.mu.Unlock()
		last.Status.Conditions[0].Status = status
	}
	check, atOnce := m.reached(time.Hour), m.reached(0)
	for _, c := range []struct {
		status corev1.ConditionStatus
		check  func() error
		want   string
	}{
		{corev1.ConditionFalse, func() error { return atOnce(t.Context()) }, "pod-10.0.0.7: it is not ready"},
		{corev1.ConditionTrue, func() error { return check(t.Context()) }, "but only for 0s"},
		{corev1.ConditionFalse, func() error { return check(t.Context()) }, "it is not ready"},
		{corev1.ConditionTrue, func() error { return check(t.Context()) }, "but only for 0s"},
		{corev1.ConditionTrue, func() error { return atOnce(t.Context()) }, ""},
	} {
		set(c.status)
		if err := c.check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
