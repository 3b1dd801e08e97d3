package http2

import (
	"errors"

	"golang.org/x/net/http2/hpack"

	"umbra/internal/traffic"
)

// hpack's own Decoder cannot tell a broken block from one whose table was filled before the capture began, so the
// representations of RFC 7541 are read here; only the Huffman code is hpack's.

const (
	// initialTable is what a dynamic table may hold before its encoder says otherwise (RFC 9113, 6.5.2).
	initialTable = 4096
	// maxTable bounds what is held of a dynamic table: what Chromium and Firefox offer. Of a larger one the older entries are
	// unknown.
	maxTable = 64 << 10
	// maxInteger is above every index, size and length that a block within its bounds has.
	maxInteger = 1 << 30
)

var (
	errMore  = errors.New("more bytes needed")
	errHPACK = errors.New("not HPACK")
)

// entry is a header field of a table.
type entry struct {
	traffic.Header
	unknown bool // its name stood in a part of the table that was not seen
	invalid bool // see validField
}

// size is the one of RFC 7541, 4.1.
func (e *entry) size() int { return len(e.Header[0]) + len(e.Header[1]) + 32 }

// static is the table of RFC 7541, appendix A, by index.
var static = func() (t [62]entry) {
	decoder := hpack.NewDecoder(0, nil)
	for i := 1; i < len(t); i++ {
		fields, err := decoder.DecodeFull([]byte{0x80 | byte(i)})
		if err != nil {
			panic(err) // hpack without its static table
		}
		t[i].Header = traffic.Header{fields[0].Name, fields[0].Value}
	}
	return t
}()

// table is the dynamic table of one direction: the entries that were seen to be inserted. The encoder's own table is always
// the newest of all insertions, whatever its size, for it evicts the oldest ones only, and an entry larger than the table
// takes all older ones with it. So a reference to an insertion that was seen is certain even where older ones were not.
// The sizes that SETTINGS_HEADER_TABLE_SIZE allows are not followed, but those that the encoder then chooses.
type table struct {
	entries []entry // from first on; the newest is the last one
	first   int
	size    int
	max     int
	partial bool // older entries than these may be referred to: the direction was joined midway, or the table exceeds maxTable
	answers bool // of responses only what responseHead reads is wanted
}

func (t *table) add(e entry) {
	t.size += e.size()
	t.entries = append(t.entries, e)
	t.evict()
}

func (t *table) evict() {
	for t.size > t.max && t.first < len(t.entries) {
		t.size -= t.entries[t.first].size()
		t.entries[t.first] = entry{}
		t.first++
	}
	if t.first > 32 && t.first > len(t.entries)/2 {
		n := copy(t.entries, t.entries[t.first:])
		clear(t.entries[n:])
		t.entries, t.first = t.entries[:n], 0
	}
}

func (t *table) resize(size int) {
	if size > maxTable {
		size, t.partial = maxTable, true
	}
	t.max = size
	t.evict()
}

var unknown = entry{unknown: true}

// at gives the entry of an index; one that is not known only where the table is partial.
func (t *table) at(index int) (*entry, error) {
	if index > 0 && index < len(static) {
		return &static[index], nil
	}
	i := len(t.entries) - 1 - (index - len(static))
	switch {
	case index > 0 && i >= t.first:
		return &t.entries[i], nil
	case index > 0 && t.partial:
		return &unknown, nil
	}
	return nil, errHPACK
}

// decode adds the whole representations of b to the block, and gives the bytes of one that was cut.
func (t *table) decode(b []byte, to *block) ([]byte, error) {
	for len(b) > 0 {
		rest, err := t.representation(b, to)
		if errors.Is(err, errMore) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b = rest
	}
	return nil, nil
}

// representation reads one of RFC 7541, 6.
func (t *table) representation(b []byte, to *block) ([]byte, error) {
	switch first := b[0]; {
	case first&0x80 != 0:
		index, rest, err := integer(b, 7)
		if err != nil {
			return nil, err
		}
		e, err := t.at(index)
		if err == nil {
			to.add(e)
		}
		return rest, err
	case first&0x40 != 0:
		return t.literal(b, 6, true, to)
	case first&0x20 != 0:
		size, rest, err := integer(b, 5)
		if err == nil {
			t.resize(size)
		}
		return rest, err
	default:
		return t.literal(b, 4, false, to)
	}
}

func (t *table) literal(b []byte, prefix uint, insert bool, to *block) ([]byte, error) {
	index, b, err := integer(b, prefix)
	if err != nil {
		return nil, err
	}
	var e entry
	var name text
	if index == 0 {
		name, b, err = readText(b)
	} else {
		var of *entry
		if of, err = t.at(index); err == nil {
			e.Header[0], e.unknown, e.invalid = of.Header[0], of.unknown, of.invalid
		}
	}
	if err != nil {
		return nil, err
	}
	value, b, err := readText(b)
	if err != nil {
		return nil, err
	}
	return b, t.complete(e, index == 0, name, value, insert, to)
}

// complete decodes the texts of a literal, now that all of it is there.
func (t *table) complete(e entry, named bool, name, value text, insert bool, to *block) (err error) {
	if named {
		if e.Header[0], err = name.decode(); err != nil {
			return err
		}
	}
	if !insert && t.answers && !wantedOfAnswers(e.Header[0]) {
		to.addUnread(&e, len(value.b))
		return nil
	}
	if e.Header[1], err = value.decode(); err != nil {
		return err
	}
	e.invalid = !t.answers && !e.unknown && (e.invalid || !validField(e.Header[0], e.Header[1], named))
	to.add(&e)
	if insert {
		t.add(e)
	}
	return nil
}

// text is a string literal as it stands in a block.
type text struct {
	b       []byte
	huffman bool
}

func readText(b []byte) (text, []byte, error) {
	if len(b) == 0 {
		return text{}, nil, errMore
	}
	huffman := b[0]&0x80 != 0
	n, rest, err := integer(b, 7)
	if err != nil {
		return text{}, nil, err
	}
	if n > len(rest) {
		return text{}, nil, errMore
	}
	return text{rest[:n], huffman}, rest[n:], nil
}

func (t text) decode() (string, error) {
	if !t.huffman {
		return string(t.b), nil
	}
	return hpack.HuffmanDecodeToString(t.b)
}

// integer reads one with a prefix of so many bits (RFC 7541, 5.1).
func integer(b []byte, prefix uint) (int, []byte, error) {
	if len(b) == 0 {
		return 0, nil, errMore
	}
	mask := 1<<prefix - 1
	v := int(b[0]) & mask
	if v < mask {
		return v, b[1:], nil
	}
	for i, c := range b[1:] {
		if i > 4 {
			return 0, nil, errHPACK
		}
		v += int(c&0x7f) << (7 * i)
		if v > maxInteger {
			return 0, nil, errHPACK
		}
		if c&0x80 == 0 {
			return v, b[i+2:], nil
		}
	}
	return 0, nil, errMore
}

// validField tells whether a field is well-formed by RFC 9113, 8.2.1. The name of one that a table has was looked at before.
func validField(name, value string, named bool) bool {
	return (!named || validName(name)) && validValue(value)
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || c >= 'A' && c <= 'Z' || c == ':' && i > 0 {
			return false
		}
	}
	return name != ""
}

func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= '\r' && (c == 0 || c == '\n' || c == '\r') {
			return false
		}
	}
	return true
}
