package route

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settled gives the table of edited manifests.
func settled(t *testing.T, m *Manifests, err error) *Table {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Every example can be had with all mirrored, with a time-out and without its uploads.
func TestSettingsOfTheExamples(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/examples/*-istio.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Load(Source{Name: file, Data: data})
			before := settled(t, m, err)
			all, err := m.Mirrored()
			table := settled(t, all, err)
			for i, r := range before.Routes() {
				after := table.Routes()[i]
				if after.Name != r.Name || len(after.Mirrors) != len(r.Mirrors) {
					t.Fatalf("%s became %s with the mirrors %v", r.Name, after.Name, after.Mirrors)
				}
				for j, mirror := range r.Mirrors {
					want := uint32(1_000_000)
					if mirror.Numerator == 0 && mirror.Percent == 0 {
						want = 0
					}
					if got := after.Mirrors[j].Numerator; got != want {
						t.Errorf("%s mirrors %d of a million to %s, want %d", r.Name, got, mirror.Cluster, want)
					}
				}
			}
			timed, err := m.WithTimeout("2s")
			for _, r := range settled(t, timed, err).Routes() {
				if mirrored := len(r.Mirrors) > 0 && r.Mirrors[0].Percent > 0; mirrored && r.Timeout != 2*time.Second {
					t.Errorf("%s has the time-out %v", r.Name, r.Timeout)
				}
			}
			without, err := m.WithoutUploads()
			plain := settled(t, without, err)
			for _, server := range plain.Servers() {
				for _, host := range server.Hosts {
					d := plain.Match(&Request{Port: server.Port, Scheme: "http", Method: "POST", Authority: strings.TrimPrefix(host, "*."), Path: "/api/orders", Header: http.Header{}})
					if d.Route == nil {
						continue
					}
					for _, mirror := range d.Route.Mirrors {
						if mirror.Percent > 0 {
							t.Errorf("POST of %s is mirrored by %s", host, d.Route.Name)
						}
					}
				}
			}
		})
	}
}

const pooled = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec:
  host: app
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy: {connectionPool: {http: {maxRetries: 7}}, outlierDetection: {consecutive5xxErrors: 5}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: other, namespace: shop}
spec: {host: other.shop.svc.cluster.local}
`

func TestWithPool(t *testing.T) {
	m, err := Load(Source{Name: "rules.yaml", Data: []byte(pooled)})
	if err != nil {
		t.Fatal(err)
	}
	const pool = "{tcp: {maxConnections: 2}}"
	for name, c := range map[string]struct {
		clusters []string
		found    bool
		says     []string
		not      []string
	}{
		"a subset": {[]string{"outbound|80|v2|app.shop.svc.cluster.local"}, true,
			[]string{"maxConnections: 2", "consecutive5xxErrors: 5"}, []string{"maxRetries"}},
		"a host":            {[]string{"outbound|80||other.shop.svc.cluster.local"}, true, []string{"maxConnections: 2", "maxRetries: 7"}, nil},
		"no such subset":    {[]string{"outbound|80|v3|app.shop.svc.cluster.local"}, false, []string{"maxRetries: 7"}, []string{"maxConnections"}},
		"another's host":    {[]string{"outbound|80|v2|app.bank.svc.cluster.local"}, false, []string{"maxRetries: 7"}, []string{"maxConnections"}},
		"no cluster's name": {[]string{"app"}, false, []string{"maxRetries: 7"}, []string{"maxConnections"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, found, err := m.WithPool(pool, c.clusters...)
			if err != nil || found != c.found {
				t.Fatalf("found %v, %v", found, err)
			}
			var text string
			for _, o := range out.Objects {
				text += string(o.Raw)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("it does not say %q:\n%s", s, text)
				}
			}
			for _, s := range c.not {
				if strings.Contains(text, s) {
					t.Errorf("it says %q:\n%s", s, text)
				}
			}
		})
	}
	if _, _, err := m.WithPool("{tcp: [", "outbound|80|v2|app.shop.svc.cluster.local"); err == nil {
		t.Error("a pool that is no YAML was taken")
	}
}

// A route's own conditions are narrowed to uploads, and one that takes none is left as it is.
func TestWithoutUploadsNarrows(t *testing.T) {
	const text = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs, namespace: shop}
spec:
  hosts: [a.example.com]
  gateways: [gw]
  http:
  - name: reads
    match: [{method: {exact: GET}}]
    route: [{destination: {host: v1, port: {number: 80}}}]
    mirror: {host: v2, port: {number: 80}}
  - name: api
    match: [{uri: {prefix: /api}}, {method: {exact: POST}}]
    route: [{destination: {host: v1, port: {number: 80}}}]
    mirrors: [{destination: {host: v2, port: {number: 80}}}]
  - name: rest
    route: [{destination: {host: v1, port: {number: 80}}}]
`
	m, err := Load(Source{Name: "vs.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.WithoutUploads()
	table := settled(t, out, err)
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/", "shop/vs/reads"}, {"HEAD", "/api/x", "shop/vs/api"}, {"PUT", "/api/x", "shop/vs/api-uploads"}, {"POST", "/other", "shop/vs/api-uploads"}, {"PUT", "/other", "shop/vs/rest"},
	} {
		d := table.Match(&Request{Port: 80, Scheme: "http", Method: c.method, Authority: "a.example.com", Path: c.path, Header: http.Header{}})
		if d.Route == nil || d.Route.Name != c.want {
			t.Errorf("%s %s takes %+v, want %s", c.method, c.path, d.Route, c.want)
		}
	}
}
