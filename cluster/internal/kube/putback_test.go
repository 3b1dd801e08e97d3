package kube

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestPutBack(t *testing.T) {
	a, c := serve(t)
	before := virtualService[:len(virtualService)-2] + ", labels: {team: a}, managedFields: [{manager: them, operation: Apply}]}\nspec: {hosts: [a], weight: 3}\n"
	a.put(routePath, before)
	a.put(rulePath, rule+"spec: {host: a}\n")
	if err := c.Remember(t.Context(), "shop", decode(t, virtualService+"---\n"+rule+"---\n"+configMap)); err != nil {
		t.Fatal(err)
	}
	a.put(routePath, strings.Replace(before, "hosts: [a], weight: 3", "hosts: [b], more: 1", 1))
	a.put(configMapPath, configMap[:len(configMap)-2]+", labels: {app.kubernetes.io/managed-by: umbra}}\n")
	// Keeps the older state of v, and adds that there is no s.
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\n"
	if err := c.Remember(t.Context(), "shop", decode(t, virtualService+"---\n"+service)); err != nil {
		t.Fatal(err)
	}
	a.put("/api/v1/namespaces/shop/services/s", service) // someone else's
	changed, err := c.PutBack(t.Context(), "shop")
	want := []string{"VirtualService shop/v: restored", "ConfigMap shop/c: deleted"}
	if diff := cmp.Diff(want, changed); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	live, err := c.Get(t.Context(), decode(t, virtualService)[0])
	if err != nil {
		t.Fatal(err)
	}
	live.SetResourceVersion("")
	if diff := difference(decode(t, before)[0], live); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
	for path, want := range map[string]bool{configMapPath: false, "/api/v1/namespaces/shop/services/s": true,
		rulePath: true, "/api/v1/namespaces/shop/configmaps/umbra-put-back": false} {
		if a.has(path) != want {
			t.Errorf("%s: there is %v, want %v", path, !want, want)
		}
	}
	if changed, err := c.PutBack(t.Context(), "shop"); changed != nil || err != nil {
		t.Errorf("the second time: %v, %v", changed, err)
	}
}

func TestPutBackMakesAgain(t *testing.T) {
	a, c := serve(t)
	a.put(rulePath, rule+"spec: {host: a}\n")
	if err := c.Remember(t.Context(), "shop", decode(t, rule)); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	a.drop(rulePath)
	refuse := true
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if refuse && r.Method == http.MethodPost {
			failure(w, http.StatusForbidden, "not you", "")
			return true
		}
		return false
	}
	a.mu.Unlock()
	if _, err := c.PutBack(t.Context(), "shop"); err == nil || !strings.Contains(err.Error(), "not you") {
		t.Errorf("refused: %v", err)
	}
	refuse = false // what was remembered is still there
	changed, err := c.PutBack(t.Context(), "shop")
	if err != nil || len(changed) != 1 || changed[0] != "DestinationRule shop/d: made again" || !a.has(rulePath) {
		t.Errorf("%v, %v", changed, err)
	}
}

func TestRememberRefusesSecrets(t *testing.T) {
	a, c := serve(t)
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {a: aGVsbG8=}\n"
	a.put("/api/v1/namespaces/shop/secrets/s", secret)
	err := c.Remember(t.Context(), "shop", decode(t, secret))
	if err == nil || !strings.Contains(err.Error(), "leave it out") || a.has("/api/v1/namespaces/shop/configmaps/umbra-put-back") {
		t.Error(err)
	}
}

// putBackAfter remembers the objects, has the API server hold what is there afterwards by path, and puts back.
func putBackAfter(t *testing.T, a *api, c *Client, objects string, now map[string]string) (changed []string, err error) {
	t.Helper()
	if err := c.Remember(t.Context(), "shop", decode(t, objects)); err != nil {
		t.Fatal(err)
	}
	for path, yaml := range now {
		a.put(path, yaml)
	}
	return c.PutBack(t.Context(), "shop")
}

func TestPutBackLeavesWhatOthersChanged(t *testing.T) {
	const (
		then  = "2026-01-01T00:00:00Z"
		ours  = "{manager: umbra, operation: Apply, time: '2026-01-01T00:01:00Z'}"
		user  = "manager: kubectl-edit, operation: Update, time: '2026-01-01T00:02:00Z'"
		first = "{manager: kubectl, operation: Apply, time: '2026-01-01T00:00:00Z'}"
	)
	tests := []struct {
		name, entries string
		left          bool
	}{
		{"umbra alone", first + ", " + ours, false},
		{"umbra within the same second", first + ", {manager: umbra, operation: Apply, time: '" + then + "'}", false},
		{"the user afterwards", first + ", " + ours + ", {" + user + "}", true},
		{"the user in the same second", ours + ", {manager: kubectl, operation: Apply, time: '2026-01-01T00:01:00Z'}", true},
		{"the user, in place of umbra", "{" + user + "}", true},
		{"another before umbra", first + ", {manager: helm, operation: Update, time: '2026-01-01T00:00:30Z'}, " + ours, false},
		{"a subresource", ours + ", {" + user + ", subresource: status}", false},
		{"a status", ours + ", {" + user + ", fieldsV1: {'f:status': {}}}", false},
		{"a status and more", ours + ", {" + user + ", fieldsV1: {'f:status': {}, 'f:spec': {}}}", true},
		{"the controller manager", ours + ", {manager: kube-controller-manager, operation: Update, time: '2026-01-01T00:02:00Z'}", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, c := serve(t)
			a.put(routePath, virtualService[:len(virtualService)-2]+", managedFields: ["+first+"]}\nspec: {weight: 1}\n")
			made := strings.Replace(configMap, "}\n", ", labels: {app.kubernetes.io/managed-by: umbra}, managedFields: ["+test.entries+"]}\n", 1)
			if test.entries != "" && strings.Contains(test.entries, first) {
				made = strings.Replace(made, first+", ", "", 1) // there was none to be of before
			}
			changed, err := putBackAfter(t, a, c, virtualService+"---\n"+rule+"---\n"+configMap, map[string]string{
				routePath:     virtualService[:len(virtualService)-2] + ", managedFields: [" + test.entries + "]}\nspec: {weight: 2}\n",
				rulePath:      strings.Replace(rule, "}\n", ", labels: {app.kubernetes.io/managed-by: umbra}}\n", 1),
				configMapPath: made,
			})
			live, getErr := c.Get(t.Context(), decode(t, virtualService)[0])
			if getErr != nil {
				t.Fatal(getErr)
			}
			weight, _, _ := unstructured.NestedInt64(live.Object, "spec", "weight")
			if kept := weight == 2; kept != test.left {
				t.Errorf("the route was left: %v, want %v; %v", kept, test.left, err)
			}
			if !slices.Contains(changed, "DestinationRule shop/d: deleted") || a.has(rulePath) {
				t.Errorf("the rest was not put back: %v, %v", changed, err)
			}
			wantLeft(t, a, c, err, test.left)
		})
	}
}

// wantLeft wants that the route and the ConfigMap c were left and are all that is remembered, or that nothing was.
func wantLeft(t *testing.T, a *api, c *Client, err error, left bool) {
	t.Helper()
	_, memories, recallErr := c.recall(t.Context(), "shop")
	if recallErr != nil {
		t.Fatal(recallErr)
	}
	if !left {
		if err != nil || memories != nil || a.has(configMapPath) {
			t.Errorf("%v; still remembered: %v; ConfigMap still there: %v", err, memories, a.has(configMapPath))
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), "VirtualService shop/v: kubectl") || !strings.Contains(err.Error(), "ConfigMap shop/c: kubectl") {
		t.Errorf("error %v, want one that names both objects and who changed them", err)
	}
	if len(memories) != 2 || !a.has(configMapPath) {
		t.Errorf("remembered: %v; ConfigMap still there: %v", memories, a.has(configMapPath))
	}
}

func TestPutBackLeavesAUsedNamespace(t *testing.T) {
	const (
		made     = "apiVersion: v1\nkind: Namespace\nmetadata: {name: made, labels: {app.kubernetes.io/managed-by: umbra}}\n"
		madePath = "/api/v1/namespaces/made"
		labelled = ", labels: {app.kubernetes.io/managed-by: umbra}}\n"
	)
	in := func(kind, name, more string) string {
		version := map[string]string{"Deployment": "apps/v1"}[kind]
		if version == "" {
			version = "v1"
		}
		return "apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: made" + more
	}
	tests := []struct{ name, path, yaml, says string }{
		{"empty", "", "", ""},
		{"another's pod", "/pods/p", in("Pod", "p", "}\n"), "Pod p"},
		{"another's deployment", "/deployments/d", in("Deployment", "d", "}\n"), "Deployment d"},
		{"another's service", "/services/s", in("Service", "s", "}\n"), "Service s"},
		{"another's ConfigMap", "/configmaps/c", in("ConfigMap", "c", "}\n"), "ConfigMap c"},
		{"Kubernetes's ConfigMap", "/configmaps/kube-root-ca.crt", in("ConfigMap", "kube-root-ca.crt", "}\n"), ""},
		{"Istio's ConfigMap", "/configmaps/istio-ca-root-cert", in("ConfigMap", "istio-ca-root-cert", "}\n"), ""},
		{"umbra's service", "/services/s", in("Service", "s", labelled), ""},
		{"a pod of a workload", "/pods/p", in("Pod", "p", ", ownerReferences: [{kind: ReplicaSet, name: r, apiVersion: apps/v1, uid: u}]}\n"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, c := serve(t)
			now := map[string]string{madePath: made}
			if test.path != "" {
				path := madePath + test.path
				if strings.Contains(test.yaml, "apps/v1\nkind: Deployment") {
					path = strings.Replace(path, "/api/v1", "/apis/apps/v1", 1)
				}
				now[path] = test.yaml
			}
			_, err := putBackAfter(t, a, c, made, now)
			if test.says == "" && (err != nil || a.has(madePath)) {
				t.Errorf("%v; still there: %v", err, a.has(madePath))
			}
			if test.says != "" && (err == nil || !strings.Contains(err.Error(), "Namespace made: it holds what is not umbra's and was left: "+test.says) || !a.has(madePath)) {
				t.Errorf("%v; still there: %v", err, a.has(madePath))
			}
		})
	}
}
