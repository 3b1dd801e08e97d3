package traffic

import (
	"io"
	"iter"
	"time"
)

// receiptColumns are the columns of receipts-*.arrows, in their order. New ones go at the end.
var receiptColumns = []column[Receipt]{
	text("id", false, false, func(r *Receipt) *string { return &r.ID }),
	text("version", false, false, func(r *Receipt) *string { return &r.Version }),
	text("pod", false, false, func(r *Receipt) *string { return &r.Pod }),
	instant("arrived_ns", func(r *Receipt) *time.Time { return &r.Arrived }),
	number("duration_ns", false, func(r *Receipt) *time.Duration { return &r.Duration }, Never),
	text("method", false, false, func(r *Receipt) *string { return &r.Method }),
	text("authority", false, false, func(r *Receipt) *string { return &r.Authority }),
	text("path", false, false, func(r *Receipt) *string { return &r.Path }),
	text("header_sha256", false, false, func(r *Receipt) *string { return &r.HeaderSHA256 }),
	text("body_sha256", false, false, func(r *Receipt) *string { return &r.BodySHA256 }),
	number("body_bytes", false, func(r *Receipt) *int64 { return &r.BodyBytes }),
	number("status", false, func(r *Receipt) *int { return &r.Status }, 0),
	text("response_sha256", true, false, func(r *Receipt) *string { return &r.ResponseSHA256 }),
	flag("body_cut", func(r *Receipt) *bool { return &r.BodyCut }),
	text("response_json_sha256", true, false, func(r *Receipt) *string { return &r.ResponseJSONSHA256 }).later(),
}

// ReceiptWriter writes an Arrow IPC stream of receipts. It is not safe for concurrent use.
type ReceiptWriter struct{ table *tableWriter[Receipt] }

// NewReceiptWriter starts a stream.
func NewReceiptWriter(w io.Writer) *ReceiptWriter {
	return &ReceiptWriter{newTableWriter(w, receiptColumns, nil)}
}

// Write adds a row. Rows reach the stream in batches.
func (w *ReceiptWriter) Write(r *Receipt) error { return w.table.write(r) }

// Flush puts every row so far onto the stream.
func (w *ReceiptWriter) Flush() error { return w.table.flush() }

// Close flushes and ends the stream. It does not close what is underneath.
func (w *ReceiptWriter) Close() error { return w.table.close() }

// ReadReceipts gives the rows of a stream, to be ranged over once. An error that wraps ErrTruncated follows the last
// whole batch where the writer was killed.
func ReadReceipts(r io.Reader) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		_, batches, err := openTable(r, receiptColumns)
		if err != nil {
			yield(Receipt{}, err)
			return
		}
		eachRow(batches)(yield)
	}
}
