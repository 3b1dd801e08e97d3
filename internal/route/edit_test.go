package route

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// unmirrored gives what Unmirrored makes of a file's documents, and holds what it promises of every one.
func unmirrored(t testing.TB, m *Manifests) *Manifests {
	t.Helper()
	off, err := m.Unmirrored()
	if err != nil {
		t.Fatalf("Unmirrored: %v", err)
	}
	if len(off.Objects) != len(m.Objects) {
		t.Fatalf("%d objects became %d", len(m.Objects), len(off.Objects))
	}
	for i, o := range off.Objects {
		if before := m.Objects[i]; o.ID() != before.ID() || o.File != before.File || o.Line != before.Line || o.APIVersion != before.APIVersion {
			t.Errorf("%+v became %+v", before, o)
		}
	}
	sameRoutes(t, m, off)
	again, err := off.Unmirrored()
	if err != nil || len(off.Changed(again)) > 0 {
		t.Errorf("done again it changes %v, %v", off.Changed(again), err)
	}
	return off
}

// sameRoutes wants all to be the same but the mirrors' fractions, which are 0.
func sameRoutes(t testing.TB, m, off *Manifests) {
	t.Helper()
	before, err := NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	after, err := NewTable(off)
	if err != nil {
		t.Fatal(err)
	}
	var want []Route
	for _, r := range before.Routes() {
		zero := *r
		zero.Mirrors = slices.Clone(r.Mirrors)
		for i := range zero.Mirrors {
			zero.Mirrors[i] = Mirror{Cluster: zero.Mirrors[i].Cluster}
		}
		want = append(want, zero)
	}
	var got []Route
	for _, r := range after.Routes() {
		got = append(got, *r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before.Clusters(), after.Clusters(), cmp.AllowUnexported(Cluster{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Workloads(m, before), Workloads(off, after)); diff != "" {
		t.Error(diff)
	}
}

func TestUnmirrored(t *testing.T) {
	const mirror = `mirror: {host: my-app, subset: v2}`
	const zero = mirror + `, mirrorPercentage: {value: 0}`
	for _, row := range []struct{ name, before, after string }{
		{"no mirror", ``, ``},
		{"a mirror of all", mirror, zero},
		{"of ten percent", mirror + `, mirrorPercentage: {value: 10}`, zero},
		{"of 0 already", zero, zero},
		{"of 0.0", mirror + `, mirrorPercentage: {value: 0.0}`, mirror + `, mirrorPercentage: {value: 0.0}`},
		{"of 0 beside the deprecated one, which counts for nothing", zero + `, mirrorPercent: 5`, zero + `, mirrorPercent: 5`},
		{"of no value", mirror + `, mirrorPercentage: {}`, zero},
		{"deprecated", mirror + `, mirrorPercent: 25, timeout: 1m`, mirror + `, timeout: 1m, mirrorPercentage: {value: 0}`},
		{"deprecated, under its old name", `mirror_percent: 25, ` + mirror, zero},
		{"deprecated and empty", mirror + `, mirrorPercent: null`, zero},
		{"both", mirror + `, mirrorPercentage: {value: 5}, mirrorPercent: 50`, zero},
		{"several", `mirrors: [{destination: {host: my-app, subset: v2}, percentage: {value: 50}}, {destination: {host: my-app, subset: v2}}, {destination: {host: my-app, subset: v2}, percentage: {value: 0}}]`,
			`mirrors: [{destination: {host: my-app, subset: v2}, percentage: {value: 0}}, {destination: {host: my-app, subset: v2}, percentage: {value: 0}}, {destination: {host: my-app, subset: v2}, percentage: {value: 0}}]`},
		{"a percentage of no mirror", `mirrorPercentage: {value: 10}`, `mirrorPercentage: {value: 10}`},
		{"texts that look otherwise", "headers: {request: {set: {a: 'yes', b: \"0x1f\", c: '2026-01-01', d: '1e3'}}}, " + mirror,
			"headers: {request: {set: {a: 'yes', b: \"0x1f\", c: '2026-01-01', d: '1e3'}}}, " + zero},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := func(more string) string {
				return gatewayYAML + "---\n" + vsYAML(strings.TrimSuffix(`{`+toV("v1")+`, `+more, ", ")+`}`) + "---\n" + rulesYAML
			}
			m := loaded(t, text(row.before))
			off := unmirrored(t, m)
			if diff := cmp.Diff(meaning(t, loaded(t, text(row.after)).Objects[1].Raw), meaning(t, off.Objects[1].Raw)); diff != "" {
				t.Error(diff)
			}
			changed := m.Changed(off)
			switch {
			case row.before == row.after && len(changed) != 0:
				t.Errorf("changed %v", changed)
			case row.before != row.after && (len(changed) != 1 || changed[0].ID() != "VirtualService shop/my-app"):
				t.Errorf("changed %v", changed)
			}
		})
	}
}

// meaning is what a text says.
func meaning(t testing.TB, raw []byte) (v any) {
	t.Helper()
	if err := yaml.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Anchors, merge keys, Lists, and what tells of a fault's or a route's place.
func TestUnmirroredOfWhatIsWrittenOtherwise(t *testing.T) {
	const text = `apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1beta1
  kind: VirtualService
  metadata: {name: my-app, namespace: shop}
  spec:
    hosts: [my-app.example.com]
    gateways: [gw]
    http:
    - &first
      match: [{uri: {prefix: /a}}]
      route: [{destination: {host: my-app, subset: v1}}]
      mirror: {host: my-app, subset: v2} # all of it
    - <<: *first
      match: [{uri: {prefix: /b}}]
      mirrorPercentage: {value: 5}
`
	m := loaded(t, text, gatewayYAML, rulesYAML)
	off := unmirrored(t, m)
	tab, err := NewTable(off)
	if err != nil {
		t.Fatal(err)
	}
	if r := tab.Routes(); len(r) != 2 || r[0].Line != 11 || r[1].Line != 15 || r[1].Name != "shop/my-app/#1" {
		t.Errorf("routes %+v, %+v", r[0], r[1])
	}
	if got := string(off.Objects[0].Raw); strings.Count(got, "mirrorPercentage") != 2 || strings.ContainsAny(got, "&*#") {
		t.Error(got)
	}
	if tab, err := NewTable(m); err != nil || tab.Routes()[0].Mirrors[0].Percent != 100 {
		t.Errorf("the manifests that it was made of changed: %v", err)
	}
}

// Every example: what has no mirror stays byte by byte, what has one is all that changes.
func TestUnmirroredExamples(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/examples/*-istio.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Load(Source{file, data})
			if err != nil {
				t.Fatal(err)
			}
			off := unmirrored(t, m)
			for _, o := range m.Changed(off) {
				if o.Kind != "VirtualService" || !strings.Contains(string(o.Raw), "mirror") {
					t.Errorf("%s changed", o.ID())
				}
			}
			for i, o := range m.Objects {
				if !strings.Contains(string(o.Raw), "mirror") && string(o.Raw) != string(off.Objects[i].Raw) {
					t.Errorf("%s became\n%s", o.ID(), off.Objects[i].Raw)
				}
			}
		})
	}
}

func TestEdited(t *testing.T) {
	m := loaded(t, vsYAML(`{`+toV("v1")+`}`), gatewayYAML, rulesYAML)
	wrong := errors.New("no")
	for name, c := range map[string]struct {
		edit func(o *Object, root *yaml.Node) (bool, error)
		want string // part of the error; empty: nothing has changed
	}{
		"nothing": {func(*Object, *yaml.Node) (bool, error) { return false, nil }, ""},
		"what is not told to have changed": {func(o *Object, root *yaml.Node) (bool, error) {
			o.Name, root.Content = "other", nil
			return false, nil
		}, ""},
		"an error":      {func(*Object, *yaml.Node) (bool, error) { return true, wrong }, "VirtualService shop/my-app: no"},
		"unknown field": {rename("http", "htp"), `test.yaml:5:49: unknown field "htp"`},
		"a wrong name":  {rename("my-app", "My app"), "is no name for a VirtualService"},
		"no text of it": {tag("!!int"), "VirtualService shop/my-app cannot be written anew"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := m.Edited(c.edit)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q in it", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.Objects, got.Objects); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff(loaded(t, vsYAML(`{`+toV("v1")+`}`), gatewayYAML, rulesYAML).Objects, m.Objects); diff != "" {
		t.Errorf("editing changed what was edited: %s", diff)
	}
}

// rename changes a text of a VirtualService wherever it stands.
func rename(from, to string) func(*Object, *yaml.Node) (bool, error) {
	return func(o *Object, root *yaml.Node) (bool, error) {
		each(root, func(n *yaml.Node) {
			if n.Value == from {
				n.Value = to
			}
		})
		return o.Kind == "VirtualService", nil
	}
}

// tag gives a VirtualService's texts a tag that they do not have.
func tag(tag string) func(*Object, *yaml.Node) (bool, error) {
	return func(o *Object, root *yaml.Node) (bool, error) {
		each(root, func(n *yaml.Node) {
			if n.Value == "my-app.example.com" {
				n.Tag = tag
			}
		})
		return o.Kind == "VirtualService", nil
	}
}

func each(n *yaml.Node, f func(*yaml.Node)) {
	f(n)
	for _, c := range n.Content {
		each(c, f)
	}
}

// Manifests that have faults can be edited as far as they were decoded: the faults are told again.
func TestUnmirroredOfFaults(t *testing.T) {
	m, err := Load(source("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n", vsYAML(`{mirrors: {a: b}, http: 1}`)))
	if err == nil {
		t.Fatal("it was taken")
	}
	var faults diag.Faults
	if _, err := m.Unmirrored(); !errors.As(err, &faults) {
		t.Errorf("error %v", err)
	}
}

func TestChanged(t *testing.T) {
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: my-app, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
	m := loaded(t, gatewayYAML, rulesYAML, service)
	other := loaded(t, service, strings.ReplaceAll(gatewayYAML, "networking.istio.io/v1", "networking.istio.io/v1beta1"), vsYAML(`{`+toV("v1")+`}`))
	var got []string
	for _, o := range m.Changed(other) {
		got = append(got, o.ID())
	}
	if diff := cmp.Diff([]string{"Gateway shop/gw", "VirtualService shop/my-app"}, got); diff != "" {
		t.Error(diff)
	}
	if got := m.Changed(m); got != nil {
		t.Errorf("of itself %v", got)
	}
}
