package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestObjects(t *testing.T) {
	const text = `# a comment
apiVersion: v1
kind: Namespace
metadata:
  name: shop
--- # the next one
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  a: |
    text
---
# nothing here
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: my-app, namespace: shop}
  spec: {selector: {app: my-app}, ports: [{port: 80, targetPort: http}]}
...
`
	m, err := Load(Source{"a.yaml", []byte(text)}, Source{"b.yaml", []byte(gatewayYAML)})
	if err != nil {
		t.Fatal(err)
	}
	var got []Object
	raws := map[string]string{}
	for _, o := range m.Objects {
		raws[o.Name] = string(o.Raw)
		o.Raw = nil
		got = append(got, o)
	}
	want := []Object{
		{APIVersion: "v1", Kind: "Namespace", Name: "shop", File: "a.yaml", Line: 2},
		{APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: "c", File: "a.yaml", Line: 7},
		{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "my-app", File: "a.yaml", Line: 19},
		{APIVersion: "networking.istio.io/v1", Kind: "Gateway", Namespace: "shop", Name: "gw", File: "b.yaml", Line: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if raw := raws["c"]; !strings.HasPrefix(raw, "# the next one\napiVersion: v1") || !strings.HasSuffix(raw, "a: |\n    text") {
		t.Errorf("the ConfigMap's text is %q", raw)
	}
	if raw := raws["my-app"]; !strings.HasPrefix(raw, "apiVersion: v1\nkind: Service\n") {
		t.Errorf("the item's text is %q", raw)
	}
}

// TestAnchors: aliases and merge keys are resolved, and faults stay where they were written.
func TestAnchors(t *testing.T) {
	tab := table(t, gatewayYAML, rulesYAML, `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-app, namespace: shop}
spec:
  hosts: &hosts [my-app.example.com]
  gateways: [gw]
  http:
  - &base
    name: first
    match: [{uri: {exact: /a}}]
    route: [{destination: {host: my-app, subset: v1}}]
    timeout: 3s
  - <<: *base
    name: second
    match: [{uri: {exact: /b}}]
`)
	d := tab.Match(request("/b"))
	if routeOf(d) != "second" || d.Route.Timeout.Seconds() != 3 || d.Route.Destinations[0].Cluster != "outbound|80|v1|my-app.shop.svc.cluster.local" {
		t.Errorf("route %+v", d.Route)
	}
}

// TestLoadFaults: each fault at its place, all at once.
func TestLoadFaults(t *testing.T) {
	const head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs}\n"
	vs := func(http string) string { return head + "spec:\n  hosts: [a.com]\n  gateways: [gw]\n  http:\n" + http }
	deployment := func(rest string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {app: d}}\n" + rest
	}
	const pods = "  template:\n    metadata: {labels: {app: d}}\n    spec: {containers: [{name: c, image: i}]}\n"
	for _, row := range []struct {
		name, text string
		want       []string
	}{
		{"no YAML", "a: [b\n", []string{"t.yaml:1: not valid YAML"}},
		{"no YAML in the second document", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\na: b: c\n", []string{"t.yaml:5: not valid YAML: mapping values are not allowed"}},
		{"unknown anchor", "a: *b\n", []string{"t.yaml:1: not valid YAML: unknown anchor 'b' referenced"}},
		{"no mapping", "- a\n", []string{"t.yaml:1:1: a manifest is a mapping with apiVersion, kind and metadata; this is a list"}},
		{"nothing said", "{}\n", []string{"the object has no apiVersion", "the object has no kind"}},
		{"kind is no string", "apiVersion: v1\nkind: 3\n", []string{"t.yaml:2:1: kind must be a string"}},
		{"no metadata", "apiVersion: v1\nkind: Pod\n", []string{"t.yaml:1:1: the Pod has no metadata: give it a metadata.name"}},
		{"no name", "apiVersion: v1\nkind: Pod\nmetadata: {namespace: a}\n", []string{"t.yaml:3:1: the Pod has no name"}},
		{"bad name", "apiVersion: v1\nkind: Pod\nmetadata: {name: My_Pod}\n", []string{`t.yaml:3:12: "My_Pod" is no name for a Pod`}},
		{"bad namespace", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b.c}\n", []string{`t.yaml:3:21: "b.c" is no namespace`}},
		{"unknown metadata", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, label: {}}\n", []string{`t.yaml:3:21: unknown field "label" of ObjectMeta; did you mean "labels"?`}},
		{"twice", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default}\n",
			[]string{"t.yaml:5:1: Pod default/a is defined twice: it is at t.yaml:1 already"}},
		{"key twice", "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}\n", []string{`t.yaml:3:1: the key "kind" stands twice`}},
		{"key is a list", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n? [a]\n: b\n", []string{"t.yaml:4:3: a key must be a string"}},
		{"key is a boolean of YAML 1.1", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {y: b}}\n", []string{"t.yaml:3:30: a key must be a string (write it in quotes); this is the boolean y"}},
		{"alias inside its anchor", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: &x [*x]\n", []string{"t.yaml:4:8: the alias *x stands inside its own anchor"}},
		{"merge of a scalar", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n<<: b\n", []string{"t.yaml:4:5: << takes a mapping"}},
		{"strange tag", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: !foo b\n", []string{"t.yaml:4:4: the tag !foo is not for manifests"}},
		{"not a number", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: .nan\n", []string{"t.yaml:4:4: .nan is not a number that a manifest may have"}},
		{"many aliases", bomb, []string{"the document is larger than 200000 nodes"}},
		{"List without items", "apiVersion: v1\nkind: List\nitems: {}\n", []string{"t.yaml:3:8: items must be a list; this is a mapping"}},
		{"unknown field of a List", "apiVersion: v1\nkind: List\nitem: []\n", []string{`t.yaml:3:1: unknown field "item" of List`}},

		{"version", strings.Replace(vs("  - route: [{destination: {host: a}}]\n"), "/v1\n", "/v2\n", 1), []string{"t.yaml:1:1: VirtualService has no version v2: write networking.istio.io/v1"}},
		{"no spec", head, []string{"t.yaml:1:1: VirtualService default/vs has no spec"}},
		{"beside the spec", head + "spek: {}\n", []string{"has no spec", `t.yaml:4:1: unknown field "spek" of VirtualService; did you mean "spec"?`}},
		{"unknown field", vs("  - route: [{destination: {host: a}}]\n    mirorPercentage: {value: 10}\n"),
			[]string{`t.yaml:9:5: unknown field "mirorPercentage" of HTTPRoute; did you mean "mirrorPercentage"?`}},
		{"unknown field, deep", vs("  - match: [{uri: {exakt: /a}}]\n    route: [{destination: {hots: a}}]\n"),
			[]string{`t.yaml:8:20: unknown field "exakt" of StringMatch; did you mean "exact"?`, `t.yaml:9:28: unknown field "hots" of Destination; did you mean "host"?`}},
		{"a proto name is not the schema's", vs("  - route: [{destination: {host: a}}]\n    mirror_percentage: {value: 10}\n"),
			[]string{`t.yaml:9:5: unknown field "mirror_percentage" of HTTPRoute; did you mean "mirrorPercentage"?`}},
		{"unknown field like no other", vs("  - match: [{uri: {foobar: /a}}]\n    route: [{destination: {host: a}}]\n"), []string{`it has exact, prefix, regex`}},
		{"two of one", vs("  - match: [{uri: {exact: /a, prefix: /b}}]\n    route: [{destination: {host: a}}]\n"), []string{"t.yaml:8:31: prefix stands beside exact, but only one of them may be set"}},
		{"one by two names", vs("  - mirrorPercent: 1\n    mirror_percent: 2\n    route: [{destination: {host: a}}]\n"), []string{"t.yaml:9:5: mirror_percent stands beside mirrorPercent"}},
		{"number for a string", vs("  - match: [{headers: {x: {exact: 1}}}]\n    route: [{destination: {host: a}}]\n"), []string{"t.yaml:8:35: exact must be a string (write it in quotes); this is the number 1"}},
		{"word of YAML 1.1 for a string", vs("  - match: [{headers: {x: {exact: on}}}]\n    route: [{destination: {host: a}}]\n"), []string{"exact must be a string (write it in quotes); this is the boolean on"}},
		{"string for a number", vs("  - route: [{destination: {host: a}, weight: '50'}]\n"), []string{`t.yaml:8:46: weight must be a whole number; this is the string "50"`}},
		{"fraction for a whole number", vs("  - route: [{destination: {host: a}, weight: 1.5}]\n"), []string{"weight must be a whole number; this is the number 1.5"}},
		{"negative port", vs("  - route: [{destination: {host: a, port: {number: -1}}}]\n"), []string{"number must be a whole number from 0; this is the number -1"}},
		{"percentage as a string", vs("  - route: [{destination: {host: a}}]\n    mirrorPercentage: {value: 10%}\n"), []string{`t.yaml:9:31: value must be a number; this is the string "10%"`}},
		{"percentage without its value", vs("  - route: [{destination: {host: a}}]\n    mirrorPercentage: 10\n"), []string{"t.yaml:9:23: mirrorPercentage must be a mapping; this is the number 10"}},
		{"mapping for a list", vs("  - route: {destination: {host: a}}\n"), []string{"t.yaml:8:12: route must be a list; this is a mapping"}},
		{"list for a mapping", vs("  - match: [{headers: [x]}]\n    route: [{destination: {host: a}}]\n"), []string{"headers must be a mapping; this is a list"}},
		{"nothing for a string", vs("  - match:\n    - uri:\n        exact:\n    route: [{destination: {host: a}}]\n"), []string{"t.yaml:10:15: exact is empty: give it a value or remove it"}},
		{"nothing in a map", vs("  - match: [{headers: {x: }}]\n    route: [{destination: {host: a}}]\n"), []string{"headers.x is empty: give it a value or remove it; {} asks for nothing but presence"}},
		{"nothing in a list", vs("  - \n"), []string{"http[0] is empty"}},
		{"no duration", vs("  - timeout: 10\n    route: [{destination: {host: a}}]\n"), []string{"t.yaml:8:14: timeout must be a duration such as 500ms, 10s or 1m; this is the number 10"}},
		{"unit of no duration", vs("  - timeout: 10 s\n    route: [{destination: {host: a}}]\n"), []string{`timeout must be a duration such as 500ms, 10s or 1m; this is the string "10 s"`}},
		{"no such word", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: dr}\nspec: {host: a, trafficPolicy: {loadBalancer: {simple: ROUND}}}\n",
			[]string{"simple must be one of UNSPECIFIED, LEAST_CONN, RANDOM, PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST"}},

		{"unknown field of a Deployment", deployment(pods + "  replica: 2\n"), []string{`t.yaml:9:3: unknown field "replica" of DeploymentSpec; did you mean "replicas"?`}},
		{"unknown field of a container", deployment(strings.Replace(pods, "image: i", "imaje: i", 1)), []string{`unknown field "imaje" of Container; did you mean "image"?`}},
		{"string for replicas", deployment(pods + "  replicas: two\n"), []string{`replicas must be a whole number; this is the string "two"`}},
		{"too many replicas", deployment(pods + "  replicas: 99999999999\n"), []string{"replicas must be a whole number"}},
		{"negative replicas", deployment(pods + "  replicas: -1\n"), []string{"t.yaml:9:3: Deployment default/d has -1 replicas"}},
		{"bad quantity", deployment(strings.Replace(pods, "image: i", "image: i, resources: {limits: {cpu: much}}", 1)), []string{`limits.cpu: the string "much" is not a value that it takes`}},
		{"selector of other labels", deployment(strings.Replace(pods, "app: d", "app: e", 1)), []string{"t.yaml:5:14: Deployment default/d selects pods with labels that its template does not give them"}},
		{"no containers", deployment("  template: {metadata: {labels: {app: d}}, spec: {}}\n"), []string{"has no containers"}},
		{"no selector", strings.Replace(deployment(pods), "  selector: {matchLabels: {app: d}}\n", "", 1), []string{"has no spec.selector"}},
		{"old Deployment", strings.Replace(deployment(pods), "apps/v1", "extensions/v1beta1", 1), []string{"t.yaml:1:1: a Deployment is of apps/v1; this one says extensions/v1beta1"}},
		{"unknown field of a Service", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {port: 80}\n", []string{`t.yaml:4:8: unknown field "port" of ServiceSpec; did you mean "ports"?`}},
		{"mapping for containers", deployment("  template: {metadata: {labels: {app: d}}, spec: {containers: {name: c}}}\n"), []string{"containers must be a list; this is a mapping"}},
		{"list for labels", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [b]}\n", []string{"t.yaml:3:29: labels must be a mapping; this is a list"}},
		{"scalar for metadata", "apiVersion: v1\nkind: Pod\nmetadata: a\n", []string{`t.yaml:3:11: metadata must be a mapping; this is the string "a"`}},
		{"number for a label", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {b: 1}}\n", []string{"labels.b must be a string (write it in quotes); this is the number 1"}},
		{"fault in a List's item", "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod, metadata: {name: a}}\n", []string{"t.yaml:4:1: the object has no apiVersion"}},
		{"all at once", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {port: 80}\n---\na: b: c\n---\nkind: Pod\n", []string{"t.yaml:4:8:", "t.yaml:6:", "t.yaml:8:"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantFaults(t, faultsOf(t, Source{"t.yaml", []byte(row.text)}), row.want...)
		})
	}
}

// bomb has 10^7 nodes when its aliases are written out.
const bomb = `apiVersion: v1
kind: ConfigMap
metadata: {name: a}
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]
`

// TestPlainValues: what else manifests may hold is taken.
func TestPlainValues(t *testing.T) {
	loaded(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: d, creationTimestamp: null, annotations: {when: 2026-01-01}}
spec:
  replicas: 0x2
  selector: {matchLabels: {app: d}}
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: d}}
    spec:
      containers:
      - name: c
        image: umbra-app
        ports: [{containerPort: 9000, protocol: TCP}]
        resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 0.5}}
        readinessProbe: {httpGet: {path: /, port: 9000}}
        env: [{name: A, value: "1"}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
status: {}
`, `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: dr}
spec:
  host: a
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 10, connectTimeout: 30ms}, http: {http2MaxRequests: 100}}
    outlierDetection: {consecutive5xxErrors: 5, interval: 1m, baseEjectionTime: 3m, maxEjectionPercent: 50}
    loadBalancer: {localityLbSetting: {enabled: null, failover: [{from: a, to: b}]}}
status: {whatever: true}
`, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:reader"}
`)
}
