package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/net/html"

	"umbra/internal/evidence"
	"umbra/internal/impact"
	"umbra/internal/verdict"
)

// inFormat renders r as one of the files.
func inFormat(t *testing.T, f file, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.render(r, &b); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return b.Bytes()
}

// One report, and every format of it to look at.
func TestFormats(t *testing.T) {
	for _, f := range files {
		golden(t, f.name+".golden", inFormat(t, f, sample()))
	}
}

// The folder holds every file as a whole, and nothing that was begun.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, evidence.Markdown)
	if err := os.WriteFile(stale, []byte(strings.Repeat("of an earlier report ", 1<<14)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(files) {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, f := range files {
		if got, err := os.ReadFile(filepath.Join(dir, f.name)); err != nil || !bytes.Equal(got, inFormat(t, f, sample())) {
			t.Errorf("%s: %v, %d bytes", f.name, err, len(got))
		}
	}
	if err := sample().Write(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is none was written to")
	}
}

// facts are the figures that every format has to tell, and alike.
type facts struct {
	Lead     string                   // the figures that carry the headline, one behind the other
	States   map[string]verdict.State // by verdict
	Response [3]string                // p50, p90 and p99 in milliseconds
	Mirrors  map[string]string        // estimate with bounds and what it is held against, by route and mirror
	Requests string                   // by outcome
}

// factsOf are those of a report.
func factsOf(r *Report) facts {
	f := facts{States: map[string]verdict.State{}, Mirrors: map[string]string{}}
	for i := range r.Lead {
		f.lead(&r.Lead[i])
	}
	for _, v := range r.Verdicts {
		f.States[v.Name] = v.State
		for i := range v.Items {
			if s := v.Items[i].Sampling; s != nil {
				f.Mirrors[strings.TrimSuffix(subject(&v.Items[i]), ": ")] = sampled(s) + ", " + programmed(s)
			}
		}
	}
	l := &r.Figures.Response
	f.Response = [3]string{ms(l.P50), ms(l.P90), ms(l.P99)}
	f.Requests = fmt.Sprintf("%d ok + %d error + %d timeout + %d in flight + %d unsent", r.Figures.OK, r.Figures.Error, r.Figures.Timeout, r.Figures.Inflight, r.Figures.Unsent)
	return f
}

func (f *facts) lead(l *Lead) {
	f.Lead = strings.TrimSpace(fmt.Sprintf("%s %s: %s, %s", f.Lead, l.Name, l.Value, l.Against))
}

// extractors read the facts out of a format again. A format that has lead figures only as numbers is told of what they are.
var extractors = map[string]func(t *testing.T, data []byte, lead []Lead) facts{
	"text":            textFacts,
	evidence.Report:   jsonFacts,
	evidence.HTML:     htmlFacts,
	evidence.Markdown: markdownFacts,
	evidence.JUnit:    junitFacts,
	evidence.Metrics:  prometheusFacts,
}

// Every format says the same.
func TestSameFigures(t *testing.T) {
	for name, r := range samples() {
		want := factsOf(r)
		if want.Lead == "" || len(want.States) < 5 || len(want.Mirrors) == 0 {
			t.Fatalf("%s has too few facts: %+v", name, want)
		}
		all := append([]file{{"text", nil}}, files...)
		for _, f := range all {
			extract := extractors[f.name]
			if extract == nil {
				t.Fatalf("nothing reads the figures out of %s: add it to extractors", f.name)
			}
			var data []byte
			if f.render == nil {
				data = []byte(rendered(t, r, false))
			} else {
				data = inFormat(t, f, r)
			}
			if diff := cmp.Diff(want, extract(t, data, r.Lead)); diff != "" {
				t.Errorf("%s, %s: (- report, + format)\n%s", name, f.name, diff)
			}
		}
	}
}

func jsonFacts(t *testing.T, data []byte, _ []Lead) facts {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return factsOf(&r)
}

var (
	stateLine  = regexp.MustCompile(`(?m)^  (\w+) +(PASS|FAIL|INCONCLUSIVE|INVALID|NOT TESTED) `)
	timesLine  = regexp.MustCompile(`response time, from due[ |]+\d+[ |]+([0-9.]+)[ |]+([0-9.]+)[ |]+([0-9.]+)`)
	countsLine = regexp.MustCompile(`= (\d+ ok \+ \d+ error \+ \d+ timeout \+ \d+ in flight \+ \d+ unsent)`)
	mirrorLine = regexp.MustCompile(`(\S+ → \S+): ([0-9.]+ % of \d+ \([^)]*\), programmed [0-9.]+ % ± [0-9.]+)`)
)

// shared are the facts that text and Markdown write alike, but for their line breaks.
func shared(data string) facts {
	f := facts{States: map[string]verdict.State{}, Mirrors: map[string]string{}}
	if m := timesLine.FindStringSubmatch(data); m != nil {
		f.Response = [3]string{m[1], m[2], m[3]}
	}
	if m := countsLine.FindStringSubmatch(data); m != nil {
		f.Requests = m[1]
	}
	_, fraction, _ := strings.Cut(data, "Mirror fraction, ")
	for _, m := range mirrorLine.FindAllStringSubmatch(strings.Join(strings.Fields(fraction), " "), -1) {
		f.Mirrors[m[1]] = m[2]
	}
	return f
}

func textFacts(_ *testing.T, data []byte, _ []Lead) facts {
	parts := strings.SplitN(string(data), "\n\n", 3)
	f := shared(parts[2])
	_, lead, _ := strings.Cut(parts[0], "\n  ")
	f.Lead = strings.Join(strings.Fields(lead), " ")
	for _, m := range stateLine.FindAllStringSubmatch(parts[1], -1) {
		f.States[m[1]] = verdict.State(m[2])
	}
	return f
}

func markdownFacts(_ *testing.T, data []byte, _ []Lead) facts {
	f := shared(strings.ReplaceAll(string(data), "`", ""))
	head, _, _ := strings.Cut(string(data), "<details>")
	for _, line := range strings.Split(strings.ReplaceAll(head, "`", ""), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case !strings.HasPrefix(line, "| ") || cells[0] == "figure" || cells[0] == "verdict":
		case len(cells) == 4:
			f.lead(&Lead{Name: cells[0], Value: cells[1], Against: cells[2]})
		case len(cells) == 3:
			f.States[cells[0]] = verdict.State(cells[1])
		}
	}
	return f
}

// cells are the texts of a page's tables, row by row.
func cells(t *testing.T, data []byte) (rows [][]string) {
	t.Helper()
	z := html.NewTokenizer(bytes.NewReader(data))
	inside := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			return rows
		case html.StartTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "tr", "ul":
				rows = append(rows, nil)
			case "td", "th", "li":
				if len(rows) > 0 {
					rows[len(rows)-1] = append(rows[len(rows)-1], "")
					inside = true
				}
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); slices.Contains([]string{"td", "th", "li"}, string(name)) {
				inside = false
			}
		case html.TextToken:
			if text := string(z.Text()); inside && strings.TrimSpace(text) != "" {
				last := rows[len(rows)-1]
				last[len(last)-1] = strings.TrimSpace(last[len(last)-1] + "|" + text)
			}
		}
	}
}

func htmlFacts(t *testing.T, data []byte, lead []Lead) facts {
	f := facts{States: map[string]verdict.State{}, Mirrors: map[string]string{}}
	counts := map[string]string{}
	caption := ""
	for _, row := range cells(t, data) {
		for i := range row {
			row[i] = strings.TrimPrefix(row[i], "|")
		}
		switch {
		case len(row) == 0:
		case len(row) == len(lead) && f.Lead == "" && strings.Count(row[0], "|") >= 3:
			for _, li := range row {
				parts := strings.FieldsFunc(li, func(c rune) bool { return c == '|' })
				f.lead(&Lead{Name: strings.TrimSpace(parts[0]), Value: strings.TrimSpace(parts[1]), Against: strings.TrimSpace(parts[2])})
			}
		case len(row) > 2 && row[1] == "state":
			caption = row[0]
		case caption == "verdict" && len(row) == 3:
			f.States[row[0]] = verdict.State(row[1])
		case caption == "route and mirror" && len(row) == 7:
			f.Mirrors[row[0]] = fmt.Sprintf("%s %% of %s (%s), programmed %s", row[3], row[6], row[4], strings.Replace(row[2], " ±", " % ±", 1))
		case row[0] == "response time, from due" && f.Response[0] == "":
			f.Response = [3]string{row[2], row[3], row[4]}
		case len(row) == 2:
			caption = ""
			if counts[row[0]] == "" {
				counts[row[0]] = row[1]
			}
		default:
			caption = ""
		}
	}
	f.Requests = fmt.Sprintf("%s ok + %s error + %s timeout + %s in flight + %s unsent", counts["ok"], counts["error"], counts["timeout"], counts["in flight"], counts["unsent"])
	return f
}

func junitFacts(t *testing.T, data []byte, _ []Lead) facts {
	var s suite
	if err := xml.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	f := facts{States: map[string]verdict.State{}, Mirrors: map[string]string{}}
	for _, c := range s.Cases {
		if c.Name != "Run" && c.Class == s.Name {
			f.States[c.Name] = c.state()
		}
	}
	values := map[string]string{}
	for _, p := range s.Properties {
		values[p.Name] = p.Value
		if mirror, is := strings.CutPrefix(p.Name, "mirrored "); is {
			f.Mirrors[mirror] = p.Value
		}
	}
	f.Lead = strings.Join([]string{values["lead.1"], values["lead.2"], values["lead.3"]}, " ")
	f.Response = [3]string{values["response.p50_ms"], values["response.p90_ms"], values["response.p99_ms"]}
	f.Requests = fmt.Sprintf("%s ok + %s error + %s timeout + %s in flight + %s unsent", values["requests.ok"], values["requests.error"], values["requests.timeout"],
		values["requests.inflight"], values["requests.unsent"])
	return f
}

// state is what a reader of JUnit takes a case for.
func (c *testcase) state() verdict.State {
	switch {
	case c.Failure != nil:
		return verdict.State(c.Failure.Type)
	case c.Error != nil:
		return verdict.State(c.Error.Type)
	case c.Skipped != nil:
		return verdict.NotTested
	}
	return verdict.Pass
}

// exposition is a parsed one: values by name and labels.
type exposition map[string]*dto.MetricFamily

func parsed(t *testing.T, data []byte) exposition {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value gives a series of gauges or counters by its labels, names and values in turn.
func (e exposition) value(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	for _, m := range e[name].GetMetric() {
		if maps.Equal(labelsOf(m), labels) {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no series %s %v", name, labels)
	return 0
}

func labelsOf(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.Label {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

func prometheusFacts(t *testing.T, data []byte, lead []Lead) facts {
	e := parsed(t, data)
	f := facts{States: map[string]verdict.State{}, Mirrors: map[string]string{}}
	for _, m := range e["umbra_verdict"].GetMetric() {
		if labels := labelsOf(m); m.GetGauge().GetValue() == 1 {
			f.States[labels["verdict"]] = verdict.State(labels["state"])
		}
	}
	for i, p := range []string{"50", "90", "99"} {
		f.Response[i] = fmt.Sprintf("%.3f", 1000*e.value(t, "umbra_latency_seconds", map[string]string{"time": "response", "percentile": p}))
	}
	count := func(outcome string) float64 {
		return e.value(t, "umbra_requests_total", map[string]string{"outcome": outcome})
	}
	f.Requests = fmt.Sprintf("%g ok + %g error + %g timeout + %g in flight + %g unsent", count("ok"), count("error"), count("timeout"), count("inflight"), count("unsent"))
	known := e.items(t)
	for _, item := range known {
		if s := item.Sampling; s != nil {
			f.Mirrors[strings.TrimSuffix(subject(item), ": ")] = sampled(s) + ", " + programmed(s)
		}
	}
	for _, l := range lead {
		i := slices.IndexFunc(known, func(item *verdict.Item) bool {
			got, ok := leadOf(l.Verdict, item)
			return ok && got.Name == l.Name
		})
		if i < 0 {
			t.Fatalf("nothing of the metrics is %q", l.Name)
		}
		got, _ := leadOf(l.Verdict, known[i])
		f.lead(&got)
	}
	return f
}

// items makes a report's items out of the numbers again.
func (e exposition) items(t *testing.T) (out []*verdict.Item) {
	each := func(name string, make func(labels map[string]string, of func(name string) float64) *verdict.Item) {
		for _, m := range e[name].GetMetric() {
			labels := labelsOf(m)
			item := make(labels, func(name string) float64 { return e.value(t, name, labels) })
			item.Route, item.Cluster = labels["route"], labels["cluster"]
			out = append(out, item)
		}
	}
	each("umbra_mirror_fraction_ratio", func(_ map[string]string, of func(string) float64) *verdict.Item {
		return &verdict.Item{Sampling: &verdict.SamplingFigures{Eligible: int(of("umbra_mirror_eligible_requests_total")), Mirrored: int(of("umbra_mirror_mirrored_requests_total")),
			EstimatePercent: 100 * of("umbra_mirror_fraction_ratio"), LowPercent: 100 * of("umbra_mirror_fraction_low_ratio"), HighPercent: 100 * of("umbra_mirror_fraction_high_ratio"),
			Numerator: uint32(1e6*of("umbra_mirror_fraction_programmed_ratio") + 0.5), WithinPoints: 100 * of("umbra_mirror_fraction_within_ratio")}}
	})
	each("umbra_integrity_requests_total", func(_ map[string]string, of func(string) float64) *verdict.Item {
		return &verdict.Item{Integrity: &verdict.IntegrityFigures{Requests: int(of("umbra_integrity_requests_total")), Compared: int(of("umbra_integrity_compared_total")), Failed: int(of("umbra_integrity_failed_total"))}}
	})
	each("umbra_impact_change_ratio", func(labels map[string]string, of func(string) float64) *verdict.Item {
		q, _ := strconv.ParseFloat(labels["percentile"], 64)
		return &verdict.Item{Impact: &impact.Figure{Tested: true, Quantile: q, Change: 100 * of("umbra_impact_change_ratio"), Low: 100 * of("umbra_impact_change_low_ratio"),
			High: 100 * of("umbra_impact_change_high_ratio"), MarginPct: 100 * of("umbra_impact_margin_ratio")}}
	})
	each("umbra_harm_requests_total", func(labels map[string]string, of func(string) float64) *verdict.Item {
		body, _ := strconv.Atoi(labels["body_bytes"])
		h := &verdict.HarmFigures{Cell: verdict.Cell{Shadow: labels["shadow"], Body: body}, On: int(of("umbra_harm_requests_total")), FailedOn: int(of("umbra_harm_failed_total"))}
		off := maps.Clone(labels)
		off["mirroring"] = "off"
		h.Off, h.FailedOff = int(e.value(t, "umbra_harm_requests_total", off)), int(e.value(t, "umbra_harm_failed_total", off))
		return &verdict.Item{Harm: h}
	})
	if e["umbra_rate_per_second"] != nil {
		rate := func(kind string) float64 {
			return e.value(t, "umbra_rate_per_second", map[string]string{"kind": kind})
		}
		out = append(out, &verdict.Item{Rate: &verdict.RateFigures{Asked: rate("asked"), InTime: rate("in_time")}})
	}
	// The series with mirroring off come first, and are no item of their own.
	return slices.DeleteFunc(out, func(i *verdict.Item) bool {
		return i.Harm != nil && i.Harm.On == i.Harm.Off && i.Harm.FailedOn == i.Harm.FailedOff
	})
}

// A reader of JUnit is told of a failure or an error exactly where umbra's exit status is not 0, and of every verdict and objective.
func TestJUnit(t *testing.T) {
	all := samples()
	all["empty"] = &Report{Name: "replay"}
	all["empty"].Close()
	for name, r := range all {
		var s suite
		if err := xml.Unmarshal(inFormat(t, files[slices.IndexFunc(files, func(f file) bool { return f.name == evidence.JUnit })], r), &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if bad := s.Failures + s.Errors; (bad > 0) != (r.ExitStatus != 0) {
			t.Errorf("%s: exit status %d, %d failures and errors", name, r.ExitStatus, bad)
		}
		counts := map[verdict.State]int{}
		objectives := 0
		for i := range s.Cases {
			counts[s.Cases[i].state()]++
			if strings.HasSuffix(s.Cases[i].Class, "."+verdict.Objectives) {
				objectives++
			}
		}
		if s.Tests != len(s.Cases) || s.Failures != counts[verdict.Fail] || s.Skipped != counts[verdict.NotTested] || s.Tests-s.Failures-s.Skipped-s.Errors != counts[verdict.Pass] {
			t.Errorf("%s: %d, %d, %d and %d of %v", name, s.Tests, s.Failures, s.Errors, s.Skipped, counts)
		}
		if partial := s.Cases[0].Error != nil; s.Cases[0].Name != "Run" || partial != (r.Partial != "") {
			t.Errorf("%s: %+v", name, s.Cases[0])
		}
		if want := 1 + len(r.Verdicts) + objectives; len(s.Cases) != want || (objectives == 1) == (name == "everything" || name == "empty") {
			t.Errorf("%s: %d cases, want %d", name, len(s.Cases), want)
		}
	}
}

// Names that are cut to the same one, and objectives that are asked for twice, are one series.
func TestPrometheusHasNoSeriesTwice(t *testing.T) {
	r := passing()
	for range 2 {
		r.Verdicts[4].Items = append(r.Verdicts[4].Items, r.Verdicts[4].Items[0])
		item := r.Verdicts[0].Items[0]
		item.Route = strings.Repeat("r", 2000) + fmt.Sprint(len(r.Verdicts[0].Items)) + strings.Repeat("r", 2000)
		r.Verdicts[0].Items = append(r.Verdicts[0].Items, item)
	}
	var b bytes.Buffer
	if err := r.Prometheus(&b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(b.String()) {
		series := line[:strings.LastIndex(line, " ")]
		if seen[series] && !strings.HasPrefix(line, "#") {
			t.Errorf("twice: %s", series)
		}
		seen[series] = true
	}
	h := parsed(t, b.Bytes())["umbra_response_time_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != uint64(r.Figures.ResponseHistogram.Count) || len(h.Bucket) != len(r.Figures.ResponseHistogram.Buckets)+1 {
		t.Errorf("%d values in %d buckets", h.GetSampleCount(), len(h.Bucket))
	}
}

func TestSpark(t *testing.T) {
	rising := make([]float64, 120)
	for i := range rising {
		rising[i] = float64(i)
	}
	for name, c := range map[string]struct {
		values []float64
		sum    bool
		want   string
	}{
		"only 0 is the lowest": {[]float64{0, 0.001, 4, 7, 0}, false, "▁▂▅█▁"},
		"nothing":              {[]float64{0, 0}, true, "▁▁"},
		"one":                  {[]float64{3}, true, "█"},
		"an equal sum":         {slices.Repeat([]float64{5}, 105), true, strings.Repeat("█", 35)},
		"the greatest":         {append(make([]float64, 104), 1), false, strings.Repeat("▁", 34) + "█"},
	} {
		if got := spark(c.values, c.sum); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := []rune(spark(rising, true)); len(got) > sparks || !slices.IsSorted(got) || got[len(got)-1] != '█' {
		t.Errorf("%s", string(got))
	}
}

// A million rows of one kind leave room for the others, and what is left out is counted.
func TestMarkdownFitsAComment(t *testing.T) {
	r := sample()
	for i := range 20_000 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("warning %d", i))
		item := r.Verdicts[0].Items[0]
		item.Route = fmt.Sprintf("shop/route-%d", i)
		r.Verdicts[0].Items = append(r.Verdicts[0].Items, item)
		r.Versions.Examples = append(r.Versions.Examples, r.Versions.Examples[0])
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if len(got) >= 60_000 || len(got) < room/2 {
		t.Errorf("%d bytes", len(got))
	}
	told := 0
	for _, m := range regexp.MustCompile(`\*(\d+) lines are left out`).FindAllStringSubmatch(got, -1) {
		n, _ := strconv.Atoi(m[1])
		told += n
	}
	shown := strings.Count(got, "route-") + strings.Count(got, "warning ") + strings.Count(got, "0123456789abcdef` GET")
	if whole := 80_000; shown+told < whole || shown+told > whole+500 {
		t.Errorf("%d lines are shown and %d said to be left out, of %d and some", shown, told, whole)
	}
	for _, words := range []string{"| Rate | INVALID |", "command: umbra run canary-10.yaml", "Statuses and errors"} {
		if !strings.Contains(got, words) {
			t.Errorf("%q is not in it", words)
		}
	}
	if strings.Count(got, "<details>") != strings.Count(got, "</details>") {
		t.Error("a section stays open")
	}
}

// A run that could not say when it ended took no time that anybody knows of.
func TestTook(t *testing.T) {
	r := passing()
	if r.took() != 10*time.Minute {
		t.Error(r.took())
	}
	if r.Run.Ended = (time.Time{}); r.took() != 0 {
		t.Error(r.took())
	}
}
