package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// ErrTruncated marks a file whose writer was killed: everything before the cut was read.
var ErrTruncated = errors.New("the file ends early: its writer did not finish it")

// batchRows is how many rows a record batch has at the most: what a kill can lose, and what a writer holds.
const batchRows = 4096

// column ties a field of T to an Arrow column, in both directions.
type column[T any] struct {
	field arrow.Field
	put   func(array.Builder, *T)
	get   func(arrow.Array, int, *T)
}

// text is a string column; the empty string is null where the column is nullable.
func text[T any, S ~string](name string, nullable bool, at func(*T) *S) column[T] {
	return column[T]{
		arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: nullable},
		func(b array.Builder, v *T) {
			if s := string(*at(v)); s == "" && nullable {
				b.AppendNull()
			} else {
				b.(*array.StringBuilder).Append(s)
			}
		},
		func(a arrow.Array, i int, v *T) { *at(v) = S(a.(*array.String).Value(i)) },
	}
}

// number is an int64 column; the value none is null, where none is given.
func number[T any, N ~int | ~int64](name string, at func(*T) *N, none ...N) column[T] {
	return column[T]{
		arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: len(none) > 0},
		func(b array.Builder, v *T) {
			if n := *at(v); len(none) > 0 && n == none[0] {
				b.AppendNull()
			} else {
				b.(*array.Int64Builder).Append(int64(n))
			}
		},
		func(a arrow.Array, i int, v *T) {
			if a.IsNull(i) {
				*at(v) = none[0]
			} else {
				*at(v) = N(a.(*array.Int64).Value(i))
			}
		},
	}
}

// instant is a column of Unix nanoseconds.
func instant[T any](name string, at func(*T) *time.Time) column[T] {
	return column[T]{
		arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64},
		func(b array.Builder, v *T) { b.(*array.Int64Builder).Append(at(v).UnixNano()) },
		func(a arrow.Array, i int, v *T) { *at(v) = time.Unix(0, a.(*array.Int64).Value(i)) },
	}
}

// flag is a boolean column.
func flag[T any](name string, at func(*T) *bool) column[T] {
	return column[T]{
		arrow.Field{Name: name, Type: arrow.FixedWidthTypes.Boolean},
		func(b array.Builder, v *T) { b.(*array.BooleanBuilder).Append(*at(v)) },
		func(a arrow.Array, i int, v *T) { *at(v) = a.(*array.Boolean).Value(i) },
	}
}

func schemaOf[T any](columns []column[T], metadata map[string]string) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = c.field
	}
	m := arrow.MetadataFrom(metadata)
	return arrow.NewSchema(fields, &m)
}

// tableWriter writes an Arrow IPC stream. It is not safe for concurrent use.
type tableWriter[T any] struct {
	columns []column[T]
	builder *array.RecordBuilder
	ipc     *ipc.Writer
	rows    int
}

func newTableWriter[T any](w io.Writer, columns []column[T], metadata map[string]string) *tableWriter[T] {
	schema := schemaOf(columns, metadata)
	return &tableWriter[T]{
		columns: columns,
		builder: array.NewRecordBuilder(memory.DefaultAllocator, schema),
		ipc:     ipc.NewWriter(w, ipc.WithSchema(schema), ipc.WithZstd()),
	}
}

func (w *tableWriter[T]) write(v *T) error {
	for i, c := range w.columns {
		c.put(w.builder.Field(i), v)
	}
	if w.rows++; w.rows < batchRows {
		return nil
	}
	return w.flush()
}

func (w *tableWriter[T]) flush() error {
	if w.rows == 0 {
		return nil
	}
	w.rows = 0
	batch := w.builder.NewRecordBatch()
	defer batch.Release()
	return w.ipc.Write(batch)
}

func (w *tableWriter[T]) close() error {
	err := w.flush()
	w.builder.Release()
	return errors.Join(err, w.ipc.Close())
}

// endOfStream is how an Arrow IPC stream ends: the continuation mark and a length of 0.
var endOfStream = []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// tailReader remembers the last bytes read, as the Arrow reader takes an end of the file for an end of the stream.
type tailReader struct {
	r    io.Reader
	tail []byte
}

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	keep := len(endOfStream)
	if n >= keep {
		t.tail = append(t.tail[:0], p[n-keep:n]...)
	} else {
		t.tail = append(t.tail, p[:n]...)
		t.tail = t.tail[max(0, len(t.tail)-keep):]
	}
	return n, err
}

// openTable reads a stream's schema, checks that the columns are there, and gives the rows, to be ranged over once.
// Columns that the file has beyond ours are passed over. Where the writer was killed, an error that wraps
// ErrTruncated follows the last whole batch.
func openTable[T any](r io.Reader, columns []column[T]) (arrow.Metadata, iter.Seq2[T, error], error) {
	tail := &tailReader{r: r}
	reader, err := ipc.NewReader(tail)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w (%w)", ErrTruncated, err)
		}
		return arrow.Metadata{}, nil, fmt.Errorf("not an Arrow IPC stream: %w", err)
	}
	places := make([]int, len(columns))
	for i, c := range columns {
		at := reader.Schema().FieldIndices(c.field.Name)
		if len(at) != 1 || !arrow.TypeEqual(reader.Schema().Field(at[0]).Type, c.field.Type) {
			reader.Release()
			return arrow.Metadata{}, nil, fmt.Errorf("column %q of type %s is missing: is this file one of umbra's?", c.field.Name, c.field.Type)
		}
		places[i] = at[0]
	}
	rows := func(yield func(T, error) bool) {
		defer reader.Release()
		for reader.Next() {
			if !yieldRows(reader.RecordBatch(), columns, places, yield) {
				return
			}
		}
		if err := tableEnd(reader.Err(), tail); err != nil {
			var zero T
			yield(zero, err)
		}
	}
	return reader.Schema().Metadata(), rows, nil
}

func yieldRows[T any](batch arrow.RecordBatch, columns []column[T], places []int, yield func(T, error) bool) bool {
	for row := range int(batch.NumRows()) {
		var v T
		for i, c := range columns {
			c.get(batch.Column(places[i]), row, &v)
		}
		if !yield(v, nil) {
			return false
		}
	}
	return true
}

// tableEnd tells a stream that ended from one that was cut, and from one that has something behind its end: a second
// stream, whose rows nobody would see.
func tableEnd(err error, tail *tailReader) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w (%w)", ErrTruncated, err)
	case !bytes.Equal(tail.tail, endOfStream):
		return ErrTruncated
	}
	if n, _ := io.ReadFull(tail.r, make([]byte, 1)); n > 0 {
		return errors.New("there are bytes behind the end of the Arrow stream: files cannot be joined by appending one to another")
	}
	return nil
}
