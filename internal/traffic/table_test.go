package traffic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
)

// runRows are rows as a replay at 20,000 a second makes them, with one of so many paths each.
func runRows(n, paths int) []Result {
	random := rand.New(rand.NewPCG(1, 2))
	names, urls := []string{""}, []string{"/index.html"}
	for i := range paths - 1 {
		names, urls = append(names, fmt.Sprintf("name-%d", i)), append(urls, fmt.Sprintf("/api/items/%d?page=%d", i*7919, i))
	}
	out := make([]Result, n)
	for i := range out {
		due := time.Duration(i) * 50 * time.Microsecond
		sent := due + time.Duration(random.ExpFloat64()*30e3)
		first := sent + 100*time.Microsecond + time.Duration(random.ExpFloat64()*100e3)
		last := first + time.Duration(random.ExpFloat64()*5e3)
		which := random.IntN(paths)
		out[i] = Result{ID: fmt.Sprintf("%016x", random.Uint64()), Name: names[which], Method: "GET", Path: urls[which], Phase: PhaseStage, Block: -1,
			Due: due, Ready: due - time.Duration(random.IntN(1e6)), Sent: sent, FirstByte: first, LastByte: last, End: last, Outcome: OK, Status: 200,
			RequestBytes: int64(60 + len(urls[which])), ResponseBytes: 850 + int64(which), Conn: random.IntN(50), ReadLag: time.Duration(random.IntN(20e3))}
	}
	return out
}

// The files in testdata were written by the version before dictionaries, retries and read_lag_ns.
func TestResultsOfTheVersionBefore(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "results-before.arrows"))
	if err != nil {
		t.Fatal(err)
	}
	start, rows, err := ReadResults(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(rows)
	if err != nil || !start.Equal(time.Unix(1700000000, 42)) {
		t.Fatalf("start %v, error %v", start, err)
	}
	if diff := cmp.Diff(sampleResults(5), got); diff != "" {
		t.Error(diff)
	}
}

func TestReceiptsOfTheVersionBefore(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "receipts-before.arrows"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(ReadReceipts(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	want := sampleReceipts()
	for i := range want {
		want[i].ResponseJSONSHA256 = "" // a column that came later
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The contract: names and order.
func TestResultColumns(t *testing.T) {
	want := []string{"id", "name", "route", "method", "path", "phase", "block", "arm", "due_ns", "ready_ns", "sent_ns", "first_byte_ns", "last_byte_ns",
		"outcome", "error", "status", "request_bytes", "response_bytes", "conn", "end_ns", "retries", "read_lag_ns"}
	r, err := ipc.NewReader(bytes.NewReader(writeResults(t, nil, time.Unix(1, 0))))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var got []string
	for _, f := range r.Schema().Fields() {
		got = append(got, f.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Dictionaries grow by deltas, are begun anew where each row has its own word, and memory stays flat then.
func TestDictionaries(t *testing.T) {
	for name, path := range map[string]func(i int) string{
		"one":           func(int) string { return "/" },
		"one more each": func(i int) string { return fmt.Sprint("/", i/100) },
		"all different": func(i int) string { return fmt.Sprint("/", i) },
		"long ones":     func(i int) string { return strings.Repeat("x", 1000) + fmt.Sprint(i%5000) },
		"none":          func(int) string { return "" },
		"now and then":  func(i int) string { return strings.Repeat("a", i%3) },
	} {
		t.Run(name, func(t *testing.T) {
			rows := sampleResults(3*batchRows + 5)
			for i := range rows {
				rows[i].Path, rows[i].Name, rows[i].ReadLag, rows[i].Retries = path(i), path(i), time.Duration(i), i%2
			}
			var b bytes.Buffer
			w := NewResultWriter(&b, time.Unix(1, 0))
			for part := range slices.Chunk(rows, batchRows-1000) {
				if err := errors.Join(w.WriteRows(part), w.Flush()); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			_, seq, err := ReadResults(&b)
			if err != nil {
				t.Fatal(err)
			}
			got, err := collect(seq)
			if err != nil {
				t.Fatal(err)
			}
			sameRows(t, got, rows)
			for _, d := range w.table.words {
				if s, ok := d.(*words[Result, string]); ok && (len(s.index) > maxWords+batchRows || s.size > maxWordBytes+batchRows*2000) {
					t.Errorf("a dictionary of %d words and %d bytes", len(s.index), s.size)
				}
			}
		})
	}
}

// A row costs no allocation once the buffers are there.
func TestWriterAllocatesNothingPerRow(t *testing.T) {
	rows := runRows(batchRows, 50)
	w := NewResultWriter(io.Discard, time.Unix(1, 0))
	batch := func() {
		if err := w.WriteRows(rows); err != nil {
			t.Fatal(err)
		}
	}
	batch()
	if n := testing.AllocsPerRun(5, batch); n > batchRows/100 {
		t.Errorf("%.0f allocations for %d rows", n, batchRows)
	}
}

// A full disk is told once and for all.
func TestWriterKeepsItsError(t *testing.T) {
	full := errors.New("no space left")
	w := NewResultWriter(writerFunc(func([]byte) (int, error) { return 0, full }), time.Unix(1, 0))
	rows := sampleResults(10)
	if err := w.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Flush(), w.WriteRows(rows), w.Close()} {
		if !errors.Is(err, full) {
			t.Errorf("error %v, want %v", err, full)
		}
	}
}

// An index that lies outside its dictionary is an error, not a crash.
func TestDamagedDictionary(t *testing.T) {
	var b bytes.Buffer
	w := NewResultWriter(&b, time.Unix(1, 0))
	rows := sampleResults(3)
	if err := w.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	method := w.table.sheets[3].(*words[Result, string])
	binary.NativeEndian.PutUint16(method.indices[2:], 99)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, seq, err := ReadResults(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(seq); err == nil || !strings.Contains(err.Error(), "damaged") || len(got) != 0 {
		t.Errorf("%d rows and error %v", len(got), err)
	}
}

func FuzzResultRows(f *testing.F) {
	f.Add("id", "", "shop/a", "GET", "/", "stage", "", "ok", "", int64(0), int64(-1), 200, 3)
	f.Add("\x00", "n", "", "", "/\xff", "", "on", "error", "reset", int64(1)<<62, int64(-5), -1, 1000)
	f.Fuzz(func(t *testing.T, id, name, route, method, path, phase, arm, outcome, class string, due, sent int64, small, repeat int) {
		small = int(int32(small))
		row := Result{ID: id, Name: name, Route: route, Method: method, Path: path, Phase: Phase(phase), Block: small, Arm: arm,
			Due: time.Duration(due), Ready: time.Duration(sent), Sent: time.Duration(sent), FirstByte: time.Duration(due), LastByte: time.Duration(sent),
			Outcome: Outcome(outcome), Error: class, Status: small, RequestBytes: due, ResponseBytes: sent, Conn: small, End: time.Duration(sent),
			Retries: small, ReadLag: time.Duration(due)}
		rows := make([]Result, 1+repeat&0xff)
		for i := range rows {
			if rows[i] = row; i%2 == 1 {
				rows[i].Path, rows[i].Error, rows[i].Name = name, path, class
			}
		}
		_, seq, err := ReadResults(bytes.NewReader(writeResults(t, rows, time.Unix(1, 0))))
		if err != nil {
			t.Fatal(err)
		}
		got, err := collect(seq)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Error(diff)
		}
	})
}

// sameRows is cmp.Diff for many rows.
func sameRows(t *testing.T, got, want []Result) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d: %s", i, cmp.Diff(want[i], got[i]))
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// RowBytes is what the size of a run is estimated from: no row of the usual kinds may take much more.
func TestRowBytes(t *testing.T) {
	for _, paths := range []int{1, 50} {
		var size counter
		rows := runRows(4*batchRows, paths)
		w := NewResultWriter(&size, time.Unix(1, 0))
		if err := w.WriteRows(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if each := float64(size) / float64(len(rows)); each > RowBytes || each < RowBytes*0.8 {
			t.Errorf("%d paths: %.1f bytes a row, RowBytes is %d", paths, each, RowBytes)
		}
	}
}

// BenchmarkResultWriter is the price of a row, write(2) among it.
func BenchmarkResultWriter(b *testing.B) {
	for _, paths := range []int{1, 50} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			rows, w, size := benchWriter(b, paths)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.WriteRows(rows); err != nil {
					b.Fatal(err)
				}
			}
			done := float64(b.N * len(rows))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/done, "ns/row")
			b.ReportMetric(float64(*size)/done, "B/row")
		})
	}
}

// benchWriter gives a writer to a file that stays small.
func benchWriter(b *testing.B, paths int) ([]Result, *ResultWriter, *counter) {
	f, err := os.Create(filepath.Join(b.TempDir(), "results.arrows"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	var size counter
	rewinding := writerFunc(func(p []byte) (int, error) {
		if size += counter(len(p)); size%(256<<20) < counter(len(p)) {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return 0, err
			}
		}
		return f.Write(p)
	})
	return runRows(batchRows, paths), NewResultWriter(rewinding, time.Unix(1, 0)), &size
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkResultReader(b *testing.B) {
	for _, paths := range []int{1, 50} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			var file bytes.Buffer
			w := NewResultWriter(&file, time.Unix(1, 0))
			if err := w.WriteRows(runRows(8*batchRows, paths)); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				_, batches, err := ReadResultBatches(bytes.NewReader(file.Bytes()))
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range batches {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*8*batchRows), "ns/row")
		})
	}
}
