package verdict

import (
	"cmp"
	"slices"
)

// fate is what became of one id: its arrivals, told apart.
type fate struct {
	row       *row
	route     *route // nil where the row names none of the table
	all       []*arrival
	primaries []*arrival
	copies    [][]*arrival // of each mirror of the route
	leaked    []*arrival   // at a shadow, although the route mirrors nowhere, or 0 % there
	stray     []*arrival   // at a pod that the route names neither as destination nor as mirror
	foreign   []*arrival   // at a pod that is in no cluster
}

// fates tells the arrivals of one id after the other apart. Its fate is valid until the next one.
type fates struct {
	topology *topology
	recon    *Recon
	sampled  bool // fractions are judged, and with them the reads that arrive at mirrors of 0 %
	fate     fate
	open     []*arrival // those with more than one possible role
}

// of classifies the arrivals of a row. What only one role explains comes first; what is left is taken to be the
// primary's where it has none yet, then a mirror's, in the order of arrival.
func (s *fates) of(w *row) *fate {
	f := &s.fate
	f.row, f.route = w, nil
	if w.is(planned) {
		f.route = s.topology.byName[s.recon.routes.text[w.route]]
	}
	f.all = s.recon.arrivalsOf(w, f.all)
	f.primaries, f.leaked, f.stray, f.foreign = f.primaries[:0], f.leaked[:0], f.stray[:0], f.foreign[:0]
	f.clearCopies()
	if f.route == nil {
		return f
	}
	s.open = s.open[:0]
	for _, a := range f.all {
		if !s.place(f, a) {
			s.open = append(s.open, a)
		}
	}
	for _, a := range s.open {
		s.guess(f, a)
	}
	s.disown(f)
	return f
}

// disown takes the copies from mirrors of 0 %, which are no policy at all, so that they count as leaked. Those that
// Sampling's exact set of 0 judges stay: a wrong fraction and a leak look the same there, and one verdict is to fail.
func (s *fates) disown(f *fate) {
	if s.sampled && !f.row.is(write) {
		return
	}
	for i, m := range f.route.mirrors {
		if m.Numerator > 0 {
			continue
		}
		for _, a := range f.copies[i] {
			s.leak(f, a)
		}
		f.copies[i] = f.copies[i][:0]
	}
}

// leak enters an arrival that no policy explains, unless a retry of the primary does.
func (s *fates) leak(f *fate, a *arrival) {
	if f.route.pods[s.recon.pods.text[a.pod]] && len(f.primaries) < s.topology.tries(f.route) {
		f.primaries = append(f.primaries, a)
		return
	}
	f.leaked = append(f.leaked, a)
}

// clearCopies makes room for the copies of the route's mirrors.
func (f *fate) clearCopies() {
	n := 0
	if f.route != nil {
		n = len(f.route.mirrors)
	}
	for len(f.copies) < n {
		f.copies = append(f.copies, nil)
	}
	f.copies = f.copies[:n]
	for i := range f.copies {
		f.copies[i] = f.copies[i][:0]
	}
}

// place puts an arrival where only one role explains it, and tells whether it did.
func (s *fates) place(f *fate, a *arrival) bool {
	pod := s.recon.pods.text[a.pod]
	primary, mirror, more := f.route.pods[pod], none, false
	for i, m := range f.route.mirrors {
		if m.cluster.pods[pod] {
			more = mirror != none
			mirror = i
		}
	}
	switch {
	case more || primary && mirror != none:
		return false
	case primary:
		f.primaries = append(f.primaries, a)
	case mirror != none:
		f.copies[mirror] = append(f.copies[mirror], a)
	case !f.route.mirrored() && len(s.topology.byPod[pod]) > 0:
		f.leaked = append(f.leaked, a)
	case s.topology.pods[pod]:
		f.stray = append(f.stray, a)
	default:
		f.foreign = append(f.foreign, a)
	}
	return true
}

// guess places an arrival at a pod that several roles share: the first is the primary's, the next the mirrors', the
// largest fraction first, as the sets are nested; what is over is a retry where the gateway retried, else a duplicate.
func (s *fates) guess(f *fate, a *arrival) {
	pod := s.recon.pods.text[a.pod]
	primary := f.route.pods[pod]
	if primary && len(f.primaries) == 0 {
		f.primaries = append(f.primaries, a)
		return
	}
	candidates := f.mirrorsAt(pod)
	for _, i := range candidates {
		if len(f.copies[i]) == 0 {
			f.copies[i] = append(f.copies[i], a)
			return
		}
	}
	if primary && len(f.primaries) < s.topology.tries(f.route) {
		f.primaries = append(f.primaries, a)
		return
	}
	f.copies[candidates[0]] = append(f.copies[candidates[0]], a)
}

// mirrorsAt lists the mirrors that a pod is an endpoint of, the largest fraction first.
func (f *fate) mirrorsAt(pod string) []int {
	var at []int
	for i, m := range f.route.mirrors {
		if m.cluster.pods[pod] {
			at = append(at, i)
		}
	}
	slices.SortStableFunc(at, func(a, b int) int {
		return cmp.Compare(f.route.mirrors[b].Numerator, f.route.mirrors[a].Numerator)
	})
	return at
}

// shadowed tells whether a mirror got the id.
func (f *fate) shadowed(mirror int) bool { return len(f.copies[mirror]) > 0 }

// aborted tells whether the gateway answered with the route's injected fault, so that nothing left it.
func (f *fate) aborted() bool {
	return f.route != nil && f.route.AbortNumerator > 0 && f.row.outcome == ok &&
		int(f.row.status) == f.route.AbortStatus && len(f.all) == 0
}

// reach is what is known of a request's way to the gateway.
type reach int

const (
	neverThere   reach = iota // not sent, refused on the way, or answered before routing
	maybeThere                // of unknown fate
	certainThere              // it was answered, or arrived behind the gateway
)

// reached tells whether a request came to the gateway's mirroring.
func (f *fate) reached() reach {
	switch {
	case f.aborted() && f.route.lost != nil: // or the app answered, and the receipt is lost
		return maybeThere
	case !f.row.is(planned|sent) || f.aborted():
		return neverThere
	case f.row.outcome == ok || len(f.all) > 0:
		return certainThere
	case f.row.is(unreached):
		return neverThere
	}
	return maybeThere
}

// judged tells whether a row is of a part of the run that fractions are judged on: not the warm-up, and no block with
// the mirror off.
func (f *fate) judged() bool { return f.row.phase != warmup && f.row.is(mirroredIn) }
