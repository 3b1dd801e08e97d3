package replay

import (
	"errors"
	"io"
	"sync"
	"time"

	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// Sinks are where a run's rows go. Their functions are called from one goroutine, one at a time, and
// hold up the run where they are slow for long.
type Sinks struct {
	Rows    io.Writer                   // gets results.arrows; nil: the rows are not kept
	Logs    summary.Open                // makes the files of the histograms, a second's intervals at a time; nil: none
	Figures func(summary.Figures) error // is given the figures so far once a second, and at the end; may be nil
	Tap     func(rows []traffic.Result) // sees the rows, which are not its own; may be nil
	Second  func(summary.Second)        // is told of each second; may be nil
	Stages  []verdict.Stage             // the plan's, for the rate of each; none where they are not known
}

// The pipe between those who record and the goroutine that writes. It holds 65,536 rows, 16 MB: what a disk may hold up a run
// at 80,000 a second for 0.8 s before its requests are late.
const (
	chunkRows = 512
	chunks    = 128
)

// How often rows are looked for that fill no chunk, and how long after a second its rows may still come.
const (
	lookEvery = 100 * time.Millisecond
	grace     = 50 * time.Millisecond
)

// Recording is a Recorder that copies rows into chunks, which one goroutine sums up and writes, so that a slow disk delays no
// request before the pipe is full; then Record waits. What a kill can lose is what came in the last second.
type Recording struct {
	mu      sync.Mutex
	room    sync.Cond          // a chunk came back
	filling []traffic.Result   // takes what comes; nil until something does
	full    [][]traffic.Result // in the order of their rows
	free    [][]traffic.Result
	closed  bool
	ready   chan struct{} // there is a full chunk, or it is closed

	done   sync.WaitGroup
	writer *recordingWriter
}

// NewRecording starts recording a run that starts at start. Close it.
func NewRecording(start time.Time, to Sinks) (*Recording, error) {
	w, err := newRecordingWriter(start, to)
	if err != nil {
		return nil, err
	}
	r := &Recording{ready: make(chan struct{}, 1), writer: w}
	r.room.L = &r.mu
	rows := make([]traffic.Result, chunks*chunkRows) // all at once, so that nothing is allocated in the run
	for i := range chunks {
		r.free = append(r.free, rows[i*chunkRows:i*chunkRows:(i+1)*chunkRows])
	}
	r.full = make([][]traffic.Result, 0, chunks)
	r.done.Go(r.run)
	return r, nil
}

// Record implements Recorder.
func (r *Recording) Record(rows []traffic.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(rows) > 0 {
		r.begin()
		n := min(len(rows), chunkRows-len(r.filling))
		r.filling = append(r.filling, rows[:n]...)
		rows = rows[n:]
		if len(r.filling) == chunkRows {
			r.full = append(r.full, r.filling)
			r.filling = nil
			r.wake()
		}
	}
}

// begin sees to it that there is a chunk to fill. It is called with the lock held, which others may have while it waits.
func (r *Recording) begin() {
	for r.filling == nil {
		if last := len(r.free) - 1; last >= 0 {
			r.filling, r.free = r.free[last], r.free[:last]
		} else {
			r.room.Wait()
		}
	}
}

func (r *Recording) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Close ends the files, when no Record is under way any more, and gives the figures of all rows. Its error is the first one
// that a file had; the figures are whole all the same. It does not close Sinks.Rows.
func (r *Recording) Close() (summary.Figures, error) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wake()
	r.done.Wait()
	return r.writer.close()
}

// run is the goroutine that owns the writer. It takes full chunks as they come, and now and then what fills none.
func (r *Recording) run() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	taken := make([][]traffic.Result, 0, chunks)
	for closed := false; !closed; {
		ticked := false
		select {
		case <-r.ready:
		case <-look.C:
			ticked = true
		}
		taken, closed = r.take(taken[:0], ticked)
		for _, rows := range taken {
			r.writer.write(rows)
			r.giveBack(rows)
		}
		if ticked {
			r.writer.turn()
		}
	}
}

// take takes the full chunks; with all, or when the recording is closed, also the one that is being filled.
func (r *Recording) take(taken [][]traffic.Result, all bool) (_ [][]traffic.Result, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken = append(taken, r.full...)
	r.full = r.full[:0]
	if (all || r.closed) && r.filling != nil {
		taken = append(taken, r.filling)
		r.filling = nil
	}
	return taken, r.closed
}

func (r *Recording) giveBack(chunk []traffic.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, chunk[:0])
	r.room.Broadcast()
}

// recordingWriter is what becomes of the rows. It is used by one goroutine at a time.
type recordingWriter struct {
	start   time.Time
	to      Sinks
	summary *summary.Summary
	rows    *traffic.ResultWriter // nil: not kept
	seconds time.Duration         // the whole seconds that were turned
	err     error                 // the first one of a file: it gets nothing more, and the rest goes on
}

func newRecordingWriter(start time.Time, to Sinks) (*recordingWriter, error) {
	w := &recordingWriter{start: start, to: to, summary: summary.New()}
	w.summary.OnSecond(to.Second)
	w.summary.In(to.Stages)
	if to.Rows != nil {
		w.rows = traffic.NewResultWriter(to.Rows, start)
	}
	if to.Logs == nil {
		return w, nil
	}
	return w, w.summary.LogTo(start, to.Logs)
}

func (w *recordingWriter) write(rows []traffic.Result) {
	w.summary.Add(rows)
	if w.rows != nil && w.err == nil {
		w.err = w.rows.WriteRows(rows)
	}
	if w.to.Tap != nil {
		w.to.Tap(rows)
	}
}

// turn does what is done once a second, when the second's rows are there.
func (w *recordingWriter) turn() {
	now := time.Since(w.start) - grace
	if now < w.seconds+time.Second {
		return
	}
	w.seconds = now.Truncate(time.Second)
	w.summary.Turn(now)
	if w.rows != nil && w.err == nil {
		w.err = w.rows.Flush()
	}
	if w.to.Figures != nil && w.err == nil {
		w.err = w.to.Figures(w.summary.Figures())
	}
}

func (w *recordingWriter) close() (summary.Figures, error) {
	if w.rows != nil {
		w.err = errors.Join(w.err, w.rows.Close())
	}
	w.err = errors.Join(w.err, w.summary.Close())
	figures := w.summary.Figures()
	if w.to.Figures != nil {
		w.err = errors.Join(w.err, w.to.Figures(figures))
	}
	return figures, w.err
}
