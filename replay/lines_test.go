package replay

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// queueing answers each request when it has held it, and notes what came while another of its session was there.
type queueing struct {
	hold time.Duration

	mu      sync.Mutex
	there   map[string]int
	crowded int
	order   map[string][]string // paths by session, as they came
}

func (q *queueing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	session := r.Header.Get("session")
	q.mu.Lock()
	if q.there == nil {
		q.there, q.order = map[string]int{}, map[string][]string{}
	}
	if q.there[session]++; q.there[session] > 1 {
		q.crowded++
	}
	q.order[session] = append(q.order[session], r.URL.Path)
	q.mu.Unlock()
	time.Sleep(q.hold)
	q.mu.Lock()
	q.there[session]--
	q.mu.Unlock()
	w.Write([]byte("ok"))
}

// inSession is a request that tells the server its session.
func inSession(session, path string) traffic.Request {
	r := get(path)
	r.Session = session
	r.Headers = []traffic.Header{{"session", session}}
	return r
}

// ordered gives the ways in which sessions are kept in order: on any protocol, with any connections.
func ordered(t *testing.T, test func(t *testing.T, o Options)) {
	for _, protocol := range []Protocol{HTTP1, H2C} {
		for _, reuse := range []Reuse{Keep, Session, Fresh} {
			t.Run(fmt.Sprint(protocol, " ", reuse), func(t *testing.T) {
				eachPath(t, func(t *testing.T, portable bool) {
					test(t, Options{Portable: portable, Protocol: protocol, Reuse: reuse, Connections: 8, Loops: 2, Ordered: true, Timeout: 20 * time.Second})
				})
			})
		}
	}
}

// A session's next request goes when its predecessor has ended, in the order of the plan. The wait is in its response time, and
// is no lag of the client's.
func TestOrderedSessions(t *testing.T) {
	ordered(t, func(t *testing.T, o Options) {
		server := &queueing{hold: 3 * time.Millisecond}
		o.Address = both(t, server)
		const n, sessions = 60, 4
		m := play1(t, o, every(n, 100*time.Microsecond, func(i int) traffic.Request { return inSession(fmt.Sprint(i%sessions), fmt.Sprintf("/%03d", i)) }))
		server.mu.Lock() // the race detector does not know that an answer came before
		defer server.mu.Unlock()
		if got := m.outcomes(); got["ok"] != n || server.crowded > 0 {
			t.Fatalf("outcomes %v; %d requests came while their session's predecessor was there", got, server.crowded)
		}
		for session, paths := range server.order {
			if len(paths) != n/sessions || !slices.IsSorted(paths) {
				t.Errorf("session %s came as %v", session, paths)
			}
		}
		slices.SortFunc(m.rows, func(a, b traffic.Result) int { return int(a.Due - b.Due) })
		for i := sessions; i < n; i++ {
			r, before := &m.rows[i], &m.rows[i-sessions]
			if r.Sent < before.End {
				t.Errorf("%+v was sent before %+v had ended", r, before)
			}
			if r.Lag() < time.Millisecond && r.Ready < before.End-before.ReadLag { // a late client's own part begins sooner
				t.Errorf("%+v was ready before its predecessor had ended, at %v", r, before.End)
			}
			if r.ResponseTime() < r.Sent-r.Due+server.hold {
				t.Errorf("the wait is not in the response time of %+v", r)
			}
		}
	})
}

// Requests without a session, and those of different rounds, wait for nobody.
func TestWhoWaitsForNobody(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		const n = 4
		all := make(chan struct{})
		arrived := make(chan struct{}, n)
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if readRequest(r) {
				arrived <- struct{}{}
				<-all
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		go func() { // answers only when all are there
			for range n {
				<-arrived
			}
			close(all)
		}()
		items := every(n, time.Microsecond, func(i int) traffic.Request {
			if i < 2 {
				return get("/")
			}
			return inSession("a", "/")
		})
		plan := func(yield func(Item, error) bool) {
			i := 0
			for item, err := range items {
				if i++; i == n {
					item.Session = "a of the second round"
				}
				if !yield(item, err) {
					return
				}
			}
		}
		m := play1(t, Options{Portable: portable, Address: address, Connections: n, Ordered: true, Timeout: 20 * time.Second}, plan)
		if got := m.outcomes(); got["ok"] != n {
			t.Errorf("outcomes %v, want %d ok", got, n)
		}
	})
}

// What waits for its session ends by its own time-out, was never sent, and leaves its place to the next one. A predecessor that
// fails lets it go as well as one that is answered.
func TestOrderedTimeouts(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			for readRequest(r) {
				// no answer, ever
			}
		})
		const timeout = 150 * time.Millisecond
		o := Options{Portable: portable, Address: address, Connections: 4, Ordered: true, Timeout: timeout}
		dues := []time.Duration{0, 1e6, 2e6, 100e6}
		plan := func(yield func(Item, error) bool) {
			for i, due := range dues {
				if !yield(Item{ID: ID(1, uint64(i)), Phase: traffic.PhaseStage, Due: due, Request: ptr(inSession("a", "/"))}, nil) {
					return
				}
			}
		}
		m := play1(t, o, plan)
		slices.SortFunc(m.rows, func(a, b traffic.Result) int { return int(a.Due - b.Due) })
		if len(m.rows) != len(dues) || m.rows[0].Error != TimeoutHeaders {
			t.Fatalf("%+v", m.rows)
		}
		for i, r := range m.rows {
			if r.Outcome != traffic.Timeout || r.End < r.Due+timeout {
				t.Errorf("request %d: %+v", i, r)
			}
			if r.Error == TimeoutSession && (r.Sent != traffic.Never || r.Lag() != 0) {
				t.Errorf("request %d waited to its end: %+v", i, r)
			}
			if r.Sent != traffic.Never && i > 0 && r.Sent < m.rows[i-1].End {
				t.Errorf("request %d was sent at %v, before its predecessor had ended: %+v", i, r.Sent, m.rows[i-1])
			}
		}
	})
}

// The queue's limit bounds those who wait for their session, and a stop tells of each of them.
func TestOrderedLimits(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if readRequest(r) {
				asked <- struct{}{}
				<-answer
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		var m memory
		full, once, stopped := make(chan struct{}), sync.Once{}, sync.Once{}
		watch := recorder(func(rows []traffic.Result) {
			m.Record(rows)
			if m.outcomes()["unsent queue_full"] >= 5 {
				once.Do(func() { close(full) })
			}
			if m.outcomes()["unsent stopped_in_queue"] > 0 {
				stopped.Do(func() { close(answer) })
			}
		})
		go func() {
			<-full
			<-asked
			stop()
		}()
		o := Options{Portable: portable, Address: address, Connections: 2, Queue: 3, Ordered: true, Timeout: 20 * time.Second}
		if _, err := transport(t, o).Play(ctx, time.Now(), every(9, time.Microsecond, same(inSession("a", "/"))), watch); err != nil {
			t.Fatal(err)
		}
		// The first one may itself have waited for its connection when the others came, and so taken one of the three places.
		got := m.outcomes()
		if waited := got["unsent stopped_in_queue"]; got["ok"] != 1 || waited < 2 || waited > 3 || got["unsent queue_full"] != 8-waited || len(m.rows) != 9 {
			t.Errorf("outcomes %v", got)
		}
	})
}

// recorder is a Recorder by a function.
type recorder func([]traffic.Result)

func (r recorder) Record(rows []traffic.Result) { r(rows) }

// With overload: drop a request waits for its session all the same, and only where no connection is free then is it dropped.
func TestOrderedIsNoOverload(t *testing.T) {
	ordered(t, func(t *testing.T, o Options) {
		if o.Reuse == Keep { // whose connections may not stand yet when the first request is due
			o.Reuse = Session
		}
		server := &queueing{hold: time.Millisecond}
		o.Address, o.Overload, o.Loops = both(t, server), Drop, 1
		const n = 20
		m := play1(t, o, every(n, 10*time.Microsecond, func(i int) traffic.Request { return inSession("a", fmt.Sprintf("/%03d", i)) }))
		server.mu.Lock()
		defer server.mu.Unlock()
		if got := m.outcomes(); got["ok"]+got["unsent dropped"] != n || got["ok"] < n-1 || server.crowded > 0 {
			t.Errorf("outcomes %v, %d came too early", got, server.crowded)
		}
	})
}

func TestAClosedLoopHasNoOrder(t *testing.T) {
	if _, err := New(Options{Address: "127.0.0.1:1", Connections: 1, Timeout: time.Second, Until: time.Second, Ordered: true}); err == nil {
		t.Error("it is taken")
	}
}
