package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsed reads a request's head with a Memo, through a reader as the parser does; false where it is malformed or does not end.
func parsed(m *Memo, text string) (requestHead, bool) {
	r := reader{limit: 1 << 20, memo: m}
	_, _, b := r.next([]byte(text))
	event, part, _ := r.next(b)
	if event != head {
		return requestHead{}, false
	}
	return m.parseRequest(part, nil)
}

func TestMemoRemembers(t *testing.T) {
	const text = "GET /a HTTP/1.1\r\nHost:  shop \r\nContent-Length: 3\nx-y:\r\n\r\n"
	m := NewMemo(1 << 20)
	want, _ := parsed(NewMemo(0), text)
	for i := range 4 {
		got, ok := parsed(m, text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(requestHead{}, framing{})); diff != "" || !ok {
			t.Fatalf("read %d: %v %s", i, ok, diff)
		}
	}
	if n := remembered(m); n != 3 {
		t.Errorf("%d lines are remembered, want 3", n)
	}
}

func remembered(m *Memo) (n int) {
	for _, l := range m.lines {
		if l.text != "" {
			n++
		}
	}
	return n
}

// TestMemoForgets checks what is never remembered: what came once, long lines, and what is malformed.
func TestMemoForgets(t *testing.T) {
	m := NewMemo(1 << 20)
	for name, field := range map[string]string{
		"too long":           "Cookie: " + strings.Repeat("x", longestLine),
		"without a colon":    "Cookie",
		"CR in the value":    "A: b\rc",
		"NUL in the value":   "A: b\x00",
		"space in the name":  "A b: c",
		"on several lines":   "A: b\r\n c",
		"nothing but spaces": "\t",
	} {
		for range 3 {
			if _, ok := parsed(m, "GET / HTTP/1.1\r\n"+field+"\r\n\r\n"); ok != (name == "too long" || name == "on several lines") {
				t.Errorf("%s: %v", name, ok)
			}
		}
	}
	for i := range 100 {
		parsed(m, fmt.Sprintf("GET / HTTP/1.1\r\nX-Request-Id: %d\r\n\r\n", i))
	}
	if n := remembered(m); n != 0 {
		t.Errorf("%d lines are remembered", n)
	}
}

// TestMemoIsBounded checks that a Memo has the size that it was given, whatever it reads.
func TestMemoIsBounded(t *testing.T) {
	const size = 1 << 20
	m := NewMemo(size)
	for i := range 4000 {
		text := fmt.Sprintf("GET / HTTP/1.1\r\nA: %d%s\r\n\r\n", i, strings.Repeat("x", 900))
		parsed(m, text)
		parsed(m, text)
	}
	held := len(m.lines) * lineSize
	for _, l := range m.lines {
		held += len(l.text)
	}
	if held > size || remembered(m) < len(m.lines)/2 {
		t.Errorf("%d bytes are held in %d lines", held, remembered(m))
	}
}

// FuzzMemo checks that what a Memo has read before changes nothing of what it reads.
func FuzzMemo(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\nHost: a\n folded\n\n")
	f.Add("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\nA\r\n :b\r\n\r\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		m := NewMemo(0)
		for _, text := range []string{first, second, first, second, second, first} {
			want, wantOK := parsed(NewMemo(0), text)
			got, ok := parsed(m, text)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(requestHead{}, framing{})); ok != wantOK || ok && diff != "" {
				t.Fatalf("%q: %v, want %v %s", text, ok, wantOK, diff)
			}
		}
	})
}
