package tcp

import (
	"container/list"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

const (
	// reach is the farthest that sequence numbers of one connection lie apart; more is another connection's, or a loss that
	// cannot be measured. Windows are smaller (RFC 7323, 2.3).
	reach = 1 << 29
	// straggle is how far behind its end an ended connection still sends bytes again.
	straggle = 1 << 24
)

// before compares sequence numbers, which wrap around (RFC 9293, 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// segment is what a packet brought.
type segment struct {
	seq     uint32
	b       []byte
	missing int // cut off behind b
	at      time.Time
	ack     uint32
	acks    bool // ack is valid
	cut     bool // b stands for bytes that the capture cut off
}

func (s segment) length() int { return len(s.b) + s.missing }
func (s segment) end() uint32 { return s.seq + uint32(s.length()) }

// piece is what is told at once of a direction: bytes, or a gap of n bytes (-1: nobody knows).
type piece struct {
	b    []byte
	gap  int64
	at   time.Time
	ack  uint32
	acks bool
	rest bool // of a gap of which the begin was told
}

func (p piece) length() uint32 { return uint32(len(p.b)) + uint32(max(p.gap, 0)) }
func (p piece) pages() int     { return 1 + len(p.b)/pageBytes }

// half is one direction of a connection, named by who sends.
type half struct {
	c    *conn
	side int

	syn   bool // its SYN was seen, with the number isn
	isn   uint32
	known bool   // begin, next and told are
	begin uint32 // its first byte
	next  uint32 // all before is in order
	told  uint32 // all before was told
	acked bool   // the other side has acknowledged all before ack
	ack   uint32

	fins  bool // it ends at fin
	fin   uint32
	last  piece // empty: when it ended, and what it acknowledged
	ended bool
	over  bool // the stream was told so

	disorder *disorder // not nil while it has holes
	cuts     []cut     // in the disorder: what the capture cut off
	gate     []piece   // in order, but before their turn
	pages    int       // in use by disorder and gate

	queue *waiting // where it waits, if it does
	elem  *list.Element
	since time.Time // the clock when it began to wait, or when it last was told something
	mark  uint32    // told, at since
}

// cut is bytes that the capture cut off.
type cut struct {
	from, to uint32
	at       time.Time
}

func (h *half) other() *half        { return &h.c.half[1-h.side] }
func (h *half) loss() exchange.Loss { return h.c.a.o.Loss }

// top is behind all that was seen.
func (h *half) top() uint32 {
	if h.disorder != nil {
		return h.disorder.top
	}
	return h.next
}

// outdated tells that a segment of n bytes belongs to a later connection with the same addresses and ports.
func (h *half) outdated(t *layers.TCP, n int) bool {
	switch {
	case t.SYN && h.syn:
		return t.Seq != h.isn
	case t.SYN && h.known:
		return t.Seq+1 != h.begin
	case t.SYN && h.c.closed:
		return true
	case t.SYN:
		return !h.mayStart(t.Seq + 1)
	case n == 0 && !t.FIN:
		return false
	case h.c.closed:
		behind := h.fin - (t.Seq + uint32(n))
		return !h.c.reset && behind > straggle
	case h.known:
		return far(t.Seq, h.next)
	case h.disorder != nil:
		return far(t.Seq, h.disorder.origin)
	}
	return false
}

func far(a, b uint32) bool { return a-b > reach && b-a > reach }

// mayStart tells whether the half can begin at seq: none of what is held lies before.
func (h *half) mayStart(seq uint32) bool {
	return !h.known && (h.disorder == nil || h.disorder.low-seq <= reach)
}

// start makes the half begin at seq.
func (h *half) start(seq uint32) {
	h.begun(seq)
	if h.disorder != nil {
		h.disorder.start(seq)
		h.tidy()
	}
}

func (h *half) begun(seq uint32) { h.known, h.begin, h.next, h.told = true, seq, seq, seq }

// startMidway makes the half begin at seq, behind bytes that nobody has seen.
func (h *half) startMidway(seq uint32, at time.Time) {
	h.begun(seq)
	h.c.midway = true
	h.ordered(piece{gap: -1, at: at})
}

// acknowledge notes that the other side has all before ack.
func (h *half) acknowledge(ack uint32) {
	if h.known && far(ack, h.next) {
		return
	}
	if !h.acked || before(h.ack, ack) {
		h.acked, h.ack = true, ack
	}
}

// segment takes bytes: in order, again, or behind a hole.
func (h *half) segment(s segment) {
	if !h.known && h.disorder == nil && h.c.midway {
		h.startMidway(s.seq, s.at)
	}
	if h.known {
		h.trim(&s)
		if s.length() == 0 || h.ended {
			return
		}
		if h.disorder == nil && s.seq == h.next {
			h.pass(s)
			return
		}
	}
	h.disordered(s)
}

// goesOn tells of a segment that brings the next bytes, in turn, on a connection where nothing waits: nearly all do.
func (h *half) goesOn(t *layers.TCP) bool {
	o := h.other()
	switch {
	case t.SYN || t.FIN || t.RST || !t.ACK || len(t.Payload) == 0:
		return false
	case !h.known || !o.known || t.Seq != h.next || h.waits() || o.waits() || h.queue != nil || o.queue != nil || h.ended || o.ended || far(t.Ack, o.next):
		return false
	}
	ahead := t.Ack - o.told // as inTurn has it
	return ahead <= 1 || ahead > reach
}

// goOn takes such a segment: what segment and settle come down to.
func (h *half) goOn(t *layers.TCP, at time.Time) {
	h.other().acknowledge(t.Ack)
	h.next += uint32(len(t.Payload))
	h.told = h.next
	h.c.open().Data(h.c.direction(h.side), t.Payload, at)
}

// pass takes what comes in order.
func (h *half) pass(s segment) {
	if len(s.b) > 0 {
		h.ordered(piece{b: s.b, at: s.at, ack: s.ack, acks: s.acks})
	}
	if s.missing > 0 {
		h.ordered(piece{gap: int64(s.missing), at: s.at})
	}
}

// trim leaves out what came before.
func (h *half) trim(s *segment) {
	if !before(s.seq, h.next) {
		return
	}
	again := h.next - s.seq
	here := min(int(again), len(s.b))
	h.loss().Add(exchange.Retransmitted, int64(here))
	s.b = s.b[here:]
	s.missing = max(0, s.missing-(int(again)-here))
	s.seq = h.next
}

// disordered takes bytes while the half has holes.
func (h *half) disordered(s segment) {
	if d := h.disorder; d != nil && far32(s.end(), d.origin) {
		h.drain()
		h.segment(s)
		return
	}
	if h.disorder == nil {
		h.disorder = h.c.a.sorter.open(h, s)
	}
	if before(s.seq, h.disorder.top) {
		h.loss().Add(exchange.OutOfOrder, 1)
	}
	h.disorder.add(s)
	if s.missing > 0 {
		h.cuts = append(h.cuts, cut{s.seq + uint32(len(s.b)), s.end(), s.at})
		h.use(1)
		h.disorder.pages++
	}
	h.tidy()
}

// far32 tells that a stretch became so long that its numbers would wrap around.
func far32(seq, origin uint32) bool { return !before(seq, origin) && seq-origin > reach }

// tidy goes on behind what was cut off, and ends the disorder when it has no hole left.
func (h *half) tidy() {
	for h.disorder != nil && h.known {
		if !h.passCut() {
			break
		}
	}
	if h.disorder != nil && h.known && !before(h.next, h.disorder.top) {
		h.closeDisorder()
	}
}

// passCut tells whether what comes next was cut off, and then goes on behind it.
func (h *half) passCut() bool {
	for i, c := range h.cuts {
		if before(h.next, c.from) || !before(h.next, c.to) {
			continue
		}
		h.cuts = append(h.cuts[:i], h.cuts[i+1:]...)
		h.disorder.fill(int(c.to-h.next), c.at)
		return true
	}
	return false
}

func (h *half) closeDisorder() {
	d := h.disorder
	d.close()
	h.loss().Add(exchange.Retransmitted, d.received-d.given)
	h.use(-d.pages)
	h.disorder, h.cuts = nil, nil
}

// drain gives up all holes of the disorder.
func (h *half) drain() {
	for h.disorder != nil {
		h.skipHole()
	}
}

// skipHole gives up the first hole of the disorder.
func (h *half) skipHole() {
	known, next := h.known, h.next
	h.disorder.nudge()
	h.tidy()
	if h.disorder != nil && h.known == known && h.next == next {
		h.drainCuts()
	}
}

// drainCuts ends a disorder that has no bytes left, only what was cut off.
func (h *half) drainCuts() {
	d := h.disorder
	if !h.known {
		h.startMidway(d.top, h.c.seen)
	} else if before(h.next, d.top) {
		h.ordered(piece{gap: int64(d.top - h.next), at: h.c.seen})
	}
	h.closeDisorder()
}

// use counts pages that were taken, or given back.
func (h *half) use(pages int) {
	h.pages += pages
	h.c.a.pages += pages
}

// ordered takes what comes next of the half, and tells it, or keeps it until its turn.
func (h *half) ordered(p piece) {
	h.next += p.length()
	if len(h.gate) == 0 && !h.c.holding && h.inTurn(p) && h.due(p) == p.gap {
		h.tell(p)
		return
	}
	p.b = append([]byte(nil), p.b...)
	h.gate = append(h.gate, p)
	h.use(p.pages())
}

// inTurn tells that all was told that a piece's sender had when sending it. One byte more is the other side's FIN. What was in
// a gap acknowledges nothing any more: it comes behind what the other half can tell without it.
func (h *half) inTurn(p piece) bool {
	o := h.other()
	switch {
	case p.gap != 0:
		return len(o.gate) == 0 || !o.gate[0].acks || !o.inTurn(o.gate[0])
	case !p.acks || o.ended:
		return true
	case !o.known:
		return h.c.midway
	}
	ahead := p.ack - o.told
	return ahead <= 1 || ahead > reach
}

// release tells what waited for its turn, and whether there was any.
func (h *half) release() bool {
	any := false
	for len(h.gate) > 0 && h.inTurn(h.gate[0]) {
		h.force()
		any = true
	}
	return any
}

// due gives how much of a gap the other half waits for: several messages may be missing, and who sent in between acknowledged
// some of them.
func (h *half) due(p piece) int64 {
	o := h.other()
	if p.gap > 0 && len(o.gate) > 0 && o.gate[0].acks {
		if n := int64(o.gate[0].ack - h.told); 0 < n && n < p.gap {
			return n
		}
	}
	return p.gap
}

// force tells the first piece of the gate, of a gap as much as is due.
func (h *half) force() {
	p := h.gate[0]
	if n := h.due(p); n < p.gap {
		h.gate[0].gap, h.gate[0].rest = p.gap-n, true
		p.gap = n
		h.tell(p)
		return
	}
	h.gate[0] = piece{}
	h.gate = h.gate[1:]
	h.use(-p.pages())
	h.tell(p)
}

// concede tells what a piece of the other half acknowledges, or that it is missing. What lies behind keeps its turn: told
// now, answers would come before their requests wherever both halves have holes.
func (h *half) concede(p piece) {
	h.c.midway = h.c.midway || !h.known
	for h.disorder != nil && !h.known || !h.other().inTurn(p) {
		switch {
		case len(h.gate) > 0:
			h.force()
		case h.disorder != nil:
			h.skipHole()
		default:
			h.ordered(piece{gap: int64(p.ack - h.next), at: p.at})
		}
	}
}

// tell gives a piece to the stream.
func (h *half) tell(p piece) {
	h.told += p.length()
	c := h.c
	s := c.open()
	d := c.direction(h.side)
	switch {
	case p.gap == 0:
		s.Data(d, p.b, p.at)
	case p.gap < 0:
		c.countMidway()
		s.Gap(d, -1, p.at)
	default:
		if !p.rest {
			h.loss().Add(exchange.Gaps, 1)
		}
		h.loss().Add(exchange.MissingBytes, p.gap)
		s.Gap(d, p.gap, p.at)
	}
}

// finish notes that the half ends at seq.
func (h *half) finish(seq uint32, last piece) {
	if h.fins || h.known && before(seq, h.next) {
		return
	}
	h.fins, h.fin, h.last = true, seq, last
	if !h.known && h.disorder == nil && (h.c.midway || h.c.reset) {
		h.begun(seq)
	}
}

// end ends the half when all before its end was told, and whether it did. What lies behind, nobody received.
func (h *half) end() bool {
	if !h.fins || h.ended || !h.known || before(h.told, h.fin) || len(h.gate) > 0 || !h.inTurn(h.last) {
		return false
	}
	h.ended = true
	h.discard()
	if h.c.stream != nil {
		h.tellEnd()
	}
	return true
}

// tellEnd tells the stream that the half ended, but not of a reset, which ends both.
func (h *half) tellEnd() {
	if !h.c.reset {
		h.over = true
		h.c.stream.End(h.c.direction(h.side), h.last.at, false)
	}
}

// giveUpEnd goes to the end of a half that has nothing more to tell.
func (h *half) giveUpEnd() {
	if !h.fins || h.ended {
		return
	}
	if !h.known {
		h.begun(h.fin)
	}
	if before(h.next, h.fin) {
		h.ordered(piece{gap: int64(h.fin - h.next), at: h.last.at})
	}
	h.other().concede(h.last)
	h.last.acks = false // it has waited long enough
	h.end()
}

// missUnseen tells of bytes that the other side acknowledged and that were never seen. One is the FIN.
func (h *half) missUnseen() {
	if missing := h.ack - h.next; h.acked && h.known && !h.fins && missing > 1 && missing <= reach {
		h.ordered(piece{gap: int64(missing), at: h.c.seen})
	}
}

// discard lets go of what is held.
func (h *half) discard() {
	held := h.c.holding
	h.c.holding = true
	h.drain()
	h.c.holding = held
	for _, p := range h.gate {
		h.use(-p.pages())
	}
	h.gate = nil
}

// clear leaves nothing of the half but its numbers.
func (h *half) clear() {
	h.discard()
	h.leave()
}

// waits tells that there is more to tell of the half, or that its end is due.
func (h *half) waits() bool { return h.disorder != nil || len(h.gate) > 0 || h.fins && !h.ended }

// isLost tells that what the half waits for was acknowledged.
func (h *half) isLost() bool {
	switch {
	case len(h.gate) > 0 || h.known && h.fins && h.told == h.fin:
		return true
	case !h.acked:
		return false
	case h.disorder != nil:
		return !before(h.ack, h.disorder.low)
	}
	return !before(h.ack, h.fin)
}

// place puts the half where it waits. What was told something has waited from now on only.
func (h *half) place() {
	var to *waiting
	switch {
	case !h.waits():
	case h.isLost():
		to = &h.c.a.lost
	default:
		to = &h.c.a.unsure
	}
	if to == h.queue && h.mark == h.told {
		return
	}
	h.leave()
	if to != nil {
		h.queue, h.elem, h.since, h.mark = to, to.PushBack(h), h.c.a.clock, h.told
	}
}

func (h *half) leave() {
	if h.queue != nil {
		h.queue.Remove(h.elem)
		h.queue, h.elem = nil, nil
	}
}
