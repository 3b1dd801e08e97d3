package replay

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"umbra/internal/host"
	"umbra/internal/traffic"
	"umbra/replay/internal/http2"
)

// engine is the Transport: a planner that ranges over the plan, and event loops that play it.
//
// A stall, of the server or of the client, is caught up with at once: all that has fallen due is sent as connections
// become free, each request timed from its own due instant. A connection that the server closes is dialed again at once; one
// that cannot be dialed is tried again when a request needs it. A request is sent again only where an HTTP/2 server says that
// it has not processed it (GOAWAY, REFUSED_STREAM), at most maxRetries times, and each is counted.
type engine struct {
	Options
	resolve func(ctx context.Context, address string) ([]netip.AddrPort, time.Duration, error)
}

// New makes the transport that o asks for: the fast path where this system has one.
func New(o Options) (Transport, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	return &engine{o, resolve}, nil
}

// fill puts defaults where nothing was asked for.
func (o *Options) fill() error {
	o.Loops, o.Streams, o.Queue = max(o.Loops, 1), max(o.Streams, 1), cmp.Or(o.Queue, DefaultQueue)
	o.Protocol, o.Reuse, o.Overload = cmp.Or(o.Protocol, HTTP1), cmp.Or(o.Reuse, Keep), cmp.Or(o.Overload, QueueUp)
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"http/1.1"}
		if o.Protocol == ALPN {
			o.TLS.NextProtos = []string{"h2", "http/1.1"}
		}
		if o.TLS.ClientSessionCache == nil {
			o.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
	}
	o.Loops = min(o.Loops, o.Connections)
	return faults(append(o.impossible(), fault{o.Until > 0 && o.Ordered, "a closed loop sends as fast as it can, so the order of sessions has no meaning in it: leave it out, or give a rate"}))
}

// Name implements Transport.
func (e *engine) Name() string { return PathName(e.Portable) }

// PathName says which path sends the load on this system.
func PathName(portable bool) string {
	if fastName == "" || portable {
		return portableName
	}
	return fastName
}

// run is what the loops of one Play share.
type run struct {
	start     time.Time
	addresses []netip.AddrPort
	why       atomic.Pointer[string] // why nothing more may be sent; nil while it may
	enough    atomic.Bool            // the planner need not go on
	aborted   atomic.Bool
	loops     []*loop
}

// stopped tells why the run was stopped; "" while it was not.
func (r *run) stopped() string {
	if why := r.why.Load(); why != nil {
		return *why
	}
	return ""
}

func (r *run) stop(why string) {
	r.why.CompareAndSwap(nil, &why)
	for _, l := range r.loops {
		l.reactor.wake()
	}
}

// abort stops the run by the policy AbortRun.
func (r *run) abort() {
	r.aborted.Store(true)
	r.stop(Aborted)
}

// Play implements Transport.
func (e *engine) Play(ctx context.Context, start time.Time, plan Plan, recorder Recorder) (Played, error) {
	addresses, took, err := e.resolve(ctx, e.Address)
	if err != nil {
		return Played{}, err
	}
	r := &run{start: start, addresses: addresses}
	defer processors(e.Loops)()
	group, err := e.launch(ctx, r, recorder)
	if err != nil {
		return Played{}, err
	}
	unwatch := context.AfterFunc(ctx, func() { r.stop(traffic.Stopped) })
	defer unwatch()
	err = r.plan(ctx, plan, e.Reuse == Session || e.Ordered)
	group.Wait()
	return r.played(took), err
}

// processors lets the runtime run a goroutine for each loop beside the others, as a loop that waits in the kernel keeps its
// processor for a while. It gives what takes that back.
func processors(loops int) func() {
	had := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(max(had, 2) + loops)
	return func() { runtime.GOMAXPROCS(had) }
}

// resolve gives the addresses that host:port stands for, in the resolver's order, and what a look-up took.
func resolve(ctx context.Context, address string) (out []netip.AddrPort, took time.Duration, err error) {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}, 0, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("address %s: %q is no port", address, text)
	}
	begin := time.Now()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, 0, fmt.Errorf("address %s: %w", address, err)
	}
	for _, a := range found {
		if at := netip.AddrPortFrom(a.Unmap(), uint16(port)); !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out, time.Since(begin), nil
}

// launch starts the loops, each with its share of the connections.
func (e *engine) launch(ctx context.Context, r *run, recorder Recorder) (*sync.WaitGroup, error) {
	var group sync.WaitGroup
	made := make(chan error)
	begin := make(chan bool)
	first := 0
	for n := range e.Loops {
		l := e.newLoop(r, recorder, first, share(e.Connections, n, e.Loops))
		first += len(l.conns)
		r.loops = append(r.loops, l)
		group.Go(func() {
			err := l.makeReactor(e.Portable)
			made <- err
			if <-begin && err == nil {
				l.play(ctx)
			} else if err == nil {
				l.reactor.end()
			}
		})
	}
	var failed error
	for range r.loops {
		if err := <-made; err != nil {
			failed = err
		}
	}
	runtime.GC() // what was made so far is looked through before the start, not within the run
	for range r.loops {
		begin <- failed == nil
	}
	if failed != nil {
		group.Wait()
	}
	return &group, failed
}

// share is how many of all the n-th of k gets.
func share(all, n, k int) int { return all*(n+1)/k - all*n/k }

// newLoop makes a loop's memory.
func (e *engine) newLoop(r *run, recorder Recorder, first, connections int) *loop {
	streams := 1
	if e.Protocol != HTTP1 {
		streams = e.Streams
	}
	l := &loop{
		Options: &e.Options, run: r, first: first, ring: newRing(), recorder: recorder,
		flights: newFlights(e.Queue + connections*streams), open: emptyList(), queue: emptyList(), lines: lines{freed: emptyList()},
		conns: make([]conn, connections), free: newFifo(connections), resting: make([]int32, 0, connections),
		touched: make([]int32, 0, connections), dirty: make([]int32, 0, connections), unread: make([]int32, 0, connections),
		buffer: make([]byte, readSize), rows: make([]traffic.Result, 0, rowBatch),
		arrived: make(chan standingTCP, connections),
		figures: newLoopFigures(),
	}
	if e.Reuse == Session {
		l.session = make(map[string]int32, connections)
	}
	if e.Ordered {
		l.lines.last = make(map[string]int32, connections*streams)
	}
	l.heads.closing = e.Reuse == Fresh
	l.blocks.blocks, l.blocks.scheme = true, "http"
	if e.TLS != nil {
		l.blocks.scheme = "https"
	}
	for c := range l.conns {
		conn := &l.conns[c]
		conn.flight, conn.own, conn.opened = none, emptyList(), emptyList()
		if e.Protocol != HTTP1 {
			conn.machine = http2.New(streams)
		}
	}
	return l
}

// makeReactor is called by the goroutine that will play, as the fast path's belongs to its thread.
func (l *loop) makeReactor(portable bool) (err error) {
	if portable || fastName == "" {
		l.reactor, err = newNetReactor(l.run.start, len(l.conns))
		return err
	}
	runtime.LockOSThread() // for good: the thread, whose settings are changed, ends with the goroutine
	l.reactor, err = newFast(l.run.start, len(l.conns), l.Precise, l.Until > 0)
	l.connector, _ = l.reactor.(connector)
	return err
}

// plan gives every item to a loop: in turn, or, where sessions have their connections or their order, by its session.
func (r *run) plan(ctx context.Context, plan Plan, bySession bool) error {
	defer func() {
		for _, l := range r.loops {
			l.ring.closed.Store(true)
			l.reactor.wake()
		}
	}()
	pauses := pauses{r: r}
	seed := maphash.MakeSeed()
	n := uint64(0)
	for item, err := range plan {
		if err != nil {
			return err
		}
		to := n % uint64(len(r.loops))
		if session := item.session(); bySession && session != "" {
			to = maphash.String(seed, session) % uint64(len(r.loops))
		}
		n++
		for !r.push(&item, to) {
			if r.enough.Load() {
				return nil
			}
			pauses.wait(ctx, r.loops[to].ring)
		}
	}
	return nil
}

// push gives an item to the to-th loop; one of a closed loop to any that has room, as loops may be differently fast.
func (r *run) push(item *Item, to uint64) bool {
	if r.loops[to].ring.push(item) {
		return true
	}
	if item.Due != AsSoonAsPossible {
		return false
	}
	for _, l := range r.loops {
		if l.ring.push(item) {
			return true
		}
	}
	return false
}

// pauses lets a planner that is far enough ahead sleep until there is room for a refill.
type pauses struct {
	r      *run
	closed time.Duration // how long a closed loop takes for that, from what it took before
}

// The bounds of a pause.
const (
	shortPause = time.Millisecond
	longPause  = 100 * time.Millisecond
)

// wait returns when the ring, which is full, has some room, or the context has ended.
func (p *pauses) wait(ctx context.Context, ring *ring) {
	d := ring.soon() - time.Since(p.r.start)
	if ring.soon() == AsSoonAsPossible {
		d = p.closed
	}
	done := ctx.Done()
	d = min(max(d, shortPause), longPause)
	if p.r.stopped() != "" {
		done, d = nil, shortPause/10 // the loops take all that comes
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
	switch room := ring.room(); {
	case room < refill/2:
		p.closed = min(2*d, longPause)
	case room > 2*refill:
		p.closed = d / 2
	}
}

// loopFigures is what a loop says of itself.
type loopFigures struct {
	planned, retries, connections int
	due                           int // of planned: those that became flights
	wakeups                       int64
	dial, tls                     handshakes
}

func newLoopFigures() loopFigures { return loopFigures{dial: newHandshakes(), tls: newHandshakes()} }

// handshakes gathers host.Handshakes.
type handshakes struct {
	took   *hdrhistogram.Histogram
	failed int
}

func newHandshakes() handshakes {
	return handshakes{took: hdrhistogram.New(1, int64(time.Hour), 3)}
}

func (h *handshakes) fail() { h.failed++ }

func (h *handshakes) add(d time.Duration) {
	_ = h.took.RecordValue(min(max(int64(d), 0), int64(time.Hour))) // cannot fail within the range
}

func (h *handshakes) merge(o *handshakes) {
	h.took.Merge(o.took)
	h.failed += o.failed
}

func (h *handshakes) sum() host.Handshakes {
	at := func(q float64) time.Duration { return time.Duration(h.took.ValueAtQuantile(q)) }
	return host.Handshakes{Count: int(h.took.TotalCount()), Failed: h.failed, P50: at(50), P99: at(99), Max: time.Duration(h.took.Max())}
}

// played sums up what the loops say, when they have ended.
func (r *run) played(resolve time.Duration) Played {
	p := Played{}
	p.Connections.Resolve = resolve
	for _, a := range r.addresses {
		p.Connections.Addresses = append(p.Connections.Addresses, a.String())
	}
	if r.aborted.Load() {
		p.Aborted = "a request was due while no connection was free"
	}
	dial, tls := newHandshakes(), newHandshakes()
	for _, l := range r.loops {
		f := &l.figures
		p.Planned += f.planned
		p.Connections.Retries += f.retries
		p.Connections.Most += f.connections
		p.Connections.Wakeups += f.wakeups
		dial.merge(&f.dial)
		tls.merge(&f.tls)
	}
	p.Connections.Dial, p.Connections.TLS = dial.sum(), tls.sum()
	return p
}
