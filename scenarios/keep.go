package scenarios

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/replay"
)

// Keep plays a plan and leaves what belongs to it in a run folder: its rows (or, where record.Results says so, its figures
// alone), its histograms, and what the client measured of itself. It tells the record what was played. tap sees the rows. The
// figures are of all rows, also beside an error.
func Keep(ctx context.Context, dir string, record *evidence.Record, transport replay.Transport, plan replay.Plan, start time.Time, tap func([]traffic.Result)) (summary.Figures, error) {
	k, err := keepIn(dir, record, start, tap)
	if err != nil {
		return summary.Figures{}, err
	}
	err = k.play(ctx, transport, plan, k.recording)
	figures, closed := k.close()
	return figures, errors.Join(err, closed)
}

// keeping is a run folder that takes rows, of one plan or of several, all counted from one start.
type keeping struct {
	start     time.Time
	record    *evidence.Record
	recording *replay.Recording
	rows      *os.File // nil: not kept
	client    *client
}

func keepIn(dir string, record *evidence.Record, start time.Time, tap func([]traffic.Result)) (*keeping, error) {
	k := &keeping{start: start, record: record}
	to := replay.Sinks{Logs: evidence.HDRFiles(dir), Tap: tap, Stages: record.Stages}
	var err error
	if k.client, err = measure(dir); err != nil {
		return nil, err
	}
	to.Second = k.client.second
	if record.Results == evidence.NoRows {
		to.Figures = func(f summary.Figures) error { return evidence.WriteJSON(dir, evidence.Figures, f) }
	} else if k.rows, err = os.Create(filepath.Join(dir, evidence.Results)); err != nil {
		return nil, errors.Join(err, k.client.close())
	} else {
		to.Rows = k.rows
	}
	if k.recording, err = replay.NewRecording(start, to); err != nil {
		return nil, errors.Join(err, k.end())
	}
	return k, nil
}

// play plays a plan, whose rows go to the recorder, and tells the record. The connections that it tells of are those of the first one.
func (k *keeping) play(ctx context.Context, transport replay.Transport, plan replay.Plan, to replay.Recorder) error {
	played, err := transport.Play(ctx, k.start, plan, to)
	k.record.Planned += played.Planned
	if k.record.Connections == nil {
		k.record.Connections = &played.Connections
	}
	if played.Aborted != "" {
		k.record.Warnings = append(k.record.Warnings, "the run was ended before its time: "+played.Aborted)
	}
	return err
}

// close gives the figures of all rows, also beside an error.
func (k *keeping) close() (summary.Figures, error) {
	figures, err := k.recording.Close()
	return figures, errors.Join(err, k.end())
}

// end closes the files that are not the recording's own.
func (k *keeping) end() (err error) {
	if k.rows != nil {
		err = k.rows.Close()
	}
	return errors.Join(err, k.client.close())
}

// Stages are those of a plan's stages that are judged, with the times at which they begin and end.
func Stages(plan []replay.Stage) (judged []verdict.Stage) {
	begin := time.Duration(0)
	for _, s := range plan {
		if s.Phase == traffic.PhaseStage {
			judged = append(judged, verdict.Stage{Begin: begin, End: begin + s.For, Asked: replay.CountOf([]replay.Stage{s})})
		}
		begin += s.For
	}
	return judged
}

// client writes client.jsonl: what the client measured of itself and of its machine, second by second.
type client struct {
	file    *os.File
	sampler *host.Sampler
	before  *host.Sample
	err     error // the first one of the file
}

func measure(dir string) (*client, error) {
	file, err := os.Create(filepath.Join(dir, host.File))
	if err != nil {
		return nil, err
	}
	c := &client{file: file, sampler: host.NewSampler()}
	c.before = c.sampler.Read()
	return c, nil
}

// second adds a second's line. It is called from one goroutine at a time.
func (c *client) second(s summary.Second) {
	now := c.sampler.Read()
	line := host.Second{Second: s.Second, Rows: int64(s.Rows), Lag: host.Lag{P50: s.LagP50, P99: s.LagP99, Max: s.LagMax}, ReadLagMax: s.ReadLagMax,
		Response: s.ResponseP99, Errors: s.Errors, Usage: now.Since(c.before)}
	c.before = now
	if c.err == nil {
		c.err = host.Write(c.file, &line)
	}
}

func (c *client) close() error { return errors.Join(c.err, c.file.Close()) }
