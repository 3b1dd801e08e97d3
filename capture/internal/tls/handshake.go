package tls

import (
	"time"

	"umbra/capture/internal/exchange"
)

// handshake reads a record's messages, or parts of them.
func (c *conn) handshake(s *side, b []byte, at time.Time) {
	for len(b) > 0 && !s.deaf() {
		body, rest, whole := s.messages.next(b)
		if s.messages.tooLong() {
			c.fail(s, at)
			return
		}
		if !whole {
			return
		}
		if !c.message(s, body, len(rest) == 0, at) {
			c.fail(s, at)
			return
		}
		b = rest
	}
}

// message takes a whole message; last tells that its record ends with it, as it must where the key changes (RFC 8446, 5.1).
// It is not ok where the connection cannot be read on.
func (c *conn) message(s *side, body []byte, last bool, at time.Time) (ok bool) {
	kind := s.messages.kind()
	switch {
	case s.stage == stagePlain && s.from == exchange.FromClient:
		return c.ofClient(kind, body)
	case s.stage == stagePlain:
		return c.ofServer(s, kind, body, last)
	case c.version == version12:
		c.renegotiate(kind, at)
		return true
	}
	return c.encrypted(s, kind, body, last)
}

// ofClient takes a message in plaintext.
func (c *conn) ofClient(kind byte, body []byte) bool {
	if kind != clientHelloMessage {
		return c.version == version12
	}
	if c.hellos > 0 && !c.refusedByRetry(&c.sides[exchange.FromClient]) {
		return false
	}
	hello, ok := parseClientHello(body)
	if c.hellos == 0 {
		c.hello = hello
	}
	c.hellos++
	c.moved = true
	return ok && hello.random == c.hello.random
}

// ofServer takes a message in plaintext.
func (c *conn) ofServer(s *side, kind byte, body []byte, last bool) bool {
	if kind != serverHelloMessage {
		return c.version == version12
	}
	hello, ok := parseServerHello(body)
	if !ok || c.version != 0 || hello.compressed {
		return false
	}
	c.moved = true
	if hello.retry() {
		first := !c.retried
		c.retried = true
		return first && last
	}
	c.server = hello.random
	switch hello.version {
	case version12:
		c.suite = suite12(hello.suite)
	case version13:
		c.suite = suite13(hello.suite)
		s.enter(stageHandshake)
		c.early = c.hello.fate(c.retried)
	}
	if c.suite == nil || hello.version == version13 && !last {
		return false
	}
	c.version = hello.version
	return true
}

// fate is what a ServerHello of TLS 1.3 says of early data; with a HelloRetryRequest there is none behind it.
func (h *clientHello) fate(retried bool) early {
	switch {
	case !h.early:
		return earlyNone
	case retried:
		return earlyRefused
	}
	return earlyUndecided
}

// renegotiate takes an encrypted message of TLS 1.2. A HelloRequest may be declined; a new handshake is not followed, and it
// concerns both directions.
func (c *conn) renegotiate(kind byte, at time.Time) {
	if kind != finished && kind != helloRequest {
		c.giveUp(exchange.TLSUnreadable, at)
	}
}

// encrypted takes a message of TLS 1.3. Those behind the handshake, like NewSessionTicket and a late client certificate with
// its Finished, change nothing (RFC 8446, 4.6).
func (c *conn) encrypted(s *side, kind byte, body []byte, last bool) bool {
	switch {
	case kind == encryptedExtensions && c.early == earlyUndecided && s.from == exchange.FromServer:
		return c.decideEarly(body)
	case kind == endOfEarlyData && s.stage == stageEarly:
		s.enter(stageHandshake)
	case kind == finished && s.stage == stageHandshake:
		s.enter(stageTraffic)
	case kind == keyUpdate && s.stage == stageTraffic:
		return last && c.updateKey(s)
	default:
		return s.stage != stageEarly
	}
	return last
}

func (c *conn) decideEarly(body []byte) bool {
	accepted, ok := acceptsEarly(body)
	c.early, c.moved = earlyRefused, true
	if accepted {
		c.early = earlyTaken
	}
	return ok
}

// updateKey follows a KeyUpdate (RFC 8446, 4.6.3).
func (c *conn) updateKey(s *side) bool {
	secret, err := c.suite.update(s.secret)
	if err != nil {
		return false
	}
	s.secret = secret
	s.opener, err = c.suite.opener13(secret)
	return err == nil
}
