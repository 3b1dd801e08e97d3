package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
)

func TestAnswersOfTheGateway(t *testing.T) {
	for _, tc := range []struct {
		name, routes, method, path string
		status                     int
		location, body             string
		header                     string // X-Edit of the answer
	}{
		{name: "no route", routes: `  - {match: [{uri: {prefix: /api}}], route: [{destination: {host: shop, subset: v1}}]}`, path: "/other", status: 404},
		{name: "redirect", routes: `  - {redirect: {uri: /new, redirectCode: 307}}`, path: "/old?a=1", status: 307, location: "http://shop.example.com/new?a=1"},
		{name: "direct response", routes: `  - {directResponse: {status: 418, body: {string: short and stout}}, headers: {response: {set: {x-edit: "yes"}}}}`,
			path: "/", status: 418, body: "short and stout", header: "yes"},
		{name: "abort", routes: `  - {fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, headers: {response: {add: {x-edit: "yes"}}}, route: [{destination: {host: shop, subset: v1}, headers: {response: {remove: [x-edit]}}}], mirror: {host: shop, subset: v2}}`,
			path: "/", status: 500, body: "fault filter abort", header: "yes"},
		{name: "abort, headers of the destination", routes: `  - {fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, route: [{destination: {host: shop, subset: v1}, weight: 100, headers: {response: {set: {x-edit: "d"}}}}, {destination: {host: shop, subset: v2}, weight: 0}]}`,
			path: "/", status: 500, body: "fault filter abort", header: "d"},
		{name: "primary without a configuration", routes: `  - {headers: {response: {set: {x-edit: "yes"}}}, route: [{destination: {host: shop, subset: v9}}], mirror: {host: shop, subset: v2}}`, path: "/", status: 503, header: "yes"},
		{name: "options of the server", routes: mirrored, method: "OPTIONS", path: "*", status: 404},
		{name: "unknown method", routes: mirrored, method: "QUERY", path: "/", status: 400},
		{name: "no ASCII", routes: mirrored, path: "/\u00e4", status: 400},
		{name: "no ASCII in the query", routes: mirrored, path: "/?\u00e4", status: 400},
		{name: "fragment", routes: `  - {match: [{uri: {exact: /a}}], redirect: {uri: /new}}`, path: "/a#b", status: 301, location: "http://shop.example.com/new"},
		{name: "NUL", routes: mirrored, path: "/%00", status: 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := up(t, spec(t, tc.routes))
			r := b.request(t.Context(), tc.method, "/", "r-0", "")
			r.URL.Opaque = tc.path
			res, err := b.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			all, _ := io.ReadAll(res.Body)
			text := string(all)
			if res.StatusCode != tc.status || res.Header.Get("Location") != tc.location || text != tc.body || res.Header.Get("X-Edit") != tc.header {
				t.Errorf("status %d, headers %v, body %q", res.StatusCode, res.Header, text)
			}
			for _, c := range []string{v1, v2} {
				wantCounters(t, b.drained(), c, map[string]uint64{"upstream_rq_total": 0, "upstream_rq_completed": 0})
			}
			if all := b.receipts(); len(all) != 0 {
				t.Errorf("receipts %v", all)
			}
		})
	}
}

// Where the Gateway's server terminates TLS, requests count as https; the socket has none.
func TestServerWithTLS(t *testing.T) {
	plain := `{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}`
	secure := `{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: shop}}`
	s := specOf(t, strings.Replace(frame, plain, secure, 1)+mirrored)
	s.Port = 443
	b := up(t, s)
	p := b.tapped()
	if res, _ := b.send("GET", "/", "r-0", ""); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	b.drained()
	primary, mirrored := p.sent()
	for _, got := range slices.Concat(primary, mirrored) {
		if proto := got.header.Get("X-Forwarded-Proto"); proto != "https" {
			t.Errorf("x-forwarded-proto: %q", proto)
		}
	}
	checkTwins(t, b)
}

// Istio's gateways take no HTTP/1.0 (PILOT_HTTP10).
func TestHTTP10IsRefused(t *testing.T) {
	b := up(t, spec(t, mirrored))
	conn, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\nHost: shop.example.com\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusUpgradeRequired || string(text) != "Upgrade Required" {
		t.Errorf("status %d, body %q, %v", res.StatusCode, text, err)
	}
	if all := b.receipts(); len(all) != 0 {
		t.Errorf("receipts %v", all)
	}
}

func TestConnectHasNoRoute(t *testing.T) {
	b := up(t, spec(t, mirrored))
	conn, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT shop.example.com:80 HTTP/1.1\r\nHost: shop.example.com:80\r\n\r\n")
	line := make([]byte, len("HTTP/1.1 404"))
	if _, err := conn.Read(line); err != nil || string(line) != "HTTP/1.1 404" {
		t.Errorf("%q, %v", line, err)
	}
}

// What package net/http refuses by itself, the model refuses too.
func TestModelRefusesAsTheServerDoes(t *testing.T) {
	s := spec(t, mirrored)
	b := up(t, s)
	for _, target := range []string{"/%", "/%zz", "/%%34%31", "/a?%zz", "/a%20b", "//a", "/a b", "/\x01", "/\x7f", "/?\x7f", "/ä", "/?ä", "/#", "/[", "*", "a"} {
		conn, err := net.Dial("tcp", b.Address())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", target)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		d := s.Table.Match(&route.Request{Port: 80, Scheme: "http", Method: "GET", Authority: "shop.example.com", Path: target, Header: http.Header{}})
		if got := res.StatusCode == 400; got != (d.Status == 400) {
			t.Errorf("%q: the gateway answers %d, the model %d", target, res.StatusCode, d.Status)
		}
	}
}

func TestUpgradesAreNotMirrored(t *testing.T) {
	b := up(t, spec(t, mirrored))
	b.send("GET", "/", "r-0", "", "Connection", "Upgrade", "Upgrade", "websocket")
	wantCounters(t, b.drained(), v1, map[string]uint64{"upstream_rq_total": 1})
	wantCounters(t, b.state(), v2, map[string]uint64{"upstream_rq_total": 0})
}

func TestAbortsAndDelaysAreDrawn(t *testing.T) {
	b := up(t, spec(t, `  - {fault: {abort: {httpStatus: 500, percentage: {value: 30}}, delay: {fixedDelay: 1ms, percentage: {value: 50}}}, route: [{destination: {host: shop, subset: v1}}]}`))
	const n = 300
	aborted := 0
	for i := range n {
		if res, _ := b.send("GET", "/", fmt.Sprint(i), ""); res.StatusCode == 500 {
			aborted++
		}
	}
	// The seed is fixed: 30 % of 300 within four standard deviations.
	if aborted < 58 || aborted > 122 {
		t.Errorf("%d of %d aborted", aborted, n)
	}
	if got := len(b.receipts()["v1"]); got != n-aborted {
		t.Errorf("%d receipts of %d requests that were not aborted", got, n-aborted)
	}
}

func TestDelayDelays(t *testing.T) {
	b := up(t, spec(t, `  - {fault: {delay: {fixedDelay: 40ms, percentage: {value: 100}}}, route: [{destination: {host: shop, subset: v1}}]}`))
	start := time.Now()
	b.send("GET", "/", "r-0", "")
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

func TestWeights(t *testing.T) {
	b := up(t, spec(t, `  - {route: [{destination: {host: shop, subset: v1}, weight: 75}, {destination: {host: shop, subset: v2}, weight: 25}]}`))
	const n = 400
	b.sendMany("GET", "", n)
	got := len(b.receipts()["v2"])
	if got < 65 || got > 135 { // a fixed seed: 100 within four standard deviations
		t.Errorf("%d of %d went to v2", got, n)
	}
	wantCounters(t, b.drained(), v2, map[string]uint64{"upstream_rq_total": uint64(got), "external.upstream_rq_200": uint64(got)})
}

func TestRoundRobin(t *testing.T) {
	b := up(t, spec(t, mirrored))
	for i := range 12 {
		b.send("GET", "/", fmt.Sprint(i), "")
	}
	b.drained()
	pods := map[string]int{}
	for _, all := range b.receipts() {
		for _, r := range all {
			pods[r.Pod]++
		}
	}
	for pod, want := range map[string]int{"shop-v1-0": 4, "shop-v1-1": 4, "shop-v1-2": 4, "shop-v2-0": 6, "shop-v2-1": 6} {
		if pods[pod] != want {
			t.Errorf("%s has %d requests, not %d", pod, pods[pod], want)
		}
	}
}

func TestWhatUpstreamsGet(t *testing.T) {
	const to = `route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}`
	for _, tc := range []struct {
		name, routes string
		path, host   string // as sent on; of both copies
		want         map[string]string
		absent       []string
	}{
		{name: "as it came", routes: mirrored, path: "/a%2Fb/c:d?x=1&y|z", host: "shop.example.com",
			want:   map[string]string{"X-Forwarded-Proto": "http", "X-Client": "c", "Accept": "text/x"},
			absent: []string{"X-Envoy-Max-Retries", "Expect", "Keep-Alive", "Connection", "X-Envoy-Original-Path", "X-Envoy-Original-Host", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Forwarded-Client-Cert"}},
		{name: "rewrite", routes: `  - {match: [{uri: {prefix: /a%2Fb}}], rewrite: {uri: /new, authority: inner.example.com}, ` + to + `}`,
			path: "/new/c:d?x=1&y|z", host: "inner.example.com", want: map[string]string{"X-Envoy-Original-Path": "/a%2Fb/c:d?x=1&y|z", "X-Envoy-Original-Host": "shop.example.com"}},
		{name: "authority of a single destination", routes: `  - {route: [{destination: {host: shop, subset: v1}, headers: {request: {set: {":authority": inner.example.com}}}}], mirror: {host: shop, subset: v2}}`,
			path: "/a%2Fb/c:d?x=1&y|z", host: "inner.example.com", want: map[string]string{"X-Envoy-Original-Host": "shop.example.com"}, absent: []string{"X-Envoy-Original-Path"}},
		{name: "authority of one destination among others", routes: `  - {route: [{destination: {host: shop, subset: v1}, weight: 100, headers: {request: {set: {":authority": inner.example.com}}}}, {destination: {host: shop, subset: v2}, weight: 0}], mirror: {host: shop, subset: v2}}`,
			path: "/a%2Fb/c:d?x=1&y|z", host: "inner.example.com", absent: []string{"X-Envoy-Original-Host"}},
		{name: "header operations of the route and of the destination",
			routes: `  - {headers: {request: {set: {x-client: route}, remove: [accept]}}, route: [{destination: {host: shop, subset: v1}, headers: {request: {add: {x-dest: "yes"}}}}], mirror: {host: shop, subset: v2}}`,
			path:   "/a%2Fb/c:d?x=1&y|z", host: "shop.example.com", want: map[string]string{"X-Client": "route", "X-Dest": "yes"}, absent: []string{"Accept"}},
		{name: "time-out", routes: `  - {timeout: 20s, ` + to + `}`, path: "/a%2Fb/c:d?x=1&y|z", host: "shop.example.com",
			want: map[string]string{"X-Envoy-Expected-Rq-Timeout-Ms": "20000"}},
		{name: "time-out of a try", routes: `  - {timeout: 20s, retries: {attempts: 1, perTryTimeout: 9s}, ` + to + `}`, path: "/a%2Fb/c:d?x=1&y|z", host: "shop.example.com",
			want: map[string]string{"X-Envoy-Expected-Rq-Timeout-Ms": "9000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := up(t, spec(t, tc.routes))
			p := b.tapped()
			r := b.request(t.Context(), "POST", "/", "r-0", "body", "X-Client", "c", "Accept", "text/x", "X-Request-Id", "mine",
				"X-Forwarded-For", "10.1.1.1", "X-Envoy-Max-Retries", "7", "X-Envoy-Internal", "true", "Keep-Alive", "timeout=5",
				"X-Forwarded-Client-Cert", "By=x", "X-Envoy-Original-Host", "mine")
			r.URL.Opaque = "/./x/../%61%2Fb/c:d?x=1&y|z"
			res, err := b.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			discard(res)
			b.drained()
			primary, mirrored := p.sent()
			if len(primary) != 1 || len(mirrored) != 1 {
				t.Fatalf("primary %v, mirrored %v", primary, mirrored)
			}
			for _, got := range []seen{primary[0], mirrored[0]} {
				checkSeen(t, got, tc.path, tc.host, tc.want, tc.absent)
			}
			if id := primary[0].header.Get("X-Request-Id"); len(id) != 36 || id == "mine" || id != mirrored[0].header.Get("X-Request-Id") {
				t.Errorf("request ids: %q, %q", id, mirrored[0].header.Get("X-Request-Id"))
			}
			for got, want := range map[string]string{
				primary[0].header.Get("X-Forwarded-For"):  "10.1.1.1,127.0.0.1",
				mirrored[0].header.Get("X-Forwarded-For"): "10.1.1.1,127.0.0.1,127.0.0.1",
			} {
				if got != want {
					t.Errorf("x-forwarded-for: %q, not %q", got, want)
				}
			}
			checkTwins(t, b)
		})
	}
}

func checkSeen(t *testing.T, got seen, path, host string, want map[string]string, absent []string) {
	t.Helper()
	if got.url != path || got.host != host || got.body != "body" {
		t.Errorf("sent %s to %s with body %q", got.url, got.host, got.body)
	}
	for name, value := range want {
		if v := got.header.Values(name); !slices.Equal(v, []string{value}) {
			t.Errorf("%s: %q, not %q", name, v, value)
		}
	}
	for _, name := range absent {
		if v := got.header.Values(name); len(v) > 0 {
			t.Errorf("%s: %q", name, v)
		}
	}
}

// checkTwins wants one receipt of each version, equal but for where and when.
func checkTwins(t *testing.T, b *bed) {
	t.Helper()
	all := b.receipts()
	if len(all["v1"]) != 1 || len(all["v2"]) != 1 {
		t.Fatalf("receipts %v", all)
	}
	one, two := all["v1"][0], all["v2"][0]
	for _, r := range []*traffic.Receipt{&one, &two} {
		r.Version, r.Pod, r.Arrived, r.Duration = "", "", time.Time{}, 0
	}
	if one != two {
		t.Errorf("receipts differ\n%+v\n%+v", one, two)
	}
}

func TestTwinsOfAnyFraming(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	for _, tc := range []struct {
		name, method, body string
		chunked            bool
	}{
		{"no body", "GET", "", false},
		{"empty write", "POST", "", false},
		{"with a length", "PUT", "12345", false},
		{"chunked", "POST", "12345", true},
		{"chunked and empty", "POST", "", true},
		{"large", "POST", big, false},
		{"large and chunked", "POST", big, true},
		{"delete with a body", "DELETE", "x", false},
		{"double slash", "GET", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := up(t, spec(t, mirrored))
			path := "/x"
			if tc.name == "double slash" {
				path = "//a//b?c"
			}
			r := b.request(t.Context(), tc.method, path, "r-0", tc.body)
			if tc.chunked {
				r.ContentLength = -1
			}
			res, err := b.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			discard(res)
			b.drained()
			checkTwins(t, b)
			if got := b.receipts()["v1"][0]; got.BodyBytes != int64(len(tc.body)) || got.BodyCut || got.Path != path {
				t.Errorf("receipt %+v", got)
			}
		})
	}
}

func TestHTTP2Client(t *testing.T) {
	b := up(t, spec(t, mirrored))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(b.request(t.Context(), "POST", "/x?y", "r-0", "body"))
	if err != nil {
		t.Fatal(err)
	}
	discard(res)
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("HTTP/%d, status %d", res.ProtoMajor, res.StatusCode)
	}
	b.drained()
	checkTwins(t, b)
}

func TestResponseHeaders(t *testing.T) {
	b := up(t, spec(t, `  - {headers: {response: {set: {x-route: "1"}, remove: [x-app-version]}}, route: [{destination: {host: shop, subset: v1}, headers: {response: {add: {x-dest: "2"}}}}]}`))
	res, _ := b.send("GET", "/", "r-0", "")
	if h := res.Header; h.Get("X-Route") != "1" || h.Get("X-Dest") != "2" || h.Get("X-App-Version") != "" {
		t.Errorf("headers %v", h)
	}
}

func TestTimeout(t *testing.T) {
	s := spec(t, `  - {timeout: 500ms, route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}`)
	s.App = map[string]mesh.Behaviour{"v1": {Latency: mesh.Latency{P50: time.Hour}}, "v2": {Latency: mesh.Latency{P50: time.Hour}}}
	b := up(t, s)
	res, text := b.send("GET", "/", "r-0", "")
	if res.StatusCode != 504 || text != "upstream request timeout" {
		t.Errorf("status %d, body %q", res.StatusCode, text)
	}
	state := b.drained()
	for cluster, split := range map[string]string{v1: "external.", v2: "internal."} {
		wantCounters(t, state, cluster, map[string]uint64{"upstream_rq_total": 1, "upstream_rq_timeout": 1, "upstream_rq_tx_reset": 0, "upstream_rq_rx_reset": 0,
			"upstream_rq_504": 1, "upstream_rq_5xx": 1, "upstream_rq_completed": 1, split + "upstream_rq_504": 1, split + "upstream_rq_5xx": 1, "upstream_rq_retry": 0})
	}
	if all := b.receipts(); len(all["v1"]) != 1 || len(all["v2"]) != 1 {
		t.Errorf("receipts %v", all)
	}
}

func TestTimeoutAfterTheHead(t *testing.T) {
	b := up(t, spec(t, `  - {timeout: 500ms, route: [{destination: {host: shop, subset: v1}}]}`))
	stalls := listen(t, func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")
		<-t.Context().Done()
	})
	b.tapped().redirect = func(_ int, r *http.Request) { r.URL.Host = stalls }
	res, err := b.client.Do(b.request(t.Context(), "GET", "/", "r-0", ""))
	if err == nil {
		_, err = res.Body.Read(make([]byte, 4))
		for err == nil {
			_, err = res.Body.Read(make([]byte, 4))
		}
	}
	if err == nil || err.Error() == "EOF" {
		t.Errorf("the cut answer ended with %v", err)
	}
	wantCounters(t, b.drained(), v1, map[string]uint64{"upstream_rq_timeout": 1, "upstream_rq_tx_reset": 0, "upstream_rq_200": 1, "upstream_rq_504": 0})
}

// listen serves raw connections, of which it has read something, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	return listenRaw(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			serve(c)
		}
	})
}

func listenRaw(t *testing.T, serve func(net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestRetries(t *testing.T) {
	dead := closedPort(t)
	cutOff := listen(t, func(net.Conn) {})
	grpc := listen(t, func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nGrpc-Status: 14\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	errs := mesh.Behaviour{ErrorRate: 1}
	policy := func(on string) string {
		return `  - {retries: {attempts: 2, retryOn: "` + on + `"}, route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}`
	}
	for _, tc := range []struct {
		name, routes string
		app          mesh.Behaviour
		bad          string // where the first of the primary's tries go
		badTries     int
		status       int
		receipts     int // of the primary
		want         map[string]uint64
	}{
		{name: "5xx, to the limit", routes: policy("5xx"), app: errs, status: 503, receipts: 3, want: map[string]uint64{"upstream_rq_retry": 2,
			"upstream_rq_retry_limit_exceeded": 1, "upstream_rq_retry_success": 0, "upstream_rq_total": 3, "upstream_rq_503": 1, "retry.upstream_rq_503": 2}},
		{name: "gateway-error", routes: policy("gateway-error"), app: errs, status: 503, receipts: 3, want: map[string]uint64{"upstream_rq_retry": 2}},
		{name: "retriable status codes", routes: policy("503"), app: errs, status: 503, receipts: 3, want: map[string]uint64{"upstream_rq_retry": 2}},
		{name: "another condition", routes: policy("connect-failure,retriable-4xx"), app: errs, status: 503, receipts: 1, want: map[string]uint64{"upstream_rq_retry": 0, "upstream_rq_total": 1}},
		{name: "no retries", routes: `  - {retries: {attempts: 0}, route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}`,
			app: errs, status: 503, receipts: 1, want: map[string]uint64{"upstream_rq_retry": 0, "upstream_rq_retry_limit_exceeded": 0}},
		{name: "connect failure, by default", routes: mirrored, bad: dead, badTries: 1, status: 200, receipts: 1, want: map[string]uint64{"upstream_rq_retry": 1,
			"upstream_rq_retry_success": 1, "upstream_cx_connect_fail": 1, "upstream_rq_pending_failure_eject": 1, "upstream_rq_total": 1, "upstream_rq_503": 0, "upstream_rq_200": 1}},
		{name: "connect failure, to the limit", routes: policy("connect-failure"), bad: dead, badTries: 3, status: 503, receipts: 0, want: map[string]uint64{"upstream_rq_retry": 2,
			"upstream_cx_connect_fail": 3, "upstream_rq_pending_failure_eject": 3, "upstream_rq_total": 0, "external.upstream_rq_503": 1}},
		{name: "reset", routes: policy("reset"), bad: cutOff, badTries: 2, status: 200, receipts: 1, want: map[string]uint64{"upstream_rq_retry": 2,
			"upstream_rq_retry_success": 1, "upstream_rq_rx_reset": 0, "upstream_rq_total": 3}},
		{name: "reset, not asked for", routes: policy("connect-failure"), bad: cutOff, badTries: 1, status: 503, receipts: 0, want: map[string]uint64{"upstream_rq_retry": 0, "upstream_rq_total": 1, "upstream_rq_rx_reset": 0, "upstream_rq_503": 1}},
		{name: "gRPC status", routes: policy("unavailable"), bad: grpc, badTries: 1, status: 200, receipts: 1, want: map[string]uint64{"upstream_rq_retry": 1, "retry.upstream_rq_200": 1, "upstream_rq_200": 1}},
		{name: "time-out of a try", routes: `  - {retries: {attempts: 1, perTryTimeout: 300ms, retryOn: 5xx}, route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}`,
			app: mesh.Behaviour{Latency: mesh.Latency{P50: time.Hour}}, status: 504, receipts: 2,
			want: map[string]uint64{"upstream_rq_retry": 1, "upstream_rq_per_try_timeout": 2, "upstream_rq_timeout": 0, "upstream_rq_tx_reset": 0, "upstream_rq_504": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := spec(t, tc.routes)
			s.App = map[string]mesh.Behaviour{"v1": tc.app}
			b := up(t, s)
			primary := 0 // tries are one after the other
			b.tapped().redirect = func(_ int, r *http.Request) {
				if r.Header.Get("X-Envoy-Internal") != "" {
					return
				}
				if primary++; primary <= tc.badTries {
					r.URL.Host = tc.bad
				}
			}
			if res, _ := b.send("POST", "/", "r-0", "body"); res.StatusCode != tc.status {
				t.Errorf("status %d, not %d", res.StatusCode, tc.status)
			}
			b.await("the mirror is answered", func(s *mesh.State) bool { return s.Counter(v2, "internal.upstream_rq_200") > 0 }) // it may begin behind a primary that fails at once
			state := b.drained()
			wantCounters(t, state, v1, tc.want)
			wantCounters(t, state, v2, map[string]uint64{"upstream_rq_total": 1, "internal.upstream_rq_200": 1, "upstream_rq_retry": 0}) // one mirror whatever was retried
			all := b.receipts()
			if len(all["v1"]) != tc.receipts || len(all["v2"]) != 1 {
				t.Errorf("%d receipts of v1, %d of v2", len(all["v1"]), len(all["v2"]))
			}
			pods := map[string]bool{}
			for _, r := range all["v1"] {
				pods[r.Pod] = true
			}
			if len(pods) != tc.receipts {
				t.Errorf("tries went to the pods %v", pods)
			}
		})
	}
}

// Nothing is sent twice but by the route's policy, whatever package http takes for safe to: an upstream that reads a
// request on a connection that was used before, and then closes it, gets no second one.
func TestNothingIsResent(t *testing.T) {
	for _, tc := range []struct {
		method, body string
		headers      []string
	}{
		{"GET", "", nil}, {"HEAD", "", nil}, {"OPTIONS", "", nil}, {"TRACE", "", nil}, {"DELETE", "", nil}, {"POST", "", nil}, {"PUT", "body", nil},
		{"POST", "", []string{"Idempotency-Key", "1"}}, {"PATCH", "", []string{"X-Idempotency-Key", "1"}}, {"POST", "body", []string{"Idempotency-Key", "1"}},
	} {
		t.Run(fmt.Sprint(tc.method, tc.body, tc.headers), func(t *testing.T) {
			var heads, last atomic.Int64
			upstream := listenRaw(t, func(c net.Conn) {
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					if len(r.TransferEncoding) > 0 || strings.HasPrefix(tc.method, "P") != (r.Header.Get("Content-Length") != "") {
						t.Errorf("framed by %v %q", r.TransferEncoding, r.Header)
					}
					heads.Add(1)
					if r.URL.Path == "/last" {
						last.Add(1)
						return
					}
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			b := up(t, spec(t, mirrored))
			b.tapped().redirect = func(_ int, r *http.Request) { r.URL.Host = upstream }
			if res, _ := b.send(tc.method, "/first", "r-0", tc.body, tc.headers...); res.StatusCode != 200 {
				t.Errorf("status %d", res.StatusCode)
			}
			b.drained()
			if res, _ := b.send(tc.method, "/last", "r-1", tc.body, tc.headers...); res.StatusCode != 503 {
				t.Errorf("status %d", res.StatusCode)
			}
			state := b.drained()
			if heads.Load() != 4 || last.Load() != 2 {
				t.Errorf("%d requests and %d of the last arrived, not 4 and 2", heads.Load(), last.Load())
			}
			for cluster, split := range map[string]string{v1: "external.", v2: "internal."} { // as Envoy 1.39 counts
				wantCounters(t, state, cluster, map[string]uint64{"upstream_rq_total": 2, "upstream_rq_completed": 2, split + "upstream_rq_200": 1, split + "upstream_rq_503": 1,
					"upstream_rq_retry": 0, "upstream_rq_rx_reset": 0, "upstream_rq_tx_reset": 0, "upstream_cx_connect_fail": 0})
			}
		})
	}
}

func TestNoHealthyPrimary(t *testing.T) {
	b := up(t, spec(t, `  - {route: [{destination: {host: shop, subset: v3}}], mirror: {host: shop, subset: v2}}`))
	res, text := b.send("GET", "/", "r-0", "")
	if res.StatusCode != 503 || text != "no healthy upstream" {
		t.Errorf("status %d, body %q", res.StatusCode, text)
	}
	state := b.drained()
	wantCounters(t, state, v3, map[string]uint64{"upstream_cx_none_healthy": 1, "upstream_rq_total": 0, "external.upstream_rq_503": 1, "upstream_rq_5xx": 1})
	wantCounters(t, state, v2, map[string]uint64{"upstream_rq_total": 0})
}

func TestClientGivesUp(t *testing.T) {
	s := spec(t, mirrored)
	s.App = map[string]mesh.Behaviour{"v1": {Latency: mesh.Latency{P50: time.Hour}}}
	b := up(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.client.Do(b.request(ctx, "GET", "/", "r-0", ""))
		ended <- err
	}()
	b.await("the primary is active", func(s *mesh.State) bool { return s.Counter(v1, "upstream_rq_active") == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Error("answered")
	}
	state := b.drained()
	wantCounters(t, state, v1, map[string]uint64{"upstream_rq_total": 1, "upstream_rq_tx_reset": 0, "upstream_rq_timeout": 0, "upstream_rq_completed": 0, "upstream_rq_retry": 0})
	wantCounters(t, state, v2, map[string]uint64{"upstream_rq_total": 1, "internal.upstream_rq_200": 1, "upstream_rq_tx_reset": 0}) // the shadow goes on
}

func TestBrokenUploadIsNotSentOn(t *testing.T) {
	b := up(t, spec(t, mirrored))
	conn, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 10\r\n\r\nfour")
	conn.(*net.TCPConn).CloseWrite()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("answered with %d bytes", n)
	}
	if all := b.receipts(); len(all) != 0 {
		t.Errorf("receipts %v", all)
	}
}
