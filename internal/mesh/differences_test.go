package mesh

import (
	"strings"
	"testing"

	"umbra/internal/route"
)

const mirrored = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-app, namespace: shop}
spec:
  hosts: [my-app.example.com]
  gateways: [gw]
  http:
  - name: reads
    match: [{method: {exact: GET}}]
    route: [{destination: {host: v1}}]
    mirror: {host: v2}
    mirrorPercentage: {value: 10}
  - name: rest
    route: [{destination: {host: v1}}]
    mirror: {host: v2}
    mirrorPercentage: {value: 0}
`

func TestDifferences(t *testing.T) {
	m, err := route.Load(route.Source{Name: "shop.yaml", Data: []byte(mirrored)})
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.NewTable(m)
	if err != nil {
		t.Fatal(err)
	}
	reads := func(numerator uint32) Route {
		return Route{Name: "shop/my-app/reads", Mirrors: []Mirror{{Cluster: table.Routes()[0].Mirrors[0].Cluster, Numerator: numerator}}}
	}
	rest := Route{Name: "shop/my-app/rest"}
	for _, c := range []struct {
		name   string
		routes []Route
		want   []string // parts of the error; none where there is to be none
	}{
		{"the same", []Route{reads(100_000), rest}, nil},
		{"a policy for nothing", []Route{reads(100_000), {Name: rest.Name, Mirrors: reads(0).Mirrors}}, nil},
		{"another's route", []Route{reads(100_000), rest, {Name: "other/vs/all", Mirrors: reads(7).Mirrors}}, nil},
		{"twice the same", []Route{reads(100_000), rest, reads(100_000)}, nil},
		{"another numerator", []Route{reads(120_000), rest}, []string{"shop/my-app/reads (shop.yaml:17)", "100000", "120000"}},
		{"another numerator at one place", []Route{reads(120_000), reads(100_000), rest}, []string{"120000"}},
		{"a mirror less", []Route{{Name: "shop/my-app/reads"}, rest}, []string{"100000", "the gateway has []"}},
		{"a mirror more", []Route{reads(100_000), {Name: rest.Name, Mirrors: reads(5).Mirrors}}, []string{"shop/my-app/rest (shop.yaml:22)"}},
		{"nothing", nil, []string{"no route shop/my-app/reads (shop.yaml:17)", "no route shop/my-app/rest (shop.yaml:22)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Differences(table, &State{Routes: c.routes})
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("error %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %v, want %q in it", err, part)
				}
			}
		})
	}
}
