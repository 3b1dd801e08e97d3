package replay

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"umbra/internal/traffic"
)

// Recording writes results to a file as they come. Its one goroutine owns the file, so that a slow disk delays no
// request before the buffer is full.
type Recording struct {
	rows chan traffic.Result
	tap  func(*traffic.Result)
	done sync.WaitGroup
	err  error // of the file; owned by the goroutine until done
}

// flushEvery is what a kill can lose.
const flushEvery = time.Second

// NewRecording starts writing results.arrows to w for a run that starts at start. tap, where it is not nil, sees each
// result from the one goroutine, after it was written.
func NewRecording(w io.Writer, start time.Time, tap func(*traffic.Result)) *Recording {
	r := &Recording{rows: make(chan traffic.Result, 1<<13), tap: tap}
	r.done.Go(func() { r.err = r.write(traffic.NewResultWriter(w, start)) })
	return r
}

// Record implements Recorder.
func (r *Recording) Record(rows []traffic.Result) {
	for _, row := range rows {
		r.rows <- row
	}
}

// Close ends the file, when no Record is under way any more. It does not close the writer underneath.
func (r *Recording) Close() error {
	close(r.rows)
	r.done.Wait()
	return r.err
}

func (r *Recording) write(w *traffic.ResultWriter) (err error) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case row, more := <-r.rows:
			if !more {
				return errors.Join(err, w.Close())
			}
			if err == nil { // after a full disk results are still drained, so that nobody waits for ever
				err = w.Write(&row)
			}
			if r.tap != nil {
				r.tap(&row)
			}
		case <-tick.C:
			if err == nil {
				err = w.Flush()
			}
		}
	}
}

// Record plays plan into w and into tap.
func Record(ctx context.Context, transport Transport, plan Plan, w io.Writer, start time.Time, tap func(*traffic.Result)) (Played, error) {
	recording := NewRecording(w, start, tap)
	played, err := transport.Play(ctx, start, plan, recording)
	return played, errors.Join(err, recording.Close())
}
