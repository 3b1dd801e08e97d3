// Package cluster has what satisfies scenarios.Mesh: meshes in which a run's traffic is mirrored.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"umbra/internal/app"
	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// Embedded is a mesh in this process, on loopback: a gateway that obeys the manifests, and a replica of umbra's own app
// for each pod of the workloads. It knows no connection pools, no outlier detection and no mutual TLS.
type Embedded struct {
	Log func(format string, args ...any) // progress and the servers' own errors; nil drops them
}

// closeWithin bounds each step of Close.
const closeWithin = 15 * time.Second

// Up starts the apps and the gateway, which serve when it returns. The context bounds the start only. The mesh that
// it gives tells how often each fault asked for has acted.
func (e Embedded) Up(ctx context.Context, spec mesh.Spec) (mesh.Running, error) {
	plan, err := newPlan(spec)
	if err != nil {
		return nil, err
	}
	m := &embedded{plan: plan, log: e.Log}
	if m.log == nil {
		m.log = func(string, ...any) {}
	}
	if err := m.start(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// embedded is a running mesh. Its methods may be called concurrently.
type embedded struct {
	plan *plan
	log  func(format string, args ...any)

	pods      []*pod
	gateway   *gateway
	transport *http.Transport // from the gateway to the pods
	server    *http.Server
	address   string
	cancel    context.CancelFunc // of the gateway's context
	serving   sync.WaitGroup
	failed    error // why the server stopped by itself; set before serving is done

	changing sync.Mutex // held by Reroute and Conduct
	closing  sync.Once
	closed   error
}

// pod is a replica that runs.
type pod struct {
	*planned
	app *app.App
}

func (m *embedded) start(ctx context.Context) error {
	for i := range m.plan.pods {
		if err := m.startPod(ctx, &m.plan.pods[i]); err != nil {
			return err
		}
	}
	m.buildGateway()
	return m.serve(ctx)
}

func (m *embedded) startPod(ctx context.Context, p *planned) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	settings := m.plan.conduct.settings(&m.plan.spec, p.workload)
	a, err := app.Start(ctx, app.Config{
		Version: p.workload.Version, Pod: p.name, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
		Behaviour: settings.Behaviour, Ignore: settings.Ignore, Seed: settings.Seed, Mode: settings.Mode, Log: m.log,
	})
	if err != nil {
		return fmt.Errorf("pod %s: %w", p.name, err)
	}
	m.pods = append(m.pods, &pod{p, a})
	return nil
}

func (m *embedded) buildGateway() {
	m.transport = &http.Transport{ // idle connections stay, here and in the apps: none is cut as it is used again
		MaxIdleConnsPerHost: 4096, // a connection for every request at once, as Envoy's default circuit breakers allow
		DisableCompression:  true,
		Protocols:           new(http.Protocols),
	}
	m.transport.Protocols.SetHTTP1(true)
	spec := &m.plan.spec
	m.gateway = &gateway{
		port: spec.Port, scheme: m.plan.scheme, ip: "127.0.0.1", seed: spec.Seed, upstreams: map[string]*upstream{},
		wrong: newMisbehaviour(spec.Faults), transport: m.transport, errors: log.New(lines(m.log), "", 0),
	}
	for _, c := range m.plan.clusters {
		m.gateway.upstreams[c.Name] = m.upstream(c)
	}
	m.misbehave(&m.plan.conduct)
	m.gateway.obey(spec.Table)
	m.gateway.writesTo = m.gateway.upstreams[m.plan.writesTo]
	m.gateway.ctx, m.cancel = context.WithCancel(context.Background())
}

// upstream gives a cluster its endpoints.
func (m *embedded) upstream(c *route.Cluster) *upstream {
	u := &upstream{}
	for _, p := range m.pods {
		if c.Selects(*p.workload) {
			u.endpoints = append(u.endpoints, endpoint{p.name, p.app.Addr()})
		}
	}
	return u
}

func (m *embedded) serve(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the gateway cannot listen: %w", err)
	}
	m.address = l.Addr().String()
	m.server = &http.Server{
		Handler:     m.gateway,
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return m.gateway.ctx },
		ErrorLog:    m.gateway.errors,

		DisableGeneralOptionsHandler: true, // OPTIONS * is the gateway's to answer
	}
	m.server.Protocols.SetHTTP1(true)
	m.server.Protocols.SetUnencryptedHTTP2(true)
	m.serving.Go(func() {
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.failed = fmt.Errorf("the gateway stopped: %w", err)
		}
	})
	m.log("embedded mesh: gateway on %s in the place of port %d, %d pods", m.address, m.plan.spec.Port, len(m.pods))
	return nil
}

// lines is an io.Writer for a function that takes a line.
type lines func(format string, args ...any)

func (f lines) Write(p []byte) (int, error) {
	f("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// Address is the gateway's host:port.
func (m *embedded) Address() string { return m.address }

// State gives the routes as programmed (mirrors of 0 per million are no policies, as with Istio), the pods of each
// cluster that has a configuration, and the counters. It never fails.
func (m *embedded) State(context.Context) (*mesh.State, error) {
	s := &mesh.State{Endpoints: map[string][]string{}, Counters: m.counters()}
	for _, r := range m.gateway.obeys.Load().table.Routes() {
		s.Routes = append(s.Routes, mesh.Route{Name: r.Name, Mirrors: mesh.Programmed(r)})
	}
	for name, u := range m.gateway.upstreams {
		pods := []string{}
		for _, e := range u.endpoints {
			pods = append(pods, e.pod)
		}
		slices.Sort(pods)
		s.Endpoints[name] = pods
	}
	return s, nil
}

// Reroute has the gateway obey other routes at once.
func (m *embedded) Reroute(ctx context.Context, to *route.Manifests, t *route.Table) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkReroute(&m.plan.spec, to, t); err != nil {
		return err
	}
	m.gateway.obey(t)
	return nil
}

// Conduct tells every pod, one after the other.
func (m *embedded) Conduct(ctx context.Context, asked mesh.Conduct) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := newConduct(m.gateway.obeys.Load().table, m.plan.spec.Workloads, asked)
	if err != nil {
		return err
	}
	m.misbehave(&c)
	for _, p := range m.pods {
		if err := p.app.Configure(c.settings(&m.plan.spec, p.workload)); err != nil {
			return fmt.Errorf("pod %s: %w", p.name, err)
		}
	}
	return nil
}

// misbehave tells the upstreams whether their pods are to misbehave.
func (m *embedded) misbehave(c *conduct) {
	for _, cluster := range m.plan.clusters {
		wrong := func(p *pod) bool { return cluster.Selects(*p.workload) && c.modeFor(p.workload) != "" }
		m.gateway.upstreams[cluster.Name].misbehaves.Store(slices.ContainsFunc(m.pods, wrong))
	}
}

// Counters never fails.
func (m *embedded) Counters(context.Context) (map[string]uint64, error) { return m.counters(), nil }

func (m *embedded) counters() map[string]uint64 {
	counters := map[string]uint64{}
	for name, u := range m.gateway.upstreams {
		u.write("cluster."+name+".", counters)
	}
	return counters
}

// Tell says how often each fault acted.
func (m *embedded) Tell(r *evidence.Record) { r.FaultHits = m.FaultHits() }

// FaultHits counts how often each fault that was asked for has acted, by its name; a fault that never acted has 0.
func (m *embedded) FaultHits() map[string]int {
	hits := map[string]int{}
	for name, n := range m.gateway.wrong.hits {
		hits[name] = int(n.Load())
	}
	return hits
}

// Receipts fetches from each pod's admin port, in the order of the pods' names.
func (m *embedded) Receipts(ctx context.Context, f func(version, pod string, stream io.Reader) error) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, p := range m.pods {
		if err := p.receipts(ctx, client, f); err != nil {
			return fmt.Errorf("receipts of pod %s: %w", p.name, err)
		}
	}
	return nil
}

func (p *pod) receipts(ctx context.Context, client *http.Client, f func(version, pod string, stream io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.app.AdminAddr()+"/receipts", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what there is of a reason
		return fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(text)))
	}
	return f(p.workload.Version, p.name, res.Body)
}

// Close cuts off whatever is in flight, mirrored requests too, and ends all that Up started.
func (m *embedded) Close() error {
	m.closing.Do(func() { m.closed = m.close() })
	return m.closed
}

func (m *embedded) close() error {
	var faults []error
	if m.gateway != nil {
		faults = append(faults, m.closeGateway())
	}
	return errors.Join(append(faults, m.closePods())...)
}

func (m *embedded) closeGateway() error {
	m.cancel()
	var err error
	if m.server != nil {
		err = m.server.Close()
	}
	ended := make(chan struct{})
	go func() { // ends with the requests, whose contexts and connections have ended
		m.gateway.close()
		m.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		err = errors.Join(err, m.failed)
	case <-time.After(closeWithin):
		err = errors.Join(err, fmt.Errorf("the gateway did not end within %v", closeWithin))
	}
	m.transport.CloseIdleConnections()
	return err
}

// closePods closes all pods at the same time. Nobody sends to them any more.
func (m *embedded) closePods() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	faults := make([]error, len(m.pods))
	var group sync.WaitGroup
	for i, p := range m.pods {
		group.Go(func() { faults[i] = p.app.Close(ctx) })
	}
	group.Wait()
	return errors.Join(faults...)
}

// plan is what a Spec comes to, before anything is started.
type plan struct {
	spec     mesh.Spec
	scheme   string
	clusters []*route.Cluster // those that have a configuration
	pods     []planned        // by name
	conduct  conduct          // at the start
	writesTo string           // the cluster that the fault mirror-writes uses
}

// planned is a pod that is to run.
type planned struct {
	name     string
	workload *route.Workload
}

// newPlan checks everything at once.
func newPlan(spec mesh.Spec) (*plan, error) {
	p := &plan{spec: spec}
	for _, c := range spec.Table.Clusters() {
		if c.Missing == "" {
			p.clusters = append(p.clusters, c)
		}
	}
	p.planPods()
	faults := []error{p.findServer(), checkFaults(spec.Faults), p.findShadow(), p.findWritesTo()}
	for _, version := range slices.Sorted(maps.Keys(spec.App)) {
		if err := spec.App[version].Check(); err != nil {
			faults = append(faults, fmt.Errorf("app %s: %w", version, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("embedded mesh: %w", err)
	}
	return p, nil
}

func (p *plan) planPods() {
	for i := range p.spec.Workloads {
		w := &p.spec.Workloads[i]
		for n := range w.Replicas {
			p.pods = append(p.pods, planned{name: fmt.Sprintf("%s-%d", w.Name, n), workload: w})
		}
	}
	slices.SortStableFunc(p.pods, func(a, b planned) int { return strings.Compare(a.name, b.name) })
}

// findShadow finds the pods of the fault shadow.
func (p *plan) findShadow() (err error) {
	p.conduct, err = newConduct(p.spec.Table, p.spec.Workloads, mesh.Conduct{Shadow: p.spec.Faults.Shadow})
	if err != nil {
		err = fmt.Errorf("fault %w", err)
	}
	return err
}

// findWritesTo finds a cluster for the fault mirror-writes: the first that a route mirrors to.
func (p *plan) findWritesTo() error {
	if p.spec.Faults.MirrorWrites <= 0 {
		return nil
	}
	_, mirrors := roles(p.spec.Table)
	if len(mirrors) == 0 {
		return errors.New("fault mirror-writes: no route mirrors, so there is no shadow to send writes to; add a mirror or leave the fault out")
	}
	p.writesTo = mirrors[0].Name
	return nil
}

// findServer checks that a Gateway serves the port, and takes the requests' scheme from it. The sockets here have no
// TLS even where the Gateway's server has.
func (p *plan) findServer() error {
	var others []string
	for _, s := range p.spec.Table.Servers() {
		if s.Port != p.spec.Port {
			others = append(others, fmt.Sprintf("%d (%s %s)", s.Port, s.Gateway, s.Protocol))
			continue
		}
		if p.scheme = "http"; s.TLS {
			p.scheme = "https"
		}
		return nil
	}
	if len(others) == 0 {
		return errors.New("no Gateway in the manifests has an HTTP server for the ingress gateway: write one, with selector istio: ingressgateway, and name it in the VirtualService's gateways")
	}
	return fmt.Errorf("no Gateway in the manifests has an HTTP server at port %d: use one of %s, or add a server", p.spec.Port, strings.Join(slices.Compact(others), ", "))
}
