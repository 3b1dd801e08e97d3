package mesh

import (
	"errors"
	"fmt"
	"slices"

	"umbra/internal/route"
)

// Differences holds what the gateway was given against what the model of the manifests says: every route is there, and
// wherever it is, it has the mirrors that Istio makes of the manifests. The error tells all that is not so.
func Differences(t *route.Table, state *State) error {
	has := map[string][][]Mirror{} // a route may be programmed several times
	for _, programmed := range state.Routes {
		has[programmed.Name] = append(has[programmed.Name], programmed.Mirrors)
	}
	var errs []error
	for _, expected := range t.Routes() {
		if len(has[expected.Name]) == 0 {
			errs = append(errs, fmt.Errorf("the gateway has no route %s (%s:%d)", expected.Name, expected.File, expected.Line))
		}
		for _, got := range has[expected.Name] {
			if want := Programmed(expected); !slices.Equal(want, active(got)) {
				errs = append(errs, fmt.Errorf("route %s (%s:%d): the manifests give it the mirrors %v, the gateway has %v", expected.Name, expected.File, expected.Line, want, got))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the mesh is not configured as the manifests say: %w", err)
	}
	return nil
}

// Programmed are the mirror policies that Istio programs for a route: none for 0.
func Programmed(r *route.Route) (out []Mirror) {
	for _, m := range r.Mirrors {
		out = append(out, Mirror{Cluster: m.Cluster, Numerator: m.Numerator})
	}
	return active(out)
}

func active(mirrors []Mirror) (out []Mirror) {
	for _, m := range mirrors {
		if m.Numerator > 0 {
			out = append(out, m)
		}
	}
	return out
}
