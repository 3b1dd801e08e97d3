package compare

import (
	"cmp"
	"fmt"

	"umbra/internal/runs"
	"umbra/internal/stats"
	"umbra/internal/verdict"
)

// fractions compares the mirrored share of each mirror that any run has.
func (c *comparison) fractions(margin float64) (out []Figure) {
	known := map[[2]string]bool{}
	for _, side := range [][]runs.Run{c.a, c.b} {
		for i := range side {
			for _, m := range side[i].Mirrors() {
				if key := [2]string{m.Route, m.Cluster}; !known[key] {
					known[key] = true
					out = append(out, c.fraction(m.Route, m.Cluster, margin))
				}
			}
		}
	}
	return out
}

// mirrored are the readings of one mirror in the runs of a side. What is not known exactly lies between two readings of all of them.
type mirrored struct {
	xLow, xHigh, nLow, nHigh int
	programmed               []float64 // shares
	deviations               []float64 // of the runs' shares from what is programmed
	each                     []float64 // percent
	why                      string    // it cannot be tested
}

func mirroredOf(of []runs.Run, route, cluster string) (s mirrored) {
	for i := range of {
		m := find(of[i].Mirrors(), route, cluster)
		switch {
		case m == nil:
			s.why = of[i].Source + " has no request that this mirror could have been for"
			return s
		case m.State == verdict.Invalid:
			s.why = of[i].Source + " says itself that its fraction is not to be trusted"
			return s
		}
		s.xLow, s.xHigh = s.xLow+m.Mirrored+m.MissingLow, s.xHigh+m.Mirrored+m.MissingHigh
		s.nLow, s.nHigh = s.nLow+m.Eligible, s.nHigh+m.Eligible+m.Unknown
		programmed, share := float64(m.Numerator)/1e6, m.EstimatePercent/100
		s.programmed, s.deviations, s.each = append(s.programmed, programmed), append(s.deviations, share-programmed), append(s.each, m.EstimatePercent)
	}
	s.xLow, s.xHigh = max(0, s.xLow), min(s.xHigh, s.nHigh)
	s.nLow = max(s.nLow, s.xHigh)
	return s
}

func find(mirrors []runs.Mirror, route, cluster string) *runs.Mirror {
	for i := range mirrors {
		if mirrors[i].Route == route && mirrors[i].Cluster == cluster {
			return &mirrors[i]
		}
	}
	return nil
}

// readings are the extreme ones: tests are monotone in between.
func (s *mirrored) readings() [][2]int { return [][2]int{{s.xLow, s.nHigh}, {s.xHigh, s.nLow}} }

// fraction compares a mirror's share. B is worse where its share is farther from what is programmed than A's by more than the margin, and
// no worse where the two differ by less, to both sides, or where B's own is that near to what is programmed; two ways that share the
// level (Bonferroni). Each is a test on counts (Miettinen and Nurminen, as share's), in the reading that
// speaks least for it, and between runs Welch's t on the runs' shares has to agree.
func (c *comparison) fraction(route, cluster string, margin float64) Figure {
	m := runs.Mirror{Route: route, Cluster: cluster}
	f := Figure{Name: "mirrored, " + m.Name(), Kind: Fraction, Route: route, Cluster: cluster, Unit: "%", ChangeUnit: "points", Margin: margin, Gated: true}
	a, b := mirroredOf(c.a, route, cluster), mirroredOf(c.b, route, cluster)
	f.EachA, f.EachB = a.each, b.each
	if f.Why = cmp.Or(a.why, b.why); f.Why != "" {
		return f
	}
	f.A, f.B = percentage(a.xLow, a.nHigh), percentage(b.xLow, b.nHigh)
	f.Change = f.B - f.A
	if !constant(a.programmed) || !constant(b.programmed) {
		f.Why = "the runs of a side were programmed with different fractions"
		return f
	}
	t := deviation{a: &a, b: &b, margin: margin / 100, welch: c.result.Between}
	low, high := t.bounds()
	units := 1
	if t.welch {
		units = min(len(c.a), len(c.b))
	}
	f.tested(units, min(1, 2*min(t.farther(1), t.farther(-1))), min(1, 2*min(max(t.within(1), t.within(-1)), t.right())), 100*low, 100*high)
	if p, q := a.programmed[0], b.programmed[0]; p != q {
		f.Name += fmt.Sprintf(" (programmed %s %% in A, %s %% in B)", verdict.Digits(100*p), verdict.Digits(100*q))
	}
	return f
}

func constant(xs []float64) bool {
	for _, x := range xs {
		if x != xs[0] {
			return false
		}
	}
	return true
}

// deviation compares how far two sides' shares are from what is programmed.
type deviation struct {
	a, b   *mirrored
	margin float64
	welch  bool
}

// counts is the greatest p-value, over all readings, of "b's share less a's is at most limit" against "above it", with the sign turned where
// sign is −1, and a's share taken as 1 less itself where flip is set, so that the difference is a sum.
func (d *deviation) counts(sign int, flip bool, limit float64) (p float64) {
	for _, a := range d.a.readings() {
		for _, b := range d.b.readings() {
			xa, na, xb, nb := a[0], a[1], b[0], b[1]
			if flip {
				xa = na - xa
			}
			if sign < 0 {
				xa, xb = na-xa, nb-xb
			}
			p = max(p, stats.DifferencePValue(xa, na, xb, nb, limit))
		}
	}
	return p
}

// farther is the p-value of "b's deviation is no greater than a's plus the margin" against "it is, to the side of sign". A's may be to
// either side, so that both have to be exceeded: with shares p and programmed shares π, to the upper side pB − πB > (pA − πA) + δ and
// pB − πB > −(pA − πA) + δ.
func (d *deviation) farther(sign int) float64 {
	s, pa, pb := float64(sign), d.a.programmed[0], d.b.programmed[0]
	// The second says pB − (1 − pA) > πA + πB + δ − 1, or to the lower side (1 − pB) − pA > 1 − πA − πB + δ.
	sum := s*(pa+pb-1) + d.margin
	p := max(d.counts(sign, false, s*(pb-pa)+d.margin), d.counts(sign, true, sum))
	if d.welch {
		a, b := stats.MeanOf(d.a.deviations), stats.MeanOf(d.b.deviations)
		p = max(p, stats.Contrast([]float64{-s, s}, a, b).Above(d.margin), stats.Contrast([]float64{s, s}, a, b).Above(d.margin))
	}
	return p
}

// within is the p-value of "b's deviation less a's is at or beyond the margin, to the side of sign" against "inside".
func (d *deviation) within(sign int) float64 {
	s, pa, pb := float64(sign), d.a.programmed[0], d.b.programmed[0]
	p := d.counts(-sign, false, -(s*(pb-pa) + d.margin))
	if d.welch {
		p = max(p, stats.Contrast([]float64{-s, s}, stats.MeanOf(d.a.deviations), stats.MeanOf(d.b.deviations)).Below(d.margin))
	}
	return p
}

// right is the p-value of "b's own share is at or beyond the margin from what is programmed" against "inside", exact on counts, and between
// runs by Student's t as well. What is that near cannot be farther than a's by the margin, whatever a's is.
func (d *deviation) right() float64 {
	high, low := min(1, d.b.programmed[0]+d.margin), max(0, d.b.programmed[0]-d.margin)
	p := max(stats.TailLE(d.b.nLow, d.b.xHigh, high), stats.TailGE(d.b.nHigh, d.b.xLow, low))
	if high == 1 {
		p = stats.TailGE(d.b.nHigh, d.b.xLow, low)
	}
	if low == 0 {
		p = stats.TailLE(d.b.nLow, d.b.xHigh, high)
	}
	if d.welch {
		p = max(p, stats.TOST(stats.MeanOf(d.b.deviations), -d.margin, d.margin))
	}
	return p
}

// bounds are the widest one-sided ones of the difference of the shares.
func (d *deviation) bounds() (low, high float64) {
	low, high = 1, -1
	for _, a := range d.a.readings() {
		for _, b := range d.b.readings() {
			l, h := stats.DifferenceBounds(a[0], a[1], b[0], b[1], Level)
			low, high = min(low, l), max(high, h)
		}
	}
	if d.welch {
		w := stats.Welch(stats.MeanOf(shareOf(d.a)), stats.MeanOf(shareOf(d.b)))
		low, high = min(low, w.Lower(Level)), max(high, w.Upper(Level))
	}
	return low, high
}

func shareOf(m *mirrored) []float64 {
	out := make([]float64, len(m.each))
	for i, v := range m.each {
		out[i] = v / 100
	}
	return out
}
