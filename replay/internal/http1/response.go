// Package http1 parses HTTP/1.x responses from whatever pieces a connection brings. It does no input or output and
// starts nothing; a Response belongs to one goroutine. What is a response, where it ends and whether the connection may
// carry another one is what net/http (Go 1.26) says of the same bytes, which FuzzResponse holds it to. It differs where
// net/http depends on something else than the response's own bytes:
//
//   - A head has 1 MiB at the most. http.ReadResponse sets no bound and leaves it to the reader underneath.
//   - A trailer section has 16 KiB at the most and ends with CR LF CR LF. net/http takes what its buffer holds (16 KiB in
//     our former transport), and accepts a section that ends with a bare LF if a CR LF CR LF comes anywhere behind it,
//     which no sender puts there; without one it waits for more, so that the response never ends.
//
// As http.Transport does, and http.ReadResponse leaves to its caller, 1xx responses but 101 are interim. A status below
// 100, which net/http takes, is a final one.
package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed says that what came is no HTTP response. The connection is of no use any more.
var ErrMalformed = errors.New("malformed response")

// The bounds, in bytes. A sender beyond them would be kept in memory for ever.
const (
	maxHead      = 1 << 20
	maxTrailer   = 16 << 10
	maxChunkLine = 4096 // without its end; as net/http/internal.maxLineLength
	maxKnown     = 4 << 10
)

// part is what of a response comes next.
type part uint8

const (
	over part = iota // nothing: it was read whole, or none was asked for
	statusLine
	headerLines
	bodyOfLength // left bytes of it
	bodyToEnd    // of the connection
	chunkSize
	chunkData // left bytes of it
	chunkEnd
	trailerLines
	broken
)

// Response parses the responses of one connection, one after the other. The zero Response is ready for Start. It keeps
// its buffers, so that it allocates nothing once they have their size; it keeps nothing of what it is fed.
type Response struct {
	Status int // of the final response; 0 until its status line was read whole

	body   int64 // bytes of the body that came, without what frames it
	part   part
	toHead bool // the request was a HEAD
	begun  bool
	close  bool // the connection ends with this response
	crlf   bool // the line before ended with CR LF, not with a bare LF
	facts  facts
	left   uint64
	excess int64  // of what chunks cost beside their data
	size   int    // of the head, or of the trailer section, so far
	held   []byte // the beginning of a line that an earlier piece began

	// A server's heads are mostly the same from one response to the next (Date changes once a second), and what they say
	// is then known without reading them again. known is the last final head that came in one piece.
	known      []byte
	knownFacts facts
}

// Start tells that a request was sent, whose response comes next; head: its method was HEAD.
func (p *Response) Start(head bool) {
	p.Status, p.body, p.toHead, p.begun, p.close, p.excess = 0, 0, head, false, false, 0
	p.expectHead()
}

func (p *Response) expectHead() {
	p.part, p.facts, p.size, p.held = statusLine, facts{}, 0, p.held[:0]
}

// Feed takes what the connection brought. The first n bytes of b belong to this response: all of them unless it is done,
// which is when its last byte came. What is behind them was not asked for. err wraps ErrMalformed, and is the last word
// on this response.
func (p *Response) Feed(b []byte) (n int, done bool, err error) {
	for n < len(b) && p.part != over && err == nil {
		var took int
		took, err = p.take(b[n:])
		n += took
	}
	if err != nil {
		p.part = broken
	}
	return n, p.part == over, err
}

// Begun tells whether the first byte of the final response has come. It is known from the first digit of the status on,
// and does not change back.
func (p *Response) Begun() bool { return p.begun }

// InBody tells whether the head of the final response was read whole, and its body has not been.
func (p *Response) InBody() bool { return p.part >= bodyOfLength && p.part != broken }

// End says what the end of the connection means now: nil where the body is ended by it, or the response was over, else
// io.ErrUnexpectedEOF.
func (p *Response) End() error {
	if p.part == bodyToEnd {
		p.part = over
	}
	if p.part != over {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Reusable tells whether the connection may carry another request: the response is over, and neither its version nor its
// head says that the connection ends or changes its protocol. Bytes behind the response are the caller's to judge.
func (p *Response) Reusable() bool { return p.part == over && !p.close && p.Status != 101 }

// take takes bytes from b, which is not empty, for the part that is due.
func (p *Response) take(b []byte) (n int, err error) {
	switch p.part {
	case statusLine, headerLines:
		return p.takeHead(b)
	case bodyOfLength:
		return p.takeData(b, over), nil
	case bodyToEnd:
		p.body += int64(len(b))
		return len(b), nil
	case chunkData:
		return p.takeData(b, chunkEnd), nil
	case chunkSize, chunkEnd:
		return p.takeChunkLine(b)
	case trailerLines:
		return p.takeLine(b)
	}
	return 0, fmt.Errorf("%w: what came after it was refused", ErrMalformed)
}

// takeData takes body bytes up to those that are left, which next follows.
func (p *Response) takeData(b []byte, next part) int {
	n := int(min(uint64(len(b)), p.left))
	p.left -= uint64(n)
	p.body += int64(n)
	if p.left == 0 {
		p.part = next
	}
	return n
}

// takeHead takes lines of a head, from one that it knows at a glance.
func (p *Response) takeHead(b []byte) (n int, err error) {
	whole := p.part == statusLine && len(p.held) == 0
	if whole && len(p.known) > 0 && bytes.HasPrefix(b, p.known) {
		p.facts = p.knownFacts
		p.Status, p.begun = p.facts.status, true
		return len(p.known), p.endHead()
	}
	for again := true; again && err == nil; again = n < len(b) && p.part == headerLines {
		var took int
		took, err = p.takeLine(b[n:])
		n += took
	}
	if ended := p.part != statusLine && p.part != headerLines; whole && ended && err == nil && n <= maxKnown {
		p.known, p.knownFacts = append(p.known[:0], b[:n]...), p.facts
	}
	return n, err
}

// takeLine takes a line of a head or a trailer section: in place where b has the whole of it, and the byte behind it
// that tells that it is not folded (RFC 9112, 5.2).
func (p *Response) takeLine(b []byte) (n int, err error) {
	n = bytes.IndexByte(b, '\n') + 1
	inPlace := len(p.held) == 0 && n > 0 && (p.alone(b[:n]) || n < len(b) && !blank(b[n]))
	if !inPlace {
		return p.gather(b, n)
	}
	if err := p.count(n); err != nil {
		return n, err
	}
	return n, p.line(b[:n], false)
}

// gather adds the n bytes of b that end a line, or all where n is 0, to the line that is held. It reads the line once it
// is known to be whole.
func (p *Response) gather(b []byte, n int) (int, error) {
	if bytes.HasSuffix(p.held, lf) && !blank(b[0]) {
		return 0, p.lineHeld()
	}
	if n == 0 {
		n = len(b)
	}
	if err := p.count(n); err != nil {
		return n, err
	}
	p.held = append(p.held, b[:n]...)
	if p.part == statusLine {
		p.begun = p.begun || looksFinal(p.held)
	}
	if bytes.HasSuffix(p.held, lf) && p.alone(p.held) {
		return n, p.lineHeld()
	}
	return n, nil
}

var lf = []byte("\n")

func blank(c byte) bool { return c == ' ' || c == '\t' }

// alone tells whether no other line can go on with this one: it is a status line, or empty.
func (p *Response) alone(line []byte) bool {
	return p.part == statusLine || len(line) == 1 || len(line) == 2 && line[0] == '\r'
}

// count adds to the size of the head, or of the trailer section.
func (p *Response) count(n int) error {
	p.size += n
	if p.part == trailerLines && p.size > maxTrailer {
		return fmt.Errorf("%w: its trailer section has more than %d bytes", ErrMalformed, maxTrailer)
	}
	if p.size > maxHead {
		return fmt.Errorf("%w: its head has more than %d bytes", ErrMalformed, maxHead)
	}
	return nil
}

// lineHeld reads the line that was gathered.
func (p *Response) lineHeld() error {
	line := p.held
	p.held = p.held[:0]
	return p.line(line, bytes.IndexByte(line, '\n') < len(line)-1)
}

// line reads a whole line, its end included. Where it is folded it is p.held, and is changed.
func (p *Response) line(raw []byte, folded bool) error {
	line, crlf := cutEnd(raw)
	before := p.crlf
	p.crlf = crlf
	switch {
	case p.part == statusLine:
		return p.startHead(line)
	case len(line) == 0 && p.part == trailerLines:
		return p.endTrailer(before && crlf)
	case len(line) == 0:
		return p.endHead()
	case blank(line[0]):
		return fmt.Errorf("%w: it begins with a folded header line", ErrMalformed)
	case folded && bytes.IndexByte(line[:bytes.IndexByte(line, '\n')], ':') < 0:
		return fmt.Errorf("%w: header line %q", ErrMalformed, excerpt(line))
	case folded:
		line = unfold(line)
	default:
		line = trimRight(line)
	}
	if p.part == trailerLines {
		_, _, err := field(line)
		return err
	}
	return p.facts.header(line)
}

// cutEnd takes LF or CR LF from a line.
func cutEnd(raw []byte) (line []byte, crlf bool) {
	n := len(raw) - 1
	if n > 0 && raw[n-1] == '\r' {
		return raw[:n-1], true
	}
	return raw[:n], false
}

func (p *Response) startHead(line []byte) error {
	p.part = headerLines
	err := p.facts.statusLine(line)
	if !p.facts.interim() {
		p.Status, p.begun = p.facts.status, true
	}
	return err
}

// endHead decides how the body is framed (RFC 9112, 6.3), in the order of net/http's readTransfer.
func (p *Response) endHead() error {
	f := &p.facts
	chunked, err := f.chunked()
	if err != nil {
		return err
	}
	p.close = f.ends()
	switch {
	case f.interim():
		p.expectHead()
	case p.toHead || f.bodiless():
		p.part = over
	case chunked:
		p.part = chunkSize
	case f.lengths == 0:
		p.part, p.close = bodyToEnd, true
	case f.length == 0:
		p.part = over
	default:
		p.part, p.left = bodyOfLength, f.length
	}
	return nil
}

// errTrailerEnd is of its own so that the tests can tell where net/http may differ.
var errTrailerEnd = fmt.Errorf("%w: its trailer section does not end with CR LF CR LF", ErrMalformed)

func (p *Response) endTrailer(crlfs bool) error {
	if !crlfs {
		return errTrailerEnd
	}
	p.part = over
	return nil
}
