package reports

import (
	"fmt"
	"time"

	"umbra/internal/impact"
	"umbra/internal/verdict"
)

// experiment shows what the paired blocks rest on.
func (t sheet) experiment(x *verdict.ExperimentFigures) {
	if x == nil {
		return
	}
	t.paragraph("  ", fmt.Sprintf("blocks: %d of %d quadruples off against on, each block %v at %g requests a second; one-sided 95 %% bounds by Student's t over quadruples; FAIL after Holm, at a level of %g",
		x.Done, x.Planned, x.Block, x.Rate, x.Level))
	if x.LoadShare > 0 {
		t.paragraph("  ", fmt.Sprintf("load: %.0f %% of what a closed loop got answered", x.LoadShare))
	}
	t.paragraph("  ", "controls: "+x.Controls)
	t.plans(x.Plans, x.Planned)
	t.impactTable(x)
}

// plans shows the power that the control off against off promised.
func (t sheet) plans(plans []impact.Plan, planned int) {
	for _, p := range plans {
		need := "no number of quadruples has a power of 90 %"
		if p.Quadruples > 0 {
			need = fmt.Sprintf("a power of 90 %% asks for %d quadruples", p.Quadruples)
		}
		t.paragraph("  ", fmt.Sprintf("power at p%g: %s; the %d planned have %.0f %% (spread %.1f %% a unit, margin %.1f %%)", p.Quantile, need, planned, 100*p.Power, p.Spread, p.MarginPct))
	}
}

func (t sheet) impactTable(x *verdict.ExperimentFigures) {
	rows := [][]string{{"", "off", "on", "change", "95 % bounds", "bootstrap", "p fail", "p pass"}}
	rows = append(rows, impactRows("", x.Figures)...)
	if x.Negative != nil {
		rows = append(rows, impactRows("off/off ", x.Negative.Figures)...)
	}
	for i := range x.Positive {
		p := &x.Positive[i]
		rows = append(rows, impactRows(fmt.Sprintf("+%s ", p.Delay.Round(time.Microsecond)), []impact.Figure{p.Figure})...)
	}
	if len(rows) > 1 {
		t.table(rows, 1)
	}
}

// impactRows are the figures that were tested; times in milliseconds, changes in percent, or in points of the failed requests.
func impactRows(lead string, figures []impact.Figure) (rows [][]string) {
	change := func(v float64) string { return fmt.Sprintf("%+.1f", v) }
	bounds := func(low, high float64) string { return change(low) + "…" + change(high) }
	for i := range figures {
		f := &figures[i]
		if !f.Tested {
			continue
		}
		row := []string{lead + "failed", fmt.Sprintf("%d/%d", f.FailedOff, f.NOff), fmt.Sprintf("%d/%d", f.FailedOn, f.NOn), fmt.Sprintf("%+.3f", f.Change),
			fmt.Sprintf("%+.3f…%+.3f", f.Low, f.High), ""}
		if f.Quantile != 0 {
			boot := ""
			if f.BootLow != nil && f.BootHigh != nil {
				boot = bounds(*f.BootLow, *f.BootHigh)
			}
			row = []string{fmt.Sprintf("%sp%g", lead, f.Quantile), ms(f.Off), ms(f.On), change(f.Change), bounds(f.Low, f.High), boot}
		}
		rows = append(rows, append(row, probability(f.PHolm), probability(f.PPass)))
	}
	return rows
}

// probability writes a p-value; "" is one that is not known.
func probability(p *float64) string {
	switch {
	case p == nil:
		return ""
	case *p < 0.0001:
		return "<0.0001"
	}
	return fmt.Sprintf("%.4f", *p)
}
