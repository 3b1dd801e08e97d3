package reports

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

func htmlOf(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	drawnPath = regexp.MustCompile(` d="([^"]*)"`)
	validPath = regexp.MustCompile(`^([MmLlHhVvaZz][-0-9. ]*)+$`)
)

// Every path is whole, however long.
func TestHTMLPaths(t *testing.T) {
	r := passing()
	r.Figures.Timeline = timelineOf(256)
	longest := 0
	for _, d := range drawnPath.FindAllStringSubmatch(htmlOf(t, r), -1) {
		longest = max(longest, len(d[1]))
		if !validPath.MatchString(d[1]) {
			t.Errorf("%q is no path", d[1])
		}
	}
	if longest < 2000 {
		t.Errorf("the longest path has %d characters, of 256 steps", longest)
	}
}

func TestHTML(t *testing.T) {
	golden(t, "report.html.golden", []byte(htmlOf(t, sample())))
}

// The sections come in the order of what a reader asks, each with its heading.
func TestHTMLOrder(t *testing.T) {
	got := htmlOf(t, passing())
	at := 0
	for _, want := range []string{"<h1>umbra report: canary-10</h1>", `class="sentence"`, `class="lead"`, `id="mesh"`, `id="impact"`, `id="off-on-title"`, `id="latency"`, `id="time"`,
		`id="rate-title"`, `id="in-flight-title"`, `id="lag-title"`, `id="errors-over-time-title"`, `id="fraction"`, `id="fraction-1-title"`, `id="versions"`, `id="routes"`, `id="errors"`, `id="verdicts"`, `id="validity"`, `id="environment"`,
		"umbra run canary-10.yaml --on kind"} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("%s is not behind %q", want, got[max(0, at-40):at])
		}
		at += i
	}
}

// Where something was not measured or not played, the page says so, or has no section of it.
func TestHTMLOfLess(t *testing.T) {
	empty := &Report{}
	empty.Close()
	alone := &Report{Name: "replay"}
	alone.Run.Mesh = "none"
	alone.Close()
	noBlocks := passing()
	noBlocks.Verdicts[3].Experiment = nil
	calm := passing()
	calm.Verdicts[3].Warnings = nil
	for name, c := range map[string]struct {
		report      *Report
		says, never string
	}{
		"empty":      {empty, "The client&#39;s machine was not measured.", `id="mesh"`},
		"no mesh":    {alone, "without a mesh", `id="impact"`},
		"no blocks":  {noBlocks, "No experiment was played", `id="off-on-title"`},
		"partial":    {partial(), "The run is partial: the run was interrupted.", "There are no warnings"},
		"no warning": {calm, "There are no warnings", "<h3>Warnings</h3>"},
		"a warning":  {passing(), "<li>Impact: client, gateway and both versions share 2 CPUs here</li>", "There are no warnings"},
	} {
		got := htmlOf(t, c.report)
		if !strings.Contains(got, c.says) || strings.Contains(got, c.never) {
			t.Errorf("%s: %q is not in, or %q is in %s", name, c.says, c.never, got)
		}
	}
}

var requesting = regexp.MustCompile(`(?i)https?:|src=|url\(|@import|<script|<link rel="stylesheet|href="[^#d]`)

// Nothing in the page asks for anything.
func TestHTMLNeedsNothing(t *testing.T) {
	for name, r := range samples() {
		if got := requesting.FindString(htmlOf(t, r)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A report of a run of any length stays small.
func TestHTMLSize(t *testing.T) {
	got := len(htmlOf(t, large()))
	t.Logf("%d KiB", got>>10)
	if got >= 1<<20 {
		t.Errorf("%d bytes", got)
	}
}

// large is the report of hours and millions of requests, by hundreds of routes.
func large() *Report {
	r := sample()
	r.Figures.Timeline.Ticks, r.Figures.Timeline.Width = nil, time.Minute
	for i := range 256 {
		r.Figures.Timeline.Ticks = append(r.Figures.Timeline.Ticks, summary.Tick{At: time.Duration(i) * time.Minute, Asked: 123456 + i, Sent: 123456 - i, Ended: 123455 - i, NotOK: i, InFlight: i % 97,
			P50: time.Duration(1234567 + 1001*i), P99: time.Duration(98765432 - 1001*i), LagP99: time.Duration(45678 + i), LagMax: time.Duration(1234567 + i)})
	}
	spectrum := spectrumOf(30_000_000, 1.5)
	r.Figures.ResponseSpectrum, r.Figures.ServiceSpectrum = spectrum, spectrum
	m := &r.Verdicts[2]
	for i := range 300 {
		route := fmt.Sprintf("shop/my-app/route-%d-%s", i, strings.Repeat("a-long-name-", 5))
		r.Mesh.Routes = append(r.Mesh.Routes, Route{Name: route, To: []string{v1}, Mirrors: []Mirror{{Cluster: v2, Percent: 10, Numerator: 100000, Programmed: 10}}})
		r.Figures.Routes = append(r.Figures.Routes, summary.Group{Name: route, Rows: 3000, Response: r.Figures.Response})
		m.Items = append(m.Items, verdict.Item{Route: route, Cluster: v2, State: verdict.Pass, Summary: strings.Repeat("a sentence ", 15),
			Sampling: &verdict.SamplingFigures{Numerator: 100000, Eligible: 3000, Mirrored: 300, TickWidth: time.Minute, Ticks: ticksOf(61, 10)}})
		r.Warnings = append(r.Warnings, strings.Repeat("a warning ", 20))
	}
	r.Close()
	return r
}

var tag = regexp.MustCompile(`<[^>]*>`)

// What comes from outside is text, whatever it is.
func TestHTMLOfHostileStrings(t *testing.T) {
	tags := func(hostile string) (string, int) {
		r := sample()
		spoil(r, hostile)
		r.Close()
		got := htmlOf(t, r)
		return got, len(tag.FindAllString(got, -1))
	}
	_, harmless := tags("harmless")
	for name, hostile := range map[string]string{
		"markup":    `</style></title></svg></code><script>alert(1)</script><img src=x onerror=alert(1)>`,
		"attribute": `" onload="alert(1)" x='`,
		"comment":   "<!--",
		"template":  "{{.}}",
		"entity":    "&lt;script&gt;&#0;",
		"escape":    "\x1b]0;owned\x07\x1b[2J",
		"not UTF-8": "\xff\xfe",
		"direction": "\u202egnissap\u2066",
		"long":      strings.Repeat("<", 1<<20),
		"null":      "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			got, n := tags(hostile)
			if n != harmless {
				t.Errorf("%d tags, of a harmless string %d", n, harmless)
			}
			for _, never := range []string{"<script", "<img", "<!--", `" onload="alert`} {
				if strings.Contains(got, never) {
					t.Errorf("%s is in the page", never)
				}
			}
			if i := strings.IndexFunc(got, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 || !utf8.ValidString(got) {
				t.Errorf("%q is not inert", got[max(0, i-20):min(len(got), max(0, i)+20)])
			}
			if len(got) > 1<<20 {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
}

// spoil puts a string in every place of a report that is filled from outside.
func spoil(r *Report, hostile string) {
	r.Name, r.Load, r.Partial = hostile, hostile, hostile
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		v.Summary = hostile
		for k := range v.Items {
			v.Items[k].Route, v.Items[k].Cluster, v.Items[k].Summary = hostile, hostile, hostile
		}
		for k := range v.Findings {
			v.Findings[k].Text, v.Findings[k].Examples = hostile, []string{hostile, hostile}
		}
		for k := range v.Warnings {
			v.Warnings[k] = hostile
		}
	}
	x := r.Verdicts[3].Experiment
	x.Controls, x.Figures[0].Why = hostile, hostile
	r.Figures.Names[0].Name, r.Figures.Routes[0].Name, r.Figures.Errors[0].Class, r.Figures.Errors[0].Examples[0] = hostile, hostile, hostile, hostile
	r.Connections.Addresses[0], r.Client.Diagnosis[0] = hostile, hostile
	r.Run.Transport, r.Run.Faults, r.Run.Version, r.Run.Mesh, r.Run.Machine.Go = hostile, hostile, hostile, hostile, hostile
	r.Run.Capture.File, r.Run.Capture.Methods[0].Method, r.Run.Capture.Loss.Hidden[0].Cause = hostile, hostile, hostile
	r.Run.Changes[0], r.Run.Restarts[0].Pod, r.Run.CPU[0].Pod, r.Run.Steps[0].Name, r.Run.NotModelled[0] = hostile, hostile, hostile, hostile, hostile
	r.Run.Cluster.Node, r.Run.Cluster.Istio = hostile, hostile
	for i := range r.Versions.Mirrors {
		m := &r.Versions.Mirrors[i]
		m.Route, m.Cluster, m.Primary, m.Shadow, m.Noise.Why, m.TimesLeftOut = hostile, hostile, hostile, hostile, hostile, []string{hostile}
	}
	e := &r.Versions.Examples[0]
	e.ID, e.Name, e.Method, e.Path, e.Primary.Version, e.Shadow.Version, e.Why = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	r.Mesh.Routes[0].Name, r.Mesh.Routes[0].To, r.Mesh.Host, r.Warnings[0], r.Run.Command = hostile, []string{hostile}, hostile, hostile, []string{hostile, hostile}
}

// The command is one that a shell takes as it was.
func TestCommandForAShell(t *testing.T) {
	r := &Report{}
	r.Run.Command = []string{"umbra", "run", "my file.yaml", "--fault", "fraction=12,drop=0.5", "it's", ""}
	if got, want := (&view{r}).Command(), `umbra run 'my file.yaml' --fault fraction=12,drop=0.5 'it'\''s' ''`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
