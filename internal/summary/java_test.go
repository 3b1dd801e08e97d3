//go:build e2e

package summary

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"umbra/internal/outside"
	"umbra/internal/traffic"
)

// The reference implementation, and its SHA-256.
const (
	library    = "org.hdrhistogram:HdrHistogram:2.2.2"
	librarySum = "22d1d4316c4ec13a68b559e98c8256d69071593731da96136640f864fa14fad8"
)

// played are rows of several seconds, with a tail, errors and a stretch without rows; names is how many mix entries they have.
func played(names int) (rows []traffic.Result) {
	random := rand.New(rand.NewPCG(5, uint64(names)))
	for i := range 20_000 {
		due := time.Duration(i) * 300 * time.Microsecond
		if i >= 10_000 {
			due += 3 * time.Second
		}
		r := ok(due, time.Duration(2e6*math.Exp(0.8*random.NormFloat64())))
		if r.Name = ""; names > 0 {
			r.Name = []string{"list", "buy now, €"}[i%names]
		}
		if i%997 == 0 {
			r.Outcome, r.Error, r.Status = traffic.Timeout, "timeout_headers", 0
		}
		rows = append(rows, r)
	}
	return rows
}

// HdrHistogram's own processor reads our logs: its counts and percentiles are those of the figures, and the table that it makes for its
// plotter is the one that we write.
func TestE2EHdrHistogramReadsTheLogs(t *testing.T) {
	java, jar := outside.Program(t, "java", "default-jre-headless"), outside.Artifact(t, library, librarySum)
	process := func(args ...string) string {
		return outside.Run(t, java, append([]string{"-cp", jar, "org.HdrHistogram.HistogramLogProcessor"}, args...)...)
	}
	for names := range 3 {
		dir, s := t.TempDir(), New()
		if err := s.LogTo(time.UnixMilli(1700000000250), func(name string) (io.WriteCloser, error) { return os.Create(filepath.Join(dir, name)) }); err != nil {
			t.Fatal(err)
		}
		s.Add(played(names))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f := s.Figures()
		want := map[string]Latency{"stage": f.Response}
		for _, g := range f.Names {
			want["stage:"+escape(g.Name)] = g.Response
			delete(want, "stage")
		}
		log := filepath.Join(dir, "response.hlog")
		listed := process("-i", log, "-listtags")
		for tag, latency := range want {
			if !strings.Contains(listed, tag+"\n") {
				t.Errorf("%s is not among the tags:\n%s", tag, listed)
			}
			out := filepath.Join(dir, "java")
			process("-i", log, "-tag", tag, "-o", out)
			if got := totals(t, out); got != said(latency) {
				t.Errorf("%d names, %s: HdrHistogram says %s, the figures say %s", names, tag, got, said(latency))
			}
			if len(want) == 1 {
				sameTable(t, readTable(t, out+".hgrm"), readTable(t, filepath.Join(dir, "response.hgrm")))
			}
		}
	}
}

// said is what the last line of an interval percentile log says of a latency, in milliseconds.
func said(l Latency) string {
	at := func(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }
	return strings.Join([]string{strconv.FormatInt(l.N, 10), at(l.P50), at(l.P90), at(l.P99), at(l.P999), at(l.Max)}, " ")
}

var totalsLine = regexp.MustCompile(`T:(\d+) \( *([0-9.]+) +([0-9.]+) +([0-9.]+) +([0-9.]+) +[0-9.]+ +([0-9.]+) \)\n$`)

func totals(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m := totalsLine.FindStringSubmatch(string(data))
	if m == nil {
		t.Fatalf("no totals in %s", data)
	}
	return strings.Join(m[1:], " ")
}

// table is a percentile table as the plotter reads it.
type table struct {
	head   []string    // the names of its columns
	rows   [][]float64 // value, percentile, count
	footer []float64   // mean, deviation, maximum, count, buckets, sub-buckets
}

var number = regexp.MustCompile(`= +([0-9.]+)`)

func readTable(t *testing.T, name string) (out table) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#[Overall") || strings.HasPrefix(line, "#[StartTime"):
		case strings.HasPrefix(line, "#"):
			for _, m := range number.FindAllStringSubmatch(line, -1) {
				out.footer = append(out.footer, parse(t, m[1]))
			}
		case out.head == nil:
			out.head = fields
		default:
			out.rows = append(out.rows, []float64{parse(t, fields[0]), parse(t, fields[1]), parse(t, fields[2])})
		}
	}
	return out
}

func parse(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sameTable(t *testing.T, want, got table) {
	t.Helper()
	if strings.Join(want.head, " ") != strings.Join(got.head, " ") || len(want.rows) != len(got.rows) || len(want.footer) != len(got.footer) || len(want.rows) < 20 {
		t.Fatalf("columns %v, %d rows, %d figures; want %v, %d, %d", got.head, len(got.rows), len(got.footer), want.head, len(want.rows), len(want.footer))
	}
	for i := range want.rows {
		for c, w := range want.rows[i] {
			if math.Abs(got.rows[i][c]-w) > 0.0011 {
				t.Errorf("row %d is %v, want %v", i, got.rows[i], want.rows[i])
			}
		}
	}
	for i, w := range want.footer {
		if math.Abs(got.footer[i]-w) > 0.0011*max(1, w) {
			t.Errorf("the figure %d of the footer is %v, want %v", i, got.footer[i], w)
		}
	}
}
