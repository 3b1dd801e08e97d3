package live

import (
	"math"
	"time"

	"umbra/internal/summary"
	"umbra/internal/traffic"
)

// Snapshot is a run at an instant, as /state.json gives it. What is not known is null.
type Snapshot struct {
	Title    string         `json:"title"`
	Folder   string         `json:"folder"`
	Step     string         `json:"step"`
	Elapsed  time.Duration  `json:"elapsed_ns"` // since the run's first instant
	Place    *Place         `json:"place"`      // null while nothing is played
	Asked    *float64       `json:"asked"`      // requests a second in the window; null in a closed loop
	Answered *float64       `json:"answered"`   // likewise, with an answer of any status; null before a second is over
	Window   summary.Window `json:"window"`
	SoFar    summary.Times  `json:"so_far"` // of the stages, as the report will have it
	Ended    int            `json:"ended"`
	NotOK    int            `json:"not_ok"` // of them: no answer, or a status of 500 or above
	Failures []Class        `json:"failures"`
	UnderWay *int64         `json:"under_way"` // requests that are due and have not ended
	Mirrored *Mirrored      `json:"mirrored"`
	Stopped  bool           `json:"stopped"` // the rest of the plan is not sent
	Over     bool           `json:"over"`
}

// Place is where a run is in what is played.
type Place struct {
	Phase   traffic.Phase `json:"phase"` // empty where the plan has no legs
	Stage   int           `json:"stage"` // in the phase of stages: from 1
	Stages  int           `json:"stages"`
	From    float64       `json:"from"` // the leg's rates, in requests a second
	To      float64       `json:"to"`
	Rate    float64       `json:"rate"`       // asked for now
	Elapsed time.Duration `json:"elapsed_ns"` // of the plan
	Span    time.Duration `json:"span_ns"`    // 0 where nobody can know
	Closed  bool          `json:"closed_loop"`
	Block   *Block        `json:"block"` // null outside an experiment
}

// Share is how much of what is played is over, from 0 to 1: of an experiment by its blocks, else by time; false where nobody can know.
func (p *Place) Share() (float64, bool) {
	time, known := 0.0, p.Span > 0
	if known {
		time = float64(p.Elapsed) / float64(p.Span)
	}
	if b := p.Block; b != nil && b.Of > 0 {
		return (float64(b.Number-1) + time) / float64(b.Of), true
	}
	return time, known
}

// Snapshot gives what is known now.
func (s *State) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	now := s.elapsed()
	x := Snapshot{Title: s.run.Title, Folder: s.run.Folder, Step: s.step, Elapsed: max(0, now), Window: s.recent.Window(now), SoFar: s.recent.SoFar(),
		Ended: s.ended, NotOK: s.notOK, Failures: s.failures(), Mirrored: s.mirrored.settle(now), Stopped: s.stopped, Over: s.over}
	if !s.part.Start.IsZero() {
		x.Place = s.part.place(now - s.part.Begin)
	}
	if s.run.Gauge != nil {
		n := s.run.Gauge.UnderWay()
		x.UnderWay = &n
	}
	if w := x.Window; w.To > w.From {
		rate := float64(w.Answered) / (w.To - w.From).Seconds()
		x.Answered, x.Asked = &rate, s.rateAsked(w.From, w.To)
	}
	return x
}

// rateAsked is what the plans asked for between two whole seconds, in requests a second: as planned, also where the client is late. Of a
// plan as captured it is what was seen to fall due. It is nil where nobody asks for a rate, in a closed loop.
func (s *State) rateAsked(from, to time.Duration) *float64 {
	n := 0.0
	switch {
	case len(s.asked) > 0:
		for _, l := range s.asked {
			if l.closed && l.begin < to && l.begin+l.For > from {
				return nil
			}
			n += l.asked(from-l.begin, to-l.begin)
		}
	case s.run.Gauge != nil:
		n = float64(s.due.between(from, to))
	default:
		return nil
	}
	n = math.Max(0, n) / (to - from).Seconds()
	return &n
}

// place is where an instant of the part's plan lies; behind its end it is the end.
func (p *Part) place(at time.Duration) *Place {
	at = max(0, at)
	if p.Span > 0 {
		at = min(at, p.Span)
	}
	out := &Place{Elapsed: at, Span: p.Span, Closed: p.Closed, Block: p.Block}
	begin, stage := time.Duration(0), 0
	for _, l := range p.Legs {
		if l.Phase == traffic.PhaseStage {
			out.Stages++
			stage = out.Stages
		}
		if at >= begin && l.For > 0 {
			out.Phase, out.From, out.To, out.Rate = l.Phase, l.From, l.To, l.rate(min(at-begin, l.For))
			if out.Stage = 0; l.Phase == traffic.PhaseStage {
				out.Stage = stage
			}
		}
		begin += l.For
	}
	return out
}
