package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
	"umbra/internal/impact"
	"umbra/internal/mesh"
	"umbra/internal/traffic"
	"umbra/replay"
)

var update = flag.Bool("update", false, "write the golden files")

// glob gives the files that match a pattern, of which there must be some.
func glob(t testing.TB, patterns ...string) []string {
	t.Helper()
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil || len(found) == 0 {
			t.Fatalf("no file is called %s (%v)", p, err)
		}
		files = append(files, found...)
	}
	return files
}

// invalid are the scenarios that must be refused: a file of its own, or a folder with manifests of its own.
func invalid(t testing.TB) []string {
	return glob(t, "invalid-*.yaml", filepath.Join("invalid-*", "scenario.yaml"))
}

func TestInvalid(t *testing.T) {
	t.Chdir("testdata")
	files := invalid(t)
	if len(files) < 50 {
		t.Errorf("only %d invalid scenarios", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.ToSlash(file), "/scenario.yaml"), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, err := Load(file)
			var faults diag.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Load gives %v, want faults", err)
			}
			for _, f := range faults {
				if f.File == "" || f.Line < 1 {
					t.Errorf("fault without a place: %s", f)
				}
			}
			golden(t, name+".golden", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs; run the test with -update and read it:\n%s", file, d)
	}
}

func TestLoadNoFile(t *testing.T) {
	_, err := Load("nowhere.yaml")
	if err == nil || !strings.HasPrefix(err.Error(), "nowhere.yaml: cannot be read") {
		t.Errorf("got %v", err)
	}
}

func TestLoadEverything(t *testing.T) {
	s := mustLoad(t, filepath.Join("testdata", "valid-everything.yaml"))
	tenth, most, few := 0.1, 0.7, 0.3
	headers := []traffic.Header{{"x-zulu", `{{ pick "a" "b" }}`}, {"accept", "*/*"}, {"x-alpha", "true"}, {"x-number", "1.0"}}
	csv := absolutePath("testdata", "valid-users.csv")
	want := &Scenario{
		Name: "everything",
		File: filepath.Join("testdata", "valid-everything.yaml"),
		Mesh: MeshConfig{
			ManifestFiles: []string{filepath.Join("testdata", "istio.yaml")},
			Host:          "my-app.example.com", Port: 80, Primary: "v1", Shadows: []string{"v2"},
			App: map[string]mesh.Behaviour{
				"v1": {Latency: mesh.Latency{P50: 100 * time.Microsecond}, ResponseSize: 2048},
				"v2": {Latency: mesh.Latency{P50: 3 * time.Millisecond, P99: 61500 * time.Millisecond}, ErrorRate: most / 100, ResponseSize: 100, Differ: few / 100, Stamp: true},
			},
		},
		Mix: &Mix{Entries: []Entry{
			{Name: "list", Weight: 70, Method: "GET", Path: `/api/items?page={{ int 1 50 }}&user={{ csv "` + csv + `" "id" }}`, Headers: headers},
			{Name: "buy", Weight: 30, Method: "POST", Path: "/api/orders", Headers: headers, Body: `{"sku":"{{ pick "a" "b" }}"}`},
			{Name: "note", Weight: 0, Method: "PUT", Path: "/api/{{ uuid }}/{{ seq }}?x={{ hex 8 }}", Body: "Text over lines, with \"quotes\", a tab\tand {{ \"{{\" }}.\n\nThe end: ü\n"},
			{Name: "folded", Weight: 1, Method: "POST", Path: "/", Body: "1e3\r\n\x00 "},
		}},
		Load: LoadConfig{Arrivals: Constant, Connections: 8, Protocol: H2C, Streams: 16, Reuse: replay.Keep, Overload: replay.Drop,
			Quantum: 250 * time.Microsecond, Timeout: 1500 * time.Millisecond, Seed: 1<<53 - 1,
			Warmup: &Stage{50, 50, 2 * time.Second}, Cooldown: &Stage{50, 10, time.Second},
			Stages: []Stage{{200, 200, 10 * time.Second}, {200, 1000.5, 20 * time.Second}, {1000, 1000, time.Hour}}},
		Checks: Checks{
			Fraction:   &FractionCheck{0.5},
			Objectives: []Objective{{Quantile: 99.9, Under: 50 * time.Millisecond}, {Errors: &tenth}},
			Versions:   &VersionsCheck{[]string{"$.time", "$..at", "$.items[*]['an id']"}},
		},
		Drain: 30 * time.Second,
	}
	if d := cmp.Diff(want, s, ignoreMachinery); d != "" {
		t.Error(d)
	}
}

func TestLoadDefaults(t *testing.T) {
	s := mustLoad(t, filepath.Join("testdata", "valid-minimal.yaml"))
	want := LoadConfig{Arrivals: Poisson, Connections: 32, Protocol: HTTP1, Streams: 100, Reuse: replay.Keep, Overload: replay.QueueUp,
		Timeout: 2 * time.Second, Seed: 1, Stages: []Stage{{200, 200, 10 * time.Second}}}
	if d := cmp.Diff(want, s.Load); d != "" {
		t.Error(d)
	}
	entry := Entry{Name: "list", Weight: 1, Method: "GET", Path: "/api/items"}
	if d := cmp.Diff([]Entry{entry}, s.Mix.Entries); d != "" {
		t.Error(d)
	}
	if s.Mesh.Port != 80 || s.Drain != 10*time.Second || s.Capture != nil || s.Checks.Fraction != nil || s.Checks.Objectives != nil {
		t.Errorf("got %+v", s)
	}
	if s.Manifests == nil || s.Table == nil {
		t.Error("the manifests are not kept")
	}
	if s.Checks.Versions != nil || s.Spec().Ignore != nil {
		t.Errorf("the comparison has %+v", s.Checks.Versions)
	}
}

func TestLoadCapture(t *testing.T) {
	s := mustLoad(t, filepath.Join("testdata", "valid-capture.yaml"))
	want := &Capture{File: absolutePath("testdata", "valid-traffic.jsonl.zst"), Speed: 2, Selection: Selection{Methods: SafeMethods, Sample: 100, Seed: 1, Loops: 1}}
	if d := cmp.Diff(want, s.Capture); d != "" || s.Load.Arrivals != Captured || s.Mix != nil {
		t.Errorf("arrivals %s, mix %v\n%s", s.Load.Arrivals, s.Mix, d)
	}
}

func TestLoadASelection(t *testing.T) {
	s := mustLoad(t, filepath.Join("testdata", "valid-capture-selection.yaml"))
	want := &Capture{File: absolutePath("testdata", "valid-traffic.jsonl.zst"), Speed: 0.5,
		Selection: Selection{From: time.Minute, To: 2 * time.Hour, First: 1000, Methods: []string{"GET", "POST"}, Sample: 12.5, Seed: 7, Loops: 3},
		Rewrite: &Rewrite{Host: "shop.example.com", Paths: []PathRule{{"^/v1/(.*)$", "/$1"}, {"debug=(?P<on>[01])", "trace=${on}&price=$$"}},
			Headers: []traffic.Header{{"x-replayed", "yes"}, {"x-forwarded-for", ""}}}}
	if d := cmp.Diff(want, s.Capture); d != "" || !s.Load.Ordered || !s.Load.Options("").Ordered {
		t.Errorf("ordered %v\n%s", s.Load.Ordered, d)
	}
}

// ignoreMachinery leaves what is derived out of a comparison.
var ignoreMachinery = cmp.Options{
	cmpopts.IgnoreUnexported(Mix{}),
	cmpopts.IgnoreUnexported(Scenario{}),
	cmpopts.IgnoreFields(Scenario{}, "Manifests", "Table"),
}

func mustLoad(t testing.TB, file string) *Scenario {
	t.Helper()
	s, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid are the scenarios that must be taken.
func valid(t testing.TB) []string {
	return glob(t, filepath.Join("testdata", "valid-*.yaml"), exampleFiles)
}

// exampleFiles are the examples' scenarios, and manifests beside them.
var exampleFiles = filepath.Join("examples", "*.yaml")

// isScenario tells a scenario from the manifests beside it.
func isScenario(file string) bool { return !strings.HasSuffix(file, "-istio.yaml") }

func TestResolvedRoundTrip(t *testing.T) {
	for _, file := range valid(t) {
		if !isScenario(file) {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := mustLoad(t, file)
			text, err := s.Resolved("")
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse("scenario.yaml", text, t.TempDir())
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			names := cmp.Options{cmpopts.IgnoreFields(Scenario{}, "File"), cmpopts.IgnoreFields(MeshConfig{}, "ManifestFiles")}
			if d := cmp.Diff(s, again, ignoreMachinery, names); d != "" {
				t.Errorf("%s\n%s", d, text)
			}
			if s.Mix != nil {
				sameRequests(t, s.Mix, again.Mix)
			}
		})
	}
}

func sameRequests(t *testing.T, a, b *Mix) {
	t.Helper()
	for i := range uint64(300) {
		_, one := a.Request(i)
		_, two := b.Request(i)
		if d := cmp.Diff(one, two); d != "" {
			t.Fatalf("request %d: %s", i, d)
		}
	}
}

// A run folder has the resolved scenario and the manifests, and neither CSV files nor captures.
func TestLoadResolvedFromARunFolder(t *testing.T) {
	for _, name := range []string{"valid-everything.yaml", "valid-capture.yaml"} {
		t.Run(name, func(t *testing.T) {
			source, folder := t.TempDir(), t.TempDir()
			for _, file := range []string{name, "istio.yaml", "valid-users.csv", "valid-traffic.jsonl.zst"} {
				copyFile(t, filepath.Join("testdata", file), filepath.Join(source, file))
			}
			s := mustLoad(t, filepath.Join(source, name))
			text, err := s.Resolved("manifests.yaml")
			if err != nil {
				t.Fatal(err)
			}
			resolved := filepath.Join(folder, "scenario.yaml")
			if err := os.WriteFile(resolved, text, 0o600); err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join("testdata", "istio.yaml"), filepath.Join(folder, "manifests.yaml"))
			if err := os.RemoveAll(source); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(resolved); err == nil {
				t.Error("Load does not miss the files")
			}
			again, err := LoadResolved(resolved)
			if err != nil {
				t.Fatal(err)
			}
			names := cmp.Options{cmpopts.IgnoreFields(Scenario{}, "File"), cmpopts.IgnoreFields(MeshConfig{}, "ManifestFiles")}
			if d := cmp.Diff(s, again, ignoreMachinery, names); d != "" {
				t.Error(d)
			}
		})
	}
}

// A traffic file in the run folder is named relative to it, so that the scenario is good wherever the folder is moved to.
func TestRunFolderThatIsMoved(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "run")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join("testdata", "istio.yaml"), filepath.Join(folder, "manifests.yaml"))
	s := mustLoad(t, filepath.Join("testdata", "valid-capture.yaml"))
	elsewhere := s.Capture.File
	s.Capture.File = filepath.Join(folder, "traffic.jsonl.zst")
	copyFile(t, elsewhere, s.Capture.File)
	text, err := s.ResolvedIn(folder)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "scenario.yaml"), text, 0o600)
	}
	moved := filepath.Join(root, "moved")
	if err = errors.Join(err, os.Rename(folder, moved)); err != nil {
		t.Fatal(err)
	}
	again, err := Load(filepath.Join(moved, "scenario.yaml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if want := filepath.Join(moved, "traffic.jsonl.zst"); again.Capture.File != want || strings.Contains(string(text), root) {
		t.Errorf("the capture is %s, want %s\n%s", again.Capture.File, want, text)
	}
	for name, file := range map[string]string{"elsewhere": elsewhere, "beside the folder": folder + "-2", "above it": filepath.Join(root, "traffic.jsonl.zst")} {
		if got := within(folder, file); got != file {
			t.Errorf("%s: %s is named %s", name, file, got)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The schema must take every valid scenario and refuse those whose fault lies in the form of the file alone.
func TestSchema(t *testing.T) {
	schema := compileSchema(t)
	for _, file := range valid(t) {
		if !isScenario(file) {
			continue
		}
		if err := schema.Validate(plain(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, name := range []string{"a-word", "api-version", "kind", "unknown-keys", "units", "types", "text", "missing-keys", "mix-and-capture",
		"no-traffic", "weights-odd", "arrivals", "stages-empty", "sending", "within-range", "objectives", "impact", "manifests-empty", "latency", "comparison", "capture-keys"} {
		if err := schema.Validate(plain(t, filepath.Join("testdata", "invalid-"+name+".yaml"))); err == nil {
			t.Errorf("invalid-%s: the schema takes it", name)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plain is a YAML file as JSON's types.
func plain(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Whatever the file, Parse does not panic, tells faults at their places only, and what it takes survives Resolved.
func FuzzParse(f *testing.F) {
	for _, file := range append(glob(f, filepath.Join("testdata", "*.yaml")), glob(f, exampleFiles)...) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("scenario.yaml", data, "testdata")
		if err != nil {
			var faults diag.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("%T: %v", err, err)
			}
			for _, fault := range faults {
				if fault.File == "" || fault.Line < 1 || fault.Msg == "" {
					t.Fatalf("fault without a place: %+v", fault)
				}
			}
			return
		}
		text, err := s.Resolved("")
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("resolved.yaml", text, "testdata")
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		names := cmp.Options{cmpopts.IgnoreFields(Scenario{}, "File"), cmpopts.IgnoreFields(MeshConfig{}, "ManifestFiles")}
		if d := cmp.Diff(s, again, ignoreMachinery, names); d != "" {
			t.Fatalf("%s\n%s", d, text)
		}
	})
}

// contractSample is the sample of the format's description, whole.
const contractSample = `apiVersion: umbra/v1
kind: Scenario
name: canary-10
mesh:
  manifests: [istio.yaml]         # the user's own VirtualService, DestinationRule, Gateway, applied as they are
  host: my-app.example.com
  versions: {primary: v1, shadow: v2}
  app: {latency: {v1: 2ms, v2: 3ms}}   # only where umbra's own app is deployed
traffic:
  mix:
    - {name: list, weight: 70, path: '/api/items?page={{ int 1 50 }}'}
    - {name: buy, weight: 30, method: POST, path: /api/orders, headers: {content-type: application/json}, body: '{"sku":"{{ pick "a" "b" }}"}'}
  # or: capture: {file: shop.pcapng, speed: 2}
load:
  arrivals: poisson               # constant | poisson | captured
  connections: 32
  timeout: 2s
  seed: 7
  stages: [{rate: 200, for: 10s}, {rate: 200, to: 1000, for: 20s}]
checks:
  fraction: {within: 1}           # percentage points around what the mesh is configured for
  impact: {pairs: 40, block: 2s, margins: {p50: 5%, p90: 'max(5%, 0.1ms)', p99: 10%}}   # two pairs make a quadruple
  objectives: [{quantile: 99, under: 50ms}, {errors: 0.1}]
`

// The sample of the contract loads.
func TestContractSample(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sample.yaml")
	if err := os.WriteFile(file, []byte(contractSample), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(plain(t, file)); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
	s, err := Parse("sample.yaml", []byte(contractSample), "testdata")
	if err != nil {
		t.Fatal(err)
	}
	if s.Load.Stages[1] != (Stage{200, 1000, 20 * time.Second}) || s.Checks.Fraction.Within != 1 || len(s.Checks.Objectives) != 2 {
		t.Errorf("got %+v", s)
	}
	want := &ImpactCheck{Pairs: 40, Block: 2 * time.Second, Settle: 400 * time.Millisecond, Errors: 0.1, Controls: ControlsEach, Uploads: []int{0, 64 << 10, 1 << 20, 8 << 20, 32 << 20},
		Margins: []impact.Margin{{Quantile: 50, Percent: 5, Asked: true}, {Quantile: 90, Percent: 5, Floor: 100 * time.Microsecond, Asked: true}, {Quantile: 99, Percent: 10, Asked: true}}}
	if diff := cmp.Diff(want, s.Checks.Impact); diff != "" {
		t.Error(diff)
	}
}
