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
	for i, h := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = appendText(b, h[0])
		b = append(b, ',')
		b = appendText(b, h[1])
		b = append(b, ']')
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

// plain tells whether a text is printable ASCII without quotes and backslashes. It looks at eight bytes at once: of x, the high
// bit of a byte of (x-k·ones) &^ x is set where that byte is below k, and where none of x is above 127 only there, up to the
// first one (Warren, Hacker's Delight, 6-1).
func plain(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := x^'"'*ones, x^'\\'*ones
		if (x|(x-' '*ones)|(quote-ones)|(slash-ones))&high != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
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

func textual(s string) bool { return plain(s) || utf8.ValidString(s) }
