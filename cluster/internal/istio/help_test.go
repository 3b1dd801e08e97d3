package istio

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"umbra/internal/route"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

// listing names objects, one a line.
func listing(objects []*Object) string {
	var b strings.Builder
	for _, o := range objects {
		b.WriteString(id(o) + "\n")
	}
	return b.String()
}

func id(o *Object) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// find gives the one object of an ID.
func find(t *testing.T, objects []*Object, want string) *Object {
	t.Helper()
	var found []*Object
	for _, o := range objects {
		if id(o) == want {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects %s in:\n%s", len(found), want, listing(objects))
	}
	return found[0]
}

// asYAML gives the objects as kubectl apply -f takes them.
func asYAML(t *testing.T, objects ...*Object) string {
	t.Helper()
	var docs []string
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(text))
	}
	return strings.Join(docs, "---\n")
}

// plan loads manifests and makes what Deploy takes.
func plan(t *testing.T, sources ...route.Source) (*route.Manifests, *route.Table, []route.Workload) {
	t.Helper()
	m, err := route.Load(sources...)
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, table, route.Workloads(m, table)
}

func deploy(t *testing.T, sources ...route.Source) *Deployed {
	t.Helper()
	m, table, workloads := plan(t, sources...)
	d, err := Deploy(m, table, workloads, "umbra-app:0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const examplesDir = "../../../scenarios/examples"

// example reads the manifests of an example scenario.
func example(t *testing.T, file string) []route.Source {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examplesDir, file))
	if err != nil {
		t.Fatal(err)
	}
	var scenario struct {
		Mesh struct{ Manifests []string }
	}
	if err := yaml.Unmarshal(data, &scenario); err != nil {
		t.Fatal(err)
	}
	var out []route.Source
	for _, name := range scenario.Mesh.Manifests {
		data, err := os.ReadFile(filepath.Join(examplesDir, name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, route.Source{Name: name, Data: data})
	}
	return out
}
