//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/verdict"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The samples are what the tools printed.
func TestWhatToolsSay(t *testing.T) {
	for _, c := range []struct {
		sample string
		parse  func([]byte) (said, error)
		want   said
	}{
		{"wrk.txt", parseWrk, said{requests: 208928, p50: 329 * us, p75: 512 * us, p99: 3480 * us}},
		{"wrk-failed.txt", parseWrk, said{requests: 36, failed: 36, p50: 152990 * us, p75: 456980 * us, p99: 958390 * us}},
		{"wrk2.txt", parseWrk, said{requests: 28794, p50: 1360 * us, p75: 1910 * us, p99: 131460 * us}},
		{"h2load-h1.txt", parseH2load, said{requests: 176259, p50: silent, p75: silent, p99: silent}},
		{"h2load-h2c.txt", parseH2load, said{requests: 131030, p50: silent, p75: silent, p99: silent}},
		{"hey.txt", parseHey, said{requests: 49850, p50: 1900 * us, p75: 2800 * us, p99: 5700 * us}},
		{"vegeta.json", parseVegeta, said{requests: 38129, p50: 1193846, p75: silent, p99: 5243021}},
		{"fortio.json", parseFortio, said{requests: 163565, p50: 551506, p75: 783053, p99: 1700741}},
		{"k6.json", parseK6, said{requests: 18236, p50: 4691382, p75: 7451681, p99: 18490458}},
		{"k6-open.json", parseK6, said{requests: 15110, unsent: 4891, p50: 4152962, p75: 7056737, p99: 19937520}},
		{"oha.json", parseOha, said{requests: 19991, p50: 1355143, p75: 2215182, p99: 11649282}},
	} {
		t.Run(c.sample, func(t *testing.T) {
			got, err := c.parse(sample(t, c.sample))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(said{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsThatToolsSay(t *testing.T) {
	wrk := strings.Replace(string(sample(t, "wrk.txt")), "requests in 2.10s, 49.61MB read\n",
		"requests in 2.10s, 49.61MB read\n  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\n", 1)
	hey := string(sample(t, "hey.txt")) + "  [503]\t7 responses\n\nError distribution:\n  [20]\tGet \"http://127.0.0.1:1/\": dial tcp: connection refused\n"
	h2load := strings.Replace(string(sample(t, "h2load-h2c.txt")), "131030 succeeded, 0 failed", "131020 succeeded, 10 failed", 1)
	fortio := strings.Replace(string(sample(t, "fortio.json")), `"200": 163565`, `"200": 163560, "-1": 5`, 1)
	vegeta := strings.Replace(string(sample(t, "vegeta.json")), `"success":1,`, `"success":0.5,`, 1)
	k6 := strings.Replace(string(sample(t, "k6.json")), `"passes":0,"fails":18236`, `"passes":36,"fails":18200`, 1)
	oha := strings.Replace(string(sample(t, "oha.json")), `"errorDistribution": {}`, `"errorDistribution": {"aborted due to deadline": 50}`, 1)
	for _, c := range []struct {
		name             string
		out              string
		parse            func([]byte) (said, error)
		requests, failed int64
	}{
		{"wrk", wrk, parseWrk, 208928, 54321},
		{"hey", hey, parseHey, 49850 + 27, 27},
		{"h2load", h2load, parseH2load, 131030, 10},
		{"fortio", fortio, parseFortio, 163565, 5},
		{"vegeta", vegeta, parseVegeta, 38129, 19065},
		{"k6", k6, parseK6, 18236, 36},
		{"oha", oha, parseOha, 19991 + 50, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.parse([]byte(c.out))
			if err != nil || got.requests != c.requests || got.failed != c.failed {
				t.Errorf("%d requests, %d failed (%v), want %d and %d", got.requests, got.failed, err, c.requests, c.failed)
			}
		})
	}
}

func TestWhatUmbraSays(t *testing.T) {
	got, err := parseReport(sample(t, "umbra.json"), sample(t, "umbra.hgrm"))
	if err != nil {
		t.Fatal(err)
	}
	f := got.umbra.Figures
	if got.requests != 1000 || got.failed != 0 || got.unsent != 0 || !got.umbra.accounted() {
		t.Errorf("%d requests, %d failed, %d unsent; outcomes %+v", got.requests, got.failed, got.unsent, f)
	}
	if got.p50 != 232063 || got.p99 != 1605631 || f.Lag.P99 != 1139711 {
		t.Errorf("p50 %v, p99 %v, lag p99 %v", got.p50, got.p99, f.Lag.P99)
	}
	if got.p75 < got.p50 || got.p75 > f.Response.P90 {
		t.Errorf("p75 %v is not between p50 %v and p90 %v", got.p75, got.p50, f.Response.P90)
	}
	f.Unsent = 7
	if (&umbraSays{Figures: f}).accounted() {
		t.Error("7 more outcomes than requests are taken for accounted")
	}
}

func TestWhatUmbraSaysOfTheRate(t *testing.T) {
	for verdicts, want := range map[string]verdict.State{`[]`: verdict.NotTested, `[{"name": "Impact", "state": "FAIL"}, {"name": "Rate", "state": "PASS"}]`: verdict.Pass} {
		text := strings.Replace(string(sample(t, "umbra.json")), `"verdicts": []`, `"verdicts": `+verdicts, 1)
		got, err := parseReport([]byte(text), sample(t, "umbra.hgrm"))
		if err != nil || got.umbra.rate() != want {
			t.Errorf("%s: %v, %v, want %v", verdicts, got.umbra.rate(), err, want)
		}
	}
}

// What is not a tool's output must be an error, as figures of 0 would win every comparison.
func TestNoOutput(t *testing.T) {
	parsers := map[string]func([]byte) (said, error){"wrk": parseWrk, "h2load": parseH2load, "hey": parseHey, "vegeta": parseVegeta,
		"fortio": parseFortio, "k6": parseK6, "oha": parseOha,
		"umbra": func(out []byte) (said, error) { return parseReport(out, nil) }}
	for name, parse := range parsers {
		for _, out := range []string{"", "connection refused\n", "[]"} {
			if s, err := parse([]byte(out)); err == nil {
				t.Errorf("%s: %q gave %+v", name, out, s)
			}
		}
	}
	for name, text := range map[string]string{"fortio": "{}", "k6": "{}", "oha": "{}", "umbra": "{}", "hey": string(sample(t, "hey-failed.txt"))} {
		if s, err := parsers[name]([]byte(text)); err == nil {
			t.Errorf("%s: %q gave %+v", name, text, s)
		}
	}
}

func FuzzParsers(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no samples: ", err)
	}
	for _, name := range files {
		f.Add(sample(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		for _, parse := range []func([]byte) (said, error){parseWrk, parseH2load, parseHey} {
			if s, err := parse(out); err == nil && s.requests < 0 {
				t.Errorf("%d requests", s.requests)
			}
		}
		for _, parse := range []func([]byte) (said, error){parseVegeta, parseFortio, parseK6, parseOha} {
			_, _ = parse(out) // must not panic
		}
	})
}
