package summary

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

// folder keeps files in memory.
type folder map[string]*bytes.Buffer

type file struct{ *bytes.Buffer }

func (file) Close() error { return nil }

func (f folder) open(name string) (io.WriteCloser, error) {
	f[name] = &bytes.Buffer{}
	return file{f[name]}, nil
}

// intervals reads a log with HdrHistogram's own reader.
func (f folder) intervals(t *testing.T, name string) (out []*hdrhistogram.Histogram) {
	t.Helper()
	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(f[name].Bytes()))
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return out
		}
		out = append(out, h)
	}
}

// durations spread over all magnitudes, with the ends of buckets and of the range among them.
func durations(random *rand.Rand, n int) []time.Duration {
	out := []time.Duration{0, 1, 2047, 2048, 2049, 4095, 4096, time.Duration(highest) - 1, time.Duration(highest), 2 * time.Hour, -5}
	for range n {
		out = append(out, time.Duration(random.Int64N(1<<(1+random.IntN(41)))))
	}
	return out
}

// The library's histogram is the law: counts, quantiles, maximum, and what its decoder makes of our encoding.
func TestHistogramAgainstTheLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		var ours, half histogram
		theirs := hdrhistogram.New(lowest, highest, digits)
		for i, d := range durations(random, n*n) {
			if i%2 == 0 {
				ours.add(d)
			} else {
				half.add(d)
			}
			if err := theirs.RecordValue(min(max(int64(d), 0), highest)); err != nil {
				t.Fatal(err)
			}
		}
		ours.merge(&half)
		if !ours.hdr().Equals(theirs) {
			t.Fatalf("%d values: the counts differ", ours.n)
		}
		percents := []float64{0.001, 1, 50, 90, 99, 99.9, 100}
		for i, got := range ours.quantiles(percents...) {
			if want := theirs.ValueAtQuantile(percents[i]); int64(got) != want {
				t.Errorf("p%g = %d, want %d", percents[i], got, want)
			}
		}
		if int64(ours.max()) != theirs.Max() {
			t.Errorf("max %d, want %d", ours.max(), theirs.Max())
		}
		want, err := theirs.EncodeV2()
		if err != nil {
			t.Fatal(err)
		}
		back, err := hdrhistogram.Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		f := folder{}
		l, err := newLogs(time.Unix(1, 0), f.open)
		if err != nil {
			t.Fatal(err)
		}
		l.interval(response, "x", 0, &ours)
		if got := f.intervals(t, "response.hlog"); len(got) != 1 || !got[0].Equals(back) {
			t.Errorf("%d values: the encoding decodes to something else", ours.n)
		}
		ours.clear()
		if ours.n != 0 || ours.hdr().TotalCount() != 0 {
			t.Error("not cleared")
		}
	}
}

func logged(t *testing.T, rows []traffic.Result) (folder, Figures) {
	t.Helper()
	f, s := folder{}, New()
	if err := s.LogTo(time.UnixMilli(1700000000250), f.open); err != nil {
		t.Fatal(err)
	}
	s.Add(rows)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f, s.Figures()
}

// The logs are read by HdrHistogram's own reader, and their sum is what the figures and the table say.
func TestLogs(t *testing.T) {
	f, figures := logged(t, rows())
	counts, sum := map[string]int64{}, hdrhistogram.New(lowest, highest, digits)
	for _, interval := range f.intervals(t, "response.hlog") {
		counts[interval.Tag()] += interval.TotalCount()
		if strings.HasPrefix(interval.Tag(), "stage") {
			sum.Merge(interval)
		}
		if length := interval.EndTimeMs() - interval.StartTimeMs(); length != 1000 || interval.StartTimeMs()%1000 != 250 {
			t.Errorf("an interval from %d to %d ms", interval.StartTimeMs(), interval.EndTimeMs())
		}
	}
	if diff := cmp.Diff(map[string]int64{"warmup:get": 1, "stage:get": 102}, counts); diff != "" {
		t.Error(diff)
	}
	if got, want := sum.ValueAtQuantile(99), int64(figures.Response.P99); got != want || sum.Max() != int64(figures.Response.Max) {
		t.Errorf("p99 of the log is %d, of the figures %d", got, want)
	}
	if table := f["response.hgrm"].String(); !strings.Contains(table, "Percentile") || !strings.Contains(table, "Total count    =          102") {
		t.Errorf("no percentile table:\n%s", table)
	}
	for _, name := range Metrics {
		if f[name+".hlog"] == nil || f[name+".hgrm"] == nil {
			t.Errorf("no files of %s", name)
		}
	}
}

// How many values of an interval are lower bounds is what the log beside says, for the same tag and interval.
func TestBounds(t *testing.T) {
	var rows []traffic.Result
	for i := range 30 {
		r := ok(time.Duration(i)*100*time.Millisecond, time.Millisecond)
		if i%3 == 0 {
			r.Outcome, r.Error, r.LastByte = traffic.Timeout, "timeout_headers", traffic.Never
		}
		rows = append(rows, r)
	}
	f, figures := logged(t, rows)
	all, bound := f.intervals(t, "response.hlog"), f.intervals(t, "response-bound.hlog")
	if len(all) != 3 || len(bound) != 3 {
		t.Fatalf("%d and %d intervals", len(all), len(bound))
	}
	for i := range all {
		if all[i].TotalCount() != 10 || bound[i].TotalCount() < 3 || bound[i].TotalCount() > 4 || all[i].StartTimeMs() != bound[i].StartTimeMs() || all[i].Tag() != bound[i].Tag() {
			t.Errorf("interval %d: %d values, %d bounds", i, all[i].TotalCount(), bound[i].TotalCount())
		}
	}
	if figures.Response.LowerBound != 10 || figures.Service.LowerBound != 10 || figures.Response.N != 30 {
		t.Errorf("%+v", figures.Response)
	}
}

// Names may have any character; a tag may not. Two routes of one name share its interval.
func TestTags(t *testing.T) {
	var rows []traffic.Result
	for _, name := range []string{"", "list", "a, b\nc", "ü+%:", "list"} {
		r := ok(0, time.Millisecond)
		r.Name, r.Route = name, fmt.Sprint("route ", len(rows))
		rows = append(rows, r)
	}
	f, _ := logged(t, rows)
	got := map[string]int64{}
	for _, interval := range f.intervals(t, "service.hlog") {
		if got[interval.Tag()] != 0 {
			t.Errorf("tag %q twice", interval.Tag())
		}
		got[interval.Tag()] = interval.TotalCount()
	}
	want := map[string]int64{"stage": 1, "stage:list": 2, "stage:a%2C%20b%0Ac": 1, "stage:%C3%BC%2B%25%3A": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// full is a disk that is full after some writes.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func (f *full) Close() error { return nil }

// A full disk is told by Close, and the figures go on.
func TestFullDisk(t *testing.T) {
	disk := &full{left: len(Metrics)}
	s := New()
	if err := s.LogTo(time.Unix(1, 0), func(string) (io.WriteCloser, error) { return disk, nil }); err != nil {
		t.Fatal(err)
	}
	s.Add(rows())
	if err := s.Close(); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
	if n := s.Figures().Planned; n != len(rows()) {
		t.Errorf("%d rows", n)
	}
	disk.left = 1
	if err := s.LogTo(time.Unix(1, 0), func(string) (io.WriteCloser, error) { return disk, nil }); !errors.Is(err, errFull) {
		t.Errorf("error %v at the start", err)
	}
}
