package route

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRewrite(t *testing.T) {
	for _, row := range []struct{ name, http, path, want, authority string }{
		{"none", `{X}`, "/a?b", "/a?b", ""},
		{"prefix", `{match: [{uri: {prefix: /api}}], rewrite: {uri: /v2}, X}`, "/api/items?p=1", "/v2/items?p=1", ""},
		{"prefix with a slash too many", `{match: [{uri: {prefix: /api/}}], rewrite: {uri: /}, X}`, "/api/items", "/items", ""},
		{"prefix to the root", `{match: [{uri: {prefix: /api}}], rewrite: {uri: /}, X}`, "/api/items", "//items", ""},
		{"prefix, case ignored", `{match: [{uri: {prefix: /api}, ignoreUriCase: true}], rewrite: {uri: /v2}, X}`, "/API/Items", "/v2/Items", ""},
		{"exact", `{match: [{uri: {exact: /api}}], rewrite: {uri: /v2}, X}`, "/api?p=1", "/v2?p=1", ""},
		{"regex match, whole path", `{match: [{uri: {regex: "/a.*"}}], rewrite: {uri: /v2}, X}`, "/api/items?p=1", "/v2?p=1", ""},
		{"no match on the path", `{rewrite: {uri: /v2}, X}`, "/items", "/v2items", ""},
		{"no match on the path, with a slash", `{rewrite: {uri: /v2/}, X}`, "/items", "/v2/items", ""},
		{"of the match that was taken", `{match: [{uri: {prefix: /a}}, {uri: {exact: /b}}], rewrite: {uri: /c}, X}`, "/b", "/c", ""},
		{"regex rewrite, the reference's first", `{rewrite: {uriRegexRewrite: {match: "^/service/([^/]+)(/.*)$", rewrite: '/customprefix/\2/\1'}}, X}`, "/service/update/v1/api", "/customprefix//v1/api/update", ""},
		{"regex rewrite, the reference's second", `{rewrite: {uriRegexRewrite: {match: "(?i)/xxx/", rewrite: /yyy/}}, X}`, "/aaa/XxX/bbb", "/aaa/yyy/bbb", ""},
		{"regex rewrite leaves the query", `{rewrite: {uriRegexRewrite: {match: "a", rewrite: b}}, X}`, "/a/a?a", "/b/b?a", ""},
		{"regex rewrite, whole match and dollar", `{rewrite: {uriRegexRewrite: {match: "b", rewrite: '[\0]$1\\'}}, X}`, "/b", `/[b]$1\`, ""},
		{"authority", `{rewrite: {authority: other.example.com}, X}`, "/a", "/a", "other.example.com"},
		{"authority by a header", `{headers: {request: {set: {":authority": a.example.com}}}, X}`, "/a", "/a", "a.example.com"},
		{"authority by Host", `{headers: {request: {set: {Host: b.example.com}}}, X}`, "/a", "/a", "b.example.com"},
		{"authority by adding", `{headers: {request: {add: {host: c.example.com}}}, X}`, "/a", "/a", "c.example.com"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := shop(t, strings.Replace(row.http, "X}", toV("v1")+"}", 1)).Match(request(row.path))
			if d.Path != row.want || d.Authority != or(row.authority, "my-app.example.com") {
				t.Errorf("%s %s instead of %s %s", d.Authority, d.Path, row.authority, row.want)
			}
			for _, op := range d.Route.Headers.Request.Set {
				t.Errorf("the authority is left among the headers: %v", op)
			}
		})
	}
}

// TestDestinationAuthority: a destination rewrites the authority only where the route does not.
func TestDestinationAuthority(t *testing.T) {
	const to = `route: [{destination: {host: my-app, subset: v1}, headers: {request: {set: {Host: dst.example.com}}}}]`
	for _, row := range []struct{ name, http, want string }{
		{"destination alone", `{` + to + `}`, "dst.example.com"},
		{"route wins", `{rewrite: {authority: top.example.com}, ` + to + `}`, "top.example.com"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := shop(t, row.http).Match(request("/"))
			if got := d.AuthorityFor(&d.Route.Destinations[0]); got != row.want {
				t.Errorf("authority %s instead of %s", got, row.want)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	for _, row := range []struct {
		name, http, authority, path string
		code                        int
		want                        string
	}{
		{"uri", `{redirect: {uri: /new}}`, "", "/old", 301, "http://my-app.example.com/new"},
		{"the query stays", `{redirect: {uri: /new}}`, "", "/old?a=b", 301, "http://my-app.example.com/new?a=b"},
		{"its own query wins", `{redirect: {uri: "/new?c=d"}}`, "", "/old?a=b", 301, "http://my-app.example.com/new?c=d"},
		{"authority", `{redirect: {authority: new.example.com}}`, "", "/old?a=b", 301, "http://new.example.com/old?a=b"},
		{"code", `{redirect: {uri: /new, redirectCode: 307}}`, "", "/", 307, "http://my-app.example.com/new"},
		{"scheme", `{redirect: {scheme: https}}`, "", "/a", 301, "https://my-app.example.com/a"},
		{"scheme drops the old one's port", `{redirect: {scheme: https}}`, "my-app.example.com:80", "/a", 301, "https://my-app.example.com/a"},
		{"another port stays", `{redirect: {scheme: https}}`, "my-app.example.com:8080", "/a", 301, "https://my-app.example.com:8080/a"},
		{"port", `{redirect: {port: 8443}}`, "my-app.example.com:80", "/a", 301, "http://my-app.example.com:8443/a"},
		{"the scheme's port is left out", `{redirect: {port: 443, scheme: https, uri: /}}`, "", "/a", 301, "https://my-app.example.com/"},
		{"port of the request", `{redirect: {derivePort: FROM_REQUEST_PORT, authority: x.com}}`, "", "/a", 301, "http://x.com/a"},
		{"port of the protocol", `{redirect: {derivePort: FROM_PROTOCOL_DEFAULT, scheme: https}}`, "", "/a", 301, "https://my-app.example.com/a"},
		{"without a slash", `{redirect: {uri: new}}`, "", "/", 301, "http://my-app.example.com/new"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := shop(t, row.http).Match(with(request(row.path), or(row.authority, "my-app.example.com")))
			if d.Route == nil || d.Route.Kind != Redirect || d.Status != row.code || d.Location != row.want {
				t.Errorf("%d %s instead of %d %s", d.Status, d.Location, row.code, row.want)
			}
		})
	}
}

func TestRedirectPrefix(t *testing.T) {
	tab := shop(t, `{match: [{uri: {prefix: /old}}], redirect: {prefixRewrite: /new}}`)
	if d := tab.Match(request("/old/x?y")); d.Location != "http://my-app.example.com/new/x?y" {
		t.Errorf("location is %s", d.Location)
	}
}

func TestDirectResponse(t *testing.T) {
	for _, row := range []struct {
		name, body string
		want       string
	}{
		{"no body", "", ""},
		{"string", `, body: {string: "sorry\n"}`, "sorry\n"},
		{"bytes", `, body: {bytes: aGVsbG8=}`, "hello"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := shop(t, `{directResponse: {status: 503`+row.body+`}}`).Match(request("/"))
			if d.Route.Kind != DirectResponse || d.Status != 503 || d.Body != row.want {
				t.Errorf("%d %q", d.Status, d.Body)
			}
		})
	}
}

func TestFault(t *testing.T) {
	for _, row := range []struct {
		name, fault string
		want        *Fault
	}{
		{"delay", `{delay: {fixedDelay: 1.5s, percentage: {value: 0.1}}}`, &Fault{Delay: 1500 * time.Millisecond, DelayNumerator: 1000}},
		{"delay in other units", `{delay: {fixedDelay: 500ms, percentage: {value: 100}}}`, &Fault{Delay: 500 * time.Millisecond, DelayNumerator: 1_000_000}},
		{"delay with no percentage delays nothing", `{delay: {fixedDelay: 1m}}`, &Fault{Delay: time.Minute}},
		{"delay with the deprecated percent", `{delay: {fixedDelay: 1s, percent: 10}}`, &Fault{Delay: time.Second, DelayNumerator: 100_000}},
		{"abort", `{abort: {httpStatus: 503, percentage: {value: 50}}}`, &Fault{AbortStatus: 503, AbortNumerator: 500_000}},
		{"abort with no percentage aborts nothing", `{abort: {httpStatus: 503}}`, &Fault{AbortStatus: 503}},
		{"truncated", `{abort: {httpStatus: 503, percentage: {value: 0.57}}}`, &Fault{AbortStatus: 503, AbortNumerator: 5699}},
		{"both", `{delay: {fixedDelay: 1s, percentage: {value: 1}}, abort: {httpStatus: 400, percentage: {value: 2}}}`, &Fault{time.Second, 10_000, 400, 20_000}},
		{"abort with nothing to say", `{abort: {percentage: {value: 50}}}`, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := shop(t, `{fault: `+row.fault+`, `+toV("v1")+`}`).Routes()[0]
			if diff := cmp.Diff(row.want, r.Fault); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	standard := []string{"connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"}
	for _, row := range []struct {
		name, retries string
		want          Retries
	}{
		{"default", ``, Retries{Attempts: 2, On: standard}},
		{"none", `retries: {attempts: 0}, `, Retries{}},
		{"attempts alone", `retries: {attempts: 5}, `, Retries{Attempts: 5, On: standard}},
		{"all", `retries: {attempts: 3, perTryTimeout: 2s, retryOn: "gateway-error,connect-failure", backoff: 100ms}, `,
			Retries{Attempts: 3, PerTryTimeout: 2 * time.Second, On: []string{"gateway-error", "connect-failure"}, Backoff: 100 * time.Millisecond}},
		{"status codes", `retries: {attempts: 1, retryOn: "5xx,503,429"}, `, Retries{Attempts: 1, On: []string{"5xx", "retriable-status-codes"}, Statuses: []int{503, 429}}},
		{"status codes, said twice", `retries: {attempts: 1, retryOn: "retriable-status-codes,503"}, `, Retries{Attempts: 1, On: []string{"retriable-status-codes"}, Statuses: []int{503}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := shop(t, `{`+row.retries+`timeout: 10s, `+toV("v1")+`}`).Routes()[0]
			if diff := cmp.Diff(row.want, r.Retries); diff != "" || r.Timeout != 10*time.Second {
				t.Error(diff, r.Timeout)
			}
		})
	}
	if r := shop(t, `{`+toV("v1")+`}`).Routes()[0]; r.Timeout != 0 {
		t.Errorf("the default time-out is %v instead of none", r.Timeout)
	}
}

func TestWeights(t *testing.T) {
	two := `route: [{destination: {host: my-app, subset: v1}, weight: W1}, {destination: {host: my-app, subset: v2}, weight: W2}]`
	for _, row := range []struct {
		name, http string
		want       []uint32
	}{
		{"single without", `{` + toV("v1") + `}`, []uint32{1}},
		{"single with 0", `{route: [{destination: {host: my-app, subset: v1}, weight: 0}]}`, []uint32{1}},
		{"single with its own", `{route: [{destination: {host: my-app, subset: v1}, weight: 100}]}`, []uint32{100}},
		{"two", `{` + strings.NewReplacer("W1", "90", "W2", "10").Replace(two) + `}`, []uint32{90, 10}},
		{"any sum", `{` + strings.NewReplacer("W1", "2", "W2", "1").Replace(two) + `}`, []uint32{2, 1}},
		{"one of 0", `{` + strings.NewReplacer("W1", "100", "W2", "0").Replace(two) + `}`, []uint32{100, 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []uint32
			for _, d := range shop(t, row.http).Routes()[0].Destinations {
				got = append(got, d.Weight)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeaderOps(t *testing.T) {
	ops := `headers: {
	  request: {set: {x-b: "1", x-a: "100%%"}, add: {x-a: "2", x-empty: ""}, remove: [x-c]},
	  response: {remove: [server], set: {x-r: r}}}`
	r := shop(t, `{`+ops+`, `+toV("v1")+`}`).Routes()[0]
	want := HeaderOps{
		Request:  HeaderEdit{Set: [][2]string{{"x-a", "100%"}, {"x-b", "1"}}, Add: [][2]string{{"x-a", "2"}}, Remove: []string{"x-c"}},
		Response: HeaderEdit{Set: [][2]string{{"x-r", "r"}}, Remove: []string{"server"}},
	}
	if diff := cmp.Diff(want, r.Headers); diff != "" {
		t.Fatal(diff)
	}
	h := http.Header{"X-A": {"0", "9"}, "X-C": {"gone"}, "X-D": {"kept"}}
	r.Headers.Request.Apply(h)
	if diff := cmp.Diff(http.Header{"X-A": {"100%", "2"}, "X-B": {"1"}, "X-D": {"kept"}}, h); diff != "" {
		t.Error(diff)
	}
}

// TestEdits: who has the last word where route and destination set one header.
func TestEdits(t *testing.T) {
	dst := func(v string) string {
		return `{destination: {host: my-app, subset: ` + v + `}, weight: 50, headers: {request: {set: {x: dst}, remove: [Y-H]}}}`
	}
	const route = `headers: {request: {set: {x: route, y-h: route}}}`
	for _, row := range []struct {
		name, http string
		want       http.Header
	}{
		{"a single destination", `{` + route + `, route: [` + dst("v1") + `]}`, http.Header{"X": {"dst"}, "Y-H": {"route"}}},
		{"several: the route", `{` + route + `, route: [` + dst("v1") + `, ` + dst("v2") + `]}`, http.Header{"X": {"route"}, "Y-H": {"route"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := shop(t, row.http).Routes()[0]
			h := http.Header{"Y-H": {"client"}}
			edits, _ := r.Edits(&r.Destinations[0])
			for _, e := range edits {
				e.Apply(h)
			}
			if diff := cmp.Diff(row.want, h); diff != "" {
				t.Error(diff)
			}
		})
	}
}
