package doctor

import (
	"testing"

	"umbra/internal/route"
)

// FuzzExamine: any text gives findings that are sound, and the same ones each time.
func FuzzExamine(f *testing.F) {
	for _, s := range sources(f, "testdata/valid-shop.yaml", "testdata/valid-metrics.yaml", "testdata/invalid-guide.yaml", "testdata/invalid-dashboard.json") {
		f.Add(s.Data)
	}
	f.Add([]byte("panels: &a [{expr: x}, *a]\n"))
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {http: [{mirror: {}}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		in := Input{Sources: []route.Source{{Name: "fuzz", Data: text}}, Live: healthyLive(), Rate: 100}
		found := Examine(in)
		for _, x := range found {
			if x.Check == "" || x.Finding == "" || x.Line < 0 {
				t.Fatalf("%+v", x)
			}
		}
		if again := Examine(in); len(again) != len(found) {
			t.Fatalf("%d findings, then %d", len(found), len(again))
		}
	})
}

func BenchmarkExamine(b *testing.B) {
	in := Input{Sources: sources(b, "testdata/valid-shop.yaml", "testdata/valid-metrics.yaml", "testdata/invalid-guide.yaml"), Live: healthyLive()}
	for b.Loop() {
		Examine(in)
	}
}
