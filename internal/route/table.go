package route

import (
	"cmp"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/gateway"
	"istio.io/istio/pkg/config/host"

	"umbra/internal/diag"
)

// Table is what istiod programs into the ingress gateway from a set of manifests. It is immutable.
type Table struct {
	routes    []*Route
	clusters  map[string]*Cluster
	servers   []Server
	notes     []Note
	warnings  diag.Faults
	listeners map[uint32]*listener
	added     []Service
}

// Server is an HTTP server of a Gateway that the ingress gateway's pods have.
type Server struct {
	Gateway       string // namespace/name
	Port          uint32
	Protocol      string
	Hosts         []string // as written
	TLS           bool     // the gateway terminates it
	HTTPSRedirect bool
	File          string
	Line          int
}

// Note names something that the manifests ask for and that a route does not carry.
type Note struct {
	File string
	Line int
	What string // "DestinationRule shop/my-app: outlier detection"
}

// Service is a Service that umbra adds, as the manifests have none for a host that routes lead to.
type Service struct {
	Namespace, Name string
	Selector        map[string]string
	Ports           []uint32 // sorted
}

// Where the gateway is: the release istio-ingressgateway. Gateways select its pods by their labels; what is exported
// to its namespace is what it sees. The namespace is Istio's root namespace too.
const gatewayNamespace = "istio-system"

var gatewayLabels = map[string]string{"app": "istio-ingressgateway", "istio": "ingressgateway"}

// NewTable builds the table. The error is diag.Faults: what istiod rejects and what cannot be modelled. Where istiod
// goes by creation time (several VirtualServices or DestinationRules for one host, several Gateways for one port), the
// order here is that of objects created in the same second: by name, then by namespace.
func NewTable(m *Manifests) (*Table, error) {
	b := &builder{m: m, t: &Table{clusters: map[string]*Cluster{}, listeners: map[uint32]*listener{}}}
	b.sort()
	b.validate()
	b.refuse()
	if err := b.faults.Err(); err != nil {
		return nil, err
	}
	b.listen()
	b.addServices()
	b.note()
	b.warn()
	return b.t, nil
}

// Routes gives every route that is programmed at some server, in the order of the manifests.
func (t *Table) Routes() []*Route { return t.routes }

// Cluster gives a cluster by Envoy's name, nil where no route leads to it.
func (t *Table) Cluster(name string) *Cluster { return t.clusters[name] }

// Clusters gives every cluster that a route leads to, by name.
func (t *Table) Clusters() []*Cluster {
	out := make([]*Cluster, 0, len(t.clusters))
	for _, c := range t.clusters {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Servers gives the servers in the order of the manifests.
func (t *Table) Servers() []Server { return t.servers }

// Notes gives what the manifests ask for and a pure route does not carry: connection pools, outlier detection, TLS,
// load balancers other than round robin, and the like.
func (t *Table) Notes() []Note { return t.notes }

// Warnings gives what istiod takes and what most likely was not meant.
func (t *Table) Warnings() diag.Faults { return t.warnings }

// AddedServices gives the Services that umbra adds.
func (t *Table) AddedServices() []Service { return t.added }

type builder struct {
	m      *Manifests
	t      *Table
	faults diag.Faults

	sortedGateways []*resource[*networking.Gateway] // by name, then by namespace, as the others
	sortedServices []*resource[*networking.VirtualService]
	sortedRules    []*resource[*networking.DestinationRule]
	built          map[variant]*Route
	lookups        map[string]*Service // Services to add, by host
}

func (b *builder) sort() {
	b.sortedGateways = byAge(b.m.gateways)
	b.sortedServices = byAge(b.m.virtualServices)
	b.sortedRules = byAge(b.m.rules)
	b.built = map[variant]*Route{}
	b.lookups = map[string]*Service{}
}

// byAge sorts as istiod does objects of the same creation time (configCompareByCreationTime).
func byAge[T any](in []*resource[T]) []*resource[T] {
	return slices.SortedStableFunc(slices.Values(in), func(a, b *resource[T]) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
	})
}

// server is a Gateway's server and where it stands.
type server struct {
	Server
	doc   *document
	index int
	spec  *networking.Server
}

func (s *server) terminates() bool { return gateway.IsHTTPSServerWithTLSTermination(s.spec) }

// servers gives the servers of the Gateways that select the ingress gateway's pods, in istiod's order.
func (b *builder) servers() []*server {
	var out []*server
	for _, g := range b.sortedGateways {
		if !within(g.spec.Selector, gatewayLabels) {
			continue
		}
		for i, s := range g.spec.Servers {
			if s.GetPort() == nil {
				continue // validation tells
			}
			at := g.place("spec", "servers", i)
			out = append(out, &server{doc: g.document, index: i, spec: s, Server: Server{
				Gateway: g.Namespace + "/" + g.Name, Port: s.Port.Number, Protocol: s.Port.Protocol, Hosts: s.Hosts,
				TLS: gateway.IsHTTPSServerWithTLSTermination(s), HTTPSRedirect: s.GetTls().GetHttpsRedirect(),
				File: g.File, Line: at.line,
			}})
		}
	}
	return out
}

// listen fills in the listeners: HTTP servers of one port share their virtual hosts, HTTPS servers have their own
// (gatewayRDSRouteName in pilot/pkg/model/gateway.go).
func (b *builder) listen() {
	plain := map[uint32]map[string]*virtualHost{}
	tls := map[uint32]map[string]*domains[*virtualHost]{}
	for _, s := range b.servers() {
		b.t.servers = append(b.t.servers, s.Server)
		if !s.terminates() {
			if plain[s.Port] == nil {
				plain[s.Port] = map[string]*virtualHost{}
			}
			b.serve(s, plain[s.Port])
			continue
		}
		own := map[string]*virtualHost{}
		b.serve(s, own)
		if tls[s.Port] == nil {
			tls[s.Port] = map[string]*domains[*virtualHost]{}
		}
		for _, name := range s.Hosts {
			tls[s.Port][strings.ToLower(bareHost(name))] = finish(own)
		}
	}
	for port, hosts := range plain {
		b.t.listeners[port] = &listener{plain: finish(hosts)}
	}
	for port, names := range tls {
		b.t.listeners[port] = &listener{tls: newDomains(names)}
	}
	slices.SortStableFunc(b.t.servers, func(x, y Server) int { return b.filePosition(x.File, x.Line, y.File, y.Line) })
	slices.SortStableFunc(b.t.routes, func(x, y *Route) int { return b.filePosition(x.File, x.Line, y.File, y.Line) })
}

// filePosition compares places in the order of the manifests.
func (b *builder) filePosition(fileA string, lineA int, fileB string, lineB int) int {
	return cmp.Or(cmp.Compare(b.fileIndex(fileA), b.fileIndex(fileB)), cmp.Compare(lineA, lineB))
}

func (b *builder) fileIndex(file string) int {
	return slices.IndexFunc(b.m.Objects, func(o Object) bool { return o.File == file })
}

// bareHost cuts the namespace off a server's host.
func bareHost(name string) string {
	if _, bare, ok := strings.Cut(name, "/"); ok {
		return bare
	}
	return name
}

// finish moves the routes that every request passes to the end of each virtual host, as istiod does where several
// VirtualServices share a host (SortVHostRoutes).
func finish(hosts map[string]*virtualHost) *domains[*virtualHost] {
	for _, vh := range hosts {
		slices.SortStableFunc(vh.entries, func(a, b entry) int {
			return cmp.Compare(order(a.match.catchAll()), order(b.match.catchAll()))
		})
	}
	return newDomains(hosts)
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

// serve adds what one server has to the virtual hosts of its listener (buildGatewayHTTPRouteConfig in
// pilot/pkg/networking/core/gateway.go).
func (b *builder) serve(s *server, hosts map[string]*virtualHost) {
	at := func(name string) *virtualHost {
		name = strings.ToLower(name)
		if hosts[name] == nil {
			hosts[name] = &virtualHost{}
		}
		return hosts[name]
	}
	for _, vs := range b.visible(s.Gateway) {
		shared := sharedHosts(s.spec.Hosts, s.doc.Namespace, vs)
		if len(shared) == 0 {
			continue
		}
		entries := b.entries(vs, s)
		if len(entries) == 0 {
			continue
		}
		for _, name := range shared {
			vh := at(string(name))
			vh.entries = append(vh.entries, entries...)
			vh.requireTLS = vh.requireTLS || s.HTTPSRedirect
		}
	}
	if s.HTTPSRedirect {
		for _, name := range serverHosts(s.spec.Hosts, s.doc.Namespace) {
			at(name).requireTLS = true
		}
	}
}

// serverHosts resolves "./host" and "*/host" (sanitizeServerHostNamespace).
func serverHosts(hosts []string, namespace string) []string {
	var out []string
	for _, h := range hosts {
		ns, bare, ok := strings.Cut(h, "/")
		switch {
		case ok && ns == ".":
			h = namespace + "/" + bare
		case ok && ns == "*" && bare == "*":
			return []string{"*"}
		case ok && ns == "*":
			h = bare
		}
		out = append(out, h)
	}
	return out
}

// sharedHosts gives the names that a server and a VirtualService have in common, the narrower of each pair.
func sharedHosts(hosts []string, namespace string, vs *resource[*networking.VirtualService]) host.Names {
	var own host.Names
	for _, h := range vs.spec.Hosts {
		own = append(own, host.Name(fqdn(h, vs.Namespace)))
	}
	return host.NamesForNamespace(serverHosts(hosts, namespace), vs.Namespace).Intersection(own)
}

// How the exportTo of a VirtualService reaches the gateway, in the order in which istiod lists them
// (VirtualServicesForGateway).
const (
	private = iota
	exported
	public
	hidden
)

func reach(exportTo []string, namespace string) int {
	switch {
	case len(exportTo) == 0, slices.Contains(exportTo, "*"):
		return public
	case slices.Contains(exportTo, "~"):
		return hidden
	case namespace == gatewayNamespace && (slices.Contains(exportTo, ".") || slices.Contains(exportTo, namespace)):
		return private
	case slices.Contains(exportTo, gatewayNamespace):
		return exported
	}
	return hidden
}

// visible gives the VirtualServices that a gateway has.
func (b *builder) visible(gw string) []*resource[*networking.VirtualService] {
	var out []*resource[*networking.VirtualService]
	for _, want := range []int{private, exported, public} {
		for _, vs := range b.sortedServices {
			if reach(vs.spec.ExportTo, vs.Namespace) == want && slices.Contains(gatewaysOf(vs), gw) {
				out = append(out, vs)
			}
		}
	}
	return out
}

// gatewaysOf gives the Gateways that a VirtualService names, as namespace/name; "mesh" stays as it is, and is what none
// means.
func gatewaysOf(vs *resource[*networking.VirtualService]) []string {
	if len(vs.spec.Gateways) == 0 {
		return []string{"mesh"}
	}
	return gatewayNames(vs.spec.Gateways, vs.Namespace)
}

func gatewayNames(names []string, namespace string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = gatewayName(name, namespace)
	}
	return out
}

// gatewayName follows resolveGatewayName in pilot/pkg/model/config.go, its legacy form name.namespace.svc… included.
func gatewayName(name, namespace string) string {
	ns, bare, slash := strings.Cut(name, "/")
	first, rest, dot := strings.Cut(name, ".")
	switch {
	case name == "mesh":
		return name
	case slash && ns == ".":
		return namespace + "/" + bare
	case slash:
		return name
	case dot:
		ns, _, _ := strings.Cut(rest, ".")
		return ns + "/" + first
	}
	return namespace + "/" + name
}
