package simulate

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

// The tables of what the experiment finds out.
const (
	PowerNone    = "Power: PASS where there is no effect"
	PowerTwice   = "Power: FAIL where the effect is twice the margin, over all looks"
	Controls     = "The controls"
	WholeLaw     = "The whole law, controls included"
	Planned      = "What the control off against off says of the power"
	Soonest      = "The least time to a decision"
	ThreeMinutes = "What three minutes can decide"
)

// spread is a world by what it does to the log ratio of a pair.
type spread struct {
	World
	says string
}

// spreads are that of a small cluster in blocks of 2 s at 300 requests a second, and half of it.
func spreads() []spread {
	seen := World{Law: Cluster(), Requests: 600, Memory: 0.95, Block: 0.074, Pair: 0.05, Quad: 0.1, Failed: 0.0005}
	calm := seen
	calm.Memory, calm.Block = 0.8, 0.037
	return []spread{{seen, "12, 17 and 55 %"}, {calm, "6, 7 and 34 %"}}
}

// power plays no effect, with the default margins.
func power(s spread, quads int) Study {
	margins := asked(impact.DefaultMargins())
	figures := len(margins) + 1
	return Study{
		Name:   fmt.Sprintf("power/%s/%d", s.says, quads),
		Counts: 1 + figures,
		Prepare: func() Play {
			g := NewGenerator(s.World, quads)
			return func(random Random, counts []int64) {
				g.Play(random, quads)
				r := impact.Judge(g.Quadruples(random, None()), criteria(margins, quads))
				count(&counts[0], r.State == impact.Pass)
				for i := range r.Figures {
					count(&counts[1+i], r.Figures[i].State == impact.Pass)
				}
			}
		},
		Rows: func(counts []int64, n int) []Row {
			return []Row{{Table: PowerNone, Labels: []string{s.says, strconv.Itoa(quads)}, Rates: rates(counts, n)}}
		},
	}
}

func rates(counts []int64, n int) (out []Rate) {
	for _, c := range counts {
		out = append(out, Rate{int(c), n})
	}
	return out
}

// twice plays effects of twice the margins.
func twice(s spread, quads int) Study {
	margins := asked(impact.DefaultMargins())
	var shifts []float64
	for _, m := range margins {
		shifts = append(shifts, math.Log1p(2*m.Share(s.Law.Quantile(m.Quantile))))
	}
	tail := At(99, shifts[2])
	tail.Name = "p99 alone"
	effects := []Effect{
		{Name: "all figures", Shift: through(point{0.5, shifts[0]}, point{0.9, shifts[1]}, point{1.45, shifts[1]}, point{1.85, shifts[2]}), Failed: 2 * points},
		{Name: "p50 and p90", Shift: through(point{0.5, shifts[0]}, point{0.9, shifts[1]}, point{1.8, shifts[1]}, point{2.25, 0})},
		tail,
		{Name: "failed requests alone", Shift: None().Shift, Failed: 2 * points},
	}
	return Study{
		Name:   fmt.Sprintf("twice/%s/%d", s.says, quads),
		Counts: 2 * len(effects),
		Prepare: func() Play {
			g := NewGenerator(s.World, quads)
			return func(random Random, counts []int64) {
				g.Play(random, quads)
				for i, e := range effects {
					state, played := look(g.Quadruples(random, e), criteria(margins, quads))
					count(&counts[2*i], state == impact.Fail)
					counts[2*i+1] += int64(played)
				}
			}
		},
		Rows: func(counts []int64, n int) (rows []Row) {
			for i, e := range effects {
				share := float64(counts[2*i+1]) / float64(n*quads)
				rows = append(rows, Row{Table: PowerTwice, Labels: []string{s.says, e.Name, strconv.Itoa(quads)},
					Rates: []Rate{{int(counts[2*i]), n}}, More: []string{percent(share)}})
			}
			return rows
		},
	}
}

// percent is a share in percent.
func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// The lengths of a block that are compared, what a block takes besides, and the rate of requests.
var lengths = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

const (
	overhead = 900 * time.Millisecond // settling 0.4 s, switching 0.5 s
	persec   = 300
)

// least are quadruples enough for 5 units of every quantile, by the block's length.
func least(length time.Duration) int {
	perArm := 2 * int(persec*length.Seconds())
	stretch := 1
	for stretch*perArm < impact.Need(0.99) {
		stretch++
	}
	return impact.MinUnits * stretch
}

// lengthStudy finds the spread of units of blocks of each length. An experiment has some 5 units, so that a fifth of them is played.
func lengthStudy(s spread) Study {
	margins := bare()
	return Study{
		Name:   "length/" + s.says,
		Counts: 2 * len(lengths) * len(margins), // for each length and quantile the sum of variances, × 1e9, and of how many
		Prepare: func() Play {
			var generators []*Generator
			for _, length := range lengths {
				w := s.World
				w.Requests, w.Failed = int(persec*length.Seconds()), 0
				generators = append(generators, NewGenerator(w, least(length)))
			}
			return func(random Random, counts []int64) {
				if random.IntN(impact.MinUnits) != 0 {
					return
				}
				for l, g := range generators {
					g.Play(random, least(lengths[l]))
					r := impact.Judge(g.Quadruples(random, None()), criteria(margins, least(lengths[l])))
					for i := range margins {
						at := 2 * (l*len(margins) + i)
						counts[at] += int64(math.Round(1e9 * math.Pow(r.Figures[i].Spread/100, 2)))
						counts[at+1]++
					}
				}
			}
		},
		Rows: func(counts []int64, _ int) []Row {
			var of spreadOf
			of.says = s.says
			for l := range lengths {
				var sds []float64
				for i := range margins {
					at := 2 * (l*len(margins) + i)
					sds = append(sds, math.Sqrt(float64(counts[at])/1e9/float64(counts[at+1])))
				}
				of.sds = append(of.sds, sds)
			}
			return append(soonest(of), threeMinutes(of)...)
		},
	}
}

// spreadOf are the standard deviations of a unit's log ratio, by length and quantile.
type spreadOf struct {
	says string
	sds  [][]float64
}

// stretch is how many quadruples a unit has.
func stretch(length time.Duration, quantile float64) int {
	requests := int(persec * length.Seconds())
	if requests >= impact.Need(quantile/100) {
		return 1
	}
	n := 1
	for n*2*requests < impact.Need(quantile/100) {
		n++
	}
	return n
}

// soonest gives the minutes to a power of 90 %, for each margin.
func soonest(of spreadOf) (rows []Row) {
	for i, m := range bare() {
		margins := []float64{5, 10, 20}
		if m.Quantile == 99 {
			margins = []float64{10, 20, 50}
		}
		for _, margin := range margins {
			row := Row{Table: Soonest, Labels: []string{of.says, Percentile(m.Quantile), fmt.Sprintf("%.0f %%", margin)}}
			best := math.Inf(1)
			var minutes []float64
			var quads []int
			for l, length := range lengths {
				units := max(impact.MinUnits, 1+stats.TSize(math.Log1p(margin/100), of.sds[l][i], impact.Level, impact.Power))
				n := units * stretch(length, m.Quantile)
				minutes = append(minutes, (length+overhead).Minutes()*float64(n*impact.Blocks))
				quads = append(quads, n)
				best = min(best, minutes[l])
			}
			for l := range lengths {
				text := fmt.Sprintf("%.1f min (%d)", minutes[l], quads[l])
				if minutes[l] == best {
					text = "**" + text + "**"
				}
				row.More = append(row.More, text)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// threeMinutes gives the least margins that three minutes decide with a power of 90 %.
func threeMinutes(of spreadOf) (rows []Row) {
	for _, budget := range []struct {
		text string
		time time.Duration
	}{{"experiment and control", 90 * time.Second}, {"experiment alone", 180 * time.Second}} {
		for l, length := range lengths {
			quads := int(budget.time / (impact.Blocks * (length + overhead)))
			row := Row{Table: ThreeMinutes, Labels: []string{of.says, budget.text, length.String(), strconv.Itoa(quads)}}
			for i, m := range bare() {
				row.More = append(row.More, leastMargin(quads/stretch(length, m.Quantile), of.sds[l][i]))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// leastMargin is the least margin that so many units have the power for.
func leastMargin(units int, sd float64) string {
	if units < impact.MinUnits {
		return "not tested"
	}
	low, high := 0.0, 10.0
	for range 50 {
		if mid := (low + high) / 2; stats.TPower(units-1, mid, sd, impact.Level) >= impact.Power {
			high = mid
		} else {
			low = mid
		}
	}
	return fmt.Sprintf("%.0f %%", math.Ceil(100*math.Expm1(high)))
}
