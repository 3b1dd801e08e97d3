package http2

import (
	"hash"
	"time"

	"umbra/capture/internal/exchange"
)

// stream is an HTTP/2 stream that a client opened. Its answer may be seen before its request, where packets of the two directions
// were captured in another order than that of the wire.
type stream struct {
	id           uint32
	e            *exchange.Exchange // nil while the request was not seen
	request      half
	response     half
	status       int
	ended        time.Time      // when the answer's last byte was seen
	fault        exchange.Cause // why there will be no answer, where it is neither that it was cut nor that it was not seen
	digest       hash.Hash      // of the answer's content, if it has any; kept for the next stream
	older, newer *stream        // the open ones; of the free ones the next
}

// half is one message of a stream.
type half struct {
	head   bool // it was read
	whole  bool
	over   bool  // nothing more of it counts: it is whole, or will never be
	length int64 // as declared; -1 where it was not
	got    int64 // bytes of content
}

// complete tells whether the content is as long as was declared. Answers to HEAD and those with 304 declare one that they
// do not send.
func (h *half) complete(mayBeEmpty bool) bool {
	return h.length < 0 || h.got == h.length || mayBeEmpty && h.got == 0
}

// list is of the open streams in the order in which they were opened.
type list struct{ oldest, newest *stream }

func (l *list) push(s *stream) {
	s.older, s.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
}

func (l *list) remove(s *stream) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		l.newest = s.older
	}
}

// add opens a stream.
func (p *Parser) add(id uint32) *stream {
	if len(p.streams) >= maxStreams {
		p.evict(p.open.oldest)
	}
	s := p.free
	if s == nil {
		s = &stream{}
	} else {
		p.free = s.newer
	}
	*s = stream{id: id, digest: s.digest}
	s.request.length, s.response.length = -1, -1
	s.response.over = id > p.goaway || p.sides[exchange.FromServer].dead
	p.streams[id] = s
	p.open.push(s)
	return s
}

func (p *Parser) evict(s *stream) {
	if s.e != nil && !s.request.whole {
		p.drop(s, exchange.NoMemory)
		return
	}
	s.response.over, s.response.whole, s.fault = true, false, exchange.ResponsesNotAwaited
	p.finish(s)
}

// forget closes a stream, whose exchange has ended.
func (p *Parser) forget(s *stream) {
	delete(p.streams, s.id)
	p.open.remove(s)
	*s = stream{digest: s.digest, newer: p.free}
	p.free = s
}

// drop ends a stream whose request cannot be had. What still comes of its answer is ignored.
func (p *Parser) drop(s *stream, why exchange.Cause) {
	p.o.Sink.Drop(s.e, why)
	p.forget(s)
}

// settle ends a stream of which nothing more counts: both halves are over, or the request of an answer will not come.
func (p *Parser) settle(s *stream) {
	if s.response.over && (s.request.whole || s.e == nil && p.requestPassed(s.id)) {
		p.finish(s)
	}
}

// requestPassed tells that a request which is not known will not come: a client's streams are opened in the order of their numbers.
func (p *Parser) requestPassed(id uint32) bool {
	return id <= p.last || p.sides[exchange.FromClient].dead
}

// finish ends a stream with what there is of it.
func (p *Parser) finish(s *stream) {
	switch {
	case s.e == nil:
		if s.response.head {
			p.o.Loss.Add(exchange.ResponsesWithoutRequest, 1)
		}
		p.forget(s)
	case !s.request.whole:
		p.drop(s, exchange.RequestsCut)
	default:
		p.deliver(s)
	}
}

func (p *Parser) deliver(s *stream) {
	if !s.e.Gone { // one that is gone was counted by the Sink
		if s.response.whole {
			p.answer(s)
		}
		if s.e.Request.Response == nil {
			p.o.Loss.Add(s.missing(), 1)
		}
	}
	p.o.Sink.Done(s.e)
	p.forget(s)
}

// missing tells why there is no answer.
func (s *stream) missing() exchange.Cause {
	switch {
	case s.fault == exchange.HeadsUnreadable:
		return exchange.ResponsesUnreadable
	case s.fault != "":
		return s.fault
	case s.response.head:
		return exchange.ResponsesCut
	}
	return exchange.RequestsWithoutResponse
}
