package cluster

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"umbra/internal/app"
	"umbra/internal/pause"
	"umbra/internal/route"
	"umbra/internal/traffic"
)

// gateway is the HTTP handler in the place of Istio's ingress gateway. Which route a request takes is
// internal/route's to say, and the proxying is the standard library's; what lies between is here: the choice of a
// cluster and an endpoint, time-outs, retries, mirrors and counters, as Envoy has them.
//
// A request is read to its end before it is sent on, so that it can be sent more than once. Envoy streams; the
// backpressure of a stalled shadow on an upload is not to be seen here.
type gateway struct {
	obeys     atomic.Pointer[programming]
	port      uint32
	scheme    string // of the requests, as the Gateway server has it; the sockets are without TLS always
	ip        string // the gateway's own, in x-forwarded-for of mirrored requests
	seed      uint64
	upstreams map[string]*upstream // by the cluster's name, without those that have no configuration; never changes
	wrong     *misbehaviour
	writesTo  *upstream // of the fault mirror-writes
	transport http.RoundTripper
	errors    *log.Logger
	buffers   bufferPool
	unnamed   atomic.Uint64 // requests without an id so far

	ctx     context.Context // of the mirrored requests; it ends with the gateway
	mirrors sync.WaitGroup  // mirrored requests on their way
	life    sync.RWMutex    // held for reading by every request
	ended   bool            // guarded by life
}

// programming is what the gateway obeys: a request goes by what there is as it comes. It never changes.
type programming struct {
	table  *route.Table
	routes map[string]*programmed // by the route's name
}

// obey has requests that come from now on go by a table, which leads to no clusters but the gateway's.
func (g *gateway) obey(t *route.Table) {
	p := &programming{t, map[string]*programmed{}}
	for _, r := range t.Routes() {
		p.routes[r.Name] = g.program(r)
	}
	g.obeys.Store(p)
}

// programmed is a route with what the gateway keeps ready for it.
type programmed struct {
	destinations []destination
	weights      uint64 // their sum
	mirrors      []mirror
}

type destination struct {
	*route.Destination
	upstream          *upstream // nil where the cluster has no configuration
	request, response []route.HeaderEdit
}

type mirror struct {
	upstream  *upstream
	numerator uint32
}

// program prepares a route. Mirrors whose cluster has no configuration are passed over in silence, as Envoy does.
func (g *gateway) program(r *route.Route) *programmed {
	p := &programmed{}
	for i := range r.Destinations {
		d := &r.Destinations[i]
		request, response := r.Edits(d)
		p.destinations = append(p.destinations, destination{d, g.upstreams[d.Cluster], request, response})
		p.weights += uint64(d.Weight)
	}
	for _, m := range r.Mirrors {
		if u := g.upstreams[m.Cluster]; u != nil {
			p.mirrors = append(p.mirrors, mirror{u, m.Numerator})
		}
	}
	return p
}

// destination draws among the weights; nil where all are 0.
func (p *programmed) destination(d app.Draws) *destination {
	if p.weights == 0 {
		return nil
	}
	at := d.At(drawDestination) % p.weights
	for i := range p.destinations {
		w := uint64(p.destinations[i].Weight)
		if at < w {
			return &p.destinations[i]
		}
		at -= w
	}
	return nil
}

// close waits for every request and every mirrored request. Their contexts have ended before, or they end by
// themselves.
func (g *gateway) close() {
	g.life.Lock()
	g.ended = true
	g.life.Unlock()
	g.mirrors.Wait()
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.ended {
		panic(http.ErrAbortHandler)
	}
	if !r.ProtoAtLeast(1, 1) { // Istio has Envoy refuse it (PILOT_HTTP10 is off)
		answerText(w, http.StatusUpgradeRequired, "Upgrade Required")
		return
	}
	g.edge(r)
	draws := g.draws(r)
	now := g.obeys.Load()
	d := now.table.Match(&route.Request{Port: g.port, Scheme: g.scheme, Method: r.Method, Authority: r.Host, Path: target(r), Header: r.Header})
	if d.Route == nil || d.Route.Kind != route.Forward {
		answerDirectly(w, d)
		return
	}
	p := now.routes[d.Route.Name]
	to := p.destination(draws)
	switch {
	case g.injectFault(w, r, d.Route.Fault, to, draws):
	case to == nil || to.upstream == nil:
		answerInstead(w, to, http.StatusServiceUnavailable, "")
	default:
		g.forward(w, r, d, p, to, draws)
	}
}

// target is the path and query as the client wrote them.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// edge changes the headers of a request from outside as Envoy's connection manager does at the edge.
func (g *gateway) edge(r *http.Request) {
	h := r.Header
	for name := range h {
		if strings.HasPrefix(name, "X-Envoy-") {
			delete(h, name)
		}
	}
	delete(h, "Expect") // answered here
	delete(h, "X-Forwarded-Client-Cert")
	h["X-Request-Id"] = []string{newUUID()}
	h["X-Forwarded-Proto"] = []string{g.scheme}
	appendForwardedFor(h, ipOf(r.RemoteAddr))
}

// newUUID is a random UUID (RFC 9562, 5.4). It identifies; it is no secret.
func newUUID() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func ipOf(address string) string {
	return strings.Trim(address[:max(0, strings.LastIndexByte(address, ':'))], "[]")
}

func appendForwardedFor(h http.Header, ip string) {
	if before := strings.Join(h["X-Forwarded-For"], ","); before != "" {
		ip = before + "," + ip
	}
	h["X-Forwarded-For"] = []string{ip}
}

// draws are the request's own, so that what befalls it depends on no other. A request without an id goes by its
// number among those.
func (g *gateway) draws(r *http.Request) app.Draws {
	if id := r.Header.Get(traffic.IDHeader); id != "" {
		return app.NewDraws(g.seed, "gateway", id)
	}
	return app.NewDraws(g.seed, "gateway", "", strconv.FormatUint(g.unnamed.Add(1), 10))
}

// injectFault delays the request, or answers it and reports true, as the route's fault injection says. Such an answer
// is no cluster's, and is not mirrored (source/extensions/filters/http/fault/fault_filter.cc).
func (g *gateway) injectFault(w http.ResponseWriter, r *http.Request, f *route.Fault, to *destination, d app.Draws) (done bool) {
	if f == nil {
		return false
	}
	if f.Delay > 0 && d.At(drawDelay)%1e6 < uint64(f.DelayNumerator) && !pause.For(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler) // the client has gone
	}
	if f.AbortStatus == 0 || d.At(drawAbort)%1e6 >= uint64(f.AbortNumerator) {
		return false
	}
	answerInstead(w, to, f.AbortStatus, "fault filter abort")
	return true
}

// answerDirectly gives a redirect, a direct response, or the answer to a request that no route has.
func answerDirectly(w http.ResponseWriter, d route.Decision) {
	if d.Location != "" {
		w.Header().Set("Location", d.Location)
	}
	if d.Route != nil {
		d.Route.Headers.Response.Apply(w.Header())
	}
	answerText(w, d.Status, d.Body)
}

// answerInstead gives an answer in the place of a destination, nil where none was drawn, with its response headers.
func answerInstead(w http.ResponseWriter, to *destination, status int, text string) {
	if to != nil {
		to.editResponse(w.Header())
	}
	answerText(w, status, text)
}

// editResponse applies the response header operations of the destination and the route.
func (d *destination) editResponse(h http.Header) {
	for _, e := range d.response {
		e.Apply(h)
	}
}

// answerText gives an answer of the gateway's own. Headers that stand already are kept.
func answerText(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	if text != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain")
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text) // fails only where the client has gone
}

// readBody reads a request's body to its end.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= 1<<20 {
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r.Body)
	return b.Bytes(), err
}

// forward sends the request to a destination of its route, and copies of it to the mirrors.
func (g *gateway) forward(w http.ResponseWriter, r *http.Request, d route.Decision, p *programmed, to *destination, draws app.Draws) {
	body, err := readBody(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the client broke off
	}
	x := &exchange{gateway: g, decision: d, route: d.Route, to: to, draws: draws, body: body}
	if !isUpgrade(r) {
		x.chooseMirrors(p, r.Method)
	}
	proxy := httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x,
		ModifyResponse: func(res *http.Response) error { to.editResponse(res.Header); return nil },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       g.errors,
		BufferPool:     &g.buffers,
	}
	proxy.ServeHTTP(w, r)
}

func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// bufferPool satisfies httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
