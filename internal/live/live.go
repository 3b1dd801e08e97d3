// Package live holds what is known of a run while it goes on, and shows it: as lines, and as a page on loopback. It is fed with what the
// run hears anyway, and costs it next to nothing; the report, not the view, has the figures that count.
package live

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"umbra/internal/summary"
	"umbra/internal/traffic"
)

// Run is what does not change while a run goes on.
type Run struct {
	Title  string // what is run: a scenario's name, or the URL that is replayed against
	Folder string // where the report will be
	// Shares are how many of a million requests routes mirror as they are configured, by their names: of several mirrors, the sum. A route
	// that does not mirror is not in it.
	Shares map[string]uint64
	// Gauge is the transports'; nil where they have none.
	Gauge Gauge
}

// Gauge tells of the requests of a run.
type Gauge interface {
	Due() int64      // that have fallen due
	UnderWay() int64 // of them, that have not ended
}

// Leg is a stretch of load whose rate goes from From to To, in requests a second, in a straight line. A replay.Stage is one.
type Leg struct {
	Phase    traffic.Phase
	From, To float64
	For      time.Duration
}

// asked is how many requests the leg asks for between two instants of it.
func (l Leg) asked(from, to time.Duration) float64 {
	from, to = max(0, from), min(to, l.For)
	if to <= from {
		return 0
	}
	return (l.rate(from) + l.rate(to)) / 2 * (to - from).Seconds()
}

// rate is what it asks for at an instant of it, in requests a second.
func (l Leg) rate(at time.Duration) float64 {
	return l.From + (l.To-l.From)*float64(at)/float64(l.For)
}

// Part is a plan that is being played.
type Part struct {
	Start  time.Time     // of the run, which rows count from
	Begin  time.Duration // of the plan, from the start of the run
	Legs   []Leg         // none in a closed loop, and as captured
	Closed bool          // a closed loop
	Span   time.Duration // how long it is to last; 0 where nobody can know
	Block  *Block        // of an experiment; nil outside
}

// PartOf is the part of a run that plays stages, or what else lasts as long as span.
func PartOf[Stage ~struct {
	Phase    traffic.Phase
	From, To float64
	For      time.Duration
}](start time.Time, begin time.Duration, stages []Stage, span time.Duration) Part {
	p := Part{Start: start, Begin: begin, Span: span}
	for _, s := range stages {
		p.Legs = append(p.Legs, Leg(s))
	}
	return p
}

// Block is a block of an experiment.
type Block struct {
	Experiment string `json:"experiment"` // in words
	Arm        string `json:"arm"`        // off, on or control
	Number     int    `json:"number"`     // of the experiment's blocks, from 1
	Of         int    `json:"of"`         // as far as is known now: one that does not count is played anew
	Done       int    `json:"quadruples_done"`
	Quadruples int    `json:"quadruples"` // planned
}

// State is what is known so far. Its methods may be called concurrently; none of them waits for whoever looks on.
type State struct {
	run Run
	now func() time.Time

	mu       sync.Mutex
	step     string
	start    time.Time // of the run; zero before it is known
	part     Part
	asked    []leg // those of the last seconds, for the rate
	due      dues
	recent   summary.Recent
	ended    int
	notOK    int
	classes  map[classKey]int
	class    classKey // of the last row that was not ok, and
	count    int      // how many like it are not in classes yet
	stopped  bool
	mirrored mirroring
	over     bool
}

type classKey struct {
	outcome traffic.Outcome
	error   string
	status  int // of an answer that is a failure; else 0
}

// leg is one with the instant of the run at which it begins.
type leg struct {
	Leg
	begin  time.Duration
	closed bool // it is a closed loop, which asks for no rate
}

// New begins the state of a run.
func New(run Run) *State {
	run.Title, run.Folder = Plain(run.Title), Plain(run.Folder)
	return &State{run: run, now: time.Now, classes: map[classKey]int{}, mirrored: mirroring{shares: run.Shares}}
}

// Step tells what the run does now.
func (s *State) Step(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step = Plain(text)
}

// Playing tells what is played now; an empty Part: nothing. From the first block, and from the closed loop before it, on nothing counts for
// the mirrored share: an experiment has mirroring on and off.
func (s *State) Playing(p Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Span == 0 {
		for _, l := range p.Legs {
			p.Span += l.For
		}
	}
	if p.Block != nil {
		b := *p.Block
		b.Experiment, b.Arm = Plain(b.Experiment), Plain(b.Arm)
		p.Block = &b
	}
	if p.Block != nil || p.Closed {
		s.mirrored.closed = true
	}
	s.part = p
	if !p.Start.IsZero() {
		s.start = p.Start
	}
	at := p.Begin
	if p.Start.IsZero() {
		at = s.elapsed()
	}
	s.cut(at)
	s.asked = slices.DeleteFunc(s.asked, func(l leg) bool { return l.begin+l.For+time.Minute < at })
	if p.Closed {
		s.asked = append(s.asked, leg{Leg: Leg{For: p.Span}, begin: at, closed: true})
	}
	for _, l := range p.Legs {
		s.asked = append(s.asked, leg{Leg: l, begin: at})
		at += l.For
	}
}

// cut takes from the plans what lies behind an instant: it is not asked for any more.
func (s *State) cut(at time.Duration) {
	for i := range s.asked {
		if l := &s.asked[i]; at < l.begin+l.For {
			since := max(0, at-l.begin)
			l.To, l.For = l.rate(since), since
		}
	}
}

// Over tells that the run has ended.
func (s *State) Over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.part, s.over = Part{}, true
	s.mirrored.settle(math.MaxInt64) // all rows have come
}

// Results counts requests that have ended. The rows are not kept.
func (s *State) Results(rows []traffic.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rows {
		r := &rows[i]
		if r.Outcome == traffic.Unsent && r.Error == traffic.Stopped { // nobody asks for it any more
			if !s.stopped {
				s.stopped = true
				s.cut(s.elapsed())
			}
			continue
		}
		s.ended++
		s.recent.Add(r)
		s.mirrored.add(r)
		if r.Outcome != traffic.OK || r.Status >= 500 {
			s.fail(r)
		}
	}
	s.note()
}

// fail counts a row that is not ok; those of one class mostly come in a row.
func (s *State) fail(r *traffic.Result) {
	s.notOK++
	key := classKey{outcome: r.Outcome, error: r.Error}
	if r.Outcome == traffic.OK {
		key.status = r.Status
	}
	if key != s.class {
		s.enter()
		key.error = strings.Clone(key.error) // it may lie in larger memory
		s.class = key
	}
	s.count++
}

// enter moves the last class's count to the others.
func (s *State) enter() {
	if s.count > 0 {
		s.classes[s.class] += s.count
		s.count = 0
	}
}

// note keeps how many requests had fallen due, for the rate of a plan that has no legs.
func (s *State) note() {
	if s.run.Gauge != nil {
		s.due.note(s.elapsed(), s.run.Gauge.Due())
	}
}

// Counted tells how many requests the gateway has sent to mirrors since the run began.
func (s *State) Counted(mirrored uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirrored.reading(s.elapsed(), mirrored)
}

// elapsed is how long the run lasts so far: below 0 before its start, 0 before that is known.
func (s *State) elapsed() time.Duration {
	if s.start.IsZero() {
		return 0
	}
	return s.now().Sub(s.start)
}

// dues are how many requests had fallen due at the last whole seconds.
type dues struct {
	at   [16]int64 // by the second modulo their count
	last int64     // the newest second of which that is known
	now  int64
}

// note is told how many have fallen due by now.
func (d *dues) note(now time.Duration, due int64) {
	for second := int64(max(0, now) / time.Second); d.last < second; {
		d.last++
		d.at[d.last%int64(len(d.at))] = d.now
	}
	d.now = due
}

// between gives how many fell due between two of the last whole seconds.
func (d *dues) between(from, to time.Duration) int64 {
	of := func(at time.Duration) int64 { return d.at[int64(at/time.Second)%int64(len(d.at))] }
	return of(to) - of(from)
}

// Class counts requests that ended alike, and not well.
type Class struct {
	What  string `json:"what"` // "timeout timeout_headers", "status 503"
	Count int    `json:"count"`
}

// failures are the classes, the most frequent first.
func (s *State) failures() []Class {
	s.enter()
	out := []Class{}
	for key, n := range s.classes {
		what := string(key.outcome) + " " + key.error
		if key.status > 0 {
			what = "status " + strconv.Itoa(key.status)
		}
		out = append(out, Class{Plain(what), n})
	}
	slices.SortFunc(out, func(a, b Class) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What)) })
	return out
}
