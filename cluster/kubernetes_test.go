package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbra/cluster/internal/envoy"
	"umbra/cluster/internal/istio"
	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// podIn is a pod that is ready.
func podIn(namespace, ip string, labels map[string]string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod-" + ip, Labels: labels},
		Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

func TestPodsOf(t *testing.T) {
	v2 := map[string]string{"app": "shop", "version": "v2"}
	ending, unready := podIn("shop", "10.0.0.3", v2), podIn("shop", "10.0.0.4", v2)
	ending.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	list := []corev1.Pod{podIn("shop", "10.0.0.2", v2), podIn("shop", "10.0.0.1", v2), ending, unready,
		podIn("other", "10.0.0.5", v2), podIn("shop", "10.0.0.6", map[string]string{"app": "shop", "version": "v1"})}
	got := podsOf(&route.Cluster{Namespace: "shop", Selector: v2}, list)
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.2"}, got); diff != "" {
		t.Error(diff)
	}
	if got := podsOf(&route.Cluster{Namespace: "shop"}, list); got != nil {
		t.Errorf("a cluster without selector has %v", got)
	}
}

// What the scenario asks of the app comes to every pod.
func TestSettingsOfAnApp(t *testing.T) {
	spec := mesh.Spec{App: map[string]mesh.Behaviour{"v2": {Differ: 0.5, Stamp: true}}, Ignore: []string{"$.time"}, Seed: 7}
	for version, want := range map[string]mesh.Behaviour{"v1": {}, "v2": {Differ: 0.5, Stamp: true}} {
		got := (&conduct{}).settings(&spec, &route.Workload{Version: version})
		if diff := cmp.Diff(app.Settings{Behaviour: want, Seed: 7, Ignore: []string{"$.time"}}, got); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
	}
}

func TestSameEndpoints(t *testing.T) {
	at := func(healthy bool, addresses ...string) (all []envoy.Endpoint) {
		for _, a := range addresses {
			all = append(all, envoy.Endpoint{Address: a, Healthy: healthy})
		}
		return all
	}
	for name, c := range map[string]struct {
		endpoints []envoy.Endpoint
		pods      []string
		wrong     string
	}{
		"the very pods":               {at(true, "10.0.0.2:80", "10.0.0.1:80"), []string{"10.0.0.1", "10.0.0.2"}, ""},
		"IPv6":                        {at(true, "[fd00::1]:80"), []string{"fd00::1"}, ""},
		"the user's own":              {at(true, "10.9.9.9:80"), nil, ""},
		"none":                        {nil, nil, "0 endpoints, none of them healthy"},
		"none that is healthy":        {at(false, "10.0.0.1:80"), []string{"10.0.0.1"}, "1 endpoints, none of them healthy"},
		"one is missing":              {at(true, "10.0.0.1:80"), []string{"10.0.0.1", "10.0.0.2"}, "the pods that are ready [10.0.0.1 10.0.0.2]"},
		"one of an earlier run":       {at(true, "10.0.0.1:80", "10.0.0.7:80"), []string{"10.0.0.1"}, "its healthy endpoints are [10.0.0.1 10.0.0.7]"},
		"unhealthy ones do not count": {append(at(true, "10.0.0.1:80"), at(false, "10.0.0.7:80")...), []string{"10.0.0.1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := sameEndpoints(c.endpoints, c.pods)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%v, want %q", err, c.wrong)
			}
		})
	}
}

func TestEndpointsAreThoseThatServed(t *testing.T) {
	healthy, left, unready := podIn("shop", "10.0.0.1", nil), podIn("shop", "10.0.0.2", nil), podIn("shop", "10.0.0.3", nil)
	m := &onKubernetes{spec: spec(t, mirrored), pods: &pods{all: map[string]*replica{"shop/" + left.Name: {}}}}
	name := m.spec.Table.Clusters()[0].Name
	s := &mesh.State{Endpoints: map[string][]string{}}
	m.endpoints(s, map[string][]envoy.Endpoint{name: {{Address: "10.0.0.1:80", Healthy: true}, {Address: "10.0.0.2:80"}, {Address: "10.0.0.3:80"}, {Address: "10.9.9.9:80"}}},
		map[string]*corev1.Pod{"10.0.0.1": &healthy, "10.0.0.2": &left, "10.0.0.3": &unready})
	if diff := cmp.Diff([]string{"10.9.9.9:80", healthy.Name, left.Name}, s.Endpoints[name]); diff != "" {
		t.Error(diff)
	}
}

func TestPodPort(t *testing.T) {
	pod := podIn("istio-system", "10.0.0.1", nil)
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http2", ContainerPort: 8080}}}}
	for name, c := range map[string]struct {
		port corev1.ServicePort
		want int
		err  string
	}{
		"a number": {corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)}, 8080, ""},
		"none":     {corev1.ServicePort{Port: 80}, 80, ""},
		"a name":   {corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("http2")}, 8080, ""},
		"no such":  {corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("http3")}, 0, "no port named http3"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := podPort(&pod, c.port)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}

// A container that is restarted beside the app has no receipts to lose.
func TestRestartsOfAPod(t *testing.T) {
	end := func(seconds int64, code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: code, FinishedAt: metav1.Unix(seconds, 0)}}
	}
	pod := corev1.Pod{Status: corev1.PodStatus{
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "istio-proxy", RestartCount: 2, LastTerminationState: end(200, 137)}},
		ContainerStatuses:     []corev1.ContainerStatus{{Name: "app", RestartCount: 1, LastTerminationState: end(100, 2)}}}}
	if n, own := restarts(&pod), appRestarts(&pod, &istio.App{Container: "app"}); n != 3 || own != 1 {
		t.Errorf("%d restarts, %d of the app", n, own)
	}
	if got := lastEnd(&pod); got != "container istio-proxy: Error, exit code 137" {
		t.Error(got)
	}
	if got := lastEnd(&corev1.Pod{}); got != "unknown why" {
		t.Error(got)
	}
}

func TestFromEnvironment(t *testing.T) {
	env := map[string]string{"UMBRA_NODE_IMAGE": "node:1", "UMBRA_ISTIO_HUB": "hub", "UMBRA_ISTIO_TAG": "1.31.9", "UMBRA_ISTIO_VALUES": "values.yaml",
		"UMBRA_LOAD_IMAGES": "a:1, b:2,,", "UMBRA_APP_IMAGE": "app:1", "UMBRA_APP_BINARY": "umbra-linux"}
	want := Settings{Name: DefaultName, NodeImage: "node:1", Hub: "hub", Tag: "1.31.9", Values: "values.yaml", LoadImages: []string{"a:1", "b:2"},
		AppImage: "app:1", AppBinary: "umbra-linux", Wait: defaultWait}
	if diff := cmp.Diff(want, FromEnvironment(func(name string) string { return env[name] })); diff != "" {
		t.Error(diff)
	}
	bare := FromEnvironment(func(string) string { return "" })
	if bare.NodeImage == "" || bare.Hub == "" || bare.Tag == "" || bare.LoadImages != nil {
		t.Errorf("without settings: %+v", bare)
	}
}
