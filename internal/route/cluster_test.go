package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func clusters(t *Table) []Cluster {
	var out []Cluster
	for _, c := range t.Clusters() {
		out = append(out, *c)
	}
	return out
}

var exportedOnly = cmpopts.IgnoreUnexported(Cluster{})

func TestClusters(t *testing.T) {
	const host = "my-app.shop.svc.cluster.local"
	for _, row := range []struct {
		name, dst string
		docs      []string
		want      Cluster
	}{
		{"subset", "{host: my-app, subset: v1}", []string{rulesYAML, service("{selector: {app: shop-app}, ports: [{port: 8080}]}")},
			Cluster{Host: host, Subset: "v1", Port: 8080, Selector: map[string]string{"app": "shop-app", "version": "v1"}}},
		{"whole host", "{host: my-app}", []string{rulesYAML, service("{selector: {app: shop-app}, ports: [{port: 8080}]}")},
			Cluster{Host: host, Port: 8080, Selector: map[string]string{"app": "shop-app"}}},
		{"FQDN", "{host: my-app.shop.svc.cluster.local, port: {number: 80}}", nil, Cluster{Host: host, Port: 80, Selector: map[string]string{"app": "my-app"}}},
		{"no Service, the gateway's port", "{host: my-app}", nil, Cluster{Host: host, Port: 80, Selector: map[string]string{"app": "my-app"}}},
		{"port written", "{host: my-app, port: {number: 81}}", []string{service("{selector: {app: a}, ports: [{name: a, port: 80}, {name: b, port: 81}]}")},
			Cluster{Host: host, Port: 81, Selector: map[string]string{"app": "a"}}},
		{"no such port", "{host: my-app, port: {number: 82}}", []string{service("{selector: {app: a}, ports: [{port: 80}]}")},
			Cluster{Host: host, Port: 82, Missing: "Service shop/my-app has no port 82 (it has 80)"}},
		{"port of UDP", "{host: my-app}", []string{service("{selector: {app: a}, ports: [{port: 80, protocol: UDP}]}")},
			Cluster{Host: host, Port: 80, Missing: "port 80 of Service shop/my-app is UDP"}},
		{"no rule", "{host: my-app, subset: v1}", nil,
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app"}, Missing: "no DestinationRule defines subset v1 of my-app.shop.svc.cluster.local"}},
		{"rule of another namespace", "{host: my-app, subset: v1}", []string{strings.NewReplacer("namespace: shop", "namespace: other", "host: my-app", "host: "+host).Replace(rulesYAML)},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app"},
				Missing: "no DestinationRule defines subset v1 of my-app.shop.svc.cluster.local; DestinationRule other/my-app at test.yaml:18 does, but the gateway does not see it; put it into namespace shop with exportTo [\"*\"]"}},
		{"rule of the root namespace", "{host: my-app, subset: v1}", []string{strings.NewReplacer("namespace: shop", "namespace: istio-system", "host: my-app", "host: "+host).Replace(rulesYAML)},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app", "version": "v1"}}},
		{"rule that is private", "{host: my-app, subset: v1}", []string{rulesYAML + "  exportTo: ['.']\n"},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app"},
				Missing: "no DestinationRule defines subset v1 of my-app.shop.svc.cluster.local; DestinationRule shop/my-app at test.yaml:18 does, but the gateway does not see it; put it into namespace shop with exportTo [\"*\"]"}},
		{"wildcard rule", "{host: my-app, subset: v1}", []string{strings.Replace(rulesYAML, "host: my-app", "host: '*.shop.svc.cluster.local'", 1)},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app", "version": "v1"}}},
		{"a specific rule hides a wildcard", "{host: my-app, subset: v1}", []string{strings.NewReplacer("host: my-app", "host: '*.shop.svc.cluster.local'", "name: my-app", "name: wild").Replace(rulesYAML), strings.ReplaceAll(rulesYAML, "name: v1", "name: v9")},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app"},
				Missing: "no DestinationRule defines subset v1 of my-app.shop.svc.cluster.local; DestinationRule shop/wild at test.yaml:18 does, but the gateway does not see it; add it to DestinationRule shop/my-app at test.yaml:27, which is the one that counts"}},
		{"rules are merged, the first by name wins", "{host: my-app, subset: v1}", []string{strings.Replace(rulesYAML, "version: v1", "version: late", 1), strings.NewReplacer("name: my-app", "name: a", "version: v1", "version: early").Replace(rulesYAML)},
			Cluster{Host: host, Subset: "v1", Port: 80, Selector: map[string]string{"app": "my-app", "version": "early"}}},
		{"external host", "{host: api.example.org}", nil, Cluster{Host: "api.example.org", Port: 80, Missing: "no Service has the host api.example.org"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab := table(t, append([]string{vsYAML("{route: [{destination: " + row.dst + "}]}"), gatewayYAML}, row.docs...)...)
			want := row.want
			want.Name = tab.Routes()[0].Destinations[0].Cluster
			if strings.HasSuffix(want.Host, host) {
				want.Namespace = "shop"
			}
			if diff := cmp.Diff([]Cluster{want}, clusters(tab), exportedOnly); diff != "" {
				t.Error(diff)
			}
			if tab.Cluster(want.Name) == nil || tab.Cluster("outbound|1||x") != nil {
				t.Error("Cluster does not find by name")
			}
		})
	}
}

func TestWorkloads(t *testing.T) {
	for _, row := range []struct {
		name string
		docs []string
		want []Workload
	}{
		{"both Deployments are there", []string{deploymentOf("a", "{app: my-app, version: v1}"), deploymentOf("b", "{app: my-app, version: v2}"), service("{selector: {app: my-app}, ports: [{port: 80, targetPort: 8080}]}")},
			[]Workload{
				{Namespace: "shop", Name: "a", Labels: map[string]string{"app": "my-app", "version": "v1"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v1"},
				{Namespace: "shop", Name: "b", Labels: map[string]string{"app": "my-app", "version": "v2"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v2"},
			}},
		{"neither is", nil,
			[]Workload{
				{Namespace: "shop", Name: "my-app-v1", Labels: map[string]string{"app": "my-app", "version": "v1"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v1", Added: true, AddedService: true},
				{Namespace: "shop", Name: "my-app-v2", Labels: map[string]string{"app": "my-app", "version": "v2"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v2", Added: true, AddedService: true},
			}},
		{"the shadow is not", []string{strings.Replace(deploymentOf("my-app-v2", "{app: my-app, version: v1}"), "spec:\n", "spec:\n  replicas: 3\n", 1), service("{selector: {app: my-app}, ports: [{port: 80, targetPort: 8080}]}")},
			[]Workload{
				{Namespace: "shop", Name: "my-app-v2", Labels: map[string]string{"app": "my-app", "version": "v1"}, Replicas: 3, Image: "umbra-app", Port: 8080, Version: "v1"},
				{Namespace: "shop", Name: "my-app-v2-umbra", Labels: map[string]string{"app": "my-app", "version": "v2"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v2", Added: true},
			}},
		{"a Deployment of another namespace", []string{strings.Replace(deploymentOf("a", "{app: my-app, version: v1}"), "namespace: shop", "namespace: x", 1), deploymentOf("b", "{app: my-app, version: v2}")},
			[]Workload{
				{Namespace: "x", Name: "a", Labels: map[string]string{"app": "my-app", "version": "v1"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v1"},
				{Namespace: "shop", Name: "b", Labels: map[string]string{"app": "my-app", "version": "v2"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v2", AddedService: true},
				{Namespace: "shop", Name: "my-app-v1", Labels: map[string]string{"app": "my-app", "version": "v1"}, Replicas: 1, Image: "umbra-app", Port: 8080, Version: "v1", Added: true, AddedService: true},
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := loaded(t, append([]string{vsYAML("{" + toV("v1") + ", mirror: {host: my-app, subset: v2}}"), gatewayYAML, rulesYAML}, row.docs...)...)
			tab, err := NewTable(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, Workloads(m, tab)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAddedForWholeHost: a subset's added workload serves the host's cluster too, and a missing cluster gets none.
func TestAddedForWholeHost(t *testing.T) {
	m := loaded(t, vsYAML(`{route: [{destination: {host: my-app}}], mirrors: [{destination: {host: my-app, subset: v2}}, {destination: {host: my-app, subset: v7}}, {destination: {host: audit, port: {number: 9000}}}]}`), gatewayYAML, rulesYAML)
	tab, err := NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range Workloads(m, tab) {
		names = append(names, w.Name)
	}
	if diff := cmp.Diff([]string{"my-app-v2", "audit"}, names); diff != "" {
		t.Error(diff)
	}
	want := []Service{
		{Namespace: "shop", Name: "my-app", Selector: map[string]string{"app": "my-app"}, Ports: []uint32{80}},
		{Namespace: "shop", Name: "audit", Selector: map[string]string{"app": "audit"}, Ports: []uint32{9000}},
	}
	if diff := cmp.Diff(want, tab.AddedServices(), cmpopts.SortSlices(func(a, b Service) bool { return a.Name > b.Name })); diff != "" {
		t.Error(diff)
	}
}

// TestBarren: labels that exclude each other select nothing, and nothing is added for them.
func TestBarren(t *testing.T) {
	m := loaded(t, vsYAML("{"+toV("v2")+"}"), gatewayYAML, rulesYAML, service("{selector: {app: my-app, version: v1}, ports: [{port: 80}]}"))
	tab, err := NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	if got := Workloads(m, tab); len(got) != 0 {
		t.Errorf("workloads are %+v", got)
	}
	if tab.Clusters()[0].Selects(Workload{Namespace: "shop", Labels: map[string]string{"app": "my-app", "version": "v2"}}) {
		t.Error("the cluster selects a pod that the Service does not")
	}
}

func TestNotes(t *testing.T) {
	tab := table(t, redirectGateway, vsYAML(`{retries: {attempts: 1, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}, match: [{statPrefix: a, uri: {prefix: /}}], `+toV("v1")+`}`), `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-app, namespace: shop}
spec:
  host: my-app
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 10}}
    outlierDetection: {consecutive5xxErrors: 5}
    loadBalancer: {simple: ROUND_ROBIN}
    tls: {mode: DISABLE}
    portLevelSettings:
    - port: {number: 80}
      loadBalancer: {simple: RANDOM}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy:
      loadBalancer: {consistentHash: {httpHeaderName: x}}
      tls: {mode: ISTIO_MUTUAL}
`, "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n")
	want := []Note{
		{"test.yaml", 12, "Gateway shop/gw: TLS server on port 443"},
		{"test.yaml", 19, "VirtualService shop/my-app: retries to remote localities"},
		{"test.yaml", 19, "VirtualService shop/my-app: retries that avoid earlier hosts"},
		{"test.yaml", 19, "VirtualService shop/my-app: statistics prefix a"},
		{"test.yaml", 28, "DestinationRule shop/my-app: connection pool"},
		{"test.yaml", 29, "DestinationRule shop/my-app: outlier detection"},
		{"test.yaml", 34, "DestinationRule shop/my-app: load balancer RANDOM on port 80"},
		{"test.yaml", 39, "DestinationRule shop/my-app: load balancer consistent hash of subset v1"},
		{"test.yaml", 40, "DestinationRule shop/my-app: TLS mode ISTIO_MUTUAL of subset v1"},
		{"test.yaml", 42, "PeerAuthentication shop/strict: mutual TLS mode"},
	}
	if diff := cmp.Diff(want, tab.Notes()); diff != "" {
		t.Error(diff)
	}
}
