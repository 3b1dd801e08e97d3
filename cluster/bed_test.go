package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
)

// patience bounds every wait of the tests; none is expected to take it.
const patience = 30 * time.Second

const (
	v1 = "outbound|80|v1|shop.default.svc.cluster.local"
	v2 = "outbound|80|v2|shop.default.svc.cluster.local"
	v3 = "outbound|80|v3|shop.default.svc.cluster.local"
)

// frame is all of the manifests but the routes. Subset v3 has no pods; subset v9 is defined nowhere.
const frame = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [gw]
  http:
`

// Routes that several tests use.
const (
	toV1     = `  - {route: [{destination: {host: shop, subset: v1}}]}`
	mirrored = `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}}`
	tenth    = `  - {route: [{destination: {host: shop, subset: v1}}], mirror: {host: shop, subset: v2}, mirrorPercentage: {value: 10}}`
)

// spec has three pods of v1 and two of v2.
func spec(t testing.TB, routes string) mesh.Spec {
	t.Helper()
	return specOf(t, frame+routes)
}

func specOf(t testing.TB, manifests string) mesh.Spec {
	t.Helper()
	m, err := route.Load(route.Source{Name: "istio.yaml", Data: []byte(manifests + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	workload := func(version string, replicas int) route.Workload {
		return route.Workload{Namespace: "default", Name: "shop-" + version, Version: version, Replicas: replicas,
			Labels: map[string]string{"app": "shop", "version": version}}
	}
	return mesh.Spec{Manifests: m, Table: table, Port: 80, Seed: 7, Workloads: []route.Workload{workload("v1", 3), workload("v2", 2)}}
}

// bed is a mesh under test and its client.
type bed struct {
	*embedded
	t      testing.TB
	client *http.Client
}

func up(t testing.TB, s mesh.Spec) *bed {
	t.Helper()
	m, err := Embedded{Log: func(format string, args ...any) { t.Logf(format, args...) }}.Up(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	b := &bed{m.(*embedded), t, &http.Client{Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func (b *bed) request(ctx context.Context, method, path, id, body string, headers ...string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.Address()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Host = "shop.example.com"
	if id != "" {
		r.Header.Set(traffic.IDHeader, id)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// send gives the answer with its body read.
func (b *bed) send(method, path, id, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Do(b.request(b.t.Context(), method, path, id, body, headers...))
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(text)
}

// sendMany sends n requests with the ids r-0 … by some workers, and wants each answered with 200.
func (b *bed) sendMany(method, body string, n int) {
	b.t.Helper()
	ids := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range ids {
				res, err := b.client.Do(b.request(b.t.Context(), method, fmt.Sprintf("/items/%d", i), fmt.Sprintf("r-%d", i), body))
				if err != nil {
					b.t.Error(err)
					continue
				}
				if res.StatusCode != 200 {
					b.t.Errorf("r-%d: status %d", i, res.StatusCode)
				}
				discard(res)
			}
		})
	}
	for i := range n {
		ids <- i
	}
	close(ids)
	group.Wait()
}

func (b *bed) state() *mesh.State {
	b.t.Helper()
	s, err := b.State(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// drained awaits that nothing is active or pending anywhere, as a run does, and gives the state.
func (b *bed) drained() *mesh.State {
	b.t.Helper()
	return b.await("drained", func(s *mesh.State) bool {
		for _, c := range []string{v1, v2, v3} {
			if s.Counter(c, "upstream_rq_active")+s.Counter(c, "upstream_rq_pending_active") > 0 {
				return false
			}
		}
		return true
	})
}

func (b *bed) await(what string, ok func(*mesh.State) bool) *mesh.State {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s := b.state()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not reached: %s; %v", what, s.Counters)
		}
	}
}

// receipts gives those of each version.
func (b *bed) receipts() map[string][]traffic.Receipt {
	b.t.Helper()
	all := map[string][]traffic.Receipt{}
	err := b.Receipts(b.t.Context(), func(version, pod string, stream io.Reader) error {
		for r, err := range traffic.ReadReceipts(stream) {
			if err != nil {
				return err
			}
			if r.Version != version || r.Pod != pod {
				b.t.Errorf("receipt of %s %s in the stream of %s %s", r.Version, r.Pod, version, pod)
			}
			all[version] = append(all[version], r)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// ids gives the ids of receipts, sorted.
func ids(receipts []traffic.Receipt) []string {
	out := []string{}
	for _, r := range receipts {
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

// wantCounters compares counters of one cluster; "x" stands for upstream_x.
func wantCounters(t testing.TB, s *mesh.State, cluster string, want map[string]uint64) {
	t.Helper()
	for name, n := range want {
		if got := s.Counter(cluster, name); got != n {
			t.Errorf("%s %s is %d, not %d", cluster, name, got, n)
		}
	}
}

// seen is a request as it left the gateway.
type seen struct {
	host, url string
	header    http.Header
	body      string
}

// tap records what the gateway sends, and may change where to.
type tap struct {
	next     http.RoundTripper
	redirect func(n int, r *http.Request) // the n-th request from 0; may change its URL

	mu  sync.Mutex
	all []seen
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	n := len(p.all)
	p.all = append(p.all, seen{r.Host, r.URL.RequestURI(), r.Header.Clone(), string(body)})
	p.mu.Unlock()
	if r.Body != http.NoBody {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if p.redirect != nil {
		p.redirect(n, r)
	}
	return p.next.RoundTrip(r)
}

// tapped must be called before the first request.
func (b *bed) tapped() *tap {
	p := &tap{next: b.gateway.transport}
	b.gateway.transport = p
	return p
}

// sent gives the primary copies and the mirrored ones.
func (p *tap) sent() (primary, mirrored []seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.header.Get("X-Envoy-Internal") == "true" {
			mirrored = append(mirrored, s)
		} else {
			primary = append(primary, s)
		}
	}
	return primary, mirrored
}

// drawn gives which of r-0 … r-(n-1) are mirrored at a numerator, by the definition: hash(seed, id) mod 1e6 < numerator.
func drawn(seed uint64, n int, numerator uint64) []string {
	out := []string{}
	for i := range n {
		id := fmt.Sprintf("r-%d", i)
		if app.NewDraws(seed, "gateway", id).At(drawMirror)%1e6 < numerator {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
