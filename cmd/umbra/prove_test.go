//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"umbra/internal/verdict"
)

// proofs is how many runs a proof takes: UMBRA_PROVE, 1 where it is not set.
func proofs(t *testing.T) int {
	t.Helper()
	text := os.Getenv("UMBRA_PROVE")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("UMBRA_PROVE=%s: give a number of runs", text)
	}
	return n
}

// withSeed is a scenario of testdata/e2e with another seed.
func withSeed(t *testing.T, name string, seed int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "e2e", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Abs("../../scenarios/examples")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("SEED", strconv.Itoa(seed), "../../../../scenarios/examples", manifests).Replace(string(data))
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// manyProofs is from how many runs on the machine may no longer leave more than one in twenty undecided.
const manyProofs = 20

// TestE2EProveSlowPrimary has a primary that is slower by twice the margin while mirroring is on, which must FAIL and never PASSes, and one
// that is not, which never FAILs. A machine that is too slow for its figures may leave a run undecided, which is counted.
func TestE2EProveSlowPrimary(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		never verdict.State
	}{
		{"slower by twice the margin", []string{"--fault", "slow-primary=2ms"}, verdict.Pass},
		{"not slower", nil, verdict.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			counts := map[verdict.State]int{}
			for i := range proofs(t) {
				r, _ := umbra(t, append([]string{"run", withSeed(t, "slow", 100+i)}, c.args...)...)
				for _, v := range r.Verdicts {
					if v.Name != verdict.Impact {
						continue
					}
					counts[v.State]++
					t.Logf("seed %d: %s: %s", 100+i, v.State, v.Summary)
					if v.State == c.never {
						t.Errorf("seed %d: %s", 100+i, v.State)
					}
				}
			}
			t.Logf("%s: %v", c.name, counts)
			if n := proofs(t); n >= manyProofs && c.never == verdict.Pass && counts[verdict.Fail] < n*95/100 {
				t.Errorf("%d of %d runs FAIL", counts[verdict.Fail], n)
			}
		})
	}
}
