package route

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1alpha3"
)

// variant is a route as a kind of server sees it: a destination without a port takes the server's, and a redirect
// knows whether the server has TLS.
type variant struct {
	vs    *networking.VirtualService
	index int
	port  uint32
	tls   bool
}

// entries translates the routes of a VirtualService for one server (BuildHTTPRoutesForVirtualService): what follows a
// match that every request passes is not programmed.
func (b *builder) entries(vs *resource[*networking.VirtualService], s *server) []entry {
	var out []entry
	for i, in := range vs.spec.Http {
		matches := in.Match
		if len(matches) == 0 {
			matches = []*networking.HTTPMatchRequest{nil}
		}
		for _, match := range matches {
			if !applies(match, vs.Namespace, s) {
				continue
			}
			e := entry{match: newMatcher(match), route: b.route(vs, i, s)}
			if rw := e.route.Rewrite; rw != nil && rw.Regex != "" {
				e.regex = regexp.MustCompile(rw.Regex)
				e.subst, _ = substitution(rw.Substitution, e.regex.NumSubexp())
			}
			if out = append(out, e); e.match.catchAll() {
				return out
			}
		}
	}
	return out
}

// applies resolves the parts of a match that a server decides.
func applies(m *networking.HTTPMatchRequest, namespace string, s *server) bool {
	if m.GetPort() != 0 && m.GetPort() != s.Port {
		return false
	}
	return len(m.GetGateways()) == 0 || slices.Contains(gatewayNames(m.GetGateways(), namespace), s.Gateway)
}

// route gives the route of vs.http[i] at a server. Servers that make no difference to it share it; others get one whose
// name ends in their port.
func (b *builder) route(vs *resource[*networking.VirtualService], i int, s *server) *Route {
	key := variant{vs.spec, i, s.Port, s.spec.Tls != nil}
	if r := b.built[key]; r != nil {
		return r
	}
	r := b.translate(vs, i, s)
	same := func(other *Route) bool { c := *r; c.Name = other.Name; return reflect.DeepEqual(&c, other) }
	for k, other := range b.built {
		if k.vs == vs.spec && k.index == i && same(other) {
			b.built[key] = other
			return other
		}
	}
	for b.named(r.Name) {
		r.Name += "@" + strconv.FormatUint(uint64(s.Port), 10)
	}
	b.built[key] = r
	b.t.routes = append(b.t.routes, r)
	return r
}

func (b *builder) named(name string) bool {
	return slices.ContainsFunc(b.t.routes, func(r *Route) bool { return r.Name == name })
}

// routeName gives the name of vs.http[i], unique within the VirtualService.
func routeName(vs *resource[*networking.VirtualService], i int) string {
	name := vs.spec.Http[i].Name
	twins := func(r *networking.HTTPRoute) bool { return r.Name == name }
	switch {
	case name == "":
		name = "#" + strconv.Itoa(i)
	case slices.IndexFunc(vs.spec.Http, twins) != i:
		name += "#" + strconv.Itoa(i)
	}
	return vs.Namespace + "/" + vs.Name + "/" + name
}

// translate follows TranslateRoute in pilot/pkg/networking/core/route/route.go.
func (b *builder) translate(vs *resource[*networking.VirtualService], i int, s *server) *Route {
	in := vs.spec.Http[i]
	r := &Route{Name: routeName(vs, i), File: vs.File, Line: vs.place("spec", "http", i).line}
	var authority string
	r.Headers, authority = headerOps(in.Headers)
	switch {
	case in.Redirect != nil:
		r.Kind, r.Redirect = Redirect, redirect(in.Redirect, s)
		return r
	case in.DirectResponse != nil:
		r.Kind, r.Response = DirectResponse, directResponse(in.DirectResponse)
		return r
	}
	r.Rewrite = rewrite(in.Rewrite, authority)
	r.Fault = fault(in.Fault)
	r.Timeout = in.GetTimeout().AsDuration()
	r.Retries = retries(in.Retries)
	b.forward(r, vs, i, s)
	return r
}

// forward fills in the destinations and the mirrors.
func (b *builder) forward(r *Route, vs *resource[*networking.VirtualService], i int, s *server) {
	in := vs.spec.Http[i]
	for j, dst := range in.Route {
		d := Destination{Weight: uint32(dst.Weight)}
		d.Cluster = b.cluster(vs, []any{"spec", "http", i, "route", j}, dst.Destination, s)
		d.Headers, d.Authority = headerOps(dst.Headers)
		if len(in.Route) == 1 {
			d.Weight = max(d.Weight, 1)
		}
		r.Destinations = append(r.Destinations, d)
	}
	if in.Mirror != nil {
		//lint:ignore SA1019 istiod obeys it still
		m := mirror(in.MirrorPercentage, in.MirrorPercent)
		m.Cluster = b.cluster(vs, []any{"spec", "http", i, "mirror"}, in.Mirror, s)
		r.Mirrors = append(r.Mirrors, m)
	}
	for j, policy := range in.Mirrors {
		m := mirror(policy.Percentage, nil)
		m.Cluster = b.cluster(vs, []any{"spec", "http", i, "mirrors", j}, policy.Destination, s)
		r.Mirrors = append(r.Mirrors, m)
	}
}

// mirror gives a mirror's fraction (MirrorPercent): the percentage, else the deprecated whole percent, else all.
func mirror(percentage *networking.Percent, percent *wrapperspb.UInt32Value) Mirror {
	m := Mirror{Percent: 100}
	switch {
	case percentage != nil:
		m.Percent = percentage.Value
	case percent != nil:
		m.Percent = float64(percent.Value)
	}
	m.Numerator = perMillion(m.Percent)
	return m
}

// perMillion is istiod's numerator: the product is made in float64 and truncated, so that 0.57 gives 5699
// (translatePercentToFractionalPercent).
func perMillion(percent float64) uint32 { return uint32(percent * 10000) }

func redirect(in *networking.HTTPRedirect, s *server) *RedirectAction {
	out := &RedirectAction{Scheme: in.Scheme, Authority: in.Authority, Code: int(in.RedirectCode), PrefixRewrite: in.PrefixRewrite}
	if in.PrefixRewrite == "" {
		out.Path = in.Uri
	}
	if out.Code == 0 {
		out.Code = http.StatusMovedPermanently
	}
	switch p := in.RedirectPort.(type) {
	case *networking.HTTPRedirect_Port:
		out.Port = p.Port
	case *networking.HTTPRedirect_DerivePort:
		if p.DerivePort == networking.HTTPRedirect_FROM_REQUEST_PORT {
			out.Port = s.Port
		}
	}
	if scheme := or(in.Scheme, defaultScheme(s)); scheme == "http" && out.Port == 80 || scheme == "https" && out.Port == 443 {
		out.Port = 0 // the scheme's own port is left out (ApplyRedirect)
	}
	return out
}

// defaultScheme is what ApplyRedirect takes for a server's scheme: https where the server has any tls settings.
func defaultScheme(s *server) string {
	if s.spec.Tls != nil {
		return "https"
	}
	return "http"
}

func directResponse(in *networking.HTTPDirectResponse) *DirectResponseAction {
	out := &DirectResponseAction{Status: int(in.Status)}
	switch body := in.GetBody().GetSpecifier().(type) {
	case *networking.HTTPBody_String_:
		out.Body = body.String_
	case *networking.HTTPBody_Bytes:
		out.Body = string(body.Bytes)
	}
	return out
}

func rewrite(in *networking.HTTPRewrite, authority string) *Rewrite {
	out := Rewrite{Authority: or(in.GetAuthority(), authority)}
	if re := in.GetUriRegexRewrite(); re != nil {
		out.Regex, out.Substitution = re.Match, re.Rewrite
	} else {
		out.URI = in.GetUri()
	}
	if out == (Rewrite{}) {
		return nil
	}
	return &out
}

// substitution translates RE2's rewrite string (\0 to \9, \\) into package regexp's. It is false where RE2 would not
// take it.
func substitution(rewrite string, groups int) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(rewrite); i++ {
		c := rewrite[i]
		switch {
		case c == '$':
			out.WriteString("$$")
		case c != '\\':
			out.WriteByte(c)
		case i+1 == len(rewrite):
			return "", false
		default:
			i++
			c = rewrite[i]
			switch {
			case c == '\\':
				out.WriteByte(c)
			case '0' <= c && c <= '9' && int(c-'0') <= groups:
				fmt.Fprintf(&out, "${%c}", c)
			default:
				return "", false
			}
		}
	}
	return out.String(), true
}

// fault translates an injected fault. Where no percentage is written, istiod programs none: nothing is delayed or
// aborted (TranslateFault, and so says the reference).
func fault(in *networking.HTTPFaultInjection) *Fault {
	out := Fault{}
	if d, ok := in.GetDelay().GetHttpDelayType().(*networking.HTTPFaultInjection_Delay_FixedDelay); ok {
		out.Delay = d.FixedDelay.AsDuration()
		//lint:ignore SA1019 istiod obeys it still; out of range it is always, as Envoy compares a random number with it
		out.DelayNumerator = min(uint32(in.Delay.Percent), 100) * 10000
		if p := in.Delay.Percentage; p != nil {
			out.DelayNumerator = perMillion(p.Value)
		}
	}
	if a, ok := in.GetAbort().GetErrorType().(*networking.HTTPFaultInjection_Abort_HttpStatus); ok {
		out.AbortStatus = int(a.HttpStatus)
		out.AbortNumerator = perMillion(in.Abort.GetPercentage().GetValue())
	}
	if out == (Fault{}) {
		return nil
	}
	return &out
}

// defaultRetryOn is what istiod retries on where a route does not say (pilot/pkg/networking/core/route/retry). No
// status codes go with retriable-status-codes, so that it retries no status.
const defaultRetryOn = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"

// retries follows ConvertPolicy there: 2 attempts by default, none where attempts is 0.
func retries(in *networking.HTTPRetry) Retries {
	switch {
	case in == nil:
		return Retries{Attempts: 2, On: strings.Split(defaultRetryOn, ",")}
	case in.Attempts <= 0:
		return Retries{}
	}
	out := Retries{Attempts: int(in.Attempts), PerTryTimeout: in.PerTryTimeout.AsDuration(), Backoff: in.Backoff.AsDuration()}
	for _, on := range strings.Split(or(in.RetryOn, defaultRetryOn), ",") {
		on = strings.TrimSpace(on)
		if status, err := strconv.Atoi(on); err == nil && http.StatusText(status) != "" {
			out.Statuses = append(out.Statuses, status)
		} else if on != "" {
			out.On = append(out.On, on)
		}
	}
	if len(out.Statuses) > 0 && !slices.Contains(out.On, "retriable-status-codes") {
		out.On = append(out.On, "retriable-status-codes")
	}
	return out
}

// destinations gives every destination of a VirtualService, mirrors included.
func destinations(vs *networking.VirtualService) []*networking.Destination {
	var out []*networking.Destination
	for _, r := range vs.Http {
		for _, d := range r.GetRoute() {
			out = append(out, d.GetDestination())
		}
		out = append(out, r.GetMirror())
		for _, m := range r.GetMirrors() {
			out = append(out, m.GetDestination())
		}
	}
	return slices.DeleteFunc(out, func(d *networking.Destination) bool { return d == nil })
}

// labelsOf merges label sets, the later ones over the earlier.
func labelsOf(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}
