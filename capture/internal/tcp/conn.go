package tcp

import (
	"container/list"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

// conn is a connection, or what is remembered of one that ended.
type conn struct {
	a      *Assembler
	key    key
	half   [2]half // by sender: of key.low, of key.high
	client int     // the client's index, -1 as long as it is not known
	number int
	begun  time.Time // the time stamp of its first packet
	seen   time.Time // the latest time stamp among its packets
	last   time.Time // the clock at its last packet
	stream exchange.Stream
	elem   *list.Element

	midway  bool // a half began without its SYN
	counted bool // as joined midway
	holding bool // nothing is told for the moment, to be told in turn later
	closed  bool
	reset   bool // by the half with index resetBy
	resetBy int
	resetAt time.Time
}

// packet takes a segment of the half with index side.
func (c *conn) packet(side int, t *layers.TCP, missing int, at time.Time) {
	if at.After(c.seen) {
		c.seen = at
	}
	if at.Before(c.begun) {
		c.begun = at
	}
	h := &c.half[side]
	if missing == 0 && h.goesOn(t) {
		h.goOn(t, at)
		return
	}
	s := segment{seq: t.Seq, b: t.Payload, missing: max(missing, 0), at: at, ack: t.Ack, acks: t.ACK}
	if t.SYN {
		c.syn(h, t)
		s.seq++
	}
	if t.ACK {
		h.other().acknowledge(t.Ack)
	}
	if s.length() > 0 {
		h.segment(s)
	}
	switch {
	case t.RST:
		c.abort(h, t, at)
	case t.FIN:
		h.finish(s.end(), piece{at: at, ack: s.ack, acks: s.acks})
	}
	c.settle()
}

// syn notes where the halves begin. A SYN-ACK tells it of both (RFC 9293, 3.5).
func (c *conn) syn(h *half, t *layers.TCP) {
	o := h.other()
	if c.client < 0 {
		c.client = h.side
		if t.ACK {
			c.client = o.side
		}
	}
	c.holding = true
	if !h.known {
		h.start(t.Seq + 1)
	}
	h.syn, h.isn = true, t.Seq
	if t.ACK && o.mayStart(t.Ack) {
		o.start(t.Ack)
	}
	c.holding = false
}

// abort takes an RST: both halves end, as soon as all is there that was sent before it. One whose number lies behind what its
// sender sent is stale, and its receiver ignored it (RFC 9293, 3.10.7.4).
func (c *conn) abort(h *half, t *layers.TCP, at time.Time) {
	if h.known && !h.fins && (before(t.Seq, h.next) || t.Seq-h.next > reach) {
		return
	}
	if !c.reset {
		c.reset, c.resetBy, c.resetAt = true, h.side, at
	}
	h.finish(t.Seq, piece{at: at})
	o := h.other()
	end := o.top()
	if t.ACK && t.Ack-end > 1 && t.Ack-end <= reach {
		end = t.Ack
	}
	o.finish(end, piece{at: at})
}

// settle tells what is due, ends what has ended, and notes who waits.
func (c *conn) settle() {
	h, o := &c.half[0], &c.half[1]
	if h.waits() || o.waits() || h.queue != nil || o.queue != nil {
		c.release()
		for i := range c.half {
			if c.half[i].pages > c.a.o.Pages/4 {
				c.resign(&c.half[i])
			}
		}
		h.place()
		o.place()
	}
	if h.ended && o.ended {
		c.a.retire(c)
	}
}

// release tells what waits for its turn, until nobody's turn comes.
func (c *conn) release() {
	h, o := &c.half[0], &c.half[1]
	for h.release() || o.release() || h.end() || o.end() {
	}
}

// giveUp ends a half's waiting.
func (c *conn) giveUp(h *half) {
	h.leave()
	c.resign(h)
	c.settle()
}

// resign tells all that a half holds, and what is missing of it. Where neither half's begin was seen, both begin together, so
// that they can be told in turn.
func (c *conn) resign(h *half) {
	o := h.other()
	c.holding = true
	if !h.known {
		c.midway = true
		if !o.known {
			o.drain()
		}
	}
	h.drain()
	c.holding = false
	c.release()
	for len(h.gate) > 0 {
		o.concede(h.gate[0])
		if !h.release() {
			h.force()
		}
		c.release()
	}
	h.giveUpEnd()
	c.release()
}

// close gives up what is missing and closes the stream.
func (c *conn) close() {
	for i := range c.half {
		c.resign(&c.half[i])
	}
	for i := range c.half {
		c.half[i].missUnseen()
		c.half[i].clear()
	}
	c.closed = true
	if c.stream == nil {
		return
	}
	if c.reset {
		c.tellReset()
	}
	c.stream.Close(c.seen)
	c.stream = nil
}

// tellReset tells of the reset for who sent it, but no direction ends twice.
func (c *conn) tellReset() {
	h := &c.half[c.resetBy]
	if h.over {
		h = h.other()
	}
	if !h.over {
		c.stream.End(c.direction(h.side), c.resetAt, true)
	}
}

func (c *conn) direction(side int) exchange.Direction {
	if side == c.client {
		return exchange.FromClient
	}
	return exchange.FromServer
}

// open opens the stream when there is first something to tell.
func (c *conn) open() exchange.Stream {
	if c.stream != nil {
		return c.stream
	}
	client, server := c.key.low, c.key.high
	midway := c.client < 0
	if midway {
		c.client = 0
		if server.Port() > client.Port() {
			c.client = 1
		}
	}
	if c.client == 1 {
		client, server = server, client
	}
	c.stream = c.a.o.Open(newConn(client, server, c.number, c.begun, midway))
	for i := range c.half {
		if c.half[i].ended {
			c.half[i].tellEnd()
		}
	}
	return c.stream
}

// countMidway counts the connection once, however many of its halves began without a SYN.
func (c *conn) countMidway() {
	if !c.counted {
		c.counted = true
		c.a.o.Loss.Add(exchange.JoinedMidway, 1)
	}
}
