package kube

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
