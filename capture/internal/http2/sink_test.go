package http2

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// sink keeps what it is given, and the rules of exchange.Sink.
type sink struct {
	t     testing.TB
	open  map[*exchange.Exchange]bool
	done  []*exchange.Exchange
	loss  exchange.Loss
	begun []time.Time
	room  int // bytes until what is open is gone; 0 for as many as wanted
	held  int
	gone  int
}

func newSink(t testing.TB) *sink {
	return &sink{t: t, open: map[*exchange.Exchange]bool{}, loss: exchange.Loss{}}
}

func (s *sink) Begin(start time.Time, _ string) *exchange.Exchange {
	e := &exchange.Exchange{Start: start}
	s.open[e] = true
	s.begun = append(s.begun, start)
	return e
}

func (s *sink) Grow(e *exchange.Exchange, n int) {
	if e.Gone || n <= 0 {
		s.t.Errorf("an exchange grew by %d, gone: %v", n, e.Gone)
	}
	s.held += n
	if s.room > 0 && s.held > s.room {
		s.evict()
	}
}

func (s *sink) evict() {
	for e := range s.open {
		if !e.Gone {
			s.gone++
		}
		e.Gone = true
		e.Request = traffic.Request{}
	}
}

func (s *sink) Done(e *exchange.Exchange) {
	if !e.Whole {
		s.t.Error("Done with a request that is not whole")
	}
	s.end(e)
	s.done = append(s.done, e)
}

func (s *sink) Drop(e *exchange.Exchange, why exchange.Cause) {
	s.end(e)
	if !e.Gone {
		s.loss.Add(why, 1)
	}
}

func (s *sink) end(e *exchange.Exchange) {
	if !s.open[e] {
		s.t.Error("an exchange ended that is not open")
	}
	delete(s.open, e)
	if e.Gone && (e.Request.Method != "" || e.Request.Response != nil || e.Request.Body != nil) {
		s.t.Error("the request of an exchange that is gone was touched")
	}
}

// strings gives the exchanges as "METHOD scheme://authority/path {headers} body -> status latency content".
func (s *sink) strings() []string {
	texts := []string{}
	for _, e := range s.done {
		r := &e.Request
		text := fmt.Sprintf("%s %s://%s%s", r.Method, r.Scheme, r.Authority, r.Path)
		for _, h := range r.Headers {
			text += fmt.Sprintf(" {%s: %s}", h[0], h[1])
		}
		if len(r.Body) > 0 {
			text += " " + string(r.Body)
		}
		if a := r.Response; a != nil {
			text += fmt.Sprintf(" -> %d %v %s", a.Status, a.Latency, a.BodySHA256[:8])
		}
		texts = append(texts, text)
	}
	return texts
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])[:8]
}

// step is what a Stream is told once.
type step struct {
	d     exchange.Direction
	bytes []byte
	gap   int64
	end   bool
	reset bool
}

// peer writes one side of a connection.
type peer struct {
	*http2.Framer
	d       exchange.Direction
	out     bytes.Buffer
	block   bytes.Buffer
	encoder *hpack.Encoder
	steps   *[]step
}

// conn writes a connection as steps, one for each call of send.
type conn struct {
	steps          []step
	client, server *peer
}

func (c *conn) peer(d exchange.Direction) *peer {
	p := &peer{d: d, steps: &c.steps}
	p.Framer = http2.NewFramer(&p.out, nil)
	p.AllowIllegalWrites = true
	p.encoder = hpack.NewEncoder(&p.block)
	return p
}

// joined is a connection without its begin.
func joined() *conn {
	c := &conn{}
	c.client, c.server = c.peer(exchange.FromClient), c.peer(exchange.FromServer)
	return c
}

func connect() *conn {
	c := joined()
	c.greet()
	return c
}

// greet writes the begin of a connection.
func (c *conn) greet() {
	c.client.out.WriteString(clientPreface)
	c.client.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536})
	c.client.send()
	c.server.WriteSettings()
	c.server.WriteSettingsAck()
	c.server.send()
}

func (p *peer) send() {
	*p.steps = append(*p.steps, step{d: p.d, bytes: bytes.Clone(p.out.Bytes())})
	p.out.Reset()
}

func (p *peer) gap(n int64) { *p.steps = append(*p.steps, step{d: p.d, gap: n}) }

func (p *peer) end(reset bool) { *p.steps = append(*p.steps, step{d: p.d, end: true, reset: reset}) }

// encode gives a block of "name: value" lines; one that begins with "!" is never indexed.
func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(strings.TrimPrefix(f, "!"), ": ")
		p.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: f[0] == '!'})
	}
	return bytes.Clone(p.block.Bytes())
}

// head writes HEADERS without sending them.
func (p *peer) head(id uint32, end bool, fields ...string) {
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true})
}

func (p *peer) get(id uint32, path string) {
	p.head(id, true, ":method: GET", ":scheme: http", ":authority: h", ":path: "+path)
	p.send()
}

func (p *peer) post(id uint32, path string) {
	p.head(id, false, ":method: POST", ":scheme: http", ":authority: h", ":path: "+path)
	p.send()
}

func (p *peer) data(id uint32, end bool, content string) {
	p.WriteData(id, end, []byte(content))
	p.send()
}

// ok answers with one piece of content.
func (p *peer) ok(id uint32, content string) {
	p.head(id, false, ":status: 200")
	p.WriteData(id, true, []byte(content))
	p.send()
}

var t0 = time.Unix(1_700_000_000, 0)

var limits = exchange.Limits{Body: 20 << 10, Head: 8 << 10}

func options(s *sink, midway bool) Options {
	return Options{Sink: s, Loss: s.loss, Limits: limits, Session: "s", Scheme: "http", Midway: midway}
}

// feed gives steps, one a second, from t0 on.
func feed(p exchange.Stream, steps []step) {
	for i, s := range steps {
		at := t0.Add(time.Duration(i) * time.Second)
		switch {
		case s.end:
			p.End(s.d, at, s.reset)
		case s.gap != 0:
			p.Gap(s.d, s.gap, at)
		default:
			p.Data(s.d, s.bytes, at)
		}
	}
	p.Close(t0.Add(time.Duration(len(steps)) * time.Second))
}
