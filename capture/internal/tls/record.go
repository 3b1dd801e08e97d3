package tls

import (
	"bytes"
	"encoding/binary"
	"time"

	"umbra/capture/internal/exchange"
)

// Content types (RFC 8446, 5.1).
const (
	changeCipherSpec = 20
	alert            = 21
	handshake        = 22
	applicationData  = 23
	heartbeat        = 24 // RFC 6520
)

const (
	headerSize = 5
	maxRecord  = headerSize + 1<<14 + 2048 // TLS 1.2 allows more than 1.3 (RFC 5246, 6.2.3)
)

// read takes a direction's records. Where one must wait, it and what follows are held.
func (c *conn) read(s *side, e event) {
	b := s.rest(e.bytes)
	for len(b) > 0 && !s.deaf() {
		record, rest, ok := c.cut(s, b)
		if !ok {
			c.fail(s, e.at)
			return
		}
		if record == nil {
			return
		}
		if !c.ready(s, record[0], e.at) {
			c.holdRecord(s, record, rest, e)
			return
		}
		c.record(s, record, e.at)
		c.Keys.giveBack(s.buf)
		s.buf, b = nil, rest
		if c.moved && c.waiting() && len(b) > 0 { // what was held was seen before the rest of this
			e.bytes = b
			c.hold(e)
			return
		}
	}
}

// rest leaves out what belongs to a broken record.
func (s *side) rest(b []byte) []byte {
	n := min(s.broken, len(b))
	s.broken -= n
	return b[n:]
}

// cut gives the next record, from b itself where it is whole there; none where its end has not come. It is not ok where
// there is no record.
func (c *conn) cut(s *side, b []byte) (record, rest []byte, ok bool) {
	if len(s.buf) == 0 && len(b) >= headerSize {
		n, ok := recordSize(b)
		if !ok || n <= len(b) {
			return b[:min(n, len(b))], b[min(n, len(b)):], ok
		}
	}
	if s.buf == nil {
		s.buf = c.Keys.buffer()
	}
	if b = s.fill(b, headerSize); len(s.buf) < headerSize {
		return nil, nil, true
	}
	n, ok := recordSize(s.buf)
	if !ok {
		return nil, nil, false
	}
	if b = s.fill(b, n); len(s.buf) < n {
		return nil, nil, true
	}
	return s.buf, b, true
}

// fill moves bytes from b until buf has n.
func (s *side) fill(b []byte, n int) []byte {
	n = max(0, min(n-len(s.buf), len(b)))
	s.buf = append(s.buf, b[:n]...)
	return b[n:]
}

// recordSize reads a header; the size is with it.
func recordSize(header []byte) (n int, ok bool) {
	n = headerSize + int(binary.BigEndian.Uint16(header[3:]))
	return n, header[0] >= changeCipherSpec && header[0] <= heartbeat && header[1] == 3 && n <= maxRecord
}

func (c *conn) holdRecord(s *side, record, rest []byte, e event) {
	if !s.waits {
		return // given up
	}
	whole := e
	whole.bytes, whole.owned = record, e.owned && len(s.buf) == 0
	c.hold(whole)
	c.Keys.giveBack(s.buf)
	s.buf = nil
	if e.bytes = rest; len(rest) > 0 {
		c.take(e) // it waits, or the connection was given up
	}
}

// ready tells whether a record can be read now, and sees to the key it needs.
func (c *conn) ready(s *side, kind byte, at time.Time) bool {
	if c.tooSoon(s, kind) {
		s.waits = true
		return false
	}
	if s.stage == stagePlain && c.version == version13 && kind == applicationData && !c.refusedByRetry(s) {
		c.beginClient(s)
	}
	if s.stage == stagePlain || s.opener != nil || c.version == version13 && kind != applicationData {
		return true
	}
	return c.arm(s, at)
}

// tooSoon tells whether a record must wait for the other direction: a server's for the ClientHello; a client's behind its
// ClientHello for the answer, and for the fate of early data.
func (c *conn) tooSoon(s *side, kind byte) bool {
	switch {
	case s.from == exchange.FromServer:
		return c.hellos == 0 && (kind == handshake || kind == alert)
	case c.hellos == 0 || kind == alert || s.messages.midway():
		return false
	case c.version == 0:
		return !c.refusedByRetry(s)
	}
	return c.early == earlyUndecided && kind != handshake
}

// refusedByRetry tells of early data that a HelloRetryRequest refused: it lies before the second ClientHello.
func (c *conn) refusedByRetry(s *side) bool {
	return s.from == exchange.FromClient && c.retried && c.hellos < 2
}

// beginClient takes a client out of the plaintext. A server leaves it with its ServerHello.
func (c *conn) beginClient(s *side) {
	s.stage = stageHandshake
	if c.early == earlyTaken {
		s.stage = stageEarly
	}
	s.refused = c.early == earlyRefused && !c.retried
}

// label says which secret a direction needs.
func (c *conn) label(s *side) label {
	ofServer := label(s.from) // 1 for the server, whose labels follow the client's
	switch {
	case c.version == version12:
		return masterSecret
	case s.stage == stageEarly:
		return earlySecret
	case s.stage == stageHandshake:
		return clientHandshake + ofServer
	}
	return clientTraffic + ofServer
}

// arm makes the key of a direction's stage. Where its secret is not there, the direction waits, if it may still come.
func (c *conn) arm(s *side, at time.Time) bool {
	secret, ok := c.Keys.find(&c.hello.random, c.label(s))
	if !ok && c.Keys.More == nil {
		c.giveUp(exchange.TLSWithoutKeys, at)
		return false
	}
	if !ok {
		s.waits = true
		c.wanted.add(c.label(s))
		return false
	}
	var err error
	if c.version == version12 {
		s.opener, err = c.suite.opener12(secret, &c.hello.random, &c.server, s.from == exchange.FromServer)
	} else {
		s.secret = bytes.Clone(secret)
		s.opener, err = c.suite.opener13(secret)
	}
	if err != nil {
		c.fail(s, at)
	}
	return err == nil
}

// enter begins a stage, whose key its first record makes.
func (s *side) enter(next stage) { s.stage, s.opener, s.secret = next, nil, nil }

// record reads a whole record.
func (c *conn) record(s *side, record []byte, at time.Time) {
	kind := record[0]
	switch {
	case s.stage == stagePlain:
		c.plain(s, kind, record[headerSize:], at)
	case c.version == version13 && kind == changeCipherSpec: // for middleboxes (RFC 8446, D.4)
	case c.version == version13 && kind != applicationData, kind == changeCipherSpec:
		c.fail(s, at)
	default:
		c.sealed(s, record, at)
	}
}

func (c *conn) plain(s *side, kind byte, body []byte, at time.Time) {
	switch {
	case kind == handshake:
		c.handshake(s, body, at)
	case kind == alert:
		c.alert(s, body, at)
	case kind == changeCipherSpec && c.hellos > 0 && !s.messages.midway():
		if c.version == version12 {
			s.enter(stageTraffic)
		}
	case kind == applicationData && c.refusedByRetry(s):
	default:
		c.fail(s, at)
	}
}

// sealed reads an encrypted record.
func (c *conn) sealed(s *side, record []byte, at time.Time) {
	plain, err := s.opener.open(c.Keys.plain[:0], record)
	if err != nil && s.refused {
		return
	}
	kind := record[0]
	if err == nil && c.version == version13 {
		plain, kind, err = unpad(plain)
	}
	if err != nil {
		c.fail(s, at)
		return
	}
	s.refused = false
	c.content(s, kind, plain, at)
}

// unpad takes the content type and the zeros behind it off (RFC 8446, 5.4).
func unpad(plain []byte) (content []byte, kind byte, err error) {
	for n := len(plain) - 1; n >= 0; n-- {
		if plain[n] != 0 {
			return plain[:n], plain[n], nil
		}
	}
	return nil, 0, errRecord
}

func (c *conn) content(s *side, kind byte, plain []byte, at time.Time) {
	switch {
	case kind == applicationData && s.stage != stageHandshake && !s.messages.midway():
		c.tell(s, plain, at)
	case kind == handshake:
		c.handshake(s, plain, at)
	case kind == alert:
		c.alert(s, plain, at)
	case kind == heartbeat && c.version == version12:
	default:
		c.fail(s, at)
	}
}

// Alerts (RFC 8446, 6; RFC 5246, 7.2).
const (
	closeNotify  = 0
	userCanceled = 90
	warning      = 1 // a level
)

// alert ends a direction, or both where it tells of an error. In TLS 1.3 the level says nothing.
func (c *conn) alert(s *side, body []byte, at time.Time) {
	switch {
	case len(body) != 2:
		c.fail(s, at)
	case body[1] == closeNotify:
		c.tellEnd(s, at, false)
	case body[1] == userCanceled, body[0] == warning && c.version != version13:
	default:
		c.tellEnd(s, at, true)
	}
}

// skip takes a gap. It can be read on behind one that ends within the record it began in, as that counts for one; behind
// any other nobody knows where and which the next record is.
func (c *conn) skip(s *side, missing int64, at time.Time) {
	if s.broken > 0 && missing >= 0 && missing <= int64(s.broken) {
		s.broken -= int(missing)
		return
	}
	left := s.unread()
	if missing < 0 || missing > int64(left) || !c.mayBreak(s) {
		c.fail(s, at)
		return
	}
	lost := c.contentSize(s)
	s.broken = left - int(missing)
	s.opener.seq++
	c.Keys.giveBack(s.buf)
	s.buf = nil
	c.tellGap(s, lost, at)
}

// unread is how many bytes of the record at hand have not come; 0 where its size is not known.
func (s *side) unread() int {
	if len(s.buf) < headerSize {
		return 0
	}
	n, _ := recordSize(s.buf)
	return n - len(s.buf)
}

// mayBreak tells whether the record at hand can be done without: application data, as far as can be seen. In TLS 1.3 it may
// be a KeyUpdate in truth; the next record fails then.
func (c *conn) mayBreak(s *side) bool {
	return s.stage == stageTraffic && s.opener != nil && s.unread() > 0 && s.buf[0] == applicationData && !s.messages.midway() &&
		len(s.buf)+s.unread() >= headerSize+s.opener.overhead()
}

// contentSize is that of the record at hand; -1 in TLS 1.3, where there may be padding.
func (c *conn) contentSize(s *side) int64 {
	if c.version == version13 {
		return -1
	}
	return int64(len(s.buf) + s.unread() - headerSize - s.opener.overhead())
}
