package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
)

// upstream is a cluster as the gateway has it: the endpoints, in turn, and the counters.
type upstream struct {
	counters
	endpoints  []endpoint  // never changes
	misbehaves atomic.Bool // its pods were told to
	turn       atomic.Uint64
}

// endpoint is a pod's address.
type endpoint struct{ pod, addr string }

// pick takes the next endpoint in turn, and another where that was tried before, as Istio's host predicate
// previous_hosts does within 5 attempts. An upstream without endpoints must not be asked.
func (u *upstream) pick(tried []string) (addr string) {
	for range 5 {
		addr = u.endpoints[(u.turn.Add(1)-1)%uint64(len(u.endpoints))].addr
		if !slices.Contains(tried, addr) {
			break
		}
	}
	return addr
}

// failure is why a try has no answer.
type failure int

const (
	answered       failure = iota
	connectFailure         // no connection could be made
	reset                  // the upstream ended the connection before the answer's head
	tryTimedOut            // the time for one try was over
	timedOut               // the route's time was over
	cancelled              // the client or the gateway has ended
)

// The causes with which a try's context ends.
var (
	errTimeout       = errors.New("upstream request timeout")
	errPerTryTimeout = errors.New("upstream per try timeout")
)

// failureOf tells why a context ended.
func failureOf(ctx context.Context) failure {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTimeout):
		return timedOut
	case errors.Is(cause, errPerTryTimeout):
		return tryTimedOut
	}
	return cancelled
}

// status is what the gateway answers in the upstream's place.
func (f failure) status() int {
	if f == timedOut || f == tryTimedOut {
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

// text is the body of that answer, in Envoy's words.
func (f failure) text() string {
	switch f {
	case timedOut, tryTimedOut:
		return "upstream request timeout"
	case connectFailure:
		return "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
	}
	return "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
}

// try is one copy of a request on its way to one endpoint.
type try struct {
	*upstream
	ctx       context.Context
	connected bool
	ended     atomic.Bool
}

// send sends a request, whose URL names the endpoint, and gives the answer's head. Its caller has counted it as
// pending; from here on the counters follow it, until the answer's body is read or closed. They do not see the
// answer's status, as what becomes of it is the caller's to decide. wrote, where there is one, is called once the
// request is on the connection, by another goroutine.
func (u *upstream) send(transport http.RoundTripper, r *http.Request, wrote func()) (*http.Response, failure) {
	t := &try{upstream: u, ctx: r.Context()}
	trace := &httptrace.ClientTrace{GotConn: t.gotConn}
	if wrote != nil {
		trace.WroteRequest = func(httptrace.WroteRequestInfo) { wrote() }
	}
	res, err := transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(t.ctx, trace)))
	if err != nil {
		return nil, t.failed()
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		t.end(false) // from here on the connection is the client's
		return res, answered
	}
	res.Body = &countedBody{res.Body, t}
	return res, answered
}

// gotConn may be called again where the transport could write nothing to an idle connection.
func (t *try) gotConn(httptrace.GotConnInfo) {
	if t.connected {
		return
	}
	t.connected = true
	t.active.Add(1)
	t.pending.Add(-1)
	t.total.Add(1)
}

// failed counts a try that got no answer.
func (t *try) failed() failure {
	over := t.ctx.Err() != nil
	switch {
	case t.connected && over:
		t.end(true)
		return failureOf(t.ctx)
	case t.connected:
		t.end(false)
		return reset
	}
	t.pending.Add(-1)
	if over {
		t.countTimeout()
		return failureOf(t.ctx)
	}
	t.connectFail.Add(1)
	t.pendingEject.Add(1)
	return connectFailure
}

// end takes the try off its connection, once. Where it was broken off, its time may have been over.
func (t *try) end(brokenOff bool) {
	if t.ended.Swap(true) {
		return
	}
	t.active.Add(-1)
	if brokenOff {
		t.countTimeout()
	}
}

func (t *try) countTimeout() {
	if t.ctx.Err() == nil {
		return
	}
	switch failureOf(t.ctx) {
	case timedOut:
		t.timeout.Add(1)
	case tryTimedOut:
		t.perTryTimeout.Add(1)
	}
}

// countedBody is an answer's body; its end is the try's.
type countedBody struct {
	io.ReadCloser
	try *try
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.try.end(err != io.EOF)
	}
	return n, err
}

func (b *countedBody) Close() error {
	b.try.end(true)
	return b.ReadCloser.Close()
}
