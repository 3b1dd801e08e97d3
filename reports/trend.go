package reports

import (
	"fmt"
	"io"
	"strings"
	"time"

	"umbra/internal/runs"
	"umbra/internal/trend"
	"umbra/internal/verdict"
)

// Trend is a series of runs.
type Trend struct{ *trend.Result }

// title names a group.
func groupTitle(g *trend.Group) string {
	span := ""
	if n := len(g.Runs); n > 0 {
		span = fmt.Sprintf(", %s to %s", g.Runs[0].Started.UTC().Format(time.DateOnly), g.Runs[n-1].Started.UTC().Format(time.DateOnly))
	}
	return fmt.Sprintf("%s, %s mesh, %s: %s%s", g.Name, g.Mesh, g.Machine, plural(int64(len(g.Runs)), "run", "runs"), span)
}

// seriesHead and seriesRows are a group's figures as every format shows them.
var seriesHead = []string{"figure", "runs", "least", "greatest", "last", "spread", "changes"}

const seriesRight = 1

func seriesRows(g *trend.Group) [][]string {
	rows := [][]string{seriesHead}
	for i := range g.Series {
		s := &g.Series[i]
		row := []string{s.Name, fmt.Sprint(len(s.Values)), "", "", "", "", foundIn(g, s)}
		if n := len(s.Values); n > 0 {
			low, high := s.Values[0].Value, s.Values[0].Value
			for _, v := range s.Values {
				low, high = min(low, v.Value), max(high, v.Value)
			}
			row[2], row[3], row[4] = valueOf(low, s.Unit), valueOf(high, s.Unit), valueOf(s.Values[n-1].Value, s.Unit)
		}
		if s.Spread != nil {
			row[5] = verdict.Digits(*s.Spread) + " " + s.ChangeUnit
		}
		rows = append(rows, row)
	}
	return rows
}

// foundIn is how many changes a series has; never that there is none where nothing can be told.
func foundIn(g *trend.Group, s *trend.Series) string {
	switch {
	case g.Why == "" && s.Constant:
		return "constant"
	case g.Why != "" || s.Why != "":
		return "not told"
	case len(s.Changes) == 0:
		return "none found"
	}
	return fmt.Sprint(len(s.Changes))
}

// changesOf are a group's changes, the newest first.
func changesOf(g *trend.Group) (out []shifted) {
	for at := len(g.Runs) - 1; at >= 0; at-- {
		for i := range g.Series {
			for j := range g.Series[i].Changes {
				if c := &g.Series[i].Changes[j]; c.Run == at {
					out = append(out, shifted{&g.Series[i], c})
				}
			}
		}
	}
	return out
}

// shifted is a change with its series.
type shifted struct {
	*trend.Series
	*trend.Change
}

// changeHead and changeRow are a change as every format shows it.
var changeHead = []string{"figure", "state", "since", "before", "after", "change", "95 % interval", "confidence"}

const changeRight = 3

func changeRows(g *trend.Group) [][]string {
	rows := [][]string{changeHead}
	for _, s := range changesOf(g) {
		c := s.Change
		rows = append(rows, []string{s.Name, or(c.Verdict, "other"), c.Source + ", " + c.Started.UTC().Format(time.DateOnly),
			fmt.Sprintf("%s in %d", valueOf(c.Before, s.Unit), c.RunsBefore), fmt.Sprintf("%s in %d", valueOf(c.After, s.Unit), c.RunsAfter),
			changeOf(c.Change, s.ChangeUnit), boundsOf(c.Low, c.High, s.ChangeUnit), fmt.Sprintf("%.1f %%", c.Confidence)})
	}
	return rows
}

// causesOf tells what is not alike in the first run of each change and the run before it, once for each run.
func causesOf(g *trend.Group) (out []string) {
	told := map[int]bool{}
	for _, s := range changesOf(g) {
		if told[s.Run] {
			continue
		}
		told[s.Run] = true
		out = append(out, fmt.Sprintf("with %s: %s", s.Source, or(differenceLine(s.Differences), "nothing that a report records")))
	}
	return out
}

func differenceLine(all []runs.Difference) string {
	var parts []string
	for _, d := range all {
		parts = append(parts, fmt.Sprintf("%s: %s → %s", d.What, d.A, d.B))
	}
	return strings.Join(parts, "; ")
}

// unlooked tells of series of which nothing can be told, though something can of the group.
func unlooked(g *trend.Group) (out []string) {
	for _, s := range g.Series {
		if g.Why == "" && s.Why != "" && !s.Constant {
			out = append(out, s.Name+": "+s.Why)
		}
	}
	return out
}

// verdictRows are the states of the verdicts of the newest runs, so many at the most.
func verdictRows(g *trend.Group, most int) [][]string {
	rows := [][]string{{"run", "started", "umbra", "verdicts"}}
	for i := max(0, len(g.Runs)-most); i < len(g.Runs); i++ {
		m := &g.Runs[i]
		rows = append(rows, []string{m.Source, m.Started.UTC().Format(time.RFC3339), m.Version, statesOf(m)})
	}
	return rows
}

// statesOf names the verdicts of a run that did not pass, and counts those that did: "Impact FAIL, 5 PASS".
func statesOf(m *trend.Member) string {
	passed, parts := 0, []string(nil)
	for _, v := range m.Verdicts {
		if v.State == verdict.Pass {
			passed++
		} else {
			parts = append(parts, v.Name+" "+string(v.State))
		}
	}
	if passed > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", passed, verdict.Pass))
	}
	return strings.Join(parts, ", ")
}

func (r *Trend) method() string {
	return fmt.Sprintf("Changes are found by E-divisive (Matteson and James 2014, α = 1) on logarithms of times and rates, each tested by permutations (seed %d); the chance of one being told "+
		"where there is none is %s %% for all figures of a group together. A change is told at the earliest in its third run, may have begun a run or so beside the one that is named, and a drift "+
		"shows as changes. Its interval takes its place as given. Spread is the standard deviation from run to run between changes.", r.Seed, verdict.Digits(100*r.Level))
}

// recent is how many runs the text lists.
const recent = 14

// Text renders a trend, with a line of letters for each series where draws is set.
func (r *Trend) Text(w io.Writer, colours, draws bool) error {
	t := &text{colours: colours}
	t.paragraph("", r.Headline)
	for i := range r.Groups {
		g := &r.Groups[i]
		t.title(groupTitle(g))
		if g.Why != "" {
			t.paragraph("  ", g.Why)
		}
		t.table(seriesRows(g), seriesRight)
		if draws {
			t.traces(g)
		}
		for _, s := range changesOf(g) {
			t.paragraph("  "+t.painted(or(s.Verdict, "other"))+"  ", s.Sentence(s.Change))
		}
		for _, l := range causesOf(g) {
			t.paragraph("  ", l)
		}
		for _, l := range unlooked(g) {
			t.paragraph("  ", l)
		}
		t.table(verdictRows(g, recent), 4)
	}
	sheet{t}.list("Left out", leftLines(r.LeftOut))
	t.title("How")
	t.paragraph("  ", r.method())
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *text) traces(g *trend.Group) {
	var rows [][]string
	for i := range g.Series {
		if s := &g.Series[i]; len(s.Values) > 1 {
			rows = append(rows, []string{s.Name, trace(s)})
		}
	}
	if len(rows) > 0 {
		t.table(append([][]string{{"from its least to its greatest value", "| begins a change"}}, rows...), 2)
	}
}

// traced is how many letters a trace has at the most, besides those that mark changes.
const traced = 48

// trace draws a series from its least to its greatest value in letters, each the mean of as many neighbouring runs as is needed.
func trace(s *trend.Series) string {
	letters := []rune("▁▂▃▄▅▆▇█")
	each := (len(s.Values) + traced - 1) / traced
	var means []float64
	for i := 0; i < len(s.Values); i += each {
		part, sum := s.Values[i:min(i+each, len(s.Values))], 0.0
		for _, v := range part {
			sum += v.Value
		}
		means = append(means, sum/float64(len(part)))
	}
	low, high := means[0], means[0]
	for _, m := range means {
		low, high = min(low, m), max(high, m)
	}
	begins := map[int]bool{}
	for _, c := range s.Changes {
		for at, v := range s.Values {
			if v.Run == c.Run {
				begins[at/each] = true
			}
		}
	}
	var b strings.Builder
	for i, m := range means {
		if begins[i] {
			b.WriteByte('|')
		}
		at := len(letters) / 2
		if high > low {
			at = min(len(letters)-1, int((m-low)/(high-low)*float64(len(letters))))
		}
		b.WriteRune(letters[at])
	}
	return b.String()
}

// HTML renders a trend as a page that needs nothing from elsewhere.
func (r *Trend) HTML(w io.Writer) error {
	h := &hypertext{}
	h.paragraph(r.Headline)
	p := page{Title: "umbra: since when?", Top: h.taken(), Foot: "Made by umbra trend."}
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.Why != "" {
			h.paragraph(g.Why)
		}
		if rows := changeRows(g); len(rows) > 1 {
			h.rows("Changes, the newest first", rows, changeRight)
			h.lines(causesOf(g))
		}
		h.rows("Figures", seriesRows(g), seriesRight)
		h.lines(unlooked(g))
		h.charts(pictures(g, i))
		h.rows("Runs and their verdicts", verdictRows(g, len(g.Runs)), 4)
		p.Sections = append(p.Sections, section{fmt.Sprintf("group-%d", i+1), groupTitle(g), h.taken()})
	}
	if len(r.LeftOut) > 0 {
		h.lines(leftLines(r.LeftOut))
		p.Sections = append(p.Sections, section{"left-out", "Left out", h.taken()})
	}
	h.paragraph(r.method())
	p.Sections = append(p.Sections, section{"method", "How changes are found", h.taken()})
	if h.err != nil {
		return h.err
	}
	return p.write(w)
}

// pictures are a chart for each figure of the i-th group.
func pictures(g *trend.Group, i int) (out []*chart) {
	for j := range g.Series {
		s := &g.Series[j]
		if len(s.Values) < 2 {
			continue
		}
		c := &chart{ID: fmt.Sprintf("group-%d-figure-%d", i+1, j+1), Title: s.Name, X: axis{Label: "run, from 1 for the oldest"}, Y: axis{Label: s.Unit},
			Desc: fmt.Sprintf("%s of %s in the order of time; %s. The table below has the same figures.", s.Name, plural(int64(len(s.Values)), "run", "runs"), described(g, s))}
		runs := series{Name: s.Name, Style: line}
		for _, v := range s.Values {
			runs.Points = append(runs.Points, point{X: float64(v.Run + 1), Y: v.Value})
		}
		c.Series = append(c.Series, runs)
		for k := range s.Changes {
			change := &s.Changes[k]
			c.Marks = append(c.Marks, mark{float64(change.Run + 1), fmt.Sprintf("%s since %s, %s", changeOf(change.Change, s.ChangeUnit), change.Source, or(change.Verdict, "other"))})
		}
		out = append(out, c)
	}
	return out
}

func described(g *trend.Group, s *trend.Series) string {
	if n := len(s.Changes); n > 0 {
		return plural(int64(n), "change is", "changes are") + " marked"
	}
	return "changes: " + foundIn(g, s)
}
