package http2

import (
	"crypto/sha256"
	"encoding/hex"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// emptySHA256 is the digest of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// presize bounds what a content-length alone makes us allocate.
const presize = 16 << 10

// openHead begins an exchange at the begin of a request's HEADERS. On a stream that is no new one they are trailers.
func (p *Parser) openHead(s *side) {
	id := s.frame.stream
	if s.from != exchange.FromClient || id <= p.last {
		return
	}
	st := p.streams[id]
	if st == nil {
		st = p.add(id)
	}
	if p.first == 0 {
		p.first = id
	}
	p.last = id
	st.e = p.o.Sink.Begin(s.frame.began, p.o.Session)
}

// closeHead takes a block that is whole.
func (p *Parser) closeHead(s *side) {
	b := &s.block
	id, ends := b.stream, b.ends
	switch {
	case b.pushed || id%2 == 0: // what the server pushes was never asked for
		ends = false
	case s.from == exchange.FromClient:
		p.requestHead(b)
	default:
		p.answerHead(b)
	}
	b.reset()
	if ends {
		p.endStream(s.from, id)
	}
}

func (p *Parser) requestHead(b *block) {
	st := p.streams[b.stream]
	switch {
	case st == nil || st.e == nil || st.request.whole:
	case st.request.head:
		if !b.ends { // a trailer section is the last of a message (RFC 9113, 8.1)
			p.drop(st, exchange.RequestsMalformed)
		}
	case p.sides[exchange.FromClient].joined && b.trailer():
		p.drop(st, exchange.RequestsCut) // its head was sent before the capture began
	default:
		p.beginRequest(st, b)
	}
}

func (p *Parser) beginRequest(st *stream, b *block) {
	st.request.head = true
	if st.e.Gone {
		return
	}
	r := &st.e.Request
	r.Session = p.o.Session
	why := b.readRequest(r, p.o.Scheme)
	length, ok := contentLength(r.Headers)
	if why == "" && !ok {
		why = exchange.RequestsMalformed
	}
	if why != "" {
		p.drop(st, why)
		return
	}
	st.request.length = length
	p.o.Sink.Grow(st.e, b.size)
}

func (p *Parser) answerHead(b *block) {
	status, why := b.readStatus()
	st := p.streams[b.stream]
	if st == nil {
		st = p.unasked(b.stream, status)
	}
	switch {
	case st == nil || st.response.over:
	case st.response.head:
		if !b.ends {
			st.fault = exchange.ResponsesMalformed
		}
	case why != "":
		if st.fault == "" {
			st.fault = why
		}
	case status >= 200:
		st.beginAnswer(status, b)
	case b.ends: // an interim response ends nothing
		st.fault = exchange.ResponsesMalformed
	}
}

func (s *stream) beginAnswer(status int, b *block) {
	s.response.head, s.status = true, status
	if s.fault == exchange.HeadsUnreadable {
		s.fault = "" // it was an interim response's
	}
	length, ok := contentLength(b.fields)
	if !ok {
		s.fault = exchange.ResponsesMalformed
	}
	s.response.length = length
}

// unasked is told of an answer on a stream that is not open: the request may still come, was never seen, or has ended.
func (p *Parser) unasked(id uint32, status int) *stream {
	if id > p.last && !p.sides[exchange.FromClient].dead {
		return p.add(id)
	}
	if status >= 200 && (id > p.last || id < p.first) {
		p.o.Loss.Add(exchange.ResponsesWithoutRequest, 1)
	}
	return nil
}

// content takes bytes of a message's content.
func (p *Parser) content(d exchange.Direction, id uint32, b []byte) {
	st := p.streams[id]
	switch {
	case st == nil:
	case d == exchange.FromClient:
		p.requestContent(st, b)
	default:
		st.answerContent(b)
	}
}

func (p *Parser) requestContent(st *stream, b []byte) {
	if st.e == nil || !st.request.head || st.request.whole {
		return
	}
	st.request.got += int64(len(b))
	if st.e.Gone {
		return
	}
	r := &st.e.Request
	if len(r.Body)+len(b) > p.o.Limits.Body {
		p.drop(st, exchange.BodyTooLong)
		return
	}
	if r.Body == nil && st.request.length > int64(len(b)) {
		r.Body = make([]byte, 0, max(len(b), int(min(st.request.length, presize))))
	}
	r.Body = append(r.Body, b...)
	p.o.Sink.Grow(st.e, len(b))
}

func (s *stream) answerContent(b []byte) {
	switch {
	case s.response.over || s.e != nil && s.e.Gone:
		return
	case !s.response.head:
		if s.fault == "" {
			s.fault = exchange.ResponsesCut // its head is missing
		}
		return
	}
	if s.digest == nil {
		s.digest = sha256.New()
	} else if s.response.got == 0 {
		s.digest.Reset()
	}
	s.response.got += int64(len(b))
	s.digest.Write(b)
}

// endStream ends a half of a stream by END_STREAM.
func (p *Parser) endStream(d exchange.Direction, id uint32) {
	st := p.streams[id]
	switch {
	case st == nil:
	case d == exchange.FromClient:
		p.endRequest(st)
	default:
		p.endAnswer(st)
	}
}

func (p *Parser) endRequest(st *stream) {
	switch {
	case st.e == nil || !st.request.head || st.request.whole:
	case !st.request.complete(false):
		p.drop(st, exchange.RequestsMalformed)
	default:
		st.request.whole, st.e.Whole = true, true
		p.settle(st)
	}
}

func (p *Parser) endAnswer(st *stream) {
	r := &st.response
	if r.over {
		return
	}
	if r.head && st.fault == "" && !r.complete(true) {
		st.fault = exchange.ResponsesMalformed
	}
	r.over, r.whole, st.ended = true, r.head && st.fault == "", p.now
	p.settle(st)
}

// cut tells that a message has lost bytes of its content.
func (p *Parser) cut(d exchange.Direction, id uint32) {
	st := p.streams[id]
	switch {
	case st == nil:
	case d == exchange.FromServer:
		st.response.over = true
		p.settle(st)
	case st.e != nil && !st.request.whole:
		p.drop(st, exchange.RequestsCut)
	}
}

// reset ends both halves of a stream, by whomever (RFC 9113, 6.4). A client whose stream was reset sends no more of it.
func (p *Parser) reset(d exchange.Direction, id uint32) {
	st := p.streams[id]
	switch {
	case st == nil:
	case st.e != nil:
		p.finish(st)
	case d == exchange.FromServer: // its request may still be seen
		st.response.over = true
		p.settle(st)
	}
}

// maxGoAways bounds the time that they cost. A graceful end has two.
const maxGoAways = 100

// goAway ends the requests that the server will not process (RFC 9113, 6.8). A client's concerns pushed ones only.
func (p *Parser) goAway(d exchange.Direction, last uint32) {
	if d == exchange.FromClient || last >= p.goaway || p.goaways == maxGoAways {
		return
	}
	p.goaway, p.goaways = last, p.goaways+1
	for st := p.open.oldest; st != nil; {
		next := st.newer
		if st.id > p.goaway && st.e != nil {
			p.finish(st)
		}
		st = next
	}
}

// answer gives a request its answer.
func (p *Parser) answer(st *stream) {
	digest := emptySHA256
	if st.response.got > 0 {
		st.digest.Sum(p.digest[:0])
		hex.Encode(p.hex[:], p.digest[:])
		digest = string(p.hex[:])
	}
	latency := max(0, st.ended.Sub(st.e.Start))
	st.e.Answer = traffic.Response{Status: st.status, Latency: latency, BodySHA256: digest}
	st.e.Request.Response = &st.e.Answer
}
