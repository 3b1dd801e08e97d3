package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"umbra/internal/traffic"
)

// conn1 is an HTTP/1.1 connection. One goroutine serves it.
type conn1 struct {
	*Server
	tcp    *net.TCPConn
	reader *bufio.Reader
}

func (s *Server) serve1(tcp *net.TCPConn) {
	c := &conn1{s, tcp, bufio.NewReader(tcp)}
	for c.exchange() {
	}
}

// exchange serves one request; false: the connection is to be closed.
func (c *conn1) exchange() bool {
	r, err := http.ReadRequest(c.reader)
	if err != nil {
		c.suspect(err)
		return false
	}
	q := c.note(r.Header.Get(traffic.IDHeader), r.Method == http.MethodHead)
	if (q.kind == CloseFirst || q.kind == ResetFirst) && q.flip() {
		return c.act(r, q) // without a look at the body
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		c.suspect(err)
		return false
	}
	c.mark(q.entry, func(e *Entry) { e.Read = true })
	return c.act(r, q)
}

// suspect notes the fault where it was the client's bytes that could not be read, not their end.
func (c *conn1) suspect(err error) {
	var network net.Error
	if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &network) {
		c.fault(fmt.Errorf("reading a request: %w", err))
	}
}

// message is a response ready to be sent.
type message struct {
	status     int
	head, body []byte // body: with its chunks and trailers
	stream     int64  // more bytes of body, not kept in memory
}

func (c *conn1) act(r *http.Request, q request) bool {
	m := c.message(r, q)
	switch q.kind {
	case CloseFirst, CloseInHead, CloseInBody:
		return c.part(q, m)
	case ResetFirst, ResetInHead, ResetInBody:
		ok := c.part(q, m)
		c.tcp.SetLinger(0) // fails only where the connection has ended, as it shall
		return ok
	case StallFirst, StallInHead, StallInBody:
		c.part(q, m)
		return c.drain()
	case Garbage:
		return c.garbage(q)
	case Delayed:
		c.delay(q.random)
	case Interim:
		if !c.interim(q) {
			return false
		}
	}
	if !c.answer(q, m) {
		return false
	}
	switch q.kind {
	case CloseIdle:
		c.delay(q.random)
		return c.end()
	case CloseAfter, UntilClose:
		return c.end()
	}
	return !r.Close || c.end()
}

// answer sends a whole message.
func (c *conn1) answer(q request, m message) bool {
	ok := c.write(q, m.head)
	if ok {
		c.mark(q.entry, func(e *Entry) { e.Status = m.status })
		ok = c.write(q, m.body)
	}
	for ok && m.stream > 0 {
		n, err := c.tcp.Write(filling[:min(m.stream, int64(len(filling)))])
		m.stream -= int64(n)
		ok = err == nil
	}
	if ok {
		c.mark(q.entry, func(e *Entry) { e.Whole, e.Sure = true, true })
	}
	return ok
}

// write sends bytes, as Dribble in pieces of up to 40.
func (c *conn1) write(q request, b []byte) bool {
	for q.kind == Dribble && len(b) > 0 {
		n, err := c.tcp.Write(b[:min(len(b), 1+q.random.IntN(40))])
		if err != nil {
			return false
		}
		b = b[n:]
		if q.random.IntN(8) == 0 {
			c.delay(q.random)
		}
	}
	if len(b) == 0 { // a client may have closed after it had all
		return true
	}
	_, err := c.tcp.Write(b)
	return err == nil
}

// part sends what comes before the end or the stall; its result, false, is that of act.
func (c *conn1) part(q request, m message) bool {
	switch q.kind {
	case CloseInHead, ResetInHead, StallInHead:
		c.tcp.Write(m.head[:1+q.random.IntN(len(m.head)-1)]) // where it fails the connection has ended, as it shall
	case CloseInBody, ResetInBody, StallInBody:
		if c.write(q, m.head) {
			c.mark(q.entry, func(e *Entry) { e.Status = m.status })
			c.write(q, m.body[:q.random.IntN(len(m.body))])
		}
	}
	return false
}

// end closes the sending side and reads until the client closes too: a close with bytes unread would be a reset, which may
// overtake what was sent.
func (c *conn1) end() bool {
	if c.tcp.CloseWrite() != nil {
		return false
	}
	return c.drain()
}

// drain reads until the client closes, or the server is closed. It is false, as act's result.
func (c *conn1) drain() bool {
	io.Copy(io.Discard, c.tcp) // its end is all that counts
	return false
}

func (c *conn1) interim(q request) bool {
	for range 1 + q.random.IntN(3) {
		text := []string{"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", "HTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\n"}[q.random.IntN(3)]
		if !c.write(q, []byte(text)) {
			return false
		}
		if q.flip() {
			c.delay(q.random)
		}
	}
	return true
}

// garbage sends what no client may take for a response, and ends the connection.
func (c *conn1) garbage(q request) bool {
	all := []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "200 OK\r\n\r\n", "HTTP/1.1 OK 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "\r\n\r\n", "HTTP/x.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", "HTTP/1.1 200 OK\r\n folded: first\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 xyz\r\n\r\n",
	}
	c.write(q, []byte(all[q.random.IntN(len(all))]))
	return c.end()
}

// message makes the response that suits the kind.
func (c *conn1) message(r *http.Request, q request) message {
	m := message{status: q.status()}
	var h bytes.Buffer
	body := c.size(q)
	switch q.kind {
	case NoContent:
		m.status, body = http.StatusNoContent, 0
	case NotModified:
		m.status, body = http.StatusNotModified, 0
		fmt.Fprintf(&h, "Content-Length: %d\r\n", c.size(q))
	case Chunked, Trailers:
		h.WriteString("Transfer-Encoding: chunked\r\n")
		m.body = chunked(q, body)
		body = 0
	case UntilClose:
		if q.flip() {
			h.WriteString("Connection: close\r\n")
		}
	default:
		fmt.Fprintf(&h, "Content-Length: %d\r\n", body)
	}
	if q.kind == CloseAfter {
		h.WriteString("connection: Keep-Alive, Close\r\n")
	}
	if q.kind == Big {
		m.stream = body
	} else if m.body == nil {
		m.body = filling[:body]
	}
	m.head = head(q, m.status, h.String())
	if r.Method == http.MethodHead {
		m.body, m.stream = nil, 0
	}
	return m
}

// head makes a head of the header lines and some that servers add.
func head(q request, status int, lines string) []byte {
	var b bytes.Buffer
	version := "1.1"
	if q.kind == UntilClose && q.flip() {
		version = "1.0"
	}
	fmt.Fprintf(&b, "HTTP/%s %d %s\r\n", version, status, http.StatusText(status))
	for _, line := range []string{"Server: chaos\r\n", "Date: Mon, 23 Nov 2026 20:31:07 GMT\r\n", "x-lower: 1\r\n", "X-Folded: a\r\n\tb\r\n", "X-Empty:\r\n", "X-Long: " + strings.Repeat("x", 3000) + "\r\n", "X-Bare: LF\n"} {
		if q.random.IntN(3) == 0 {
			b.WriteString(line)
		}
	}
	b.WriteString(lines + "\r\n")
	return b.Bytes()
}

// chunked makes a chunked body of n bytes, with a trailer section where the kind asks for it.
func chunked(q request, n int64) []byte {
	var b bytes.Buffer
	for n > 0 {
		k := 1 + q.random.Int64N(n)
		extension := []string{"", "", ";a=b", " "}[q.random.IntN(4)]
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", k, extension, filling[:k])
		n -= k
	}
	b.WriteString("0\r\n")
	if q.kind == Trailers {
		b.WriteString("X-Checksum: 1\r\nServer-Timing: a;dur=1\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
