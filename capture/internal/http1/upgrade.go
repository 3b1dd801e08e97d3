package http1

import (
	"bytes"
	"time"

	"umbra/capture/internal/exchange"
)

// holding keeps what a client sends behind a request that may end HTTP/1.x on the connection, until its answer says whether it
// did: in a capture, the client's next packet may well stand before the server's answer.
type holding struct {
	q     *request // the request; nil where nothing is held
	tell  []func(exchange.Stream)
	bytes int
}

func (h *holding) add(tell func(exchange.Stream)) { h.tell = append(h.tell, tell) }

// hold keeps a segment. More than a head's length, or than maxHeld segments, is too much: then the connection is given up.
func (p *Parser) hold(b []byte, at time.Time) {
	const maxHeld = 256
	p.held.bytes += len(b)
	if p.held.bytes > p.Limits.Head || len(p.held.tell) == maxHeld {
		p.loseResponses(exchange.RequestsWithoutResponse)
		p.tunnel()
		return
	}
	kept := bytes.Clone(b)
	p.held.add(func(s exchange.Stream) { s.Data(exchange.FromClient, kept, at) })
}

// release reads what was held as requests, as the connection was not upgraded.
func (p *Parser) release() {
	p.client.state = between
	p.readHeld()
}

func (p *Parser) readHeld() {
	held := p.held.tell
	p.held = holding{}
	for _, tell := range held {
		tell(p)
	}
}

// unhold looks for requests in what was held, as nobody knows whether the connection was upgraded.
func (p *Parser) unhold() {
	if p.held.q != nil {
		p.client.lose()
		p.readHeld()
	}
}

// switchProtocol follows a 101: to HTTP/2, or no further.
func (p *Parser) switchProtocol(h2c bool, at time.Time) {
	q := p.response.q
	if h2c && p.UpgradeTo != nil && (q == nil || !q.reading) {
		p.upgrade(q)
		return
	}
	p.endResponse()
	p.tunnel()
}

// upgrade hands the connection to HTTP/2.
func (p *Parser) upgrade(q *request) {
	var first *exchange.Exchange
	if q != nil {
		first, q.e = q.e, nil
	}
	held := p.held.tell
	p.held = holding{}
	p.loseResponses(exchange.RequestsWithoutResponse)
	p.endClient()
	p.server.stop()
	p.next = p.UpgradeTo(first)
	for _, tell := range held {
		tell(p.next)
	}
}

// tunnel leaves the rest of the connection unread.
func (p *Parser) tunnel() {
	p.Loss.Add(exchange.Upgraded, 1)
	p.held = holding{}
	p.loseResponses(exchange.RequestsWithoutResponse)
	p.endClient()
	p.server.stop()
}
