package route

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Decision is what a gateway does with a request.
type Decision struct {
	Route *Route // nil: the gateway answers itself with Status, as no route has the request

	// Path and Authority are what the upstream and every mirror are asked for: the path normalised, and both after
	// the route's rewrites. A destination may rewrite the authority where the route does not: Destination.Authority.
	Path, Authority string
	Original        string // the path before the rewrites, normalised

	Status   int    // of an answer that the gateway gives itself, else 0
	Location string // of a redirect
	Body     string // of a DirectResponse
}

// listener is what one port of the gateway has.
type listener struct {
	plain *domains[*virtualHost]           // of the HTTP servers, merged; nil where there are none
	tls   *domains[*domains[*virtualHost]] // of each HTTPS server, by the name that the client asks for (SNI); nil where there are none
}

type virtualHost struct {
	requireTLS bool // httpsRedirect
	entries    []entry
}

// entry is one match of a route: what istiod makes an Envoy route of.
type entry struct {
	match *matcher
	route *Route
	regex *regexp.Regexp // of the route's rewrite
	subst string         // its substitution as package regexp writes it
}

// Match gives the gateway's decision on r. It may be called concurrently.
func (t *Table) Match(r *Request) Decision {
	d := Decision{Path: r.Path, Authority: r.Authority, Original: r.Path}
	path, ok := normalizePath(r.Path)
	switch {
	case !TakesMethod(r.Method):
		d.Status = http.StatusBadRequest
		return d
	case r.Method == http.MethodConnect, r.Method == http.MethodOptions && r.Path == "*": // no path, so no route of Istio's
		d.Status = http.StatusNotFound
		return d
	case !ok:
		d.Status = http.StatusBadRequest
		return d
	}
	d.Path, d.Original = path, path
	vh := t.virtualHost(r)
	switch {
	case vh == nil:
	case vh.requireTLS && r.Scheme != "https":
		d.Status, d.Location = http.StatusMovedPermanently, "https://"+r.Authority+path
		return d
	default:
		if e := vh.find(r, path); e != nil {
			e.decide(r, &d)
			return d
		}
	}
	d.Status = http.StatusNotFound
	return d
}

func (t *Table) virtualHost(r *Request) *virtualHost {
	l := t.listeners[r.Port]
	if l == nil {
		return nil
	}
	host, hosts := withoutPort(r.Authority), l.plain
	if l.tls != nil {
		hosts, _ = l.tls.find(host)
	}
	if hosts == nil {
		return nil
	}
	vh, _ := hosts.find(host)
	return vh
}

// methods are those that Envoy's HTTP/1 codec takes (source/common/http/http1/balsa_parser.cc); it answers 400 to
// others. Its HTTP/2 codec takes any.
var methods = strings.Fields("ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY " +
	"OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE")

// TakesMethod tells whether a gateway takes HTTP/1 requests of the method.
func TakesMethod(method string) bool {
	_, found := slices.BinarySearch(methods, method)
	return found
}

// find gives the first entry that matches.
func (vh *virtualHost) find(r *Request, path string) *entry {
	bare, query := cutQuery(path)
	for i := range vh.entries {
		if e := &vh.entries[i]; e.match.match(r, bare, query) {
			return e
		}
	}
	return nil
}

func (e *entry) decide(r *Request, d *Decision) {
	d.Route = e.route
	switch e.route.Kind {
	case Redirect:
		d.Status, d.Location = e.route.Redirect.Code, e.location(r, d.Path)
	case DirectResponse:
		d.Status, d.Body = e.route.Response.Status, e.route.Response.Body
	case Forward:
		if rw := e.route.Rewrite; rw != nil {
			d.Path = e.rewrite(rw, d.Path)
			if rw.Authority != "" {
				d.Authority = rw.Authority
			}
		}
	}
}

func (e *entry) rewrite(rw *Rewrite, path string) string {
	bare, query := cutQuery(path)
	switch {
	case e.regex != nil:
		return e.regex.ReplaceAllString(bare, e.subst) + query
	case rw.URI != "":
		return rw.URI + bare[e.matched(bare):] + query
	}
	return path
}

// matched gives how much of the path Envoy's prefix_rewrite replaces: the prefix of a prefix match, "/" where no uri is
// asked for, the whole path of an exact or regex match.
func (e *entry) matched(bare string) int {
	switch e.match.path.how {
	case prefix:
		return len(e.match.path.value)
	case present:
		return len("/")
	}
	return len(bare)
}

// location builds a redirect's target as Envoy's RouteEntryImplBase::newUri does.
func (e *entry) location(r *Request, path string) string {
	to := e.route.Redirect
	scheme := or(to.Scheme, or(r.Scheme, "http"))
	port := ""
	if to.Port != 0 {
		port = ":" + strconv.FormatUint(uint64(to.Port), 10)
	}
	authority := or(to.Authority, redirectHost(r, scheme, port))
	bare, query := cutQuery(path)
	switch {
	case to.PrefixRewrite != "":
		path = to.PrefixRewrite + bare[e.matched(bare):] + query
	case strings.Contains(to.Path, "?"):
		path = to.Path
	case to.Path != "":
		path = to.Path + query
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + authority + port + path
}

// redirectHost gives the request's authority without a port that does not go with the new scheme, or that another
// takes the place of (Envoy's processRequestHost).
func redirectHost(r *Request, scheme, port string) string {
	host := withoutPort(r.Authority)
	old := r.Authority[len(host):]
	switch {
	case port != "",
		scheme != r.Scheme && r.Scheme == "https" && old == ":443",
		scheme != r.Scheme && r.Scheme == "http" && old == ":80":
		return host
	}
	return r.Authority
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
