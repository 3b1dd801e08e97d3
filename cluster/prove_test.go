//go:build e2e

package cluster_test

import (
	"os"
	"path/filepath"
	"testing"

	"umbra/internal/verdict"
	"umbra/reports"
)

// needProof skips what takes long, unless `make prove` asks for it.
func needProof(t *testing.T) {
	t.Helper()
	if os.Getenv("UMBRA_PROVE") == "" {
		t.Skip("a long proof: make prove")
	}
}

// told logs what a run says of its experiment.
func told(t *testing.T, r *reports.Report) {
	t.Helper()
	for _, name := range []string{verdict.Impact, verdict.HarmVerdict} {
		v := judged(r, name)
		t.Logf("%s: %s: %s\n%q", name, v.State, v.Summary, v.Warnings)
		for _, item := range v.Items {
			t.Logf("  %s: %s", item.State, item.Summary)
		}
		for _, f := range v.Findings {
			t.Logf("  %d × %s", f.Count, f.Text)
		}
		if x := v.Experiment; x != nil {
			t.Logf("  controls: %s", x.Controls)
			for _, p := range x.Plans {
				t.Logf("  power: %+v", p)
			}
		}
	}
}

// TestProveImpact plays the whole set with its controls at 100 %, which must FAIL, and at 10 %, which must not PASS without its controls.
func TestProveImpact(t *testing.T) {
	needProof(t)
	for _, c := range []struct {
		name string
		want []verdict.State
	}{
		{"prove-100", []verdict.State{verdict.Fail}},
		{"prove-10", []verdict.State{verdict.Pass, verdict.Fail, verdict.Inconclusive, verdict.Invalid}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			r, status := runIn(t, dir, scenario(c.name))
			told(t, r)
			v := judged(r, verdict.Impact)
			if !among(c.want, v.State) {
				t.Errorf("Impact is %s", v.State)
			}
			if x := v.Experiment; x == nil || x.Negative == nil || v.State == verdict.Pass && len(x.Positive) == 0 {
				t.Errorf("the controls were not played: %+v", x)
			}
			passes(t, r, verdict.Integrity, verdict.Delivery, verdict.Sampling)
			verified(t, dir, status)
		})
	}
}

func among(states []verdict.State, s verdict.State) bool {
	for _, one := range states {
		if one == s {
			return true
		}
	}
	return false
}

// TestProveHarm looks for harm by every kind of bad shadow, with every size of body.
func TestProveHarm(t *testing.T) {
	needProof(t)
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("prove-harm"), "--shadow", "all")
	told(t, r)
	if v := judged(r, verdict.HarmVerdict); v.State != verdict.Fail || len(r.Run.Experiment.Cells) < 25 {
		t.Errorf("%s in %d looks: %s", v.State, len(r.Run.Experiment.Cells), v.Summary)
	}
	verified(t, dir, status)
}
