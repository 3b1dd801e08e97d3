package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"umbra/cluster/doctor"
	"umbra/cluster/internal/envoy"
	"umbra/cluster/internal/kube"
	"umbra/cluster/internal/node"
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

// Facts reads what the doctor examines: the objects that stand, and what pods and gateways say. Manifests that are given stand for
// the objects of the same name: what a gateway was given is then compared with them.
func (d *Diagnosed) Facts(ctx context.Context, manifests []route.Source) (doctor.Input, error) {
	in := doctor.Input{Sources: manifests, Live: &doctor.Live{}}
	var err error
	if in.Live.Kubernetes, err = d.client.Version(ctx); err != nil {
		return in, fmt.Errorf("the cluster does not answer: %w", err)
	}
	if in.Live.Istio, err = istioVersion(ctx, d.client); err != nil {
		return in, err
	}
	if len(manifests) == 0 {
		if in.Sources, err = d.objects(ctx); err != nil {
			return in, err
		}
	}
	if err := d.pods(ctx, in.Live); err != nil {
		return in, err
	}
	return in, d.gateways(ctx, &in)
}

// objects writes the objects that stand as YAML, each named as people do.
func (d *Diagnosed) objects(ctx context.Context) (out []route.Source, err error) {
	for _, k := range examined {
		list, err := d.client.List(ctx, k.apiVersion, k.kind, "", nil)
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			if system(o.GetNamespace()) || k.kind == "Namespace" && system(o.GetName()) {
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
	}
	return out, nil
}

func system(namespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || namespace == "local-path-storage"
}

func (d *Diagnosed) pods(ctx context.Context, live *doctor.Live) error {
	list, err := d.client.Pods(ctx, "", nil)
	if err != nil {
		return err
	}
	live.Now = time.Now()
	for i := range list {
		p := &list[i]
		if system(p.Namespace) || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		live.Pods = append(live.Pods, d.pod(ctx, p))
	}
	return nil
}

func (d *Diagnosed) pod(ctx context.Context, p *corev1.Pod) doctor.Pod {
	out := doctor.Pod{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Annotations: p.Annotations, Ready: ready(p), Restarts: restarts(p)}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out.Containers = append(out.Containers, c.Name)
		for _, port := range c.Ports {
			out.Ports = append(out.Ports, port.ContainerPort)
		}
		if c.Name == "istio-proxy" {
			out.ProxyVersion = c.Image[strings.LastIndexByte(c.Image, ':')+1:]
		}
	}
	if out.ProxyVersion != "" && out.Ready {
		out.Clock = d.clock(ctx, p)
	}
	return out
}

// clock asks a sidecar's Envoy what time it is there: the date of its answer, whose resolution is a second. It is corrected by
// half of the way's time and half of the resolution; zero where nobody answers.
func (d *Diagnosed) clock(ctx context.Context, p *corev1.Pod) time.Time {
	forward := d.client.Forward(p.Namespace, p.Name, envoyAdmin)
	defer forward.Close()
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/ready", nil)
	if err != nil {
		return time.Time{}
	}
	asked := time.Now()
	res, err := forward.RoundTrip(r)
	if err != nil {
		return time.Time{}
	}
	defer res.Body.Close()
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	// What it says is true from date to a second after; within that its clock may agree with ours.
	answered := time.Now()
	switch {
	case answered.Before(date):
		return date.Add(-answered.Sub(asked))
	case asked.After(date.Add(time.Second)):
		return date.Add(time.Second)
	}
	return time.Time{}
}

// gateways compares what each replica of the gateway was given with the objects, as far as they can be modelled.
func (d *Diagnosed) gateways(ctx context.Context, in *doctor.Input) error {
	table, _ := modelled(in.Sources) // what cannot be modelled is the doctor's finding
	pods, err := d.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return err
	}
	for i := range pods {
		if !ready(&pods[i]) {
			continue
		}
		g, err := d.gateway(ctx, &pods[i], table)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", pods[i].Name, err)
		}
		in.Live.Gateways = append(in.Live.Gateways, g)
	}
	return nil
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
	out := doctor.Gateway{Pod: p.Name, Clusters: map[string]doctor.Cluster{}}
	forward := d.client.Forward(p.Namespace, p.Name, envoyAdmin)
	defer forward.Close()
	admin := envoy.Admin{Transport: forward}
	clusters, err := admin.Clusters(ctx)
	if err != nil {
		return out, err
	}
	var names []string
	for name, endpoints := range clusters {
		c := doctor.Cluster{Endpoints: len(endpoints)}
		for _, e := range endpoints {
			if e.Healthy {
				c.Healthy++
			}
		}
		out.Clusters[name] = c
		names = append(names, name)
	}
	dump, err := admin.ConfigDump(ctx)
	if err != nil {
		return out, err
	}
	if table == nil {
		return out, nil
	}
	if out.Routes, err = envoy.Routes(dump, table); err != nil {
		return out, err
	}
	differences, err := envoy.Compare(dump, table)
	if err != nil {
		return out, err
	}
	for _, d := range differences {
		out.Differences = append(out.Differences, fmt.Sprintf("route %s, %s: the manifests say %s, the gateway has %s", d.Route, d.What, d.Manifests, d.Gateway))
	}
	return out, d.counted(ctx, admin, &out, names)
}

// counted gives the counters of each cluster.
func (d *Diagnosed) counted(ctx context.Context, admin envoy.Admin, out *doctor.Gateway, names []string) error {
	counters, err := admin.Counters(ctx, names...)
	if err != nil {
		return err
	}
	for name, n := range counters {
		name = strings.TrimPrefix(name, "cluster.")
		at := strings.LastIndex(name, ".upstream_")
		if at < 0 {
			continue
		}
		c, there := out.Clusters[name[:at]]
		if !there {
			continue
		}
		if c.Counters == nil {
			c.Counters = map[string]uint64{}
		}
		c.Counters[name[at+1:]] = n
		out.Clusters[name[:at]] = c
		out.StatsMatcher = out.StatsMatcher || strings.HasSuffix(name, ".upstream_rq_total") && strings.HasPrefix(name, "outbound|")
	}
	return nil
}
