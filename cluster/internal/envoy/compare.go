package envoy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"umbra/internal/route"
)

// Difference is a thing in which the gateway is not what the manifests make of it.
type Difference struct {
	Route, File        string // the model's route; empty File where it has none
	Line               int
	What               string // "timeout", "mirrors", "match"
	Manifests, Gateway string // what each says
}

func (d Difference) String() string {
	at := ""
	if d.File != "" {
		at = fmt.Sprintf(" (%s:%d)", d.File, d.Line)
	}
	return fmt.Sprintf("route %s%s: %s: the manifests say %s, the gateway has %s", d.Route, at, d.What, d.Manifests, d.Gateway)
}

// Compare tells each difference between the model's routes and the gateway's, showing both; none where they agree. What
// routes do is compared as it is written; what they match by asking both sides for requests that are made up from the
// gateway's matches, and for variations of them. Virtual hosts without any route of the model's are others' business.
func Compare(dump []byte, t *route.Table) ([]Difference, error) {
	configs, err := parseDump(dump)
	if err != nil {
		return nil, err
	}
	c := &comparison{table: t}
	all := places(configs, t)
	c.absent(all)
	for _, p := range all {
		if p.served() {
			c.strangers(p)
			c.actions(p)
			c.matches(p)
		}
	}
	slices.SortStableFunc(c.found, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return c.found, nil
}

type comparison struct {
	table *route.Table
	found []Difference
}

// tell notes a difference once.
func (c *comparison) tell(r *route.Route, name, what, manifests, gateway string) {
	d := Difference{Route: name, What: what, Manifests: manifests, Gateway: gateway}
	if r != nil {
		d.Route, d.File, d.Line = r.Name, r.File, r.Line
	}
	if !slices.Contains(c.found, d) {
		c.found = append(c.found, d)
	}
}

// absent tells of the model's routes that the gateway lacks: everywhere, or on a virtual host that it has, or on a host of a
// server that it does not have.
func (c *comparison) absent(all []*place) {
	somewhere := map[*route.Route]bool{}
	for _, p := range all {
		for _, r := range p.bound {
			somewhere[r] = true
		}
	}
	for _, r := range c.table.Routes() {
		if !somewhere[r] {
			c.tell(r, "", "route", "it is there", "none that could be it")
		}
	}
	for _, p := range all {
		for _, r := range p.model {
			if p.served() && somewhere[r] && !slices.Contains(p.bound, r) {
				c.tell(r, "", "route", "it serves "+p.request.Authority, "none that could be it there")
			}
		}
	}
	c.unserved(all, somewhere)
}

// unserved tells of hosts that servers name in full, that routes are for, and that the gateway does not have.
func (c *comparison) unserved(all []*place, somewhere map[*route.Route]bool) {
	for _, s := range c.table.Servers() {
		for _, h := range s.Hosts {
			h = strings.ToLower(h[strings.IndexByte(h, '/')+1:])
			serves := func(p *place) bool { return p.request.Port == s.Port && p.takes(h) }
			if strings.Contains(h, "*") || slices.ContainsFunc(all, serves) {
				continue
			}
			for _, r := range c.table.RoutesAt(s.Port, h) {
				if somewhere[r] {
					c.tell(r, "", "route", "it serves "+h, "no virtual host for that")
				}
			}
		}
	}
}

// takes tells whether one of the virtual host's domains covers a host.
func (p *place) takes(host string) bool {
	return slices.ContainsFunc(p.vh.Domains, func(domain string) bool {
		tail, wild := strings.CutPrefix(domain, "*")
		return domain == host || wild && strings.HasSuffix(host, tail)
	})
}

// strangers tells of routes that take requests on the model's virtual hosts and are none of its own.
func (c *comparison) strangers(p *place) {
	for i, r := range p.bound {
		if r == nil {
			c.tell(nil, p.name(i), "route", "nothing of it", "it on "+p.vh.Name)
		}
	}
}

func (c *comparison) actions(p *place) {
	for i, r := range p.bound {
		if r == nil {
			continue
		}
		for _, pair := range unlikes(r, p.vh.Routes[i]) {
			c.tell(r, "", pair[0].what, pair[0].text, pair[1].text)
		}
	}
}

// maxAsked bounds the work on one virtual host, as requests times routes: some seconds. It is more than 600 routes need;
// of what is larger the first routes' matches are compared, and all routes' actions.
const maxAsked = 10_000_000

// matches asks both sides which route takes a request, and tells the first request of each kind of disagreement.
func (c *comparison) matches(p *place) {
	told, asked := map[[2]string]bool{}, 0
	for _, e := range p.vh.Routes {
		w := e.Match.witness(p.request)
		if w == nil {
			continue
		}
		for _, probe := range variations(w) {
			if asked += len(p.vh.Routes); asked > maxAsked {
				return
			}
			c.ask(p, probe, told)
		}
	}
}

// ask tells where a request takes another route at the gateway than by the model. It passes over what Envoy refuses
// before it looks for a route.
func (c *comparison) ask(p *place, probe *route.Request, told map[[2]string]bool) {
	model := c.table.Match(probe)
	if model.Route == nil && model.Status == http.StatusBadRequest {
		return
	}
	normal := *probe
	normal.Path = model.Original // both match the normalised path
	i, toTLS := p.vh.decide(&normal)
	manifests, gateway := "no route", "no route"
	switch {
	case toTLS:
		gateway = "a redirect to https"
	case i >= 0:
		gateway = p.name(i)
	}
	switch {
	case model.Route != nil:
		manifests = model.Route.Name
	case model.Location != "":
		manifests = "a redirect to https"
	}
	if pair := [2]string{manifests, gateway}; manifests != gateway && !told[pair] {
		told[pair] = true
		c.tell(cmp.Or(model.Route, p.boundAt(i)), gateway, "match of "+describe(probe), manifests, gateway)
	}
}

func (p *place) boundAt(i int) *route.Route {
	if i < 0 {
		return nil
	}
	return p.bound[i]
}

func describe(r *route.Request) string {
	text := fmt.Sprintf("%s %s://%s%s", r.Method, r.Scheme, r.Authority, r.Path)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		text += fmt.Sprintf(" with %s: %s", name, r.Header.Get(name))
	}
	return text
}
