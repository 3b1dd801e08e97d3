// Package exchange holds what the parts of a capture share: a connection's bytes as they were carried (Stream), the exchanges
// found in them (Sink, Exchange), and what was lost on the way (Loss). All of a capture runs on one goroutine; nothing here is
// safe for concurrent use.
package exchange

import (
	"time"

	"umbra/internal/traffic"
)

// Direction says who sent a connection's bytes.
type Direction uint8

// The directions.
const (
	FromClient Direction = iota
	FromServer
)

// Other is the direction that answers.
func (d Direction) Other() Direction { return 1 - d }

// Stream is told what a connection carried: in each direction in the order in which it was sent, and between the directions
// in the order in which it was seen. Nothing follows Close.
type Stream interface {
	// Data gives the next bytes of a direction, valid for the call only. at is when the packet was seen that brought them.
	Data(d Direction, b []byte, at time.Time)
	// Gap tells that the next n bytes of a direction are missing; n is -1 where nobody knows how many, as at the begin of a
	// connection that was joined midway.
	Gap(d Direction, n int64, at time.Time)
	// End tells that a direction ended, by FIN, or by RST, which ends both.
	End(d Direction, at time.Time, reset bool)
	// Close tells that nothing more is known of the connection: both directions ended, or the capture did.
	Close(at time.Time)
}

// Exchange is a request and its answer on their way to the traffic file. Who began it fills in Request but for At, which the
// Sink counts from the start of the capture; Request.Response stays nil where no whole answer was seen.
type Exchange struct {
	Start   time.Time // when the request's first byte was seen
	Request traffic.Request
	Answer  traffic.Response // room for what Request.Response points to

	Own // the Sink's

	Gone  bool // set by the Sink, which had no more room: it has taken or dropped the exchange, and nobody may touch Request
	Whole bool // set by who began it, as soon as Request is complete but for Response: the Sink may take it without an answer
}

// Own is what a Sink notes of an exchange; nobody else looks at it.
type Own struct {
	Before, Behind *Exchange // in the order of Start
	Held           int       // bytes
	Ended          bool
}

// Sink takes exchanges. Each that was begun is ended once, by Done or Drop, also one that is gone.
type Sink interface {
	// Begin makes room for an exchange whose request's first byte was seen at start; those that began later wait for it. Of its
	// Request only the session is filled in, but Headers, which is empty, may have room. After Done the exchange, and all that it
	// points to, is the Sink's to use again.
	Begin(start time.Time, session string) *Exchange
	// Grow tells that an exchange came to hold n more bytes.
	Grow(e *Exchange, n int)
	// Done gives a whole request, and the answer where there was one.
	Done(e *Exchange)
	// Drop forgets an exchange; why is counted.
	Drop(e *Exchange, why Cause)
}

// Limits bound what is held of a message.
type Limits struct {
	Body int // bytes of a request's body; a request with a longer one is dropped (BodyTooLong), as it could not be replayed unchanged
	Head int // bytes of a head, of either kind
}
