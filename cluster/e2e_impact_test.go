//go:build e2e

package cluster_test

import (
	"path/filepath"
	"strings"
	"testing"

	"umbra/internal/verdict"
	"umbra/reports"
)

// verified judges a run's folder again, which has to give the same report to the last digit.
func verified(t *testing.T, dir string, status int) {
	t.Helper()
	before := report(t, dir)
	stdout, _, again := umbra(t, "verify", dir, "--json")
	written, err := before.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if again != status || stdout != string(written) {
		t.Errorf("umbra verify gives exit status %d and %d bytes, the run gave %d and %d", again, len(stdout), status, len(written))
	}
}

// passes sees that what the blocks must not disturb is whole.
func passes(t *testing.T, r *reports.Report, names ...string) {
	t.Helper()
	for _, name := range names {
		if v := judged(r, name); v.State != verdict.Pass {
			t.Errorf("%s: %s: %s %+v", name, v.State, v.Summary, v.Findings)
		}
	}
}

// Mirroring everything costs the primary on a machine whose cores all share (p50 +18 %, p90 +23 %, mirroring.md): margins of 5 % must FAIL.
func TestE2EImpactMustFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("impact"))
	v := judged(r, verdict.Impact)
	x := v.Experiment
	t.Logf("%s: %s; %d of %d quadruples, %s\n%q", v.State, v.Summary, x.Done, x.Planned, r.Run.Experiment.Stopped, v.Warnings)
	for _, item := range v.Items {
		t.Logf("%s: %s", item.State, item.Summary)
	}
	if v.State != verdict.Fail || status != verdict.ExitFailed {
		t.Errorf("exit status %d, Impact %s, want FAIL", status, v.State)
	}
	if x.Dropped > 0 || len(v.Findings) > 0 {
		t.Errorf("%d blocks do not count: %+v", x.Dropped, v.Findings)
	}
	if !strings.Contains(strings.Join(v.Warnings, " "), "CPUs here") {
		t.Errorf("the report does not say why: %q", v.Warnings)
	}
	passes(t, r, verdict.Integrity, verdict.Delivery, verdict.Sampling)
	verified(t, dir, status)
}

// A shadow that hangs stops the client's uploads once the buffers are full: of 32 MiB they must be found to FAIL, of 8 MiB not, and a route
// without mirror is what removes it.
func TestE2EHungUploadsMustFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("uploads"), "--shadow", "hung")
	v := judged(r, verdict.HarmVerdict)
	t.Logf("%s: %s", v.State, v.Summary)
	for _, item := range v.Items {
		t.Logf("%s: %s", item.State, item.Summary)
	}
	for _, f := range v.Findings {
		t.Logf("%d × %s", f.Count, f.Text)
	}
	if v.State != verdict.Fail || status != verdict.ExitFailed {
		t.Errorf("exit status %d, Harm %s, want FAIL", status, v.State)
	}
	for _, item := range v.Items {
		if h := item.Harm; h.Setting == "" && h.Body == 8<<20 && item.State == verdict.Fail {
			t.Errorf("uploads of 8 MiB are found to fail: %s", item.Summary)
		}
	}
	x := judged(r, verdict.Impact)
	if x.Experiment == nil || !r.Run.Experiment.Buildup || x.Experiment.Done == 0 || x.State == verdict.Pass {
		t.Errorf("%s: %s: it did not build up as it should", x.State, x.Summary)
	}
	for _, say := range []string{"a hung shadow makes uploads of 32 MiB fail", " MiB on)", "removed by a route without mirror for uploads"} {
		if !strings.Contains(v.Summary, say) {
			t.Errorf("it does not say %q: %s", say, v.Summary)
		}
	}
	verified(t, dir, status)
}
