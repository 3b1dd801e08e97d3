package summary

import (
	"time"

	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// Recent is what the last seconds of a run were like, and the response times of its stages so far: what is shown while it goes on.
// It is used by one goroutine at a time. A row costs it no memory, however many there are.
type Recent struct {
	slots  [recentSlots]slot // a second's is at its number modulo their count
	window histogram         // scratch
	stages histogram
}

// slot is the rows that ended in a second.
type slot struct {
	second          int64
	answered, notOK int
	response        histogram
}

// The window is whole seconds that are over, and whose rows have come: those are handed on every 100 ms, twice.
const (
	recentSeconds = 5
	recentGrace   = 300 * time.Millisecond
	recentSlots   = 8 // the window, the second that is not over, and those of late rows
)

// Window is the rows that ended in the last whole seconds.
type Window struct {
	From     time.Duration `json:"from_ns"` // from the start of the run
	To       time.Duration `json:"to_ns"`   // From where no second is over
	Answered int           `json:"answered"`
	NotOK    int           `json:"not_ok"` // outcome not ok, or a status of 500 or above
	Response Times         `json:"response"`
}

// Times are response times, those of requests without an answer among them, as lower bounds.
type Times struct {
	N   int64         `json:"n"`
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
}

// Add counts a row, which is the caller's again when it returns.
func (r *Recent) Add(row *traffic.Result) {
	s := r.at(int64(row.End / time.Second))
	if row.Outcome == traffic.OK {
		s.answered++
	}
	if row.Outcome != traffic.OK || row.Status >= 500 {
		s.notOK++
	}
	if row.Outcome == traffic.Unsent && row.Error != verdict.StoppedWaiting { // nobody waited for it
		return
	}
	s.response.add(row.ResponseTime())
	if isJudged(row.Phase) {
		r.stages.add(row.ResponseTime())
	}
}

// at gives a second's slot. A row of a second that was given up already enters the one that took its place.
func (r *Recent) at(second int64) *slot {
	s := &r.slots[second%recentSlots]
	if second > s.second {
		s.answered, s.notOK, s.second = 0, 0, second
		s.response.clear()
	}
	return s
}

// Window gives the last seconds before now, an instant of the run.
func (r *Recent) Window(now time.Duration) Window {
	end := max(0, int64((now-recentGrace)/time.Second))
	begin := max(0, end-recentSeconds)
	w := Window{From: time.Duration(begin) * time.Second, To: time.Duration(end) * time.Second}
	r.window.clear()
	for second := begin; second < end; second++ {
		if s := &r.slots[second%recentSlots]; s.second == second {
			w.Answered += s.answered
			w.NotOK += s.notOK
			r.window.merge(&s.response)
		}
	}
	w.Response = times(&r.window)
	return w
}

// SoFar gives the response times of all stages so far, as Figures.Response will have them.
func (r *Recent) SoFar() Times { return times(&r.stages) }

func times(h *histogram) Times {
	q := h.quantiles(50, 99)
	return Times{h.n, q[0], q[1]}
}
