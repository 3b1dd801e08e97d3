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
	if !plain(h[0]) || !plain(h[1]) {
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

// plain tells whether a text is printable ASCII without quotes and backslashes. It looks at eight bytes at once, the last of
// which it may look at twice.
func plain(s string) bool {
	const high = 0x8080808080808080
	if len(s) < 8 {
		for i := range len(s) {
			if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
				return false
			}
		}
		return true
	}
	special := uint64(0)
	for i := 0; i < len(s)-8; i += 8 {
		special |= specials(eight(s[i:]))
	}
	return (special|specials(eight(s[len(s)-8:])))&high == 0
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

func appendEscaped(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string cannot fail
	return append(b, text...)
}

// Textual tells whether a traffic file can hold the request as it was: JSON would change texts that are no UTF-8.
func Textual(r *Request) bool {
	for i := range r.Headers {
		if h := &r.Headers[i]; !textual(h[0]) || !textual(h[1]) {
			return false
		}
	}
	return textual(r.Path) && textual(r.Authority) && textual(r.Method)
}

func textual(s string) bool { return ascii(s) || utf8.ValidString(s) }

// ascii looks at eight bytes at once, as plain does.
func ascii(s string) bool {
	const high = 0x8080808080808080
	any := uint64(0)
	if len(s) < 8 {
		for i := range len(s) {
			any |= uint64(s[i])
		}
		return any < utf8.RuneSelf
	}
	for i := 0; i < len(s)-8; i += 8 {
		any |= eight(s[i:])
	}
	return (any|eight(s[len(s)-8:]))&high == 0
}
