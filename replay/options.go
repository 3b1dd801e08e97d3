package replay

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Protocol is what a connection speaks.
type Protocol string

// The protocols.
const (
	HTTP1 Protocol = "http/1.1"
	H2C   Protocol = "h2c"  // HTTP/2 with prior knowledge, in the clear
	ALPN  Protocol = "alpn" // over TLS, what the server chooses of h2 and http/1.1
)

// Reuse is which requests share a connection.
type Reuse string

// The ways.
const (
	Keep    Reuse = "keep"    // a fixed number of connections, for any request
	Session Reuse = "session" // a connection for each captured session
	Fresh   Reuse = "fresh"   // a connection for each request
)

// Overload is what becomes of a request that is due while no connection is free.
type Overload string

// The policies.
const (
	QueueUp  Overload = "queue" // it waits, which counts into its response time; beyond the queue's limit it is unsent (QueueFull)
	Drop     Overload = "drop"  // it is unsent (Dropped)
	AbortRun Overload = "abort" // the run ends: it and all that is left of the plan are unsent (Aborted)
)

// Options says how a Transport plays.
type Options struct {
	Address     string      // host:port; of a name with several addresses each dial takes the next
	TLS         *tls.Config // nil: in the clear
	Protocol    Protocol
	Connections int // from 1; with Session and Fresh the most that are open at once
	Reuse       Reuse
	Ordered     bool          // a session's next request waits until its predecessor has ended, whatever its outcome; only in an open loop
	Streams     int           // HTTP/2: the most under way on a connection, from 1; the server may allow fewer
	Timeout     time.Duration // of a request, from due
	Until       time.Duration // when a closed loop ends, counted from start; 0 for an open loop
	Overload    Overload
	Queue       int           // how many requests may wait for a connection, or with Ordered for their session (0: DefaultQueue)
	Quantum     time.Duration // requests that fall due within it are sent by one wake-up, so its first may be that late; 0: each on time
	Precise     bool          // spin before an instant instead of sleeping up to it: costs a core
	Source      netip.Addr    // the local address to connect from; the zero Addr leaves it to the kernel
	Loops       int           // event loops, each with its share of the connections (0: 1)
	Portable    bool          // the portable path also where there is a faster one
	Gauge       *Gauge        // is told of the requests under way; may be nil
}

// DefaultQueue is how many requests wait for a connection at the most.
const DefaultQueue = 1 << 16

// DefaultQuantum is the quantum for a rate that asks for none: each request on time where a wake-up for each costs less than
// about a third of a core; above that what keeps the generator's lag below the 0.2 ms from which a figure is not to be trusted
// (measured at 10,000/s: lag p99 0.16 ms; replay/bench has the curve). At the highest rates it is what lets the server sleep, and
// be woken, less: at 80,000/s a request costs a fifth less with it than without.
func DefaultQuantum(rate float64) time.Duration {
	if rate <= 5000 {
		return 0
	}
	return 100 * time.Microsecond
}
