// Package http2 is the client's side of HTTP/2 (RFC 9113) as a machine that neither reads nor writes: who owns the
// connection feeds it what came and writes what it has to say. It is made for a load generator: no allocation per
// request, bodies of responses are counted and dropped, and of their heads only the status and what makes a response
// malformed is looked at.
package http2

import "math/bits"

const (
	// The windows that the peer gets. Bodies are dropped as they come, so that they only bound what is under way: the
	// stream's is above the bandwidth-delay product of 10 Gbit/s over 10 ms, and the connection's never binds before.
	streamWindow = 16 << 20
	connWindow   = 1 << 30

	// ahead bounds the DATA that stands ready in Out, so that a body of any size is copied as the connection takes it.
	ahead = 64 << 10

	// maxReplies bounds what the peer can make us queue while it does not read: acknowledgements and resets. It is
	// nghttp2's bound.
	maxReplies = 1000

	// maxBlock bounds a header block, with the headers of its frames, so that empty ones are bounded too.
	maxBlock = 1 << 20

	// unsettled is how many streams are opened before the peer's SETTINGS have come: what section 6.5.2 asks of it to
	// allow at the least. Those beyond what it allows then are refused, and so not processed.
	unsettled = 100
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// headBlock begins the blocks that AppendHead makes of HEAD requests, whose responses have a length but no body.
const headBlock = "\x02\x04HEAD"

// Exchange is what a stream came to. In and Out are the bytes of its own frames, their headers included: those taken,
// and those put into Conn.Out.
type Exchange struct {
	Status  int // of the final response; 0 where it has not come
	In, Out int64
}

// Handler is told what becomes of streams, from within Feed. It may call Open, Cancel, Free, Active and Closing.
type Handler interface {
	// Begin says that the head of the final response has come.
	Begin(tag int32)
	// End says that the response is complete. Where the request's body had not been sent whole, the rest is not sent.
	End(tag int32, e Exchange)
	// Reset says that the stream ended without a whole response, with the peer's error code or that with which the
	// machine reset it. unprocessed: the peer says that it did nothing about the request, and has not begun to answer it.
	Reset(tag int32, e Exchange, code uint32, unprocessed bool)
	// Ready says that the peer's first SETTINGS have come.
	Ready()
}

// Conn is the client's side of one connection, from Start to Abandon, and then of the next one. It is not safe for
// concurrent use.
type Conn struct {
	streams []stream // slots, in use where id is not 0
	buckets []int32  // heads of the chains of slots in use, by id; see find
	unused  int32    // head of the chain of slots not in use
	active  int
	next    uint32 // the id of the next stream

	out     []byte
	written int   // out[written:] is to be written
	replies int   // what the peer made us queue since the Out of a while ago was written; see Wrote
	total   int64 // bytes ever written
	mark    int64 // total from which on what stood in Out when replies was last 0 has been written

	waiting queue // slots that have body to send and window for it
	window  int64 // what the peer takes of DATA on the connection
	initial int64 // and on a new stream
	allowed int   // the peer's MAX_CONCURRENT_STREAMS

	settled bool // the peer's first SETTINGS have come
	closing bool // no more streams
	err     error

	partial []byte // the frame that has not come whole; DATA has but its header there
	data    struct {
		id            uint32
		left          int // payload still to come
		size, content int // payload, and that less the padding
		end           bool
	}
	block struct {
		id    uint32 // the stream whose header block goes on in CONTINUATION; 0: none
		flags byte   // of its HEADERS
		size  int    // of its frames
		bytes []byte
	}
	decoder decoder
	receive int64 // what the peer may still send of DATA
}

// stream is one request and its response.
type stream struct {
	id       uint32 // 0: the slot is not in use
	tag      int32
	slot     int32 // where it is in Conn.streams, plus 1, so that 0 is none
	next     int32 // the slot that follows in its bucket's chain, or in that of unused slots
	status   int16
	head     bool   // of a HEAD request
	answered bool   // a response's head, be it interim, has come
	queued   bool   // the slot is in Conn.waiting; stays when the stream ends, so that no slot is there twice
	body     []byte // what is left to send; the caller's
	window   int64  // what the peer takes of DATA; SETTINGS can make it negative
	receive  int64  // what the peer may still send
	left     int64  // what content-length says is still to come; -1: unknown
	in, out  int64
}

func (s *stream) exchange() Exchange { return Exchange{Status: int(s.status), In: s.in, Out: s.out} }

// New makes a Conn for at most streams streams at once, from 1. Memory is allocated here, but for buffers that grow to
// the largest blocks they meet. Start comes next.
func New(streams int) *Conn {
	streams = max(1, streams)
	return &Conn{
		streams: make([]stream, streams),
		buckets: make([]int32, 1<<bits.Len(uint(2*streams-1))),
		waiting: queue{slots: make([]int32, streams)},
		out:     make([]byte, 0, 4<<10),
		partial: make([]byte, 0, 1<<10),
		decoder: decoder{tableSet: tables()},
	}
}

// Start begins anew for a new connection: Out holds the preface, SETTINGS and the connection's window. Streams of the
// connection before are forgotten: Abandon tells of them.
func (c *Conn) Start() {
	clear(c.buckets)
	for i := range c.streams {
		c.streams[i] = stream{slot: int32(i + 1), next: int32(i + 2)}
	}
	c.streams[len(c.streams)-1].next = 0
	c.unused, c.active, c.next = 1, 0, 1
	c.waiting.first, c.waiting.n = 0, 0
	c.window, c.initial, c.allowed, c.receive = defaultWindow, defaultWindow, unsettled, connWindow
	c.settled, c.closing, c.err = false, false, nil
	c.written, c.replies, c.total, c.mark = 0, 0, 0, 0
	c.partial = c.partial[:0]
	c.data.left, c.block.id = 0, 0
	c.decoder.reset()
	c.out = appendStart(c.out[:0])
}

// appendStart appends what a client says first. It leaves the header table at its 4096 bytes: a peer that uses it sends
// a byte where it would else send a field.
func appendStart(b []byte) []byte {
	b = append(b, preface...)
	b = appendFrame(b, 2*6, frameSettings, 0, 0)
	b = appendSetting(b, settingEnablePush, 0)
	b = appendSetting(b, settingInitialWindow, streamWindow)
	return appendNumber(b, frameWindow, 0, connWindow-defaultWindow)
}

// Out is what is to be written, until the next call of any other method. Request bodies go into it here, in turn, as
// the windows and what stands ready allow: call it after Open, Feed and Wrote.
func (c *Conn) Out() []byte {
	if c.err == nil {
		c.fill()
	}
	return c.out[c.written:]
}

// Wrote says that the first n bytes of Out were written.
func (c *Conn) Wrote(n int) {
	c.written += n
	if 2*c.written >= len(c.out) { // at most as much is moved as was written
		c.out = c.out[:copy(c.out, c.out[c.written:])]
		c.written = 0
	}
	// An Out that never runs empty must not add up the replies of hours: they are counted from one emptying of what
	// stood there to the next.
	if c.total += int64(n); c.total >= c.mark {
		c.replies, c.mark = 0, c.total+int64(len(c.out)-c.written)
	}
}

// Free is how many more streams may be opened now. Until the peer's SETTINGS have come (Ready) its limit is a guess, of
// 100.
func (c *Conn) Free() int {
	if c.Closing() {
		return 0
	}
	return max(0, min(len(c.streams), c.allowed)-c.active)
}

// Open sends a request: block, which AppendHead makes, is copied; body is kept until the stream ends and must not
// change. tag comes back with what is told of the stream. The stream is 0, and nothing is sent, where Free is 0.
func (c *Conn) Open(tag int32, block, body []byte) (id uint32) {
	if c.Free() == 0 {
		return 0
	}
	s := c.take()
	s.tag, s.body, s.window, s.receive, s.left = tag, body, c.initial, streamWindow, -1
	s.head = len(block) >= len(headBlock) && string(block[:len(headBlock)]) == headBlock
	c.sendHead(s, block)
	c.enqueue(s)
	return s.id
}

// Cancel resets the stream with CANCEL. Nothing more is told of it. Of a stream that has ended there is nothing to tell.
func (c *Conn) Cancel(id uint32) Exchange {
	s := c.find(id)
	if s == nil {
		return Exchange{}
	}
	c.sendReset(s, Canceled)
	e := s.exchange()
	c.forget(s)
	return e
}

// Sending tells whether a part of a stream's request is still to be sent.
func (c *Conn) Sending(id uint32) bool {
	s := c.find(id)
	return s != nil && len(s.body) > 0
}

// Abandon forgets every open stream and tells of it, as the connection ended. Until Start the Conn is of no use.
func (c *Conn) Abandon(h func(tag int32, e Exchange)) {
	c.closing = true
	for i := range c.streams {
		if s := &c.streams[i]; s.id != 0 {
			tag, e := s.tag, s.exchange()
			c.forget(s)
			h(tag, e)
		}
	}
}

// Active is how many streams are open.
func (c *Conn) Active() int { return c.active }

// Closing says that no stream can be opened any more: GOAWAY came or was sent, or the ids are used up. The connection
// is to be closed when Active is 0.
func (c *Conn) Closing() bool { return c.closing || c.next > maxStream }

// Close puts GOAWAY into Out and lets no more streams be opened. Those that are open go on.
func (c *Conn) Close() {
	if c.err == nil {
		c.out = appendGoAway(c.out, NoError)
	}
	c.closing = true
}

// bucket is the head of the chain in which a stream's slot is. Ids follow each other and there are two buckets or more
// for each slot, so that chains only form behind streams that outlive many others.
func (c *Conn) bucket(id uint32) *int32 { return &c.buckets[int(id>>1)&(len(c.buckets)-1)] }

// find gives the open stream of that id, or nil.
func (c *Conn) find(id uint32) *stream {
	for slot := *c.bucket(id); slot != 0; slot = c.streams[slot-1].next {
		if s := &c.streams[slot-1]; s.id == id {
			return s
		}
	}
	return nil
}

// take gives an unused slot to the stream of the next id.
func (c *Conn) take() *stream {
	s, bucket := &c.streams[c.unused-1], c.bucket(c.next)
	c.unused = s.next
	*s = stream{id: c.next, slot: s.slot, next: *bucket, queued: s.queued}
	*bucket = s.slot
	c.active++
	c.next += 2
	return s
}

// forget gives an open stream's slot back.
func (c *Conn) forget(s *stream) {
	link := c.bucket(s.id)
	for *link != s.slot {
		link = &c.streams[*link-1].next
	}
	*link = s.next
	s.id, s.body = 0, nil
	s.next, c.unused = c.unused, s.slot
	c.active--
}
