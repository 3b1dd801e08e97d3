package cluster

import (
	"context"
	"net/http"

	"umbra/internal/app"
)

// chooseMirrors decides where copies of the request go. All mirrors of a route share one random value of the request,
// so that the set of a smaller fraction lies inside that of a larger one.
func (x *exchange) chooseMirrors(p *programmed, method string) {
	u, active := x.draws.At(drawMirror)%1e6, false
	for _, m := range p.mirrors {
		active = active || m.numerator > 0
		if x.wrong.mirrors(u, m.numerator) {
			x.mirrored = append(x.mirrored, m.upstream)
		}
	}
	if !active && isWrite(method) && x.wrong.mirrorWrites.strikes(x.draws) {
		x.mirrored = append(x.mirrored, x.writesTo)
	}
}

// startMirrors starts a goroutine for each copy, once. From here on the copies count as pending: who has the
// primary's answer finds them among the mirror cluster's requests.
func (x *exchange) startMirrors() {
	x.start.Do(func() {
		for i, up := range x.mirrored {
			up.pending.Add(1)
			x.mirrors.Go(func() { x.mirror(up, app.Draws(x.draws.At(drawCopy+uint64(i)))) })
		}
	})
}

// mirror sends a copy of the request and discards the answer. It is never retried, and the client's end is not its
// own; the route's time-out is.
func (x *exchange) mirror(up *upstream, draws app.Draws) {
	if len(up.endpoints) == 0 {
		up.pending.Add(-1)
		up.noneHealthy.Add(1)
		up.charge(http.StatusServiceUnavailable, true)
		return
	}
	if up.misbehaves.Load() {
		x.wrong.shadowHits.Add(1)
	}
	if x.wrong.drop.strikes(draws) {
		up.pending.Add(-1)
		up.total.Add(1)
		up.charge(http.StatusOK, true)
		return
	}
	ctx, cancel := within(x.gateway.ctx, x.route.Timeout, errTimeout)
	defer cancel()
	r, body := x.mirrorRequest(draws)
	if x.wrong.duplicate.strikes(draws) {
		x.sendUncounted(ctx, up, r, body)
	}
	res, why := up.send(x.transport, x.copyTo(ctx, r, up.pick(nil), body), nil)
	switch why {
	case answered:
		up.charge(res.StatusCode, true)
		discard(res)
	case cancelled: // with the gateway
	default:
		up.charge(why.status(), true)
	}
}

// mirrorRequest is what the mirrors are sent: the primary's request, rewritten as it is, with the marks of Envoy's
// shadow writer. The authority has no suffix, as with Istio's DISABLE_SHADOW_HOST_SUFFIX.
func (x *exchange) mirrorRequest(draws app.Draws) (*http.Request, []byte) {
	r, body, path := x.out.Clone(x.gateway.ctx), x.body, x.decision.Path
	r.Header["X-Envoy-Internal"] = []string{"true"}
	appendForwardedFor(r.Header, x.ip)
	if x.wrong.mutate.strikes(draws) {
		path, body = mutated(path, body, draws)
		r.URL = upstreamURL(path)
	}
	return r, body
}

// sendUncounted is the fault duplicate: the cluster's counters see nothing of it, but that something is pending until
// it has ended.
func (x *exchange) sendUncounted(ctx context.Context, up *upstream, r *http.Request, body []byte) {
	res, err := x.transport.RoundTrip(x.copyTo(ctx, r, up.pick(nil), body))
	if err == nil {
		discard(res)
	}
}
