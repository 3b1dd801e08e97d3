package http1

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// response is the answer that the server is in the middle of.
type response struct {
	q      *request // that it answers; nil where that is unknown, and in an interim answer
	began  time.Time
	last   time.Time // when its last bytes were seen
	status int
	final  bool // its head was read, and it is no interim answer
	cut    bool // some of its body is missing
	bytes  int64
	hash   hash.Hash
	summed bool // sum is the digest
	sum    [sha256.Size]byte
	digest [2 * sha256.Size]byte
}

// emptySHA256 is the digest of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// fromServer reads a segment of answers.
func (p *Parser) fromServer(b []byte, at time.Time) {
	if !p.server.segment(b) {
		p.pairing.asked = asked{} // it may be an answer
		return
	}
	for {
		event, part, rest := p.server.next(b)
		switch event {
		case more:
			if len(rest) > 0 && p.next != nil {
				p.next.Data(exchange.FromServer, rest, at)
			}
			return
		case begin:
			p.response.q, p.response.began, p.response.final = nil, at, false
		case head:
			p.response.last = at
			p.responseHead(part, at)
		case content:
			p.response.last = at
			p.response.write(part, p.server.state == inLength && p.server.left == 0)
		case end:
			p.endResponse()
		case broken:
			p.breakResponse()
		}
		b = rest
	}
}

// responseHead finds the request that the answer is for and tells the reader what follows.
func (p *Parser) responseHead(b []byte, at time.Time) {
	h, ok := p.Memo.parseResponse(b)
	switch {
	case !ok:
		p.breakResponse()
		return
	case h.status < 200 && h.status != http.StatusSwitchingProtocols:
		p.server.expect(body{state: inLength})
		return
	}
	p.response.open(h.status, p.pairing.first(p.response.began))
	q := p.response.q
	if q == nil {
		p.Loss.Add(exchange.ResponsesWithoutRequest, 1)
		p.unhold()
	}
	switch {
	case h.status == http.StatusSwitchingProtocols:
		p.switchProtocol(h.h2c, at)
	case q != nil && q.connect && h.status < 300:
		p.tunnel()
	case h.framing.bad && !bodiless(q, h.status):
		p.breakResponse()
	default:
		p.server.expect(responseBody(q, h))
		if q != nil && q == p.held.q {
			p.release()
		}
	}
}

// responseBody says how an answer's body is delimited (RFC 9112 section 6.3).
func responseBody(q *request, h responseHead) body {
	unsure := q == nil || q.unknown
	switch f := h.framing; {
	case bodiless(q, h.status):
		return body{state: inLength}
	case f.chunked:
		return body{state: inChunks, unsure: unsure}
	case f.hasLength && !f.coded:
		return body{state: inLength, length: f.length, unsure: unsure && f.length > 0}
	default:
		return body{state: untilClose, unsure: unsure}
	}
}

// bodiless tells whether an answer has no body whatever its fields say.
func bodiless(q *request, status int) bool {
	return q != nil && q.head || status == http.StatusNoContent || status == http.StatusNotModified
}

// open begins an answer.
func (r *response) open(status int, q *request) {
	r.q, r.status, r.final, r.cut, r.bytes, r.summed = q, status, true, false, 0, false
}

// write adds to the digest, where somebody wants it. last tells that no more of the body follows.
func (r *response) write(b []byte, last bool) {
	if r.q == nil || r.q.e == nil || r.q.e.Gone || r.cut {
		return
	}
	first := r.bytes == 0
	r.bytes += int64(len(b))
	if first && last { // as most are
		r.sum, r.summed = sha256.Sum256(b), true
		return
	}
	if r.hash == nil {
		r.hash = sha256.New()
	}
	if first {
		r.hash.Reset()
	}
	r.hash.Write(b)
}

// result gives what the traffic file keeps of a whole answer.
func (p *Parser) result() traffic.Response {
	r := &p.response
	digest := emptySHA256
	if r.bytes > 0 {
		if !r.summed {
			r.hash.Sum(r.sum[:0])
		}
		r.encode()
		digest = p.Memo.keep(r.digest[:])
	}
	return traffic.Response{Status: r.status, Latency: r.last.Sub(r.q.start), BodySHA256: digest}
}

// pairs are the bytes in hexadecimal. Each answer has a digest, so that encoding/hex, which goes by halves of bytes, shows.
var pairs = func() (p [256][2]byte) {
	for i := range p {
		hex.Encode(p[i][:], []byte{byte(i)})
	}
	return p
}()

func (r *response) encode() {
	for i, c := range r.sum {
		p := &pairs[c]
		r.digest[2*i], r.digest[2*i+1] = p[0], p[1]
	}
}

// endResponse pairs a whole answer with its request.
func (p *Parser) endResponse() {
	r := &p.response
	if !r.final {
		return
	}
	switch {
	case r.q == nil || r.q.e == nil:
	case r.cut:
		r.q.why = exchange.ResponsesCut
	default:
		r.q.answer, r.q.answered = p.result(), true
	}
	p.pairing.end(r.q, r.last)
	r.q = nil
}

// breakResponse gives up an answer that cannot be read.
func (p *Parser) breakResponse() {
	if len(p.pairing.queue) == 0 && !p.response.final {
		p.Loss.Add(exchange.ResponsesMalformed, 1)
	}
	p.loseResponses(exchange.ResponsesMalformed)
	p.pairing.asked = asked{}
	p.server.lose()
}

// loseResponses leaves all requests without an answer: nobody knows which of them the next one is for. why is that of the
// request whose answer was begun.
func (p *Parser) loseResponses(why exchange.Cause) {
	p.response.q = nil
	p.pairing.abandon(why)
	p.pairing.raise()
	p.unhold()
}

// gapFromServer loses the answer in which the gap is. Within a body of a known length that is all that is lost.
func (p *Parser) gapFromServer(n int64, at time.Time) {
	p.pairing.asked = asked{}
	switch {
	case p.server.state == stopped:
	case p.server.skip(n):
		p.response.cut, p.response.last = true, at
		if p.server.state == inLength && p.server.left == 0 {
			p.server.state = between
			p.endResponse()
		}
	default:
		p.loseResponses(p.whyLost())
		p.server.lose()
	}
}

// whyLost says why the first request that waits gets no answer when the server's bytes stop being readable.
func (p *Parser) whyLost() exchange.Cause {
	if p.server.reads() {
		return exchange.ResponsesCut
	}
	return exchange.RequestsWithoutResponse
}

// endServer ends the server's side. A body that the close delimits is whole, unless the connection was reset.
func (p *Parser) endServer(reset bool) {
	if p.server.state == stopped {
		return
	}
	if p.server.state == untilClose && !reset {
		p.endResponse()
		p.server.state = between
	}
	p.loseResponses(p.whyLost())
	p.server.stop()
}
