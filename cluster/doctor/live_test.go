package doctor

import (
	"testing"
	"time"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

const (
	primaryCluster = "outbound|80|v1|cart.shop.svc.cluster.local"
	shadowCluster  = "outbound|80|v2|cart.shop.svc.cluster.local"
)

func livePod(version string) Pod {
	return Pod{Namespace: "shop", Name: "cart-" + version, Labels: map[string]string{"app": "cart", "version": version},
		Annotations: map[string]string{"prometheus.io/scrape": "true"}, Containers: []string{"istio-proxy", "cart"}, Ready: true,
		Clock: liveNow.Add(20 * time.Millisecond), ProxyVersion: "1.31.0"}
}

var liveNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// healthyLive is a cluster that runs the shop; each test changes its own copy.
func healthyLive() *Live {
	return &Live{Kubernetes: "v1.34.4", Istio: "1.31.0", Now: liveNow,
		Pods: []Pod{livePod("v1"), livePod("v2"), {Namespace: "istio-system", Name: "gw-1", Ready: true, Containers: []string{"istio-proxy"}, ProxyVersion: "1.31.0"}},
		Gateways: []Gateway{{Pod: "istio-system/gw-1", StatsMatcher: true,
			Routes:   []mesh.Route{{Name: "shop/cart/reads", Mirrors: []mesh.Mirror{{Cluster: shadowCluster, Numerator: 100_000}}}, {Name: "shop/cart/rest"}},
			Clusters: map[string]Cluster{primaryCluster: {Endpoints: 1, Healthy: 1}, shadowCluster: {Endpoints: 2, Healthy: 2}}}}}
}

func TestLive(t *testing.T) {
	const gw, v2 = "Pod istio-system/gw-1", "Pod shop/cart-v2"
	for _, row := range []struct {
		name   string
		change func(*Live)
		want   []string
	}{
		{"healthy", func(*Live) {}, nil},
		{"unknown", func(l *Live) {
			l.Kubernetes, l.Istio = "", ""
			l.Pods[1].ProxyVersion, l.Pods[1].Clock = "", time.Time{}
			l.Gateways[0].Clusters = nil
		}, nil},
		{"no pods of the shadow", func(l *Live) { l.Pods = append(l.Pods[:1], l.Pods[2]) }, []string{"error subset-without-pods " + vs + " | " + mirror}},
		{"shadow not ready", func(l *Live) { l.Pods[1].Ready = false }, []string{"error subset-without-pods " + vs + " | " + mirror}},
		{"no sidecar", func(l *Live) { l.Pods[1].Containers = []string{"cart"} }, []string{"error sidecar-absent " + v2}},
		{"not scraped", func(l *Live) { l.Pods[1].Annotations = nil }, []string{"warning metrics-not-scraped " + v2}},
		{"no sign of a Prometheus", func(l *Live) { l.Pods[0].Annotations, l.Pods[1].Annotations = nil, nil }, nil},
		{"scraping switched off", func(l *Live) {
			l.Pods[0].Annotations, l.Pods[1].Annotations = map[string]string{scrapeKey: "false"}, map[string]string{scrapeKey: "false"}
		}, []string{"warning metrics-not-scraped Pod shop/cart-v1", "warning metrics-not-scraped " + v2}},
		{"no gateway", func(l *Live) { l.Gateways = nil }, []string{"error gateway-absent "}},
		{"no version", func(l *Live) {
			p := livePod("v2")
			p.Name = "cart-x"
			p.Labels = map[string]string{"app": "cart"}
			l.Pods = append(l.Pods, p)
		}, nil},
		{"clock behind", func(l *Live) { l.Pods[1].Clock = liveNow.Add(-101 * time.Millisecond) }, []string{"warning time-skew " + v2}},
		{"clock at the limit", func(l *Live) { l.Pods[1].Clock = liveNow.Add(maxSkew) }, nil},
		{"restarted", func(l *Live) { l.Pods[1].Restarts = 2 }, []string{"info pod-restarts " + v2}},
		{"another proxy", func(l *Live) { l.Pods[2].ProxyVersion = "1.30.2" }, []string{"warning istio-version " + gw}},
		{"old proxy", func(l *Live) { l.Pods[1].ProxyVersion = "1.24.1" }, []string{"error istio-version " + v2}},
		{"old Istio", func(l *Live) {
			l.Istio, l.Pods[0].ProxyVersion, l.Pods[1].ProxyVersion, l.Pods[2].ProxyVersion = "1.24.3", "", "", ""
		}, []string{"error istio-version ", "info shadow-suffix "}},
		{"unsupported Istio", func(l *Live) {
			l.Istio, l.Pods[0].ProxyVersion, l.Pods[1].ProxyVersion, l.Pods[2].ProxyVersion = "1.28.0", "", "", ""
		}, []string{"warning istio-version "}},
		{"oldest Istio that is supported", func(l *Live) {
			l.Istio, l.Kubernetes = "1.29.5", "v1.30.2"
			l.Pods[0].ProxyVersion, l.Pods[1].ProxyVersion, l.Pods[2].ProxyVersion = "1.29.5", "1.29.5", "1.29.1"
		}, nil},
		{"old Kubernetes", func(l *Live) { l.Kubernetes = "v1.31.9+k3s1" }, []string{"warning kubernetes-version "}},
		{"not counted", func(l *Live) { l.Gateways[0].StatsMatcher = false }, []string{"error metrics-not-exposed " + gw}},
		{"difference told", func(l *Live) { l.Gateways[0].Differences = []string{"route shop/cart/reads: 12 %"} }, []string{"error gateway-differs " + gw}},
		{"another numerator", func(l *Live) { l.Gateways[0].Routes[0].Mirrors[0].Numerator = 120_000 }, []string{"error gateway-differs " + gw}},
		{"a mirror that never fires", func(l *Live) {
			l.Gateways[0].Routes[1].Mirrors = []mesh.Mirror{{Cluster: shadowCluster}}
		}, nil},
		{"no such route", func(l *Live) { l.Gateways[0].Routes = l.Gateways[0].Routes[1:] }, []string{"error gateway-differs " + gw}},
		{"no such cluster", func(l *Live) { delete(l.Gateways[0].Clusters, shadowCluster) }, []string{"error mirror-without-cluster " + gw}},
		{"not healthy", func(l *Live) { l.Gateways[0].Clusters[shadowCluster] = Cluster{Endpoints: 2} }, []string{"error no-healthy-endpoints " + gw}},
		{"overflow", func(l *Live) {
			l.Gateways[0].Clusters[shadowCluster] = Cluster{Endpoints: 2, Healthy: 2, Counters: map[string]uint64{"upstream_rq_pending_overflow": 7}}
		}, []string{"warning pending-overflow " + gw}},
	} {
		t.Run(row.name, func(t *testing.T) {
			live := healthyLive()
			row.change(live)
			expect(t, Input{Sources: []route.Source{shop(t)}, Live: live}, row.want)
		})
	}
}

// TestLiveVersionLabel: a whole host's pods are looked at where a destination names no subset.
func TestLiveVersionLabel(t *testing.T) {
	live := healthyLive()
	p := livePod("v2")
	p.Name, p.Labels = "cart-x", map[string]string{"app": "cart"}
	live.Pods = append(live.Pods, p)
	delete(live.Gateways[0].Clusters, primaryCluster)
	live.Gateways[0].Clusters["outbound|80||cart.shop.svc.cluster.local"] = Cluster{Endpoints: 3, Healthy: 3}
	src := shop(t, edit{"        - destination: {host: cart, subset: v1}\n      mirror:", "        - destination: {host: cart}\n      mirror:"})
	expect(t, Input{Sources: []route.Source{src}, Live: live}, []string{"warning version-label Pod shop/cart-x"})
}

// TestLiveNobody: a mirror that leads to nobody can neither write nor hold requests, and a Service that no mirror leads to, as a
// gateway's, may have any ports.
func TestLiveNobody(t *testing.T) {
	live := healthyLive()
	live.Gateways[0].Routes[0].Mirrors = []mesh.Mirror{{Cluster: "outbound|80||nobody.shop.svc.cluster.local", Numerator: 100_000}}
	src := shop(t, edit{mirror, "mirror: {host: nobody, port: {number: 80}}"}, mirrorAll, appendDoc(`apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template: {metadata: {labels: {istio: ingressgateway}}, spec: {containers: [{name: istio-proxy, image: auto, ports: [{containerPort: 15090}]}]}}
`))
	expect(t, Input{Sources: []route.Source{src}, Live: live}, []string{
		"error mirror-without-cluster Pod istio-system/gw-1",
		"error mirror-without-cluster " + vs + " | mirror: {host: nobody, port: {number: 80}}",
	})
}

// TestLiveObjects: objects of a cluster have no file.
func TestLiveObjects(t *testing.T) {
	live := healthyLive()
	src := shop(t, edit{mirror, "mirror: {host: cart, subset: v3}"})
	for _, m := range mustLoad(t, src) {
		name := m.ID()
		src := route.Source{Name: name, Data: m.Raw}
		if m.Kind != "VirtualService" {
			continue
		}
		found := Examine(Input{Sources: []route.Source{src}, Live: live})
		if len(found) == 0 {
			t.Error("a VirtualService alone in a cluster has no fault")
		}
		for _, x := range found {
			if x.File != "" || x.Line != 0 {
				t.Errorf("an object of a cluster has a place: %+v", x)
			}
			if x.Check == "vs-not-bound" && x.Severity != Error {
				t.Errorf("a Gateway that the cluster does not have is certain: %+v", x)
			}
		}
	}
}

func mustLoad(t *testing.T, s route.Source) []route.Object {
	t.Helper()
	m, err := route.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return m.Objects
}

// TestSuffix: the filter acts where the suffix is on.
func TestSuffix(t *testing.T) {
	live := healthyLive()
	live.Istio = "1.27.1"
	for i := range live.Pods {
		live.Pods[i].ProxyVersion = ""
	}
	in := Input{Sources: []route.Source{shop(t, appendDoc(filter))}, Live: live}
	expect(t, in, []string{
		"warning istio-version ",
		"info shadow-suffix ",
		"info not-modelled EnvoyFilter shop/f | kind: EnvoyFilter",
		`info shadow-suffix EnvoyFilter shop/f | spec: {configPatches: [{patch: {value: {code: 'gsub(host, "-shadow$", "")'}}}]}`,
	})
	values := route.Source{Name: "values.yaml", Data: []byte("pilot:\n  env:\n    DISABLE_SHADOW_HOST_SUFFIX: \"true\"\n")}
	in.Sources = append(in.Sources, values)
	expect(t, in, []string{
		"warning istio-version ",
		`warning shadow-suffix EnvoyFilter shop/f | spec: {configPatches: [{patch: {value: {code: 'gsub(host, "-shadow$", "")'}}}]}`,
		"info not-modelled EnvoyFilter shop/f | kind: EnvoyFilter",
	})
}
