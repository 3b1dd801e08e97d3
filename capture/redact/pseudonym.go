package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"strings"
	"unicode"
)

// Bounds of what is remembered, as most values of a capture come again and again.
const (
	maxRemembered      = 8192 // pseudonyms
	maxRememberedValue = 1024 // bytes of a value
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// pseudonym is what stands for a value; tag tells values apart in the counts.
type pseudonym struct {
	text string
	tag  uint64
}

type shaped struct {
	value string
	keep  Keep
}

// keepNumber is how a number of JSON is replaced.
const keepNumber Keep = "number"

// pseudonyms makes them. Each use has a key of its own, derived from the user's, so that no output of one tells of another.
type pseudonyms struct {
	text, shape, digest hash.Hash
	known               map[shaped]pseudonym
}

func newPseudonyms(key []byte) *pseudonyms {
	derive := func(use string) hash.Hash {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("umbra/redact/v1 " + use))
		return hmac.New(sha256.New, mac.Sum(nil))
	}
	return &pseudonyms{derive("text"), derive("shape"), derive("digest"), map[shaped]pseudonym{}}
}

// of gives the pseudonym of a value.
func (p *pseudonyms) of(value string, keep Keep) pseudonym {
	if s, ok := p.known[shaped{value, keep}]; ok {
		return s
	}
	s := p.make(value, keep)
	if len(value) <= maxRememberedValue {
		if len(p.known) >= maxRemembered {
			clear(p.known)
		}
		p.known[shaped{strings.Clone(value), keep}] = s // value may be a part of something larger
	}
	return s
}

func (p *pseudonyms) make(value string, keep Keep) pseudonym {
	if keep == "" {
		sum := macOf(p.text, value)
		return pseudonym{opaque(sum), binary.BigEndian.Uint64(sum[16:])}
	}
	sum := macOf(p.shape, value)
	random := rand.New(rand.NewChaCha8(sum))
	tag := binary.BigEndian.Uint64(sum[16:])
	switch keep {
	case keepNumber:
		return pseudonym{likeNumber(value, random), tag}
	case KeepClass:
		return pseudonym{likeClass(value, random), tag}
	}
	return pseudonym{likeLength(value, random), tag}
}

// keyedDigest stands for a digest.
func (p *pseudonyms) keyedDigest(digest string) string {
	sum := macOf(p.digest, digest)
	return hex.EncodeToString(sum[:])
}

func macOf(mac hash.Hash, value string) (sum [sha256.Size]byte) {
	mac.Reset()
	mac.Write([]byte(value))
	mac.Sum(sum[:0])
	return sum
}

// opaque is 128 bits of sum in base 62, 11 characters for 64 bits.
func opaque(sum [sha256.Size]byte) string {
	var text [22]byte
	for half := range 2 {
		bits := binary.BigEndian.Uint64(sum[8*half:])
		for i := 10; i >= 0; i-- {
			text[11*half+i] = base62[bits%62]
			bits /= 62
		}
	}
	return string(text[:])
}

func likeLength(value string, random *rand.Rand) string {
	var b strings.Builder
	for range value {
		b.WriteByte(base62[random.IntN(62)])
	}
	return b.String()
}

// likeClass leaves punctuation, unless there is nothing else: that would be the value itself.
func likeClass(value string, random *rand.Rand) string {
	if !strings.ContainsFunc(value, func(c rune) bool { return !asciiOther(c) }) {
		return likeLength(value, random)
	}
	letters := 26
	if isHex(value) {
		letters = 6
	}
	var b strings.Builder
	for _, c := range value {
		switch {
		case asciiOther(c):
			b.WriteRune(c)
		case unicode.IsDigit(c):
			b.WriteByte('0' + byte(random.IntN(10)))
		case unicode.IsUpper(c):
			b.WriteByte('A' + byte(random.IntN(letters)))
		default:
			b.WriteByte('a' + byte(random.IntN(letters)))
		}
	}
	return b.String()
}

func asciiOther(c rune) bool {
	return c < 0x80 && !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
}

// isHex tells a value of hexadecimal digits, with dashes and colons between them, from a word that happens to be one.
func isHex(value string) bool {
	other := strings.ContainsFunc(value, func(c rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF-:", c) })
	return !other && len(value) >= 8 && strings.ContainsAny(value, "0123456789")
}

// likeNumber keeps the sign, the point and the count of digits of a number of JSON; an exponent goes. A whole number of 10, 19
// or 20 digits stays one that 32 or 64 bits hold.
func likeNumber(value string, random *rand.Rand) string {
	value, _, _ = strings.Cut(strings.ReplaceAll(value, "E", "e"), "e")
	whole, _, _ := strings.Cut(strings.TrimPrefix(value, "-"), ".")
	b := []byte(value)
	first := len(value) - len(strings.TrimPrefix(value, "-"))
	for i, c := range b {
		if c == '-' || c == '.' {
			continue
		}
		low, high := byte(0), byte(10)
		switch n := len(whole); {
		case i == first && (n == 10 || n == 19 || n == 20):
			low, high = 1, 2
		case i == first && n > 1:
			low = 1
		case i == first+1 && n == 20:
			high = 8
		}
		b[i] = '0' + low + byte(random.IntN(int(high-low)))
	}
	return string(b)
}
