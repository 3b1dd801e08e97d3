package http1

import (
	"bytes"
	"hash/maphash"
	"strings"

	"umbra/internal/traffic"
)

// Memo is what the parsers of a capture share, so that what comes again and again is neither read nor allocated anew: clients
// send most lines of a head with each of their requests. Its memory is bounded. Like the parsers it is for one goroutine.
type Memo struct {
	seed  maphash.Seed
	lines []line          // by the hash of their text, as many as a power of two
	text  strings.Builder // texts that were kept lie in it side by side; it is replaced when it is full
	last  *line           // that was found in the head that is read; nil before the first one
	ends  []int32         // of the head that is read: where each line ends, behind its LF
}

// line is a field's line of a head that came twice, and what it says. Lines are compared byte by byte: the hash only tells where.
type line struct {
	text   string // without its end; empty where there is none
	header traffic.Header
	kind   kind
	next   *line  // what was found behind it last, and may come again
	asked  uint64 // the hash of the last line that was not here: one is remembered when it asks again, as many never do
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
	lineSize    = 104     // what a line takes beside its text
	keptEnds    = 1 << 12 // lines of a head for which room is kept
	textBlock   = 1 << 10 // bytes of texts that are allocated at once: so much may be held by the least of them
)

// NewMemo makes a Memo that takes at most about so many bytes, or what 16 lines take.
func NewMemo(size int) *Memo {
	n := 16
	for 2*n*(longestLine+lineSize) <= size {
		n *= 2
	}
	return &Memo{seed: maphash.MakeSeed(), lines: make([]line, n)}
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

// field reads a field's line, given without its end, that is not empty and that no other line continues; false where it is malformed.
func (m *Memo) field(b []byte) (traffic.Header, kind, bool) {
	if m.last != nil && m.last.next != nil && m.last.next.text == string(b) {
		m.last = m.last.next
		return m.last.header, m.last.kind, true
	}
	hash := maphash.Bytes(m.seed, b)
	l := &m.lines[hash&uint64(len(m.lines)-1)]
	if l.text == string(b) {
		if m.last != nil {
			m.last.next = l
		}
		m.last = l
		return l.header, l.kind, true
	}
	return m.newField(l, hash, b)
}

// newField reads a line that is not remembered, and remembers it in l where it has come before.
func (m *Memo) newField(l *line, hash uint64, b []byte) (traffic.Header, kind, bool) {
	f, ok := splitField(b)
	if !ok || bytes.IndexByte(b, '\r') >= 0 || bytes.IndexByte(b, 0) >= 0 {
		return traffic.Header{}, otherField, false
	}
	again := l.asked == hash && len(b) <= longestLine
	l.asked = hash
	if !again {
		text := m.keep(b)
		h := traffic.Header{text[:f.nameEnd], text[f.value:f.valueEnd]}
		return h, kindOf(h[0]), true
	}
	l.text = string(b)
	l.header = traffic.Header{l.text[:f.nameEnd], l.text[f.value:f.valueEnd]}
	l.kind = kindOf(l.header[0])
	return l.header, l.kind, true
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

// startHead forgets the ends of the last head.
func (m *Memo) startHead() {
	if cap(m.ends) > keptEnds {
		m.ends = nil
	}
	m.ends = m.ends[:0]
}

// findEnds finds the ends of the lines of a whole head.
func (m *Memo) findEnds(head []byte) {
	m.startHead()
	for at := 0; at < len(head); {
		at += bytes.IndexByte(head[at:], '\n') + 1
		m.ends = append(m.ends, int32(at))
	}
}
