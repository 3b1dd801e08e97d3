package summary

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"umbra/internal/traffic"
)

// series is the rows of one phase, name and route in the interval being filled.
type series struct {
	phase       traffic.Phase
	name, route string
	rows, notOK int
	hist        [metrics]histogram
}

// add counts a row that was sent, or waited to be. What has no complete response enters at its lower bound.
func (g *series) add(r *traffic.Result) {
	g.rows++
	bound := r.Outcome != traffic.OK
	if bound || r.Status >= 500 {
		g.notOK++
	}
	g.hist[response].add(r.ResponseTime())
	if bound {
		g.hist[responseBound].add(r.ResponseTime())
	}
	if r.Sent == traffic.Never {
		return
	}
	g.hist[service].add(r.ServiceTime())
	g.hist[lag].add(r.Lag())
	if bound {
		g.hist[serviceBound].add(r.ServiceTime())
	}
	if r.LastByte != traffic.Never {
		g.hist[readLag].add(r.ReadLag)
	}
}

func (g *series) clear() {
	g.rows, g.notOK = 0, 0
	for m := range g.hist {
		g.hist[m].clear()
	}
}

func (g *series) is(r *traffic.Result) bool {
	return g != nil && g.name == r.Name && g.route == r.Route && g.phase == r.Phase
}

// maxSeries bounds the memory, whatever the number of names: rows beyond it share a series for each phase.
const maxSeries = 256

// Further is the name and the route that stand for all of those beyond the first few hundred.
const Further = "(further ones)"

// groups finds the series of a row: it is mostly the last one's, or one of a few.
type groups struct {
	known  map[seriesKey]*series
	sorted []*series // by phase, name, route
	last   *series
	recent [64]*series
}

type seriesKey struct {
	phase       traffic.Phase
	name, route string
}

func newSeries() groups { return groups{known: map[seriesKey]*series{}} }

func (g *groups) of(r *traffic.Result) *series {
	if g.last.is(r) {
		return g.last
	}
	slot := &g.recent[(trait(r.Name)+5*trait(r.Route))%uint(len(g.recent))]
	if !(*slot).is(r) {
		*slot = g.find(seriesKey{r.Phase, r.Name, r.Route})
	}
	g.last = *slot
	return g.last
}

// trait is what tells most of a mix's names apart, for less than a hash.
func trait(s string) uint {
	n := len(s)
	if n == 0 {
		return 0
	}
	return uint(n) + 3*uint(s[0]) + 11*uint(s[n-1]) + 37*uint(s[max(0, n-2)]) + 7*uint(s[n/2])
}

func (g *groups) find(key seriesKey) *series {
	if s := g.known[key]; s != nil {
		return s
	}
	if rest := (seriesKey{key.phase, Further, Further}); len(g.known) >= maxSeries && key != rest {
		return g.find(rest)
	}
	// The caller's strings may lie in larger memory.
	s := &series{phase: traffic.Phase(strings.Clone(string(key.phase))), name: strings.Clone(key.name), route: strings.Clone(key.route)}
	g.known[seriesKey{s.phase, s.name, s.route}] = s
	at, _ := slices.BinarySearchFunc(g.sorted, s, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.phase, b.phase), cmp.Compare(a.name, b.name), cmp.Compare(a.route, b.route))
	})
	g.sorted = slices.Insert(g.sorted, at, s)
	return s
}

// byTag gives the series that have rows, those of one phase and name together.
func (g *groups) byTag() iter.Seq[[]*series] {
	return func(yield func([]*series) bool) {
		var batch []*series
		for _, s := range g.sorted {
			if s.rows == 0 {
				continue
			}
			if len(batch) > 0 && (batch[0].name != s.name || batch[0].phase != s.phase) {
				if !yield(batch) {
					return
				}
				batch = batch[:0]
			}
			batch = append(batch, s)
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}
