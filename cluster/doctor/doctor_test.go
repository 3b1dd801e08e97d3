package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/route"
)

func sources(t testing.TB, files ...string) []route.Source {
	t.Helper()
	var out []route.Source
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, route.Source{Name: filepath.Base(name), Data: data})
	}
	return out
}

// edit is a change of a text, which must have the old one exactly once.
type edit struct{ old, new string }

func shop(t testing.TB, edits ...edit) route.Source {
	t.Helper()
	s := sources(t, "testdata/valid-shop.yaml")[0]
	return edited(t, s, edits...)
}

func edited(t testing.TB, s route.Source, edits ...edit) route.Source {
	t.Helper()
	text := string(s.Data)
	for _, e := range edits {
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %q %d times", s.Name, e.old, n)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	return route.Source{Name: s.Name, Data: []byte(text)}
}

// brief gives what a test compares: severity, check, object and the text of the line that is named.
func brief(in Input, found []Finding) []string {
	var out []string
	for _, x := range found {
		s := fmt.Sprintf("%s %s %s", x.Severity, x.Check, x.Object)
		for _, src := range in.Sources {
			if lines := strings.Split(string(src.Data), "\n"); src.Name == x.File && x.Line > 0 && x.Line <= len(lines) {
				s += " | " + strings.TrimSpace(lines[x.Line-1])
			}
		}
		out = append(out, s)
	}
	return out
}

// sound checks what every finding must have, and that the catalogue knows its check.
func sound(t *testing.T, found []Finding) {
	t.Helper()
	for _, x := range found {
		known := slices.ContainsFunc(Checks(), func(c struct{ ID, What string }) bool { return c.ID == x.Check })
		if !known || x.Finding == "" || x.Remedy == "" || weights[x.Severity] == 0 && x.Severity != Error {
			t.Errorf("not a sound finding: %+v", x)
		}
		if strings.Contains(x.Finding+x.Evidence+x.Remedy, "%!") {
			t.Errorf("a wrong format: %+v", x)
		}
	}
}

func expect(t *testing.T, in Input, want []string) {
	t.Helper()
	found := Examine(in)
	sound(t, found)
	if diff := cmp.Diff(want, brief(in, found)); diff != "" {
		t.Errorf("%s\n%+v", diff, found)
	}
}

func TestHealthy(t *testing.T) {
	full, err := filepath.Glob("../../scenarios/examples/full/*.yaml")
	if err != nil || len(full) == 0 {
		t.Fatal("the full example is not there")
	}
	t.Run("full example", func(t *testing.T) { expect(t, Input{Sources: sources(t, full...)}, nil) })
	t.Run("shop", func(t *testing.T) {
		expect(t, Input{Sources: sources(t, "testdata/valid-shop.yaml", "testdata/valid-metrics.yaml"), Rate: 50}, nil)
	})
	t.Run("nothing", func(t *testing.T) { expect(t, Input{}, nil) })
}

// TestExamples holds that no example has an error.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/examples/*-istio.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("the examples are not there")
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			found := Examine(Input{Sources: sources(t, name)})
			sound(t, found)
			for _, x := range found {
				if x.Severity == Error {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// TestGuide plants the errors 2 to 8 that guides on mirroring have.
func TestGuide(t *testing.T) {
	expect(t, Input{Sources: sources(t, "testdata/invalid-guide.yaml")}, []string{
		"error vs-not-bound VirtualService bank/accounts | spec:",
		"error reads-only-loses-methods VirtualService bank/accounts | http:",
		"error subset-without-rule VirtualService bank/accounts | - destination: {host: accounts, subset: old}",
		"error subset-without-rule VirtualService bank/accounts | mirror: {host: accounts, subset: new}",
		"error subset-without-rule VirtualService bank/accounts | - destination: {host: accounts, subset: old}",
		"error monitor-selects-nothing ServiceMonitor istio-system/mesh | selector: {matchLabels: {app: prices}}",
		"error monitor-port ServiceMonitor istio-system/mesh | port: http-envoy-prom",
		`error query-without-reporter PrometheusRule bank/errors | expr: sum(rate(istio_requests_total{response_code=~"5.*"}[5m])) / sum(rate(istio_requests_total[5m]))`,
		"warning breaker-unlimited VirtualService bank/accounts | mirror: {host: accounts, subset: new}",
		"warning outlier-is-no-timeout DestinationRule bank/prices | outlierDetection: {consecutive5xxErrors: 3}",
		`warning error-rate-empty PrometheusRule bank/errors | expr: sum(rate(istio_requests_total{response_code=~"5.*"}[5m])) / sum(rate(istio_requests_total[5m]))`,
		"warning shadow-suffix EnvoyFilter bank/no-suffix | inlineCode: |",
		"info not-modelled EnvoyFilter bank/no-suffix | kind: EnvoyFilter",
	})
}

func TestDashboard(t *testing.T) {
	in := Input{Sources: sources(t, "testdata/invalid-dashboard.json")}
	var got []string
	for _, x := range Examine(in) {
		got = append(got, fmt.Sprintf("%s %s %d", x.Severity, x.Check, x.Line))
	}
	if diff := cmp.Diff([]string{"error query-without-reporter 9", "warning error-rate-empty 9", "warning query-without-reporter 12"}, got); diff != "" {
		t.Error(diff)
	}
}

const (
	vs     = "VirtualService shop/cart"
	mirror = "mirror: {host: cart, subset: v2}"
)

var (
	mirrorAll = edit{"        - method: {regex: GET|HEAD|OPTIONS}\n", "        - uri: {prefix: /}\n"}
	noTimeout = edit{"mirrorPercentage: {value: 10}\n      timeout: 10s", "mirrorPercentage: {value: 10}"}
	noOutlier = edit{"    outlierDetection:\n      consecutive5xxErrors: 5\n", ""}
	appendDoc = func(doc string) edit {
		return edit{"      timeout: 10s\n    - name: rest\n      route:\n        - destination: {host: cart, subset: v1}\n      timeout: 10s\n", "      timeout: 10s\n    - name: rest\n      route:\n        - destination: {host: cart, subset: v1}\n      timeout: 10s\n---\n" + doc}
	}
	percentage = func(p string) edit {
		return edit{"mirrorPercentage: {value: 10}", "mirrorPercentage: {value: " + p + "}"}
	}
	pool   = func(p string) edit { return edit{"        http2MaxRequests: 500\n", p} }
	filter = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: f, namespace: shop}\nspec: {configPatches: [{patch: {value: {code: 'gsub(host, \"-shadow$\", \"\")'}}}]}\n"
)

// TestPlanted plants each fault in the healthy shop, and near misses, which want nothing.
func TestPlanted(t *testing.T) {
	for _, row := range []struct {
		name  string
		edits []edit
		want  []string
	}{
		{"no YAML", []edit{{"  gateways: [door]", "  gateways: [door"}}, []string{"error not-yaml  | gateways: [door"}},
		{"unknown field", []edit{{"mirrorPercentage: {value: 10}", "mirorPercentage: {value: 10}"}}, []string{"error invalid " + vs + " | mirorPercentage: {value: 10}"}},
		{"rejected by istiod", []edit{percentage("110")}, []string{"error invalid " + vs + " | mirrorPercentage: {value: 110}"}},
		{"another kind rejected by istiod", []edit{appendDoc("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: {portLevelMtls: {80: {mode: STRICT}}}\n")},
			[]string{"error invalid PeerAuthentication shop/p | spec: {portLevelMtls: {80: {mode: STRICT}}}"}},
		{"another kind that istiod takes", []edit{appendDoc("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n")}, nil},

		{"no gateways", []edit{{"  gateways: [door]\n", ""}}, []string{"error vs-not-bound " + vs + " | spec:"}},
		{"mesh alone", []edit{{"gateways: [door]", "gateways: [mesh]"}}, []string{"error vs-not-bound " + vs + " | gateways: [mesh]"}},
		{"gateway and mesh", []edit{{"gateways: [door]", "gateways: [mesh, shop/door]"}}, nil},
		{"unknown gateway", []edit{{"gateways: [door]", "gateways: [dor]"}}, []string{"warning vs-not-bound " + vs + " | gateways: [dor]"}},
		{"no host of the gateway", []edit{{"spec:\n  hosts: [cart.example.com]", "spec:\n  hosts: [other.example.com]"}}, []string{"error vs-not-bound " + vs + " | hosts: [other.example.com]"}},
		{"overlap", []edit{appendDoc("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: more, namespace: shop}\nspec:\n  hosts: [cart.example.com]\n  gateways: [door]\n  http: [{route: [{destination: {host: cart}}]}]\n")},
			[]string{"error host-overlap VirtualService shop/more | hosts: [cart.example.com]"}},
		{"no overlap at another host", []edit{{"hosts: [cart.example.com]\n---", "hosts: ['*.example.com']\n---"}, appendDoc("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: more, namespace: shop}\nspec:\n  hosts: [more.example.com]\n  gateways: [door]\n  http: [{route: [{destination: {host: cart}}]}]\n")}, nil},

		{"no such subset", []edit{{mirror, "mirror: {host: cart, subset: v3}"}}, []string{"error subset-without-rule " + vs + " | mirror: {host: cart, subset: v3}"}},
		{"no such pods", []edit{{"    - name: v2\n      labels: {version: v2}", "    - name: v2\n      labels: {version: v3}"}}, []string{"error subset-without-pods " + vs + " | " + mirror}},
		{"scaled to zero", []edit{{"replicas: 2", "replicas: 0"}}, []string{"error subset-without-pods " + vs + " | " + mirror}},
		{"a Service of one version", []edit{{"  selector:\n    app: cart\n", "  selector:\n    app: cart\n    version: v1\n"}}, []string{"error subset-without-pods " + vs + " | " + mirror}},
		{"no such port", []edit{{mirror, "mirror: {host: cart, subset: v2, port: {number: 81}}"}}, []string{"error mirror-without-cluster " + vs + " | mirror: {host: cart, subset: v2, port: {number: 81}}"}},
		{"no such Service", []edit{{mirror, "mirror: {host: card}"}}, []string{
			"warning breaker-unlimited " + vs + " | mirror: {host: card}", "warning mirror-without-cluster " + vs + " | mirror: {host: card}"}},
		{"a rule that the gateway does not see", []edit{{"spec:\n  host: cart\n", "spec:\n  exportTo: [.]\n  host: cart\n"}}, []string{
			"error mirror-without-cluster " + vs + " | - name: reads", "error mirror-without-cluster " + vs + " | - name: reads", "error mirror-without-cluster " + vs + " | - name: rest"}},

		{"route that is never reached", []edit{{"      match:\n        - method: {regex: GET|HEAD|OPTIONS}\n", ""}, {"image: cart:2.0", "image: umbra-app"}}, []string{"warning route-warning " + vs + " | - name: rest"}},
		{"no selector", []edit{{"  selector:\n    app: cart\n", ""}}, []string{"warning service-selector Service shop/cart | spec:", "info not-modelled Service shop/cart | spec:"}},
		{"no version", []edit{{"{matchLabels: {app: cart, version: v2}}", "{matchLabels: {app: cart, track: v2}}"}, {"labels: {app: cart, version: v2}\n      ann", "labels: {app: cart, track: v2}\n      ann"}, {"labels: {version: v2}", "labels: {track: v2}"}},
			[]string{"warning version-label Deployment shop/cart-v2 | labels: {app: cart, track: v2}"}},
		{"port without name", []edit{{"    - name: http\n      port: 80", "    - port: 80"}}, []string{"warning service-port-name Service shop/cart | - port: 80"}},
		{"port named tcp", []edit{{"    - name: http\n      port: 80", "    - name: tcp-web\n      port: 80"}}, []string{"error service-port-name Service shop/cart | - name: tcp-web"}},
		{"port with a protocol", []edit{{"    - name: http\n      port: 80", "    - name: web\n      appProtocol: http\n      port: 80"}}, nil},
		{"port named grpc-web-api", []edit{{"    - name: http\n      port: 80", "    - name: grpc-web-api\n      port: 80"}}, nil},

		{"injection disabled", []edit{{"istio-injection: enabled", "istio-injection: disabled"}}, []string{"error sidecar-absent Deployment shop/cart-v1 | metadata:", "error sidecar-absent Deployment shop/cart-v2 | metadata:"}},
		{"no injection label", []edit{{"istio-injection: enabled", "team: shop"}, {"{team: cart}", `{sidecar.istio.io/inject: "true"}`}}, []string{"error sidecar-absent Deployment shop/cart-v1 | metadata:", "error sidecar-absent Deployment shop/cart-v2 | metadata:"}},
		{"revision", []edit{{"istio-injection: enabled", "istio.io/rev: stable"}}, nil},
		{"annotated off", []edit{{"{team: cart}", `{sidecar.istio.io/inject: "false"}`}}, []string{`error sidecar-absent Deployment shop/cart-v2 | annotations: {sidecar.istio.io/inject: "false"}`}},
		{"labelled off", []edit{{"labels: {app: cart, version: v2}\n", `labels: {app: cart, version: v2, sidecar.istio.io/inject: "false"}` + "\n"}}, []string{`error sidecar-absent Deployment shop/cart-v2 | labels: {app: cart, version: v2, sidecar.istio.io/inject: "false"}`}},
		{"ambient", []edit{{"istio-injection: enabled", "istio.io/dataplane-mode: ambient"}}, nil},

		{"truncated", []edit{percentage("0.57")}, []string{"warning percentage-truncated " + vs + " | mirrorPercentage: {value: 0.57}"}},
		{"truncated remedy", []edit{percentage(above(5700))}, nil},
		{"truncated to nothing", []edit{percentage("0.00009")}, []string{"error percentage-truncated " + vs + " | mirrorPercentage: {value: 0.00009}"}},
		{"a third", []edit{percentage("33.33333")}, nil},
		{"zero asks for nothing", []edit{percentage("0"), mirrorAll, {mirror, "mirror: {host: cart, subset: v3}"}}, nil},
		{"deprecated", []edit{{"mirrorPercentage: {value: 10}", "mirrorPercent: 10"}}, []string{"warning mirror-percent-deprecated " + vs + " | mirrorPercent: 10"}},

		{"writes", []edit{mirrorAll}, []string{"warning mirrored-writes " + vs + " | - name: reads", "info mirrored-uploads " + vs + " | - name: reads"}},
		{"writes of the own app", []edit{mirrorAll, {"image: cart:2.0", "image: registry.test:5000/x/umbra-app:3"}}, nil},
		{"writes taken before", []edit{mirrorAll, {"    - name: reads", "    - name: writes\n      match: [{method: {regex: POST|PUT|PATCH|DELETE}}]\n      route: [{destination: {host: cart, subset: v1}}]\n    - name: reads"}}, nil},
		{"writes of one path taken before", []edit{mirrorAll, {"    - name: reads", "    - name: writes\n      match: [{uri: {prefix: /a}, method: {regex: POST|PUT|PATCH|DELETE}}]\n      route: [{destination: {host: cart, subset: v1}}]\n    - name: reads"}},
			[]string{"warning mirrored-writes " + vs + " | - name: reads", "info mirrored-uploads " + vs + " | - name: reads"}},
		{"deletes", []edit{{"GET|HEAD|OPTIONS", "GET|HEAD|OPTIONS|DELETE"}}, []string{"warning mirrored-writes " + vs + " | - name: reads"}},
		{"methods lost", []edit{{"GET|HEAD|OPTIONS", "GET|HEAD"}, {"    - name: rest\n", "    - name: rest\n      match: [{method: {regex: POST|PUT}}]\n"}}, []string{"error reads-only-loses-methods " + vs + " | http:"}},

		{"no timeout", []edit{noTimeout, noOutlier}, []string{"warning no-timeout " + vs + " | - name: reads"}},
		{"outlier detection for a timeout", []edit{noTimeout}, []string{"warning outlier-is-no-timeout DestinationRule shop/cart | outlierDetection:", "warning no-timeout " + vs + " | - name: reads"}},
		{"no breaker", []edit{pool("        http1MaxPendingRequests: 5\n")}, []string{"warning breaker-unlimited " + vs + " | " + mirror}},
		{"breaker of HTTP/1.1", []edit{pool("        http1MaxPendingRequests: 5\n      tcp: {maxConnections: 50}\n")}, nil},
		{"that is none of HTTP/2", []edit{pool("        http1MaxPendingRequests: 5\n        h2UpgradePolicy: UPGRADE\n      tcp: {maxConnections: 50}\n")}, []string{"warning breaker-unlimited " + vs + " | " + mirror}},
		{"breaker of the subset wins", []edit{{"      labels: {version: v2}\n---", "      labels: {version: v2}\n      trafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}\n---"}}, []string{"warning breaker-unlimited " + vs + " | " + mirror}},

		{"filter on the suffix", []edit{appendDoc(filter)}, []string{
			`warning shadow-suffix EnvoyFilter shop/f | spec: {configPatches: [{patch: {value: {code: 'gsub(host, "-shadow$", "")'}}}]}`, "info not-modelled EnvoyFilter shop/f | kind: EnvoyFilter"}},
		{"match on the suffix", []edit{{"        - method: {regex: GET|HEAD|OPTIONS}", "        - method: {regex: GET|HEAD|OPTIONS}\n          authority: {exact: cart-shadow}"}}, []string{"warning shadow-suffix " + vs + " | - method: {regex: GET|HEAD|OPTIONS}"}},
		{"setting on the suffix", []edit{{"image: cart:2.0", "image: cart:2.0\n          env: [{name: SHADOW_HOST, value: cart-shadow}]"}}, []string{"warning shadow-suffix Deployment shop/cart-v2 | env: [{name: SHADOW_HOST, value: cart-shadow}]"}},
		{"a name that ends so", []edit{{"  name: cart-v2", "  name: cart-shadow"}}, nil},
		{"suffix switched on", []edit{appendDoc("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system}\nspec:\n  selector: {matchLabels: {app: istiod}}\n  template:\n    metadata: {labels: {app: istiod}}\n    spec:\n      containers:\n        - name: discovery\n          image: pilot\n          env:\n            - {name: DISABLE_SHADOW_HOST_SUFFIX, value: \"false\"}\n")},
			[]string{`info shadow-suffix Deployment istio-system/istiod | - {name: DISABLE_SHADOW_HOST_SUFFIX, value: "false"}`}},

		{"gateway without stats", []edit{appendDoc(gatewayDeployment("{}"))}, []string{"error metrics-not-exposed Deployment istio-system/gw | metadata: {labels: {istio: ingressgateway}, annotations: {}}"}},
		{"gateway with stats", []edit{appendDoc(gatewayDeployment(`{proxy.istio.io/config: "proxyStatsMatcher: {inclusionRegexps: [upstream_rq]}"}`))}, nil},
		{"not scraped", []edit{{"{team: cart}", `{prometheus.io/scrape: "false"}`}}, []string{`warning metrics-not-scraped Deployment shop/cart-v2 | annotations: {prometheus.io/scrape: "false"}`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			expect(t, Input{Sources: []route.Source{shop(t, row.edits...)}}, row.want)
		})
	}
}

func gatewayDeployment(annotations string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gw, namespace: istio-system}\nspec:\n  selector: {matchLabels: {istio: ingressgateway}}\n  template:\n    metadata: {labels: {istio: ingressgateway}, annotations: " + annotations + "}\n    spec: {containers: [{name: istio-proxy, image: auto}]}\n"
}

func TestMetrics(t *testing.T) {
	for _, row := range []struct {
		name string
		edit edit
		want []string
	}{
		{"no such port of the pods", edit{"    - port: http-envoy-prom", "    - port: metrics"}, []string{"error monitor-port PodMonitor monitoring/sidecars | - port: metrics"}},
		{"no such port of the Service", edit{"    - port: http\n", "    - port: metrics\n"}, []string{"error monitor-port ServiceMonitor shop/cart | - port: metrics"}},
		{"no such pods", edit{"  selector: {matchLabels: {app: cart}}\n  namespaceSelector", "  selector: {matchLabels: {app: card}}\n  namespaceSelector"}, []string{"warning monitor-selects-nothing PodMonitor monitoring/sidecars | selector: {matchLabels: {app: card}}"}},
		{"a namespace of which nothing is known", edit{"{matchNames: [shop]}", "{matchNames: [other]}"}, nil},
		{"every namespace", edit{"{matchNames: [shop]}", "{any: true}"}, nil},
		{"no reporter", edit{`/ sum(rate(istio_requests_total{reporter="destination"}[5m]))`, "/ sum(rate(istio_requests_total[5m]))"}, []string{"error query-without-reporter PrometheusRule shop/cart | expr: |"}},
		{"both reporters", edit{`/ sum(rate(istio_requests_total{reporter="destination"}[5m]))`, `/ sum(rate(istio_requests_total{reporter=~"source|destination"}[5m]))`}, []string{"error query-without-reporter PrometheusRule shop/cart | expr: |"}},
		{"empty", edit{" or vector(0)", ""}, []string{"warning error-rate-empty PrometheusRule shop/cart | expr: |"}},
		{"in a ConfigMap", edit{`{reporter=\"destination\"}`, `{reporter=\"source\"}`}, []string{`warning query-without-reporter ConfigMap monitoring/dashboards | {"expr": "sum(rate(istio_requests_total{reporter=\"source\"}[1m]))"}`}},
		{"of another metric", edit{`istio_requests_total{reporter=\"destination\"}`, `http_requests_total`}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			metrics := edited(t, sources(t, "testdata/valid-metrics.yaml")[0], row.edit)
			expect(t, Input{Sources: []route.Source{shop(t), metrics}}, row.want)
		})
	}
}

// TestPools holds Little's law: 10 % of the rate goes to the shadow, all of it to the primary.
func TestPools(t *testing.T) {
	for _, row := range []struct {
		name string
		rate float64
		want []string
	}{
		{"enough", 50, nil}, // 50/s × 10 s = 500
		{"too small if it hangs", 60, []string{
			"info pool-too-small " + vs + " | - destination: {host: cart, subset: v1}", "info pool-too-small " + vs + " | - destination: {host: cart, subset: v1}"}},
		{"too small", 50_010, []string{
			"warning pool-too-small " + vs + " | - destination: {host: cart, subset: v1}", "warning pool-too-small " + vs + " | " + mirror, "warning pool-too-small " + vs + " | - destination: {host: cart, subset: v1}"}},
	} {
		t.Run(row.name, func(t *testing.T) { expect(t, Input{Sources: []route.Source{shop(t)}, Rate: row.rate}, row.want) })
	}
}

// TestChecks: each check has a name of its own and says what it looks for.
func TestChecks(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Checks() {
		if seen[c.ID] || c.ID == "" || c.What == "" {
			t.Errorf("not a sound check: %+v", c)
		}
		seen[c.ID] = true
	}
}
