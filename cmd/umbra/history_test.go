package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/runs"
	"umbra/internal/summary"
	"umbra/internal/verdict"
	"umbra/reports"
)

// writeHistory writes the reports of 16 nights, which are slower by a half from the eleventh on, and of another umbra; and two files that
// are none.
func writeHistory(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range 16 {
		at := func(ms float64) time.Duration {
			v := ms * (1 + 0.01*float64(i*7%5))
			if i >= 10 {
				v *= 1.5
			}
			return time.Duration(v * 1e6)
		}
		r := &reports.Report{Name: "nightly", Load: "a scripted mix for 30s", Seed: 7,
			Digests: &runs.Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "y"},
			Figures: summary.Figures{Planned: 30_000, OK: 30_000, Asked: 1000, Sent: 1000, Judged: summary.Counts{Rows: 30_000},
				Response: summary.Latency{N: 30_000, P50: at(2), P90: at(3), P99: at(6), P999: at(15), Max: at(40)}},
			Run: evidence.Record{Version: "1.0", Mesh: "kind", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"}, Finished: true,
				Started: time.Date(2026, 11, 1+i, 2, 0, 0, 0, time.UTC)}}
		if i >= 10 {
			r.Run.Version = "1.1"
		}
		r.Run.Stages = []verdict.Stage{{End: 30 * time.Second, Asked: 30_000}}
		r.Figures.Timeline.Width = time.Second
		for second := range 30 {
			jitter := 1 + 0.02*float64((i+second*second)%5)
			r.Figures.Timeline.Ticks = append(r.Figures.Timeline.Ticks, summary.Tick{At: time.Duration(second) * time.Second, Asked: 1000, Sent: 1000, Ended: 1000, P50: at(2 * jitter), P99: at(6 * jitter)})
		}
		r.Close()
		data, err := r.JSON()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("night-%02d.json", i+1)), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o644), os.WriteFile(filepath.Join(dir, "cut.json"), []byte(`{"umbra":`), 0o644))
}
