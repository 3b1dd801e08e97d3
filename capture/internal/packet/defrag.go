package packet

import (
	"bytes"
	"cmp"
	"container/list"
	"slices"
	"time"

	"umbra/capture/internal/exchange"
)

const (
	// maxFragmentMemory and maxFragmentAge bound what waits for its rest, as Linux does by default (ipfrag_high_thresh,
	// ipfrag_time).
	maxFragmentMemory = 4 << 20
	maxFragmentAge    = 30 * time.Second

	maxDatagram  = 1<<16 - 1
	partOverhead = 64 // bytes that a fragment costs beyond its own
)

// fragment is a piece of a datagram.
type fragment struct {
	flow
	id     uint32
	offset int
	more   bool // it is not the last one
	next   byte // the protocol of the datagram's payload; of IPv6 only the first fragment tells the truth
	data   []byte
}

// fragmentKey is what the fragments of a datagram have in common.
type fragmentKey struct {
	flow
	id uint32
}

// part is what a fragment brought.
type part struct {
	offset int
	data   []byte
}

// partial is a datagram that waits for fragments, or one that was whole: it is kept for a while to know copies of its fragments.
type partial struct {
	key   fragmentKey
	began time.Time
	parts []part // in order, without overlaps
	size  int    // bytes in parts
	total int    // bytes of the datagram; -1 while the last fragment is not there
	next  byte
	whole bool
}

// defragmenter puts datagrams together. It holds no more than maxFragmentMemory, and nothing for longer than maxFragmentAge by
// the capture's own clock.
type defragmenter struct {
	loss     exchange.Loss
	partials map[fragmentKey]*list.Element
	order    *list.List // of *partial, the oldest first
	held     int        // bytes, with overhead
	out      []byte     // the last whole datagram
}

func newDefragmenter(loss exchange.Loss) *defragmenter {
	return &defragmenter{loss: loss, partials: map[fragmentKey]*list.Element{}, order: list.New()}
}

// add keeps a copy of a fragment. It gives the payload of the datagram that the fragment completes, valid until the next add,
// and its protocol; the verdict then is readable.
func (d *defragmenter) add(f *fragment, at time.Time) ([]byte, byte, verdict) {
	end := f.offset + len(f.data)
	if len(f.data) == 0 || end > maxDatagram || f.more && len(f.data)%8 != 0 {
		return nil, 0, malformed
	}
	d.expire(at)
	e := d.find(f, at)
	p := e.Value.(*partial)
	if p.whole || p.holds(f) {
		return nil, 0, foreign // a copy
	}
	d.insert(p, f)
	if !p.fits(f) {
		// Fragments that contradict each other are an attack or a damage: RFC 5722 has all of them discarded.
		d.forget(e)
		return nil, 0, foreign
	}
	whole := p.size == p.total
	if whole {
		d.complete(p)
	}
	d.evict()
	if !whole {
		return nil, 0, foreign
	}
	return d.out, p.next, readable
}

// find gives the datagram of a fragment: a new one where there is none, or where the id was used again after it was whole.
func (d *defragmenter) find(f *fragment, at time.Time) *list.Element {
	key := fragmentKey{f.flow, f.id}
	if e, ok := d.partials[key]; ok {
		if p := e.Value.(*partial); !p.whole || p.holds(f) {
			return e
		}
		d.forget(e)
	}
	e := d.order.PushBack(&partial{key: key, began: at, total: -1})
	d.partials[key] = e
	return e
}

// holds tells whether the very same fragment is there.
func (p *partial) holds(f *fragment) bool {
	i, found := p.search(f.offset)
	return found && bytes.Equal(p.parts[i].data, f.data)
}

func (p *partial) search(offset int) (int, bool) {
	return slices.BinarySearchFunc(p.parts, offset, func(p part, offset int) int { return cmp.Compare(p.offset, offset) })
}

func (d *defragmenter) insert(p *partial, f *fragment) {
	i, _ := p.search(f.offset)
	p.parts = slices.Insert(p.parts, i, part{f.offset, bytes.Clone(f.data)})
	p.size += len(f.data)
	d.held += len(f.data) + partOverhead
	if f.offset == 0 {
		p.next = f.next
	}
}

// fits tells whether a fragment that was inserted overlaps no other one, and agrees with them where the datagram ends.
func (p *partial) fits(f *fragment) bool {
	i, _ := p.search(f.offset)
	end := f.offset + len(f.data)
	before := i == 0 || p.parts[i-1].offset+len(p.parts[i-1].data) <= f.offset
	after := i == len(p.parts)-1 || end <= p.parts[i+1].offset
	if !f.more {
		if p.total >= 0 && p.total != end {
			return false
		}
		p.total = end
	}
	last := p.parts[len(p.parts)-1]
	return before && after && (p.total < 0 || last.offset+len(last.data) <= p.total)
}

func (d *defragmenter) complete(p *partial) {
	p.whole = true
	d.out = d.out[:0]
	for _, part := range p.parts {
		d.out = append(d.out, part.data...)
	}
}

// expire forgets what is too old.
func (d *defragmenter) expire(now time.Time) {
	for e := d.order.Front(); e != nil && now.Sub(e.Value.(*partial).began) > maxFragmentAge; e = d.order.Front() {
		d.forget(e)
	}
}

// evict forgets the oldest for room.
func (d *defragmenter) evict() {
	for d.held > maxFragmentMemory {
		d.forget(d.order.Front())
	}
}

// forget counts the fragments of a datagram that never was whole.
func (d *defragmenter) forget(e *list.Element) {
	p := d.order.Remove(e).(*partial)
	delete(d.partials, p.key)
	d.held -= p.size + len(p.parts)*partOverhead
	if !p.whole {
		d.loss.Add(exchange.FragmentsLost, int64(len(p.parts)))
	}
}

// drop forgets all.
func (d *defragmenter) drop() {
	for e := d.order.Front(); e != nil; e = d.order.Front() {
		d.forget(e)
	}
}
