package http2

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"
)

const staticLen = 61 // entries of the static table, from 1 (RFC 7541, appendix A)

// tables are what RFC 7541 fixes, in the shape that decoding and encoding want. They are made of x/net's when they are
// first needed, and never changed.
var tables = sync.OnceValue(makeTables)

type tableSet struct {
	static  [staticLen + 1]field
	names   map[string]int    // the first entry of that name
	pairs   map[[2]string]int // the entry of that name and value
	huffman huffman
}

func makeTables() *tableSet {
	t := &tableSet{names: map[string]int{}, pairs: map[[2]string]int{}}
	d := hpack.NewDecoder(0, nil)
	for i := 1; i <= staticLen; i++ {
		fields, err := d.DecodeFull([]byte{0x80 | byte(i)})
		if err != nil {
			panic("http2: x/net's static table is not that of RFC 7541: " + err.Error())
		}
		f := fields[0]
		kind := nameOf([]byte(f.Name))
		t.static[i] = field{name: kind, nameLen: len(f.Name), valueLen: len(f.Value), value: valueOf(kind, []byte(f.Value))}
		t.pairs[[2]string{f.Name, f.Value}] = i
		if t.names[f.Name] == 0 {
			t.names[f.Name] = i
		}
	}
	t.huffman.build()
	return t
}

const (
	eos      = -1 // the symbol that must not be in a string
	fastBits = 12 // most of what stands in heads has codes of 5 to 7 bits, so that this is two of them
)

// huffman is the code of RFC 7541, appendix B.
type huffman struct {
	codes []code              // by rising bits: the one that a string begins with is the last that is not above it
	fast  [1 << fastBits]step // by the first bits of a string
}

// code is a symbol's code.
type code struct {
	bits uint64 // at the upper end
	n    uint   // how many
	sym  int
}

// step is what the next bits of a string stand for.
type step struct {
	syms      [2]byte
	n         uint8 // how many symbols; 0: the first has more than fastBits
	one, both uint8 // the bits of the first, and of all n
}

func (h *huffman) build() {
	for sym := range 256 {
		s := string([]byte{byte(sym)})
		n := uint(hpack.HuffmanEncodeLength(strings.Repeat(s, 8))) // eight codes have as many bytes as one has bits
		var padded [8]byte
		copy(padded[:], hpack.AppendHuffmanString(nil, s))
		h.codes = append(h.codes, code{binary.BigEndian.Uint64(padded[:]) &^ (1<<(64-n) - 1), n, sym})
	}
	h.codes = append(h.codes, code{bits.Reverse64(1<<30 - 1), 30, eos})
	slices.SortFunc(h.codes, func(a, b code) int { return cmp.Compare(a.bits, b.bits) })
	for i := range h.fast {
		h.fast[i] = h.step(uint64(i) << (64 - fastBits))
	}
}

// step gives the one or two symbols that fastBits of bits hold whole.
func (h *huffman) step(bits uint64) (s step) {
	for s.n < 2 {
		c := h.first(bits << s.both)
		if uint(s.both)+c.n > fastBits {
			break
		}
		s.syms[s.n] = byte(c.sym)
		s.n++
		s.one, s.both = s.both, s.both+uint8(c.n)
	}
	if s.n == 1 {
		s.one = s.both
	}
	return s
}

// first gives the code that bits begins with.
func (h *huffman) first(bits uint64) code {
	i, found := slices.BinarySearchFunc(h.codes, bits, func(c code, bits uint64) int { return cmp.Compare(c.bits, bits) })
	if !found {
		i--
	}
	return h.codes[i]
}

// expanded is the room that decode needs for n bytes: the shortest code has 5 bits, and it writes two symbols at once.
func expanded(n int) int { return n*8/5 + 2 }

// decode writes the string that src stands for to dst, and says how long it is; not ok where src is no Huffman code.
func (h *huffman) decode(dst, src []byte) (n int, ok bool) {
	var acc uint64 // the next bits, at the upper end
	var have uint  // how many of them are src's: at least 32, more than any code has, up to its end
	for {
		if have < 32 {
			acc, have, src = refill(acc, have, src)
		}
		s := &h.fast[acc>>(64-fastBits)]
		used := uint(s.both)
		switch {
		case s.n > 0 && used <= have:
			dst[n], dst[n+1] = s.syms[0], s.syms[1]
			n += int(s.n)
		case s.n > 0 && uint(s.one) <= have:
			used = uint(s.one)
			dst[n] = s.syms[0]
			n++
		case s.n > 0:
			return n, padding(acc, have)
		default:
			c := h.first(acc)
			if c.n > have {
				return n, padding(acc, have)
			}
			if c.sym == eos {
				return 0, false
			}
			used = c.n
			dst[n] = byte(c.sym)
			n++
		}
		acc <<= used
		have -= used
	}
}

// refill takes as many bytes of src into acc as fit. Eight at once may leave bits of the next byte behind what have
// counts: they come again with that byte.
func refill(acc uint64, have uint, src []byte) (uint64, uint, []byte) {
	if len(src) >= 8 {
		return acc | binary.BigEndian.Uint64(src)>>have, have | 56, src[(63-have)>>3:]
	}
	for ; have <= 56 && len(src) > 0; src = src[1:] {
		acc |= uint64(src[0]) << (56 - have)
		have += 8
	}
	return acc, have, src
}

// padding says whether the bits left over are the first of EOS, and less than 8 (5.2).
func padding(acc uint64, have uint) bool { return have < 8 && acc == ^uint64(0)<<(64-have) }
