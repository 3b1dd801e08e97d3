package envoy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"umbra/internal/route"
)

// How Envoy matches a request to a route (envoy.config.route.v3.RouteMatch), as far as istiod uses it.
type (
	routeMatch struct {
		Prefix        *string       `json:"prefix"`
		Path          *string       `json:"path"`
		Regex         *regexMatch   `json:"safe_regex"`
		Separated     *string       `json:"path_separated_prefix"`
		CaseSensitive *bool         `json:"case_sensitive"` // of prefix and path; true where it is absent
		Headers       []headerMatch `json:"headers"`
		Query         []queryMatch  `json:"query_parameters"`
		// Metadata is what a filter found out (a JWT's claims); no request that is made up here has any.
		Metadata []json.RawMessage `json:"dynamic_metadata"`
	}
	headerMatch struct {
		Name           string       `json:"name"`
		String         *stringMatch `json:"string_match"`
		Invert         bool         `json:"invert_match"`
		MissingIsEmpty bool         `json:"treat_missing_header_as_empty"`
	}
	queryMatch struct {
		Name   string       `json:"name"`
		String *stringMatch `json:"string_match"`
	}
	// stringMatch is envoy.type.matcher.v3.StringMatcher.
	stringMatch struct {
		Exact      *string     `json:"exact"`
		Prefix     *string     `json:"prefix"`
		Suffix     *string     `json:"suffix"`
		Contains   *string     `json:"contains"`
		Regex      *regexMatch `json:"safe_regex"`
		IgnoreCase bool        `json:"ignore_case"`
	}
)

func (m *stringMatch) match(s string) bool {
	fold := func(t *string) string {
		if m.IgnoreCase {
			return strings.ToLower(*t)
		}
		return *t
	}
	in := fold(&s)
	switch {
	case m.Exact != nil:
		return in == fold(m.Exact)
	case m.Prefix != nil:
		return strings.HasPrefix(in, fold(m.Prefix))
	case m.Suffix != nil:
		return strings.HasSuffix(in, fold(m.Suffix))
	case m.Contains != nil:
		return strings.Contains(in, fold(m.Contains))
	}
	return m.Regex != nil && m.Regex.match(s)
}

// match tells whether a route takes a request whose path is normalised.
func (m *routeMatch) match(r *route.Request) bool {
	path, query, _ := strings.Cut(r.Path, "?")
	if len(m.Metadata) > 0 || !m.matchPath(path) {
		return false
	}
	for i := range m.Headers {
		if !m.Headers[i].match(r) {
			return false
		}
	}
	for i := range m.Query {
		if !m.Query[i].match(query) {
			return false
		}
	}
	return true
}

func (m *routeMatch) matchPath(path string) bool {
	if m.Regex != nil {
		return m.Regex.match(path)
	}
	fold := func(s string) string {
		if m.CaseSensitive != nil && !*m.CaseSensitive {
			return strings.ToLower(s)
		}
		return s
	}
	path = fold(path)
	switch {
	case m.Prefix != nil:
		return strings.HasPrefix(path, fold(*m.Prefix))
	case m.Path != nil:
		return path == fold(*m.Path)
	case m.Separated != nil:
		rest, ok := strings.CutPrefix(path, fold(*m.Separated))
		return ok && (rest == "" || rest[0] == '/')
	}
	return false
}

func (h *headerMatch) match(r *route.Request) bool {
	value, there := h.value(r)
	switch {
	case h.String == nil:
		return there != h.Invert
	case !there && !h.MissingIsEmpty:
		return false
	}
	return h.String.match(value) != h.Invert
}

func (h *headerMatch) value(r *route.Request) (string, bool) {
	switch strings.ToLower(h.Name) {
	case ":method":
		return r.Method, true
	case ":authority", "host":
		return r.Authority, true
	case ":scheme":
		return r.Scheme, true
	case ":path":
		return r.Path, true
	}
	values := r.Header[http.CanonicalHeaderKey(h.Name)]
	return strings.Join(values, ","), len(values) > 0
}

func (q *queryMatch) match(query string) bool {
	for param := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(param, "="); name == q.Name && query != "" {
			return q.String == nil || q.String.match(value)
		}
	}
	return false
}

// decide gives what a virtual host does with a request: a route's index, or none. A virtual host that asks for TLS
// redirects plain requests.
func (v *virtualHost) decide(r *route.Request) (index int, toTLS bool) {
	if v.RequireTLS == "ALL" && r.Scheme != "https" {
		return -1, true
	}
	return slices.IndexFunc(v.Routes, func(e *envoyed) bool { return e.Match.match(r) }), false
}
