package route

import (
	"slices"
	"strings"
	"testing"
)

// vsFor gives a VirtualService of its own with one route, named after it.
func vsFor(namespace, name, spec string) string {
	return `apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: ` + name + `, namespace: ` + namespace + `}
spec: {` + spec + `, http: [{name: ` + name + `, route: [{destination: {host: my-app.shop.svc.cluster.local}}]}]}
`
}

// gwFor gives a Gateway with an HTTP server on port 80.
func gwFor(namespace, name, hosts string) string {
	return `apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: ` + name + `, namespace: ` + namespace + `}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ` + hosts + `
`
}

// TestHosts: Envoy's search for a virtual host.
func TestHosts(t *testing.T) {
	docs := []string{gwFor("shop", "gw", `["*"]`)}
	for name, host := range map[string]string{"exact": "a.example.com", "long": "*.b.example.com", "short": "*.example.com", "any": "*", "dash": "*-x.example.com", "upper": "Up.Example.Org", "shortname": "my-app"} {
		docs = append(docs, vsFor("shop", name, `hosts: ["`+host+`"], gateways: [gw]`))
	}
	tab := table(t, docs...)
	for _, row := range []struct{ name, authority, want string }{
		{"exact before wildcards", "a.example.com", "exact"},
		{"case does not count", "A.EXAMPLE.com", "exact"},
		{"nor does it in the manifest", "up.example.org", "upper"},
		{"port is left out", "a.example.com:8080", "exact"},
		{"longest wildcard", "x.b.example.com", "long"},
		{"wildcard of several labels", "x.y.b.example.com", "long"},
		{"shorter wildcard", "c.example.com", "short"},
		{"wildcard needs something", "b.example.com", "short"},
		{"wildcard within a label", "foo-x.example.com", "dash"},
		{"domain of a wildcard itself", "example.com", "any"},
		{"a dot alone is not enough", ".example.com", "any"},
		{"anything else", "10.0.0.1:80", "any"},
		{"IPv6", "[::1]:80", "any"},
		{"short host is completed", "my-app.shop.svc.cluster.local", "shortname"},
		{"short host as it is", "my-app", "any"},
		{"no host", "", "any"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := routeOf(tab.Match(with(request("/"), row.authority))); got != row.want {
				t.Errorf("took %q instead of %q", got, row.want)
			}
		})
	}
}

// TestGatewayBinding: which VirtualServices apply at a Gateway's server.
func TestGatewayBinding(t *testing.T) {
	for _, row := range []struct {
		name, hosts, gwNamespace, spec string
		served                         bool
		warning                        string
	}{
		{"short name in its namespace", `["*"]`, "shop", `hosts: [a.com], gateways: [gw]`, true, ""},
		{"with namespace", `["*"]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, true, ""},
		{"dot for its own namespace", `["*"]`, "shop", `hosts: [a.com], gateways: [./gw]`, false, "istiod rejects"},
		{"legacy name", `["*"]`, "infra", `hosts: [a.com], gateways: [gw.infra.svc.cluster.local]`, true, "legacy gatewayName"},
		{"short name from another namespace", `["*"]`, "infra", `hosts: [a.com], gateways: [gw]`, false, "names Gateway shop/gw, which the manifests do not have"},
		{"no gateways", `["*"]`, "shop", `hosts: [a.com]`, false, "names no gateway"},
		{"mesh only", `["*"]`, "shop", `hosts: [a.com], gateways: [mesh]`, false, "names no gateway"},
		{"mesh and gateway", `["*"]`, "shop", `hosts: [a.com], gateways: [mesh, gw]`, true, ""},
		{"hosts meet", `["*.com"]`, "shop", `hosts: [a.com], gateways: [gw]`, true, ""},
		{"wildcard VirtualService", `[a.com]`, "shop", `hosts: ["*"], gateways: [gw]`, true, ""},
		{"hosts do not meet", `[b.com]`, "shop", `hosts: [a.com], gateways: [gw]`, false, "shares no host"},
		{"host of the namespace", `[shop/a.com]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, true, ""},
		{"host of another namespace", `[other/a.com]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, false, "shares no host"},
		{"host of the Gateway's namespace", `[./a.com]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, false, "shares no host"},
		{"own namespace", `[./a.com]`, "shop", `hosts: [a.com], gateways: [gw]`, true, ""},
		{"every namespace", `["*/a.com"]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, true, ""},
		{"everything", `["*/*"]`, "infra", `hosts: [a.com], gateways: [infra/gw]`, true, ""},
		{"exported to all", `["*"]`, "shop", `hosts: [a.com], gateways: [gw], exportTo: ["*"]`, true, ""},
		{"exported to the gateway", `["*"]`, "shop", `hosts: [a.com], gateways: [gw], exportTo: [istio-system]`, true, ""},
		{"exported to itself", `["*"]`, "shop", `hosts: [a.com], gateways: [gw], exportTo: ["."]`, false, "is not exported"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := loaded(t, gwFor(row.gwNamespace, "gw", row.hosts), vsFor("shop", "vs", row.spec))
			tab, err := NewTable(m)
			if row.warning == "istiod rejects" {
				if err == nil || !strings.Contains(err.Error(), row.warning) {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d := tab.Match(with(request("/"), "a.com"))
			if served := d.Route != nil; served != row.served || served != (len(tab.Routes()) == 1) {
				t.Errorf("served %v instead of %v, %d routes", served, row.served, len(tab.Routes()))
			}
			if all := tab.Warnings().Error(); !strings.Contains(all, row.warning) || row.warning == "" && all != "" {
				t.Errorf("warnings are %q instead of %q", all, row.warning)
			}
		})
	}
}

func TestForeignGateway(t *testing.T) {
	egress := strings.Replace(gatewayYAML, "ingressgateway", "egressgateway", 1)
	tab := table(t, egress, vsFor("shop", "vs", `hosts: [a.com], gateways: [gw]`))
	if d := tab.Match(with(request("/"), "a.com")); d.Status != 404 || len(tab.Servers()) != 0 {
		t.Errorf("status %d, servers %v", d.Status, tab.Servers())
	}
	if all := tab.Warnings().Error(); !strings.Contains(all, "test.yaml:5:3: Gateway shop/gw selects no pod of the ingress gateway") {
		t.Errorf("warnings are %q", all)
	}
}

// TestMerge: several VirtualServices of one host go by name, with what matches everything last.
func TestMerge(t *testing.T) {
	vs := func(name, match string) string {
		return strings.Replace(vsFor("shop", name, `hosts: [a.com], gateways: [gw]`), "{name: "+name+", route", "{name: "+name+", "+match+"route", 1)
	}
	docs := []string{gwFor("shop", "gw", `["*"]`), vs("c", "match: [{uri: {prefix: /x}}], "), vs("b", "match: [{uri: {prefix: /x/y}}], "), vs("a", "")}
	for range 2 {
		tab := table(t, docs...)
		for path, want := range map[string]string{"/x/y/z": "b", "/x": "c", "/": "a"} {
			if got := routeOf(tab.Match(with(request(path), "a.com"))); got != want {
				t.Errorf("%s took %q instead of %q", path, got, want)
			}
		}
		if n := len(tab.Warnings()); n != 3 || !strings.Contains(tab.Warnings()[0].Msg, "share a host at a gateway") {
			t.Errorf("warnings are:\n%v", tab.Warnings())
		}
		slices.Reverse(docs) // the order of the files does not count
	}
}

const redirectGateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [my-app.example.com, alone.example.com]
    tls: {httpsRedirect: true}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [my-app.example.com]
    tls: {mode: SIMPLE, credentialName: cert}
`

func TestHTTPSRedirect(t *testing.T) {
	tab := table(t, redirectGateway, vsYAML(`{name: main, route: [{destination: {host: my-app}}], mirror: {host: my-app-shadow}}`))
	for _, row := range []struct {
		name     string
		req      *Request
		status   int
		location string
	}{
		{"with a VirtualService", request("/a/../b?c=d"), 301, "https://my-app.example.com/b?c=d"},
		{"the port stays", with(request("/"), "my-app.example.com:80"), 301, "https://my-app.example.com:80/"},
		{"without a VirtualService", with(request("/"), "alone.example.com"), 301, "https://alone.example.com/"},
		{"unknown host", with(request("/"), "other.example.com"), 404, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := tab.Match(row.req)
			if d.Route != nil || d.Status != row.status || d.Location != row.location {
				t.Errorf("route %v, %d %q", d.Route, d.Status, d.Location)
			}
		})
	}
	https := request("/")
	https.Port, https.Scheme = 443, "https"
	d := tab.Match(https)
	if routeOf(d) != "main@443" || d.Route.Destinations[0].Cluster != "outbound|443||my-app.shop.svc.cluster.local" {
		t.Errorf("https takes %q", routeOf(d)) // a destination without a port has the server's, so that the routes differ
	}
	https.Authority = "alone.example.com"
	if d := tab.Match(https); d.Status != 404 {
		t.Errorf("an HTTPS server has the hosts of another: %d", d.Status)
	}
}

// TestSharedRoute: servers that make no difference share a route, so that its name is one.
func TestSharedRoute(t *testing.T) {
	tab := table(t, redirectGateway, vsYAML(`{name: main, route: [{destination: {host: my-app, port: {number: 8080}}}]}`))
	if len(tab.Routes()) != 1 || tab.Routes()[0].Name != "shop/my-app/main" {
		t.Errorf("routes are %v", tab.Routes())
	}
}

func TestServers(t *testing.T) {
	got := table(t, redirectGateway, vsYAML(`{`+toV("v1")+`}`), rulesYAML).Servers()
	if len(got) != 2 {
		t.Fatalf("%d servers", len(got))
	}
	first, second := got[0], got[1]
	if first.Gateway != "shop/gw" || first.Port != 80 || !first.HTTPSRedirect || first.TLS || first.Line != 7 || len(first.Hosts) != 2 || first.Protocol != "HTTP" {
		t.Errorf("first server: %+v", first)
	}
	if second.Port != 443 || second.HTTPSRedirect || !second.TLS || second.Line != 10 || second.File != "test.yaml" {
		t.Errorf("second server: %+v", second)
	}
}

// TestExportOrder: what is exported to the gateway's namespace alone comes before what is exported to all.
func TestExportOrder(t *testing.T) {
	tab := table(t, gwFor("shop", "gw", `["*"]`),
		vsFor("shop", "a-public", `hosts: [a.com], gateways: [gw]`),
		vsFor("shop", "b-exported", `hosts: [a.com], gateways: [gw], exportTo: [istio-system]`),
		vsFor("istio-system", "c-private", `hosts: [a.com], gateways: [shop/gw], exportTo: [.]`))
	var names []string
	for _, r := range tab.RoutesAt(80, "a.com:80") {
		names = append(names, r.Name)
	}
	want := []string{"istio-system/c-private/c-private", "shop/b-exported/b-exported", "shop/a-public/a-public"}
	if !slices.Equal(names, want) {
		t.Errorf("routes are tried in the order %q", names)
	}
	if got := tab.RoutesAt(81, "a.com"); got != nil {
		t.Errorf("a port without a server has routes %v", got)
	}
}

// TestNamesake: routes of one name, and HTTPS servers told apart by the name that the client asks for.
func TestNamesake(t *testing.T) {
	two := strings.Replace(redirectGateway, "    tls: {mode: SIMPLE, credentialName: cert}\n", `    tls: {mode: SIMPLE, credentialName: cert}
  - port: {number: 443, name: https-2, protocol: HTTPS}
    hosts: ["./*.example.com"]
    tls: {mode: SIMPLE, credentialName: cert}
`, 1)
	tab := table(t, two, rulesYAML, vsYAML(`{name: x, match: [{uri: {prefix: /a}}], `+toV("v1")+`}, {name: x, `+toV("v2")+`}`),
		vsFor("shop", "rest", `hosts: ["*.example.com"], gateways: [gw]`))
	for _, row := range []struct{ name, authority, path, want string }{
		{"first of the name", "my-app.example.com", "/a", "x@443"},
		{"second of the name", "my-app.example.com", "/b", "x#1@443"},
		{"the wildcard server", "other.example.com", "/a", "rest@443"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := with(request(row.path), row.authority)
			r.Port, r.Scheme = 443, "https"
			if got := routeOf(tab.Match(r)); got != row.want {
				t.Errorf("took %q instead of %q", got, row.want)
			}
		})
	}
}
