package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The tests of this file need a cluster: UMBRA_E2E_KUBECONFIG names its kubeconfig. They work in namespaces of their own.

func real(t *testing.T) *Client {
	t.Helper()
	path := os.Getenv("UMBRA_E2E_KUBECONFIG")
	if path == "" {
		t.Skip("UMBRA_E2E_KUBECONFIG names no cluster")
	}
	config, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownNamespace makes a namespace that goes with the test.
func ownNamespace(t *testing.T, c *Client) string {
	t.Helper()
	name := fmt.Sprintf("umbra-kube-%d", time.Now().UnixNano())
	ns := decode(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}\n")
	if err := c.Apply(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(c.Delete(ctx, ns), c.Gone(ctx, time.Minute, ns)); err != nil {
			t.Error(err)
		}
	})
	return name
}

func deployment(namespace, name, image, policy, more string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "%[3]s", imagePullPolicy: %[4]s%[5]s}
`, namespace, name, image, policy, more)
}

// nodeImage is an image that the node surely has: that of a pod of the control plane.
func nodeImage(t *testing.T, c *Client, prefix string) string {
	t.Helper()
	pods, err := c.Pods(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if strings.HasPrefix(p.Name, prefix) {
			return p.Spec.Containers[0].Image
		}
	}
	t.Fatalf("no pod %s…", prefix)
	return ""
}

func TestClusterVersionAndKinds(t *testing.T) {
	c := real(t)
	version, err := c.Version(t.Context())
	if err != nil || !strings.HasPrefix(version, "v1.") {
		t.Fatalf("version %q, %v", version, err)
	}
	if got, err := c.List(t.Context(), "nobody.example/v1", "Nothing", "", nil); err != nil || got != nil {
		t.Errorf("a kind that is not there: %v, %v", got, err)
	}
	nodes, err := c.List(t.Context(), "v1", "Node", "", nil)
	if err != nil || len(nodes) == 0 {
		t.Errorf("nodes: %v, %v", nodes, err)
	}
}

func TestClusterApplyWaitDelete(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	objects := decode(t, `
apiVersion: umbra.example/v1
kind: Thing
metadata: {name: one, namespace: `+ns+`}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.umbra.example}
spec:
  group: umbra.example
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
---
`+deployment(ns, "app", nodeImage(t, c, "kube-controller-manager"), "Never", `, command: [kube-controller-manager, --help], readinessProbe: {tcpSocket: {port: 1}}`))
	crd, app := objects[1], objects[2]
	start := time.Now()
	if err := c.Apply(t.Context(), objects); err != nil { // the Thing comes first, and its kind is not served yet
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.Background(), []*Object{crd}); err != nil {
			t.Error(err)
		}
	})
	t.Logf("applied in %v", time.Since(start))
	if err := c.Wait(t.Context(), 10*time.Second, crd, objects[0]); err != nil {
		t.Error(err)
	}
	live, err := c.Get(t.Context(), app)
	if err != nil || live.GetLabels()[ManagedBy] != Manager {
		t.Errorf("the label is not there: %v, %v", live, err)
	}
	// --help exits at once, again and again, and no port ever answers: never ready, with a log.
	err = c.Wait(t.Context(), 6*time.Second, app)
	var not *NotReady
	if !errors.As(err, &not) {
		t.Fatalf("Wait gives %v", err)
	}
	t.Log(err)
	for _, part := range []string{"0 of 1 replicas available", "container app: ", "exited 0", "event BackOff", "last lines of container app"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q", part)
		}
	}
	deleted, err := c.Prune(t.Context(), elsewhere(t, c, ns))
	if err != nil || len(deleted) != 1 || deleted[0].GetName() != "app" {
		t.Errorf("pruned %v, %v", deleted, err)
	}
	if err := c.Gone(t.Context(), 30*time.Second, deleted); err != nil {
		t.Error(err)
	}
}

// elsewhere gives all that carries umbra's label in other namespaces: a test's Prune is to spare it.
func elsewhere(t *testing.T, c *Client, but string) []*Object {
	t.Helper()
	all, err := c.prunable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(o *Object) bool { return o.GetNamespace() == but })
}

func TestClusterHopeless(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	tests := []struct{ name, image, policy, more, early string }{
		{"never", "nobody.invalid/none:1", "Never", "", "ErrImageNeverPull"},
		{"invalid", "UPPER/x:1", "Always", "", "Err"},
		{"config", nodeImage(t, c, "kube-scheduler"), "Never", ", envFrom: [{configMapRef: {name: none}}]", "CreateContainerConfigError"},
		{"unpullable", "nobody.invalid/none:1", "Always", "", "Pull"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := decode(t, deployment(ns, test.name, test.image, test.policy, test.more))
			if err := c.Apply(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			err := c.Wait(t.Context(), time.Minute, o...)
			var not *NotReady
			if !errors.As(err, &not) || !strings.Contains(not.Early, test.early) {
				t.Fatalf("Wait gives %v", err)
			}
			t.Log(err)
		})
	}
}

func TestClusterRejects(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	tests := []struct{ name, yaml, says string }{
		{"a value out of range", "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: NS}\nspec: {ports: [{port: 99999}]}", "65535"},
		{"an unknown field", "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: NS}\nspec: {prots: []}", "prots"},
		{"a wrong type", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: s, namespace: NS}\nspec: {replicas: many}", "replicas"},
		{"no such namespace", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: NS-not}", "not found"},
		{"a label that is a number", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: NS, labels: {v: 1}}", "labels"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := c.Apply(ctx, decode(t, strings.ReplaceAll(test.yaml, "NS", ns)))
			var r *Rejected
			if !errors.As(err, &r) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("Apply gives %v", err)
			}
			t.Log(err)
		})
	}
}

func TestClusterPutBack(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	user := decode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: "+ns+", labels: {team: a}}\ndata: {a: '1'}")[0]
	api, err := c.resource(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	before, err := api.Create(t.Context(), user, createBy("someone"))
	if err != nil {
		t.Fatal(err)
	}
	ours := decode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: "+ns+"}\ndata: {a: '2', b: '3'}\n"+
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ours, namespace: "+ns+"}")
	for range 2 { // the second time it keeps the older
		if err := errors.Join(c.Remember(t.Context(), ns, ours), c.Apply(t.Context(), ours)); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := c.PutBack(t.Context(), ns)
	if err != nil || len(changed) != 2 {
		t.Fatalf("changed %v, %v", changed, err)
	}
	after, err := c.Get(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	before.SetResourceVersion("")
	after.SetResourceVersion("")
	if diff := difference(before, after); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
	if o, err := c.Get(t.Context(), ours[1]); o != nil || err != nil {
		t.Errorf("left: %v, %v", o, err)
	}
	if changed, err := c.PutBack(t.Context(), ns); err != nil || changed != nil {
		t.Errorf("the second time: %v, %v", changed, err)
	}
}

func TestClusterWatchPods(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pod := decode(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: "+ns+", labels: {a: b}}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: nobody.invalid/none, imagePullPolicy: Never}]}")
	var events []string
	var watching sync.WaitGroup
	watched, stop := context.WithCancel(ctx)
	defer stop()
	watching.Go(func() {
		err := c.WatchPods(watched, ns, map[string]string{"a": "b"}, func(event string, p *corev1.Pod) {
			if events = append(events, event); event == Deleted {
				stop()
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(c.Apply(ctx, pod), c.Delete(ctx, pod)); err != nil {
		t.Error(err)
	}
	watching.Wait()
	if len(events) < 2 || events[0] != Added || events[len(events)-1] != Deleted {
		t.Errorf("events %v", events)
	}
}

func TestClusterForward(t *testing.T) {
	c := real(t)
	gateways, err := c.Pods(t.Context(), "istio-system", map[string]string{"istio": "ingressgateway"})
	if err != nil {
		t.Fatal(err)
	}
	if len(gateways) == 0 {
		t.Skip("the cluster has no gateway with label istio=ingressgateway in istio-system")
	}
	f := c.Forward("istio-system", gateways[0].Name, 15000)
	defer f.Close()
	client := &http.Client{Transport: f}
	for _, path := range []string{"/ready", "/ready", "/ready", "/config_dump", "/config_dump", "/stats", "/help"} {
		start := time.Now()
		n := read(t, client, path)
		t.Logf("%s: %d bytes in %v", path, n, time.Since(start))
	}
	start := time.Now()
	var bytes int64
	for range 20 {
		bytes += read(t, client, "/config_dump")
	}
	t.Logf("%.1f MB at %.1f MB/s", float64(bytes)/1e6, float64(bytes)/1e6/time.Since(start).Seconds())
	f.mu.Lock()
	if len(f.open) != 1 {
		t.Errorf("%d connections for requests one after the other", len(f.open))
	}
	f.mu.Unlock()

	closed := c.Forward("istio-system", gateways[0].Name, 9) // nobody listens
	defer closed.Close()
	_, err = (&http.Client{Transport: closed}).Get("http://pod/")
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	none := c.Forward("istio-system", "no-such-pod", 15000)
	defer none.Close()
	_, err = (&http.Client{Transport: none}).Get("http://pod/")
	if err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a pod that is not there: %v", err)
	}
	t.Log(err)
	if err := c.Logs(t.Context(), "istio-system", gateways[0].Name, "istio-proxy", time.Time{}, io.Discard); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, client *http.Client, path string) int64 {
	t.Helper()
	answer, err := client.Get("http://pod" + path)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: status %d, %d bytes, %v", path, answer.StatusCode, n, err)
	}
	return n
}

func TestClusterCPU(t *testing.T) {
	c := real(t)
	usages, err := c.Usages(t.Context())
	if err != nil || len(usages) == 0 {
		t.Fatalf("%d containers, %v", len(usages), err)
	}
	for _, u := range usages {
		if age := time.Since(u.Time); age > time.Minute {
			t.Errorf("%s/%s %s: %v old", u.Namespace, u.Pod, u.Container, age)
		}
	}
}

// Receipts are tens of megabytes: an Envoy of our own answers with a large file, on the pod's loopback.
func TestClusterForwardBulk(t *testing.T) {
	c := real(t)
	ns := ownNamespace(t, c)
	pod := decode(t, `
apiVersion: v1
kind: Pod
metadata: {name: bulk, namespace: `+ns+`}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: envoy
    image: `+nodeImage(t, c, "istio-ingressgateway")+`
    imagePullPolicy: IfNotPresent
    command: [/usr/local/bin/envoy, --concurrency, "1", --config-yaml]
    args:
    - |
      static_resources:
        listeners:
        - address: {socket_address: {address: 127.0.0.1, port_value: 8099}}
          filter_chains:
          - filters:
            - name: hcm
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: bulk
                route_config:
                  max_direct_response_body_size_bytes: 300000000
                  virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {filename: /usr/local/bin/pilot-agent}}}]}]
                http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
`)
	if err := errors.Join(c.Apply(t.Context(), pod), c.Wait(t.Context(), 30*time.Second, pod...)); err != nil {
		t.Fatal(err)
	}
	f := c.Forward(ns, "bulk", 8099)
	defer f.Close()
	client := &http.Client{Transport: f}
	for { // without a probe the pod is ready before Envoy listens
		answer, err := client.Get("http://pod/")
		if err == nil {
			answer.Body.Close()
			break
		}
		if !pause(t.Context(), 100*time.Millisecond) {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	start := time.Now()
	for range 3 {
		all.Go(func() {
			if n := read(t, client, "/"); n < 1e6 { // as long as its Content-Length says, else it were an error
				t.Errorf("%d bytes", n)
			}
		})
	}
	all.Wait()
	t.Logf("three in parallel: %v", time.Since(start))
}
