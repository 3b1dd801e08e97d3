package doctor

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
)

const meshGateway = "mesh" // the reserved gateway that stands for all sidecars

// gatewayNames gives the gateways of a VirtualService as namespace/name, or mesh where none is named.
func (vs virtualService) gatewayNames() []string {
	var out []string
	for _, g := range vs.spec.GetGateways() {
		if g != meshGateway && !strings.Contains(g, "/") {
			g = vs.Namespace + "/" + g
		}
		out = append(out, g)
	}
	if len(out) == 0 {
		return []string{meshGateway}
	}
	return out
}

// checkBinding finds the article's error 3: without gateways a VirtualService applies to sidecars only.
func checkBinding(f *facts) {
	for _, vs := range f.virtualServices {
		if !vs.mirrors() {
			continue
		}
		names := vs.gatewayNames()
		if slices.Equal(names, []string{meshGateway}) {
			f.add("vs-not-bound", Error, vs.object, []any{"spec", "gateways"},
				vs.ID()+" mirrors, but not at the ingress gateway",
				fmt.Sprintf("spec.gateways is %s, so that its routes are in sidecars only", written(vs.spec.GetGateways())),
				"name the Gateway in spec.gateways, and mesh beside it if the mesh's own clients are to be mirrored too: gateways: ["+f.someGateway(vs)+", mesh]")
			continue
		}
		f.gatewaysExist(vs, names)
	}
}

func written(gateways []string) string {
	if len(gateways) == 0 {
		return "absent"
	}
	return "[" + strings.Join(gateways, ", ") + "]"
}

// someGateway names a Gateway that a VirtualService could be bound to.
func (f *facts) someGateway(vs virtualService) string {
	for _, g := range f.gateways {
		if g.Namespace == vs.Namespace {
			return g.Name
		}
	}
	if len(f.gateways) > 0 {
		return f.gateways[0].Namespace + "/" + f.gateways[0].Name
	}
	return "my-gateway"
}

func (f *facts) gatewaysExist(vs virtualService, names []string) {
	for i, name := range names {
		exists := func(g gateway) bool { return g.Namespace+"/"+g.Name == name }
		if name != meshGateway && !slices.ContainsFunc(f.gateways, exists) {
			f.add("vs-not-bound", f.absent(), vs.object, []any{"spec", "gateways", i},
				fmt.Sprintf("%s is bound to Gateway %s, which does not exist here", vs.ID(), name),
				fmt.Sprintf("%d Gateways are known", len(f.gateways)),
				"correct the name in spec.gateways (namespace/name for one of another namespace), or add the Gateway")
		}
	}
}

// checkOverlap finds pairs of VirtualServices for one host at one gateway, one of which mirrors. In the mesh the
// younger one is ignored; at a gateway istiod appends the younger one's routes to the older one's, so that what follows
// a route that takes every request is never reached.
func checkOverlap(f *facts) {
	for i, b := range f.virtualServices {
		for _, a := range f.virtualServices[:i] {
			shared := sharedHost(a, b)
			if shared == "" || !a.mirrors() && !b.mirrors() {
				continue
			}
			for _, gw := range a.gatewayNames() {
				if slices.Contains(b.gatewayNames(), gw) {
					f.overlap(a, b, gw, shared)
				}
			}
		}
	}
}

func (f *facts) overlap(a, b virtualService, gw, shared string) {
	severity, why := Warning, "istiod tries the routes of the older one first"
	switch {
	case gw == meshGateway:
		severity, why = Error, "sidecars take one of the two only, the older"
	case a.takesAll() || b.takesAll():
		severity, why = Error, "one has a route that takes every request, and the routes of the younger one are tried after it"
	}
	f.add("host-overlap", severity, b.object, []any{"spec", "hosts"},
		fmt.Sprintf("%s and %s share host %s at %s", a.ID(), b.ID(), shared, gw),
		fmt.Sprintf("%s; the other is %s", why, place(a.object)),
		"put the routes of both into one VirtualService, the specific ones first")
}

func place(o *object) string {
	if o.File == o.ID() {
		return o.ID()
	}
	return fmt.Sprintf("at %s:%d", o.File, o.Line)
}

// sharedHost gives a host that both VirtualServices name, by the same words: of a wildcard and a name within it, the
// name wins, which is no overlap.
func sharedHost(a, b virtualService) string {
	for _, x := range a.spec.GetHosts() {
		for _, y := range b.spec.GetHosts() {
			if host.Name(fqdn(x, a.Namespace)) == host.Name(fqdn(y, b.Namespace)) {
				return x
			}
		}
	}
	return ""
}

// takesAll tells whether a VirtualService has a route without conditions.
func (vs virtualService) takesAll() bool {
	for _, r := range vs.spec.GetHttp() {
		if len(r.GetMatch()) == 0 {
			return true
		}
	}
	return false
}
