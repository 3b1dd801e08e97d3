package reports

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// width is what a line of the text report fits into.
const width = 100

// text writes the text report: the verdict first, then what carries it, then the rest.
type text struct {
	strings.Builder
	colours bool
}

// Text renders r for a terminal or a log, at most 100 columns wide. Strings from outside are inert: control characters
// are shown, not sent.
func (r *Report) Text(w io.Writer, colours bool) error {
	t := &text{colours: colours}
	t.head(r)
	for _, v := range r.Verdicts {
		t.verdict(&v)
	}
	t.compared(r.Versions)
	t.mesh(r.Mesh)
	t.cluster(&r.Run)
	t.figures(r)
	t.capture(r)
	t.arrivals(r.Arrivals)
	t.client(r)
	t.connections(r.Connections)
	t.list("Warnings", r.Warnings)
	t.list("Not modelled by this mesh, though the manifests ask for it", r.Run.NotModelled)
	t.run(r)
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *text) head(r *Report) {
	t.paragraph("", r.Headline)
	if r.Partial != "" {
		t.paragraph("", "PARTIAL: "+r.Partial)
	}
	for _, l := range r.Lead {
		t.paragraph("  ", fmt.Sprintf("%s: %s, %s", l.Name, l.Value, l.Against))
	}
	if len(r.Verdicts) == 0 {
		return
	}
	t.WriteByte('\n')
	for _, v := range r.Verdicts {
		t.paragraph(fmt.Sprintf("  %-11s %s  ", v.Name, t.state(v.State)), v.Summary)
	}
}

// paint holds the terminal colours of the states.
var paint = map[verdict.State]string{verdict.Pass: "32", verdict.Fail: "31", verdict.Inconclusive: "33", verdict.Invalid: "35", verdict.NotTested: "2"}

func (t *text) state(s verdict.State) string {
	padded := fmt.Sprintf("%-12s", s)
	if !t.colours {
		return padded
	}
	return "\x1b[" + paint[s] + "m" + padded + "\x1b[0m"
}

// verdict gives what stands behind a verdict: its items, findings and warnings. A single item without more says what the
// head said already.
func (t *text) verdict(v *verdict.Verdict) {
	if len(v.Items) < 2 && len(v.Findings)+len(v.Warnings) == 0 {
		return
	}
	t.title(v.Name)
	for _, item := range v.Items {
		summary := item.Summary
		if item.Approximate {
			summary = "approximately, " + summary
		}
		t.paragraph("  "+t.state(item.State)+" ", subject(&item)+summary)
	}
	for _, f := range v.Findings {
		line := fmt.Sprintf("%s: %d × %s", f.Severity, f.Count, f.Text)
		if len(f.Examples) > 0 {
			line += ", for example " + strings.Join(f.Examples[:min(3, len(f.Examples))], ", ")
		}
		t.paragraph("  ", line)
	}
	t.experiment(v.Experiment)
	for _, w := range v.Warnings {
		t.paragraph("  ", "warning: "+w)
	}
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

func (t *text) mesh(m *Mesh) {
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
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (t *text) figures(r *Report) {
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
	t.latencies(f)
}

// apart tells of the phases that are recorded and not judged.
func (t *text) apart(f *summary.Figures) {
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

func (t *text) latencies(f *summary.Figures) {
	if f.Response.N == 0 {
		return
	}
	t.title("Latency, in milliseconds")
	rows := [][]string{latencyHead("")}
	add := func(name string, l summary.Latency) {
		if l.N > 0 {
			rows = append(rows, latencyRow(name, l))
		}
	}
	add("response time, from due", f.Response)
	add("service time, from sent", f.Service)
	for _, g := range f.Names {
		add("response, "+or(g.Name, "(no name)"), g.Response)
	}
	for _, g := range f.Routes {
		add("response, "+or(g.Name, "(no route: 404)"), g.Response)
	}
	t.table(rows, 1)
	if f.Response.LowerBound > 0 {
		t.paragraph("  ", fmt.Sprintf("%d of the response times, and %d of the service times, are lower bounds: these requests had no complete response",
			f.Response.LowerBound, f.Service.LowerBound))
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

func (t *text) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.title(title)
	for _, l := range lines {
		t.paragraph("  ", l)
	}
}

func (t *text) run(r *Report) {
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

func (t *text) title(s string) {
	t.WriteByte('\n')
	t.paragraph("", s)
}

// paragraph writes s behind lead, broken at spaces, further lines indented as far as lead is wide.
func (t *text) paragraph(lead, s string) {
	indent := visible(lead)
	line, used := lead, indent
	for _, word := range strings.Fields(inert(s)) {
		n := utf8.RuneCountInString(word)
		if used > indent && used+1+n > width {
			t.WriteString(strings.TrimRight(line, " ") + "\n")
			line, used = strings.Repeat(" ", indent), indent
		}
		if used > indent {
			line, used = line+" ", used+1
		}
		for runes := []rune(word); n > width-used; n = len(runes) { // a word wider than a line
			t.WriteString(line + string(runes[:width-used]) + "\n")
			runes = runes[width-used:]
			word, line, used = string(runes), strings.Repeat(" ", indent), indent
		}
		line, used = line+word, used+n
	}
	t.WriteString(strings.TrimRight(line, " ") + "\n")
}

// visible is how many columns s takes, without its colours.
func visible(s string) (n int) {
	escape := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// table writes rows in columns, those from the right-th on aligned to the right; cells that would not fit the width are
// cut in their middle.
func (t *text) table(rows [][]string, right int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = inert(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	shrink(widths, right)
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			cell = middle(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < right {
				line += " " + cell + pad + " "
			} else {
				line += " " + pad + cell + " "
			}
		}
		t.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// shrink takes from the widest of the columns on the left until the row fits.
func shrink(widths []int, left int) {
	for {
		total := 1
		widest := 0
		for i, w := range widths {
			total += w + 2
			if i < left && w > widths[widest] {
				widest = i
			}
		}
		if total <= width || widths[widest] <= 8 {
			return
		}
		widths[widest]--
	}
}

// middle cuts the middle out of s where it is wider than n.
func middle(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	head := (n - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(n-1-head):])
}

// longest is how many characters of a string from outside are shown; report.json has all of it.
const longest = 600

// inert shows what a terminal would act on: control characters, and those that turn the direction of writing.
func inert(s string) string {
	if utf8.RuneCountInString(s) > longest {
		s = middle(s, longest)
	}
	if !strings.ContainsFunc(s, active) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if active(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func active(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
