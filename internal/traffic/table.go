package traffic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/klauspost/compress/zstd"
)

// ErrTruncated marks a file whose writer was killed: everything before the cut was read.
var ErrTruncated = errors.New("the file ends early: its writer did not finish it")

// batchRows is how many rows a record batch has at the most: what a kill can lose, and what a writer holds.
const batchRows = 1 << 14

// column ties a field of T to an Arrow column, in both directions.
type column[T any] struct {
	field    arrow.Field
	optional bool                      // files from before the column was there are read too; its field stays zero
	sheet    func() sheet[T]           // a new writing side
	fits     func(arrow.DataType) bool // whether read can
	// read fills the field of rows from the array's values at from and behind it. It panics where the array is damaged.
	read func(a arrow.Array, from int, rows []T)
}

// sheet is the writing side of a column: it takes rows until it is asked for its Arrow buffers, and is then empty again.
type sheet[T any] interface {
	add(rows []T)
	emit(m *message)
}

// later marks a column that came after the first release.
func (c column[T]) later() column[T] {
	c.optional = true
	return c
}

// text is a string column; the empty string is null where the column is nullable. unique says that its values differ from
// row to row and do not compress.
func text[T any, S ~string](name string, nullable, unique bool, at func(*T) *S) column[T] {
	return column[T]{
		field: arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: nullable},
		sheet: func() sheet[T] {
			return &texts[T, S]{at: at, nullable: nullable, unique: unique, ends: make([]byte, 4)}
		},
		fits: isText,
		read: func(a arrow.Array, from int, rows []T) { readText(a, from, rows, at) },
	}
}

// word is a string column of few values, which a dictionary holds; the empty string is null where the column is nullable.
func word[T any, S ~string](name string, nullable bool, at func(*T) *S) column[T] {
	c := text(name, nullable, false, at)
	c.field.Type = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String}
	c.sheet = func() sheet[T] {
		fresh := texts[S, S]{at: func(s *S) *S { return s }, ends: make([]byte, 4)}
		return &words[T, S]{at: at, nullable: nullable, index: map[string]int16{}, lastAt: noWord, fresh: fresh}
	}
	return c
}

// number is an int64 column; the value none is null, where one is given. raw says that its values do not compress.
func number[T any, N ~int | ~int64](name string, raw bool, at func(*T) *N, none ...N) column[T] {
	return column[T]{
		field: arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: len(none) > 0},
		sheet: func() sheet[T] { return &numbers[T, N]{at: at, none: none, raw: raw} },
		fits:  isNumber,
		read:  func(a arrow.Array, from int, rows []T) { readNumbers(a, from, rows, at, none) },
	}
}

// narrow is number for what fits into 32 bits.
func narrow[T any, N ~int | ~int64](name string, raw bool, at func(*T) *N, none ...N) column[T] {
	c := number(name, raw, at, none...)
	c.field.Type = arrow.PrimitiveTypes.Int32
	c.sheet = func() sheet[T] { return &numbers[T, N]{at: at, none: none, narrow: true, raw: raw} }
	return c
}

// instant is a column of Unix nanoseconds.
func instant[T any](name string, at func(*T) *time.Time) column[T] {
	return column[T]{
		field: arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64},
		sheet: func() sheet[T] { return &instants[T]{at: at} },
		fits:  func(t arrow.DataType) bool { return t.ID() == arrow.INT64 },
		read: func(a arrow.Array, from int, rows []T) {
			values := a.(*array.Int64).Int64Values()[from:]
			for i := range rows {
				*at(&rows[i]) = time.Unix(0, values[i])
			}
		},
	}
}

// flag is a boolean column.
func flag[T any](name string, at func(*T) *bool) column[T] {
	return column[T]{
		field: arrow.Field{Name: name, Type: arrow.FixedWidthTypes.Boolean},
		sheet: func() sheet[T] { return &flags[T]{at: at} },
		fits:  func(t arrow.DataType) bool { return t.ID() == arrow.BOOL },
		read: func(a arrow.Array, from int, rows []T) {
			for i := range rows {
				*at(&rows[i]) = a.(*array.Boolean).Value(from + i)
			}
		},
	}
}

// validity is the bitmap of what is not null, which is filled as far as something is null.
type validity struct {
	bits  []byte
	n     int // rows
	nulls int
}

// null makes the row null, which n need not include yet. Rows come in their order.
func (v *validity) null(row int) {
	v.fill(row + 1)
	v.bits[row>>3] &^= 1 << (row & 7)
	v.nulls++
}

// fill makes the bitmap reach over so many rows.
func (v *validity) fill(rows int) {
	for len(v.bits) < (rows+7)/8 {
		v.bits = append(v.bits, 0xff)
	}
}

// emit gives the column's node and its first buffer, which is left out where nothing is null.
func (v *validity) emit(m *message) {
	m.nodes = append(m.nodes, node{v.n, v.nulls})
	if v.nulls > 0 {
		v.fill(v.n)
	}
	m.packed(v.bits)
	*v = validity{bits: v.bits[:0]}
}

// room lengthens b by n bytes, and gives them apart too.
func room(b []byte, n int) (whole, added []byte) {
	whole = slices.Grow(b, n)[:len(b)+n]
	return whole, whole[len(b):]
}

// texts is the sheet of strings of any number.
type texts[T any, S ~string] struct {
	at               func(*T) *S
	nullable, unique bool
	validity         validity
	ends             []byte // int32 each, after a first one of 0
	data             []byte
}

func (s *texts[T, S]) add(rows []T) {
	var ends []byte
	s.ends, ends = room(s.ends, 4*len(rows))
	for i := range rows {
		v := *s.at(&rows[i])
		s.data = append(s.data, v...)
		binary.NativeEndian.PutUint32(ends[4*i:], uint32(len(s.data)))
		if v == "" && s.nullable {
			s.validity.null(s.validity.n + i)
		}
	}
	s.validity.n += len(rows)
}

func (s *texts[T, S]) emit(m *message) {
	s.validity.emit(m)
	if s.unique {
		m.raw(s.ends)
		m.raw(s.data)
	} else {
		m.packed(s.ends)
		m.packed(s.data)
	}
	s.ends, s.data = s.ends[:4], s.data[:0]
}

// The size at which a dictionary is begun anew, so that a writer's memory is flat also where each row has its own word. A
// batch may still go beyond it, and its indices then still fit into 16 bits.
const (
	maxWords     = math.MaxInt16 - batchRows
	maxWordBytes = 1 << 20
)

// words is the sheet of a dictionary column. A reader learns of new words by a delta before the batch that has them.
type words[T any, S ~string] struct {
	at       func(*T) *S
	nullable bool
	validity validity
	indices  []byte           // int16 each
	index    map[string]int16 // the dictionary
	size     int              // bytes of its words
	last     S                // the word of the row before, as rows come in runs
	lastAt   int16            // its index; noWord where there is none
	recent   [64]struct {     // words by their trait, which spares most look-ups in index
		word S
		at   int16 // above the index by 1; 0 where there is none
	}
	fresh texts[S, S] // the words that no reader knows
	begun bool        // some reader knows the others: what comes is a delta
}

func (s *words[T, S]) add(rows []T) {
	if len(s.indices) == 0 && (len(s.index) > maxWords || s.size > maxWordBytes) {
		clear(s.index)
		clear(s.recent[:])
		s.size, s.lastAt, s.begun = 0, noWord, false
	}
	var indices []byte
	s.indices, indices = room(s.indices, 2*len(rows))
	for i := range rows {
		if v := *s.at(&rows[i]); v != s.last || s.lastAt == noWord {
			s.last, s.lastAt = v, s.indexOf(v)
		}
		if s.lastAt == noWord {
			s.validity.null(s.validity.n + i)
		}
		binary.NativeEndian.PutUint16(indices[2*i:], uint16(max(0, s.lastAt))) // of null nobody reads it
	}
	s.validity.n += len(rows)
}

// noWord is the index of null.
const noWord = -1

// indexOf finds v in the dictionary, or adds it.
func (s *words[T, S]) indexOf(v S) int16 {
	if v == "" && s.nullable {
		return noWord
	}
	recent := &s.recent[trait(v)%len(s.recent)]
	if recent.at > 0 && recent.word == v {
		return recent.at - 1
	}
	at, known := s.index[string(v)]
	if !known {
		at = int16(len(s.index))
		s.index[string(v)] = at
		s.size += len(v)
		s.fresh.add([]S{v})
	}
	recent.word, recent.at = v, at+1
	return at
}

// trait is a number that tells most of a few words apart, for less than a hash.
func trait[S ~string](v S) int {
	n := len(v)
	if n == 0 {
		return 0
	}
	return n + 3*int(v[0]) + 11*int(v[n-1]) + 37*int(v[max(0, n-2)]) + 7*int(v[n/2])
}

func (s *words[T, S]) emit(m *message) {
	s.validity.emit(m)
	m.packed(s.indices)
	s.indices = s.indices[:0]
}

// dictionary is a sheet that has words to be written before its batch.
type dictionary interface {
	// emitWords gives the words that no reader knows; ok is false where there are none.
	emitWords(m *message) (delta, ok bool)
}

func (s *words[T, S]) emitWords(m *message) (delta, ok bool) {
	if s.begun && s.fresh.validity.n == 0 {
		return false, false
	}
	s.fresh.emit(m) // the first one also where it has no words, as readers wait for it
	delta, s.begun = s.begun, true
	return delta, true
}

// numbers is the sheet of integers.
type numbers[T any, N ~int | ~int64] struct {
	at          func(*T) *N
	none        []N // what is null: one or none
	narrow, raw bool
	validity    validity
	data        []byte
}

func (s *numbers[T, N]) add(rows []T) {
	width := 8
	if s.narrow {
		width = 4
	}
	var data []byte
	s.data, data = room(s.data, width*len(rows))
	for i := range rows {
		v := *s.at(&rows[i])
		if s.narrow {
			binary.NativeEndian.PutUint32(data[4*i:], uint32(v))
		} else {
			binary.NativeEndian.PutUint64(data[8*i:], uint64(v))
		}
		if len(s.none) > 0 && v == s.none[0] { // and nobody reads what stands in its place
			s.validity.null(s.validity.n + i)
		}
	}
	s.validity.n += len(rows)
}

func (s *numbers[T, N]) emit(m *message) {
	s.validity.emit(m)
	if s.raw {
		m.raw(s.data)
	} else {
		m.packed(s.data)
	}
	s.data = s.data[:0]
}

// instants is the sheet of points in time.
type instants[T any] struct {
	at   func(*T) *time.Time
	data []byte
}

func (s *instants[T]) add(rows []T) {
	for i := range rows {
		s.data = binary.NativeEndian.AppendUint64(s.data, uint64(s.at(&rows[i]).UnixNano()))
	}
}

func (s *instants[T]) emit(m *message) {
	m.nodes = append(m.nodes, node{len(s.data) / 8, 0})
	m.raw(nil)
	m.packed(s.data)
	s.data = s.data[:0]
}

// flags is the sheet of booleans: a bitmap.
type flags[T any] struct {
	at   func(*T) *bool
	bits validity
}

func (s *flags[T]) add(rows []T) {
	for i := range rows {
		if !*s.at(&rows[i]) {
			s.bits.null(s.bits.n + i)
		}
	}
	s.bits.n += len(rows)
}

func (s *flags[T]) emit(m *message) {
	m.nodes = append(m.nodes, node{s.bits.n, 0})
	m.raw(nil)
	s.bits.fill(s.bits.n)
	m.packed(s.bits.bits)
	s.bits = validity{bits: s.bits.bits[:0]}
}

// tableWriter writes an Arrow IPC stream. arrow-go's own writer takes builders, compresses every buffer alike, and
// allocates all of them anew for each batch, which costs several times as much as what is here. It is not safe for
// concurrent use.
type tableWriter[T any] struct {
	w       io.Writer
	schema  *arrow.Schema
	sheets  []sheet[T]
	words   []dictionary // by their id, which is their place among the dictionary columns
	message *message
	rows    int
	one     [1]T
	begun   bool
	err     error // the first one; nothing is written behind it
}

func newTableWriter[T any](w io.Writer, columns []column[T], metadata map[string]string) *tableWriter[T] {
	t := &tableWriter[T]{w: w, schema: schemaOf(columns, metadata), message: newMessage()}
	for _, c := range columns {
		s := c.sheet()
		t.sheets = append(t.sheets, s)
		if d, ok := s.(dictionary); ok {
			t.words = append(t.words, d)
		}
	}
	return t
}

func schemaOf[T any](columns []column[T], metadata map[string]string) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = c.field
	}
	m := arrow.MetadataFrom(metadata)
	return arrow.NewSchema(fields, &m)
}

func (t *tableWriter[T]) write(v *T) error {
	t.one[0] = *v
	return t.add(t.one[:])
}

// blockRows is how many rows each column takes or gives in turn: few enough to stay in a near cache from column to column.
const blockRows = 64

// add takes rows, which are the caller's again when it returns.
func (t *tableWriter[T]) add(rows []T) error {
	for len(rows) > 0 && t.err == nil {
		n := min(len(rows), blockRows, batchRows-t.rows)
		for _, s := range t.sheets {
			s.add(rows[:n])
		}
		rows = rows[n:]
		if t.rows += n; t.rows == batchRows {
			t.flush()
		}
	}
	return t.err
}

func (t *tableWriter[T]) flush() error {
	t.begin()
	if t.rows == 0 {
		return t.err
	}
	for id, d := range t.words {
		if delta, ok := d.emitWords(t.message); ok {
			t.put(t.message.words(id, delta))
		}
	}
	for _, s := range t.sheets {
		s.emit(t.message)
	}
	t.put(t.message.batch(t.rows))
	t.rows = 0
	return t.err
}

// begin writes the schema, once.
func (t *tableWriter[T]) begin() {
	if t.begun || t.err != nil {
		return
	}
	t.begun = true
	var b bytes.Buffer
	t.err = ipc.NewWriter(&b, ipc.WithSchema(t.schema)).Close() // a stream without rows
	t.put(bytes.TrimSuffix(b.Bytes(), endOfStream), nil)
}

func (t *tableWriter[T]) put(head, body []byte) {
	for _, part := range [][]byte{head, body} {
		if t.err == nil && len(part) > 0 {
			_, t.err = t.w.Write(part)
		}
	}
}

func (t *tableWriter[T]) close() error {
	t.flush()
	t.put(endOfStream, nil)
	return t.err
}

// message makes the encapsulated messages of the stream (Arrow columnar format 1.5, "Serialization and Interprocess
// Communication"), in memory that it uses again. Its codec is zstd, but each buffer decides for itself: one with a length of
// −1 in front is as it was.
type message struct {
	flat    *flatbuffers.Builder
	zstd    *zstd.Encoder
	nodes   []node
	buffers []buffer
	head    []byte
	body    []byte
}

// node is flatbuf.FieldNode: a column's length and how many of it are null.
type node struct{ rows, nulls int }

// buffer is flatbuf.Buffer: where a buffer lies in the body.
type buffer struct{ at, length int }

func newMessage() *message {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // of constant options
	}
	return &message{flat: flatbuffers.NewBuilder(4096), zstd: e}
}

// raw adds a buffer as it is.
func (m *message) raw(data []byte) {
	m.buffer(data, math.MaxUint64, func(body []byte) []byte { return append(body, data...) })
}

// packed adds a buffer and compresses it.
func (m *message) packed(data []byte) {
	m.buffer(data, uint64(len(data)), func(body []byte) []byte { return m.zstd.EncodeAll(data, body) })
}

func (m *message) buffer(data []byte, length uint64, put func(body []byte) []byte) {
	at := len(m.body)
	if len(data) > 0 {
		m.body = put(binary.LittleEndian.AppendUint64(m.body, length))
	}
	m.buffers = append(m.buffers, buffer{at, len(m.body) - at})
	m.body = pad(m.body)
}

// pad fills up to a multiple of 8 bytes.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&7)...) }

// The numbers of Arrow's Message.fbs and Schema.fbs.
const (
	metadataV5      = 4
	headDictionary  = 2
	headRecordBatch = 3
	codecZstd       = 1
)

// batch gives the record batch of what was added.
func (m *message) batch(rows int) (head, body []byte) {
	return m.seal(headRecordBatch, m.records(rows))
}

// words gives the dictionary batch of what was added, a texts sheet.
func (m *message) words(id int, delta bool) (head, body []byte) {
	data := m.records(m.nodes[0].rows)
	m.flat.StartObject(3)
	m.flat.PrependInt64Slot(0, int64(id), 0)
	m.flat.PrependUOffsetTSlot(1, data, 0)
	m.flat.PrependBoolSlot(2, delta, false)
	return m.seal(headDictionary, m.flat.EndObject())
}

// records is flatbuf.RecordBatch.
func (m *message) records(rows int) flatbuffers.UOffsetT {
	f := m.flat
	f.Reset()
	f.StartObject(2)
	f.PrependByteSlot(0, codecZstd, 0)
	compression := f.EndObject()
	f.StartVector(16, len(m.buffers), 8)
	for _, b := range slices.Backward(m.buffers) {
		m.pair(b.at, b.length)
	}
	buffers := f.EndVector(len(m.buffers))
	f.StartVector(16, len(m.nodes), 8)
	for _, n := range slices.Backward(m.nodes) {
		m.pair(n.rows, n.nulls)
	}
	nodes := f.EndVector(len(m.nodes))
	f.StartObject(5)
	f.PrependInt64Slot(0, int64(rows), 0)
	f.PrependUOffsetTSlot(1, nodes, 0)
	f.PrependUOffsetTSlot(2, buffers, 0)
	f.PrependUOffsetTSlot(3, compression, 0)
	return f.EndObject()
}

// pair is a struct of two int64; flatbuffers are built from their end.
func (m *message) pair(first, second int) {
	m.flat.Prep(8, 16)
	m.flat.PrependInt64(int64(second))
	m.flat.PrependInt64(int64(first))
}

// seal ends the message, which lives until the next one begins.
func (m *message) seal(kind byte, header flatbuffers.UOffsetT) (head, body []byte) {
	f := m.flat
	f.StartObject(5)
	f.PrependInt16Slot(0, metadataV5, 0)
	f.PrependByteSlot(1, kind, 0)
	f.PrependUOffsetTSlot(2, header, 0)
	f.PrependInt64Slot(3, int64(len(m.body)), 0)
	f.Finish(f.EndObject())
	metadata := f.FinishedBytes()
	m.head = append(m.head[:0], 0xff, 0xff, 0xff, 0xff)
	m.head = binary.LittleEndian.AppendUint32(m.head, uint32((len(metadata)+7)&^7))
	m.head = pad(append(m.head, metadata...))
	body = m.body
	m.nodes, m.buffers, m.body = m.nodes[:0], m.buffers[:0], m.body[:0]
	return m.head, body
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

// openTable reads a stream's schema, checks that the columns are there, and gives the rows in batches, to be ranged over
// once; a batch is the reader's again when the next one is asked for. Columns that the file has beyond ours are passed over.
// Where the writer was killed, an error that wraps ErrTruncated follows the last whole batch.
func openTable[T any](r io.Reader, columns []column[T]) (arrow.Metadata, iter.Seq2[[]T, error], error) {
	tail := &tailReader{r: r}
	reader, err := ipc.NewReader(tail)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w (%w)", ErrTruncated, err)
		}
		return arrow.Metadata{}, nil, fmt.Errorf("not an Arrow IPC stream: %w", err)
	}
	places, err := place(reader.Schema(), columns)
	if err != nil {
		reader.Release()
		return arrow.Metadata{}, nil, err
	}
	batches := func(yield func([]T, error) bool) {
		defer reader.Release()
		rows := make([]T, blockRows)
		for reader.Next() {
			batch := reader.RecordBatch()
			for from, n := 0, int(batch.NumRows()); from < n; from += blockRows {
				block := rows[:min(blockRows, n-from)]
				if err := fill(block, batch, from, columns, places); err != nil {
					yield(nil, err)
					return
				}
				if !yield(block, nil) {
					return
				}
			}
		}
		if err := tableEnd(reader.Err(), tail); err != nil {
			yield(nil, err)
		}
	}
	return reader.Schema().Metadata(), batches, nil
}

// missing is the place of a column that a file does not have.
const missing = -1

// place finds the columns in a file.
func place[T any](schema *arrow.Schema, columns []column[T]) ([]int, error) {
	places := make([]int, len(columns))
	for i, c := range columns {
		at := schema.FieldIndices(c.field.Name)
		switch {
		case len(at) == 0 && c.optional:
			places[i] = missing
		case len(at) != 1 || !c.fits(schema.Field(at[0]).Type):
			return nil, fmt.Errorf("column %q of type %s is missing: is this file one of umbra's?", c.field.Name, c.field.Type)
		default:
			places[i] = at[0]
		}
	}
	return places, nil
}

// fill reads a part of a batch into rows. Arrow's arrays panic where offsets or indices of a damaged file lie outside.
func fill[T any](rows []T, batch arrow.RecordBatch, from int, columns []column[T], places []int) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("a record batch is damaged: %v", fault)
		}
	}()
	clear(rows)
	for i, c := range columns {
		if places[i] != missing {
			c.read(batch.Column(places[i]), from, rows)
		}
	}
	return nil
}

// eachRow gives the rows of batches one by one.
func eachRow[T any](batches iter.Seq2[[]T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for rows, err := range batches {
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
		}
	}
}

func isText(t arrow.DataType) bool {
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	return t.ID() == arrow.STRING
}

// readText reads strings, which lie in the batch's memory.
func readText[T any, S ~string](a arrow.Array, from int, rows []T, at func(*T) *S) {
	switch a := a.(type) {
	case *array.String:
		for i := range rows {
			*at(&rows[i]) = S(a.Value(from + i))
		}
	case *array.Dictionary:
		words, index, nulls := a.Dictionary().(*array.String), indexOf(a), a.NullN() > 0
		for i := range rows {
			if !nulls || a.IsValid(from+i) {
				*at(&rows[i]) = S(words.Value(index(from + i)))
			}
		}
	}
}

func indexOf(a *array.Dictionary) func(int) int {
	if narrow, ok := a.Indices().(*array.Int16); ok {
		values := narrow.Int16Values()
		return func(i int) int { return int(values[i]) }
	}
	return a.GetValueIndex
}

func isNumber(t arrow.DataType) bool { return t.ID() == arrow.INT64 || t.ID() == arrow.INT32 }

func readNumbers[T any, N ~int | ~int64](a arrow.Array, from int, rows []T, at func(*T) *N, none []N) {
	switch a := a.(type) {
	case *array.Int64:
		for i, v := range a.Int64Values()[from : from+len(rows)] {
			*at(&rows[i]) = N(v)
		}
	case *array.Int32:
		for i, v := range a.Int32Values()[from : from+len(rows)] {
			*at(&rows[i]) = N(v)
		}
	}
	if a.NullN() == 0 || len(none) == 0 {
		return
	}
	for i := range rows {
		if a.IsNull(from + i) {
			*at(&rows[i]) = none[0]
		}
	}
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
