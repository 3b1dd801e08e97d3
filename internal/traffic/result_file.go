package traffic

import (
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
)

// resultColumns are the columns of results.arrows, in their order. New ones go at the end. Ids and instants are written as
// they are: to compress them too would make the file half as large, and cost more than everything else together.
var resultColumns = []column[Result]{
	text("id", false, true, func(r *Result) *string { return &r.ID }),
	word("name", true, func(r *Result) *string { return &r.Name }),
	word("route", true, func(r *Result) *string { return &r.Route }),
	word("method", false, func(r *Result) *string { return &r.Method }),
	word("path", false, func(r *Result) *string { return &r.Path }),
	word("phase", false, func(r *Result) *Phase { return &r.Phase }),
	narrow("block", false, func(r *Result) *int { return &r.Block }, -1),
	word("arm", true, func(r *Result) *string { return &r.Arm }),
	number("due_ns", true, func(r *Result) *time.Duration { return &r.Due }),
	number("ready_ns", true, func(r *Result) *time.Duration { return &r.Ready }, Never),
	number("sent_ns", true, func(r *Result) *time.Duration { return &r.Sent }, Never),
	number("first_byte_ns", true, func(r *Result) *time.Duration { return &r.FirstByte }, Never),
	number("last_byte_ns", true, func(r *Result) *time.Duration { return &r.LastByte }, Never),
	word("outcome", false, func(r *Result) *Outcome { return &r.Outcome }),
	word("error", true, func(r *Result) *string { return &r.Error }),
	narrow("status", false, func(r *Result) *int { return &r.Status }, 0),
	number("request_bytes", false, func(r *Result) *int64 { return &r.RequestBytes }),
	number("response_bytes", false, func(r *Result) *int64 { return &r.ResponseBytes }),
	narrow("conn", true, func(r *Result) *int { return &r.Conn }, -1),
	number("end_ns", true, func(r *Result) *time.Duration { return &r.End }),
	narrow("retries", false, func(r *Result) *int { return &r.Retries }).later(),
	number("read_lag_ns", true, func(r *Result) *time.Duration { return &r.ReadLag }).later(),
}

// RowBytes is about how many bytes a row takes in results.arrows, as measured by BenchmarkResultWriter: what the size of a
// run is estimated from before it starts. Where every row has a path of its own, each adds the length of that path.
const RowBytes = 88

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

// WriteRows adds rows, which are the caller's again when it returns; some of the strings in them are kept for a while.
func (w *ResultWriter) WriteRows(rows []Result) error { return w.table.add(rows) }

// Flush puts every row so far into the file: what a kill cannot take.
func (w *ResultWriter) Flush() error { return w.table.flush() }

// Close flushes and ends the stream. It does not close the file.
func (w *ResultWriter) Close() error { return w.table.close() }

// ReadResults gives the start of the run and its rows, to be ranged over once. An error that wraps ErrTruncated
// follows the last whole batch where the writer was killed.
func ReadResults(r io.Reader) (start time.Time, rows iter.Seq2[Result, error], err error) {
	start, batches, err := ReadResultBatches(r)
	if err != nil {
		return time.Time{}, nil, err
	}
	return start, eachRow(batches), nil
}

// ReadResultBatches is ReadResults for those who read many rows: a batch is the reader's again when the next one is asked
// for, and the strings in it share the memory of their batch.
func ReadResultBatches(r io.Reader) (start time.Time, batches iter.Seq2[[]Result, error], err error) {
	metadata, batches, err := openTable(r, resultColumns)
	if err != nil {
		return time.Time{}, nil, err
	}
	value, _ := metadata.GetValue(startKey)
	ns, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("schema metadata %s=%q is not a number", startKey, value)
	}
	return time.Unix(0, ns), batches, nil
}
