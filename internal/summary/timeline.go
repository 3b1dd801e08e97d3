package summary

import (
	"time"

	"umbra/internal/traffic"
)

// Tick is a part of a run's time, whatever the phase. What is counted is counted where it happened; times are of the rows that ended in it.
type Tick struct {
	At       time.Duration `json:"at_ns"` // its begin, from the start of the run
	Asked    int           `json:"asked"` // requests due in it
	Sent     int           `json:"sent"`
	Ended    int           `json:"ended"`    // with or without an answer
	NotOK    int           `json:"not_ok"`   // of Ended: outcome not ok, or a status of 500 or above
	InFlight int           `json:"inflight"` // sent and not ended, at its end
	P50      time.Duration `json:"p50_ns"`   // of the response time
	P99      time.Duration `json:"p99_ns"`
	LagP99   time.Duration `json:"lag_p99_ns"`
	LagMax   time.Duration `json:"lag_max_ns"`
}

// Timeline is a run's time in ticks of equal width, the last of which may be cut short.
type Timeline struct {
	Width time.Duration `json:"width_ns"`
	Ticks []Tick        `json:"ticks,omitempty"`
}

// maxTicks bounds the ticks of a run of any length: where there would be more, they become twice as wide.
const maxTicks = 256

// timeline accumulates ticks.
type timeline struct {
	width time.Duration
	ticks []*tick
}

type tick struct {
	due, sent, ended, notOK int
	response, lag           histogram
}

func newTimeline() timeline { return timeline{width: time.Second} }

// at gives the tick of an instant, counted from the start of the run.
func (t *timeline) at(instant time.Duration) *tick {
	i := int(max(0, instant) / t.width)
	for i >= maxTicks {
		t.widen()
		i = int(instant / t.width)
	}
	for len(t.ticks) <= i {
		t.ticks = append(t.ticks, &tick{})
	}
	return t.ticks[i]
}

// widen makes one tick of each two.
func (t *timeline) widen() {
	t.width *= 2
	half := t.ticks[:0]
	for i := 0; i < len(t.ticks); i += 2 {
		one := t.ticks[i]
		if i+1 < len(t.ticks) {
			one.add(t.ticks[i+1])
		}
		half = append(half, one)
	}
	clear(t.ticks[len(half):])
	t.ticks = half
}

func (k *tick) add(other *tick) {
	k.due, k.sent, k.ended, k.notOK = k.due+other.due, k.sent+other.sent, k.ended+other.ended, k.notOK+other.notOK
	k.response.merge(&other.response)
	k.lag.merge(&other.lag)
}

// count enters a row's instants. One that was left out without being waited for was due, and no more.
func (t *timeline) count(r *traffic.Result, timed bool) {
	t.at(r.Due).due++
	if r.Sent != traffic.Never {
		t.at(r.Sent).sent++
	}
	if !timed {
		return
	}
	k := t.at(r.End)
	k.ended++
	if r.Outcome != traffic.OK || r.Status >= 500 {
		k.notOK++
	}
}

// settle enters the times of an interval of a second.
func (t *timeline) settle(second int64, response, lag *histogram, times int64) {
	if response.n == 0 && lag.n == 0 {
		return
	}
	k := t.at(time.Duration(second) * time.Second)
	k.response.mergeTimes(response, times)
	k.lag.mergeTimes(lag, times)
}

// figures are the ticks so far.
func (t *timeline) figures() Timeline {
	out := Timeline{Width: t.width}
	under := 0
	for i, k := range t.ticks {
		under += k.sent - k.ended
		r, l := k.response.quantiles(50, 99), k.lag.quantiles(99, 100)
		out.Ticks = append(out.Ticks, Tick{At: time.Duration(i) * t.width, Asked: k.due, Sent: k.sent, Ended: k.ended, NotOK: k.notOK, InFlight: max(0, under),
			P50: r[0], P99: r[1], LagP99: l[0], LagMax: l[1]})
	}
	return out
}
