package route

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/quick"
)

func TestMirrors(t *testing.T) {
	const shadow = "outbound|80|v2|my-app.shop.svc.cluster.local"
	for _, row := range []struct {
		name, mirror string
		percent      float64
		numerator    uint32
	}{
		{"no percentage is all", `mirror: {host: my-app, subset: v2}`, 100, 1_000_000},
		{"ten percent", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 10}`, 10, 100_000},
		{"one digit is lost", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 0.57}`, 0.57, 5699},
		{"another", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 2.01}`, 2.01, 20099},
		{"below the last digit", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 0.00005}`, 0.00005, 0},
		{"an explicit 0", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 0}`, 0, 0},
		{"an empty percentage is 0", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {}`, 0, 0},
		{"the deprecated whole percent", `mirror: {host: my-app, subset: v2}, mirrorPercent: 25`, 25, 250_000},
		{"under its old name", `mirror: {host: my-app, subset: v2}, mirror_percent: 25`, 25, 250_000},
		{"a whole percent of 0", `mirror: {host: my-app, subset: v2}, mirrorPercent: 0`, 0, 0},
		{"an empty whole percent", `mirror: {host: my-app, subset: v2}, mirrorPercent: null`, 100, 1_000_000},
		{"the percentage wins", `mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: 5}, mirrorPercent: 50`, 5, 50_000},
		{"mirrors without percentage", `mirrors: [{destination: {host: my-app, subset: v2}}]`, 100, 1_000_000},
		{"mirrors with percentage", `mirrors: [{destination: {host: my-app, subset: v2}, percentage: {value: 50}}]`, 50, 500_000},
		{"mirrors with 0", `mirrors: [{destination: {host: my-app, subset: v2}, percentage: {value: 0}}]`, 0, 0},
		{"mirrorPercentage is not for mirrors", `mirrors: [{destination: {host: my-app, subset: v2}}], mirrorPercentage: {value: 10}`, 100, 1_000_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := shop(t, `{`+toV("v1")+`, `+row.mirror+`}`).Routes()[0]
			want := Mirror{Cluster: shadow, Percent: row.percent, Numerator: row.numerator}
			if len(r.Mirrors) != 1 || r.Mirrors[0] != want {
				t.Errorf("mirrors are %+v instead of %+v", r.Mirrors, want)
			}
		})
	}
}

func TestTwoMirrors(t *testing.T) {
	r := shop(t, `{`+toV("v1")+`, mirrors: [
	  {destination: {host: my-app, subset: v2}, percentage: {value: 50}},
	  {destination: {host: audit, port: {number: 9000}}, percentage: {value: 10}}]}`).Routes()[0]
	if len(r.Mirrors) != 2 || r.Mirrors[0].Numerator != 500_000 || r.Mirrors[1] != (Mirror{"outbound|9000||audit.shop.svc.cluster.local", 10, 100_000}) {
		t.Errorf("mirrors are %+v", r.Mirrors)
	}
}

// TestNumerator: for whatever percentage, the manifest's text included, the numerator is istiod's expression.
func TestNumerator(t *testing.T) {
	holds := func(raw uint32, digits uint8) bool {
		p := float64(raw%10_000_001) / 1e5
		text := fmt.Sprintf("%.*f", digits%8, p)
		var written float64
		if _, err := fmt.Sscan(text, &written); err != nil || written > 100 {
			return written > 100
		}
		got := mirrorOf(t, text)
		return got == uint32(written*10000) && math.Abs(float64(got)-written*10000) <= 1
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 60}); err != nil {
		t.Error(err)
	}
	for range 10_000 {
		p := rand.Float64() * 100
		if got := perMillion(p); got != uint32(p*10000) || got > 1_000_000 {
			t.Fatalf("%v %% is programmed as %d", p, got)
		}
	}
}

func mirrorOf(t *testing.T, percentage string) uint32 {
	tab := shop(t, `{`+toV("v1")+`, mirror: {host: my-app, subset: v2}, mirrorPercentage: {value: `+percentage+`}}`)
	return tab.Routes()[0].Mirrors[0].Numerator
}
