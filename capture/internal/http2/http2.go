// Package http2 finds the exchanges of an HTTP/2 connection (RFC 9113) in the bytes that it carried, also where some are
// missing. Trailer sections are decoded and dropped, as a traffic file has no place for them, and so are pushed responses,
// whose requests no client sent.
package http2

import (
	"crypto/sha256"
	"math"
	"time"

	"umbra/capture/internal/exchange"
)

// maxStreams bounds the open streams of a connection. For one more the oldest ends without an answer.
const maxStreams = 10_000

// Options say where a connection's exchanges go.
type Options struct {
	Sink    exchange.Sink
	Loss    exchange.Loss // what of a connection or an answer is lost; of requests the Sink counts it, as told by Drop
	Limits  exchange.Limits
	Session string // of all of the connection's requests
	Scheme  string // "http" or "https", where a request's own is neither
	Midway  bool   // the begin of the connection is not known to have been seen
}

// Parser is the exchange.Stream of an HTTP/2 connection.
type Parser struct {
	o       Options
	sides   [2]side // by exchange.Direction
	streams map[uint32]*stream
	open    list
	free    *stream // to be used again
	first   uint32  // the requests whose begin was seen: streams from first to last
	last    uint32
	goaway  uint32 // the server processes no stream above
	goaways int    // how often it said so
	greeted bool   // the client's preface was seen
	now     time.Time
	digest  [sha256.Size]byte
	hex     [2 * sha256.Size]byte
}

// New reads a connection that begins with the client's preface, or is joined midway at the begin of a frame.
func New(o Options) *Parser {
	p := &Parser{o: o, streams: map[uint32]*stream{}, goaway: math.MaxUint32}
	for d := range p.sides {
		s := &p.sides[d]
		s.from, s.joined = exchange.Direction(d), o.Midway
		s.table.max = initialTable
		s.block.limit = o.Limits.Head
	}
	p.sides[exchange.FromServer].table.answers = true
	p.sides[exchange.FromClient].preface = len(clientPreface)
	return p
}

// NewUpgraded reads a connection from where a 101 switched it to h2c (RFC 7540, 3.2). first is the request that did so, whole;
// its answer comes on stream 1, and the Parser ends it. It is nil where that request is not known.
func NewUpgraded(o Options, first *exchange.Exchange) *Parser {
	o.Midway = false
	p := New(o)
	p.first, p.last = 1, 1
	if first != nil {
		s := p.add(1)
		s.e = first
		s.request.head, s.request.whole = true, true
	}
	return p
}

// Data implements exchange.Stream.
func (p *Parser) Data(d exchange.Direction, b []byte, at time.Time) {
	s := &p.sides[d]
	p.now = at
	if !s.begun && len(b) > 0 {
		s.begin(b[0])
	}
	for len(b) > 0 && !s.dead {
		switch {
		case s.preface > 0:
			b = p.readPreface(s, b)
		case s.have < frameHeader:
			b = p.readHeader(s, b)
		default:
			b = p.readPayload(s, b)
		}
	}
}

// Gap implements exchange.Stream. A gap in a message's content that ends with or before its frame leaves the next frame's begin
// known; behind any other one nothing of that direction can be read.
func (p *Parser) Gap(d exchange.Direction, n int64, at time.Time) {
	s := &p.sides[d]
	p.now = at
	switch {
	case s.dead || n == 0:
	case !s.begun:
		s.joined = true
	case n > 0 && s.skippable() && n <= int64(s.frame.left):
		p.skip(s, int(n))
	default:
		p.lose(s)
		p.kill(s)
	}
}

// End implements exchange.Stream.
func (p *Parser) End(d exchange.Direction, at time.Time, reset bool) {
	p.now = at
	p.kill(&p.sides[d])
	if reset {
		p.Close(at)
	}
}

// Close implements exchange.Stream.
func (p *Parser) Close(at time.Time) {
	p.now = at
	p.kill(&p.sides[exchange.FromServer])
	p.kill(&p.sides[exchange.FromClient])
}

// lose counts a direction whose table is not known.
func (p *Parser) lose(s *side) {
	if !s.lost {
		s.lost, s.table.partial = true, true
		p.o.Loss.Add(exchange.HPACKLost, 1)
	}
}

// malformed gives the connection up. A direction that was joined a few frames ago was rather joined within a frame: only that
// direction is given up then.
func (p *Parser) malformed(s *side) {
	if s.joined && s.frames <= trial {
		p.lose(s)
		p.kill(s)
		return
	}
	p.o.Loss.Add(exchange.HTTP2Unreadable, 1)
	p.Close(p.now)
}

// kill reads a direction no further, and ends what waits for it.
func (p *Parser) kill(s *side) {
	if s.dead {
		return
	}
	s.dead = true
	s.table, s.block, s.buf, s.payload = table{}, block{}, nil, nil
	for st := p.open.oldest; st != nil; {
		next := st.newer
		p.endHalf(st, s.from)
		st = next
	}
}

// endHalf ends a stream where it waits for a direction that says no more.
func (p *Parser) endHalf(st *stream, d exchange.Direction) {
	switch {
	case d == exchange.FromServer:
		st.response.over = true
		p.settle(st)
	case !st.request.whole:
		p.finish(st)
	}
}
