// Package app is the app that umbra mirrors traffic between: one program that plays any version of a service, with a
// latency, an error rate and a response size of its own, and that keeps a receipt of every request that reached it.
// Equal requests get equal answers from every version, unless its behaviour says otherwise, so that a difference is the
// mirror's doing, or was asked for.
package app

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"umbra/internal/traffic"
)

// Config is what an app is asked to be.
type Config struct {
	Version   string
	Pod       string // the replica's name
	Listen    string // address of the app itself: HTTP/1.1 and HTTP/2 without TLS; ":0" takes any port
	Admin     string // address of receipts, settings, status, metrics and health
	Behaviour Behaviour
	Seed      uint64        // of latencies, errors and answers that differ
	Mode      string        // a Mode; empty: healthy
	SlowBy    time.Duration // what ModeSlow adds; 0: 1 s
	Ignore    []string      // see Settings
	SpillDir  string        // where receipts spill to a file, which is removed while it is open where the system can; empty: os.TempDir
	// ReceiptsDir is where receipts and settings outlive the process, in files that Close leaves; it is made where it is not
	// there, and one process at a time may use it. The files of earlier processes are found, and settings that were changed
	// at run time prevail over those here. Empty: nothing stays.
	ReceiptsDir   string
	MaxReceipts   int                              // finished receipts in memory, 2 at least; 0: 8192
	ShutdownDelay time.Duration                    // how long Close goes on taking requests, as who routes to the app learns late that it ends
	Linger        time.Duration                    // how long Close waits, once all requests have ended, for receipts to be fetched
	Log           func(format string, args ...any) // the servers' own errors; nil drops them
}

// settings are what of a Config can be changed at run time.
func (c *Config) settings() Settings {
	return Settings{Behaviour: c.Behaviour, Seed: c.Seed, Mode: c.Mode, SlowBy: c.SlowBy, Ignore: c.Ignore}
}

// The modes: how an app is wrong.
const (
	ModeSlow   = "slow"   // every answer takes SlowBy longer
	ModeHung   = "hung"   // requests are never answered, and bodies of more than unreadFrom bytes never read
	ModeErrors = "errors" // every answer is a 503
	ModeDead   = "dead"   // connections are refused; only Admin is served
)

// VersionHeader is the response header that names the version that answered. Bodies do not name it, but for those that
// Behaviour.Differ asks for.
const VersionHeader = "X-App-Version"

// Check tells everything that is wrong with a Config.
func (c Config) Check() error {
	faults := []error{c.settings().Check()}
	if c.ShutdownDelay < 0 {
		faults = append(faults, fmt.Errorf("shutdown delay: %v is negative", c.ShutdownDelay))
	}
	if c.Linger < 0 {
		faults = append(faults, fmt.Errorf("linger: %v is negative", c.Linger))
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
	started  time.Time

	now      atomic.Pointer[setting] // replaced by Configure
	changing sync.Mutex              // held by Configure, and by Close while it stops the main server
	main     *http.Server            // guarded by changing; nil in ModeDead

	drained   chan struct{} // closed when every request has ended
	fetched   sync.Once     // closes collected
	collected chan struct{} // closed when receipts were fetched after that

	ctx    context.Context // ends what a request waits for
	cancel context.CancelFunc
	life   sync.RWMutex // held for reading by every request; Close takes it once all have ended
	ended  bool         // guarded by life

	addr, adminAddr string
	admin           *http.Server
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
	a := &App{config: config.withDefaults(), started: time.Now(), drained: make(chan struct{}), collected: make(chan struct{})}
	settings, err := a.firstSettings()
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", config.Version, err)
	}
	listeners, err := listen(ctx, config.Listen, config.Admin)
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", config.Version, err)
	}
	if a.ledger, err = a.openLedger(); err != nil {
		return nil, errors.Join(fmt.Errorf("app %s: %w", config.Version, err), listeners[0].Close(), listeners[1].Close())
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.addr, a.adminAddr = listeners[0].Addr().String(), listeners[1].Addr().String()
	a.now.Store(newSetting(settings, nil))
	a.admin = a.server(context.Background(), a.adminHandler())
	a.serve(a.admin, listeners[1])
	if settings.Mode == ModeDead {
		if err := listeners[0].Close(); err != nil {
			return nil, errors.Join(err, a.Close(ctx))
		}
		return a, nil
	}
	a.serveMain(listeners[0])
	return a, nil
}

func (a *App) openLedger() (*ledger, error) {
	if a.config.ReceiptsDir != "" {
		return newKeptLedger(a.config.ReceiptsDir, a.config.MaxReceipts)
	}
	return newLedger(a.config.SpillDir, a.config.MaxReceipts)
}

// serveMain takes requests from l on.
func (a *App) serveMain(l net.Listener) {
	a.main = a.server(a.ctx, http.HandlerFunc(a.route))
	a.serve(a.main, l)
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

// server serves requests that end with their connection, or with ctx.
func (a *App) server(ctx context.Context, h http.Handler) *http.Server {
	s := &http.Server{ // without time-outs: a client ends its idle connections, so that none is cut as it is used again
		Handler:     h,
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
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

// Addr is the host:port of the app, the same for its whole life; nobody listens there in ModeDead.
func (a *App) Addr() string { return a.addr }

// AdminAddr is the host:port of receipts, settings, status, metrics and health.
func (a *App) AdminAddr() string { return a.adminAddr }

// Close drains: health turns 503, no more connections are taken, and what is in flight may finish until ctx ends; the
// error tells where that was too early. Hung requests are cut off at once. Receipts can be fetched until then, and for at
// most Config.Linger more, unless they were fetched sooner. Then all that Start began ends, and the spilled receipts are
// removed where no ReceiptsDir keeps them. Closing again gives the same error.
func (a *App) Close(ctx context.Context) error {
	a.closing.Do(func() { a.closed = a.close(ctx) })
	return a.closed
}

func (a *App) close(ctx context.Context) error {
	a.draining.Store(true)
	a.delay(ctx)
	faults := []error{a.stopMain(ctx)}
	a.life.Lock() // every request has ended: its context has, and so has its connection
	a.ended = true
	a.life.Unlock()
	a.linger()
	faults = append(faults, a.admin.Close())
	a.serving.Wait()
	if err := a.failed.Load(); err != nil {
		faults = append(faults, fmt.Errorf("app %s: %w", a.config.Version, *err))
	}
	return errors.Join(append(faults, a.ledger.close())...)
}

// delay waits while the app still takes requests. One that hangs would gain nothing by it.
func (a *App) delay(ctx context.Context) {
	if a.config.ShutdownDelay == 0 || a.now.Load().Mode == ModeHung {
		return
	}
	timer := time.NewTimer(a.config.ShutdownDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stopMain lets what is in flight finish until ctx ends, and cuts the rest off.
func (a *App) stopMain(ctx context.Context) error {
	a.changing.Lock() // who configures the app later finds it draining
	defer a.changing.Unlock()
	defer a.cancel()
	if a.now.Load().Mode == ModeHung {
		a.cancel()
	}
	if a.main == nil {
		return nil
	}
	err := a.main.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("app %s: requests in flight were cut off: %w", a.config.Version, err)
	}
	a.cancel()
	return errors.Join(err, a.main.Close())
}

// linger waits until somebody has fetched the receipts, now that they are whole.
func (a *App) linger() {
	ctx, cancel := context.WithTimeout(context.Background(), a.config.Linger)
	defer cancel()
	close(a.drained)
	select {
	case <-a.collected:
		a.admin.Shutdown(ctx) // the answer's last bytes go out; where they do not in time, Close follows
	case <-ctx.Done():
	}
}

// isProbe tells a health check: by its path, or, as manifests may name any path, by its client, Kubernetes' kubelet
// (k8s.io/kubernetes/pkg/probe/http: "kube-probe/MAJOR.MINOR"), or a sidecar in its place. One that carries an id is the run's.
func isProbe(r *http.Request) bool {
	switch r.URL.Path {
	case "/health", "/healthz", "/ready":
		return true
	}
	return strings.HasPrefix(r.UserAgent(), "kube-probe/") && r.Header.Get(traffic.IDHeader) == ""
}

// route tells health checks, which leave no receipt, from requests, which do.
func (a *App) route(w http.ResponseWriter, r *http.Request) {
	if isProbe(r) {
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
