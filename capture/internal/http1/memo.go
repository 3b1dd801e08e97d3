package http1

import (
	"bytes"
	"hash/maphash"
	"strings"

	"umbra/internal/traffic"
)

// Memo is what the parsers of a capture share, so that what comes again and again is neither read nor allocated anew: most lines
// of a head come with each message. Its memory is bounded. Like the parsers it is for one goroutine.
type Memo struct {
	seed  maphash.Seed
	slots []slot          // by the hash of a line, as many as a power of two
	lines []line          // likewise
	text  strings.Builder // texts that were kept lie in it side by side; it is replaced when it is full
	head  uint64          // numbers the heads
	spans []span          // of the head that was read last
}

// slot tells of most lines that are not remembered that they are not, and is much smaller than a line.
type slot struct {
	known uint32 // the upper half of the hash of the line that is here
	asked uint32 // of the last one that was not: one is remembered when it asks again, as many never do
}

// line is a field's line of a head that came twice, and what it says. Lines are compared byte by byte: the hash only tells where.
type line struct {
	text   string // without its end; empty where there is none
	header traffic.Header
	kind   kind
	head   uint64 // that it was found in last: until that is parsed, nothing takes its place
}

// span is a line of a head as it stands there.
type span struct {
	end  int32  // behind its LF
	line *line  // nil where it is not remembered, of the first line and of the empty one
	hash uint64 // where line is nil: of a field's line without its end
}

// kind is what the parser has to know of a field.
type kind uint8

const (
	otherField kind = iota
	hostField
	upgradeField
	lengthField   // Content-Length
	transferField // Transfer-Encoding
)

const (
	longestLine = 1 << 10 // bytes of a line that is remembered
	lineSize    = 72      // what a line and its slot take beside its text
	keptSpans   = 1 << 12 // lines of a head for which room is kept
	textBlock   = 1 << 10 // bytes of texts that are allocated at once: so much may be held by the least of them
)

// NewMemo makes a Memo that takes at most about so many bytes, or what 16 lines take.
func NewMemo(size int) *Memo {
	n := 16
	for 2*n*(longestLine+lineSize) <= size {
		n *= 2
	}
	return &Memo{seed: maphash.MakeSeed(), slots: make([]slot, n), lines: make([]line, n)}
}

// keep makes a string of b.
func (m *Memo) keep(b []byte) string {
	if len(b) > textBlock/4 {
		return string(b)
	}
	if m.text.Cap()-m.text.Len() < len(b) {
		m.text.Reset()
		m.text.Grow(textBlock)
	}
	from := m.text.Len()
	m.text.Write(b)
	return m.text.String()[from:]
}

// scan finds the lines of a head at the begin of b, and which of them are remembered. It gives the head's size, or where the
// line begins whose end is not there. What it found lies in m.spans until the next head is scanned.
func (m *Memo) scan(b []byte, like *outline) (int, bool) {
	if cap(m.spans) > keptSpans {
		m.spans = nil
	}
	m.spans = m.spans[:0]
	m.head++
	like.start()
	for at := 0; ; {
		if at > 0 {
			if l := like.next(b[at:]); l != nil {
				at += len(l.text) + len("\r\n")
				l.head = m.head
				m.spans = append(m.spans, span{end: int32(at), line: l})
				continue
			}
		}
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return at, false
		}
		text := withoutCR(b[at : at+n])
		s := span{end: int32(at + n + 1)}
		if at > 0 && len(text) > 0 {
			s.line, s.hash = m.find(text)
		}
		m.spans = append(m.spans, s)
		at += n + 1
		if len(text) == 0 {
			like.keep(m.spans)
			return at, true
		}
	}
}

func withoutCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}

// find gives a remembered line, or the hash of one that is not.
func (m *Memo) find(b []byte) (*line, uint64) {
	hash := maphash.Bytes(m.seed, b)
	at := hash & uint64(len(m.lines)-1)
	if m.slots[at].known != uint32(hash>>32) {
		return nil, hash
	}
	l := &m.lines[at]
	if l.text != string(b) {
		return nil, hash
	}
	l.head = m.head
	return l, 0
}

// newField reads a line that is not remembered, given without its end, and that no other line continues; false where it is
// malformed. It is remembered where it has come before.
func (m *Memo) newField(hash uint64, b []byte) (traffic.Header, kind, bool) {
	f, ok := splitField(b)
	if !ok || !isClean(b) {
		return traffic.Header{}, otherField, false
	}
	if m.again(hash, b) {
		l := m.remember(hash, b, f)
		return l.header, l.kind, true
	}
	text := m.keep(b)
	h := traffic.Header{text[:f.nameEnd], text[f.value:f.valueEnd]}
	return h, kindOf(h[0]), true
}

// learn remembers a line of which nothing is to be kept, where it has come before.
func (m *Memo) learn(hash uint64, b []byte) {
	if !m.again(hash, b) {
		return
	}
	if f, ok := splitField(b); ok && isClean(b) {
		m.remember(hash, b, f)
	}
}

// again tells whether a line that is not remembered is to be: it has come before, and its place is not needed yet.
func (m *Memo) again(hash uint64, b []byte) bool {
	at := hash & uint64(len(m.lines)-1)
	had := m.slots[at].asked
	m.slots[at].asked = uint32(hash >> 32)
	return had == uint32(hash>>32) && len(b) <= longestLine && m.lines[at].head != m.head
}

func (m *Memo) remember(hash uint64, b []byte, f field) *line {
	at := hash & uint64(len(m.lines)-1)
	m.slots[at].known = uint32(hash >> 32)
	text := string(b)
	l := &m.lines[at]
	*l = line{text: text, header: traffic.Header{text[:f.nameEnd], text[f.value:f.valueEnd]}, head: m.head}
	l.kind = kindOf(l.header[0])
	return l
}

// isClean tells whether a line holds no byte that must not stand there.
func isClean(b []byte) bool { return bytes.IndexByte(b, '\r') < 0 && bytes.IndexByte(b, 0) < 0 }

// outline is the remembered lines of the last head of a direction: the next one is mostly of the same. They may have been
// replaced since, so that they are compared byte by byte.
type outline struct {
	lines []*line
	at    int // the one that is expected
}

// maxOutline bounds what an idle connection keeps for its next head.
const maxOutline = 24

func (o *outline) start() { o.at = 0 }

// next gives the line that b begins with, if it is the one that is expected or the one behind that.
func (o *outline) next(b []byte) *line {
	for i := o.at; i < len(o.lines) && i < o.at+2; i++ {
		if l := o.lines[i]; l.begins(b) {
			o.at = i + 1
			return l
		}
	}
	return nil
}

// begins tells whether b begins with the line and CRLF.
func (l *line) begins(b []byte) bool {
	n := len(l.text)
	return len(b) >= n+2 && b[n] == '\r' && b[n+1] == '\n' && string(b[:n]) == l.text
}

// keep takes over the lines of a head.
func (o *outline) keep(spans []span) {
	o.lines = o.lines[:0]
	for _, s := range spans {
		if s.line != nil && len(o.lines) < maxOutline {
			o.lines = append(o.lines, s.line)
		}
	}
}

func kindOf[T string | []byte](name T) kind {
	switch len(name) {
	case len("host"):
		if strings.EqualFold(string(name), "host") {
			return hostField
		}
	case len("upgrade"):
		if strings.EqualFold(string(name), "upgrade") {
			return upgradeField
		}
	case len("content-length"):
		if strings.EqualFold(string(name), "content-length") {
			return lengthField
		}
	case len("transfer-encoding"):
		if strings.EqualFold(string(name), "transfer-encoding") {
			return transferField
		}
	}
	return otherField
}
