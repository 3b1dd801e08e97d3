package replay

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// instant is a reactor whose server answers each write at once.
type instant struct {
	start  time.Time
	answer []byte
	due    []int32 // connections with an answer to read
	events []event
	feed   func() // the planner's part
}

func (r *instant) adopt(int32, *net.TCPConn) error { return nil }
func (r *instant) connected(int32) error           { return nil }
func (r *instant) close(int32)                     {}
func (r *instant) stale(*event) bool               { return false }
func (r *instant) wake()                           {}
func (r *instant) end()                            {}
func (r *instant) read(_ int32, b []byte) (int, time.Duration, error) {
	return copy(b, r.answer), 0, nil
}
func (r *instant) connect(c int32, _ netip.Addr, _ netip.AddrPort) error {
	r.due = append(r.due, c)
	return nil
}

func (r *instant) write(c int32, b []byte) (int, error) {
	r.due = append(r.due, c)
	return len(b), nil
}

func (r *instant) wait(time.Duration, bool) ([]event, time.Duration, bool) {
	r.feed()
	r.events = r.events[:0]
	for _, c := range r.due {
		r.events = append(r.events, event{conn: c, readable: true, writable: true})
	}
	r.due = r.due[:0]
	return r.events, time.Since(r.start), false
}

// counted is a Recorder that only counts.
type counted struct{ ok, rows int }

func (c *counted) Record(rows []traffic.Result) {
	c.rows += len(rows)
	for i := range rows {
		if rows[i].Outcome == traffic.OK {
			c.ok++
		}
	}
}

// playInstantly plays n requests of a closed loop on a loop that has no kernel beneath it, and gives what it allocated.
func playInstantly(tb testing.TB, n int) (bytes, objects uint64) {
	tb.Helper()
	o := Options{Address: "127.0.0.1:1", Connections: 50, Timeout: time.Hour, Until: time.Hour}
	return playItems(tb, o, n, []Item{{ID: ID(1, 1), Phase: traffic.PhaseStage, Due: AsSoonAsPossible, Request: ptr(get("/"))}})
}

// playItems plays n requests that are the items in turn.
func playItems(tb testing.TB, o Options, n int, items []Item) (bytes, objects uint64) {
	tb.Helper()
	e := &engine{Options: o}
	if err := e.fill(); err != nil {
		tb.Fatal(err)
	}
	r := &run{start: time.Now(), addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
	var rows counted
	l := e.newLoop(r, &rows, 0, 50)
	net := &instant{start: r.start, answer: []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 5\r\n\r\nhello")}
	l.reactor, l.connector = net, net
	r.loops = []*loop{l}
	left := n
	net.feed = func() {
		for left > 0 && l.ring.push(&items[left%len(items)]) {
			left--
		}
		l.ring.closed.Store(left == 0)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l.play(context.Background())
	runtime.ReadMemStats(&after)
	if rows.ok != n || rows.rows != n || l.figures.planned != n {
		tb.Fatalf("%d rows, %d ok, %d planned, want %d", rows.rows, rows.ok, l.figures.planned, n)
	}
	return after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs
}

// A request allocates nothing.
func TestALoopAllocatesNothingForARequest(t *testing.T) {
	const n = 200_000
	playInstantly(t, 1000)
	if bytes, objects := playInstantly(t, n); objects > 100 {
		t.Errorf("%d requests allocated %d objects, %d bytes", n, objects, bytes)
	}
}

// Nor does one that waits for its session, of which there are more than connections.
func TestAnOrderedRequestAllocatesNothing(t *testing.T) {
	const n = 60_000 // so many may wait
	var items []Item
	for i := range 80 {
		request := get("/")
		request.Session = string(rune('A' + i))
		items = append(items, Item{ID: ID(1, uint64(i)), Phase: traffic.PhaseStage, Request: &request})
	}
	o := Options{Address: "127.0.0.1:1", Connections: 50, Timeout: time.Hour, Ordered: true}
	if bytes, objects := playItems(t, o, n, items); objects > 100+uint64(5*len(items)) { // each item's bytes are made once
		t.Errorf("%d requests allocated %d objects, %d bytes", n, objects, bytes)
	}
}

// BenchmarkLoop is what the engine itself costs for a request, without the kernel's part.
func BenchmarkLoop(b *testing.B) {
	playInstantly(b, max(b.N, 1))
}

// A request that the loop took up a whole time-out late was held by its session only where its predecessor had been under way all
// that time; else the client is to blame, where a connection stood by.
func TestALateLoopBlamesNoSession(t *testing.T) {
	const timeout = 150 * time.Millisecond
	for name, c := range map[string]struct {
		session string
		due     time.Duration
		idle    bool
		class   string
		ready   time.Duration
	}{
		"as early as its predecessor":             {"a", 0, true, TimeoutSession, traffic.Never},
		"later than its predecessor":              {"a", 10 * time.Millisecond, true, TimeoutQueue, timeout},
		"later, and no connection is free":        {"a", 10 * time.Millisecond, false, TimeoutQueue, traffic.Never},
		"of another session":                      {"b", 10 * time.Millisecond, true, TimeoutQueue, 5 * time.Millisecond},
		"of another one, and no connection freed": {"b", 10 * time.Millisecond, false, TimeoutQueue, traffic.Never},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{Options: Options{Address: "127.0.0.1:1", Connections: 1, Timeout: timeout, Ordered: true}}
			if err := e.fill(); err != nil {
				t.Fatal(err)
			}
			l := e.newLoop(&run{start: time.Now()}, new(counted), 0, 1)
			item := func(session string, due time.Duration) *Item {
				return &Item{Phase: traffic.PhaseStage, Due: due, Request: ptr(inSession(session, "/"))}
			}
			l.begin(item("a", 0)) // it waits: no connection stands
			if c.idle {
				l.conns[0].state, l.conns[0].since = standing, 5*time.Millisecond
				l.list(0)
			}
			l.now = 2 * timeout
			l.begin(item(c.session, c.due))
			if len(l.rows) != 1 {
				t.Fatalf("%d rows, want that of the second request", len(l.rows))
			}
			if r := l.rows[0]; r.Due != c.due || r.Outcome != traffic.Timeout || r.Error != c.class || r.Ready != c.ready || r.Sent != traffic.Never {
				t.Errorf("%+v, want %s, ready at %v", r, c.class, c.ready)
			}
		})
	}
}
