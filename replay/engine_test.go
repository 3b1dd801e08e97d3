package replay

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// memory is a Recorder for tests.
type memory struct {
	sync.Mutex
	rows []traffic.Result
}

func (m *memory) Record(rows []traffic.Result) {
	m.Lock()
	defer m.Unlock()
	m.rows = append(m.rows, rows...)
}

func (m *memory) outcomes() map[string]int {
	out := map[string]int{}
	for _, r := range m.rows {
		out[strings.TrimSuffix(string(r.Outcome)+" "+r.Error, " ")]++
	}
	return out
}

func get(path string) traffic.Request {
	return traffic.Request{Method: "GET", Scheme: "http", Authority: "a.example.com", Path: path}
}

// every plans n requests, one each gap.
func every(n int, gap time.Duration, request func(i int) traffic.Request) Plan {
	return func(yield func(Item, error) bool) {
		for i := range n {
			if !yield(Item{ID: ID(1, uint64(i)), Phase: traffic.PhaseStage, Due: time.Duration(i) * gap, Request: ptr(request(i))}, nil) {
				return
			}
		}
	}
}

func ptr(r traffic.Request) *traffic.Request { return &r }

func same(r traffic.Request) func(int) traffic.Request { return func(int) traffic.Request { return r } }

func play1(t *testing.T, o Options, plan Plan) *memory {
	t.Helper()
	var m memory
	if _, err := transport(t, o).Play(t.Context(), time.Now().Add(10*time.Millisecond), plan, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func transport(t *testing.T, o Options) Transport {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eachPath runs a test on every path that this system has.
func eachPath(t *testing.T, test func(t *testing.T, portable bool)) {
	if fastName != "" {
		t.Run("fast", func(t *testing.T) { test(t, false) })
	}
	t.Run("portable", func(t *testing.T) { test(t, true) })
}

// raw serves each connection with serve, which closes it by returning.
func raw(t *testing.T, serve func(n int, c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); group.Wait() })
	return l.Addr().String()
}

// readRequest reads one request, false at the end of the connection.
func readRequest(r *bufio.Reader) bool {
	q, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, q.Body)
	return err == nil
}

func TestEveryRequestArrivesOnceAsPlanned(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var mu sync.Mutex
		seen := map[string]string{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			seen[r.Header.Get(traffic.IDHeader)] += fmt.Sprint(r.Method, " ", r.Host, r.RequestURI, " ", r.Header.Get("X-A"), " ", string(body))
			io.WriteString(w, "hello")
		}))
		defer server.Close()
		const n = 500
		m := play1(t, Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 8, Timeout: 30 * time.Second},
			every(n, 100*time.Microsecond, func(i int) traffic.Request {
				return traffic.Request{Method: "POST", Authority: "a.example.com", Path: fmt.Sprintf("/p?i=%d", i), Headers: []traffic.Header{{"x-a", "b"}, {"Content-Length", "99"}},
					Body: []byte(strings.Repeat("z", i))}
			}))
		mu.Lock()
		defer mu.Unlock()
		if len(m.rows) != n || len(seen) != n {
			t.Fatalf("%d rows, %d ids seen, want %d", len(m.rows), len(seen), n)
		}
		for _, r := range m.rows {
			if r.Outcome != traffic.OK || r.Status != 200 {
				t.Fatalf("row %+v", r)
			}
			if !(r.Due <= r.Sent && r.Sent <= r.FirstByte && r.FirstByte <= r.LastByte && r.End == r.LastByte) {
				t.Errorf("instants out of order: %+v", r)
			}
		}
		for i := range n {
			if got, want := seen[ID(1, uint64(i))], fmt.Sprintf("POST a.example.com/p?i=%d b %s", i, strings.Repeat("z", i)); got != want {
				t.Fatalf("request %d arrived as %q, want %q", i, got, want)
			}
		}
	})
}

func TestOutcomes(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		answer := func(text string) func(int, net.Conn, *bufio.Reader) {
			return func(_ int, c net.Conn, r *bufio.Reader) {
				for readRequest(r) {
					io.WriteString(c, text)
				}
			}
		}
		once := func(text string) func(int, net.Conn, *bufio.Reader) {
			return func(_ int, c net.Conn, r *bufio.Reader) {
				if readRequest(r) {
					io.WriteString(c, text)
				}
			}
		}
		stall := func(text string) func(int, net.Conn, *bufio.Reader) {
			return func(_ int, c net.Conn, r *bufio.Reader) {
				if readRequest(r) {
					io.WriteString(c, text)
					io.Copy(io.Discard, r)
				}
			}
		}
		for name, c := range map[string]struct {
			serve  func(int, net.Conn, *bufio.Reader)
			want   string
			status int
		}{
			"ok":                    {answer(ok), "ok", 200},
			"any status":            {answer("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "ok", 503},
			"chunked with trailers": {answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n"), "ok", 200},
			"until close":           {once("HTTP/1.1 200 OK\r\n\r\nall of it"), "ok", 200},
			"interim responses":     {answer("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + ok), "ok", 200},
			"connection: close":     {once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), "ok", 200},
			"closed at once":        {once(""), "error closed", 0},
			"closed in the head":    {once("HTTP/1.1 200 OK\r\nContent-"), "error closed", 200},
			"closed in the body":    {once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), "error closed", 200},
			"garbage":               {once("SSH-2.0-OpenSSH\r\n\r\n"), "error malformed", 0},
			"bad chunk":             {once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "error malformed", 200},
			"stalled before head":   {stall(""), "timeout timeout_headers", 0},
			"stalled in the head":   {stall("HTTP/1.1 200 OK\r\nA: "), "timeout timeout_headers", 200},
			"stalled in the body":   {stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), "timeout timeout_body", 200},
			"reset": {func(_ int, c net.Conn, r *bufio.Reader) {
				if readRequest(r) {
					c.(*net.TCPConn).SetLinger(0)
				}
			}, "error reset", 0},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				const n = 3
				timeout := 20 * time.Second
				if strings.HasPrefix(c.want, "timeout") {
					timeout = 150 * time.Millisecond
				}
				m := play1(t, Options{Portable: portable, Address: raw(t, c.serve), Connections: n, Timeout: timeout}, every(n, 0, same(get("/"))))
				if got := m.outcomes(); got[c.want] != n {
					t.Errorf("outcomes %v, want %d × %q", got, n, c.want)
				}
				for _, r := range m.rows {
					if r.Status != c.status {
						t.Errorf("status %d, want %d", r.Status, c.status)
					}
					if r.Outcome == traffic.Timeout && r.ResponseTime() < timeout {
						t.Errorf("timed out after %v, less than %v", r.ResponseTime(), timeout)
					}
					if r.Outcome != traffic.OK && r.LastByte != traffic.Never {
						t.Errorf("no whole response, and a last byte: %+v", r)
					}
				}
			})
		}
	})
}

func TestNobodyListens(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		m := play1(t, Options{Portable: portable, Address: l.Addr().String(), Connections: 2, Timeout: 5 * time.Second}, every(5, time.Millisecond, same(get("/"))))
		if got := m.outcomes(); got["error connect_refused"] != 5 {
			t.Errorf("outcomes %v, want 5 × connect_refused", got)
		}
		for _, r := range m.rows {
			if r.Sent != traffic.Never {
				t.Error("a refused request was sent")
			}
		}
	})
}

// A server that closes an idle connection must not make the next request fail, nor be sent it twice.
func TestIdleConnectionClosedByTheServer(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		closed := make(chan struct{})
		var served atomic.Int64
		address := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
			if !readRequest(r) {
				return
			}
			served.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.Close()
			if n == 0 {
				close(closed)
			}
		})
		plan := func(yield func(Item, error) bool) {
			for i := range 2 {
				if i == 1 {
					<-closed
				}
				if !yield(Item{ID: ID(1, uint64(i)), Due: time.Duration(i) * 50 * time.Millisecond, Request: ptr(get("/"))}, nil) {
					return
				}
			}
		}
		m := play1(t, Options{Portable: portable, Address: address, Connections: 1, Timeout: 20 * time.Second}, plan)
		if got := m.outcomes(); got["ok"] != 2 || served.Load() != 2 {
			t.Errorf("outcomes %v, served %d, want 2 and 2", got, served.Load())
		}
	})
}

// With one connection and a server that holds it, what waits behind is timed from its due instant, and never sent.
func TestWaitingCounts(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if readRequest(r) {
				io.Copy(io.Discard, r)
			}
		})
		m := play1(t, Options{Portable: portable, Address: address, Connections: 1, Timeout: 200 * time.Millisecond}, every(4, time.Microsecond, same(get("/"))))
		got := m.outcomes()
		if got["timeout timeout_headers"] != 1 || got["timeout timeout_headers"]+got["timeout timeout_queue"] != 4 {
			t.Errorf("outcomes %v, want one sent and all timed out", got)
		}
		for _, r := range m.rows {
			if r.Error == TimeoutQueue && (r.Sent != traffic.Never || r.Lag() != 0) {
				t.Errorf("a request that waited to its end: %+v", r)
			}
		}
	})
}

func TestStopGivesTheRestAsUnsent(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		ctx, stop := context.WithCancel(t.Context())
		plan := func(yield func(Item, error) bool) {
			for item, err := range every(1000, 2*time.Millisecond, same(get("/"))) {
				if item.Due > 20*time.Millisecond {
					stop()
				}
				if !yield(item, err) {
					return
				}
			}
		}
		var m memory
		p := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 2, Timeout: 20 * time.Second}
		if _, err := transport(t, p).Play(ctx, time.Now(), plan, &m); err != nil {
			t.Fatal(err)
		}
		got := m.outcomes()
		if got["ok"]+got["unsent stopped"]+got["unsent stopped_in_queue"] != 1000 || got["unsent stopped"] < 900 {
			t.Errorf("outcomes %v, want 1000 in all, nearly all unsent", got)
		}
	})
}

// slow is a Recorder that holds up its caller, as a slow disk does.
type slow struct{ memory }

func (s *slow) Record(rows []traffic.Result) {
	s.memory.Record(rows)
	<-time.After(20 * time.Millisecond)
}

// What the client's own bookkeeping takes is lag of the generator, not a wait for the server.
func TestTheClientsOwnStallsAreLag(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		var s slow
		p := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 1, Timeout: 20 * time.Second}
		if _, err := transport(t, p).Play(t.Context(), time.Now(), every(300, time.Millisecond, same(get("/"))), &s); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(s.rows, func(r traffic.Result) bool { return max(r.Lag(), r.ReadLag) >= 15*time.Millisecond }) {
			t.Error("the recorder held the loop up for 20 ms, and no request lagged")
		}
	})
}

// A closed loop ends at its time, with a plan that has no end.
func TestClosedLoopEnds(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		plan := func(yield func(Item, error) bool) {
			for i := uint64(0); yield(Item{ID: ID(1, i), Due: AsSoonAsPossible, Request: ptr(get("/"))}, nil); i++ {
			}
		}
		var m memory
		o := Options{Portable: portable, Address: both(t, &seen{}), Connections: 3, Loops: 2, Timeout: 20 * time.Second, Until: 100 * time.Millisecond}
		played, err := transport(t, o).Play(t.Context(), time.Now(), plan, &m)
		if got := m.outcomes(); err != nil || got["ok"] != len(m.rows) || played.Planned != len(m.rows) {
			t.Errorf("%v: outcomes %v of %d planned", err, got, played.Planned)
		}
	})
}

// stalls is a Recorder that holds its caller up once, for a long time.
type stalls struct {
	memory
	once sync.Once
}

func (s *stalls) Record(rows []traffic.Result) {
	s.memory.Record(rows)
	s.once.Do(func() { <-time.After(500 * time.Millisecond) })
}

// A client that was stopped is late for every request that fell due meanwhile, also for those that then wait for one of its
// few connections, and for those that fell due later and wait behind them: else a stalled client would look like a slow server.
func TestAStalledClientIsLateForAllThatFellDue(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var s stalls
		o := Options{Portable: portable, Address: both(t, &seen{hold: 3 * time.Millisecond}), Connections: 2, Timeout: 20 * time.Second}
		if _, err := transport(t, o).Play(t.Context(), time.Now().Add(50*time.Millisecond), every(500, 4*time.Millisecond, same(get("/"))), &s); err != nil {
			t.Fatal(err)
		}
		late, blamed := 0, 0
		for _, r := range s.rows {
			if r.Sent-r.Due > 100*time.Millisecond {
				late++
				if r.Lag() > (r.Sent-r.Due)/3 {
					blamed++
				}
			}
		}
		if late < 50 || blamed < late*9/10 {
			t.Errorf("%d requests were sent late, and the client's lag is behind %d of them", late, blamed)
		}
	})
}

// A stop ends the wait for a request that is due much later.
func TestStopEndsALongWait(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		ctx, stop := context.WithCancel(t.Context())
		var m memory
		plan := func(yield func(Item, error) bool) {
			if yield(Item{ID: "now", Request: ptr(get("/"))}, nil) {
				go stop()
				yield(Item{ID: "later", Due: time.Hour, Request: ptr(get("/"))}, nil)
			}
		}
		p := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 1, Timeout: 20 * time.Second}
		if _, err := transport(t, p).Play(ctx, time.Now(), plan, &m); err != nil {
			t.Fatal(err)
		}
		if got := m.outcomes(); got["unsent stopped"] == 0 || len(m.rows) != 2 {
			t.Errorf("outcomes %v", got)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var most, now atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}))
		defer server.Close()
		const n = 300
		plan := iter.Seq2[Item, error](func(yield func(Item, error) bool) {
			for i := uint64(0); i < n && yield(Item{ID: ID(1, i), Due: AsSoonAsPossible, Request: ptr(get("/"))}, nil); i++ {
			}
		})
		var m memory
		o := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 3, Timeout: 20 * time.Second, Until: time.Minute}
		played, err := transport(t, o).Play(t.Context(), time.Now().Add(10*time.Millisecond), plan, &m)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.outcomes()["ok"]; got != played.Planned || got != len(m.rows) || got != n {
			t.Errorf("%d ok of %d planned, %d rows", got, played.Planned, len(m.rows))
		}
		if most.Load() > 3 {
			t.Errorf("%d requests at a time on 3 connections", most.Load())
		}
		if slices.ContainsFunc(m.rows, func(r traffic.Result) bool { return r.Due < 0 || r.Due != r.Sent || r.Lag() != 0 }) {
			t.Error("a closed loop's request is due when it is sent")
		}
	})
}

func TestPlanErrorEndsTheRun(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		plan := func(yield func(Item, error) bool) {
			if yield(Item{ID: "a", Request: ptr(get("/"))}, nil) {
				yield(Item{}, io.ErrUnexpectedEOF)
			}
		}
		var m memory
		_, err := transport(t, Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 1, Timeout: time.Second}).Play(t.Context(), time.Now(), plan, &m)
		if err != io.ErrUnexpectedEOF || len(m.rows) != 1 {
			t.Errorf("error %v and %d rows", err, len(m.rows))
		}
	})
}

func TestHTTPS(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName, config.NextProtos = "example.com", nil
		p := Options{Portable: portable, Address: server.Listener.Addr().String(), TLS: config, Connections: 2, Timeout: 20 * time.Second}
		if got := play1(t, p, every(10, time.Millisecond, same(get("/")))).outcomes(); got["ok"] != 10 {
			t.Errorf("outcomes %v", got)
		}
		config.ServerName = "other.invalid"
		if got := play1(t, p, every(2, time.Millisecond, same(get("/")))).outcomes(); got["error tls"] != 2 {
			t.Errorf("with another name: %v, want tls errors", got)
		}
	})
}

func TestCheckRequest(t *testing.T) {
	good := get("/a?b=%20c")
	if err := CheckRequest(&good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*traffic.Request){
		"method":       func(r *traffic.Request) { r.Method = "GET /" },
		"CONNECT":      func(r *traffic.Request) { r.Method = "CONNECT" },
		"path space":   func(r *traffic.Request) { r.Path = "/a b" },
		"path newline": func(r *traffic.Request) { r.Path = "/a\r\nX: 1" },
		"no path":      func(r *traffic.Request) { r.Path = "" },
		"authority":    func(r *traffic.Request) { r.Authority = "a\r\nb" },
		"header name":  func(r *traffic.Request) { r.Headers = []traffic.Header{{"a b", "c"}} },
		"header value": func(r *traffic.Request) { r.Headers = []traffic.Header{{"a", "b\nc"}} },
	} {
		r := good
		change(&r)
		if CheckRequest(&r) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
