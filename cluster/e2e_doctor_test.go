//go:build e2e

package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/cluster/doctor"
	"umbra/cluster/internal/kube"
)

// TestE2EDoctor plants each of doctor's cases in a cluster on which the full example stands, many at once, as each has a namespace,
// a host or an object of its own. It ends with the cluster as healthy as it was.
func TestE2EDoctor(t *testing.T) {
	out, _, status := umbra(t, "up", example("full"), "--on", "kind", "--name", cluster(t))
	if status != 0 {
		t.Fatalf("exit status %d", status)
	}
	address := gatewayAddress.FindString(out)
	w := &ward{client: client(t)}
	w.forget(t)
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Healthy", w.healthy},
		{"Pools", w.pools},
		{"Files", w.files},
		{"Mesh", func(t *testing.T) { w.mesh(t, address) }},
		{"Gateway", w.gateway},
		{"Recovered", w.healthy},
	} {
		if !t.Run(part.name, part.test) {
			return
		}
	}
}

var gatewayAddress = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// ward is where doctor finds what is planted.
type ward struct{ client *kube.Client }

// patience bounds each wait of these tests; on an idle machine the longest takes some seconds.
const patience = 3 * time.Minute

// examine runs doctor and holds its exit status against its findings.
func (w *ward) examine(t *testing.T, args ...string) []doctor.Finding {
	t.Helper()
	out, _, status := umbra(t, append([]string{"doctor", "--on", "kind", "--name", cluster(t), "--json"}, args...)...)
	var found []doctor.Finding
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("exit status %d, no findings: %v", status, err)
	}
	want := 0
	for _, f := range found {
		if f.Severity == doctor.Error {
			want = 1
		}
		if f.Finding == "" || f.Remedy == "" {
			t.Errorf("it does not say what is wrong or what to do: %+v", f)
		}
	}
	if status != want {
		t.Errorf("exit status %d, want %d: %+v", status, want, found)
	}
	return found
}

// made is the end of the name of a pod that a Deployment made.
var made = regexp.MustCompile(`^(Pod .*)-[0-9a-z]{6,10}-[0-9a-z]{5}$`)

// brief is what is compared: severity, check and object. What istioctl finds is its own matter, where it is there at all.
func brief(found []doctor.Finding) []string {
	out := []string{}
	for _, f := range found {
		if !strings.HasPrefix(f.Check, "istioctl-") {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Severity, f.Check, made.ReplaceAllString(f.Object, "$1"))))
		}
	}
	slices.Sort(out)
	return out
}

// finds waits until doctor finds exactly what is wanted: a plant takes its time to grow.
func (w *ward) finds(t *testing.T, want []string, args ...string) []doctor.Finding {
	t.Helper()
	want = append([]string{}, want...)
	slices.Sort(want)
	deadline := time.Now().Add(patience)
	for {
		found := w.examine(t, args...)
		diff := cmp.Diff(want, brief(found))
		if diff == "" {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("doctor finds other things (-want +got):\n%s%+v", diff, found)
		}
	}
}

// forget makes anew the pods whose past an earlier test left for doctor to find.
func (w *ward) forget(t *testing.T) {
	var marked []*kube.Object
	for _, f := range w.examine(t) {
		if f.Check == "pod-restarts" || f.Check == "pending-overflow" {
			namespace, name, _ := strings.Cut(strings.TrimPrefix(f.Object, "Pod "), "/")
			marked = append(marked, named("v1", "Pod", namespace, name))
		}
	}
	if len(marked) == 0 {
		return
	}
	if err := w.client.Delete(t.Context(), marked); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Gone(t.Context(), patience, marked); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "istio-system", "istio-ingressgateway")
	w.wait(t, "shop", "my-app-v1", "my-app-v2")
}

func named(apiVersion, kind, namespace, name string) *kube.Object {
	o := &kube.Object{Object: map[string]any{}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// wait waits for Deployments.
func (w *ward) wait(t *testing.T, namespace string, names ...string) {
	t.Helper()
	var all []*kube.Object
	for _, name := range names {
		all = append(all, named("apps/v1", "Deployment", namespace, name))
	}
	if err := w.client.Wait(t.Context(), patience, all...); err != nil {
		t.Fatal(err)
	}
}

// plant applies objects, and takes them away when the test is over. Namespaces take what is in them with them.
func (w *ward) plant(t *testing.T, objects ...*kube.Object) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.client.Delete(ctx, objects); err != nil {
			t.Error(err)
		}
		if err := w.client.Gone(ctx, patience, objects); err != nil {
			t.Error(err)
		}
	})
	if err := w.client.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
}

func decoded(t *testing.T, manifests string) []*kube.Object {
	t.Helper()
	objects, err := kube.Decode([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// healthy: nothing at all, by istioctl neither.
func (w *ward) healthy(t *testing.T) {
	if found := w.finds(t, nil); len(found) > 0 {
		t.Errorf("istioctl finds something: %+v", found)
	}
	out, _, status := umbra(t, "doctor", "--on", "kind", "--name", cluster(t))
	if out != "nothing found\n" || status != 0 {
		t.Errorf("exit status %d: %s", status, out)
	}
}

// pools: warnings alone leave the exit status at 0.
func (w *ward) pools(t *testing.T) {
	w.finds(t, nil, "--rate", "50")
	w.finds(t, []string{"warning pool-too-small VirtualService shop/my-app", "warning pool-too-small VirtualService shop/my-app"}, "--rate", "20000")
}

// files: those that are given stand in place of what is applied, and the gateway is held against them.
func (w *ward) files(t *testing.T) {
	dir := filepath.Join(filepath.Dir(example("full")), "full")
	w.finds(t, nil, "-f", dir)
	data, err := os.ReadFile(filepath.Join(dir, "istio.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(data), "value: 100", "value: 50", 1)
	if edited == string(data) {
		t.Fatal("the example's percentage is not 100")
	}
	file := filepath.Join(t.TempDir(), "istio.yaml")
	if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	found := w.finds(t, []string{"error gateway-differs Pod istio-system/istio-ingressgateway"}, "-f", file)
	said := ""
	for _, f := range found {
		said += f.Finding
	}
	if !strings.Contains(said, "manifests say 500000 of a million") || !strings.Contains(said, "gateway has 1000000 of a million") {
		t.Errorf("it does not show both: %s", said)
	}
}

// mesh plants what is wrong with objects and pods.
func (w *ward) mesh(t *testing.T, address string) {
	w.plant(t, decoded(t, monitorDefinition)...)
	w.plant(t, decoded(t, namespaces)...)
	objects := decoded(t, common)
	for _, p := range w.patients(t) {
		objects = append(objects, p.Object)
	}
	var want []string
	for _, p := range plants {
		objects = append(objects, decoded(t, p.manifests)...)
		want = append(want, p.want...)
	}
	if err := w.client.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "doctor", "app-v1", "app-v2", "nolabel", "bare")
	w.wait(t, "doctor-plain", "plain")
	w.finds(t, want)
	if _, _, status := umbra(t, "replay", address, "-H", "host: tight.doctor.example", "--rate", "max", "--for", "1s", "--errors", "100", "--out", filepath.Join(t.TempDir(), "run")); status != 0 {
		t.Errorf("exit status %d", status)
	}
	w.finds(t, append(want, "warning pending-overflow Pod istio-system/istio-ingressgateway"))
}

// gateway plants what is wrong with gateways: one that does not count, and a filter that changes what both were given.
func (w *ward) gateway(t *testing.T) {
	uncounted := w.copied(t, "istio-system", "istio-ingressgateway", "istio-system", "uncounted", map[string]any{"app": "uncounted", "istio": "ingressgateway", "sidecar.istio.io/inject": "true"})
	annotations, _ := field(uncounted.Object, "spec", "template", "metadata")["annotations"].(map[string]any)
	annotations["proxy.istio.io/config"] = "concurrency: 1"
	w.plant(t, append(decoded(t, filter), uncounted.Object)...)
	w.wait(t, "istio-system", "uncounted")
	w.finds(t, []string{
		"error gateway-differs Pod istio-system/istio-ingressgateway",
		"error gateway-differs Pod istio-system/uncounted",
		"error metrics-not-exposed Pod istio-system/uncounted",
		"info not-modelled EnvoyFilter istio-system/hurry",
	})
}

// filter gives the full example's route another time-out.
const filter = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: hurry, namespace: istio-system}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: GATEWAY, routeConfiguration: {vhost: {route: {name: production-with-shadow}}}}
    patch: {operation: MERGE, value: {route: {timeout: 3s}}}
`

// workload is a Deployment that is changed before it is applied.
type workload struct{ *kube.Object }

// copied is a Deployment like one that stands, of one replica with other labels, whose pods end at once.
func (w *ward) copied(t *testing.T, namespace, name, toNamespace, toName string, labels map[string]any) workload {
	t.Helper()
	live, err := w.client.Get(t.Context(), named("apps/v1", "Deployment", namespace, name))
	if err != nil || live == nil {
		t.Fatalf("Deployment %s/%s: %v", namespace, name, err)
	}
	o := named("apps/v1", "Deployment", toNamespace, toName)
	o.Object["spec"] = live.Object["spec"]
	spec := field(o, "spec")
	spec["replicas"], spec["selector"] = int64(1), map[string]any{"matchLabels": labels}
	field(o, "spec", "template", "metadata")["labels"] = labels
	field(o, "spec", "template", "spec")["terminationGracePeriodSeconds"] = int64(1)
	return workload{o}
}

// field gives a map within an object.
func field(o *kube.Object, path ...string) map[string]any {
	at := o.Object
	for _, name := range path {
		at, _ = at[name].(map[string]any)
	}
	return at
}

// container is the first one of the pods.
func (w workload) container() map[string]any {
	all, _ := field(w.Object, "spec", "template", "spec")["containers"].([]any)
	c, _ := all[0].(map[string]any)
	return c
}

// patients are umbra's apps, as the full example has them, with what may be wrong with pods.
func (w *ward) patients(t *testing.T) []workload {
	t.Helper()
	app := func(namespace, name string, labels map[string]any) workload {
		o := w.copied(t, "shop", "my-app-v2", namespace, name, labels)
		delete(field(o.Object, "spec", "template", "metadata"), "annotations")
		o.container()["args"] = []any{"--listen=:8080"}
		return o
	}
	healthy := func(version string) map[string]any {
		return map[string]any{"app": "app", "tier": "shop", "version": version}
	}
	unready := app("doctor", "unready", map[string]any{"app": "unready", "version": "v1"})
	unready.container()["readinessProbe"] = map[string]any{"exec": map[string]any{"command": []any{"/no-such-command"}}}
	restarting := app("doctor", "restarting", map[string]any{"app": "app", "version": "v1", "restarts": "yes"})
	restarting.container()["args"] = []any{"--no-such-flag"}
	foreign := app("doctor", "foreign", map[string]any{"tier": "shop", "version": "v2", "of": "somebody"})
	foreign.container()["image"] = "example/shop:1"
	field(foreign.Object, "spec")["replicas"] = int64(0)
	return []workload{
		app("doctor", "app-v1", healthy("v1")), app("doctor", "app-v2", healthy("v2")),
		app("doctor", "nolabel", map[string]any{"app": "nolabel", "track": "a"}),
		app("doctor", "bare", map[string]any{"app": "bare", "version": "v1", "sidecar.istio.io/inject": "false"}),
		app("doctor-plain", "plain", map[string]any{"app": "plain", "version": "v1"}),
		unready, restarting, foreign,
	}
}

const namespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: doctor, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: doctor-plain}
`

// monitorDefinition is as little of the Prometheus operator as there can be.
const monitorDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, listKind: ServiceMonitorList, plural: servicemonitors, singular: servicemonitor}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// common is what the plants stand on: a Gateway, and Services with pools.
var common = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: doctor}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.doctor.example"]}]
` + service("doctor", "app", "app: app", "http") + rule("doctor", "app", "v1", "v2", "v3")

func service(namespace, name, selector, port string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, labels: {app: %s}}
spec: {selector: {%s}, ports: [{name: %s, port: 80, targetPort: 8080}]}
`, name, namespace, name, selector, port)
}

// rule is a DestinationRule with a pool.
func rule(namespace, name string, versions ...string) string {
	return pooled(namespace, name, "tcp: {maxConnections: 100}, http: {http1MaxPendingRequests: 100, http2MaxRequests: 1000}", versions...)
}

func pooled(namespace, name, pool string, versions ...string) string {
	var subsets []string
	for _, v := range versions {
		subsets = append(subsets, fmt.Sprintf("{name: %s, labels: {version: %s}}", v, v))
	}
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s, namespace: %s}
spec: {host: %s, trafficPolicy: {connectionPool: {%s}}, subsets: [%s]}
`, name, namespace, name, pool, strings.Join(subsets, ", "))
}

// mirroring is a VirtualService of the name, with a host of the same name, whose one route is given beyond its name.
func mirroring(name, route string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: doctor}
spec: {hosts: [%s.doctor.example], gateways: [gw], http: [{name: %s, %s}]}
`, name, name, name, route)
}

// Parts of routes.
const (
	toV1    = "timeout: 5s, route: [{destination: {host: app, subset: v1, port: {number: 80}}}]"
	healthy = toV1 + ", mirror: {host: app, subset: v2, port: {number: 80}}"
	gw      = "Pod istio-system/istio-ingressgateway"
)

// plants are doctor's cases. Each wants what it alone adds.
var plants = []struct {
	name, manifests string
	want            []string
}{
	{"subset without rule", mirroring("no-rule", toV1+", mirror: {host: app, subset: v9, port: {number: 80}}"),
		[]string{"error subset-without-rule VirtualService doctor/no-rule", "error mirror-without-cluster " + gw}},
	{"subset without pods", mirroring("no-pods", toV1+", mirror: {host: app, subset: v3, port: {number: 80}}"),
		[]string{"error subset-without-pods VirtualService doctor/no-pods", "error no-healthy-endpoints " + gw}},
	{"pods that are not ready", service("doctor", "unready", "app: unready", "http") + rule("doctor", "unready") +
		mirroring("unready", toV1+", mirror: {host: unready, port: {number: 80}}"),
		[]string{"error subset-without-pods VirtualService doctor/unready", "error no-healthy-endpoints " + gw}},
	{"mirror to a missing cluster", mirroring("nobody", toV1+", mirror: {host: nobody, port: {number: 80}}"),
		[]string{"error mirror-without-cluster VirtualService doctor/nobody", "error mirror-without-cluster " + gw}},
	{"not bound to the gateway", strings.Replace(mirroring("unbound", healthy), "gateways: [gw], ", "", 1),
		[]string{"error vs-not-bound VirtualService doctor/unbound"}},
	{"host overlap", mirroring("overlap", healthy) + strings.Replace(mirroring("overlap-b", toV1), "overlap-b.doctor", "overlap.doctor", 1),
		[]string{"error host-overlap VirtualService doctor/overlap-b"}},
	{"percentage truncated", mirroring("truncated", healthy+", mirrorPercentage: {value: 0.57}"),
		[]string{"warning percentage-truncated VirtualService doctor/truncated"}},
	{"percentage below 0.0001", mirroring("tiny", healthy+", mirrorPercentage: {value: 0.00005}"),
		[]string{"error percentage-truncated VirtualService doctor/tiny"}},
	{"mirrored writes of somebody's app", service("doctor", "foreign", "tier: shop", "http") + rule("doctor", "foreign", "v2") +
		mirroring("writes", toV1+", mirror: {host: foreign, subset: v2, port: {number: 80}}"),
		[]string{"warning mirrored-writes VirtualService doctor/writes", "info mirrored-uploads VirtualService doctor/writes"}},
	{"no timeout", mirroring("endless", strings.TrimPrefix(healthy, "timeout: 5s, ")),
		[]string{"warning no-timeout VirtualService doctor/endless"}},
	{"breakers unlimited", service("doctor", "loose", "app: app", "http") + mirroring("loose", toV1+", mirror: {host: loose, port: {number: 80}}"),
		[]string{"warning breaker-unlimited VirtualService doctor/loose"}},
	{"a pool of one", service("doctor", "tight", "app: app", "http") +
		pooled("doctor", "tight", "tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}", "v2") +
		mirroring("tight", toV1+", mirror: {host: tight, subset: v2, port: {number: 80}}"), nil},
	{"a port that is not named http", service("doctor", "tcpish", "app: app", "tcp-web") + rule("doctor", "tcpish", "v2") +
		mirroring("tcpish", toV1+", mirror: {host: tcpish, subset: v2, port: {number: 80}}"),
		[]string{"error service-port-name Service doctor/tcpish"}},
	{"no label version", service("doctor", "nolabel", "app: nolabel", "http") + rule("doctor", "nolabel") +
		mirroring("nolabel", toV1+", mirror: {host: nolabel, port: {number: 80}}"),
		[]string{"warning version-label Deployment doctor/nolabel", "warning version-label Pod doctor/nolabel"}},
	{"injection switched off for the pod", service("doctor", "bare", "app: bare", "http") + rule("doctor", "bare") +
		mirroring("bare", toV1+", mirror: {host: bare, port: {number: 80}}"),
		[]string{"error sidecar-absent Pod doctor/bare"}},
	{"injection off in the namespace", service("doctor-plain", "plain", "app: plain", "http") + rule("doctor-plain", "plain") +
		mirroring("plain", toV1+", mirror: {host: plain.doctor-plain.svc.cluster.local, port: {number: 80}}"),
		[]string{"error sidecar-absent Pod doctor-plain/plain"}},
	{"restarts", "", []string{"info pod-restarts Pod doctor/restarting"}},
	{"who removes the suffix -shadow", `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: no-suffix, namespace: doctor}
spec:
  workloadSelector: {labels: {app: nobody}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: INSERT_BEFORE
      value:
        name: no-suffix
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          inlineCode: |
            function envoy_on_request(h)
              local host = h:headers():get(":authority")
              h:headers():replace(":authority", host:gsub("-shadow$", ""))
            end
`, []string{"warning shadow-suffix EnvoyFilter doctor/no-suffix", "info not-modelled EnvoyFilter doctor/no-suffix"}},
	{"a monitor of a port that nobody has", `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: sidecars, namespace: doctor}
spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: http-envoy-prom}]}
`, []string{"error monitor-port ServiceMonitor doctor/sidecars"}},
}
