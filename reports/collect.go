package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"umbra/internal/evidence"
	"umbra/internal/runs"
	"umbra/internal/trend"
	"umbra/internal/verdict"
)

// largest is beyond any report: what is larger is none.
const largest = 256 << 20

// Load reads a report.json. What is none of umbra's is an error, and so is one whose counts contradict each other.
func Load(path string) (*Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > largest {
		return nil, fmt.Errorf("%d bytes are no report", info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("no report of umbra's: %w", err)
	}
	if r.Umbra != Format {
		return nil, fmt.Errorf("no report of umbra's: its format is %q, and not %q", r.Umbra, Format)
	}
	return r, r.contradiction()
}

// contradiction is an error where counts cannot be those of any run.
func (r *Report) contradiction() error {
	c, line := r.Figures.Judged, &r.Figures.Timeline
	if c.NotOK < 0 || c.Failed < 0 || c.NotOK+c.Failed > c.Rows {
		return fmt.Errorf("its counts contradict each other: %d + %d failed of %d", c.NotOK, c.Failed, c.Rows)
	}
	for _, t := range line.Ticks {
		if t.NotOK < 0 || t.NotOK > t.Ended || line.Width <= 0 {
			return fmt.Errorf("its time line contradicts itself: %d of %d not ok in a tick of %v", t.NotOK, t.Ended, line.Width)
		}
	}
	for _, v := range r.Verdicts {
		for _, item := range v.Items {
			if s := item.Sampling; s != nil && !sound(s) {
				return fmt.Errorf("its counts contradict each other: %d of %d mirrored", s.Mirrored, s.Eligible)
			}
		}
	}
	return nil
}

func sound(s *verdict.SamplingFigures) bool {
	return min(s.Mirrored, s.Unknown, s.Mirrored+s.MissingLow) >= 0 && s.Mirrored <= s.Eligible && s.MissingLow <= s.MissingHigh && s.Numerator <= 1e6 &&
		s.Mirrored+s.MissingHigh <= s.Eligible+s.Unknown
}

// Comparable is what comparisons and trends take of a report, which lies at source.
func (r *Report) Comparable(source string) runs.Run {
	return runs.Run{Source: source, Name: r.Name, Digests: r.Digests, Load: r.Load, Seed: r.Seed, Partial: r.Partial, Status: r.ExitStatus, Record: r.Run,
		Figures: r.Figures, Verdicts: r.Verdicts}
}

// Collect gives the runs at path: those of a report.json, of a run folder, or of the run folders and reports that lie in a folder. What is
// none in such a folder is left out, with the reason; a path that is none itself is an error.
func Collect(path string) (found []runs.Run, left []trend.Left, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() || holds(path, evidence.Report) || holds(path, evidence.Run) {
		run, err := loaded(path, info.IsDir())
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		return []runs.Run{run}, nil, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		info, err := os.Stat(at) // a link's target
		if err != nil {
			left = append(left, trend.Left{Source: at, Why: err.Error()})
			continue
		}
		run, err := loaded(at, info.IsDir())
		if err != nil {
			left = append(left, trend.Left{Source: at, Why: err.Error()})
			continue
		}
		found = append(found, run)
	}
	return found, left, nil
}

func holds(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// loaded is the run of a folder, or of a file.
func loaded(path string, folder bool) (runs.Run, error) {
	switch {
	case folder && !holds(path, evidence.Report) && !holds(path, evidence.Run):
		return runs.Run{}, errors.New("no run folder of umbra's")
	case !folder && !strings.HasSuffix(path, ".json"):
		return runs.Run{}, errors.New("no run folder, and no report.json")
	case !folder:
		r, err := Load(path)
		if err != nil {
			return runs.Run{}, err
		}
		return r.Comparable(path), nil
	}
	r, err := Load(filepath.Join(path, evidence.Report))
	if errors.Is(err, fs.ErrNotExist) {
		return runs.Run{}, fmt.Errorf("it has no %s; umbra report makes it", evidence.Report)
	}
	if err != nil {
		return runs.Run{}, err
	}
	if r.Digests == nil { // of an older umbra
		r.Digests, err = runs.DigestFolder(path)
	}
	return r.Comparable(path), err
}
