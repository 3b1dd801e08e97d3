package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"umbra/cluster/internal/istio"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// checkReroute tells everything at once that a mesh which stands cannot follow.
func checkReroute(spec *mesh.Spec, m *route.Manifests, t *route.Table) error {
	var faults []error
	after, before := spec.Manifests.Changed(m), m.Changed(spec.Manifests)
	for _, o := range after {
		switch {
		case !among(before, &o):
			faults = append(faults, fmt.Errorf("%s is new", o.ID()))
		case !routes(&o):
			faults = append(faults, fmt.Errorf("%s has changed", o.ID()))
		}
	}
	for _, o := range before {
		if !among(after, &o) {
			faults = append(faults, fmt.Errorf("%s is not there any more", o.ID()))
		}
	}
	for _, c := range t.Clusters() {
		switch had := spec.Table.Cluster(c.Name); {
		case had == nil:
			faults = append(faults, fmt.Errorf("routes lead to the cluster %s, which none led to", c.Name))
		case !maps.Equal(had.Selector, c.Selector):
			faults = append(faults, fmt.Errorf("the cluster %s selects the pods %v, and selected %v", c.Name, c.Selector, had.Selector))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("while the mesh stands nothing but VirtualServices and DestinationRules can change, and only between its clusters as they are: %w", err)
	}
	return nil
}

// routes tells whether an object says how requests go.
func routes(o *route.Object) bool { return o.IsVirtualService() || o.IsDestinationRule() }

func among(all []route.Object, o *route.Object) bool {
	return slices.ContainsFunc(all, func(other route.Object) bool { return other.Key() == o.Key() })
}

// Reroute applies what differs, and waits until every replica of the gateway has the routes.
func (m *onKubernetes) Reroute(ctx context.Context, to *route.Manifests, t *route.Table) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.restore {
		return errors.New("umbra changes nothing in your cluster: blocks with mirroring off need --apply, which puts your objects back at the end")
	}
	if err := checkReroute(&m.spec, to, t); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.wait, fmt.Errorf("waited %v for the gateway to obey other routes", m.wait))
	defer cancel()
	if err := m.applyRoutes(ctx, to); err != nil {
		return err
	}
	if err := m.until(ctx, "the gateway to obey other routes", m.configured(t)); err != nil {
		return err
	}
	if err := m.noOtherGateway(ctx); err != nil {
		return err
	}
	m.rerouted.Store(t)
	return nil
}

// applyRoutes applies the VirtualServices and DestinationRules that are not as in the Spec, and those that were not so before, whatever became
// of it: what is there already makes the API server do nothing. Its caller holds changing.
func (m *onKubernetes) applyRoutes(ctx context.Context, to *route.Manifests) error {
	var changed []route.Object
	strays := m.spec.Manifests.Changed(to)
	for _, o := range to.Objects {
		if routes(&o) && (among(strays, &o) || among(m.strayed, &o)) {
			changed = append(changed, o)
		}
	}
	objects, err := istio.Applied(changed)
	if err != nil {
		return err
	}
	m.strayed = changed
	if err := m.client.Apply(ctx, objects); err != nil {
		return err
	}
	m.strayed = strays
	return nil
}

// noOtherGateway wants the replicas of the gateway to be those that were there at the begin: of another nobody has looked
// at the routes, and nobody counts what it sends.
func (m *onKubernetes) noOtherGateway(ctx context.Context) error {
	list, err := m.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return err
	}
	for i := range list {
		p := &list[i]
		ours := func(g *gatewayPod) bool { return g.namespace == p.Namespace && g.name == p.Name }
		if ready(p) && !slices.ContainsFunc(m.gateways, ours) {
			return fmt.Errorf("gateway %s came after the mesh had begun to serve: keep the number of replicas fixed while umbra runs", p.Name)
		}
	}
	return nil
}

// putRoutesBack has the gateways obey the Spec's routes again, without waiting until they do: who looks at the cluster
// afterwards, or uses the mesh again, finds the routes that were written.
func (m *onKubernetes) putRoutesBack() {
	m.changing.Lock()
	defer m.changing.Unlock()
	if len(m.strayed) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerIn)
	defer cancel()
	if err := m.applyRoutes(ctx, m.spec.Manifests); err != nil {
		m.log("the routes could not be made what the manifests say: %v", err)
	}
}
