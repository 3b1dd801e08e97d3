// Package doctor examines what would make a mirror, or the figures told of it, wrong: Istio's and Kubernetes' objects,
// Prometheus rules and Grafana dashboards, and what a cluster says of itself. It is pure: files and facts in, findings
// out. It reads no cluster and no clock.
package doctor

import (
	"cmp"
	"slices"
	"time"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

// Severity is how much a finding weighs.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // would make a mirror or its figures wrong
	Warning Severity = "warning" // may hurt the primary, or mislead
	Info    Severity = "info"    // to be known
)

// Finding is one thing that was found.
type Finding struct {
	Check    string   `json:"check"` // its short, stable name: "subset-without-rule"; see Checks
	Severity Severity `json:"severity"`
	Object   string   `json:"object,omitempty"` // "VirtualService shop/my-app"
	File     string   `json:"file,omitempty"`   // empty where the object came from a cluster
	Line     int      `json:"line,omitempty"`   // from 1; 0 where unknown
	Finding  string   `json:"finding"`
	Evidence string   `json:"evidence,omitempty"`
	Remedy   string   `json:"remedy,omitempty"` // what to write where
}

// Input is what Examine looks at. It is not changed.
type Input struct {
	// Sources are manifests, dashboards, rule files and Helm values: files, or the objects of a cluster as YAML, each
	// named as its object ("VirtualService shop/my-app").
	Sources []route.Source
	Live    *Live   // nil for files alone
	Rate    float64 // requests a second that pools are judged for; 0: not asked
}

// Live is what a cluster says beside its objects.
type Live struct {
	Kubernetes, Istio string // versions ("v1.34.4", "1.31.0"); empty where unknown
	Pods              []Pod  // of the objects' namespaces and of the gateway's
	Gateways          []Gateway
	Now               time.Time // by this machine's clock
}

// Pod is a pod as it stands.
type Pod struct {
	Namespace, Name string
	Labels          map[string]string
	Annotations     map[string]string
	Containers      []string // names, those of init containers too: istio-proxy may be either
	Ready           bool
	Restarts        int
	Ports           []int32   // of its containers
	Clock           time.Time // what its clock says at Live.Now; zero: unknown
	ProxyVersion    string    // of its istio-proxy; empty where unknown
}

// Gateway is what a replica of the ingress gateway has been given.
type Gateway struct {
	Pod          string
	Routes       []mesh.Route
	Differences  []string           // between what it was given and what the manifests ask for
	Clusters     map[string]Cluster // by Envoy's name; nil where unknown
	StatsMatcher bool               // the counters of mirror clusters are exposed
}

// Cluster is a cluster as a gateway sees it.
type Cluster struct {
	Endpoints, Healthy int
	Counters           map[string]uint64 // upstream_rq_pending_overflow and its like
}

// Examine gives what it found, sorted by severity, file and line; nothing where all is well.
func Examine(in Input) []Finding {
	f := survey(in)
	for _, c := range catalogue {
		if c.run != nil {
			c.run(f)
		}
	}
	for i := range f.found {
		if f.found[i].File == f.found[i].Object { // of a cluster, not of a file
			f.found[i].File, f.found[i].Line = "", 0
		}
	}
	Sort(f.found)
	return slices.Compact(f.found)
}

// Sort puts findings into Examine's order: by severity, file and line.
func Sort(found []Finding) { slices.SortStableFunc(found, before) }

var weights = map[Severity]int{Error: 0, Warning: 1, Info: 2}

func before(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(weights[a.Severity], weights[b.Severity]),
		cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Check, b.Check), cmp.Compare(a.Object, b.Object),
		cmp.Compare(a.Finding, b.Finding), cmp.Compare(a.Evidence, b.Evidence))
}

// check is one entry of the catalogue. What a check finds may come from the survey or from another check's function,
// which leaves its run nil.
type check struct {
	id, what string
	run      func(*facts)
}

// Checks names every check and says what it looks for, for documentation.
func Checks() []struct{ ID, What string } {
	var out []struct{ ID, What string }
	for _, c := range catalogue {
		out = append(out, struct{ ID, What string }{c.id, c.what})
	}
	return out
}

var catalogue = []check{
	{"not-yaml", "a file that is no YAML", nil},
	{"invalid", "an object that the API server or istiod would reject", validate},
	{"not-modelled", "what umbra's route model does not know, so that its predictions may differ", nil},
	{"route-warning", "what istiod takes and what most likely was not meant", nil},
	{"vs-not-bound", "a VirtualService that mirrors and that no ingress gateway has", checkBinding},
	{"host-overlap", "VirtualServices that share a host at a gateway or in the mesh", checkOverlap},
	{"subset-without-rule", "a subset that no DestinationRule defines: the mirror is skipped in silence, the primary answers 503", checkTargets},
	{"subset-without-pods", "a destination or mirror that no pod belongs to", checkPods},
	{"mirror-without-cluster", "a destination or mirror whose Service or port does not exist", nil},
	{"version-label", "pods behind a mirrored host without the label version", checkVersionLabels},
	{"service-selector", "a Service of a mirrored host that selects nothing", checkSelectors},
	{"service-port-name", "a Service port of a mirrored host whose name does not say http", checkPortNames},
	{"sidecar-absent", "pods behind a mirrored host without a sidecar", checkSidecars},
	{"percentage-truncated", "a percentage that is programmed as another one", checkPercentages},
	{"mirror-percent-deprecated", "the deprecated mirrorPercent", nil},
	{"mirrored-writes", "a mirror that gets POST, PUT, PATCH or DELETE", checkWrites},
	{"mirrored-uploads", "a mirror whose shadow can stall the client's uploads", checkUploads},
	{"reads-only-loses-methods", "rules by method that leave HEAD or OPTIONS without a route", checkLostMethods},
	{"no-timeout", "a mirrored route without timeout: a hung shadow's requests never end", checkTimeouts},
	{"outlier-is-no-timeout", "an outlier detection in place of a time-out", checkOutliers},
	{"breaker-unlimited", "a mirror whose requests in flight nothing bounds", checkBreakers},
	{"pool-too-small", "a connection pool that overflows at the asked rate", checkPools},
	{"pending-overflow", "requests that a gateway discarded as a pool was full", nil},
	{"shadow-suffix", "the suffix -shadow of the Host header, and who depends on it", checkSuffix},
	{"metrics-not-exposed", "a gateway that does not count its mirror clusters", checkExposed},
	{"metrics-not-scraped", "pods whose metrics nobody scrapes", checkScraped},
	{"monitor-port", "a ServiceMonitor or PodMonitor whose port nobody has", checkMonitors},
	{"monitor-selects-nothing", "a ServiceMonitor or PodMonitor that selects nothing", nil},
	{"query-without-reporter", "a query that counts requests at both sidecars, or misses the mirrored ones", checkQueries},
	{"error-rate-empty", "an error rate that is empty, not zero, while there is no 5xx", nil},
	{"gateway-absent", "a cluster without a gateway that could be asked", checkGatewayThere},
	{"gateway-differs", "a gateway that was given another thing than the manifests ask for", checkGateways},
	{"no-healthy-endpoints", "a cluster without a healthy endpoint", nil},
	{"istio-version", "a version of Istio or of a proxy that mirrors otherwise", checkIstio},
	{"kubernetes-version", "a version of Kubernetes that Istio does not support", checkKubernetes},
	{"time-skew", "pods whose clocks differ from this machine's", checkClocks},
	{"pod-restarts", "pods of a mirrored host that were restarted", checkRestarts},
}
