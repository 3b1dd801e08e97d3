// Package route is the pure model of what Istio makes of a VirtualService, its DestinationRules and its Gateway:
// manifests and one request in; the route it takes, the clusters that may serve it, its mirrors and their
// programmed fractions out. It sends nothing, knows no clock and draws no random number.
package route

import (
	"net/http"
	"time"
)

// Request is a request as it reaches a gateway.
type Request struct {
	Port      uint32 // of the Gateway server that took the connection (the number in the Gateway, not a node port)
	Scheme    string // "http" or "https"
	Method    string
	Authority string      // may carry a port
	Path      string      // with the query, as on the request line
	Header    http.Header // keys as http.Header's methods make them
}

// Kind is what a route does with a request.
type Kind int

// The kinds of route.
const (
	Forward        Kind = iota // to one of Destinations
	Redirect                   // answered by the gateway
	DirectResponse             // answered by the gateway
)

// Route is one HTTP route of a VirtualService, as programmed into a gateway. It is immutable.
type Route struct {
	Name         string // unique: "namespace/virtualservice/name", the name being its index ("#2") where the route has none
	File         string // where it was written
	Line         int
	Kind         Kind
	Destinations []Destination // weights as written; see Destination.Weight
	Mirrors      []Mirror      // in the order written; a percentage of 0 stays here with Numerator 0 (Istio programs no policy for it)
	Redirect     *RedirectAction
	Response     *DirectResponseAction
	Rewrite      *Rewrite
	Headers      HeaderOps
	Fault        *Fault
	Timeout      time.Duration // 0: none
	Retries      Retries
}

// Destination is one weighted destination.
type Destination struct {
	Cluster string // Envoy's name: outbound|PORT|SUBSET|FQDN; see Table.Cluster
	Weight  uint32 // share is Weight / the sum over Destinations; a single destination has 1 where none is written
	Headers HeaderOps
	// Authority is what this destination rewrites the authority to where the route itself does not; else empty.
	Authority string
}

// Mirror is one mirror policy. All mirrors of a route share one random value of a request, so their sets are nested.
type Mirror struct {
	Cluster   string
	Percent   float64 // as configured, after the precedence mirrorPercentage, mirrorPercent, 100
	Numerator uint32  // as programmed, per million: uint32(Percent*10000), truncated
}

// Cluster is a set of endpoints: a host's subset at a port.
type Cluster struct {
	Name      string
	Host      string // FQDN
	Subset    string // empty: all of the host
	Port      uint32
	Namespace string            // of the Service
	Selector  map[string]string // the pod labels that its endpoints have: the Service's selector and the subset's labels
	Missing   string            // why it has no configuration ("no DestinationRule defines subset v2 of …"); empty where it has. Envoy answers 503 for such a primary and skips such a mirror silently.

	service string            // the Service's name
	labels  map[string]string // of the subset; part of Selector
	barren  bool              // the Service's selector and the subset's labels contradict each other: no pod can have both
}

// Fault is an injected fault, per million.
type Fault struct {
	Delay          time.Duration
	DelayNumerator uint32
	AbortStatus    int
	AbortNumerator uint32
}

// Retries is a retry policy; Istio's default where a route has none (attempts 2, on connect-failure, refused-stream, unavailable, cancelled, and the like).
type Retries struct {
	Attempts      int // retries after the first try
	PerTryTimeout time.Duration
	On            []string      // Envoy's retry_on conditions
	Statuses      []int         // retriable status codes
	Backoff       time.Duration // base interval; 0: Envoy's default, 25 ms
}

// RedirectAction is a redirect. What is empty stays as in the request.
type RedirectAction struct {
	Scheme, Authority string
	Port              uint32 // 0: none is written, so the port of the request's authority stays
	Path              string // replaces the path; the query stays unless Path has one
	PrefixRewrite     string // replaces the matched prefix
	Code              int
}

// DirectResponseAction is a fixed answer.
type DirectResponseAction struct {
	Status int
	Body   string
}

// Rewrite changes what the upstream, and each mirror with it, is asked for. What is empty stays.
type Rewrite struct {
	URI          string // in place of the matched prefix, or of the whole path where an exact path or a regex matched
	Regex        string // each match in the path (without the query) becomes Substitution
	Substitution string // with \1 for the first group
	Authority    string // whether from rewrite.authority or from headers.request
}

// HeaderOps are header operations in Envoy's order: remove, set, add.
type HeaderOps struct {
	Request, Response HeaderEdit
}

// HeaderEdit edits one direction's headers. Set and Add are sorted by name, as istiod programs them.
type HeaderEdit struct {
	Set, Add [][2]string
	Remove   []string
}
