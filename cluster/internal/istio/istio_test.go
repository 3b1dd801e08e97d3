package istio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var plainSettings = Settings{Hub: "hub.test/istio", Tag: "1.31.0", GatewayPorts: []uint32{443, 80, 443}, ServicePort: 80, NodePort: 30080}

func rendered(t *testing.T, change func(*Settings)) *Installation {
	t.Helper()
	s := plainSettings
	if change != nil {
		change(&s)
	}
	i, err := Render(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestRender(t *testing.T) {
	i := rendered(t, func(s *Settings) { s.AccessLog = true })
	golden(t, "installation.golden", "base\n"+listing(i.Base)+"\ncontrol\n"+listing(i.Control)+"\ngateway\n"+listing(i.Gateway))
	golden(t, "gateway.golden", asYAML(t, i.Gateway...))
}

func TestRenderedObjectsHaveTheirNamespace(t *testing.T) {
	i := rendered(t, nil)
	for _, list := range [][]*Object{i.Base, i.Control, i.Gateway} {
		for _, o := range list {
			switch {
			case namespaced(o) == clusterScoped(o):
				t.Errorf("%s of %s is in neither list of kinds, or in both", id(o), o.GetAPIVersion())
			case namespaced(o) && o.GetNamespace() != Namespace:
				t.Errorf("%s is not in %s", id(o), Namespace)
			}
		}
	}
}

func TestControlPlane(t *testing.T) {
	i := rendered(t, nil)
	pod := podOf(find(t, i.Control, "Deployment istio-system/istiod"))
	istiod := containersOf(pod, "containers")[0]
	want := map[string]any{"image": "hub.test/istio/pilot:1.31.0", "imagePullPolicy": "IfNotPresent", "resources": map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "64Mi"}}}
	for field, value := range want {
		if diff := cmp.Diff(value, istiod[field]); diff != "" {
			t.Errorf("%s of istiod (-want +got):\n%s", field, diff)
		}
	}
	injector, _, _ := unstructured.NestedString(find(t, i.Control, "ConfigMap istio-system/istio-sidecar-injector").Object, "data", "values")
	for _, part := range []string{`"hub": "hub.test/istio"`, `"tag": "1.31.0"`, `"imagePullPolicy": "IfNotPresent"`, `"cpu": "10m"`} {
		if !strings.Contains(injector, part) {
			t.Errorf("the injector's values lack %s:\n%s", part, injector)
		}
	}
	mesh, _, _ := unstructured.NestedString(find(t, i.Control, "ConfigMap istio-system/istio").Object, "data", "mesh")
	for _, part := range []string{"proxyStatsMatcher", "accessLogFile"} {
		if strings.Contains(mesh, part) {
			t.Errorf("the mesh's own configuration has %s, which belongs to the gateway alone:\n%s", part, mesh)
		}
	}
}

func TestSettingsReachTheGateway(t *testing.T) {
	port := func(n, node int64) any {
		p := map[string]any{"name": portName(uint32(n)), "port": n, "targetPort": n, "protocol": "TCP"}
		if node != 0 {
			p["nodePort"] = node
		}
		return p
	}
	for _, c := range []struct {
		name        string
		change      func(*Settings)
		ports       []any
		config      string
		telemetries int
	}{
		{"as they are", nil, []any{port(80, 30080), port(443, 0)}, "concurrency: 2\n", 0},
		{"other workers", func(s *Settings) { s.GatewayWorkers = 1 }, []any{port(80, 30080), port(443, 0)}, "concurrency: 1\n", 0},
		{"the run's port is not listed", func(s *Settings) { s.ServicePort = 8081 }, []any{port(8081, 30080), port(80, 0), port(443, 0)}, "concurrency: 2\n", 0},
		{"any node port", func(s *Settings) { s.NodePort = 0 }, []any{port(80, 0), port(443, 0)}, "concurrency: 2\n", 0},
		{"access log", func(s *Settings) { s.AccessLog = true }, []any{port(80, 30080), port(443, 0)}, "concurrency: 2\n", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := rendered(t, c.change)
			ports, _, _ := unstructured.NestedSlice(find(t, i.Gateway, "Service istio-system/istio-ingressgateway").Object, "spec", "ports")
			if diff := cmp.Diff(c.ports, ports); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			pod := podOf(find(t, i.Gateway, "Deployment istio-system/istio-ingressgateway"))
			config, _, _ := unstructured.NestedString(pod, "metadata", "annotations", "proxy.istio.io/config")
			if !strings.HasPrefix(config, c.config) {
				t.Errorf("the gateway's configuration is %q, want it to begin with %q", config, c.config)
			}
			if got := strings.Count(listing(i.Gateway), "Telemetry"); got != c.telemetries {
				t.Errorf("%d Telemetry objects, want %d", got, c.telemetries)
			}
		})
	}
}

func TestUserValuesAreMergedOverOurs(t *testing.T) {
	i := rendered(t, func(s *Settings) {
		s.Values = map[string]any{
			"env":    map[string]any{"PILOT_ENABLE_ALPN_FILTER": "false"},
			"pilot":  map[string]any{"traceSampling": 7},
			"global": map[string]any{"hub": s.Hub, "imagePullPolicy": "Always"},
		}
	})
	istiod := containersOf(podOf(find(t, i.Control, "Deployment istio-system/istiod")), "containers")[0]
	if istiod["imagePullPolicy"] != "Always" || istiod["image"] != "hub.test/istio/pilot:1.31.0" {
		t.Errorf("istiod has image %v and policy %v", istiod["image"], istiod["imagePullPolicy"])
	}
	env := map[string]any{}
	for _, e := range istiod["env"].([]any) {
		env[e.(map[string]any)["name"].(string)] = e.(map[string]any)["value"]
	}
	if env["PILOT_ENABLE_ALPN_FILTER"] != "false" || env["PILOT_TRACE_SAMPLING"] != "7" {
		t.Errorf("istiod's environment is %v", env)
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Settings)
		want   string
	}{
		{"no hub", func(s *Settings) { s.Hub = "" }, "no hub"},
		{"no tag", func(s *Settings) { s.Tag = "" }, "no hub or no tag"},
		{"no service port", func(s *Settings) { s.ServicePort = 0 }, "from 1 to 65535"},
		{"a port that is none", func(s *Settings) { s.GatewayPorts = []uint32{70000} }, "from 1 to 65535"},
		{"a node port that is none", func(s *Settings) { s.NodePort = -1 }, "node port -1"},
		{"workers below 0", func(s *Settings) { s.GatewayWorkers = -1 }, "from 1"},
		{"a Kubernetes version that is none", func(s *Settings) { s.KubeVersion = "new" }, `version "new" of Kubernetes`},
		{"another hub", func(s *Settings) { s.Values = map[string]any{"global": map[string]any{"hub": "elsewhere"}} }, "global.hub: elsewhere"},
		{"a revision", func(s *Settings) { s.Values = map[string]any{"revision": "canary"} }, "istio-injection: enabled"},
		{"another namespace", func(s *Settings) { s.Values = map[string]any{"global": map[string]any{"istioNamespace": "mesh"}} }, "global.istioNamespace: mesh"},
		{"a profile that is none", func(s *Settings) { s.Values = map[string]any{"profile": "fancy"} }, "unknown profile fancy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := plainSettings
			c.change(&s)
			i, err := Render(s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Render gives %v and the error %v, want one with %q", i != nil, err, c.want)
			}
		})
	}
}

func TestImages(t *testing.T) {
	for _, c := range []struct {
		name   string
		values map[string]any
		want   []string
	}{
		{"hub and tag", nil, []string{"hub.test/istio/pilot:1.31.0", "hub.test/istio/proxyv2:1.31.0"}},
		{"distroless", map[string]any{"global": map[string]any{"variant": "distroless"}}, []string{"hub.test/istio/pilot:1.31.0-distroless", "hub.test/istio/proxyv2:1.31.0-distroless"}},
		{"a proxy of one's own", map[string]any{"global": map[string]any{"proxy": map[string]any{"image": "mine.test/proxy:7"}}}, []string{"hub.test/istio/pilot:1.31.0", "mine.test/proxy:7"}},
		{"a pilot of one's own", map[string]any{"image": "mine.test/pilot:7"}, []string{"hub.test/istio/proxyv2:1.31.0", "mine.test/pilot:7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := rendered(t, func(s *Settings) { s.Values = c.values })
			if diff := cmp.Diff(c.want, i.Images()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImagesOfAllKindsOfPods(t *testing.T) {
	pod := map[string]any{"spec": map[string]any{
		"initContainers": []any{map[string]any{"image": "b"}},
		"containers":     []any{map[string]any{"image": "a"}, map[string]any{"image": "auto"}, "odd"},
	}}
	for kind, path := range podPaths {
		o := newObject("v1", kind, "shop", "x")
		if len(path) == 0 {
			o.Object["spec"] = pod["spec"]
		} else if err := unstructured.SetNestedMap(o.Object, pod, path...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "b"}, Images([]*Object{o, o})); diff != "" {
			t.Errorf("images of a %s (-want +got):\n%s", kind, diff)
		}
	}
	if got := Images([]*Object{newObject("v1", "Service", "shop", "x")}); len(got) != 0 {
		t.Errorf("a Service has images %v", got)
	}
}

func BenchmarkRender(b *testing.B) {
	for b.Loop() {
		if _, err := Render(plainSettings); err != nil {
			b.Fatal(err)
		}
	}
}
