package app

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)\{([a-z]+="(?:[^"\\]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\]|\\["\\n])*")*)\} (\S+)$`)

// parseMetrics reads the text format strictly: every sample belongs to a family declared above it.
func parseMetrics(t *testing.T, text string) map[string]float64 {
	t.Helper()
	samples, kinds := map[string]float64{}, map[string]string{}
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if fields := strings.Fields(line); fields[0] == "#" {
			if fields[1] == "TYPE" {
				kinds[fields[2]] = fields[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a sample: %q", line)
		}
		family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
		if kinds[m[1]] == "" && kinds[family] != "histogram" {
			t.Errorf("%s has no type", m[1])
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		samples[m[1]+"{"+m[2]+"}"] = v
	}
	return samples
}

func TestMetrics(t *testing.T) {
	a := start(t, Config{Version: `v"1\`, Behaviour: Behaviour{}})
	c := client(t, false)
	for range 3 {
		if _, _, err := send(c, a, "GET", "/", "x", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := send(c, a, "GET", "/health", "", ""); err != nil {
		t.Fatal(err)
	}
	res, text := admin(t, a, "/metrics")
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("status %d, type %q", res.StatusCode, got)
	}
	samples := parseMetrics(t, string(text))
	version := `version="v\"1\\"`
	for name, want := range map[string]float64{
		`umbra_app_requests_total{` + version + `,code="200",class="2xx"}`:     3,
		`umbra_app_requests_in_flight{` + version + `}`:                        0,
		`umbra_app_receipts_total{` + version + `}`:                            3,
		`umbra_app_receipts_in_memory{` + version + `}`:                        3,
		`umbra_app_request_duration_seconds_count{` + version + `}`:            3,
		`umbra_app_request_duration_seconds_bucket{` + version + `,le="+Inf"}`: 3,
	} {
		if got, ok := samples[name]; !ok || got != want {
			t.Errorf("%s is %v, not %v in\n%s", name, got, want, text)
		}
	}
}

func TestMetricsBuckets(t *testing.T) {
	var m metrics
	for _, took := range []time.Duration{0, 500 * time.Microsecond, 501 * time.Microsecond, time.Minute} {
		m.begin()
		m.end(503, took)
	}
	m.begin()
	m.begin()
	m.end(0, time.Second)
	var b strings.Builder
	if err := m.write(&b, "v2", 0); err != nil {
		t.Fatal(err)
	}
	samples := parseMetrics(t, b.String())
	for name, want := range map[string]float64{
		`umbra_app_request_duration_seconds_bucket{version="v2",le="0.0005"}`: 2,
		`umbra_app_request_duration_seconds_bucket{version="v2",le="0.001"}`:  3,
		`umbra_app_request_duration_seconds_bucket{version="v2",le="10"}`:     4,
		`umbra_app_request_duration_seconds_bucket{version="v2",le="+Inf"}`:   5,
		`umbra_app_request_duration_seconds_sum{version="v2"}`:                61.001001,
		`umbra_app_requests_total{version="v2",code="503",class="5xx"}`:       4,
		`umbra_app_requests_total{version="v2",code="0",class="0xx"}`:         1,
		`umbra_app_requests_in_flight{version="v2"}`:                          1,
	} {
		if got, ok := samples[name]; !ok || got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}
