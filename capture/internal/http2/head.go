package http2

import (
	"slices"
	"strconv"
	"strings"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// block is a header block while it is decoded.
type block struct {
	stream  uint32 // whose block is open; 0 where none is
	ends    bool   // the stream's half ends with it
	pushed  bool   // of a PUSH_PROMISE: decoded for the table only
	carry   []byte // the begin of a representation that goes on in the next frame; at most a frame and a head
	fields  []traffic.Header
	size    int // of the fields, by RFC 7541, 4.1
	limit   int
	unknown bool // a field was not known
	invalid bool // a field was malformed
}

func (b *block) add(e *entry) {
	b.size += e.size()
	b.unknown = b.unknown || e.unknown
	b.invalid = b.invalid || e.invalid
	if b.size <= b.limit && !e.unknown {
		b.fields = append(b.fields, e.Header)
	}
}

// addUnread adds a field whose value nobody wants.
func (b *block) addUnread(e *entry, n int) {
	b.size += e.size() + n
	b.unknown = b.unknown || e.unknown
}

func (b *block) tooLong() bool { return b.size > b.limit }

// reset closes the block. Its fields were copied where they are wanted.
func (b *block) reset() {
	clear(b.fields)
	*b = block{fields: b.fields[:0], carry: reuse(b.carry), limit: b.limit}
}

// pseudo are the pseudo header fields of a request (RFC 9113, 8.3.1; :protocol: RFC 8441).
type pseudo struct {
	method, scheme, authority, path, protocol string
}

// place gives the place of a field; nil where there is none of that name.
func (p *pseudo) place(name string) *string {
	switch name {
	case ":method":
		return &p.method
	case ":scheme":
		return &p.scheme
	case ":authority":
		return &p.authority
	case ":path":
		return &p.path
	case ":protocol":
		return &p.protocol
	}
	return nil
}

// readPseudo reads the pseudo header fields, which stand before the others, each at most once, and tells how many there are.
func readPseudo(fields []traffic.Header) (p pseudo, n int, ok bool) {
	for n < len(fields) && strings.HasPrefix(fields[n][0], ":") {
		place := p.place(fields[n][0])
		if place == nil || *place != "" || !visible(fields[n][1]) {
			return p, n, false
		}
		*place = fields[n][1]
		n++
	}
	late := slices.ContainsFunc(fields[n:], func(f traffic.Header) bool { return strings.HasPrefix(f[0], ":") })
	return p, n, !late
}

// visible tells whether a text could stand on a request line.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// readRequest reads a request's head, and gives the cause why it cannot be had, or "".
func (b *block) readRequest(r *traffic.Request, scheme string) exchange.Cause {
	if b.unknown {
		return exchange.HeadsUnreadable
	}
	p, n, ok := readPseudo(b.fields)
	switch {
	case b.invalid, b.tooLong(), !ok:
		return exchange.RequestsMalformed
	case p.method == "CONNECT":
		return exchange.NotReplayable
	case p.method == "", p.scheme == "", p.protocol != "", !validPath(&p):
		return exchange.RequestsMalformed
	}
	r.Method, r.Scheme, r.Authority, r.Path = p.method, p.scheme, p.authority, p.path
	if r.Scheme != "http" && r.Scheme != "https" {
		r.Scheme = scheme
	}
	r.Headers = append(r.Headers[:0], b.fields[n:]...)
	if r.Authority == "" {
		r.Authority, _ = valueOf(r.Headers, "host")
	}
	return ""
}

func validPath(p *pseudo) bool {
	return strings.HasPrefix(p.path, "/") || p.path == "*" && p.method == "OPTIONS"
}

func valueOf(fields []traffic.Header, name string) (string, bool) {
	for i := range fields {
		if fields[i][0] == name {
			return fields[i][1], true
		}
	}
	return "", false
}

// contentLength gives the one declared, -1 where there is none; !ok where it is no number.
func contentLength(fields []traffic.Header) (n int64, ok bool) {
	value, has := valueOf(fields, "content-length")
	if !has {
		return -1, true
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil && n >= 0
}

// wantedOfAnswers are the fields that are read of a response: readStatus, contentLength.
func wantedOfAnswers(name string) bool { return name == ":status" || name == "content-length" }

// trailer tells whether the block holds no head, but a message's trailer section.
func (b *block) trailer() bool {
	return !b.unknown && !slices.ContainsFunc(b.fields, func(f traffic.Header) bool { return strings.HasPrefix(f[0], ":") })
}

// readStatus gives a response's status: 0 where it cannot be known. It stands first, so that it is known even where later
// fields are not.
func (b *block) readStatus() (status int, why exchange.Cause) {
	if len(b.fields) > 0 && b.fields[0][0] == ":status" {
		status, err := strconv.Atoi(b.fields[0][1])
		if err != nil || status < 100 || status > 999 {
			return 0, exchange.ResponsesMalformed
		}
		return status, ""
	}
	if b.unknown {
		return 0, exchange.HeadsUnreadable
	}
	return 0, exchange.ResponsesMalformed
}
