package route

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"umbra/internal/diag"
)

// The names of the fixtures that most tests share: a Gateway with an HTTP server on port 80 for every host, and one
// VirtualService, shop/my-app.
const gatewayYAML = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
`

const rulesYAML = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-app, namespace: shop}
spec:
  host: my-app
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`

// vsYAML gives the VirtualService with an http block, which starts at line 6.
func vsYAML(http string) string {
	return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-app, namespace: shop}
spec:
  {hosts: [my-app.example.com], gateways: [gw], http: [
` + http + `
  ]}
`
}

// toV is a route's destinations: all to a subset of my-app.
func toV(subset string) string {
	return "route: [{destination: {host: my-app, subset: " + subset + "}}]"
}

func source(docs ...string) Source {
	return Source{Name: "test.yaml", Data: []byte(strings.Join(docs, "---\n"))}
}

func loaded(t testing.TB, docs ...string) *Manifests {
	t.Helper()
	m, err := Load(source(docs...))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return m
}

func table(t testing.TB, docs ...string) *Table {
	t.Helper()
	tab, err := NewTable(loaded(t, docs...))
	if err != nil {
		t.Fatalf("NewTable: %v", err)
	}
	return tab
}

// shop gives the table of the shared Gateway and DestinationRule and a VirtualService with an http block.
func shop(t testing.TB, http string) *Table {
	t.Helper()
	return table(t, vsYAML(http), gatewayYAML, rulesYAML)
}

// request is a GET to my-app.example.com; headers are name, value, name, value, …
func request(path string, headers ...string) *Request {
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	return &Request{Port: 80, Scheme: "http", Method: "GET", Authority: "my-app.example.com", Path: path, Header: h}
}

// routeOf names the route that a request takes, without its VirtualService; "" where there is none.
func routeOf(d Decision) string {
	if d.Route == nil {
		return ""
	}
	return d.Route.Name[strings.LastIndexByte(d.Route.Name, '/')+1:]
}

// faultsOf gives all faults of Load and NewTable.
func faultsOf(t testing.TB, sources ...Source) diag.Faults {
	t.Helper()
	var all diag.Faults
	m, err := Load(sources...)
	all.Add("", err)
	_, err = NewTable(m)
	all.Add("", err)
	var out diag.Faults
	if err := all.Err(); err != nil && !errors.As(err, &out) {
		t.Fatalf("the error is %T, not diag.Faults", err)
	}
	return out
}

// wantFaults wants exactly the faults whose texts contain these, in order.
func wantFaults(t *testing.T, got diag.Faults, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d faults instead of %d:\n%v", len(got), len(want), got)
	}
	for i, w := range want {
		if !strings.Contains(got[i].String(), w) {
			t.Errorf("fault %d:\n  %s\nwithout:\n  %s", i, got[i], w)
		}
	}
}
