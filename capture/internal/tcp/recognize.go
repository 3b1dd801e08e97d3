package tcp

import (
	"bytes"
	"time"

	"umbra/capture/internal/exchange"
)

const (
	// maxHeld is how many bytes a direction may send before it is clear what it speaks: more than the longest request line
	// that servers take by default.
	maxHeld = 16 << 10
	// maxSought is how many bytes of a connection joined midway are looked through for the begin of a message.
	maxSought = 1 << 20
)

// preface is how a client begins HTTP/2 (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Parsers make the readers of protocols. Without one, its protocol counts as not HTTP.
type Parsers struct {
	HTTP1, HTTP2, TLS func(Conn) exchange.Stream
}

// NewRecognizer gives a Stream that finds out what a connection speaks and hands it, from its first byte on, to the parser for
// that; with the directions exchanged where the bytes show that who seems the client is the server. What nobody reads is
// counted in loss.
func NewRecognizer(c Conn, p Parsers, loss exchange.Loss) exchange.Stream {
	r := &recognizer{c: c, p: p, loss: loss}
	r.broken = [2]bool{c.Midway, c.Midway}
	return r
}

// protocol is what bytes show; unclear asks for more of them.
type protocol uint8

const (
	unclear protocol = iota
	other
	http1
	http2
	http2Midway // frames, but without the preface
	tls
)

// finding is what bytes show, and which direction they belong to.
type finding struct {
	protocol protocol
	from     exchange.Direction
}

// recognizer holds what it was told until it knows to whom to tell it.
type recognizer struct {
	c      Conn
	p      Parsers
	loss   exchange.Loss
	to     exchange.Stream // nil as long as it is not known
	swap   bool
	held   []event
	prefix [2][]byte // what a direction sent first
	broken [2]bool   // a direction is not known from its begin
	left   [2]bool   // bytes of it were left out
	sought int       // how many, of both
}

// event is a call that waits, and of which direction it tells.
type event struct {
	call func(exchange.Stream, exchange.Direction)
	d    exchange.Direction
}

// Data implements exchange.Stream.
func (r *recognizer) Data(d exchange.Direction, b []byte, at time.Time) {
	if r.to != nil {
		r.to.Data(r.turned(d), b, at)
		return
	}
	if r.broken[d] {
		r.seek(d, b, at)
		return
	}
	if len(b) == 0 {
		return
	}
	first := b
	if len(r.prefix[d]) > 0 {
		first = append(r.prefix[d], b...)
	}
	f := recognize(d, first)
	if f.protocol == unclear && len(first) > maxHeld {
		f.protocol = other
	}
	if f.protocol != unclear && len(r.held) == 0 {
		r.decide(d, f) // nothing to copy: most connections take this way
		r.Data(d, b, at)
		return
	}
	r.prefix[d] = append(r.prefix[d], b...)
	b = bytes.Clone(b)
	r.hold(d, func(s exchange.Stream, d exchange.Direction) { s.Data(d, b, at) })
	r.decide(d, f)
}

// seek looks for a message in bytes of a direction that is not known from its begin. What shows none is left out: a parser
// could not read it either, and is told of a gap.
func (r *recognizer) seek(d exchange.Direction, b []byte, at time.Time) {
	f := recognizeMidway(d, b)
	if f.protocol == unclear {
		if r.sought += len(b); r.sought <= maxSought {
			r.leave(d, at)
			return
		}
		f.protocol = other
	}
	r.decide(d, f)
	r.to.Data(r.turned(d), b, at)
}

// leave leaves bytes out, and has the parser told of it once.
func (r *recognizer) leave(d exchange.Direction, at time.Time) {
	if !r.left[d] {
		r.left[d] = true
		r.hold(d, func(s exchange.Stream, d exchange.Direction) { s.Gap(d, -1, at) })
	}
}

// Gap implements exchange.Stream.
func (r *recognizer) Gap(d exchange.Direction, n int64, at time.Time) {
	if r.to != nil {
		r.to.Gap(r.turned(d), n, at)
		return
	}
	r.broken[d] = true
	r.prefix[d] = nil
	r.hold(d, func(s exchange.Stream, d exchange.Direction) { s.Gap(d, n, at) })
}

// End implements exchange.Stream.
func (r *recognizer) End(d exchange.Direction, at time.Time, reset bool) {
	if r.to != nil {
		r.to.End(r.turned(d), at, reset)
		return
	}
	r.hold(d, func(s exchange.Stream, d exchange.Direction) { s.End(d, at, reset) })
}

// Close implements exchange.Stream.
func (r *recognizer) Close(at time.Time) {
	if r.to == nil {
		if r.sought+len(r.prefix[0])+len(r.prefix[1]) == 0 {
			return
		}
		r.decide(0, finding{protocol: other})
	}
	r.to.Close(at)
}

// hold keeps a call. Gaps and small segments could come without end: a connection that is unclear for so long is not HTTP.
func (r *recognizer) hold(d exchange.Direction, call func(exchange.Stream, exchange.Direction)) {
	if r.held = append(r.held, event{call, d}); len(r.held) > maxHeld {
		r.decide(0, finding{protocol: other})
	}
}

func (r *recognizer) turned(d exchange.Direction) exchange.Direction {
	if r.swap {
		return d.Other()
	}
	return d
}

// decide hands over to the protocol's parser what bytes of the direction d have shown.
func (r *recognizer) decide(d exchange.Direction, f finding) {
	if f.protocol == unclear || r.to != nil {
		return
	}
	if r.c.Midway && f.protocol != other && f.from != d {
		r.swap, r.c = true, r.c.swapped()
	}
	r.to = r.parser(f.protocol)
	for _, e := range r.held {
		e.call(r.to, r.turned(e.d))
	}
	r.held, r.prefix = nil, [2][]byte{}
}

func (r *recognizer) parser(p protocol) exchange.Stream {
	parser, why := r.p.HTTP1, exchange.NotHTTP
	switch p {
	case other:
		parser = nil
	case http2:
		parser = r.p.HTTP2
	case http2Midway:
		parser, why = nil, exchange.HTTP2Unreadable
	case tls:
		parser = r.p.TLS
	}
	if parser == nil {
		r.loss.Add(why, 1)
		return unread{}
	}
	return parser(r.c)
}

// unread is the Stream of what nobody reads.
type unread struct{}

func (unread) Data(exchange.Direction, []byte, time.Time) {}
func (unread) Gap(exchange.Direction, int64, time.Time)   {}
func (unread) End(exchange.Direction, time.Time, bool)    {}
func (unread) Close(time.Time)                            {}
