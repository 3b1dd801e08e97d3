package replay

import (
	"context"
	"io"
	"sync"
	"time"

	"umbra/internal/traffic"
	"umbra/replay/internal/http2"
)

// loop plays its share of a plan on its share of the connections. One goroutine runs it and owns all that is in it; its
// memory is made before the start, so that a request allocates nothing.
//
// A request is a flight from the instant it is due to its row. Flights time out in the order in which they fell due, as
// they all have the same time-out.
type loop struct {
	*Options
	run       *run
	first     int // the number, in rows, of the loop's first connection
	reactor   reactor
	connector connector // nil: goroutines dial
	ring      *ring
	recorder  Recorder

	flights *flights
	open    list // every flight, by due
	queue   list // those that wait for a connection, by turn
	lines   lines
	conns   []conn
	free    fifo    // connections that could take a request when they were listed, longest free first
	resting []int32 // connections that are down, and not to be dialed before a request needs one
	touched []int32 // connections whose turn is to come
	dirty   []int32 // connections with something to flush
	unread  []int32 // connections that may have more to read than they were allowed at once
	dials   int     // connections being dialed
	stands  int     // connections that stand
	session map[string]int32

	heads    prepared // requests as HTTP/1.1 sends them
	blocks   prepared // and HTTP/2
	buffer   []byte
	rows     []traffic.Result
	handed   time.Duration // when rows were last given to the recorder
	now      time.Duration // at the last look at the clock
	heard    time.Duration // nothing that is read now was there before this instant
	stamped  bool          // the time of what is being read is that of its coming
	current  int32         // the connection being fed
	fedAt    time.Duration
	next     int           // of the addresses
	swept    time.Duration // when dials were last looked at
	debt     time.Duration // how late the last request was taken up that found a connection: those that wait behind it wait for that too
	finished bool          // a closed loop's time is over
	dazed    bool          // the loop has just not run for a while
	cleared  bool          // the queue was emptied after a stop

	dialers sync.WaitGroup
	hangUp  context.CancelFunc // ends the dialing goroutines
	arrived chan standingTCP
	figures loopFigures
	told    gauged
}

// How much a loop does at once.
const (
	readSize  = 64 << 10
	readTurns = 16 // reads of a connection in a row, so that a big body does not hold up the others
	rowBatch  = 256
	handEvery = 100 * time.Millisecond // how long a row may wait for its batch
	sweep     = 10 * time.Millisecond  // how often dials are looked at for their time-out
	overslept = 10 * time.Millisecond  // how late a wait ends only if the process did not run
	comeTo    = 2 * time.Millisecond   // how long it then looks for what came meanwhile
	starved   = 200 * time.Microsecond // how often a loop looks again where its planner is behind
)

// never is an instant beyond every run.
const never = time.Duration(1<<63 - 1)

// play plays until the plan is over and every flight has ended.
func (l *loop) play(ctx context.Context) {
	ctx, l.hangUp = context.WithCancel(context.WithoutCancel(ctx)) // a stop lets what is under way end
	defer l.end()
	for c := range l.conns {
		if l.Reuse == Keep {
			l.dial(ctx, int32(c))
		} else {
			l.rest(int32(c))
		}
	}
	polled := l.clock()
	for !l.over() {
		until := l.horizon()
		events, now, slept := l.wait(until)
		l.figures.wakeups++
		l.now, l.heard = now, polled
		if slept {
			l.heard = now
		}
		polled = now
		l.handle(ctx, events)
		l.flush() // before anything times out that was only just opened
		if l.awake(until) {
			l.expire()
		}
		l.intake()
		l.settle(ctx)
		l.flush()
		l.hand(false)
		l.tell()
	}
}

// wait sleeps until there is something to do. With a quantum answers gather until the next requests are sent, as long as there
// are connections for these: the kernel's stamps say when they came.
func (l *loop) wait(until time.Duration) ([]event, time.Duration, bool) {
	deaf := l.Quantum > 0 && l.open.n > 0 && 2*l.free.n >= len(l.conns)
	if deaf {
		until = min(until, l.now+l.Quantum)
	}
	return l.reactor.wait(until, deaf)
}

func (l *loop) clock() time.Duration {
	l.now = time.Since(l.run.start)
	return l.now
}

// awake is false after a wait that took much longer than it should have: the process did not run. Answers may have come
// meanwhile, and what brings them has not run either, so that nothing times out before the loop has looked again.
func (l *loop) awake(until time.Duration) bool {
	overslept := l.now-until > overslept && !l.dazed
	l.dazed = overslept
	return !overslept
}

// over tells whether nothing is left to do.
func (l *loop) over() bool { return l.open.n == 0 && (l.finished || l.ring.over()) }

// horizon is when the loop has to do something even if nothing happens.
func (l *loop) horizon() time.Duration {
	until := never
	if len(l.unread)+len(l.touched) > 0 {
		return l.now
	}
	if l.dazed {
		return l.now + comeTo
	}
	if item := l.ring.peek(); l.finished {
	} else if item == nil {
		if !l.ring.closed.Load() {
			until = l.now + starved
		}
	} else if item.Due != AsSoonAsPossible {
		until = item.Due + l.Quantum
	} else if l.now < 0 {
		until = 0
	} else {
		until = l.Until
		if len(l.resting) > 0 {
			until = min(until, l.now+sweep)
		}
	}
	if l.open.head != none {
		until = min(until, l.flights.all[l.open.head].due+l.Timeout)
	}
	if len(l.rows) > 0 {
		until = min(until, l.handed+handEvery)
	}
	if l.dials > 0 {
		until = min(until, l.now+sweep)
	}
	return until
}

// intake takes what has fallen due from the ring.
func (l *loop) intake() {
	if why := l.run.stopped(); why != "" {
		l.clear(why)
	}
	for item := l.ring.peek(); item != nil && !l.finished; item = l.ring.peek() {
		switch why := l.run.stopped(); {
		case item.Due == AsSoonAsPossible:
			if why != "" || l.now >= l.Until {
				l.finish()
				return
			}
			if !l.take(item) {
				return
			}
		case why != "":
			l.refuse(item, why)
		case item.Due > l.now:
			return
		default:
			l.begin(item)
		}
		l.ring.pop()
	}
}

// finish ends a closed loop: what is still planned is nobody's request.
func (l *loop) finish() {
	l.finished = true
	l.run.enough.Store(true)
}

// clear takes the requests that wait out of a run that was stopped.
func (l *loop) clear(why string) {
	if l.cleared {
		return
	}
	l.cleared = true
	if why == traffic.Stopped {
		why = StoppedWaiting // it was due, and is counted
	}
	for l.queue.head != none {
		l.drop(l.unqueue(l.queue.head), why)
	}
	for c := range l.conns {
		if i := l.conns[c].flight; i != none && !l.flights.all[i].active { // it is being dialed for this one
			l.drop(i, why)
			l.close(int32(c))
		}
		own := &l.conns[c].own
		for own.head != none {
			i := own.head
			own.remove(l.flights, i, byTurn)
			l.drop(i, why)
		}
	}
	if l.Ordered {
		l.clearLines(why)
	}
}

func (l *loop) drop(i int32, class string) {
	f := &l.flights.all[i]
	f.waiting = false
	if f.sent != traffic.Never { // it was to be sent again
		l.conclude(i, traffic.Error, class, l.now)
		return
	}
	l.conclude(i, traffic.Unsent, class, l.now)
}

// take begins a closed loop's request on a connection that is free, or has one dialed for it; false where there is none.
func (l *loop) take(item *Item) bool {
	if l.now < 0 || len(l.flights.free) == 0 {
		return false
	}
	c := l.pick()
	dial := c == none
	if dial {
		if c = l.ripe(); c == none {
			return false
		}
	}
	l.figures.planned++
	l.figures.due++
	i := l.flights.take(item)
	f := &l.flights.all[i]
	f.due, f.taken = l.now, l.now
	l.open.pushBack(l.flights, i, byDue)
	if dial {
		return l.placeOn(c, i)
	}
	l.send(c, i)
	return true
}

// ripe is a connection that rests, and may be dialed again; none where there is none.
func (l *loop) ripe() int32 {
	for k, c := range l.resting {
		if conn := &l.conns[c]; conn.state == down && conn.flight == none && l.now >= conn.retry {
			conn.resting = false
			l.resting = append(l.resting[:k], l.resting[k+1:]...)
			return c
		}
	}
	return none
}

// redial has a connection that is down dialed for those to come, where nobody waits for it.
func (l *loop) redial() {
	if c := l.ripe(); c != none {
		l.conns[c].used = true
		l.touch(c)
	}
}

// dueNow makes the instant at which a closed loop sends a request the one at which it is due: the last one then.
func (l *loop) dueNow(i int32) {
	f := &l.flights.all[i]
	f.due = f.sent
	if l.open.tail != i {
		l.open.remove(l.flights, i, byDue)
		l.open.pushBack(l.flights, i, byDue)
	}
}

// begin takes an item that has fallen due.
func (l *loop) begin(item *Item) {
	i := l.flights.take(item)
	if i == none {
		l.refuse(item, QueueFull)
		return
	}
	l.figures.planned++
	l.figures.due++
	l.open.pushBack(l.flights, i, byDue)
	f := &l.flights.all[i]
	late := l.now - item.Due
	f.taken, f.late = l.now, max(l.debt, late)
	if l.now >= item.Due+l.Timeout {
		l.tooLate(i)
		return
	}
	if !l.Ordered || l.lineUp(i) {
		l.start(i, late)
	}
}

// tooLate ends a flight that the loop took up when its time was over. Its session is the cause only where the predecessor was
// under way all that time; one that was due earlier would have ended by its own time-out, had the loop run, and let it go. Where
// a connection stood by then, the client is to blame.
func (l *loop) tooLate(i int32) {
	f := &l.flights.all[i]
	held := time.Duration(0)
	if l.Ordered && l.inLine(f.item.session()) {
		held = l.flights.all[l.lines.last[f.item.session()]].due + l.Timeout // at the latest
	}
	if held >= f.due+l.Timeout {
		l.conclude(i, traffic.Timeout, TimeoutSession, l.now)
		return
	}
	if since := l.idle(); since != traffic.Never {
		f.ready = max(since, held)
	}
	l.conclude(i, traffic.Timeout, TimeoutQueue, l.now)
}

// start gives a flight that may go to a connection, or does with it what is to be done where none is free. late is how late the
// loop took it up.
func (l *loop) start(i int32, late time.Duration) {
	if l.place(i) {
		l.debt = late // a connection stood idle for so long
		return
	}
	if l.Reuse == Keep && l.Overload != QueueUp {
		l.redial()
	}
	switch {
	case l.Overload == Drop:
		l.conclude(i, traffic.Unsent, Dropped, l.now)
	case l.Overload == AbortRun:
		l.run.abort()
		l.conclude(i, traffic.Unsent, Aborted, l.now)
	case l.queue.n >= l.Queue:
		l.conclude(i, traffic.Unsent, QueueFull, l.now)
	default:
		l.enqueue(i)
	}
}

// refuse gives an item its row at once.
func (l *loop) refuse(item *Item, why string) {
	l.figures.planned++
	r := item.result()
	r.Outcome, r.Error, r.End = traffic.Unsent, why, max(l.now, 0)
	l.row(&r)
}

func (l *loop) enqueue(i int32) {
	l.flights.all[i].waiting = true
	l.queue.pushBack(l.flights, i, byTurn)
	if l.Reuse == Keep && l.dials < l.queue.n {
		if c := l.rouse(); c != none {
			l.touch(c)
		}
	}
}

func (l *loop) unqueue(i int32) int32 {
	l.flights.all[i].waiting = false
	l.queue.remove(l.flights, i, byTurn)
	return i
}

// place gives a flight to a connection; false where it has to wait for one.
func (l *loop) place(i int32) bool {
	switch l.Reuse {
	case Fresh:
		return l.placeOn(l.rouse(), i)
	case Session:
		return l.placeSession(i)
	}
	c := l.pick()
	if c == none {
		return false
	}
	l.send(c, i)
	return true
}

// placeOn has a connection dialed for a flight.
func (l *loop) placeOn(c, i int32) bool {
	if c == none {
		return false
	}
	l.conns[c].flight = i
	l.flights.all[i].conn = c
	l.touch(c)
	return true
}

// placeSession gives a flight to the connection of its session. A request without a session is one of its own.
func (l *loop) placeSession(i int32) bool {
	name := l.flights.all[i].item.session()
	c, known := none, false
	if name != "" {
		c, known = l.session[name]
	}
	if known {
		return l.placeOwn(c, i)
	}
	if c = l.rouse(); c == none {
		if c = l.pick(); c == none {
			return false
		}
		l.close(c) // the session that has been idle longest gives its place up
		l.conns[c].resting = false
	}
	l.forget(c)
	l.conns[c].session = name
	if name != "" {
		l.session[name] = c
	}
	return l.placeOn(c, i)
}

// placeOwn gives a flight to its session's connection, or lets it wait for that one.
func (l *loop) placeOwn(c, i int32) bool {
	conn := &l.conns[c]
	switch {
	case conn.canTake() && conn.own.n == 0:
		l.send(c, i)
		return true
	case conn.state == down && conn.flight == none:
		return l.placeOn(c, i)
	case l.Overload != QueueUp || l.queue.n >= l.Queue:
		return false
	}
	conn.own.pushBack(l.flights, i, byTurn)
	l.flights.all[i].waiting = true
	l.flights.all[i].conn = c
	return true
}

// forget takes its session from a connection.
func (l *loop) forget(c int32) {
	if name := l.conns[c].session; name != "" {
		delete(l.session, name)
		l.conns[c].session = ""
	}
}

// pick is the connection that has been free longest; none where all are taken.
func (l *loop) pick() int32 {
	for l.free.n > 0 {
		c := l.free.pop()
		conn := &l.conns[c]
		if l.Reuse == Session && conn.active+conn.own.n > 0 { // its session is at work
			conn.listed = false
			continue
		}
		if conn.canTake() && conn.h2 != nil && conn.h2.Free() > 1 {
			l.free.push(c) // streams go round the connections
			return c
		}
		conn.listed = false
		if conn.canTake() {
			return c
		}
	}
	return none
}

// idle is since when the connection that would be picked has been free; traffic.Never where none is.
func (l *loop) idle() time.Duration {
	if l.free.n == 0 || !l.conns[l.free.all[l.free.head]].canTake() {
		return traffic.Never
	}
	return max(0, l.conns[l.free.all[l.free.head]].since)
}

func (l *loop) list(c int32) {
	if conn := &l.conns[c]; !conn.listed {
		conn.listed = true
		l.free.push(c)
	}
}

// rest lays a connection aside until a request needs one.
func (l *loop) rest(c int32) {
	if conn := &l.conns[c]; !conn.resting {
		conn.resting = true
		l.resting = append(l.resting, c)
	}
}

// rouse gives a connection that rests; none where there is none.
func (l *loop) rouse() int32 {
	for n := len(l.resting); n > 0; n = len(l.resting) {
		c := l.resting[n-1]
		l.resting = l.resting[:n-1]
		conn := &l.conns[c]
		if conn.resting && conn.state == down && conn.flight == none {
			conn.resting = false
			return c
		}
		conn.resting = false
	}
	return none
}

// touch notes that a connection's turn is to come: what follows from an event is done after it, never within.
func (l *loop) touch(c int32) {
	if conn := &l.conns[c]; !conn.touched {
		conn.touched = true
		l.touched = append(l.touched, c)
	}
}

// settle gives every connection that something happened to its turn.
func (l *loop) settle(ctx context.Context) {
	for n := len(l.touched); n > 0 || l.lines.freed.n > 0; n = len(l.touched) {
		if n == 0 || l.Reuse == Session && l.lines.freed.n > 0 { // before another session takes the connection
			l.proceed()
			continue
		}
		c := l.touched[n-1]
		l.touched = l.touched[:n-1]
		l.conns[c].touched = false
		if l.conns[c].state == down {
			l.revive(ctx, c)
		} else {
			l.turn(c)
		}
	}
}

// turn gives a connection that stands what waits for it.
func (l *loop) turn(c int32) {
	conn := &l.conns[c]
	if conn.state != standing {
		return
	}
	switch closing := conn.h2 != nil && conn.h2.Closing(); {
	case conn.active > 0:
	case closing && !conn.used:
		l.unwelcome(c)
		return
	case closing, conn.used && l.single(c):
		l.close(c)
		return
	}
	if i := conn.flight; i != none && !l.flights.all[i].active && (conn.h2 == nil || conn.h2.Free() > 0) {
		l.send(c, i) // it was dialed for this one
	}
	for conn.canTake() && conn.own.n > 0 {
		i := conn.own.head
		conn.own.remove(l.flights, i, byTurn)
		l.flights.all[i].waiting = false
		l.send(c, i)
	}
	for conn.canTake() && l.queue.n > 0 && l.Reuse == Keep {
		l.send(c, l.unqueue(l.queue.head))
	}
	if l.Reuse == Session && conn.canTake() && conn.active == 0 && l.queue.n > 0 {
		l.list(c)
		l.placeQueued()
		return
	}
	if conn.canTake() && (l.Reuse != Session || conn.active == 0) {
		l.list(c)
		l.intake()
	}
}

// single tells whether a connection is for one request alone.
func (l *loop) single(c int32) bool {
	return l.Reuse == Fresh || l.Reuse == Session && l.conns[c].session == ""
}

// unwelcome deals with a server that says goodbye (GOAWAY) before it was asked anything. As with a dial that fails it costs a
// request, if one waits, so that such a server is not dialed without end.
func (l *loop) unwelcome(c int32) {
	i := l.conns[c].flight
	if i == none && l.Reuse == Keep && l.queue.n > 0 {
		i = l.unqueue(l.queue.head)
	}
	if i != none {
		l.conclude(i, traffic.Error, GoAway, l.clock())
	}
	l.conns[c].retry = l.now + backOff
	l.close(c)
	if i == none && l.Reuse == Keep {
		l.rest(c)
	}
}

// placeQueued gives the requests that wait for any connection their places, as far as there are some.
func (l *loop) placeQueued() {
	for l.queue.n > 0 {
		i := l.unqueue(l.queue.head)
		if !l.place(i) {
			l.flights.all[i].waiting = true
			l.queue.pushFront(l.flights, i, byTurn)
			return
		}
	}
}

// revive dials a connection that is down, where somebody needs it: the request that it was taken for, one that waits, or,
// where it has carried a request, the next one. So a connection that the server closes is dialed again at once, and a
// server that closes what it has just accepted is not dialed without end.
func (l *loop) revive(ctx context.Context, c int32) {
	conn := &l.conns[c]
	switch {
	case conn.flight != none:
		l.dial(ctx, c)
	case conn.resting:
	case conn.own.n > 0:
		i := conn.own.head
		conn.own.remove(l.flights, i, byTurn)
		l.flights.all[i].waiting = false
		conn.flight = i
		l.dial(ctx, c)
	case l.Reuse != Keep:
		l.forget(c)
		l.rest(c)
		l.placeQueued()
	case l.queue.n > l.dials, conn.used && !l.finished && l.run.stopped() == "" && !l.ring.over():
		l.dial(ctx, c)
	default:
		l.rest(c)
	}
}

// send gives a flight to a connection that can take it.
func (l *loop) send(c, i int32) {
	conn, f := &l.conns[c], &l.flights.all[i]
	f.conn = c
	if f.ready == traffic.Never {
		f.ready = conn.since
		if f.ready > f.taken { // it waited; as much of that as the loop had been late is the client's part
			f.ready = max(f.from, f.ready-f.late)
		}
		if f.from > f.due { // its session's turn came later than a connection
			f.ready = max(f.ready, f.from)
		}
	}
	conn.used, f.active = true, true
	conn.active++
	if conn.h2 != nil {
		head, body := l.blocks.bytes(f.item.ID, f.item.Request)
		conn.flight = none
		f.stream = conn.h2.Open(i, head, body)
		conn.opened.pushBack(l.flights, i, byTurn)
		f.opening = true
		l.soil(c)
		return
	}
	head, body := l.heads.bytes(f.item.ID, f.item.Request)
	conn.flight = i
	conn.response.Start(f.item.Request.Method == "HEAD")
	f.sent = l.clock()
	if f.item.Due == AsSoonAsPossible {
		l.dueNow(i)
	}
	n, err := l.write(c, head)
	f.out += int64(n)
	if n == len(head) && err == nil && len(body) == 0 {
		return
	}
	conn.spill = append(conn.spill[:0], head[n:]...)
	conn.head, conn.body = conn.spill, body
	switch err {
	case nil:
		l.push(c)
	case errAgain:
		conn.blocked = true
	default:
		l.broken(c, err)
	}
}

// write sends bytes, in the clear or not.
func (l *loop) write(c int32, b []byte) (int, error) {
	conn := &l.conns[c]
	if conn.secure == nil {
		return l.reactor.write(c, b)
	}
	n, err := conn.secure.write(b)
	conn.blocked = len(conn.secure.out) > 0
	return n, err
}

// soil notes that a connection has something to flush.
func (l *loop) soil(c int32) {
	if conn := &l.conns[c]; !conn.dirty {
		conn.dirty = true
		l.dirty = append(l.dirty, c)
	}
}

// flush writes what connections have gathered.
func (l *loop) flush() {
	for k := 0; k < len(l.dirty); k++ {
		c := l.dirty[k]
		l.conns[c].dirty = false
		l.push(c)
	}
	l.dirty = l.dirty[:0]
}

// push writes what a connection has left to write, as far as the peer takes it.
func (l *loop) push(c int32) {
	conn := &l.conns[c]
	if conn.state != standing && conn.state != starting || conn.failed != nil {
		return
	}
	err := error(nil)
	if conn.secure != nil {
		err = conn.secure.flush()
	}
	if err == nil {
		err = l.pushMore(c)
	}
	was := conn.blocked
	conn.blocked = err == errAgain || conn.secure != nil && len(conn.secure.out) > 0
	if was && conn.canTake() {
		conn.since = l.now
		l.touch(c)
	}
	if err != nil && err != errAgain {
		l.broken(c, err)
	}
}

func (l *loop) pushMore(c int32) error {
	if l.conns[c].h2 != nil {
		return l.pushFrames(c)
	}
	return l.pushRequest(c)
}

// pushRequest goes on with an HTTP/1.1 request.
func (l *loop) pushRequest(c int32) error {
	conn := &l.conns[c]
	for _, part := range []*[]byte{&conn.head, &conn.body} {
		if len(*part) == 0 {
			continue
		}
		n, err := l.write(c, *part)
		*part = (*part)[n:]
		if conn.flight != none {
			l.flights.all[conn.flight].out += int64(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pushFrames writes what the HTTP/2 machine has to say. The flights that it opened since are sent now.
func (l *loop) pushFrames(c int32) error {
	conn := &l.conns[c]
	if conn.opened.n > 0 {
		at := l.clock()
		for i := conn.opened.head; i != none; i = conn.opened.head {
			conn.opened.remove(l.flights, i, byTurn)
			f := &l.flights.all[i]
			f.opening = false
			if f.sent == traffic.Never {
				f.sent = at
			}
			if f.item.Due == AsSoonAsPossible && f.retries == 0 {
				l.dueNow(i)
			}
		}
	}
	for {
		out := conn.h2.Out()
		if len(out) == 0 {
			return nil
		}
		n, err := l.write(c, out)
		conn.h2.Wrote(n)
		if err != nil {
			return err
		}
	}
}

// broken notes that nothing more can be written. A server may answer before it has read the whole request, and close: the
// answer counts, so what came is read first.
func (l *loop) broken(c int32, err error) {
	conn := &l.conns[c]
	conn.failed = err
	conn.head, conn.body = nil, nil
	if !conn.unread {
		conn.unread = true
		l.unread = append(l.unread, c)
	}
}

// handle does what events and new connections ask for.
func (l *loop) handle(ctx context.Context, events []event) {
	for k := range events {
		ev := &events[k]
		if l.reactor.stale(ev) {
			continue
		}
		l.react(ctx, ev)
		l.settle(ctx)
	}
	for n := len(l.unread); n > 0; n-- {
		c := l.unread[0]
		copy(l.unread, l.unread[1:])
		l.unread = l.unread[:len(l.unread)-1]
		l.conns[c].unread = false
		l.receive(c, true)
		l.settle(ctx)
	}
	if l.dials > 0 || len(l.arrived) > 0 {
		l.welcome()
		l.sweepDials()
		l.settle(ctx)
	}
}

func (l *loop) react(ctx context.Context, ev *event) {
	conn := &l.conns[ev.conn]
	switch conn.state {
	case dialing:
		if ev.writable || ev.ended {
			l.connected(ctx, ev.conn)
		}
	case starting, standing:
		if ev.writable && conn.blocked {
			l.push(ev.conn)
		}
		if ev.readable || ev.ended {
			l.receive(ev.conn, ev.ended)
		}
	}
}

// receive reads what has come on a connection; whole: until there is nothing more. Else a short read tells that there is
// not, as what comes after it is another event.
func (l *loop) receive(c int32, whole bool) {
	conn := &l.conns[c]
	whole = whole || conn.secure != nil || l.connector == nil
	for range readTurns {
		if conn.state != standing && conn.state != starting {
			return
		}
		n, came, err := l.read(c)
		at := l.clock()
		if l.stamped = came > 0; l.stamped {
			at = min(came, at)
			l.heard = at
		}
		if n > 0 {
			l.feed(c, l.buffer[:n], at)
		}
		switch {
		case err == errAgain && conn.failed == nil:
			return
		case err != nil:
			l.lost(c, err, at)
			return
		case !whole && n < len(l.buffer):
			return
		}
	}
	if !conn.unread && (conn.state == standing || conn.state == starting) {
		conn.unread = true
		l.unread = append(l.unread, c)
	}
}

func (l *loop) read(c int32) (int, time.Duration, error) {
	if s := l.conns[c].secure; s != nil {
		return s.read(l.buffer)
	}
	return l.reactor.read(c, l.buffer)
}

// feed gives a connection's protocol what has come.
func (l *loop) feed(c int32, b []byte, at time.Duration) {
	conn := &l.conns[c]
	if conn.h2 == nil {
		l.feedResponse(c, b, at)
		return
	}
	l.current, l.fedAt = c, at
	could := conn.canTake()
	err := conn.h2.Feed(b, l)
	l.soil(c)
	switch {
	case err != nil && conn.state == starting:
		l.undialed(c, traffic.Error, HTTP2)
	case err != nil:
		l.push(c) // its GOAWAY
		l.abandon(c, HTTP2, l.clock())
		l.close(c)
	default:
		if !could && conn.canTake() {
			conn.since = l.heard
		}
		l.touch(c)
	}
}

// feedResponse goes on with the response on an HTTP/1.1 connection. Bytes that no request asked for end the connection.
func (l *loop) feedResponse(c int32, b []byte, at time.Duration) {
	conn := &l.conns[c]
	i := conn.flight
	if i == none {
		l.close(c)
		return
	}
	f := &l.flights.all[i]
	n, done, err := conn.response.Feed(b)
	f.in += int64(n)
	f.status = int32(conn.response.Status)
	if f.first == traffic.Never && conn.response.Begun() {
		f.first = max(at, f.sent)
	}
	switch {
	case err != nil:
		l.conclude(i, traffic.Error, Malformed, at)
		l.close(c)
	case done:
		free := max(l.heard, f.sent) // had the loop read at once, it could have sent by then: the rest is lag of its own
		again := conn.response.Reusable() && n == len(b) && !conn.unwritten() && conn.failed == nil && !l.single(c)
		l.complete(i, at)
		if !again {
			l.close(c)
			return
		}
		conn.since = free
		l.touch(c)
	}
}

// complete concludes a flight whose response is whole. Where the time that it came at is known, no lag of the reader is in it.
func (l *loop) complete(i int32, at time.Duration) {
	f := &l.flights.all[i]
	if !l.stamped {
		f.readLag = max(0, at-max(l.heard, f.sent)) // no answer comes before its request
	}
	l.conclude(i, traffic.OK, "", at)
}

// Begin implements http2.Handler, on the connection being fed.
func (l *loop) Begin(tag int32) {
	f := &l.flights.all[tag]
	f.first = max(l.fedAt, f.sent)
}

// End implements http2.Handler.
func (l *loop) End(tag int32, e http2.Exchange) {
	l.count(tag, e)
	l.complete(tag, l.fedAt)
}

// Reset implements http2.Handler. What the server says it has not processed is sent once more, on another connection or
// when this one takes it.
func (l *loop) Reset(tag int32, e http2.Exchange, code uint32, unprocessed bool) {
	l.count(tag, e)
	class := StreamReset
	if unprocessed {
		class = GoAway
		if code == refusedStream {
			class = RefusedStream
		}
	}
	f := &l.flights.all[tag]
	if !unprocessed || l.run.stopped() != "" || f.retries == maxRetries {
		l.conclude(tag, traffic.Error, class, l.now)
		return
	}
	f.retries++
	l.figures.retries++
	if l.Reuse == Session && f.item.session() != "" {
		l.release(tag)
		f.first, f.status = traffic.Never, 0
		l.conns[l.current].own.pushFront(l.flights, tag, byTurn)
		f.waiting, f.conn = true, l.current
		return
	}
	l.again(tag)
}

// again lets a flight that no server has processed wait for a connection once more.
func (l *loop) again(i int32) {
	l.release(i)
	f := &l.flights.all[i]
	f.first, f.status, f.conn = traffic.Never, 0, none
	l.enqueue(i)
}

// maxRetries bounds how often a server may refuse a request.
const maxRetries = 3

// refusedStream is the HTTP/2 error code REFUSED_STREAM (RFC 9113, 7).
const refusedStream = 0x7

// Ready implements http2.Handler: the server's SETTINGS have come.
func (l *loop) Ready() { l.stand(l.current, l.fedAt) }

func (l *loop) count(i int32, e http2.Exchange) {
	f := &l.flights.all[i]
	f.status = int32(e.Status)
	f.in += e.In
	f.out += e.Out
}

// abandon ends every flight on a connection that is of no more use.
func (l *loop) abandon(c int32, class string, at time.Duration) {
	conn := &l.conns[c]
	if conn.h2 != nil {
		conn.h2.Abandon(func(tag int32, e http2.Exchange) {
			if l.flights.all[tag].sent == traffic.Never && l.run.stopped() == "" { // it waited for the flush, so nobody has seen it
				l.again(tag)
				return
			}
			l.count(tag, e)
			l.conclude(tag, traffic.Error, class, at)
		})
		return
	}
	if conn.flight != none {
		l.conclude(conn.flight, traffic.Error, class, at)
	}
}

// lost deals with the end of a connection, which may be the end of a response.
func (l *loop) lost(c int32, err error, at time.Duration) {
	conn := &l.conns[c]
	if conn.state == starting {
		l.undialed(c, traffic.Error, classOf(err))
		return
	}
	if i := conn.flight; i != none && conn.h2 == nil && err == io.EOF && conn.response.End() == nil {
		l.complete(i, at)
	} else {
		if conn.failed != nil {
			err = conn.failed
		}
		l.abandon(c, classOf(err), at)
	}
	l.close(c)
}

func classOf(err error) string {
	_, class := classify(err, "")
	return class
}

// release takes a flight from its connection.
func (l *loop) release(i int32) {
	f := &l.flights.all[i]
	if f.conn == none {
		return
	}
	conn := &l.conns[f.conn]
	if f.waiting { // for this very connection
		conn.own.remove(l.flights, i, byTurn)
		f.waiting = false
	}
	if f.opening {
		conn.opened.remove(l.flights, i, byTurn)
		f.opening = false
	}
	if conn.flight == i {
		conn.flight = none
	}
	if f.active {
		conn.active--
		f.active = false
	}
}

// conclude gives a flight its row.
func (l *loop) conclude(i int32, outcome traffic.Outcome, class string, at time.Duration) {
	f := &l.flights.all[i]
	at = max(at, f.sent, f.first) // the kernel's stamps and this clock may differ by some microseconds
	l.open.remove(l.flights, i, byDue)
	l.release(i)
	r := f.result()
	r.Outcome, r.Error, r.End, r.ReadLag = outcome, class, at, f.readLag
	if r.Due == AsSoonAsPossible {
		r.Due = at
	}
	if outcome == traffic.OK {
		r.LastByte = at
	}
	if f.conn != none {
		r.Conn = l.first + int(f.conn)
	}
	if f.turn != unordered {
		l.leaveLine(i, at)
	}
	l.flights.give(i)
	l.row(&r)
}

// row gathers a row.
func (l *loop) row(r *traffic.Result) {
	l.rows = append(l.rows, *r)
	if len(l.rows) == cap(l.rows) {
		l.hand(true)
	}
}

// hand gives the recorder the rows, where they are many or have waited long.
func (l *loop) hand(all bool) {
	if len(l.rows) == 0 || !all && l.now-l.handed < handEvery {
		return
	}
	l.recorder.Record(l.rows)
	l.rows = l.rows[:0]
	l.handed = l.clock()
}

// expire ends the flights whose time is over.
func (l *loop) expire() {
	for i := l.open.head; i != none && l.now >= l.flights.all[i].due+l.Timeout; i = l.open.head {
		l.timeout(i)
	}
}

func (l *loop) timeout(i int32) {
	f := &l.flights.all[i]
	if f.turn == awaiting || f.turn == freed {
		l.conclude(i, traffic.Timeout, TimeoutSession, l.now)
		return
	}
	if f.waiting {
		class := TimeoutQueue
		if l.stands == 0 && l.dials > 0 {
			class = ConnectTimeout
		}
		if f.conn == none {
			l.unqueue(i)
		}
		l.conclude(i, traffic.Timeout, class, l.now)
		return
	}
	c := f.conn
	conn := &l.conns[c]
	if !f.active { // its connection is being dialed
		l.conclude(i, traffic.Timeout, ConnectTimeout, l.now)
		l.close(c)
		return
	}
	class := TimeoutHeaders
	switch {
	case conn.h2 != nil:
		could, sending := conn.canTake(), conn.h2.Sending(f.stream)
		l.count(i, conn.h2.Cancel(f.stream))
		switch {
		case f.status != 0:
			class = TimeoutBody
		case sending:
			class = TimeoutSend
		}
		if !could && conn.canTake() {
			conn.since = l.now
		}
		l.soil(c)
		l.touch(c)
	case conn.response.InBody():
		class = TimeoutBody
	case conn.unwritten():
		class = TimeoutSend
	}
	l.conclude(i, traffic.Timeout, class, l.now)
	if conn.h2 == nil {
		l.close(c)
	}
}

// close ends a connection, which has no flight any more but what waits for its place.
func (l *loop) close(c int32) {
	conn := &l.conns[c]
	switch conn.state {
	case down:
		return
	case standing:
		l.stands--
	case dialing, starting:
		l.dials--
	}
	conn.state, conn.failed, conn.blocked = down, nil, false
	conn.head, conn.body = nil, nil
	conn.secure = nil
	conn.active = 0
	conn.attempt++
	l.reactor.close(c)
	l.touch(c)
}

// end closes everything.
func (l *loop) end() {
	l.run.enough.Store(true)
	for c := range l.conns {
		conn := &l.conns[c]
		if conn.h2 != nil && conn.state == standing {
			conn.h2.Close()
			l.push(int32(c))
		}
		l.close(int32(c))
	}
	l.hand(true)
	l.turnAway()
	l.reactor.end()
}

// turnAway waits for the dialing goroutines, and closes what they bring.
func (l *loop) turnAway() {
	l.hangUp()
	ended := make(chan struct{})
	go func() {
		l.dialers.Wait()
		close(ended)
	}()
	for {
		select {
		case t := <-l.arrived:
			t.close()
			continue
		case <-ended:
		}
		break
	}
	for len(l.arrived) > 0 {
		t := <-l.arrived
		t.close()
	}
}
