package route

import (
	"strings"
	"testing"
)

// TestRefusals: what the model does not have is refused with its name, place and what to do.
func TestRefusals(t *testing.T) {
	object := func(apiVersion, kind string) string {
		return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: x, namespace: shop}\nspec: {}\n"
	}
	for _, row := range []struct {
		name, doc string
		want      []string
	}{
		{"EnvoyFilter", object("networking.istio.io/v1alpha3", "EnvoyFilter"), []string{"t.yaml:2:1: EnvoyFilter shop/x changes where requests go"}},
		{"ServiceEntry", object("networking.istio.io/v1", "ServiceEntry"), []string{"ServiceEntry shop/x changes"}},
		{"Sidecar", object("networking.istio.io/v1", "Sidecar"), []string{"Sidecar shop/x changes"}},
		{"WorkloadEntry", object("networking.istio.io/v1", "WorkloadEntry"), []string{"WorkloadEntry shop/x changes"}},
		{"AuthorizationPolicy", object("security.istio.io/v1", "AuthorizationPolicy"), []string{"AuthorizationPolicy shop/x changes"}},
		{"RequestAuthentication", object("security.istio.io/v1", "RequestAuthentication"), []string{"RequestAuthentication shop/x changes"}},
		{"WasmPlugin", object("extensions.istio.io/v1alpha1", "WasmPlugin"), []string{"WasmPlugin shop/x changes"}},
		{"HTTPRoute", object("gateway.networking.k8s.io/v1", "HTTPRoute"), []string{"HTTPRoute shop/x changes"}},
		{"GRPCRoute", object("gateway.networking.k8s.io/v1", "GRPCRoute"), []string{"GRPCRoute shop/x changes"}},
		{"Kubernetes' Gateway", object("gateway.networking.k8s.io/v1", "Gateway"), []string{"Gateway shop/x changes"}},
		{"Ingress", object("networking.k8s.io/v1", "Ingress"), []string{"Ingress shop/x changes"}},
		{"Endpoints", object("v1", "Endpoints"), []string{"Endpoints shop/x changes"}},
		{"EndpointSlice", object("discovery.k8s.io/v1", "EndpointSlice"), []string{"EndpointSlice shop/x changes"}},
		{"PeerAuthentication is noted", object("security.istio.io/v1", "PeerAuthentication"), nil},
		{"Telemetry is noted", object("telemetry.istio.io/v1", "Telemetry"), nil},
		{"others are kept", object("v1", "Secret") + "---\n" + object("networking.k8s.io/v1", "NetworkPolicy"), nil},

		{"tcp", vsFor("shop", "x", "hosts: [a.com], gateways: [gw], tcp: [{route: [{destination: {host: a}}]}]"), []string{"t.yaml:4:40: VirtualService shop/x: a TCP route cannot be modelled"}},
		{"tls", vsFor("shop", "x", "hosts: [a.com], gateways: [gw], tls: [{match: [{sniHosts: [a.com]}], route: [{destination: {host: a}}]}]"), []string{"a TLS route cannot be modelled"}},
		{"delegate", vsYAML(`{delegate: {name: a}}`), []string{"t.yaml:6:2: VirtualService shop/my-app: a delegate cannot be modelled; write the delegate's routes here"}},
		{"no hosts", vsFor("shop", "x", "exportTo: ['*']"), []string{"a VirtualService without hosts (a delegate) cannot be modelled"}},
		{"corsPolicy", vsYAML(`{corsPolicy: {allowOrigins: [{exact: a}]}, ` + toV("v1") + `}`), []string{"a corsPolicy (the gateway answers preflight requests itself) cannot be modelled"}},
		{"sourceLabels", vsYAML(`{match: [{sourceLabels: {a: b}}], ` + toV("v1") + `}`), []string{"t.yaml:6:11: VirtualService shop/my-app: sourceLabels cannot be modelled"}},
		{"sourceNamespace", vsYAML(`{match: [{sourceNamespace: a}], ` + toV("v1") + `}`), []string{"sourceNamespace cannot be modelled"}},
		{"JWT claim", vsYAML(`{match: [{headers: {"@request.auth.claims.admin": {exact: a}}}], ` + toV("v1") + `}`), []string{"t.yaml:6:21: VirtualService shop/my-app: routing by JWT claims cannot be modelled"}},
		{"the gateway's own header", vsYAML(`{match: [{withoutHeaders: {X-Request-Id: {}}}], ` + toV("v1") + `}`), []string{"a match on X-Request-Id, which the gateway sets itself, cannot be modelled"}},
		{"gRPC abort", vsYAML(`{fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 1}}}, ` + toV("v1") + `}`), []string{"an abort with a gRPC or HTTP/2 status cannot be modelled; use httpStatus"}},
		{"redirect code", vsYAML(`{redirect: {uri: /a, redirectCode: 304}}`), []string{"t.yaml:6:22: VirtualService shop/my-app: this redirect code"}},
		{"rewrite with a group too many", vsYAML(`{rewrite: {uriRegexRewrite: {match: "(a)", rewrite: '\2'}}, ` + toV("v1") + `}`), []string{`t.yaml:6:44: VirtualService shop/my-app: the rewrite "\\2" is not one that RE2 takes: use \0 to \1`}},
		{"rewrite with a stray backslash", vsYAML(`{rewrite: {uriRegexRewrite: {match: "(a)", rewrite: '\n'}}, ` + toV("v1") + `}`), []string{"is not one that RE2 takes"}},
		{"header that Envoy fills in", vsYAML(`{headers: {request: {set: {x: "a%HOSTNAME%"}}}, ` + toV("v1") + `}`), []string{"the value a%HOSTNAME%, which Envoy fills in, cannot be modelled"}},
		{"header of a destination", vsYAML(`{route: [{destination: {host: my-app}, headers: {response: {add: {x: "%%%HOSTNAME%"}}}}]}`), []string{"which Envoy fills in"}},

		{"TCP server", strings.Replace(gwFor("infra", "tcp", `["*"]`), "protocol: HTTP", "protocol: TCP", 1), []string{"t.yaml:7:36: Gateway infra/tcp: a server that passes TCP on as it comes cannot be modelled"}},
		{"passthrough", strings.Replace(gwFor("infra", "tls", `["*"]`), "number: 80, name: http, protocol: HTTP}", "number: 443, name: https, protocol: HTTPS}\n    tls: {mode: PASSTHROUGH}", 1), []string{"passes HTTPS on as it comes"}},
		{"plain and TLS on one port", strings.NewReplacer("number: 443", "number: 80", "name: gw", "name: g2").Replace(redirectGateway), []string{"port 80 is HTTPS here and HTTP at"}},
		{"bind", gwFor("infra", "b", `["*"]`) + "    bind: 10.0.0.1\n", []string{"t.yaml:9:5: Gateway infra/b: bind cannot be modelled"}},
		{"defaultEndpoint", gwFor("infra", "b", `["*"]`) + "    defaultEndpoint: 127.0.0.1:80\n", []string{"defaultEndpoint cannot be modelled"}},
		{"revision", strings.Replace(gwFor("infra", "b", `["*"]`), "namespace: infra", "namespace: infra, labels: {istio.io/rev: canary}", 1), []string{"t.yaml:3:48: Gateway infra/b: revision canary cannot be modelled"}},
		{"workloadSelector", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {host: a, workloadSelector: {matchLabels: {a: b}}}\n", []string{"t.yaml:4:17: DestinationRule default/x: a workloadSelector cannot be modelled"}},

		{"ExternalName", vsYAML(`{`+toV("v1")+`}`) + "---\n" + service("{type: ExternalName, externalName: a.com}"), []string{"a route to an ExternalName Service cannot be modelled"}},
		{"no selector", vsYAML(`{`+toV("v1")+`}`) + "---\n" + service("{ports: [{port: 80}]}"), []string{"a route to a Service without a selector cannot be modelled"}},
		{"a Service that is no destination", service("{type: ExternalName, externalName: a.com}"), nil},
		{"StatefulSet behind a Service", vsYAML(`{`+toV("v1")+`}`) + "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s, namespace: shop}\nspec: {template: {metadata: {labels: {app: my-app}}}}\n",
			[]string{"StatefulSet shop/s: a StatefulSet behind Service shop/my-app cannot be modelled; write a Deployment instead"}},
		{"StatefulSet of another namespace", vsYAML(`{`+toV("v1")+`}`) + "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {template: {metadata: {labels: {app: my-app}}}}\n", nil},
		{"Pod behind a Service", vsYAML(`{`+toV("v1")+`}`) + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: s, namespace: shop, labels: {app: my-app}}\n", []string{"a Pod behind Service"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantFaults(t, faultsOf(t, Source{"t.yaml", []byte(row.doc)}, Source{"z.yaml", []byte(gatewayYAML)}), row.want...)
		})
	}
}

// service gives the Service shop/my-app.
func service(spec string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: my-app, namespace: shop}\nspec: " + spec + "\n"
}

// TestIstiodRejects: istiod's own validation, each of its errors at the smallest part that is to blame.
func TestIstiodRejects(t *testing.T) {
	for _, row := range []struct {
		name, doc string
		want      []string
	}{
		{"mirror and mirrors", vsYAML(`{` + toV("v1") + `, mirror: {host: a}, mirrors: [{destination: {host: b}}]}`), []string{"t.yaml:6:83: istiod rejects VirtualService shop/my-app: HTTP route cannot contain both mirror and mirrors; keep one of the two"}},
		{"percentage above 100", vsYAML("{" + toV("v1") + ",\n mirror: {host: a},\n mirrorPercentage: {value: 101}}"), []string{"t.yaml:8:21: istiod rejects VirtualService shop/my-app: mirror_percentage must have a max value of 100 (it has 101.000000); give a percentage from 0 to 100"}},
		{"negative percentage in mirrors", vsYAML("{" + toV("v1") + ", mirrors: [{destination: {host: a}},\n {destination: {host: a}, percentage: {value: -1}}]}"), []string{"t.yaml:7:40: istiod rejects"}},
		{"no destination", vsYAML("{" + toV("v1") + "},\n{timeout: 1s}"), []string{"t.yaml:7:1: istiod rejects VirtualService shop/my-app: HTTP route, redirect or direct_response is required"}},
		{"route and redirect", vsYAML(`{` + toV("v1") + `, redirect: {uri: /}}`), []string{"cannot contain both route and redirect"}},
		{"bad regex", vsYAML("{match: [{uri: {prefix: /}}, {uri: {regex: 'a(b'}}], " + toV("v1") + "}"), []string{`t.yaml:6:37: istiod rejects VirtualService shop/my-app: "uri": error parsing regexp: missing closing )`}},
		{"bad regex of one header", vsYAML("{match: [{headers: {a: {exact: b}, c: {regex: '*a'}}}], " + toV("v1") + "}"), []string{`t.yaml:6:36: istiod rejects`}},
		{"weights of nothing", vsYAML(`{route: [{destination: {host: a}}, {destination: {host: b}}]}`), []string{"t.yaml:6:2: istiod rejects VirtualService shop/my-app: total destination weight = 0; give a destination a weight above 0"}},
		{"the same twice", vsYAML("{" + toV("v1") + ", timeout: 1us},\n{" + toV("v1") + ", timeout: 1us}"), []string{"t.yaml:6:54: istiod rejects VirtualService shop/my-app: duration must be greater than 1ms", "t.yaml:7:54:"}},
		{"several", vsYAML("{" + toV("v1") + ", retries: {attempts: 1, retryOn: sometimes},\n fault: {abort: {httpStatus: 1000}}}"), []string{`t.yaml:6:77: istiod rejects VirtualService shop/my-app: "sometimes" is not a valid retryOn policy`, "t.yaml:7:18: istiod rejects VirtualService shop/my-app: HTTP status 1000 is not in range 200-599"}},
		{"no http", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec: {hosts: [a.com]}\n", []string{"t.yaml:4:1: istiod rejects VirtualService default/x: http, tcp or tls must be provided in virtual service; add one"}},
		{"star without a gateway", vsFor("shop", "x", `hosts: ["*"]`), []string{`t.yaml:4:16: istiod rejects VirtualService shop/x: wildcard host * is not allowed for virtual services bound to the mesh gateway`}},
		{"duplicate hosts", vsFor("shop", "x", `hosts: [a.com, a.com], gateways: [gw]`), []string{"t.yaml:4:8: istiod rejects VirtualService shop/x: duplicate hosts in virtual service: a.com & a.com; keep one of them"}},
		{"gateway without servers", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {selector: {istio: ingressgateway}}\n", []string{"istiod rejects Gateway default/g: gateway must have at least one server"}},
		{"HTTPS without tls", strings.Replace(gwFor("shop", "g", `["*"]`), "protocol: HTTP", "protocol: HTTPS", 1), []string{"t.yaml:7:5: istiod rejects Gateway shop/g: server must have TLS settings for HTTPS/TLS protocols; give the server tls"}},
		{"duplicate subsets", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {host: a, subsets: [{name: v1}, {name: v1}]}\n", []string{"t.yaml:4:17: istiod rejects DestinationRule default/x: duplicate subset names: v1"}},
		{"bad host", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {host: 'a_b'}\n", []string{"t.yaml:4:8: istiod rejects DestinationRule default/x"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantFaults(t, faultsOf(t, Source{"t.yaml", []byte(row.doc)}), row.want...)
		})
	}
}

// TestWarnings: what istiod takes and what looks otherwise than it is.
func TestWarnings(t *testing.T) {
	for _, row := range []struct {
		name string
		docs []string
		want []string
	}{
		{"nothing", []string{vsYAML(`{` + toV("v1") + `}`)}, nil},
		{"unreachable route", []string{vsYAML("{" + toV("v1") + "},\n{name: late, match: [{uri: {prefix: /a}}], " + toV("v2") + "}")}, []string{`t0.yaml:7:1: istiod warns of VirtualService shop/my-app: virtualService rule "late" not used (route without matches defined before)`}},
		{"deprecated percent", []string{vsYAML("{" + toV("v1") + ", mirror: {host: my-app, subset: v2}, mirrorPercent: 10}")}, []string{`using deprecated setting "mirrorPercent"`}},
		{"subset without rule", []string{vsYAML("{" + toV("v1") + ",\nmirror: {host: my-app, subset: v3}}")}, []string{"t0.yaml:7:1: VirtualService shop/my-app: no DestinationRule defines subset v3 of my-app.shop.svc.cluster.local; add it to DestinationRule shop/my-app at rules.yaml:1, which is the one that counts; the gateway skips this mirror silently"}},
		{"primary without rule", []string{vsYAML("{" + toV("v3") + "}")}, []string{"t0.yaml:6:10: VirtualService shop/my-app: no DestinationRule defines subset v3 of my-app.shop.svc.cluster.local; add it to DestinationRule shop/my-app at rules.yaml:1, which is the one that counts; the gateway answers 503 for it"}},
		{"name.namespace is no host", []string{vsYAML("{route: [{destination: {host: my-app.shop}}]}")}, []string{"no Service has the host my-app.shop; a name with a dot is not completed: write my-app.shop.svc.cluster.local"}},
		{"no port for a Service of two", []string{vsYAML("{route: [{destination: {host: my-app}}]}"), service("{selector: {app: my-app}, ports: [{name: a, port: 80}, {name: b, port: 81}]}")}, []string{"my-app.shop.svc.cluster.local has several ports and the destination names none: it gets the gateway's, 80"}},
		{"target port of no container", []string{service("{selector: {app: my-app}, ports: [{port: 80, targetPort: 9090}]}"), deploymentOf("my-app-v1", "{app: my-app, version: v1}")}, []string{"t0.yaml:4:41: Service shop/my-app: port 80 goes to target port 9090, which no container of Deployment shop/my-app-v1 names"}},
		{"labels that exclude each other", []string{vsYAML("{" + toV("v2") + "}"), service("{selector: {app: my-app, version: v1}, ports: [{port: 80}]}")}, []string{"no pod can have both the labels of Service shop/my-app and those of subset v2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var sources []Source
			for i, d := range row.docs {
				sources = append(sources, Source{"t" + string(rune('0'+i)) + ".yaml", []byte(d)})
			}
			sources = append(sources, Source{"rules.yaml", []byte(rulesYAML)}, Source{"z.yaml", []byte(gatewayYAML)})
			m, err := Load(sources...)
			if err != nil {
				t.Fatal(err)
			}
			tab, err := NewTable(m)
			if err != nil {
				t.Fatal(err)
			}
			wantFaults(t, tab.Warnings(), row.want...)
		})
	}
}

// deploymentOf gives a Deployment in shop whose container listens on 8080.
func deploymentOf(name, labels string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `, namespace: shop}
spec:
  selector: {matchLabels: ` + labels + `}
  template:
    metadata: {labels: ` + labels + `}
    spec: {containers: [{name: app, image: umbra-app, ports: [{containerPort: 8080}]}]}
`
}
