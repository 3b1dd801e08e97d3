package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"umbra/cluster/internal/kube"
	"umbra/internal/route"
)

func TestAdvised(t *testing.T) {
	m, err := route.Load(route.Source{Name: "shop.yaml", Data: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n")})
	if err != nil {
		t.Fatal(err)
	}
	rejected := func(kind, namespace, name string) error {
		o := &kube.Object{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
		o.SetNamespace(namespace)
		o.SetName(name)
		return &kube.Rejected{Object: o, Message: "no"}
	}
	for _, c := range []struct {
		name string
		err  error
		adds string // empty: nothing
	}{
		{"none", errors.New("no answer"), ""},
		{"the user's", rejected("ConfigMap", "shop", "a"), "shop.yaml:5: change ConfigMap shop/a"},
		{"one without a namespace", rejected("Namespace", "", "shop"), "shop.yaml:1: change Namespace shop"},
		{"several", fmt.Errorf("x: %w", errors.Join(errors.New("y"), rejected("Namespace", "", "shop"), rejected("ConfigMap", "shop", "a"))),
			"shop.yaml:1: change Namespace shop\nshop.yaml:5: change ConfigMap shop/a"},
		{"umbra's own", rejected("ConfigMap", "shop", "b"), ""},
		{"an image", fmt.Errorf("x: %w", &kube.NotReady{Early: "container app of pod shop/a can't become ready by itself: ErrImagePull"}), imageAdvice},
		{"a probe", &kube.NotReady{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := advised(c.err, m)
			if !errors.Is(got, c.err) {
				t.Errorf("%v does not wrap %v", got, c.err)
			}
			if adds := strings.TrimPrefix(got.Error(), c.err.Error()); strings.TrimPrefix(adds, "\n") != c.adds {
				t.Errorf("it adds %q instead of %q", adds, c.adds)
			}
		})
	}
}
