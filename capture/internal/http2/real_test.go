package http2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"umbra/capture/internal/exchange"
)

// tape records what a connection carries, in the order in which it was written.
type tape struct {
	mu    sync.Mutex
	steps []step
}

// taped is a connection whose writes and end are on tape.
type taped struct {
	net.Conn
	tape *tape
	d    exchange.Direction
}

func (c taped) Write(b []byte) (int, error) {
	c.tape.mu.Lock()
	c.tape.steps = append(c.tape.steps, step{d: c.d, bytes: bytes.Clone(b)})
	c.tape.mu.Unlock()
	return c.Conn.Write(b)
}

// single is a listener that accepts one connection.
type single chan net.Conn

func (s single) Accept() (net.Conn, error) {
	c, ok := <-s
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (s single) Close() error   { close(s); return nil }
func (s single) Addr() net.Addr { return &net.TCPAddr{} }

// TestReal records an exchange of net/http's client and server, and compares it with what the client saw and the server got.
func TestReal(t *testing.T) {
	tape := &tape{}
	client, server := net.Pipe()
	var mu sync.Mutex
	got := map[string]string{} // what the server got, by path
	want := map[string]string{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			panic(http.ErrAbortHandler) // resets the stream
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		got[r.URL.Path] = r.Method + " " + hex.EncodeToString(sum(body)) + " " + r.Header.Get("K")
		mu.Unlock()
		w.Header().Set("Trailer", "Sum")
		w.WriteHeader(200 + len(body)%7)
		w.Write(body)
		w.(http.Flusher).Flush()
		io.WriteString(w, r.URL.Path)
		w.Header().Set("Sum", "1")
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	conns := make(single, 1)
	conns <- taped{server, tape, exchange.FromServer}
	app := &http.Server{Handler: handler, Protocols: protocols}
	served := make(chan error)
	go func() { served <- app.Serve(conns) }()
	dial := func(context.Context, string, string) (net.Conn, error) {
		return taped{client, tape, exchange.FromClient}, nil
	}
	transport := &http.Transport{DialContext: dial, Protocols: protocols, MaxConnsPerHost: 1}
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range 40 {
				path := fmt.Sprintf("/%d/%d", worker, i)
				seen, err := ask(transport, path, random)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				want[path] = seen
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	request, err := http.NewRequest("GET", "http://app/early", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(request); !errors.As(err, new(http2.StreamError)) {
		t.Errorf("the stream was not reset: %v", err)
	}
	transport.CloseIdleConnections()
	app.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	compare(t, tape.steps, want, got)
}

func compare(t *testing.T, steps []step, want, got map[string]string) {
	s := newSink(t)
	o := options(s, false)
	o.Limits.Body = 1 << 20
	feed(New(o), steps)
	s.checkEnd()
	answered := 0
	for _, e := range s.done {
		r := &e.Request
		k, _ := valueOf(r.Headers, "k")
		switch {
		case r.Path == "/early":
			if r.Response != nil {
				t.Errorf("a stream that was reset has the answer %v", r.Response)
			}
			continue
		case r.Method+" "+hex.EncodeToString(sum(r.Body))+" "+k != got[r.Path]:
			t.Errorf("%s: %s %x %s, the server got %s", r.Path, r.Method, sum(r.Body), k, got[r.Path])
		case r.Response == nil:
			t.Errorf("%s has no answer", r.Path)
		case fmt.Sprint(r.Response.Status, " ", r.Response.BodySHA256) != want[r.Path]:
			t.Errorf("%s: %v, the client got %s", r.Path, r.Response, want[r.Path])
		default:
			answered++
		}
	}
	if answered != len(want) || len(got) != len(want) {
		t.Errorf("%d exchanges of %d", answered, len(want))
	}
	if s.loss[exchange.RequestsWithoutResponse] != 1 || len(s.loss) != 1 {
		t.Errorf("loss %v, want only the stream that was reset", s.loss)
	}
}

// ask gives the status and the digest that a client saw.
func ask(rt http.RoundTripper, path string, random *rand.Rand) (string, error) {
	body := strings.Repeat("x", random.IntN(3)*random.IntN(40_000))
	request, err := http.NewRequest(http.MethodPost, "http://app"+path, struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		return "", err
	}
	request.Header.Set("K", strings.Repeat("v", random.IntN(300)))
	request.Trailer = http.Header{"T": {"u"}}
	response, err := rt.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", hex.EncodeToString(sum(content))), err
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// FuzzFrames plays bytes as packets: each begins with a byte that says whose it is, what it is, and a byte for its length.
func FuzzFrames(f *testing.F) {
	for _, w := range append(whole, lossy...) {
		c := connect()
		w.write(c)
		f.Add(false, script(c.steps))
		f.Add(true, script(c.steps[2:]))
	}
	f.Fuzz(func(t *testing.T, midway bool, b []byte) {
		s := newSink(t)
		s.room = 1 << 20
		o := options(s, midway)
		o.Limits = exchange.Limits{Body: 1000, Head: 1000}
		p := New(o)
		for at := t0; len(b) >= 2; at = at.Add(time.Millisecond) {
			kind, n := b[0], min(int(b[1]), len(b)-2)
			d := exchange.Direction(kind & 1)
			switch kind >> 1 & 31 {
			case 0:
				p.Gap(d, int64(b[1])-1, at)
				n = 0
			case 1:
				p.End(d, at, kind&0x40 != 0)
				n = 0
			default:
				p.Data(d, b[2:2+n], at)
			}
			b = b[2+n:]
			checkBounds(t, p)
		}
		p.Close(t0)
		s.checkEnd()
		if len(p.streams) != 0 {
			t.Errorf("%d streams are open", len(p.streams))
		}
		for _, e := range s.done {
			if r := &e.Request; !e.Gone && (r.Method == "" || r.Path == "" || r.Scheme == "" || len(r.Body) > o.Limits.Body) {
				t.Errorf("not a request: %+v", r)
			}
		}
	})
}

func checkBounds(t *testing.T, p *Parser) {
	for d := range p.sides {
		s := &p.sides[d]
		if len(s.buf) > s.maxHead() || len(s.block.carry) > 2*s.maxHead() || s.table.size > maxTable || len(s.block.fields)*32 > s.block.limit {
			t.Errorf("direction %d holds %d, %d, %d, %d", d, len(s.buf), len(s.block.carry), s.table.size, len(s.block.fields))
		}
	}
}

// script is what FuzzFrames reads.
func script(steps []step) (b []byte) {
	for _, s := range steps {
		for part := range slices.Chunk(s.bytes, 255) {
			b = append(append(b, byte(s.d)|4, byte(len(part))), part...)
		}
		if s.gap != 0 {
			b = append(b, byte(s.d), byte(s.gap+1))
		}
		if s.end {
			b = append(b, byte(s.d)|2, 0)
		}
	}
	return b
}

// BenchmarkExchange reads requests as browsers send them, and answers of 100 bytes.
func BenchmarkExchange(b *testing.B) {
	const batch = 100
	open := connect()
	content := strings.Repeat("x", 100)
	for i := range uint32(batch) {
		open.client.head(2*i+1, true, ":method: GET", ":scheme: https", ":authority: shop.example.com", fmt.Sprintf("!:path: /api/items?page=%d", i),
			"accept: application/json", "accept-encoding: gzip, deflate, br", "accept-language: en", "user-agent: Mozilla/5.0 (X11; Linux x86_64)",
			"cookie: session=0123456789abcdef", "referer: https://shop.example.com/", "cache-control: no-cache")
		open.client.send()
		open.server.head(2*i+1, false, ":status: 200", "content-type: application/json", "server: envoy", "date: Tue, 24 Nov 2026 01:00:00 GMT",
			"!content-length: 100", "!x-envoy-upstream-service-time: 3")
		open.server.WriteData(2*i+1, true, []byte(content))
		open.server.send()
	}
	s := &nowhere{}
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		p := New(Options{Sink: s, Loss: exchange.Loss{}, Limits: limits})
		feed(p, open.steps)
	}
	if s.answered < b.N {
		b.Errorf("%d exchanges of %d", s.answered, b.N)
	}
}

// nowhere is a Sink that counts answers.
type nowhere struct{ answered int }

func (n *nowhere) Begin(start time.Time, _ string) *exchange.Exchange {
	return &exchange.Exchange{Start: start}
}
func (n *nowhere) Grow(*exchange.Exchange, int)            {}
func (n *nowhere) Drop(*exchange.Exchange, exchange.Cause) {}
func (n *nowhere) Done(e *exchange.Exchange) {
	if e.Request.Response != nil {
		n.answered++
	}
}
