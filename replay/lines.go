package replay

import (
	"time"

	"umbra/internal/traffic"
)

// lines holds the sessions of a loop that keeps their order (Options.Ordered): each is a line of flights, threaded through them
// so that nothing is allocated, and only its head may go. A session is known for as long as one of its flights is open.
type lines struct {
	last    map[string]int32 // the last flight of each line; nil where no order is kept
	waiting int              // flights that are not at the head of theirs
	freed   list             // those whose predecessor has just ended, to be started when the event is over; by turn
}

// turn is where a flight is in its session's line.
type turn uint8

const (
	unordered turn = iota // it is in none
	going                 // it is the head, and was started
	awaiting              // its predecessor has not ended
	freed                 // its predecessor has ended
)

// lineUp puts a flight that was taken up at the end of its session's line. It is true where it may go at once.
func (l *loop) lineUp(i int32) bool {
	f := &l.flights.all[i]
	name := f.item.session()
	if name == "" {
		return true
	}
	last, others := l.lines.last[name]
	if others && l.lines.waiting+l.queue.n >= l.Queue {
		l.conclude(i, traffic.Unsent, QueueFull, l.now)
		return false
	}
	l.lines.last[name] = i
	if !others {
		f.turn = going
		return true
	}
	f.turn, f.ahead = awaiting, last
	l.flights.all[last].behind = i
	l.lines.waiting++
	return false
}

// inLine tells whether flights of a session are open.
func (l *loop) inLine(session string) bool {
	_, known := l.lines.last[session]
	return known
}

// leaveLine takes a flight that ended at the instant at from its line. Where it was the head, the next one may go; where it was
// not, the next one waits for whom it waited for.
func (l *loop) leaveLine(i int32, at time.Duration) {
	f := &l.flights.all[i]
	ahead, behind := f.ahead, f.behind
	switch f.turn {
	case awaiting:
		l.lines.waiting--
	case freed:
		l.lines.freed.remove(l.flights, i, byTurn)
	}
	f.turn, f.ahead, f.behind = unordered, none, none
	if ahead != none {
		l.flights.all[ahead].behind = behind
	}
	switch {
	case behind != none:
		l.flights.all[behind].ahead = ahead
		if ahead == none {
			l.mayGo(behind, l.endOf(f, at))
		}
	case ahead != none:
		l.lines.last[f.item.session()] = ahead
	default:
		delete(l.lines.last, f.item.session())
	}
}

// endOf is when a flight ended, or would have, had the loop read and timed it out at once: what came later is the client's
// doing, and not the server's.
func (l *loop) endOf(f *flight, at time.Duration) time.Duration {
	return min(at-f.readLag, f.due+l.Timeout)
}

// mayGo notes that a flight may go since at.
func (l *loop) mayGo(i int32, at time.Duration) {
	f := &l.flights.all[i]
	f.turn, f.from = freed, max(f.due, at)
	l.lines.waiting--
	l.lines.freed.pushBack(l.flights, i, byTurn)
}

// proceed starts the flight that was freed first.
func (l *loop) proceed() {
	i := l.lines.freed.head
	f := &l.flights.all[i]
	if l.now >= f.due+l.Timeout {
		l.conclude(i, traffic.Timeout, TimeoutSession, l.now)
		return
	}
	l.lines.freed.remove(l.flights, i, byTurn)
	late := max(0, l.now-f.from)
	f.turn, f.taken, f.late = going, l.now, max(l.debt, late)
	l.start(i, late)
}

// clearLines takes the flights that wait for their session out of a run that was stopped.
func (l *loop) clearLines(why string) {
	for i := l.open.head; i != none; {
		next := l.flights.all[i].byDue.next
		if t := l.flights.all[i].turn; t == awaiting || t == freed {
			l.drop(i, why)
		}
		i = next
	}
}
