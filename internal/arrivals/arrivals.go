// Package arrivals compares the shape of a replay with that of its capture: the distribution of the gaps between the instants
// at which requests were due with that of the gaps between the instants at which they were sent. It is pure.
package arrivals

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"umbra/internal/traffic"
)

// Shape is the two distributions and how far apart they are. It is a figure, no verdict.
type Shape struct {
	Due  Gaps `json:"due"`  // as captured, at the speed of the replay
	Sent Gaps `json:"sent"` // of the requests that were sent
	// Distance is the two-sample Kolmogorov-Smirnov statistic of the gaps: the largest difference between their empirical
	// distribution functions, as far as histograms of three digits tell gaps apart.
	Distance float64 `json:"ks_distance"`
	// Beyond is the same where gaps count as equal that differ by Tolerance at the most, which is what a client may be late; or
	// may do so as far as the histograms tell: theirs are bars as wide as a thousandth of a gap, at the most.
	Beyond    float64       `json:"ks_distance_beyond_tolerance"`
	Tolerance time.Duration `json:"tolerance_ns"`
	LeftOut   int64         `json:"left_out,omitempty"` // instants that came too late to be put in their order
	Differs   bool          `json:"differs"`            // Distance is above Noticeable
}

// Gaps are the quantiles of a distribution of gaps.
type Gaps struct {
	N   int64         `json:"n"`
	P10 time.Duration `json:"p10_ns"`
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Noticeable is the distance above which a shape is said to differ: a tenth of the gaps lie elsewhere.
const Noticeable = 0.1

// Tolerance is how late a client may be without its figures being doubted.
const Tolerance = 200 * time.Microsecond

// Compare gathers the rows of a run. Its memory does not grow with them.
type Compare struct {
	due, sent gaps
	tolerance time.Duration
}

// New starts a comparison; quantum is within what time requests were sent by one wake-up.
func New(quantum time.Duration) *Compare {
	return &Compare{newGaps(), newGaps(), Tolerance + quantum}
}

// Add takes rows as they were written, about in the order in which they ended. What a stop took out of the plan is left out.
func (c *Compare) Add(rows []traffic.Result) {
	for i := range rows {
		r := &rows[i]
		if r.Outcome == traffic.Unsent && r.Error == traffic.Stopped {
			continue
		}
		c.due.add(r.Due)
		if r.Sent != traffic.Never {
			c.sent.add(r.Sent)
		}
	}
}

// Close ends the comparison; nil where there were no two requests to compare.
func (c *Compare) Close() *Shape {
	c.due.flush()
	c.sent.flush()
	s := &Shape{Due: c.due.sum(), Sent: c.sent.sum(), Tolerance: c.tolerance, LeftOut: c.due.late + c.sent.late}
	if s.Due.N == 0 || s.Sent.N == 0 {
		return nil
	}
	due, sent := steps(c.due.all), steps(c.sent.all)
	s.Distance = max(excess(due, sent, 0), excess(sent, due, 0))
	s.Beyond = max(excess(due, sent, c.tolerance), excess(sent, due, c.tolerance))
	s.Differs = s.Distance > Noticeable
	return s
}

// window is how many instants are held back to be sorted: rows come in the order in which they ended, so one that is due early
// may come late, but only by its time-out. It is that of 100,000 requests a second for 5 s.
const window = 1 << 20

// gaps turns instants, nearly in order, into a histogram of their gaps.
type gaps struct {
	held   []time.Duration
	last   time.Duration // the instant behind which the next gap begins
	begun  bool
	least  time.Duration // of the gaps, exactly
	most   time.Duration
	late   int64
	all    *hdrhistogram.Histogram
	window int
}

// longest bounds a gap: longer than a plan may last.
const longest = 60 * 24 * time.Hour

func newGaps() gaps {
	return gaps{all: hdrhistogram.New(1, int64(longest), 3), window: window}
}

func (g *gaps) add(at time.Duration) {
	if g.held = append(g.held, at); len(g.held) == g.window {
		slices.Sort(g.held)
		half := g.window / 2
		g.take(g.held[:half])
		g.held = g.held[:copy(g.held, g.held[half:])]
	}
}

func (g *gaps) flush() {
	slices.Sort(g.held)
	g.take(g.held)
	g.held = nil
}

// take counts the gaps between instants that are in order. One from before the last ones taken belongs to a gap that was counted.
func (g *gaps) take(instants []time.Duration) {
	for _, at := range instants {
		switch {
		case !g.begun:
			g.begun = true
		case at < g.last:
			g.late++
			continue
		default:
			g.count(min(at-g.last, longest))
		}
		g.last = at
	}
}

func (g *gaps) count(gap time.Duration) {
	if g.all.TotalCount() == 0 {
		g.least = gap
	}
	g.least, g.most = min(g.least, gap), max(g.most, gap)
	_ = g.all.RecordValue(int64(gap)) // cannot fail within the range
}

// sum gives the quantiles, each the upper end of its bar, but none outside of the gaps that there were.
func (g *gaps) sum() Gaps {
	at := func(q float64) time.Duration {
		return max(g.least, min(g.most, time.Duration(g.all.ValueAtQuantile(q))))
	}
	return Gaps{N: g.all.TotalCount(), P10: at(10), P50: at(50), P90: at(90), P99: at(99), Max: g.most}
}

// step is a bar within which an empirical distribution function rises, and what it is from there on. A bar is one nanosecond
// wide below 2 µs, 262 µs at 400 ms.
type step struct {
	from, to int64
	share    float64
}

func steps(h *hdrhistogram.Histogram) (out []step) {
	var sum int64
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			sum += bar.Count
			out = append(out, step{bar.From, bar.To, float64(sum) / float64(h.TotalCount())})
		}
	}
	return out
}

// excess is by how much f is above g shifted to the left at the most, over all x: max of f(x) − g(x + tolerance), which is 0 or
// more. With a tolerance of 0 the greater one of both ways round is the Kolmogorov-Smirnov statistic; with another, an ε of Lévy's
// metric is given and the other one sought. Where the samples lie within their bars nobody knows, so that those of two bars count
// as equal where any of them may be: the tolerance is wider than asked for by less than the widths of the two, and never narrower.
func excess(f, g []step, tolerance time.Duration) float64 {
	most, i, below := 0.0, 0, 0.0
	for _, s := range f {
		for ; i < len(g) && g[i].from <= saturating(s.to, int64(tolerance)); i++ {
			below = g[i].share
		}
		most = max(most, s.share-below)
	}
	return most
}

func saturating(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
