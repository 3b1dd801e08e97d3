package simulate

import (
	"fmt"
	"slices"
	"strconv"

	"umbra/internal/impact"
)

// The tables of what is wrong.
const (
	FalsePass   = "False PASS: one figure exactly at its margin, the others without an effect"
	FailedPass  = "False PASS: the share of failed requests exactly at its margin"
	NoBursts    = "Bursts of failed requests, where no level is claimed"
	UnevenPass  = "False PASS: effects that differ from block to block"
	NoClaim     = "Effects that differ, where no level is claimed"
	FalseFail   = "False FAIL, over all looks"
	FailedFalse = "False FAIL of the share of failed requests, over all looks"
)

// passLimit and failLimit are what the rates of false PASS and of false FAIL must keep.
const (
	passLimit = impact.Level
	failLimit = impact.TotalLevel
)

// bare are the default margins without their floors, so that each is known exactly.
func bare() []impact.Margin {
	margins := impact.DefaultMargins()
	for i := range margins {
		margins[i].Floor = 0
	}
	return margins
}

// asked is that the scenario names the margins.
func asked(margins []impact.Margin) []impact.Margin {
	margins = slices.Clone(margins)
	for i := range margins {
		margins[i].Asked = true
	}
	return margins
}

func criteria(margins []impact.Margin, planned int) impact.Criteria {
	return impact.Criteria{Margins: margins, Errors: impact.DefaultErrors, Planned: planned, Bare: true}
}

// points is the default margin of the share of failed requests, as a share.
const points = impact.DefaultErrors / 100

// place is a world with a number of quadruples.
type place struct {
	World
	quads   int
	margins []impact.Margin
}

func (p place) labels() []string { return []string{p.Law.Name, p.Name, strconv.Itoa(p.quads)} }

// places are the worlds of the main tables. Blocks are those of 2 s at 300 requests a second.
func places() (out []place) {
	for _, law := range []Law{Cluster(), Bimodal(), HeavyTailed()} {
		memory := 0.9
		if law.Name == Cluster().Name {
			memory = 0.95
		}
		iid := World{Name: "independent", Law: law, Requests: 600, Failed: 0.002}
		like := World{Name: "autocorrelated", Law: law, Requests: 600, Failed: 0.002, Memory: memory, Block: 0.074, Pair: 0.05, Quad: 0.1}
		line, wave := like, like
		line.Name, line.Drift = "autocorrelated, straight drift", 0.5
		wave.Name, wave.Wave, wave.Waves = "autocorrelated, slow wave", 0.2, 3
		for _, w := range []World{iid, like, line, wave} {
			out = append(out, place{w, 20, bare()})
		}
	}
	for _, quads := range []int{10, 40} {
		out = append(out, place{out[1].World, quads, bare()}, place{out[3].World, quads, bare()})
	}
	floors := out[1].World
	floors.Name = "autocorrelated, margins with floors"
	return append(out, place{floors, 20, impact.DefaultMargins()})
}

// wrong plays a place: each figure at its margin, all at once, and no effect at all.
func wrong(p place) Study {
	var single []Effect
	shifts := make([]float64, len(p.margins))
	for i, m := range p.margins {
		shifts[i] = p.Law.Allowed(m)
		single = append(single, At(m.Quantile, shifts[i]))
	}
	single = append(single, Effect{Name: Percentile(0), Shift: None().Shift, Failed: points})
	looked := []Effect{None(), All(shifts[0], shifts[2], points)}
	looked[1].Name = "all at their margins"
	if p.margins[1].Floor > 0 {
		looked[1].Shift = through(point{0.5, shifts[0]}, point{0.6, shifts[1]}, point{1.45, shifts[1]}, point{1.85, shifts[2]})
	}
	return Study{
		Name:   fmt.Sprintf("wrong/%s/%s/%d", p.Law.Name, p.Name, p.quads),
		Counts: 2*len(single) + len(looked),
		Prepare: func() Play {
			g := NewGenerator(p.World, p.quads)
			return func(random Random, counts []int64) {
				g.Play(random, p.quads)
				for i, e := range single {
					r := impact.Judge(g.Quadruples(random, e), criteria(p.margins, p.quads))
					count(&counts[2*i], r.Figures[i].State == impact.Pass)
					count(&counts[2*i+1], r.State == impact.Pass)
				}
				for i, e := range looked {
					state, _ := look(g.Quadruples(random, e), criteria(p.margins, p.quads))
					count(&counts[2*len(single)+i], state == impact.Fail)
				}
			}
		},
		Rows: func(counts []int64, n int) (rows []Row) {
			for i, e := range single {
				rows = append(rows, Row{Table: FalsePass, Labels: append(p.labels(), e.Name), Limit: passLimit,
					Rates: []Rate{{int(counts[2*i]), n}, {int(counts[2*i+1]), n}}})
			}
			for i, e := range looked {
				rows = append(rows, Row{Table: FalseFail, Labels: append(p.labels(), e.Name), Limit: failLimit, Rates: []Rate{{int(counts[2*len(single)+i]), n}}})
			}
			return rows
		},
	}
}

func count(c *int64, hit bool) {
	if hit {
		*c++
	}
}

// look judges at every look, and tells how many quadruples were played.
func look(quads []impact.Quadruple, c impact.Criteria) (state impact.State, played int) {
	for _, l := range impact.Looks(c.Planned) {
		state = impact.Judge(quads[:l.Quadruples], c).State
		played = l.Quadruples
		if state == impact.Fail {
			break
		}
	}
	return state, played
}
