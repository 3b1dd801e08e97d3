// Package tcp puts the segments of a capture back into the byte streams of their connections, and recognises what a
// connection speaks.
//
// What comes in order is passed straight on. A stretch with holes goes through github.com/google/gopacket/reassembly until it
// is whole again (disorder.go). Between the two directions, what a side sent waits for all that it acknowledges, so that an
// answer never comes before its request however the capture was ordered (half.go). Who waits is told of a gap when patience,
// or memory, ends; nothing is lost silently.
package tcp

import (
	"container/list"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

// The defaults of Options.
const (
	defaultPages       = 16 << 10 // 32 MB
	defaultIdle        = 2 * time.Minute
	defaultConnections = 64 << 10
)

// settled is how long bytes are awaited that the other side has acknowledged. They were on the wire, so only a capture that
// merges several queues brings them late, by less than this.
const settled = 500 * time.Millisecond

// Options of an Assembler; zero values mean the defaults.
type Options struct {
	Loss        exchange.Loss
	Open        func(c Conn) exchange.Stream // called when a connection's first byte or gap is due
	Pages       int                          // bound on buffered pages of 1900 bytes in all; a direction gets a quarter
	Idle        time.Duration                // in capture time: after so long a hole is given up, and a silent connection closed
	Connections int                          // bound on tracked connections; beyond it the one longest idle is closed
}

// Conn says whose connection it is.
type Conn struct {
	Client, Server netip.AddrPort
	Session        string    // "client-server#n", unique in a capture also when ports are used again
	Begun          time.Time // when its first packet was seen
	Midway         bool      // its handshake was not seen: who is the client is a guess from the ports
	number         int
}

// newConn names a connection.
func newConn(client, server netip.AddrPort, number int, begun time.Time, midway bool) Conn {
	session := client.String() + "-" + server.String() + "#" + strconv.Itoa(number)
	return Conn{Client: client, Server: server, Session: session, Begun: begun, Midway: midway, number: number}
}

// swapped is the connection with the roles exchanged.
func (c Conn) swapped() Conn { return newConn(c.Server, c.Client, c.number, c.Begun, c.Midway) }

// Assembler makes streams of segments. Its clock is the latest time stamp it has met.
type Assembler struct {
	o      Options
	conns  map[key]*conn
	last   *conn     // that a segment was for, one of them: the next one often is for it too
	live   list.List // of *conn, the longest idle first
	closed list.List // of *conn that ended and are remembered for their stragglers, the longest ended first
	unsure waiting   // halves that wait for what may still come
	lost   waiting   // halves that wait for what was acknowledged
	sorter *sorter
	clock  time.Time
	skew   time.Duration // the farthest that a time stamp lay behind the clock: how shuffled the capture is
	pages  int           // in use for bytes that wait
	count  int           // of connections so far
}

// waiting holds halves, who waits longest first.
type waiting struct{ list.List }

// key names a connection for both of its directions.
type key struct{ low, high netip.AddrPort }

// New gives an Assembler.
func New(o Options) *Assembler {
	if o.Pages <= 0 {
		o.Pages = defaultPages
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	return &Assembler{o: o, conns: map[key]*conn{}, sorter: newSorter()}
}

// Packet takes a segment; its payload is used during the call only. missing is how many bytes of payload the capture cut off
// behind those that are here.
func (a *Assembler) Packet(from, to netip.Addr, t *layers.TCP, missing int, at time.Time) {
	if !from.IsValid() || !to.IsValid() {
		a.o.Loss.Add(exchange.PacketsUnreadable, 1)
		return
	}
	a.tick(at)
	k, side := key{netip.AddrPortFrom(from, uint16(t.SrcPort)), netip.AddrPortFrom(to, uint16(t.DstPort))}, 0
	if k.low.Compare(k.high) > 0 {
		k, side = key{k.high, k.low}, 1
	}
	c := a.find(&k, side, t, missing, at)
	if c == nil {
		return
	}
	c.packet(side, t, missing, at)
	a.bound()
}

// Close ends all connections, the longest idle first.
func (a *Assembler) Close() {
	for e := a.live.Front(); e != nil; e = a.live.Front() {
		a.forget(e.Value.(*conn))
	}
	for e := a.closed.Front(); e != nil; e = a.closed.Front() {
		a.forget(e.Value.(*conn))
	}
}

// find gives the connection of a segment that the half with index side sent, or nil where the segment says nothing: a bare ACK
// or RST of a connection that is not known.
func (a *Assembler) find(k *key, side int, t *layers.TCP, missing int, at time.Time) *conn {
	n := len(t.Payload) + missing
	c := a.last
	if c == nil || c.key != *k {
		c = a.conns[*k]
	}
	if c != nil && c.half[side].outdated(t, n) {
		a.forget(c)
		c = nil
	}
	switch {
	case c == nil && (t.SYN || t.FIN && !t.RST || n > 0):
		return a.begin(*k, at)
	case c == nil || c.closed:
		return nil
	}
	c.last = a.clock
	a.live.MoveToBack(c.elem)
	a.last = c
	return c
}

func (a *Assembler) begin(k key, at time.Time) *conn {
	if len(a.conns) >= a.o.Connections {
		a.evict()
	}
	a.count++
	c := &conn{a: a, key: k, number: a.count, client: -1, begun: at, seen: at, last: a.clock}
	for i := range c.half {
		c.half[i].c, c.half[i].side = c, i
	}
	c.elem = a.live.PushBack(c)
	a.conns[k] = c
	return c
}

// evict makes room for a connection; one that ended goes first.
func (a *Assembler) evict() {
	if e := a.closed.Front(); e != nil {
		a.forget(e.Value.(*conn))
		return
	}
	if e := a.live.Front(); e != nil {
		a.o.Loss.Add(exchange.BuffersFull, 1)
		a.forget(e.Value.(*conn))
	}
}

// retire closes a connection and keeps it for its stragglers, which would look like a connection joined midway.
func (a *Assembler) retire(c *conn) {
	if c.closed {
		return
	}
	c.close()
	a.live.Remove(c.elem)
	c.elem = a.closed.PushBack(c)
}

// forget closes a connection and keeps nothing of it.
func (a *Assembler) forget(c *conn) {
	a.retire(c)
	a.closed.Remove(c.elem)
	delete(a.conns, c.key)
	if a.last == c {
		a.last = nil
	}
}

// tick sets the clock and ends what waited too long.
func (a *Assembler) tick(at time.Time) {
	if behind := between(at, a.clock); behind <= 0 {
		a.clock = at
	} else if behind > a.skew && !a.clock.IsZero() {
		a.skew = behind
	}
	a.sweep(&a.lost, settled)
	a.sweep(&a.unsure, a.o.Idle)
	a.expire(&a.live)
	a.expire(&a.closed)
}

// between is what to.Sub(from) is for times without a monotonic clock, at less cost, as there are several for each packet.
func between(from, to time.Time) time.Duration {
	seconds := to.Unix() - from.Unix()
	const most = math.MaxInt64/int64(time.Second) - 1
	if seconds > most || seconds < -most {
		return to.Sub(from)
	}
	return time.Duration(seconds)*time.Second + time.Duration(to.Nanosecond()-from.Nanosecond())
}

func (a *Assembler) sweep(w *waiting, patience time.Duration) {
	for e := w.Front(); e != nil; e = w.Front() {
		h := e.Value.(*half)
		if between(h.since, a.clock)-a.skew <= patience {
			return
		}
		h.c.giveUp(h)
	}
}

func (a *Assembler) expire(l *list.List) {
	for e := l.Front(); e != nil; e = l.Front() {
		c := e.Value.(*conn)
		if between(c.last, a.clock)-a.skew <= a.o.Idle {
			return
		}
		a.forget(c)
	}
}

// bound keeps the buffers within their size: who waited longest waits no more.
func (a *Assembler) bound() {
	for a.pages > a.o.Pages {
		e := a.lost.Front()
		if e == nil {
			e = a.unsure.Front()
		}
		if e == nil {
			return
		}
		h := e.Value.(*half)
		h.c.giveUp(h)
	}
}
