package route

import (
	"regexp"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/gateway"
	"istio.io/istio/pkg/config/protocol"
	corev1 "k8s.io/api/core/v1"
)

// refuse names what the manifests ask for, that istiod would take, and that would change where a request goes or what
// it carries in ways that a Route cannot say. None of it may be passed over in silence.
func (b *builder) refuse() {
	for _, g := range b.m.gateways {
		b.refuseMeta(g.document)
		for i, s := range g.spec.Servers {
			b.refuseServer(g.document, i, s)
		}
	}
	b.refusePortMix()
	for _, vs := range b.m.virtualServices {
		b.refuseMeta(vs.document)
		b.refuseVirtualService(vs.document, vs.spec)
	}
	for _, dr := range b.m.rules {
		b.refuseMeta(dr.document)
		if dr.spec.WorkloadSelector != nil {
			b.cannot(dr.document, []any{"spec", "workloadSelector"}, "a workloadSelector", "remove it: the gateway is the only client")
		}
	}
	b.refuseServices()
}

// cannot adds the fault of something that the model does not have.
func (b *builder) cannot(d *document, path []any, what, do string) {
	b.faultAt(d, path, "%s: %s cannot be modelled; %s", d.ID(), what, do)
}

func (b *builder) refuseMeta(d *document) {
	if rev := d.meta.Labels["istio.io/rev"]; rev != "" && rev != "default" {
		b.cannot(d, []any{"metadata", "labels", "istio.io/rev"}, "revision "+rev, "remove the label: umbra's mesh has one control plane, and it would not see the object")
	}
	for _, name := range []string{constants.InternalRouteSemantics, constants.InternalGatewaySemantics} {
		if _, ok := d.meta.Annotations[name]; ok {
			b.cannot(d, []any{"metadata", "annotations", name}, "the annotation "+name, "remove it: it is istiod's own")
		}
	}
}

func (b *builder) refuseServer(d *document, i int, s *networking.Server) {
	at := func(more ...any) []any { return append([]any{"spec", "servers", i}, more...) }
	p := protocol.Parse(s.GetPort().GetProtocol())
	rejected := s.GetPort() == nil || p == protocol.Unsupported || p.IsTLS() && s.Tls == nil // validation tells
	if !rejected && !p.IsHTTP() && !gateway.IsHTTPSServerWithTLSTermination(s) {
		b.cannot(d, at("port", "protocol"), "a server that passes "+s.Port.Protocol+" on as it comes", "use HTTP, or HTTPS that the gateway terminates")
	}
	if s.GetBind() != "" {
		b.cannot(d, at("bind"), "bind", "remove it: the gateway listens on one address")
	}
	if s.GetDefaultEndpoint() != "" {
		b.cannot(d, at("defaultEndpoint"), "defaultEndpoint", "remove it and route with a VirtualService")
	}
}

// refusePortMix tells of servers that istiod skips, as one port is either plain or TLS (mergeGateways in
// pilot/pkg/model/gateway.go).
func (b *builder) refusePortMix() {
	first := map[uint32]*server{}
	for _, s := range b.servers() {
		if other := first[s.Port]; other != nil && other.terminates() != s.terminates() {
			b.faultAt(s.doc, []any{"spec", "servers", s.index, "port"}, "Gateway %s: port %d is %s here and %s at %s:%d; istiod skips one of the two, so give them different ports",
				s.Gateway, s.Port, s.Protocol, other.Protocol, other.File, other.Line)
		} else if other == nil {
			first[s.Port] = s
		}
	}
}

func (b *builder) refuseVirtualService(d *document, vs *networking.VirtualService) {
	if len(vs.Hosts) == 0 {
		b.cannot(d, []any{"spec"}, "a VirtualService without hosts (a delegate)", "write its routes into the VirtualService that delegates to it")
	}
	if len(vs.Tcp) > 0 {
		b.cannot(d, []any{"spec", "tcp"}, "a TCP route", "only http routes are; take it out")
	}
	if len(vs.Tls) > 0 {
		b.cannot(d, []any{"spec", "tls"}, "a TLS route", "only http routes are; take it out")
	}
	for i, r := range vs.Http {
		if r != nil {
			b.refuseRoute(d, []any{"spec", "http", i}, r)
		}
	}
}

func (b *builder) refuseRoute(d *document, at []any, r *networking.HTTPRoute) {
	sub := func(more ...any) []any { return slices.Concat(at, more) }
	if r.Delegate != nil {
		b.cannot(d, sub("delegate"), "a delegate", "write the delegate's routes here")
	}
	if r.CorsPolicy != nil {
		b.cannot(d, sub("corsPolicy"), "a corsPolicy (the gateway answers preflight requests itself)", "take it out for the run")
	}
	for i, m := range r.Match {
		b.refuseMatch(d, sub("match", i), m)
	}
	b.refuseRedirect(d, sub("redirect"), r.Redirect)
	b.refuseRewrite(d, sub("rewrite", "uriRegexRewrite"), r.Rewrite.GetUriRegexRewrite())
	switch r.Fault.GetAbort().GetErrorType().(type) {
	case *networking.HTTPFaultInjection_Abort_GrpcStatus, *networking.HTTPFaultInjection_Abort_Http2Error:
		b.cannot(d, sub("fault", "abort"), "an abort with a gRPC or HTTP/2 status", "use httpStatus")
	}
	b.refuseHeaders(d, sub("headers"), r.Headers)
	for i, dst := range r.Route {
		b.refuseHeaders(d, sub("route", i, "headers"), dst.GetHeaders())
	}
}

// edgeHeader tells of headers that the gateway writes or removes itself before it routes, so that what the client sent
// says nothing about the match.
func edgeHeader(name string) bool {
	name = strings.ToLower(name)
	return name == "x-request-id" || strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-envoy-") || name == ":status"
}

func (b *builder) refuseMatch(d *document, at []any, m *networking.HTTPMatchRequest) {
	if len(m.GetSourceLabels()) > 0 {
		b.cannot(d, append(at, "sourceLabels"), "sourceLabels", "take them out: at a gateway the source is the gateway itself")
	}
	if m.GetSourceNamespace() != "" {
		b.cannot(d, append(at, "sourceNamespace"), "sourceNamespace", "take it out: at a gateway the source is the gateway itself")
	}
	for field, headers := range map[string]map[string]*networking.StringMatch{"headers": m.GetHeaders(), "withoutHeaders": m.GetWithoutHeaders()} {
		for name := range headers {
			switch {
			case strings.HasPrefix(name, "@request.auth.claims"):
				b.cannot(d, append(at, field, name), "routing by JWT claims", "route by a header")
			case edgeHeader(name):
				b.cannot(d, append(at, field, name), "a match on "+name+", which the gateway sets itself,", "route by a header of your own")
			}
		}
	}
}

func (b *builder) refuseRedirect(d *document, at []any, r *networking.HTTPRedirect) {
	switch r.GetRedirectCode() {
	case 0, 301, 302, 303, 307, 308:
	default:
		b.cannot(d, append(at, "redirectCode"), "this redirect code (istiod programs a route that Envoy rejects)", "use 301, 302, 303, 307 or 308")
	}
}

// refuseRewrite checks the substitution as RE2's CheckRewriteString does; Envoy leaves the path alone where it fails.
func (b *builder) refuseRewrite(d *document, at []any, rw *networking.RegexRewrite) {
	re, err := regexp.Compile(rw.GetMatch())
	if rw == nil || err != nil {
		return // the latter is istiod's to tell
	}
	if _, ok := substitution(rw.Rewrite, re.NumSubexp()); !ok {
		b.faultAt(d, append(at, "rewrite"), `%s: the rewrite %q is not one that RE2 takes: use \0 to \%d for the groups of the pattern and \\ for a backslash`, d.ID(), rw.Rewrite, min(re.NumSubexp(), 9))
	}
}

// headerCommand is what Envoy replaces in a header's value: %DOWNSTREAM_REMOTE_ADDRESS% and its like.
var headerCommand = regexp.MustCompile(`(?:^|[^%])(?:%%)*%[A-Za-z]`)

func (b *builder) refuseHeaders(d *document, at []any, h *networking.Headers) {
	for direction, ops := range map[string]*networking.Headers_HeaderOperations{"request": h.GetRequest(), "response": h.GetResponse()} {
		for op, values := range map[string]map[string]string{"set": ops.GetSet(), "add": ops.GetAdd()} {
			for name, value := range values {
				if headerCommand.MatchString(value) {
					b.cannot(d, slices.Concat(at, []any{direction, op, name}), "the value "+value+", which Envoy fills in,", "write a fixed value, with %% for a percent sign")
				}
			}
		}
	}
}

// refuseServices tells of hosts that routes lead to and whose endpoints no labels of Deployments tell.
func (b *builder) refuseServices() {
	seen := map[string]bool{}
	for _, vs := range b.m.virtualServices {
		for _, dst := range destinations(vs.spec) {
			hostname := fqdn(dst.GetHost(), vs.Namespace)
			if name, namespace, ok := serviceOf(hostname); ok && !seen[hostname] {
				seen[hostname] = true
				b.refuseService(name, namespace)
			}
		}
	}
}

func (b *builder) refuseService(name, namespace string) {
	selector := map[string]string{"app": name} // of the Service that umbra adds
	if s := b.service(name, namespace); s != nil {
		selector = s.spec.Spec.Selector
		switch {
		case s.spec.Spec.Type == corev1.ServiceTypeExternalName:
			b.cannot(s.document, []any{"spec", "type"}, "a route to an ExternalName Service", "route to a Service that selects pods")
			return
		case len(selector) == 0:
			b.cannot(s.document, []any{"spec"}, "a route to a Service without a selector", "give it the labels of its pods")
			return
		}
	}
	for _, d := range b.m.pods {
		if labels, path := podLabels(d); d.Namespace == namespace && within(selector, labels) {
			b.cannot(d, path, "a "+d.Kind+" behind Service "+namespace+"/"+name, "write a Deployment instead")
		}
	}
}

func podLabels(d *document) (map[string]string, []any) {
	path := []any{"spec", "template", "metadata", "labels"}
	switch d.Kind {
	case "Pod":
		path = path[2:]
	case "CronJob":
		path = append([]any{"spec", "jobTemplate"}, path...)
	}
	n := d.root
	for _, step := range path {
		if n = child(n, step.(string)); n == nil {
			return nil, path
		}
	}
	labels := map[string]string{}
	for k, v := range pairs(n) {
		labels[k.Value] = v.Value
	}
	return labels, path
}
