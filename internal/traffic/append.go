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
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string cannot fail
	return append(b, text...)
}
