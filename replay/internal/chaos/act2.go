package chaos

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// act answers a stream, or does to it what else was drawn.
func (c *conn2) act(st *stream) {
	switch st.kind {
	case CloseFirst, ResetFirst:
		c.kill(st)
	case StallFirst:
		c.stall(st)
	case Garbage:
		c.garbage(st)
	case StreamFirst, Refused:
		c.reset(st)
	case GoAway, GoAwayClose:
		c.goAway(st)
	default:
		c.answer(st)
	}
}

// begin tells whether the server may do something about the stream, and notes that it does; end: the stream is over by it,
// which the client may know before the write has returned. The caller holds writing, so that no GOAWAY comes in between.
func (c *conn2) begin(st *stream, end bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.over || c.ended || c.poisoned {
		return false
	}
	c.begun = max(c.begun, st.id)
	if end {
		c.forget(st)
	}
	return true
}

// answer sends a response, or the part of it after which the stream or the connection ends.
func (c *conn2) answer(st *stream) {
	switch st.kind {
	case Delayed:
		c.delay(st.random)
	case Ping:
		if c.ping() != nil {
			return
		}
	case Limits:
		if c.announce(st.random) != nil {
			return
		}
	case Interim:
		for range 1 + st.random.IntN(3) {
			status := []string{"100", "103", "102"}[st.random.IntN(3)]
			if !c.head(st, []hpack.HeaderField{{Name: ":status", Value: status}}, false) {
				return
			}
			c.delay(st.random)
		}
	}
	status, fields, body := c.response(st)
	bare := st.head || body == 0
	if !c.head(st, fields, bare) {
		return
	}
	c.mark(st.entry, func(e *Entry) { e.Status = status })
	if bare {
		return
	}
	c.body(st, body)
}

// response draws the response that suits the kind.
func (c *conn2) response(st *stream) (status int, fields []hpack.HeaderField, body int64) {
	status, body = st.status(), c.size(st.request)
	switch st.kind {
	case NoContent:
		status, body = http.StatusNoContent, 0
	case NotModified:
		status, body = http.StatusNotModified, 0
	}
	fields = []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}, {Name: "server", Value: "chaos"}, {Name: "x-once", Value: strconv.Itoa(int(st.id)), Sensitive: st.flip()}}
	if st.flip() && body > 0 {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(body, 10)})
	}
	if st.kind == Trailers {
		fields = append(fields, hpack.HeaderField{Name: "trailer", Value: "x-checksum"})
	}
	if st.kind == Continuation || st.random.IntN(8) == 0 {
		fields = append(fields, hpack.HeaderField{Name: "x-long", Value: strings.Repeat("long ", 1+st.random.IntN(2000))})
	}
	return status, fields, body
}

// head sends a header block, in several frames where the kind is so; end: the stream ends with it. It is false where the
// stream or the connection is over.
func (c *conn2) head(st *stream, fields []hpack.HeaderField, end bool) bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.begin(st, end) {
		return false
	}
	c.block.Reset()
	for _, f := range fields {
		c.encoder.WriteField(f) // into memory
	}
	block := c.block.Bytes()
	first := min(len(block), 16<<10-256)
	if st.kind == Continuation || st.kind == HeadStall {
		first = st.random.IntN(first)
	}
	p := http2.HeadersFrameParam{StreamID: st.id, BlockFragment: block[:first], EndStream: end, EndHeaders: first == len(block)}
	if st.kind == Padded {
		p.PadLength = uint8(st.random.IntN(256))
	}
	err := c.framer.WriteHeaders(p)
	if st.kind == HeadStall && err == nil { // nothing else may be written, so the whole connection stalls
		c.wait(10*time.Duration(st.random.Int64N(int64(c.options.Delay))), c.gone)
	}
	for rest := block[first:]; len(rest) > 0 && err == nil; {
		n := min(len(rest), 16<<10)
		if st.kind == Continuation {
			n = 1 + st.random.IntN(n)
		}
		err = c.framer.WriteContinuation(st.id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	if err == nil && end {
		c.answeredWhole(st)
	}
	return err == nil
}

// body sends n bytes and the end, or the part after which something else happens.
func (c *conn2) body(st *stream, n int64) {
	breaks := st.kind == CloseInBody || st.kind == ResetInBody || st.kind == StallInBody || st.kind == StreamInBody
	if breaks {
		n = st.random.Int64N(n)
	}
	most := int64(16<<10 - 256) // with room for padding
	if st.kind == Dribble {
		most = 1 + st.random.Int64N(100)
	}
	for n > 0 {
		took, ok := c.data(st, min(n, most), n <= most && !breaks && st.kind != Trailers)
		if !ok {
			return
		}
		if n -= took; st.kind == Dribble && st.random.IntN(8) == 0 {
			c.delay(st.random)
		}
	}
	switch st.kind {
	case Trailers:
		c.head(st, []hpack.HeaderField{{Name: "x-checksum", Value: "1"}}, true)
	case CloseInBody, ResetInBody:
		c.kill(st)
	case StallInBody:
		c.stall(st)
	case StreamInBody:
		c.reset(st)
	}
}

// data sends up to n bytes in one frame, as the windows allow; end: the stream ends with the n-th. The connection's window
// counts padding too.
func (c *conn2) data(st *stream, n int64, end bool) (int64, bool) {
	padding := int64(0)
	if st.kind == Padded {
		padding = st.random.Int64N(100)
	}
	took := c.reserve(st, n, padding)
	if took == 0 {
		return 0, false
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	end = end && took == n
	if !c.begin(st, end) {
		return 0, false
	}
	var err error
	if padding > 0 {
		err = c.framer.WriteDataPadded(st.id, end, filling[:took], zeros[:padding])
	} else {
		err = c.framer.WriteData(st.id, end, filling[:took])
	}
	if err == nil && end {
		c.answeredWhole(st)
	}
	return took, err == nil
}

var zeros [100]byte // padding

// reserve waits until the windows allow some of n bytes, with the padding and its length, and takes them; 0: the stream is
// over.
func (c *conn2) reserve(st *stream, n, padding int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if padding > 0 {
		padding++
	}
	for !st.over && !c.ended && !c.poisoned {
		if free := min(c.window, st.window) - padding; free > 0 {
			n = min(n, free)
			c.window -= n + padding
			st.window -= n + padding
			return n
		}
		c.changed.Wait()
	}
	return 0
}

// answeredWhole notes that a response was sent to its end. The caller holds writing.
func (c *conn2) answeredWhole(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = append(c.answered, st.entry)
	c.mark(st.entry, func(e *Entry) { e.Whole, e.Sure = true, !c.ended })
}

// stall waits until the client gives up or the connection is over.
func (c *conn2) stall(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !st.over && !c.ended {
		c.changed.Wait()
	}
}

// reset sends RST_STREAM.
func (c *conn2) reset(st *stream) {
	codes := []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeStreamClosed, http2.ErrCodeCancel, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeHTTP11Required, 0xffff}
	code := codes[st.random.IntN(len(codes))]
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.begin(st, true) {
		return
	}
	if st.kind == Refused {
		code = http2.ErrCodeRefusedStream
		c.mark(st.entry, func(e *Entry) { e.Unprocessed = true })
	}
	c.framer.WriteRSTStream(st.id, code) // where it fails the reader learns it too
}

// goAway ends the connection: streams above a drawn one that the server did nothing about are not answered. Where it did
// something about a later stream, this one is reset.
func (c *conn2) goAway(st *stream) {
	if !c.revoke(st) {
		c.reset(st)
		return
	}
	if st.kind == GoAwayClose {
		c.kill(st)
		return
	}
	c.mu.Lock()
	for len(c.streams) > 0 && !c.ended && !c.poisoned {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.writing.Lock() // the last stream's end may still be under way
	defer c.writing.Unlock()
	c.tcp.CloseWrite() // fails only where the connection has ended, as it shall
}

// revoke sends GOAWAY with a last stream below this one, and ends all above it.
func (c *conn2) revoke(st *stream) bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	if st.over || c.ended || c.poisoned || c.last != noGoAway || c.begun > st.id {
		c.mu.Unlock()
		return false
	}
	free := int64(st.id-c.begun+1) / 2 // streams from the first that was not begun up to this one
	c.last = uint32(max(0, int64(st.id)-2*(1+st.random.Int64N(free))))
	for id, other := range c.streams {
		if id > c.last {
			c.mark(other.entry, func(e *Entry) { e.Unprocessed = true })
			c.forget(other)
		}
	}
	last := c.last
	c.mu.Unlock()
	return c.framer.WriteGoAway(last, http2.ErrCodeNo, []byte("chaos")) == nil
}

// kill ends the connection without a word, with a TCP reset where the kind is so. For half of them it first waits until the
// client has taken all that was answered.
func (c *conn2) kill(st *stream) {
	if st.flip() && c.ping() == nil {
		select {
		case <-c.ponged:
		default:
		}
		timer := time.NewTimer(50 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-c.ponged:
		case <-timer.C:
		case <-c.gone:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range c.answered {
		c.mark(entry, func(e *Entry) { e.Sure = false })
	}
	c.end()
	if st.kind == ResetFirst || st.kind == ResetInBody {
		c.tcp.SetLinger(0) // fails only where the connection has ended, as it shall
	}
	c.tcp.Close()
}

// garbage sends what is no HTTP/2, of the stream or of the connection. After the latter the client takes nothing more.
func (c *conn2) garbage(st *stream) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.begin(st, true) {
		return
	}
	if st.flip() {
		c.malformed(st)
		return
	}
	id := string([]byte{byte(st.id >> 24), byte(st.id >> 16), byte(st.id >> 8), byte(st.id)})
	all := []string{
		"HTTP/1.1 400 Bad Request\r\n\r\n",                         // a frame of 4,740,180 bytes
		"\x00\x00\x01\x01\x04" + id + "\xff",                       // HPACK: an index without end
		"\x00\x00\x01\x01\x04" + id + "\x80",                       // HPACK: index 0
		"\x00\x00\x01\x00\x01\x00\x00\x00\x00x",                    // DATA on stream 0
		"\x00\x00\x01\x01\x05\x00\x00\x00\x00\x88",                 // HEADERS on stream 0
		"\x00\x00\x01\x01\x05\x7f\xff\xff\xff\x88",                 // HEADERS on a stream that the client did not open
		"\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", // SETTINGS of five bytes
		"\x00\x00\x00\x04\x00" + id,                                // SETTINGS on a stream
		"\x00\x00\x07\x06\x00\x00\x00\x00\x00chaosch",              // PING of seven bytes
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",     // WINDOW_UPDATE of 0 on the connection
		"\x00\x00\x01\x09\x04" + id + "\x88",                       // CONTINUATION of nothing
		"\x00\x00\x02\x00\x09" + id + "\x09x",                      // DATA with more padding than payload
		"\x00\x00\x04\x05\x04" + id + "\x00\x00\x00\x02",           // PUSH_PROMISE
	}
	c.mu.Lock()
	c.poisoned = true
	c.changed.Broadcast()
	c.mu.Unlock()
	io.WriteString(c.tcp, all[st.random.IntN(len(all))]) // where it fails the connection has ended, as it shall
	c.tcp.CloseWrite()
}

// malformed sends a response that no client may take, on a stream of a connection that goes on.
func (c *conn2) malformed(st *stream) {
	all := [][]hpack.HeaderField{
		{{Name: "server", Value: "chaos"}},
		{{Name: ":status", Value: "abc"}},
		{{Name: ":status", Value: "200"}, {Name: ":status", Value: "200"}},
		{{Name: ":status", Value: "200"}, {Name: "Upper", Value: "case"}},
		{{Name: ":status", Value: "200"}, {Name: "connection", Value: "close"}},
		{{Name: ":status", Value: "200"}, {Name: "content-length", Value: "x"}},
		{{Name: "server", Value: "chaos"}, {Name: ":status", Value: "200"}},
	}
	c.block.Reset()
	for _, f := range all[st.random.IntN(len(all))] {
		c.encoder.WriteField(f) // into memory, where nothing fails
	}
	c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true}) // where it fails the reader learns it too
}
