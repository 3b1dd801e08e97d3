package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"umbra/internal/compare"
	"umbra/internal/evidence"
	"umbra/internal/runs"
	"umbra/internal/trend"
)

// night is the i-th report of a series, with its times so many times those of the sample.
func night(i int, times float64) *Report {
	r := passing()
	r.Digests = &runs.Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "y"}
	r.Run.Started = r.Run.Started.AddDate(0, 0, i)
	r.Figures.Judged.Rows, r.Figures.Judged.NotOK = 19050, i%3
	r.Figures.Lag = latencyOf(19050, 0.02)
	l := &r.Figures.Response
	for _, p := range []*time.Duration{&l.P50, &l.P90, &l.P99, &l.P999} {
		*p = time.Duration(float64(*p) * times)
	}
	return r
}

func side(first int, times ...float64) (out []runs.Run) {
	for i, v := range times {
		out = append(out, night(first+i, v).Comparable(fmt.Sprintf("runs/%03d", first+i)))
	}
	return out
}

func comparison(t *testing.T) *Comparison {
	t.Helper()
	b := side(10, 1.21, 1.2, 1.23)
	for i := range b {
		b[i].Record.Version = "1.1"
	}
	r, err := compare.Compare(side(0, 1, 1.01, 0.99, 1.005), b, compare.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	return &Comparison{Result: r, LeftOut: []trend.Left{{Source: "runs/notes.txt", Why: "no run folder, and no report.json"}}}
}

func history(t *testing.T) *Trend {
	t.Helper()
	random, all := rand.New(rand.NewPCG(2, 2)), []runs.Run(nil)
	for i := range 20 {
		times := math.Exp(0.02 * random.NormFloat64())
		if i >= 13 {
			times *= 1.3
		}
		r := night(i, times).Comparable(fmt.Sprintf("runs/%03d", i))
		if i >= 13 {
			r.Record.Version = "1.1"
		}
		all = append(all, r)
	}
	few := night(30, 1).Comparable("runs/other")
	few.Name = "other"
	return &Trend{trend.Of(append(all, few), trend.Defaults())}
}

// written is what a renderer writes.
func written(t *testing.T, render func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func formats(t *testing.T, c *Comparison, r *Trend) map[string]string {
	t.Helper()
	return map[string]string{
		"compare.txt":  written(t, func(b *bytes.Buffer) error { return c.Text(b, false) }),
		"compare.md":   written(t, func(b *bytes.Buffer) error { return c.Markdown(b) }),
		"compare.html": written(t, func(b *bytes.Buffer) error { return c.HTML(b) }),
		"trend.txt":    written(t, func(b *bytes.Buffer) error { return r.Text(b, false, true) }),
		"trend.html":   written(t, func(b *bytes.Buffer) error { return r.HTML(b) }),
	}
}

func TestComparisonsAndTrends(t *testing.T) {
	for name, got := range formats(t, comparison(t), history(t)) {
		golden(t, name+".golden", []byte(got))
		if !strings.HasSuffix(name, ".txt") {
			continue
		}
		for _, line := range strings.Split(got, "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%s: a line of %d columns: %s", name, n, line)
			}
		}
	}
}

// flat is a rendering without its markup and its breaks of lines.
func flat(s string) string {
	s = regexp.MustCompile(`</?[a-z][^>]*>`).ReplaceAllString(s, " ")
	return strings.Join(strings.Fields(strings.NewReplacer("|", " ", "`", "", "*", "").Replace(html.UnescapeString(s))), " ")
}

// Every format has every figure.
func TestFormatsHaveTheSameFigures(t *testing.T) {
	c, r := comparison(t), history(t)
	for name, text := range formats(t, c, r) {
		got := flat(text)
		want := [][]string{}
		if strings.HasPrefix(name, "compare") {
			want = append(append(want, c.rows()...), c.sided()...)
			if !strings.Contains(got, flat(c.told())) {
				t.Errorf("%s lacks %s", name, c.told())
			}
		} else {
			want = append(want, seriesRows(&r.Groups[0])...)
			want = append(want, seriesRows(&r.Groups[1])...)
		}
		for _, row := range want {
			if line := flat(strings.Join(row, " ")); !strings.Contains(got, line) && !strings.Contains(name, ".txt") {
				t.Errorf("%s lacks %s", name, line)
			}
			for _, cell := range row[1:] {
				if !strings.Contains(got, flat(cell)) {
					t.Errorf("%s lacks %s", name, cell)
				}
			}
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if written(t, func(b *bytes.Buffer) error { return back.Text(b, false) }) != written(t, func(b *bytes.Buffer) error { return c.Text(b, false) }) {
		t.Error("JSON has not all that the text shows")
	}
	if data, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	var again Trend
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if written(t, func(b *bytes.Buffer) error { return again.HTML(b) }) != written(t, func(b *bytes.Buffer) error { return r.HTML(b) }) {
		t.Error("JSON has not all that the page shows")
	}
}

// What a trend finds is in every format, and where nothing can be told, none says that nothing changed.
func TestTrendTells(t *testing.T) {
	r := history(t)
	for name, text := range map[string]string{"text": written(t, func(b *bytes.Buffer) error { return r.Text(b, false, true) }), "page": written(t, func(b *bytes.Buffer) error { return r.HTML(b) })} {
		got := flat(text)
		for _, want := range []string{"runs/013", "umbra: 1.0 → 1.1", "worse", "nothing can be told of 1 run", "E-divisive"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
	if rows := seriesRows(&r.Groups[1]); rows[1][6] != "not told" {
		t.Errorf("%q of one run", rows[1])
	}
	if s := trace(&r.Groups[0].Series[0]); strings.Index(s, "|") != 13*len("▁") {
		t.Errorf("the change is marked elsewhere: %s", s)
	}
	long := &trend.Series{}
	for i := range 1000 {
		long.Values = append(long.Values, trend.Value{Run: i, Value: float64(i)})
	}
	if s := []rune(trace(long)); len(s) > traced || s[0] != '▁' || s[len(s)-1] != '█' {
		t.Errorf("%d letters: %s", len(s), string(s))
	}
}

// hostile are strings that a terminal, Markdown or a browser would act on.
var hostileWords = []string{"<script>alert(1)</script>", "\x1b[31mred\x07", "\u202egpj.exe", "`code` | cell", "@team", "**bold**", "[x](http://evil.example)", "http://evil.example", strings.Repeat("x", 1<<20)}

func TestComparisonsAreInert(t *testing.T) {
	word := strings.Join(hostileWords, " ")
	c, r := comparison(t), history(t)
	c.Headline, c.Figures[0].Name, c.Figures[1].Why, c.Figures[2].Unit = string(c.State)+": "+word, word, word, word
	c.A[0].Source, c.A[0].Name, c.B[0].Version = word, word, word
	c.Differences, c.Warnings, c.LeftOut = []runs.Difference{{What: word, A: word, B: word}}, []string{word}, []trend.Left{{Source: word, Why: word}}
	g := &r.Groups[0]
	r.Headline, g.Name, g.Runs[0].Source, g.Series[0].Name, g.Series[5].Why = word, word, word, word, word
	g.Runs[0].Verdicts[0].Name, g.Series[0].Changes[0].Source, g.Series[0].Changes[0].Differences = word, word, []runs.Difference{{What: word, A: word, B: word}}
	for name, got := range formats(t, c, r) {
		if len(got) > 1<<20 {
			t.Errorf("%s has %d bytes", name, len(got))
		}
		for _, no := range []string{"\x1b", "\x07", "\u202e", "<script"} {
			if strings.Contains(got, no) && !(no == "<script" && strings.HasSuffix(name, ".txt")) && !(no == "<script" && strings.HasSuffix(name, ".md")) {
				t.Errorf("%s has %q", name, no)
			}
		}
		if strings.HasSuffix(name, ".md") {
			outside := regexp.MustCompile("`[^`\n]*`").ReplaceAllString(got, "")
			for _, no := range []string{"<script", "@team", "**bold", "](", "http:"} {
				if strings.Contains(outside, no) {
					t.Errorf("%s has %q outside of code", name, no)
				}
			}
		}
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, err := night(0, 1).JSON()
	if err != nil {
		t.Fatal(err)
	}
	wrong := night(1, 1)
	wrong.Figures.Judged.NotOK = 1 << 20
	contradictory, err := wrong.JSON()
	if err != nil {
		t.Fatal(err)
	}
	write("a/"+evidence.Report, good)
	file := write("b.json", good)
	write("cut/"+evidence.Report, good[:len(good)/2])
	write("other/"+evidence.Report, []byte(`{"umbra":"report/v9"}`))
	write("wrong/"+evidence.Report, contradictory)
	write("killed/"+evidence.Run, []byte("{}"))
	write("empty/x", nil)
	write("notes.txt", []byte("mine"))
	found, left, err := Collect(dir)
	if err != nil || len(found) != 2 || found[0].Source != filepath.Join(dir, "a") || found[1].Source != file {
		t.Errorf("%v, %v", found, err)
	}
	want := map[string]string{"cut": "no report of umbra's: unexpected end", "other": `its format is "report/v9"`, "wrong": "contradict", "killed": "umbra report makes it", "empty": "no run folder", "notes.txt": "no run folder"}
	if len(left) != len(want) {
		t.Errorf("%d are left out, of %d", len(left), len(want))
	}
	for _, l := range left {
		if why := want[filepath.Base(l.Source)]; why == "" || !strings.Contains(l.Why, why) {
			t.Errorf("%s: %s", l.Source, l.Why)
		}
	}
	for _, path := range []string{filepath.Join(dir, "a"), file} {
		if found, _, err := Collect(path); err != nil || len(found) != 1 || found[0].Name != "canary-10" || found[0].Digests == nil {
			t.Errorf("%s: %v, %v", path, found, err)
		}
	}
	for _, path := range []string{filepath.Join(dir, "cut"), filepath.Join(dir, "notes.txt"), filepath.Join(dir, "gone")} {
		if _, _, err := Collect(path); err == nil {
			t.Errorf("%s is a run", path)
		}
	}
	// A report of an umbra that recorded no digests takes them from its folder.
	old := night(2, 1)
	old.Digests = nil
	data, err := old.JSON()
	if err != nil {
		t.Fatal(err)
	}
	write("old/"+evidence.Report, data)
	write("old/"+evidence.Scenario, []byte("name: canary-10\nload: {seed: 1}\n"))
	if found, _, err := Collect(filepath.Join(dir, "old")); err != nil || found[0].Digests == nil {
		t.Errorf("%v, %v", found, err)
	}
}
