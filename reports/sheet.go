package reports

import (
	"fmt"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// medium is what the sections of a report are written on. It makes strings from outside inert.
type medium interface {
	title(s string) // of the section that follows
	// paragraph writes s behind lead, which says what it is about. How far lead is indented says how deep it lies.
	paragraph(lead, s string)
	// table writes rows, the first of which is their head; the right-th column and those behind it are numbers.
	table(rows [][]string, right int)
	state(s verdict.State) string // as it stands in a lead
	draws() bool                  // time lines, of letters
}

// sheet writes the sections of a report on a medium, in words and tables.
type sheet struct{ medium }

// sections are those behind the head, in the order that all formats share.
func (t sheet) sections(r *Report) {
	for i := range r.Verdicts {
		t.verdict(&r.Verdicts[i])
	}
	t.mesh(r)
	t.spectrum(r)
	t.latencies(&r.Figures)
	t.load(r)
	t.fractions(r)
	t.compared(r.Versions)
	t.groups(&r.Figures)
	t.errors(&r.Figures)
	t.validity(r)
	t.environment(r)
}

// validity is what tells how far the figures can be trusted.
func (t sheet) validity(r *Report) {
	t.client(r)
	t.connections(r.Connections)
	t.capture(r)
	t.arrivals(r.Arrivals)
	t.restarts(r.Run.Restarts)
	t.list("Not modelled by this mesh, though the manifests ask for it", r.Run.NotModelled)
	t.list("Warnings", r.Warnings)
}

// environment is what the run was made of, and its command.
func (t sheet) environment(r *Report) {
	t.cluster(&r.Run)
	t.run(r)
}

// verdict gives what stands behind a verdict: its items, findings and warnings. A single item without more says what the
// head said already.
func (t sheet) verdict(v *verdict.Verdict) {
	if len(v.Items) < 2 && len(v.Findings)+len(v.Warnings) == 0 && v.Experiment == nil {
		return
	}
	t.title(v.Name)
	for i := range v.Items {
		item := &v.Items[i]
		t.paragraph("  "+t.state(item.State)+" ", itemText(item))
	}
	for _, f := range v.Findings {
		t.paragraph("  ", findingText(&f))
	}
	t.experiment(v.Experiment)
	for _, w := range v.Warnings {
		t.paragraph("  ", "warning: "+w)
	}
}

func itemText(item *verdict.Item) string {
	if item.Approximate {
		return subject(item) + "approximately, " + item.Summary
	}
	return subject(item) + item.Summary
}

// shown is how many examples of a finding are named; report.json has more.
const shown = 3

func findingText(f *verdict.Finding) string {
	line := fmt.Sprintf("%s: %d × %s", f.Severity, f.Count, f.Text)
	if len(f.Examples) > 0 {
		line += ", for example " + strings.Join(f.Examples[:min(shown, len(f.Examples))], ", ")
	}
	return line
}

// subject says what an item is about.
func subject(item *verdict.Item) string {
	switch {
	case item.Route != "" && item.Cluster != "":
		return item.Route + " → " + verdict.ShortCluster(item.Cluster) + ": "
	case item.Route != "":
		return item.Route + ": "
	case item.Cluster != "":
		return verdict.ShortCluster(item.Cluster) + ": "
	}
	return ""
}

// mesh is the mesh as it was configured, and what went over it.
func (t sheet) mesh(r *Report) {
	m := r.Mesh
	if m == nil {
		return
	}
	t.title("Mesh, through the gateway host " + m.Host)
	rows := [][]string{{"route", "to", "mirror", "configured", "programmed"}}
	for _, r := range m.Routes {
		to := make([]string, len(r.To))
		for i, c := range r.To {
			to[i] = verdict.ShortCluster(c)
		}
		row := []string{r.Name, or(strings.Join(to, ", "), "answered at the gateway"), "none", "", ""}
		for _, mirror := range r.Mirrors {
			row[2], row[3], row[4] = verdict.ShortCluster(mirror.Cluster), fmt.Sprintf("%g %%", mirror.Percent), fmt.Sprintf("%d/1,000,000", mirror.Numerator)
			rows = append(rows, row)
			row = []string{"", "", "", "", ""}
		}
		if len(r.Mirrors) == 0 {
			rows = append(rows, row)
		}
	}
	t.table(rows, 3)
	for _, v := range r.Verdicts {
		for i := range v.Items {
			if counts := passed(&v.Items[i]); counts != "" {
				t.paragraph("  ", subject(&v.Items[i])+counts)
			}
		}
	}
}

// passed counts what passed an edge of the mesh; "" where the item is about none.
func passed(item *verdict.Item) string {
	switch {
	case item.Integrity != nil:
		f := item.Integrity
		return fmt.Sprintf("%d requests sent, %d arrived at the primary, %d copies at mirrors", f.Requests, f.Primaries, f.Mirrored)
	case item.Delivery != nil:
		f := item.Delivery
		return fmt.Sprintf("%d copies sent by the gateway's count, %d arrived", f.Counted, f.Arrived)
	case item.Sampling != nil:
		f := item.Sampling
		return fmt.Sprintf("%d of the %d requests of the stages mirrored", f.Mirrored, f.Eligible)
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// spectrum is that of the primary with mirroring off and on or, where there were no paired blocks, that of the response and service
// times.
func (t sheet) spectrum(r *Report) {
	for _, v := range r.Verdicts {
		if x := v.Experiment; x != nil && len(x.Spectrum) > 0 {
			t.arms(x.Spectrum)
			return
		}
	}
	t.pair(r.Figures.ResponseSpectrum, r.Figures.ServiceSpectrum)
}

func (t sheet) arms(points []verdict.Point) {
	t.title("Latency spectrum with mirroring off and on, in milliseconds; intervals are of 95 %")
	rows := [][]string{{"percentile", "off", "interval", "on", "interval"}}
	for i := range points {
		p := &points[i]
		rows = append(rows, []string{fmt.Sprintf("%g", p.Percentile), ms(p.Off.Value), interval(p.Off.Interval), ms(p.On.Value), interval(p.On.Interval)})
	}
	t.table(rows, 0)
}

func interval(i *impact.Interval) string {
	if i == nil {
		return ""
	}
	return ms(i.Low) + " … " + ms(i.High)
}

// pair is the spectra of the response and service times, which are of as many requests or fewer in the second.
func (t sheet) pair(response, service []summary.Percentile) {
	if len(response) == 0 {
		return
	}
	t.title("Latency spectrum, in milliseconds")
	rows := [][]string{{"percentile", "response", "service"}}
	for _, p := range response {
		row := []string{fmt.Sprintf("%g", p.Percentile), ms(p.Value), ""}
		for _, s := range service {
			if s.Percentile == p.Percentile {
				row[2] = ms(s.Value)
			}
		}
		rows = append(rows, row)
	}
	t.table(rows, 0)
}

// latencies hold the response time against the service time: what lies between them is waiting for a connection, and the client's lag.
func (t sheet) latencies(f *summary.Figures) {
	if f.Response.N == 0 {
		return
	}
	t.title("Latency, in milliseconds")
	t.table([][]string{latencyHead(""), latencyRow("response time, from due", f.Response), latencyRow("service time, from sent", f.Service)}, 1)
	if f.Response.LowerBound > 0 {
		t.paragraph("  ", fmt.Sprintf("%d of the response times, and %d of the service times, are lower bounds: these requests had no complete response",
			f.Response.LowerBound, f.Service.LowerBound))
	}
}

// groups are the response times by mix entry and by route.
func (t sheet) groups(f *summary.Figures) {
	rows := [][]string{append([]string{"", "requests", "not ok"}, latencyHead("")[2:]...)}
	add := func(name string, g *summary.Group) {
		rows = append(rows, append([]string{name, fmt.Sprint(g.Rows), fmt.Sprint(g.NotOK)}, latencyRow("", g.Response)[2:]...))
	}
	for i := range f.Names {
		add("name "+or(f.Names[i].Name, "(none)"), &f.Names[i])
	}
	for i := range f.Routes {
		add("route "+or(f.Routes[i].Name, "(none: 404)"), &f.Routes[i])
	}
	if len(rows) > 1 {
		t.title("By mix entry and route, response time in milliseconds")
		t.table(rows, 1)
	}
}

// latencyHead and latencyRow are a table of latencies, in milliseconds.
func latencyHead(name string) []string {
	return []string{name, "n", "p50", "p90", "p99", "p99.9", "max"}
}

func latencyRow(name string, l summary.Latency) []string {
	return []string{name, fmt.Sprint(l.N), ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max)}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }

// load is what was asked for, and what became of it.
func (t sheet) load(r *Report) {
	f, planned := &r.Figures, "planned"
	if !r.Run.Finished && r.Run.Planned == 0 { // a killed run could not say any more
		planned = "rows were written of a plan that was cut"
	}
	t.title("Load")
	t.paragraph("  ", fmt.Sprintf("%d %s = %d ok + %d error + %d timeout + %d in flight + %d unsent", f.Planned, planned, f.OK, f.Error, f.Timeout, f.Inflight, f.Unsent))
	t.apart(f)
	if f.Span > 0 {
		t.paragraph("  ", fmt.Sprintf("asked %.1f/s, sent %.1f/s for %v", f.Asked, f.Sent, f.Span.Round(time.Millisecond)))
	}
	t.timeline(&f.Timeline)
}

// apart tells of the phases that are recorded and not judged.
func (t sheet) apart(f *summary.Figures) {
	var parts []string
	if f.Warmup > 0 {
		parts = append(parts, fmt.Sprintf("%d of them are the warm-up", f.Warmup))
	}
	if f.Cooldown > 0 {
		parts = append(parts, fmt.Sprintf("%d of them are the cool-down", f.Cooldown))
	}
	if f.Blocks > 0 {
		t.paragraph("  ", fmt.Sprintf("%d of them are the paired blocks, which the figures here leave out", f.Blocks))
	}
	if len(parts) > 0 {
		t.paragraph("  ", strings.Join(parts, ", ")+", which sampling, impact, objectives and the rate leave out")
	}
}

// errors are the statuses, and every class of what got no complete response.
func (t sheet) errors(f *summary.Figures) {
	if len(f.Statuses)+len(f.Errors) == 0 {
		return
	}
	t.title("Statuses and errors")
	if len(f.Statuses) > 0 {
		statuses := make([]string, len(f.Statuses))
		for i, s := range f.Statuses {
			statuses[i] = fmt.Sprintf("%d × %d", s.Code, s.Count)
		}
		t.paragraph("  ", "status "+strings.Join(statuses, ", "))
	}
	for _, c := range f.Errors {
		t.paragraph("  ", fmt.Sprintf("%s %s × %d, for example %s", c.Outcome, c.Class, c.Count, strings.Join(c.Examples, ", ")))
	}
}

func (t sheet) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.title(title)
	for _, l := range lines {
		t.paragraph("  ", l)
	}
}

func (t sheet) run(r *Report) {
	t.title("Run")
	if r.Load != "" {
		t.paragraph("  ", fmt.Sprintf("%s: %s, seed %d, on the %s mesh", r.Name, r.Load, r.Seed, r.Run.Mesh))
	}
	if r.Run.Faults != "" {
		t.paragraph("  ", "faults asked for: "+r.Run.Faults)
	}
	m := r.Run.Machine
	t.paragraph("  ", fmt.Sprintf("umbra %s, %s, %s/%s with %d CPUs, client: %s", r.Run.Version, m.Go, m.OS, m.Arch, m.CPUs, r.Run.Transport))
	if r.Run.Mesh == "embedded" {
		t.paragraph("  ", "client, gateway and both versions share these CPUs: latencies are for comparison within the run, not a capacity")
	}
	t.paragraph("  ", "started "+r.Run.Started.Format(time.RFC3339)+", command: "+strings.Join(r.Run.Command, " "))
}
