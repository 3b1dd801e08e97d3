package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	kyaml "sigs.k8s.io/yaml"

	"umbra/internal/route"
)

// checkTargets finds destinations and mirrors that get no cluster: the article's error 4 and its like. Envoy answers
// 503 for such a destination and skips such a mirror in silence.
func checkTargets(f *facts) {
	told := map[string]bool{}
	for _, l := range f.legs() {
		t := f.resolve(l)
		if !f.checkSubset(l, t) || !f.checkService(l, t) {
			told[fmt.Sprintf("%s %d", l.vs.ID(), l.index)] = true
		}
	}
	f.missingClusters(told)
}

// effect says what a leg without cluster, or without endpoints, does.
func (l leg) effect() string {
	if l.mirror {
		return "nothing is mirrored there, and nothing says so"
	}
	return "clients get 503"
}

func (f *facts) checkSubset(l leg, t target) bool {
	subset := l.dest.GetSubset()
	if subset == "" || t.subset != nil {
		return true
	}
	evidence := "no DestinationRule for " + t.host + " is here"
	remedy := fmt.Sprintf("add a DestinationRule with host %s and subset %s, whose labels the pods have", l.dest.GetHost(), subset)
	if len(t.rules) > 0 {
		var have []string
		for _, dr := range t.rules {
			for _, s := range dr.spec.GetSubsets() {
				have = append(have, s.GetName())
			}
		}
		evidence = fmt.Sprintf("%s (%s) has the subsets [%s]", t.rules[0].ID(), place(t.rules[0].object), strings.Join(have, ", "))
		remedy = fmt.Sprintf("add subset %s to spec.subsets of %s, or name one that is there", subset, t.rules[0].ID())
	}
	f.add("subset-without-rule", Error, l.vs.object, append(slices.Clone(l.path), "subset"),
		fmt.Sprintf("the %s of %s names subset %s of %s, which no DestinationRule defines: %s", l.word(), l.named(), subset, l.dest.GetHost(), l.effect()),
		evidence, remedy)
	return false
}

func (f *facts) checkService(l leg, t target) bool {
	switch {
	case t.service == nil && f.external(t.host):
		return true
	case t.service == nil:
		f.noService(l, t)
		return false
	case t.port(l) == nil && l.dest.GetPort() != nil:
		f.add("mirror-without-cluster", Error, l.vs.object, append(slices.Clone(l.path), "port"),
			fmt.Sprintf("the %s of %s names port %d, which %s does not have: %s", l.word(), l.named(), l.dest.GetPort().GetNumber(), t.service.ID(), l.effect()),
			"it has "+portNames(t.service), "name one of its ports in destination.port.number")
		return false
	}
	return true
}

// noService tells of a host without Service. In files alone that is certain only where there are other Services of its
// namespace; umbra's own clusters get the Service where there is none.
func (f *facts) noService(l leg, t target) {
	severity := f.absent()
	here := slices.ContainsFunc(f.services, func(s service) bool { return s.Namespace == t.namespace })
	evidence := "the Services known in namespace " + t.namespace + " are others"
	remedy := fmt.Sprintf("add Service %s to namespace %s, or correct the host", t.name, t.namespace)
	switch {
	case t.name == "":
		evidence = "a name with a dot is not completed, and no ServiceEntry has it"
		remedy = "write the Service's name, or NAME.NAMESPACE.svc.cluster.local, or add a ServiceEntry for an external host"
	case !here:
		evidence = "no Service of namespace " + t.namespace + " is known"
		if f.in.Live == nil {
			severity = Info
		}
	}
	f.add("mirror-without-cluster", severity, l.vs.object, append(slices.Clone(l.path), "host"),
		fmt.Sprintf("the %s of %s names host %s, of which no Service is here; without it %s", l.word(), l.named(), t.host, l.effect()), evidence, remedy)
}

func portNames(s *service) string {
	var out []string
	for _, p := range s.spec.Ports {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s", p.Port, p.Name)))
	}
	return "the ports [" + strings.Join(out, ", ") + "]"
}

// external tells whether a ServiceEntry has the host.
func (f *facts) external(hostname string) bool {
	for _, o := range f.objects {
		if o.Kind != "ServiceEntry" {
			continue
		}
		var body struct {
			Spec networking.ServiceEntry `json:"spec"`
		}
		if kyaml.Unmarshal(o.Raw, &body) == nil && slices.Contains(body.Spec.Hosts, hostname) {
			return true
		}
	}
	return false
}

// missingClusters tells what only the route model knows: rules that the gateway does not see, and ports that come from
// the gateway's server. told has the routes that need no more words.
func (f *facts) missingClusters(told map[string]bool) {
	if f.table == nil {
		return
	}
	for _, r := range f.table.Routes() {
		vs := f.virtualServiceOf(r)
		if vs == nil || !vs.mirrors() || told[vs.routeAt(r.Line)] {
			continue
		}
		for _, name := range programmed(r) {
			if c := f.table.Cluster(name); c != nil && c.Missing != "" && !strings.HasPrefix(c.Missing, "no Service") {
				why, remedy, _ := strings.Cut(c.Missing, "; ")
				f.found = append(f.found, Finding{Check: "mirror-without-cluster", Severity: Error, Object: vs.ID(), File: r.File, Line: r.Line,
					Finding: "the gateway has no cluster " + name, Evidence: why, Remedy: cmp.Or(remedy, "name a port of the Service in destination.port.number")})
			}
		}
	}
}

// virtualServiceOf gives the VirtualService that a route is of: its name begins with it.
func (f *facts) virtualServiceOf(r *route.Route) *virtualService {
	for i, vs := range f.virtualServices {
		if strings.HasPrefix(r.Name, vs.Namespace+"/"+vs.Name+"/") {
			return &f.virtualServices[i]
		}
	}
	return nil
}

// routeAt names the route of a VirtualService that begins at a line, as checkTargets does.
func (vs virtualService) routeAt(line int) string {
	for i := range vs.spec.GetHttp() {
		if vs.line("spec", "http", i) == line {
			return fmt.Sprintf("%s %d", vs.ID(), i)
		}
	}
	return ""
}

// programmed gives the clusters that a route sends requests to.
func programmed(r *route.Route) []string {
	var out []string
	for _, d := range r.Destinations {
		out = append(out, d.Cluster)
	}
	for _, m := range r.Mirrors {
		if m.Numerator > 0 {
			out = append(out, m.Cluster)
		}
	}
	return out
}

// checkPods finds legs whose labels no pod has. In files alone it judges only where some workload stands behind the
// Service at all: the others may be elsewhere.
func checkPods(f *facts) {
	for _, l := range f.legs() {
		t := f.resolve(l)
		switch {
		case t.clash != "":
			f.withoutPods(l, t, "no pod can have the labels of both ("+t.clash+")", "make the Service's selector a part of what both versions have: remove the label from spec.selector")
		case t.selector == nil || l.dest.GetSubset() != "" && t.subset == nil:
		case f.in.Live != nil:
			f.checkLivePods(l, t)
		default:
			f.checkWorkloads(l, t)
		}
	}
}

func (f *facts) withoutPods(l leg, t target, evidence, remedy string) {
	what := t.host
	if s := l.dest.GetSubset(); s != "" {
		what = "subset " + s + " of " + what
	}
	f.add("subset-without-pods", Error, l.vs.object, l.path,
		fmt.Sprintf("the %s of %s has no pod (%s): %s", l.word(), l.named(), what, l.effect()), evidence, remedy)
}

func (f *facts) checkLivePods(l leg, t target) {
	pods := f.podsOf(t)
	ready := slices.ContainsFunc(pods, func(p Pod) bool { return p.Ready })
	switch {
	case len(pods) == 0:
		f.withoutPods(l, t, fmt.Sprintf("none of %d pods known has the labels %s in namespace %s", len(f.in.Live.Pods), labelText(t.selector), t.namespace),
			"give the version's pods these labels (spec.template.metadata.labels of its Deployment), or scale it up")
	case !ready:
		f.withoutPods(l, t, fmt.Sprintf("%d pods have the labels %s, none is ready", len(pods), labelText(t.selector)),
			"see why the pods are not ready: kubectl -n "+t.namespace+" describe pod "+pods[0].Name)
	}
}

func (f *facts) checkWorkloads(l leg, t target) {
	here := f.workloadsOf(target{namespace: t.namespace, selector: t.service.spec.Selector})
	have := f.workloadsOf(t)
	scaled := slices.ContainsFunc(have, func(w workload) bool { return w.replicas > 0 })
	var names []string
	for _, w := range here {
		names = append(names, fmt.Sprintf("%s (%s)", w.ID(), labelText(w.labels)))
	}
	switch {
	case len(here) == 0:
	case len(have) == 0:
		f.withoutPods(l, t, fmt.Sprintf("%s are asked for; behind the Service are %s", labelText(t.selector), strings.Join(names, ", ")),
			"correct the subset's labels in the DestinationRule, or spec.template.metadata.labels of the version's Deployment")
	case !scaled:
		f.withoutPods(l, t, have[0].ID()+" has 0 replicas", "set spec.replicas to 1 or more")
	}
}

// labelText writes labels as kubectl's selectors are written.
func labelText(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}

// checkVersionLabels finds pods that metrics (destination_version) and umbra's receipts cannot be told apart by.
func checkVersionLabels(f *facts) {
	workloads, pods := f.concerned()
	const remedy = "add version: v1 (or what it is) to spec.template.metadata.labels of its Deployment, and to the subset's labels"
	for _, w := range workloads {
		if w.labels["version"] == "" {
			f.add("version-label", Warning, w.object, append(slices.Clone(w.at), "labels"),
				w.ID()+" gives its pods no label version", "they have "+labelText(w.labels)+"; istio_requests_total has them as destination_version=\"unknown\" or latest", remedy)
		}
	}
	for _, p := range pods {
		if p.Labels["version"] == "" {
			f.found = append(f.found, Finding{Check: "version-label", Severity: Warning, Object: "Pod " + p.Namespace + "/" + p.Name,
				Finding: "the pod has no label version", Evidence: "it has " + labelText(p.Labels), Remedy: remedy})
		}
	}
}

// checkSelectors finds Services of mirrored hosts without a selector.
func checkSelectors(f *facts) {
	for _, s := range f.servicesOf(f.legs()) {
		if len(s.spec.Selector) == 0 {
			f.add("service-selector", Warning, s.object, []any{"spec"}, s.ID()+" selects no pods: its endpoints are whatever somebody wrote",
				"spec.selector is empty", "give spec.selector a label that the pods of both versions have, such as app")
		}
	}
}

// servicesOf gives the Services that legs lead to, each once.
func (f *facts) servicesOf(legs []leg) []*service {
	var out []*service
	for _, l := range legs {
		if t := f.resolve(l); t.service != nil && !slices.Contains(out, t.service) {
			out = append(out, t.service)
		}
	}
	return out
}

// httpNames are the protocols that Istio takes for HTTP, as a port's name before the first dash or as its appProtocol
// (pkg/config/protocol/instance.go, pkg/config/kube/conversion.go).
var httpNames = []string{"http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws"}

// protocolNames are the other ones that a port's name may say.
var protocolNames = []string{"tcp", "tls", "https", "mongo", "redis", "mysql", "udp", "hbone"}

// checkPortNames finds ports that sidecars take for something else than HTTP, or have to guess.
func checkPortNames(f *facts) {
	seen := map[string]bool{}
	for _, l := range f.legs() {
		t := f.resolve(l)
		p := t.port(l)
		if p == nil || seen[fmt.Sprint(t.host, p.Port)] {
			continue
		}
		seen[fmt.Sprint(t.host, p.Port)] = true
		evidence := fmt.Sprintf("port %d has the name %q", p.Port, p.Name)
		if p.AppProtocol != nil {
			evidence += fmt.Sprintf(" and appProtocol %q, which wins", *p.AppProtocol)
		}
		i := slices.IndexFunc(t.service.spec.Ports, func(x corev1.ServicePort) bool { return x.Port == p.Port })
		f.portName(t.service, i, protocolOf(p), evidence)
	}
}

// protocolOf gives what a port says of its protocol: its appProtocol, else its name before the first dash, where
// grpc-web is one word.
func protocolOf(p *corev1.ServicePort) string {
	name := strings.ToLower(p.Name)
	switch {
	case p.AppProtocol != nil:
		return strings.ToLower(*p.AppProtocol)
	case strings.HasPrefix(name, "grpc-web"):
		return "grpc-web"
	}
	says, _, _ := strings.Cut(name, "-")
	return says
}

func (f *facts) portName(s *service, i int, says, evidence string) {
	severity, effect := Warning, "its protocol is guessed from the first bytes, and traffic that is not recognised counts as TCP"
	switch {
	case slices.Contains(httpNames, says):
		return
	case slices.Contains(protocolNames, says):
		severity, effect = Error, "sidecars treat it as "+says+": no HTTP routes, no mirror from the mesh, no istio_requests_total"
	}
	f.add("service-port-name", severity, s.object, []any{"spec", "ports", i},
		fmt.Sprintf("port %d of %s is not named as HTTP: %s", s.spec.Ports[i].Port, s.ID(), effect), evidence, "name it http (or http-SOMETHING, grpc), or set appProtocol: http")
}
