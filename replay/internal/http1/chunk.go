package http1

import (
	"bytes"
	"fmt"
)

// takeChunkLine takes a line of the chunked coding (RFC 9112, 7.1), or the end of a chunk's data, in place where b has
// the whole of it.
func (p *Response) takeChunkLine(b []byte) (n int, err error) {
	longest := maxChunkLine
	if p.part == chunkEnd {
		longest = 0
	}
	n = bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	// net/http refuses a line of maxChunkLine bytes; a CR may come before the LF.
	if len(p.held)+n > longest+2 || !whole && len(p.held)+n > longest+1 {
		return n, fmt.Errorf("%w: a chunk's line does not end where it should", ErrMalformed)
	}
	line := b[:n]
	if !whole || len(p.held) > 0 {
		p.held = append(p.held, line...)
		line = p.held
	}
	if !whole {
		return n, nil
	}
	p.held = p.held[:0]
	return n, p.chunkLine(line)
}

// chunkLine reads a whole line, its end included, which is CR LF in this coding.
func (p *Response) chunkLine(raw []byte) error {
	line, crlf := cutEnd(raw)
	if !crlf || bytes.IndexByte(line, '\r') >= 0 || len(line) >= maxChunkLine {
		return fmt.Errorf("%w: chunk line %q", ErrMalformed, excerpt(raw))
	}
	if p.part == chunkEnd {
		p.part = chunkSize
		return nil
	}
	size, _, _ := bytes.Cut(trimRight(line), semicolon)
	n, ok := parseHex(size)
	if !ok {
		return fmt.Errorf("%w: chunk line %q", ErrMalformed, excerpt(raw))
	}
	return p.startChunk(n, len(line))
}

var semicolon = []byte(";")

// startChunk begins a chunk of n bytes, the last one if it has none. It bounds what the sender spends on extensions as
// net/http's chunkedReader does: 16 bytes a chunk and twice the data are free, 16 KiB beyond are the most. The arithmetic
// is the same on purpose, overflow included.
func (p *Response) startChunk(n uint64, line int) error {
	p.excess = max(0, p.excess+int64(line)+2-(16+2*int64(n)))
	switch {
	case n == 0:
		p.part, p.size, p.crlf = trailerLines, 0, true
	case p.excess > 16<<10:
		return fmt.Errorf("%w: its chunks are mostly extensions", ErrMalformed)
	default:
		p.part, p.left = chunkData, n
	}
	return nil
}

// parseHex reads up to 16 hexadecimal digits.
func parseHex(digits []byte) (n uint64, ok bool) {
	for _, c := range digits {
		switch {
		case digit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, 0 < len(digits) && len(digits) <= 16
}
