package reports

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"umbra/internal/arrivals"
	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/impact"
	"umbra/internal/runs"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

const v2 = "outbound|80|v2|my-app.shop.svc.cluster.local"

// sample is a report with every part in it.
func sample() *Report {
	l := summary.Latency{N: 1000, LowerBound: 2, P50: 1500 * time.Microsecond, P90: 2 * time.Millisecond, P99: 9 * time.Millisecond, P999: 12 * time.Millisecond, Max: time.Second}
	lag := summary.Latency{N: 1000, P50: 45 * time.Microsecond, P90: 90 * time.Microsecond, P99: 136 * time.Microsecond, P999: 1300 * time.Microsecond, Max: 90 * time.Millisecond}
	rate := verdict.RateCounts{Planned: 1000, Span: 10 * time.Second, Lagged: 9, Overrun: 90 * time.Millisecond, Sent: 1000, Busy: 2 * time.Second, Own: 300 * time.Millisecond}
	diagnosis := host.Diagnose(measured(), 0)
	r := &Report{
		Name: "canary-10",
		Verdicts: []verdict.Verdict{
			{Name: verdict.Integrity, State: verdict.Fail, Summary: "requests that arrived more than once at one mirror: 1",
				Items:    []verdict.Item{{Route: "shop/my-app/all", State: verdict.Fail, Summary: "1 of 100 mirrored requests came twice"}},
				Findings: []verdict.Finding{{Code: "duplicate", Severity: verdict.Failure, Text: "requests that arrived more than once at one mirror", Count: 1, Examples: []string{"0123456789abcdef"}}}},
			{Name: verdict.Delivery, State: verdict.Pass, Summary: "the gateway mirrored 100 requests, all arrived", Items: []verdict.Item{{Cluster: v2, State: verdict.Pass, Summary: "all arrived"}}},
			{Name: verdict.Sampling, State: verdict.Inconclusive, Summary: "9.9 % of 1,000 mirrored, programmed 10 % ± 1; 9,950 requests would decide",
				Items: []verdict.Item{{Route: "shop/my-app/all", Cluster: v2, State: verdict.Inconclusive, Approximate: true, Summary: "9.9 % of 1,000"},
					{Route: "shop/my-app/" + strings.Repeat("a-long-name-", 12), Cluster: v2, State: verdict.NotTested, Summary: "no request came by"}},
				Warnings: []string{"one route got no request"}},
			{Name: verdict.Impact, State: verdict.NotTested, Summary: "mirroring is 100 %, there is no contrast", Experiment: experimentOf(0.5, impact.Pass)},
			verdict.JudgeRate(rate, verdict.Facts{Client: []string{"from 2 s to 3 s the client sent up to 90ms late: the limit of its cgroup stopped it 4 times, for 300ms"}}),
		},
		Versions: versions(),
		Figures: summary.Figures{Planned: 1030, OK: 1018, Error: 1, Timeout: 1, Unsent: 10, Warmup: 10, Cooldown: 20, Failed: 3, Rate: rate, Span: 10 * time.Second, Asked: 100, Sent: 99,
			Response: l, Service: l, Lag: lag, ReadLag: lag, Names: []summary.Group{{Name: "list", Rows: 1000, Response: l}},
			Routes:           []summary.Group{{Name: "", Rows: 1, Response: l}, {Name: "shop/my-app/" + strings.Repeat("a-long-name-", 12), Rows: 999, Response: l}},
			Errors:           []summary.Class{{Outcome: traffic.Timeout, Class: "timeout_headers", Count: 1, Examples: []string{"0123456789abcdef"}}},
			Statuses:         []summary.Status{{Code: 200, Count: 995}, {Code: 503, Count: 3}},
			ResponseSpectrum: spectrumOf(1000, 1.5), ServiceSpectrum: spectrumOf(1000, 1.4), ResponseHistogram: histogramOf(1000, 1.5), ServiceHistogram: histogramOf(1000, 1.4), Timeline: timelineOf(13), Judged: summary.Counts{Rows: 1000, NotOK: 2, Failed: 3}},
		Mesh: &Mesh{Host: "my-app.example.com", Routes: []Route{
			{Name: "shop/my-app/all", To: []string{"outbound|80|v1|my-app.shop.svc.cluster.local"}, Mirrors: []Mirror{{Cluster: v2, Percent: 10, Numerator: 100000, Programmed: 10}, {Cluster: strings.Replace(v2, "v2", "v3", 1), Percent: 0.57, Numerator: 5699, Programmed: 0.5699}}},
			{Name: "shop/my-app/gone"}}},
		Client: NewClient(&diagnosis),
		Connections: &host.Connections{Addresses: []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"}, Resolve: 1200 * time.Microsecond,
			Dial: host.Handshakes{Count: 50, Failed: 1, P50: 200 * time.Microsecond, P99: time.Millisecond, Max: 3 * time.Millisecond},
			TLS:  host.Handshakes{Count: 50, P50: 2 * time.Millisecond, P99: 5 * time.Millisecond, Max: 9 * time.Millisecond}, Retries: 3, Most: 50, Wakeups: 12345},
		Arrivals: &arrivals.Shape{Due: arrivals.Gaps{N: 899, P10: 10 * time.Microsecond, P50: 3 * time.Millisecond, P90: 20 * time.Millisecond, P99: 90 * time.Millisecond, Max: 2 * time.Second},
			Sent:     arrivals.Gaps{N: 889, P10: 12 * time.Microsecond, P50: 3100 * time.Microsecond, P90: 20 * time.Millisecond, P99: 91 * time.Millisecond, Max: 2 * time.Second},
			Distance: 0.1234, Beyond: 0.0042, Tolerance: 200 * time.Microsecond, LeftOut: 3, Differs: true},
		Load: "a scripted mix for 10s", Seed: 7,
		Digests:  &runs.Digests{Mesh: strings.Repeat("a", 64), Traffic: strings.Repeat("b", 64), Load: strings.Repeat("c", 64), Checks: strings.Repeat("d", 64), Manifests: strings.Repeat("e", 64)},
		Warnings: []string{"istio.yaml:7: host overlap"},
		Run: evidence.Record{Version: "1.0", Command: []string{"umbra", "run", "canary-10.yaml"}, Mesh: "embedded", Transport: "portable", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
			Capture: &evidence.Capture{File: "shop.jsonl.zst", Source: "shop.pcapng", Speed: 2, Ordered: true, Captured: 1000, Replayed: 900, Rounds: 3, Outside: 15, Sampled: 5, Unsafe: 80,
				Methods: []evidence.MethodLeft{{Method: "POST", Count: 60}, {Method: "DELETE", Count: 20}},
				Loss:    evidence.NewLoss(map[string]int64{"requests_incomplete": 100, "requests_without_response": 7, "gaps": 3, "segments_reordered": 9}, 1000)},
			Changes:  []string{"Deployment shop/my-app-v1: the image umbra-app:dev is umbra's own, pull policy IfNotPresent", "Namespace shop: made, with injection on"},
			Restarts: []verdict.Restart{{Pod: "my-app-v2-5d8f", Version: "v2", What: "restarted 1 time", At: time.Date(2026, 11, 23, 1, 2, 9, 0, time.UTC), Lost: true}, {Pod: "my-app-v2-77aa", Version: "v2", What: "began"}},
			CPU: []evidence.CPUUse{{Namespace: "istio-system", Pod: "istio-ingressgateway-6b9c", Container: "istio-proxy", Cores: 0.4213, Over: 30 * time.Second},
				{Namespace: "shop", Pod: "my-app-v2-" + strings.Repeat("long-", 20), Container: "app", Version: "v2", Cores: 1.25, Over: 30 * time.Second}},
			Steps:   []evidence.Step{{Name: "node image", Took: 1400 * time.Millisecond}, {Name: "cluster", Took: 14987 * time.Millisecond}},
			Cluster: &evidence.ClusterFacts{Kubernetes: "v1.36.1", Istio: "1.31.0", Proxy: "1.39.0", Node: "kindest/node:v1.36.1", Reused: true},
			Faults:  "duplicate=0.01", NotModelled: []string{"DestinationRule shop/my-app: outlier detection (istio.yaml:12)"}, Stages: []verdict.Stage{{Begin: time.Second, End: 11 * time.Second, Asked: 1000}}, Quantum: 100 * time.Microsecond, Started: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), Finished: true},
	}
	figured(r)
	r.Close()
	return r
}

// versions is a comparison with every part in it.
func versions() *verdict.Versions {
	share := func(n, count int) verdict.Share {
		return verdict.Share{N: n, Count: count, Percent: 100 * float64(count) / float64(n), Low: 80 * float64(count) / float64(n), High: 120 * float64(count) / float64(n)}
	}
	other := strings.Replace(v2, "v2", "v3", 1)
	return &verdict.Versions{
		Mirrors: []verdict.VersionFigures{
			{Route: "shop/my-app/all", Cluster: v2, Primary: "v1", Shadow: "v2", Pairs: 1231, LeftOut: 3,
				Status: verdict.StatusFigures{Differing: share(1231, 4), BothSucceeded: 1227, ShadowFailed: 3, PrimaryFailed: 1, PValue: 0.625,
					Changes: []verdict.StatusChange{{Primary: 200, Shadow: 503, Count: 3}, {Primary: 503, Shadow: 200, Count: 1}}},
				Body:  verdict.BodyFigures{Differing: share(1227, 62), Normalised: 1227},
				Noise: verdict.NoiseFigures{Pairs: 1200, Status: share(1200, 2), Body: verdict.BodyFigures{Differing: share(1198, 60), Normalised: 1100}, ExplainsStatus: true, ExplainsBody: true},
				Times: []verdict.TimeFigures{{Quantile: 50, Pairs: 1231, PrimaryNS: 2 * time.Millisecond, ShadowNS: 3 * time.Millisecond, Ratio: 1.5, Low: 1.4567, High: 1.61234, Stretches: 40},
					{Quantile: 90, Pairs: 1231, PrimaryNS: 20 * time.Millisecond, ShadowNS: 1300 * time.Millisecond, Ratio: 65, Low: 10, High: 100, Stretches: 40}},
				TimesLeftOut: []string{"p99 needs 2,000 pairs, for 20 beyond it"}},
			{Route: "shop/my-app/" + strings.Repeat("a-long-name-", 12), Cluster: other, Primary: "v1", Shadow: "v3", Approximate: true, Pairs: 30, Status: verdict.StatusFigures{Differing: share(30, 0), BothSucceeded: 30, PValue: 1},
				Noise: verdict.NoiseFigures{Why: "needs checks.impact"}, Times: []verdict.TimeFigures{}, TimesLeftOut: []string{"p50 needs 40 pairs, for 20 beyond it"}},
			{Route: "shop/my-app/few", Cluster: v2, LeftOut: 2, Times: []verdict.TimeFigures{}},
		},
		Examples: []verdict.VersionExample{
			{ID: "0123456789abcdef", Name: "list", Method: "GET", Path: "/api/items?page=3", Route: "shop/my-app/all", Cluster: v2, Due: time.Second, Why: "v2 answered 503, v1 200",
				Primary: verdict.VersionAnswer{Version: "v1", Pod: "my-app-v1-0", Status: 200, ResponseSHA256: strings.Repeat("a", 64), Took: 2 * time.Millisecond},
				Shadow:  verdict.VersionAnswer{Version: "v2", Pod: "my-app-v2-0", Status: 503, ResponseSHA256: strings.Repeat("b", 64), Took: 3 * time.Millisecond}},
			{ID: "1123456789abcdef", Method: "GET", Path: "/", Route: "shop/my-app/all", Cluster: v2, Why: "another body",
				Primary: verdict.VersionAnswer{Version: "v1", Pod: "my-app-v1-0", Status: 200, ResponseSHA256: strings.Repeat("a", 64), Took: 2 * time.Millisecond},
				Shadow:  verdict.VersionAnswer{Version: "v2", Pod: "my-app-v2-0", Status: 200, ResponseSHA256: strings.Repeat("b", 64), Took: 3 * time.Millisecond}},
			{ID: "2123456789abcdef", Method: "GET", Path: "/", Route: "shop/my-app/all", Cluster: v2, Why: "another body, also without the ignored paths",
				Primary: verdict.VersionAnswer{Version: "v1", Pod: "my-app-v1-0", Status: 200, ResponseSHA256: strings.Repeat("a", 64), ResponseJSONSHA256: strings.Repeat("c", 64)},
				Shadow:  verdict.VersionAnswer{Version: "v2", Pod: "my-app-v2-0", Status: 200, ResponseSHA256: strings.Repeat("b", 64), ResponseJSONSHA256: strings.Repeat("d", 64)}},
			{ID: "3123456789abcdef", Method: "GET", Path: "/", Route: "shop/my-app/all", Cluster: other, Why: "v3 took 15 times as long",
				Primary: verdict.VersionAnswer{Version: "v1", Pod: "my-app-v1-0", Status: 200, ResponseSHA256: strings.Repeat("a", 64), Took: 2 * time.Millisecond},
				Shadow:  verdict.VersionAnswer{Version: "v3", Pod: "my-app-v3-0", Status: 200, ResponseSHA256: strings.Repeat("a", 64), Took: 30 * time.Millisecond}},
		},
	}
}

// measured is what a run of four seconds measured of its client, which was throttled in the third.
func measured() []host.Second {
	wait := 5 * time.Millisecond
	seconds := make([]host.Second, 4)
	for i := range seconds {
		seconds[i] = host.Second{Second: int64(i), Rows: 257, Lag: host.Lag{P50: 45 * time.Microsecond, P99: 136 * time.Microsecond, Max: 900 * time.Microsecond},
			Usage: host.Usage{For: time.Second, CPUs: 2, Process: &host.Process{User: 2 * time.Millisecond, System: 4 * time.Millisecond, Voluntary: 300, Involuntary: 2},
				Loops:     []host.Loop{{Thread: 7, Name: "umbra-loop/0", CPU: 5 * time.Millisecond, Wait: &wait, Voluntary: 290, Involuntary: 1}},
				Throttled: &host.Throttling{}, Machine: &host.Machine{Total: 2 * time.Second, Busy: 500 * time.Millisecond, Steal: 3 * time.Millisecond},
				GC: host.GC{Cycles: 1, Pauses: 2, Paused: 60 * time.Microsecond, Longest: 40 * time.Microsecond}}}
	}
	seconds[2].Lag = host.Lag{P50: time.Millisecond, P99: 80 * time.Millisecond, Max: 90 * time.Millisecond}
	seconds[2].Throttled = &host.Throttling{Times: 4, For: 300 * time.Millisecond}
	return seconds
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-update writes it anew):\n%s", name, diff)
	}
}

func rendered(t *testing.T, r *Report, colours bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Text(&b, colours); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	got := rendered(t, sample(), false)
	golden(t, "report.txt.golden", []byte(got))
	for i, line := range strings.Split(got, "\n") {
		if n := utf8.RuneCountInString(line); n > width {
			t.Errorf("line %d has %d columns: %s", i+1, n, line)
		}
	}
	coloured := rendered(t, sample(), true)
	golden(t, "report.terminal.txt.golden", []byte(strings.ReplaceAll(coloured, "\x1b", "^[")))
	if !strings.Contains(coloured, "\x1b[31mFAIL") {
		t.Error("no colours where they are asked for")
	}
	for _, line := range strings.Split(coloured, "\n") {
		if visible(line) > width {
			t.Errorf("%d columns in colour: %q", visible(line), line)
		}
	}
}

func TestJSONFollowsItsSchema(t *testing.T) {
	var doc any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := sample().JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json.golden", data)
	valid := func(data []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for name, r := range samples() {
		if data, err := r.JSON(); err != nil || valid(data) != nil {
			t.Errorf("%s: %v, %v", name, err, valid(data))
		}
	}
	empty := &Report{Figures: summary.Figures{Rate: verdict.RateCounts{Stages: []verdict.RateCounts{{Stage: &verdict.Stage{}}}}}}
	empty.Close()
	if data, err = empty.JSON(); err != nil || valid(data) != nil {
		t.Errorf("an empty report, but for a stage: %v, %v", err, valid(data))
	}
	for name, change := range map[string][2]string{
		"a missing part": {`"figures"`, `"figure"`},
		"a wrong type":   {`"exit_status": 1`, `"exit_status": "1"`},
		"another format": {Format, "report/v9"},
	} {
		if valid([]byte(strings.Replace(string(data), change[0], change[1], 1))) == nil && strings.Contains(string(data), change[0]) {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestHeadlineAndExitStatus(t *testing.T) {
	v := func(name string, s verdict.State) verdict.Verdict {
		return verdict.Verdict{Name: name, State: s, Summary: name + " says why"}
	}
	for name, c := range map[string]struct {
		verdicts []verdict.Verdict
		partial  string
		want     string
		status   int
	}{
		"alone, the rate kept":   {[]verdict.Verdict{v("Rate", verdict.Pass)}, "", "PASS: Rate. 0 requests planned, 0 answered, 0 not; no mesh was judged", 0},
		"alone, the rate missed": {[]verdict.Verdict{v("Rate", verdict.Fail)}, "", "FAIL: Rate. Rate says why", 1},
		"alone, a closed loop":   {[]verdict.Verdict{v("Rate", verdict.NotTested)}, "", "0 requests planned, 0 answered, 0 not; no mesh was judged", 0},
		"alone, by the client":   {[]verdict.Verdict{{Name: "Rate", State: verdict.Invalid, Summary: "late", Items: []verdict.Item{{State: verdict.Invalid, ClientSuspect: true}}}}, "", "INVALID: Rate. late", 3},
		"passed":                 {[]verdict.Verdict{v("A", verdict.Pass), v("B", verdict.Pass)}, "", "PASS: A, B", 0},
		"not tested":             {[]verdict.Verdict{v("A", verdict.Pass), v("B", verdict.NotTested)}, "", "PASS: A (not tested: B)", 0},
		"one fails":              {[]verdict.Verdict{v("A", verdict.Inconclusive), v("B", verdict.Fail)}, "", "FAIL: B. B says why", 1},
		"inconclusive":           {[]verdict.Verdict{v("A", verdict.Pass), v("B", verdict.Inconclusive)}, "", "INCONCLUSIVE: B. B says why", 4},
		"invalid":                {[]verdict.Verdict{v("A", verdict.Invalid), v("B", verdict.Inconclusive)}, "", "INVALID: A. A says why", 4},
		"partial":                {[]verdict.Verdict{v("A", verdict.Pass)}, "it was killed", "INCONCLUSIVE: it was killed. So far PASS: A", 4},
		"partial and fails":      {[]verdict.Verdict{v("A", verdict.Fail)}, "it was killed", "FAIL: A. A says why", 1},
		"nothing":                {[]verdict.Verdict{v("A", verdict.NotTested)}, "", "NOT TESTED: nothing was judged", 0},
		"no mesh":                {nil, "", "0 requests planned, 0 answered, 0 not; no mesh was judged", 0},
	} {
		r := Report{Verdicts: c.verdicts, Partial: c.partial}
		if strings.HasPrefix(name, "alone") {
			r.Run.Mesh = evidence.NoMesh
		}
		if r.Close(); r.Headline != c.want || r.ExitStatus != c.status {
			t.Errorf("%s: %q and %d, want %q and %d", name, r.Headline, r.ExitStatus, c.want, c.status)
		}
	}
}

// What was not measured is said not to be known, and never 0.
func TestClientThatIsNotKnown(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*host.Second)
		says  []string
	}{
		"all is known":   {func(*host.Second) {}, []string{"CPU 23.3 µs a request", "19.5 µs of it in 1 event loop", "8 involuntary switches, 4 of event loops", "throttled 4 times for 0.30 s", "steal 0.15 %", "4 garbage collections, the longest pause 0.040 ms", "late: from 2 s to 3 s"}},
		"no process":     {func(s *host.Second) { s.Process = nil }, []string{"its CPU time is not known", "involuntary switches not known"}},
		"no loops":       {func(s *host.Second) { s.Loops = nil }, []string{"0.02 s system in all); it may run on 2 CPUs", "8 involuntary switches; throttled"}},
		"no cgroup":      {func(s *host.Second) { s.Throttled = nil }, []string{"throttling not known"}},
		"no steal":       {func(s *host.Second) { s.Machine = nil }, []string{"steal not known"}},
		"no collections": {func(s *host.Second) { s.GC = host.GC{} }, []string{"0 garbage collections, no pause"}},
		"no throttling":  {func(s *host.Second) { s.Throttled = &host.Throttling{} }, []string{"never throttled"}},
	} {
		t.Run(name, func(t *testing.T) {
			seconds := measured()
			for i := range seconds {
				c.spoil(&seconds[i])
			}
			d := host.Diagnose(seconds, 0)
			r := sample()
			r.Client = NewClient(&d)
			got := rendered(t, r, false)
			_, got, _ = strings.Cut(got, "\nClient, ")
			got = strings.Join(strings.Fields(got), " ")
			for _, words := range c.says {
				if !strings.Contains(got, words) {
					t.Errorf("%q is not in %s", words, got)
				}
			}
		})
	}
	r := sample()
	r.Client, r.Connections = nil, nil
	if got := rendered(t, r, false); !strings.Contains(got, "its machine was not measured") || strings.Contains(got, "\nConnections") {
		t.Error(got)
	}
}

// One mirror needs no naming in its examples, and bodies that nobody could compare are not said to be equal.
func TestVersionsInWords(t *testing.T) {
	for name, c := range map[string]struct {
		change func(v *verdict.Versions)
		says   string
		never  string
	}{
		"one mirror":      {func(v *verdict.Versions) { v.Mirrors = v.Mirrors[:1] }, "(list): v1 200 in 2.000 ms, v2 503 in 3.000 ms", "(list), shop"},
		"several mirrors": {func(v *verdict.Versions) {}, "(list), shop/my-app/all → my-app.shop:80/v2: v1 200 in", "(list): "},
		"each two once":   {func(v *verdict.Versions) { v.Mirrors = append(v.Mirrors, v.Mirrors[0]) }, "Versions, v2 against v1, v3 against v1 (told", ""},
		"no body":         {func(v *verdict.Versions) {}, "body none could be compared", ""},
		"by their digest": {func(v *verdict.Versions) { v.Mirrors[0].Body.Normalised = 0 }, "1227 with equal status, by their digest; v1 differs", "as JSON without what is ignored; v1"},
		"by both":         {func(v *verdict.Versions) {}, "1100 as JSON without what is ignored, the others by their digest", ""},
		"none is explained": {func(v *verdict.Versions) {
			v.Mirrors[0].Noise.ExplainsBody, v.Mirrors[0].Noise.ExplainsStatus = false, false
		}, "as JSON without what is ignored noise", "differs from itself"},
		"without an example": {func(v *verdict.Versions) { v.Examples = nil }, "Versions, ", "most telling"},
		"by the JSON":        {func(v *verdict.Versions) {}, "v1 200 in 0.000 ms with JSON cccccccccccc, v2 200 in 0.000 ms with JSON dddddddddddd", "with body c"},
	} {
		r := sample()
		c.change(r.Versions)
		got := strings.Join(strings.Fields(rendered(t, r, false)), " ")
		if !strings.Contains(got, c.says) || c.never != "" && strings.Contains(got, c.never) {
			t.Errorf("%s: %q is not in, or %q is in %s", name, c.says, c.never, got)
		}
	}
	r := sample()
	if r.Versions = nil; strings.Contains(rendered(t, r, false), "\nVersions") {
		t.Error("versions that were not compared are told of")
	}
}

// A client without requests costs nothing for each.
func TestClientWithoutRequests(t *testing.T) {
	c := NewClient(&host.Diagnosis{Total: host.Usage{Process: &host.Process{User: time.Second}}})
	if c.Process.PerRequest != time.Second || c.Loops != nil || c.Steal != nil {
		t.Errorf("%+v", c)
	}
}

// What was left out and lost is told in words, and what was not is not mentioned.
func TestCaptureInWords(t *testing.T) {
	loss := func(causes map[string]int64) evidence.Loss { return evidence.NewLoss(causes, 900) }
	for name, c := range map[string]struct {
		capture evidence.Capture
		want    string
	}{
		"all of it":    {evidence.Capture{Captured: 900, Replayed: 900, Rounds: 1, Loss: loss(nil)}, "of 900 captured: 900 replayed the capture lost no request"},
		"by a list":    {evidence.Capture{Captured: 900, Replayed: 899, Rounds: 1, Unasked: 1, Methods: []evidence.MethodLeft{{Method: "GET", Count: 1}}, Loss: loss(nil)}, "899 replayed, 1 left out by their methods (GET 1) the capture lost no request"},
		"lost some":    {evidence.Capture{Captured: 900, Replayed: 900, Rounds: 2, Loss: loss(map[string]int64{"requests_incomplete": 100})}, "900 replayed; 2 rounds of it the capture lost 100 requests that it knows of (requests_incomplete 100): 90 % are whole"},
		"lost unknown": {evidence.Capture{Captured: 900, Replayed: 900, Loss: loss(map[string]int64{"gaps": 2})}, "900 replayed what the capture could not read may have held requests that nobody can count: gaps 2"},
	} {
		r := sample()
		r.Run.Capture = &c.capture
		r.Partial, r.Figures.Planned = "", c.capture.Replayed*max(1, c.capture.Rounds)
		r.Figures.Lag.N = int64(r.Figures.Planned)
		if got := strings.Join(strings.Fields(rendered(t, r, false)), " "); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in %s", name, c.want, got)
		}
	}
}

// What was selected is said to be replayed only where it was sent.
func TestCaptureThatWasNotSentAsSelected(t *testing.T) {
	for name, c := range map[string]struct {
		rounds, planned int
		sent            int64
		partial         string
		warmup          int
		want            string
	}{
		"all":               {1, 1500, 1500, "", 0, "of 1500 captured: 1500 replayed the capture"},
		"all, in rounds":    {3, 4500, 4500, "", 0, "1500 replayed; 3 rounds of it the capture"},
		"fewer, by stages":  {1, 20, 20, "", 0, "1500 selected; 20 requests were sent the capture"},
		"more, by stages":   {1, 2000, 1990, "", 0, "1500 selected; 1990 requests were sent the capture"},
		"with a warm-up":    {1, 1500, 1400, "", 100, "1500 selected; 1400 requests were sent in the stages the capture"},
		"none":              {1, 1500, 0, "", 0, "1500 selected; 0 requests were sent the capture"},
		"interrupted":       {1, 1500, 20, "it was interrupted", 0, "1500 selected; 20 requests were sent the capture"},
		"cut in a round":    {3, 4500, 1700, "it was interrupted", 0, "1500 selected; 3 rounds of it were asked for; 1700 requests were sent the capture"},
		"cut when all went": {1, 1500, 1500, "it was interrupted", 0, "1500 selected; 1500 requests were sent the capture"},
	} {
		r := sample()
		r.Run.Capture = &evidence.Capture{Captured: 1500, Replayed: 1500, Rounds: c.rounds, Loss: evidence.NewLoss(nil, 1500)}
		r.Partial, r.Figures.Planned, r.Figures.Lag.N, r.Figures.Warmup, r.Figures.Cooldown = c.partial, c.planned, c.sent, c.warmup, 0
		if got := strings.Join(strings.Fields(rendered(t, r, false)), " "); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in %s", name, c.want, got)
		}
	}
}

// A share is never rounded up to all.
func TestShareOfALossyCapture(t *testing.T) {
	for whole, want := range map[float64]string{99.999999: "99.99", 99.996: "99.99", 100: "99.99", 90: "90", 100 * 10.0 / 11: "90.9", 12.5: "12.5", 0.001: "0", 0: "0"} {
		r := sample()
		r.Run.Capture.Loss = evidence.Loss{Requests: 1, Whole: whole}
		if got, want := strings.Join(strings.Fields(rendered(t, r, false)), " "), ": "+want+" % are whole"; !strings.Contains(got, want) {
			t.Errorf("%v: %q is not in %s", whole, want, got)
		}
	}
}

// A shape that differs is said to, and how.
func TestArrivalsInWords(t *testing.T) {
	for name, c := range map[string]struct {
		distance, beyond float64
		says             string
	}{
		"alike":           {0.05, 0.01, ""},
		"in small gaps":   {0.5, 0.01, "by no more than that"},
		"not at all like": {0.5, 0.4, "not shaped as the capture's"},
	} {
		r := sample()
		r.Arrivals.Distance, r.Arrivals.Beyond, r.Arrivals.Differs = c.distance, c.beyond, c.distance > arrivals.Noticeable
		got := rendered(t, r, false)
		for _, words := range []string{"by no more than that", "not shaped as the capture's"} {
			if strings.Contains(got, words) != (words == c.says) {
				t.Errorf("%s: %q is told %v", name, words, words != c.says)
			}
		}
	}
	r := sample()
	r.Arrivals, r.Run.Capture = nil, nil
	if got := rendered(t, r, false); strings.Contains(got, "\nArrivals") || strings.Contains(got, "\nCapture") {
		t.Error(got)
	}
}
