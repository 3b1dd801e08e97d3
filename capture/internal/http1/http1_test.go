package http1

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// sink writes down what becomes of each exchange, in the order in which they began.
type sink struct {
	loss  exchange.Loss
	begun []*exchange.Exchange
	ended map[*exchange.Exchange]string
	held  map[*exchange.Exchange]int
	full  func(e *exchange.Exchange) bool // whether it has no room for it
}

func newSink() *sink {
	return &sink{loss: exchange.Loss{}, ended: map[*exchange.Exchange]string{}, held: map[*exchange.Exchange]int{}}
}

func (s *sink) Begin(start time.Time, _ string) *exchange.Exchange {
	e := &exchange.Exchange{Start: start}
	s.begun = append(s.begun, e)
	return e
}

func (s *sink) Grow(e *exchange.Exchange, n int) {
	s.held[e] += n
	if s.full != nil && s.full(e) {
		e.Gone = true
	}
}

func (s *sink) Done(e *exchange.Exchange) {
	s.end(e, describe(e))
}

func (s *sink) Drop(e *exchange.Exchange, why exchange.Cause) {
	s.loss.Add(why, 1)
	s.end(e, string(why))
}

func (s *sink) end(e *exchange.Exchange, how string) {
	if was, twice := s.ended[e]; twice {
		how = fmt.Sprintf("ended twice: %s, %s", was, how)
	}
	s.ended[e] = how
}

// list gives how each exchange ended.
func (s *sink) list() []string {
	var all []string
	for _, e := range s.begun {
		how, ok := s.ended[e]
		if !ok {
			how = "never ended"
		}
		all = append(all, how)
	}
	return all
}

// describe writes an exchange on a line: `METHOD scheme://authority path {headers} body -> status latency body digest`.
func describe(e *exchange.Exchange) string {
	if e.Gone {
		return "gone"
	}
	r := &e.Request
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s://%s %s", r.Method, r.Scheme, r.Authority, r.Path)
	for _, h := range r.Headers {
		if h[0] != "Host" {
			fmt.Fprintf(&b, " {%s: %s}", h[0], h[1])
		}
	}
	if r.Body != nil {
		fmt.Fprintf(&b, " %q", r.Body)
	}
	if !e.Whole {
		b.WriteString(" not whole")
	}
	if a := r.Response; a != nil {
		fmt.Fprintf(&b, " -> %d %v %s", a.Status, a.Latency, a.BodySHA256[:6])
	}
	return b.String()
}

// digest is how describe shows a body's digest.
func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])[:6]
}

// A step is something that a connection carried, a second behind the step before.
type step func(s exchange.Stream, at time.Time, cut int)

// data gives a segment, cut in pieces of so many bytes where cut is above 0, and in two at -cut where it is below.
func data(d exchange.Direction, text string) step {
	return func(s exchange.Stream, at time.Time, cut int) {
		b := []byte(text)
		switch {
		case cut < 0 && -cut < len(b):
			give(s, d, b[:-cut], at)
			give(s, d, b[-cut:], at)
		case cut > 0:
			for ; len(b) > cut; b = b[cut:] {
				give(s, d, b[:cut], at)
			}
			give(s, d, b, at)
		default:
			give(s, d, b, at)
		}
	}
}

// give gives bytes that are overwritten after the call, as the contract allows.
func give(s exchange.Stream, d exchange.Direction, b []byte, at time.Time) {
	own := append([]byte(nil), b...)
	s.Data(d, own, at)
	for i := range own {
		own[i] = '#'
	}
}

func c(text string) step { return data(exchange.FromClient, text) }
func s(text string) step { return data(exchange.FromServer, text) }

func gap(d exchange.Direction, n int64) step {
	return func(s exchange.Stream, at time.Time, _ int) { s.Gap(d, n, at) }
}
func cgap(n int64) step { return gap(exchange.FromClient, n) }
func sgap(n int64) step { return gap(exchange.FromServer, n) }

func fin(d exchange.Direction) step {
	return func(s exchange.Stream, at time.Time, _ int) { s.End(d, at, false) }
}

func reset(s exchange.Stream, at time.Time, _ int) { s.End(exchange.FromServer, at, true) }

// at makes a step happen earlier or later than its turn.
func at(shift time.Duration, do step) step {
	return func(s exchange.Stream, at time.Time, cut int) { do(s, at.Add(shift), cut) }
}

var epoch = time.Unix(1_700_000_000, 0)

var limits = exchange.Limits{Body: 64, Head: 512}

// play runs a connection and gives what became of its exchanges and what was lost.
func play(steps []step, cut int, upgrade func(*exchange.Exchange) exchange.Stream) ([]string, exchange.Loss) {
	sink := newSink()
	p := New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Session: "s", Scheme: "http", Authority: "10.0.0.1:80", UpgradeTo: upgrade})
	now := epoch
	for _, do := range steps {
		now = now.Add(time.Second)
		do(p, now, cut)
	}
	p.Close(now)
	return sink.list(), sink.loss
}

// Requests and answers that many tests share. get(n) has the path /n.
func get(n int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", n) }
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

const chunkedOK = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

var wellFormed = map[string]struct {
	steps []step
	want  []string
	loss  exchange.Loss
}{
	"keep-alive": {
		[]step{c(get(1)), s(ok("one")), c(get(2)), s(ok("two"))},
		[]string{"GET http://h /1 -> 200 1s " + digest("one"), "GET http://h /2 -> 200 1s " + digest("two")}, nil},
	"pipelining": {
		[]step{c(get(1) + get(2) + get(3)), s(ok("one") + ok("two")), s(ok("three"))},
		[]string{"GET http://h /1 -> 200 1s " + digest("one"), "GET http://h /2 -> 200 1s " + digest("two"),
			"GET http://h /3 -> 200 2s " + digest("three")}, nil},
	"the answer comes before the request is complete": {
		[]step{c("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab"), s(ok("early")), c("cd" + get(2)), s(ok("two"))},
		[]string{`POST http://h /1 {Content-Length: 4} "abcd" -> 200 1s ` + digest("early"), "GET http://h /2 -> 200 1s " + digest("two")}, nil},
	"chunked both ways, with extensions and trailers": {
		[]step{c("POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n00A ; x\r\n0123456789\r\n0\r\nX: y\r\nZ: \r\n\r\n"),
			s(chunkedOK + "1\r\na\r\n"), s("2\r\nbc\r\n0;last\r\n\r\n"), c(get(2)), s(ok(""))},
		[]string{`POST http://h / {transfer-encoding: Chunked} "abc0123456789" -> 200 2s ` + digest("abc"), "GET http://h /2 -> 200 1s " + digest("")}, nil},
	"chunked goes before a length": {
		[]step{c(get(1)), s("HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")},
		[]string{"GET http://h /1 -> 200 1s " + digest("a")}, nil},
	"100-continue": {
		[]step{c("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"), s("HTTP/1.1 100 Continue\r\n\r\n"), c("ab"), s(ok("x"))},
		[]string{`PUT http://h / {Expect: 100-continue} {Content-Length: 2} "ab" -> 200 3s ` + digest("x")}, nil},
	"interim answers": {
		[]step{c(get(1)), s("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"), s(ok("x"))},
		[]string{"GET http://h /1 -> 200 2s " + digest("x")}, nil},
	"no body in answers to HEAD, in 204 and in 304": {
		[]step{c("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + get(2) + get(3) + get(4)),
			s("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n" + ok("x"))},
		[]string{"HEAD http://h / -> 200 1s " + digest(""), "GET http://h /2 -> 204 1s " + digest(""), "GET http://h /3 -> 304 1s " + digest(""),
			"GET http://h /4 -> 200 1s " + digest("x")}, nil},
	"CONNECT that is answered is a tunnel": {
		[]step{c("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x16\x03"), c(get(1)), s(ok(""))},
		[]string{"requests_not_replayable"}, exchange.Loss{exchange.NotReplayable: 1, exchange.Upgraded: 1}},
	"CONNECT that is refused, and a request behind it": {
		[]step{c("CONNECT h:443 HTTP/1.1\r\n\r\n" + get(1)), s("HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno" + ok("x"))},
		[]string{"requests_not_replayable", "GET http://h /1 -> 200 1s " + digest("x")}, exchange.Loss{exchange.NotReplayable: 1}},
	"websocket": {
		[]step{c("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n"), s("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05"), c("\x81\x85GET / HTTP/1.1\r\n\r\n")},
		[]string{"GET http://h / {Upgrade: websocket} -> 101 1s " + digest("")}, exchange.Loss{exchange.Upgraded: 1}},
	"websocket whose first frame is seen before the 101": {
		[]step{c("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81"), c("\x05frame"), s("HTTP/1.1 101 Switching\r\n\r\n")},
		[]string{"GET http://h / {Upgrade: websocket} -> 101 2s " + digest("")}, exchange.Loss{exchange.Upgraded: 1}},
	"an upgrade that is declined": {
		[]step{c(get(0) + "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n" + get(2)), c(get(3)), fin(exchange.FromClient), s(ok("0") + ok("one") + ok("two") + ok("3"))},
		[]string{"GET http://h /0 -> 200 3s " + digest("0"), "GET http://h / {Upgrade: h2c} -> 200 3s " + digest("one"),
			"GET http://h /2 -> 200 3s " + digest("two"), "GET http://h /3 -> 200 2s " + digest("3")}, nil},
	"a body that the close delimits": {
		[]step{c(get(1)), s("HTTP/1.0 200 OK\r\n\r\nab"), s("c"), fin(exchange.FromServer)},
		[]string{"GET http://h /1 -> 200 2s " + digest("abc")}, nil},
	"a body that a reset delimits": {
		[]step{c(get(1)), s("HTTP/1.0 200 OK\r\n\r\nab"), reset},
		[]string{"GET http://h /1"}, exchange.Loss{exchange.ResponsesCut: 1}},
	"a body that the capture's end delimits": {
		[]step{c(get(1)), s("HTTP/1.0 200 OK\r\n\r\nab")},
		[]string{"GET http://h /1"}, exchange.Loss{exchange.ResponsesCut: 1}},
	"bodies cut by a close": {
		[]step{c(get(1) + "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc"), fin(exchange.FromClient), s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), fin(exchange.FromServer)},
		[]string{"GET http://h /1", "requests_incomplete"}, exchange.Loss{exchange.RequestsCut: 1, exchange.ResponsesCut: 1}},
	"heads cut by a close": {
		[]step{c("GET / HTTP/1.1\r\nHost"), fin(exchange.FromClient), s("HTTP/1.1 400 Bad\r\n\r\n"), fin(exchange.FromServer)},
		[]string{"requests_incomplete"}, exchange.Loss{exchange.RequestsCut: 1}},
	"the server closes without an answer": {
		[]step{c(get(1)), fin(exchange.FromServer), c(get(2))},
		[]string{"GET http://h /1", "GET http://h /2"}, exchange.Loss{exchange.RequestsWithoutResponse: 2}},
	"empty lines, bare LF, folded lines": {
		[]step{c("\r\n\nGET / HTTP/1.1\nHost: h\nX: a\n  b\r\n\tc \nY:\n z\n\n\r\n"), s("HTTP/1.1 200\nContent-Length:\n 1\n\nx"), c("\r\n" + get(2)), s(ok("y"))},
		[]string{"GET http://h / {X: a b c} {Y: z} -> 200 1s " + digest("x"), "GET http://h /2 -> 200 1s " + digest("y")}, nil},
	"names as they stood on the wire, space around values, lines in order": {
		[]step{c("GET /a?b=c&d HTTP/1.1\r\nhOST: h\r\nx-a: \t1 2 \r\nX-A:2\r\nempty:\r\n\r\n"), s(ok(""))},
		[]string{"GET http://h /a?b=c&d {hOST: h} {x-a: 1 2} {X-A: 2} {empty: } -> 200 1s " + digest("")}, nil},
	"targets in absolute form": {
		[]step{c("GET http://u:p@other:81/a?b HTTP/1.1\r\nHost: h\r\n\r\nGET HTTPS://other?x HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS http://other HTTP/1.1\r\nHost: h\r\n\r\nGET http://other HTTP/1.1\r\n\r\n"), s(ok("") + ok("") + ok("") + ok(""))},
		[]string{"GET http://other:81 /a?b -> 200 1s e3b0c4", "GET https://other /?x -> 200 1s e3b0c4", "OPTIONS http://other * -> 200 1s e3b0c4",
			"GET http://other / -> 200 1s e3b0c4"}, nil},
	"a scheme that is not HTTP's": {
		[]step{c("GET ftp://other/a HTTP/1.1\r\n\r\n" + get(2)), s(ok("a") + ok("b"))},
		[]string{"requests_not_replayable", "GET http://h /2 -> 200 1s " + digest("b")}, exchange.Loss{exchange.NotReplayable: 1}},
	"OPTIONS *": {
		[]step{c("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), s(ok(""))},
		[]string{"OPTIONS http://h * -> 200 1s e3b0c4"}, nil},
	"no Host": {
		[]step{c("GET / HTTP/1.0\r\n\r\n"), s(ok(""))},
		[]string{"GET http://10.0.0.1:80 / -> 200 1s e3b0c4"}, nil},
	"two Hosts": {
		[]step{c("GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n" + get(2)), s(ok("bad") + ok("two"))},
		[]string{"requests_malformed", "GET http://h /2 -> 200 1s " + digest("two")}, exchange.Loss{exchange.RequestsMalformed: 1}},
	"the same length twice": {
		[]step{c("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\nx" + get(2)), s(ok("") + ok(""))},
		[]string{`POST http://h / {Content-Length: 1} {content-length: 1} "x" -> 200 1s e3b0c4`, "GET http://h /2 -> 200 1s e3b0c4"}, nil},
	"transfer codings besides chunked": {
		[]step{c("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: , chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + get(2)), s(ok("") + "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nabc"), fin(exchange.FromServer)},
		[]string{"requests_not_replayable", "GET http://h /2 -> 200 1s " + digest("abc")}, exchange.Loss{exchange.NotReplayable: 1}},
	"bodies that are too long": {
		[]step{c("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 65\r\n\r\n" + strings.Repeat("x", 65) +
			"POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + strings.Repeat("x", 32) + "\r\n21\r\n" + strings.Repeat("x", 33) + "\r\n0\r\n\r\n" +
			"POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 64\r\n\r\n" + strings.Repeat("x", 64)), s(ok("a") + ok("b") + ok("c"))},
		[]string{"requests_with_bodies_too_long", "requests_with_bodies_too_long",
			"POST http://h /3 {Content-Length: 64} \"" + strings.Repeat("x", 64) + "\" -> 200 1s " + digest("c")}, exchange.Loss{exchange.BodyTooLong: 2}},
	"an answer of several segments counts to the last one": {
		[]step{c(get(1)), s("HTTP/1.1 200 OK\r\nContent-Le"), s("ngth: 3\r\n\r\na"), s("b"), s("c")},
		[]string{"GET http://h /1 -> 200 4s " + digest("abc")}, nil},
	"an answer that nobody asked for": {
		[]step{c(get(1)), s(ok("x")), s("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"), fin(exchange.FromServer)},
		[]string{"GET http://h /1 -> 200 1s " + digest("x")}, exchange.Loss{exchange.ResponsesWithoutRequest: 1}},
	"no answers at all": {
		[]step{c(get(1) + get(2))},
		[]string{"GET http://h /1", "GET http://h /2"}, exchange.Loss{exchange.RequestsWithoutResponse: 2}},
}

func TestWellFormed(t *testing.T) {
	for name, test := range wellFormed {
		t.Run(name, func(t *testing.T) {
			want := maps.Clone(test.loss)
			if want == nil {
				want = exchange.Loss{}
			}
			// In one piece, byte by byte, in small pieces, and in two pieces at each byte.
			for cut := -400; cut <= 7; cut++ {
				got, loss := play(test.steps, cut, nil)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Fatalf("cut %d: exchanges (-want +got):\n%s", cut, diff)
				}
				if diff := cmp.Diff(want, loss); diff != "" {
					t.Fatalf("cut %d: loss (-want +got):\n%s", cut, diff)
				}
			}
		})
	}
}

func TestMalformedRequest(t *testing.T) {
	for name, request := range map[string]string{
		"no version":                     "GET /\r\n\r\n",
		"a version that is not 1.x":      "GET / HTTP/2.0\r\n\r\n",
		"the HTTP/2 preface":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a space in the target":          "GET /a b HTTP/1.1\r\n\r\n",
		"no target":                      "GET  HTTP/1.1\r\n\r\n",
		"a target of no form":            "GET a HTTP/1.1\r\n\r\n",
		"* for GET":                      "GET * HTTP/1.1\r\n\r\n",
		"no authority in the target":     "GET http:///a HTTP/1.1\r\n\r\n",
		"a method that is no token":      "G(T / HTTP/1.1\r\n\r\n",
		"a line without a colon":         "GET / HTTP/1.1\r\nHost\r\n\r\n",
		"no name":                        "GET / HTTP/1.1\r\n: x\r\n\r\n",
		"space before the colon":         "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
		"a fold before the first field":  "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
		"a bare CR":                      "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
		"a NUL":                          "GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
		"two lengths":                    "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"a length that is none":          "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
		"an empty length":                "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
		"a length beyond all bounds":     "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"chunked is not the last coding": "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
		"chunked is not a coding at all": "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
		"chunked in HTTP/1.0":            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a head that is too long":        "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 512) + "\r\n\r\n",
		"a head without an end":          "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 512),
		"a chunk without a size":         "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
		"a chunk of a negative size":     "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
		"a chunk of 2^60 bytes":          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
		"a chunk longer than its size":   "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"a chunk line that ends in LF":   "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
		"an extension that ends in LF":   "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\na\n0\n\n",
		"an endless extension":           "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 600),
		"endless trailers":               "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			for cut := -700; cut <= 5; cut++ {
				// What follows in the same segment is lost; the next segment is read again, without an answer.
				got, loss := play([]step{c(request), c(get(2)), s(ok("bad") + ok("two"))}, cut, nil)
				if cut != 0 { // only whole segments begin with a request
					got = got[:1]
				} else if diff := cmp.Diff([]string{"GET http://h /2"}, got[1:]); diff != "" {
					t.Errorf("behind it (-want +got):\n%s", diff)
				}
				if got[0] != string(exchange.RequestsMalformed) || loss[exchange.RequestsMalformed] == 0 {
					t.Errorf("cut %d: %v, %v; want it malformed", cut, got, loss)
				}
			}
		})
	}
}

func TestMalformedResponse(t *testing.T) {
	for name, response := range map[string]string{
		"not HTTP":                "SSH-2.0\r\n\r\n",
		"no status":               "HTTP/1.1 OK\r\n\r\n",
		"a status of two digits":  "HTTP/1.1 20 OK\r\n\r\n",
		"a status of four digits": "HTTP/1.1 2000 OK\r\n\r\n",
		"a status below 100":      "HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/2":                  "HTTP/2 200 OK\r\n\r\n",
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"a length that is none":   "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"a bad chunk":             chunkedOK + "x\r\n",
		"chunked in HTTP/1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a line without a colon":  "HTTP/1.1 200 OK\r\nX\r\n\r\n",
		"too long a head":         "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 512) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, loss := play([]step{c(get(1) + get(2)), s(response + ok("x")), s(ok("two"))}, 0, nil)
			if diff := cmp.Diff([]string{"GET http://h /1", "GET http://h /2"}, got); diff != "" {
				t.Errorf("exchanges (-want +got):\n%s", diff)
			}
			want := exchange.Loss{exchange.ResponsesMalformed: 1, exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}
			if diff := cmp.Diff(want, loss); diff != "" {
				t.Errorf("loss (-want +got):\n%s", diff)
			}
		})
	}
}
