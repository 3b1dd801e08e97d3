// Package formats reads requests from the files that other programs write (HAR, access logs, GoReplay, vegeta) and writes
// three of these formats. Nothing is guessed: an entry that does not hold the whole request is an error, never a request.
//
// Every reader gives a sequence to be ranged over once, out of a plain, a gzip or a zstd stream. An *EntryError is of one entry
// and says under which cause to count it; reading goes on behind it, unless it wraps ErrFatal or is the last. Requests come in
// the order of the file, which need not be that of their times (an access log is written at the end of each request): At counts
// from the file's first entry and is negative for a request that began before it, so that the caller sorts and takes the
// earliest as zero. A log whose stamps are whole seconds gives whole seconds: nothing is spread over the second.
package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/klauspost/compress/zstd"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// maxEntry bounds an entry, and so what a reader holds: bytes of a line, of a GoReplay record, of a HAR's entry.
const maxEntry = 64 << 20

// maxHead bounds a request's headers, which take far more memory than file.
const maxHead = 1 << 20

// Requests are what a source holds, in the order of the file.
type Requests = iter.Seq2[traffic.Request, error]

// Options say what a source cannot.
type Options struct {
	Host     string // the authority of requests that name none
	Scheme   string // "http" or "https", where the source does not tell; "http" where empty
	Bodyless bool   // let requests through, without a body, whose body the source does not hold
	// Open opens the body file that a vegeta target names. Where it is nil such targets are errors.
	Open func(name string) (io.ReadCloser, error)
	// Began, where it is not nil, gets the time that At counts from, before the first request is given. Vegeta's targets have none.
	Began *time.Time
}

func (o Options) scheme() string {
	if o.Scheme == "" {
		return "http"
	}
	return o.Scheme
}

// ErrFatal is wrapped by the error of a file of which nothing further can be used.
var ErrFatal = errors.New("the file cannot be used")

// EntryError tells why one entry of a file gives no request, or (from a writer) why a request cannot be written in a format.
type EntryError struct {
	Where string         // "line 3", "entry 7"; empty where a request could not be written
	Cause exchange.Cause // what it is to be counted as
	Msg   string
}

func (e *EntryError) Error() string {
	if e.Where == "" {
		return e.Msg
	}
	return e.Where + ": " + e.Msg
}

func refuse(cause exchange.Cause, format string, args ...any) error {
	return &EntryError{Cause: cause, Msg: fmt.Sprintf(format, args...)}
}

// at puts a place before what refuse made.
func at(where string, number int, err error) error {
	var e *EntryError
	if errors.As(err, &e) {
		e.Where = fmt.Sprintf("%s %d", where, number)
	}
	return err
}

func fatal(where string, number int, err error) error {
	return fmt.Errorf("%s %d: %w: %w", where, number, ErrFatal, err)
}

// ended tells how a stream ended early: cut, which leaves what came before usable, or broken.
func ended(where string, number int, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return at(where, number, refuse(exchange.FileTruncated, "the file ends within it: it was cut"))
	}
	return fatal(where, number, err)
}

// plain unpacks gzip (RFC 1952) and zstd (RFC 8878), known by their first bytes, and passes over a byte order mark. The func
// frees what unpacking took.
func plain(r io.Reader) (*bufio.Reader, func(), error) {
	b, done := bufio.NewReaderSize(r, 64<<10), func() {}
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: gzip: %w", ErrFatal, err)
		}
		b = bufio.NewReaderSize(z, 64<<10)
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxEntry))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: zstd: %w", ErrFatal, err)
		}
		b, done = bufio.NewReaderSize(z, 64<<10), z.Close
	}
	if head, _ = b.Peek(3); string(head) == "\ufeff" {
		b.Discard(3) // it was peeked at: it is there
	}
	return b, done, nil
}

// reading unpacks r for a reader, which says through yield what it finds.
func reading(r io.Reader, read func(b *bufio.Reader, yield func(traffic.Request, error) bool)) Requests {
	return func(yield func(traffic.Request, error) bool) {
		b, done, err := plain(r)
		if err != nil {
			yield(traffic.Request{}, err)
			return
		}
		defer done()
		read(b, yield)
	}
}

// lines reads a file by line. The line is valid until the next call.
type lines struct {
	r      *bufio.Reader
	number int // of the line that next gave, from 1
	long   []byte
}

var errLong = errors.New("too long")

// next gives a line without its end, io.EOF behind the last one and errLong for a line beyond maxEntry, which it passes over.
func (l *lines) next() ([]byte, error) {
	l.number++
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.gather(line)
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// gather reads on in a line that is longer than the reader's buffer.
func (l *lines) gather(line []byte) ([]byte, error) {
	l.long = append(l.long[:0], line...)
	for length := len(line); ; {
		part, err := l.r.ReadSlice('\n')
		if length += len(part); length <= maxEntry {
			l.long = append(l.long, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if length > maxEntry && (err == nil || errors.Is(err, io.EOF)) {
			l.long = nil
			return nil, errLong
		}
		return l.long, err
	}
}

// readLines makes a request of each line that is not empty.
func readLines(r io.Reader, parse func(line []byte) (traffic.Request, error)) Requests {
	return reading(r, func(b *bufio.Reader, yield func(traffic.Request, error) bool) {
		for l := (lines{r: b}); ; {
			line, err := l.next()
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, errLong):
				err = refuse(exchange.LinesUnreadable, "longer than %d MiB", maxEntry>>20)
			case err != nil:
				yield(traffic.Request{}, ended("line", l.number, err))
				return
			case len(bytes.TrimSpace(line)) == 0:
				continue
			}
			var request traffic.Request
			if err == nil {
				request, err = parse(line)
			}
			if err != nil {
				request = traffic.Request{}
			}
			if !yield(request, at("line", l.number, err)) {
				return
			}
		}
	})
}

// origin is the time of a file's first entry.
type origin struct {
	zero time.Time
	set  bool
}

// The years that stamps may be of: what lies outside is no time of a request, and would not fit a time.Duration.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

func (o *origin) since(t time.Time, began *time.Time) (time.Duration, error) {
	if t.Before(firstTime) || t.After(lastTime) {
		return 0, refuse(exchange.LinesUnreadable, "its time, %s, is not between 1970 and 2200", t.Format(time.RFC3339))
	}
	if !o.set {
		o.zero, o.set = t, true
		if began != nil {
			*began = t
		}
	}
	return t.Sub(o.zero), nil
}
