package envoy

import (
	"reflect"
	"slices"
	"strings"

	"umbra/internal/route"
)

// place is a domain of a virtual host, and what the model has for it.
type place struct {
	vh      *virtualHost
	request route.Request  // port, scheme and an authority of the domain
	model   []*route.Route // that a request there can take, in the order in which they are tried
	bound   []*route.Route // the model's route for each of vh's; nil where it has none
}

// places binds the routes of every domain to the model's.
func places(configs []*routeConfig, t *route.Table) []*place {
	var out []*place
	for _, c := range configs {
		for i := range c.VirtualHosts {
			vh := &c.VirtualHosts[i]
			port, ok := vh.port()
			if !ok {
				continue // not istiod's
			}
			for _, domain := range vh.Domains {
				authority := strings.Replace(domain, "*", "umbra", 1)
				p := &place{vh: vh, request: route.Request{Port: port, Scheme: c.scheme(), Authority: authority}, model: t.RoutesAt(port, authority)}
				p.bind(t)
				out = append(out, p)
			}
		}
	}
	return out
}

// served tells whether the model has any route of the virtual host.
func (p *place) served() bool {
	return slices.ContainsFunc(p.bound, func(r *route.Route) bool { return r != nil })
}

// bind finds the model's route for each of Envoy's, VirtualService by VirtualService.
func (p *place) bind(t *route.Table) {
	p.bound = make([]*route.Route, len(p.vh.Routes))
	byOwner := map[string][]int{}
	for i, e := range p.vh.Routes {
		byOwner[e.owner()] = append(byOwner[e.owner()], i)
	}
	for owner, indices := range byOwner {
		var own []*route.Route
		for _, r := range p.model {
			if strings.HasPrefix(r.Name, owner+"/") {
				own = append(own, r)
			}
		}
		if len(own) > 0 {
			p.bindOwned(t, indices, own)
		}
	}
}

// bindOwned binds the routes of one VirtualService. A virtual host has them twice where two Gateways share the
// VirtualService and a port; equal routes may be the manifests' too. What costs less is taken for true.
func (p *place) bindOwned(t *route.Table, indices []int, own []*route.Route) {
	all, least := p.align(t, indices, own)
	once := slices.DeleteFunc(slices.Clone(indices), func(i int) bool { return p.twin(i) < i })
	if bound, cost := p.align(t, once, own); cost < least {
		indices, all = once, bound
	}
	for at, r := range all {
		p.bound[indices[at]] = r
	}
	for i := range p.bound {
		if p.bound[i] == nil {
			p.bound[i] = p.bound[p.twin(i)]
		}
	}
}

// twin gives the first route that is equal to route i, which may be i itself.
func (p *place) twin(i int) int {
	return slices.IndexFunc(p.vh.Routes, func(e *envoyed) bool { return reflect.DeepEqual(e, p.vh.Routes[i]) })
}

func (p *place) align(t *route.Table, indices []int, own []*route.Route) (bound []*route.Route, cost int) {
	a := &alignment{models: own}
	for _, i := range indices {
		a.costs = append(a.costs, p.costs(t, i, own))
	}
	return a.solve()
}

// What speaks against taking a route of Envoy's for one of the model's. A name that cannot be, impossible, outweighs
// anything; a request that the model gives to another route outweighs differences in what the routes do.
const (
	missing    = 1_000 // a route of the model that Envoy has not
	elsewhere  = 100
	unlike     = 1
	stranger   = 10_000 // a route of Envoy's that the model has not
	impossible = 1 << 40
)

// costs weighs Envoy's route i against each of the model's.
func (p *place) costs(t *route.Table, i int, models []*route.Route) []int {
	e := p.vh.Routes[i]
	var taken *route.Route
	if w := e.Match.witness(p.request); w != nil {
		if first, _ := p.vh.decide(w); first == i { // else an earlier route hides it, and nothing is known
			taken = t.Match(w).Route
		}
	}
	out := make([]int, len(models))
	for j, m := range models {
		if !mayBe(e.Name, m) {
			out[j] = impossible
			continue
		}
		if taken != nil && taken != m {
			out[j] = elsewhere
		}
		out[j] += unlike * len(unlikes(m, e))
	}
	return out
}

// mayBe tells whether istiod gives that name to a match of the model's route: the HTTPRoute's, with the match's after a
// dot where that has one. The model's name ends in "#2" where the HTTPRoute has none or shares it, and in "@8080" where
// servers differ in the route (internal/route).
func mayBe(name string, m *route.Route) bool {
	_, rest, _ := strings.Cut(m.Name, "/")
	_, own, _ := strings.Cut(rest, "/")
	candidates := []string{own}
	for _, mark := range []string{"@", "#"} {
		for _, c := range candidates {
			if i := strings.LastIndex(c, mark); i >= 0 && isNumber(c[i+1:]) {
				candidates = append(candidates, c[:i])
			}
		}
	}
	return slices.ContainsFunc(candidates, func(c string) bool { return name == c || strings.HasPrefix(name, c+".") })
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// alignment lays Envoy's routes of a VirtualService beside the model's: istiod makes one of each match, so that each of
// the model's becomes a run of Envoy's, and the order stays. It finds the cheapest way.
type alignment struct {
	models []*route.Route
	costs  [][]int // of each of Envoy's against each of models
}

// solve gives the model's route of each of Envoy's, nil for strangers, and what that costs. best[i][j][used] is the least cost of what is
// from Envoy's route i and the model's route j on, used being 1 where j has one of Envoy's already.
func (a *alignment) solve() ([]*route.Route, int) {
	best := make([][][2]int, len(a.costs)+1)
	for i := len(a.costs); i >= 0; i-- {
		best[i] = make([][2]int, len(a.models)+1)
		for j := len(a.models); j >= 0; j-- {
			for used := range 2 {
				best[i][j][used], _ = a.cheapest(best, i, j, used)
			}
		}
	}
	out := make([]*route.Route, len(a.costs))
	for i, j, used := 0, 0, 0; i < len(a.costs); {
		switch _, step := a.cheapest(best, i, j, used); step {
		case take:
			out[i] = a.models[j]
			i, used = i+1, 1
		case leave:
			j, used = j+1, 0
		default:
			i++
		}
	}
	return out, best[0][0][0]
}

// The steps of an alignment.
const (
	end   = iota
	take  // Envoy's route is the model's
	leave // the model's route has no more of Envoy's
	skip  // Envoy's route is a stranger
)

func (a *alignment) cheapest(best [][][2]int, i, j, used int) (cost, step int) {
	if i == len(a.costs) && j == len(a.models) {
		return 0, end
	}
	cost = 2 * impossible
	try := func(c, s int) {
		if c < cost {
			cost, step = c, s
		}
	}
	if j < len(a.models) {
		try(best[i][j+1][0]+missing*(1-used), leave)
	}
	if i < len(a.costs) {
		if j < len(a.models) && a.costs[i][j] < impossible {
			try(a.costs[i][j]+best[i+1][j][1], take)
		}
		try(best[i+1][j][used]+stranger, skip)
	}
	return cost, step
}
