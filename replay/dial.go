package replay

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"umbra/internal/traffic"
)

// dial begins to connect a connection that is down. Addresses are taken in turn.
func (l *loop) dial(ctx context.Context, c int32) {
	conn := &l.conns[c]
	to := l.run.addresses[l.next%len(l.run.addresses)]
	l.next++
	conn.state, conn.since, conn.used, conn.resting = dialing, l.clock(), false, false
	conn.attempt++
	l.dials++
	if l.connector == nil || l.TLS != nil {
		l.dialApart(ctx, c, to)
		return
	}
	if err := l.connector.connect(c, l.Source, to); err != nil {
		l.figures.dial.fail()
		l.undialed(classifyDialOf(c, err))
	}
}

func classifyDialOf(c int32, err error) (int32, traffic.Outcome, string) {
	outcome, class := classifyDial(err)
	return c, outcome, class
}

// dialApart connects in a goroutine, as TLS handshakes do not come in pieces, nor does net's dialing.
func (l *loop) dialApart(ctx context.Context, c int32, to netip.AddrPort) {
	attempt := l.conns[c].attempt
	l.dialers.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.Timeout)
		defer cancel()
		t := l.connectApart(ctx, to)
		t.conn, t.attempt, t.at = c, attempt, time.Since(l.run.start)
		l.arrived <- t
		l.reactor.wake()
	})
}

func (l *loop) connectApart(ctx context.Context, to netip.AddrPort) (t standingTCP) {
	var dialer net.Dialer
	if l.Source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.Source, 0))
	}
	begin := time.Now()
	c, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return standingTCP{err: err}
	}
	t.tcp, t.dial = c.(*net.TCPConn), time.Since(begin)
	if l.TLS == nil {
		return t
	}
	begin = time.Now()
	t.secure, t.err = handshake(ctx, t.tcp, l.TLS)
	t.tls = time.Since(begin)
	if t.err != nil {
		t.tcp.Close()
	}
	return t
}

// connected goes on where the kernel has connected, or has not.
func (l *loop) connected(_ context.Context, c int32) {
	conn := &l.conns[c]
	if err := l.connector.connected(c); err != nil {
		l.figures.dial.fail()
		l.undialed(classifyDialOf(c, err))
		return
	}
	l.figures.dial.add(l.clock() - conn.since)
	l.introduce(c, l.Protocol == H2C, max(l.heard, conn.since))
}

// welcome takes over the connections that goroutines have dialed.
func (l *loop) welcome() {
	for {
		select {
		case t := <-l.arrived:
			l.adopt(&t)
		default:
			return
		}
	}
}

func (l *loop) adopt(t *standingTCP) {
	conn := &l.conns[t.conn]
	stale := conn.state != dialing || conn.attempt != t.attempt
	switch {
	case stale:
		t.close()
	case t.err != nil:
		if t.tcp == nil {
			l.figures.dial.fail()
		} else {
			l.figures.dial.add(t.dial)
			l.figures.tls.fail()
		}
		l.undialed(classifyDialOf(t.conn, t.err))
	default:
		l.figures.dial.add(t.dial)
		if err := l.reactor.adopt(t.conn, t.tcp); err != nil {
			l.undialed(t.conn, traffic.Error, Connect)
			return
		}
		multi := l.Protocol == H2C
		if conn.secure = t.secure; t.secure != nil {
			l.figures.tls.add(t.tls)
			t.secure.join(l.reactor, t.conn)
			multi = t.secure.tls.ConnectionState().NegotiatedProtocol == "h2"
		}
		l.introduce(t.conn, multi, t.at)
	}
}

// introduce begins the protocol on a connection that has been there since an instant.
func (l *loop) introduce(c int32, multi bool, since time.Duration) {
	conn := &l.conns[c]
	l.figures.connections = max(l.figures.connections, l.stands+1)
	if !multi {
		conn.h2 = nil
		conn.state = starting
		l.stand(c, since)
		return
	}
	conn.h2 = conn.machine
	conn.h2.Start()
	conn.state = starting
	l.soil(c)
	l.receive(c, true) // what came with the handshake makes no event
}

// stand takes a connection into use. What it was ready before the loop looked is lag of the loop.
func (l *loop) stand(c int32, since time.Duration) {
	conn := &l.conns[c]
	if conn.state != starting {
		return
	}
	l.dials--
	l.stands++
	conn.state, conn.since = standing, since
	l.touch(c)
}

// undialed deals with a connection that did not come to stand. The request that it was dialed for ends with it; where no
// connection stands, so does the one that has waited longest.
func (l *loop) undialed(c int32, outcome traffic.Outcome, class string) {
	conn := &l.conns[c]
	conn.retry = l.clock() + backOff
	i := conn.flight
	if i == none && l.Reuse == Keep && l.stands == 0 && l.queue.n > 0 {
		i = l.unqueue(l.queue.head)
	}
	if i != none {
		l.conclude(i, outcome, class, l.clock())
	}
	l.close(c)
	if i == none && l.Reuse == Keep { // nobody waited: it rests until somebody needs it
		l.rest(c)
	}
}

// backOff is how long a closed loop leaves a connection alone that could not be dialed: each attempt costs it a request.
const backOff = 100 * time.Millisecond

// sweepDials ends the dials that take longer than a request may. Goroutines have their own bound.
func (l *loop) sweepDials() {
	if l.now-l.swept < sweep {
		return
	}
	l.swept = l.now
	for c := range l.conns {
		conn := &l.conns[c]
		if (conn.state == dialing && l.connector != nil && l.TLS == nil || conn.state == starting) && l.now-conn.since > l.Timeout {
			l.figures.dial.fail()
			l.undialed(int32(c), traffic.Timeout, ConnectTimeout)
		}
	}
}

// secure is TLS over a connection of a reactor: crypto/tls reads and writes through it, and what the peer does not take yet
// waits here. During the handshake it stands on the net.Conn itself.
type secure struct {
	tls *tls.Conn
	net.Conn
	reactor reactor // nil during the handshake
	conn    int32
	out     []byte
	came    time.Duration // when the last bytes came, also those that are still to be decrypted; 0 where that is not known
}

// handshake does the TLS handshake. Its error is a handshakeError, or the context's.
func handshake(ctx context.Context, tcp *net.TCPConn, config *tls.Config) (*secure, error) {
	s := &secure{Conn: tcp}
	s.tls = tls.Client(s, config)
	if err := s.tls.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.DeadlineExceeded
		}
		return nil, &handshakeError{err}
	}
	return s, nil
}

// join hands the connection to a reactor.
func (s *secure) join(r reactor, c int32) { s.reactor, s.conn = r, c }

// Read is crypto/tls's side: a temporary error where nothing has come, after which it goes on.
func (s *secure) Read(b []byte) (int, error) {
	if s.reactor == nil {
		return s.Conn.Read(b)
	}
	n, came, err := s.reactor.read(s.conn, b)
	if n > 0 {
		s.came = came
	}
	return n, err
}

// Write is crypto/tls's side: it keeps what is written for flush, as crypto/tls cannot go on with a part of a record.
func (s *secure) Write(b []byte) (int, error) {
	if s.reactor == nil {
		return s.Conn.Write(b)
	}
	s.out = append(s.out, b...)
	return len(b), nil
}

// read gives what has come, decrypted, and when the last of it came. Of an end, or of nothing, that is not known: what was read
// before says nothing of it.
func (s *secure) read(b []byte) (int, time.Duration, error) {
	n, err := s.tls.Read(b)
	if n == 0 {
		return 0, 0, err
	}
	return n, s.came, err
}

// enough is how much may wait for the peer before more is taken.
const enough = 1 << 20

// write takes b, encrypts it and sends it as far as the peer takes it.
func (s *secure) write(b []byte) (n int, err error) {
	for n < len(b) {
		if len(s.out) > enough {
			return n, errAgain
		}
		k, err := s.tls.Write(b[n:min(len(b), n+enough)])
		if n += k; err != nil {
			return n, err
		}
		if err := s.flush(); err != nil && err != errAgain {
			return n, err
		}
	}
	return n, nil
}

// flush sends what waits.
func (s *secure) flush() error {
	n, err := s.reactor.write(s.conn, s.out)
	s.out = s.out[:copy(s.out, s.out[n:])]
	return err
}
