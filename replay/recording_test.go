package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"umbra/internal/summary"
	"umbra/internal/traffic"
)

// playedRows are rows as a run makes them, 1 ms apart, in the order of their ends, with every outcome and phase among them.
func playedRows(n int) []traffic.Result {
	random := rand.New(rand.NewPCG(5, 6))
	phases := []traffic.Phase{traffic.PhaseWarmup, traffic.PhaseStage, traffic.PhaseStage, traffic.PhaseStage, traffic.PhaseCooldown}
	out := make([]traffic.Result, n)
	for i := range out {
		due := time.Duration(i) * time.Millisecond
		sent := due + time.Duration(random.ExpFloat64()*50e3)
		end := sent + time.Duration(random.ExpFloat64()*3e6)
		r := traffic.Result{ID: ID(1, uint64(i)), Name: fmt.Sprint("name ", random.IntN(3)), Route: fmt.Sprint("route ", random.IntN(2)), Method: "GET", Path: "/",
			Phase: phases[i*len(phases)/n], Block: -1, Due: due, Ready: due - 5, Sent: sent, FirstByte: end - 5, LastByte: end, End: end, Outcome: traffic.OK,
			Status: 200, RequestBytes: 50, ResponseBytes: 200, Conn: i % 4, ReadLag: time.Duration(random.IntN(20e3))}
		switch random.IntN(20) {
		case 0:
			r.Outcome, r.Error, r.Status, r.FirstByte, r.LastByte = traffic.Timeout, TimeoutHeaders, 0, traffic.Never, traffic.Never
		case 1:
			r.Status = 503
		case 2:
			r.Outcome, r.Error, r.Status, r.Conn = traffic.Unsent, QueueFull, 0, -1
			r.Ready, r.Sent, r.FirstByte, r.LastByte = traffic.Never, traffic.Never, traffic.Never, traffic.Never
		}
		out[i] = r
	}
	slices.SortStableFunc(out, func(a, b traffic.Result) int { return int(a.End - b.End) })
	return out
}

// files keeps a run's histograms in memory.
type files struct {
	mu   sync.Mutex
	data map[string]*bytes.Buffer
}

type memoryFile struct {
	*files
	*bytes.Buffer
}

func (f memoryFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Buffer.Write(p)
}

func (memoryFile) Close() error { return nil }

func (f *files) open(name string) (io.WriteCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		f.data = map[string]*bytes.Buffer{}
	}
	f.data[name] = &bytes.Buffer{}
	return memoryFile{f, f.data[name]}, nil
}

// logged counts a log's values by their tag.
func (f *files) logged(t *testing.T, name string) map[string]int64 {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	reader, counts := hdrhistogram.NewHistogramLogReader(bytes.NewReader(f.data[name].Bytes())), map[string]int64{}
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return counts
		}
		counts[h.Tag()] += h.TotalCount()
	}
}

// readBack gives the rows of results.arrows, and the figures that are made from them.
func readBack(t *testing.T, file []byte) ([]traffic.Result, summary.Figures, error) {
	t.Helper()
	_, batches, err := traffic.ReadResultBatches(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	s := summary.New()
	var all []traffic.Result
	for rows, err := range batches {
		if err != nil {
			return all, s.Figures(), err
		}
		s.Add(rows)
		all = append(all, rows...)
	}
	return all, s.Figures(), nil
}

// The figures made live, and those made from the rows of the folder, are the same, whether rows are kept or not.
func TestRecordingIsWhatItsFileSays(t *testing.T) {
	rows := playedRows(5000)
	var file bytes.Buffer
	var logs files
	tapped := 0
	keeping, err := NewRecording(time.Now(), Sinks{Rows: &file, Logs: logs.open, Tap: func(rows []traffic.Result) { tapped += len(rows) }})
	if err != nil {
		t.Fatal(err)
	}
	without, err := NewRecording(time.Now(), Sinks{})
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(rows, 700) {
		keeping.Record(part)
		without.Record(part)
	}
	live, err := keeping.Close()
	if err != nil {
		t.Fatal(err)
	}
	alone, err := without.Close()
	if err != nil {
		t.Fatal(err)
	}
	got, figures, err := readBack(t, file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, got); diff != "" || tapped != len(rows) {
		t.Errorf("%d rows tapped; %s", tapped, diff)
	}
	if diff := cmp.Diff(figures, live); diff != "" {
		t.Errorf("live figures (+) are not those of the rows: %s", diff)
	}
	if diff := cmp.Diff(figures, alone); diff != "" {
		t.Errorf("figures without rows (+): %s", diff)
	}
	if figures.Planned != len(rows) || figures.Warmup != 1000 && figures.Cooldown == 0 {
		t.Errorf("%+v", figures)
	}
	var stages int64
	for tag, n := range logs.logged(t, "response.hlog") {
		if strings.HasPrefix(tag, "stage:") {
			stages += n
		}
	}
	if stages != figures.Response.N || stages == 0 {
		t.Errorf("%d values of the stages in the log, %d in the figures", stages, figures.Response.N)
	}
}

// Loops record at the same time: no row is lost or doubled, and each loop's rows stay in their order.
func TestRecordingFromSeveralLoops(t *testing.T) {
	const loops, each = 4, 20_000
	var file bytes.Buffer
	r, err := NewRecording(time.Now(), Sinks{Rows: &file})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for loop := range loops {
		group.Go(func() {
			batch := make([]traffic.Result, 37)
			for i := 0; i < each; i += len(batch) {
				n := min(len(batch), each-i)
				for j := range n {
					batch[j] = traffic.Result{Conn: loop, Due: time.Duration(i + j), Outcome: traffic.OK}
				}
				r.Record(batch[:n])
			}
		})
	}
	group.Wait()
	figures, err := r.Close()
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := readBack(t, file.Bytes())
	if err != nil || len(rows) != loops*each || figures.Planned != loops*each {
		t.Fatalf("%d rows, %d in the figures, %v", len(rows), figures.Planned, err)
	}
	var next [loops]time.Duration
	for _, row := range rows {
		if row.Due != next[row.Conn] {
			t.Fatalf("loop %d: row %d where %d was to come", row.Conn, row.Due, next[row.Conn])
		}
		next[row.Conn]++
	}
}

// gate is a disk that stands still until it is opened.
type gate struct {
	open chan struct{}
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Buffer.Write(p)
}

// A disk that stands still holds up who records when the pipe is full, not before, and then no row is lost.
func TestRecordingOnADiskThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &gate{open: make(chan struct{})}
		r, err := NewRecording(time.Now(), Sinks{Rows: disk})
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]traffic.Result, chunkRows)
		r.Record(rows)
		time.Sleep(2 * time.Second) // the clock of the bubble: the flush of the first second hangs now
		recorded := 1
		var group sync.WaitGroup
		group.Go(func() {
			for range 2 * chunks {
				r.Record(rows)
				recorded++
			}
		})
		synctest.Wait()
		if recorded < chunks-1 || recorded > chunks+1 {
			t.Errorf("%d chunks were taken while the disk stood still, the pipe holds %d", recorded, chunks)
		}
		close(disk.open)
		group.Wait()
		figures, err := r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := readBack(t, disk.Bytes())
		if want := (1 + 2*chunks) * chunkRows; err != nil || len(got) != want || figures.Planned != want {
			t.Errorf("%d rows of %d, %v", len(got), want, err)
		}
	})
}

// fullDisk takes so many bytes.
type fullDisk struct{ left int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// After a full disk rows are still taken and summed up, and the error is told at the end.
func TestRecordingOnAFullDisk(t *testing.T) {
	r, err := NewRecording(time.Now(), Sinks{Rows: &fullDisk{left: 100_000}})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]traffic.Result, 1000)
	for range 200 {
		r.Record(rows)
	}
	if figures, err := r.Close(); !errors.Is(err, errFull) || figures.Planned != 200_000 {
		t.Errorf("%d rows, error %v", figures.Planned, err)
	}
}

// What a kill leaves: all but the last second, in the rows, in the logs and in the figures.
func TestRecordingOfAKilledRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		var logs files
		var kept []summary.Figures
		var seconds []summary.Second
		start := time.Now().Add(200 * time.Millisecond)
		r, err := NewRecording(start, Sinks{Rows: &file, Logs: logs.open,
			Figures: func(f summary.Figures) error { kept = append(kept, f); return nil },
			Second:  func(s summary.Second) { seconds = append(seconds, s) }})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range playedRows(2500) {
			time.Sleep(time.Until(start.Add(row.End))) // the clock of the bubble
			r.Record([]traffic.Result{row})
		}
		synctest.Wait()
		rows, _, err := readBack(t, file.Bytes())
		if n := len(rows); !errors.Is(err, traffic.ErrTruncated) || n < 2000 || n > 2200 {
			t.Errorf("%d rows after 2.5 s, error %v", n, err)
		}
		var logged int64
		for _, n := range logs.logged(t, "service.hlog") {
			logged += n
		}
		if logged < 1800 || logged > 2000 {
			t.Errorf("%d values in the log", logged)
		}
		if len(kept) != 2 || kept[1].Planned < 2000 {
			t.Errorf("figures %+v", kept)
		}
		if len(seconds) != 2 || seconds[0].Second != 0 || seconds[1].Second != 1 || seconds[1].Rows < 900 || seconds[1].LagP50 == 0 || seconds[1].ReadLagMax == 0 {
			t.Errorf("seconds %+v", seconds)
		}
		if _, err := r.Close(); err != nil || len(kept) != 3 || kept[2].Planned != 2500 || len(seconds) != 3 {
			t.Errorf("at the end: %v, %d figures, %d seconds", err, len(kept), len(seconds))
		}
	})
}

func TestRecordingWithoutItsFiles(t *testing.T) {
	gone := errors.New("read-only file system")
	if _, err := NewRecording(time.Now(), Sinks{Logs: func(string) (io.WriteCloser, error) { return nil, gone }}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

// BenchmarkRecording is what a row costs, in CPU time of the process: all of the recording, and making its instants. Rows come
// as fast as they are written, a chunk at a time, as the pipe is empty in a run.
func BenchmarkRecording(b *testing.B) {
	for _, kept := range []string{"none", "all"} {
		for _, names := range []int{1, 50} {
			b.Run(fmt.Sprintf("results=%s/names=%d", kept, names), func(b *testing.B) { benchRecording(b, kept == "all", names) })
		}
	}
}

func benchRecording(b *testing.B, rows bool, names int) {
	dir := b.TempDir()
	written, tapped := make(chan struct{}, 1), 0
	to := Sinks{Logs: func(name string) (io.WriteCloser, error) { return os.Create(filepath.Join(dir, name)) },
		Tap: func(rows []traffic.Result) {
			if tapped += len(rows); tapped%chunkRows == 0 {
				written <- struct{}{}
			}
		}}
	if rows {
		file, err := os.Create(filepath.Join(dir, "results.arrows"))
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		to.Rows = file
	}
	r, err := NewRecording(time.Now(), to)
	if err != nil {
		b.Fatal(err)
	}
	const batch, gap = 64, 12_500 * time.Nanosecond // 80,000 a second
	random := rand.New(rand.NewPCG(7, 8))
	pool := make([]traffic.Result, 64*batch)
	for i := range pool {
		which := random.IntN(names)
		pool[i] = traffic.Result{ID: ID(1, uint64(i)), Method: "GET", Path: fmt.Sprint("/items/", which), Phase: traffic.PhaseStage, Block: -1, Outcome: traffic.OK,
			Status: 200, RequestBytes: 70, ResponseBytes: 850 + int64(which), Conn: random.IntN(50), ReadLag: time.Duration(random.IntN(20e3))}
		if names > 1 {
			pool[i].Name = fmt.Sprint("name-", which)
		}
	}
	at, done := 0, 0
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		part := pool[at : at+batch]
		for i := range part {
			due := gap * time.Duration(done+i)
			took := 100*time.Microsecond + time.Duration(random.Uint64()>>47)
			part[i].Due, part[i].Ready, part[i].Sent = due, due-1000, due+30_000
			part[i].FirstByte, part[i].LastByte, part[i].End = due+took, due+took+2000, due+took+2000
		}
		r.Record(part)
		if at, done = (at+batch)%len(pool), done+batch; done%chunkRows == 0 {
			<-written
		}
	}
	if _, err := r.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(done), "cpu-ns/row")
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
