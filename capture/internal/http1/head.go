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

// parseRequest reads a whole head that m has scanned; false where it is malformed. The headers are appended to into.
func (m *Memo) parseRequest(b []byte, into []traffic.Header) (requestHead, bool) {
	c := cursor{b: b, spans: m.spans}
	from, to := c.line()
	var h requestHead
	if !h.requestLine(m.keep(b[from:to])) {
		return h, false
	}
	if room := len(m.spans) - 2; cap(into) < room {
		into = make([]traffic.Header, 0, room)
	}
	h.headers = into
	host, folded := "", false
	for !c.atEnd() {
		header, kind, ok := m.nextField(&c, &folded)
		if !ok {
			return h, false
		}
		h.headers = append(h.headers, header)
		switch kind {
		case hostField:
			host = header[1]
			h.hosts++
		case upgradeField:
			h.upgrade = true
		case lengthField:
			contentLength(&h.framing, header[1])
		case transferField:
			h.framing.transferEncoding(header[1])
		}
	}
	if h.authority == "" { // the target's comes first (RFC 9112 section 3.2.2)
		h.authority = host
	}
	return h, !folded || c.clean()
}

// nextField reads the next field. The lines of one that goes over several are not looked at for bytes that must not stand there.
func (m *Memo) nextField(c *cursor, folded *bool) (traffic.Header, kind, bool) {
	if !c.folds() {
		s := c.span()
		from, to := c.line()
		if l := s.line; l != nil {
			return l.header, l.kind, true
		}
		return m.newField(s.hash, c.b[from:to])
	}
	*folded = true
	f, ok := c.field()
	if !ok {
		return traffic.Header{}, otherField, false
	}
	header := traffic.Header{string(c.b[f.name:f.nameEnd]), textOf(c.b[f.value:f.valueEnd], f.folded)}
	return header, kindOf(header[0]), true
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

// parseResponse reads a whole head that m has scanned; false where it is malformed.
func (m *Memo) parseResponse(b []byte) (responseHead, bool) {
	var h responseHead
	c := cursor{b: b, spans: m.spans}
	from, to := c.line()
	if !h.statusLine(b[from:to]) {
		return h, false
	}
	for !c.atEnd() {
		s, folds := c.span(), c.folds()
		if l := s.line; l != nil && !folds {
			h.field(l.kind, l.header[1])
			c.line()
			continue
		}
		n, ok := c.name()
		if !ok {
			return h, false
		}
		if !folds {
			m.learn(s.hash, withoutCR(b[c.at:s.end-1]))
		}
		switch n {
		case len("upgrade"), len("content-length"), len("transfer-encoding"):
			f, _ := c.field()
			h.field(kindOf(b[f.name:f.nameEnd]), textOf(b[f.value:f.valueEnd], f.folded))
		default:
			c.skip()
		}
	}
	return h, true
}

// field takes a field that may say how the answer goes on.
func (h *responseHead) field(k kind, value string) {
	switch k {
	case upgradeField:
		h.h2c = h.h2c || strings.EqualFold(value, "h2c")
	case lengthField:
		contentLength(&h.framing, value) // a fold in it is no digit
	case transferField:
		h.framing.transferEncoding(value)
	}
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

// contentLength takes a length. Several that are the same are one; others are an attack or a mistake.
func contentLength[T string | []byte](f *framing, value T) {
	n := int64(0)
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' || n >= 1<<59 {
			f.bad = true
			return
		}
		n = n*10 + int64(value[i]-'0')
	}
	f.bad = f.bad || len(value) == 0 || f.hasLength && n != f.length
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
	b     []byte
	spans []span // its lines
	at    int    // where the next line begins
	n     int    // and which one it is
}

// span is the next line.
func (c *cursor) span() *span { return &c.spans[c.n] }

// line gives where the next line begins and ends, its line end left out.
func (c *cursor) line() (from, to int) {
	from, c.at = c.at, int(c.spans[c.n].end)
	c.n++
	to = c.at - 1
	if to > from && c.b[to-1] == '\r' {
		to--
	}
	return from, to
}

// atEnd tells whether only the empty line is left.
func (c *cursor) atEnd() bool { return c.n >= len(c.spans)-1 }

// name gives how long the next field's name is; false where the line is no field.
func (c *cursor) name() (int, bool) {
	n := 0
	for tokens[c.b[c.at+n]] { // a LF is none, and there is one
		n++
	}
	return n, n > 0 && c.b[c.at+n] == ':'
}

// skip goes behind the next field.
func (c *cursor) skip() {
	for folds := true; folds; c.n++ {
		c.at = int(c.spans[c.n].end)
		folds = c.b[c.at] == ' ' || c.b[c.at] == '\t' // a head's last line is empty, so there is a byte
	}
}

// folds tells whether the line behind the next one goes on with its value. Behind a field's line there is one at least.
func (c *cursor) folds() bool {
	next := c.b[c.spans[c.n].end]
	return next == ' ' || next == '\t'
}

// clean tells whether no NUL stands in the head, and no CR but in its line ends.
func (c *cursor) clean() bool {
	return bytes.Count(c.b, []byte{'\r'}) == bytes.Count(c.b, []byte("\r\n")) && bytes.IndexByte(c.b, 0) < 0
}

// field is where a field's name and value stand in the head.
type field struct {
	name, nameEnd, value, valueEnd int
	folded                         bool // the value goes over several lines (obs-fold)
}

// textOf gives a value.
func textOf(value []byte, folded bool) string {
	if folded {
		return unfold(string(value))
	}
	return string(value)
}

// field gives the next field; false where a line is none.
func (c *cursor) field() (field, bool) {
	from, to := c.line()
	folded := false
	for c.b[c.at] == ' ' || c.b[c.at] == '\t' { // a head's last line is empty, so there is a byte
		folded = true
		_, to = c.line()
	}
	f, ok := splitField(c.b[from:to])
	f.folded = folded
	f.name, f.nameEnd, f.value, f.valueEnd = from, from+f.nameEnd, from+f.value, from+f.valueEnd
	return f, ok
}

// splitField splits a field's line; false where it is none.
func splitField(b []byte) (field, bool) {
	var f field
	for f.nameEnd < len(b) && tokens[b[f.nameEnd]] {
		f.nameEnd++
	}
	if f.nameEnd == 0 || f.nameEnd == len(b) || b[f.nameEnd] != ':' {
		return f, false
	}
	f.value, f.valueEnd = f.nameEnd+1, len(b)
	for f.value < f.valueEnd && isSpace(b[f.value]) {
		f.value++
	}
	for f.valueEnd > f.value && isSpace(b[f.valueEnd-1]) {
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
