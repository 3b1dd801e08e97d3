package capture

import (
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// order is the exchange.Sink of a capture: it holds exchanges until all that began before them have ended, and then gives
// their requests on in the order in which they began. What it holds is bounded.
type order struct {
	limit int // bytes
	loss  exchange.Loss
	give  func(start time.Time, r *traffic.Request) // it keeps nothing of r but texts

	first, last *exchange.Exchange
	held        int
	free        []*exchange.Exchange // that were given, to be used again
}

// exchangeSize is about what an exchange takes beside its texts and its body.
const exchangeSize = 512

// Bounds of what is kept to be used again.
const (
	maxFree     = 256     // exchanges
	maxFreeSize = 4 << 10 // bytes of one, with its texts
)

// Begin implements exchange.Sink.
func (o *order) Begin(start time.Time, session string) *exchange.Exchange {
	e := o.allocate()
	e.Start, e.Request.Session = start, session
	o.insert(e)
	o.Grow(e, exchangeSize)
	return e
}

func (o *order) allocate() *exchange.Exchange {
	n := len(o.free) - 1
	if n < 0 {
		return &exchange.Exchange{}
	}
	e := o.free[n]
	o.free = o.free[:n]
	return e
}

// recycle keeps an exchange that was given, with the room of its headers. What it points to beside that may be large.
func (o *order) recycle(e *exchange.Exchange, size int) {
	if len(o.free) == maxFree || size > maxFreeSize {
		return
	}
	headers := e.Request.Headers[:0]
	*e = exchange.Exchange{}
	e.Request.Headers = headers
	o.free = append(o.free, e)
}

// insert puts an exchange in its place, which is the last one but where packets were reordered.
func (o *order) insert(e *exchange.Exchange) {
	before := o.last
	for before != nil && before.Start.After(e.Start) {
		before = before.Before
	}
	e.Before = before
	if before == nil {
		e.Behind, o.first = o.first, e
	} else {
		e.Behind, before.Behind = before.Behind, e
	}
	if e.Behind == nil {
		o.last = e
	} else {
		e.Behind.Before = e
	}
}

func (o *order) remove(e *exchange.Exchange) {
	if e.Before == nil {
		o.first = e.Behind
	} else {
		e.Before.Behind = e.Behind
	}
	if e.Behind == nil {
		o.last = e.Before
	} else {
		e.Behind.Before = e.Before
	}
	e.Before, e.Behind = nil, nil
	o.held -= e.Held
	e.Held = 0
}

// Grow implements exchange.Sink.
func (o *order) Grow(e *exchange.Exchange, n int) {
	if e.Gone {
		return
	}
	e.Held += n
	o.held += n
	for o.held > o.limit && o.first != nil {
		o.evict(o.first)
	}
}

// evict makes room by ending the exchange that all others wait for.
func (o *order) evict(e *exchange.Exchange) {
	o.remove(e)
	e.Gone = true
	if e.Whole {
		o.loss.Add(exchange.ResponsesNotAwaited, 1)
		o.give(e.Start, &e.Request)
	} else {
		o.loss.Add(exchange.NoMemory, 1)
	}
	o.drain()
}

// Done implements exchange.Sink.
func (o *order) Done(e *exchange.Exchange) {
	if e.Gone {
		return
	}
	e.Ended = true
	o.drain()
}

// Drop implements exchange.Sink.
func (o *order) Drop(e *exchange.Exchange, why exchange.Cause) {
	if e.Gone {
		return
	}
	o.loss.Add(why, 1)
	o.remove(e)
	o.drain()
}

// drain gives what nothing waits for any more.
func (o *order) drain() {
	for e := o.first; e != nil && e.Ended; e = o.first {
		size := e.Held
		o.remove(e)
		o.give(e.Start, &e.Request)
		o.recycle(e, size)
	}
}

// close gives what is left, of what is whole.
func (o *order) close() {
	for o.first != nil {
		if o.first.Ended {
			o.drain()
			continue
		}
		o.evict(o.first)
	}
}
