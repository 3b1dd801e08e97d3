package istio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       map[string]any
	}{
		{"empty", "", nil},
		{"comments only", "# nothing\n", nil},
		{"null", "~\n", nil},
		{"an empty mapping", "{}\n", map[string]any{}},
		{
			"what istiod's chart knows",
			"telemetry: {enabled: false}\nenv: {PILOT_ENABLE_ALPN_FILTER: \"false\"}\npilot: {traceSampling: 7}\nprofile: demo\npdb: {minAvailable: 1}\n",
			map[string]any{
				"telemetry": map[string]any{"enabled": false}, "env": map[string]any{"PILOT_ENABLE_ALPN_FILTER": "false"},
				"pilot": map[string]any{"traceSampling": 7.0}, "profile": "demo", "pdb": map[string]any{"minAvailable": 1.0},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Values("values.yaml", []byte(c.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			s := plainSettings
			s.Values = got
			if _, err := Render(s); err != nil {
				t.Errorf("they cannot be rendered: %v", err)
			}
		})
	}
}

func TestValuesRefuses(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"no YAML", "env:\n  a: b: c\n", "values.yaml:2: not valid YAML"},
		{"a key that the chart does not know", "env: {}\ntelemtry: {enabled: false}\n", `values.yaml:2:1: istiod's chart has no value "telemtry"; did you mean telemetry?`},
		{"the values of another chart", "spec: {profile: demo}\n", `values.yaml:1:1: istiod's chart has no value "spec"`},
		{"a list", "- a\n", "values.yaml:1:1: Helm values are a mapping"},
		{"a word", "env\n", "values.yaml:1:1: Helm values are a mapping"},
		{"two documents", "env: {}\n---\nenv: {}\n", "values.yaml:2: a second YAML document"},
		{"a key that stands twice", "env: {}\nenv: {}\n", `values.yaml:2: mapping key "env" already defined at line 1`},
		{"a key that stands twice, deep", "env:\n  A: b\n  A: c\n", `values.yaml:3: mapping key "A"`},
		{"the charts' own key", "_internal_defaults_do_not_set: {}\n", "no value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Values("values.yaml", []byte(c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Values gives %v and the error %v, want one with %q", got, err, c.want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	base := map[string]any{"a": map[string]any{"b": 1, "c": 2}, "d": []any{1}, "e": 1}
	over := map[string]any{"a": map[string]any{"c": 3, "f": 4}, "d": []any{2}, "e": map[string]any{"g": 1}}
	want := map[string]any{"a": map[string]any{"b": 1, "c": 3, "f": 4}, "d": []any{2}, "e": map[string]any{"g": 1}}
	if diff := cmp.Diff(want, merge(base, over)); diff != "" {
		t.Errorf("merge (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"b": 1, "c": 2}, base["a"]); diff != "" {
		t.Errorf("the base was changed (-want +got):\n%s", diff)
	}
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{"", "env: {A: b}", "a: &a [*a]", "<<: {env: {}}", "global: {hub: x}\n---\n", "- 1", "env: {}\nenv: {}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := Values("values.yaml", data)
		if err != nil && !strings.Contains(err.Error(), "values.yaml") {
			t.Errorf("the error does not name the file: %v", err)
		}
		if err == nil {
			s := plainSettings
			s.Values = values
			_ = s.checkValues()
			merge(s.controlValues(), values)
		}
	})
}
