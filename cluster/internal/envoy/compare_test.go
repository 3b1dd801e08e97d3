package envoy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/mesh"
	"umbra/internal/route"
)

// planted are changes of real dumps: the text old becomes new at its first place.
var planted = []struct {
	name, example string
	old, new      string
	route         string // that is told of; empty where there are several
	what          string // that is told, alone; a prefix
	gateway       string // a part of what is shown for the gateway
}{
	{"another percentage", "canary-10", `"numerator": 100000`, `"numerator": 120000`,
		"shop/my-app/mirrored", "mirrors", "120000 of a million"},
	{"another denominator", "canary-10", `"MILLION"`, `"TEN_THOUSAND"`,
		"shop/my-app/mirrored", "mirrors", "1000000 of a million"},
	{"no mirror", "canary-10", `"request_mirror_policies"`, `"was"`,
		"shop/my-app/mirrored", "mirrors", "none"},
	{"another mirror", "canary-10", `"cluster": "outbound|80|v2|`, `"cluster": "outbound|80|v3|`,
		"shop/my-app/mirrored", "mirrors", "|v3|"},
	{"another primary", "canary-10", `"cluster": "outbound|80|v1|`, `"cluster": "outbound|80|v2|`,
		"shop/my-app/mirrored", "destinations", "|v2|"},
	{"a time-out", "full", `"timeout": "10s"`, `"timeout": "15s"`,
		"shop/my-app/production-with-shadow", "timeout", "15s"},
	{"Envoy's default time-out", "canary-10", `"timeout": "0s"`, `"was": "0s"`,
		"shop/my-app/mirrored", "timeout", "15s"},
	{"fewer retries", "full", `"num_retries": 3`, `"num_retries": 2`,
		"shop/my-app/production-with-shadow", "retries", "2 on 5xx"},
	{"a method less", "reads-only", `"exact": "OPTIONS"`, `"exact": "TRACE"`,
		"", "match of ", "shop/my-app/writes"},
	{"another header", "three-rules", `"exact": "enabled"`, `"exact": "on"`,
		"shop/my-app/full", "match of GET http://my-app.example.com/ with X-Mirror-Test: on", "shop/my-app/conservative"},
	{"a shorter prefix", "three-rules", `"prefix": "/api/v2/"`, `"prefix": "/api/v2"`,
		"shop/my-app/full", "match of GET http://my-app.example.com/api/v2", "shop/my-app/moderate"},
	{"weights", "shapes", `"weight": 75`, `"weight": 70`,
		"shop/my-app/#3", "destinations", "weight 70"},
	{"a path rewrite", "shapes", `"prefix_rewrite": "/things"`, `"prefix_rewrite": "/"`,
		"shop/my-app/#3", "path rewrite", `"/"`},
	{"an authority rewrite", "shapes", `"host_rewrite_literal": "things.example.com"`, `"host_rewrite_literal": "x"`,
		"shop/my-app/#3", "authority rewrite", `"x"`},
	{"a redirect's code", "shapes", `"PERMANENT_REDIRECT"`, `"FOUND"`,
		"shop/my-app/gone", "redirect", "302"},
	{"a response's body", "shapes", `"inline_string": "no\n"`, `"inline_string": "yes"`,
		"shop/my-app/robots", "direct response", `403 "yes"`},
	{"another kind", "shapes", `"direct_response": {`, `"redirect": {`,
		"shop/my-app/robots", "action", "redirect"},
	{"a header", "shapes", `"value": "gateway"`, `"value": "mesh"`,
		"shop/my-app/regex", "headers", `"mesh"`},
	{"a fault", "shapes", `"numerator": 1000,`, `"numerator": 2000,`,
		"shop/my-app/regex", "fault", "2000 of a million"},
	{"a route less", "three-rules", `"name": "moderate"`, `"name": "other"`,
		"", "", "none that could be it"},
	{"no route of the manifests", "canary-10", `/namespaces/shop/`, `/namespaces/other/`,
		"shop/my-app/mirrored", "route", "none that could be it"},
	{"a mirror behind TLS", "ports", `"numerator": 30`, `"numerator": 31`,
		"shop/my-app/#0@8443", "mirrors", "310000 of a million"},
	{"TLS not asked for", "ports", `"require_tls": "ALL"`, `"require_tls": "NONE"`,
		"", "match of ", "shop/my-app/#0"},
	{"a host less", "ports", `"www.example.com"`, `"w3.example.com"`,
		"", "route", "no virtual host for that"},
	{"TLS asked for", "canary-10", `"domains"`, `"require_tls": "ALL", "domains"`,
		"shop/my-app/mirrored", "match of GET http://my-app.example.com/", "a redirect to https"},
}

// plant gives a dump with one change, and its model.
func plant(t *testing.T, name, old, changed string) ([]byte, *route.Table) {
	t.Helper()
	file, model := "testdata/routes/"+name+".json", (*route.Table)(nil)
	if name == "shapes" || name == "ports" {
		file, model = "testdata/"+name+".json", load(t, "testdata/"+name+"-istio.yaml")
	} else {
		model = example(t, name)
	}
	dump := string(read(t, file))
	if !strings.Contains(dump, old) {
		t.Fatalf("%s has no %s to change", file, old)
	}
	return []byte(strings.Replace(dump, old, changed, 1)), model
}

func TestCompareFindsWhatIsPlanted(t *testing.T) {
	for _, c := range planted {
		t.Run(c.name, func(t *testing.T) {
			dump, model := plant(t, c.example, c.old, c.new)
			found, err := Compare(dump, model)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				t.Fatal("no difference is told")
			}
			seen := false
			for _, d := range found {
				seen = seen || strings.Contains(d.Gateway, c.gateway)
				if c.what == "" {
					continue // one change, several differences
				}
				if c.route != "" && d.Route != c.route || !strings.HasPrefix(d.What, c.what) || d.File == "" || d.Line == 0 || d.Manifests == d.Gateway {
					t.Errorf("told too: %s", d)
				}
			}
			if !seen {
				t.Errorf("%v: none of them shows %q", found, c.gateway)
			}
		})
	}
}

func TestCompareTellsOfStrangers(t *testing.T) {
	dump, model := plant(t, "shapes", `virtual-service/second"`, `virtual-service/third"`)
	found, err := Compare(dump, model)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, d := range found {
		if d.What == "route" {
			told = append(told, d.Route+": "+d.Gateway)
		}
	}
	want := []string{"shop/third/#7: it on my-app.example.com:80", "shop/second/#0: none that could be it"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// A virtual host of somebody else's says nothing of the manifests, nor does one that the manifests' routes are not on.
func TestCompareLeavesOthersAlone(t *testing.T) {
	dump := string(read(t, "testdata/routes/canary-10.json"))
	other := `{"name":"other.example.com:80","domains":["other.example.com"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"x"},` +
		`"metadata":{"filter_metadata":{"istio":{"config":"/apis/networking.istio.io/v1/namespaces/other/virtual-service/other"}}}}]},`
	dump = strings.Replace(dump, `"virtual_hosts": [`, `"virtual_hosts": [`+other, 1)
	agree(t, []byte(dump), example(t, "canary-10"))
}

// Where each route's name is empty, the order, the requests and the actions tell which is which.
func TestRoutesWithoutNames(t *testing.T) {
	dump := string(read(t, "testdata/routes/three-rules.json"))
	manifests := string(read(t, examples, "three-rules-istio.yaml"))
	for _, name := range []string{"conservative", "moderate", "full"} {
		dump = strings.Replace(dump, `"name": "`+name+`"`, `"name": ""`, 1)
		manifests = strings.Replace(manifests, "- name: "+name, "- name: \"\"", 1)
	}
	model := table(t, route.Source{Name: "three-rules.yaml", Data: []byte(manifests)})
	agree(t, []byte(dump), model)
	routes, err := Routes([]byte(strings.Replace(dump, `"numerator": 100000`, `"numerator": 500000`, 1)), model)
	if err != nil {
		t.Fatal(err)
	}
	v2 := func(n uint32) []mesh.Mirror {
		return []mesh.Mirror{{Cluster: "outbound|80|v2|my-app.shop.svc.cluster.local", Numerator: n}}
	}
	want := []mesh.Route{{Name: "shop/my-app/#0", Mirrors: v2(500_000)}, {Name: "shop/my-app/#1", Mirrors: v2(500_000)}, {Name: "shop/my-app/#2", Mirrors: v2(1_000_000)}}
	if diff := cmp.Diff(want, routes); diff != "" {
		t.Error(diff)
	}
}

// Routes that are equal in the manifests are told apart as long as the gateway has as many.
func TestEqualRoutes(t *testing.T) {
	dump := string(read(t, "testdata/routes/canary-10.json"))
	manifests := string(read(t, examples, "canary-10-istio.yaml"))
	at := strings.Index(manifests, "    - name: mirrored")
	manifests += "\n" + manifests[at:]
	manifests = strings.ReplaceAll(manifests, "- name: mirrored", "- name: mirrored\n      match: [{uri: {prefix: /x}}]")
	begin, end := strings.Index(dump, `"routes": [`)+len(`"routes": [`), strings.LastIndex(dump, "       }\n      ]")+len("       }")
	one := strings.Replace(dump[begin:end], `"prefix": "/"`, `"prefix": "/x"`, 1)
	dump = dump[:begin] + one + "," + one + dump[end:]
	agree(t, []byte(dump), table(t, route.Source{Name: "twice.yaml", Data: []byte(manifests)}))
}

func TestMayBe(t *testing.T) {
	for _, c := range []struct {
		name, model string
		want        bool
	}{
		{"all", "shop/my-app/all", true},
		{"all.reads", "shop/my-app/all", true},
		{"alls", "shop/my-app/all", false},
		{"", "shop/my-app/#2", true},
		{".reads", "shop/my-app/#2", true},
		{"all", "shop/my-app/#2", false},
		{"all", "shop/my-app/all#2", true},
		{"all", "shop/my-app/all@8080", true},
		{"all", "shop/my-app/all#2@8080", true},
		{"", "shop/my-app/#2@8080", true},
		{"a#b", "shop/my-app/a#b", true},
		{"a", "shop/my-app/a#b", false},
		{"a/b", "shop/my-app/a/b", true},
	} {
		if got := mayBe(c.name, &route.Route{Name: c.model}); got != c.want {
			t.Errorf("%q for %s: %v", c.name, c.model, got)
		}
	}
}

func TestSample(t *testing.T) {
	for _, expr := range []string{"GET|HEAD", "/v[0-9]+/items/[a-z]{2,}", "a.*", "(?i)abc", "^/api/(x|y)?z$", "[^/]+", `\d{3}-\w`, ""} {
		re := &regexMatch{}
		if err := re.UnmarshalJSON([]byte(`{"regex":` + quoted(expr) + `}`)); err != nil {
			t.Fatal(err)
		}
		if s := re.sample(); !re.match(s) {
			t.Errorf("%s: the sample %q does not match", expr, s)
		}
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `\`, `\\`) + `"` }
