//go:build e2e

package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
)

// routeHeader is a response header that a rule of everyRule sets.
const routeHeader = "X-Route"

// rules asks for all that a VirtualService can ask for and the model carries, with what needs care in Envoy: prefixes that end in a
// slash or not, letter case, regular expressions that must match the whole path, values of headers that are absent, empty or several.
const rules = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: my-app, namespace: shop}
spec: {selector: {app: my-app}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: my-app-gateway, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [my-app.example.com, "*.example.org"]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-app, namespace: shop}
spec:
  host: my-app
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-app, namespace: shop}
spec:
  hosts: [my-app.example.com]
  gateways: [my-app-gateway]
  http:
  - name: exact
    match: [{uri: {exact: /api/v1/items}}, {uri: {exact: /Users/}, ignoreUriCase: true}]
    route: [{destination: {host: my-app, subset: v1}, headers: {response: {set: {x-route: exact}}}}]
    mirror: {host: my-app, subset: v2}
  - name: moved
    match: [{uri: {prefix: /payments}}]
    redirect: {uri: /paid, redirectCode: 302}
  - name: elsewhere
    match: [{uri: {prefix: /search/}}]
    redirect: {authority: other.example.com, scheme: https}
  - name: fixed
    match: [{uri: {prefix: /v1/}}]
    directResponse: {status: 418, body: {string: "no coffee"}}
    headers: {response: {set: {x-route: fixed}}}
  - name: broken
    match: [{uri: {prefix: /suggest}}]
    fault: {abort: {httpStatus: 451, percentage: {value: 100}}}
    route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
  - name: present
    match: [{headers: {x-enable-shadow: {}}, queryParams: {page: {exact: "7"}}}]
    route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
  - name: marked
    match: [{headers: {x-mirror-test: {regex: "enabled|on"}}, withoutHeaders: {x-enable-shadow: {prefix: t}}}]
    route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
  - name: ported
    match: [{authority: {exact: "my-app.example.com:80"}}]
    route: [{destination: {host: my-app, subset: v1}, headers: {request: {set: {x-added: "1"}, remove: [x-enable-shadow]}}}]
    mirror: {host: my-app, subset: v2}
  - name: rewritten
    match: [{uri: {prefix: /api/v2/}}]
    rewrite: {uri: /new/, authority: inner.example.com}
    route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
  - name: numbered
    match: [{uri: {regex: "/api/[a-z]+/[0-9]+"}}]
    rewrite: {uriRegexRewrite: {match: "/api/([a-z]+)/([0-9]+)", rewrite: '/\2/\1'}}
    route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
  - name: shared
    match: [{uri: {prefix: /api}, method: {regex: "GET|HEAD"}}]
    route: [{destination: {host: my-app, subset: v1}, weight: 30}, {destination: {host: my-app, subset: v3}, weight: 70}]
    mirror: {host: my-app, subset: v2}
    mirrorPercentage: {value: 50}
  - name: writes
    match: [{method: {exact: POST}}, {method: {prefix: P}}]
    route: [{destination: {host: my-app, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: shop}
spec:
  hosts: ["*.example.org"]
  gateways: [my-app-gateway]
  http:
  - route: [{destination: {host: my-app, subset: v1}}]
    mirror: {host: my-app, subset: v2}
    mirrorPercentage: {value: 10}
`

func everyRule(t *testing.T) table {
	t.Helper()
	m, err := route.Load(route.Source{Name: "rules.yaml", Data: []byte(rules)})
	if err != nil {
		t.Fatal(err)
	}
	model, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	return table{"every-rule", "my-app.example.com", mesh.Spec{Manifests: m, Table: model, Workloads: route.Workloads(m, model), Port: 80}}
}

// request is one to be sent as its bytes say.
type request struct {
	id, method, target, host string
	headers                  [][2]string
	body                     string
	chunked                  bool
}

// raw is the request as it is sent (RFC 9112).
func (r *request) raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", r.method, r.target, r.host, traffic.IDHeader, r.id)
	for _, h := range r.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	switch {
	case r.chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(r.body), r.body)
	case r.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// model is the request as the model of the routes takes it.
func (r *request) model(port uint32) *route.Request {
	m := &route.Request{Port: port, Scheme: "http", Method: r.method, Authority: r.host, Path: r.target, Header: http.Header{}}
	if rest, ok := strings.CutPrefix(r.target, "http://"); ok { // the absolute form prevails over Host (RFC 9112, 3.2.2)
		host, path, _ := strings.Cut(rest, "/")
		m.Authority, m.Path = host, "/"+path
	}
	for _, h := range r.headers {
		m.Header.Add(h[0], strings.TrimSpace(h[1]))
	}
	return m
}

// draws makes requests at random, near the rules of all manifests: valid HTTP/1.1 throughout.
type draws struct {
	*rand.Rand
	host string
}

func (d draws) request(id string) *request {
	r := &request{id: id, method: d.method(), host: d.authority()}
	r.target = d.path() + d.query()
	if d.IntN(60) == 0 { // no client should send a fragment (RFC 9110, 7.1), and some do
		r.target += pick(d, "#", "#top", "#/api/v2/", "#?page=7")
	}
	switch {
	case r.method == "OPTIONS" && d.IntN(4) == 0:
		r.target = "*"
	case r.method == "CONNECT":
		r.target = d.host + ":80"
		r.host = r.target
		return r
	case d.IntN(40) == 0:
		r.target = "http://" + r.host + r.target
	}
	r.headers = d.headers()
	if d.takesBody(r.method) {
		r.body = strings.Repeat("x", 1+d.IntN(300))
		r.chunked = d.IntN(3) == 0
	}
	return r
}

func pick[T any](d draws, of ...T) T { return of[d.IntN(len(of))] }

func (d draws) method() string {
	switch {
	case d.IntN(3) > 0:
		return "GET"
	case d.IntN(12) == 0:
		return pick(d, "get", "Post", "TRACE", "PROPFIND", "BREW", "PURGE", "CONNECT")
	}
	return pick(d, "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
}

func (d draws) takesBody(method string) bool {
	switch method {
	case "POST", "PUT", "PATCH":
		return d.IntN(8) > 0
	case "DELETE", "GET":
		return d.IntN(12) == 0
	}
	return false
}

func (d draws) authority() string {
	if d.IntN(4) > 0 {
		return d.host
	}
	return pick(d, d.host+":80", d.host+":80", d.host+":8080", strings.ToUpper(d.host), strings.ToUpper(d.host[:1])+d.host[1:]+":80",
		d.host+".", "www."+d.host, "a.example.org", "a.b.example.org:81", "A.EXAMPLE.ORG", "example.org", "example.com", "127.0.0.1", "[::1]:80")
}

// path is one that a rule names, and one time in three is written in another way.
func (d draws) path() string {
	p := pick(d, "/", "/api", "/api/", "/api/v1/items", "/api/v1/items/", "/api/v2", "/api/v2/", "/api/v2/items", "/api/v2/items/9", "/api/v2/orders", "/api/v2x", "/API/v2/items",
		"/api/v20/items", "/api/items/42", "/api/items/42a", "/users", "/users/", "/USERS/", "/users/7", "/payments", "/payments/1", "/paymentsx",
		"/search", "/search/", "/search/x", "/suggest", "/suggestions", "/v1/recommendations", "/v1", "/v1/models", "/x")
	for d.IntN(3) == 0 {
		p = d.rewritten(p)
	}
	return p
}

func (d draws) rewritten(p string) string {
	at := 1 + d.IntN(len(p))
	switch d.IntN(8) {
	case 0:
		return p + "/"
	case 1:
		return "/" + p
	case 2:
		return strings.Replace(p, "/", pick(d, "//", "/./", "/../", "/x/../", "/%2e%2E/", "/%2e/"), 1)
	case 3:
		return p + pick(d, "/.", "/..", "/../", ".", "..", ";a=b", "@", ":1", "+", "~", "!$&'()*,=")
	case 4: // a byte of it, encoded
		if at < len(p) && p[at] != '%' && !within(p, at) {
			return p[:at] + fmt.Sprintf(pick(d, "%%%02x", "%%%02X"), p[at]) + p[at+1:]
		}
	case 5:
		return p + pick(d, "%2F", "%2f", "%5C", "%20", "%C3%A9", "%7e", "%25", "%252e", "%41", "%22", "%3F", "%23")
	case 6:
		return strings.ToUpper(p[:at]) + p[at:]
	case 7:
		return p + pick(d, "/items", "/1", "x")
	}
	return p
}

// within tells whether a byte belongs to a %-sequence.
func within(p string, at int) bool {
	return p[at-1] == '%' || at > 1 && p[at-2] == '%'
}

func (d draws) query() string {
	if d.IntN(2) == 0 {
		return ""
	}
	return "?" + pick(d, "", "page=7", "page=7", "page=7", "page=07", "page=", "page", "a=1&page=7", "page=1&page=7", "page=7&page=1", "PAGE=7", "page=%37", "q=/../x", "q=a%2Fb",
		"/api/v2/", "?", "a=b?c", "%70age=7", "page=7;a=b")
}

func (d draws) headers() (all [][2]string) {
	add := func(name string, values ...string) {
		all = append(all, [2]string{pick(d, name, strings.ToUpper(name), http.CanonicalHeaderKey(name)), pick(d, values...)})
	}
	for d.IntN(3) == 0 {
		add("x-enable-shadow", "true", "true", "TRUE", "false", "", "truex", "xtrue", "true, true", "\ttrue ", "t")
	}
	for d.IntN(3) == 0 {
		add("x-mirror-test", "enabled", "enabled", "on", "Enabled", "disabled", "", "enabled,on", " enabled")
	}
	if d.IntN(10) == 0 {
		add("accept", "*/*", "text/html, */*;q=0.1", "")
	}
	if d.IntN(10) == 0 { // not an empty one, which Envoy loses where it speaks HTTP/2 to the app (h2UpgradePolicy)
		add("cookie", "a=b; c=d", "a=")
	}
	return all
}

// answer is what a gateway answered: of the headers those that tell gateways apart.
type answer struct {
	status                         int
	version, location, route, body string
}

// clients is how many connections a gateway gets at once.
const clients = 16

// answerWithin bounds one exchange. None is expected to take it.
const answerWithin = 30 * time.Second

// sendAll sends the requests and gives the answers in their order.
func sendAll(ctx context.Context, address string, all []*request) ([]answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]answer, len(all))
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			c := &connection{address: address}
			defer c.close()
			for i := next.Add(1) - 1; int(i) < len(all) && ctx.Err() == nil; i = next.Add(1) - 1 {
				var err error
				if answers[i], err = c.do(ctx, all[i]); err != nil {
					cancel(fmt.Errorf("%w\n%q", err, all[i].raw()))
				}
			}
		})
	}
	group.Wait()
	return answers, context.Cause(ctx)
}

// connection is a connection that is kept as long as the other side keeps it.
type connection struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do sends a request, on a new connection where the one there was has been ended before its answer.
func (c *connection) do(ctx context.Context, r *request) (answer, error) {
	again := c.conn != nil
	a, err := c.exchange(ctx, r)
	if err != nil && again && ctx.Err() == nil {
		c.close()
		a, err = c.exchange(ctx, r)
	}
	if err != nil {
		c.close()
	}
	return a, err
}

func (c *connection) exchange(ctx context.Context, r *request) (answer, error) {
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return answer{}, err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return answer{}, err
	}
	if _, err := io.WriteString(c.conn, r.raw()); err != nil {
		return answer{}, err
	}
	res, err := http.ReadResponse(c.in, &http.Request{Method: r.method})
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	if res.Close || res.StatusCode == http.StatusBadRequest { // what is left of a request that was refused is nobody's
		c.close()
	}
	return answer{res.StatusCode, res.Header.Get(app.VersionHeader), res.Header.Get("Location"), res.Header.Get(routeHeader), string(body)}, nil
}
