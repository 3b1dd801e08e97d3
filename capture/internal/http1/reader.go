package http1

import "bytes"

// event is what a reader came upon.
type event uint8

const (
	more    event = iota // nothing: all bytes are used up
	begin                // a message begins
	head                 // its head is whole: the part. Say with expect what follows it
	content              // the part is of its body, decoded
	end                  // it is whole
	broken               // it is not HTTP/1.x, or too long. The reader looks for the next message
)

// state is where a reader stands.
type state uint8

const (
	between    state = iota // before a message's first byte
	inHead                  // in the start line or the fields
	inLength                // in a body of a known length
	inChunks                // in a chunked body
	untilClose              // in a body that the close delimits
	lost                    // anywhere: looks for a segment that begins with a message
	stopped                 // nothing more is read here
)

// body says how a message's body is delimited.
type body struct {
	state  state // inLength, inChunks, untilClose; stopped where the connection stops being HTTP/1.x
	length int64 // where it is inLength
	// unsure is set where the body may not be there, as in an answer that may be one to HEAD.
	unsure bool
}

// reader cuts a direction into its messages' parts. Who calls it reads all of a segment, by calling next until it says more.
type reader struct {
	limit  int                 // bytes of a head, a chunk's line or a trailer section
	starts func(b []byte) bool // whether a segment begins with what must be a message
	state  state
	head   []byte // the begin of a head that came in several segments
	line   int    // where in it the line begins whose end was not seen yet
	left   int64  // bytes of the body or of the chunk
	unsure bool   // of a body of which nothing was seen yet: see body
	chunk  chunk

	memo    *Memo
	outline outline
}

// segment prepares for a segment and tells whether there is anything to read in it.
func (r *reader) segment(b []byte) bool {
	if r.state == lost && r.starts(b) {
		r.state = between
	}
	return r.state != lost && r.state != stopped
}

// next gives the next event in b, the part that it is about, and the bytes behind it.
func (r *reader) next(b []byte) (event, []byte, []byte) {
	switch r.state {
	case between:
		return r.skipEmptyLines(b)
	case inHead:
		return r.readHead(b)
	case inLength, inChunks, untilClose:
		return r.readBody(b)
	default:
		return more, nil, b
	}
}

// skipEmptyLines leaves out the empty lines that some clients send behind a body (RFC 9112 section 2.2).
func (r *reader) skipEmptyLines(b []byte) (event, []byte, []byte) {
	for i, c := range b {
		if c != '\r' && c != '\n' {
			r.state, r.line, r.head = inHead, 0, r.head[:0]
			return begin, nil, b[i:]
		}
	}
	return more, nil, nil
}

// readHead looks for the empty line that ends a head. A head that lies whole in b is given in place.
func (r *reader) readHead(b []byte) (event, []byte, []byte) {
	had := len(r.head)
	text := b
	var size int
	var ok bool
	if had > 0 {
		r.head = append(r.head, b...)
		text = r.head
		size, ok = r.findEnd(text)
	} else {
		size, ok = r.memo.scan(text, &r.outline)
		r.line = size
	}
	switch {
	case !ok && len(text) > r.limit || size > r.limit:
		return r.fail()
	case !ok && had == 0:
		r.head = append(r.head, b...)
		return more, nil, nil
	case !ok:
		return more, nil, nil
	}
	if had > 0 { // others may have read a head since its begin
		r.memo.scan(text[:size], &r.outline)
	}
	return head, text[:size], b[size-had:]
}

// findEnd gives the size of a head that came in several segments, its last line included.
func (r *reader) findEnd(text []byte) (int, bool) {
	for {
		n := bytes.IndexByte(text[r.line:], '\n')
		if n < 0 {
			return 0, false
		}
		from := r.line
		r.line += n + 1
		if n == 0 || n == 1 && text[from] == '\r' {
			return r.line, true
		}
	}
}

// expect says what follows a head.
func (r *reader) expect(b body) {
	r.state, r.left, r.unsure, r.chunk = b.state, b.length, b.unsure, chunk{}
	if cap(r.head) > keptHead {
		r.head = nil
	}
}

// keptHead bounds what an idle connection keeps for its next head.
const keptHead = 4 << 10

// readBody gives the next piece of the body.
func (r *reader) readBody(b []byte) (event, []byte, []byte) {
	if r.unsure && len(b) > 0 {
		r.unsure = false
		if r.starts(b) {
			return r.over(b)
		}
	}
	switch {
	case r.state == inChunks:
		return r.readChunks(b)
	case r.state == inLength && r.left == 0:
		return r.over(b)
	case len(b) == 0:
		return more, nil, nil
	case r.state == untilClose:
		return content, b, nil
	}
	n := min(r.left, int64(len(b)))
	r.left -= n
	return content, b[:n], b[n:]
}

func (r *reader) over(b []byte) (event, []byte, []byte) {
	r.state = between
	return end, nil, b
}

func (r *reader) fail() (event, []byte, []byte) {
	r.lose()
	return broken, nil, nil
}

// lose makes the reader look for the next message.
func (r *reader) lose() { r.state, r.head = lost, nil }

// stop makes the reader read no more.
func (r *reader) stop() { r.state, r.head = stopped, nil }

// reads tells whether the reader is in the middle of a message.
func (r *reader) reads() bool { return r.state != between && r.state != lost && r.state != stopped }

// skip leaves n missing bytes out and tells whether the message's extent is known all the same.
func (r *reader) skip(n int64) bool {
	switch {
	case r.unsure:
		return false
	case r.state == inLength && 0 < n && n <= r.left:
		r.left -= n
		return true
	default:
		return r.state == untilClose // where nothing but body can follow
	}
}
