package replay

import (
	"time"

	"umbra/internal/traffic"
)

// none is the index of nothing.
const none int32 = -1

// flight is a request between its due instant and its row. Instants are counted from the start of the run.
type flight struct {
	item    Item
	due     time.Duration // the item's, or when a closed loop sent it
	taken   time.Duration // when the loop took it up
	late    time.Duration // how late the loop had been by then, for this one or for those that wait before it
	ready   time.Duration
	sent    time.Duration
	first   time.Duration
	readLag time.Duration
	from    time.Duration // when it could go: when it was due, or when its session let it
	in, out int64
	stream  uint32 // HTTP/2
	conn    int32  // that it was given to; none
	status  int32
	retries int32
	waiting bool  // in a wait list
	active  bool  // given to its connection, not dialed for
	opening bool  // HTTP/2: its frames wait for the flush
	turn    turn  // Ordered: where it is in its session
	ahead   int32 // Ordered: the flight of its session that it comes after; none
	behind  int32 // and the one that comes after it
	byDue   links // all flights, in the order of their due instants
	byTurn  links // a wait list
}

// links are a flight's places in a list.
type links struct{ prev, next int32 }

// list is a list of flights, threaded through them so that nothing is allocated.
type list struct {
	head, tail int32
	n          int
}

func emptyList() list { return list{head: none, tail: none} }

// flights is the memory of all flights of a loop, made before the start.
type flights struct {
	all  []flight
	free []int32
}

func newFlights(n int) *flights {
	f := &flights{all: make([]flight, n), free: make([]int32, n)}
	for i := range f.free {
		f.free[i] = int32(n - 1 - i)
	}
	return f
}

// take gives the index of a flight for item; none where there is no memory left.
func (f *flights) take(item *Item) int32 {
	if len(f.free) == 0 {
		return none
	}
	i := f.free[len(f.free)-1]
	f.free = f.free[:len(f.free)-1]
	f.all[i] = flight{item: *item, due: item.Due, from: item.Due, ready: traffic.Never, sent: traffic.Never, first: traffic.Never, conn: none,
		ahead: none, behind: none, byDue: links{none, none}, byTurn: links{none, none}}
	return i
}

func (f *flights) give(i int32) {
	f.all[i].item = Item{} // let go of what it points to
	f.free = append(f.free, i)
}

func byDue(f *flight) *links  { return &f.byDue }
func byTurn(f *flight) *links { return &f.byTurn }

// pushBack and the others are the operations of a list; at picks the links that belong to it.
func (l *list) pushBack(f *flights, i int32, at func(*flight) *links) {
	*at(&f.all[i]) = links{l.tail, none}
	if l.tail == none {
		l.head = i
	} else {
		at(&f.all[l.tail]).next = i
	}
	l.tail = i
	l.n++
}

func (l *list) pushFront(f *flights, i int32, at func(*flight) *links) {
	*at(&f.all[i]) = links{none, l.head}
	if l.head == none {
		l.tail = i
	} else {
		at(&f.all[l.head]).prev = i
	}
	l.head = i
	l.n++
}

func (l *list) remove(f *flights, i int32, at func(*flight) *links) {
	k := *at(&f.all[i])
	if k.prev == none {
		l.head = k.next
	} else {
		at(&f.all[k.prev]).next = k.next
	}
	if k.next == none {
		l.tail = k.prev
	} else {
		at(&f.all[k.next]).prev = k.prev
	}
	*at(&f.all[i]) = links{none, none}
	l.n--
}

// result is the flight's row, but for its outcome.
func (f *flight) result() traffic.Result {
	r := f.item.result()
	r.Due, r.Ready, r.Sent, r.FirstByte = f.due, f.ready, f.sent, f.first
	r.RequestBytes, r.ResponseBytes, r.Status, r.Retries = f.out, f.in, int(f.status), int(f.retries)
	return r
}

// fifo is a queue of connections with room for all of them.
type fifo struct {
	all     []int32
	head, n int
}

func newFifo(n int) fifo { return fifo{all: make([]int32, n)} }

func (q *fifo) push(c int32) {
	q.all[(q.head+q.n)%len(q.all)] = c
	q.n++
}

func (q *fifo) pop() int32 {
	c := q.all[q.head]
	q.head = (q.head + 1) % len(q.all)
	q.n--
	return c
}
