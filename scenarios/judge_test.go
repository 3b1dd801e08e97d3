package scenarios

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/evidence"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// playedFolder is the folder of a run without a mesh: 1000 requests at 1000 a second, all answered. It has both the rows and
// the figures made of them.
func playedFolder(t *testing.T) (dir string, figures summary.Figures) {
	t.Helper()
	dir = t.TempDir()
	rows := make([]traffic.Result, 1000)
	for i := range rows {
		due := time.Duration(i) * time.Millisecond
		rows[i] = traffic.Result{ID: "id", Method: "GET", Path: "/", Phase: traffic.PhaseStage, Block: -1, Due: due, Ready: due, Sent: due,
			FirstByte: due + 100, LastByte: due + 200, End: due + 200, Outcome: traffic.OK, Status: 200}
	}
	var file bytes.Buffer
	w, s := traffic.NewResultWriter(&file, time.Unix(1700000000, 0)), summary.New()
	s.Add(rows)
	err := errors.Join(w.WriteRows(rows), w.Close(), os.WriteFile(filepath.Join(dir, evidence.Results), file.Bytes(), 0o644),
		evidence.WriteJSON(dir, evidence.Figures, s.Figures()))
	record := evidence.Record{Mesh: evidence.NoMesh, Planned: len(rows), Finished: true}
	if err := errors.Join(err, record.Write(dir)); err != nil {
		t.Fatal(err)
	}
	return dir, s.Figures()
}

// Without a scenario the rate alone is judged, and the figures are the same from the rows and from figures.json. What is
// missing is a doubt, and nothing passes then.
func TestJudgeWithoutAScenario(t *testing.T) {
	none := func(r *evidence.Record) { r.Results = evidence.NoRows }
	for name, c := range map[string]struct {
		record  func(*evidence.Record)
		removed string
		state   verdict.State
		doubt   string
	}{
		"from the rows":              {nil, evidence.Figures, verdict.Pass, ""},
		"from the figures":           {none, evidence.Results, verdict.Pass, ""},
		"closed loop":                {func(r *evidence.Record) { r.ClosedLoop = true }, "", verdict.NotTested, ""},
		"rows are gone":              {nil, evidence.Results, verdict.NotTested, "results.arrows is missing"},
		"figures are gone":           {none, evidence.Figures, verdict.NotTested, "figures.json is missing"},
		"more was planned":           {func(r *evidence.Record) { r.Planned++ }, "", verdict.Inconclusive, "1000 rows of 1001 planned"},
		"more was planned, no rows":  {func(r *evidence.Record) { r.Planned, r.Results = 1001, evidence.NoRows }, "", verdict.Inconclusive, "figures.json has 1000 rows of 1001 planned"},
		"killed, as far as it went":  {func(r *evidence.Record) { r.Finished, r.Planned = false, 0 }, "", verdict.Inconclusive, ""},
		"killed, no rows were asked": {func(r *evidence.Record) { r.Finished, r.Planned, r.Results = false, 0, evidence.NoRows }, "", verdict.Inconclusive, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, figures := playedFolder(t)
			if c.record != nil {
				record, err := evidence.ReadRecord(dir)
				c.record(&record)
				if err := errors.Join(err, record.Write(dir)); err != nil {
					t.Fatal(err)
				}
			}
			if c.removed != "" {
				if err := os.Remove(filepath.Join(dir, c.removed)); err != nil {
					t.Fatal(err)
				}
			}
			j, err := Judge(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(j.Verdicts) != 1 || j.Verdicts[0].Name != verdict.Rate || j.Verdicts[0].State != c.state {
				t.Errorf("verdicts %+v, want %s", j.Verdicts, c.state)
			}
			if doubts := strings.Join(j.Doubts, "\n"); !strings.Contains(doubts, c.doubt) || c.doubt == "" && doubts != "" {
				t.Errorf("doubts %q, want %q", doubts, c.doubt)
			}
			if !strings.Contains(c.doubt, "missing") {
				if diff := cmp.Diff(figures, j.Figures); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// The histograms can be made again from the rows.
func TestJudgeWritesLogs(t *testing.T) {
	dir, _ := playedFolder(t)
	if err := os.Remove(filepath.Join(dir, evidence.Figures)); err != nil {
		t.Fatal(err)
	}
	_, err := Judge(dir, func(start time.Time, s *summary.Summary) error { return s.LogTo(start, evidence.HDRFiles(dir)) })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range summary.Metrics {
		for _, extension := range []string{".hlog", ".hgrm"} {
			if info, err := os.Stat(filepath.Join(dir, evidence.HDR, name+extension)); err != nil || info.Size() == 0 {
				t.Errorf("%s%s: %v", name, extension, err)
			}
		}
	}
	readOnly := errors.New("read-only file system")
	_, err = Judge(dir, func(start time.Time, s *summary.Summary) error {
		return s.LogTo(start, func(string) (io.WriteCloser, error) { return nil, readOnly })
	})
	if !errors.Is(err, readOnly) {
		t.Errorf("error %v", err)
	}
}
