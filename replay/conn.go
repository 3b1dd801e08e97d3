package replay

import (
	"net"
	"time"

	"umbra/replay/internal/http1"
	"umbra/replay/internal/http2"
)

// connState is where a connection of a loop is in its life.
type connState uint8

const (
	down     connState = iota
	dialing            // connecting, with TLS where it is asked for
	starting           // HTTP/2: the server's first SETTINGS have not come
	standing
)

// conn is one of a loop's connections, and after its end the place for the next one.
type conn struct {
	state   connState
	since   time.Duration // standing: since when it could take a request; else when the dial began
	flight  int32         // HTTP/1.1: under way on it; while it is dialed: what it is dialed for; none
	used    bool          // a request was sent on it
	listed  bool          // in the loop's list of free ones
	resting bool          // in the loop's stack of those that are down
	touched bool          // its turn is to come
	dirty   bool          // has something to flush
	blocked bool          // the peer takes no more for now
	unread  bool          // there may be more to read
	failed  error         // of writing; what came before may still be read

	response http1.Response
	head     []byte // what is left to be written of a request, in order
	body     []byte
	spill    []byte      // the memory of head
	h2       *http2.Conn // nil where it speaks HTTP/1.1
	machine  *http2.Conn // the memory of h2
	opened   list        // HTTP/2: flights whose frames wait for the flush
	secure   *secure

	retry   time.Duration // down: when a closed loop dials it again
	session string
	own     list // Session: flights that wait for this connection
	active  int  // flights on it
	attempt uint32
}

// canTake tells whether a request can be sent on the connection now.
func (c *conn) canTake() bool {
	if c.state != standing || c.blocked || c.failed != nil {
		return false
	}
	if c.h2 != nil {
		return c.h2.Free() > 0
	}
	return c.flight == none
}

// unwritten tells whether a part of an HTTP/1.1 request is still to be written.
func (c *conn) unwritten() bool { return len(c.head)+len(c.body) > 0 }

// standingTCP is a connection that a dialing goroutine hands to its loop.
type standingTCP struct {
	conn      int32
	attempt   uint32
	tcp       *net.TCPConn
	secure    *secure // nil: in the clear
	dial, tls time.Duration
	at        time.Duration // when that was done
	err       error
}

// close ends what was dialed for nobody.
func (t *standingTCP) close() {
	if t.tcp != nil && t.err == nil {
		t.tcp.Close()
	}
}
