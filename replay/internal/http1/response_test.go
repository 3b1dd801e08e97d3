package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// said is all that a parser says of one response.
type said struct {
	ok       bool // complete
	status   int
	body     int64
	reusable bool
	consumed int
}

// reference is what net/http says of b: a client's loop over http.ReadResponse, which reads the body to its end.
func reference(b []byte, head bool) (out said) {
	const buffer = 16 << 10
	method := http.MethodGet
	if head {
		method = http.MethodHead
	}
	under := bytes.NewReader(b)
	r := bufio.NewReaderSize(under, buffer)
	for {
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return said{}
		}
		if response.StatusCode/100 == 1 && response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			return said{}
		}
		reusable := !response.Close && response.StatusCode != http.StatusSwitchingProtocols
		return said{true, response.StatusCode, n, reusable, len(b) - under.Len() - r.Buffered()}
	}
}

// run is what a Response says of b when it comes in pieces of the sizes given in turn (none: in one piece).
func run(p *Response, b []byte, head bool, pieces []byte) (out said, err error) {
	p.Start(head)
	done := false
	for i := 0; out.consumed < len(b) && !done && err == nil; i++ {
		piece := b[out.consumed:]
		if len(pieces) > 0 {
			piece = piece[:min(len(piece), int(pieces[i%len(pieces)])+1)]
		}
		var n int
		n, done, err = p.Feed(bytes.Clone(piece))
		if !done && err == nil && n != len(piece) {
			return out, fmt.Errorf("Feed took %d of %d bytes and is not done", n, len(piece))
		}
		out.consumed += n
	}
	if err == nil {
		err = p.End()
	}
	if err != nil {
		return said{status: p.Status}, err
	}
	return said{true, p.Status, p.body, p.Reusable(), out.consumed}, nil
}

// check compares the parser with net/http, and itself in pieces with itself in one. It gives what is behind a response
// after which the connection may be used again.
func check(t *testing.T, p *Response, b []byte, head bool, pieces []byte) (rest []byte) {
	t.Helper()
	want := reference(b, head)
	got, err := run(p, b, head, nil)
	begun := p.Begun()
	torn, tornErr := run(p, b, head, pieces)
	if got != torn || errors.Is(err, ErrMalformed) != errors.Is(tornErr, ErrMalformed) || begun != p.Begun() {
		t.Fatalf("%q in one piece: %+v, %v, begun %v; in pieces: %+v, %v, begun %v", b, got, err, begun, torn, tornErr, p.Begun())
	}
	if err != nil && !errors.Is(err, ErrMalformed) && err != io.ErrUnexpectedEOF {
		t.Fatalf("%q: error %v", b, err)
	}
	switch {
	case errors.Is(err, errTrailerEnd):
		if end := refusedAt(p, b, head); reference(b[:end], head).ok {
			t.Fatalf("%q, which ends with a trailer section: %v; net/http takes it", b[:end], err)
		}
	case err != nil && want.ok:
		t.Fatalf("%q: %v; net/http says %+v", b, err, want)
	case err == nil && got != want:
		t.Fatalf("%q: %+v; net/http says %+v", b, got, want)
	}
	if got.status != 0 && !begun {
		t.Fatalf("%q: status %d, and not begun", b, got.status)
	}
	if !got.reusable {
		return nil
	}
	return b[got.consumed:]
}

// refusedAt is how many bytes of b the parser takes up to its refusal.
func refusedAt(p *Response, b []byte, head bool) int {
	p.Start(head)
	for i := range b {
		if _, _, err := p.Feed(b[i : i+1]); err != nil {
			return i + 1
		}
	}
	return len(b)
}

const nginx = "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 23 Nov 2026 20:31:07 GMT\r\nContent-Type: text/html\r\n" +
	"Content-Length: 615\r\nLast-Modified: Mon, 23 Nov 2026 18:30:00 GMT\r\nConnection: keep-alive\r\nETag: \"6742a5b8-267\"\r\nAccept-Ranges: bytes\r\n\r\n"

var usual = []byte(nginx + strings.Repeat("x", 615))

// responses are heads and bodies of every framing, right and wrong. They are the table of TestAgreesWithNetHTTP and the
// seeds of FuzzResponse.
func responses() []string {
	with := func(headers string) string { return "HTTP/1.1 200 OK\r\n" + headers + "\r\n" }
	chunked := func(body string) string { return with("Transfer-Encoding: chunked\r\n") + body }
	out := []string{
		string(usual), string(usual) + string(usual), "", "\r\n", "H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n", "garbage\r\n\r\n", "\x16\x03\x01\x00\x01\r\n\r\n",
		// Status lines.
		"HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/1.1   200 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "HTTP/1.1 -00 OK\r\n\r\n",
		"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 050 OK\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
		"HTTP/1.1 200\tOK\r\n\r\n", "HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1 200 \xff\x00\r\n\r\n", "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200\r\r\n\r\n", "http/1.1 200 OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/0.9 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/0.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.12 200 OK\r\n\r\n", "HTTP/1 200 OK\r\n\r\n", "HTTP/1.x 200 OK\r\n\r\n", "HTTP/3.1 200\n\n",
		// Interim responses and a change of protocol.
		"HTTP/1.1 100 Continue\r\n\r\n" + string(usual), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 102 Processing\r\nTransfer-Encoding: gzip\r\n\r\n" + string(usual), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes", "HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 100 Continue\r\nContent-Length: x\r\n\r\n" + string(usual), "HTTP/1.1 100\n\nHTTP/1.1 100\n\nHTTP/1.1 304\n\n",
		// Content-Length.
		with("Content-Length: 5\r\n") + "hello", with("Content-Length: 5\r\n") + "hell", with("Content-Length: 5\r\n") + "hello more", with("content-length: 0\r\n"), with("CONTENT-LENGTH:\t5 \t\r\n") + "hello",
		with("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello", with("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello", with("Content-Length: 5\r\nContent-Length: 05\r\n") + "hello",
		with("Content-Length: 5, 5\r\n") + "hello", with("Content-Length: -5\r\n"), with("Content-Length: +5\r\n") + "hello", with("Content-Length: 0x5\r\n"), with("Content-Length: \r\n"), with("Content-Length:\r\n"),
		with("Content-Length: 9223372036854775807\r\n") + "x", with("Content-Length: 9223372036854775808\r\n") + "x", with("Content-Length: 92233720368547758070\r\n"), with("Content-Length: 00000000000000000000005\r\n") + "hello",
		with("Content-Length : 5\r\n") + "hello", with("Content-Length: 5\r\n \r\n") + "hello", with("Content-Length:\r\n 5\r\n") + "hello", with("Content-Length: 5\r\n 5\r\n") + "hello", with("Content-Length: 1_0\r\n") + "0123456789",
		// No length, and both.
		with("") + "until the end", with("Content-Type: text/plain\r\n"), with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", with("Content-Length: x\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 204 x\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 205 Reset\r\n\r\n",
		// Connection and versions.
		with("Connection: close\r\nContent-Length: 0\r\n"), with("Connection: Keep-Alive, CLOSE\r\nContent-Length: 0\r\n"), with("Connection: x\r\nConnection: ,close ,\r\nContent-Length: 0\r\n"), with("Connection: closed\r\nContent-Length: 0\r\n"), with("Connection: clos\xe5\r\nContent-Length: 0\r\n"),
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nx",
		// Header lines.
		with("A b: c\r\nContent-Length: 0\r\n"), with(": c\r\n"), with("a\r\n"), with("a\r\n : b\r\n"), with(" a: b\r\n"), with("\ta: b\r\n"), with(" \r\n"), with("a\t: b\r\n"), with("a\x00: b\r\n"), with("a: \x00\r\n"), with("a: b\x7f123456789\r\n"), with("a: 1234567\tb\xff\r\nContent-Length: 0\r\n"),
		with("a: b\rc\r\n"), with("a: b\r\r\n"), with("\ra: b\r\n"), with("\xc3\xa9: b\r\n"), with("a:\r\nContent-Length: 0\r\n"), with("a: b\r\n\tc\r\n  d:\r\nContent-Length: 0\r\n"), with("a: b\r\n \r\n \r\nContent-Length: 0\r\n"), with("a: b\r\n c\x01\r\n"),
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok", "HTTP/1.1 200 OK\nA: b\n c\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r", with("Content-Length: 0\r\nConnection:\r\n close\r\n"), with("Connection: clo\r\n se\r\nContent-Length: 0\r\n"),
		// Chunked.
		chunked("5\r\nhello\r\n0\r\n\r\n"), chunked("5\r\nhello\r\n0\r\n\r\n") + string(usual), chunked("5;a=b;c=\"d\"\r\nhello\r\n00;x\r\n\r\n"), chunked("5 \t\r\nhello\r\n0\r\n\r\n"), chunked("5 ;a\r\nhello\r\n0\r\n\r\n"), chunked(" 5\r\nhello\r\n0\r\n\r\n"),
		chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), chunked("5\nhello\r\n0\r\n\r\n"), chunked("5\r\nhello\n0\r\n\r\n"), chunked("5\r\nhelloX\r\n0\r\n\r\n"), chunked("5\r\nhello\rX0\r\n\r\n"), chunked("\r\n"), chunked(";\r\n"), chunked("g\r\n"), chunked("-1\r\n"), chunked("0x5\r\nhello\r\n"), chunked("5\r\r\nhello\r\n0\r\n\r\n"),
		chunked("0000000000000005\r\nhello\r\n0\r\n\r\n"), chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"), chunked("ffffffffffffffff\r\nx"), chunked("4000000000000002\r\nx"), chunked("8000000000000000\r\nx"), chunked("5\r\nhel"), chunked("5\r\nhello"), chunked("5\r\nhello\r\n"), chunked("0\r\n"), chunked("0\r\n\r"),
		chunked("1;" + strings.Repeat("x", 4090) + "\r\nx\r\n0\r\n\r\n"), chunked("1;" + strings.Repeat("x", 4093) + "\r\nx\r\n0\r\n\r\n"), chunked("1;" + strings.Repeat("x", 4094) + "\r\nx\r\n0\r\n\r\n"), chunked("1;" + strings.Repeat("x", 5000)),
		chunked(strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\nx\r\n", 8) + "0\r\n\r\n"), chunked(strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\nx\r\n", 9) + "0\r\n\r\n"), chunked(strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\nx\r\n", 8) + "0;" + strings.Repeat("x", 2000) + "\r\n\r\n"),
		// Trailers.
		chunked("0\r\nA: b\r\nC: d\r\n\r\n"), chunked("0\r\nA: b\r\n c\r\n\r\n") + string(usual), chunked("0\r\nA: b\n\n"), chunked("0\r\n\n"), chunked("0\r\n\n\r\n\r\n"), chunked("0\r\nA: b\n\r\n"), chunked("0\r\nA: b\r\n\n"), chunked("0\r\nA: b\r\n\nX\r\n\r\n"), chunked("0\r\nA\r\n\r\n"), chunked("0\r\n A: b\r\n\r\n"), chunked("0\r\nA: b\x01\r\n\r\n"), chunked("0\r\nContent-Length: x\r\nA: b\r\n \r\n\r\n"),
		chunked("0\r\nA: " + strings.Repeat("x", maxTrailer-7) + "\r\n\r\n"), chunked("0\r\nA: " + strings.Repeat("x", maxTrailer-8) + "\r\n\r\n"), chunked("0\r\nA: " + strings.Repeat("x", maxTrailer-6) + "\r\n\r\n"),
		with("Trailer: A, B\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", with("Trailer: A, content-length\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", with("Trailer: Trailer\r\nContent-Length: 0\r\n"), with("TRAILER: \t,Transfer-encoding\t,\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		// Transfer-Encoding.
		with("Transfer-Encoding: Chunked\r\n") + "0\r\n\r\n", with("Transfer-Encoding: chunked\t \r\n") + "0\r\n\r\n", with("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", with("Transfer-Encoding: identity\r\n"), with("Transfer-Encoding:\r\n"), with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", with("Transfer-Encoding: chunked\r\n \r\n") + "0\r\n\r\n", with("Transfer-Encoding:\r\n chunked\r\n") + "0\r\n\r\n", with("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n"),
	}
	return out
}

func TestAgreesWithNetHTTP(t *testing.T) {
	for i, b := range responses() {
		for _, head := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/head=%v", i, head), func(t *testing.T) {
				for _, pieces := range [][]byte{{0}, {1}, {2, 0, 6}, {30}, {255}} {
					var p Response
					check(t, &p, []byte(b), head, pieces)
				}
				var p Response
				for cut := range min(len(b), 400) {
					check(t, &p, []byte(b[:cut]), head, []byte{4})
				}
			})
		}
	}
}

func TestMeaning(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		head        bool
		want        said
	}{
		{"nginx", string(usual) + "next", false, said{true, 200, 615, true, len(usual)}},
		{"HEAD", nginx + "next", true, said{true, 200, 0, true, len(nginx)}},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nabc", false, said{true, 200, 3, false, 22}},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", false, said{true, 201, 1, true, 69}},
		{"101", "HTTP/1.1 101 x\r\n\r\nbytes", false, said{true, 101, 0, false, 18}},
		{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nHTTP", false, said{true, 200, 3, true, 66}},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false, said{true, 200, 0, false, 57}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Response
			for range 2 { // the second time the head is known
				got, err := run(&p, []byte(c.bytes), c.head, nil)
				if err != nil || got != c.want {
					t.Fatalf("%+v, %v; want %+v", got, err, c.want)
				}
			}
		})
	}
}

// TestKnownHead: a head that came before says the same again, for another method too, and one that differs is read.
func TestKnownHead(t *testing.T) {
	var p Response
	other := strings.Replace(nginx, "615", "614", 1)
	for i, c := range []struct {
		bytes string
		head  bool
		want  said
	}{
		{string(usual), false, said{true, 200, 615, true, len(usual)}},
		{string(usual), true, said{true, 200, 0, true, len(nginx)}},
		{other + strings.Repeat("x", 614), false, said{true, 200, 614, true, len(usual) - 1}},
		{string(usual), false, said{true, 200, 615, true, len(usual)}},
		{"HTTP/1.1 100 Continue\r\n\r\n" + string(usual), false, said{true, 200, 615, true, len(usual) + 25}},
	} {
		if got, err := run(&p, []byte(c.bytes), c.head, nil); err != nil || got != c.want {
			t.Errorf("response %d: %+v, %v; want %+v", i, got, err, c.want)
		}
	}
}

func TestBegun(t *testing.T) {
	for _, c := range []struct {
		name, before, then string
	}{
		{"final", "HTTP/1.1 ", "2"},
		{"101", "HTTP/1.1 101 Switching Protocols\r", "\n"},
		{"after an interim one", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 ", "4"},
		{"after an interim one in one piece", "HTTP/1.1 103 Early Hints\r\nLink: </a>", "\r\n\r\nHTTP/1.1 200 OK\r\n"},
		{"below 100", "HTTP/1.1  ", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Response
			p.Start(false)
			if _, _, err := p.Feed([]byte(c.before)); err != nil || p.Begun() || p.Status != 0 {
				t.Fatalf("begun %v, status %d after %q: %v", p.Begun(), p.Status, c.before, err)
			}
			if _, _, err := p.Feed([]byte(c.then)); err != nil || !p.Begun() {
				t.Fatalf("not begun after %q: %v", c.then, err)
			}
		})
	}
}

func TestStatusComesWithItsLine(t *testing.T) {
	var p Response
	p.Start(false)
	for _, piece := range []string{"HTTP/1.1 503 ", "Service Unavailable\r\n", "Retry-After: 1"} {
		want := 0
		if strings.HasPrefix(piece, "Retry") || strings.HasPrefix(piece, "Service") {
			want = 503
		}
		if _, done, err := p.Feed([]byte(piece)); done || err != nil || p.Status != want {
			t.Fatalf("after %q: done %v, status %d, %v; want %d", piece, done, p.Status, err, want)
		}
	}
	if err := p.End(); err != io.ErrUnexpectedEOF || p.Reusable() {
		t.Errorf("the end in the head: %v, reusable %v", err, p.Reusable())
	}
}

func TestBounds(t *testing.T) {
	start := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: "
	fill := func(n int) string { return start + strings.Repeat("x", n-len(start)-4) + "\r\n\r\n" }
	for _, c := range []struct {
		name, bytes string
		ok          bool
	}{
		{"a head of 1 MiB", fill(maxHead), true},
		{"a byte more", fill(maxHead + 1), false},
		{"a status line without end", strings.Repeat("x", maxHead+1), false},
		{"many lines", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxHead/6), false},
		{"one folded line", start + strings.Repeat("\r\n x", maxHead/4), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, pieces := range [][]byte{nil, {255}, {200, 3, 99}} {
				var p Response
				_, err := run(&p, []byte(c.bytes), false, pieces)
				if c.ok && err != nil || !c.ok && !errors.Is(err, ErrMalformed) {
					t.Errorf("in pieces of %v: %v", pieces, err)
				}
			}
		})
	}
}

func TestRefusalStands(t *testing.T) {
	var p Response
	if _, err := run(&p, []byte("garbage\r\n"), false, nil); !errors.Is(err, ErrMalformed) {
		t.Fatalf("garbage: %v", err)
	}
	if _, done, err := p.Feed(usual); done || !errors.Is(err, ErrMalformed) || p.Reusable() {
		t.Errorf("after a refusal: done %v, %v, reusable %v", done, err, p.Reusable())
	}
	if got, err := run(&p, usual, false, nil); err != nil || got.status != 200 {
		t.Errorf("after Start: %+v, %v", got, err)
	}
}

func TestNoAllocation(t *testing.T) {
	chunked := []byte("HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n")
	for _, c := range []struct {
		name  string
		bytes []byte
		piece int
	}{{"whole", usual, len(usual)}, {"torn", usual, 100}, {"chunked", chunked, len(chunked)}, {"chunked and torn", chunked, 7}} {
		t.Run(c.name, func(t *testing.T) {
			var p Response
			feed := func() {
				p.Start(false)
				for b := c.bytes; len(b) > 0; {
					n, _, err := p.Feed(b[:min(len(b), c.piece)])
					if err != nil {
						t.Fatal(err)
					}
					b = b[n:]
				}
			}
			feed()
			if n := testing.AllocsPerRun(100, feed); n != 0 {
				t.Errorf("%v allocations for a response", n)
			}
		})
	}
}

// FuzzResponse: of any bytes, in any pieces, the parser says what net/http says, one response after the other.
func FuzzResponse(f *testing.F) {
	for i, b := range responses() {
		f.Add([]byte(b), []byte{byte(i)}, i%3 == 0)
		f.Add([]byte(b), []byte{byte(i % 4), 0, 40}, false)
	}
	f.Fuzz(func(t *testing.T, b, pieces []byte, head bool) {
		var p Response
		for rest := b; rest != nil; {
			before := len(rest)
			if rest = check(t, &p, rest, head, pieces); len(rest) == before || len(rest) == 0 {
				return
			}
		}
	})
}

// BenchmarkResponse: "same" is a head as the one before, "other" one that differs from it.
func BenchmarkResponse(b *testing.B) {
	later := bytes.Replace(usual, []byte(":07"), []byte(":08"), 1)
	for _, c := range []struct {
		name  string
		bytes [2][]byte
	}{{"same", [2][]byte{usual, usual}}, {"other", [2][]byte{usual, later}}} {
		b.Run(c.name, func(b *testing.B) {
			var p Response
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.Start(false)
				if _, done, err := p.Feed(c.bytes[i&1]); !done || err != nil {
					b.Fatal(done, err)
				}
			}
		})
	}
}
