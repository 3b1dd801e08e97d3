package reports

import (
	"fmt"
	"io"
	"strings"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/verdict"
)

// HTML is report.html: the report as one file that needs nothing from elsewhere and no script. The verdict comes first, with the
// figures that carry it, then the mesh, the pictures, and all that stands behind them.
func (r *Report) HTML(w io.Writer) error {
	v := &view{r}
	top, err := fragment("report-top", v)
	if err != nil {
		return err
	}
	p := page{Title: "umbra report: " + r.Name, Top: top, Foot: fmt.Sprintf("Made by umbra %s. report.json holds the same figures, and all of them.", r.Run.Version)}
	for _, part := range parts {
		if part.is != nil && !part.is(r) {
			continue
		}
		body, err := fragment("report-"+part.id, v)
		if err != nil {
			return err
		}
		p.Sections = append(p.Sections, section{part.id, part.title, body})
	}
	return p.write(w)
}

// parts are the sections in their order, each a template "report-" and its id; is tells whether a report has it, nil: each has.
var parts = []struct {
	id, title string
	is        func(*Report) bool
}{
	{"mesh", "The mesh as configured", func(r *Report) bool { return r.Mesh != nil }},
	{"impact", "Latency of the primary, mirroring off and on", func(r *Report) bool { return r.Run.Mesh != evidence.NoMesh }},
	{"latency", "Response time against service time", func(r *Report) bool { return r.Figures.Response.N > 0 }},
	{"time", "The run over time", func(r *Report) bool { return len(r.Figures.Timeline.Ticks) > 0 }},
	{"fraction", "The mirror fraction over time", func(r *Report) bool { return len((&view{r}).sampled()) > 0 }},
	{"versions", "Shadow against primary, by version", func(r *Report) bool { return r.Versions != nil }},
	{"routes", "Routes", func(r *Report) bool { return r.Mesh != nil || len(r.Figures.Routes)+len(r.Figures.Names) > 0 }},
	{"errors", "Errors and statuses", nil},
	{"verdicts", "What stands behind the verdicts", func(r *Report) bool { return len(r.Verdicts) > 0 }},
	{"validity", "Validity and warnings", nil},
	{"environment", "Environment, and how to run it again", nil},
}

// view is a report as the templates see it.
type view struct{ *Report }

// listed is how many rows of a list of things from outside are shown, and drawn how many of them are drawn.
const (
	listed = 100
	drawn  = 8
)

// State is the one that the headline begins with; empty where it has none.
func (v *view) State() verdict.State {
	for _, s := range states {
		if strings.HasPrefix(v.Headline, string(s)+": ") {
			return s
		}
	}
	return ""
}

// Sentence is the headline without its state.
func (v *view) Sentence() string {
	if s := v.State(); s != "" {
		return strings.TrimPrefix(v.Headline, string(s)+": ")
	}
	return v.Headline
}

// Stated is the table of the verdicts.
func (v *view) Stated() *grid {
	g := &grid{Caption: "The verdicts", Head: []string{"verdict", "state", "in a sentence"}, Right: 3}
	for _, each := range v.Verdicts {
		g.Rows = append(g.Rows, []any{each.Name, each.State, each.Summary})
	}
	return g
}

// Played says what was played, where.
func (v *view) Played() string {
	var said []string
	if v.Load != "" {
		said = append(said, v.Load)
	}
	if v.Run.Mesh == evidence.NoMesh {
		said = append(said, "without a mesh")
	} else {
		said = append(said, "on the "+v.Run.Mesh+" mesh")
	}
	return strings.Join(append(said, instant(v.Run.Started)), ", ")
}

// instant writes a time to the second; empty is one that is not known.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// bounded keeps the first rows of a list, and says how many more there are.
func bounded[T any](all []T, most int) (shown []T, more string) {
	if len(all) <= most {
		return all, ""
	}
	return all[:most], fmt.Sprintf("… and %d more, which report.json lists", len(all)-most)
}

// bound cuts a table to what is listed, and says so in a row.
func (g *grid) bound() *grid {
	rows, more := bounded(g.Rows, listed)
	if g.Rows = rows; more != "" {
		last := make([]string, len(g.Head))
		last[0] = more
		g.Rows = append(g.Rows, row(last...))
	}
	return g
}

// lines bounds a list of sentences.
func lines(all []string) []string {
	shown, more := bounded(all, listed)
	if more != "" {
		shown = append(shown[:len(shown):len(shown)], more)
	}
	return shown
}
