package http2

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

type test struct {
	name  string
	write func(c *conn)
	want  []string
	loss  exchange.Loss
}

var whole = []test{
	{"a request and its answer", func(c *conn) { c.client.get(1, "/a"); c.server.ok(1, "one") },
		[]string{"GET http://h/a -> 200 1s " + digest("one")}, nil},
	{"content in pieces", func(c *conn) {
		c.client.post(1, "/a")
		c.client.data(1, false, "on")
		c.client.data(1, true, "e")
		c.server.head(1, false, ":status: 201")
		c.server.send()
		c.server.data(1, false, "t")
		c.server.data(1, false, "wo")
		c.server.data(1, true, "")
	}, []string{"POST http://h/a one -> 201 6s " + digest("two")}, nil},
	{"streams interleaved", func(c *conn) {
		c.client.get(1, "/a")
		c.client.get(3, "/b")
		c.server.ok(3, "b")
		c.server.ok(1, "a")
	}, []string{"GET http://h/b -> 200 1s " + digest("b"), "GET http://h/a -> 200 3s " + digest("a")}, nil},
	{"padding, priority and other frames", func(c *conn) {
		block := c.client.encode(":method: PUT", ":scheme: https", ":authority: h", ":path: /p")
		c.client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, PadLength: 9,
			Priority: http2.PriorityParam{StreamDep: 7, Weight: 3}})
		c.client.WriteDataPadded(1, false, []byte("ab"), make([]byte, 200))
		c.client.WritePing(false, [8]byte{})
		c.client.WriteRawFrame(0x55, 0xff, 1, []byte("unknown"))
		c.client.WriteWindowUpdate(1, 10)
		c.client.WritePriority(1, http2.PriorityParam{})
		c.client.WriteDataPadded(1, true, nil, make([]byte, 5))
		c.client.send()
		c.server.head(1, false, ":status: 200")
		c.server.WriteDataPadded(1, true, []byte("x"), []byte{0, 0})
		c.server.send()
	}, []string{"PUT https://h/p ab -> 200 1s " + digest("x")}, nil},
	{"continuations", func(c *conn) {
		block := c.client.encode(":method: GET", ":scheme: http", ":authority: h", ":path: /c", "a: b")
		c.client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5], EndStream: true})
		c.client.WriteContinuation(1, false, nil)
		c.client.WriteContinuation(1, false, block[5:6])
		c.client.WriteContinuation(1, true, block[6:])
		c.client.send()
		c.server.ok(1, "")
	}, []string{"GET http://h/c {a: b} -> 200 1s " + digest("")}, nil},
	{"cookie crumbs, never indexed fields, host instead of :authority", func(c *conn) {
		c.client.head(1, true, ":method: GET", ":scheme: http", ":path: /", "host: x", "cookie: a=1", "!cookie: b=2")
		c.client.send()
		c.server.ok(1, "")
	}, []string{"GET http://x/ {host: x} {cookie: a=1} {cookie: b=2} -> 200 1s " + digest("")}, nil},
	{"trailers of both", func(c *conn) {
		c.client.post(1, "/")
		c.client.data(1, false, "q")
		c.client.head(1, true, "sum: 1")
		c.client.send()
		c.server.head(1, false, ":status: 200")
		c.server.WriteData(1, false, []byte("a"))
		c.server.head(1, true, "grpc-status: 0")
		c.server.send()
	}, []string{"POST http://h/ q -> 200 3s " + digest("a")}, nil},
	{"interim responses", func(c *conn) {
		c.client.post(1, "/")
		c.server.head(1, false, ":status: 100")
		c.server.head(1, false, ":status: 103", "link: x")
		c.server.send()
		c.client.data(1, true, "q")
		c.server.ok(1, "a")
	}, []string{"POST http://h/ q -> 200 3s " + digest("a")}, nil},
	{"an answer before the request is whole", func(c *conn) {
		c.client.post(1, "/")
		c.server.ok(1, "early")
		c.client.data(1, true, "late")
	}, []string{"POST http://h/ late -> 200 1s " + digest("early")}, nil},
	{"an answer seen before its request", func(c *conn) { c.server.ok(1, "a"); c.client.get(1, "/") },
		[]string{"GET http://h/ -> 200 0s " + digest("a")}, nil},
	{"a promise and its answer", func(c *conn) {
		c.client.get(1, "/")
		block := c.server.encode(":method: GET", ":scheme: http", ":authority: h", ":path: /pushed", "new: entry")
		c.server.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block, EndHeaders: true, PadLength: 3})
		c.server.head(2, false, ":status: 200", "new: entry")
		c.server.data(2, true, "pushed")
		c.server.ok(1, "a")
	}, []string{"GET http://h/ -> 200 2s " + digest("a")}, nil},
	{"lengths declared", func(c *conn) {
		c.client.head(1, false, ":method: POST", ":scheme: http", ":path: /", "content-length: 2")
		c.client.data(1, true, "ab")
		c.server.head(1, false, ":status: 200", "content-length: 3")
		c.server.data(1, true, "abc")
		c.client.head(3, true, ":method: HEAD", ":scheme: http", ":path: /")
		c.client.send()
		c.server.head(3, true, ":status: 200", "content-length: 3")
		c.server.send()
	}, []string{"POST http:/// {content-length: 2} ab -> 200 1s " + digest("abc"), "HEAD http:/// -> 200 1s " + digest("")}, nil},
	{"a table that is emptied and grows", func(c *conn) {
		c.client.encoder.SetMaxDynamicTableSizeLimit(60_000)
		for i := range uint32(40) {
			c.client.encoder.SetMaxDynamicTableSize(i % 7 * 90)
			c.client.head(2*i+1, true, ":method: GET", ":scheme: http", ":authority: h", ":path: /", "k: "+strings.Repeat("v", int(i)))
			c.client.send()
			c.server.ok(2*i+1, "")
		}
	}, func() (all []string) {
		for i := range 40 {
			all = append(all, "GET http://h/ {k: "+strings.Repeat("v", i)+"} -> 200 1s "+digest(""))
		}
		return all
	}(), nil},
}

var lossy = []test{
	{"no answer", func(c *conn) { c.client.get(1, "/") },
		[]string{"GET http://h/"}, exchange.Loss{exchange.RequestsWithoutResponse: 1}},
	{"an answer cut by the end", func(c *conn) {
		c.client.get(1, "/")
		c.server.head(1, false, ":status: 200")
		c.server.data(1, false, "a")
		c.server.end(false)
	}, []string{"GET http://h/"}, exchange.Loss{exchange.ResponsesCut: 1}},
	{"a request cut by the end", func(c *conn) { c.client.post(1, "/"); c.client.end(false); c.server.ok(1, "a") },
		[]string{}, exchange.Loss{exchange.RequestsCut: 1}},
	{"a request cut by a reset of the connection", func(c *conn) { c.client.post(1, "/"); c.server.end(true); c.client.data(1, true, "a") },
		[]string{}, exchange.Loss{exchange.RequestsCut: 1}},
	{"reset by the client", func(c *conn) {
		c.client.get(1, "/")
		c.client.post(3, "/")
		c.client.WriteRSTStream(1, http2.ErrCodeCancel)
		c.client.WriteRSTStream(3, http2.ErrCodeCancel)
		c.client.send()
		c.server.ok(1, "late")
		c.server.ok(3, "late")
		c.client.head(3, true, "late: trailer")
		c.client.get(5, "/5")
		c.server.ok(5, "")
	}, []string{"GET http://h/", "GET http://h/5 -> 200 1s " + digest("")},
		exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.RequestsCut: 1}},
	{"reset by the server", func(c *conn) {
		c.client.get(1, "/")
		c.server.head(1, false, ":status: 200")
		c.server.WriteRSTStream(1, http2.ErrCodeInternal)
		c.server.send()
	}, []string{"GET http://h/"}, exchange.Loss{exchange.ResponsesCut: 1}},
	{"gone away", func(c *conn) {
		c.client.get(1, "/1")
		c.client.get(3, "/3")
		c.server.WriteGoAway(1, http2.ErrCodeNo, []byte("enough"))
		c.server.ok(1, "a")
		c.client.get(5, "/5")
	}, []string{"GET http://h/3", "GET http://h/1 -> 200 2s " + digest("a"), "GET http://h/5"}, exchange.Loss{exchange.RequestsWithoutResponse: 2}},
	{"tunnels", func(c *conn) {
		c.client.head(1, false, ":method: CONNECT", ":authority: h:443")
		c.client.head(3, false, ":method: CONNECT", ":protocol: websocket", ":scheme: http", ":authority: h", ":path: /ws")
		c.client.data(1, true, "x")
		c.server.ok(1, "y")
	}, []string{}, exchange.Loss{exchange.NotReplayable: 2}},
	{"malformed requests", func(c *conn) {
		c.client.head(1, true, ":method: GET", ":scheme: http")
		c.client.head(3, true, ":method: GET", ":scheme: http", ":path: /", "a: b", ":authority: late")
		c.client.head(5, true, ":method: GET", ":method: GET", ":scheme: http", ":path: /")
		c.client.head(7, true, ":method: GET", ":scheme: http", ":path: /", "Upper: x")
		c.client.head(9, true, ":method: GET", ":scheme: http", ":path: /", "a: b\r\nc: d")
		c.client.head(11, true, ":method: GET", ":scheme: http", ":path: /a b")
		c.client.head(13, true, ":method: GET", ":scheme: http", ":path: /", "content-length: 3")
		c.client.head(15, true, ":method: GET", ":scheme: http", ":path: /", ":other: 3")
		c.client.head(17, true, ":method: GET", ":scheme: http", ":path: /", "content-length: -3")
		c.client.post(19, "/")
		c.client.head(19, false, "trailer: without an end")
		c.client.head(21, true, ":method: GET", ":scheme: http", ":path: elsewhere")
		c.client.get(23, "/good")
	}, []string{"GET http://h/good"}, exchange.Loss{exchange.RequestsMalformed: 11, exchange.RequestsWithoutResponse: 1}},
	{"malformed answers", func(c *conn) {
		for id := uint32(1); id <= 9; id += 2 {
			c.client.get(id, "/")
		}
		c.server.head(1, true, ":status: abc")
		c.server.head(3, true, "no: status")
		c.server.head(5, true, ":status: 100")
		c.server.head(7, false, ":status: 200", "content-length: 3")
		c.server.data(7, true, "a")
		c.server.data(9, true, "headless")
	}, []string{"GET http://h/", "GET http://h/", "GET http://h/", "GET http://h/", "GET http://h/"},
		exchange.Loss{exchange.ResponsesMalformed: 4, exchange.ResponsesCut: 1}},
	{"too long", func(c *conn) {
		c.client.head(1, true, ":method: GET", ":scheme: http", ":path: /", "k: "+strings.Repeat("v", limits.Head))
		c.client.post(3, "/")
		c.client.data(3, true, strings.Repeat("x", limits.Body+1))
		c.client.get(5, "/5")
	}, []string{"GET http://h/5"}, exchange.Loss{exchange.RequestsMalformed: 1, exchange.BodyTooLong: 1, exchange.RequestsWithoutResponse: 1}},
	{"an answer that nobody asked for", func(c *conn) { c.server.ok(7, "x") },
		[]string{}, exchange.Loss{exchange.ResponsesWithoutRequest: 1}},

	// Gaps.
	{"in a request's content", func(c *conn) {
		c.client.post(1, "/1")
		c.client.lossy(1, true, "0123456789", 3, 4)
		c.client.get(3, "/3")
		c.server.ok(1, "")
		c.server.ok(3, "")
	}, []string{"GET http://h/3 -> 200 2s " + digest("")}, exchange.Loss{exchange.RequestsCut: 1}},
	{"in an answer's content, to its end", func(c *conn) {
		c.client.get(1, "/1")
		c.client.get(3, "/3")
		c.server.head(1, false, ":status: 200")
		c.server.lossy(1, true, "0123456789", 3, 7)
		c.server.ok(3, "")
	}, []string{"GET http://h/1", "GET http://h/3 -> 200 3s " + digest("")}, exchange.Loss{exchange.ResponsesCut: 1}},
	{"beyond an answer's frame", func(c *conn) {
		c.client.get(1, "/1")
		c.client.get(3, "/3")
		c.server.head(1, false, ":status: 200")
		c.server.lossy(1, true, "0123456789", 3, 8)
		c.server.ok(3, "")
	}, []string{"GET http://h/1", "GET http://h/3"},
		exchange.Loss{exchange.ResponsesCut: 1, exchange.RequestsWithoutResponse: 1, exchange.HPACKLost: 1}},
	{"between frames of the client", func(c *conn) {
		c.client.get(1, "/1")
		c.client.post(3, "/3")
		c.client.gap(9)
		c.client.get(5, "/5")
		c.server.ok(1, "a")
		c.server.ok(5, "b")
	}, []string{"GET http://h/1 -> 200 4s " + digest("a")},
		exchange.Loss{exchange.RequestsCut: 1, exchange.ResponsesWithoutRequest: 1, exchange.HPACKLost: 1}},
	{"of unknown length", func(c *conn) { c.client.get(1, "/1"); c.server.gap(-1); c.server.ok(1, "a"); c.client.get(3, "/3") },
		[]string{"GET http://h/1", "GET http://h/3"}, exchange.Loss{exchange.RequestsWithoutResponse: 2, exchange.HPACKLost: 1}},

	// Malformed connections.
	{"a preface of HTTP/1", func(c *conn) {
		c.steps[0].bytes = []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.server.ok(1, "")
	}, []string{}, exchange.Loss{exchange.HTTP2Unreadable: 1}},
	{"a first frame that is none of SETTINGS", func(c *conn) {
		c.steps[0].bytes = c.steps[0].bytes[:len(clientPreface)]
		c.client.get(1, "/")
	}, []string{}, exchange.Loss{exchange.HTTP2Unreadable: 1}},
	{"a short ping", func(c *conn) {
		c.client.get(1, "/")
		c.client.WriteRawFrame(http2.FramePing, 0, 0, []byte("short"))
		c.client.send()
		c.server.ok(1, "")
	}, []string{"GET http://h/"}, exchange.Loss{exchange.HTTP2Unreadable: 1, exchange.RequestsWithoutResponse: 1}},
	{"a reference to nothing", func(c *conn) {
		c.client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xbf}, EndHeaders: true})
		c.client.send()
	}, []string{}, exchange.Loss{exchange.HTTP2Unreadable: 1, exchange.RequestsCut: 1}},
	{"a block interrupted", func(c *conn) {
		c.client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.client.encode(":method: GET")})
		c.client.data(1, true, "")
	}, []string{}, exchange.Loss{exchange.HTTP2Unreadable: 1, exchange.RequestsCut: 1}},
	{"padding longer than its frame", func(c *conn) {
		c.client.post(1, "/")
		c.client.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{3, 0, 0})
		c.client.send()
	}, []string{}, exchange.Loss{exchange.HTTP2Unreadable: 1, exchange.RequestsCut: 1}},
}

// lossy writes content of which n bytes from a place on are missing.
func (p *peer) lossy(id uint32, end bool, content string, from, n int) {
	p.WriteData(id, end, []byte(content))
	b := bytes.Clone(p.out.Bytes())
	p.out.Reset()
	cut := len(b) - len(content) + from
	p.out.Write(b[:cut])
	p.send()
	p.gap(int64(n))
	if cut+n < len(b) {
		p.out.Write(b[cut+n:])
		p.send()
	}
}

func (w test) check(t *testing.T, p exchange.Stream, s *sink, steps []step) {
	t.Helper()
	feed(p, steps)
	if diff := cmp.Diff(w.want, s.strings()); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
	loss := w.loss
	if loss == nil {
		loss = exchange.Loss{}
	}
	if diff := cmp.Diff(loss, s.loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
	s.checkEnd()
}

// checkEnd tells whether everything that was begun has ended.
func (s *sink) checkEnd() {
	s.t.Helper()
	if len(s.open) != 0 {
		s.t.Errorf("%d exchanges are open after the end", len(s.open))
	}
}

// split is a Stream whose packets are cut in two, or into bytes where the place is 0.
type split struct {
	*Parser
	at int
}

func (s *split) Data(d exchange.Direction, b []byte, at time.Time) {
	if s.at > 0 && s.at < len(b) {
		s.piece(d, b[:s.at], at)
		b = b[s.at:]
	}
	for s.at == 0 && len(b) > 0 {
		s.piece(d, b[:1], at)
		b = b[1:]
	}
	s.piece(d, b, at)
}

// piece gives bytes that do not outlive the call.
func (s *split) piece(d exchange.Direction, b []byte, at time.Time) {
	b = bytes.Clone(b)
	s.Parser.Data(d, b, at)
	for i := range b {
		b[i] = 0xee
	}
}

func TestExchanges(t *testing.T) {
	for _, w := range append(whole, lossy...) {
		t.Run(w.name, func(t *testing.T) {
			c := connect()
			w.write(c)
			s := newSink(t)
			w.check(t, New(options(s, false)), s, c.steps)
			for _, e := range s.done {
				if e.Request.Session != "s" {
					t.Errorf("session %q", e.Request.Session)
				}
			}
		})
	}
}

// TestSplit cuts every packet at every place, and into bytes.
func TestSplit(t *testing.T) {
	for _, w := range append(whole, lossy...) {
		t.Run(w.name, func(t *testing.T) {
			c := connect()
			w.write(c)
			longest := 0
			for _, s := range c.steps {
				longest = max(longest, len(s.bytes))
			}
			for cut := range min(longest, 200) {
				s := newSink(t)
				w.check(t, &split{New(options(s, false)), cut}, s, c.steps)
			}
		})
	}
}

// TestGone plays everything into a Sink that has room for little.
func TestGone(t *testing.T) {
	for _, w := range append(whole, lossy...) {
		for _, room := range []int{1, 150, 200} {
			c := connect()
			w.write(c)
			s := newSink(t)
			s.room = room
			p := New(options(s, false))
			feed(p, c.steps)
			s.checkEnd()
			if room == 1 && s.held > 0 && s.gone == 0 {
				t.Errorf("%s: nothing was gone", w.name)
			}
		}
	}
}

func TestUpgraded(t *testing.T) {
	for _, known := range []bool{true, false} {
		c := connect()
		c.server.ok(1, "switched")
		c.client.get(3, "/3")
		c.server.ok(3, "")
		s := newSink(t)
		w := test{want: []string{"GET http://h/3 -> 200 1s " + digest("")}}
		var first *exchange.Exchange
		if known {
			first = s.Begin(t0.Add(-time.Second), "old")
			first.Whole = true
			first.Request = traffic.Request{Session: "old", Method: "GET", Scheme: "http", Authority: "h", Path: "/up"}
			w.want = append([]string{"GET http://h/up -> 200 3s " + digest("switched")}, w.want...)
		}
		w.check(t, NewUpgraded(options(s, false), first), s, c.steps)
	}
}

func TestManyStreams(t *testing.T) {
	c := connect()
	for i := range uint32(maxStreams + 5) {
		c.client.head(2*i+1, i > 0, ":method: GET", ":scheme: http", ":authority: h", ":path: /")
	}
	c.client.send()
	for i := range uint32(10) {
		c.server.ok(2*i+1, "")
	}
	s := newSink(t)
	p := New(options(s, false))
	feed(p, c.steps)
	s.checkEnd()
	want := exchange.Loss{exchange.NoMemory: 1, exchange.ResponsesNotAwaited: 4, exchange.RequestsWithoutResponse: maxStreams - 5}
	if diff := cmp.Diff(want, s.loss); diff != "" || len(s.done) != maxStreams+4 {
		t.Errorf("%d exchanges, loss (-want +got):\n%s", len(s.done), diff)
	}
}

func TestMidway(t *testing.T) {
	tests := []test{
		{"a preface that is there after all", func(c *conn) {
			c.greet()
			c.client.get(1, "/")
			c.server.ok(1, "a")
		}, []string{"GET http://h/ -> 200 1s " + digest("a")}, nil},
		{"heads without references", func(c *conn) {
			c.client.get(7, "/")
			c.server.ok(7, "a")
		}, []string{"GET http://h/ -> 200 1s " + digest("a")}, exchange.Loss{exchange.HPACKLost: 2}},
		{"references to what was inserted since", func(c *conn) {
			c.client.head(7, true, ":method: GET", ":scheme: http", ":path: /", "k: v", "l: w")
			c.client.head(9, true, ":method: GET", ":scheme: http", ":path: /", "l: w", "k: v")
			c.client.send()
			c.server.ok(7, "a")
			c.server.ok(9, "b")
		}, []string{"GET http:/// {k: v} {l: w} -> 200 1s " + digest("a"), "GET http:/// {l: w} {k: v} -> 200 2s " + digest("b")},
			exchange.Loss{exchange.HPACKLost: 2}},
		{"references to what was inserted before", func(c *conn) {
			c.client.encode("k: v")
			c.server.encode(":status: 299", "date: today")
			c.client.head(7, true, ":method: GET", ":scheme: http", ":path: /", "k: v") // unknown
			c.client.head(9, true, ":method: GET", ":scheme: http", ":path: /", "k: w") // the name is unknown
			c.client.head(11, true, ":method: GET", ":scheme: http", ":path: /", "k: w")
			c.client.get(13, "/13")
			c.client.get(15, "/15")
			c.server.ok(7, "")
			c.server.head(13, true, ":status: 299")
			c.server.head(15, true, ":status: 200", "date: today") // no more than the status is asked for
			c.server.send()
		}, []string{"GET http://h/13", "GET http://h/15 -> 200 2s " + digest("")}, exchange.Loss{exchange.HPACKLost: 2, exchange.HeadsUnreadable: 3, exchange.ResponsesUnreadable: 1}},
		{"an interim response unreadable", func(c *conn) {
			c.server.encode(":status: 103")
			c.client.get(7, "/")
			c.server.head(7, false, ":status: 103")
			c.server.ok(7, "a")
		}, []string{"GET http://h/ -> 200 1s " + digest("a")}, exchange.Loss{exchange.HPACKLost: 2}},
		{"messages begun before", func(c *conn) {
			c.client.data(3, true, "rest")
			c.client.head(5, true, "trailer: x")
			c.client.send()
			c.client.get(7, "/")
			c.server.data(1, true, "rest")
			c.server.head(3, true, ":status: 200")
			c.server.send()
			c.server.ok(7, "a")
		}, []string{"GET http://h/ -> 200 3s " + digest("a")},
			exchange.Loss{exchange.HPACKLost: 2, exchange.RequestsCut: 1, exchange.ResponsesWithoutRequest: 1}},
		{"a join within a frame", func(c *conn) {
			c.client.get(7, "/")
			c.server.out.WriteString("<html>the rest of a page</html>")
			c.server.ok(7, "a")
		}, []string{"GET http://h/"}, exchange.Loss{exchange.HPACKLost: 2, exchange.RequestsWithoutResponse: 1}},
	}
	for _, w := range tests {
		for _, gaps := range []bool{false, true} {
			t.Run(w.name, func(t *testing.T) {
				c := joined()
				w.write(c)
				s := newSink(t)
				p := New(options(s, !gaps))
				if gaps {
					p.Gap(exchange.FromClient, -1, t0)
					p.Gap(exchange.FromServer, -1, t0)
				}
				w.check(t, p, s, c.steps)
			})
		}
	}
}
