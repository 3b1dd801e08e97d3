package traffic

import (
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
)

// resultColumns are the columns of results.arrows, in their order. New ones go at the end.
var resultColumns = []column[Result]{
	text("id", false, func(r *Result) *string { return &r.ID }),
	text("name", true, func(r *Result) *string { return &r.Name }),
	text("route", true, func(r *Result) *string { return &r.Route }),
	text("method", false, func(r *Result) *string { return &r.Method }),
	text("path", false, func(r *Result) *string { return &r.Path }),
	text("phase", false, func(r *Result) *Phase { return &r.Phase }),
	number("block", func(r *Result) *int { return &r.Block }, -1),
	text("arm", true, func(r *Result) *string { return &r.Arm }),
	number("due_ns", func(r *Result) *time.Duration { return &r.Due }),
	number("ready_ns", func(r *Result) *time.Duration { return &r.Ready }, Never),
	number("sent_ns", func(r *Result) *time.Duration { return &r.Sent }, Never),
	number("first_byte_ns", func(r *Result) *time.Duration { return &r.FirstByte }, Never),
	number("last_byte_ns", func(r *Result) *time.Duration { return &r.LastByte }, Never),
	text("outcome", false, func(r *Result) *Outcome { return &r.Outcome }),
	text("error", true, func(r *Result) *string { return &r.Error }),
	number("status", func(r *Result) *int { return &r.Status }, 0),
	number("request_bytes", func(r *Result) *int64 { return &r.RequestBytes }),
	number("response_bytes", func(r *Result) *int64 { return &r.ResponseBytes }),
	number("conn", func(r *Result) *int { return &r.Conn }, -1),
	number("end_ns", func(r *Result) *time.Duration { return &r.End }),
}

const startKey = "start_unix_ns"

// ResultWriter writes results.arrows: an Arrow IPC stream with a row per planned request. It is not safe for
// concurrent use.
type ResultWriter struct{ table *tableWriter[Result] }

// NewResultWriter starts a stream of results of a run that started at start.
func NewResultWriter(w io.Writer, start time.Time) *ResultWriter {
	return &ResultWriter{newTableWriter(w, resultColumns, map[string]string{startKey: strconv.FormatInt(start.UnixNano(), 10)})}
}

// Write adds a row. Rows reach the file in batches.
func (w *ResultWriter) Write(r *Result) error { return w.table.write(r) }

// Flush puts every row so far into the file: what a kill cannot take.
func (w *ResultWriter) Flush() error { return w.table.flush() }

// Close flushes and ends the stream. It does not close the file.
func (w *ResultWriter) Close() error { return w.table.close() }

// ReadResults gives the start of the run and its rows, to be ranged over once. An error that wraps ErrTruncated
// follows the last whole batch where the writer was killed.
func ReadResults(r io.Reader) (start time.Time, rows iter.Seq2[Result, error], err error) {
	metadata, rows, err := openTable(r, resultColumns)
	if err != nil {
		return time.Time{}, nil, err
	}
	value, _ := metadata.GetValue(startKey)
	ns, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("schema metadata %s=%q is not a number", startKey, value)
	}
	return time.Unix(0, ns), rows, nil
}
