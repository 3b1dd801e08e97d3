package doctor

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// checkTimeouts finds mirrored routes without timeout: the shadow uses the route's, and Istio's default is none.
func checkTimeouts(f *facts) {
	f.onceARoute(func(l leg) {
		if l.route().GetTimeout().AsDuration() == 0 {
			f.add("no-timeout", Warning, l.vs.object, l.where(), l.named()+" mirrors and has no timeout: requests to a hung shadow never end and pile up in the gateway",
				"timeout is absent or 0, and the shadow has no timeout but the route's", "add timeout: 10s (or what the slowest good answer needs) to the route")
		}
	})
}

var timeoutWord = regexp.MustCompile(`(?i)time-?out`)

// checkOutliers finds the article's error 6: an outlier detection that is meant for a time-out. It ejects hosts that
// answered with errors; it ends no request.
func checkOutliers(f *facts) {
	seen := map[*object]bool{}
	f.onceARoute(func(l leg) {
		t := f.resolve(l)
		if _, outlier := t.policy(t.portNumber(l)); outlier == nil || l.route().GetTimeout().AsDuration() > 0 {
			return
		}
		dr := t.by
		if dr.object == nil {
			dr = t.rules[0]
		}
		if !seen[dr.object] {
			seen[dr.object] = true
			f.outlier(dr, fmt.Sprintf("%s of %s, whose mirror it applies to, has no timeout", l.named(), l.vs.ID()))
		}
	})
	for _, dr := range f.rules {
		if why := meantAsTimeout(dr); why != "" && !seen[dr.object] {
			f.outlier(dr, why)
		}
	}
}

func (f *facts) outlier(dr rule, evidence string) {
	_, at := outlierOf(dr)
	f.add("outlier-is-no-timeout", Warning, dr.object, at, dr.ID()+" has an outlier detection, which is no time-out: it ejects hosts after errors and ends no request",
		evidence, "set timeout on the mirrored route of the VirtualService; bound the requests in flight by connectionPool.http.http2MaxRequests")
}

// outlierOf finds a rule's outlier detection and where it is written.
func outlierOf(dr rule) (*networking.OutlierDetection, []any) {
	for i, s := range dr.spec.GetSubsets() {
		if o := s.GetTrafficPolicy().GetOutlierDetection(); o != nil {
			return o, []any{"spec", "subsets", i, "trafficPolicy", "outlierDetection"}
		}
	}
	return dr.spec.GetTrafficPolicy().GetOutlierDetection(), []any{"spec", "trafficPolicy", "outlierDetection"}
}

// meantAsTimeout says by what a rule shows that its outlier detection is meant as a time-out: its name, or the comment.
func meantAsTimeout(dr rule) string {
	o, at := outlierOf(dr)
	if o == nil {
		return ""
	}
	if timeoutWord.MatchString(dr.Name) {
		return "its name is " + dr.Name
	}
	n := dr.root
	for i, step := range at {
		if s, ok := step.(string); ok {
			key, value := entry(n, s)
			if key != nil && i == len(at)-1 && timeoutWord.MatchString(key.HeadComment+key.LineComment) {
				return fmt.Sprintf("the comment beside it says %q", strings.TrimSpace(timeoutLine(key.HeadComment+"\n"+key.LineComment)))
			}
			n = value
		} else if n != nil && step.(int) < len(n.Content) {
			n = n.Content[step.(int)]
		}
	}
	return ""
}

func timeoutLine(comment string) string {
	for line := range strings.Lines(comment) {
		if timeoutWord.MatchString(line) {
			return line
		}
	}
	return comment
}

// limits are a cluster's circuit breakers; 0: unlimited, which is Istio's default.
type limits struct {
	requests, connections, pending int32 // http2MaxRequests, maxConnections, http1MaxPendingRequests
	http2                          bool  // upstream connections are HTTP/2, each with many requests
}

func (f *facts) limitsOf(l leg) limits {
	t := f.resolve(l)
	pool, _ := t.policy(t.portNumber(l))
	h := pool.GetHttp()
	out := limits{requests: h.GetHttp2MaxRequests(), connections: pool.GetTcp().GetMaxConnections(), pending: h.GetHttp1MaxPendingRequests()}
	out.http2 = h.GetH2UpgradePolicy() == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE
	if p := t.port(l); p != nil {
		says := protocolOf(p)
		out.http2 = out.http2 || says == "http2" || says == "grpc" || says == "kubernetes.io/h2c"
	}
	return out
}

// capacity is how many requests to the cluster can be in flight or waiting before Envoy discards the next; infinite
// where nothing bounds them.
func (b limits) capacity() float64 {
	least := math.Inf(1)
	if b.requests > 0 {
		least = float64(b.requests)
	}
	if !b.http2 && b.connections > 0 && b.pending > 0 {
		least = min(least, float64(b.connections)+float64(b.pending))
	}
	return least
}

func (b limits) String() string {
	say := func(v int32) string {
		if v == 0 {
			return "unlimited"
		}
		return fmt.Sprint(v)
	}
	version := "HTTP/1.1"
	if b.http2 {
		version = "HTTP/2"
	}
	return fmt.Sprintf("over %s: http2MaxRequests %s, maxConnections %s, http1MaxPendingRequests %s", version, say(b.requests), say(b.connections), say(b.pending))
}

// checkBreakers finds mirrors whose requests in flight are unbounded.
func checkBreakers(f *facts) {
	seen := map[string]bool{}
	for _, l := range f.mirrors() {
		t := f.resolve(l)
		key := t.host + "|" + l.dest.GetSubset()
		if b := f.limitsOf(l); math.IsInf(b.capacity(), 1) && !seen[key] && !f.nobody(l) {
			seen[key] = true
			f.add("breaker-unlimited", Warning, l.vs.object, l.path, fmt.Sprintf("nothing bounds the requests in flight to the mirror %s: a hung shadow takes the gateway's memory", shown(t, l)), b.String(),
				fmt.Sprintf("add trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1000}}} to subset %s in the DestinationRule of %s", cmp.Or(l.dest.GetSubset(), "(or the whole rule)"), l.dest.GetHost()))
		}
	}
}

func shown(t target, l leg) string {
	if s := l.dest.GetSubset(); s != "" {
		return s + " of " + t.host
	}
	return t.host
}

// assumedLatency is what a healthy service is taken to need where nobody said.
const assumedLatency = 100 * time.Millisecond

// checkPools judges the pools for the asked rate by Little's law: in flight = rate × time in the service. Overflow with
// a healthy service is a warning; overflow only when it hangs, until the route's timeout ends each request, is what a
// breaker is for, and told as info.
func checkPools(f *facts) {
	if f.in.Rate <= 0 {
		return
	}
	gateways := 1
	if f.in.Live != nil {
		gateways = max(1, len(f.in.Live.Gateways))
	}
	for _, l := range f.legs() {
		rate := f.in.Rate / float64(gateways)
		if l.mirror {
			rate *= l.percent / 100
		} else {
			rate *= weight(l)
		}
		f.pool(l, rate, gateways)
	}
}

// weight is the share of a destination.
func weight(l leg) float64 {
	all := l.route().GetRoute()
	sum, own := int32(0), int32(0)
	for _, d := range all {
		sum += d.GetWeight()
		if d.GetDestination() == l.dest {
			own = d.GetWeight()
		}
	}
	if len(all) == 1 || sum == 0 {
		return 1
	}
	return float64(own) / float64(sum)
}

func (f *facts) pool(l leg, rate float64, gateways int) {
	b := f.limitsOf(l)
	have := b.capacity()
	timeout := l.route().GetTimeout().AsDuration()
	for _, x := range []struct {
		severity Severity
		latency  time.Duration
		why      string
	}{{Warning, assumedLatency, "with an assumed latency of"}, {Info, timeout, "while each answer takes the route's whole timeout,"}} {
		need := rate * x.latency.Seconds()
		if need <= have {
			continue
		}
		t := f.resolve(l)
		f.add("pool-too-small", x.severity, l.vs.object, l.path,
			fmt.Sprintf("the pool of the %s %s of %s overflows at %s requests a second %s %v", l.word(), shown(t, l), l.named(), number(f.in.Rate), x.why, x.latency),
			fmt.Sprintf("Little's law: %s/s of it at each of %d gateways × %v = %.0f in flight > %.0f (%s)", number(math.Round(rate*100)/100), gateways, x.latency, math.Ceil(need), have, b),
			fmt.Sprintf("raise connectionPool of %s in the DestinationRule to %.0f or more (http2MaxRequests; over HTTP/1.1 maxConnections too), or lower the rate or the percentage", shown(t, l), math.Ceil(need)))
		return
	}
}

// overflows are the counters of requests and connections that a full pool refused or kept waiting.
var overflows = []string{"upstream_rq_pending_overflow", "upstream_rq_retry_overflow", "upstream_cx_pool_overflow"}

// pendingOverflow reads the overflow counters of a gateway's cluster.
func (f *facts) pendingOverflow(gatewayPod, name string, c Cluster) {
	var seen []string
	for _, counter := range overflows {
		if n := c.Counters[counter]; n > 0 {
			seen = append(seen, fmt.Sprintf("%s %d", counter, n))
		}
	}
	if slices.Sort(seen); len(seen) > 0 {
		f.found = append(f.found, Finding{Check: "pending-overflow", Severity: Warning, Object: "Pod " + gatewayPod,
			Finding: "the gateway discarded requests to " + name + " since it started, as a pool was full", Evidence: strings.Join(seen, ", "),
			Remedy: "raise connectionPool.http.http2MaxRequests and http1MaxPendingRequests in the DestinationRule, or lower the rate; a discarded mirror looks like a low percentage"})
	}
}
