package http2

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

// client plays requests on one connection, as many at once as it may, and keeps what became of each by its index.
type client struct {
	c        *Conn
	conn     net.Conn
	requests []traffic.Request
	next     int  // the request to open next
	ready    bool // the server's SETTINGS have come
	eager    bool // do not wait for them
	begun    []int
	done     map[int32]event
	cut      []int32       // those that the connection's end left open
	head     []byte        // reused for each
	arrived  chan []byte   // what the connection brings; closed with it
	stop     chan struct{} // closed when nobody takes what arrived any more
}

func (h *client) Begin(tag int32) { h.begun[tag]++ }

func (h *client) End(tag int32, e Exchange) { h.done[tag] = event{Kind: "end", Exchange: e} }

func (h *client) Reset(tag int32, e Exchange, code uint32, unprocessed bool) {
	h.done[tag] = event{"reset", tag, e, code, unprocessed}
}

func (h *client) Ready() { h.ready = true }

// play plays the requests against net/http's server, of so many streams, over loopback. It waits until both sides have
// ended.
func play(t *testing.T, handler http.Handler, allowed, streams int, eager bool, requests []traffic.Request) *client {
	t.Helper()
	h := &client{c: New(streams), requests: requests, eager: eager, begun: make([]int, len(requests)), done: map[int32]event{},
		arrived: make(chan []byte), stop: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: h2c, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: allowed}}
	var both sync.WaitGroup
	both.Go(func() { server.Serve(l) }) // until Close
	defer both.Wait()
	defer server.Close()
	if h.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	h.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	both.Go(h.read)
	h.c.Start()
	err = h.run()
	close(h.stop)
	h.conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *client) read() {
	defer close(h.arrived)
	for {
		b := make([]byte, 50_000)
		n, err := h.conn.Read(b)
		if err != nil {
			return
		}
		select {
		case h.arrived <- b[:n]:
		case <-h.stop:
			return
		}
	}
}

// run opens, writes and feeds until every request has ended or the connection has.
func (h *client) run() error {
	for {
		for (h.ready || h.eager) && h.next < len(h.requests) && h.c.Free() > 0 {
			r := &h.requests[h.next]
			h.head, _ = AppendHead(h.head[:0], "http", r, strconv.Itoa(h.next))
			h.c.Open(int32(h.next), h.head, r.Body)
			h.next++
		}
		for b := h.c.Out(); len(b) > 0; b = h.c.Out() {
			n, err := h.conn.Write(b)
			if err != nil {
				return err
			}
			h.c.Wrote(n)
		}
		if h.c.Active() == 0 && (h.next == len(h.requests) || h.c.Closing()) {
			return nil
		}
		b, ok := <-h.arrived
		if !ok {
			h.c.Abandon(func(tag int32, _ Exchange) { h.cut = append(h.cut, tag) })
			return nil
		}
		if err := h.c.Feed(b, h); err != nil {
			return err
		}
	}
}

// app answers as the path says, and keeps what it saw of each request, by id.
type app struct {
	lock sync.Mutex
	saw  map[string]string
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	if r.URL.Path != "/early" {
		io.Copy(hash, r.Body)
	}
	a.lock.Lock()
	a.saw[r.Header.Get(traffic.IDHeader)] = line(r.Method, r.Host, r.RequestURI, r.ContentLength, r.Header.Get("X-Some"), hash.Sum(nil))
	a.lock.Unlock()
	switch r.URL.Path {
	case "/interim":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
	case "/trailers":
		w.Header().Set("Trailer", "X-End")
		defer w.Header().Set("X-End", "yes")
	case "/abort":
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "/refuse":
		panic(http.ErrAbortHandler)
	case "/bye":
		w.Header().Set("Connection", "close") // asks for GOAWAY
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	b := make([]byte, 32<<10)
	for ; n > 0; n -= min(n, len(b)) {
		w.Write(b[:min(n, len(b))])
	}
}

// line is what it saw of a request; empty: nothing.
func (a *app) line(i int) string {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.saw[strconv.Itoa(i)]
}

func line(method, host, path string, length int64, some string, sum []byte) string {
	return fmt.Sprintf("%s %s%s %d %s %x", method, host, path, length, some, sum)
}

// expected is what the app sees of a request.
func expected(r *traffic.Request) string {
	some := ""
	for _, h := range r.Headers {
		some = h[1]
	}
	sum := sha256.Sum256(r.Body)
	return line(r.Method, r.Authority, r.Path, int64(len(r.Body)), some, sum[:])
}

func request(method, path string, body int) traffic.Request {
	b := make([]byte, body)
	for i := range b {
		b[i] = byte(i * i >> 9)
	}
	return traffic.Request{Method: method, Authority: "shop.example", Path: path, Body: b}
}

// TestServer plays a mix of everything on a few connections' worth of streams: each request ends once, with all of its
// body, and the server saw what was sent.
func TestServer(t *testing.T) {
	var requests []traffic.Request
	for i := range 600 {
		r := request("GET", "/?i="+strconv.Itoa(i), 0)
		switch i % 12 {
		case 1:
			r = request("GET", "/?n=70000", 0)
		case 2:
			r = request("POST", "/?n=10", 100)
		case 3:
			r = request("PUT", "/?n=50000", 70_000+i)
		case 4:
			r = request("GET", "/trailers?n=10", 0)
		case 5:
			r = request("GET", "/interim?n=10", 0)
		case 6:
			r = request("HEAD", "/?n=10", 0)
		case 7:
			r = request("GET", "/abort?n=10", 0)
		case 8:
			r.Headers = []traffic.Header{{"X-Some", strings.Repeat("some ", 3000+i) + "end"}} // below the server's limit: one or two frames
		case 9:
			r = request("POST", "/", 0)
		case 10:
			r = request("GET", "/refuse", 0)
		}
		requests = append(requests, r)
	}
	big := []traffic.Request{request("GET", "/?n=50000000", 0), request("POST", "/?n=20000000", 20_000_000), request("POST", "/", 40_000_000)}
	requests = append(append(big, requests...), big...)
	for _, streams := range []int{1, 7, 100} {
		t.Run(fmt.Sprint(streams, " streams"), func(t *testing.T) {
			a := &app{saw: map[string]string{}}
			checkMix(t, play(t, a, 90, streams, false, requests), a)
		})
	}
}

func checkMix(t *testing.T, h *client, a *app) {
	t.Helper()
	if len(h.done) != len(h.requests) || len(h.cut) > 0 {
		t.Fatalf("%d of %d ended, %v were cut off", len(h.done), len(h.requests), h.cut)
	}
	for i := range h.requests {
		r, got := &h.requests[i], h.done[int32(i)]
		if diff := cmp.Diff(expected(r), a.line(i)); diff != "" {
			t.Fatalf("request %d was seen otherwise: %s", i, diff)
		}
		want, begun, code := "end", 1, NoError
		if path, _, _ := strings.Cut(r.Path, "?"); path == "/abort" || path == "/refuse" {
			want, code = "reset", InternalError
			if path == "/refuse" {
				begun = 0
			}
		}
		if got.Kind != want || got.Code != code || h.begun[i] != begun || got.Exchange.Status != 200*begun || got.Unprocessed {
			t.Fatalf("request %d, %s %s: %+v, begun %d times", i, r.Method, r.Path, got, h.begun[i])
		}
		checkBytes(t, r, got)
	}
}

// checkBytes holds the bytes counted against the bodies, with room for heads and frame headers.
func checkBytes(t *testing.T, r *traffic.Request, got event) {
	t.Helper()
	_, query, _ := strings.Cut(r.Path, "n=")
	n, _ := strconv.Atoi(query)
	if r.Method == "HEAD" || got.Kind == "reset" {
		n = 0
	}
	room := int64((n+len(r.Body))/100 + 25_000) // headers of frames, window updates
	if e := got.Exchange; e.In < int64(n) || e.In > int64(n)+room || e.Out < int64(len(r.Body)) || e.Out > int64(len(r.Body))+room {
		t.Errorf("%s %s: %d bytes came and %d went, of bodies of %d and %d", r.Method, r.Path, e.In, e.Out, n, len(r.Body))
	}
}

// TestServerAnswersEarly lets a server answer without taking the body: the response is complete.
func TestServerAnswersEarly(t *testing.T) {
	a := &app{saw: map[string]string{}}
	h := play(t, a, 100, 2, true, []traffic.Request{request("POST", "/early?n=5", 30_000_000), request("GET", "/", 0), request("GET", "/", 0)})
	for i := range int32(3) {
		if got := h.done[i]; got.Kind != "end" || got.Exchange.Status != 200 {
			t.Errorf("request %d: %+v", i, got)
		}
	}
	if e := h.done[0].Exchange; e.Out > 2_000_000 { // the server's window is 1 MiB
		t.Errorf("%d bytes went", e.Out)
	}
}

// TestServerGoesAway asks for the connection's end amid requests: none is lost, and those that the server had not taken
// up are named so.
func TestServerGoesAway(t *testing.T) {
	var requests []traffic.Request
	for i := range 5000 {
		requests = append(requests, request("GET", "/?n=1000", 0))
		if i == 50 {
			requests[i].Path = "/bye"
		}
	}
	a := &app{saw: map[string]string{}}
	h := play(t, a, 100, 20, false, requests)
	if !h.c.Closing() || h.next < 51 || h.next == len(requests) || len(h.done)+len(h.cut) != h.next {
		t.Fatalf("closing %v, opened %d, ended %d, cut off %d", h.c.Closing(), h.next, len(h.done), len(h.cut))
	}
	for tag, got := range h.done {
		seen := a.line(int(tag)) != ""
		if got.Kind == "end" && !seen || got.Unprocessed && seen {
			t.Errorf("request %d: %+v, seen %v", tag, got, seen)
		}
	}
	if h.done[50].Kind != "end" {
		t.Errorf("the request that asked for it: %+v", h.done[50])
	}
}

// TestServerRefusesTooMany opens more streams than the server takes, before its SETTINGS have come.
func TestServerRefusesTooMany(t *testing.T) {
	var requests []traffic.Request
	for range 50 {
		requests = append(requests, request("GET", "/", 0))
	}
	a := &app{saw: map[string]string{}}
	h := play(t, a, 1, 50, true, requests)
	var seen []int
	for tag, got := range h.done {
		if ok := a.line(int(tag)) != ""; ok != (got.Kind == "end") || ok == got.Unprocessed {
			t.Errorf("request %d: %+v, seen %v", tag, got, ok)
		} else if ok {
			seen = append(seen, int(tag))
		}
	}
	if len(h.done)+len(h.cut) != 50 || len(seen) == 0 || !slices.Contains(seen, 0) {
		t.Errorf("%d ended, %d cut off, %d seen", len(h.done), len(h.cut), len(seen))
	}
}
