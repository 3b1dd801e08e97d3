package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadRules(t *testing.T) {
	const text = `
defaults: off
keep: [X-Api-Key]
headers: [X-Tenant, {name: X-Card, keep: class}, {name: X-Debug, drop: true}]
query: &names [email]
form: *names
json: ['$.user.email', {path: '$..card', keep: length}]
patterns: [{match: '/users/([^/]+)', in: [path, body], group: 1}]
digests: keyed
`
	want := Rules{
		NoDefaults: true, Keep: []string{"X-Api-Key"}, KeyedDigests: true,
		Headers:  []Name{{Name: "X-Tenant"}, {Name: "X-Card", Keep: KeepClass}, {Name: "X-Debug", Drop: true}},
		Query:    []Name{{Name: "email"}},
		Form:     []Name{{Name: "email"}},
		JSON:     []Path{{Path: "$.user.email"}, {Path: "$..card", Keep: KeepLength}},
		Patterns: []Pattern{{Match: "/users/([^/]+)", In: []Part{InPath, InBody}, Group: 1}},
	}
	got, err := ReadRules("r.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRulesFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "r.yaml:1:1: the file is empty"},
		{"no YAML", "headers: [", "r.yaml:1:1: not valid YAML"},
		{"no mapping", "- a", "r.yaml:1:1: want the rules, a mapping, got a list"},
		{"unknown key", "header: [a]", `r.yaml:1:1: unknown key "header" in the rules; did you mean "headers"?`},
		{"unknown inner key", "query: [{name: a, kep: class}]", `r.yaml:1:19: unknown key "kep" in an entry of query; did you mean "keep"?`},
		{"twice", "query: [a]\nquery: [b]", "r.yaml:2:1: query is given twice"},
		{"no list", "query: a", `r.yaml:1:8: query: want a list like [a, b], got "a"`},
		{"no text", "query: [1]", `r.yaml:1:9: query: want text, got "1"`},
		{"nothing", "query: [~]", `r.yaml:1:9: query: want text, got nothing`},
		{"blank", "query: ['']", `r.yaml:1:9: query: want text, got none`},
		{"no name", "query: [{keep: class}]", "r.yaml:1:9: query: an empty name"},
		{"keep", "query: [{name: a, keep: all}]", `r.yaml:1:25: keep: want one of length, class, got "all"`},
		{"drop", "query: [{name: a, drop: x}]", `r.yaml:1:25: drop: want one of true, false, got "x"`},
		{"keep and drop", "query: [{name: a, drop: true, keep: class}]", "r.yaml:1:9: query: a: what is dropped keeps nothing"},
		{"defaults", "defaults: none", `r.yaml:1:11: defaults: want one of on, off, got "none"`},
		{"path", "json: ['$.a', '$.a[?(@.b)]']", `r.yaml:1:15: json: "$.a[?(@.b)]", character 4: want an index`},
		{"pattern", "patterns: [{match: '(', in: [body]}]", "r.yaml:1:12: patterns: error parsing regexp"},
		{"group", "patterns: [{match: 'a', in: [body], group: 1}]", `r.yaml:1:12: patterns: "a" has groups 0 to 0; 1 is none`},
		{"negative group", "patterns: [{match: 'a', in: [body], group: -1}]", `r.yaml:1:44: group: want the number`},
		{"part", "patterns: [{match: 'a', in: [bodies]}]", `r.yaml:1:30: in: want one of path, query, headers, body, got "bodies"`},
		{"no part", "patterns: [{match: 'a'}]", `r.yaml:1:12: patterns: "a" has no place`},
		{"kept and redacted", "keep: [a]\nheaders: [A]", "r.yaml:1:8: keep: a is among the headers to redact too"},
		{"second document", "query: [a]\n---\nquery: [b]", "a second YAML document begins here"},
		{"large", strings.Repeat("#", maxRules+1), "r.yaml: is larger than 1 MiB"},
		{"all at once", "query: 1\nform: 2", "form: want a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadRules("r.yaml", strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Rules that are read make a Redactor.
func FuzzRules(f *testing.F) {
	for _, seed := range []string{leakRules, "defaults: off", "query: &a [*a]", "{json: [$..a], patterns: [{match: '(?i)a', in: [body]}]}", "a: &a\n<<: *a", "keep: [a]\nheaders: [{name: b, keep: class}]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ReadRules("r.yaml", strings.NewReader(text))
		if err != nil {
			return
		}
		if _, err := New(rules, testKey); err != nil {
			t.Errorf("rules that are read are refused: %v", err)
		}
	})
}

// What a path selects is gone, what is not JSON is an error, and the rest of the text stays JSON.
func FuzzJSONPath(f *testing.F) {
	for _, seed := range [][2]string{{"$.a", `{"a":1}`}, {"$..a..b", `{"a":{"a":{"b":[true,"x"]}}}`}, {"$[*][0]", `[[1.5e3,2]]`}, {"$", `"\u0061"`}, {`$["a"]..*`, `{"a":{"":-0}}`}} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, path string, text []byte) {
		r, err := New(Rules{JSON: []Path{{Path: path}}}, testKey)
		if err != nil {
			return
		}
		redacted, err := r.jsonText(text, r.paths, inBody, 0)
		if err != nil {
			return
		}
		if _, err := r.jsonText(redacted, r.paths, inBody, 0); err != nil {
			t.Errorf("%q became %q: %v", text, redacted, err)
		}
	})
}
