package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"umbra/cluster/internal/envoy"
	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/internal/app"
	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// envoyAdmin is the port of Envoy's admin interface in a pod of Istio's.
const envoyAdmin = 15000

var gatewayLabels = map[string]string{"istio": "ingressgateway"}

// onKubernetes is a mesh that serves on a Kubernetes cluster. Its methods may be called concurrently.
type onKubernetes struct {
	spec     mesh.Spec
	client   *kube.Client
	deployed *istio.Deployed
	address  string
	wait     time.Duration // bounds each wait
	restore  bool          // all in the cluster is the user's: no object changes, and the apps are told again at the end what they had been told before
	log      func(format string, args ...any)
	facts    evidence.ClusterFacts
	steps    func() []evidence.Step
	// cpu gives what each container of each pod (namespace/name) has used.
	cpu func(ctx context.Context, pods []corev1.Pod) (map[string]map[string]mesh.CPU, error)

	gateways []*gatewayPod
	pods     *pods
	rerouted atomic.Pointer[route.Table] // what the gateways obey; nil: the Spec's
	changing sync.Mutex                  // held by Reroute and Conduct; guards the next two
	strayed  []route.Object              // that may stand otherwise than in the Spec
	dead     bool                        // pods were told to be dead, and not seen to be reached since
	closing  []func() error              // what else Close ends, the last one first
	once     sync.Once
	closed   error
}

// gatewayPod is a replica of the gateway.
type gatewayPod struct {
	namespace, name string
	forward         *kube.Forward
	admin           envoy.Admin
}

// serve finds the gateway and the apps, which are ready, and gives the mesh when every fact holds: each gateway's replica is
// configured as the model of the manifests says, every cluster has healthy endpoints, and every version answers.
func (m *onKubernetes) serve(ctx context.Context) error {
	if err := m.findGateways(ctx); err != nil {
		return err
	}
	m.pods = newPods(m.client, &m.spec, m.deployed.Apps, m.log)
	m.pods.restore = m.restore
	if err := bounded(ctx, m.wait, "the apps to be told how to behave", m.pods.start); err != nil {
		return err
	}
	if err := m.until(ctx, "the gateway to be configured as the manifests say", m.configured(m.spec.Table)); err != nil {
		return err
	}
	if err := m.until(ctx, "healthy endpoints of every cluster", m.healthy); err != nil {
		return err
	}
	if err := m.until(ctx, "an answer of every pod", m.pods.answer); err != nil {
		return err
	}
	if err := m.until(ctx, "an answer through the gateway at "+m.address, m.answers); err != nil {
		return err
	}
	if err := m.until(ctx, "the mirrors of the first request to end", m.idle()); err != nil {
		return err
	}
	if err := bounded(ctx, m.wait, "the apps to begin their receipts anew", m.pods.forget); err != nil {
		return err
	}
	return bounded(ctx, m.wait, "the shadow to misbehave", m.misbehave)
}

// bounded plays a step that may take so long.
func bounded(ctx context.Context, atMost time.Duration, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, fmt.Errorf("waited %v for %s", atMost, what))
	defer cancel()
	err := do(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// misbehave gives the apps that only mirrors use the mode that is asked for.
func (m *onKubernetes) misbehave(ctx context.Context) error {
	if modeOf(m.spec.Faults.Shadow) == "" {
		return nil
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	c, err := newConduct(m.spec.Table, m.workloads(), mesh.Conduct{Shadow: m.spec.Faults.Shadow})
	if err != nil {
		return fmt.Errorf("fault %w", err)
	}
	return m.tell(ctx, c)
}

// Conduct tells all pods at once, and waits until those that were dead are reached again.
func (m *onKubernetes) Conduct(ctx context.Context, asked mesh.Conduct) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	c, err := newConduct(m.table(), m.workloads(), asked)
	if err != nil {
		return err
	}
	tell := func(ctx context.Context) error { return m.tell(ctx, c) }
	if err := bounded(ctx, m.wait, "the apps to be told how to behave", tell); err != nil {
		return err
	}
	if !m.dead || c.mode == app.ModeDead {
		return nil
	}
	if err := m.until(ctx, "the pods that were dead to be reached again", m.reached(reachedFor)); err != nil {
		return err
	}
	m.dead = false
	return nil
}

// tell has every pod behave so. Its caller holds changing.
func (m *onKubernetes) tell(ctx context.Context, c conduct) error {
	m.dead = m.dead || c.mode == app.ModeDead
	return m.pods.conduct(ctx, &c)
}

// workloads are those whose pods can be told.
func (m *onKubernetes) workloads() (all []route.Workload) {
	for _, a := range m.deployed.Apps {
		all = append(all, a.Workload)
	}
	return all
}

// reached gives a check that every pod is ready and an endpoint of its clusters, and was so for a while: what a kubelet
// found out about a pod just before it revived is known a little later.
func (m *onKubernetes) reached(atLeast time.Duration) func(context.Context) error {
	var since time.Time // zero: not now
	return func(ctx context.Context) error {
		err := m.pods.allReady(ctx)
		if err == nil {
			err = m.healthy(ctx)
		}
		switch {
		case err != nil:
			since = time.Time{}
			return err
		case since.IsZero():
			since = time.Now()
		}
		if took := time.Since(since); took < atLeast {
			return fmt.Errorf("every pod is reached, but only for %v", took.Round(time.Millisecond))
		}
		return nil
	}
}

// reachedFor is more than a kubelet and the API server take to tell that a pod is not ready.
const reachedFor = 2 * time.Second

func (m *onKubernetes) findGateways(ctx context.Context) error {
	list, err := m.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return err
	}
	for _, p := range list {
		if !ready(&p) {
			continue
		}
		m.facts.Proxy = imageOf(&p, "istio-proxy")
		forward := m.client.Forward(p.Namespace, p.Name, envoyAdmin)
		m.gateways = append(m.gateways, &gatewayPod{p.Namespace, p.Name, forward, envoy.Admin{Transport: forward}})
	}
	if len(m.gateways) == 0 {
		return fmt.Errorf("no gateway is ready: no pod with the label istio=ingressgateway")
	}
	return nil
}

// until repeats a check until it holds, or gives its last reason.
func (m *onKubernetes) until(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.wait, fmt.Errorf("waited %v for %s", m.wait, what))
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}

// pollEvery is how often a fact is looked for.
const pollEvery = 50 * time.Millisecond

// table is what the gateways obey.
func (m *onKubernetes) table() *route.Table {
	if t := m.rerouted.Load(); t != nil {
		return t
	}
	return m.spec.Table
}

// configured gives a check that holds what each gateway was given against the model of the manifests.
func (m *onKubernetes) configured(t *route.Table) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, g := range m.gateways {
			if err := g.configured(ctx, t); err != nil {
				return fmt.Errorf("gateway %s: %w", g.name, err)
			}
		}
		return nil
	}
}

func (g *gatewayPod) configured(ctx context.Context, t *route.Table) error {
	dump, routes, err := g.given(ctx, t)
	if err != nil {
		return err
	}
	return agree(dump, routes, t)
}

// agree holds what a gateway was given against the model.
func agree(dump []byte, routes []mesh.Route, t *route.Table) error {
	if err := mesh.Differences(t, &mesh.State{Routes: routes}); err != nil {
		return err
	}
	differences, err := envoy.Compare(dump, t)
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("it is not configured as the manifests say:\n%s", listed(differences))
	}
	return err
}

// given reads what a gateway was given, and which of the model's routes that is.
func (g *gatewayPod) given(ctx context.Context, t *route.Table) (dump []byte, routes []mesh.Route, err error) {
	if dump, err = g.admin.ConfigDump(ctx); err == nil {
		routes, err = envoy.Routes(dump, t)
	}
	return dump, routes, err
}

func listed(differences []envoy.Difference) string {
	var lines []string
	for _, d := range differences {
		lines = append(lines, "  "+d.String())
	}
	return strings.Join(lines, "\n")
}

// healthy asks each gateway for the endpoints of every cluster that has a configuration: those of its apps are exactly the pods that
// are ready, so that none of an earlier run is among them.
func (m *onKubernetes) healthy(ctx context.Context) error {
	list, err := m.pods.list(ctx)
	if err != nil {
		return err
	}
	for _, g := range m.gateways {
		clusters, err := g.admin.Clusters(ctx)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.name, err)
		}
		for _, c := range m.table().Clusters() {
			if c.Missing != "" {
				continue
			}
			if err := sameEndpoints(clusters[c.Name], podsOf(c, list)); err != nil {
				return fmt.Errorf("gateway %s: cluster %s: %w", g.name, c.Name, err)
			}
		}
	}
	return nil
}

// podsOf are the addresses of the ready pods that a cluster selects.
func podsOf(c *route.Cluster, list []corev1.Pod) (ips []string) {
	for i := range list {
		if p := &list[i]; p.Namespace == c.Namespace && len(c.Selector) > 0 && has(p.Labels, c.Selector) && ready(p) {
			ips = append(ips, p.Status.PodIP)
		}
	}
	slices.Sort(ips)
	return ips
}

// sameEndpoints holds a cluster's healthy endpoints against the pods that it should have. Where it has none of ours, as it selects
// the user's own, one that is healthy is enough.
func sameEndpoints(endpoints []envoy.Endpoint, pods []string) error {
	var healthy []string
	for _, e := range endpoints {
		if e.Healthy {
			healthy = append(healthy, host(e.Address))
		}
	}
	slices.Sort(healthy)
	switch {
	case len(healthy) == 0:
		return fmt.Errorf("it has %d endpoints, none of them healthy", len(endpoints))
	case len(pods) > 0 && !slices.Equal(slices.Compact(healthy), pods):
		return fmt.Errorf("its healthy endpoints are %v, the pods that are ready %v", healthy, pods)
	}
	return nil
}

// host is an endpoint's address without its port.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// answers sees that the gateway can be reached from here. A health check leaves no receipt at umbra's app.
func (m *onKubernetes) answers(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.address+"/health", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 2 * time.Second}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// idle gives a check that the gateways have nothing active and that their counters stand still.
func (m *onKubernetes) idle() func(context.Context) error {
	var last map[string]uint64
	return func(ctx context.Context) error {
		counters, err := m.Counters(ctx)
		if err != nil {
			return err
		}
		defer func() { last = counters }()
		for name, n := range counters {
			if n > 0 && (strings.HasSuffix(name, ".upstream_rq_active") || strings.HasSuffix(name, ".upstream_rq_pending_active")) {
				return fmt.Errorf("%s is %d", name, n)
			}
			if strings.HasSuffix(name, ".upstream_rq_total") && (last == nil || last[name] != n) {
				return fmt.Errorf("%s rises", name)
			}
		}
		return nil
	}
}

// Address is the gateway's host:port.
func (m *onKubernetes) Address() string { return m.address }

// State asks every replica of the gateway, and the cluster for its pods.
func (m *onKubernetes) State(ctx context.Context) (*mesh.State, error) {
	s := &mesh.State{Endpoints: map[string][]string{}}
	list, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.gatewayState(ctx, s, list); err != nil {
		return nil, err
	}
	if s.Counters, err = m.Counters(ctx); err != nil {
		return nil, err
	}
	cpu, err := m.cpu(ctx, list)
	if err != nil {
		m.log("the CPU that the pods used is not known: %v", err)
	}
	for i := range list {
		p := &list[i]
		if p.DeletionTimestamp != nil && !m.pods.knows(p) { // an earlier run's, on its way out
			continue
		}
		s.Pods = append(s.Pods, mesh.Pod{Name: p.Name, Namespace: p.Namespace, Version: m.pods.version(p), Started: started(p), Restarts: restarts(p),
			CPU: cpu[p.Namespace+"/"+p.Name]})
	}
	return s, nil
}

// list gives the pods of the gateway and of the apps.
func (m *onKubernetes) list(ctx context.Context) ([]corev1.Pod, error) {
	all, err := m.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return nil, err
	}
	apps, err := m.pods.list(ctx)
	return append(all, apps...), err
}

func (m *onKubernetes) gatewayState(ctx context.Context, s *mesh.State, list []corev1.Pod) error {
	at := map[string]*corev1.Pod{}
	for i := range list {
		at[list[i].Status.PodIP] = &list[i]
	}
	t := m.table()
	for i, g := range m.gateways {
		dump, routes, err := g.given(ctx, t)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.name, err)
		}
		if err := agree(dump, routes, t); err != nil && s.Doubt == "" {
			s.Doubt = fmt.Sprintf("gateway %s: %v", g.name, err)
		}
		if i > 0 && !slices.EqualFunc(s.Routes, routes, mesh.Route.Equal) {
			return fmt.Errorf("gateways %s and %s are not configured alike: %v, %v", m.gateways[0].name, g.name, s.Routes, routes)
		}
		s.Routes = routes
		clusters, err := g.admin.Clusters(ctx)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.name, err)
		}
		m.endpoints(s, clusters, at)
	}
	return nil
}

// endpoints adds the pods, by the addresses that a gateway was given for them. istiod names a pod before it is ready, too, and Envoy
// sends nothing to it: one that takes the place of a pod that was killed may never have served, and then nobody has its receipts.
func (m *onKubernetes) endpoints(s *mesh.State, clusters map[string][]envoy.Endpoint, at map[string]*corev1.Pod) {
	for _, c := range m.table().Clusters() {
		if c.Missing != "" {
			continue
		}
		pods := s.Endpoints[c.Name]
		for _, e := range clusters[c.Name] {
			switch p := at[host(e.Address)]; {
			case p == nil:
				pods = append(pods, e.Address)
			case e.Healthy || m.pods.knows(p):
				pods = append(pods, p.Name)
			}
		}
		slices.Sort(pods)
		s.Endpoints[c.Name] = slices.Compact(pods)
	}
}

// Counters sums up the replicas of the gateway.
func (m *onKubernetes) Counters(ctx context.Context) (map[string]uint64, error) {
	var clusters []string
	for _, c := range m.table().Clusters() {
		if c.Missing == "" {
			clusters = append(clusters, c.Name)
		}
	}
	sum, has := map[string]uint64{}, map[string]int{}
	for _, g := range m.gateways {
		counters, err := g.admin.Counters(ctx, clusters...)
		if err != nil {
			return nil, fmt.Errorf("gateway %s: %w", g.name, err)
		}
		for name, n := range counters {
			sum[name] += n
			has[name]++
		}
	}
	// What a replica does not show is not known of all of them. But of statuses that it has not seen a replica says nothing.
	maps.DeleteFunc(sum, func(name string, _ uint64) bool { return has[name] < len(m.gateways) && !byStatus(name) })
	return sum, nil
}

// byStatus tells the counters that Envoy makes with the first answer of a status: cluster.NAME.upstream_rq_200, internal.upstream_rq_5xx.
func byStatus(name string) bool {
	status := name[strings.LastIndexByte(name, '_')+1:]
	return len(status) == 3 && status[0] >= '1' && status[0] <= '5' || strings.Contains(name, ".internal.") || strings.Contains(name, ".external.")
}

// Dumps gives each gateway's configuration as it stands.
func (m *onKubernetes) Dumps(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, g := range m.gateways {
		dump, err := g.admin.ConfigDump(ctx)
		if err != nil {
			return all, fmt.Errorf("gateway %s: %w", g.name, err)
		}
		all[g.name] = dump
	}
	return all, nil
}

// AccessLogs gives each gateway's log since an instant.
func (m *onKubernetes) AccessLogs(ctx context.Context, since time.Time, f func(pod string) (io.WriteCloser, error)) error {
	for _, g := range m.gateways {
		w, err := f(g.name)
		if err != nil {
			return err
		}
		err = m.client.Logs(ctx, g.namespace, g.name, "istio-proxy", since, w)
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("log of gateway %s: %w", g.name, err)
		}
	}
	return nil
}

// Receipts gives those of every pod that there is or was.
func (m *onKubernetes) Receipts(ctx context.Context, f func(version, pod string, stream io.Reader) error) error {
	return m.pods.receipts(ctx, f)
}

// Tell writes what the mesh is, what umbra changed, and what happened to its pods.
func (m *onKubernetes) Tell(r *evidence.Record) {
	r.Changes = m.deployed.Changes
	r.Restarts = m.pods.happened()
	r.Cluster = &m.facts
	if m.steps != nil {
		r.Steps = m.steps()
	}
}

// Close ends what talks to the cluster. What stands there stays, with the routes that the manifests have.
func (m *onKubernetes) Close() error {
	m.once.Do(func() {
		var faults []error
		m.putRoutesBack()
		if m.pods != nil {
			faults = append(faults, m.pods.close())
		}
		for _, g := range m.gateways {
			faults = append(faults, g.forward.Close())
		}
		for _, end := range slices.Backward(m.closing) {
			faults = append(faults, end())
		}
		m.closed = errors.Join(faults...)
	})
	return m.closed
}
