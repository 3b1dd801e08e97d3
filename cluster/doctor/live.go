package doctor

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

// checkGatewayThere tells that no gateway was asked: of what one would have been given nothing is known then.
func checkGatewayThere(f *facts) {
	if f.in.Live != nil && len(f.in.Live.Gateways) == 0 {
		f.found = append(f.found, Finding{Check: "gateway-absent", Severity: Error, Finding: "no ingress gateway is ready: nothing is mirrored at one, and what it was given is not known",
			Evidence: "no ready pod has the label istio=ingressgateway", Remedy: "see the gateway's Deployment: kubectl get pods -A -l istio=ingressgateway"})
	}
}

// checkGateways compares what each replica was given with what the manifests ask for, and looks at the health of the
// clusters that the routes use.
func checkGateways(f *facts) {
	if f.in.Live == nil {
		return
	}
	for _, g := range f.in.Live.Gateways {
		for _, d := range g.Differences {
			f.differs(g, d, "")
		}
		if f.table == nil {
			continue
		}
		if len(g.Differences) == 0 {
			f.compare(g)
		}
		f.health(g)
	}
}

func (f *facts) differs(g Gateway, what, evidence string) {
	f.found = append(f.found, Finding{Check: "gateway-differs", Severity: Error, Object: "Pod " + g.Pod, Finding: "the gateway was given another thing than the manifests ask for: " + what, Evidence: evidence,
		Remedy: "see whether istiod sent it (istioctl proxy-status) and whether another object changes the route; then try again"})
}

// compare looks for each programmed mirror of the table at a gateway.
func (f *facts) compare(g Gateway) {
	given := map[string]mesh.Route{}
	for _, r := range g.Routes {
		given[r.Name] = r
	}
	for _, r := range f.table.Routes() {
		var want []mesh.Mirror
		for _, m := range r.Mirrors {
			if m.Numerator > 0 {
				want = append(want, mesh.Mirror{Cluster: m.Cluster, Numerator: m.Numerator})
			}
		}
		route, ok := given[r.Name]
		have := slices.DeleteFunc(slices.Clone(route.Mirrors), func(m mesh.Mirror) bool { return m.Numerator == 0 })
		switch {
		case len(want) == 0 && len(have) == 0:
		case !ok:
			f.differs(g, "it has no route "+r.Name, fmt.Sprintf("it has %v", slices.Sorted(maps.Keys(given))))
		case !slices.Equal(want, have):
			f.differs(g, "the mirrors of route "+r.Name, fmt.Sprintf("asked for %v, given %v (numerators of a million)", want, have))
		}
	}
}

// health looks at the clusters of mirroring routes.
func (f *facts) health(g Gateway) {
	if g.Clusters == nil {
		return
	}
	var names []string
	for _, r := range f.table.Routes() {
		if slices.ContainsFunc(r.Mirrors, func(m route.Mirror) bool { return m.Numerator > 0 }) {
			names = append(names, programmed(r)...)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		f.cluster(g, name)
	}
}

func (f *facts) cluster(g Gateway, name string) {
	c, ok := g.Clusters[name]
	switch {
	case !ok:
		f.found = append(f.found, Finding{Check: "mirror-without-cluster", Severity: Error, Object: "Pod " + g.Pod, Finding: "the gateway has no cluster " + name + ": a mirror to it is skipped in silence",
			Evidence: fmt.Sprintf("it has %d clusters", len(g.Clusters)), Remedy: "see that the Service, its port and the DestinationRule's subset exist, and that exportTo shows them to the gateway"})
	case c.Healthy == 0:
		f.found = append(f.found, Finding{Check: "no-healthy-endpoints", Severity: Error, Object: "Pod " + g.Pod, Finding: "cluster " + name + " has no healthy endpoint: what is sent to it is answered with 503, and of a mirror nobody hears",
			Evidence: fmt.Sprintf("%d endpoints, %d healthy", c.Endpoints, c.Healthy), Remedy: "scale the version up, or see why its pods are not ready or were ejected by the outlier detection"})
	}
	f.pendingOverflow(g.Pod, name, c)
}

// version is a major and a minor version.
type version struct{ major, minor int }

var versionText = regexp.MustCompile(`^v?(\d{1,9})\.(\d{1,9})`)

func parseVersion(s string) (version, bool) {
	m := versionText.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, true
}

func (v version) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

// istioVersion gives Istio's version, empty where it is unknown.
func (f *facts) istioVersion() string {
	if f.in.Live == nil {
		return ""
	}
	return f.in.Live.Istio
}

// What the versions mean. Since Envoy 1.33, which Istio 1.25 has, a body above the buffer limit of 1 MiB is mirrored;
// before, such a request was not. Istio supports the latest three minor versions, for a while. Istio 1.31 needs
// Kubernetes 1.32 (istioctl/pkg/install/k8sversion), and each minor version of it the next one.
const (
	bodiesSince     = 25
	latestIstio     = 31
	oldestSupported = latestIstio - 2
	kubernetesAhead = 1
)

// checkIstio judges Istio's version and those of the proxies.
func checkIstio(f *facts) {
	if f.in.Live == nil {
		return
	}
	v, known := parseVersion(f.istioVersion())
	switch {
	case known && v.before(1, bodiesSince):
		f.onVersion("istio-version", Error, "", "Istio "+f.istioVersion()+" does not mirror requests with bodies above 1 MiB, and does not say so", "its Envoy is older than 1.33", "use Istio 1.25 or later, 1.31 at best")
	case known && v.before(1, oldestSupported):
		f.onVersion("istio-version", Warning, "", "Istio "+f.istioVersion()+" is not supported any more", fmt.Sprintf("since 1.%d the oldest that is supported is 1.%d", latestIstio, oldestSupported), fmt.Sprintf("use Istio 1.%d", latestIstio))
	}
	_, pods := f.concerned()
	for _, p := range slices.Concat(pods, f.gatewayPods()) {
		proxy, ok := parseVersion(p.ProxyVersion)
		switch {
		case !ok || proxy == v:
		case proxy.before(1, bodiesSince):
			f.onVersion("istio-version", Error, p.Namespace+"/"+p.Name, "the pod's proxy "+p.ProxyVersion+" does not mirror requests with bodies above 1 MiB", "its Envoy is older than 1.33", "restart the pod, so that it is injected anew")
		case known:
			f.onVersion("istio-version", Warning, p.Namespace+"/"+p.Name, "the pod's proxy "+p.ProxyVersion+" is not of Istio's version "+f.istioVersion(), "two versions may mirror in different ways", "restart the pod, so that it is injected anew")
		}
	}
}

// gatewayPods gives the pods of the gateways' replicas.
func (f *facts) gatewayPods() []Pod {
	var out []Pod
	for _, p := range f.in.Live.Pods {
		if slices.ContainsFunc(f.in.Live.Gateways, func(g Gateway) bool { return g.Pod == p.Name || g.Pod == p.Namespace+"/"+p.Name }) {
			out = append(out, p)
		}
	}
	return out
}

func (f *facts) onVersion(id string, s Severity, pod, finding, evidence, remedy string) {
	if pod != "" {
		pod = "Pod " + pod
	}
	f.found = append(f.found, Finding{Check: id, Severity: s, Object: pod, Finding: finding, Evidence: evidence, Remedy: remedy})
}

// checkKubernetes judges Kubernetes' version by Istio's.
func checkKubernetes(f *facts) {
	if f.in.Live == nil {
		return
	}
	k, ok := parseVersion(f.in.Live.Kubernetes)
	i, known := parseVersion(f.istioVersion())
	if !known {
		i = version{1, latestIstio}
	}
	if oldest := i.minor + kubernetesAhead; ok && k.before(1, oldest) {
		f.onVersion("kubernetes-version", Warning, "", fmt.Sprintf("Istio 1.%d does not support Kubernetes %s", i.minor, f.in.Live.Kubernetes),
			fmt.Sprintf("the oldest that it supports is 1.%d", oldest), fmt.Sprintf("use Kubernetes 1.%d or later", oldest))
	}
}

// maxSkew is what clocks may differ; a wrong one puts receipts before or after the blocks that they belong to.
const maxSkew = 100 * time.Millisecond

func checkClocks(f *facts) {
	if f.in.Live == nil {
		return
	}
	for _, p := range f.in.Live.Pods {
		skew := p.Clock.Sub(f.in.Live.Now)
		if !p.Clock.IsZero() && !f.in.Live.Now.IsZero() && skew.Abs() > maxSkew {
			f.onVersion("time-skew", Warning, p.Namespace+"/"+p.Name, fmt.Sprintf("the pod's clock differs from this machine's by %v", skew.Round(time.Millisecond)),
				fmt.Sprintf("more than %v: times of receipts cannot be compared with times of requests", maxSkew), "synchronise the clocks of the nodes and of this machine (NTP)")
		}
	}
}

func checkRestarts(f *facts) {
	_, pods := f.concerned()
	for _, p := range pods {
		if p.Restarts > 0 {
			f.onVersion("pod-restarts", Info, p.Namespace+"/"+p.Name, fmt.Sprintf("the pod was restarted %d times", p.Restarts), "its counters began anew, and receipts of before may be lost",
				"see kubectl -n "+p.Namespace+" logs --previous "+p.Name)
		}
	}
}
