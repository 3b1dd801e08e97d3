package http1

import (
	"net/http"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// fromClient reads a segment of requests.
func (p *Parser) fromClient(b []byte, at time.Time) {
	if !p.client.segment(b) {
		p.countUnseen()
		return
	}
	p.unseen = false
	for another := false; ; {
		event, part, rest := p.client.next(b)
		switch event {
		case more:
			if len(rest) > 0 && p.held.q != nil {
				p.hold(rest, at)
			}
			return
		case begin:
			p.pairing.pipelines = p.pairing.pipelines || another
			p.sending = p.pairing.begin(at, p.server.state == between)
		case head:
			p.requestHead(part)
		case content:
			p.requestContent(part)
		case end:
			another = true
			p.endRequest()
		case broken:
			p.loseRequest(exchange.RequestsMalformed)
			p.pairing.raise()
		}
		b = rest
	}
}

// countUnseen counts a request of which only bytes behind a gap are there.
func (p *Parser) countUnseen() {
	if p.unseen {
		p.unseen = false
		p.Loss.Add(exchange.RequestsCut, 1)
	}
}

// requestHead fills in what the head says and tells the reader what follows.
func (p *Parser) requestHead(b []byte) {
	q := p.sending
	var room []traffic.Header
	if q.e != nil && !q.e.Gone {
		room = q.e.Request.Headers[:0]
	}
	h, ok := p.Memo.parseRequest(b, room)
	f := h.framing
	if !ok || f.bad || f.coded && !f.chunked {
		p.client.lose()
		p.loseRequest(exchange.RequestsMalformed)
		p.pairing.raise()
		return
	}
	q.head, q.connect = h.method == http.MethodHead, h.method == http.MethodConnect
	p.fill(q, &h, len(b))
	switch {
	case q.connect:
		p.client.expect(body{state: inLength}) // what follows belongs to the tunnel
	case f.chunked:
		p.client.expect(body{state: inChunks})
	default:
		p.client.expect(body{state: inLength, length: f.length})
	}
	if q.waiting && (q.connect || h.upgrade && p.client.state == inLength && p.client.left == 0) {
		p.held.q = q
	}
}

// fill gives the exchange its head, or drops it where it cannot be replayed.
func (p *Parser) fill(q *request, h *requestHead, size int) {
	if h.hosts > 1 {
		p.pairing.drop(q, exchange.RequestsMalformed)
	}
	if q.connect || h.framing.others || h.scheme != "" && h.scheme != "http" && h.scheme != "https" {
		p.pairing.drop(q, exchange.NotReplayable)
	}
	if h.framing.length > int64(p.Limits.Body) && !h.framing.chunked {
		p.pairing.drop(q, exchange.BodyTooLong)
	}
	if q.e == nil || q.e.Gone {
		return
	}
	r := &q.e.Request
	r.Session, r.Method, r.Path, r.Headers = p.Session, h.method, h.path, h.headers
	r.Scheme, r.Authority = h.scheme, h.authority
	if r.Scheme == "" {
		r.Scheme = p.Scheme
	}
	if r.Authority == "" {
		r.Authority = p.Authority
	}
	const header = 32 // bytes of a traffic.Header
	p.Sink.Grow(q.e, size+header*cap(h.headers))
}

// requestContent keeps a piece of the body.
func (p *Parser) requestContent(b []byte) {
	q := p.sending
	if q.e == nil || q.e.Gone {
		return
	}
	r := &q.e.Request
	if len(r.Body)+len(b) > p.Limits.Body {
		r.Body = nil
		p.pairing.drop(q, exchange.BodyTooLong)
		return
	}
	had := cap(r.Body)
	if had == 0 {
		r.Body = make([]byte, 0, p.bodySize(len(b)))
	}
	r.Body = append(r.Body, b...)
	if n := cap(r.Body) - had; n > 0 {
		p.Sink.Grow(q.e, n)
	}
}

// bodySize gives how much to allocate for a body that begins with n bytes: the whole of it unless that is much, and only said.
func (p *Parser) bodySize(n int) int {
	const much = 64 << 10
	if p.client.state == inLength && int64(n)+p.client.left <= much {
		return n + int(p.client.left)
	}
	return n
}

func (p *Parser) endRequest() {
	q := p.sending
	p.sending = nil
	if p.held.q != nil {
		p.client.stop()
	}
	p.pairing.whole(q)
}

// loseRequest drops the request that the client is in the middle of.
func (p *Parser) loseRequest(why exchange.Cause) {
	if q := p.sending; q != nil {
		p.sending = nil
		q.unknown = q.unknown || p.client.state == inHead || why == exchange.RequestsMalformed
		p.pairing.cut(q, why)
	}
}

// gapFromClient loses the request in which the gap is. Within a body of a known length that is all that is lost.
func (p *Parser) gapFromClient(n int64) {
	switch {
	case p.client.state == stopped:
	case p.client.skip(n):
		p.pairing.drop(p.sending, exchange.RequestsCut)
		if p.client.left == 0 {
			p.client.state = between
			p.endRequest()
		}
	default:
		p.unseen = p.sending == nil
		p.loseRequest(exchange.RequestsCut)
		p.client.lose()
		p.pairing.raise()
	}
}

func (p *Parser) endClient() {
	p.unseen = false
	p.loseRequest(exchange.RequestsCut)
	p.client.stop()
}
