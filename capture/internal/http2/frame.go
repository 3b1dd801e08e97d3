package http2

import (
	"encoding/binary"
	"time"

	"umbra/capture/internal/exchange"
)

// clientPreface is what a client sends first (RFC 9113, 3.4).
const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameHeader is the length of one (RFC 9113, 4.1).
const frameHeader = 9

// The frame types (RFC 9113, 6); three known extensions are at 0x0a, 0x0c and 0x10.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
	frameAltSvc       = 0xa  // RFC 7838
	frameOrigin       = 0xc  // RFC 8336
	framePriorities   = 0x10 // RFC 9218
)

const (
	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	// defaultFrame is what everybody may send (RFC 9113, 6.5.2).
	defaultFrame = 16 << 10
	// trial is how many frames of a direction that was joined midway must look like frames.
	trial = 4
)

// side is the state of one direction.
type side struct {
	from    exchange.Direction
	begun   bool
	joined  bool // its begin was not seen
	lost    bool // counted as HPACKLost
	dead    bool // nothing more of it is read
	frames  int  // counted up to above trial
	preface int  // bytes of the client's preface still to come

	have    int // bytes of header
	header  [frameHeader]byte
	frame   frame
	buf     []byte // of the payload, where it came in pieces
	payload []byte // what is kept of it: of buf, or of the caller's bytes
	table   table
	block   block
}

// frame is the one that is being read.
type frame struct {
	began  time.Time
	kind   byte
	flags  byte
	stream uint32
	length int
	left   int  // bytes of the payload still to come
	keep   int  // bytes of the payload that are wanted in one piece
	pad    int  // bytes of padding; -1 while unknown
	gap    bool // bytes of it are missing
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// begin looks at a direction's first byte: a connection of unknown begin whose client says the preface has its begin.
// No frame at which one is joined starts with a P, as it would be 5 MB long.
func (s *side) begin(b byte) {
	s.begun = true
	if s.joined && b != clientPreface[0] {
		s.preface = 0
	}
}

func (p *Parser) readPreface(s *side, b []byte) []byte {
	n := min(len(b), s.preface)
	at := len(clientPreface) - s.preface
	if string(b[:n]) != clientPreface[at:at+n] {
		p.malformed(s)
		return nil
	}
	s.preface -= n
	p.greeted = s.preface == 0
	return b[n:]
}

func (p *Parser) readHeader(s *side, b []byte) []byte {
	if s.have == 0 {
		s.frame = frame{began: p.now}
	}
	n := copy(s.header[s.have:], b)
	s.have += n
	if s.have == frameHeader {
		p.openFrame(s)
	}
	return b[n:]
}

func (p *Parser) openFrame(s *side) {
	f := &s.frame
	first := binary.BigEndian.Uint32(s.header[:])
	f.length = int(first >> 8)
	f.left, f.kind, f.flags = f.length, byte(first), s.header[4]
	f.stream = binary.BigEndian.Uint32(s.header[5:]) & (1<<31 - 1)
	if !p.admit(s) {
		p.malformed(s)
		return
	}
	f.keep = f.kept()
	if f.kind == frameData && f.has(flagPadded) {
		f.pad = -1
	}
	if f.kind == frameHeaders {
		p.openHead(s)
	}
	if f.left == 0 && !s.dead {
		p.closeFrame(s)
	}
}

// admit tells whether a frame may stand where it does.
func (p *Parser) admit(s *side) bool {
	f := &s.frame
	if s.frames == 0 && !p.enter(s) {
		return false
	}
	s.frames = min(s.frames+1, trial+1)
	if s.joined && s.frames <= trial && !s.plausible() {
		return false
	}
	if (f.kind == frameContinuation) != (s.block.stream != 0) || s.block.stream != 0 && f.stream != s.block.stream {
		return false
	}
	return f.wellFormed(s)
}

// enter looks at a direction's first frame, which is SETTINGS (RFC 9113, 3.4) unless the begin is missing. It is not where the
// first SETTINGS follow the client's preface, although nobody knew how the connection began.
func (p *Parser) enter(s *side) bool {
	settings := s.frame.kind == frameSettings && !s.frame.has(flagAck)
	if s.joined && p.greeted && settings {
		s.joined = false
	}
	if s.joined {
		p.lose(s)
	}
	return s.joined || settings
}

// wellFormed holds a frame against RFC 9113, 6, and the bounds of what is kept.
func (f *frame) wellFormed(s *side) bool {
	padded := 0
	if f.has(flagPadded) {
		padded = 1
	}
	switch f.kind {
	case frameData:
		return f.stream != 0 && f.length >= padded
	case frameHeaders:
		opened := f.stream%2 == 1 || s.from == exchange.FromServer // the even ones are pushed
		return f.stream != 0 && opened && f.length <= s.maxHead()
	case frameContinuation:
		return f.length <= s.maxHead()
	case framePushPromise:
		return s.from == exchange.FromServer && f.stream != 0 && f.length <= s.maxHead()
	case frameReset, frameWindowUpdate:
		return f.length == 4 && (f.stream != 0 || f.kind == frameWindowUpdate)
	case frameSettings:
		return f.stream == 0 && f.length%6 == 0 && (f.length == 0 || !f.has(flagAck))
	case framePing:
		return f.stream == 0 && f.length == 8
	case frameGoAway:
		return f.stream == 0 && f.length >= 8
	}
	return true
}

// maxHead bounds a frame of a header block: a frame that everybody may send is within it.
func (s *side) maxHead() int { return s.block.limit + defaultFrame }

// defined are the flags of each frame type; those of types that are not here are not known.
var defined = map[byte]byte{
	frameData: flagEndStream | flagPadded, frameHeaders: flagEndStream | flagEndHeaders | flagPadded | flagPriority,
	framePriority: 0, frameReset: 0, frameSettings: flagAck, framePushPromise: flagEndHeaders | flagPadded, framePing: flagAck,
	frameGoAway: 0, frameWindowUpdate: 0, frameContinuation: flagEndHeaders, frameAltSvc: 0, frameOrigin: 0, framePriorities: 0,
}

// plausible tells whether this looks like a frame header to somebody who does not know that it is one.
func (s *side) plausible() bool {
	f := &s.frame
	flags, known := defined[f.kind]
	return known && f.flags&^flags == 0 && s.header[5]&0x80 == 0 && f.length <= defaultFrame
}

// kept tells how much of a payload is wanted in one piece. SETTINGS are not: see table.
func (f *frame) kept() int {
	switch f.kind {
	case frameHeaders, frameContinuation, framePushPromise:
		return f.length
	case frameReset:
		return 4
	case frameGoAway:
		return 8
	}
	return 0
}

func (p *Parser) readPayload(s *side, b []byte) []byte {
	f := &s.frame
	n := min(len(b), f.left)
	f.left -= n
	switch {
	case f.kind == frameData && !f.gap:
		p.readContent(s, b[:n])
	case f.keep > 0:
		s.collect(b[:n])
	}
	if f.left == 0 && !s.dead {
		p.closeFrame(s)
	}
	return b[n:]
}

// collect keeps what is wanted, and copies it only where more is to come.
func (s *side) collect(b []byte) {
	if s.frame.left == 0 && len(s.buf) == 0 {
		s.payload = b[:s.frame.keep]
		return
	}
	s.buf = append(s.buf, b[:min(len(b), s.frame.keep-len(s.buf))]...)
	s.payload = s.buf
}

// readContent takes the next bytes of a DATA frame without its padding.
func (p *Parser) readContent(s *side, b []byte) {
	f := &s.frame
	if f.pad < 0 {
		f.pad = int(b[0])
		b = b[1:]
		if f.pad >= f.length {
			p.malformed(s)
			return
		}
	}
	padding := min(len(b), max(0, f.pad-f.left))
	if content := b[:len(b)-padding]; len(content) > 0 {
		p.content(s.from, f.stream, content)
	}
}

// skippable tells whether bytes of the frame can be missing without more harm than to its own message.
func (s *side) skippable() bool { return s.have == frameHeader && s.frame.keep == 0 }

func (p *Parser) skip(s *side, n int) {
	f := &s.frame
	f.left -= n
	f.gap = true
	if f.kind == frameData {
		p.cut(s.from, f.stream)
	}
	if f.left == 0 {
		p.closeFrame(s)
	}
}

func (p *Parser) closeFrame(s *side) {
	f := &s.frame
	switch f.kind {
	case frameData:
		if f.has(flagEndStream) {
			p.endStream(s.from, f.stream)
		}
	case frameHeaders, frameContinuation, framePushPromise:
		p.readFragment(s)
	case frameReset:
		p.reset(s.from, f.stream)
	case frameGoAway:
		p.goAway(s.from, binary.BigEndian.Uint32(s.payload)&(1<<31-1))
	}
	s.have, s.payload = 0, nil
	s.buf = reuse(s.buf)
}

// reuse empties a buffer, and frees one that had to be larger than most.
func reuse(b []byte) []byte {
	if cap(b) > defaultFrame {
		return nil
	}
	return b[:0]
}

// readFragment decodes what a frame has of a header block.
func (p *Parser) readFragment(s *side) {
	fragment, ok := s.fragment()
	if !ok {
		p.malformed(s)
		return
	}
	b := &s.block
	if len(b.carry) > 0 {
		b.carry = append(b.carry, fragment...)
		fragment = b.carry
	}
	rest, err := s.table.decode(fragment, b)
	end := s.frame.has(flagEndHeaders)
	if err != nil || end && len(rest) > 0 || len(rest) > s.maxHead() {
		p.malformed(s)
		return
	}
	b.carry = append(b.carry[:0], rest...)
	if s.table.partial {
		p.lose(s)
	}
	if end {
		p.closeHead(s)
	}
}

// fragment takes the padding and the fixed fields from the payload of a frame, and opens its block.
func (s *side) fragment() ([]byte, bool) {
	f, b := &s.frame, s.payload
	if f.kind == frameContinuation {
		return b, true
	}
	pad, fixed := 0, 0
	if f.has(flagPadded) {
		if len(b) == 0 {
			return nil, false
		}
		pad, b = int(b[0]), b[1:]
	}
	switch {
	case f.kind == framePushPromise:
		fixed = 4 // the promised stream
	case f.has(flagPriority):
		fixed = 5 // the stream it depends on, and its weight
	}
	if len(b) < fixed+pad {
		return nil, false
	}
	s.block.stream, s.block.pushed = f.stream, f.kind == framePushPromise
	s.block.ends = f.kind == frameHeaders && f.has(flagEndStream)
	return b[fixed : len(b)-pad], true
}
