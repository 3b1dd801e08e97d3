package route

import (
	"net/http"
	"slices"
	"sort"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// Apply edits h: removals, then sets, then adds, in Envoy's order (HeaderParser::evaluateHeaders).
func (e HeaderEdit) Apply(h http.Header) {
	for _, name := range e.Remove {
		h.Del(name)
	}
	for _, kv := range e.Set {
		h.Set(kv[0], kv[1])
	}
	for _, kv := range e.Add {
		h.Add(kv[0], kv[1])
	}
}

// Edits gives the edits of a route and of the destination that was drawn, in the order in which Envoy makes them. Of
// a single destination istiod appends the edits to the route's; of several, Envoy makes the destination's first, so
// that the route's win.
func (r *Route) Edits(d *Destination) (request, response []HeaderEdit) {
	single := len(r.Destinations) == 1
	return edits(single, r.Headers.Request, d.Headers.Request), edits(single, r.Headers.Response, d.Headers.Response)
}

func edits(single bool, route, destination HeaderEdit) []HeaderEdit {
	if !single {
		return []HeaderEdit{destination, route}
	}
	return []HeaderEdit{{
		Remove: slices.Concat(route.Remove, destination.Remove),
		Set:    slices.Concat(route.Set, destination.Set),
		Add:    slices.Concat(route.Add, destination.Add),
	}}
}

// AuthorityFor gives the authority that a destination, and each mirror beside it, is asked for.
func (d Decision) AuthorityFor(to *Destination) string {
	if d.Route != nil && d.Route.Rewrite != nil && d.Route.Rewrite.Authority != "" {
		return d.Authority
	}
	return or(to.Authority, d.Authority)
}

// headerOps translates header operations. The authority is set apart: istiod makes a host rewrite of it, where "set"
// wins over "add" (TranslateHeadersOperations).
func headerOps(in *networking.Headers) (ops HeaderOps, authority string) {
	req, resp := in.GetRequest(), in.GetResponse()
	ops.Request = headerEdit(req)
	ops.Response = headerEdit(resp)
	return ops, or(authorityIn(req.GetSet()), authorityIn(req.GetAdd()))
}

func headerEdit(in *networking.Headers_HeaderOperations) HeaderEdit {
	e := HeaderEdit{Set: headerList(in.GetSet()), Add: headerList(in.GetAdd())}
	for _, name := range in.GetRemove() {
		if !isInternal(name) {
			e.Remove = append(e.Remove, name)
		}
	}
	return e
}

// headerList leaves out empty values, as Envoy does unless told otherwise (keep_empty_value).
func headerList(in map[string]string) [][2]string {
	var out [][2]string
	for name, value := range in {
		if !isInternal(name) && value != "" {
			out = append(out, [2]string{name, strings.ReplaceAll(value, "%%", "%")}) // %% is Envoy's way to write %
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i][0] < out[j][0] })
	return out
}

// isInternal tells whether Envoy lets no header operation touch the name.
func isInternal(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}

func isAuthority(name string) bool {
	return strings.EqualFold(name, ":authority") || strings.EqualFold(name, "host")
}

func authorityIn(in map[string]string) string {
	for name, value := range in { // validation lets one be set only
		if isAuthority(name) {
			return value
		}
	}
	return ""
}
