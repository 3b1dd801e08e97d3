package http2

import (
	"errors"

	"golang.org/x/net/http/httpguts"
)

const (
	tableSize = 4096 // of the peer's dynamic table (RFC 9113, 6.5.2): what holds while SETTINGS do not say otherwise
	entrySize = 32   // what an entry costs beside its name and value (RFC 7541, 4.1)
	maxEntry  = tableSize / entrySize
)

// What makes a header block no HPACK (RFC 7541).
var (
	errIndex   = errors.New("a header block refers to an entry that is not there")
	errCut     = errors.New("a header block ends within a field")
	errInteger = errors.New("a header block has an integer without end")
	errHuffman = errors.New("a header block has a wrong Huffman code")
	errUpdate  = errors.New("a header block changes its table's size behind a field, or beyond what was allowed")
)

// name is what matters of a field's name.
type name uint8

const (
	nameOther  name = iota
	nameStatus      // :status
	nameLength      // content-length
	nameBad         // one that makes a response malformed
)

// field is what matters of a header field; none of its text is kept.
type field struct {
	name              name
	nameLen, valueLen int
	value             int64 // the number that :status and content-length have; -1: a value that makes a response malformed
}

func (f *field) size() int { return f.nameLen + f.valueLen + entrySize }

// head is what matters of a header block.
type head struct {
	status    int   // 0: none
	length    int64 // content-length; -1: none
	regular   bool  // a field that is no pseudo header has come
	malformed bool  // RFC 9113, 8.2 and 8.3
}

func (h *head) add(f *field) {
	if f.name == nameStatus {
		h.malformed = h.malformed || f.value < 0 || h.status != 0 || h.regular
		h.status = max(0, int(f.value))
		return
	}
	h.regular = true
	h.malformed = h.malformed || f.value < 0 || f.name == nameBad
	if f.name == nameLength {
		h.malformed = h.malformed || h.length >= 0 && h.length != f.value
		h.length = f.value
	}
}

// decoder is the peer's HPACK context. Of its dynamic table it keeps the sizes and what matters of the fields.
type decoder struct {
	*tableSet
	entries  [maxEntry]field // a ring, the oldest at first
	first, n int
	size     int
	limit    int    // what the peer says that its table has, up to tableSize
	text     []byte // the string decoded last, where it was Huffman-coded
}

func (d *decoder) reset() { d.first, d.n, d.size, d.limit = 0, 0, 0, tableSize }

// decode takes a whole header block. After an error the context is of no use.
func (d *decoder) decode(b []byte) (h head, err error) {
	h.length = -1
	for begin := true; len(b) > 0; {
		var f *field
		var fresh field
		switch {
		case b[0]&0x80 != 0:
			f, b, err = d.indexed(b)
		case b[0]&0xe0 == 0x20:
			if b, err = d.resize(b, begin); err != nil {
				return h, err
			}
			continue
		case b[0]&0x40 != 0:
			f = &fresh
			if b, err = d.literal(f, b, 6); err == nil {
				d.add(f)
			}
		default:
			f = &fresh
			b, err = d.literal(f, b, 4)
		}
		if err != nil {
			return h, err
		}
		h.add(f)
		begin = false
	}
	return h, nil
}

// indexed reads a field that stands in a table (6.1).
func (d *decoder) indexed(b []byte) (*field, []byte, error) {
	i, b, err := integer(b, 7)
	if err != nil {
		return nil, nil, err
	}
	f := d.at(i)
	if f == nil {
		return nil, nil, errIndex
	}
	return f, b, nil
}

// literal reads a field whose name stands in a table or here, and whose value stands here (6.2).
func (d *decoder) literal(f *field, b []byte, prefix uint) (rest []byte, err error) {
	i, b, err := integer(b, prefix)
	if err != nil {
		return nil, err
	}
	var s []byte
	if i != 0 {
		named := d.at(i)
		if named == nil {
			return nil, errIndex
		}
		f.name, f.nameLen = named.name, named.nameLen
	} else {
		if s, b, err = d.string(b); err != nil {
			return nil, err
		}
		f.name, f.nameLen = nameOf(s), len(s)
	}
	if s, b, err = d.string(b); err != nil {
		return nil, err
	}
	f.value, f.valueLen = valueOf(f.name, s), len(s)
	return b, nil
}

// resize reads a change of the table's size, which stands before all fields (4.2 and 6.3).
func (d *decoder) resize(b []byte, begin bool) ([]byte, error) {
	limit, b, err := integer(b, 5)
	if err != nil {
		return nil, err
	}
	if !begin || limit > tableSize {
		return nil, errUpdate
	}
	d.limit = int(limit)
	d.shrink(d.limit)
	return b, nil
}

// at gives the field at an index, or nil: the static table comes first, then the dynamic one with its newest first (2.3.3).
func (d *decoder) at(i uint64) *field {
	switch {
	case i == 0:
		return nil
	case i <= staticLen:
		return &d.static[i]
	case i > staticLen+uint64(d.n):
		return nil
	}
	return &d.entries[(d.first+d.n-int(i-staticLen))%maxEntry]
}

// add puts a field into the dynamic table. One that is larger than the table only empties it (4.4).
func (d *decoder) add(f *field) {
	size := f.size()
	d.shrink(d.limit - size)
	if size <= d.limit {
		d.entries[(d.first+d.n)%maxEntry] = *f
		d.n++
		d.size += size
	}
}

// shrink takes the oldest entries out until the table has at most that size.
func (d *decoder) shrink(size int) {
	for d.n > 0 && d.size > size {
		d.size -= d.entries[d.first].size()
		d.first = (d.first + 1) % maxEntry
		d.n--
	}
}

// string reads a string (5.2), which is valid until the next one is read.
func (d *decoder) string(b []byte) (s, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errCut
	}
	coded := b[0]&0x80 != 0
	n, b, err := integer(b, 7)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(b)) {
		return nil, nil, errCut
	}
	if s = b[:n]; coded {
		if s, err = d.expand(s); err != nil {
			return nil, nil, err
		}
	}
	return s, b[n:], nil
}

// expand decodes a Huffman-coded string.
func (d *decoder) expand(s []byte) ([]byte, error) {
	if room := expanded(len(s)); room > len(d.text) {
		d.text = make([]byte, 2*room)
	}
	n, ok := d.huffman.decode(d.text, s)
	if !ok {
		return nil, errHuffman
	}
	return d.text[:n], nil
}

// integer reads an integer with a prefix of so many bits (5.1).
func integer(b []byte, prefix uint) (n uint64, rest []byte, err error) {
	full := byte(1<<prefix - 1)
	n = uint64(b[0] & full)
	if byte(n) != full {
		return n, b[1:], nil
	}
	for i := 1; i < len(b); i++ {
		if i > 9 { // 63 bits: far beyond every index, size and length
			return 0, nil, errInteger
		}
		n += uint64(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, errCut
}

// nameOf classifies the name of a response's field: it must be a token in lower case (RFC 9113, 8.2.1), no pseudo header
// but :status (8.3.2), and of no connection (8.2.2).
func nameOf(s []byte) name {
	switch string(s) {
	case ":status":
		return nameStatus
	case "content-length":
		return nameLength
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "":
		return nameBad
	}
	for _, c := range s {
		if 'A' <= c && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return nameBad
		}
	}
	return nameOther
}

// valueOf gives field.value.
func valueOf(n name, s []byte) int64 {
	switch n {
	case nameStatus:
		if len(s) != 3 || s[0] == '0' {
			return -1
		}
		return number(s)
	case nameLength:
		return number(s)
	}
	for _, c := range s {
		if c <= '\r' && (c == 0 || c == '\n' || c == '\r') {
			return -1
		}
	}
	return 0
}

// number reads decimal digits; -1 where it is none, or one of more than 18 digits.
func number(s []byte) (n int64) {
	if len(s) == 0 || len(s) > 18 {
		return -1
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	return n
}
