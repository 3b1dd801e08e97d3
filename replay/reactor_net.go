package replay

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// portableName is what the portable path is called.
const portableName = "portable (net, two goroutines a connection at the most)"

// netReactor is the reactor on the standard library: a goroutine reads for each connection, and another writes what the
// peer does not take at once. They tell the loop by events, and hold their bytes until the loop has taken them.
type netReactor struct {
	start   time.Time
	sockets []*netSocket
	posted  chan event // has room for one reading and one writing event of every connection, and of those closed lately
	wakes   chan struct{}
	alarm   *alarm
	events  []event
	done    chan struct{} // closed by end: events are for nobody then
	group   sync.WaitGroup
}

// netSocket is a connection. The reading goroutine owns buf and what it says of it until it has posted its event, and
// again after resume.
type netSocket struct {
	tcp        *net.TCPConn
	generation uint32
	buf        []byte
	at, n      int
	err        error
	came       time.Duration // when buf was filled
	has        bool          // the loop's: the reader has posted, and waits
	resume     chan struct{}
	closed     bool          // the loop's
	gone       chan struct{} // closed with the connection
	rest       []byte        // the writing goroutine's, while writing
	writing    bool          // the loop's
	failed     error         // the writing goroutine's, read by the loop after its event
}

// patience is how long a write may hold up the loop before a goroutine goes on with it.
const patience = time.Millisecond

func newNetReactor(start time.Time, connections int) (reactor, error) {
	r := &netReactor{start: start, sockets: make([]*netSocket, connections), posted: make(chan event, 4*connections), wakes: make(chan struct{}, 1),
		done: make(chan struct{})}
	var err error
	r.alarm, err = newAlarm()
	return r, err
}

func (r *netReactor) adopt(c int32, tcp *net.TCPConn) error {
	generation := uint32(1)
	if old := r.sockets[c]; old != nil {
		generation = old.generation + 1
	}
	s := &netSocket{tcp: tcp, generation: generation, buf: make([]byte, 16<<10), resume: make(chan struct{}, 1), gone: make(chan struct{})}
	r.sockets[c] = s
	r.group.Go(func() { r.reads(c, s) })
	return nil
}

// reads is the reading goroutine.
func (r *netReactor) reads(c int32, s *netSocket) {
	for {
		s.at = 0
		s.n, s.err = s.tcp.Read(s.buf)
		s.came = time.Since(r.start)
		ended := s.err != nil
		if !r.post(s, event{conn: c, generation: s.generation, readable: true, ended: ended}) || ended {
			return
		}
		select {
		case <-s.resume:
		case <-s.gone:
			return
		}
	}
}

// post tells the loop; false where the connection is gone.
func (r *netReactor) post(s *netSocket, ev event) bool {
	select {
	case r.posted <- ev:
		return true
	case <-s.gone:
	case <-r.done:
	}
	return false
}

func (r *netReactor) read(c int32, b []byte) (int, time.Duration, error) {
	s := r.sockets[c]
	switch {
	case !s.has:
		return 0, 0, errAgain
	case s.at < s.n:
		n := copy(b, s.buf[s.at:s.n])
		s.at += n
		return n, s.came, nil
	case s.err != nil:
		return 0, s.came, s.err
	}
	s.has = false
	s.resume <- struct{}{}
	return 0, 0, errAgain
}

func (r *netReactor) write(c int32, b []byte) (int, error) {
	s := r.sockets[c]
	switch {
	case len(b) == 0:
		return 0, nil
	case s.writing:
		return 0, errAgain
	case s.failed != nil:
		return 0, s.failed
	}
	if err := s.tcp.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := s.tcp.Write(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if err := s.tcp.SetWriteDeadline(time.Time{}); err != nil {
		return n, err
	}
	s.rest = append(s.rest[:0], b[n:min(len(b), n+readSize)]...)
	s.writing = true
	r.group.Go(func() {
		_, s.failed = s.tcp.Write(s.rest) // ends with the connection
		r.post(s, event{conn: c, generation: s.generation, writable: true})
	})
	return n + len(s.rest), errAgain
}

func (r *netReactor) close(c int32) {
	s := r.sockets[c]
	if s == nil || s.closed {
		return
	}
	s.closed = true
	s.tcp.Close()
	close(s.gone)
}

func (r *netReactor) stale(ev *event) bool {
	s := r.sockets[ev.conn]
	return s.closed || s.generation != ev.generation
}

func (r *netReactor) wait(until time.Duration, _ bool) (events []event, now time.Duration, slept bool) {
	r.events = r.events[:0]
	before := time.Since(r.start)
	if until > before {
		r.alarm.set(until - before)
		select {
		case ev := <-r.posted:
			r.note(ev)
		case <-r.wakes:
		case <-r.alarm.C:
		}
	}
	for range cap(r.posted) {
		select {
		case ev := <-r.posted:
			r.note(ev)
			continue
		default:
		}
		break
	}
	now = time.Since(r.start)
	return r.events, now, now-before > 10*time.Microsecond
}

// note takes over what an event says.
func (r *netReactor) note(ev event) {
	if r.stale(&ev) {
		return
	}
	s := r.sockets[ev.conn]
	if ev.readable {
		s.has = true
	}
	if ev.writable {
		s.writing = false
	}
	r.events = append(r.events, ev)
}

func (r *netReactor) wake() {
	select {
	case r.wakes <- struct{}{}:
	default:
	}
}

func (r *netReactor) end() {
	close(r.done)
	for c := range r.sockets {
		r.close(int32(c))
	}
	r.group.Wait()
	r.alarm.close()
}
