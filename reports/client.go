package reports

import (
	"fmt"
	"strings"
	"time"

	"umbra/internal/host"
	"umbra/internal/summary"
)

// Client is the client's own part in a run: what it cost, and when and why it was late.
type Client struct {
	Requests  int64         `json:"requests"` // rows, of all phases
	Process   *Cost         `json:"process,omitempty"`
	Loops     *Cost         `json:"loops,omitempty"` // of the event loops' threads, which are a part of the process
	Usage     host.Usage    `json:"usage"`           // over the whole run
	Steal     *float64      `json:"steal_percent,omitempty"`
	ReadLag   time.Duration `json:"read_lag_max_ns"`
	Late      []host.Span   `json:"late,omitempty"`
	Diagnosis []string      `json:"diagnosis,omitempty"` // Late in words, the longest lags of many
}

// Cost is CPU time.
type Cost struct {
	CPU        time.Duration `json:"cpu_ns"`
	PerRequest time.Duration `json:"cpu_per_request_ns"`
}

// maxDiagnosis is how many intervals a report says in words.
const maxDiagnosis = 10

// NewClient takes what was measured of the client's machine.
func NewClient(d *host.Diagnosis) *Client {
	c := &Client{Requests: d.Rows, Usage: d.Total, ReadLag: d.ReadLag, Late: d.Spans, Diagnosis: d.Sentences(maxDiagnosis)}
	if p := d.Total.Process; p != nil {
		c.Process = cost(p.CPU(), d.Rows)
	}
	if loops := d.Total.Loops; len(loops) > 0 {
		var cpu time.Duration
		for _, l := range loops {
			cpu += l.CPU
		}
		c.Loops = cost(cpu, d.Looped)
	}
	if m := d.Total.Machine; m != nil && m.Total > 0 {
		steal := 100 * m.Steal.Seconds() / m.Total.Seconds()
		c.Steal = &steal
	}
	return c
}

func cost(cpu time.Duration, requests int64) *Cost {
	return &Cost{cpu, cpu / time.Duration(max(1, requests))}
}

// client shows which path sent the load, how late it was, and why.
func (t sheet) client(r *Report) {
	if r.Client == nil && r.Figures.Lag.N == 0 {
		return
	}
	t.title("Client, the path: " + or(r.Run.Transport, "not known"))
	t.lags(&r.Figures)
	c := r.Client
	if c == nil {
		t.paragraph("  ", "its machine was not measured")
		return
	}
	t.paragraph("  ", c.costs())
	t.paragraph("  ", c.disturbances())
	t.paragraph("  ", c.collections())
	for _, sentence := range c.Diagnosis {
		t.paragraph("  late: ", sentence)
	}
}

// lags is the table of what the client added itself.
func (t sheet) lags(f *summary.Figures) {
	var rows [][]string
	for _, l := range []struct {
		name string
		summary.Latency
	}{{"generator lag, sent − max(due, ready)", f.Lag}, {"read lag, at the most", f.ReadLag}} {
		if l.N > 0 {
			rows = append(rows, latencyRow(l.name, l.Latency))
		}
	}
	if len(rows) > 0 {
		t.table(append([][]string{latencyHead("in milliseconds")}, rows...), 1)
	}
}

// costs is "CPU 12.1 µs a request, 11.0 of them in 1 event loop; on 2 CPUs".
func (c *Client) costs() string {
	if c.Process == nil {
		return "its CPU time is not known on this system"
	}
	text := fmt.Sprintf("CPU %s µs a request (%s user, %s system in all)", micros(c.Process.PerRequest), seconds(c.Usage.Process.User), seconds(c.Usage.Process.System))
	if c.Loops != nil {
		text += fmt.Sprintf(", %s µs of it in %s", micros(c.Loops.PerRequest), plural(int64(len(c.Usage.Loops)), "event loop", "event loops"))
	}
	return text + fmt.Sprintf("; it may run on %s", plural(int64(c.Usage.CPUs), "CPU", "CPUs"))
}

// disturbances tells what kept the client from running. What is not known is said to be.
func (c *Client) disturbances() string {
	parts := []string{"involuntary switches not known"}
	if p := c.Usage.Process; p != nil {
		parts[0] = plural(p.Involuntary, "involuntary switch", "involuntary switches")
	}
	if c.Loops != nil {
		parts[0] += ", " + c.loopsPushed() + " of event loops"
	}
	if t := c.Usage.Throttled; t == nil {
		parts = append(parts, "throttling not known")
	} else if t.Times == 0 {
		parts = append(parts, "never throttled")
	} else {
		parts = append(parts, fmt.Sprintf("throttled %s for %s", plural(t.Times, "time", "times"), seconds(t.For)))
	}
	if c.Steal == nil {
		parts = append(parts, "steal not known")
	} else {
		parts = append(parts, fmt.Sprintf("steal %.2g %%", *c.Steal))
	}
	return strings.Join(parts, "; ")
}

func (c *Client) loopsPushed() string {
	var n int64
	for _, l := range c.Usage.Loops {
		n += l.Involuntary
	}
	return fmt.Sprint(n)
}

func (c *Client) collections() string {
	gc := &c.Usage.GC
	if gc.Pauses == 0 {
		return plural(gc.Cycles, "garbage collection", "garbage collections") + ", no pause"
	}
	return fmt.Sprintf("%s, the longest pause %s ms at the most", plural(gc.Cycles, "garbage collection", "garbage collections"), ms(gc.Longest))
}

// connections shows how the connections came to stand.
func (t sheet) connections(c *host.Connections) {
	if c == nil {
		return
	}
	t.title("Connections")
	to := strings.Join(c.Addresses[:min(maxAddresses, len(c.Addresses))], ", ")
	if more := len(c.Addresses) - maxAddresses; more > 0 {
		to += fmt.Sprintf(" and %d more", more)
	}
	line := fmt.Sprintf("%d at once at the most, to %s", c.Most, or(to, "no address"))
	if c.Resolve > 0 {
		line += fmt.Sprintf(", resolved in %s ms", ms(c.Resolve))
	}
	t.paragraph("  ", line)
	rows := [][]string{{"set-up, in milliseconds", "n", "failed", "p50", "p99", "max"}}
	for _, h := range []struct {
		name string
		host.Handshakes
	}{{"TCP, to established", c.Dial}, {"TLS, from there", c.TLS}} {
		if h.Count+h.Failed > 0 {
			rows = append(rows, []string{h.name, fmt.Sprint(h.Count), fmt.Sprint(h.Failed), ms(h.P50), ms(h.P99), ms(h.Max)})
		}
	}
	if len(rows) > 1 {
		t.table(rows, 1)
	}
	if c.Retries > 0 {
		t.paragraph("  ", fmt.Sprintf("%s sent again, as the server had not processed them", plural(int64(c.Retries), "request was", "requests were")))
	}
}

// maxAddresses is how many addresses are named.
const maxAddresses = 4

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e3) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
