package tls

import (
	"bytes"
	"time"

	"umbra/capture/internal/exchange"
)

// event is what a Stream is told.
type event struct {
	kind    kind
	from    exchange.Direction
	reset   bool   // of an end
	owned   bool   // bytes may be held as they are
	bytes   []byte // of data
	missing int64  // of a gap
	at      time.Time
}

type kind uint8

const (
	data kind = iota
	gap
	end
)

// queue holds, in the order in which they were seen, the events that cannot be read yet: a client's early data while the
// server has not taken it, a direction that was captured ahead of the other one, and all that keys are missing for while
// they may still come.
type queue struct {
	held   []event
	size   int
	wanted labelSet // secrets that a direction waits for
}

func (q *queue) waiting() bool { return len(q.held) > 0 }

func (q *queue) holdsData() bool {
	for _, e := range q.held {
		if e.kind != end {
			return true
		}
	}
	return false
}

func (q *queue) whyHeld() exchange.Cause {
	if q.wanted != 0 {
		return exchange.TLSWithoutKeys
	}
	return exchange.TLSUnreadable
}

// hold keeps an event; the connection is given up where that takes too much memory.
func (c *conn) hold(e event) {
	cost := len(e.bytes) + eventCost
	if c.size+cost > maxHeld || c.Keys.held+cost > maxHeldAll {
		c.giveUp(c.whyHeld(), e.at)
		c.take(e)
		return
	}
	if !e.owned {
		e.bytes, e.owned = bytes.Clone(e.bytes), true
	}
	c.size += cost
	c.Keys.held += cost
	c.held = append(c.held, e)
}

// forget empties the queue and gives what was in it.
func (c *conn) forget() []event {
	held := c.held
	c.Keys.held -= c.size
	c.held, c.size = nil, 0
	return held
}

// retry goes on with what waits for secrets, once one of them is there.
func (c *conn) retry() {
	for l := masterSecret; l < labels && c.wanted != 0; l++ {
		if !c.wanted.has(l) {
			continue
		}
		if _, ok := c.Keys.find(&c.hello.random, l); ok {
			c.wanted, c.moved = 0, true
			c.settle()
			return
		}
	}
}

// settle takes what was held again, as long as that moves the handshake. The order between the directions stays: with each
// move the rest waits, and it begins anew.
func (c *conn) settle() {
	for c.moved && !c.over {
		c.moved = false
		held := c.forget()
		for i := range c.sides {
			c.sides[i].waits = false
		}
		for _, e := range held {
			if c.moved && !c.over {
				c.hold(e)
			} else {
				c.take(e)
			}
		}
	}
}
