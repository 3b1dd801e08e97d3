package http1

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// h2c writes down what an upgraded connection's stream is told.
type h2c struct {
	first  *exchange.Exchange
	client strings.Builder
	server strings.Builder
	other  []string
}

func (h *h2c) Data(d exchange.Direction, b []byte, _ time.Time) {
	if d == exchange.FromClient {
		h.client.Write(b)
	} else {
		h.server.Write(b)
	}
}

func (h *h2c) Gap(d exchange.Direction, n int64, _ time.Time) {
	h.other = append(h.other, fmt.Sprint("gap ", d, n))
}

func (h *h2c) End(d exchange.Direction, _ time.Time, reset bool) {
	h.other = append(h.other, fmt.Sprint("end ", d, reset))
}

func (h *h2c) Close(time.Time) { h.other = append(h.other, "close") }

func TestUpgradeToH2C(t *testing.T) {
	const ask = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
	const agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	tail := []step{cgap(3), fin(exchange.FromServer)}
	for name, steps := range map[string][]step{
		"in turn":                 {c(ask), s(agree + "frames"), c(preface)},
		"preface before the 101":  {c(ask + "PRI * "), c("HTTP/2.0\r\n\r\nSM\r\n\r\n"), s(agree), s("frames")},
		"behind another exchange": {c(get(0)), s(ok("")), c(ask), s(agree + "frames"), c(preface)},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := -200; cut <= 5; cut++ {
				var next h2c
				sink := newSink()
				p := New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Scheme: "http", UpgradeTo: func(e *exchange.Exchange) exchange.Stream {
					next.first = e
					return &next
				}})
				for i, do := range append(steps, tail...) {
					do(p, epoch.Add(time.Duration(i)*time.Second), cut)
				}
				p.Close(epoch)
				p.Close(epoch)
				if next.client.String() != preface || next.server.String() != "frames" {
					t.Fatalf("cut %d: the stream got %q and %q", cut, next.client.String(), next.server.String())
				}
				if diff := cmp.Diff([]string{"gap 0 3", "end 1 false", "close"}, next.other); diff != "" {
					t.Fatalf("cut %d: the stream was told (-want +got):\n%s", cut, diff)
				}
				if e := sink.begun[len(sink.begun)-1]; next.first != e || e.Request.Path != "/1" || !e.Whole || sink.ended[e] != "" {
					t.Fatalf("cut %d: stream 1's request is %v, ended %q", cut, next.first, sink.ended[e])
				}
				if len(sink.loss) > 0 {
					t.Fatalf("cut %d: lost %v", cut, sink.loss)
				}
			}
		})
	}
}

func TestUpgradeOfALostRequest(t *testing.T) {
	var next *h2c
	steps := []step{cgap(-1), c("GET /1 HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n"), s("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\nframes"), c("preface")}
	got, loss := play(steps, 0, func(e *exchange.Exchange) exchange.Stream {
		next = &h2c{first: e}
		return next
	})
	if next == nil || next.first != nil || next.client.String() != "preface" || next.server.String() != "frames" {
		t.Errorf("the stream is %+v", next)
	}
	if diff := cmp.Diff([]string{"GET http://h /1 {Upgrade: h2c}"}, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

// What a client sends behind a CONNECT is not held without a bound.
func TestHeldIsBounded(t *testing.T) {
	got, loss := play([]step{c("CONNECT h:1 HTTP/1.1\r\n\r\n"), c(strings.Repeat("x", limits.Head+1)), s(ok("")), c(get(1))}, 0, nil)
	if diff := cmp.Diff([]string{"requests_not_replayable"}, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(exchange.Loss{exchange.NotReplayable: 1, exchange.Upgraded: 1}, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

func TestPipelinedRequestsAreBounded(t *testing.T) {
	var steps []step
	for i := range maxPipelined + 1 {
		steps = append(steps, c(get(i)))
	}
	got, loss := play(append(steps, s(ok("")), c(get(0)), s(ok(""))), 0, nil)
	for i, e := range got {
		if strings.Contains(e, "->") || !strings.HasPrefix(e, "GET ") {
			t.Errorf("exchange %d is %s, want it without an answer", i, e)
		}
	}
	want := exchange.Loss{exchange.RequestsWithoutResponse: maxPipelined + 2, exchange.ResponsesWithoutRequest: 2}
	if diff := cmp.Diff(want, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

// The Sink may take an exchange at any time: from then on nobody touches its request, and the pairing goes on.
func TestGone(t *testing.T) {
	const post = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
	for name, when := range map[string]func(s *sink, e *exchange.Exchange) bool{
		"with the head": func(s *sink, e *exchange.Exchange) bool { return s.begun[0] == e },
		"with the body": func(s *sink, e *exchange.Exchange) bool { return s.begun[0] == e && len(e.Request.Body) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			sink := newSink()
			sink.full = func(e *exchange.Exchange) bool { return when(sink, e) }
			p := New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Scheme: "http"})
			for i, do := range []step{c(post + "ab"), c("cd" + get(2)), s(ok("one") + ok("two"))} {
				do(p, epoch.Add(time.Duration(i)*time.Second), 0)
			}
			p.Close(epoch)
			if diff := cmp.Diff([]string{"gone", "GET http://h /2 -> 200 1s " + digest("two")}, sink.list()); diff != "" {
				t.Errorf("exchanges (-want +got):\n%s", diff)
			}
			if e := sink.begun[0]; e.Whole || e.Request.Response != nil || len(e.Request.Body) > 2 {
				t.Errorf("a gone exchange was touched: %+v", e)
			}
			if len(sink.loss) > 0 {
				t.Errorf("lost %v", sink.loss)
			}
		})
	}
}

// The Sink may take a request without waiting for its answer, so it must know early that it is whole, and how much it holds.
func TestWholeAndGrow(t *testing.T) {
	sink := newSink()
	p := New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Scheme: "http", Session: "c1"})
	p.Data(exchange.FromClient, []byte("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab"), epoch)
	e := sink.begun[0]
	if e.Whole {
		t.Error("half a request is whole")
	}
	p.Data(exchange.FromClient, []byte("cd"), epoch)
	if !e.Whole || e.Request.Session != "c1" || string(e.Request.Body) != "abcd" {
		t.Errorf("the exchange is %+v", e)
	}
	if held := sink.held[e]; held < len("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd") {
		t.Errorf("it is told to hold %d bytes, which is less than what was sent", held)
	}
	if len(sink.ended) > 0 {
		t.Error("it was ended before its answer came")
	}
}
