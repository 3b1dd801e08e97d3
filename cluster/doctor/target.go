package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"
)

// rootNamespace is where Istio's own pods, its ingress gateway among them, and its mesh-wide rules are.
const rootNamespace = "istio-system"

// leg is one place that a route sends requests to.
type leg struct {
	vs      virtualService
	index   int   // of the route in http
	path    []any // of the destination
	dest    *networking.Destination
	mirror  bool
	percent float64 // of a mirror, as istiod takes it: mirrorPercentage, mirrorPercent, 100
	at      []any   // where the percentage is written, nil where it is not
}

// route gives the leg's HTTP route.
func (l leg) route() *networking.HTTPRoute { return l.vs.spec.Http[l.index] }

// named names the leg's route as people do: the name, or its number.
func (l leg) named() string {
	if name := l.route().GetName(); name != "" {
		return fmt.Sprintf("route %q", name)
	}
	return fmt.Sprintf("route #%d", l.index)
}

func (l leg) word() string {
	if l.mirror {
		return "mirror"
	}
	return "destination"
}

// legs gives the destinations and mirrors of a VirtualService's routes.
func (vs virtualService) legs() []leg {
	var out []leg
	for i, r := range vs.spec.Http {
		for j, d := range r.GetRoute() {
			out = append(out, leg{vs: vs, index: i, path: []any{"spec", "http", i, "route", j, "destination"}, dest: d.GetDestination()})
		}
		if r.GetMirror() != nil {
			out = append(out, single(vs, i, r))
		}
		for j, m := range r.GetMirrors() {
			l := leg{vs: vs, index: i, path: []any{"spec", "http", i, "mirrors", j}, dest: m.GetDestination(), mirror: true, percent: 100}
			if p := m.GetPercentage(); p != nil {
				l.percent, l.at = p.Value, append(slices.Clone(l.path), "percentage", "value")
			}
			out = append(out, l)
		}
	}
	return slices.DeleteFunc(out, func(l leg) bool { return l.dest == nil })
}

func single(vs virtualService, i int, r *networking.HTTPRoute) leg {
	at := []any{"spec", "http", i}
	l := leg{vs: vs, index: i, path: append(slices.Clone(at), "mirror"), dest: r.Mirror, mirror: true, percent: 100}
	//lint:ignore SA1019 istiod obeys it still
	old := r.GetMirrorPercent()
	switch {
	case r.MirrorPercentage != nil:
		l.percent, l.at = r.MirrorPercentage.Value, append(slices.Clone(at), "mirrorPercentage", "value")
	case old != nil:
		l.percent, l.at = float64(old.Value), append(slices.Clone(at), "mirrorPercent")
	}
	return l
}

// mirrors gives every mirror that is programmed: those of 0 % are not.
func (f *facts) mirrors() []leg {
	return slices.DeleteFunc(f.legs(), func(l leg) bool { return !l.mirror || l.percent == 0 })
}

// legs gives the legs of the VirtualServices that mirror.
func (f *facts) legs() []leg {
	var out []leg
	for _, vs := range f.virtualServices {
		if vs.mirrors() {
			out = append(out, vs.legs()...)
		}
	}
	return out
}

// mirrors tells whether any route of a VirtualService mirrors.
func (vs virtualService) mirrors() bool {
	return slices.ContainsFunc(vs.legs(), func(l leg) bool { return l.mirror && l.percent != 0 })
}

// target is what a leg leads to.
type target struct {
	host            string // FQDN
	name, namespace string // of the Service; empty where the host is none's
	service         *service
	rules           []rule // that apply, the first of which wins
	subset          *networking.Subset
	by              rule              // that defines the subset
	selector        map[string]string // of its pods: the Service's labels and the subset's; nil where unknown
	clash           string            // a label of which the Service and the subset ask for different values
}

func (f *facts) resolve(l leg) target {
	t := target{host: fqdn(l.dest.GetHost(), l.vs.Namespace)}
	if rest, ok := strings.CutSuffix(t.host, ".svc.cluster.local"); ok {
		if name, namespace, two := strings.Cut(rest, "."); two && !strings.Contains(namespace, ".") {
			t.name, t.namespace = name, namespace
		}
	}
	for i, s := range f.services {
		if s.Name == t.name && s.Namespace == t.namespace {
			t.service = &f.services[i]
		}
	}
	t.rules = f.rulesFor(t, l.vs.Namespace)
	for _, dr := range t.rules {
		for _, s := range dr.spec.GetSubsets() {
			if t.subset == nil && s.GetName() == l.dest.GetSubset() {
				t.subset, t.by = s, dr
			}
		}
	}
	t.pick()
	return t
}

// pick merges the labels of the Service and the subset.
func (t *target) pick() {
	if t.service == nil || len(t.service.spec.Selector) == 0 {
		return
	}
	t.selector = map[string]string{}
	for k, v := range t.service.spec.Selector {
		t.selector[k] = v
	}
	for k, v := range t.subset.GetLabels() {
		if have, ok := t.selector[k]; ok && have != v {
			t.clash = fmt.Sprintf("%s: %s by the Service, %s by the subset", k, have, v)
		}
		t.selector[k] = v
	}
}

// rulesFor gives the DestinationRules that apply to a host: those of the Service's namespace, else of the
// VirtualService's, else of the root namespace, and there those of the most specific host, by name. Which of them a
// gateway sees is the route model's to tell.
func (f *facts) rulesFor(t target, namespace string) []rule {
	for _, ns := range []string{t.namespace, namespace, rootNamespace} {
		var found []rule
		for _, dr := range f.rules {
			if dr.Namespace == ns && host.Name(t.host).SubsetOf(dr.host()) {
				found = append(found, dr)
			}
		}
		if len(found) > 0 {
			best := slices.MinFunc(found, func(a, b rule) int { return bySpecificity(a.host(), b.host()) }).host()
			return slices.DeleteFunc(found, func(dr rule) bool { return dr.host() != best })
		}
	}
	return nil
}

func bySpecificity(a, b host.Name) int {
	switch {
	case a == b:
		return 0
	case host.MoreSpecific(a, b):
		return -1
	}
	return 1
}

func (dr rule) host() host.Name { return host.Name(fqdn(dr.spec.GetHost(), dr.Namespace)) }

// fqdn completes a short host name, as istiod does (ResolveShortnameToFQDN): a name with a dot is taken as it is.
func fqdn(name, namespace string) string {
	if name == "" || name == "*" || strings.Contains(name, ".") {
		return name
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	return name + "." + namespace + ".svc.cluster.local"
}

// policy gives what of a traffic policy applies to the leg's cluster: of each setting, the one of the port at the
// subset, of the subset, of the port, of the rule, in this order (MergeTrafficPolicy in
// pilot/pkg/networking/util/util.go; a setting is taken whole).
func (t target) policy(port uint32) (pool *networking.ConnectionPoolSettings, outlier *networking.OutlierDetection) {
	var levels []*networking.TrafficPolicy
	if t.subset != nil {
		levels = append(levels, t.subset.GetTrafficPolicy())
	}
	for _, dr := range t.rules {
		if t.subset == nil || dr.object == t.by.object {
			levels = append(levels, dr.spec.GetTrafficPolicy())
			break
		}
	}
	for _, p := range levels {
		for _, at := range p.GetPortLevelSettings() {
			if at.GetPort().GetNumber() == port {
				pool, outlier = cmp.Or(pool, at.GetConnectionPool()), cmp.Or(outlier, at.GetOutlierDetection())
			}
		}
		pool, outlier = cmp.Or(pool, p.GetConnectionPool()), cmp.Or(outlier, p.GetOutlierDetection())
	}
	return pool, outlier
}

// port gives the Service's port that a leg leads to, nil where it is unknown or absent.
func (t target) port(l leg) *corev1.ServicePort {
	if t.service == nil {
		return nil
	}
	ports := t.service.spec.Ports
	if l.dest.GetPort() == nil {
		if len(ports) == 1 {
			return &ports[0]
		}
		return nil
	}
	for i := range ports {
		if uint32(ports[i].Port) == l.dest.GetPort().GetNumber() {
			return &ports[i]
		}
	}
	return nil
}

func (t target) portNumber(l leg) uint32 {
	if p := t.port(l); p != nil {
		return uint32(p.Port)
	}
	return l.dest.GetPort().GetNumber()
}

// workloadsOf gives the workloads whose pods a target has.
func (f *facts) workloadsOf(t target) []workload {
	var out []workload
	for _, w := range f.workloads {
		if w.Namespace == t.namespace && len(t.selector) > 0 && t.clash == "" && within(t.selector, w.labels) {
			out = append(out, w)
		}
	}
	return out
}

// podsOf gives the live pods of a target.
func (f *facts) podsOf(t target) []Pod {
	var out []Pod
	if f.in.Live == nil {
		return nil
	}
	for _, p := range f.in.Live.Pods {
		if p.Namespace == t.namespace && len(t.selector) > 0 && t.clash == "" && within(t.selector, p.Labels) {
			out = append(out, p)
		}
	}
	return out
}

// concerned gives the workloads and the live pods behind the legs of the VirtualServices that mirror, each once.
func (f *facts) concerned() (workloads []workload, pods []Pod) {
	seen := map[string]bool{}
	once := func(key string) bool { was := seen[key]; seen[key] = true; return !was }
	for _, l := range f.legs() {
		t := f.resolve(l)
		for _, w := range f.workloadsOf(t) {
			if once(w.ID()) {
				workloads = append(workloads, w)
			}
		}
		for _, p := range f.podsOf(t) {
			if once("pod " + p.Namespace + "/" + p.Name) {
				pods = append(pods, p)
			}
		}
	}
	return workloads, pods
}

// within tells whether every label of selector is in labels.
func within(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
