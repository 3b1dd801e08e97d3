package traffic

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Format is the version that a traffic file's first line names.
const Format = "traffic/v1"

// maxLine bounds a line of a traffic file, and so what a reader holds: a body of 190 MB fits.
const maxLine = 256 << 20

// FileHeader is the first line of a traffic file.
type FileHeader struct {
	Umbra  string           `json:"umbra"` // Format
	Source string           `json:"source"`
	Loss   map[string]int64 `json:"loss"` // what the capture lost, counted by cause

	Start    int64            `json:"start_unix_ns,omitempty"` // what at_ns counts from; 0 where unknown
	Requests int64            `json:"requests,omitempty"`      // in the file; 0 where unknown
	Redacted map[string]int64 `json:"redacted,omitempty"`      // how many values each rule replaced
	Partial  bool             `json:"partial,omitempty"`       // the capture did not come to its end, so that none of the above is whole
}

// requestLine is a line of a traffic file.
type requestLine struct {
	At        int64         `json:"at_ns"`
	Session   string        `json:"session,omitempty"`
	Method    string        `json:"method"`
	Scheme    string        `json:"scheme"`
	Authority string        `json:"authority"`
	Path      string        `json:"path"`
	Headers   []Header      `json:"headers"`
	Body      []byte        `json:"body,omitempty"`
	Response  *responseLine `json:"response,omitempty"`
}

type responseLine struct {
	Status     int    `json:"status"`
	Latency    int64  `json:"latency_ns"`
	BodySHA256 string `json:"body_sha256,omitempty"`
}

// Writer writes a traffic file: JSON Lines in one zstd frame, a header first, then a request a line. It is not safe
// for concurrent use.
type Writer struct {
	zstd *zstd.Encoder
	line []byte
}

// NewWriter writes the header.
func NewWriter(w io.Writer, source string, loss map[string]int64) (*Writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	header, err := headerLine(FileHeader{Source: source, Loss: loss})
	if err != nil {
		return nil, err
	}
	_, err = z.Write(header)
	return &Writer{zstd: z}, err
}

// headerLine is the first line of a file.
func headerLine(h FileHeader) ([]byte, error) {
	h.Umbra = Format
	if h.Loss == nil {
		h.Loss = map[string]int64{}
	}
	line, err := json.Marshal(h)
	return append(line, '\n'), err
}

// Write adds a request.
func (w *Writer) Write(r *Request) error {
	w.line = AppendRequest(w.line[:0], r)
	_, err := w.zstd.Write(w.line)
	return err
}

// Flush puts every request so far into the file: what a kill cannot take.
func (w *Writer) Flush() error { return w.zstd.Flush() }

// Close ends the frame. It does not close the file.
func (w *Writer) Close() error { return w.zstd.Close() }

// Reader reads a traffic file as a stream.
type Reader struct {
	Header FileHeader
	zstd   *zstd.Decoder
	lines  *bufio.Reader
	line   int
}

// NewReader reads the header. Close the Reader when it is done with.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxLine), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	t := &Reader{zstd: z, lines: bufio.NewReaderSize(z, 64<<10)}
	if err := t.readHeader(); err != nil {
		z.Close()
		return nil, err
	}
	return t, nil
}

func (r *Reader) readHeader() error {
	line, err := r.next()
	if err != nil {
		return fmt.Errorf("not a traffic file (zstd JSON Lines): %w", err)
	}
	if err := json.Unmarshal(line, &r.Header); err != nil || r.Header.Umbra != Format {
		return fmt.Errorf(`line 1: not a traffic file: its first line must be {"umbra":%q,"source":…,"loss":{…}}`, Format)
	}
	return nil
}

// Close frees what reading took. It does not close the file.
func (r *Reader) Close() { r.zstd.Close() }

// Requests gives the requests, to be ranged over once. A bad line is an error that names it, and reading goes on
// behind it; an error that wraps ErrTruncated follows the last whole line of a file that was cut.
func (r *Reader) Requests() iter.Seq2[Request, error] {
	return func(yield func(Request, error) bool) {
		for {
			line, err := r.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Request{}, err)
				return
			}
			if len(line) == 0 {
				continue
			}
			request, err := parseRequest(line)
			if err != nil {
				err = fmt.Errorf("line %d: %w", r.line, err)
			}
			if !yield(request, err) {
				return
			}
		}
	}
}

// next gives the next line without its end; io.EOF behind the last one.
func (r *Reader) next() ([]byte, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			r.line++
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > maxLine {
				return nil, fmt.Errorf("line %d: longer than %d MiB", r.line+1, maxLine>>20)
			}
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, io.EOF
		default: // a line without its end was cut, and so was a frame
			return nil, fmt.Errorf("line %d: %w (%w)", r.line+1, ErrTruncated, noEOF(err))
		}
	}
}

// noEOF keeps the cut of a line from looking like the end of the file.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseRequest(line []byte) (Request, error) {
	var l requestLine
	if err := json.Unmarshal(line, &l); err != nil {
		return Request{}, err
	}
	switch {
	case l.Method == "":
		return Request{}, errors.New(`"method" is missing`)
	case l.Path == "":
		return Request{}, errors.New(`"path" is missing`)
	case l.At < 0:
		return Request{}, fmt.Errorf(`"at_ns" is %d: it counts from the start of the capture`, l.At)
	}
	request := Request{time.Duration(l.At), l.Session, l.Method, l.Scheme, l.Authority, l.Path, l.Headers, l.Body, nil}
	if l.Response != nil {
		request.Response = &Response{l.Response.Status, time.Duration(l.Response.Latency), l.Response.BodySHA256}
	}
	return request, nil
}
