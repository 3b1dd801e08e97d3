// Package tls decrypts captured TLS connections with the secrets of a key log: TLS 1.3 (RFC 8446), and TLS 1.2 (RFC 5246)
// with AEAD suites. It takes no part in them and verifies no certificate; that a record authenticates is the proof that it
// was read right.
package tls

import (
	"time"

	"umbra/capture/internal/exchange"
)

const (
	version12 = 0x0303
	version13 = 0x0304
)

// Options are what a connection needs.
type Options struct {
	Keys *Keys         // shared by all connections
	Loss exchange.Loss // gets TLSWithoutKeys or TLSUnreadable, once for the connection
	Next exchange.Stream
}

// New begins a connection. Next gets its application data, with the times of the packets that completed each record. Early
// data comes as soon as the server is seen to take it, so its times may lie before what Next was told last.
//
// What cannot be read is never guessed: Next gets a Gap in its place, where it knows of the connection at all.
func New(o Options) exchange.Stream {
	c := &conn{Options: o}
	c.sides[exchange.FromServer].from = exchange.FromServer
	return c
}

// conn is a connection as seen from outside.
type conn struct {
	Options
	sides [2]side

	hello   clientHello
	hellos  int  // ClientHellos seen: a second one answers a HelloRetryRequest
	retried bool // a HelloRetryRequest was seen
	version uint16
	suite   *suite // set with version, by the ServerHello
	server  random
	early   early

	queue
	moved bool // the handshake came further: what is held may go on

	told    bool // Next knows of the connection
	counted bool // in Loss
	over    bool // nothing more will be read
}

// early is what became of early data (RFC 8446, 2.3).
type early uint8

const (
	earlyNone early = iota
	earlyUndecided
	earlyTaken
	earlyRefused
)

// stage is which keys a direction is under.
type stage uint8

const (
	stagePlain stage = iota
	stageEarly
	stageHandshake
	stageTraffic // and all that is encrypted in TLS 1.2
)

// side is a direction of the connection.
type side struct {
	from     exchange.Direction
	buf      []byte // of a record whose end has not come
	broken   int    // bytes to come of a record that a gap broke
	messages messages
	stage    stage
	secret   []byte  // of opener, in TLS 1.3
	opener   *opener // nil until the stage's first record
	refused  bool    // records that fail are early data that the server refused
	waits    bool    // what comes is held
	lost     bool    // nothing more can be read
	ended    bool    // Next knows
}

func (s *side) deaf() bool { return s.lost || s.ended }

// Data implements exchange.Stream.
func (c *conn) Data(d exchange.Direction, b []byte, at time.Time) {
	c.event(event{kind: data, from: d, bytes: b, at: at})
}

// Gap implements exchange.Stream.
func (c *conn) Gap(d exchange.Direction, n int64, at time.Time) {
	c.event(event{kind: gap, from: d, missing: n, at: at})
}

// End implements exchange.Stream.
func (c *conn) End(d exchange.Direction, at time.Time, reset bool) {
	c.event(event{kind: end, from: d, reset: reset, at: at})
}

// Close implements exchange.Stream.
func (c *conn) Close(at time.Time) {
	c.retry()
	if c.holdsData() {
		c.giveUp(c.whyHeld(), at)
	}
	for i := range c.sides {
		if c.sides[i].refused { // nothing but records that failed: so it may not have been early data
			c.count(exchange.TLSUnreadable)
		}
		c.silence(&c.sides[i])
	}
	c.forget()
	c.Next.Close(at)
}

func (c *conn) event(e event) {
	c.retry()
	c.take(e)
	c.settle()
}

// take is told what came, or what was held and comes again.
func (c *conn) take(e event) {
	s := &c.sides[e.from]
	switch {
	case s.waits || e.reset && c.waiting(): // a reset ends both directions, so it must not overtake either
		c.hold(e)
	case e.kind == end:
		c.ends(s, e.at, e.reset)
	case s.deaf():
	case e.kind == gap:
		c.skip(s, e.missing, e.at)
	default:
		c.read(s, e)
	}
}

// ends takes a FIN or RST. Within a record it leaves a message cut that might otherwise look whole.
func (c *conn) ends(s *side, at time.Time, reset bool) {
	if len(s.buf) > 0 && s.stage == stageTraffic {
		c.tellGap(s, -1, at)
	}
	c.tellEnd(s, at, reset)
}

// fail stops a direction; both, as long as the handshake is not known.
func (c *conn) fail(s *side, at time.Time) {
	if c.version == 0 || c.early == earlyUndecided {
		c.giveUp(exchange.TLSUnreadable, at)
		return
	}
	c.count(exchange.TLSUnreadable)
	c.lose(s, at)
}

// giveUp stops the connection.
func (c *conn) giveUp(why exchange.Cause, at time.Time) {
	if c.over {
		return
	}
	c.count(why)
	c.over, c.wanted = true, 0
	held := c.forget()
	for i := range c.sides {
		c.sides[i].waits = false
		c.lose(&c.sides[i], at)
	}
	for _, e := range held {
		c.take(e)
	}
}

func (c *conn) lose(s *side, at time.Time) {
	if s.lost {
		return
	}
	s.lost = true
	c.silence(s)
	if c.told && !s.ended {
		c.Next.Gap(s.from, -1, at)
	}
}

// silence frees what a direction holds.
func (c *conn) silence(s *side) {
	c.Keys.giveBack(s.buf)
	s.buf, s.broken, s.refused, s.opener, s.secret, s.messages = nil, 0, false, nil, nil, messages{}
}

func (c *conn) count(why exchange.Cause) {
	if !c.counted {
		c.counted = true
		c.Loss.Add(why, 1)
	}
}

func (c *conn) tell(s *side, plain []byte, at time.Time) {
	if len(plain) == 0 {
		return
	}
	c.introduce(at)
	c.Next.Data(s.from, plain, at)
}

func (c *conn) tellGap(s *side, n int64, at time.Time) {
	if s.deaf() {
		return
	}
	c.introduce(at)
	c.Next.Gap(s.from, n, at)
}

// introduce tells Next, as it comes to know of the connection, of a direction that was lost before.
func (c *conn) introduce(at time.Time) {
	if c.told {
		return
	}
	c.told = true
	for i := range c.sides {
		if s := &c.sides[i]; s.lost && !s.ended {
			c.Next.Gap(s.from, -1, at)
		}
	}
}

// tellEnd tells each direction's end once; a reset that follows a direction's end still ends the other.
func (c *conn) tellEnd(s *side, at time.Time, reset bool) {
	other := &c.sides[s.from.Other()]
	switch {
	case !s.ended:
		c.Next.End(s.from, at, reset)
	case reset && !other.ended:
		c.Next.End(other.from, at, reset)
	}
	s.ended = true
	other.ended = other.ended || reset
}
