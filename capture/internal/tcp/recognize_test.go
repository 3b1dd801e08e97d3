package tcp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// told is what a direction sent, in a call; "?" stands for a gap, "." for an end.
type told struct {
	d exchange.Direction
	s string
}

func c(s string) told { return told{fromClient, s} }
func s(s string) told { return told{fromServer, s} }

// recognized runs calls through a recognizer and tells to which parser they went.
func recognized(conn Conn, calls []told) (string, exchange.Loss) {
	loss := exchange.Loss{}
	var parsers []string
	r := &recorder{}
	parser := func(name string) func(Conn) exchange.Stream {
		return func(c Conn) exchange.Stream {
			parsers = append(parsers, name)
			r.Conn = c
			return r
		}
	}
	x := NewRecognizer(conn, Parsers{HTTP1: parser("http1"), HTTP2: parser("http2"), TLS: parser("tls")}, loss)
	for _, call := range calls {
		switch call.s {
		case "?":
			x.Gap(call.d, -1, epoch)
		case ".":
			x.End(call.d, epoch, false)
		default:
			b := []byte(call.s)
			x.Data(call.d, b, epoch)
			clear(b) // they are valid for the call only
		}
	}
	x.Close(epoch)
	return strings.Join(append(parsers, r.log...), " "), loss
}

func TestRecognizer(t *testing.T) {
	const (
		clientHello = "\x16\x03\x01\x00\x05\x01...."
		serverHello = "\x16\x03\x03\x00\x05\x02...."
		records     = "\x17\x03\x03\x00\x20...."
		settings    = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		headers     = "\x00\x00\x02\x01\x04\x00\x00\x00\x03ab"
		get         = "GET / HTTP/1.1\r\n\r\n"
		ok          = "HTTP/1.1 200 OK\r\n\r\n"
	)
	midway := newConn(newWire(1, 0, 0).ends[0], newWire(1, 0, 0).ends[1], 7, epoch, true)
	tests := []struct {
		name  string
		conn  Conn
		calls []told
		want  string
		loss  exchange.Cause
	}{
		{name: "HTTP/1", calls: []told{c(get), s(ok)}, want: "http1 c:" + get + " s:" + ok + " close"},
		{name: "HTTP/1, byte by byte", calls: []told{c("GE"), c("T / HT"), c("TP/1.1\r\n"), c("\r\n")}, want: "http1 c:GE c:T / HT c:TP/1.1\r\n c:\r\n close"},
		{name: "HTTP/1 behind empty lines", calls: []told{c("\r\n" + get)}, want: "http1 c:\r\n" + get + " close"},
		{name: "HTTP/1, line feeds only", calls: []told{c("PURGE * HTTP/1.0\n\n")}, want: "http1 c:PURGE * HTTP/1.0\n\n close"},
		{name: "HTTP/1, the server first", calls: []told{s("HTTP/1.1 408 Timeout\r\n\r\n")}, want: "http1 s:HTTP/1.1 408 Timeout\r\n\r\n close"},
		{name: "HTTP/1, a long line", calls: []told{c("GET /" + strings.Repeat("a", 9000)), c(" HTTP/1.1\r\n")},
			want: "http1 c:GET /" + strings.Repeat("a", 9000) + " c: HTTP/1.1\r\n close"},
		{name: "ends are told too", calls: []told{c("GET /"), s("."), c(" HTTP/1.1\r\n"), c(".")}, want: "http1 c:GET / s. c: HTTP/1.1\r\n c. close"},
		{name: "HTTP/2", calls: []told{c(preface + settings)}, want: "http2 c:" + preface + settings + " close"},
		{name: "HTTP/2 in parts, the server first", calls: []told{s(settings), c(preface[:4]), c(preface[4:])},
			want: "http2 s:" + settings + " c:" + preface[:4] + " c:" + preface[4:] + " close"},
		{name: "no preface", calls: []told{c("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX")}, loss: exchange.NotHTTP},
		{name: "TLS", calls: []told{c(clientHello), s(serverHello)}, want: "tls c:" + clientHello + " s:" + serverHello + " close"},
		{name: "TLS in parts", calls: []told{c(clientHello[:1]), c(clientHello[1:])}, want: "tls c:" + clientHello[:1] + " c:" + clientHello[1:] + " close"},
		{name: "no hello", calls: []told{c("\x16\x03\x01\x00\x05\x09....")}, loss: exchange.NotHTTP},
		{name: "another protocol", calls: []told{s("SSH-2.0-Open\r\n"), c("SSH-2.0-Other\r\n")}, loss: exchange.NotHTTP},
		{name: "another protocol of lines", calls: []told{s("220 mail\r\n"), c("EHLO client\r\n"), s("250 ok\r\n")}, loss: exchange.NotHTTP},
		{name: "HTTP/0.9", calls: []told{c("GET /\r\n")}, loss: exchange.NotHTTP},
		{name: "only a server", calls: []told{s("220 mail\r\n")}, loss: exchange.NotHTTP},
		{name: "a line without end", calls: []told{c("GET /" + strings.Repeat("a", maxHeld))}, loss: exchange.NotHTTP},
		{name: "unclear to the end", calls: []told{c("GET")}, loss: exchange.NotHTTP},
		{name: "nothing", calls: []told{c("."), s(".")}},

		{name: "midway: a request", conn: midway, calls: []told{c("?"), c(get)}, want: "http1 c?-1 c:" + get + " close"},
		{name: "midway: a response", conn: midway, calls: []told{s("?"), s(ok)}, want: "http1 s?-1 s:" + ok + " close"},
		{name: "midway: rest of a body, then a response", conn: midway, calls: []told{c("?"), s("?"), s("rest"), s("rest" + ok), c(get)},
			want: "http1 c?-1 s?-1 s?-1 s:rest" + ok + " c:" + get + " close"},
		{name: "midway: rest of a request's body, shown by the response", conn: midway, calls: []told{c("?"), c("rest"), c("rest"), s("?"), s(ok)},
			want: "http1 c?-1 c?-1 s?-1 s:" + ok + " close"},
		{name: "midway: swapped", conn: midway, calls: []told{s("?"), s(get), c("?"), c(ok)}, want: "http1 c?-1 c:" + get + " s?-1 s:" + ok + " close"},
		{name: "midway: swapped hello", conn: midway, calls: []told{c("?"), c(serverHello)}, want: "tls s?-1 s:" + serverHello + " close"},
		{name: "midway: TLS", conn: midway, calls: []told{s("?"), s(records)}, want: "tls s?-1 s:" + records + " close"},
		{name: "midway: HTTP/2", conn: midway, calls: []told{c("?"), c(headers + settings + headers[:9])}, loss: exchange.HTTP2Unreadable},
		{name: "midway: HTTP/2 from its begin", conn: midway, calls: []told{c("?"), c(preface)}, want: "http2 c?-1 c:" + preface + " close"},
		{name: "midway: no frames", conn: midway, calls: []told{c("?"), c("\x00\x00\x00\x00\x00\x00\x00\x00\x00")}, loss: exchange.NotHTTP},
		{name: "midway: the version in a text", conn: midway, calls: []told{c("?"), c("we speak HTTP/1.1 here, not HTTP/1.")}, loss: exchange.NotHTTP},
		{name: "a lost first request", calls: []told{c("?"), s(ok), c(get)}, want: "http1 c?-1 s:" + ok + " c:" + get + " close"},
		{name: "not swapped where the handshake was seen", calls: []told{c("?"), c(ok)}, want: "http1 c?-1 c:" + ok + " close"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, loss := recognized(test.conn, test.calls)
			if got != test.want {
				t.Errorf("told\n\t%q, want\n\t%q", got, test.want)
			}
			want := exchange.Loss{}
			if test.loss != "" {
				want.Add(test.loss, 1)
			}
			if diff := cmp.Diff(want, loss); diff != "" {
				t.Errorf("loss (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSwappedConn checks that the parser of a swapped connection learns who is who.
func TestSwappedConn(t *testing.T) {
	w := newWire(4000, 0, 0)
	var got Conn
	p := Parsers{HTTP1: func(c Conn) exchange.Stream { got = c; return unread{} }}
	r := NewRecognizer(newConn(w.ends[0], w.ends[1], 7, epoch, true), p, exchange.Loss{})
	r.Data(fromServer, []byte("GET / HTTP/1.1\r\n"), epoch)
	if got.Client != w.ends[1] || got.Server != w.ends[0] || got.Session != "10.0.0.2:80-10.0.0.1:4000#7" {
		t.Errorf("client %s, server %s, session %s", got.Client, got.Server, got.Session)
	}
}

// TestWithoutParser checks what TLS within TLS comes to.
func TestWithoutParser(t *testing.T) {
	loss := exchange.Loss{}
	r := NewRecognizer(Conn{}, Parsers{}, loss)
	r.Data(fromClient, []byte("\x16\x03\x01\x00\x05\x01...."), epoch)
	r.Close(epoch)
	if diff := cmp.Diff(exchange.Loss{exchange.NotHTTP: 1}, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

// TestSeekEnds checks that a connection joined midway is not looked through for ever.
func TestSeekEnds(t *testing.T) {
	loss := exchange.Loss{}
	r := NewRecognizer(Conn{Midway: true}, Parsers{}, loss)
	for range maxSought/1000 + 1 {
		r.Data(fromClient, []byte(strings.Repeat("-", 1000)), epoch)
	}
	if loss[exchange.NotHTTP] != 1 {
		t.Errorf("loss %v, want the connection given up", loss)
	}
}

// FuzzRecognizer gives any bytes in any pieces: what a parser is told, and what it is not told, is all.
func FuzzRecognizer(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3), false)
	f.Add([]byte(preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"), uint8(7), false)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01...."), uint8(1), true)
	f.Add([]byte("rest HTTP/1.1 200 OK\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), uint8(20), true)
	f.Fuzz(func(t *testing.T, b []byte, size uint8, midway bool) {
		var got int
		loss := exchange.Loss{}
		parser := func(Conn) exchange.Stream { return &sizes{&got} }
		r := NewRecognizer(Conn{Midway: midway}, Parsers{HTTP1: parser, HTTP2: parser, TLS: parser}, loss)
		for i := 0; i < len(b); i += int(size) + 1 {
			r.Data(exchange.Direction(i/(int(size)+1)&1), b[i:min(len(b), i+int(size)+1)], time.Time{})
		}
		r.Close(time.Time{})
		switch counted := loss[exchange.NotHTTP] + loss[exchange.HTTP2Unreadable]; {
		case got > len(b) || got < len(b) && !midway && counted == 0:
			t.Errorf("%d bytes told of %d", got, len(b))
		case counted > 1 || counted == 1 && got > 0 || counted == 0 && got == 0 && len(b) > 0:
			t.Errorf("counted %d times, with %d bytes told", counted, got)
		}
	})
}

type sizes struct{ n *int }

func (s *sizes) Data(_ exchange.Direction, b []byte, _ time.Time) { *s.n += len(b) }
func (*sizes) Gap(exchange.Direction, int64, time.Time)           {}
func (*sizes) End(exchange.Direction, time.Time, bool)            {}
func (*sizes) Close(time.Time)                                    {}

// ExampleNewRecognizer shows how what TLS carried is recognised: by another Recognizer, which knows no TLS.
func ExampleNewRecognizer() {
	loss := exchange.Loss{}
	http1 := func(c Conn) exchange.Stream { fmt.Println("HTTP/1"); return unread{} }
	plain := NewRecognizer(Conn{}, Parsers{HTTP1: http1}, loss)
	plain.Data(exchange.FromClient, []byte("GET / HTTP/1.1\r\n\r\n"), epoch)
	// Output: HTTP/1
}
