package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"
)

// fqdn completes a short host name (ResolveShortnameToFQDN). A name with a dot is taken as it is, even where it is
// only name.namespace.
func fqdn(name, namespace string) string {
	if name == "" || name == "*" || strings.Contains(name, ".") {
		return name
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	return serviceHost(name, namespace)
}

func serviceHost(name, namespace string) string {
	return name + "." + namespace + ".svc." + clusterDomain
}

// serviceOf gives the Service that a host is the name of.
func serviceOf(hostname string) (name, namespace string, ok bool) {
	rest, ok := strings.CutSuffix(hostname, ".svc."+clusterDomain)
	name, namespace, two := strings.Cut(rest, ".")
	return name, namespace, ok && two && namespaceName.MatchString(name) && namespaceName.MatchString(namespace)
}

// service finds a Service of the manifests, nil where there is none.
func (b *builder) service(name, namespace string) *resource[*corev1.Service] {
	for _, s := range b.m.services {
		if s.Name == name && s.Namespace == namespace {
			return s
		}
	}
	return nil
}

// cluster gives the name of the cluster that a destination leads to, and adds it to the table. The port is the
// destination's, else the Service's only one, else the server's (GetDestinationCluster).
func (b *builder) cluster(vs *resource[*networking.VirtualService], at []any, dst *networking.Destination, s *server) string {
	c := &Cluster{Host: fqdn(dst.GetHost(), vs.Namespace), Subset: dst.GetSubset(), Port: s.Port}
	name, namespace, ok := serviceOf(c.Host)
	var svc *corev1.Service
	if s := b.service(name, namespace); ok && s != nil {
		svc = s.spec
	}
	switch {
	case dst.GetPort() != nil:
		c.Port = dst.GetPort().GetNumber()
	case svc != nil && len(svc.Spec.Ports) == 1:
		c.Port = uint32(svc.Spec.Ports[0].Port)
	case svc != nil && len(svc.Spec.Ports) > 1:
		b.warnAt(vs.document, at, "%s: %s has several ports and the destination names none: it gets the gateway's, %d; write destination.port.number", vs.ID(), c.Host, s.Port)
	}
	c.Name = fmt.Sprintf("outbound|%d|%s|%s", c.Port, c.Subset, c.Host)
	if known := b.t.clusters[c.Name]; known != nil {
		c = known
	} else {
		b.t.clusters[c.Name] = c
		b.resolve(c, name, namespace, ok, svc)
	}
	b.warnCluster(vs, at, c)
	return c.Name
}

// resolve finds out what a cluster's endpoints are, or why it has no configuration.
func (b *builder) resolve(c *Cluster, name, namespace string, isService bool, svc *corev1.Service) {
	if !isService {
		c.Missing = "no Service has the host " + c.Host
		if first, ns, two := strings.Cut(strings.TrimSuffix(c.Host, ".svc"), "."); two && !strings.Contains(ns, ".") {
			c.Missing += "; a name with a dot is not completed: write " + serviceHost(first, ns)
		}
		return
	}
	c.service, c.Namespace = name, namespace
	selector := map[string]string{"app": name}
	if svc == nil {
		b.addService(c)
	} else {
		selector = svc.Spec.Selector
		if c.Missing = portMissing(c, svc); c.Missing != "" {
			return
		}
	}
	c.Selector = labelsOf(selector)
	if c.Subset == "" {
		return
	}
	labels, missing := b.subset(c)
	c.Missing, c.labels = missing, labels
	c.Selector = labelsOf(selector, labels)
	c.barren = !within(selector, c.Selector)
}

func portMissing(c *Cluster, svc *corev1.Service) string {
	var have []string
	for _, p := range svc.Spec.Ports {
		if uint32(p.Port) == c.Port {
			if p.Protocol == corev1.ProtocolUDP {
				return fmt.Sprintf("port %d of Service %s/%s is UDP", c.Port, c.Namespace, c.service)
			}
			return ""
		}
		have = append(have, fmt.Sprint(p.Port))
	}
	return fmt.Sprintf("Service %s/%s has no port %d (it has %s)", c.Namespace, c.service, c.Port, or(strings.Join(have, ", "), "none"))
}

// subset finds the labels of a cluster's subset, or why it has none.
func (b *builder) subset(c *Cluster) (map[string]string, string) {
	rules := b.rulesFor(c)
	for _, dr := range rules {
		for _, s := range dr.spec.Subsets {
			if s.GetName() == c.Subset {
				return s.GetLabels(), ""
			}
		}
	}
	why := fmt.Sprintf("no DestinationRule defines subset %s of %s", c.Subset, c.Host)
	do := fmt.Sprintf("; put it into namespace %s with exportTo [\"*\"]", c.Namespace)
	if len(rules) > 0 {
		do = fmt.Sprintf("; add it to %s at %s:%d, which is the one that counts", rules[0].ID(), rules[0].File, rules[0].Line)
	}
	for _, dr := range b.sortedRules {
		names := func(s *networking.Subset) bool { return s.GetName() == c.Subset }
		if matches(dr, c.Host) && slices.ContainsFunc(dr.spec.Subsets, names) {
			return nil, fmt.Sprintf("%s; %s at %s:%d does, but the gateway does not see it%s", why, dr.ID(), dr.File, dr.Line, do)
		}
	}
	if len(rules) > 0 {
		why += do
	}
	return nil, why
}

func ruleHost(dr *resource[*networking.DestinationRule]) host.Name {
	return host.Name(fqdn(dr.spec.Host, dr.Namespace))
}

func matches(dr *resource[*networking.DestinationRule], hostname string) bool {
	return host.Name(hostname).SubsetOf(ruleHost(dr))
}

// rulesFor gives the DestinationRules that the gateway applies to a cluster's host, whose subsets istiod merges. It
// looks for rules that are private to its own namespace, then for those of the Service's namespace, then for those of
// the root namespace, which is the gateway's; the first place that has any counts, and there the most specific host
// (PushContext.destinationRule in pilot/pkg/model/push_context.go).
func (b *builder) rulesFor(c *Cluster) []*resource[*networking.DestinationRule] {
	for _, from := range []struct {
		namespace string
		private   bool
	}{{gatewayNamespace, true}, {c.Namespace, false}, {gatewayNamespace, false}} {
		var found []*resource[*networking.DestinationRule]
		for _, dr := range b.sortedRules {
			if dr.Namespace == from.namespace && isPrivate(dr) == from.private && matches(dr, c.Host) {
				found = append(found, dr)
			}
		}
		if found = mostSpecific(found); len(found) > 0 {
			return found
		}
	}
	return nil
}

// isPrivate tells whether a rule is exported to no namespace but its own.
func isPrivate(dr *resource[*networking.DestinationRule]) bool {
	e := dr.spec.ExportTo
	return len(e) == 1 && (e[0] == "." || e[0] == dr.Namespace)
}

// mostSpecific keeps the rules of the most specific host, and of those the ones that the gateway's namespace sees.
func mostSpecific(rules []*resource[*networking.DestinationRule]) []*resource[*networking.DestinationRule] {
	if len(rules) == 0 {
		return nil
	}
	best := ruleHost(rules[0])
	for _, dr := range rules {
		if h := ruleHost(dr); host.MoreSpecific(h, best) {
			best = h
		}
	}
	return slices.DeleteFunc(rules, func(dr *resource[*networking.DestinationRule]) bool {
		e := dr.spec.ExportTo
		seen := len(e) == 0 || slices.Contains(e, "*") || slices.Contains(e, gatewayNamespace) || isPrivate(dr)
		return ruleHost(dr) != best || !seen
	})
}

// addService notes a Service that umbra has to add, with every port that routes lead to.
func (b *builder) addService(c *Cluster) {
	s := b.lookups[c.Host]
	if s == nil {
		s = &Service{Namespace: c.Namespace, Name: c.service, Selector: map[string]string{"app": c.service}}
		b.lookups[c.Host] = s
	}
	if !slices.Contains(s.Ports, c.Port) {
		s.Ports = append(s.Ports, c.Port)
	}
}

func (b *builder) addServices() {
	for _, c := range b.t.Clusters() {
		if s := b.lookups[c.Host]; s != nil {
			slices.Sort(s.Ports)
			b.t.added = append(b.t.added, *s)
			delete(b.lookups, c.Host)
		}
	}
}

// Workload is a Deployment, of the manifests or added by umbra.
type Workload struct {
	Namespace, Name string
	Labels          map[string]string // of its pods
	Replicas        int
	Image           string // of the first container
	Port            uint32 // the first containerPort, 8080 where none is written
	Added           bool   // by umbra: a destination's cluster has no Deployment
	AddedService    bool   // umbra adds the Service of a cluster that selects it; see Table.AddedServices
	Version         string // the pods' label "version"
}

// AppImage is the image of umbra's own app; a container that has it, with any tag, is the app.
const AppImage = "umbra-app"

// defaultPort is where the app listens unless its container names a port.
const defaultPort = 8080

// Selects tells whether a workload's pods are endpoints of the cluster.
func (c *Cluster) Selects(w Workload) bool {
	return c.Missing == "" && !c.barren && w.Namespace == c.Namespace && len(c.Selector) > 0 && within(c.Selector, w.Labels)
}

// Workloads gives the Deployments of the manifests and, after them, one for each configured cluster that selects no
// pod of any Deployment. A cluster whose labels contradict each other stays without.
func Workloads(m *Manifests, t *Table) []Workload {
	var out []Workload
	for _, d := range m.deployments {
		out = append(out, deployed(d.Namespace, d.Name, &d.spec.Spec.Template, d.spec.Spec.Replicas))
	}
	clusters := t.Clusters()
	slices.SortStableFunc(clusters, func(a, b *Cluster) int { return len(b.Selector) - len(a.Selector) }) // an added subset serves its host's other clusters too
	for _, c := range clusters {
		if c.Missing == "" && !c.barren && !slices.ContainsFunc(out, c.Selects) {
			out = append(out, added(c, out))
		}
	}
	for i := range out {
		out[i].AddedService = slices.ContainsFunc(clusters, func(c *Cluster) bool { return t.adds(c) && c.Selects(out[i]) })
	}
	return out
}

func deployed(namespace, name string, pods *corev1.PodTemplateSpec, replicas *int32) Workload {
	w := Workload{Namespace: namespace, Name: name, Labels: labelsOf(pods.Labels), Replicas: 1, Port: defaultPort, Version: pods.Labels["version"]}
	if replicas != nil {
		w.Replicas = int(*replicas)
	}
	first := pods.Spec.Containers[0]
	w.Image = first.Image
	if len(first.Ports) > 0 {
		w.Port = uint32(first.Ports[0].ContainerPort)
	}
	return w
}

// added makes a workload for a cluster, with a name that none of its namespace has.
func added(c *Cluster, have []Workload) Workload {
	name := c.service
	if c.Subset != "" {
		name += "-" + c.Subset
	}
	for slices.ContainsFunc(have, func(w Workload) bool { return w.Namespace == c.Namespace && w.Name == name }) {
		name += "-umbra"
	}
	return Workload{Namespace: c.Namespace, Name: name, Labels: labelsOf(c.Selector), Replicas: 1, Image: AppImage, Port: defaultPort, Added: true, Version: c.Selector["version"]}
}

// adds tells whether umbra adds the cluster's Service.
func (t *Table) adds(c *Cluster) bool {
	return slices.ContainsFunc(t.added, func(s Service) bool { return s.Name == c.service && s.Namespace == c.Namespace })
}
