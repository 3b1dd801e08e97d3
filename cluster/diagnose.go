package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"umbra/cluster/doctor"
	"umbra/cluster/internal/envoy"
	"umbra/cluster/internal/kube"
	"umbra/cluster/internal/node"
	"umbra/internal/app"
	"umbra/internal/route"
)

// examined are the kinds that the doctor looks at. One that a cluster does not have is passed over.
var examined = []struct{ apiVersion, kind string }{
	{"v1", "Namespace"}, {"v1", "Service"}, {"apps/v1", "Deployment"}, {"apps/v1", "StatefulSet"}, {"apps/v1", "DaemonSet"},
	{"networking.istio.io/v1", "VirtualService"}, {"networking.istio.io/v1", "DestinationRule"}, {"networking.istio.io/v1", "Gateway"},
	{"networking.istio.io/v1", "ServiceEntry"}, {"networking.istio.io/v1", "Sidecar"}, {"networking.istio.io/v1alpha3", "EnvoyFilter"},
	{"telemetry.istio.io/v1", "Telemetry"}, {"security.istio.io/v1", "PeerAuthentication"},
	{"monitoring.coreos.com/v1", "ServiceMonitor"}, {"monitoring.coreos.com/v1", "PodMonitor"}, {"monitoring.coreos.com/v1", "PrometheusRule"},
}

// Diagnosed is where the doctor finds a cluster.
type Diagnosed struct {
	Kubeconfig []byte // of a kind cluster; nil where it is the user's own
	client     *kube.Client
}

// Patient finds umbra's kind cluster or the user's own.
func Patient(ctx context.Context, kind bool, s Settings) (*Diagnosed, error) {
	s = s.WithDefaults()
	if !kind {
		client, err := s.connect()
		return &Diagnosed{client: client}, err
	}
	n, err := node.Find(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, fmt.Errorf("there is no kind cluster %s; umbra up FILE --on kind makes it", s.Name)
	}
	d := &Diagnosed{}
	if d.Kubeconfig, err = n.Kubeconfig(ctx); err != nil {
		return nil, err
	}
	d.client, err = connectTo(ctx, n)
	return d, err
}

// The doctor's questions are bounded in number and time, so that a large cluster, or one that half answers, is examined within half
// a minute.
const (
	askedAtOnce  = 8
	clocksIn     = 10 * time.Second // all of them; a clock that nobody told by then is unknown
	gatewayIn    = 20 * time.Second // a replica's answers
	clockAnswers = 2                // the first one's time has the opening of the way in it
)

// Facts reads what the doctor examines: the objects that stand, and what pods and gateways say. Manifests that are given stand in
// place of the objects of the same name: what a gateway was given is then compared with them.
func (d *Diagnosed) Facts(ctx context.Context, manifests []route.Source) (doctor.Input, error) {
	in := doctor.Input{Live: &doctor.Live{}}
	var err error
	if in.Live.Kubernetes, err = d.client.Version(ctx); err != nil {
		return in, fmt.Errorf("the cluster does not answer: %w", err)
	}
	if in.Live.Istio, err = istioVersion(ctx, d.client); err != nil {
		return in, err
	}
	stand, err := d.objects(ctx)
	if err != nil {
		return in, err
	}
	in.Sources = overlaid(stand, manifests)
	if err := d.pods(ctx, in.Live); err != nil {
		return in, err
	}
	return in, d.gateways(ctx, &in)
}

// overlaid gives what stands, but for the objects that the manifests have too, and the manifests.
func overlaid(stand, manifests []route.Source) []route.Source {
	given := map[string]bool{}
	m, _ := route.Load(manifests...) // what is wrong in them is the doctor's finding
	for i := range m.Objects {
		given[m.Objects[i].ID()] = true
	}
	stand = slices.DeleteFunc(slices.Clone(stand), func(s route.Source) bool { return given[s.Name] })
	return append(stand, manifests...)
}

// objects writes the objects that stand as YAML, each named as people do.
func (d *Diagnosed) objects(ctx context.Context) ([]route.Source, error) {
	lists := make([][]route.Source, len(examined))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i, k := range examined {
		group.Go(func() (err error) {
			lists[i], err = d.list(ctx, k.apiVersion, k.kind)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(lists...), err
}

func (d *Diagnosed) list(ctx context.Context, apiVersion, kind string) (out []route.Source, err error) {
	list, err := d.client.List(ctx, apiVersion, kind, "", nil)
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("%w: the doctor reads a whole cluster, so give the kubeconfig's user the ClusterRole view and list on namespaces and Istio's kinds, or examine files with -f alone", err)
	}
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		if system(o.GetNamespace()) || kind == "Namespace" && system(o.GetName()) {
			continue
		}
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		delete(o.Object, "status")
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		out = append(out, route.Source{Name: kube.Name(o), Data: data})
	}
	return out, nil
}

func system(namespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || namespace == "local-path-storage"
}

// pods tells of every pod that is to serve, with the time of its node's clock.
func (d *Diagnosed) pods(ctx context.Context, live *doctor.Live) error {
	list, err := d.client.Pods(ctx, "", nil)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(p corev1.Pod) bool {
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return ended || p.DeletionTimestamp != nil || system(p.Namespace)
	})
	skews := d.skews(ctx, list)
	live.Now = time.Now()
	for i := range list {
		p := examinedPod(&list[i])
		if skew, known := skews[list[i].Spec.NodeName]; known {
			p.Clock = live.Now.Add(skew)
		}
		live.Pods = append(live.Pods, p)
	}
	return nil
}

func examinedPod(p *corev1.Pod) doctor.Pod {
	out := doctor.Pod{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Annotations: p.Annotations, Ready: ready(p), Restarts: restarts(p)}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out.Containers = append(out.Containers, c.Name)
		for _, port := range c.Ports {
			out.Ports = append(out.Ports, port.ContainerPort)
		}
		if c.Name == proxyContainer {
			out.ProxyVersion = c.Image[strings.LastIndexByte(c.Image, ':')+1:]
		}
	}
	return out
}

const proxyContainer = "istio-proxy"

// gateways compares what each replica of the gateway was given with the objects, as far as they can be modelled.
func (d *Diagnosed) gateways(ctx context.Context, in *doctor.Input) error {
	table, _ := modelled(in.Sources) // what cannot be modelled is the doctor's finding
	pods, err := d.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return !ready(&p) })
	in.Live.Gateways = make([]doctor.Gateway, len(pods))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i := range pods {
		group.Go(func() (err error) {
			ctx, cancel := context.WithTimeoutCause(ctx, gatewayIn, fmt.Errorf("it did not answer within %v", gatewayIn))
			defer cancel()
			if in.Live.Gateways[i], err = d.gateway(ctx, &pods[i], table); err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("gateway %s: %w", pods[i].Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// modelled is the table of what routes are made of.
func modelled(sources []route.Source) (*route.Table, error) {
	m, err := route.Load(sources...)
	if m == nil {
		return nil, err
	}
	return route.NewTable(m)
}

func (d *Diagnosed) gateway(ctx context.Context, p *corev1.Pod, table *route.Table) (doctor.Gateway, error) {
	out := doctor.Gateway{Pod: p.Namespace + "/" + p.Name, Clusters: map[string]doctor.Cluster{}}
	forward := d.client.Forward(p.Namespace, p.Name, envoyAdmin)
	defer forward.Close()
	admin := envoy.Admin{Transport: forward}
	clusters, err := admin.Clusters(ctx)
	if err != nil {
		return out, err
	}
	for name, endpoints := range clusters {
		c := doctor.Cluster{Endpoints: len(endpoints)}
		for _, e := range endpoints {
			if e.Healthy {
				c.Healthy++
			}
		}
		out.Clusters[name] = c
	}
	if err := counted(ctx, admin, &out, table); err != nil || table == nil {
		return out, err
	}
	dump, err := admin.ConfigDump(ctx)
	if err != nil {
		return out, err
	}
	if out.Routes, err = envoy.Routes(dump, table); err != nil {
		return out, err
	}
	differences, err := envoy.Compare(dump, table)
	for _, d := range differences {
		out.Differences = append(out.Differences, fmt.Sprintf("route %s, %s: the manifests say %s, the gateway has %s", d.Route, d.What, d.Manifests, d.Gateway))
	}
	return out, err
}

// counted gives the counters of the clusters that routes lead to, and tells whether all of them are exposed.
func counted(ctx context.Context, admin envoy.Admin, out *doctor.Gateway, table *route.Table) error {
	names := ofInterest(out.Clusters, table)
	counters, err := admin.Counters(ctx, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		c := out.Clusters[name]
		c.Counters = map[string]uint64{}
		for counter, n := range counters {
			if of, what, ok := cutCounter(counter); ok && of == name {
				c.Counters[what] = n
			}
		}
		out.Clusters[name] = c
	}
	out.StatsMatcher = !slices.ContainsFunc(names, func(name string) bool {
		_, shown := out.Clusters[name].Counters["upstream_rq_total"]
		return !shown
	})
	return nil
}

// cutCounter takes "cluster.NAME.upstream_rq_total" apart. What Envoy splits further is not asked for.
func cutCounter(counter string) (name, what string, ok bool) {
	name = strings.TrimPrefix(counter, "cluster.")
	at := strings.LastIndex(name, ".upstream_")
	if at < 0 {
		return "", "", false
	}
	return name[:at], name[at+1:], true
}

// ofInterest are those of a gateway's clusters that the table's routes lead to; where there are none, one that shows what the gateway
// counts. A mesh may have thousands.
func ofInterest(all map[string]doctor.Cluster, table *route.Table) (names []string) {
	if table != nil {
		for _, c := range table.Clusters() {
			if _, there := all[c.Name]; there {
				names = append(names, c.Name)
			}
		}
	}
	if len(names) > 0 {
		return names
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, "outbound|") {
			return []string{name}
		}
	}
	return nil
}

// skews gives how much the clock of each node is ahead of ours, by one pod of it. It is at least that much: 0 says that the clocks
// agree as far as an answer tells. A node that no pod can tell of is left out.
func (d *Diagnosed) skews(ctx context.Context, pods []corev1.Pod) map[string]time.Duration {
	clocks := clocksOf(pods)
	spans := make([]*span, len(clocks))
	ctx, cancel := context.WithTimeout(ctx, clocksIn)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for i, c := range clocks {
		group.Go(func() error {
			forward := d.client.Forward(c.pod.Namespace, c.pod.Name, c.port)
			defer forward.Close()
			spans[i] = c.read(ctx, forward)
			return nil
		})
	}
	group.Wait() // no error
	out := map[string]time.Duration{}
	for i, c := range clocks {
		if spans[i] != nil {
			out[c.pod.Spec.NodeName] = spans[i].skew()
		}
	}
	return out
}

// clock is who tells the time of a node.
type clock struct {
	pod  *corev1.Pod
	port int
	says func(ctx context.Context, transport http.RoundTripper) (at time.Time, resolution time.Duration, err error)
}

// clocksOf picks a pod for each node: umbra's app, whose clock has nanoseconds, else a sidecar's Envoy.
func clocksOf(pods []corev1.Pod) (out []clock) {
	best := map[string]clock{}
	for i := range pods {
		p := &pods[i]
		if !ready(p) {
			continue
		}
		have, told := best[p.Spec.NodeName]
		if port := appAdmin(p); port != 0 && (!told || have.port == envoyAdmin) {
			best[p.Spec.NodeName] = clock{p, port, appClock}
		} else if !told && hasProxy(p) {
			best[p.Spec.NodeName] = clock{p, envoyAdmin, envoyClock}
		}
	}
	return slices.Collect(maps.Values(best))
}

func hasProxy(p *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool { return c.Name == proxyContainer })
}

// appAdmin is the admin port of umbra's app in a pod, which its arguments tell; 0 where it is none.
func appAdmin(p *corev1.Pod) int {
	for _, c := range p.Spec.Containers {
		if !slices.ContainsFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--receipts-dir=") }) {
			continue
		}
		for _, a := range c.Args {
			if text, ok := strings.CutPrefix(a, "--admin=:"); ok {
				port, _ := strconv.ParseUint(text, 10, 16)
				return int(port)
			}
		}
	}
	return 0
}

func appClock(ctx context.Context, transport http.RoundTripper) (time.Time, time.Duration, error) {
	status, err := app.Client{Transport: transport, Base: "http://app"}.Status(ctx)
	return time.Unix(0, status.Clock), 0, err
}

// envoyClock reads the date of an answer of Envoy's admin interface, which has whole seconds, cut off (RFC 9110, section 5.6.7).
func envoyClock(ctx context.Context, transport http.RoundTripper) (time.Time, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/ready", nil)
	if err != nil {
		return time.Time{}, 0, err
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return time.Time{}, 0, err
	}
	res.Body.Close()
	date, err := http.ParseTime(res.Header.Get("Date"))
	return date, time.Second, err
}

// read asks for the time; nil where nobody tells it.
func (c clock) read(ctx context.Context, transport http.RoundTripper) (all *span) {
	for range clockAnswers {
		asked := time.Now()
		at, resolution, err := c.says(ctx, transport)
		if err != nil {
			return all
		}
		s := span{time.Until(at), at.Add(resolution).Sub(asked)}
		if all != nil {
			s = span{max(s.least, all.least), min(s.most, all.most)}
		}
		all = &s
	}
	return all
}

// span is how much a clock is ahead of ours, at least and at most, by what was told between a question and its answer.
type span struct{ least, most time.Duration }

// skew is the smallest that the span allows, 0 where both clocks may agree.
func (s span) skew() time.Duration { return max(s.least, min(s.most, 0)) }
