package reports

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A page holds all of its parts, and equal charts are equal bytes.
func TestPage(t *testing.T) {
	var before string
	for range 2 {
		picture, err := fragment("chart", example())
		if err != nil {
			t.Fatal(err)
		}
		p := page{Title: "<b>\u202e", Top: "<p>the answer</p>", Sections: []section{{"one", "First", picture}}, Foot: strings.Repeat("x", 1<<20)}
		var b bytes.Buffer
		if err := p.write(&b); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		for _, want := range []string{`<h1>&lt;b&gt;\u202e</h1>`, "<p>the answer</p>", `<a href="#one">First</a>`, `<section id="one"`, `<svg viewBox="0 0 400 250" role="img"`, "--back: #fff;"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not in %s", want, got)
			}
		}
		if len(got) > 1<<15 {
			t.Errorf("%d bytes, of a foot that is cut", len(got))
		}
		if before != "" && got != before {
			t.Error("equal pages differ")
		}
		before = got
	}
}

// Text has the contrast that WCAG 2.2 asks for at level AA (1.4.3: 4.5), and so have lines and symbols (1.4.11: 3), in both schemes. What
// is drawn in SVG no checker of pages looks at.
func TestContrast(t *testing.T) {
	style, err := assets.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(style), "prefers-color-scheme: dark")
	dark, _, also := strings.Cut(dark, "* {")
	if !found || !also {
		t.Fatal("the style has not two schemes")
	}
	for name, scheme := range map[string]map[string]float64{"light": luminances(t, light), "dark": luminances(t, dark)} {
		for foreground, least := range map[string]float64{"text": 4.5, "muted": 4.5, "link": 4.5, "pass": 4.5, "fail": 4.5, "inconclusive": 4.5, "invalid": 4.5, "not-tested": 4.5,
			"edge": 3, "s1": 3, "s2": 3, "s3": 3, "s4": 3, "s5": 3, "s6": 3} {
			for _, background := range []string{"back", "raised"} {
				a, b := scheme[foreground], scheme[background]
				if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); !(got >= least) || a == b {
					t.Errorf("%s: %s on %s: %.2f, want %g", name, foreground, background, got, least)
				}
			}
		}
	}
}

var colour = regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{3,6});`)

// luminances are the relative luminances of a scheme's colours, as WCAG defines them.
func luminances(t *testing.T, style string) map[string]float64 {
	out := map[string]float64{}
	for _, c := range colour.FindAllStringSubmatch(style, -1) {
		hex := c[2]
		if len(hex) == 3 {
			hex = strings.Join([]string{hex[:1], hex[:1], hex[1:2], hex[1:2], hex[2:], hex[2:]}, "")
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			v := float64(n) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		out[c[1]] = sum
	}
	return out
}
