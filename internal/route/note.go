package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"

	"umbra/internal/diag"
)

// note collects what a Route does not carry.
func (b *builder) note() {
	for _, s := range b.servers() {
		if s.terminates() {
			b.noteAt(s.doc, []any{"spec", "servers", s.index, "tls"}, "TLS server on port %d", s.Port)
		}
	}
	for _, dr := range b.m.rules {
		b.notePolicy(dr.document, []any{"spec", "trafficPolicy"}, "", dr.spec.TrafficPolicy)
		for i, s := range dr.spec.Subsets {
			b.notePolicy(dr.document, []any{"spec", "subsets", i, "trafficPolicy"}, " of subset "+s.Name, s.TrafficPolicy)
		}
	}
	for _, vs := range b.m.virtualServices {
		for i, r := range vs.spec.Http {
			b.noteRoute(vs.document, []any{"spec", "http", i}, r)
		}
	}
	for _, d := range b.m.noted {
		b.noteAt(d, nil, "%s", map[string]string{"PeerAuthentication": "mutual TLS mode", "Telemetry": "telemetry"}[d.Kind])
	}
	slices.SortStableFunc(b.t.notes, func(x, y Note) int {
		return cmp.Or(cmp.Compare(b.fileIndex(x.File), b.fileIndex(y.File)), cmp.Compare(x.Line, y.Line))
	})
}

func (b *builder) noteAt(d *document, path []any, format string, args ...any) {
	what := d.ID() + ": " + fmt.Sprintf(format, args...)
	b.t.notes = append(b.t.notes, Note{File: d.File, Line: d.place(path...).line, What: what})
}

func (b *builder) notePolicy(d *document, at []any, of string, p *networking.TrafficPolicy) {
	b.noteSettings(d, at, of, p)
	if p.GetTunnel() != nil {
		b.noteAt(d, append(at, "tunnel"), "tunnel%s", of)
	}
	if p.GetProxyProtocol() != nil {
		b.noteAt(d, append(at, "proxyProtocol"), "PROXY protocol%s", of)
	}
	if p.GetRetryBudget() != nil {
		b.noteAt(d, append(at, "retryBudget"), "retry budget%s", of)
	}
	for i, port := range p.GetPortLevelSettings() {
		b.noteSettings(d, slices.Concat(at, []any{"portLevelSettings", i}), fmt.Sprintf("%s on port %d", of, port.GetPort().GetNumber()), port)
	}
}

// settings are what a traffic policy and its port-level settings have in common.
type settings interface {
	GetConnectionPool() *networking.ConnectionPoolSettings
	GetOutlierDetection() *networking.OutlierDetection
	GetLoadBalancer() *networking.LoadBalancerSettings
	GetTls() *networking.ClientTLSSettings
}

func (b *builder) noteSettings(d *document, at []any, of string, s settings) {
	if s.GetConnectionPool() != nil {
		b.noteAt(d, append(at, "connectionPool"), "connection pool%s", of)
	}
	if s.GetOutlierDetection() != nil {
		b.noteAt(d, append(at, "outlierDetection"), "outlier detection%s", of)
	}
	if what := balancer(s.GetLoadBalancer()); what != "" {
		b.noteAt(d, append(at, "loadBalancer"), "load balancer %s%s", what, of)
	}
	if mode := s.GetTls().GetMode(); mode != networking.ClientTLSSettings_DISABLE {
		b.noteAt(d, append(at, "tls"), "TLS mode %s%s", mode, of)
	}
}

// balancer names a load balancer that is not plain round robin.
func balancer(lb *networking.LoadBalancerSettings) string {
	var what []string
	switch {
	case lb.GetConsistentHash() != nil:
		what = append(what, "consistent hash")
	case lb.GetSimple() != networking.LoadBalancerSettings_ROUND_ROBIN && lb.GetSimple() != networking.LoadBalancerSettings_UNSPECIFIED:
		what = append(what, lb.GetSimple().String())
	}
	if lb.GetLocalityLbSetting() != nil {
		what = append(what, "locality")
	}
	if lb.GetWarmup() != nil || lb.GetWarmupDurationSecs() != nil {
		what = append(what, "warm-up")
	}
	return strings.Join(what, ", ")
}

func (b *builder) noteRoute(d *document, at []any, r *networking.HTTPRoute) {
	if r.GetRetries().GetRetryRemoteLocalities() != nil {
		b.noteAt(d, slices.Concat(at, []any{"retries", "retryRemoteLocalities"}), "retries to remote localities")
	}
	if r.GetRetries().GetRetryIgnorePreviousHosts() != nil {
		b.noteAt(d, slices.Concat(at, []any{"retries", "retryIgnorePreviousHosts"}), "retries that avoid earlier hosts")
	}
	for i, m := range r.GetMatch() {
		if m.GetStatPrefix() != "" {
			b.noteAt(d, slices.Concat(at, []any{"match", i, "statPrefix"}), "statistics prefix %s", m.StatPrefix)
		}
	}
}

// warn tells of what istiod takes and what has another effect than it looks.
func (b *builder) warn() {
	for _, g := range b.m.gateways {
		if !within(g.spec.Selector, gatewayLabels) {
			b.warnAt(g.document, []any{"spec", "selector"},
				"%s selects no pod of the ingress gateway (its labels are app: istio-ingressgateway and istio: ingressgateway), so none of its servers is there", g.ID())
		}
	}
	for _, vs := range b.m.virtualServices {
		b.warnUnused(vs)
	}
	b.warnMerged()
	for _, s := range b.m.services {
		b.warnTargetPorts(s)
	}
	if sorted, ok := b.t.warnings.Err().(diag.Faults); ok { // in order, each once
		b.t.warnings = sorted
	}
}

// warnUnused tells why a VirtualService does not apply at the ingress gateway.
func (b *builder) warnUnused(vs *resource[*networking.VirtualService]) {
	names := gatewaysOf(vs)
	if !slices.ContainsFunc(names, func(n string) bool { return n != "mesh" }) {
		b.warnAt(vs.document, []any{"spec", "gateways"},
			"%s names no gateway, so that it applies to sidecars only and none of its routes is at the ingress gateway: add gateways with the Gateway's name", vs.ID())
		return
	}
	if reach(vs.spec.ExportTo, vs.Namespace) == hidden {
		b.warnAt(vs.document, []any{"spec", "exportTo"},
			"%s is not exported to the gateway's namespace %s, so that none of its routes is there: add it or \"*\" to exportTo", vs.ID(), gatewayNamespace)
		return
	}
	served, unknown := false, false
	for i, name := range names {
		known := slices.ContainsFunc(b.m.gateways, func(g *resource[*networking.Gateway]) bool { return g.Namespace+"/"+g.Name == name })
		if name != "mesh" && !known {
			b.warnAt(vs.document, []any{"spec", "gateways", i}, "%s names Gateway %s, which the manifests do not have: its routes are not there", vs.ID(), name)
			unknown = true
		}
	}
	for _, s := range b.servers() {
		served = served || slices.Contains(names, s.Gateway) && len(sharedHosts(s.spec.Hosts, s.doc.Namespace, vs)) > 0
	}
	if !served && !unknown {
		b.warnAt(vs.document, []any{"spec", "hosts"}, "%s shares no host with a server of its gateways, so that none of its routes is there", vs.ID())
	}
}

// warnMerged tells of VirtualServices whose order matters and depends on their creation times.
func (b *builder) warnMerged() {
	for i, vs := range b.sortedServices {
		for _, other := range b.sortedServices[:i] {
			if b.meet(vs, other) {
				b.warnAt(vs.document, []any{"spec", "hosts"},
					"%s and %s at %s:%d share a host at a gateway: istiod tries the routes of the older one first, and umbra takes %s for it; put them into one VirtualService to be sure",
					vs.ID(), other.ID(), other.File, other.Line, other.ID())
			}
		}
	}
}

// meet tells whether two VirtualServices have a host in common on one listener.
func (b *builder) meet(x, y *resource[*networking.VirtualService]) bool {
	for _, s := range b.servers() {
		for _, u := range b.servers() {
			same := s.doc == u.doc && s.index == u.index
			if s.Port != u.Port || s.terminates() && !same {
				continue // HTTPS servers share nothing
			}
			mine, theirs := b.names(x, s), b.names(y, u)
			if slices.ContainsFunc(mine, func(n host.Name) bool { return theirs.Contains(n) }) {
				return true
			}
		}
	}
	return false
}

func (b *builder) names(vs *resource[*networking.VirtualService], s *server) host.Names {
	if reach(vs.spec.ExportTo, vs.Namespace) == hidden || !slices.Contains(gatewaysOf(vs), s.Gateway) {
		return nil
	}
	return sharedHosts(s.spec.Hosts, s.doc.Namespace, vs)
}

// warnCluster tells of a destination without a configured cluster.
func (b *builder) warnCluster(vs *resource[*networking.VirtualService], at []any, c *Cluster) {
	isMirror := len(at) > 3 && (at[3] == "mirror" || at[3] == "mirrors")
	what := "the gateway answers 503 for it"
	if isMirror {
		what = "the gateway skips this mirror silently"
	}
	switch {
	case c.Missing != "":
		b.warnAt(vs.document, at, "%s: %s; %s", vs.ID(), c.Missing, what)
	case c.barren:
		b.warnAt(vs.document, at,
			"%s: no pod can have both the labels of Service %s/%s and those of subset %s, so that the cluster has no endpoints", vs.ID(), c.Namespace, c.service, c.Subset)
	}
}

// warnTargetPorts tells of a Service that sends requests to a port that the pods it selects do not name.
func (b *builder) warnTargetPorts(s *resource[*corev1.Service]) {
	for _, d := range b.m.deployments {
		if d.Namespace != s.Namespace || len(s.spec.Spec.Selector) == 0 || !within(s.spec.Spec.Selector, d.spec.Spec.Template.Labels) {
			continue
		}
		for i, p := range s.spec.Spec.Ports {
			if !listens(d.spec.Spec.Template.Spec.Containers, p) {
				b.warnAt(s.document, []any{"spec", "ports", i}, "%s: port %d goes to target port %s, which no container of %s names", s.ID(), p.Port, targetPort(p), d.ID())
			}
		}
	}
}

func targetPort(p corev1.ServicePort) string {
	if t := p.TargetPort.String(); t != "0" && t != "" {
		return t
	}
	return fmt.Sprint(p.Port)
}

func listens(containers []corev1.Container, p corev1.ServicePort) bool {
	target, named := targetPort(p), false
	for _, c := range containers {
		for _, cp := range c.Ports {
			named = true
			if cp.Name == target || fmt.Sprint(cp.ContainerPort) == target {
				return true
			}
		}
	}
	return !named && target == fmt.Sprint(defaultPort)
}
