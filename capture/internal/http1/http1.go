// Package http1 finds HTTP/1.x exchanges (RFC 9110, RFC 9112) in the two directions of a connection.
//
// Messages are read as they stand on the wire: keep-alive, pipelining, interim answers, answers that overtake the request's
// body, bodies by length, in chunks or up to the close, bare LF and folded lines. A chunked body is given decoded, in content
// codings nothing is touched; trailers are read and dropped, as traffic.Request has no place for them.
//
// Answers belong to requests by their order alone (RFC 9112 section 9.3.2), so that one lost message would shift every pair
// behind it. See pairing for what is done about that.
package http1

import (
	"time"

	"umbra/capture/internal/exchange"
)

// Options say where a connection's exchanges go.
type Options struct {
	Sink      exchange.Sink
	Loss      exchange.Loss
	Limits    exchange.Limits
	Session   string
	Scheme    string // "http" or "https"
	Authority string // of requests that name none, as HTTP/1.0 may: the server's address

	// UpgradeTo makes the stream that reads the rest of a connection that was upgraded to h2c (RFC 7540 section 3.2): from the
	// server what follows the head of its 101, from the client its HTTP/2 preface and on. first is the request that became
	// stream 1, whole, and it is the new stream's to end; nil where it was lost on the way. Without UpgradeTo the rest of such a
	// connection is not read.
	UpgradeTo func(first *exchange.Exchange) exchange.Stream

	Memo *Memo // shared by the parsers of a capture; one of its own where it is nil
}

// Parser is an exchange.Stream. What it holds is bounded: a head of each direction, the bodies that Sink knows of, and
// maxPipelined requests.
type Parser struct {
	Options
	client   reader
	server   reader
	pairing  pairing
	sending  *request // the request that the client is in the middle of
	unseen   bool     // the client lost its place in a request that was not begun here
	response response // the answer that the server is in the middle of
	held     holding
	next     exchange.Stream // reads the connection since it was upgraded to h2c
	closed   bool
}

// New makes the parser of a connection.
func New(o Options) *Parser {
	if o.Memo == nil {
		o.Memo = NewMemo(0)
	}
	p := &Parser{Options: o}
	p.client = reader{limit: o.Limits.Head, starts: startsRequest, memo: o.Memo}
	p.server = reader{limit: o.Limits.Head, starts: startsResponse, memo: o.Memo}
	p.pairing = pairing{Options: &p.Options}
	return p
}

// Data reads the next bytes of a direction.
func (p *Parser) Data(d exchange.Direction, b []byte, at time.Time) {
	switch {
	case p.next != nil:
		p.next.Data(d, b, at)
	case d == exchange.FromServer:
		p.fromServer(b, at)
	case p.held.q != nil:
		p.hold(b, at)
	default:
		p.fromClient(b, at)
	}
}

// Gap leaves out what a known length lets it leave out, and otherwise looks for the next message.
func (p *Parser) Gap(d exchange.Direction, n int64, at time.Time) {
	switch {
	case n == 0:
	case p.next != nil:
		p.next.Gap(d, n, at)
	case d == exchange.FromServer:
		p.gapFromServer(n, at)
	case p.held.q != nil:
		p.held.add(func(s exchange.Stream) { s.Gap(d, n, at) })
	default:
		p.gapFromClient(n)
	}
}

// End ends the message that a direction is in the middle of: well, where the close is what delimits it.
func (p *Parser) End(d exchange.Direction, at time.Time, reset bool) {
	switch {
	case p.next != nil:
		p.next.End(d, at, reset)
	case reset:
		p.endServer(true)
		p.endClient()
	case d == exchange.FromServer:
		p.endServer(false)
	case p.held.q != nil:
		p.held.add(func(s exchange.Stream) { s.End(d, at, reset) })
	default:
		p.endClient()
	}
}

// Close ends every exchange that is left.
func (p *Parser) Close(at time.Time) {
	if p.closed {
		return
	}
	p.closed = true
	if p.next != nil {
		p.next.Close(at)
		return
	}
	p.endServer(true)
	p.endClient()
}
