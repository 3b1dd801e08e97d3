package tcp

import (
	"encoding/binary"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/reassembly"
)

// pageBytes is the size of gopacket's pages.
const pageBytes = 1900

// middle is the number that gopacket is given for a disorder's origin. Its arithmetic is off by one where numbers wrap
// around, so they never do: a disorder ends within reach of its origin.
const middle = 1 << 31

// zeros stand for bytes that the capture cut off.
var zeros [64 << 10]byte

// sorter owns gopacket's assembler. Of what gopacket offers only the ordering is used: it knows each disorder as a connection
// of its own, by a number in place of addresses, and sees neither SYN nor FIN but those made here. Its limits stay off: it
// forgets a FIN without bytes that comes early, and loses pages when it closes what is not empty.
type sorter struct {
	asm     *reassembly.Assembler
	opening *disorder // the stream that gopacket asks for
	count   uint64
	tcp     layers.TCP
	live    *held // what is passed on at once
}

func newSorter() *sorter {
	return &sorter{live: newHeld(segment{})}
}

// New implements reassembly.StreamFactory.
func (s *sorter) New(_, _ gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	return s.opening
}

// open begins a disorder of a half with the first segment behind a hole.
func (s *sorter) open(h *half, first segment) *disorder {
	if s.asm == nil { // most captures need it, but its first pages are 2 MB
		s.asm = reassembly.NewAssembler(reassembly.NewStreamPool(s))
	}
	s.count++
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], s.count)
	d := &disorder{s: s, h: h, flow: gopacket.NewFlow(layers.EndpointIPv6, id[:], nil), origin: first.seq, low: first.seq, top: first.seq}
	if h.known {
		d.origin, d.top = h.next, h.next
		d.start(h.next)
	}
	return d
}

// held is a segment in gopacket's hands.
type held struct {
	segment
	end  uint32
	info gopacket.CaptureInfo
	self [1]any
}

func newHeld(s segment) *held {
	x := &held{}
	x.self[0] = x
	x.info.AncillaryData = x.self[:]
	x.set(s)
	return x
}

func (x *held) set(s segment) {
	x.segment, x.end, x.info.Timestamp = s, s.seq+uint32(len(s.b)), s.at
	x.segment.b = nil // it is the caller's
}

// GetCaptureInfo implements reassembly.AssemblerContext.
func (x *held) GetCaptureInfo() gopacket.CaptureInfo { return x.info }

// disorder is a stretch of a half that has holes, from the first hole until none is left.
type disorder struct {
	s      *sorter
	h      *half
	flow   gopacket.Flow
	origin uint32
	holds  bool   // there were bytes behind a hole
	low    uint32 // none of them is before; but top as long as the half has gone on and nobody knows
	top    uint32 // no byte was seen behind
	pages  int    // at most so many are used
	closed bool

	received, given int64 // bytes: their difference came twice
}

// add takes a segment that has new bytes.
func (d *disorder) add(s segment) {
	d.received += int64(len(s.b))
	if end := s.end(); before(d.top, end) {
		d.top = end
	}
	if d.h.known && s.seq == d.h.next {
		d.pass(s)
		return
	}
	if len(s.b) > 0 && (!d.holds || before(s.seq, d.low)) {
		d.holds, d.low = true, s.seq
	}
	d.keep(s)
}

// keep gives gopacket bytes behind a hole, a page at a time: of more it would know the time stamp for the first page only.
func (d *disorder) keep(s segment) {
	for b := s.b; len(b) > 0; {
		s.b = b[:min(len(b), pageBytes)]
		d.feed(layers.TCP{Seq: d.relative(s.seq)}, s.b, newHeld(s), false)
		d.pages++
		d.h.use(1)
		s.seq += uint32(len(s.b))
		b = b[len(s.b):]
	}
}

// pass gives gopacket the bytes that come next.
func (d *disorder) pass(s segment) {
	if len(s.b) == 0 {
		return
	}
	d.s.live.set(s)
	d.feed(layers.TCP{Seq: d.relative(s.seq)}, s.b, d.s.live, false)
}

// fill goes on behind n bytes that the capture cut off. What is held of them is left out too.
func (d *disorder) fill(n int, at time.Time) {
	for n > 0 {
		k := min(n, len(zeros))
		d.pass(segment{seq: d.h.next, b: zeros[:k], at: at, cut: true})
		n -= k
	}
}

// start tells gopacket where the half begins.
func (d *disorder) start(seq uint32) {
	d.s.live.set(segment{seq: seq})
	d.feed(layers.TCP{Seq: d.relative(seq - 1), SYN: true}, nil, d.s.live, false)
}

// nudge makes gopacket give up the first hole, by an empty segment behind all others when no page is allowed to wait.
func (d *disorder) nudge() {
	d.s.live.set(segment{})
	d.s.asm.MaxBufferedPagesPerConnection = 1
	d.feed(layers.TCP{Seq: d.relative(d.top) + 1}, nil, d.s.live, false)
	d.s.asm.MaxBufferedPagesPerConnection = 0
}

// close makes gopacket forget the disorder, which is empty: it does when both directions have ended.
func (d *disorder) close() {
	d.closed = true
	d.s.live.set(segment{})
	d.feed(layers.TCP{FIN: true}, nil, d.s.live, false)
	d.feed(layers.TCP{FIN: true}, nil, d.s.live, true)
}

func (d *disorder) relative(seq uint32) uint32 { return seq - d.origin + middle }

func (d *disorder) feed(t layers.TCP, b []byte, x *held, reverse bool) {
	d.s.tcp = t
	d.s.tcp.Payload = b
	d.s.opening = d
	flow := d.flow
	if reverse {
		flow = flow.Reverse()
	}
	d.s.asm.AssembleWithContext(flow, &d.s.tcp, x)
	d.s.tcp.Payload = nil
}

// Accept implements reassembly.Stream. Once closed, whatever comes begins a direction.
func (d *disorder) Accept(t *layers.TCP, _ gopacket.CaptureInfo, _ reassembly.TCPFlowDirection, next reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	if *start = *start || d.closed; d.closed && next >= 0 {
		t.Seq = uint32(next) // a FIN counts in its place only
	}
	return true
}

// ReassembledSG implements reassembly.Stream: it takes the bytes that gopacket has put in order.
func (d *disorder) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	n, _ := sg.Lengths()
	if d.closed || n == 0 {
		return
	}
	_, _, _, skip := sg.Info()
	b := sg.Fetch(n)
	first := sg.CaptureInfo(0).AncillaryData[0].(*held)
	switch {
	case skip < 0:
		d.h.startMidway(d.low, first.at)
	case skip > 0:
		d.h.ordered(piece{gap: int64(skip), at: first.at})
	}
	d.low = d.top
	for rest := b; len(rest) > 0; {
		x := sg.CaptureInfo(n - len(rest)).AncillaryData[0].(*held)
		k := min(len(rest), max(1, int(x.end-d.h.next)))
		d.give(rest[:k], x)
		rest = rest[k:]
	}
}

// give passes on bytes that came with x.
func (d *disorder) give(b []byte, x *held) {
	if x.cut {
		d.h.ordered(piece{gap: int64(len(b)), at: x.at})
		return
	}
	d.given += int64(len(b))
	d.h.ordered(piece{b: b, at: x.at, ack: x.ack, acks: x.acks})
}

// ReassemblyComplete implements reassembly.Stream: gopacket shall forget it.
func (d *disorder) ReassemblyComplete(reassembly.AssemblerContext) bool { return true }
