package scenarios

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/replay"
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

// What the client measured explains, and proves nothing: a damaged line is a warning, and changes no verdict.
func TestJudgeWithADamagedClient(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		warning string
	}{
		"none":               {"", ""},
		"whole":              {"{\"second\":0,\"rows\":1000}\n", ""},
		"cut by a kill":      {"{\"second\":0,\"rows\":1000}\n{\"second\":1", ""},
		"damaged":            {"{\"second\":0,\"rows\":1000}\n{\"secxnd\":1}\n", "client.jsonl is left out, so that nothing tells why the client was late: line 2"},
		"of another program": {"hello\n", "line 1: not a second"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := playedFolder(t)
			if err := os.WriteFile(filepath.Join(dir, host.File), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := Judge(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			warnings := strings.Join(j.Record.Warnings, "\n")
			if !strings.Contains(warnings, c.warning) || c.warning == "" && warnings != "" || len(j.Doubts) > 0 || j.Verdicts[0].State != verdict.Pass {
				t.Errorf("warnings %q, doubts %q, %+v", warnings, j.Doubts, j.Verdicts)
			}
			if told := j.Client != nil; told != (c.warning == "" && c.text != "") {
				t.Errorf("the client: %+v", j.Client)
			}
		})
	}
}

// The rate is judged by the stages that the record names.
func TestJudgeByStages(t *testing.T) {
	dir, _ := playedFolder(t)
	record, err := evidence.ReadRecord(dir)
	record.Stages = Stages([]replay.Stage{{Phase: traffic.PhaseStage, From: 1000, To: 1000, For: 500 * time.Millisecond}, {Phase: traffic.PhaseStage, From: 1000, To: 1000, For: 500 * time.Millisecond}})
	if err := errors.Join(err, record.Write(dir)); err != nil {
		t.Fatal(err)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := j.Verdicts[0]; v.State != verdict.Pass || v.Summary != "1,000 requests were asked for in 2 stages, and were sent in time" || len(v.Items[0].Rate.Stages) != 2 {
		t.Errorf("%+v", v)
	}
}

func TestStages(t *testing.T) {
	got := Stages([]replay.Stage{
		{Phase: traffic.PhaseWarmup, From: 10, To: 10, For: 2 * time.Second},
		{Phase: traffic.PhaseStage, From: 100, To: 100, For: 3 * time.Second},
		{Phase: traffic.PhaseStage, From: 100, To: 200, For: 4 * time.Second},
		{Phase: traffic.PhaseCooldown, From: 200, To: 200, For: 5 * time.Second},
	})
	want := []verdict.Stage{{Begin: 2 * time.Second, End: 5 * time.Second, Asked: 300}, {Begin: 5 * time.Second, End: 9 * time.Second, Asked: 600}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// late is a transport that sends what is due in the first second in the second one, as no connection was free.
type late struct{}

func (late) Name() string { return "late" }

func (late) Play(_ context.Context, _ time.Time, plan replay.Plan, to replay.Recorder) (replay.Played, error) {
	n := 0
	for item, err := range plan {
		if err != nil {
			return replay.Played{}, err
		}
		n++
		sent := max(item.Due, time.Second+item.Due/2)
		to.Record([]traffic.Result{{ID: item.ID, Phase: item.Phase, Block: -1, Due: item.Due, Ready: sent, Sent: sent, FirstByte: sent, LastByte: sent, End: sent,
			Outcome: traffic.OK, Status: 200}})
	}
	return replay.Played{Planned: n}, nil
}

// A run without rows is judged by its stages too, as one with rows is.
func TestKeepByStages(t *testing.T) {
	for _, results := range []string{"", evidence.NoRows} {
		dir := t.TempDir()
		plan := []replay.Stage{{Phase: traffic.PhaseStage, From: 100, To: 100, For: time.Second}, {Phase: traffic.PhaseStage, From: 10, To: 10, For: 5 * time.Second}}
		record := evidence.Record{Mesh: evidence.NoMesh, Results: results, Stages: Stages(plan)}
		request := &traffic.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/"}
		taps := 0
		_, err := Keep(t.Context(), dir, &record, late{}, replay.PlanAt(replay.Schedule(plan, replay.Constant, 1), 1, replay.Repeat(request)), time.Now(),
			func(rows []traffic.Result) { taps += len(rows) })
		record.Finished = true
		if err := errors.Join(err, record.Write(dir)); err != nil {
			t.Fatal(err)
		}
		j, err := Judge(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := j.Verdicts[0]; v.State != verdict.Fail || !strings.HasPrefix(v.Summary, "stage 1 of 2, 100/s: ") || taps != 150 {
			t.Errorf("results %q, %d rows: %+v", results, taps, v)
		}
	}
}
