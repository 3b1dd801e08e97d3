//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// said is what a tool says of its run.
type said struct {
	requests      int64         // that it sent
	failed        int64         // of them, without a good answer
	unsent        int64         // planned, and not sent
	p50, p75, p99 time.Duration // of the latency that it reports; silent where it does not
	umbra         *umbraSays    // nil of a peer
}

// silent stands for a figure that a tool does not give.
const silent time.Duration = -1

// umbraSays is what only umbra says.
type umbraSays struct {
	Verdicts []verdict.Verdict `json:"verdicts"`
	Figures  summary.Figures   `json:"figures"`
}

// rate is the state of umbra's verdict on the asked rate.
func (u *umbraSays) rate() verdict.State {
	for _, v := range u.Verdicts {
		if v.Name == verdict.Rate {
			return v.State
		}
	}
	return verdict.NotTested
}

// accounted says whether the outcomes add up to the plan.
func (u *umbraSays) accounted() bool {
	f := u.Figures
	return f.Planned == f.OK+f.Error+f.Timeout+f.Inflight+f.Unsent
}

var (
	wrkRequests   = regexp.MustCompile(`(?m)^\s+(\d+) requests in `)
	wrkErrors     = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkBad        = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkPercentile = regexp.MustCompile(`(?m)^\s+(\d+(?:\.\d+)?)%\s+(\d+(?:\.\d+)?(?:us|ms|s|m|h))\s*$`)
)

// parseWrk reads what wrk and wrk2 print with --latency.
func parseWrk(out []byte) (said, error) {
	s := said{p50: silent, p75: silent, p99: silent}
	var err error
	if s.requests, err = count(wrkRequests, out, 1); err != nil {
		return s, err
	}
	for i := 1; i <= 4; i++ {
		n, _ := count(wrkErrors, out, i) // printed only where there were some
		s.failed += n
	}
	bad, _ := count(wrkBad, out, 1) // likewise
	s.failed += bad
	for _, m := range wrkPercentile.FindAllSubmatch(out, -1) {
		d, err := time.ParseDuration(string(m[2]))
		if err != nil {
			return s, err
		}
		s.set(string(m[1]), d)
	}
	return s, s.complete()
}

// set takes one of the percentiles that the bench wants.
func (s *said) set(percent string, d time.Duration) {
	p, _ := strconv.ParseFloat(percent, 64)
	switch p {
	case 50:
		s.p50 = d
	case 75:
		s.p75 = d
	case 99:
		s.p99 = d
	}
}

// complete is an error where a tool that gives percentiles gave none.
func (s *said) complete() error {
	if s.p50 == silent || s.p99 == silent {
		return errors.New("its p50 or p99 is missing")
	}
	return nil
}

// count is a number that a pattern's group finds.
func count(pattern *regexp.Regexp, out []byte, group int) (int64, error) {
	m := pattern.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("nothing like %q in it", pattern)
	}
	return strconv.ParseInt(string(m[group]), 10, 64)
}

var h2loadRequests = regexp.MustCompile(`(?m)^requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded`)

// parseH2load reads what h2load prints, which has no percentiles.
func parseH2load(out []byte) (said, error) {
	s := said{p50: silent, p75: silent, p99: silent}
	total, err := count(h2loadRequests, out, 1)
	if err != nil {
		return s, err
	}
	good, err := count(h2loadRequests, out, 2)
	s.requests, s.failed = total, total-good
	return s, err
}

var (
	heyPercentile = regexp.MustCompile(`(?m)^\s+(\d+)%+ in ([\d.]+) secs`)
	heyStatus     = regexp.MustCompile(`(?m)^\s+\[(\d+)\]\s+(\d+) responses`)
	heyError      = regexp.MustCompile(`(?m)^\s+\[(\d+)\]\s+\D`)
)

// parseHey reads what hey prints. It counts the first million of answers only.
func parseHey(out []byte) (said, error) {
	s := said{p50: silent, p75: silent, p99: silent}
	for _, m := range heyStatus.FindAllSubmatch(out, -1) {
		n, err := strconv.ParseInt(string(m[2]), 10, 64)
		if err != nil {
			return s, err
		}
		s.requests += n
		if m[1][0] != '2' {
			s.failed += n
		}
	}
	for _, m := range heyError.FindAllSubmatch(out, -1) {
		n, err := strconv.ParseInt(string(m[1]), 10, 64)
		if err != nil {
			return s, err
		}
		s.requests += n
		s.failed += n
	}
	for _, m := range heyPercentile.FindAllSubmatch(out, -1) {
		seconds, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return s, err
		}
		s.set(string(m[1]), inSeconds(seconds))
	}
	return s, s.complete()
}

func inSeconds(x float64) time.Duration { return time.Duration(math.Round(x * 1e9)) }

// parseVegeta reads `vegeta report -type json`, which has no p75.
func parseVegeta(out []byte) (said, error) {
	var r struct {
		Requests  int64
		Success   float64
		Latencies struct {
			P50 time.Duration `json:"50th"`
			P99 time.Duration `json:"99th"`
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return said{}, err
	}
	failed := float64(r.Requests) * (1 - r.Success)
	return said{requests: r.Requests, failed: int64(failed + .5), p50: r.Latencies.P50, p75: silent, p99: r.Latencies.P99}, nil
}

// parseFortio reads fortio's JSON.
func parseFortio(out []byte) (said, error) {
	var r struct {
		RetCodes          map[string]int64
		DurationHistogram struct {
			Count       int64
			Percentiles []struct{ Percentile, Value float64 }
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return said{}, err
	}
	s := said{requests: r.DurationHistogram.Count, failed: r.DurationHistogram.Count, p50: silent, p75: silent, p99: silent}
	for code, n := range r.RetCodes {
		if strings.HasPrefix(code, "2") {
			s.failed -= n
		}
	}
	for _, p := range r.DurationHistogram.Percentiles {
		s.set(fmt.Sprint(p.Percentile), inSeconds(p.Value))
	}
	return s, s.complete()
}

// parseK6 reads the metrics that k6.js prints.
func parseK6(out []byte) (said, error) {
	type metric struct{ Values map[string]float64 }
	var m map[string]metric
	if err := json.Unmarshal(out, &m); err != nil {
		return said{}, err
	}
	if m["http_reqs"].Values == nil || m["http_req_duration"].Values == nil {
		return said{}, errors.New("http_reqs or http_req_duration is missing")
	}
	ms := func(name string) time.Duration { return inSeconds(m["http_req_duration"].Values[name] / 1000) }
	return said{
		requests: int64(m["http_reqs"].Values["count"]),
		failed:   int64(m["http_req_failed"].Values["passes"]), // "passes" are where it was true that the request failed
		unsent:   int64(m["dropped_iterations"].Values["count"]),
		p50:      ms("med"), p75: ms("p(75)"), p99: ms("p(99)"),
	}, nil
}

// parseOha reads oha's JSON. What it gave up at the end of its time is among its errors.
func parseOha(out []byte) (said, error) {
	var r struct {
		LatencyPercentiles     struct{ P50, P75, P99 *float64 }
		StatusCodeDistribution map[string]int64
		ErrorDistribution      map[string]int64
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return said{}, err
	}
	p := r.LatencyPercentiles
	if p.P50 == nil || p.P75 == nil || p.P99 == nil {
		return said{}, errors.New("its p50, p75 or p99 is missing")
	}
	s := said{p50: inSeconds(*p.P50), p75: inSeconds(*p.P75), p99: inSeconds(*p.P99)}
	for code, n := range r.StatusCodeDistribution {
		s.requests += n
		if !strings.HasPrefix(code, "2") {
			s.failed += n
		}
	}
	for _, n := range r.ErrorDistribution {
		s.requests += n
		s.failed += n
	}
	return s, nil
}

// parseUmbra reads report.json from umbra's output, and the p75, which it lacks, from the percentile table in the folder.
func parseUmbra(out []byte, dir string) (said, error) {
	table, err := os.ReadFile(filepath.Join(dir, umbraRun, "hdr", "response.hgrm"))
	if err != nil {
		return said{}, err
	}
	return parseReport(out, table)
}

func parseReport(out, table []byte) (said, error) {
	u := &umbraSays{}
	if err := json.Unmarshal(out, u); err != nil {
		return said{}, err
	}
	p75, err := percentile(table, 0.75)
	if err != nil {
		return said{}, err
	}
	f := u.Figures
	return said{
		requests: int64(f.Planned - f.Unsent), failed: int64(f.Planned - f.Unsent - f.OK + f.Failed), unsent: int64(f.Unsent),
		p50: f.Response.P50, p75: p75, p99: f.Response.P99, umbra: u,
	}, nil
}

// percentile finds a quantile in an HdrHistogram percentile table (.hgrm), whose values are milliseconds.
func percentile(table []byte, q float64) (time.Duration, error) {
	for line := range bytes.Lines(table) {
		var value, at float64
		if n, _ := fmt.Sscan(string(line), &value, &at); n == 2 && at >= q {
			return inSeconds(value / 1000), nil
		}
	}
	return 0, fmt.Errorf("no percentile from %g in the table", q)
}
