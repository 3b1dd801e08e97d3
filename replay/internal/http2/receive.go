package http2

import (
	"encoding/binary"
	"math"
)

// Feed takes all of b, which came on the connection, in any pieces, and tells h what it means. An error is a connection
// error, an *Error: Out then holds a GOAWAY, nothing more is taken, and Abandon tells of the streams still open.
func (c *Conn) Feed(b []byte, h Handler) error {
	for len(b) > 0 && c.err == nil {
		switch {
		case c.data.left > 0:
			b = c.count(b, h)
		case len(c.partial) > 0:
			b = c.gather(b, h)
		default:
			n := want(b)
			if n > len(b) {
				c.partial = append(c.partial, b...)
				return nil
			}
			c.frame(b[:n], h)
			b = b[n:]
		}
	}
	return c.err
}

// gather goes on with a frame that came in pieces, takes it when it is whole, and gives what comes after.
func (c *Conn) gather(b []byte, h Handler) []byte {
	for {
		missing := want(c.partial) - len(c.partial)
		if missing == 0 {
			break
		}
		if len(b) == 0 {
			return nil
		}
		n := min(missing, len(b))
		c.partial = append(c.partial, b[:n]...)
		b = b[n:]
	}
	c.frame(c.partial, h)
	c.partial = c.partial[:0]
	return b
}

// frame takes a frame; of DATA and of one that is too long there is but the header. What goes wrong is in c.err.
func (c *Conn) frame(f []byte, h Handler) {
	kind, flags, id, payload := f[3], f[4], frameStream(f), f[frameHeader:]
	switch {
	case !c.settled && (kind != frameSettings || flags&flagAck != 0):
		c.fail(ProtocolError, "the first frame is not SETTINGS: does the server speak HTTP/2 here?")
		return
	case frameLength(f) > maxFrame:
		c.fail(FrameSizeError, "a frame is longer than the 16384 bytes that were allowed")
		return
	case c.block.id != 0 && (kind != frameContinuation || id != c.block.id):
		c.fail(ProtocolError, "a header block is not continued")
		return
	}
	switch kind {
	case frameData:
		c.takeData(f, flags, id, h)
	case frameHeaders:
		c.takeHeaders(payload, flags, id, len(f), h)
	case frameContinuation:
		c.takeContinuation(payload, flags, id, len(f), h)
	case framePriority:
		c.takePriority(payload, id, h)
	case frameReset:
		c.takeReset(payload, id, h)
	case frameSettings:
		c.takeSettings(payload, flags, id, h)
	case framePush:
		c.fail(ProtocolError, "PUSH_PROMISE, which was not allowed")
	case framePing:
		c.takePing(payload, flags, id)
	case frameGoAway:
		c.takeGoAway(payload, id, h)
	case frameWindow:
		c.takeWindow(payload, id, h)
	}
}

// opened says whether Open has given that id. A stream that is not open any more may get frames that were under way
// when it was reset: they are taken and dropped. How it ended is not kept, so that the same goes for frames behind a
// complete response.
func (c *Conn) opened(id uint32) bool { return id&1 == 1 && id < c.next }

// takeData takes the header of DATA: f has the padding's length too where there is one.
func (c *Conn) takeData(f []byte, flags byte, id uint32, h Handler) {
	size := frameLength(f)
	content := size
	if flags&flagPadded != 0 {
		if len(f) == frameHeader || int(f[frameHeader]) >= size {
			c.fail(ProtocolError, "DATA has more padding than payload")
			return
		}
		content -= 1 + int(f[frameHeader])
	}
	if !c.opened(id) {
		c.fail(ProtocolError, "DATA on a stream that was not opened")
		return
	}
	if c.receive -= int64(size); c.receive < 0 {
		c.fail(FlowControlError, "DATA beyond the connection's window")
		return
	}
	c.data.id, c.data.end, c.data.left = id, flags&flagEndStream != 0, size-(len(f)-frameHeader)
	if s := c.find(id); s != nil {
		s.in += int64(len(f))
		c.admit(s, size, content, h)
	}
	if c.data.left == 0 && c.err == nil {
		c.endData(h)
	}
}

// admit checks DATA against the stream's state before its payload is counted.
func (c *Conn) admit(s *stream, size, content int, h Handler) {
	s.receive -= int64(size)
	switch {
	case s.receive < 0:
		c.reject(s, FlowControlError, h)
	case s.status == 0:
		c.reject(s, ProtocolError, h)
	case s.left < 0:
	case s.left < int64(content):
		c.reject(s, ProtocolError, h)
	default:
		s.left -= int64(content)
	}
}

// count takes payload of DATA, and gives what comes after it.
func (c *Conn) count(b []byte, h Handler) []byte {
	n := min(len(b), c.data.left)
	c.data.left -= n
	if s := c.find(c.data.id); s != nil {
		s.in += int64(n)
	}
	if c.data.left == 0 {
		c.endData(h)
	}
	return b[n:]
}

// endData comes after the last byte of DATA.
func (c *Conn) endData(h Handler) {
	c.creditConn()
	s := c.find(c.data.id)
	switch {
	case s == nil:
	case c.data.end:
		c.finish(s, h)
	default:
		c.creditStream(s)
	}
}

// finish ends a stream whose response is complete. A body that was not sent whole is not wanted any more (section 8.1).
func (c *Conn) finish(s *stream, h Handler) {
	if s.left > 0 {
		c.reject(s, ProtocolError, h)
		return
	}
	if len(s.body) > 0 {
		c.sendReset(s, NoError)
	}
	tag, e := s.tag, s.exchange()
	c.forget(s)
	h.End(tag, e)
}

// reject resets a stream whose response is malformed (section 8.1.1).
func (c *Conn) reject(s *stream, code uint32, h Handler) {
	c.sendReset(s, code)
	tag, e := s.tag, s.exchange()
	c.forget(s)
	h.Reset(tag, e, code, false)
	c.reply()
}

// takeHeaders takes HEADERS; size is that of the whole frame.
func (c *Conn) takeHeaders(payload []byte, flags byte, id uint32, size int, h Handler) {
	block, ok := unpad(payload, flags)
	if ok && flags&flagPriority != 0 {
		if ok = len(block) >= 5; ok {
			block = block[5:]
		}
	}
	switch {
	case !ok:
		c.fail(ProtocolError, "HEADERS has more padding than payload, or is too short")
	case !c.opened(id):
		c.fail(ProtocolError, "HEADERS on a stream that was not opened")
	case flags&flagEndHeaders == 0:
		c.block.id, c.block.flags, c.block.size = id, flags, size
		c.block.bytes = append(c.block.bytes[:0], block...)
	default:
		c.takeBlock(block, id, flags, size, h)
	}
}

func (c *Conn) takeContinuation(payload []byte, flags byte, id uint32, size int, h Handler) {
	if c.block.id == 0 {
		c.fail(ProtocolError, "CONTINUATION of nothing")
		return
	}
	if c.block.size += size; c.block.size > maxBlock {
		c.fail(EnhanceYourCalm, "a header block has more than 1 MiB")
		return
	}
	c.block.bytes = append(c.block.bytes, payload...)
	if flags&flagEndHeaders != 0 {
		c.block.id = 0
		c.takeBlock(c.block.bytes, id, c.block.flags, c.block.size, h)
	}
}

// takeBlock takes a whole header block, which came in frames of size bytes. It is decoded also where its stream has
// ended, as the blocks after it depend on it.
func (c *Conn) takeBlock(block []byte, id uint32, flags byte, size int, h Handler) {
	fields, err := c.decoder.decode(block)
	if err != nil {
		c.fail(CompressionError, err.Error())
		return
	}
	s := c.find(id)
	if s == nil {
		return
	}
	s.in += int64(size)
	s.answered = true
	end := flags&flagEndStream != 0
	switch {
	case s.status != 0:
		c.takeTrailers(s, fields, end, h)
	case fields.malformed || fields.status == 0 || fields.status == 101 || fields.status < 200 && end:
		c.reject(s, ProtocolError, h) // 101 is no status of HTTP/2, and an interim response ends nothing (sections 8.6 and 8.1)
	case fields.status >= 200:
		c.takeHead(s, fields, end, h)
	}
}

// takeHead takes the head of the final response.
func (c *Conn) takeHead(s *stream, fields head, end bool, h Handler) {
	s.status = int16(fields.status)
	s.left = fields.length
	if s.head || fields.status == 204 || fields.status == 304 {
		s.left = 0 // no body follows, whatever the length says (RFC 9110, 6.4.1)
	}
	id := s.id
	h.Begin(s.tag)
	if end && s.id == id { // Begin may have cancelled it
		c.finish(s, h)
	}
}

// takeTrailers takes the block after the body, which ends the response and has no status.
func (c *Conn) takeTrailers(s *stream, fields head, end bool, h Handler) {
	if !end || fields.malformed || fields.status != 0 {
		c.reject(s, ProtocolError, h)
		return
	}
	c.finish(s, h)
}

// takePriority drops PRIORITY, which is deprecated, but for a wrong one.
func (c *Conn) takePriority(payload []byte, id uint32, h Handler) {
	if id == 0 {
		c.fail(ProtocolError, "PRIORITY without a stream")
	} else if s := c.find(id); s != nil && len(payload) != 5 {
		c.reject(s, FrameSizeError, h)
	}
}

func (c *Conn) takeReset(payload []byte, id uint32, h Handler) {
	if len(payload) != 4 {
		c.fail(FrameSizeError, "RST_STREAM has not 4 bytes")
		return
	}
	if !c.opened(id) {
		c.fail(ProtocolError, "RST_STREAM on a stream that was not opened")
		return
	}
	if s := c.find(id); s != nil {
		s.in += frameHeader + 4
		code := binary.BigEndian.Uint32(payload)
		c.drop(s, code, code == RefusedStream, h)
	}
}

// drop forgets a stream that the peer does not go on with. One that it has begun to answer it has processed, whatever
// it says.
func (c *Conn) drop(s *stream, code uint32, unprocessed bool, h Handler) {
	tag, e, answered := s.tag, s.exchange(), s.answered
	c.forget(s)
	h.Reset(tag, e, code, unprocessed && !answered)
}

func (c *Conn) takeSettings(payload []byte, flags byte, id uint32, h Handler) {
	ack := flags&flagAck != 0
	switch {
	case id != 0:
		c.fail(ProtocolError, "SETTINGS on a stream")
		return
	case ack && len(payload) > 0 || len(payload)%6 != 0:
		c.fail(FrameSizeError, "SETTINGS has not the length of settings")
		return
	case ack:
		return
	}
	if !c.settled {
		c.allowed = math.MaxInt32 // what holds where they do not say
	}
	for ; len(payload) > 0; payload = payload[6:] {
		c.obey(binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:]))
		if c.err != nil {
			return
		}
	}
	c.out = appendFrame(c.out, 0, frameSettings, flagAck, 0)
	c.reply()
	if !c.settled {
		c.settled = true
		h.Ready()
	}
}

// obey takes a setting of the peer. That of its header table concerns nothing here, as our blocks use none, and our
// frames have never more than the least that every peer takes.
func (c *Conn) obey(setting uint16, value uint32) {
	switch setting {
	case settingEnablePush:
		if value != 0 {
			c.fail(ProtocolError, "a server's ENABLE_PUSH is not 0")
		}
	case settingMaxStreams:
		c.allowed = int(min(value, math.MaxInt32))
	case settingInitialWindow:
		c.resize(value)
	case settingMaxFrame:
		if value < maxFrame || value >= 1<<24 {
			c.fail(ProtocolError, "MAX_FRAME_SIZE is out of its range")
		}
	}
}

// resize changes what the peer takes on every stream, those that are open too (section 6.9.2).
func (c *Conn) resize(initial uint32) {
	if initial > maxWindow {
		c.fail(FlowControlError, "INITIAL_WINDOW_SIZE is out of its range")
		return
	}
	change := int64(initial) - c.initial
	c.initial = int64(initial)
	for i := range c.streams {
		s := &c.streams[i]
		if s.id == 0 {
			continue
		}
		if s.window += change; s.window > maxWindow {
			c.fail(FlowControlError, "INITIAL_WINDOW_SIZE makes a stream's window too large")
			return
		}
		c.enqueue(s)
	}
}

func (c *Conn) takePing(payload []byte, flags byte, id uint32) {
	switch {
	case id != 0:
		c.fail(ProtocolError, "PING on a stream")
	case len(payload) != 8:
		c.fail(FrameSizeError, "PING has not 8 bytes")
	case flags&flagAck == 0:
		c.out = append(appendFrame(c.out, 8, framePing, flagAck, 0), payload...)
		c.reply()
	}
}

// takeGoAway drops the streams above the last one that the peer has taken up. The others go on.
func (c *Conn) takeGoAway(payload []byte, id uint32, h Handler) {
	switch {
	case id != 0:
		c.fail(ProtocolError, "GOAWAY on a stream")
		return
	case len(payload) < 8:
		c.fail(FrameSizeError, "GOAWAY has less than 8 bytes")
		return
	}
	c.closing = true
	last, code := binary.BigEndian.Uint32(payload)&maxStream, binary.BigEndian.Uint32(payload[4:])
	for i := range c.streams {
		if s := &c.streams[i]; s.id > last {
			c.drop(s, code, true, h)
		}
	}
}

func (c *Conn) takeWindow(payload []byte, id uint32, h Handler) {
	if len(payload) != 4 {
		c.fail(FrameSizeError, "WINDOW_UPDATE has not 4 bytes")
		return
	}
	more := int64(binary.BigEndian.Uint32(payload) & maxWindow)
	if id != 0 {
		c.takeStreamWindow(more, id, h)
		return
	}
	switch c.window += more; {
	case more == 0:
		c.fail(ProtocolError, "WINDOW_UPDATE of 0")
	case c.window > maxWindow:
		c.fail(FlowControlError, "WINDOW_UPDATE makes the connection's window too large")
	}
}

func (c *Conn) takeStreamWindow(more int64, id uint32, h Handler) {
	if !c.opened(id) {
		c.fail(ProtocolError, "WINDOW_UPDATE on a stream that was not opened")
		return
	}
	s := c.find(id)
	if s == nil {
		return
	}
	s.in += frameHeader + 4
	switch s.window += more; {
	case more == 0:
		c.reject(s, ProtocolError, h)
	case s.window > maxWindow:
		c.reject(s, FlowControlError, h)
	default:
		c.enqueue(s)
	}
}
