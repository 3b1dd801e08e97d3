// Package simulate plays experiments that never took place, from response times that look like real ones, and counts how often the
// statistics of package impact are wrong. Its tables are internal/impact/calibration.md.
package simulate

import (
	"math"
	"math/rand/v2"
	"strconv"

	"umbra/internal/impact"
)

// Random is where chance comes from.
type Random = *rand.Rand

// World is what an experiment is played in: without a law, failed requests alone are. Levels are standard deviations in the logarithm of response times.
type World struct {
	Name     string
	Law      Law
	Requests int // in a block
	// Memory is the correlation of neighbours, of a Gaussian copula: an autoregressive process of the first order, which goes on from
	// block to block, so that the law of each request stays what it is.
	Memory            float64
	Block, Pair, Quad float64
	Drift             float64 // in a straight line, over the whole run
	Wave, Waves       float64 // a sine's height, and how many of them the run has
	Failed            float64 // the share of failed requests
	Burst             float64 // how many fail together, on average (geometric); 0: each for itself
	Buildup           bool    // quadruples are off-on-on-off, all of them
	Gap               float64 // how long it takes to make way for the last block of a quadruple, in blocks
}

// steps are the places per unit of z at which a law is tabled, from −reach to reach.
const (
	steps = 128
	reach = 6
)

// curve is exp(Log + Shift) over z; nil without a law.
type curve []float64

func newCurve(l Law, shift func(z float64) float64) curve {
	if l.Log == nil {
		return nil
	}
	c := make(curve, 2*reach*steps+2)
	for i := range c {
		z := float64(i)/steps - reach
		c[i] = math.Exp(l.Log(z) + shift(z))
	}
	return c
}

// at interpolates.
func (c curve) at(z float64) float64 {
	x := max(0, min((z+reach)*steps, 2*reach*steps))
	i := int(x)
	return c[i] + (x-float64(i))*(c[i+1]-c[i])
}

// Generator plays experiments in a world, one after the other, in the same memory. It is for one goroutine.
type Generator struct {
	World
	law    curve
	shifts map[string]curve

	orders []impact.Order
	z      [][]float64 // of each block, sorted
	levels []float64
	quads  []impact.Quadruple
	off    []impact.Sample // the blocks without an effect
	on     []impact.Sample // those with the last one asked for
	failed []int           // with mirroring off
	raw    []float64
	sorter sorter
}

// NewGenerator prepares a world for so many quadruples at most.
func NewGenerator(w World, quadruples int) *Generator {
	blocks := quadruples * impact.Blocks
	g := &Generator{World: w, law: newCurve(w.Law, None().Shift), shifts: map[string]curve{}, z: make([][]float64, blocks),
		levels: make([]float64, blocks), quads: make([]impact.Quadruple, quadruples), off: make([]impact.Sample, blocks),
		on: make([]impact.Sample, blocks), failed: make([]int, blocks), raw: make([]float64, w.Requests), sorter: newSorter(w.Requests)}
	for b := range blocks {
		g.z[b] = make([]float64, w.Requests)
		for _, s := range []*impact.Sample{&g.off[b], &g.on[b]} {
			s.Took = make([]float64, w.Requests)
			s.Less = s.Took
		}
	}
	return g
}

// Play draws an experiment of so many quadruples without an effect.
func (g *Generator) Play(random Random, quadruples int) {
	g.orders = impact.Orders(quadruples, random.Uint64())
	if g.Buildup {
		g.orders = impact.Buildup(quadruples)
	}
	blocks := quadruples * impact.Blocks
	phase, state, pair, quad := 2*math.Pi*random.Float64(), random.NormFloat64(), 0.0, 0.0
	fresh := math.Sqrt(1 - g.Memory*g.Memory)
	for b := range blocks {
		if b%impact.Blocks == 0 {
			quad = g.Quad * random.NormFloat64()
		}
		if b%2 == 0 {
			pair = g.Pair * random.NormFloat64()
		}
		share := (float64(b) + 0.5 + g.Gap*float64((b+1)/impact.Blocks)) / (float64(blocks) + g.Gap*float64(quadruples))
		g.levels[b] = quad + pair + g.Block*random.NormFloat64() + g.Drift*(share-0.5) + g.Wave*math.Sin(phase+2*math.Pi*g.Waves*share)
		if g.law != nil {
			for i := range g.raw {
				state = g.Memory*state + fresh*random.NormFloat64()
				g.raw[i] = state
			}
			g.sorter.sort(g.raw, g.z[b])
			g.fill(&g.off[b], b, g.law, g.levels[b])
		}
		g.failed[b] = g.fail(random, g.Failed)
		g.off[b].Failed = g.failed[b]
	}
}

func (g *Generator) fill(s *impact.Sample, b int, c curve, level float64) {
	factor := math.Exp(level)
	for i, z := range g.z[b] {
		s.Took[i] = factor * c.at(z)
	}
}

// fail draws how many requests of a block fail.
func (g *Generator) fail(random Random, share float64) (n int) {
	if share <= 0 {
		return 0
	}
	if g.Burst <= 1 { // the gaps between the failed ones are geometric
		for at := gap(random, share); at < g.Requests; at += 1 + gap(random, share) {
			n++
		}
		return n
	}
	bursts := share * float64(g.Requests) / g.Burst
	for t := random.ExpFloat64(); t < bursts; t += random.ExpFloat64() {
		n += 1 + gap(random, 1/g.Burst)
	}
	return min(n, g.Requests)
}

// gap is how often what has a probability fails to happen before it does.
func gap(random Random, p float64) int {
	return int(min(1e9, math.Floor(random.ExpFloat64()/-math.Log1p(-p))))
}

// Quadruples gives the played experiment with an effect, until the next call of this or Play.
func (g *Generator) Quadruples(random Random, e Effect) []impact.Quadruple {
	c, known := g.shifts[e.Name]
	if !known {
		c = newCurve(g.Law, e.Shift)
		if e.Uneven != nil {
			c = g.law
		}
		g.shifts[e.Name] = c
	}
	quads := g.quads[:len(g.orders)]
	for q := range quads {
		quads[q].Order = g.orders[q]
		for i, treated := range g.orders[q] {
			b := q*impact.Blocks + i
			quads[q].Blocks[i] = &g.off[b]
			if !treated {
				continue
			}
			quads[q].Blocks[i] = &g.on[b]
			level := g.levels[b]
			if e.Uneven != nil {
				level += e.Shift(0) * e.Uneven(random)
			}
			if c != nil {
				g.fill(&g.on[b], b, c, level)
			}
			g.on[b].Failed = g.failed[b] + g.fail(random, e.Failed)
		}
	}
	return quads
}

// Percentile is "p99", or "failed" for 0.
func Percentile(quantile float64) string {
	if quantile == 0 {
		return "failed"
	}
	return "p" + strconv.FormatFloat(quantile, 'f', -1, 64)
}

// sorter sorts standard normal values, of which it knows about where each belongs: a bucket for each, then by insertion.
type sorter struct {
	below []float64 // Φ at −4 + i/64
	count []int32
}

func newSorter(n int) sorter {
	s := sorter{below: make([]float64, 8*64+1), count: make([]int32, n+1)}
	for i := range s.below {
		s.below[i] = 1 - above(float64(i)/64-4)
	}
	return s
}

func (s *sorter) bucket(z float64) int {
	i := int(max(0, min((z+4)*64, 8*64)))
	return int(s.below[i] * float64(len(s.count)-2))
}

func (s *sorter) sort(in, out []float64) {
	clear(s.count)
	for _, z := range in {
		s.count[s.bucket(z)+1]++
	}
	for i := 1; i < len(s.count); i++ {
		s.count[i] += s.count[i-1]
	}
	for _, z := range in {
		b := s.bucket(z)
		out[s.count[b]] = z
		s.count[b]++
	}
	for i := 1; i < len(out); i++ {
		z, j := out[i], i
		for ; j > 0 && out[j-1] > z; j-- {
			out[j] = out[j-1]
		}
		out[j] = z
	}
}
