package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
)

// FuzzExchange holds a request and its answer against net/http: where both read both, they read the same.
func FuzzExchange(f *testing.F) {
	for _, test := range wellFormed {
		var record recorder
		for _, do := range test.steps {
			do(&record, epoch, 0)
		}
		f.Add(record.bytes[exchange.FromClient], record.bytes[exchange.FromServer], uint8(3))
	}
	f.Add([]byte("T / HTTP/1.1\r\nHost: h\x88\t\x85\xe3\r\n\r\n"), []byte(ok("")), uint8(3)) // a tab within the host
	f.Fuzz(func(t *testing.T, client, server []byte, cut uint8) {
		sink := newSink()
		p := New(Options{Sink: sink, Loss: sink.loss, Limits: exchange.Limits{Body: 1 << 20, Head: 1 << 20}, Scheme: "http"})
		data(exchange.FromClient, string(client))(p, epoch, int(cut))
		data(exchange.FromServer, string(server))(p, epoch, int(cut))
		p.End(exchange.FromClient, epoch, false)
		p.End(exchange.FromServer, epoch, false)
		p.Close(epoch)
		for _, e := range sink.begun {
			if how, ok := sink.ended[e]; !ok || strings.Contains(how, "twice") {
				t.Fatalf("an exchange was ended not once: %q", how)
			}
		}
		if len(sink.begun) > 0 && sink.begun[0].Whole {
			compare(t, sink.begun[0], client, server)
		}
	})
}

// recorder keeps what was sent.
type recorder struct {
	h2c
	bytes [2][]byte
}

func (r *recorder) Data(d exchange.Direction, b []byte, _ time.Time) {
	r.bytes[d] = append(r.bytes[d], b...)
}

// compare compares the first exchange with what net/http makes of it. net/http begins with the request line, so the empty
// lines before it are left out.
func compare(t *testing.T, e *exchange.Exchange, client, server []byte) {
	want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(client, "\r\n"))))
	if err != nil || e.Request.Method == "" {
		return
	}
	body, err := io.ReadAll(want.Body)
	if err != nil {
		return
	}
	got := &e.Request
	if got.Method != want.Method || oneLine(got.Authority) != oneLine(want.Host) || string(got.Body) != string(body) {
		t.Errorf("got %s %q %q, want %s %q %q", got.Method, got.Authority, got.Body, want.Method, want.Host, body)
	}
	if strings.HasPrefix(want.RequestURI, "/") && got.Path != want.RequestURI {
		t.Errorf("got the path %q, want %q", got.Path, want.RequestURI)
	}
	compareHeaders(t, e, want.Header)
	compareResponse(t, e, want, server)
}

// compareHeaders leaves out what net/http removes, adds or merges.
func compareHeaders(t *testing.T, e *exchange.Exchange, want http.Header) {
	got := http.Header{}
	for _, h := range e.Request.Headers {
		name := http.CanonicalHeaderKey(h[0])
		got[name] = append(got[name], h[1])
	}
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer", "Content-Length", "Cache-Control"} {
		got.Del(name)
		want.Del(name)
	}
	if len(got) != len(want) {
		t.Errorf("got the headers %q, want %q", got, want)
	}
	for name, values := range want {
		if !slices.EqualFunc(got[name], values, func(a, b string) bool { return oneLine(a) == oneLine(b) }) {
			t.Errorf("got %s: %q, want %q", name, got[name], values)
		}
	}
}

// oneLine makes one space of several: how many a folded line leaves is not said.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func compareResponse(t *testing.T, e *exchange.Exchange, request *http.Request, server []byte) {
	if e.Request.Response == nil {
		return
	}
	in := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(server, "\r\n")))
	want, err := http.ReadResponse(in, request)
	for err == nil && want.StatusCode < 200 && want.StatusCode != http.StatusSwitchingProtocols {
		for b, _ := in.Peek(1); len(b) > 0 && (b[0] == '\r' || b[0] == '\n'); b, _ = in.Peek(1) {
			_, _ = in.Discard(1)
		}
		want, err = http.ReadResponse(in, request)
	}
	if err != nil {
		return
	}
	if want.StatusCode == http.StatusSwitchingProtocols {
		want.Body = http.NoBody // net/http gives the tunnel as the body
	}
	body, err := io.ReadAll(want.Body)
	if err != nil {
		return
	}
	if got := e.Request.Response; got.Status != want.StatusCode || got.BodySHA256[:6] != digest(string(body)) {
		t.Errorf("got %d %s, want %d %s (%q)", got.Status, got.BodySHA256[:6], want.StatusCode, digest(string(body)), body)
	}
}

// FuzzStream plays anything, and holds it to what holds for all: no crash, every exchange ended once, what was counted matches
// what was given, no more held than the limits allow.
func FuzzStream(f *testing.F) {
	f.Add([]byte(get(1)+get(2)), []byte(ok("one")+ok("two")), []byte{0, 9, 1, 20, 2, 3, 3, 255, 0, 200, 1, 200})
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789"+get(1)), []byte(chunkedOK+"3\r\nabc\r\n0\r\n\r\n"+ok("")), []byte{0, 40, 2, 3, 0, 200, 1, 255, 4, 0, 5, 1})
	f.Add([]byte("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nPRI *"), []byte("HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\nx"), []byte{0, 200, 1, 200, 2, 1})
	f.Fuzz(func(t *testing.T, client, server, moves []byte) {
		sink := newSink()
		p := New(Options{Sink: sink, Loss: sink.loss, Limits: exchange.Limits{Body: 64, Head: 256}, Scheme: "http",
			UpgradeTo: func(e *exchange.Exchange) exchange.Stream {
				if e != nil {
					sink.Done(e)
				}
				return &h2c{}
			}})
		rest := [2][]byte{client, server}
		for i := 0; i+1 < len(moves); i += 2 {
			n, d, now := int(moves[i+1]), exchange.Direction(moves[i]&1), epoch.Add(time.Duration(i)*time.Second)
			switch moves[i] >> 1 % 4 {
			case 0, 1:
				n = min(n, len(rest[d]))
				p.Data(d, rest[d][:n], now)
				rest[d] = rest[d][n:]
			case 2:
				p.Gap(d, int64(int8(n)), now)
			case 3:
				p.End(d, now, n == 1)
			}
			if size := cap(p.client.head) + cap(p.server.head) + p.held.bytes; size > 16<<10 || len(p.pairing.queue) > maxPipelined {
				t.Fatalf("%d bytes and %d requests are held", size, len(p.pairing.queue))
			}
		}
		p.Close(epoch)
		checkLoss(t, sink, p)
	})
}

// checkLoss checks that every exchange was ended once and that each one without an answer is counted once.
func checkLoss(t *testing.T, sink *sink, p *Parser) {
	unanswered := int64(0)
	for _, e := range sink.begun {
		how, ok := sink.ended[e]
		if !ok || strings.Contains(how, "twice") {
			t.Fatalf("an exchange was ended not once: %q", how)
		}
		if e.Whole && e.Request.Response == nil && strings.Contains(how, "://") && p.next == nil {
			unanswered++
		}
	}
	counted := sink.loss[exchange.RequestsWithoutResponse] + sink.loss[exchange.ResponsesCut] + sink.loss[exchange.ResponsesMalformed]
	if p.next == nil && counted < unanswered {
		t.Errorf("%d requests are without an answer, but %v", unanswered, sink.loss)
	}
}

// discard is a Sink that keeps nothing.
type discard struct {
	one  exchange.Exchange
	done int
}

func (d *discard) Begin(start time.Time, _ string) *exchange.Exchange {
	d.one = exchange.Exchange{Start: start}
	return &d.one
}
func (*discard) Grow(*exchange.Exchange, int)                {}
func (d *discard) Done(*exchange.Exchange)                   { d.done++ }
func (*discard) Drop(_ *exchange.Exchange, _ exchange.Cause) {}

// BenchmarkExchange reads a request and its answer, 8 headers and a segment each.
func BenchmarkExchange(b *testing.B) {
	const fields = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nAccept-Language: en\r\n" +
		"X-Request-Id: 0123456789abcdef\r\nCache-Control: no-cache\r\n"
	request := []byte("GET /api/items?page=1 HTTP/1.1\r\nHost: my-app.example.com\r\nConnection: keep-alive\r\n" + fields + "\r\n")
	for name, body := range map[string]string{"no body": "", "1 KiB body": strings.Repeat("x", 1024)} {
		b.Run(name, func(b *testing.B) {
			response := []byte(strings.Replace(ok(body), "\r\n", "\r\nServer: nginx\r\n"+fields, 1))
			sink := &discard{}
			p := New(Options{Sink: sink, Loss: exchange.Loss{}, Limits: exchange.Limits{Body: 1 << 20, Head: 64 << 10}, Scheme: "http"})
			b.ReportAllocs()
			for b.Loop() {
				p.Data(exchange.FromClient, request, epoch)
				p.Data(exchange.FromServer, response, epoch)
			}
			if sink.done != b.N {
				b.Fatalf("%d exchanges of %d", sink.done, b.N)
			}
		})
	}
}
