package reports

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// Outcomes is what became of the requests.
func (v *view) Outcomes() *grid {
	f := &v.Figures
	return &grid{Caption: "What became of the requests", Head: []string{"outcome", "requests"}, Right: 1, Rows: [][]any{
		row("planned", fmt.Sprint(f.Planned)), row("ok", fmt.Sprint(f.OK)), row("error", fmt.Sprint(f.Error)), row("timeout", fmt.Sprint(f.Timeout)),
		row("in flight", fmt.Sprint(f.Inflight)), row("unsent", fmt.Sprint(f.Unsent)), row("ok with a status of 500 or above", fmt.Sprint(f.Failed)),
		row("of the warm-up", fmt.Sprint(f.Warmup)), row("of the cool-down", fmt.Sprint(f.Cooldown)), row("of paired blocks", fmt.Sprint(f.Blocks))}}
}

// Statuses is the table of status codes.
func (v *view) Statuses() *grid {
	g := &grid{Caption: "Statuses", Head: []string{"status", "responses"}, Right: 1}
	for _, s := range v.Figures.Statuses {
		g.Rows = append(g.Rows, row(fmt.Sprint(s.Code), fmt.Sprint(s.Count)))
	}
	return g.bound()
}

// Classes is the table of the errors.
func (v *view) Classes() *grid {
	g := &grid{Caption: "Requests without a complete response, by class", Head: []string{"class", "outcome", "for example", "requests"}, Right: 3}
	for _, c := range v.Figures.Errors {
		g.Rows = append(g.Rows, row(c.Class, string(c.Outcome), strings.Join(c.Examples, ", "), fmt.Sprint(c.Count)))
	}
	return g.bound()
}

// Times is the table of all latencies of the stages.
func (v *view) Times() *grid {
	g := &grid{Caption: "Latency in milliseconds, over the stages", Head: latencyHead("time"), Right: 1}
	f := &v.Figures
	for _, l := range []struct {
		name string
		summary.Latency
	}{{"response time, from due", f.Response}, {"service time, from sent", f.Service}, {"the client's lag", f.Lag}, {"read lag, at the most", f.ReadLag}} {
		if l.N > 0 {
			g.Rows = append(g.Rows, row(latencyRow(l.name, l.Latency)...))
		}
	}
	return g
}

// Bounds says how many of the latencies are lower bounds.
func (v *view) Bounds() string {
	f := &v.Figures
	if f.Response.LowerBound == 0 {
		return ""
	}
	return fmt.Sprintf("%d of the response times, and %d of the service times, are lower bounds: these requests had no complete response.", f.Response.LowerBound, f.Service.LowerBound)
}

// ByRoute and ByName are the tables of routes and of the mix's entries.
func (v *view) ByRoute() *grid {
	return groups("Requests of each route, response time in milliseconds", "route", "(no route: 404)", v.Figures.Routes)
}

func (v *view) ByName() *grid {
	return groups("Requests of each entry of the mix, response time in milliseconds", "entry", "(no name)", v.Figures.Names)
}

func groups(caption, of, nameless string, all []summary.Group) *grid {
	g := &grid{Caption: caption, Head: append([]string{of, "requests", "not ok"}, latencyHead("")[2:]...), Right: 1}
	for _, each := range all {
		cells := append([]string{or(each.Name, nameless), fmt.Sprint(each.Rows), fmt.Sprint(each.NotOK)}, latencyRow("", each.Response)[2:]...)
		g.Rows = append(g.Rows, row(cells...))
	}
	return g.bound()
}

// ByMirror is the table of what each route's mirrors got.
func (v *view) ByMirror() *grid {
	g := &grid{Caption: "Requests that each route's mirrors got", Head: []string{"route and mirror", "state", "programmed, %", "mirrored, %", "90 % interval", "mirrored", "of"}, Right: 2}
	for _, item := range v.itemsOf(verdict.Sampling) {
		if f := item.Sampling; f != nil {
			g.Rows = append(g.Rows, stated(item, verdict.Digits(float64(f.Numerator)/1e4)+" ± "+verdict.Digits(f.WithinPoints), verdict.Digits(f.EstimatePercent), verdict.Digits(f.LowPercent)+" … "+verdict.Digits(f.HighPercent),
				fmt.Sprint(f.Mirrored), fmt.Sprint(f.Eligible)))
		}
	}
	return g.bound()
}

// Compliance is the table of what each route's requests and copies were found to be.
func (v *view) Compliance() *grid {
	g := &grid{Caption: "Requests of each route and their copies", Head: []string{"route", "state", "sent", "answered", "at a primary", "copies", "compared", "with a finding"}, Right: 2}
	for _, item := range v.itemsOf(verdict.Integrity) {
		if f := item.Integrity; f != nil {
			g.Rows = append(g.Rows, stated(item, fmt.Sprint(f.Requests), fmt.Sprint(f.OK), fmt.Sprint(f.Primaries), fmt.Sprint(f.Mirrored), fmt.Sprint(f.Compared), fmt.Sprint(f.Failed)))
		}
	}
	return g.bound()
}

// Delivered is the table of the shadows' deliveries.
func (v *view) Delivered() *grid {
	g := &grid{Caption: "Copies that the gateway counted and that arrived, by cluster", Head: []string{"cluster", "state", "counted", "arrived", "missing", "under way"}, Right: 2}
	for _, item := range v.itemsOf(verdict.Delivery) {
		if f := item.Delivery; f != nil {
			g.Rows = append(g.Rows, stated(item, fmt.Sprint(f.Counted), fmt.Sprint(f.Arrived), fmt.Sprint(f.Missing), fmt.Sprint(f.Active)))
		}
	}
	return g.bound()
}

// stated is a row of an item: what it is of, its state, and figures.
func stated(item *verdict.Item, figures ...string) []any {
	return slices.Concat([]any{or(strings.TrimSuffix(subject(item), ": "), "all"), item.State}, row(figures...))
}

func (v *view) itemsOf(name string) (out []*verdict.Item) {
	for i := range v.Verdicts {
		for k := range v.Verdicts[i].Items {
			if v.Verdicts[i].Name == name {
				out = append(out, &v.Verdicts[i].Items[k])
			}
		}
	}
	return out
}

// Warned are the report's own warnings and those of its verdicts.
func (v *view) Warned() []string {
	all := slices.Clone(v.Warnings)
	for i := range v.Verdicts {
		for _, w := range v.Verdicts[i].Warnings {
			all = append(all, v.Verdicts[i].Name+": "+w)
		}
	}
	return lines(all)
}

// Unmodelled is what this mesh does not do.
func (v *view) Unmodelled() []string { return lines(v.Run.NotModelled) }

// Late are the client's own faults, in words.
func (v *view) Late() []string {
	if v.Client == nil {
		return nil
	}
	return lines(v.Client.Diagnosis)
}

// ClientWords says what the client cost and what kept it from running.
func (v *view) ClientWords() []string {
	if v.Client == nil {
		return []string{"The client's machine was not measured."}
	}
	return []string{v.Client.costs(), v.Client.disturbances(), v.Client.collections()}
}

// Settings is the table of where and how it ran.
func (v *view) Settings() *grid {
	run, m := &v.Run, &v.Run.Machine
	g := &grid{Caption: "Environment", Head: []string{"what", "value"}, Right: 2}
	add := func(what, value string) {
		if value != "" {
			g.Rows = append(g.Rows, row(what, value))
		}
	}
	add("started", instant(run.Started))
	add("ended", instant(run.Ended))
	add("umbra", run.Version)
	add("machine", strings.Join(kept(m.OS+"/"+m.Arch, fmt.Sprintf("%d CPUs", m.CPUs), m.Go), ", "))
	add("mesh", run.Mesh)
	if c := run.Cluster; c != nil {
		add("Kubernetes", or(c.Kubernetes, "not known"))
		add("Istio", or(c.Istio, "not known"))
		add("proxy", or(c.Proxy, "not known"))
		stood := "made for this run"
		if c.Reused {
			stood = "stood already"
		}
		add("node", or(c.Node, "not known")+", "+stood)
	}
	add("client's path", run.Transport)
	add("load", v.Load)
	if v.Load != "" {
		add("seed", fmt.Sprint(v.Seed))
	}
	if run.Quantum > 0 {
		add("quantum of the client", run.Quantum.String())
	}
	add("faults asked for", run.Faults)
	if x := run.Experiment; x != nil {
		add("controls", x.Controls+joined(": ", x.NoControls))
	}
	return g
}

// kept are the strings that are not empty.
func kept(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" || s == "/" })
}

// Stages is the table of the stages.
func (v *view) Stages() *grid {
	g := &grid{Caption: "Stages, in seconds from the start of the run", Head: []string{"stage", "from", "to", "requests asked for"}, Right: 1}
	for i, s := range v.Run.Stages {
		g.Rows = append(g.Rows, row(fmt.Sprint(i+1), verdict.Digits(s.Begin.Seconds()), verdict.Digits(s.End.Seconds()), fmt.Sprint(s.Asked)))
	}
	return g.bound()
}

// Replayed says what of a capture was replayed; empty where there was none.
func (v *view) Replayed() []string {
	c := v.Run.Capture
	if c == nil {
		return nil
	}
	said := []string{fmt.Sprintf("Capture %s, %s.", c.File, replayed(c, v.Report))}
	if c.Ordered {
		said = append(said, "The next request of a session waited until its predecessor had ended, which is in its response time.")
	}
	if c.Loss.Requests > 0 {
		said = append(said, fmt.Sprintf("The capture lost %d requests that it knows of (%s): %s %% are whole.", c.Loss.Requests, causes(c.Loss.Lost), Share(c.Loss.Whole)))
	}
	if len(c.Loss.Hidden) > 0 {
		said = append(said, fmt.Sprintf("What the capture could not read may have held requests that nobody can count: %s.", causes(c.Loss.Hidden)))
	}
	return said
}

// Gaps is the table of arrivals.
func (v *view) Gaps() *grid {
	g := &grid{Caption: "Gaps between requests in milliseconds", Head: []string{"gaps", "n", "p10", "p50", "p90", "p99", "max"}, Right: 1}
	if s := v.Arrivals; s != nil {
		g.Caption += fmt.Sprintf("; Kolmogorov-Smirnov distance %.3f, %.3f where gaps that differ by up to %v count as equal", s.Distance, s.Beyond, s.Tolerance.Round(time.Microsecond))
		for _, each := range []struct {
			name string
			n    int64
			at   []time.Duration
		}{{"due, as captured", s.Due.N, []time.Duration{s.Due.P10, s.Due.P50, s.Due.P90, s.Due.P99, s.Due.Max}},
			{"sent", s.Sent.N, []time.Duration{s.Sent.P10, s.Sent.P50, s.Sent.P90, s.Sent.P99, s.Sent.Max}}} {
			cells := []string{each.name, fmt.Sprint(each.n)}
			for _, d := range each.at {
				cells = append(cells, ms(d))
			}
			g.Rows = append(g.Rows, row(cells...))
		}
	}
	return g
}

// Connected is the table of the set-up of connections.
func (v *view) Connected() *grid {
	g := &grid{Head: []string{"set-up", "n", "failed", "p50", "p99", "max"}, Right: 1}
	c := v.Connections
	if c == nil {
		return g
	}
	to, _ := bounded(c.Addresses, maxAddresses)
	g.Caption = fmt.Sprintf("Set-up of connections in milliseconds; %d at once at the most, to %s", c.Most, or(strings.Join(to, ", "), "no address"))
	if more := len(c.Addresses) - len(to); more > 0 {
		g.Caption += fmt.Sprintf(" and %d more", more)
	}
	add := func(name string, h host.Handshakes) {
		if h.Count+h.Failed > 0 {
			g.Rows = append(g.Rows, row(name, fmt.Sprint(h.Count), fmt.Sprint(h.Failed), ms(h.P50), ms(h.P99), ms(h.Max)))
		}
	}
	add("TCP, to established", c.Dial)
	add("TLS, from there", c.TLS)
	return g
}

// Changed are the changes to the manifests.
func (v *view) Changed() []string { return lines(v.Run.Changes) }

// Restarted is the table of pods that did not last the whole run.
func (v *view) Restarted() *grid {
	g := &grid{Caption: "Pods of the app that did not last the whole run", Head: []string{"pod", "version", "what", "at", "its receipts"}, Right: 5}
	for _, r := range v.Run.Restarts {
		receipts := "whole"
		if r.Lost {
			receipts = "some may be lost"
		}
		g.Rows = append(g.Rows, row(r.Pod, r.Version, r.What, or(instant(r.At), "not known"), receipts))
	}
	return g.bound()
}

// Cores is the table of CPU use.
func (v *view) Cores() *grid {
	g := &grid{Caption: "CPU on average, in cores", Head: []string{"pod", "namespace", "container", "version", "cores", "over, s"}, Right: 4}
	for _, u := range v.Run.CPU {
		g.Rows = append(g.Rows, row(u.Pod, u.Namespace, u.Container, u.Version, fmt.Sprintf("%.3f", u.Cores), fmt.Sprintf("%.1f", u.Over.Seconds())))
	}
	return g.bound()
}

// Stood is the table of the steps to the mesh.
func (v *view) Stood() *grid {
	g := &grid{Caption: "Steps to the mesh; some went on side by side", Head: []string{"step", "seconds"}, Right: 1}
	for _, s := range v.Run.Steps {
		g.Rows = append(g.Rows, row(s.Name, fmt.Sprintf("%.3f", s.Took.Seconds())))
	}
	return g.bound()
}

// Shared tells whether all shares the client's CPUs.
func (v *view) Shared() bool { return v.Run.Mesh == "embedded" }

// Alone tells whether there was no mesh.
func (v *view) Alone() bool { return v.Run.Mesh == evidence.NoMesh }

// unquoted are the words that a shell takes as they are.
var unquoted = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// Command is what was run, as a shell takes it.
func (v *view) Command() string {
	words, more := bounded(v.Run.Command, listed)
	out := make([]string, len(words))
	for i, w := range words {
		if out[i] = w; !unquoted.MatchString(w) {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ") + joined(" ", more)
}
