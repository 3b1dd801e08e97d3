package envoy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

// aspect is one thing that a route says, in words that are equal where the model and Envoy mean the same.
type aspect struct{ what, text string }

// unlikes gives the aspects in which Envoy's route differs from the model's, as pairs.
func unlikes(m *route.Route, e *envoyed) (out [][2]aspect) {
	model, gateway := modelSays(m), gatewaySays(e)
	if model[0] != gateway[0] { // of another kind: no other aspect can be compared
		return [][2]aspect{{model[0], gateway[0]}}
	}
	for i := range model {
		if model[i] != gateway[i] {
			out = append(out, [2]aspect{model[i], gateway[i]})
		}
	}
	return out
}

// modelSays and gatewaySays give the same aspects in the same order, the kind first.
func modelSays(r *route.Route) []aspect {
	switch r.Kind {
	case route.Redirect:
		to := r.Redirect
		return redirectSays(to.Scheme, to.Authority, to.Port, to.Path, to.PrefixRewrite, to.Code)
	case route.DirectResponse:
		return responseSays(r.Response.Status, r.Response.Body)
	}
	var destinations []string
	for _, d := range r.Destinations {
		if d.Weight > 0 || len(r.Destinations) == 1 { // istiod leaves a weight of 0 out
			destinations = append(destinations, destination(d.Cluster, d.Weight, len(r.Destinations), weightedAuthority(r, &d)))
		}
	}
	rewrite := route.Rewrite{}
	if r.Rewrite != nil {
		rewrite = *r.Rewrite
	}
	if rewrite.Authority == "" && len(r.Destinations) == 1 {
		rewrite.Authority = r.Destinations[0].Authority
	}
	return forwardSays(destinations, modelMirrors(r), r.Timeout.String(), modelRetries(&r.Retries), rewrite, modelFault(r.Fault), modelHeaders(r))
}

// weightedAuthority is what Envoy rewrites the authority to for one of several destinations.
func weightedAuthority(r *route.Route, d *route.Destination) string {
	if len(r.Destinations) == 1 {
		return ""
	}
	return d.Authority
}

func gatewaySays(e *envoyed) []aspect {
	switch {
	case e.Redirect != nil:
		to := e.Redirect
		scheme := to.Scheme
		if to.HTTPS {
			scheme = "https"
		}
		return redirectSays(scheme, to.Host, to.Port, to.Path, to.Prefix, redirectCodes[to.Code])
	case e.Response != nil:
		return responseSays(e.Response.Status, e.Response.Body.String+string(e.Response.Body.Bytes))
	case e.Route == nil:
		return []aspect{{"action", "none of forward, redirect and direct response"}}
	}
	a := e.Route
	rewrite := route.Rewrite{URI: a.PrefixRewrite, Authority: a.HostRewrite}
	if a.RegexRewrite != nil {
		rewrite.Regex, rewrite.Substitution = a.RegexRewrite.Pattern.Regex, a.RegexRewrite.Substitution
	}
	timeout := a.Timeout.String()
	if !a.Timeout.given {
		timeout = "15s" // Envoy's default, which istiod never leaves
	}
	return forwardSays(a.destinations(), a.mirrors(), timeout, a.retries(), rewrite, e.PerFilter.Fault.String(), gatewayHeaders(e))
}

func redirectSays(scheme, authority string, port uint32, path, prefix string, code int) []aspect {
	return []aspect{{"action", "redirect"}, {"redirect", fmt.Sprintf("%d to scheme %q, authority %q, port %d, path %q, prefix %q", code, scheme, authority, port, path, prefix)}}
}

func responseSays(status int, body string) []aspect {
	return []aspect{{"action", "direct response"}, {"direct response", fmt.Sprintf("%d %q", status, body)}}
}

func forwardSays(destinations []string, mirrors []mesh.Mirror, timeout, retries string, rewrite route.Rewrite, fault, headers string) []aspect {
	var policies []string
	for _, m := range mirrors {
		policies = append(policies, fmt.Sprintf("%d of a million to %s", m.Numerator, m.Cluster))
	}
	return []aspect{
		{"action", "forward"},
		{"destinations", listed(destinations)},
		{"mirrors", listed(policies)},
		{"timeout", timeout},
		{"retries", retries},
		{"path rewrite", fmt.Sprintf("%q, regex %q to %q", rewrite.URI, rewrite.Regex, rewrite.Substitution)},
		{"authority rewrite", strconv.Quote(rewrite.Authority)},
		{"fault", fault},
		{"headers", headers},
	}
}

func listed(parts []string) string {
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// destination names a cluster, with its weight where it is one of several.
func destination(cluster string, weight uint32, of int, authority string) string {
	if of > 1 {
		cluster += fmt.Sprintf(" with weight %d", weight)
	}
	if authority != "" {
		cluster += " as " + authority
	}
	return cluster
}

func (a *action) destinations() (out []string) {
	if a.Weighted == nil {
		return []string{a.Cluster}
	}
	for _, c := range a.Weighted.Clusters {
		out = append(out, destination(c.Name, c.Weight, len(a.Weighted.Clusters)+1, c.HostRewrite))
	}
	return out
}

// modelMirrors are the mirrors that istiod programs: none for a percentage of 0.
func modelMirrors(r *route.Route) (out []mesh.Mirror) {
	for _, m := range r.Mirrors {
		if m.Percent > 0 {
			out = append(out, mesh.Mirror{Cluster: m.Cluster, Numerator: m.Numerator})
		}
	}
	return out
}

func (a *action) mirrors() (out []mesh.Mirror) {
	for _, m := range a.Mirrors {
		out = append(out, mesh.Mirror{Cluster: m.Cluster, Numerator: m.perMillion()})
	}
	return out
}

func modelRetries(r *route.Retries) string {
	return retriesSay(r.Attempts, strings.Join(r.On, ","), r.Statuses, r.PerTryTimeout, r.Backoff)
}

func (a *action) retries() string {
	r := a.Retry
	if r == nil {
		return retriesSay(0, "", nil, 0, 0)
	}
	attempts := 1
	if r.Retries != nil {
		attempts = int(*r.Retries)
	}
	return retriesSay(attempts, r.On, r.Statuses, r.PerTryTimeout.Duration, r.Backoff.Base.Duration)
}

func retriesSay(attempts int, on string, statuses []int, perTry, backoff time.Duration) string {
	if attempts == 0 {
		return "none"
	}
	return fmt.Sprintf("%d on %s, statuses %v, %v a try, back-off %v", attempts, on, statuses, perTry, backoff)
}

func modelFault(f *route.Fault) string {
	if f == nil {
		return "none"
	}
	return faultSays(f.Delay, f.DelayNumerator, f.AbortStatus, f.AbortNumerator)
}

func (f *fault) String() string {
	if f == nil {
		return "none"
	}
	return faultSays(f.Delay.Fixed.Duration, f.Delay.Percentage.perMillion(), f.Abort.Status, f.Abort.Percentage.perMillion())
}

func faultSays(delay time.Duration, delayed uint32, status int, aborted uint32) string {
	return fmt.Sprintf("delay of %v for %d of a million, status %d for %d of a million", delay, delayed, status, aborted)
}

// modelHeaders lists the header operations of a route and its destinations; sorted, as operations on different names
// commute and istiod sorts those on one.
func modelHeaders(r *route.Route) string {
	var out []string
	add := func(of string, h route.HeaderOps) {
		for _, d := range []struct {
			name string
			edit route.HeaderEdit
		}{{"request", h.Request}, {"response", h.Response}} {
			for _, name := range d.edit.Remove {
				out = append(out, fmt.Sprintf("%s%s: remove %s", of, d.name, name))
			}
			for _, kv := range d.edit.Set {
				out = append(out, fmt.Sprintf("%s%s: set %s %q", of, d.name, kv[0], kv[1]))
			}
			for _, kv := range d.edit.Add {
				out = append(out, fmt.Sprintf("%s%s: add %s %q", of, d.name, kv[0], kv[1]))
			}
		}
	}
	add("", r.Headers)
	for _, d := range r.Destinations {
		switch {
		case len(r.Destinations) == 1:
			add("", d.Headers)
		case d.Weight > 0:
			add(d.Cluster+" ", d.Headers)
		}
	}
	slices.Sort(out)
	return listed(out)
}

func gatewayHeaders(e *envoyed) string {
	out := e.headerOps.say("")
	if e.Route.Weighted != nil {
		for _, c := range e.Route.Weighted.Clusters {
			out = append(out, c.headerOps.say(c.Name+" ")...)
		}
	}
	slices.Sort(out)
	return listed(out)
}

func (h *headerOps) say(of string) (out []string) {
	for _, d := range []struct {
		name   string
		add    []headerOption
		remove []string
	}{{"request", h.RequestAdd, h.RequestRemove}, {"response", h.ResponseAdd, h.ResponseRemove}} {
		for _, name := range d.remove {
			if !isPseudo(name) {
				out = append(out, fmt.Sprintf("%s%s: remove %s", of, d.name, name))
			}
		}
		for _, o := range d.add {
			if isPseudo(o.Header.Key) || o.Header.Value == "" {
				continue // Envoy passes over them, and the model does not have them
			}
			out = append(out, fmt.Sprintf("%s%s: %s %s %q", of, d.name, o.verb(), o.Header.Key, strings.ReplaceAll(o.Header.Value, "%%", "%")))
		}
	}
	return out
}

func isPseudo(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}

func (o *headerOption) verb() string {
	switch o.Action {
	case "OVERWRITE_IF_EXISTS_OR_ADD":
		return "set"
	case "", "APPEND_IF_EXISTS_OR_ADD":
		return "add"
	}
	return strings.ToLower(o.Action)
}
