package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"umbra/internal/traffic"
)

// queueLimit is how many requests may wait for a connection; one that comes when it is reached is unsent (QueueFull).
const queueLimit = 1 << 16

// Portable is the transport on the standard library: a goroutine for each connection, HTTP/1.1 with keep-alive. It
// dials before the run starts and again whenever a connection was closed; it never sends a request twice. A request waits
// for a free connection until its time-out, and is then a Timeout that was never sent. After a stall all that is due is
// sent at once, each timed from its own due instant.
type Portable struct {
	Address     string        // host:port to dial
	TLS         *tls.Config   // nil: plain
	Connections int           // from 1
	Timeout     time.Duration // of a request, from due
	Until       time.Duration // when a closed loop ends, counted from start
}

// Name says which path ran.
func (p *Portable) Name() string { return "portable (net, one goroutine a connection)" }

// play is one run of a Portable.
type play struct {
	*Portable
	start    time.Time
	recorder Recorder
	queue    chan Item
	stopped  <-chan struct{} // closed when nothing more may be sent
	alarm    *alarm          // the pacer's
	planned  int
}

// Play implements Transport.
func (p *Portable) Play(ctx context.Context, start time.Time, plan Plan, recorder Recorder) (Played, error) {
	waiting := queueLimit
	if p.Until > 0 { // a closed loop: nothing waits
		waiting = 0
	}
	alarm, err := newAlarm(ctx)
	if err != nil {
		return Played{}, err
	}
	defer alarm.close()
	run := &play{Portable: p, start: start, recorder: recorder, queue: make(chan Item, waiting), stopped: ctx.Done(), alarm: alarm}
	var group sync.WaitGroup
	for i := range p.Connections {
		group.Go(func() { run.serve(ctx, i) })
	}
	err = run.pace(plan)
	close(run.queue)
	group.Wait()
	return Played{Planned: run.planned}, err
}

// pace gives each item to the queue when it is due. It is the only sender.
func (p *play) pace(plan Plan) error {
	p.waitUntil(0)
	for item, err := range plan {
		if err != nil {
			return err
		}
		if item.Due == AsSoonAsPossible {
			if !p.offer(item) {
				return nil
			}
			p.planned++
			continue
		}
		p.planned++
		if !p.waitUntil(item.Due) {
			p.unsent(item, traffic.Stopped)
			continue
		}
		select {
		case p.queue <- item:
		default:
			p.unsent(item, QueueFull)
		}
	}
	return nil
}

// waitUntil is false where the run is stopped before.
func (p *play) waitUntil(due time.Duration) bool {
	p.alarm.wait(due - p.now())
	return !p.over()
}

func (p *play) over() bool {
	select {
	case <-p.stopped:
		return true
	default:
		return false
	}
}

// offer waits until a connection takes the item of a closed loop; it is false when the loop is over.
func (p *play) offer(item Item) bool {
	left := p.Until - p.now()
	if left <= 0 || p.over() {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case p.queue <- item:
		return true
	case <-timer.C:
	case <-p.stopped:
	}
	return false
}

func (p *play) unsent(item Item, class string) {
	r := item.result()
	r.End = p.now()
	if r.Due == AsSoonAsPossible {
		r.Due = r.End
	}
	r.Outcome, r.Error = traffic.Unsent, class
	p.recorder.Record([]traffic.Result{r})
}

func (p *play) now() time.Duration { return time.Since(p.start) }

// serve plays items on connection number n until the queue is closed. It owns the connection.
func (p *play) serve(ctx context.Context, n int) {
	w := p.first(ctx)
	free := p.now()
	for item := range p.queue {
		if p.over() {
			p.unsent(item, traffic.Stopped)
			continue
		}
		r := item.result()
		r.Conn = n
		if r.Due == AsSoonAsPossible {
			r.Due = p.now()
		}
		w, r.Ready = p.prepare(w, free, &r)
		if r.Outcome == "" {
			p.exchange(w, &item, &r)
		}
		free = r.End // what comes until the next request is sent is the client's own doing
		p.recorder.Record([]traffic.Result{r})
		w = keep(w)
	}
	if w != nil {
		w.Close()
	}
}

// first dials before anything is due, so that what this takes is in no latency. Where it fails the first request dials
// again, and tells why.
func (p *play) first(ctx context.Context) *wire {
	ctx, cancel := context.WithDeadline(ctx, p.start.Add(p.Timeout))
	defer cancel()
	w, err := p.dial(ctx)
	if err != nil {
		return nil
	}
	return w
}

// keep closes a connection that no request may use again.
func keep(w *wire) *wire {
	if w != nil && !w.reusable {
		w.Close()
		return nil
	}
	return w
}

// prepare gives a connection that stands, and since when; where none can be had it sets the result's outcome.
func (p *play) prepare(w *wire, free time.Duration, r *traffic.Result) (*wire, time.Duration) {
	deadline := r.Due + p.Timeout
	if now := p.now(); now >= deadline {
		r.Outcome, r.Error, r.End = traffic.Timeout, TimeoutQueue, now
		return w, traffic.Never
	}
	if w != nil && w.alive() {
		return w, free
	}
	if w != nil {
		w.Close()
	}
	ctx, cancel := context.WithDeadline(context.Background(), p.start.Add(deadline))
	defer cancel()
	w, err := p.dial(ctx)
	now := p.now()
	if err != nil {
		r.Outcome, r.Error = classifyDial(err)
		r.End = now
		return nil, traffic.Never
	}
	return w, now
}

func (p *play) dial(ctx context.Context) (*wire, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	if p.TLS == nil {
		return newWire(c), nil
	}
	secure := tls.Client(c, p.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return nil, &handshakeError{err}
	}
	return newWire(secure), nil
}

// exchange sends the request and reads its response.
func (p *play) exchange(w *wire, item *Item, r *traffic.Result) {
	in, out := w.in, w.out
	defer func() { r.RequestBytes, r.ResponseBytes = w.out-out, w.in-in }()
	if err := w.SetDeadline(p.start.Add(r.Due + p.Timeout)); err != nil {
		p.fail(w, r, err, TimeoutSend)
		return
	}
	r.Sent = p.now()
	if item.Due == AsSoonAsPossible { // a closed loop's request is due when it is sent
		r.Due = r.Sent
	}
	sendErr := w.send(item.ID, item.Request)
	if sendErr != nil && isTimeout(sendErr) {
		p.fail(w, r, sendErr, TimeoutSend)
		return
	}
	// A server may answer before it has read the whole request, and close: the answer counts.
	status, err := w.receive(item.Request.Method, func() { r.FirstByte = p.now() })
	r.Status = status
	switch {
	case err != nil && sendErr != nil:
		p.fail(w, r, sendErr, TimeoutSend)
	case err != nil && status != 0:
		p.fail(w, r, err, TimeoutBody)
	case err != nil:
		p.fail(w, r, err, TimeoutHeaders)
	default:
		r.LastByte = p.now()
		r.End, r.Outcome = r.LastByte, traffic.OK
		w.reusable = w.reusable && sendErr == nil
	}
}

func isTimeout(err error) bool {
	outcome, _ := classify(err, TimeoutSend)
	return outcome == traffic.Timeout
}

func (p *play) fail(w *wire, r *traffic.Result, err error, onTimeout string) {
	r.Outcome, r.Error = classify(err, onTimeout)
	r.End = p.now()
	w.reusable = false
}
