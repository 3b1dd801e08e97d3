package http2

import (
	"strconv"
	"strings"

	"umbra/internal/traffic"
)

// AppendHead appends the header block of a request: its headers as they were captured, in their order, without those
// that belong to the connection it was captured from. The block does without the dynamic table, so that it holds on every
// connection, and without Huffman codes, so that an id of equal length can be put in place of the first: idAt is where
// the id stands in out.
func AppendHead(b []byte, scheme string, r *traffic.Request, id string) (out []byte, idAt int) {
	b = appendField(b, ":method", r.Method) // first: Open looks for headBlock
	b = appendField(b, ":scheme", scheme)
	if r.Authority != "" {
		b = appendField(b, ":authority", r.Authority)
	}
	b = appendField(b, ":path", r.Path)
	b = appendField(b, strings.ToLower(traffic.IDHeader), id)
	idAt = len(b) - len(id)
	for _, h := range r.Headers {
		name, value := strings.ToLower(h[0]), strings.Trim(h[1], " \t")
		if !traffic.OfConnection(name) && (name != "te" || strings.EqualFold(value, "trailers")) {
			b = appendField(b, name, value)
		}
	}
	if r.HasLength() {
		b = appendField(b, "content-length", strconv.Itoa(len(r.Body)))
	}
	return b, idAt
}

// appendField appends a field as an entry of the static table where it is one, or as a literal that is not put into the
// dynamic table (RFC 7541, 6.2.2).
func appendField(b []byte, name, value string) []byte {
	t := tables()
	if i := t.pairs[[2]string{name, value}]; i != 0 {
		return appendInteger(b, 0x80, 7, i)
	}
	i := t.names[name]
	b = appendInteger(b, 0, 4, i)
	if i == 0 {
		b = appendString(b, name)
	}
	return appendString(b, value)
}

func appendString(b []byte, s string) []byte {
	return append(appendInteger(b, 0, 7, len(s)), s...)
}

// appendInteger appends n behind the bits of first, with a prefix of so many bits (5.1).
func appendInteger(b []byte, first byte, prefix uint, n int) []byte {
	full := 1<<prefix - 1
	if n < full {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(full))
	for n -= full; n >= 0x80; n >>= 7 {
		b = append(b, 0x80|byte(n))
	}
	return append(b, byte(n))
}
