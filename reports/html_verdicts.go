package reports

import (
	"fmt"
	"strings"
	"time"

	"umbra/internal/impact"
	"umbra/internal/verdict"
)

// judged is a verdict with the tables of what carries it.
type judged struct {
	*verdict.Verdict
	Judged, Found *grid
	Experiment    *experimentView // nil: none
}

// Judgements are the verdicts.
func (v *view) Judgements() []judged {
	out := make([]judged, len(v.Verdicts))
	for i := range v.Verdicts {
		each := &v.Verdicts[i]
		out[i] = judged{Verdict: each, Judged: items(each), Found: findings(each)}
		if each.Experiment != nil {
			out[i].Experiment = &experimentView{each.Experiment}
		}
	}
	return out
}

func items(v *verdict.Verdict) *grid {
	g := &grid{Caption: v.Name + ": what was judged", Head: []string{"of", "state", "in a sentence"}, Right: 3}
	if len(v.Items) == 1 && v.Items[0].Summary == v.Summary {
		return g // it would say the same once more
	}
	for i := range v.Items {
		item := &v.Items[i]
		summary := item.Summary
		if item.Approximate {
			summary = "approximately, " + summary
		}
		g.Rows = append(g.Rows, []any{or(strings.TrimSuffix(subject(item), ": "), measure(item)), item.State, summary})
	}
	return g.bound()
}

// measure says what an item measures that is of no route or cluster alone.
func measure(item *verdict.Item) string {
	switch {
	case item.Impact != nil && item.Impact.Quantile > 0:
		return verdict.QuantileName(item.Impact.Quantile)
	case item.Impact != nil:
		return "failed requests"
	case item.Effect != nil:
		return verdict.QuantileName(item.Effect.Quantile)
	case item.Objective != nil && item.Objective.Quantile > 0:
		return verdict.QuantileName(item.Objective.Quantile)
	case item.Objective != nil:
		return "errors"
	case item.Harm != nil:
		return "shadow " + item.Harm.Shadow
	}
	return "all"
}

func findings(v *verdict.Verdict) *grid {
	g := &grid{Caption: v.Name + ": findings", Head: []string{"what was counted", "weight", "for example", "count"}, Right: 3}
	for _, f := range v.Findings {
		g.Rows = append(g.Rows, row(f.Text, string(f.Severity), strings.Join(f.Examples, ", "), fmt.Sprint(f.Count)))
	}
	return g.bound()
}

// Warned are the verdict's warnings.
func (j judged) Warned() []string { return lines(j.Warnings) }

// experimentView is an experiment as the templates see it.
type experimentView struct{ *verdict.ExperimentFigures }

// Design says what was played.
func (x *experimentView) Design() []string {
	said := []string{fmt.Sprintf("%d of %d quadruples of blocks with mirroring off and on, each block %v at %g requests a second.", x.Done, x.Planned, x.Block, x.Rate),
		fmt.Sprintf("The bounds are one-sided ones of 95 %%, by Student's t over quadruples; FAIL comes after Holm's correction, at a level of %g.", x.Level)}
	if x.LoadShare > 0 {
		said = append(said, fmt.Sprintf("The load is %.0f %% of what a closed loop got answered.", x.LoadShare))
	}
	if x.Dropped > 0 {
		said = append(said, fmt.Sprintf("%d of the %d blocks played do not count, or are of a quadruple that is not whole.", x.Dropped, x.Played))
	}
	return append(said, "Controls: "+x.Controls)
}

// Tested is the table of the figures, those of the controls included.
func (x *experimentView) Tested() *grid {
	g := &grid{Caption: "Figures of the experiment: times in milliseconds and changes in percent; of failed requests, counts and percentage points", Right: 1,
		Head: []string{"figure", "off", "on", "change", "95 % bounds", "bootstrap", "p of FAIL", "p of PASS"}}
	add := func(lead string, figures []impact.Figure) {
		for _, cells := range impactRows(lead, figures) {
			g.Rows = append(g.Rows, row(cells...))
		}
	}
	add("", x.Figures)
	if x.Negative != nil {
		add("off against off, ", x.Negative.Figures)
	}
	for i := range x.Positive {
		p := &x.Positive[i]
		add(fmt.Sprintf("%v slower, ", p.Delay.Round(time.Microsecond)), []impact.Figure{p.Figure})
	}
	return g.bound()
}

// Held is the table of what is held against the margins.
func (x *experimentView) Held() *grid {
	g := &grid{Caption: "What each figure is held against", Head: []string{"figure", "margin", "decides", "why not", "quadruples that would decide"}, Right: 4}
	for i := range x.Figures {
		f := &x.Figures[i]
		name, margin := "failed", verdict.Digits(f.MarginPct)+" points"
		if f.Quantile > 0 {
			name, margin = verdict.QuantileName(f.Quantile), fmt.Sprintf("%s %%, %s ms", verdict.Digits(f.MarginPct), ms(f.MarginNS))
		}
		decides, would := "yes", ""
		if !f.Gated {
			decides = "no"
		}
		if f.Decides > 0 {
			would = fmt.Sprint(f.Decides)
		}
		g.Rows = append(g.Rows, row(name, margin, decides, f.Why, would))
	}
	return g
}

// Power is the table of the power that the control off against off promised.
func (x *experimentView) Power() *grid {
	g := &grid{Caption: "Power, by the control off against off", Right: 1, Head: []string{"quantile", "margin, %", "spread of a unit, %", "quadruples for a power of 90 %", "quadruples planned", "their power, %"}}
	for _, p := range x.Plans {
		need := "no number"
		if p.Quadruples > 0 {
			need = fmt.Sprint(p.Quadruples)
		}
		g.Rows = append(g.Rows, row(verdict.QuantileName(p.Quantile), verdict.Digits(p.MarginPct), verdict.Digits(p.Spread), need, fmt.Sprint(x.Planned), fmt.Sprintf("%.0f", 100*p.Power)))
	}
	return g
}

// Drifted is the table of how the primary changed over the run by itself.
func (x *experimentView) Drifted() *grid {
	g := &grid{Caption: "Drift of the primary over the blocks with mirroring off", Right: 1, Head: []string{"quantile", "change, %", "p of none"}}
	for _, d := range x.Drift {
		g.Rows = append(g.Rows, row(verdict.QuantileName(d.Quantile), fmt.Sprintf("%+.1f", d.Change), probability(&d.PValue)))
	}
	return g
}

// compared is a mirror's versions with the tables of their comparison.
type compared struct {
	*verdict.VersionFigures
	Name          string
	Answers       *grid
	Failures      *grid
	Changed, Pace *grid
}

// Compared are the mirrors whose versions were compared.
func (v *view) Compared() (out []compared) {
	mirrors, _ := bounded(v.Versions.Mirrors, drawn)
	for i := range mirrors {
		g := &mirrors[i]
		out = append(out, compared{g, g.Route + " → " + verdict.ShortCluster(g.Cluster), answers(g), failures(g), changes(g), pace(g)})
	}
	return out
}

// MoreCompared says how many mirrors are left out.
func (v *view) MoreCompared() string {
	_, more := bounded(v.Versions.Mirrors, drawn)
	return more
}

// Pairing says what was compared.
func (c compared) Pairing() string {
	line := fmt.Sprintf("%s against %s: %d requests answered by both", or(c.Shadow, "the shadow"), or(c.Primary, "the primary"), c.Pairs)
	if c.LeftOut > 0 {
		line += fmt.Sprintf(", %d mirrored ones left out (repeated, unfinished, or without a primary's receipt)", c.LeftOut)
	}
	if c.Approximate {
		line += "; approximately, as both share pods"
	}
	return line + "."
}

// Unmeasured says why there is no noise to hold the differences against.
func (c compared) Unmeasured() string {
	if c.Noise.Why == "" || c.Pairs == 0 {
		return ""
	}
	return fmt.Sprintf("How often %s differs from itself was not measured (%s).", c.Primary, c.Noise.Why)
}

// TooFew says which quantiles have too few pairs.
func (c compared) TooFew() string { return strings.Join(c.TimesLeftOut, "; ") }

func answers(g *verdict.VersionFigures) *grid {
	out := &grid{Caption: "How often answers to the same request differ; intervals are of 95 %", Head: []string{"what", "beside", "differ, %", "interval", "requests", "of"}, Right: 2}
	if g.Pairs == 0 {
		return out
	}
	add := func(what string, s *verdict.Share, beside string) {
		if s.N > 0 {
			out.Rows = append(out.Rows, row(what, beside, fmt.Sprintf("%.3g", s.Percent), fmt.Sprintf("%.3g … %.3g", s.Low, s.High), fmt.Sprint(s.Count), fmt.Sprint(s.N)))
		}
	}
	add("status", &g.Status.Differing, explained(g.Noise.ExplainsStatus, g.Primary))
	add("body", &g.Body.Differing, explained(g.Noise.ExplainsBody, g.Primary))
	add(g.Primary+" against itself, status", &g.Noise.Status, "")
	add(g.Primary+" against itself, body", &g.Noise.Body.Differing, "")
	return out
}

func failures(g *verdict.VersionFigures) *grid {
	out := &grid{Caption: "Failed, with a status of 500 or above", Head: []string{"which failed", "requests"}, Right: 1}
	if g.Pairs == 0 {
		return out
	}
	s := &g.Status
	out.Rows = [][]any{row(g.Shadow+" alone", fmt.Sprint(s.ShadowFailed)), row(g.Primary+" alone", fmt.Sprint(s.PrimaryFailed)), row("both", fmt.Sprint(s.BothFailed)),
		row("p, by McNemar's exact test", fmt.Sprintf("%.3g", s.PValue))}
	return out
}

func changes(g *verdict.VersionFigures) *grid {
	out := &grid{Caption: "Statuses that changed", Head: []string{"from " + g.Primary + " to " + g.Shadow, "requests"}, Right: 1}
	for _, c := range g.Status.Changes {
		out.Rows = append(out.Rows, row(fmt.Sprintf("%d → %d", c.Primary, c.Shadow), fmt.Sprint(c.Count)))
	}
	return out
}

func pace(g *verdict.VersionFigures) *grid {
	out := &grid{Caption: "Service time at the app, in milliseconds", Head: []string{"quantile", "pairs", g.Primary, g.Shadow, "ratio", "interval"}, Right: 1}
	for _, p := range g.Times {
		out.Rows = append(out.Rows, row(verdict.QuantileName(p.Quantile), fmt.Sprint(p.Pairs), ms(p.PrimaryNS), ms(p.ShadowNS), fmt.Sprintf("%.3f", p.Ratio), fmt.Sprintf("%.3f … %.3f", p.Low, p.High)))
	}
	return out
}

// Telling is the table of the most telling requests.
func (v *view) Telling() *grid {
	g := &grid{Caption: "The most telling requests", Head: []string{"request", "what", "mirror", "why", "primary", "shadow"}, Right: 6}
	for i := range v.Versions.Examples {
		e := &v.Versions.Examples[i]
		p, s := digests(e)
		g.Rows = append(g.Rows, row(e.ID, e.Method+" "+e.Path+joined(", ", e.Name), e.Route+" → "+verdict.ShortCluster(e.Cluster), e.Why, answer(&e.Primary, p), answer(&e.Shadow, s)))
	}
	return g.bound()
}
