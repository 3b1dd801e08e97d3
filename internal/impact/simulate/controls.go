package simulate

import (
	"fmt"
	"strconv"

	"umbra/internal/impact"
)

// The counts of a study of controls.
const (
	negativePass = iota
	negativeFail
	lawPass  // no effect, the margins asked for
	lawGated // no effect, those without power only told
	perFigure
)

// For each of the default margins:
const (
	foundTwice = iota
	foundNone
	foundAt
	falsePass // the whole law's
	powered
	passed      // of all
	passPowered // of those
	stated      // the stated power, × 1e6
	figureCounts
)

// controls plays the control off against off, what it says of the slower primary, and experiments after it.
func controls(s spread, quads int) Study {
	margins := impact.DefaultMargins()
	named := asked(margins)
	none := None()
	var at []Effect
	for _, m := range margins {
		at = append(at, At(m.Quantile, s.Law.Allowed(m)))
	}
	return Study{
		Name:   fmt.Sprintf("controls/%s/%d", s.says, quads),
		Counts: perFigure + figureCounts*len(margins),
		Prepare: func() Play {
			off, on := NewGenerator(s.World, quads), NewGenerator(s.World, quads)
			return func(random Random, counts []int64) {
				off.Play(random, quads)
				on.Play(random, quads)
				c := newControl(off.Quadruples(random, none), named, quads)
				count(&counts[negativePass], c.negative == impact.Pass)
				count(&counts[negativeFail], c.negative == impact.Fail)
				r := impact.Judge(on.Quadruples(random, none), criteria(named, quads))
				count(&counts[lawPass], c.passes(r))
				weak := criteria(margins, quads)
				weak.Weak = c.weak
				count(&counts[lawGated], c.passes(impact.Judge(on.Quadruples(random, none), weak)))
				for i, m := range margins {
					of := counts[perFigure+figureCounts*i:]
					count(&of[foundTwice], c.found[m.Quantile])
					_, found := impact.Found(off.Quadruples(random, none), m, weak)
					count(&of[foundNone], found)
					slow := on.Quadruples(random, at[i])
					_, found = impact.Found(slow, m, weak)
					count(&of[foundAt], found)
					count(&of[falsePass], c.passes(impact.Judge(slow, criteria(named, quads))))
					pass := r.Figures[i].State == impact.Pass
					count(&of[powered], !c.weak[m.Quantile])
					count(&of[passed], pass)
					count(&of[passPowered], pass && !c.weak[m.Quantile])
					of[stated] += int64(1e6 * c.power[m.Quantile])
				}
			}
		},
		Rows: func(counts []int64, n int) (rows []Row) {
			number := strconv.Itoa(quads)
			rate := func(i int) Rate { return Rate{int(counts[i]), n} }
			rows = []Row{
				{Table: Controls, Labels: []string{s.says, number, "off against off: FAIL"}, Rates: []Rate{rate(negativeFail)}, Limit: impact.Level},
				{Table: Controls, Labels: []string{s.says, number, "off against off: PASS"}, Rates: []Rate{rate(negativePass)}},
				{Table: WholeLaw, Labels: []string{s.says, number, "none", "all margins asked for"}, Rates: []Rate{rate(lawPass)}},
				{Table: WholeLaw, Labels: []string{s.says, number, "none", "those with power gated"}, Rates: []Rate{rate(lawGated)}},
			}
			for i, m := range margins {
				at, name := perFigure+figureCounts*i, Percentile(m.Quantile)
				rows = append(rows,
					Row{Table: Controls, Labels: []string{s.says, number, "slower by twice the margin, found at " + name}, Rates: []Rate{rate(at + foundTwice)}},
					Row{Table: Controls, Labels: []string{s.says, number, "slower by the margin, found at " + name}, Rates: []Rate{rate(at + foundAt)}, Limit: impact.Level},
					Row{Table: Controls, Labels: []string{s.says, number, "not slower, found at " + name}, Rates: []Rate{rate(at + foundNone)}, Limit: impact.Level},
					Row{Table: WholeLaw, Labels: []string{s.says, number, name + " at its margin", "all margins asked for"}, Rates: []Rate{rate(at + falsePass)}, Limit: passLimit},
					Row{Table: Planned, Labels: []string{s.says, number, name}, Rates: []Rate{rate(at + powered), rate(at + passed), {int(counts[at+passPowered]), int(counts[at+powered])}},
						More: []string{fmt.Sprintf("%.1f %%", float64(counts[at+stated])/1e4/float64(n))}},
				)
			}
			return rows
		},
	}
}

// control is what the control off against off says.
type control struct {
	negative impact.State
	found    map[float64]bool // the slower primary, in the client's stamps
	weak     map[float64]bool
	power    map[float64]float64
}

func newControl(quads []impact.Quadruple, margins []impact.Margin, planned int) control {
	c := control{impact.Negative(quads, criteria(margins, planned)).State, map[float64]bool{}, map[float64]bool{}, map[float64]float64{}}
	for i, p := range impact.Plans(quads, margins, planned) {
		_, c.found[p.Quantile] = impact.Found(impact.Delayed(quads, p.Delay()), margins[i], criteria(margins, planned))
		c.weak[p.Quantile], c.power[p.Quantile] = !p.Powered, p.Power
	}
	return c
}

// passes tells whether an experiment passes once the controls have had their say.
func (c control) passes(r impact.Result) bool {
	if r.State != impact.Pass || c.negative != impact.Pass {
		return false
	}
	for i := range r.Figures {
		if f := &r.Figures[i]; f.Quantile > 0 && f.Gated && !c.found[f.Quantile] {
			return false
		}
	}
	return true
}
