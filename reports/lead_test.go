package reports

import (
	"testing"

	"umbra/internal/verdict"
)

// The figures that carry a headline are of what the headline is about, and of different verdicts where there are such.
func TestLeading(t *testing.T) {
	want := map[string][]Lead{
		"passing": {{verdict.Impact, verdict.Pass, "p50 with mirroring on", "+0.5 % (-0.9 … +2.1)", "a margin of 8.3 %"},
			{verdict.Sampling, verdict.Pass, "mirrored, shop/my-app/all → my-app.shop:80/v2", "10.04 % of 19050 (9.68 … 10.4)", "programmed 10 % ± 1"},
			{verdict.Integrity, verdict.Pass, "requests with a finding, shop/my-app/all", "0", "19050 sent, 1912 copies compared"}},
		"failing": {{verdict.Impact, verdict.Fail, "p50 with mirroring on", "+41.2 % (+39.8 … +42.8)", "a margin of 8.3 %"},
			{verdict.Integrity, verdict.Fail, "requests with a finding, shop/my-app/all", "3", "19050 sent, 1912 copies compared"},
			{verdict.HarmVerdict, verdict.Fail, "failed while the shadow is hung, uploads of 32 MiB", "7 of 8", "0 of 8 with mirroring off"}},
	}
	for name, leads := range want {
		got := samples()[name].Lead
		if len(got) != len(leads) {
			t.Fatalf("%s: %+v", name, got)
		}
		for i := range leads {
			if got[i] != leads[i] {
				t.Errorf("%s: %+v, want %+v", name, got[i], leads[i])
			}
		}
	}
	if alone := (&Report{}).leading(); len(alone) != 0 {
		t.Errorf("of nothing: %+v", alone)
	}
}
