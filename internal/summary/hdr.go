package summary

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/zlib"

	"umbra/internal/traffic"
)

// The histograms that a run has, in nanoseconds. Bound ones hold those values of their metric that are lower bounds only:
// of errors, time-outs and unfinished requests.
const (
	response = iota
	service
	lag
	readLag
	responseBound
	serviceBound
	metrics
)

// Metrics are their names, and their files' without the extension.
var Metrics = [metrics]string{"response", "service", "lag", "read-lag", "response-bound", "service-bound"}

// Open makes a file of a run's histograms, as "response.hlog".
type Open func(name string) (io.WriteCloser, error)

// scale divides values in .hgrm tables and an interval's maximum: nanoseconds become milliseconds.
const scale = 1e6

// logs writes HdrHistogram interval logs (format 1.3), one for each metric. It keeps its buffers, so that an interval costs
// no memory.
type logs struct {
	start time.Time
	open  Open
	files [metrics]io.WriteCloser
	zlib  *zlib.Writer // Huffman coding alone: what repeats in counts is runs of zeros, and those are one number each
	raw   []byte
	small bytes.Buffer
	line  []byte
	err   error // the first one; nothing is written behind it
}

func newLogs(start time.Time, open Open) (*logs, error) {
	l := &logs{start: start, open: open}
	var err error
	if l.zlib, err = zlib.NewWriterLevel(&l.small, zlib.HuffmanOnly); err != nil {
		return nil, err
	}
	at := float64(start.UnixMilli()) / 1000
	head := fmt.Sprintf("#[Histogram log format version 1.3]\n#[StartTime: %.3f (seconds since epoch), %s]\n#[BaseTime: %.3f (seconds since epoch)]\n"+
		"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n", at, start.UTC().Format(time.RFC3339), at)
	for m, name := range Metrics {
		if l.files[m], err = open(name + ".hlog"); err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.put(m, []byte(head))
	}
	if l.err != nil {
		return nil, l.close()
	}
	return l, nil
}

func (l *logs) put(metric int, data []byte) {
	if l.err == nil {
		_, l.err = l.files[metric].Write(data)
	}
}

// interval writes a histogram that was filled for a second.
func (l *logs) interval(metric int, tag string, second int64, h *histogram) {
	if h.n == 0 {
		return
	}
	l.line = fmt.Appendf(l.line[:0], "Tag=%s,%.3f,%.3f,%.3f,", tag, float64(second), 1.0, float64(h.max())/scale)
	l.line = base64.StdEncoding.AppendEncode(l.line, l.compressed(h))
	l.put(metric, append(l.line, '\n'))
}

// compressed is the compressed V2 encoding: a mark, a length, and a zlib stream.
func (l *logs) compressed(h *histogram) []byte {
	l.raw = h.appendV2(l.raw[:0])
	l.small.Reset()
	l.small.Write(make([]byte, 8))
	l.zlib.Reset(&l.small)
	_, err := l.zlib.Write(l.raw)
	if err := errors.Join(err, l.zlib.Close()); err != nil && l.err == nil {
		l.err = err
	}
	out := l.small.Bytes()
	binary.BigEndian.PutUint32(out, compressedCookie)
	binary.BigEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

// tables writes the percentile tables.
func (l *logs) tables(totals *[metrics]histogram) {
	for m, name := range Metrics {
		if l.err != nil {
			return
		}
		var f io.WriteCloser
		if f, l.err = l.open(name + ".hgrm"); l.err == nil {
			_, err := totals[m].hdr().PercentilesPrint(f, 5, scale)
			l.err = errors.Join(err, f.Close())
		}
	}
}

// close closes the logs and gives the first error that they had.
func (l *logs) close() error {
	err := l.err
	for _, f := range l.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// tag is what an interval is tagged with: the phase, and a colon and the name where there is one. A tag must have no comma, no
// space and no line end: all in the name but letters, digits and "-_.~" is percent-encoded (RFC 3986).
func tag(phase traffic.Phase, name string) string {
	if name == "" {
		return escape(string(phase))
	}
	return escape(string(phase)) + ":" + escape(name)
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
