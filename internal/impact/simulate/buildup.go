package simulate

import (
	"fmt"
	"math"
	"strconv"

	"umbra/internal/impact"
)

// BuildupPass is the table of quadruples that let something build up.
const BuildupPass = "False PASS where what is mirrored builds up"

// buildups are places with longer blocks, all of them off-on-on-off.
func buildups() (out []place) {
	of := func(w World, name string) World {
		w.Name, w.Requests, w.Buildup = name, impact.Longer*w.Requests, true
		return w
	}
	for _, law := range []Law{Cluster(), Bimodal(), HeavyTailed()} {
		iid := World{Law: law, Requests: 600, Failed: 0.002}
		like := World{Law: law, Requests: 600, Failed: 0.002, Memory: 0.9, Block: 0.074, Pair: 0.05, Quad: 0.1}
		for _, quads := range []int{impact.MinUnits, 10} {
			out = append(out, place{of(iid, "independent"), quads, bare()}, place{of(like, "autocorrelated"), quads, bare()})
		}
	}
	calm := World{Law: Cluster(), Requests: 600, Failed: 0.002, Memory: 0.8, Block: 0.01, Quad: 0.1}
	for _, drift := range []float64{0.1, -0.1, -0.5} {
		w := of(calm, fmt.Sprintf("%+.0f %% over the run", 100*math.Expm1(drift)))
		w.Drift = drift
		out = append(out, place{w, impact.MinUnits, bare()})
	}
	wave := of(calm, "three waves of ± 20 %")
	wave.Wave, wave.Waves = 0.2, 3
	return append(out, place{wave, impact.MinUnits, bare()})
}

// buildup plays a place: p50 at its margin, alone and behind a control off against off in the same world, and no effect at all.
func buildup(p place) Study {
	at := At(50, p.Law.Allowed(p.margins[0]))
	return Study{
		Name:   fmt.Sprintf("buildup/%s/%s/%d", p.Law.Name, p.Name, p.quads),
		Counts: 4,
		Prepare: func() Play {
			off, on := NewGenerator(p.World, p.quads), NewGenerator(p.World, p.quads)
			return func(random Random, counts []int64) {
				off.Play(random, p.quads)
				on.Play(random, p.quads)
				c := criteria(p.margins[:1], p.quads)
				negative := impact.Negative(off.Quadruples(random, None()), c).State
				passes := impact.Judge(on.Quadruples(random, at), c).Figures[0].State == impact.Pass
				count(&counts[0], passes)
				count(&counts[1], passes && negative == impact.Pass)
				fails := impact.Judge(on.Quadruples(random, None()), c).State == impact.Fail
				count(&counts[2], fails)
				count(&counts[3], fails && negative != impact.Fail)
			}
		},
		Rows: func(counts []int64, n int) []Row {
			return []Row{{Table: BuildupPass, Labels: []string{p.Law.Name, p.Name, strconv.Itoa(p.quads)}, Rates: rates(counts, n), Limit: passLimit}}
		},
	}
}
