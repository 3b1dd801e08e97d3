package reports

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"umbra/internal/compare"
	"umbra/internal/runs"
	"umbra/internal/trend"
	"umbra/internal/verdict"
)

// Comparison is a comparison of runs, with what was left out of them.
type Comparison struct {
	*compare.Result
	LeftOut []trend.Left `json:"left_out,omitempty"`
}

// comparedHead and comparedRows are the figures as every format shows them.
var comparedHead = []string{"figure", "state", "A", "B", "change", "95 % bounds", "margin", "p worse (Holm)", "p no worse"}

const comparedRight = 1

func (c *Comparison) rows() [][]string {
	rows := [][]string{comparedHead}
	for i := range c.Figures {
		f := &c.Figures[i]
		row := []string{f.Name, string(f.State), valueOf(f.A, f.Unit), valueOf(f.B, f.Unit), "", "", verdict.Digits(f.Margin) + " " + f.ChangeUnit, "", ""}
		if len(f.EachA) == 0 || len(f.EachB) == 0 {
			row[2], row[3] = "", ""
		} else {
			row[4] = changeOf(f.Change, f.ChangeUnit)
		}
		if f.Low != nil && f.High != nil {
			row[5] = boundsOf(*f.Low, *f.High, f.ChangeUnit)
		}
		row[7], row[8] = probability(f.PHolm), probability(f.PNoWorse)
		rows = append(rows, row)
	}
	return rows
}

// notes say of each figure what keeps it from being decided.
func (c *Comparison) notes() (out []string) {
	for _, f := range c.Figures {
		note := f.Why
		if !f.Gated && f.State != compare.Worse {
			note = strings.TrimPrefix(note+"; it need not be decided for B to be no worse, as no margin asks for it", "; ")
		}
		if note != "" {
			out = append(out, f.Name+": "+note)
		}
	}
	return out
}

// sided names the runs of both sides.
func (c *Comparison) sided() [][]string {
	rows := [][]string{{"side", "run", "scenario", "umbra", "started"}}
	for _, side := range []struct {
		name string
		of   []compare.Member
	}{{"A", c.A}, {"B", c.B}} {
		for _, m := range side.of {
			rows = append(rows, []string{side.name, m.Source, m.Name, m.Version, m.Started.UTC().Format(time.RFC3339)})
		}
	}
	return rows
}

func differenceRows(all []runs.Difference, a, b string) [][]string {
	rows := [][]string{{"differs in", a, b}}
	for _, d := range all {
		what := d.What
		if d.Apart {
			what += " (!)"
		}
		rows = append(rows, []string{what, d.A, d.B})
	}
	return rows
}

func leftLines(left []trend.Left) (out []string) {
	for _, l := range left {
		out = append(out, l.Source+": "+l.Why)
	}
	return out
}

func (c *Comparison) method() string {
	level := verdict.Digits(100*c.Level) + " %"
	if c.Between {
		return "The run is the unit: Welch's t on the logarithms of the runs' quantiles and on their rates; shares of requests by the score test of Miettinen and Nurminen, with which Welch's t " +
			"on the runs' shares has to agree. Bounds are one-sided ones of 95 %. WORSE after Holm over all figures at " + level + "; NO WORSE asks it of every gated figure, each at " + level + "."
	}
	return "The units are stretches of these runs, paired by the time of the plan (batch means): Student's t on the log ratios of p50 and p99; shares of requests by the score test of Miettinen and " +
		"Nurminen, with the design effect of the stretches. Bounds are one-sided ones of 95 %. WORSE after Holm over all figures at " + level + ". What varies from run to run is in none of it."
}

// Text renders a comparison for a terminal or a log, as Report.Text.
func (c *Comparison) Text(w io.Writer, colours bool) error {
	t := &text{colours: colours}
	t.paragraph(t.painted(string(c.State))+"  ", c.told())
	t.WriteByte('\n')
	t.halves(c.rows())
	for _, n := range c.notes() {
		t.paragraph("  ", n)
	}
	t.paragraph("  ", c.method())
	t.title("Runs")
	t.table(c.sided(), 5)
	if len(c.Differences) > 0 {
		t.title("Differences; (!) marks those that set the sides apart")
		t.table(differenceRows(c.Differences, "A", "B"), 3)
	}
	sheet{t}.list("Warnings", c.Warnings)
	sheet{t}.list("Left out", leftLines(c.LeftOut))
	_, err := io.WriteString(w, t.String())
	return err
}

// halves writes the table of figures in two parts, so that it fits: the p-values stand apart.
func (t *text) halves(rows [][]string) {
	const apart = 7
	var figures, values [][]string
	for _, r := range rows {
		figures, values = append(figures, slices.Clone(r[:apart])), append(values, append([]string{r[0]}, r[apart:]...))
	}
	t.table(figures, comparedRight)
	t.WriteByte('\n')
	t.table(values, comparedRight)
}

// tints are the colours of what a comparison or a change comes to.
var tints = map[string]verdict.State{string(compare.Worse): verdict.Fail, string(compare.NoWorse): verdict.Pass, string(compare.Inconclusive): verdict.Inconclusive,
	"worse": verdict.Fail, "better": verdict.Pass}

func (t *text) painted(s string) string {
	colour := paint[tints[s]]
	if !t.colours || colour == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// told is the headline behind its state.
func (c *Comparison) told() string {
	return strings.TrimLeft(strings.TrimPrefix(c.Headline, string(c.State)), ": ")
}

// Markdown renders a comparison for a comment on a pull request.
func (c *Comparison) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("**" + string(c.State) + "** " + words(c.told()) + "\n\n")
	gridOf(&b, c.rows(), comparedRight)
	lines := func(all []string) {
		for _, l := range all {
			b.WriteString("- " + words(l) + "\n")
		}
	}
	b.WriteString("\n")
	lines(c.Warnings)
	if notes := c.notes(); len(notes) > 0 {
		foldOf(&b, "What is not decided", func() { lines(notes) })
	}
	if len(c.Differences) > 0 {
		foldOf(&b, "Differences", func() { gridOf(&b, differenceRows(c.Differences, "A", "B"), 3) })
	}
	foldOf(&b, "Runs and method", func() {
		gridOf(&b, c.sided(), 5)
		b.WriteString("\n" + words(c.method()) + "\n")
	})
	if len(c.LeftOut) > 0 {
		foldOf(&b, "Left out", func() { lines(leftLines(c.LeftOut)) })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// HTML renders a comparison as a page that needs nothing from elsewhere.
func (c *Comparison) HTML(w io.Writer) error {
	h := &hypertext{}
	h.badge(string(c.State))
	h.paragraph(c.told())
	h.lines(c.Warnings)
	p := page{Title: "umbra: is B worse than A?", Top: h.taken(), Foot: "Made by umbra compare."}
	h.rows("Figures", c.rows(), comparedRight)
	h.lines(c.notes())
	h.paragraph(c.method())
	p.Sections = append(p.Sections, section{"figures", "Figures", h.taken()})
	h.charts(c.charts())
	p.Sections = append(p.Sections, section{"runs", "Run by run", h.taken()})
	h.rows("Runs of both sides", c.sided(), 5)
	if len(c.Differences) > 0 {
		h.rows("Differences; (!) marks those that set the sides apart", differenceRows(c.Differences, "A", "B"), 3)
	}
	h.lines(leftLines(c.LeftOut))
	p.Sections = append(p.Sections, section{"sides", "What was compared", h.taken()})
	if h.err != nil {
		return h.err
	}
	return p.write(w)
}

// charts show the figures of each run.
func (c *Comparison) charts() (out []*chart) {
	for i := range c.Figures {
		f := &c.Figures[i]
		if len(f.EachA) == 0 || len(f.EachB) == 0 {
			continue
		}
		out = append(out, &chart{ID: fmt.Sprintf("figure-%d", i+1), Title: f.Name, Desc: "Each point is a run, in the order in which the runs were given. The table below has the same figures.",
			X: axis{Label: "run of its side"}, Y: axis{Label: f.Unit}, Series: []series{{"A", dots, counted(f.EachA)}, {"B", dots, counted(f.EachB)}}})
	}
	return out
}

func counted(values []float64) (out []point) {
	for i, v := range values {
		out = append(out, point{X: float64(i + 1), Y: v})
	}
	return out
}

// valueOf is a figure with its unit.
func valueOf(v float64, unit string) string {
	if unit == "/s" {
		return verdict.Digits(v) + unit
	}
	return verdict.Digits(v) + " " + unit
}

// changeOf is a change with its unit: points to three decimals, percent to one.
func changeOf(v float64, unit string) string {
	if unit == "points" {
		return fmt.Sprintf("%+.3f", v)
	}
	return fmt.Sprintf("%+.1f %s", v, unit)
}

// boundsOf are those of a change, in the unit of what stands beside them.
func boundsOf(low, high float64, unit string) string {
	bare := func(v float64) string { return strings.TrimSuffix(changeOf(v, unit), " "+unit) }
	return bare(low) + " … " + bare(high)
}

// hypertext gathers fragments of a page; the first error stays.
type hypertext struct {
	body template.HTML
	err  error
}

func (h *hypertext) add(name string, data any) {
	part, err := fragment(name, data)
	h.body += part
	if h.err == nil {
		h.err = err
	}
}

func (h *hypertext) badge(s string) { h.add("badge", verdict.State(s)) }

func (h *hypertext) paragraph(s string) { h.add("prose", s) }

func (h *hypertext) lines(all []string) { h.add("list", all) }

func (h *hypertext) rows(caption string, rows [][]string, right int) {
	g := &grid{Caption: caption, Head: rows[0], Right: right}
	for _, r := range rows[1:] {
		cells := row(r...)
		for i, cell := range r {
			if outcomes[cell] && rows[0][i] == "state" {
				cells[i] = verdict.State(cell)
			}
		}
		g.Rows = append(g.Rows, cells)
	}
	h.add("table", g)
}

// outcomes are the states that a table shows as badges.
var outcomes = map[string]bool{string(compare.Worse): true, string(compare.NoWorse): true, string(compare.Inconclusive): true, string(compare.NotTested): true,
	"worse": true, "better": true, "other": true}

func (h *hypertext) charts(all []*chart) {
	h.body += `<div class="charts">`
	for _, c := range all {
		h.add("chart", c)
	}
	h.body += "</div>"
}

// taken gives what was gathered, and begins anew.
func (h *hypertext) taken() template.HTML {
	body := h.body
	h.body = ""
	return body
}
