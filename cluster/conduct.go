package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// conduct is a mesh.Conduct for the apps of a mesh. It never changes.
type conduct struct {
	mode    string
	shadows func(route.Workload) bool // who has the mode; nil where there is none
	delay   map[string]time.Duration  // by version
}

// newConduct tells everything at once that makes no sense for these apps.
func newConduct(t *route.Table, apps []route.Workload, c mesh.Conduct) (out conduct, err error) {
	out = conduct{mode: modeOf(c.Shadow), delay: maps.Clone(c.Delay)}
	var faults []error
	switch {
	case c.Shadow != "" && !slices.Contains(mesh.ShadowModes, c.Shadow):
		faults = append(faults, fmt.Errorf("shadow: %q is unknown; use %s", c.Shadow, strings.Join(mesh.ShadowModes, ", ")))
	case out.mode != "":
		out.shadows = onlyMirrored(t)
		if !slices.ContainsFunc(apps, out.shadows) {
			faults = append(faults, fmt.Errorf("shadow=%s: no pod belongs to mirrors only; give the shadow a Deployment of umbra's app that no destination selects", c.Shadow))
		}
	}
	for _, version := range slices.Sorted(maps.Keys(c.Delay)) {
		if c.Delay[version] < 0 {
			faults = append(faults, fmt.Errorf("delay of %s: %v is negative", version, c.Delay[version]))
		}
		if !slices.ContainsFunc(apps, func(w route.Workload) bool { return w.Version == version }) {
			faults = append(faults, fmt.Errorf("delay of %s: no pod of umbra's app has that version: %w", version, mesh.ErrFixed))
		}
	}
	return out, errors.Join(faults...)
}

// modeOf is the app's mode for one of mesh.ShadowModes, all but one of which bear its name.
func modeOf(shadow string) string {
	if shadow == "healthy" {
		return ""
	}
	return shadow
}

// modeFor is the mode of a workload's pods.
func (c *conduct) modeFor(w *route.Workload) string {
	if c.shadows == nil || !c.shadows(*w) {
		return ""
	}
	return c.mode
}

// settings are what the pods of a workload are told.
func (c *conduct) settings(spec *mesh.Spec, w *route.Workload) app.Settings {
	return app.Settings{Behaviour: spec.App[w.Version], Seed: spec.Seed, Mode: c.modeFor(w), Delay: c.delay[w.Version], Ignore: spec.Ignore}
}

// onlyMirrored tells the workloads that only mirrors use.
func onlyMirrored(t *route.Table) func(route.Workload) bool {
	primaries, mirrors := roles(t)
	return func(w route.Workload) bool {
		selects := func(c *route.Cluster) bool { return c.Selects(w) }
		return slices.ContainsFunc(mirrors, selects) && !slices.ContainsFunc(primaries, selects)
	}
}

// roles gives the clusters that routes send to, and those that they mirror to, be it nothing of the requests.
func roles(t *route.Table) (primaries, mirrors []*route.Cluster) {
	for _, r := range t.Routes() {
		for _, d := range r.Destinations {
			primaries = append(primaries, t.Cluster(d.Cluster))
		}
		for _, m := range r.Mirrors {
			mirrors = append(mirrors, t.Cluster(m.Cluster))
		}
	}
	without := func(c *route.Cluster) bool { return c == nil || c.Missing != "" }
	return slices.DeleteFunc(primaries, without), slices.DeleteFunc(mirrors, without)
}
