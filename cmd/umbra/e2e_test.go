//go:build e2e

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"umbra/internal/sample"
	"umbra/internal/verdict"
	"umbra/reports"
)

// umbra plays a scenario with the built command and gives its report and exit status.
func umbra(t *testing.T, args ...string) (*reports.Report, int) {
	t.Helper()
	binary, err := filepath.Abs("../../bin/umbra")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), binary, append(args, "--json", "--out", filepath.Join(t.TempDir(), "run"))...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var r reports.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("exit status %d, no report: %v", status, err)
	}
	t.Logf("exit status %d: %s", status, r.Headline)
	return &r, status
}

// timed tells the verdicts that depend on how fast this machine is: the direct effect, the rate, and objectives, where a
// client's time-out is an error.
func timed(v verdict.Verdict) bool {
	return v.Name == verdict.Impact || v.Name == verdict.Objectives || v.Name == verdict.Rate
}

// TestE2EExamples plays every example: integrity, delivery and sampling pass, whatever the speed of the machine; what
// depends on time is logged where it does not.
func TestE2EExamples(t *testing.T) {
	if err := sample.Make("../../scenarios/examples"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../scenarios/examples/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "-istio.yaml") {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			r, status := umbra(t, "run", file)
			slow := false
			for _, v := range r.Verdicts {
				switch {
				case v.State == verdict.Pass, v.State == verdict.NotTested && timed(v):
				case timed(v):
					slow = true
					t.Logf("%s: %s: %s", v.Name, v.State, v.Summary)
				default:
					t.Errorf("%s: %s: %s %+v", v.Name, v.State, v.Summary, v.Findings)
				}
			}
			if status != 0 && !slow {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// TestE2EFaults plays one scenario with each misbehaviour: exactly the verdict that it should turns to FAIL.
func TestE2EFaults(t *testing.T) {
	for _, c := range []struct{ fault, fails string }{
		{"fraction=12", verdict.Sampling},
		{"drop=0.000001", verdict.Delivery},
		{"duplicate=0.000001", verdict.Integrity},
		{"mutate=0.000001", verdict.Integrity},
		{"mirror-writes=0.000001", verdict.Integrity},
		{"lose-primary=0.000001", verdict.Integrity},
		{"slow-primary=20ms", verdict.Impact},
		{"shadow=dead", verdict.Delivery},
		{"shadow=hung", ""},
		{"shadow=slow", ""},
		{"shadow=errors", ""},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel() // two at a time: what must FAIL is counted, or so slow that no other run hides it
			r, status := umbra(t, "run", "testdata/e2e/faults.yaml", "--fault", c.fault)
			failed := false
			for _, v := range r.Verdicts {
				fails := v.State == verdict.Fail
				failed = failed || fails
				switch {
				case fails == (v.Name == c.fails):
				case fails && timed(v): // a shadow that hangs can really slow the primary of this mesh
					t.Logf("%s: %s: %s", v.Name, v.State, v.Summary)
				default:
					t.Errorf("%s: %s: %s", v.Name, v.State, v.Summary)
				}
			}
			if failed != (status == 1) {
				t.Errorf("exit status %d", status)
			}
		})
	}
}
