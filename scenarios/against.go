package scenarios

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"umbra/internal/route"
)

// manifests loads the manifests, builds the route table and holds the scenario against it.
func (r *reader) manifests(s *Scenario, raw *rawScenario) {
	before := len(r.faults)
	manifests, err := route.Load(r.sources(s, raw.mesh.v.manifests.v)...)
	r.faults.Add(r.file, err)
	table, err := route.NewTable(manifests)
	r.faults.Add(r.file, err)
	if len(r.faults) > before || !raw.mesh.v.manifests.given() {
		return // whatever is missing now may stand in a file that could not be read
	}
	r.empty(s, raw.mesh.v.manifests.v, manifests)
	s.Manifests, s.Table = manifests, table
	a := against{r, s, raw, route.Workloads(manifests, table)}
	if a.entrance() || len(a.known()) > 0 {
		a.versions()
		a.app()
	}
}

// sources reads the manifest files, each once.
func (r *reader) sources(s *Scenario, files []value[string]) []route.Source {
	var sources []route.Source
	for i, file := range files {
		path := s.Mesh.ManifestFiles[i]
		if !file.given() || slices.Contains(s.Mesh.ManifestFiles[:i], path) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			r.fault(file.at, "mesh.manifests: %s cannot be read: %v; name a file relative to the scenario", file.v, reason(err))
			continue
		}
		sources = append(sources, route.Source{Name: path, Data: data})
	}
	return sources
}

// empty tells of files that add nothing.
func (r *reader) empty(s *Scenario, files []value[string], manifests *route.Manifests) {
	for i, file := range files {
		from := func(o route.Object) bool { return o.File == s.Mesh.ManifestFiles[i] }
		if file.given() && !slices.ContainsFunc(manifests.Objects, from) {
			r.fault(file.at, "mesh.manifests: %s holds no object; remove it, or write into it what should stand", file.v)
		}
	}
}

// against holds a scenario against its route table.
type against struct {
	*reader
	s         *Scenario
	raw       *rawScenario
	workloads []route.Workload
}

// versions tells of versions that no pod has.
func (a *against) versions() {
	v := a.raw.mesh.v.versions
	if !v.given() {
		return
	}
	a.version(v.v.primary, "mesh.versions.primary")
	for _, shadow := range v.v.shadow.v {
		a.version(shadow, "mesh.versions.shadow")
	}
}

func (a *against) version(v value[string], path string) {
	if v.given() && !slices.Contains(a.known(), v.v) {
		a.fault(v.at, "%s: no workload has the label version: %s; %s", path, v.v, a.choose())
	}
}

// app tells of behaviours of versions that no pod has.
func (a *against) app() {
	app := a.raw.mesh.v.app.v
	for _, e := range app.latency.v {
		a.version(value[string]{v: e.key, at: e.at}, "mesh.app.latency")
	}
	for _, e := range app.errors.v {
		a.version(value[string]{v: e.key, at: e.at}, "mesh.app.errors")
	}
	for _, e := range app.size.v {
		a.version(value[string]{v: e.key, at: e.at}, "mesh.app.size")
	}
	for _, e := range app.differ.v {
		a.version(value[string]{v: e.key, at: e.at}, "mesh.app.differ")
	}
	for _, stamped := range app.stamp.v {
		a.version(stamped, "mesh.app.stamp")
	}
}

// known are the versions of the workloads.
func (a *against) known() []string {
	var versions []string
	for _, w := range a.workloads {
		if w.Version != "" {
			versions = append(versions, w.Version)
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

func (a *against) choose() string {
	if known := a.known(); len(known) > 0 {
		return "the manifests have " + strings.Join(known, ", ")
	}
	return "the manifests have no such label at all: add it to the Deployments' pods or to the subsets"
}

// entrance finds the Gateway server that takes the traffic and checks the routes behind it. It gives whether there are
// any.
func (a *against) entrance() bool {
	host, port := a.raw.mesh.v.host, a.raw.mesh.v.port
	if !host.given() || port.bad {
		return false
	}
	server, msg := a.server(host.v, uint32(port.v))
	if msg != "" {
		at := host.at
		if port.at != nil {
			at = port.at
		}
		a.fault(at, "%s", msg)
		return false
	}
	a.s.Mesh.Port = server.Port
	routes := a.s.Table.RoutesAt(server.Port, host.v)
	if len(routes) == 0 {
		a.fault(host.at, "mesh.host: no VirtualService serves %s at port %d of gateway %s; give one the host under hosts: and the gateway under gateways:", host.v, server.Port, server.Gateway)
	} else {
		a.fraction(routes)
	}
	for _, route := range routes {
		a.mirrors(route)
	}
	return len(routes) > 0
}

// server is the first plain HTTP server that serves the host, at the port where one is given; or why there is none.
func (a *against) server(host string, port uint32) (server route.Server, msg string) {
	var secure, elsewhere []string
	for _, s := range a.s.Table.Servers() {
		switch {
		case !serves(s, host):
			continue
		case s.TLS || s.HTTPSRedirect:
			secure = append(secure, fmt.Sprint(s.Port))
		case port != 0 && s.Port != port:
			elsewhere = append(elsewhere, fmt.Sprint(s.Port))
		default:
			return s, ""
		}
	}
	switch {
	case len(elsewhere) > 0:
		return server, fmt.Sprintf("mesh.port: no Gateway server of port %d serves %s; plain HTTP is served at %s", port, host, strings.Join(elsewhere, ", "))
	case len(secure) > 0:
		return server, fmt.Sprintf("mesh.host: %s is served at port %s by TLS or a redirect to it only; add a plain HTTP server to the Gateway", host, strings.Join(secure, ", "))
	}
	return server, fmt.Sprintf("mesh.host: no Gateway server serves %s; add the host to a server's hosts", host)
}

// serves says that a server's hosts have the host: by name, by *.suffix or by *. Their namespaces ("ns/host") choose
// among VirtualServices, not among requests.
func serves(s route.Server, host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(s.Hosts, func(pattern string) bool {
		pattern = strings.ToLower(pattern[strings.LastIndex(pattern, "/")+1:])
		suffix, wild := strings.CutPrefix(pattern, "*")
		return pattern == host || wild && strings.HasSuffix(host, suffix)
	})
}

// fraction tells where there is no fraction to test, and where the margin is too wide for a mirror's programmed one.
func (a *against) fraction(routes []*route.Route) {
	check := a.raw.checks.v.fraction
	if !check.given() || !check.v.within.given() {
		return
	}
	mirrored := false
	for _, route := range routes {
		mirrored = mirrored || len(route.Mirrors) > 0
		for _, m := range route.Mirrors {
			a.margin(check.v.within, route, m.Numerator)
		}
	}
	if !mirrored {
		a.fault(check.at, "checks.fraction: no route of %s has a mirror, so there is no fraction to test; give one a mirror, or leave the check out", a.s.Mesh.Host)
	}
}

// margin compares per million, where a margin as people write it is exact.
func (a *against) margin(within value[float64], route *route.Route, numerator uint32) {
	const million = 1_000_000
	if numerator == 0 || numerator >= million {
		return // exact sets, whatever the margin
	}
	bound := float64(min(numerator, million-numerator))
	if within.v*1e4 < bound {
		return
	}
	a.fault(within.at, "checks.fraction.within: %v points are too wide for the %v %% that %s mirrors (%s:%d); a margin must be below the fraction and below what is left to 100 %%: use less than %v",
		within.v, float64(numerator)/1e4, route.Name, route.File, route.Line, bound/1e4)
}

// mirrors tells of mirrors whose receipts could not be told apart or would belong to nobody.
func (a *against) mirrors(route *route.Route) {
	for i, m := range route.Mirrors {
		for _, pod := range a.pods(m.Cluster) {
			if v := pod.Version; v != a.s.Mesh.Primary && !slices.Contains(a.s.Mesh.Shadows, v) {
				a.faults.Addf(route.File, route.Line, 0, "route %s mirrors to %s, whose pods have the label version: %q, but mesh.versions of %s does not name it; add it to shadow", route.Name, m.Cluster, v, a.file)
			}
			if other, shared := a.sharing(route.Mirrors[:i], pod); shared {
				a.faults.Addf(route.File, route.Line, 0, "route %s mirrors to %s and to %s, which share pods (%s/%s), so that their receipts could not be told apart; give them subsets without common pods", route.Name, other, m.Cluster, pod.Namespace, pod.Name)
			}
		}
	}
}

// pods are the workloads whose pods serve a cluster.
func (a *against) pods(cluster string) []route.Workload {
	c := a.s.Table.Cluster(cluster)
	if c == nil || c.Missing != "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.workloads), func(w route.Workload) bool { return !c.Selects(w) })
}

// sharing is the mirror among others that pod serves too.
func (a *against) sharing(others []route.Mirror, pod route.Workload) (string, bool) {
	for _, o := range others {
		if c := a.s.Table.Cluster(o.Cluster); c != nil && c.Missing == "" && c.Selects(pod) {
			return o.Cluster, true
		}
	}
	return "", false
}
