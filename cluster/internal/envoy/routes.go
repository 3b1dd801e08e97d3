package envoy

import (
	"fmt"
	"reflect"
	"slices"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

// Routes gives what the gateway was given, each route under the model's name (route.Route.Name) and, where Envoy has
// several for it, once for each set of mirrors that they have. Routes of other VirtualServices on the model's virtual
// hosts come under "namespace/virtualservice/name", with their index there ("#2") where they have no name; virtual
// hosts that have no route of the model's are left out. dump is /config_dump, or its dynamic_route_configs alone.
func Routes(dump []byte, t *route.Table) ([]mesh.Route, error) {
	configs, err := parseDump(dump)
	if err != nil {
		return nil, err
	}
	var out []mesh.Route
	for _, p := range places(configs, t) {
		if !p.served() {
			continue
		}
		for i, e := range p.vh.Routes {
			r := mesh.Route{Name: p.name(i)}
			if e.Route != nil {
				r.Mirrors = e.Route.mirrors()
			}
			if !slices.ContainsFunc(out, func(other mesh.Route) bool { return reflect.DeepEqual(r, other) }) {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// name gives the name of a virtual host's route i.
func (p *place) name(i int) string {
	if p.bound[i] != nil {
		return p.bound[i].Name
	}
	e := p.vh.Routes[i]
	owner, name := e.owner(), e.Name
	if owner == "" {
		owner = "(no VirtualService)/" + p.vh.Name
	}
	if name == "" {
		name = fmt.Sprintf("#%d", i)
	}
	return owner + "/" + name
}
