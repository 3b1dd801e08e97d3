package http2

// sendHead sends the block as HEADERS and as many CONTINUATIONs as it needs.
func (c *Conn) sendHead(s *stream, block []byte) {
	kind, flags := byte(frameHeaders), byte(0)
	if len(s.body) == 0 {
		flags = flagEndStream
	}
	for {
		n := min(len(block), maxFrame)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.out = append(appendFrame(c.out, n, kind, flags, s.id), block[:n]...)
		s.out += int64(frameHeader + n)
		if block = block[n:]; len(block) == 0 {
			return
		}
		kind, flags = frameContinuation, 0
	}
}

// enqueue lets the stream take its turn in fill where it has something to send and window for it.
func (c *Conn) enqueue(s *stream) {
	if len(s.body) > 0 && s.window > 0 && !s.queued {
		s.queued = true
		c.waiting.push(s.slot)
	}
}

// fill puts DATA into Out, a frame of each stream in turn. A slot whose stream has ended has no body.
func (c *Conn) fill() {
	for c.waiting.n > 0 && c.window > 0 && len(c.out)-c.written < ahead {
		s := &c.streams[c.waiting.pop()-1]
		s.queued = false
		if n := min(int64(len(s.body)), maxFrame, s.window, c.window); n > 0 {
			c.sendData(s, int(n))
			c.enqueue(s)
		}
	}
}

func (c *Conn) sendData(s *stream, n int) {
	flags := byte(0)
	if n == len(s.body) {
		flags = flagEndStream
	}
	c.out = append(appendFrame(c.out, n, frameData, flags, s.id), s.body[:n]...)
	s.body = s.body[n:]
	s.window -= int64(n)
	c.window -= int64(n)
	s.out += int64(frameHeader + n)
}

func (c *Conn) sendReset(s *stream, code uint32) {
	c.out = appendNumber(c.out, frameReset, s.id, code)
	s.out += frameHeader + 4
}

// creditConn gives the peer its window on the connection back when half of it is used.
func (c *Conn) creditConn() {
	if c.receive <= connWindow/2 {
		c.out = appendNumber(c.out, frameWindow, 0, uint32(connWindow-c.receive))
		c.receive = connWindow
	}
}

// creditStream does so for a stream.
func (c *Conn) creditStream(s *stream) {
	if s.receive <= streamWindow/2 {
		c.out = appendNumber(c.out, frameWindow, s.id, uint32(streamWindow-s.receive))
		s.receive = streamWindow
		s.out += frameHeader + 4
	}
}

// fail ends the connection's use with GOAWAY.
func (c *Conn) fail(code uint32, reason string) error {
	c.out = appendGoAway(c.out, code)
	c.err, c.closing = &Error{Code: code, Reason: reason}, true
	return c.err
}

// reply counts what the peer made us queue.
func (c *Conn) reply() error {
	if c.replies++; c.replies > maxReplies {
		return c.fail(EnhanceYourCalm, "it asks for answers and does not read them")
	}
	return nil
}

// queue holds slots, first in, first out, each once.
type queue struct {
	slots    []int32 // room for every slot
	first, n int
}

func (q *queue) push(slot int32) {
	i := q.first + q.n
	if i >= len(q.slots) {
		i -= len(q.slots)
	}
	q.slots[i] = slot
	q.n++
}

func (q *queue) pop() int32 {
	slot := q.slots[q.first]
	if q.first++; q.first == len(q.slots) {
		q.first = 0
	}
	q.n--
	return slot
}
