package formats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// A GoReplay file (protocol.go and input_file.go of GoReplay 1.3) is a sequence of records, each followed by a line of three
// monkeys. A record is a line "type id time latency", times in ns, and an HTTP/1 message: 1 a request, 2 its answer, 3 the answer
// of a replay. id joins them. time is when the message began, latency how long it itself lasted.
const gorSeparator = "🐵🙈🙉"

// How many requests, of how many bytes, wait for their answers: whichever is full lets the oldest go without.
const (
	gorWindow      = 4096
	gorWindowBytes = maxEntry
)

// ReadGor reads a GoReplay file. A request is given as soon as its answer is found, and without one where that is not among the
// next gorWindow requests; an answer to a request that does not wait is an error, and answers of a replay are passed over.
// GoReplay does not tell connections apart, so Session is empty.
func ReadGor(r io.Reader, o Options) Requests {
	return reading(r, func(b *bufio.Reader, yield func(traffic.Request, error) bool) {
		g := gorReader{lines: lines{r: b}, options: o, byID: map[string]*gorRequest{}}
		g.read(yield)
	})
}

type gorReader struct {
	lines   lines
	options Options
	record  []byte
	begin   int // the record's first line
	origin  origin
	waiting []*gorRequest // in the order of the file; nil where it was answered
	byID    map[string]*gorRequest
	bytes   int
}

type gorRequest struct {
	id      string
	start   int64 // ns
	request traffic.Request
	size    int
	given   bool
}

func (g *gorReader) read(yield func(traffic.Request, error) bool) {
	for {
		err := g.next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, ErrFatal) {
			yield(traffic.Request{}, err)
			return
		}
		if err == nil {
			err = g.take(yield)
		}
		if err == errStop {
			return
		}
		if err != nil && !yield(traffic.Request{}, at("line", g.begin, err)) {
			return
		}
		if !g.shrink(gorWindow, gorWindowBytes, yield) {
			return
		}
	}
	g.shrink(0, 0, yield)
}

// errStop tells that the caller wants no more.
var errStop = errors.New("stop")

// next reads a record, without its separator, into g.record.
func (g *gorReader) next() error {
	g.record, g.begin = g.record[:0], g.lines.number+1
	if cap(g.record) > 1<<20 {
		g.record = nil
	}
	long, lineStart := false, true
	for {
		line, err := g.lines.r.ReadSlice('\n')
		atStart := lineStart
		if lineStart = err == nil; lineStart {
			g.lines.number++
		}
		long = long || len(g.record)+len(line) > maxEntry
		switch {
		case err != nil && err != bufio.ErrBufferFull && err != io.EOF:
			if errors.Is(err, io.ErrUnexpectedEOF) {
				g.record = append(g.record, "cut"...)
				return g.last()
			}
			return fatal("line", g.lines.number+1, err)
		case atStart && string(bytes.TrimSuffix(line, []byte("\n"))) == gorSeparator:
			if long {
				return refuse(exchange.LinesUnreadable, "a record longer than %d MiB", maxEntry>>20)
			}
			g.record = bytes.TrimSuffix(g.record, []byte("\n"))
			return nil
		case err == io.EOF:
			g.record = append(g.record, line...)
			return g.last()
		case !long:
			g.record = append(g.record, line...)
		}
	}
}

// last judges what follows the last separator.
func (g *gorReader) last() error {
	if len(bytes.TrimSpace(g.record)) == 0 {
		return io.EOF
	}
	return refuse(exchange.FileTruncated, "the file ends within the record that begins here: it was cut")
}

// take puts a request among those that wait, or gives one its answer.
func (g *gorReader) take(yield func(traffic.Request, error) bool) error {
	meta, message, _ := bytes.Cut(g.record, []byte("\n"))
	kind, id, start, lasted, err := gorMeta(string(meta))
	if err != nil {
		return err
	}
	switch kind {
	case "1":
		return g.wait(id, start, message)
	case "2":
		return g.answer(id, start+lasted, message, yield)
	}
	return nil
}

func gorMeta(line string) (kind, id string, start, lasted int64, err error) {
	fields := strings.Fields(line)
	if len(fields) < 3 || len(fields) > 4 || !slices.Contains([]string{"1", "2", "3"}, fields[0]) {
		return "", "", 0, 0, refuse(exchange.LinesUnreadable, "%.80q is not a GoReplay record's \"type id time latency\"", line)
	}
	start, err = strconv.ParseInt(fields[2], 10, 64)
	if err == nil && len(fields) == 4 {
		lasted, err = strconv.ParseInt(fields[3], 10, 64)
	}
	if err != nil || start < 0 || lasted < 0 || start > lastTime.UnixNano() || lasted > lastTime.UnixNano() {
		return "", "", 0, 0, refuse(exchange.LinesUnreadable, "%.80q has no times in ns", line)
	}
	return fields[0], fields[1], start, lasted, nil
}

func (g *gorReader) wait(id string, start int64, message []byte) error {
	request, err := gorParse(message, g.options)
	if err != nil {
		return err
	}
	if request.At, err = g.origin.since(time.Unix(0, start), g.options.Began); err != nil {
		return err
	}
	e := &gorRequest{id: id, start: start, request: request, size: len(message)}
	g.waiting, g.byID[id] = append(g.waiting, e), e
	g.bytes += e.size
	return nil
}

func gorParse(message []byte, o Options) (traffic.Request, error) {
	start, headers, rest, ok := parseHead(message)
	method, target, version, three := requestLine(start)
	if !ok || !three || !strings.HasPrefix(version, "HTTP/1.") {
		return traffic.Request{}, refuse(exchange.RequestsMalformed, "%.80q does not begin a whole HTTP/1 request", start)
	}
	body, err := unframe(headers, rest)
	if err != nil {
		return traffic.Request{}, err
	}
	r := traffic.Request{Method: method, Scheme: o.scheme(), Headers: headers, Body: bytes.Clone(body)}
	r.Authority, _ = lookup(headers, "host")
	setTarget(&r, target)
	return r, check(&r, o)
}

// requestLine splits "GET /path HTTP/1.1".
func requestLine(line string) (method, target, version string, ok bool) {
	method, rest, _ := strings.Cut(line, " ")
	i := strings.LastIndexByte(rest, ' ')
	if i < 0 {
		return method, rest, "", false
	}
	return method, rest[:i], rest[i+1:], true
}

func (g *gorReader) answer(id string, end int64, message []byte, yield func(traffic.Request, error) bool) error {
	e := g.byID[id]
	if e == nil {
		return refuse(exchange.ResponsesWithoutRequest, "an answer to no request before it")
	}
	start, headers, rest, ok := parseHead(message)
	_, after, _ := strings.Cut(start, " ")
	code, _, _ := strings.Cut(after, " ")
	status, err := strconv.Atoi(code)
	if !ok || err != nil || status < 100 || status > 999 || end < e.start {
		return refuse(exchange.ResponsesMalformed, "%.80q does not begin a whole answer", start)
	}
	e.request.Response = &traffic.Response{Status: status, Latency: time.Duration(end - e.start)}
	// An answer to HEAD says a length and has no body: it does not unframe, and keeps an unknown digest.
	if body, err := unframe(headers, rest); err == nil && len(body) > 0 {
		e.request.Response.BodySHA256 = digest(body)
	}
	if !g.give(e, yield) {
		return errStop
	}
	return nil
}

func (g *gorReader) give(e *gorRequest, yield func(traffic.Request, error) bool) bool {
	if g.byID[e.id] == e {
		delete(g.byID, e.id)
	}
	g.bytes -= e.size
	request := e.request
	e.given, e.request = true, traffic.Request{}
	return yield(request, nil)
}

// shrink gives the oldest of those that wait until no more than n of them, and of bytes, are left.
func (g *gorReader) shrink(n, size int, yield func(traffic.Request, error) bool) bool {
	for len(g.waiting) > 0 && (g.waiting[0].given || len(g.byID) > n || len(g.waiting) > 2*n || g.bytes > size) {
		e := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		if !e.given && !g.give(e, yield) {
			return false
		}
	}
	return true
}

// GorWriter writes a GoReplay file of requests. What was captured of their answers is not written: it is a status and a digest,
// and a record would have to hold a whole answer. Sessions are not written either, and times count from 1970.
type GorWriter struct {
	w     *bufio.Writer
	count int
}

// NewGorWriter writes to w, which stays the caller's to close.
func NewGorWriter(w io.Writer) *GorWriter { return &GorWriter{w: bufio.NewWriter(w)} }

// Write adds a request, as HTTP/1.1 with a length. An *EntryError tells that the format cannot hold it.
func (g *GorWriter) Write(r *traffic.Request) error {
	if err := writable(r); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "1 %024x %d 0\n%s %s HTTP/1.1\r\nHost: %s\r\n", g.count+1, int64(r.At), r.Method, r.Path, r.Authority)
	for _, h := range r.Headers {
		if !traffic.OfConnection(strings.ToLower(h[0])) {
			fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
		}
	}
	if r.HasLength() {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	b.WriteString("\n" + gorSeparator + "\n")
	if i := bytes.Index(b.Bytes(), []byte("\n"+gorSeparator+"\n")); i+len(gorSeparator)+2 < b.Len() {
		return refuse(exchange.NotReplayable, "%s %s: its body holds GoReplay's separator", r.Method, r.Path)
	}
	g.count++
	_, err := g.w.Write(b.Bytes())
	return err
}

// Close writes what is buffered.
func (g *GorWriter) Close() error { return g.w.Flush() }

// writable refuses requests that a message or a URL cannot hold, however they came to be.
func writable(r *traffic.Request) error {
	if r.At < 0 {
		return refuse(exchange.NotReplayable, "%s %s: it is before the start of the capture", r.Method, r.Path)
	}
	plain := *r
	plain.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h traffic.Header) bool { return strings.HasPrefix(h[0], ":") })
	return check(&plain, Options{})
}
