package verdict

import (
	"cmp"
	"slices"
	"time"
)

// NoiseFigures are how often the primary's answers to a route's requests differ from its own answers to the same requests, sent
// again: in consecutive blocks of a quadruple.
type NoiseFigures struct {
	Why    string      `json:"why,omitempty"` // it was not measured; the rest is then 0
	Pairs  int         `json:"pairs"`
	Status Share       `json:"status"` // of Pairs, those with other statuses
	Body   BodyFigures `json:"body"`
	// The versions differ no more often than the primary differs from itself, so that nothing shows that they are not alike.
	ExplainsStatus bool `json:"explains_status"`
	ExplainsBody   bool `json:"explains_body"`
}

// unmeasured is why there is no noise without blocks.
const unmeasured = "needs checks.impact"

// resent is a request of a block.
type resent struct {
	due     time.Duration
	id      string
	route   *route
	primary *arrival // nil where the primary did not answer it, once
}

func resentOf(f *fate) resent { return resent{f.row.due, f.row.id, f.route, f.primary()} }

// noises are those of the routes.
type noises struct {
	measured bool // there are blocks
	own      map[*route]*ownNoise
}

// ownNoise is gathered of one route.
type ownNoise struct {
	pairs, statuses int
	body            BodyFigures
	unlike          int // pairs that are not the same request
}

// noise compares the blocks of each quadruple, each with the next one.
func (v *versions) noise(blocks []Block) *noises {
	n := &noises{measured: len(blocks) > 0, own: map[*route]*ownNoise{}}
	blocks = slices.Clone(blocks)
	slices.SortFunc(blocks, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.Quadruple, b.Quadruple), cmp.Compare(a.Index, b.Index))
	})
	for _, rows := range v.again {
		slices.SortFunc(rows, func(a, b resent) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.id, b.id)) })
	}
	for i := 1; i < len(blocks); i++ {
		if a, b := blocks[i-1], blocks[i]; a.Quadruple == b.Quadruple {
			n.compare(v.again[int32(a.Index)], v.again[int32(b.Index)])
		}
	}
	return n
}

// compare pairs the j-th requests of two blocks.
func (n *noises) compare(a, b []resent) {
	for j := range min(len(a), len(b)) {
		n.pair(&a[j], &b[j])
	}
}

func (n *noises) pair(a, b *resent) {
	if a.route == nil || a.route != b.route || a.primary == nil || b.primary == nil {
		return
	}
	own := n.own[a.route]
	if own == nil {
		own = &ownNoise{}
		n.own[a.route] = own
	}
	p, q := a.primary, b.primary
	if p.method != q.method || p.path != q.path || p.body != q.body {
		own.unlike++
		return
	}
	own.pairs++
	if p.status != q.status {
		own.statuses++
		return
	}
	own.body.add(p, q)
}

// of gives a route's noise, beside the figures of one of its mirrors.
func (n *noises) of(r *route, g *VersionFigures) (out NoiseFigures) {
	own := n.own[r]
	switch {
	case !n.measured:
		return NoiseFigures{Why: unmeasured}
	case own == nil:
		return NoiseFigures{Why: "no request was answered in two blocks of a quadruple, one behind the other"}
	case own.pairs == 0:
		return NoiseFigures{Why: "the blocks of a quadruple did not have the same requests"}
	}
	out = NoiseFigures{Pairs: own.pairs, Status: shareOf(own.statuses, own.pairs), Body: own.body}
	out.Body.close()
	out.ExplainsStatus, out.ExplainsBody = explains(out.Status, g.Status.Differing), explains(out.Body.Differing, g.Body.Differing)
	return out
}

// explains tells whether a difference is no more frequent than the noise: the noise lies within its interval, or above.
func explains(noise, differing Share) bool {
	return noise.N > 0 && differing.Count > 0 && noise.Percent >= differing.Low
}
