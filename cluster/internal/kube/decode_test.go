package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	cm := func(name string) string { return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n" }
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"nothing", "", nil},
		{"only comments and markers", "# a\n---\n\n--- # b\n...\n", nil},
		{"one", cm("a"), []string{"ConfigMap a"}},
		{"several, with empty ones", "---\n" + cm("a") + "---\n---\n" + cm("b") + "...\n" + cm("c"), []string{"ConfigMap a", "ConfigMap b", "ConfigMap c"}},
		{"content on the marker's line", "--- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}", []string{"Namespace ns"}},
		{"a byte order mark and CRLF", "\ufeff" + strings.ReplaceAll(cm("a")+"---\n"+cm("b"), "\n", "\r\n"), []string{"ConfigMap a", "ConfigMap b"}},
		{"a marker inside a text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    y\n", []string{"ConfigMap a"}},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s, namespace: ns}}\n- {apiVersion: v1, kind: List, items: []}\n", []string{"Service ns/s"}},
		{"a typed list", "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {metadata: {name: s}}\n", []string{"ConfigMap s"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, o := range decode(t, test.yaml) {
				got = append(got, Name(o))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct{ name, yaml, says string }{
		{"syntax, in the second document", "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n---\na: [\n", "line 5"},
		{"a key twice", "---\n---\na: 1\na: 2\n", `line 4: key "a" already set in map`},
		{"not an object", "\n\n# x\n- a\n", "line 4: not an object"},
		{"no kind", "---\na: 1\n", "line 2: Object 'Kind' is missing"},
		{"a list's item without a kind", "apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]\n", "item 1: an object without kind"},
		{"no apiVersion", "kind: A\nmetadata: {name: a}\n", "a A without apiVersion"},
		{"no name", "apiVersion: v1\nkind: A\n", "without metadata.name"},
		{"a name that is a number", "apiVersion: v1\nkind: A\nmetadata: {name: 12}\n", "quote it"},
		{"a namespace that is a boolean", "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: no}\n", "metadata.namespace is false"},
		{"in a list", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A}]\n", "item 1: a A without metadata.name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Decode([]byte(test.yaml)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %s", err, test.says)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n"))
	f.Add([]byte("--- {a: &x [1], b: *x}\n...\n--- |\n ---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := Decode(text)
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.GetName() == "" || o.GetKind() == "" || o.GetAPIVersion() == "" {
				t.Errorf("an object without a name, kind or apiVersion: %v", o.Object)
			}
		}
	})
}

func FuzzParseSummary(f *testing.F) {
	f.Add([]byte(summary))
	f.Fuzz(func(t *testing.T, body []byte) {
		usages, err := parseSummary(body)
		for _, u := range usages {
			if err != nil || u.Seconds < 0 {
				t.Errorf("%v with %v", u, err)
			}
		}
	})
}

const summary = `{"node":{"nodeName":"n"},"pods":[{"podRef":{"name":"p","namespace":"shop","uid":"u"},"containers":[
	{"name":"app","cpu":{"time":"2026-11-24T03:32:05Z","usageNanoCores":4832408,"usageCoreNanoSeconds":1500000000}},
	{"name":"istio-proxy","cpu":{"time":"2026-11-24T03:32:09Z","usageCoreNanoSeconds":250000000}},
	{"name":"young"}]}]}`
