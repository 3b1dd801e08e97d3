package app

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// durationBounds are the upper bounds of the histogram's buckets, in seconds; +Inf follows.
var durationBounds = [...]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// metrics count the app's requests, health checks not among them. All methods may run concurrently.
type metrics struct {
	inFlight atomic.Int64
	codes    [600]atomic.Uint64 // by status; 0 stands for requests that got no answer
	buckets  [len(durationBounds) + 1]atomic.Uint64
	nanos    atomic.Int64
}

func (m *metrics) begin() { m.inFlight.Add(1) }

func (m *metrics) end(status int, took time.Duration) {
	m.inFlight.Add(-1)
	m.codes[status].Add(1)
	i := 0
	for i < len(durationBounds) && took.Seconds() > durationBounds[i] {
		i++
	}
	m.buckets[i].Add(1)
	m.nanos.Add(int64(took))
}

// write gives the text exposition format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats).
func (m *metrics) write(w io.Writer, version string, receiptsInMemory int) error {
	var b strings.Builder
	label := "version=" + quoteLabel(version)
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }

	family("umbra_app_requests_total", "counter", "Requests that ended, by status code; code 0: ended without an answer.")
	for code := range m.codes {
		if n := m.codes[code].Load(); n > 0 {
			fmt.Fprintf(&b, "umbra_app_requests_total{%s,code=\"%d\",class=\"%dxx\"} %d\n", label, code, code/100, n)
		}
	}
	family("umbra_app_requests_in_flight", "gauge", "Requests that have not ended.")
	fmt.Fprintf(&b, "umbra_app_requests_in_flight{%s} %d\n", label, m.inFlight.Load())
	family("umbra_app_receipts_in_memory", "gauge", "Finished receipts that are not on disk.")
	fmt.Fprintf(&b, "umbra_app_receipts_in_memory{%s} %d\n", label, receiptsInMemory)
	family("umbra_app_request_duration_seconds", "histogram", "From the request's headers to the answer's last byte or the request's end.")
	count := uint64(0)
	for i := range m.buckets {
		count += m.buckets[i].Load()
		bound := "+Inf"
		if i < len(durationBounds) {
			bound = strconv.FormatFloat(durationBounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(&b, "umbra_app_request_duration_seconds_bucket{%s,le=\"%s\"} %d\n", label, bound, count)
	}
	fmt.Fprintf(&b, "umbra_app_request_duration_seconds_sum{%s} %g\n", label, time.Duration(m.nanos.Load()).Seconds())
	fmt.Fprintf(&b, "umbra_app_request_duration_seconds_count{%s} %d\n", label, count)
	family("umbra_app_receipts_total", "counter", "Receipts made, of requests that ended.")
	fmt.Fprintf(&b, "umbra_app_receipts_total{%s} %d\n", label, count)

	_, err := io.WriteString(w, b.String())
	return err
}

// quoteLabel quotes a label's value as the format has it: backslash, double quote and line feed are escaped.
func quoteLabel(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}
