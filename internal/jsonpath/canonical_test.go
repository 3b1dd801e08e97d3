package jsonpath

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func parseAll(t testing.TB, texts ...string) (paths []Path) {
	t.Helper()
	for _, text := range texts {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

func TestCanonical(t *testing.T) {
	for name, c := range map[string]struct{ text, without, want string }{
		"sorted and without blanks":  {" {\"b\" : 1,\n\"a\":[ true , null ]}\t\n", "", `{"a":[true,null],"b":1}`},
		"numbers as written":         {`[1,1.0,1e0,-0,12345678901234567890.10]`, "", `[1,1.0,1e0,-0,12345678901234567890.10]`},
		"escapes":                    {`{"\u0061\/":"\u00e9<&>\ud83d\ude00"}`, "", `{"a/":"é<&>😀"}`},
		"the last of a name":         {`{"a":1,"b":2,"a":3}`, "", `{"a":3,"b":2}`},
		"a scalar":                   {`"x"`, "", `"x"`},
		"a member":                   {`{"time":"now","a":1}`, "$.time", `{"a":1}`},
		"a member that is not there": {`{"a":1}`, "$.time", `{"a":1}`},
		"with all below it":          {`{"meta":{"a":[1,2]},"a":1}`, "$.meta", `{"a":1}`},
		"only at its place":          {`{"a":{"time":1},"time":2}`, "$.time", `{"a":{"time":1}}`},
		"at any depth":               {`{"a":{"time":1,"b":[{"time":3}]},"time":2}`, "$..time", `{"a":{"b":[{}]}}`},
		"of all elements":            {`{"items":[{"id":1,"x":1},{"id":2}]}`, "$.items[*].id", `{"items":[{"x":1},{}]}`},
		"an element":                 {`[1,2,3]`, "$[1]", `[1,3]`},
		"all elements":               {`{"a":[1,2]}`, "$.a[*]", `{"a":[]}`},
		"several":                    {`{"a":1,"b":{"c":2,"d":3}}`, "$.a $.b.c", `{"b":{"d":3}}`},
		"all members":                {`{"a":1,"b":2}`, "$.*", `{}`},
		"an index of an object":      {`{"0":1}`, "$[0]", `{"0":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Canonical([]byte(c.text), parseAll(t, strings.Fields(c.without)...))
			if !ok || string(got) != c.want {
				t.Errorf("%s, %v, want %s", got, ok, c.want)
			}
		})
	}
}

func TestCanonicalOfWhatHasNone(t *testing.T) {
	for name, c := range map[string]struct{ text, without string }{
		"nothing":           {"", ""},
		"text":              {"ok", ""},
		"cut":               {`{"a":1`, ""},
		"two values":        {`{} {}`, ""},
		"no UTF-8":          {"\"\xff\"", ""},
		"half a surrogate":  {`{"a":["\ud800"]}`, ""},
		"in a name":         {`{"\udc00":1}`, ""},
		"all of it is left": {`{"a":1}`, "$.a $"},
		"too deep":          {strings.Repeat("[", 1<<15) + strings.Repeat("]", 1<<15), "$..a"},
	} {
		if got, ok := Canonical([]byte(c.text), parseAll(t, strings.Fields(c.without)...)); ok {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The form means the same as the text, is its own form, and does not depend on blanks; a path takes nothing away that another
// leaves, and nothing a second time.
func FuzzCanonical(f *testing.F) {
	for _, seed := range [][2]string{{`{"b":1,"a":[1e5,{"time":"x"}]}`, "$..time"}, {`[[1],[2]]`, "$[*][0]"}, {`"\u0061\ud83d\ude00"`, "$"}, {`{"a":{"a":{"b":-0}}}`, "$..a..b"},
		{`{"":null,"a":1,"a":2}`, `$[""]`}, {"\"\xff\"", "$.*"}, {"1 2", "$.a"}} {
		f.Add([]byte(seed[0]), seed[1])
	}
	f.Fuzz(func(t *testing.T, text []byte, without string) {
		form, ok := Canonical(text, nil)
		if !ok {
			return
		}
		if a, b := decoded(t, text), decoded(t, form); !reflect.DeepEqual(a, b) {
			t.Fatalf("%s became %s", text, form)
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, text, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		for _, same := range [][]byte{form, spaced.Bytes()} {
			if again, ok := Canonical(same, nil); !ok || !bytes.Equal(again, form) {
				t.Fatalf("%s became %s, and %s became %s", text, form, same, again)
			}
		}
		path, err := Parse(without)
		if err != nil {
			return
		}
		less, ok := Canonical(text, []Path{path})
		if ok == (len(path) == 0) || len(less) > len(form) {
			t.Fatalf("%s without %s: %s, %v", text, without, less, ok)
		}
		if fromForm, _ := Canonical(form, []Path{path}); !bytes.Equal(fromForm, less) {
			t.Fatalf("%s without %s: %s, and %s of its form", text, without, less, fromForm)
		}
	})
}

func decoded(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func BenchmarkCanonical(b *testing.B) {
	text := []byte(`{"method":"GET","path":"/api/items?page=3","body_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","body_bytes":0,"time":"2026-11-23T01:02:03.123456789Z"}`)
	paths := parseAll(b, "$.time", "$.items[*].id")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Canonical(text, paths); !ok {
			b.Fatal("no form")
		}
	}
}
