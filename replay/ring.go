package replay

import (
	"sync/atomic"
	"time"
)

// ringSize is how many items a planner is ahead of its loop at the most.
const ringSize = 1 << 13

// ring hands items from one planner to one loop without a lock or an allocation. Only the planner moves tail, only the
// loop moves head.
type ring struct {
	items  []Item
	_      [48]byte // head and tail are written by different cores
	head   atomic.Uint64
	_      [56]byte
	tail   atomic.Uint64
	closed atomic.Bool // the plan is over
}

func newRing() *ring { return &ring{items: make([]Item, ringSize)} }

// push is false where the ring is full.
func (r *ring) push(item *Item) bool {
	tail := r.tail.Load()
	if tail-r.head.Load() == ringSize {
		return false
	}
	r.items[tail%ringSize] = *item
	r.tail.Store(tail + 1)
	return true
}

// peek is the oldest item, nil where there is none. It stays valid until pop.
func (r *ring) peek() *Item {
	head := r.head.Load()
	if head == r.tail.Load() {
		return nil
	}
	return &r.items[head%ringSize]
}

// pop lets go of the oldest item, which must be there.
func (r *ring) pop() { r.head.Store(r.head.Load() + 1) }

// over tells whether no item will come any more.
func (r *ring) over() bool { return r.closed.Load() && r.peek() == nil }

// refill is how many items a planner makes at once: so few that it holds up a loop on its core for some 50 µs at the most.
const refill = ringSize / 16

// soon is when a full ring has room for a refill. Only the planner asks for it, and for room.
func (r *ring) soon() time.Duration { return r.items[(r.tail.Load()+refill)%ringSize].Due }

// room is how many items may be pushed.
func (r *ring) room() int { return ringSize - int(r.tail.Load()-r.head.Load()) }
