// Package summary turns the rows of a run into the figures that a report shows: what became of every planned request,
// the rate, and latencies from HDR histograms. It is pure but for the files it is given. While a run goes on and from the
// rows of its folder the figures are made by the same code, and are the same.
package summary

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// Figures sums up the rows of a run. Rates and latencies are of the stages; the warm-up, the cool-down and the paired blocks are
// only counted, and so is what a stop took out of the plan.
type Figures struct {
	Planned  int           `json:"planned"` // every row; the outcomes below add up to it
	OK       int           `json:"ok"`
	Error    int           `json:"error"`
	Timeout  int           `json:"timeout"`
	Inflight int           `json:"inflight"`
	Unsent   int           `json:"unsent"`             // by class in Errors
	Warmup   int           `json:"warmup"`             // rows of the warm-up, among all of the above
	Cooldown int           `json:"cooldown,omitempty"` // rows of the cool-down, likewise
	Blocks   int           `json:"blocks,omitempty"`   // rows of paired blocks, likewise; their settling is a warm-up
	Failed   int           `json:"failed"`             // ok rows with a status of 500 or above
	Retries  int           `json:"retries,omitempty"`  // requests sent again, as the server had not processed them
	Span     time.Duration `json:"span_ns"`            // of the stages' plan: from the first due instant to a gap behind the last
	Asked    float64       `json:"asked_per_second"`   // planned, until the run was stopped, over the span of the stages
	Sent     float64       `json:"sent_per_second"`    // given to a connection over the same span
	Response Latency       `json:"response"`           // from due
	Service  Latency       `json:"service"`            // from sent
	Lag      Latency       `json:"lag"`                // the generator's own: sent − max(due, ready)
	ReadLag  Latency       `json:"read_lag"`           // how long the ends of responses had lain in the kernel, at the most
	Names    []Group       `json:"names,omitempty"`    // by mix entry
	Routes   []Group       `json:"routes,omitempty"`   // by predicted route
	Errors   []Class       `json:"errors,omitempty"`   // of all phases
	Statuses []Status      `json:"statuses,omitempty"` // of all phases
	// Rate is what became of the rate that the stages asked for: what was late, and by whose doing.
	Rate verdict.RateCounts `json:"rate"`

	ResponseSpectrum []Percentile `json:"response_spectrum,omitempty"`
	ServiceSpectrum  []Percentile `json:"service_spectrum,omitempty"`
	// ResponseHistogram and ServiceHistogram are the same histograms as classic ones.
	ResponseHistogram Histogram `json:"response_histogram"`
	ServiceHistogram  Histogram `json:"service_histogram"`
	Timeline          Timeline  `json:"timeline"` // of all phases

	Judged Counts `json:"judged"`
}

// Counts are the rows of the stages, but for what a stop took out of the plan.
type Counts struct {
	Rows   int `json:"rows"`
	NotOK  int `json:"not_ok"` // without a complete response
	Failed int `json:"failed"` // ok rows with a status of 500 or above
}

// OutcomeCount counts the rows of an outcome.
type OutcomeCount struct {
	Outcome traffic.Outcome
	Count   int
}

// Outcomes are the counts by outcome, which add up to Planned.
func (f *Figures) Outcomes() []OutcomeCount {
	return []OutcomeCount{{traffic.OK, f.OK}, {traffic.Error, f.Error}, {traffic.Timeout, f.Timeout}, {traffic.Inflight, f.Inflight}, {traffic.Unsent, f.Unsent}}
}

// Latency is what an HDR histogram of 3 significant digits says, in nanoseconds.
type Latency struct {
	N          int64         `json:"n"`
	LowerBound int64         `json:"lower_bounds"` // how many of N are lower bounds: errors, time-outs, unfinished
	P50        time.Duration `json:"p50_ns"`
	P90        time.Duration `json:"p90_ns"`
	P99        time.Duration `json:"p99_ns"`
	P999       time.Duration `json:"p99_9_ns"`
	Max        time.Duration `json:"max_ns"`
}

// Group is the rows of one name or route.
type Group struct {
	Name     string  `json:"name"`
	Rows     int     `json:"rows"`
	NotOK    int     `json:"not_ok"` // outcome not ok, or a status of 500 or above
	Response Latency `json:"response"`
}

// Class counts an error class and names some of its requests.
type Class struct {
	Outcome  traffic.Outcome `json:"outcome"`
	Class    string          `json:"class"`
	Count    int             `json:"count"`
	Examples []string        `json:"examples"`
}

// Status counts a status code.
type Status struct {
	Code  int `json:"code"`
	Count int `json:"count"`
}

// Second is what a second of a run was like for the client, whatever the phase. Its rows are those that ended in it, or were
// told of in it; the last second of a run may be cut short.
type Second struct {
	Second      int64 // from the start of the run, from 0
	Rows        int
	LagP50      time.Duration
	LagP99      time.Duration
	LagMax      time.Duration
	ReadLagMax  time.Duration
	ResponseP99 time.Duration
	Errors      map[string]int64 // rows that are not ok, by class; nil where there are none
}

// examples is how many ids a class names.
const examples = 5

// Summary accumulates rows: Add them as they come, take Figures, and Close it. It is used by one goroutine. Its memory does
// not grow with the number of rows. A row enters the interval of the second in which it ended, or the one being filled where
// that one is over (rows come nearly in order); an interval's histograms are merged into the totals when it ends.
type Summary struct {
	figures     Figures
	groups      groups
	totals      [metrics]histogram // of the stages, up to the interval being filled
	names       map[string]*total
	routes      map[string]*total
	classes     map[[2]string]*class
	class       *class // the one of the last row that was not ok
	statuses    [1000]int
	odd         map[int]int   // statuses that have no three digits
	first, last time.Duration // due, of the stages
	staged      int           // their rows
	sent        int           // those of them that were given to a connection
	rate        verdict.RateTally
	timeline    timeline

	logs     *logs              // nil: none
	onSecond func(Second)       // may be nil
	second   int64              // the interval being filled, from 0
	until    time.Duration      // where it ends
	rows     int                // in it
	all      [metrics]histogram // of it, of all phases
	merged   histogram          // scratch
}

type class struct {
	run Class
	now int64 // how many in the interval being filled
}

// total is a name's or a route's sum over the intervals.
type total struct {
	rows, notOK     int
	response, bound histogram
}

// New starts a Summary.
func New() *Summary {
	return &Summary{groups: newSeries(), names: map[string]*total{}, routes: map[string]*total{}, classes: map[[2]string]*class{},
		odd: map[int]int{}, until: time.Second, timeline: newTimeline()}
}

// LogTo makes interval logs, "response.hlog" and so on, of the rows that will be added, an interval a second, tagged with
// phase and name; start is the run's. Close ends them.
func (s *Summary) LogTo(start time.Time, open Open) (err error) {
	s.logs, err = newLogs(start, open)
	return err
}

// In tells of the plan's stages, before the first row.
func (s *Summary) In(stages []verdict.Stage) { s.rate.In(stages) }

// OnSecond has each interval told to f, which may be nil, when it ends, from the goroutine that uses the Summary.
func (s *Summary) OnSecond(f func(Second)) { s.onSecond = f }

// Add counts rows, which are the caller's again when it returns.
func (s *Summary) Add(rows []traffic.Result) {
	for i := range rows {
		r := &rows[i]
		s.count(r)
		timed := r.Outcome != traffic.Unsent || r.Error == verdict.StoppedWaiting
		if timed && r.End >= s.until {
			s.Turn(r.End)
		}
		s.rows++
		s.rate.Add(r)
		s.timeline.count(r, timed)
		if isJudged(r.Phase) && !(r.Outcome == traffic.Unsent && r.Error == traffic.Stopped) {
			s.extend(r)
		}
		if timed {
			s.groups.of(r).add(r)
		}
	}
}

// isJudged tells whether a phase's rows are in rates and latencies.
func isJudged(p traffic.Phase) bool { return p == traffic.PhaseStage }

func (s *Summary) count(r *traffic.Result) {
	f := &s.figures
	f.Planned++
	f.Retries += r.Retries
	switch r.Outcome {
	case traffic.OK:
		f.OK++
	case traffic.Error:
		f.Error++
	case traffic.Timeout:
		f.Timeout++
	case traffic.Inflight:
		f.Inflight++
	case traffic.Unsent:
		f.Unsent++
	}
	switch r.Phase {
	case traffic.PhaseWarmup:
		f.Warmup++
	case traffic.PhaseCooldown:
		f.Cooldown++
	case traffic.PhaseBlock:
		f.Blocks++
	}
	if r.Outcome == traffic.OK && r.Status >= 500 {
		f.Failed++
	}
	if uint(r.Status) < uint(len(s.statuses)) {
		s.statuses[r.Status]++
	} else {
		s.odd[r.Status]++
	}
	if r.Outcome != traffic.OK {
		s.fail(r)
	}
}

// fail counts the class of a row that is not ok.
func (s *Summary) fail(r *traffic.Result) {
	if c := s.class; c == nil || c.run.Class != r.Error || c.run.Outcome != r.Outcome {
		key := [2]string{string(r.Outcome), r.Error}
		if s.class = s.classes[key]; s.class == nil {
			s.class = &class{run: Class{Outcome: r.Outcome, Class: strings.Clone(r.Error)}}
			s.classes[key] = s.class
		}
	}
	s.class.now++
	s.class.run.Count++
	if c := &s.class.run; len(c.Examples) < examples {
		c.Examples = append(c.Examples, strings.Clone(r.ID))
	}
}

// extend widens the span of the stages.
func (s *Summary) extend(r *traffic.Result) {
	if s.staged == 0 {
		s.first, s.last = r.Due, r.Due
	}
	s.first, s.last = min(s.first, r.Due), max(s.last, r.Due)
	s.staged++
	s.figures.Judged.count(r)
	if r.Sent != traffic.Never {
		s.sent++
	}
}

func (c *Counts) count(r *traffic.Result) {
	c.Rows++
	switch {
	case r.Outcome != traffic.OK:
		c.NotOK++
	case r.Status >= 500:
		c.Failed++
	}
}

// Turn ends the interval being filled where now, counted from the start of the run, is beyond it. Add calls it for rows that
// ended later; where none come, the caller does.
func (s *Summary) Turn(now time.Duration) {
	if now < s.until {
		return
	}
	s.settle()
	s.tell()
	s.clear()
	s.rows = 0
	s.second = int64(now / time.Second)
	s.until = time.Duration(s.second+1) * time.Second
}

// tell tells of the interval that is over.
func (s *Summary) tell() {
	q := s.all[lag].quantiles(50, 99, 100)
	x := Second{Second: s.second, Rows: s.rows, LagP50: q[0], LagP99: q[1], LagMax: q[2], ReadLagMax: s.all[readLag].max(),
		ResponseP99: s.all[response].quantiles(99)[0]}
	for _, c := range s.classes {
		if c.now > 0 {
			if x.Errors == nil {
				x.Errors = map[string]int64{}
			}
			x.Errors[c.run.Class] += c.now
			c.now = 0
		}
	}
	if s.onSecond != nil {
		s.onSecond(x)
	}
}

// told are the histograms that a Second is made from.
var told = []int{response, lag, readLag}

// settle writes the interval, and merges it into the totals.
func (s *Summary) settle() {
	for batch := range s.groups.byTag() {
		if s.logs != nil {
			s.log(batch)
		}
		for _, g := range batch {
			for _, m := range told {
				s.all[m].merge(&g.hist[m])
			}
		}
	}
	s.timeline.settle(s.second, &s.all[response], &s.all[lag], 1)
	s.sum(1)
}

// clear begins another interval.
func (s *Summary) clear() {
	for batch := range s.groups.byTag() {
		for _, g := range batch {
			g.clear()
		}
	}
	for _, m := range told {
		s.all[m].clear()
	}
}

// log writes the intervals of series that share their tag.
func (s *Summary) log(batch []*series) {
	name := tag(batch[0].phase, batch[0].name)
	for m := range metrics {
		h := &batch[0].hist[m]
		if len(batch) > 1 {
			h = &s.merged
			for _, g := range batch {
				h.merge(&g.hist[m])
			}
		}
		s.logs.interval(m, name, s.second, h)
		s.merged.clear()
	}
}

// sum merges what the interval has so far into the totals, so many times; −1 takes it out again.
func (s *Summary) sum(times int64) {
	for batch := range s.groups.byTag() {
		for _, g := range batch {
			if isJudged(g.phase) {
				s.sumOf(g, times)
			}
		}
	}
}

func (s *Summary) sumOf(g *series, times int64) {
	for m := range metrics {
		s.totals[m].mergeTimes(&g.hist[m], times)
	}
	for _, t := range []*total{totalOf(s.names, g.name), totalOf(s.routes, g.route)} {
		t.rows += g.rows * int(times)
		t.notOK += g.notOK * int(times)
		t.response.mergeTimes(&g.hist[response], times)
		t.bound.mergeTimes(&g.hist[responseBound], times)
	}
}

func totalOf(m map[string]*total, name string) *total {
	t := m[name]
	if t == nil {
		t = &total{}
		m[name] = t
	}
	return t
}

// Rows is how many rows there were so far.
func (s *Summary) Rows() int { return s.figures.Planned }

// Figures gives the figures of the rows so far. The interval being filled stays as it is.
func (s *Summary) Figures() Figures {
	s.sum(1)
	defer s.sum(-1)
	for batch := range s.groups.byTag() {
		for _, g := range batch {
			s.timeline.settle(s.second, &g.hist[response], &g.hist[lag], 1)
			defer s.timeline.settle(s.second, &g.hist[response], &g.hist[lag], -1)
		}
	}
	f := s.figures
	if n := s.staged; n > 1 && s.last > s.first {
		// n rows span n−1 gaps, so the plan lasted n/(n−1) of what lies between the first and the last.
		f.Span = time.Duration(float64(s.last-s.first) * float64(n) / float64(n-1))
		f.Asked, f.Sent = float64(n)/f.Span.Seconds(), float64(s.sent)/f.Span.Seconds()
	}
	f.Rate = s.rate.Counts()
	t := &s.totals
	f.Response, f.Service = latency(&t[response], &t[responseBound]), latency(&t[service], &t[serviceBound])
	f.Lag, f.ReadLag = latency(&t[lag], &histogram{}), latency(&t[readLag], &histogram{})
	f.Names, f.Routes = list(s.names), list(s.routes)
	for _, c := range s.classes {
		f.Errors = append(f.Errors, Class{c.run.Outcome, c.run.Class, c.run.Count, slices.Clone(c.run.Examples)})
	}
	slices.SortFunc(f.Errors, func(a, b Class) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Class, b.Class))
	})
	f.Statuses = s.statusList()
	f.ResponseSpectrum, f.ServiceSpectrum = spectrum(&t[response]), spectrum(&t[service])
	f.ResponseHistogram, f.ServiceHistogram = classic(&t[response]), classic(&t[service])
	f.Timeline = s.timeline.figures()
	return f
}

func latency(all, bound *histogram) Latency {
	q := all.quantiles(50, 90, 99, 99.9, 100)
	return Latency{all.n, bound.n, q[0], q[1], q[2], q[3], q[4]}
}

// list leaves out the nameless group where it is the only one.
func list(m map[string]*total) (out []Group) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != "" || len(m) > 1 {
			t := m[name]
			out = append(out, Group{name, t.rows, t.notOK, latency(&t.response, &t.bound)})
		}
	}
	return out
}

func (s *Summary) statusList() (out []Status) {
	for code, n := range s.statuses {
		if n > 0 && code > 0 {
			out = append(out, Status{code, n})
		}
	}
	for code, n := range s.odd {
		out = append(out, Status{code, n})
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Code, b.Code) })
	return out
}

// Close ends the interval being filled and the logs, and writes the percentile tables of the stages, "response.hgrm" and so
// on. It gives the first error that any of these files had.
func (s *Summary) Close() error {
	s.Turn(s.until)
	if s.logs == nil {
		return nil
	}
	s.logs.tables(&s.totals)
	err := s.logs.close()
	s.logs = nil
	return err
}
