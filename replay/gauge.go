package replay

import "sync/atomic"

// Gauge tells of a run while it goes on, beside its rows. Transports one after the other, and their loops, may share it, and it may be read
// at any time. A loop adds to it once in a turn, so that a request costs nothing.
type Gauge struct{ due, ended atomic.Int64 }

// Due is how many requests have fallen due and were taken up by a loop.
func (g *Gauge) Due() int64 { return g.due.Load() }

// UnderWay is how many of them have not ended: they are on a connection, or wait for one.
func (g *Gauge) UnderWay() int64 {
	ended := g.ended.Load() // first, so that none ends between the two that was not counted as due
	return max(0, g.due.Load()-ended)
}

// gauged is what a loop has told its gauge.
type gauged struct{ due, ended int }

// tell has the gauge, if there is one, keep up with the loop.
func (l *loop) tell() {
	if l.Gauge == nil {
		return
	}
	now := gauged{l.figures.due, l.figures.due - l.open.n}
	if d := now.due - l.told.due; d != 0 {
		l.Gauge.due.Add(int64(d))
	}
	if d := now.ended - l.told.ended; d != 0 {
		l.Gauge.ended.Add(int64(d))
	}
	l.told = now
}
