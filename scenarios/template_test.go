package scenarios

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// usersCSV has a row that every place treats in its own way.
const usersCSV = "id,name\n7,Ada\n8,\"Zoë & Söhne / Co?\"\n9,x\n"

func csvDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), []byte(usersCSV), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rendered makes the template's text for the first n requests of an entry.
func rendered(t *testing.T, text string, at place, dir string, n int) []string {
	t.Helper()
	tpl, slips := compile(text, at, &tables{dir: dir})
	if len(slips) > 0 {
		t.Fatalf("compile(%q): %v", text, slips)
	}
	var out []string
	for i := range n {
		d := draw{random(mix64(uint64(i))), uint64(i)}
		out = append(out, string(tpl.render(nil, &d)))
	}
	return out
}

func TestTemplateValues(t *testing.T) {
	dir := csvDir(t)
	tests := []struct {
		name, text string
		at         place
		want       string // a regular expression of every value
		distinct   int    // how many different values 1000 requests have, at least
	}{
		{"literal", "/a/b?c=%20", inPath, `/a/b\?c=%20`, 1},
		{"int", "/{{ int 1 3 }}", inPath, `/[123]`, 3},
		{"int of one", "{{int 5 5}}", inBody, `5`, 1},
		{"int below zero", "{{ int -2 -1 }}", inBody, `-[12]`, 2},
		{"int at the edges", "{{ int -9223372036854775808 9223372036854775806 }}", inBody, `-?[0-9]+`, 1000},
		{"pick", `{{ pick "a" "b" "c" }}`, inBody, `[abc]`, 3},
		{"pick in a path", `/{{ pick "a b" "c/d" }}`, inPath, `/(a%20b|c%2Fd)`, 2},
		{"pick in a query", `/?q={{ pick "a b" "c&d" }}`, inPath, `/\?q=(a\+b|c%26d)`, 2},
		{"pick in a body", `{{ pick "a b" "c&d" }}`, inBody, `(a b|c&d)`, 2},
		{"pick in a header", `{{ pick "a b" "c&d" }}`, inHeader, `(a b|c&d)`, 2},
		{"raw quotes", "{{ pick `\"` }}", inBody, `"`, 1},
		{"uuid", "{{ uuid }}", inBody, `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`, 1000},
		{"hex", "{{ hex 17 }}", inBody, `[0-9a-f]{17}`, 1000},
		{"seq", "n{{ seq }}", inBody, `n[0-9]+`, 1000},
		{"braces themselves", `{{ "{{" }} }}`, inBody, `\{\{ }}`, 1},
		{"no spaces", "{{seq}}{{seq}}", inBody, `[0-9]+`, 1000},
		{"csv in a path", `/{{ csv "users.csv" "name" }}`, inPath, `/(Ada|Zo%C3%AB%20&%20S%C3%B6hne%20%2F%20Co%3F|x)`, 3},
		{"csv in a query", `/?n={{ csv "users.csv" "name" }}`, inPath, `/\?n=(Ada|Zo%C3%AB\+%26\+S%C3%B6hne\+%2F\+Co%3F|x)`, 3},
		{"csv in a body", `{{ csv "users.csv" "name" }}`, inBody, `(Ada|Zoë & Söhne / Co\?|x)`, 3},
		{"csv rows stay together", `{{ csv "users.csv" "id" }}{{ csv "users.csv" "name" }}`, inBody, `(7Ada|8Zoë & Söhne / Co\?|9x)`, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			values := rendered(t, tt.text, tt.at, dir, 1000)
			re := regexp.MustCompile("^(?:" + tt.want + ")$")
			for _, v := range values {
				if !re.MatchString(v) {
					t.Fatalf("%q made %q, want %s", tt.text, v, re)
				}
			}
			slices.Sort(values)
			if n := len(slices.Compact(values)); n < tt.distinct {
				t.Errorf("%d different values, want at least %d", n, tt.distinct)
			}
		})
	}
}

func TestTemplateSeqAndRowsInOrder(t *testing.T) {
	got := rendered(t, `{{ seq }}:{{ csv "users.csv" "id" }}`, inBody, csvDir(t), 5)
	want := []string{"0:7", "1:8", "2:9", "3:7", "4:8"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The share of each value must be even: a chi-squared statistic with 9 degrees of freedom exceeds 27.88 once in a
// thousand (NIST/SEMATECH e-Handbook, 1.3.6.7.4). The draws are seeded, so the test cannot fail by chance.
func TestTemplateIntIsEven(t *testing.T) {
	const n = 10_000
	counts := map[string]int{}
	for _, v := range rendered(t, "{{ int 0 9 }}", inBody, "", n) {
		counts[v]++
	}
	chi := 0.0
	for _, c := range counts {
		chi += (float64(c) - n/10) * (float64(c) - n/10) / (n / 10)
	}
	if len(counts) != 10 || chi > 27.88 {
		t.Errorf("counts %v: chi-squared %.1f", counts, chi)
	}
}

func TestTemplateSlips(t *testing.T) {
	dir := csvDir(t)
	if err := os.WriteFile(filepath.Join(dir, "bare.csv"), []byte("id\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ragged.csv"), []byte("a,b\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lines.csv"), []byte("v\nok\n\"a\nb\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		at         place
		offset     int
		want       string
	}{
		{"not closed", "/a{{ int 1 2", inPath, 2, "not closed"},
		{"empty", "/{{ }}", inPath, 1, "empty"},
		{"unknown function", "/{{ itn 1 2 }}", inPath, 4, `did you mean "int"`},
		{"unknown function far from any", "/{{ frobnicate }}", inPath, 4, "the functions are int, pick"},
		{"int with one", "/{{ int 1 }}", inPath, 4, "2 whole numbers, got 1"},
		{"int with text", `/{{ int "1" 2 }}`, inPath, 8, "whole numbers"},
		{"int with a fraction", "/{{ int 1.5 2 }}", inPath, 8, "whole numbers"},
		{"int turned round", "/{{ int 5 1 }}", inPath, 4, "lowest number first"},
		{"int of everything", "/{{ int -9223372036854775808 9223372036854775807 }}", inPath, 4, "lowest number first"},
		{"hex 0", "/{{ hex 0 }}", inPath, 8, "1 to 4096 digits"},
		{"hex too long", "/{{ hex 4097 }}", inPath, 8, "1 to 4096 digits"},
		{"seq with an argument", "/{{ seq 1 }}", inPath, 8, "no argument"},
		{"pick of nothing", "/{{ pick }}", inPath, 4, "at least one text"},
		{"pick without quotes", `/{{ pick a }}`, inPath, 9, `write "a"`},
		{"quote not closed", `/{{ pick "a }}`, inPath, 9, "not closed"},
		{"text with a word behind", `/{{ "a" b }}`, inPath, 4, "no function"},
		{"csv without column", `/{{ csv "users.csv" }}`, inPath, 4, "a file and a column"},
		{"csv unknown file", `/{{ csv "nobody.csv" "id" }}`, inPath, 8, "cannot be read"},
		{"csv unknown column", `/{{ csv "users.csv" "mail" }}`, inPath, 20, "names id, name"},
		{"csv without rows", `/{{ csv "bare.csv" "id" }}`, inPath, 8, "no rows"},
		{"csv ragged", `/{{ csv "ragged.csv" "a" }}`, inPath, 8, "no CSV"},
		{"csv that breaks a header", `{{ csv "lines.csv" "v" }}`, inHeader, 7, "row 2"},
		{"pick that breaks a header", `{{ pick "a" "b\n" }}`, inHeader, 12, "cannot stand in a header"},
		{"line break in a header", "a\nb", inHeader, 1, "cannot stand in a header"},
		{"space in a path", "/a b", inPath, 2, "%20"},
		{"fragment", "/a#b", inPath, 2, "%23"},
		{"not ASCII", "/ä", inPath, 1, "%C3%A4"},
		{"half an escape", "/a%2", inPath, 2, "%25"},
		{"space by a quoted text", `/{{ " " }}`, inPath, 4, "%20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, slips := compile(tt.text, tt.at, &tables{dir: dir})
			if len(slips) != 1 || slips[0].offset != tt.offset || !strings.Contains(slips[0].msg, tt.want) {
				t.Errorf("compile(%q) gives %+v, want one at %d with %q", tt.text, slips, tt.offset, tt.want)
			}
		})
	}
}

func TestTemplateAllSlipsAtOnce(t *testing.T) {
	_, slips := compile("/{{ a }}/{{ int }}", inPath, &tables{})
	if len(slips) != 2 {
		t.Errorf("got %v, want two", slips)
	}
}

// Whatever the text, compile gives a template that renders, twice the same, or slips inside the text.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "/", "/a?b={{ int 1 50 }}", `{"sku":"{{ pick "a" "b" }}"}`, "{{uuid}}{{seq}}{{hex 8}}", `{{ csv "users.csv" "id" }}`,
		"{{", "}}", "{{ }}", `{{ "{{" }}`, "{{ int 9 1 }}", "%", "/%4", "{{ pick `a` }}", "{{ hex 99999 }}", "ä{{ x",
	} {
		for at := range 4 {
			f.Add(seed, at)
		}
	}
	dir := csvDir(f)
	f.Fuzz(func(t *testing.T, text string, at int) {
		where := place(uint(at) % 4)
		tpl, slips := compile(text, where, &tables{dir: dir})
		for _, s := range slips {
			if s.offset < 0 || s.offset > len(text) || s.msg == "" {
				t.Fatalf("slip %+v of %q", s, text)
			}
		}
		if len(slips) > 0 {
			return
		}
		one, two := draw{1, 2}, draw{1, 2}
		first, second := string(tpl.render(nil, &one)), string(tpl.render(nil, &two))
		if first != second {
			t.Fatalf("%q makes %q and %q of one draw", text, first, second)
		}
		if where <= inQuery && strings.ContainsAny(first, " \r\n#") || where == inHeader && strings.ContainsAny(first, "\r\n") {
			t.Fatalf("%q makes %q", text, first)
		}
	})
}
