package doctor

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	kyaml "sigs.k8s.io/yaml"
)

// monitor is a ServiceMonitor or PodMonitor (monitoring.coreos.com/v1).
type monitor struct {
	*object
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Selector          metav1.LabelSelector `json:"selector"`
		NamespaceSelector struct {
			Any        bool     `json:"any"`
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		Endpoints    []endpoint `json:"endpoints"`           // of a ServiceMonitor
		PodEndpoints []endpoint `json:"podMetricsEndpoints"` // of a PodMonitor
	} `json:"spec"`
	selector labels.Selector
}

type endpoint struct {
	Port       string              `json:"port"`
	PortNumber *int32              `json:"portNumber"`
	TargetPort *intstr.IntOrString `json:"targetPort"`
}

func (f *facts) monitors() []monitor {
	var out []monitor
	for _, o := range f.objects {
		if !strings.HasPrefix(o.APIVersion, "monitoring.coreos.com/") || o.Kind != "ServiceMonitor" && o.Kind != "PodMonitor" {
			continue
		}
		m := monitor{object: o}
		if kyaml.Unmarshal(o.Raw, &m) != nil {
			continue
		}
		if s, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector); err == nil {
			m.selector = s
			out = append(out, m)
		}
	}
	return out
}

// sees tells whether a monitor looks into a namespace; into its own where it does not say.
func (m *monitor) sees(namespace string) bool {
	n := m.Spec.NamespaceSelector
	return n.Any || slices.Contains(n.MatchNames, namespace) || len(n.MatchNames) == 0 && namespace == m.Namespace
}

// checkMonitors finds the article's error 7 and its like.
func checkMonitors(f *facts) {
	for _, m := range f.monitors() {
		if m.Kind == "ServiceMonitor" {
			f.serviceMonitor(m)
		} else {
			f.podMonitor(m)
		}
	}
}

func (f *facts) serviceMonitor(m monitor) {
	var seen, elsewhere []service
	for _, s := range f.services {
		switch {
		case !m.selector.Matches(labels.Set(s.labels)):
		case m.sees(s.Namespace):
			seen = append(seen, s)
		default:
			elsewhere = append(elsewhere, s)
		}
	}
	if len(seen) == 0 {
		judged := slices.ContainsFunc(f.services, func(s service) bool { return m.sees(s.Namespace) })
		f.selectsNothing(m, "Service", judged, elsewhere)
	}
	candidates := append(seen, elsewhere...)
	for i, e := range m.Spec.Endpoints {
		hasPort := func(s service) bool { return f.hasPort(s, e) }
		if len(candidates) > 0 && !slices.ContainsFunc(candidates, hasPort) {
			f.noPort(m, []any{"spec", "endpoints", i}, e, fmt.Sprintf("%s has %s", candidates[0].ID(), portNames(&candidates[0])),
				"name a port of the Service; for the sidecars' metrics use a PodMonitor with port http-envoy-prom and path /stats/prometheus instead")
		}
	}
}

// hasPort tells whether a Service has the endpoint's port: by name, or, as targetPort, a port of its pods.
func (f *facts) hasPort(s service, e endpoint) bool {
	for _, p := range s.spec.Ports {
		if e.Port != "" && p.Name == e.Port {
			return true
		}
	}
	if e.Port != "" || e.TargetPort == nil {
		return false
	}
	var pods []workload
	for _, w := range f.workloads {
		if w.Namespace == s.Namespace && len(s.spec.Selector) > 0 && within(s.spec.Selector, w.labels) {
			pods = append(pods, w)
		}
	}
	return len(pods) == 0 || slices.ContainsFunc(pods, func(w workload) bool { return w.listens(*e.TargetPort) })
}

// sidecarPorts are those of an injected istio-proxy.
var sidecarPorts = map[string]int32{"http-envoy-prom": 15090, "status-port": 15021}

// listens tells whether a container of a workload names a port, or its sidecar has it.
func (w workload) listens(port intstr.IntOrString) bool {
	for _, c := range slices.Concat(w.spec.InitContainers, w.spec.Containers) {
		for _, p := range c.Ports {
			if port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	for name, number := range sidecarPorts {
		if port.StrVal == name || port.Type == intstr.Int && (port.IntVal == number || port.IntVal == 15020) {
			return true
		}
	}
	return false
}

func (f *facts) podMonitor(m monitor) {
	var seen []workload
	for _, w := range f.workloads {
		if m.sees(w.Namespace) && m.selector.Matches(labels.Set(w.labels)) {
			seen = append(seen, w)
		}
	}
	if len(seen) == 0 && !f.seesPods(m) {
		f.selectsNothing(m, "pod", slices.ContainsFunc(f.workloads, func(w workload) bool { return m.sees(w.Namespace) }), nil)
		return
	}
	for i, e := range m.Spec.PodEndpoints {
		port := e.asTarget()
		if port != nil && len(seen) > 0 && !slices.ContainsFunc(seen, func(w workload) bool { return w.listens(*port) }) {
			f.noPort(m, []any{"spec", "podMetricsEndpoints", i}, e, "no container of "+seen[0].ID()+" has it", "name a port of a container, or http-envoy-prom for the sidecar's metrics")
		}
	}
}

// seesPods tells whether a PodMonitor selects a live pod.
func (f *facts) seesPods(m monitor) bool {
	return f.in.Live != nil && slices.ContainsFunc(f.in.Live.Pods, func(p Pod) bool {
		return m.sees(p.Namespace) && m.selector.Matches(labels.Set(p.Labels))
	})
}

func (e endpoint) asTarget() *intstr.IntOrString {
	switch {
	case e.Port != "":
		p := intstr.FromString(e.Port)
		return &p
	case e.PortNumber != nil:
		p := intstr.FromInt32(*e.PortNumber)
		return &p
	}
	return e.TargetPort
}

func (e endpoint) String() string {
	if t := e.asTarget(); t != nil {
		return t.String()
	}
	return "(none)"
}

func (f *facts) noPort(m monitor, at []any, e endpoint, evidence, remedy string) {
	f.add("monitor-port", Error, m.object, append(at, "port"), fmt.Sprintf("%s scrapes nothing: its port %s does not exist", m.ID(), e), evidence, remedy)
}

// selectsNothing tells of a monitor without objects. It is certain where the objects stand elsewhere; else it is told
// only where something is known of the namespaces that the monitor looks into.
func (f *facts) selectsNothing(m monitor, what string, judged bool, elsewhere []service) {
	severity, remedy := Warning, "correct spec.selector.matchLabels, or the labels of what it is to select"
	evidence := fmt.Sprintf("nothing known in the namespaces it looks into has the labels %s", m.selector)
	switch {
	case len(elsewhere) > 0:
		severity = Error
		evidence = fmt.Sprintf("%s has the labels, but spec.namespaceSelector leaves it out", elsewhere[0].ID())
		remedy = "add namespaceSelector: {matchNames: [" + elsewhere[0].Namespace + "]} to its spec"
	case !judged:
		return
	}
	f.add("monitor-selects-nothing", severity, m.object, []any{"spec", "selector"}, fmt.Sprintf("%s selects no %s", m.ID(), what), evidence, remedy)
}

// checkExposed finds gateways that do not count what goes to mirror clusters: Istio leaves those counters out unless
// proxyStatsMatcher asks for them (pkg/bootstrap/config.go).
func checkExposed(f *facts) {
	const remedy = "annotate the gateway's pods with proxy.istio.io/config: '{\"proxyStatsMatcher\": {\"inclusionRegexps\": [\"cluster\\\\.outbound.*upstream_rq.*\"]}}' and restart them"
	if f.in.Live != nil {
		for _, g := range f.in.Live.Gateways {
			if !g.StatsMatcher {
				f.found = append(f.found, Finding{Check: "metrics-not-exposed", Severity: Error, Object: "Pod " + g.Pod, Finding: "the gateway does not count the requests to its mirror clusters: delivery cannot be judged",
					Evidence: "no proxyStatsMatcher shows upstream_rq_* of them", Remedy: remedy})
			}
		}
		return
	}
	for _, w := range f.workloads {
		if w.labels["istio"] == "ingressgateway" && !strings.Contains(w.annotations["proxy.istio.io/config"], "proxyStatsMatcher") && !f.meshStats() {
			f.add("metrics-not-exposed", Error, w.object, append(slices.Clone(w.at), "annotations"), w.ID()+" does not count the requests to its mirror clusters: delivery cannot be judged",
				"neither its annotation proxy.istio.io/config nor a meshConfig here has a proxyStatsMatcher", remedy)
		}
	}
}

// meshStats tells whether a mesh-wide setting has a stats matcher.
func (f *facts) meshStats() bool {
	for _, o := range f.objects {
		if (o.Kind == "ConfigMap" || o.Kind == "IstioOperator") && strings.Contains(string(o.Raw), "proxyStatsMatcher") {
			return true
		}
	}
	return slices.ContainsFunc(f.others, func(o *object) bool { return child(o.root, "meshConfig", "defaultConfig", "proxyStatsMatcher") != nil })
}

const scrapeKey = "prometheus.io/scrape"

// checkScraped finds pods behind mirrored hosts whose metrics no PodMonitor takes and whose annotations do not ask for
// it. Istio's injection adds the annotations by default (enablePrometheusMerge). Where there is no sign of a Prometheus,
// neither annotations nor a monitor, nothing is said; nor of pods without a sidecar, which have no such metrics.
func checkScraped(f *facts) {
	workloads, pods := f.concerned()
	const remedy = "set prometheus.io/scrape: \"true\" in spec.template.metadata.annotations, or add a PodMonitor with port http-envoy-prom and path /stats/prometheus"
	for _, w := range workloads {
		if w.annotations[scrapeKey] == "false" && !f.monitored(w.Namespace, w.labels) {
			f.add("metrics-not-scraped", Warning, w.object, append(slices.Clone(w.at), "annotations", scrapeKey), "nobody scrapes the metrics of "+w.ID(), scrapeKey+` is "false", and no PodMonitor selects its pods`, remedy)
		}
	}
	scrapes := len(f.monitors()) > 0 || slices.ContainsFunc(pods, func(p Pod) bool { return p.Annotations[scrapeKey] != "" })
	for _, p := range pods {
		if scrapes && slices.Contains(p.Containers, proxyName) && p.Annotations[scrapeKey] != "true" && !f.monitored(p.Namespace, p.Labels) {
			f.found = append(f.found, Finding{Check: "metrics-not-scraped", Severity: Warning, Object: "Pod " + p.Namespace + "/" + p.Name, Finding: "nobody scrapes the pod's metrics",
				Evidence: fmt.Sprintf("its annotation %s is %q, and no PodMonitor selects it", scrapeKey, p.Annotations[scrapeKey]), Remedy: remedy})
		}
	}
}

func (f *facts) monitored(namespace string, of map[string]string) bool {
	return slices.ContainsFunc(f.monitors(), func(m monitor) bool {
		return m.Kind == "PodMonitor" && m.sees(namespace) && m.selector.Matches(labels.Set(of))
	})
}
