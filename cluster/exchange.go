package cluster

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"umbra/internal/app"
	"umbra/internal/pause"
	"umbra/internal/route"
)

// exchange is one request on its way through the gateway to a destination. It is the http.RoundTripper of its own
// reverse proxy.
type exchange struct {
	*gateway
	decision route.Decision
	route    *route.Route
	to       *destination
	draws    app.Draws
	body     []byte      // shared by all copies; never changed
	mirrored []*upstream // where copies go
	start    sync.Once   // of the mirrors

	out   *http.Request // as it goes upstream; not changed once the first copy is sent
	tried []string      // endpoints
}

// rewrite makes the request that goes upstream. The reverse proxy has taken hop-by-hop headers off.
func (x *exchange) rewrite(r *httputil.ProxyRequest) {
	h := r.Out.Header
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := r.In.Header[name]; ok {
			h[name] = v // taken off by the reverse proxy; edge has seen to them
		}
	}
	if rw := x.route.Rewrite; rw != nil && (rw.URI != "" || rw.Regex != "") {
		h["X-Envoy-Original-Path"] = []string{x.decision.Original}
	}
	if x.rewritesHost() {
		h["X-Envoy-Original-Host"] = []string{r.In.Host}
	}
	r.Out.URL = upstreamURL(x.decision.Path)
	r.Out.Host = x.decision.AuthorityFor(x.to.Destination)
	for _, e := range x.to.request {
		e.Apply(h)
	}
	if t := x.expected(); t > 0 {
		h["X-Envoy-Expected-Rq-Timeout-Ms"] = []string{strconv.FormatInt(t.Milliseconds(), 10)}
	}
	hideIdempotencyKeys(h)
}

// rewritesHost tells whether Envoy's route has a host rewrite: the route's own, or that of a single destination.
// Beside others a destination has its authority set without a trace.
func (x *exchange) rewritesHost() bool {
	return x.route.Rewrite != nil && x.route.Rewrite.Authority != "" || len(x.route.Destinations) == 1 && x.to.Authority != ""
}

// hideIdempotencyKeys writes two names in small letters, as Envoy writes all: the transport, which looks for the
// canonical ones, would send such a request again by itself.
func hideIdempotencyKeys(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = v
		}
	}
}

// expected is how long the upstream may take, by x-envoy-expected-rq-timeout-ms: the time for a try where the route
// has one, else for all of them (FilterUtility::setTimeoutHeaders); 0: for ever.
func (x *exchange) expected() time.Duration {
	if t := x.route.Retries.PerTryTimeout; t > 0 {
		return t
	}
	return x.route.Timeout
}

// upstreamURL keeps the bytes of the path and the query. A path that starts with two slashes cannot be opaque to
// package url, and is parsed.
func upstreamURL(path string) *url.URL {
	u := &url.URL{Opaque: path}
	if strings.HasPrefix(path, "//") {
		if parsed, err := url.ParseRequestURI(path); err == nil {
			u = parsed
		}
	}
	u.Scheme = "http"
	return u
}

// copyTo is a copy of the request for an endpoint. The header is shared. The transport must not send the copy again by
// itself, as it does with what it takes for idempotent where a connection was used before and ends without an answer:
// Envoy counts that as one try, and retries are the route's. It lets those alone that have a body, so all but writes
// have one, empty and unframed; of writes it goes by the idempotency keys.
func (x *exchange) copyTo(ctx context.Context, r *http.Request, addr string, body []byte) *http.Request {
	c := r.WithContext(ctx)
	u := *r.URL
	u.Host = addr
	c.URL = &u
	switch {
	case c.ContentLength != 0:
		c.Body = io.NopCloser(bytes.NewReader(body))
	case isWrite(c.Method):
		c.Body = http.NoBody // for most with a Content-Length of 0
	default:
		c.Body, c.TransferEncoding = io.NopCloser(bytes.NewReader(nil)), []string{"identity"}
	}
	return c
}

// RoundTrip sends the request, again where the route's policy asks for it, and starts the mirrors as soon as the first
// try is on its connection, or cannot be. An error means that the client or the gateway has ended.
func (x *exchange) RoundTrip(out *http.Request) (*http.Response, error) {
	x.out = out
	up := x.to.upstream
	if len(up.endpoints) == 0 { // Envoy sends no mirrors then
		up.noneHealthy.Add(1)
		return x.local(http.StatusServiceUnavailable, "no healthy upstream"), nil
	}
	defer x.startMirrors()
	if x.wrong.losePrimary.strikes(x.draws) {
		up.total.Add(1)
		return x.local(http.StatusOK, ""), nil
	}
	if len(x.mirrored) > 0 && x.wrong.slowPrimary > 0 {
		x.startMirrors()
		x.wrong.slowHits.Add(1)
		if !pause.For(out.Context(), x.wrong.slowPrimary) {
			return nil, out.Context().Err()
		}
	}
	ctx, cancel := within(out.Context(), x.route.Timeout, errTimeout)
	res, err := x.tries(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = closeWith(res.Body, cancel)
	return res, nil
}

// within ends a context with a cause after d; a d of 0 is for ever.
func within(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, cause)
}

// closeWith calls a function when a body is closed. Upgraded connections stay what they are.
func closeWith(body io.ReadCloser, f func()) io.ReadCloser {
	if _, upgraded := body.(io.Writer); upgraded {
		return body
	}
	return &closing{body, f}
}

type closing struct {
	io.ReadCloser
	then func()
}

func (c *closing) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}

// tries sends the request until an answer need not, or may not, be retried.
func (x *exchange) tries(ctx context.Context) (*http.Response, error) {
	up, policy := x.to.upstream, &x.route.Retries
	for retries := 0; ; retries++ {
		res, why := x.try(ctx)
		if why == cancelled {
			return nil, context.Canceled
		}
		wanted := why != timedOut && wantsRetry(policy, res, why)
		switch {
		case !wanted && retries > 0 && why != timedOut:
			up.retrySuccess.Add(1) // Envoy's name for: a retry's answer is the last
		case wanted && retries >= policy.Attempts:
			up.retryLimit.Add(1)
		}
		if !wanted || retries >= policy.Attempts {
			return x.final(res, why), nil
		}
		up.retry.Add(1)
		if res != nil {
			up.retried[res.StatusCode].Add(1)
			discard(res)
		}
		if !pause.For(ctx, x.backoff(retries)) {
			if why = failureOf(ctx); why == cancelled {
				return nil, context.Canceled
			}
			return x.final(nil, why), nil
		}
	}
}

// try sends the request once.
func (x *exchange) try(ctx context.Context) (*http.Response, failure) {
	up := x.to.upstream
	addr := up.pick(x.tried)
	x.tried = append(x.tried, addr)
	ctx, cancel := within(ctx, x.route.Retries.PerTryTimeout, errPerTryTimeout)
	var wrote func()
	if len(x.mirrored) > 0 {
		wrote = x.startMirrors
	}
	up.pending.Add(1)
	res, why := up.send(x.transport, x.copyTo(ctx, x.out, addr, x.body), wrote)
	if why != answered {
		cancel()
		return nil, why
	}
	res.Body = closeWith(res.Body, cancel)
	return res, answered
}

// final charges the answer that the client gets, the upstream's or the gateway's own.
func (x *exchange) final(res *http.Response, why failure) *http.Response {
	if res == nil {
		return x.local(why.status(), why.text())
	}
	x.to.upstream.charge(res.StatusCode, false)
	return res
}

// local is an answer of the gateway's own in the upstream's place. It counts as the cluster's.
func (x *exchange) local(status int, text string) *http.Response {
	x.to.upstream.charge(status, false)
	h := http.Header{"Content-Length": {strconv.Itoa(len(text))}}
	if text != "" {
		h.Set("Content-Type", "text/plain")
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: x.out,
	}
}

// backoff is Envoy's: a random share of base · (2^n − 1) before the n-th retry, 10 bases at most, the base 25 ms
// where the route names none (docs/root/configuration/http/http_filters/router_filter.rst).
func (x *exchange) backoff(retries int) time.Duration {
	base := x.route.Retries.Backoff
	if base <= 0 {
		base = 25 * time.Millisecond
	}
	most := base * time.Duration(min(10, 1<<min(retries+1, 10)-1))
	return time.Duration(x.draws.Unit(drawBackoff+uint64(retries)) * float64(most))
}

// discard reads an answer away, so that its connection can be used again.
func discard(res *http.Response) {
	io.Copy(io.Discard, res.Body) // where it fails the connection goes, no more
	res.Body.Close()
}

// wantsRetry tells whether a policy asks for another try, by Envoy's conditions (source/common/router/
// retry_state_impl.cc). Nothing is refused and no header is retriable here.
func wantsRetry(p *route.Retries, res *http.Response, why failure) bool {
	if p.Attempts == 0 {
		return false
	}
	return slices.ContainsFunc(p.On, func(condition string) bool {
		if res == nil {
			return retriesFailure(condition, why)
		}
		return retriesAnswer(condition, res, p.Statuses)
	})
}

// retriesFailure: Envoy counts an upstream that gave no answer as a 5xx, since it will result in one.
func retriesFailure(condition string, why failure) bool {
	switch condition {
	case "5xx", "gateway-error", "reset":
		return true
	case "connect-failure", "reset-before-request":
		return why == connectFailure
	}
	return false
}

func retriesAnswer(condition string, res *http.Response, statuses []int) bool {
	status := res.StatusCode
	switch condition {
	case "5xx":
		return status >= 500
	case "gateway-error":
		return status >= 502 && status <= 504
	case "retriable-4xx":
		return status == http.StatusConflict
	case "retriable-status-codes":
		return slices.Contains(statuses, status)
	}
	code, known := grpcCodes[condition]
	return known && res.Header.Get("Grpc-Status") == code
}

// grpcCodes are the conditions on an answer's grpc-status.
var grpcCodes = map[string]string{"cancelled": "1", "deadline-exceeded": "4", "resource-exhausted": "8", "internal": "13", "unavailable": "14"}
