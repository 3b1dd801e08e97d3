package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	goldmarkhtml "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"

	"umbra/internal/evidence"
)

// hostile are strings as they come from outside: paths, header values, error texts, names.
var hostile = map[string]string{
	"escape":     "\x1b]0;owned\x07\x1b[2J",
	"C1 control": "\u009b31mred\u009d0;owned\u009c",
	"newlines":   "a\r\nPASS\n\n# heading\n- item\n",
	"not UTF-8":  "\xff\xfe\xc0\xaf",
	"direction":  "\u202egnissap\u2066\u200f",
	"invisible":  "a\u200bb\u2060c\ufeff\u00ad\U000e0041",
	"null":       "\x00",
	"markup":     `</details><script>alert(1)</script><img src=x onerror=alert(1)> &lt;b&gt; <!-- --> ]]> <?x?>`,
	"markdown":   "`code` ``two`` | cell | [a](javascript:alert(1)) ![i](http://evil.example/x) **b** _e_ ~~s~~ $x$ \\",
	"references": "@team #1 GH-1 0123456789abcdef0123456789abcdef01234567 https://evil.example/ www.evil.example me@evil.example :smile: org/repo#2",
	"blocks":     "1. one",
	"a rule":     "---",
	"a heading":  "# one",
	"metrics":    "\"} 1\nowned{a=\"b\" \\",
	"spaces":     "   \t ",
	"long":       strings.Repeat("x", 1<<20),
	"long words": strings.Repeat("@\u202e ", 1<<18),
	"long code":  strings.Repeat("`|", 1<<19),
}

// spoiled is sample with s in every string that comes from outside.
func spoiled(s string) *Report {
	r := sample()
	fill(reflect.ValueOf(r).Elem(), s)
	r.Umbra = Format
	return r
}

// fill puts s into every string of v, but those of a type of their own, which are umbra's words.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() && v.CanSet() {
			v.SetString(s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), s)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), s)
		}
	case reflect.Map:
		if v.Type().Key() == reflect.TypeFor[string]() && v.Len() > 0 {
			of := v.MapIndex(v.MapKeys()[0])
			v.Clear()
			v.SetMapIndex(reflect.ValueOf(s), of)
		}
	}
}

// guards look for what a string from outside did in a format. They are given what the format is with a harmless string in its place.
var guards = map[string]func(t *testing.T, got, harmless []byte){
	"text":            guardText,
	"terminal":        guardTerminal,
	evidence.Report:   guardJSON,
	evidence.HTML:     guardHTML,
	evidence.Markdown: guardMarkdown,
	evidence.JUnit:    guardXML,
	evidence.Metrics:  guardPrometheus,
}

// What comes from outside is inert in every format.
func TestHostileStrings(t *testing.T) {
	all := append([]file{
		{"text", func(r *Report, w io.Writer) error { return r.Text(w, false) }},
		{"terminal", func(r *Report, w io.Writer) error { return r.Text(w, true) }},
	}, files...)
	for _, f := range all {
		guard := guards[f.name]
		if guard == nil {
			t.Fatalf("nothing looks for hostile strings in %s: add it to guards", f.name)
		}
		harmless := inFormat(t, f, spoiled("x"))
		for name, s := range hostile {
			if f.name == evidence.Report { // which has all of it, in hundreds of places
				s = s[:min(len(s), 1<<15)]
			}
			t.Run(f.name+"/"+name, func(t *testing.T) {
				got := inFormat(t, f, spoiled(s))
				guardCharacters(t, f.name, got)
				guard(t, got, harmless)
			})
		}
	}
}

// guardCharacters finds what a terminal would act on, whatever the format.
func guardCharacters(t *testing.T, format string, got []byte) {
	text := string(got)
	if format == "terminal" {
		text = regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(text, "")
	}
	if !utf8.ValidString(text) {
		t.Fatal("not UTF-8")
	}
	if i := strings.IndexFunc(text, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
		t.Fatalf("%q is not inert", text[max(0, i-20):min(len(text), i+20)])
	}
	if format != evidence.Report && len(got) > 512<<10 { // report.json has all of it
		t.Errorf("%d bytes", len(got))
	}
}

func guardText(t *testing.T, got, _ []byte) {
	for line := range strings.Lines(string(got)) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Fatalf("a line of %d columns", n)
		}
	}
}

func guardTerminal(t *testing.T, got, _ []byte) {
	for line := range strings.Lines(string(got)) {
		if visible(strings.TrimSuffix(line, "\n")) > width {
			t.Fatalf("%d columns: %q", visible(line), line)
		}
	}
}

func guardJSON(t *testing.T, got, _ []byte) {
	var r Report
	if err := json.Unmarshal(got, &r); err != nil {
		t.Fatal(err)
	}
	again, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var one, other any
	if err := errors.Join(json.Unmarshal(got, &one), json.Unmarshal(again, &other)); err != nil || !reflect.DeepEqual(one, other) {
		t.Errorf("it does not say the same once more, %v", err)
	}
}

// guardXML sees that the elements are those of the harmless one, in their order.
func guardXML(t *testing.T, got, harmless []byte) {
	if diff := cmp.Diff(elements(t, harmless), elements(t, got)); diff != "" {
		t.Error(diff)
	}
}

func elements(t *testing.T, data []byte) (out []string) {
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			for _, a := range e.Attr {
				name += " " + a.Name.Local
			}
			out = append(out, name)
		case xml.Directive, xml.Comment:
			t.Errorf("%v", token)
		}
	}
}

// guardHTML sees that the page has the tags and the attributes of the harmless one, in their order.
func guardHTML(t *testing.T, got, harmless []byte) {
	if diff := cmp.Diff(tokens(t, harmless), tokens(t, got)); diff != "" {
		t.Error(diff)
	}
}

func tokens(t *testing.T, data []byte) (out []string) {
	z := html.NewTokenizer(bytes.NewReader(data))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			return out
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			token := z.Token()
			name := token.Data
			for _, a := range token.Attr {
				name += " " + a.Key
			}
			out = append(out, name)
		case html.CommentToken:
			t.Errorf("a comment: %s", z.Text())
		}
	}
}

func guardPrometheus(t *testing.T, got, harmless []byte) {
	count := func(data []byte) map[string]int {
		series := map[string]int{}
		for name, family := range parsed(t, data) {
			series[name] = len(family.Metric)
		}
		return series
	}
	if diff := cmp.Diff(count(harmless), count(got)); diff != "" {
		t.Error(diff)
	}
}

// guardMarkdown sees that GitHub's Markdown makes the same of it as of the harmless one, and finds nothing to link or to mention.
func guardMarkdown(t *testing.T, got, harmless []byte) {
	if len(got) >= 60_000 {
		t.Fatalf("%d bytes", len(got))
	}
	want, is := tags(t, harmless), tags(t, got)
	if cut := bytes.Contains(got, []byte("left out, for the length")); !cut {
		if diff := cmp.Diff(want, is); diff != "" {
			t.Error(diff)
		}
	}
	for _, tag := range is {
		if !slices.Contains(want, tag) && strings.Trim(tag, "/") != "em" { // which says that lines are left out
			t.Errorf("a tag %s", tag)
		}
	}
}

// act finds what GitHub makes of the text outside code: mentions, references, e-mail and web addresses.
var act = regexp.MustCompile(`@|#\d|://|(?i:www\.)|(?i:\bgh-\d)|\b[0-9a-f]{7,40}\b|:[a-z]+:`)

// tags are the HTML elements that Markdown comes to, but for code, which is where the words of hostile strings are put.
func tags(t *testing.T, markdown []byte) (out []string) {
	var page bytes.Buffer
	m := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(goldmarkhtml.WithUnsafe()))
	if err := m.Convert(markdown, &page); err != nil {
		t.Fatal(err)
	}
	z := html.NewTokenizer(&page)
	code := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if token.Data == "code" {
				code++
				continue
			}
			if len(token.Attr) > 0 && token.Attr[0].Key != "align" && token.Attr[0].Key != "style" {
				t.Errorf("an element %s", token)
			}
			out = append(out, token.Data)
		case html.EndTagToken:
			token := z.Token()
			if token.Data == "code" {
				code--
				continue
			}
			out = append(out, "/"+token.Data)
		case html.TextToken:
			if text := z.Token().Data; code == 0 && act.MatchString(text) {
				t.Errorf("GitHub would act on %q", text)
			}
		case html.CommentToken, html.DoctypeToken:
			t.Errorf("%s", z.Token())
		}
	}
}
