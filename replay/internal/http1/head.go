package http1

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// facts are what a head says of its message.
type facts struct {
	status           int
	major, minor     byte
	lengths          int // lines of Content-Length, which are all the same
	length           uint64
	digits           int // of length as it was written
	codings          int // lines of Transfer-Encoding
	onlyChunked      bool
	saysClose        bool // in Connection
	saysKeepAlive    bool
	forbiddenTrailer bool // Trailer announces a field that frames the message
}

// atLeast11 tells whether Transfer-Encoding counts. HTTP/0.0 passes, as net/http takes it for "not set".
func (f *facts) atLeast11() bool {
	return f.major > 1 || f.major == 1 && f.minor >= 1 || f.major == 0 && f.minor == 0
}

func (f *facts) interim() bool { return f.status/100 == 1 && f.status != 101 }

// bodiless tells whether the status alone says that there is no body (RFC 9110, 6.4.1).
func (f *facts) bodiless() bool { return f.status/100 == 1 || f.status == 204 || f.status == 304 }

// ends tells whether the connection ends with the message (RFC 9112, 9.3).
func (f *facts) ends() bool {
	if f.major == 0 || f.saysClose {
		return true
	}
	return f.major == 1 && f.minor == 0 && !f.saysKeepAlive
}

// chunked tells whether the body is chunked. As net/http it takes no other coding, and no list of codings, which are a
// way to smuggle.
func (f *facts) chunked() (bool, error) {
	switch {
	case f.codings == 0 || !f.atLeast11():
		return false, nil
	case f.codings > 1 || !f.onlyChunked:
		return false, fmt.Errorf("%w: a transfer coding that is not chunked alone", ErrMalformed)
	case f.forbiddenTrailer:
		return false, fmt.Errorf("%w: it announces a trailer field that frames it", ErrMalformed)
	}
	return true, nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// statusLine reads "HTTP/1.1 200 OK", as net/http: any number of blanks before the status, any reason or none.
func (f *facts) statusLine(line []byte) error {
	if len(line) < len("HTTP/1.1 200") || string(line[:5]) != "HTTP/" || !digit(line[5]) || line[6] != '.' || !digit(line[7]) || line[8] != ' ' {
		return fmt.Errorf("%w: status line %q", ErrMalformed, excerpt(line))
	}
	f.major, f.minor = line[5]-'0', line[7]-'0'
	code := line[9:]
	for len(code) > 0 && code[0] == ' ' {
		code = code[1:]
	}
	status, ok := 0, len(code) == 3 || len(code) > 3 && code[3] == ' '
	if ok {
		status, ok = parseStatus(code[:3])
	}
	if !ok {
		return fmt.Errorf("%w: status line %q", ErrMalformed, excerpt(line))
	}
	f.status = status
	return nil
}

// parseStatus reads three characters as strconv.Atoi does, which takes a sign; below 0 nothing is a status.
func parseStatus(code []byte) (status int, ok bool) {
	digits := code
	if code[0] == '+' || code[0] == '-' {
		digits = code[1:]
	}
	for _, c := range digits {
		if !digit(c) {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	return status, code[0] != '-' || status == 0
}

// looksFinal tells whether the beginning of a status line is known to be no 1xx one.
func looksFinal(line []byte) bool {
	if len(line) < len("HTTP/1.1 ") {
		return false
	}
	code := bytes.TrimLeft(line[len("HTTP/1.1 "):], " ")
	return len(code) > 0 && code[0] != '1'
}

// header reads a header line.
func (f *facts) header(line []byte) error {
	name, value, err := field(line)
	if err != nil {
		return err
	}
	// By length first, as most lines are none of these.
	switch len(name) {
	case len("trailer"):
		if is(name, "trailer") {
			f.forbiddenTrailer = f.forbiddenTrailer || announcesFraming(value)
		}
	case len("connection"):
		if is(name, "connection") {
			f.saysClose = f.saysClose || listed(value, "close")
			f.saysKeepAlive = f.saysKeepAlive || listed(value, "keep-alive")
		}
	case len("content-length"):
		if is(name, "content-length") {
			return f.contentLength(value)
		}
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			f.codings++
			f.onlyChunked = is(value, "chunked")
		}
	}
	return nil
}

// contentLength takes repeated lines only if they are written alike (RFC 9112, 6.3), which equal values of equally many
// digits are.
func (f *facts) contentLength(value []byte) error {
	value = trimRight(value) // what a fold has left
	n, ok := parseLength(value)
	if !ok || f.lengths > 0 && (n != f.length || len(value) != f.digits) {
		return fmt.Errorf("%w: Content-Length %q", ErrMalformed, excerpt(value))
	}
	f.lengths++
	f.length, f.digits = n, len(value)
	return nil
}

// parseLength reads digits that stand for at most 2⁶³−1.
func parseLength(value []byte) (n uint64, ok bool) {
	for _, c := range value {
		if !digit(c) || n > math.MaxInt64/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(value) > 0 && n <= math.MaxInt64
}

// announcesFraming tells whether a list of trailer fields has one that may not be there (RFC 9110, 6.5.1).
func announcesFraming(list []byte) bool {
	return listed(list, "transfer-encoding") || listed(list, "trailer") || listed(list, "content-length")
}

// listed tells whether a comma-separated list has the element, which is in lower case.
func listed(list []byte, element string) bool {
	for more := true; more; {
		var e []byte
		e, list, more = bytes.Cut(list, comma)
		if is(trimLeft(trimRight(e)), element) {
			return true
		}
	}
	return false
}

var comma = []byte(",")

// is compares b, which has no control characters, with a string of lower-case letters and hyphens, without case. For
// these setting 0x20 makes lower-case letters of letters, and nothing else equal.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// field splits a header line into its name and its value. As net/http it takes blanks in a name, which is then none that
// anybody looks for, and any bytes but control characters in a value.
func field(line []byte) (name, value []byte, err error) {
	i := 0
	for i < len(line) && inName[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return nil, nil, fmt.Errorf("%w: header line %q", ErrMalformed, excerpt(line))
	}
	name, value = line[:i], line[i+1:]
	if !printable(value) {
		return nil, nil, fmt.Errorf("%w: header line %q", ErrMalformed, excerpt(line))
	}
	return name, trimLeft(value), nil
}

// inName has the bytes of a token (RFC 9110, 5.6.2), and the blank.
var inName = func() (in [256]bool) {
	for _, c := range []byte(" !#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		in[c] = true
	}
	return in
}()

// printable tells whether v has no control characters but tabs. It looks at eight bytes at once, the last eight of them
// perhaps for the second time.
func printable(v []byte) bool {
	if len(v) < 8 {
		return printableBytes(v)
	}
	for i := 0; i < len(v)-8; i += 8 {
		if doubtful(binary.LittleEndian.Uint64(v[i:])) && !printableBytes(v[i:i+8]) {
			return false
		}
	}
	last := v[len(v)-8:]
	return !doubtful(binary.LittleEndian.Uint64(last)) || printableBytes(last)
}

// doubtful tells whether a byte of x is below 0x20, or is 0x7f: for n ≤ 0x80, (x − n·ones) &^ x & tops is 0 exactly where
// no byte of x is below n (Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n").
func doubtful(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	deleted := x ^ 0x7f*ones
	return ((x-0x20*ones)&^x|(deleted-ones)&^deleted)&tops != 0
}

func printableBytes(v []byte) bool {
	for _, c := range v {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	return b
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// unfold makes one line of a folded one, in place, as net/textproto does: its lines trimmed and joined by a blank, which
// is left at the end where nothing follows it.
func unfold(line []byte) []byte {
	to := 0
	for rest, more := line, true; more; {
		var part []byte
		part, rest, more = bytes.Cut(rest, lf)
		if more {
			part = bytes.TrimSuffix(part, cr)
		}
		if to > 0 {
			line[to] = ' '
			to++
		}
		to += copy(line[to:], trimLeft(trimRight(part)))
	}
	return line[:to]
}

var cr = []byte("\r")

// excerpt bounds what an error quotes.
func excerpt(line []byte) []byte { return line[:min(len(line), 80)] }
