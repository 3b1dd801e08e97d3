package simulate

import (
	"fmt"
	"strconv"

	"umbra/internal/impact"
)

// failing are worlds of failed requests, whose times are of no account.
func failing() (out []place) {
	for _, quads := range []int{10, 20, 40} {
		for _, share := range []float64{0, 0.0005, 0.002, 0.02} {
			for _, burst := range []float64{1, 3, 5} {
				out = append(out, failingPlace(share, burst, 600, quads))
			}
		}
		out = append(out, failingPlace(0, 10, 600, quads), failingPlace(0.0005, 10, 600, quads))
	}
	for _, requests := range []int{160, 220, 300} {
		out = append(out, failingPlace(0, 1, requests, 10))
	}
	return out
}

// claimed tells whether a level is claimed: for bursts of up to 5 on average, and up to a 4,000th of an arm's requests. At the margin of
// one in 1,000 such an arm has at least four bursts on average, and sees none of them with a chance below 2 %.
func (p place) claimed() bool { return p.Burst == 1 || p.Burst <= min(5, float64(p.arm())/4000) }

// arm is how many requests an arm has.
func (p place) arm() int { return p.quads * impact.Blocks / 2 * p.Requests }

func failingPlace(share, burst float64, requests, quads int) place {
	return place{World: World{Requests: requests, Failed: share, Burst: burst}, quads: quads}
}

// failures plays a place's failed requests alone.
func failures(p place) Study {
	labels := []string{fmt.Sprintf("%.2g %%", 100*p.Failed), fmt.Sprint(p.Burst), strconv.Itoa(p.Requests), strconv.Itoa(p.quads)}
	return Study{
		Name:   fmt.Sprintf("failed/%v/%v/%d/%d", p.Failed, p.Burst, p.Requests, p.quads),
		Counts: 4,
		Prepare: func() Play {
			g := NewGenerator(p.World, p.quads)
			return func(random Random, counts []int64) {
				g.Play(random, p.quads)
				quads := g.Quadruples(random, Effect{Failed: points})
				c := criteria(nil, p.quads)
				count(&counts[0], impact.Judge(quads, c).Figures[0].State == impact.Pass)
				state, _ := look(quads, c)
				count(&counts[1], state == impact.Fail)
				quads = g.Quadruples(random, Effect{})
				count(&counts[2], impact.Judge(quads, c).Figures[0].State == impact.Pass)
				state, _ = look(quads, c)
				count(&counts[3], state == impact.Fail)
			}
		},
		Rows: func(counts []int64, n int) []Row {
			rate := func(i int) Rate { return Rate{int(counts[i]), n} }
			pass := Row{Table: FailedPass, Labels: labels, Limit: passLimit, Rates: []Rate{rate(0), rate(2)}}
			if !p.claimed() {
				pass.Table, pass.Limit = NoBursts, 0
			}
			return []Row{
				pass,
				{Table: FailedFalse, Labels: labels, Limit: failLimit, Rates: []Rate{rate(1), rate(3)}},
			}
		},
	}
}

// strikes is an effect that differs from block to block, in a world.
type strikes struct {
	World
	says     string
	one      int // strikes one in so many blocks, as many times harder; 0: every block, with an exponential law
	quantile float64
	quads    int
	claimed  bool
}

func (s strikes) name() string {
	if s.one == 0 {
		return "exponential"
	}
	return fmt.Sprintf("in 1 of %d blocks", s.one)
}

// uneven are effects that differ. The level is claimed where the spread is that of a cluster and an experiment has at least four struck
// blocks on average.
func uneven() (out []Study) {
	const enough = 4
	like, quiet := spreads()[0].World, places()[0].World
	for _, c := range []strikes{
		{World: like, says: spreads()[0].says, quantile: 50, quads: 5}, {World: like, says: spreads()[0].says, quantile: 50, quads: 10},
		{World: like, says: spreads()[0].says, quantile: 50, quads: 20}, {World: like, says: spreads()[0].says, quantile: 99, quads: 10},
		{World: quiet, says: "1, 2 and 19 %", quantile: 50, quads: 20},
	} {
		if c.quantile == 99 {
			c.Requests = impact.Need(0.99)
		}
		for _, c.one = range []int{0, 2, 5, 10, 20} {
			c.claimed = c.World.Memory > 0 && c.one*enough <= 2*c.quads
			out = append(out, c.study())
		}
	}
	return out
}

func (s strikes) study() Study {
	m := bare()[2]
	if s.quantile == 50 {
		m = bare()[0]
	}
	e := Everywhere(s.Law.Allowed(m))
	e.Uneven = Random.ExpFloat64
	if s.one > 0 {
		e.Uneven = rare(s.one)
	}
	return Study{
		Name:   fmt.Sprintf("uneven/%s/%s/%s/%d", s.name(), s.says, Percentile(s.quantile), s.quads),
		Counts: 1,
		Prepare: func() Play {
			g := NewGenerator(s.World, s.quads)
			return func(random Random, counts []int64) {
				g.Play(random, s.quads)
				r := impact.Judge(g.Quadruples(random, e), criteria([]impact.Margin{m}, s.quads))
				count(&counts[0], r.Figures[0].State == impact.Pass)
			}
		},
		Rows: func(counts []int64, n int) []Row {
			row := Row{Table: UnevenPass, Labels: []string{s.says, strconv.Itoa(s.Requests), Percentile(s.quantile), s.name(), strconv.Itoa(s.quads)}, Rates: rates(counts, n)}
			if row.Limit = passLimit; !s.claimed {
				row.Table, row.Limit = NoClaim, 0
			}
			return []Row{row}
		},
	}
}

// rare is an effect that strikes one in so many blocks, as many times harder.
func rare(one int) func(random Random) float64 {
	return func(random Random) float64 {
		if random.IntN(one) == 0 {
			return float64(one)
		}
		return 0
	}
}
