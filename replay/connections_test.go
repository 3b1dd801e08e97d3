package replay

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// seen is a handler that notes which connection each id came on.
type seen struct {
	mu    sync.Mutex
	conns map[string][]string // by remote address, in their order
	hold  time.Duration
	proto string
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	if s.conns == nil {
		s.conns = map[string][]string{}
	}
	s.conns[r.RemoteAddr] = append(s.conns[r.RemoteAddr], r.Header.Get(traffic.IDHeader))
	s.proto = r.Proto
	s.mu.Unlock()
	<-time.After(s.hold)
	io.WriteString(w, "hello")
}

// all is what was noted so far.
func (s *seen) all() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.conns)
}

// last is the protocol of the last request.
func (s *seen) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proto
}

// both serves HTTP/1.1 and HTTP/2 with prior knowledge.
func both(t *testing.T, h http.Handler) string {
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestFreshConnections(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var s seen
		const n = 40
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Connections: 4, Reuse: Fresh, Timeout: 20 * time.Second}, every(n, 100*time.Microsecond, same(get("/"))))
		if got := m.outcomes(); got["ok"] != n || len(s.all()) != n {
			t.Errorf("outcomes %v on %d connections, want %d on as many", got, len(s.all()), n)
		}
	})
}

func TestAConnectionForEachSession(t *testing.T) {
	for _, protocol := range []Protocol{HTTP1, H2C} {
		t.Run(string(protocol), func(t *testing.T) {
			eachPath(t, func(t *testing.T, portable bool) {
				var s seen
				const n, sessions = 60, 6
				request := func(i int) traffic.Request {
					r := get("/")
					r.Session = fmt.Sprint(i % sessions)
					return r
				}
				o := Options{Portable: portable, Address: both(t, &s), Protocol: protocol, Connections: sessions, Reuse: Session, Timeout: 20 * time.Second}
				m := play1(t, o, every(n, 200*time.Microsecond, request))
				if got := m.outcomes(); got["ok"] != n || len(s.all()) != sessions {
					t.Fatalf("outcomes %v on %d connections, want %d on %d", got, len(s.all()), n, sessions)
				}
				for remote, ids := range s.all() {
					if len(ids) != n/sessions {
						t.Errorf("%s carried %d requests, want those of one session", remote, len(ids))
					}
				}
			})
		})
	}
}

// With fewer connections than sessions, one that is idle gives its place up, and every request is still sent.
func TestMoreSessionsThanConnections(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var s seen
		const n = 90
		request := func(i int) traffic.Request {
			r := get("/")
			if i%10 > 0 { // the others have no session, and are one each
				r.Session = fmt.Sprint(i % 30)
			}
			return r
		}
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Connections: 3, Reuse: Session, Timeout: 20 * time.Second}, every(n, 50*time.Microsecond, request))
		if got := m.outcomes(); got["ok"] != n {
			t.Errorf("outcomes %v, want %d ok", got, n)
		}
	})
}

func TestHTTP2(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := seen{hold: 5 * time.Millisecond}
		const n = 300
		request := func(i int) traffic.Request {
			return traffic.Request{Method: "POST", Scheme: "http", Authority: "a.example.com", Path: "/", Body: []byte(strings.Repeat("z", i*500))}
		}
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Protocol: H2C, Connections: 2, Streams: 20, Timeout: 30 * time.Second}, every(n, 50*time.Microsecond, request))
		if got := m.outcomes(); got["ok"] != n || len(s.all()) != 2 || s.last() != "HTTP/2.0" {
			t.Errorf("outcomes %v on %d connections of %s, want %d on 2 of HTTP/2.0", got, len(s.all()), s.last(), n)
		}
		for _, r := range m.rows {
			if !(r.Due <= r.Sent && r.Sent <= r.FirstByte && r.FirstByte <= r.LastByte && r.End == r.LastByte) || r.RequestBytes < int64(len(r.Path)) || r.ResponseBytes < 5 {
				t.Fatalf("row %+v", r)
			}
		}
	})
}

// Over TLS the server chooses the protocol.
func TestALPN(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		for _, want := range []string{"HTTP/2.0", "HTTP/1.1"} {
			var s seen
			server := httptest.NewUnstartedServer(&s)
			server.EnableHTTP2 = want == "HTTP/2.0"
			server.StartTLS()
			config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			config.ServerName = "example.com"
			request := func(i int) traffic.Request {
				return traffic.Request{Method: "POST", Scheme: "https", Authority: "example.com", Path: "/", Body: []byte(strings.Repeat("z", i*3000))}
			}
			const n = 50
			m := play1(t, Options{Portable: portable, Address: server.Listener.Addr().String(), TLS: config, Protocol: ALPN, Connections: 2, Streams: 10, Timeout: 30 * time.Second},
				every(n, time.Millisecond, request))
			if got := m.outcomes(); got["ok"] != n || s.last() != want {
				t.Errorf("outcomes %v by %s, want %d by %s", got, s.last(), n, want)
			}
			server.Close()
		}
	})
}

// What is due while the only connection is taken is queued up to the limit, dropped, or ends the run.
func TestOverload(t *testing.T) {
	const n = 50
	for name, c := range map[string]struct {
		o    Options
		want map[string]int
	}{
		"queue": {Options{Overload: QueueUp, Queue: 10}, map[string]int{"timeout timeout_headers": 1, "timeout timeout_queue": 10, "unsent queue_full": n - 11}},
		"drop":  {Options{Overload: Drop}, map[string]int{"timeout timeout_headers": 1, "unsent dropped": n - 1}},
		"abort": {Options{Overload: AbortRun}, map[string]int{"timeout timeout_headers": 1, "unsent aborted": n - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, portable bool) {
				o := c.o
				o.Portable, o.Connections, o.Timeout = portable, 1, 400*time.Millisecond
				o.Address = raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
					if readRequest(r) {
						io.Copy(io.Discard, r)
					}
				})
				var m memory
				start := time.Now().Add(100 * time.Millisecond) // the connection stands by then, or the test waits for nothing
				played, err := transport(t, o).Play(t.Context(), start, every(n, time.Microsecond, same(get("/"))), &m)
				if err != nil {
					t.Fatal(err)
				}
				if got := m.outcomes(); fmt.Sprint(got) != fmt.Sprint(c.want) || played.Planned != n {
					t.Errorf("outcomes %v of %d planned, want %v", got, played.Planned, c.want)
				}
				if (played.Aborted != "") != (c.o.Overload == AbortRun) {
					t.Errorf("aborted: %q", played.Aborted)
				}
			})
		})
	}
}

// A request that was due and waited when the run was stopped is told from one that nobody asked for any more.
func TestStopTellsWhoWaited(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		sent := make(chan struct{})
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if readRequest(r) {
				close(sent)
				io.Copy(io.Discard, r)
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			<-sent
			<-time.After(50 * time.Millisecond) // by then the second one waits
			stop()
		}()
		plan := func(yield func(Item, error) bool) {
			for _, due := range []time.Duration{0, time.Microsecond, time.Hour} {
				if !yield(Item{ID: due.String(), Due: due, Request: ptr(get("/"))}, nil) {
					return
				}
			}
		}
		var m memory
		o := Options{Portable: portable, Address: address, Connections: 1, Timeout: time.Second}
		if _, err := transport(t, o).Play(ctx, time.Now(), plan, &m); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(m.outcomes()), "map[timeout timeout_headers:1 unsent stopped:1 unsent stopped_in_queue:1]"; got != want {
			t.Errorf("outcomes %s, want %s", got, want)
		}
	})
}

func TestSeveralLoops(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var s seen
		const n = 400
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Connections: 5, Loops: 3, Timeout: 20 * time.Second}, every(n, 20*time.Microsecond, same(get("/"))))
		ids, conns := map[string]bool{}, map[int]bool{}
		for _, r := range m.rows {
			ids[r.ID] = true
			conns[r.Conn] = true
		}
		if got := m.outcomes(); got["ok"] != n || len(ids) != n || len(s.all()) != 5 || len(conns) != 5 {
			t.Errorf("outcomes %v, %d ids, %d connections, %d in the rows", got, len(ids), len(s.all()), len(conns))
		}
	})
}

func TestAddressesInTurnFromTheSource(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var mu sync.Mutex
		local, remote := map[string]bool{}, map[string]bool{}
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			local[r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()] = true
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			remote[host] = true
		}))
		server.Listener.Close()
		server.Listener = l
		server.Start()
		defer server.Close()
		source := netip.MustParseAddr("127.0.0.1")
		tr := transport(t, Options{Portable: portable, Connections: 4, Timeout: 20 * time.Second, Source: source, Address: "127.0.0.1:1"}).(*engine)
		port := netip.MustParseAddrPort(l.Addr().String()).Port()
		tr.resolve = func(context.Context, string) ([]netip.AddrPort, time.Duration, error) {
			return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port)}, time.Millisecond, nil
		}
		var m memory
		played, err := tr.Play(t.Context(), time.Now().Add(50*time.Millisecond), every(8, time.Millisecond, same(get("/"))), &m)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(local) != 2 || len(remote) != 1 || !remote["127.0.0.1"] || len(played.Connections.Addresses) != 2 || played.Connections.Resolve != time.Millisecond || played.Connections.Dial.Count < 4 {
			t.Errorf("reached %v from %v, played %+v", local, remote, played)
		}
	})
}

// While a server holds all streams, what waits is the server's doing, not lag of the generator.
func TestWaitingForAStreamIsNoLag(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := seen{hold: 100 * time.Millisecond}
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Protocol: H2C, Connections: 1, Streams: 4, Timeout: 30 * time.Second}, every(16, time.Millisecond, same(get("/"))))
		var waited, lag time.Duration
		for _, r := range m.rows {
			waited, lag = max(waited, r.Sent-r.Due), max(lag, r.Lag())
		}
		if got := m.outcomes(); got["ok"] != 16 || waited < 250*time.Millisecond || lag > waited/2 {
			t.Errorf("outcomes %v; waited up to %v for a stream, of which %v is said to be the generator's lag", got, waited, lag)
		}
	})
}

// A closed loop sends each request on a connection of its own where that is asked for.
func TestClosedLoopOnFreshConnections(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var s seen
		const n = 60
		m := play1(t, Options{Portable: portable, Address: both(t, &s), Connections: 3, Reuse: Fresh, Timeout: 20 * time.Second, Until: time.Minute}, closed(n))
		if got := m.outcomes(); got["ok"] != n || len(s.all()) != n {
			t.Errorf("outcomes %v on %d connections, want %d on as many", got, len(s.all()), n)
		}
	})
}

// closed plans n requests of a closed loop.
func closed(n int) Plan {
	return func(yield func(Item, error) bool) {
		for i := range n {
			if !yield(Item{ID: ID(1, uint64(i)), Phase: traffic.PhaseStage, Due: AsSoonAsPossible, Request: ptr(get("/"))}, nil) {
				return
			}
		}
	}
}

// A closed loop tells of each attempt that fails, and goes on when the server is there.
func TestClosedLoopOutlivesItsServer(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		refused := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			select {
			case <-refused:
			case <-ctx.Done():
				return
			}
			l, err := net.Listen("tcp", address)
			if err != nil {
				return // the port went to somebody else, and the test says what it saw
			}
			server := &http.Server{Handler: &seen{}}
			go server.Serve(l)
			<-ctx.Done()
			server.Close()
		}()
		r := &untilOK{refused: refused, stop: stop}
		o := Options{Portable: portable, Address: address, Connections: 3, Timeout: 20 * time.Second, Until: 30 * time.Second}
		if _, err := transport(t, o).Play(ctx, time.Now(), closed(1<<30), r); err != nil {
			t.Fatal(err)
		}
		if got := r.outcomes(); got["error connect_refused"] == 0 || got["ok"] == 0 {
			t.Errorf("outcomes %v, want some refused and then some ok", got)
		}
	})
}

// untilOK is a Recorder that tells of the first refused request, and stops the run with the first one that was answered.
type untilOK struct {
	memory
	once    sync.Once
	refused chan struct{}
	stop    func()
}

func (u *untilOK) Record(rows []traffic.Result) {
	u.memory.Record(rows)
	for _, r := range rows {
		switch {
		case r.Error == ConnectRefused:
			u.once.Do(func() { close(u.refused) })
		case r.Outcome == traffic.OK:
			u.stop()
		}
	}
}

// A response that the end of the connection ends is over when that comes, not when what it says before came.
func TestTheEndOfAResponseIsWhenItCame(t *testing.T) {
	const wait = 200 * time.Millisecond
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
		out.Flush()
		<-time.After(wait)
	})
	for name, start := range map[string]func(*httptest.Server){"in the clear": (*httptest.Server).Start, "tls": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, portable bool) {
				server := httptest.NewUnstartedServer(handler)
				start(server)
				defer server.Close()
				o := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 2, Timeout: 20 * time.Second}
				if server.TLS != nil {
					o.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
					o.TLS.ServerName = "example.com"
				}
				m := play1(t, o, every(4, time.Millisecond, same(get("/"))))
				for _, r := range m.rows {
					if r.Outcome != traffic.OK || r.ServiceTime() < wait {
						t.Errorf("%s %s after %v, less than %v", r.Outcome, r.Error, r.ServiceTime(), wait)
					}
				}
			})
		})
	}
}
