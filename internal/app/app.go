// Package app is the app that umbra mirrors traffic between: one program that plays any version of a service, with a
// latency, an error rate and a response size of its own, and that keeps a receipt of every request that reached it.
// Equal requests get equal answers from every version, so that a difference is the mirror's doing.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an app is asked to be.
type Config struct {
	Version     string
	Pod         string // the replica's name
	Listen      string // address of the app itself: HTTP/1.1 and HTTP/2 without TLS; ":0" takes any port
	Admin       string // address of receipts, metrics and health
	Behaviour   Behaviour
	Seed        uint64                           // of latencies and errors
	Mode        string                           // a Mode; empty: healthy
	SlowBy      time.Duration                    // what ModeSlow adds; 0: 1 s
	SpillDir    string                           // where receipts spill to a file, which is removed while it is open where the system can; empty: os.TempDir
	MaxReceipts int                              // finished receipts in memory, 2 at least; 0: 8192
	Log         func(format string, args ...any) // the servers' own errors; nil drops them
}

// The modes: how an app is wrong.
const (
	ModeSlow   = "slow"   // every answer takes SlowBy longer
	ModeHung   = "hung"   // requests are read and never answered
	ModeErrors = "errors" // every answer is a 503
	ModeDead   = "dead"   // connections are refused; only Admin is served
)

// VersionHeader is the response header that names the version that answered. Bodies do not name it.
const VersionHeader = "X-App-Version"

// Check tells everything that is wrong with a Config.
func (c Config) Check() error {
	faults := []error{c.Behaviour.Check()}
	switch c.Mode {
	case "", ModeSlow, ModeHung, ModeErrors, ModeDead:
	default:
		faults = append(faults, fmt.Errorf("mode: %q is unknown; use %s, %s, %s or %s", c.Mode, ModeSlow, ModeHung, ModeErrors, ModeDead))
	}
	if c.SlowBy < 0 {
		faults = append(faults, fmt.Errorf("slow by: %v is negative", c.SlowBy))
	}
	if c.MaxReceipts < 0 {
		faults = append(faults, fmt.Errorf("receipts in memory: %d is negative", c.MaxReceipts))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("app %s: %w", c.Version, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.SlowBy == 0 {
		c.SlowBy = time.Second
	}
	if c.MaxReceipts == 0 {
		c.MaxReceipts = 8192
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	return c
}

// App is a running app. Its methods may be called concurrently.
type App struct {
	config   Config
	ledger   *ledger
	metrics  metrics
	unnamed  atomic.Uint64 // requests without an id so far
	draining atomic.Bool

	ctx    context.Context // ends what a request waits for
	cancel context.CancelFunc
	life   sync.RWMutex // held for reading by every request; Close takes it once all have ended
	ended  bool         // guarded by life

	addr, adminAddr string
	main, admin     *http.Server
	serving         sync.WaitGroup
	failed          atomic.Pointer[error] // why a server stopped by itself

	closing sync.Once
	closed  error
}

// Start listens and serves until Close. The context bounds the start only.
func Start(ctx context.Context, config Config) (*App, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	a := &App{config: config.withDefaults()}
	listeners, err := listen(ctx, config.Listen, config.Admin)
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", config.Version, err)
	}
	if a.ledger, err = newLedger(config.SpillDir, a.config.MaxReceipts); err != nil {
		return nil, errors.Join(fmt.Errorf("app %s: %w", config.Version, err), listeners[0].Close(), listeners[1].Close())
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.addr, a.adminAddr = listeners[0].Addr().String(), listeners[1].Addr().String()
	a.main, a.admin = a.server(http.HandlerFunc(a.route)), a.server(a.adminHandler())
	a.serve(a.admin, listeners[1])
	if config.Mode == ModeDead {
		if err := listeners[0].Close(); err != nil {
			return nil, errors.Join(err, a.Close(ctx))
		}
		return a, nil
	}
	a.serve(a.main, listeners[0])
	return a, nil
}

// listen opens all addresses or none.
func listen(ctx context.Context, addresses ...string) (all []net.Listener, err error) {
	for _, address := range addresses {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			err = fmt.Errorf("cannot listen on %s: %w", address, err)
			for _, open := range all {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func (a *App) server(h http.Handler) *http.Server {
	s := &http.Server{ // without time-outs: a client ends its idle connections, so that none is cut as it is used again
		Handler:     h,
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return a.ctx },
		ErrorLog:    log.New(lines(a.config.Log), "", 0),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// lines is an io.Writer for a function that takes a line.
type lines func(format string, args ...any)

func (f lines) Write(p []byte) (int, error) {
	f("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// serve runs a server in a goroutine that Close waits for.
func (a *App) serve(s *http.Server, l net.Listener) {
	a.serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed.Store(&err)
		}
	})
}

// Addr is the host:port of the app; nobody listens there in ModeDead.
func (a *App) Addr() string { return a.addr }

// AdminAddr is the host:port of receipts, metrics and health.
func (a *App) AdminAddr() string { return a.adminAddr }

// Close drains: health turns 503, no more connections are taken, and what is in flight may finish until ctx ends; the
// error tells where that was too early. Receipts can be fetched until then. Hung requests are cut off at once. Then
// all that Start began ends, and the spilled receipts are removed. Closing again gives the same error.
func (a *App) Close(ctx context.Context) error {
	a.closing.Do(func() { a.closed = a.close(ctx) })
	return a.closed
}

func (a *App) close(ctx context.Context) error {
	a.draining.Store(true)
	if a.config.Mode == ModeHung {
		a.cancel()
	}
	var faults []error
	if err := a.main.Shutdown(ctx); err != nil {
		faults = append(faults, fmt.Errorf("app %s: requests in flight were cut off: %w", a.config.Version, err))
	}
	a.cancel()
	faults = append(faults, a.main.Close())
	a.life.Lock() // every request has ended: its context has, and so has its connection
	a.ended = true
	a.life.Unlock()
	faults = append(faults, a.admin.Close())
	a.serving.Wait()
	if err := a.failed.Load(); err != nil {
		faults = append(faults, fmt.Errorf("app %s: %w", a.config.Version, *err))
	}
	return errors.Join(append(faults, a.ledger.close())...)
}

// adminHandler serves what the app says of itself.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", a.health)
	mux.HandleFunc("GET /receipts", a.receipts)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		a.metrics.write(w, a.config.Version, a.ledger.inMemory()) // fails only where the scraper has gone
	})
	return mux
}

// receipts answers with every receipt so far. A stream that cannot be finished is cut, so that it cannot pass for a
// whole one.
func (a *App) receipts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.apache.arrow.stream")
	out := &counted{w: w}
	if err := a.ledger.fetch(out); err != nil {
		if out.n == 0 {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		a.config.Log("%v", err)
		panic(http.ErrAbortHandler)
	}
}

type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}

func (a *App) health(w http.ResponseWriter, _ *http.Request) {
	status, text := http.StatusOK, "ok"
	if a.draining.Load() {
		status, text = http.StatusServiceUnavailable, "draining"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text) // fails only where the client has gone
}

// route tells health checks, which leave no receipt, from requests, which do.
func (a *App) route(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health", "/healthz", "/ready":
		a.health(w, r)
		return
	}
	a.life.RLock()
	defer a.life.RUnlock()
	if a.ended {
		panic(http.ErrAbortHandler)
	}
	a.handle(w, r)
}
