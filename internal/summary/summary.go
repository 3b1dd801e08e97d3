// Package summary turns the rows of a run into the figures that a report shows: what became of every planned request,
// the rate, and latencies from HDR histograms. It is pure but for the writers it is given.
package summary

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"umbra/internal/traffic"
)

// Figures sums up the rows of a run. Rates and latencies are of the stages; the warm-up is only counted.
type Figures struct {
	Planned  int           `json:"planned"` // every row; the outcomes below add up to it
	OK       int           `json:"ok"`
	Error    int           `json:"error"`
	Timeout  int           `json:"timeout"`
	Inflight int           `json:"inflight"`
	Unsent   int           `json:"unsent"`
	Warmup   int           `json:"warmup"` // rows of the warm-up, among all of the above
	Failed   int           `json:"failed"` // ok rows with a status of 500 or above
	Span     time.Duration `json:"span_ns"`
	Asked    float64       `json:"asked_per_second"` // planned, until the run was stopped, over the span of the stages
	Sent     float64       `json:"sent_per_second"`  // given to a connection over the same span
	Response Latency       `json:"response"`         // from due
	Service  Latency       `json:"service"`          // from sent
	Lag      Latency       `json:"lag"`              // the generator's own: sent − max(due, ready)
	Names    []Group       `json:"names,omitempty"`  // by mix entry
	Routes   []Group       `json:"routes,omitempty"` // by predicted route
	Errors   []Class       `json:"errors,omitempty"`
	Statuses []Status      `json:"statuses,omitempty"`
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

// examples is how many ids a class names.
const examples = 5

// The range of the histograms: values outside are counted at its ends.
const (
	lowest  = 1
	highest = int64(time.Hour)
	digits  = 3
)

func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, highest, digits) }

// record adds a duration.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), 0), highest)) // cannot fail within the range
}

// spectrum is a histogram that knows how many of its values are lower bounds.
type spectrum struct {
	*hdrhistogram.Histogram
	bounds int64
}

func newSpectrum() *spectrum { return &spectrum{Histogram: histogram()} }

func (s *spectrum) add(d time.Duration, bound bool) {
	record(s.Histogram, d)
	if bound {
		s.bounds++
	}
}

func (s *spectrum) latency() Latency {
	at := func(q float64) time.Duration { return time.Duration(s.ValueAtQuantile(q)) }
	return Latency{s.TotalCount(), s.bounds, at(50), at(90), at(99), at(99.9), time.Duration(s.Max())}
}

type group struct {
	rows, notOK int
	response    *spectrum
}

// Summary accumulates rows: Add each, then take Figures.
type Summary struct {
	figures                Figures
	response, service, lag *spectrum
	names, routes          map[string]*group
	errors                 map[[2]string]*Class
	statuses               map[int]int
	first, last            time.Duration // due, of the stages
	sent, staged           int
}

// New starts a Summary.
func New() *Summary {
	return &Summary{response: newSpectrum(), service: newSpectrum(), lag: newSpectrum(),
		names: map[string]*group{}, routes: map[string]*group{}, errors: map[[2]string]*Class{}, statuses: map[int]int{}}
}

// Add counts a row.
func (s *Summary) Add(r *traffic.Result) {
	s.count(r)
	if r.Phase == traffic.PhaseWarmup {
		s.figures.Warmup++
		return
	}
	if r.Error == traffic.Stopped {
		return
	}
	s.extend(r)
	if r.Outcome == traffic.Unsent {
		return
	}
	bound := r.Outcome != traffic.OK
	s.response.add(r.ResponseTime(), bound)
	if r.Sent != traffic.Never {
		s.service.add(r.ServiceTime(), bound)
		s.lag.add(r.Lag(), false)
	}
	add(s.names, r.Name, r, bound)
	add(s.routes, r.Route, r, bound)
}

func (s *Summary) count(r *traffic.Result) {
	f := &s.figures
	f.Planned++
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
	if r.Status != 0 {
		s.statuses[r.Status]++
	}
	if r.Outcome == traffic.OK && r.Status >= 500 {
		f.Failed++
	}
	if r.Outcome != traffic.OK {
		s.class(r)
	}
}

func (s *Summary) class(r *traffic.Result) {
	key := [2]string{string(r.Outcome), r.Error}
	c := s.errors[key]
	if c == nil {
		c = &Class{Outcome: r.Outcome, Class: r.Error}
		s.errors[key] = c
	}
	if c.Count++; len(c.Examples) < examples {
		c.Examples = append(c.Examples, r.ID)
	}
}

// extend widens the span of the stages.
func (s *Summary) extend(r *traffic.Result) {
	if s.staged == 0 {
		s.first, s.last = r.Due, r.Due
	}
	s.first, s.last = min(s.first, r.Due), max(s.last, r.Due)
	s.staged++
	if r.Sent != traffic.Never {
		s.sent++
	}
}

func add(groups map[string]*group, name string, r *traffic.Result, bound bool) {
	g := groups[name]
	if g == nil {
		g = &group{response: newSpectrum()}
		groups[name] = g
	}
	g.rows++
	if bound || r.Status >= 500 {
		g.notOK++
	}
	g.response.add(r.ResponseTime(), bound)
}

// Rows is how many rows there were so far.
func (s *Summary) Rows() int { return s.figures.Planned }

// Figures gives the figures of the rows so far.
func (s *Summary) Figures() Figures {
	f := s.figures
	if n := s.staged; n > 1 && s.last > s.first {
		// n rows span n−1 gaps, so the plan lasted n/(n−1) of what lies between the first and the last.
		f.Span = time.Duration(float64(s.last-s.first) * float64(n) / float64(n-1))
		f.Asked, f.Sent = float64(n)/f.Span.Seconds(), float64(s.sent)/f.Span.Seconds()
	}
	f.Response, f.Service, f.Lag = s.response.latency(), s.service.latency(), s.lag.latency()
	f.Names, f.Routes = groups(s.names), groups(s.routes)
	for _, c := range s.errors {
		f.Errors = append(f.Errors, *c)
	}
	slices.SortFunc(f.Errors, func(a, b Class) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Class, b.Class))
	})
	for _, code := range slices.Sorted(maps.Keys(s.statuses)) {
		f.Statuses = append(f.Statuses, Status{code, s.statuses[code]})
	}
	return f
}

// groups leaves out the nameless group where it is the only one.
func groups(m map[string]*group) (out []Group) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != "" || len(m) > 1 {
			g := m[name]
			out = append(out, Group{name, g.rows, g.notOK, g.response.latency()})
		}
	}
	return out
}
