package route

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"umbra/internal/diag"
)

// FuzzLoad: whatever the files hold, loading ends, every fault has a place, and what is taken can be routed by, and be had
// without its mirrors.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		gatewayYAML, rulesYAML, redirectGateway, bomb,
		gatewayYAML + "---\n" + rulesYAML + "---\n" + vsYAML(`{`+toV("v1")+`, mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 10}}`),
		vsYAML(`{match: [{uri: {regex: "/a|b"}, headers: {x: {}}, withoutHeaders: {y-h: {prefix: a}}, queryParams: {q: {exact: ""}}}], rewrite: {uriRegexRewrite: {match: a, rewrite: '\0'}}, `+toV("v1")+`}`) + "---\n" + gatewayYAML,
		vsYAML(`{redirect: {uri: /a, derivePort: FROM_REQUEST_PORT}}, {directResponse: {status: 200, body: {string: x}}}`) + "---\n" + gatewayYAML,
		vsYAML(`{fault: {delay: {fixedDelay: 1s, percentage: {value: 0.57}}, abort: {httpStatus: 500}}, retries: {attempts: 3, retryOn: "5xx,503"}, timeout: 1m, `+toV("v1")+`}`) + "---\n" + gatewayYAML,
		deploymentOf("a", "{app: a}") + "---\n" + service("{selector: {app: a}, ports: [{port: 80}]}"),
		"apiVersion: v1\nkind: List\nitems:\n- *a\n", "a: &a [*a]\n", "<<: [{a: b}]\n", "--- !!map {a: b}\n...\n%YAML 1.2\n", "\ufeffa: 1\r\n",
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [''], http: [{route: [{}], mirrors: [{}]}]}\n",
		"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {servers: [{port: {}}, {hosts: ['~/a', ./b]}]}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, wrong := Load(Source{"fuzz.yaml", data})
		positioned(t, wrong)
		tab, err := NewTable(m)
		positioned(t, err)
		if err != nil {
			return
		}
		if wrong == nil {
			unmirrored(t, m)
		}
		for _, w := range tab.Warnings() {
			if w.File != "fuzz.yaml" || w.Line < 1 || w.Msg == "" {
				t.Errorf("a warning has no place: %+v", w)
			}
		}
		Workloads(m, tab)
		for _, r := range tab.Routes() {
			for _, mirror := range r.Mirrors {
				if tab.Cluster(mirror.Cluster) == nil || mirror.Numerator > 1_000_000 {
					t.Errorf("mirror %+v", mirror)
				}
			}
		}
		for _, s := range tab.Servers() {
			tab.Match(&Request{Port: s.Port, Scheme: "http", Method: "GET", Authority: "a.com", Path: "/", Header: http.Header{}})
		}
	})
}

func positioned(t *testing.T, err error) {
	t.Helper()
	var faults diag.Faults
	if err != nil && !errors.As(err, &faults) {
		t.Fatalf("the error is %T: %v", err, err)
	}
	for _, f := range faults {
		if f.File != "fuzz.yaml" || f.Line < 1 || f.Msg == "" {
			t.Errorf("a fault has no place: %+v", f)
		}
	}
}

// FuzzMatch: whatever the request, the decision is the same each time, is the first entry that matches, and its path
// is one that normalising leaves alone where nothing rewrites it.
func FuzzMatch(f *testing.F) {
	tab := shop(f, `
	  {name: a, match: [{uri: {exact: /a}, headers: {x-user: {regex: "b.*"}}}, {uri: {prefix: /p}, method: {exact: POST}}], rewrite: {uri: /q}, `+toV("v1")+`},
	  {name: r, match: [{uri: {regex: "/r/[0-9]+"}, queryParams: {v: {prefix: "1"}}}], rewrite: {uriRegexRewrite: {match: "([0-9])", rewrite: '<\1>'}}, `+toV("v2")+`},
	  {name: i, match: [{uri: {prefix: /I}, ignoreUriCase: true, withoutHeaders: {x-user: {exact: ""}}}], rewrite: {uri: /}, `+toV("v1")+`},
	  {name: d, match: [{uri: {prefix: /d}}], redirect: {prefixRewrite: /e, port: 81}},
	  {name: rest, match: [{authority: {prefix: my}}], `+toV("v1")+`}`)
	vh := tab.virtualHost(request("/"))
	for _, s := range [][4]string{
		{"GET", "my-app.example.com", "/a", "beta"}, {"POST", "MY-APP.example.com:80", "/p/../p?x", ""},
		{"GET", "my-app.example.com", "/r/12?v=1", ""}, {"GET", "my-app.example.com", "/%49/x", "a"},
		{"GET", "my-app.example.com:1", "/d/../d/x?y", ""}, {"GET", "[::1]", "*", ""}, {"CONNECT", "", "", "\x00"},
		{"GET", "my-app.example.com", "/%%34%31/\xff#", "b\n"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, method, authority, path, user string) {
		r := &Request{Port: 80, Scheme: "http", Method: method, Authority: authority, Path: path, Header: http.Header{"X-User": {user}}}
		d := tab.Match(r)
		if again := tab.Match(r); !reflect.DeepEqual(d, again) {
			t.Fatalf("%+v, then %+v", d, again)
		}
		if d.Route == nil {
			if d.Status != 404 && d.Status != 400 {
				t.Errorf("no route and status %d", d.Status)
			}
			return
		}
		normal, ok := normalizePath(path)
		if !ok || !strings.HasPrefix(normal, "/") {
			t.Fatalf("a route has the path %q", normal)
		}
		bare, query := cutQuery(normal)
		for i := range vh.entries {
			if e := &vh.entries[i]; e.match.match(r, bare, query) {
				if e.route != d.Route {
					t.Errorf("took %s, but %s matches before", d.Route.Name, e.route.Name)
				}
				break
			}
		}
		if d.Route.Rewrite == nil && d.Path != normal {
			t.Errorf("path %q instead of %q", d.Path, normal)
		}
	})
}

// FuzzNormalizePath: what is normal stays as it is, and no dot segment is left.
func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e/%61", "/%%34%31", `\..\a`, "/a/.", "//", "/%2", "?", "/\x7f", "/a/..#/../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		once, ok := normalizePath(path)
		if !ok {
			return
		}
		bare, query := cutQuery(once)
		path, _, _ = strings.Cut(path, "#")
		if _, want := cutQuery(path); query != want {
			t.Errorf("%q: the query became %q", path, query)
		}
		if strings.Contains(bare+"/", "/./") || strings.Contains(bare+"/", "/../") {
			t.Errorf("%q becomes %q", path, once)
		}
		if isNormal(bare) && bare != mustNormalize(bare) {
			t.Errorf("%q is not normal", bare)
		}
	})
}

// mustNormalize goes the slow way.
func mustNormalize(path string) string {
	n := normalizer{in: path}
	for n.i < len(n.in) {
		n.step()
	}
	return string(n.out)
}

func BenchmarkMatch(b *testing.B) {
	tab := shop(b, `
	  {name: beta, match: [{headers: {x-user: {exact: beta}}}], `+toV("v2")+`},
	  {name: items, match: [{uri: {regex: "/api/items/[0-9]+"}}], `+toV("v1")+`},
	  {name: api, match: [{uri: {prefix: /api}, queryParams: {page: {}}}], `+toV("v1")+`},
	  {`+toV("v1")+`, mirror: {host: my-app, subset: v2}}`)
	for name, r := range map[string]*Request{
		"header": request("/", "X-User", "beta"),
		"regex":  request("/api/items/42", "X-User", "alpha"),
		"query":  request("/api/items?sort=up&page=7", "X-User", "alpha"),
		"last":   request("/index.html", "X-User", "alpha"),
		"dots":   request("/a/../index.html", "X-User", "alpha"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tab.Match(r)
			}
		})
	}
}
