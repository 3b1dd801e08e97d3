package cluster

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestInjected: pods are made anew where the control plane that injects them is another, and only there.
func TestInjected(t *testing.T) {
	by := func(s Settings) string {
		t.Helper()
		s.AppImage = "app:1"
		p, err := (&Kind{Settings: s.WithDefaults()}).plan(spec(t, mirrored))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, o := range slices.Concat(p.istio.Gateway, p.deployed.Objects) {
			if o.GetKind() != "Deployment" {
				continue
			}
			v, _, err := unstructured.NestedString(o.Object, "spec", "template", "metadata", "annotations", injectedBy)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) != 1 || all[0] == "" {
			t.Fatalf("Deployments have %q", all)
		}
		return all[0]
	}
	one := by(Settings{})
	if other := by(Settings{AccessLog: true, AppImage: "app:2"}); other != one {
		t.Errorf("access logs make other pods: %s and %s", one, other)
	}
	for name, s := range map[string]Settings{"tag": {Tag: "0.0.0"}, "hub": {Hub: "elsewhere"}} {
		if by(s) == one {
			t.Errorf("another %s makes no other pods", name)
		}
	}
}
