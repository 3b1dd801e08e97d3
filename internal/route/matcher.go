package route

import (
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// text matches a string as Envoy's StringMatcher does.
type text struct {
	how   how
	value string
	re    *regexp.Regexp // anchored on both sides
}

type how int

const (
	present how = iota // whatever the value
	exact
	prefix
	regex
)

// newText translates a StringMatch. An empty one, and the regex "*", ask for presence only (canBeConvertedToPresentMatch
// in pilot/pkg/networking/core/route/route.go).
func newText(m *networking.StringMatch) text {
	switch t := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return text{how: exact, value: t.Exact}
	case *networking.StringMatch_Prefix:
		return text{how: prefix, value: t.Prefix}
	case *networking.StringMatch_Regex:
		if t.Regex != "*" {
			return text{how: regex, value: t.Regex, re: fullMatch(t.Regex)}
		}
	}
	return text{how: present}
}

// fullMatch compiles an RE2 expression as Envoy applies it: it has to match the whole string. Validation has seen to
// it that it compiles.
func fullMatch(expr string) *regexp.Regexp {
	return regexp.MustCompile(`\A(?:` + expr + `)\z`)
}

func (t *text) match(s string) bool {
	switch t.how {
	case exact:
		return s == t.value
	case prefix:
		return strings.HasPrefix(s, t.value)
	case regex:
		return t.re.MatchString(s)
	}
	return true
}

// matcher is one HTTPMatchRequest; all its conditions must hold. Its zero value matches every path.
type matcher struct {
	path       text // present: every path
	ignoreCase bool // of exact and prefix paths; ASCII letters only, as absl::EqualsIgnoreCase has it
	headers    []headerMatcher
	query      []queryMatcher
}

type headerMatcher struct {
	name   string // canonical, or a pseudo-header
	value  text
	invert bool
	joined bool // of several values
}

type queryMatcher struct {
	name  string
	value text
}

func newMatcher(in *networking.HTTPMatchRequest) *matcher {
	m := &matcher{ignoreCase: in.GetIgnoreUriCase()}
	if in.GetUri().GetMatchType() != nil {
		m.path = newText(in.GetUri())
	}
	for name, value := range in.GetHeaders() {
		m.headers = append(m.headers, newHeaderMatcher(name, value, false))
	}
	for name, value := range in.GetWithoutHeaders() {
		m.headers = append(m.headers, newHeaderMatcher(name, value, true))
	}
	for name, value := range map[string]*networking.StringMatch{":method": in.GetMethod(), ":authority": in.GetAuthority(), ":scheme": in.GetScheme()} {
		if value != nil {
			m.headers = append(m.headers, newHeaderMatcher(name, value, false))
		}
	}
	for name, value := range in.GetQueryParams() {
		m.query = append(m.query, queryMatcher{name, newText(value)})
	}
	sort.Slice(m.headers, func(i, j int) bool { return m.headers[i].name < m.headers[j].name })
	sort.Slice(m.query, func(i, j int) bool { return m.query[i].name < m.query[j].name })
	return m
}

func newHeaderMatcher(name string, value *networking.StringMatch, invert bool) headerMatcher {
	return headerMatcher{headerKey(name), newText(value), invert, slices.Contains(joinedHeaders, strings.ToLower(name))}
}

// joinedHeaders are those whose values Envoy 1.39 joins by a comma, without the empty ones, as soon as it reads them
// (its inline headers: INLINE_REQ_HEADERS in envoy/http/header_map.h, and what its extensions register); all others
// it keeps apart. Found by asking it.
var joinedHeaders = strings.Fields("accept accept-encoding access-control-request-headers access-control-request-method " +
	"access-control-request-private-network authorization cache-control cdn-loop content-encoding content-type expect grpc-accept-encoding " +
	"grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma proxy-status referer user-agent via " +
	"x-client-trace-id x-forwarded-host x-forwarded-port")

// headerKey gives the name under which a header is looked up. Envoy keeps Host as :authority.
func headerKey(name string) string {
	switch {
	case strings.HasPrefix(name, ":"):
		return strings.ToLower(name)
	case strings.EqualFold(name, "host"):
		return ":authority"
	}
	return http.CanonicalHeaderKey(name)
}

// catchAll tells whether istiod takes the match for one that every request passes: the path prefix "/" or regex ".*"
// and nothing else (IsCatchAllRoute).
func (m *matcher) catchAll() bool {
	all := m.path.how == present || m.path.how == prefix && m.path.value == "/" || m.path.how == regex && m.path.value == ".*"
	return all && len(m.headers) == 0 && len(m.query) == 0
}

// match tells whether every condition holds. bare and query are the parts of the normalised path.
func (m *matcher) match(r *Request, bare, query string) bool {
	if !m.matchPath(bare) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].match(r, bare, query) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].match(query) {
			return false
		}
	}
	return true
}

func (m *matcher) matchPath(path string) bool {
	switch {
	case !m.ignoreCase || m.path.how == regex || m.path.how == present:
		return m.path.match(path)
	case m.path.how == exact:
		return equalFoldASCII(path, m.path.value)
	}
	return len(path) >= len(m.path.value) && equalFoldASCII(path[:len(m.path.value)], m.path.value)
}

func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// match follows Envoy's HeaderMatcher.
func (h *headerMatcher) match(r *Request, bare, query string) bool {
	return h.matchAny(r, bare, query) != h.invert
}

// matchAny tells whether one of the header's values matches, each by itself. A header that is missing matches nothing,
// but inverted it counts as empty (treat_missing_header_as_empty, which istiod sets for withoutHeaders), unless only
// presence is asked for.
func (h *headerMatcher) matchAny(r *Request, bare, query string) bool {
	switch h.name {
	case ":method":
		return h.value.match(r.Method)
	case ":authority":
		return h.value.match(r.Authority)
	case ":scheme":
		return h.value.match(r.Scheme)
	case ":path":
		return h.value.match(bare + query)
	}
	values := r.Header[h.name]
	switch {
	case len(values) == 0:
		return h.invert && h.value.how != present && h.value.match("")
	case h.joined && len(values) > 1:
		return h.value.match(joinNonEmpty(values))
	}
	return slices.ContainsFunc(values, h.value.match)
}

func joinNonEmpty(values []string) string {
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
	return strings.Join(values, ",")
}

// match looks at the first parameter of the name, as it stands: Envoy decodes no %-sequences here. A parameter
// without "=" has the empty value.
func (q *queryMatcher) match(query string) bool {
	query = strings.TrimPrefix(query, "?")
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		if name, value, _ := strings.Cut(param, "="); name == q.name {
			return q.value.match(value)
		}
	}
	return false
}

// domains finds what is kept for a host as Envoy finds a virtual host: the exact name, else the longest suffix
// wildcard, else "*".
type domains[T any] struct {
	exact    map[string]T
	suffixes []suffix[T] // longest first
	all      *T
}

type suffix[T any] struct {
	tail  string
	value T
}

// newDomains takes lower-case names.
func newDomains[T any](byName map[string]T) *domains[T] {
	d := &domains[T]{exact: map[string]T{}}
	for name, value := range byName {
		switch tail, wild := strings.CutPrefix(name, "*"); {
		case !wild:
			d.exact[name] = value
		case tail == "":
			d.all = &value
		default:
			d.suffixes = append(d.suffixes, suffix[T]{tail, value})
		}
	}
	sort.Slice(d.suffixes, func(i, j int) bool { return len(d.suffixes[i].tail) > len(d.suffixes[j].tail) })
	return d
}

func (d *domains[T]) find(host string) (value T, ok bool) {
	host = strings.ToLower(host)
	if v, ok := d.exact[host]; ok {
		return v, true
	}
	for i := range d.suffixes {
		s := &d.suffixes[i]
		if len(host) > len(s.tail) && strings.HasSuffix(host, s.tail) { // *.a.b does not match .a.b
			return s.value, true
		}
	}
	if d.all != nil {
		return *d.all, true
	}
	return value, false
}

// withoutPort cuts the port off an authority (ignore_port_in_host_matching).
func withoutPort(authority string) string {
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 || strings.LastIndexByte(authority, ']') > colon {
		return authority
	}
	return authority[:colon]
}
