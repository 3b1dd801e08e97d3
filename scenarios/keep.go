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
	to := replay.Sinks{Logs: evidence.HDRFiles(dir), Tap: tap, Stages: record.Stages}
	client, err := measure(dir)
	if err != nil {
		return summary.Figures{}, err
	}
	to.Second = client.second
	var rows *os.File
	if record.Results == evidence.NoRows {
		to.Figures = func(f summary.Figures) error { return evidence.WriteJSON(dir, evidence.Figures, f) }
	} else if rows, err = os.Create(filepath.Join(dir, evidence.Results)); err != nil {
		return summary.Figures{}, errors.Join(err, client.close())
	} else {
		to.Rows = rows
	}
	played, figures, err := replay.Record(ctx, transport, plan, start, to)
	if rows != nil {
		err = errors.Join(err, rows.Close())
	}
	record.Planned, record.Connections = played.Planned, &played.Connections
	if played.Aborted != "" {
		record.Warnings = append(record.Warnings, "the run was ended before its time: "+played.Aborted)
	}
	return figures, errors.Join(err, client.close())
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
