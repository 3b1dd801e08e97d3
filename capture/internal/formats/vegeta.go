package formats

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// vegetaTarget is a line of vegeta's JSON targets (lib/target.schema.json of vegeta 12).
type vegetaTarget struct {
	Method string       `json:"method"`
	URL    string       `json:"url"`
	Body   []byte       `json:"body,omitempty"`
	Header vegetaHeader `json:"header,omitempty"`
}

type vegetaHeader map[string][]string

// UnmarshalJSON bounds what the headers take.
func (h *vegetaHeader) UnmarshalJSON(b []byte) error {
	if len(b) > maxHead {
		return errHead
	}
	return json.Unmarshal(b, (*map[string][]string)(h))
}

var errHead = fmt.Errorf("its headers have more than %d MiB", maxHead>>20)

// ReadVegetaJSON reads vegeta targets in JSON, one a line. Targets have no times: At is 0 and the order is that of the file.
// Headers are in the order of their names.
func ReadVegetaJSON(r io.Reader, o Options) Requests {
	return readLines(r, func(line []byte) (traffic.Request, error) {
		var target vegetaTarget
		if err := json.Unmarshal(line, &target); err != nil {
			return traffic.Request{}, refuse(exchange.LinesUnreadable, `not a vegeta target, {"method":…,"url":…}: %v`, err)
		}
		request := traffic.Request{Method: target.Method, Body: target.Body}
		for name, values := range target.Header {
			for _, value := range values {
				request.Headers = append(request.Headers, traffic.Header{name, value})
			}
		}
		slices.SortStableFunc(request.Headers, func(a, b traffic.Header) int { return strings.Compare(a[0], b[0]) })
		return request, finishTarget(&request, target.URL, o)
	})
}

// finishTarget fills in what the URL says; a header Host overrides its host, as in vegeta.
func finishTarget(r *traffic.Request, url string, o Options) error {
	var ok bool
	if r.Scheme, r.Authority, r.Path, ok = splitURL(url); !ok {
		return refuse(exchange.LinesUnreadable, "%.80q is no http or https URL", url)
	}
	if host, ok := lookup(r.Headers, "host"); ok && host != "" {
		r.Authority = host
	}
	return check(r, o)
}

// ReadVegetaHTTP reads vegeta targets in its HTTP format: a line "METHOD URL", header lines, a line "@file" with the body, which
// Options.Open opens; an empty line, or the next target, ends a target; '#' begins a comment. Targets have no times: At is 0.
func ReadVegetaHTTP(r io.Reader, o Options) Requests {
	return reading(r, func(b *bufio.Reader, yield func(traffic.Request, error) bool) {
		v := vegetaReader{lines: lines{r: b}, options: o}
		for {
			request, err := v.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(request, err) || v.over {
				return
			}
		}
	})
}

type vegetaReader struct {
	lines   lines
	options Options
	ahead   string // the line that began the next target, where reading the last one came upon it
	over    bool   // nothing can be read any more
}

// next gives the next target; an error is behind the target that it is of.
func (v *vegetaReader) next() (traffic.Request, error) {
	first, err := v.line()
	for err == nil && (first == "" || first[0] == '#') {
		first, err = v.line()
	}
	if err != nil {
		return traffic.Request{}, err
	}
	number := v.lines.number
	method, url, _ := strings.Cut(first, " ")
	request := traffic.Request{Method: method}
	headErr := v.rest(&request)
	if v.over || errors.Is(headErr, ErrFatal) {
		return traffic.Request{}, headErr
	}
	if !beginsTarget(first) {
		headErr = at("line", number, refuse(exchange.LinesUnreadable, "%.80q is not \"METHOD URL\"", first))
	}
	if headErr == nil {
		headErr = at("line", number, finishTarget(&request, strings.TrimSpace(url), v.options))
	}
	if headErr != nil {
		return traffic.Request{}, headErr
	}
	return request, nil
}

// beginsTarget is vegeta's own rule: a word in capitals, then a space.
func beginsTarget(line string) bool {
	word, _, ok := strings.Cut(line, " ")
	return ok && word != "" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func (v *vegetaReader) line() (string, error) {
	if v.ahead != "" {
		line := v.ahead
		v.ahead = ""
		return line, nil
	}
	line, err := v.lines.next()
	if errors.Is(err, errLong) {
		return "", at("line", v.lines.number, refuse(exchange.LinesUnreadable, "longer than %d MiB", maxEntry>>20))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		v.over, err = true, ended("line", v.lines.number, err)
	}
	return string(bytes.TrimSpace(line)), err
}

// rest reads a target's headers and body. It reads to the target's end also where one of its lines is bad, and tells the first.
func (v *vegetaReader) rest(r *traffic.Request) (first error) {
	size := 0
	for {
		line, err := v.line()
		switch {
		case errors.Is(err, io.EOF):
			return first
		case v.over:
			return err
		case err != nil:
		case line == "":
			return first
		case beginsTarget(line):
			v.ahead = line
			return first
		case line[0] == '#':
			continue
		case line[0] == '@':
			r.Body, err = v.body(line[1:])
			err = at("line", v.lines.number, err)
			if first == nil {
				first = err
			}
			return first
		case size+len(line) > maxHead:
			err = at("line", v.lines.number, refuse(exchange.LinesUnreadable, "%v", errHead))
		default:
			size += len(line) + 2
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				err = at("line", v.lines.number, refuse(exchange.LinesUnreadable, "%.80q is not \"Name: value\"", line))
			}
			r.Headers = append(r.Headers, traffic.Header{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
		if first == nil {
			first = err
		}
	}
}

func (v *vegetaReader) body(name string) ([]byte, error) {
	if v.options.Open == nil {
		return nil, refuse(exchange.NotReplayable, "its body is in the file %q, which cannot be read from here", name)
	}
	f, err := v.options.Open(name)
	if err != nil {
		return nil, refuse(exchange.NotReplayable, "its body: %v", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	body, err := io.ReadAll(io.LimitReader(f, maxEntry+1))
	if err != nil {
		return nil, refuse(exchange.NotReplayable, "its body, %s: %v", name, err)
	}
	if len(body) > maxEntry {
		return nil, refuse(exchange.BodyTooLong, "its body, %s, is longer than %d MiB", name, maxEntry>>20)
	}
	return body, nil
}

// VegetaWriter writes vegeta targets in JSON, which hold neither times nor sessions nor answers.
type VegetaWriter struct {
	w    *bufio.Writer
	json *json.Encoder
}

// NewVegetaWriter writes to w, which stays the caller's to close.
func NewVegetaWriter(w io.Writer) *VegetaWriter {
	v := &VegetaWriter{w: bufio.NewWriter(w)}
	v.json = json.NewEncoder(v.w)
	v.json.SetEscapeHTML(false)
	return v
}

// Write adds a request, without the headers that the next connection sets itself. An *EntryError tells that the format cannot
// hold it.
func (v *VegetaWriter) Write(r *traffic.Request) error {
	target := vegetaTarget{Method: r.Method, Body: r.Body}
	var err error
	if target.URL, err = sayable(r); err != nil {
		return err
	}
	for _, h := range r.Headers {
		if traffic.OfConnection(strings.ToLower(h[0])) {
			continue
		}
		if target.Header == nil {
			target.Header = vegetaHeader{}
		}
		target.Header[h[0]] = append(target.Header[h[0]], h[1])
	}
	return v.json.Encode(target)
}

// Close writes what is buffered.
func (v *VegetaWriter) Close() error { return v.w.Flush() }

// sayable gives the URL of a request whose every part but the body JSON can hold.
func sayable(r *traffic.Request) (string, error) {
	if err := writable(r); err != nil {
		return "", err
	}
	url, err := joinURL(r)
	if err != nil {
		return "", err
	}
	texts := []string{url, r.Session}
	for _, h := range r.Headers {
		texts = append(texts, h[1])
	}
	if i := slices.IndexFunc(texts, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
		return "", refuse(exchange.NotReplayable, "%s %.80q: %s is not UTF-8, which JSON needs", r.Method, r.Path, fmt.Sprintf("%.80q", texts[i]))
	}
	return url, nil
}
