package route

import "slices"

// RoutesAt gives the routes that a plain HTTP request for the authority can take at a port, each once, in the order in
// which they are tried.
func (t *Table) RoutesAt(port uint32, authority string) []*Route {
	vh := t.virtualHost(&Request{Port: port, Scheme: "http", Authority: authority})
	if vh == nil {
		return nil
	}
	var out []*Route
	for _, e := range vh.entries {
		if !slices.Contains(out, e.route) {
			out = append(out, e.route)
		}
	}
	return out
}
