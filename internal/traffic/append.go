package traffic

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// AppendRequest appends a request's line of a traffic file, as Writer writes it, without reflection.
func AppendRequest(b []byte, r *Request) []byte {
	b = append(b, `{"at_ns":`...)
	b = strconv.AppendInt(b, int64(r.At), 10)
	if r.Session != "" {
		b = appendMember(b, "session", r.Session)
	}
	b = appendMember(b, "method", r.Method)
	b = appendMember(b, "scheme", r.Scheme)
	b = appendMember(b, "authority", r.Authority)
	b = appendMember(b, "path", r.Path)
	b = append(b, `,"headers":[`...)
	for i := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHeader(b, &r.Headers[i])
	}
	b = append(b, ']')
	if len(r.Body) > 0 {
		b = append(b, `,"body":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Body)
		b = append(b, '"')
	}
	if r.Response != nil {
		b = appendResponse(b, r.Response)
	}
	return append(b, "}\n"...)
}

func appendResponse(b []byte, r *Response) []byte {
	b = append(b, `,"response":{"status":`...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, `,"latency_ns":`...)
	b = strconv.AppendInt(b, int64(r.Latency), 10)
	if r.BodySHA256 != "" {
		b = appendMember(b, "body_sha256", r.BodySHA256)
	}
	return append(b, '}')
}

func appendHeader(b []byte, h *Header) []byte {
	if (mixed(h[0])|mixed(h[1]))&high != 0 {
		b = append(b, '[')
		b = appendText(b, h[0])
		b = append(b, ',')
		b = appendText(b, h[1])
		return append(b, ']')
	}
	b = append(b, `["`...)
	b = append(b, h[0]...)
	b = append(b, `","`...)
	b = append(b, h[1]...)
	return append(b, `"]`...)
}

func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendText(b, value)
}

// appendText appends a JSON string. What needs no escape, which is nearly all, is copied.
func appendText(b []byte, s string) []byte {
	if !plain(s) {
		return appendEscaped(b, s)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// high are the high bits of eight bytes.
const high = 0x8080808080808080

// plain tells whether a text is printable ASCII without quotes and backslashes.
func plain(s string) bool { return mixed(s)&high == 0 }

// mixed sets a high bit where a text is not plain. It looks at eight bytes at once, the last of which it may look at twice.
func mixed(s string) (any uint64) {
	if len(s) < 8 {
		return specials(few(s))
	}
	for i := 0; i < len(s)-8; i += 8 {
		any |= specials(eight(s[i:]))
	}
	return any | specials(eight(s[len(s)-8:]))
}

// specials sets the high bit of a byte of x that is not plain, and of none where all are: of x, the high bit of a byte of
// (x-k·ones) &^ x is set where that byte is below k, and where none of x is above 127 only there, up to the first one (Warren,
// Hacker's Delight, 6-1).
func specials(x uint64) uint64 {
	const ones = 0x0101010101010101
	return x | (x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)
}

// eight gives the first eight bytes of s.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// few gives a text of less than eight bytes as eight of them, some of which may come twice; none of a text is eight plain ones.
func few(s string) uint64 {
	if len(s) >= 4 {
		return uint64(four(s)) | uint64(four(s[len(s)-4:]))<<32
	}
	all := uint64(spaces)
	for i := range len(s) {
		all = all<<8 | uint64(s[i])
	}
	return all
}

// spaces are eight of them, which are plain.
const spaces = 0x2020202020202020

func four(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func appendEscaped(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string cannot fail
	return append(b, text...)
}

// Textual tells whether a traffic file can hold the request as it was: JSON would change texts that are no UTF-8.
func Textual(r *Request) bool {
	any := bits(r.Path) | bits(r.Authority) | bits(r.Method)
	for i := range r.Headers {
		any |= bits(r.Headers[i][0]) | bits(r.Headers[i][1])
	}
	return any&high == 0 || isUTF8(r)
}

func isUTF8(r *Request) bool {
	for i := range r.Headers {
		if h := &r.Headers[i]; !utf8.ValidString(h[0]) || !utf8.ValidString(h[1]) {
			return false
		}
	}
	return utf8.ValidString(r.Path) && utf8.ValidString(r.Authority) && utf8.ValidString(r.Method)
}

// bits sets a high bit where a text is not ASCII. It looks at eight bytes at once, as mixed does.
func bits(s string) (any uint64) {
	if len(s) < 8 {
		return few(s)
	}
	for i := 0; i < len(s)-8; i += 8 {
		any |= eight(s[i:])
	}
	return any | eight(s[len(s)-8:])
}
