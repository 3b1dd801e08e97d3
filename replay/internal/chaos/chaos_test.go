package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"umbra/internal/traffic"
)

// start starts a server that is closed with the test, after its clients.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// client is net/http's. Over HTTP/1.1 it sends each request once where keep is false.
func client(t *testing.T, h2, keep bool) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: !keep && !h2, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// seen is what a client saw of a request.
type seen struct {
	status  int // 0: no whole response
	timeout bool
}

// ask sends one request, and reads its response to the end.
func ask(ctx context.Context, c *http.Client, s *Server, method, id string, body int) seen {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address()+"/", bytes.NewReader(filling[:body]))
	if err != nil {
		return seen{}
	}
	r.Header.Set(traffic.IDHeader, id)
	response, err := c.Do(r)
	if err != nil {
		return seen{timeout: ctx.Err() != nil}
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return seen{timeout: ctx.Err() != nil}
	}
	return seen{status: response.StatusCode}
}

// askMany sends n requests, eight at once, and gives what was seen of each id.
func askMany(t *testing.T, c *http.Client, s *Server, n int, timeout time.Duration) map[string]seen {
	var mu sync.Mutex
	out := map[string]seen{}
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := w; i < n; i += 8 {
				id := fmt.Sprintf("id-%d", i)
				method := []string{"GET", "POST", "HEAD", "PUT"}[i%4]
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				got := ask(ctx, c, s, method, id, []int{0, 300, 0, 5000}[i%4])
				cancel()
				mu.Lock()
				out[id] = got
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return out
}

// agree holds what the client saw against the ledger. Over HTTP/2 net/http is forgiven that it opens streams that it had
// reserved before it acknowledged a lower limit, that it sends some requests again of which it cannot know that they were
// not processed, and that it takes some garbage for a response.
func agree(t *testing.T, s *Server, saw map[string]seen) {
	t.Helper()
	s.Close()
	if err := s.Faults(); err != nil && !strings.Contains(err.Error(), "streams are open where") {
		t.Errorf("the server blames the client: %v", err)
	}
	last := map[string]Entry{}
	for _, e := range s.Ledger() {
		if before, ok := last[e.ID]; ok && !s.options.HTTP2 {
			t.Errorf("%s came again after %+v", e.ID, before)
		}
		if e.Sure && !e.Whole || e.Whole && (!e.Read || e.Unprocessed || e.Status == 0) {
			t.Errorf("entry %+v contradicts itself", e)
		}
		last[e.ID] = e
	}
	for id, got := range saw {
		e := last[id]
		if s.options.HTTP2 && e.Kind == Garbage {
			continue
		}
		if got.status != 0 && (!e.Whole || e.Status != got.status) {
			t.Errorf("%s: the client saw a whole response of status %d, the ledger has %+v", id, got.status, e)
		}
		if e.Sure && got.status == 0 && !got.timeout {
			t.Errorf("%s: the client saw no response, the ledger has %+v", id, e)
		}
	}
}

// proper are the kinds that end in a response.
func proper(k Kind) bool {
	return slices.Contains([]Kind{Plain, Chunked, Trailers, UntilClose, Interim, NoContent, NotModified, CloseAfter, CloseIdle, Delayed, Dribble, Padded, Continuation, Ping, Limits, HeadStall, Big}, k)
}

// TestKinds: each kind does what it says, as other implementations see it.
func TestKinds(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, kind := range Kinds(h2) {
			t.Run(fmt.Sprintf("http2=%v/%s", h2, kind), func(t *testing.T) {
				t.Parallel()
				s := start(t, Options{HTTP2: h2, Seed: 7, Weights: map[Kind]int{kind: 1}})
				timeout := 60 * time.Second
				if strings.HasPrefix(string(kind), "stall") || kind == Refused || kind == GoAway || kind == GoAwayClose {
					timeout = 100 * time.Millisecond // it is what ends the request
				}
				n := 24
				saw := askMany(t, client(t, h2, false), s, n, timeout)
				agree(t, s, saw)
				answered := 0
				for _, got := range saw {
					if got.status != 0 {
						answered++
					}
				}
				ledger := s.Ledger()
				for _, e := range ledger {
					if e.Kind != kind && e.Kind != beforeBody[kind] {
						t.Errorf("entry %+v has another kind", e)
					}
				}
				switch {
				case kind == Refuse && len(ledger) > 0:
					t.Errorf("a refused connection carried a request: %+v", ledger[0])
				case proper(kind) && (answered != n || len(ledger) != n):
					t.Errorf("%d of %d requests were answered, the ledger has %d", answered, n, len(ledger))
				case !proper(kind) && answered > 0 && !(h2 && kind == Garbage): // net/http takes some of it
					t.Errorf("%d requests were answered", answered)
				}
			})
		}
	}
}

// TestAllAtOnce: with every kind drawn, over connections that are kept, the ledger agrees with what a client saw.
func TestAllAtOnce(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", h2), func(t *testing.T) {
			weights := map[Kind]int{Plain: 10}
			for _, k := range Kinds(h2) {
				weights[k]++
			}
			s := start(t, Options{HTTP2: h2, Seed: 11, Weights: weights})
			// net/http sends a request again on its own, where a connection that it had kept was closed
			saw := askMany(t, client(t, h2, h2), s, 400, 200*time.Millisecond)
			agree(t, s, saw)
		})
	}
}

func TestDrawsFollowSeedAndID(t *testing.T) {
	weights := map[Kind]int{Plain: 1, Chunked: 1, Interim: 1, NoContent: 1}
	kinds := func(seed uint64) map[string]Kind {
		s := start(t, Options{Seed: seed, Weights: weights})
		agree(t, s, askMany(t, client(t, false, true), s, 64, time.Minute))
		out := map[string]Kind{}
		for _, e := range s.Ledger() {
			out[e.ID] = e.Kind
		}
		return out
	}
	first, again, other := kinds(1), kinds(1), kinds(2)
	if fmt.Sprint(first) != fmt.Sprint(again) {
		t.Error("equal seeds drew different kinds")
	}
	if fmt.Sprint(first) == fmt.Sprint(other) {
		t.Error("another seed drew the same 64 kinds")
	}
}

func TestUnknownKind(t *testing.T) {
	for _, c := range []struct {
		h2   bool
		kind Kind
	}{{false, GoAway}, {true, Chunked}, {true, "odd"}} {
		if s, err := Start(Options{HTTP2: c.h2, Weights: map[Kind]int{c.kind: 1}}); err == nil {
			s.Close()
			t.Errorf("http2=%v took %s", c.h2, c.kind)
		}
	}
}

// TestFaults: what a client does wrong is noted.
func TestFaults(t *testing.T) {
	frames := func(write func(*http2.Framer)) string {
		var b bytes.Buffer
		b.WriteString(http2.ClientPreface)
		f := http2.NewFramer(&b, nil)
		f.AllowIllegalWrites = true
		f.WriteSettings()
		write(f)
		return b.String()
	}
	open := func(f *http2.Framer, id uint32) {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {"x-replay-id", fmt.Sprint(id)}} {
			e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
	}
	for _, c := range []struct {
		name, sent, want string
		h2               bool
	}{
		{"no HTTP/1.1", "one two three\r\n\r\n", "reading a request", false},
		{"no id", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "has no X-Replay-Id", false},
		{"no preface", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "begins with", true},
		{"a stream opened twice", frames(func(f *http2.Framer) { open(f, 3); open(f, 1) }), "opened after", true},
		{"a frame too long", frames(func(f *http2.Framer) { open(f, 1); f.WriteData(1, false, filling[:17<<10]) }), "reading a frame", true},
		{"an acknowledgement of nothing", frames(func(f *http2.Framer) { f.WriteSettingsAck(); f.WriteSettingsAck() }), "acknowledged that were not sent", true},
		{"a bad frame", frames(func(f *http2.Framer) { f.WriteWindowUpdate(0, 0) }), "reading a frame", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Options{HTTP2: c.h2, Seed: 3})
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.sent)     // the server may close before it has read all
			conn.(*net.TCPConn).CloseWrite() // likewise
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			io.Copy(io.Discard, conn) // until the server has closed
			s.Close()
			if err := s.Faults(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("faults: %v; want one with %q", err, c.want)
			}
		})
	}
}

// TestCloseEndsStalls: a closed server leaves no connection behind.
func TestCloseEndsStalls(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := start(t, Options{HTTP2: h2, Weights: map[Kind]int{StallInBody: 1}})
		done := make(chan seen)
		go func() { done <- ask(t.Context(), client(t, h2, true), s, "GET", "a", 0) }()
		for len(s.Ledger()) == 0 || s.Ledger()[0].Status == 0 {
			select {
			case got := <-done:
				t.Fatalf("http2=%v: a stalled request ended: %+v", h2, got)
			case <-time.After(time.Millisecond):
			}
		}
		s.Close()
		if got := <-done; got.status != 0 {
			t.Errorf("http2=%v: a stalled request was answered: %+v", h2, got)
		}
	}
}

// TestWindows: a client may go by the SETTINGS that it acknowledged last, or by any that are under way.
func TestWindows(t *testing.T) {
	for _, c := range []struct {
		name      string
		windows   []int64 // of the SETTINGS, the one that is acknowledged first
		granted   int64   // by the last of them
		sent      int64
		forbidden bool
	}{
		{"within", []int64{100}, 100, 100, false},
		{"beyond", []int64{100}, 100, 101, true},
		{"a smaller one is under way", []int64{100, 7}, 7, 100, false},
		{"beyond both", []int64{100, 7}, 7, 101, true},
		{"a larger one is under way", []int64{7, 100}, 100, 100, false},
		{"the largest is between", []int64{7, 100, 50}, 50, 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &conn2{}
			for _, w := range c.windows {
				conn.settings = append(conn.settings, settings{math.MaxInt32, w})
			}
			if ok := conn.debit(&stream{granted: c.granted}, c.sent); ok == c.forbidden {
				t.Errorf("%d bytes in windows %v: allowed %v", c.sent, c.windows, ok)
			}
		})
	}
}
