package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var tables [2]string
	for i := range tables {
		out := filepath.Join(t.TempDir(), "calibration.md")
		var said strings.Builder
		if err := run(t.Context(), []string{"-n", "3000", "-rows", "^(sampling/0.1/0.01/9950/1|failed/0/1/160/10)$", "-seed", "5", "-o", out}, &said); err != nil {
			t.Fatal(err, said.String())
		}
		page, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		tables[i] = string(page)
		for _, want := range []string{"3000 experiments a row with the seed 5", "## The verdict on the fraction", "| 10 % ± 1 | 9950 | 1 | p₀ + δ | PASS |", "## False PASS: the share of failed requests", "| ok |"} {
			if !strings.Contains(tables[i], want) {
				t.Errorf("no %q in\n%s", want, page)
			}
		}
		if !strings.Contains(said.String(), "sampling/0.1/0.01/9950/1") {
			t.Errorf("no progress: %s", said.String())
		}
	}
	if tables[0] != tables[1] {
		t.Error("the same seed gives another table")
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{{"-n", "0"}, {"-rows", "("}, {"more"}, {"-what"}} {
		if err := run(t.Context(), args, new(strings.Builder)); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
