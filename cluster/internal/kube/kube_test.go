package kube

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://one:6443"}}, {name: d, cluster: {server: "https://two:6443"}}]
contexts: [{name: first, context: {cluster: c}}, {name: second, context: {cluster: d}}]
current-context: first
`

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, env, context, host, says string }{
		{"a path", path, "", "", "https://one:6443", ""},
		{"the environment", "", path, "", "https://one:6443", ""},
		{"another context", path, "", "second", "https://two:6443", ""},
		{"a context that is not there", path, "", "third", "", `no context "third"; it has: first, second`},
		{"a path that is not there", path + ".not", "", "", "", path + ".not"},
		{"nothing", "", path + ".not", "", "", "no kubeconfig: name one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", test.env)
			t.Setenv("HOME", t.TempDir())
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			config, err := Load(test.path, test.context)
			switch {
			case test.says != "":
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %s", err, test.says)
				}
			case err != nil || config.Host != test.host:
				t.Errorf("%v, %v", config, err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	config, err := Parse([]byte(kubeconfig))
	if err != nil || config.Host != "https://one:6443" {
		t.Errorf("%v, %v", config, err)
	}
	if _, err := Parse([]byte("a: [")); err == nil {
		t.Error("no error for what is no YAML")
	}
}

func TestVersion(t *testing.T) {
	a, c := serve(t)
	body := `{"major":"1","gitVersion":"v1.34.4"}`
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Write([]byte(body))
		return true
	}
	if v, err := c.Version(t.Context()); v != "v1.34.4" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	body = "<html>"
	if v, err := c.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "not as an API server does") {
		t.Errorf("%q, %v", v, err)
	}
	nobody, err := Connect(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "API server http://127.0.0.1:1") {
		t.Errorf("nobody listens: %v", err)
	}
}
