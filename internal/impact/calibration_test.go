package impact_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"umbra/internal/impact/simulate"
)

// TestRatesKeepTheirLimits plays a few rows of calibration.md with fewer experiments: their rates must not speak against the limits.
func TestRatesKeepTheirLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("plays thousands of experiments")
	}
	plays := map[string]int{
		"wrong/cluster/autocorrelated/10":                600,
		"wrong/bimodal/autocorrelated, slow wave/20":     200,
		"wrong/heavy-tailed/independent/20":              200,
		"failed/0/1/160/10":                              2000,
		"failed/0/3/600/20":                              2000,
		"failed/0.0005/3/600/10":                         2000,
		"uneven/exponential/12, 17 and 55 %/p50/5":       1000,
		"uneven/in 1 of 5 blocks/12, 17 and 55 %/p50/10": 1000,
		"buildup/cluster/autocorrelated/5":               1000,
		"controls/6, 7 and 34 %/20":                      100,
		"sampling/0.1/0.01/9950/3":                       3000,
	}
	for _, s := range simulate.Studies() {
		n := plays[s.Name]
		if n == 0 {
			continue
		}
		delete(plays, s.Name)
		rows, err := s.Run(t.Context(), n, 42, runtime.GOMAXPROCS(0))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if low := r.Rates[0].Lower(0.001); r.Limit > 0 && low > r.Limit {
				t.Errorf("%s: %s %v: %v, whose 99.9 %% lower limit %.2f %% is above %v", s.Name, r.Table, r.Labels, r.Rates[0], 100*low, r.Limit)
			}
		}
	}
	for name := range plays {
		t.Errorf("no study is named %q", name)
	}
}

// TestNoRowIsTooHigh looks at the table that is committed.
func TestNoRowIsTooHigh(t *testing.T) {
	page, err := os.ReadFile("calibration.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "too high**") {
			t.Error(strings.TrimSpace(line))
		}
	}
	for _, s := range []string{simulate.FalsePass, simulate.FalseFail, simulate.BuildupFail, simulate.Planned, simulate.ThreeMinutes, "| 10000 |"} {
		if !strings.Contains(string(page), s) {
			t.Errorf("calibration.md has no %q: make calibrate", s)
		}
	}
}
