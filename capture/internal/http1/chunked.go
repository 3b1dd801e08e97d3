package http1

import "bytes"

// chunk is where a reader stands in a chunked body (RFC 9112 section 7.1).
type chunk struct {
	state chunkState
	line  int // bytes of the line so far; in the trailer section, of all of its lines
}

type chunkState uint8

const (
	chunkBegin     chunkState = iota // before the first digit of a size
	chunkSize                        // behind a digit
	chunkSpace                       // in space behind the size, where only an extension or the line's end may follow
	chunkExtension                   // behind a semicolon
	chunkSizeLF                      // behind the CR of a size's line
	chunkData
	chunkDataCR      // behind the data
	chunkDataLF      // behind the CR behind the data
	chunkTrailer     // at the begin of a trailer line
	chunkTrailerLine // in a trailer line
	chunkTrailerLF   // behind the CR of the last line
	chunkBroken
)

// readChunks gives the next piece of data. Chunk lines must end in CR LF: a LF alone is no line end to everybody here, and
// what follows it would be a guess; trailer lines are field lines, where it is one.
func (r *reader) readChunks(b []byte) (event, []byte, []byte) {
	c := &r.chunk
	for i := 0; i < len(b); {
		if c.state == chunkData {
			return r.readData(b[i:])
		}
		if c.state == chunkExtension || c.state == chunkTrailerLine {
			n := inLine(c.state, b[i:])
			c.line += n
			i += n
			if i == len(b) {
				break
			}
		}
		c.line++
		last := c.state == chunkTrailerLF || c.state == chunkTrailer && b[i] == '\n'
		r.step(b[i])
		i++
		switch {
		case c.state == chunkBroken || c.line > r.limit:
			return r.fail()
		case last:
			return r.over(b[i:])
		}
	}
	if c.line > r.limit {
		return r.fail()
	}
	return more, nil, nil
}

// readData gives what b has of the chunk.
func (r *reader) readData(b []byte) (event, []byte, []byte) {
	n := min(r.left, int64(len(b)))
	r.left -= n
	if r.left == 0 {
		r.chunk.state = chunkDataCR
	}
	return content, b[:n], b[n:]
}

// inLine gives how many bytes of b cannot end an extension or a trailer line.
func inLine(s chunkState, b []byte) int {
	ends := "\n"
	if s == chunkExtension {
		ends = "\r\n"
	}
	if n := bytes.IndexAny(b, ends); n >= 0 {
		return n
	}
	return len(b)
}

// step takes a byte of a chunk's frame.
func (r *reader) step(b byte) {
	c := &r.chunk
	switch c.state {
	case chunkBegin, chunkSize:
		c.state = r.sizeByte(b)
	case chunkSpace:
		c.state = behindSize(b)
	case chunkExtension:
		c.state = only(b, '\r', chunkSizeLF)
	case chunkSizeLF:
		c.state = only(b, '\n', r.behindSizeLine())
		c.line = 0
	case chunkDataCR:
		c.state = only(b, '\r', chunkDataLF)
	case chunkDataLF:
		c.state = only(b, '\n', chunkBegin)
		c.line = 0
	case chunkTrailer:
		c.state = chunkTrailerLine
		if b == '\r' {
			c.state = chunkTrailerLF
		}
	case chunkTrailerLine:
		c.state = chunkTrailer
	case chunkTrailerLF:
		c.state = only(b, '\n', chunkTrailer)
	}
}

// sizeByte takes a byte of a size; one of more than 56 bits is none.
func (r *reader) sizeByte(b byte) chunkState {
	digit, ok := unhex(b)
	switch {
	case ok && r.left < 1<<52:
		r.left = r.left<<4 | digit
		return chunkSize
	case ok || r.chunk.state == chunkBegin:
		return chunkBroken
	}
	return behindSize(b)
}

func behindSize(b byte) chunkState {
	switch b {
	case ' ', '\t':
		return chunkSpace
	case ';':
		return chunkExtension
	case '\r':
		return chunkSizeLF
	}
	return chunkBroken
}

func (r *reader) behindSizeLine() chunkState {
	if r.left == 0 {
		return chunkTrailer
	}
	return chunkData
}

func only(b, wanted byte, then chunkState) chunkState {
	if b == wanted {
		return then
	}
	return chunkBroken
}

func unhex(b byte) (int64, bool) {
	switch {
	case '0' <= b && b <= '9':
		return int64(b - '0'), true
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int64(b|0x20-'a') + 10, true
	}
	return 0, false
}
