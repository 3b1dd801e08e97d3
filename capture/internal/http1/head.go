package http1

import (
	"bytes"
	"net/http"
	"strings"

	"umbra/internal/traffic"
)

// requestHead is what a request's head says (RFC 9112 sections 2 to 6).
type requestHead struct {
	method, scheme, authority, path string
	headers                         []traffic.Header
	framing                         framing
	hosts                           int  // how many Host lines there are: a second one makes it malformed
	upgrade                         bool // it asks for another protocol
}

// parseRequest reads a whole head of so many lines; false where it is malformed. Its strings share one copy of the head.
func parseRequest(b []byte, lines int) (requestHead, bool) {
	text := string(b)
	c := cursor{b: b}
	from, to := c.line()
	h := requestHead{headers: make([]traffic.Header, 0, lines-1)}
	if !h.requestLine(text[from:to]) {
		return h, false
	}
	host := ""
	for {
		f, ok := c.field()
		if !ok {
			break
		}
		name, value := text[f.name:f.nameEnd], text[f.value:f.valueEnd]
		if f.folded {
			value = unfold(value)
		}
		h.headers = append(h.headers, traffic.Header{name, value})
		switch len(name) {
		case len("host"):
			if strings.EqualFold(name, "host") {
				host = value
				h.hosts++
			}
		case len("upgrade"):
			h.upgrade = h.upgrade || strings.EqualFold(name, "upgrade")
		case len("content-length"), len("transfer-encoding"):
			h.framing.field(name, value)
		}
	}
	if h.authority == "" { // the target's comes first (RFC 9112 section 3.2.2)
		h.authority = host
	}
	return h, !c.bad && bytes.Count(b, []byte{'\r'}) == c.crs && bytes.IndexByte(b, 0) < 0
}

// requestLine reads the method, the target and the version.
func (h *requestHead) requestLine(line string) bool {
	method, rest, _ := strings.Cut(line, " ")
	space := strings.LastIndexByte(rest, ' ')
	if space < 0 || !isToken(method) {
		return false
	}
	version, ok := minor(rest[space+1:])
	h.method, h.framing.http10 = method, version == 0
	return ok && h.target(rest[:space])
}

// target reads a request target in any of its four forms (RFC 9112 section 3.2).
func (h *requestHead) target(t string) bool {
	switch {
	case t == "" || !isVisible(t):
		return false
	case h.method == http.MethodConnect:
		h.authority, h.path = t, t
		return true
	case t[0] == '/':
		h.path = t
		return true
	case t == "*":
		h.path = t
		return h.method == http.MethodOptions
	}
	return h.absolute(t)
}

// absolute reads a target as proxies get it. What a user's name and password may stand before the authority are left out.
func (h *requestHead) absolute(t string) bool {
	scheme, rest, ok := strings.Cut(t, "://")
	if !ok || !isToken(scheme) {
		return false
	}
	slash := strings.IndexAny(rest, "/?#")
	if slash < 0 {
		slash = len(rest)
	}
	h.scheme = strings.ToLower(scheme)
	h.authority = rest[strings.LastIndexByte(rest[:slash], '@')+1 : slash]
	h.path = rest[slash:]
	switch {
	case h.path == "" && h.method == http.MethodOptions:
		h.path = "*"
	case h.path == "" || h.path[0] != '/':
		h.path = "/" + h.path
	}
	return h.authority != ""
}

// responseHead is what an answer's head says of how it goes on.
type responseHead struct {
	status  int
	framing framing
	h2c     bool // its Upgrade names h2c
}

// parseResponse reads a whole head; false where it is malformed.
func parseResponse(b []byte) (responseHead, bool) {
	var h responseHead
	c := cursor{b: b}
	from, to := c.line()
	if !h.statusLine(b[from:to]) {
		return h, false
	}
	for {
		f, ok := c.field()
		if !ok {
			break
		}
		switch name := b[f.name:f.nameEnd]; len(name) {
		case len("upgrade"):
			h.h2c = h.h2c || bytes.EqualFold(name, []byte("upgrade")) && strings.EqualFold(f.text(b), "h2c")
		case len("content-length"), len("transfer-encoding"):
			if name[0]|0x20 == 'c' || name[0]|0x20 == 't' {
				h.framing.field(string(name), f.text(b))
			}
		}
	}
	return h, !c.bad
}

// statusLine reads the version and the status; the reason, and the space before it, may be missing.
func (h *responseHead) statusLine(line []byte) bool {
	const status = len("HTTP/1.1 ")
	if len(line) < status+3 || len(line) > status+3 && line[status+3] != ' ' || line[status-1] != ' ' {
		return false
	}
	version, ok := minor(string(line[:status-1]))
	h.framing.http10 = version == 0
	for _, c := range line[status : status+3] {
		if c < '0' || c > '9' {
			return false
		}
		h.status = h.status*10 + int(c-'0')
	}
	return ok && h.status >= 100
}

// minor reads "HTTP/1.x".
func minor(version string) (int, bool) {
	const major = "HTTP/1."
	if len(version) != len(major)+1 || version[:len(major)] != major {
		return 0, false
	}
	digit := version[len(major)]
	return int(digit - '0'), '0' <= digit && digit <= '9'
}

// framing is what the fields say of how long the body is (RFC 9112 section 6).
type framing struct {
	http10    bool
	hasLength bool
	length    int64
	coded     bool // there is a transfer coding
	chunked   bool // the last one of them is chunked
	others    bool // one of them is not
	bad       bool
}

// field takes a line that may be Content-Length or Transfer-Encoding.
func (f *framing) field(name, value string) {
	switch {
	case strings.EqualFold(name, "content-length"):
		f.contentLength(value)
	case strings.EqualFold(name, "transfer-encoding"):
		f.transferEncoding(value)
	}
}

// contentLength takes a length. Several that are the same are one; others are an attack or a mistake.
func (f *framing) contentLength(value string) {
	n := int64(0)
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' || n >= 1<<59 {
			f.bad = true
			return
		}
		n = n*10 + int64(value[i]-'0')
	}
	f.bad = f.bad || value == "" || f.hasLength && n != f.length
	f.hasLength, f.length = true, n
}

// transferEncoding takes a list of codings, of which chunked must be the last.
func (f *framing) transferEncoding(value string) {
	for coding := range strings.SplitSeq(value, ",") {
		f.bad = f.bad || f.chunked
		f.coded = true
		f.chunked = strings.EqualFold(strings.Trim(coding, " \t"), "chunked")
		f.others = f.others || !f.chunked
	}
	f.bad = f.bad || f.http10 // RFC 9112 section 6.1: the framing of such a message is faulty
}

// cursor goes through a whole head, line by line.
type cursor struct {
	b   []byte
	at  int
	crs int  // how many lines ended in CR LF
	bad bool // a line is no field
}

// line gives where the next line begins and ends, its line end left out.
func (c *cursor) line() (from, to int) {
	from = c.at
	to = from + bytes.IndexByte(c.b[from:], '\n')
	c.at = to + 1
	if to > from && c.b[to-1] == '\r' {
		c.crs++
		to--
	}
	return from, to
}

// field is where a field's name and value stand in the head.
type field struct {
	name, nameEnd, value, valueEnd int
	folded                         bool // the value goes over several lines (obs-fold)
}

// text gives the value.
func (f field) text(b []byte) string {
	value := string(b[f.value:f.valueEnd])
	if f.folded {
		return unfold(value)
	}
	return value
}

// field gives the next field; false behind the last one and where a line is none.
func (c *cursor) field() (field, bool) {
	from, to := c.line()
	if from == to {
		return field{}, false
	}
	f := field{name: from, nameEnd: from}
	for f.nameEnd < to && tokens[c.b[f.nameEnd]] {
		f.nameEnd++
	}
	if f.nameEnd == from || f.nameEnd == to || c.b[f.nameEnd] != ':' {
		c.bad = true
		return field{}, false
	}
	for c.b[c.at] == ' ' || c.b[c.at] == '\t' { // a head's last line is empty, so there is a byte
		f.folded = true
		_, to = c.line()
	}
	f.value, f.valueEnd = f.nameEnd+1, to
	for f.value < f.valueEnd && isSpace(c.b[f.value]) {
		f.value++
	}
	for f.valueEnd > f.value && isSpace(c.b[f.valueEnd-1]) {
		f.valueEnd--
	}
	return f, true
}

// isSpace takes line ends for space as well, as they stand around the lines of a folded value.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// unfold puts a folded value on one line (RFC 9112 section 5.2).
func unfold(value string) string {
	var line strings.Builder
	for part := range strings.SplitSeq(value, "\n") {
		if part = strings.Trim(part, " \t\r"); part != "" {
			if line.Len() > 0 {
				line.WriteByte(' ')
			}
			line.WriteString(part)
		}
	}
	return line.String()
}

// startsRequest tells whether a segment begins with a request line. Its method must be one that is known, as a line's second
// half looks like a line too ("D / HTTP/1.1"). A line that goes on in the next segment is taken for one if it is long, as are
// those that do not fit.
func startsRequest(b []byte) bool {
	const long = 512
	line, _, whole := bytes.Cut(b, []byte{'\n'})
	method, target, _ := bytes.Cut(line, []byte{' '})
	switch {
	case !isKnown(method):
		return false
	case !whole:
		return len(line) >= long && (target[0] == '/' || bytes.HasPrefix(target, []byte("http"))) && isVisible(string(target))
	}
	var h requestHead
	return h.requestLine(string(bytes.TrimSuffix(line, []byte{'\r'})))
}

// isKnown tells whether a method is of RFC 9110, RFC 5789, of WebDAV's (RFC 4918, 3253, 5323) or one that caches know.
func isKnown(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "QUERY", "PURGE",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH":
		return true
	}
	return false
}

// startsResponse tells whether a segment begins with a status line.
func startsResponse(b []byte) bool {
	const long = len("HTTP/1.1 200 ")
	var h responseHead
	if len(b) < long {
		return false
	}
	line := b[:long]
	if line[long-1] == '\r' || line[long-1] == '\n' {
		line = b[:long-1]
	}
	return h.statusLine(line)
}

func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}

func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// tokens are the bytes that a field's name and a method are of (RFC 9110 section 5.6.2).
var tokens = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[c] = true
	}
	return t
}()
