package reports

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

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

// The command is one that a shell takes as it was.
func TestCommandForAShell(t *testing.T) {
	r := &Report{}
	r.Run.Command = []string{"umbra", "run", "my file.yaml", "--fault", "fraction=12,drop=0.5", "it's", ""}
	if got, want := (&view{r}).Command(), `umbra run 'my file.yaml' --fault fraction=12,drop=0.5 'it'\''s' ''`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
