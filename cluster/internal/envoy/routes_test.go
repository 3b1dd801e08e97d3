package envoy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

const examples = "../../../scenarios/examples"

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func table(t testing.TB, sources ...route.Source) *route.Table {
	t.Helper()
	m, err := route.Load(sources...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// load gives the table of manifest files.
func load(t testing.TB, files ...string) *route.Table {
	t.Helper()
	var sources []route.Source
	for _, f := range files {
		sources = append(sources, route.Source{Name: filepath.Base(f), Data: read(t, f)})
	}
	return table(t, sources...)
}

// example gives the table of an example's manifests.
func example(t testing.TB, name string) *route.Table {
	t.Helper()
	if name == "full" {
		dir := filepath.Join(examples, "full")
		return load(t, filepath.Join(dir, "namespace.yaml"), filepath.Join(dir, "service.yaml"), filepath.Join(dir, "istio.yaml"))
	}
	return load(t, filepath.Join(examples, name+"-istio.yaml"))
}

// dumped gives the names of the examples whose dump there is.
func dumped(t testing.TB) (names []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/routes/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dumps in testdata/routes (error %v)", err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return names
}

func TestEveryExampleHasItsDump(t *testing.T) {
	manifests, err := filepath.Glob(filepath.Join(examples, "*-istio.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Join(dumped(t), "\n") + "\n"
	for _, m := range manifests {
		if name := strings.TrimSuffix(filepath.Base(m), "-istio.yaml"); !strings.Contains(have, name+"\n") {
			t.Errorf("example %s has no dump in testdata/routes", name)
		}
	}
}

// modelRoutes is what the model says that Routes should give.
func modelRoutes(t *route.Table) map[string][]mesh.Mirror {
	out := map[string][]mesh.Mirror{}
	for _, r := range t.Routes() {
		out[r.Name] = nil
		for _, m := range r.Mirrors {
			if m.Numerator > 0 {
				out[r.Name] = append(out[r.Name], mesh.Mirror{Cluster: m.Cluster, Numerator: m.Numerator})
			}
		}
	}
	return out
}

func TestExamplesAsEnvoyWasGivenThem(t *testing.T) {
	for _, name := range dumped(t) {
		t.Run(name, func(t *testing.T) { agree(t, read(t, "testdata/routes", name+".json"), example(t, name)) })
	}
	for _, name := range []string{"shapes", "ports"} {
		t.Run(name, func(t *testing.T) {
			agree(t, read(t, "testdata", name+".json"), load(t, "testdata/"+name+"-istio.yaml"))
		})
	}
}

// agree checks that the gateway's routes and the model's are the same.
func agree(t *testing.T, dump []byte, model *route.Table) {
	t.Helper()
	routes, err := Routes(dump, model)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]mesh.Mirror{}
	for _, r := range routes {
		if _, twice := got[r.Name]; twice {
			t.Errorf("route %s comes with two sets of mirrors", r.Name)
		}
		got[r.Name] = r.Mirrors
	}
	if diff := cmp.Diff(modelRoutes(model), got); diff != "" {
		t.Errorf("model and gateway (-model +gateway):\n%s", diff)
	}
	if err := mesh.Differences(model, &mesh.State{Routes: routes}); err != nil {
		t.Error(err)
	}
	differences, err := Compare(dump, model)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

func TestRoutesNumerators(t *testing.T) {
	const v2 = "outbound|80|v2|my-app.shop.svc.cluster.local"
	for name, want := range map[string][]mesh.Route{
		"percent-0-57":      {{Name: "shop/my-app/mirrored", Mirrors: []mesh.Mirror{{Cluster: v2, Numerator: 5699}}}},
		"percent-0":         {{Name: "shop/my-app/mirrored"}},
		"absent-percentage": {{Name: "shop/my-app/mirrored", Mirrors: []mesh.Mirror{{Cluster: v2, Numerator: 1_000_000}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Routes(read(t, "testdata/routes", name+".json"), example(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPerMillion(t *testing.T) {
	for _, c := range []struct {
		of   fraction
		want uint32
	}{
		{fraction{}, 0},
		{fraction{10, ""}, 100_000},
		{fraction{10, "HUNDRED"}, 100_000},
		{fraction{57, "TEN_THOUSAND"}, 5_700},
		{fraction{5_699, "MILLION"}, 5_699},
		{fraction{4_000_000_000, "HUNDRED"}, 1_000_000},
	} {
		if got := c.of.perMillion(); got != c.want {
			t.Errorf("%+v: %d of a million, want %d", c.of, got, c.want)
		}
	}
	if got := (&mirrorPolicy{}).perMillion(); got != 1_000_000 {
		t.Errorf("a policy without a fraction mirrors %d of a million, want all", got)
	}
}

func TestRoutesRefuses(t *testing.T) {
	for name, dump := range map[string]string{
		"no JSON":        "<html>",
		"a number":       "7",
		"wrong types":    `{"configs":[{"route_config":{"virtual_hosts":"none"}}]}`,
		"a bad duration": `{"configs":[{"route_config":{"virtual_hosts":[{"routes":[{"route":{"timeout":"soon"}}]}]}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			model := example(t, "canary-10")
			if _, err := Routes([]byte(dump), model); err == nil || !strings.Contains(err.Error(), "config dump") {
				t.Errorf("Routes: error %v, want one that names the config dump", err)
			}
			if _, err := Compare([]byte(dump), model); err == nil {
				t.Error("Compare: no error")
			}
		})
	}
}

// A dump of everything has the routes one level deeper, among configurations of other kinds.
func TestRoutesOfTheWholeDump(t *testing.T) {
	one := strings.TrimSpace(string(read(t, "testdata/routes/canary-10.json")))
	inner := strings.TrimSuffix(strings.TrimPrefix(one, `{
 "configs": [`), `]
}`)
	whole := `{"configs":[{"bootstrap":{"node":{"id":"x"}}},{"dynamic_listeners":[{}]},{"dynamic_route_configs":[` + inner + `]}]}`
	agree(t, []byte(whole), example(t, "canary-10"))
}

func FuzzRoutes(f *testing.F) {
	f.Add(read(f, "testdata/shapes.json"))
	f.Add(read(f, "testdata/routes/reads-only.json"))
	f.Add([]byte(`{"configs":[null,{"route_config":{"virtual_hosts":[{"name":"my-app.example.com:80","domains":["my-app.example.com","*"],"routes":[null,{"match":{"safe_regex":{"regex":"(a{9}){9}"}}}]}]}}]}`))
	model := load(f, "testdata/shapes-istio.yaml")
	f.Fuzz(func(t *testing.T, dump []byte) {
		routes, err := Routes(dump, model)
		if err != nil {
			return
		}
		for _, r := range routes {
			if strings.Count(r.Name, "/") < 2 {
				t.Errorf("name %q", r.Name)
			}
		}
		if _, err := Compare(dump, model); err != nil {
			t.Errorf("Routes takes what Compare refuses: %v", err)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	dump, model := read(b, "testdata/shapes.json"), load(b, "testdata/shapes-istio.yaml")
	for b.Loop() {
		if _, err := Compare(dump, model); err != nil {
			b.Fatal(err)
		}
	}
}
