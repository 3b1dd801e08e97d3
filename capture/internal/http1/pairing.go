package http1

import (
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// maxPipelined bounds the requests that wait for an answer on a connection. Where there are more, as where only one direction
// was captured, none of them gets one.
const maxPipelined = 1000

// request is a request from its first byte until it is ended: read by the client's side, waiting by the server's, or both.
type request struct {
	e        *exchange.Exchange // nil once it was dropped or given away; the request still has its place in the order
	start    time.Time
	reading  bool // it is not whole yet
	waiting  bool // it is in the queue
	head     bool // its answer has no body
	connect  bool
	unknown  bool // its method is not known, as its head was lost
	answer   traffic.Response
	answered bool
	why      exchange.Cause // why it has no answer
}

// pairing knows which request is answered next.
//
// As answers carry no name, it pairs only where nothing can have been lost between. While in doubt, requests are given without
// an answer, and answers without a request are counted. Doubt begins with a gap of unknown extent, with a message that cannot
// be read, and with an answer that nobody asked for. Requests that were whole before the client's gap still get their answers;
// the server's gap may have swallowed any, so nothing that waits then gets one.
//
// Doubt ends where the connection was idle: a request begins behind the end of an answer that ended since, and the client is
// one that waits for each answer before it sends the next request. A client that was seen to pipeline could have sent any
// number of requests that were lost, so on its connection doubt does not end; and where it begins to pipeline only behind a
// doubt that ended, that end is not to be trusted, and nothing is paired any more.
//
// What is left: a client that pipelines now and then, and was not seen to before bytes were lost, may look like one that waits
// for just as long as it takes to end a doubt. No order of messages tells the two apart.
type pairing struct {
	*Options
	queue     []*request // that wait for an answer, the next one first
	free      []*request
	doubt     bool
	doubted   bool // it was in doubt before
	pipelines bool // the client was seen to send a request before the answer to the one before
	asked     asked
	answered  bool      // an answer ended since doubt began
	lastEnd   time.Time // of an answer
}

// asked counts the requests that began since the last answer ended, or since answers were missing or could not be read: any
// request before that may have been answered there, so that the one behind it shows no pipelining. What the reassembly
// held back comes late, so it goes by the time at which they were seen.
type asked struct {
	n      int
	second time.Time // when the second one began
	last   time.Time // when the last one did
}

func (a *asked) add(at time.Time) {
	a.n++
	a.last = at
	if a.n == 2 {
		a.second = at
	}
}

// answer takes the end of an answer and tells whether two requests had begun by then.
func (a *asked) answer(at time.Time) bool {
	two := a.two(at)
	if a.n > 0 && a.last.After(at) {
		*a = asked{n: 1, last: a.last}
	} else {
		*a = asked{}
	}
	return two
}

func (a *asked) two(by time.Time) bool { return a.n > 1 && a.second.Before(by) }

// begin makes a request and gives it its place. between tells whether the server is before an answer.
func (p *pairing) begin(at time.Time, between bool) *request {
	q := p.allocate()
	e := p.Sink.Begin(at, p.Session)
	*q = request{e: e, start: at, reading: true, why: exchange.RequestsWithoutResponse}
	late := at.Before(p.lastEnd) // its answer may have been seen already
	if p.doubt && p.answered && p.asked.n == 0 && between && !p.pipelines && !late {
		p.doubt, p.doubted = false, true
	}
	if !late {
		p.asked.add(at)
	}
	if !p.doubt {
		p.push(q)
	}
	return q
}

func (p *pairing) allocate() *request {
	if n := len(p.free); n > 0 {
		q := p.free[n-1]
		p.free = p.free[:n-1]
		return q
	}
	return new(request)
}

func (p *pairing) push(q *request) {
	if len(p.queue) == maxPipelined {
		p.abandon(exchange.RequestsWithoutResponse)
		p.raise()
		return
	}
	q.waiting = true
	p.queue = append(p.queue, q)
}

// whole tells that a request was read to its end.
func (p *pairing) whole(q *request) {
	q.reading = false
	if q.e != nil && !q.e.Gone {
		q.e.Whole = true
	}
	p.finish(q)
}

// drop forgets a request but for its place in the order.
func (p *pairing) drop(q *request, why exchange.Cause) {
	if q.e != nil {
		p.Sink.Drop(q.e, why)
		q.e = nil
	}
}

// cut forgets a request that will not be read to its end.
func (p *pairing) cut(q *request, why exchange.Cause) {
	p.drop(q, why)
	q.reading = false
	p.finish(q)
}

// first gives the request that an answer that began at that time is for; nil where that is not certain.
func (p *pairing) first(began time.Time) *request {
	p.pipelines = p.pipelines || p.doubted && p.asked.two(began)
	trusted := !p.doubted || !p.pipelines
	if trusted && len(p.queue) > 0 && !began.Before(p.queue[0].start) {
		return p.queue[0]
	}
	p.abandon(exchange.RequestsWithoutResponse)
	p.raise()
	return nil
}

// end tells that an answer ended; q, where it is known, was the first request, and is done unless it is still being read.
func (p *pairing) end(q *request, at time.Time) {
	if q != nil {
		p.pop()
		p.finish(q)
	}
	p.pipelines = p.asked.answer(at) || p.pipelines
	p.answered, p.lastEnd = true, at
}

func (p *pairing) pop() {
	p.queue[0].waiting = false
	n := copy(p.queue, p.queue[1:])
	p.queue[n] = nil
	p.queue = p.queue[:n]
}

// raise begins a doubt.
func (p *pairing) raise() { p.doubt, p.answered = true, false }

// abandon leaves all that wait without an answer, the first one because of why.
func (p *pairing) abandon(why exchange.Cause) {
	for i, q := range p.queue {
		if i == 0 {
			q.why = why
		}
		q.waiting = false
		p.finish(q)
		p.queue[i] = nil
	}
	p.queue = p.queue[:0]
}

// finish gives a request to the Sink once neither side is at it any more.
func (p *pairing) finish(q *request) {
	if q.reading || q.waiting {
		return
	}
	if e := q.e; e != nil {
		q.e = nil
		switch {
		case e.Gone:
		case !q.answered:
			p.Loss.Add(q.why, 1)
		default:
			e.Answer = q.answer
			e.Request.Response = &e.Answer
		}
		p.Sink.Done(e)
	}
	p.free = append(p.free, q)
}
