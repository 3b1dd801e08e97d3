package simulate

import (
	"fmt"
	"math"
	"strconv"

	"umbra/internal/impact"
)

// BuildupFail is the table of quadruples that let something build up.
const BuildupFail = "False FAIL where what is mirrored builds up, over all looks"

// buildups are places with longer blocks, all of them off-on-on-off. Nothing is claimed where something has the period of a quadruple.
func buildups() (out []place) {
	of := func(w World, name string) place {
		w.Name, w.Requests, w.Buildup, w.Gap = name, impact.Longer*w.Requests, true, 0.1
		return place{w, impact.MinUnits, bare()}
	}
	for _, law := range []Law{Cluster(), Bimodal(), HeavyTailed()} {
		out = append(out, of(World{Law: law, Requests: 600, Failed: 0.002, Memory: 0.9, Block: 0.074, Pair: 0.05, Quad: 0.1}, "autocorrelated"))
	}
	calm := World{Law: Cluster(), Requests: 600, Failed: 0.002, Memory: 0.8, Block: 0.01, Quad: 0.1}
	for _, drift := range []float64{0.1, -0.1, -0.5} {
		calm.Drift = drift
		out = append(out, of(calm, fmt.Sprintf("%+.0f %% over the run", 100*math.Expm1(drift))))
	}
	calm.Drift, calm.Wave, calm.Waves = 0, 0.2, 3
	out = append(out, of(calm, "three waves of ± 20 %"))
	calm.Waves = impact.MinUnits
	return append(out, of(calm, resonant))
}

const resonant = "a wave of ± 20 % in each quadruple"

// buildup plays a place: p50 exactly at its margin, and no effect at all.
func buildup(p place) Study {
	effects := []Effect{At(50, p.Law.Allowed(p.margins[0])), None()}
	return Study{
		Name:   fmt.Sprintf("buildup/%s/%s/%d", p.Law.Name, p.Name, p.quads),
		Counts: len(effects),
		Prepare: func() Play {
			g := NewGenerator(p.World, p.quads)
			return func(random Random, counts []int64) {
				g.Play(random, p.quads)
				for i, e := range effects {
					state, _ := look(g.Quadruples(random, e), criteria(p.margins[:1], p.quads))
					count(&counts[i], state == impact.Fail)
				}
			}
		},
		Rows: func(counts []int64, n int) []Row {
			row := Row{Table: BuildupFail, Labels: []string{p.Law.Name, p.Name, strconv.Itoa(p.quads)}, Rates: rates(counts, n), Limit: failLimit}
			if p.Name == resonant {
				row.Limit = 0
			}
			return []Row{row}
		},
	}
}
