package route

import (
	"net/http"
	"testing"
)

// TestMatch holds the conditions of HTTPMatchRequest against Istio's reference and Envoy's matchers.
func TestMatch(t *testing.T) {
	const other = ", {name: other, " // a second route that every request passes
	rows := []struct {
		name, match string
		req         *Request
		want        bool
	}{
		{"exact path", `{uri: {exact: /a}}`, request("/a"), true},
		{"exact path without the query", `{uri: {exact: /a}}`, request("/a?b=c"), true},
		{"exact path, longer", `{uri: {exact: /a}}`, request("/a/"), false},
		{"exact path in another case", `{uri: {exact: /a}}`, request("/A"), false},
		{"exact path, case ignored", `{uri: {exact: /a}, ignoreUriCase: true}`, request("/A"), true},
		{"case ignored for ASCII only", `{uri: {prefix: "/\u212a"}, ignoreUriCase: true}`, request("/k"), false},
		{"prefix", `{uri: {prefix: /api}}`, request("/api/items"), true},
		{"a prefix is no path segment", `{uri: {prefix: /api}}`, request("/apis"), true},
		{"prefix with its slash", `{uri: {prefix: /api/}}`, request("/api"), false},
		{"prefix, case ignored", `{uri: {prefix: /API}, ignoreUriCase: true}`, request("/api/x"), true},
		{"prefix longer than the path", `{uri: {prefix: /api}, ignoreUriCase: true}`, request("/a"), false},
		{"prefix does not reach into the query", `{uri: {prefix: "/a?b"}}`, request("/a?b"), false},
		{"empty prefix", `{uri: {prefix: ""}}`, request("/x"), true},
		{"regex", `{uri: {regex: "/items/[0-9]+"}}`, request("/items/42?x"), true},
		{"regex has to match all", `{uri: {regex: "/items/[0-9]+"}}`, request("/items/42/x"), false},
		{"regex has to match from the start", `{uri: {regex: "items"}}`, request("/items"), false},
		{"regex alternatives as a whole", `{uri: {regex: "/a|/b"}}`, request("/bc"), false},
		{"regex alternative", `{uri: {regex: "/a|/b"}}`, request("/b"), true},
		{"regex prefers nothing over the whole", `{uri: {regex: "/a|/ab"}}`, request("/ab"), true},
		{"regex keeps its case", `{uri: {regex: "/a"}, ignoreUriCase: true}`, request("/A"), false},
		{"regex with its own case", `{uri: {regex: "(?i)/a"}}`, request("/A"), true},
		{"regex flags do not leak", `{uri: {regex: "(?i)/a"}, headers: {x: {regex: "b"}}}`, request("/A", "X", "B"), false},
		{"regex dot is no newline", `{headers: {x: {regex: "a.c"}}}`, request("/", "X", "a\nc"), false},

		{"method", `{method: {exact: GET}}`, request("/"), true},
		{"method keeps its case", `{method: {exact: get}}`, request("/"), false},
		{"method regex", `{method: {regex: "POST|PUT|PATCH|DELETE"}}`, request("/"), false},
		{"scheme", `{scheme: {exact: http}}`, request("/"), true},
		{"other scheme", `{scheme: {exact: https}}`, request("/"), false},
		{"authority", `{authority: {prefix: my-app.}}`, request("/"), true},
		{"authority without its port", `{authority: {exact: my-app.example.com}}`, with(request("/"), "my-app.example.com:8080"), false},
		{"authority with its port", `{authority: {exact: "my-app.example.com:8080"}}`, with(request("/"), "my-app.example.com:8080"), true},

		{"header", `{headers: {x-user: {exact: beta}}}`, request("/", "X-User", "beta"), true},
		{"header name in any case", `{headers: {X-uSER: {exact: beta}}}`, request("/", "x-user", "beta"), true},
		{"header value keeps its case", `{headers: {x-user: {exact: beta}}}`, request("/", "X-User", "Beta"), false},
		{"header missing", `{headers: {x-user: {exact: beta}}}`, request("/"), false},
		{"header prefix", `{headers: {x-user: {prefix: be}}}`, request("/", "X-User", "beta"), true},
		{"header regex matches all", `{headers: {cookie: {regex: "user=x"}}}`, request("/", "Cookie", "a; user=x"), false},
		{"header regex", `{headers: {cookie: {regex: ".*user=x.*"}}}`, request("/", "Cookie", "a; user=x; b"), true},
		{"header presence", `{headers: {x-user: {}}}`, request("/", "X-User", ""), true},
		{"header presence, missing", `{headers: {x-user: {}}}`, request("/"), false},
		{"missing header is not empty", `{headers: {x-user: {regex: ".*"}}}`, request("/"), false},
		{"repeated header is not joined", `{headers: {x: {exact: "a,b"}}}`, request("/", "X", "a", "X", "b"), false},
		{"repeated header, first", `{headers: {x: {exact: a}}}`, request("/", "X", "a", "X", "b"), true},
		{"repeated header, second", `{headers: {x: {prefix: b}}}`, request("/", "X", "a", "X", "b"), true},
		{"repeated header, by a regex", `{headers: {x: {regex: "b*"}}}`, request("/", "X", "a", "X", "bb"), true},
		{"repeated header, none", `{headers: {x: {exact: c}}}`, request("/", "X", "a", "X", "b"), false},
		{"repeated header, one empty", `{headers: {x: {exact: ""}}}`, request("/", "X", "a", "X", ""), true},
		{"repeated cookie is not joined", `{headers: {cookie: {exact: b=2}}}`, request("/", "Cookie", "a=1", "Cookie", "b=2"), true},
		{"repeated header that Envoy joins", `{headers: {accept: {exact: "a,b"}}}`, request("/", "Accept", "a", "Accept", "b"), true},
		{"repeated header that Envoy joins, first", `{headers: {Accept: {exact: a}}}`, request("/", "Accept", "a", "Accept", "b"), false},
		{"repeated header that Envoy joins, without the empty", `{headers: {accept: {exact: "a,b"}}}`, request("/", "Accept", "", "Accept", "a", "Accept", "", "Accept", "b"), true},
		{"empty header", `{headers: {x: {exact: ""}}}`, request("/", "X", ""), true},
		{"empty header, any value", `{headers: {x: {regex: ".*"}}}`, request("/", "X", ""), true},
		{"missing header is not empty by exact", `{headers: {x: {exact: ""}}}`, request("/"), false},
		{"host is the authority", `{headers: {Host: {exact: my-app.example.com}}}`, request("/"), true},
		{"pseudo-header of the path", `{headers: {":path": {exact: "/a?b"}}}`, request("/a?b"), true},

		{"without header", `{withoutHeaders: {x: {exact: a}}}`, request("/", "X", "b"), true},
		{"without header, there", `{withoutHeaders: {x: {exact: a}}}`, request("/", "X", "a"), false},
		{"without header, first of two", `{withoutHeaders: {x: {exact: a}}}`, request("/", "X", "a", "X", "b"), false},
		{"without header, second of two", `{withoutHeaders: {x: {exact: a}}}`, request("/", "X", "b", "X", "a"), false},
		{"without header, none of two", `{withoutHeaders: {x: {prefix: a}}}`, request("/", "X", "b", "X", ""), true},
		{"without empty header", `{withoutHeaders: {x: {exact: ""}}}`, request("/", "X", "a"), true},
		{"without empty header, missing", `{withoutHeaders: {x: {exact: ""}}}`, request("/"), false},
		{"without empty header, one of two", `{withoutHeaders: {x: {exact: ""}}}`, request("/", "X", "a", "X", ""), false},
		{"without header that Envoy joins", `{withoutHeaders: {accept: {exact: a}}}`, request("/", "Accept", "a", "Accept", "b"), true},
		{"without header, missing", `{withoutHeaders: {x: {exact: a}}}`, request("/"), true},
		{"without header, missing counts as empty", `{withoutHeaders: {x: {regex: ".*"}}}`, request("/"), false},
		{"without header at all", `{withoutHeaders: {x: {}}}`, request("/"), true},
		{"without header at all, there", `{withoutHeaders: {x: {}}}`, request("/", "X", ""), false},
		{"without header by the old star", `{withoutHeaders: {x: {regex: "*"}}}`, request("/", "X", "a"), false},

		{"query", `{queryParams: {v: {exact: "2"}}}`, request("/?a=1&v=2"), true},
		{"query missing", `{queryParams: {v: {exact: "2"}}}`, request("/?a=1"), false},
		{"query without value", `{queryParams: {v: {exact: ""}}}`, request("/?v"), true},
		{"query with a value is not without", `{queryParams: {v: {exact: ""}}}`, request("/?v=1"), false},
		{"query missing is not empty", `{queryParams: {v: {exact: ""}}}`, request("/"), false},
		{"query prefix", `{queryParams: {v: {prefix: ab}}}`, request("/?v=abx"), true},
		{"query regex matches all", `{queryParams: {v: {regex: '\d+$'}}}`, request("/?v=a123"), false},
		{"query regex", `{queryParams: {v: {regex: '\d+$'}}}`, request("/?v=123"), true},
		{"query presence", `{queryParams: {v: {}}}`, request("/?v"), true},
		{"first of a repeated query", `{queryParams: {v: {exact: b}}}`, request("/?v=a&v=b"), false},
		{"query is not decoded", `{queryParams: {v: {exact: "a b"}}}`, request("/?v=a%20b"), false},
		{"query name keeps its case", `{queryParams: {v: {}}}`, request("/?V=1"), false},

		{"conditions are ANDed", `{uri: {prefix: /a}, headers: {x: {exact: b}}}`, request("/a", "X", "c"), false},
		{"all conditions hold", `{uri: {prefix: /a}, headers: {x: {exact: b}, z: {}}, queryParams: {q: {}}, method: {exact: GET}}`, request("/a?q", "X", "b", "Z", "1"), true},
		{"matches are ORed", `{uri: {prefix: /a}}, {headers: {x: {exact: b}}}`, request("/z", "X", "b"), true},
		{"port of the server", `{port: 80}`, request("/"), true},
		{"port of another server", `{port: 443}`, request("/"), false},
		{"gateway", `{gateways: [gw]}`, request("/"), true},
		{"gateway with its namespace", `{gateways: [shop/gw]}`, request("/"), true},
		{"gateway of another namespace", `{gateways: [other/gw]}`, request("/"), false},
		{"sidecars only", `{gateways: [mesh]}`, request("/"), false},
		{"CONNECT has no path", `{uri: {prefix: /}}`, &Request{Port: 80, Scheme: "http", Method: "CONNECT", Authority: "my-app.example.com", Path: "/"}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			tab := shop(t, `{name: here, match: [`+row.match+`], `+toV("v1")+`}`+other+toV("v2")+`}`)
			want := map[bool]string{true: "here", false: "other"}[row.want]
			if row.req.Method == http.MethodConnect {
				want = ""
			}
			if got := routeOf(tab.Match(row.req)); got != want {
				t.Errorf("took route %q instead of %q", got, want)
			}
		})
	}
}

func by(method, path string) *Request {
	r := request(path)
	r.Method = method
	return r
}

func with(r *Request, authority string) *Request {
	r.Authority = authority
	return r
}

// TestOrder: the first route that matches wins, and what follows one that matches all is not programmed.
func TestOrder(t *testing.T) {
	tab := shop(t, `
  {name: beta, match: [{headers: {x-beta: {}}}], `+toV("v2")+`},
  {name: api, match: [{uri: {prefix: /api}}], `+toV("v1")+`},
  {`+toV("v1")+`},
  {name: never, match: [{uri: {prefix: /never}}], `+toV("v2")+`}`)
	for _, row := range []struct {
		name string
		req  *Request
		want string
	}{
		{"first of two that match", request("/api", "X-Beta", "1"), "beta"},
		{"second", request("/api"), "api"},
		{"catch-all, named by its index", request("/"), "#2"},
		{"behind the catch-all", request("/never"), "#2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := routeOf(tab.Match(row.req)); got != row.want {
				t.Errorf("took %q instead of %q", got, row.want)
			}
		})
	}
	var names []string
	for _, r := range tab.Routes() {
		names = append(names, r.Name)
	}
	if len(names) != 3 || names[0] != "shop/my-app/beta" || names[2] != "shop/my-app/#2" {
		t.Errorf("routes are %q", names)
	}
	if r := tab.Routes()[1]; r.File != "test.yaml" || r.Line != 8 {
		t.Errorf("route api is at %s:%d instead of test.yaml:8", r.File, r.Line)
	}
}

// TestCatchAllMatch: a match of every path ends a VirtualService as a route without matches does.
func TestCatchAllMatch(t *testing.T) {
	for _, match := range []string{`{uri: {prefix: /}}`, `{uri: {regex: ".*"}}`, `{port: 80}`} {
		tab := shop(t, `{name: all, match: [`+match+`], `+toV("v1")+`}, {name: never, `+toV("v2")+`}`)
		if len(tab.Routes()) != 1 {
			t.Errorf("%s: %d routes are programmed", match, len(tab.Routes()))
		}
	}
}

func TestNoRoute(t *testing.T) {
	tab := shop(t, `{match: [{uri: {exact: /a}}], `+toV("v1")+`}`)
	for _, row := range []struct {
		name   string
		req    *Request
		status int
	}{
		{"no route", request("/b"), 404},
		{"no host", with(request("/a"), "example.com"), 404},
		{"no server", &Request{Port: 8080, Scheme: "http", Method: "GET", Authority: "my-app.example.com", Path: "/a"}, 404},
		{"fragment", request("/b#/a"), 404},
		{"NUL", request("/a%00"), 400},
		{"blank", request("/a b"), 400},
		{"blank in the query", request("/a?b c"), 400},
		{"control character", request("/a?b\x1f"), 400},
		{"DEL", request("/a\x7f"), 400},
		{"UTF-8", request("/\u00e4"), 400},
		{"UTF-8 in the query", request("/a?\u00e4"), 400},
		{"no %-sequence", request("/a%zz"), 400},
		{"asterisk", request("*"), 400},
		{"no slash", request("a"), 400},
		{"unknown method", by("QUERY", "/a"), 400},
		{"method in small letters", by("get", "/a"), 400},
		{"no method", by("", "/a"), 400},
		{"OPTIONS of the server", by("OPTIONS", "*"), 404},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := tab.Match(row.req)
			if d.Route != nil || d.Status != row.status {
				t.Errorf("route %v, status %d instead of %d", d.Route, d.Status, row.status)
			}
		})
	}
}

// TestAnswersBeforeRouting: what Envoy answers 400 or 404 to by itself passes no route, not even one for everything.
func TestAnswersBeforeRouting(t *testing.T) {
	tab := shop(t, `{`+toV("v1")+`}`)
	for _, row := range []struct {
		req    *Request
		status int // 0: routed
	}{
		{by("PROPFIND", "/"), 0},
		{by("MSEARCH", "/"), 0},
		{request("/x?a=%zz"), 0},
		{by("M-SEARCH", "/"), 400},
		{by("PATCHX", "/"), 400},
		{request("*"), 400},
		{by("OPTIONS", "*"), 404},
		{request("/\xff"), 400},
		{request("/?\xff"), 400},
		{request("/%"), 400},
	} {
		if d := tab.Match(row.req); d.Status != row.status || (d.Route == nil) != (row.status != 0) {
			t.Errorf("%s %q: status %d instead of %d, route %v", row.req.Method, row.req.Path, d.Status, row.status, d.Route)
		}
	}
}

// TestOriginalPath: the path before a rewrite is the normalised one.
func TestOriginalPath(t *testing.T) {
	tab := shop(t, `{match: [{uri: {prefix: /a/}}], rewrite: {uri: /b/}, `+toV("v1")+`}`)
	if d := tab.Match(request("/x/../%61/c?d=%61")); d.Original != "/a/c?d=%61" || d.Path != "/b/c?d=%61" {
		t.Errorf("original %q, path %q", d.Original, d.Path)
	}
}
