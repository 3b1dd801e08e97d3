package kube

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	configMap      = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n"
	configMapPath  = "/api/v1/namespaces/shop/configmaps/c"
	virtualService = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\n"
	routePath      = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/v"
	rule           = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: shop}\n"
	rulePath       = "/apis/networking.istio.io/v1/namespaces/shop/destinationrules/d"
	namespaceYAML  = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
	webhook        = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: w}\n"
	webhookPath    = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/w"
	everything     = webhook + "---\n" + virtualService + "---\n" + rule + "---\n" + configMap + "---\n" + namespaceYAML
)

func TestApplyOrder(t *testing.T) {
	a, c := serve(t)
	objects := decode(t, everything)
	if err := c.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	want := []string{"/api/v1/namespaces/shop", configMapPath, rulePath, routePath, webhookPath}
	if diff := cmp.Diff(want, a.asked("PATCH")); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if err := c.Delete(t.Context(), append(objects, decode(t, "apiVersion: no.example/v1\nkind: Nothing\nmetadata: {name: one}")...)); err != nil {
		t.Fatal(err)
	}
	want = []string{webhookPath, routePath, rulePath, configMapPath, "/api/v1/namespaces/shop"}
	if diff := cmp.Diff(want, a.asked("DELETE")); diff != "" {
		t.Errorf("order of deletion (-want +got):\n%s", diff)
	}
	if err := c.Delete(t.Context(), objects); err != nil {
		t.Errorf("gone already: %v", err)
	}
}

func TestApplySends(t *testing.T) {
	a, c := serve(t)
	var query string
	a.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			query = r.URL.RawQuery + " " + r.Header.Get("Content-Type")
		}
		return false
	}
	first := decode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop, resourceVersion: '5', uid: u}\ndata: {a: old}\nstatus: {x: y}\n")
	objects := append(first, decode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop, resourceVersion: '5', labels: {a: b}}\ndata: {a: new}\n")...)
	before := objects[1].DeepCopy()
	if err := c.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if query != "fieldManager=umbra&fieldValidation=Strict&force=true application/apply-patch+yaml" {
		t.Errorf("sent as %s", query)
	}
	if diff := difference(before, objects[1]); diff != "" {
		t.Errorf("Apply changed its argument:\n%s", diff)
	}
	if n := len(a.asked("PATCH")); n != 1 {
		t.Errorf("%d requests for one name", n)
	}
	live, err := c.Get(t.Context(), objects[0])
	if err != nil {
		t.Fatal(err)
	}
	if live.GetLabels()[ManagedBy] != Manager || live.GetLabels()["a"] != "b" || text(live, "data", "a") != "new" || live.GetUID() != "" {
		t.Errorf("sent %v", live.Object)
	}
}

// TestApplyRetries: what passes by itself is tried again.
func TestApplyRetries(t *testing.T) {
	tests := []struct {
		name, yaml, path string
		fail             func(w http.ResponseWriter)
	}{
		{"a webhook not reachable yet", virtualService, routePath, func(w http.ResponseWriter) {
			failure(w, 500, `Internal error occurred: failed calling webhook "validation.istio.io": connection refused`, "")
		}},
		{"a kind's path not served yet", virtualService, routePath, func(w http.ResponseWriter) {
			failure(w, 404, "the server could not find the requested resource", "")
		}},
		{"a server not ready", configMap, configMapPath, func(w http.ResponseWriter) { failure(w, 503, "etcd is starting", "") }},
		{"a namespace being deleted", namespaceYAML, "/api/v1/namespaces/shop", func(w http.ResponseWriter) {
			answer(w, 200, map[string]any{"apiVersion": "v1", "kind": "Namespace",
				"metadata": map[string]any{"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, c := serve(t)
			left := 2
			a.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPatch || left == 0 {
					return false
				}
				left--
				test.fail(w)
				return true
			}
			if err := c.Apply(t.Context(), decode(t, test.yaml)); err != nil || left > 0 || !a.has(test.path) {
				t.Errorf("%v; %d failures left; %v", err, left, a.has(test.path))
			}
			left = 1 << 30
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			err := c.Apply(ctx, decode(t, test.yaml))
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the last failure: ") {
				t.Errorf("the time is up: %v", err)
			}
		})
	}
}

func TestApplyAwaitsKind(t *testing.T) {
	a, c := serve(t)
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.umbra.example}\nspec: {group: umbra.example, names: {kind: Thing}}\n"
	c.kindGrace = 0 // the CRD among the objects declares it
	asked := 0
	a.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/apis/umbra.example/v1" {
			if asked++; asked == 3 {
				a.served["umbra.example/v1"] = "Thing things"
			}
		}
		return false
	}
	if err := c.Apply(t.Context(), decode(t, "apiVersion: umbra.example/v1\nkind: Thing\nmetadata: {name: t}\n---\n"+crd)); err != nil {
		t.Fatal(err)
	}
	if !a.has("/apis/umbra.example/v1/namespaces/default/things/t") {
		t.Error("not applied, or not in the namespace default")
	}
}

func TestApplyUnknownKind(t *testing.T) {
	const thing = "apiVersion: umbra.example/v1\nkind: Thing\nmetadata: {name: t}\n"
	const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x"
	crd := func(kind string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {group: umbra.example, names: {kind: " + kind + "}}\n"
	}
	t.Run("nobody declares it", func(t *testing.T) {
		a, c := serve(t)
		c.kindGrace = 0
		a.put(crdPath, crd("Other"))
		err := c.Apply(t.Context(), decode(t, thing))
		var r *Rejected
		if !errors.As(err, &r) || r.Message != "the cluster knows no kind Thing of umbra.example/v1: install its CRD, or take the object out" {
			t.Error(err)
		}
	})
	t.Run("the cluster's CRD declares it", func(t *testing.T) {
		a, c := serve(t)
		c.kindGrace = 0
		a.put(crdPath, crd("Thing"))
		asked := 0
		a.before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/apis/umbra.example/v1" {
				if asked++; asked == 3 {
					a.served["umbra.example/v1"] = "Thing things"
				}
			}
			return false
		}
		if err := c.Apply(t.Context(), decode(t, thing)); err != nil {
			t.Error(err)
		}
	})
	if _, c := serve(t); c.kindGrace != 10*time.Second {
		t.Errorf("an unknown kind is rejected after %v", c.kindGrace)
	}
}

func TestApplyRejected(t *testing.T) {
	tests := []struct {
		name string
		code int
		says string
	}{
		{"invalid", 422, `ConfigMap "c" is invalid: data: too long`},
		{"forbidden", 403, "user may not"},
		{"denied by a webhook", 500, `admission webhook "x" denied the request: no`},
		{"a field of the wrong type", 500, "failed to create typed patch object: expected numeric"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, c := serve(t)
			tries := 0
			a.before = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method != http.MethodPatch:
					return false
				case strings.HasSuffix(r.URL.Path, "/c"):
					tries++
					failure(w, test.code, test.says, "c")
				default: // would be tried until ctx ends
					failure(w, 503, "not now", "")
				}
				return true
			}
			other := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\n"
			err := c.Apply(t.Context(), decode(t, configMap+other))
			var r *Rejected
			if !errors.As(err, &r) || r.Message != test.says || r.Object.GetName() != "c" || tries != 1 {
				t.Fatalf("%v after %d tries", err, tries)
			}
			if want := "ConfigMap shop/c: rejected by the API server: " + test.says; err.Error() != want {
				t.Errorf("got  %v\nwant %v", err, want)
			}
		})
	}
}

func TestGone(t *testing.T) {
	a, c := serve(t)
	objects := decode(t, configMap)
	if err := c.Gone(t.Context(), time.Minute, objects); err != nil {
		t.Error(err)
	}
	a.put(configMapPath, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [umbra.example/hold]}")
	err := c.Gone(t.Context(), 50*time.Millisecond, objects)
	if err == nil || !strings.Contains(err.Error(), "ConfigMap shop/c: it waits for finalizers umbra.example/hold") {
		t.Errorf("held: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Gone(ctx, time.Minute, objects); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPrune(t *testing.T) {
	a, c := serve(t)
	ours := ", labels: {app.kubernetes.io/managed-by: umbra}}\n"
	put := func(namespace, resource, kind, name, rest string) string {
		path := "/api/v1/namespaces/" + namespace + "/" + resource + "/" + name
		version := "v1"
		if group := map[string]string{"DestinationRule": "networking.istio.io/v1", "EnvoyFilter": "networking.istio.io/v1alpha3",
			"Job": "batch/v1", "DaemonSet": "apps/v1"}[kind]; group != "" {
			version, path = group, strings.Replace(path, "/api/v1", "/apis/"+group, 1)
		}
		a.put(path, "apiVersion: "+version+"\nkind: "+kind+"\nmetadata: {name: "+name+", namespace: "+namespace+rest)
		return path
	}
	gone := []string{
		put("shop", "configmaps", "ConfigMap", "old", ours),
		put("shop", "destinationrules", "DestinationRule", "old", ours),
		put("istio-system", "envoyfilters", "EnvoyFilter", "scenario", ours), // served in no preferred version
		put("shop", "jobs", "Job", "old", ours),
		put("shop", "daemonsets", "DaemonSet", "old", ours),
		put("shop", "secrets", "Secret", "old", ours),
		put("shop", "serviceaccounts", "ServiceAccount", "old", ours),
	}
	kept := []string{
		put("shop", "configmaps", "ConfigMap", "keep", ours),
		put("shop", "configmaps", "ConfigMap", "theirs", "}\n"),
		put("istio-system", "configmaps", "ConfigMap", "mesh", ours),
		put("kube-system", "services", "Service", "dns", ours),
		put("shop", "secrets", "Secret", "theirs", "}\n"),
	}
	keep := decode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, namespace: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mesh, namespace: istio-system}\n")
	deleted, err := c.Prune(t.Context(), keep)
	if err != nil || len(deleted) != len(gone) {
		t.Errorf("deleted %d: %v", len(deleted), err)
	}
	for _, path := range gone {
		if a.has(path) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range kept {
		if !a.has(path) {
			t.Errorf("%s is gone", path)
		}
	}
}
