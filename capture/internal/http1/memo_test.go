package http1

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// parsed reads a request's head with a Memo, through a reader as the parser does; false where it is malformed or does not end.
func parsed(m *Memo, text string) (requestHead, bool) {
	r := reader{limit: 1 << 20, memo: m}
	return r.request(text, len(text))
}

// request reads a request's head that comes in two segments, the first one of which ends at cut.
func (r *reader) request(text string, cut int) (requestHead, bool) {
	part, ok := r.whole(text, cut)
	if !ok {
		return requestHead{}, false
	}
	return r.memo.parseRequest(part, nil)
}

func (r *reader) whole(text string, cut int) ([]byte, bool) {
	r.state = between
	for _, b := range [][]byte{[]byte(text[:cut]), []byte(text[cut:])} {
		event, part, rest := r.next(b)
		if event == begin {
			event, part, _ = r.next(rest)
		}
		if event == head {
			return part, true
		}
	}
	return nil, false
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
	held := len(m.lines) * int(unsafe.Sizeof(line{})+unsafe.Sizeof(slot{}))
	for _, l := range m.lines {
		held += len(l.text)
	}
	if held > size || remembered(m) < len(m.lines)/2 {
		t.Errorf("%d bytes are held in %d lines", held, remembered(m))
	}
}

// TestMemoKeepsWhatWasFound checks that a line of a head is not replaced by another one of the same head before that is parsed: of
// 16 places and 40 lines, many want the same one.
func TestMemoKeepsWhatWasFound(t *testing.T) {
	m := NewMemo(0)
	r := reader{limit: 1 << 20, memo: m}
	for i := range 300 {
		var text strings.Builder
		text.WriteString("GET / HTTP/1.1\r\n")
		for j := range 40 {
			fmt.Fprintf(&text, "A: %d\r\n", (i+j*j)%60)
		}
		text.WriteString("\r\n")
		want, _ := parsed(NewMemo(0), text.String())
		got, ok := r.request(text.String(), min(i, text.Len()))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(requestHead{}, framing{})); !ok || diff != "" {
			t.Fatalf("head %d: %v %s", i, ok, diff)
		}
	}
}

// TestOutline checks that the lines of the last head are found where the next one has others between them, lacks one, or ends early.
func TestOutline(t *testing.T) {
	m := NewMemo(1 << 20)
	r := reader{limit: 1 << 20, memo: m}
	const first = "GET / HTTP/1.1\r\nA: a\r\nB: b\r\nC: c\r\n\r\n"
	for range 3 {
		r.request(first, len(first))
	}
	if n := len(r.outline.lines); n != 3 {
		t.Fatalf("the outline has %d lines, want 3", n)
	}
	for _, text := range []string{"GET / HTTP/1.1\r\nA: a\r\nX: 1\r\nB: b\r\nC: c\r\n\r\n", "GET / HTTP/1.1\r\nA: a\r\nC: c\r\n\r\n", "GET / HTTP/1.1\nA: a\nB: bb\r\nC: c\r\n d\r\n\r\n", first} {
		want, _ := parsed(NewMemo(0), text)
		got, ok := r.request(text, len(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(requestHead{}, framing{})); !ok || diff != "" {
			t.Errorf("%q: %v %s", text, ok, diff)
		}
	}
}

// TestOutlineIsBounded checks what a connection keeps of a head of many lines.
func TestOutlineIsBounded(t *testing.T) {
	r := reader{limit: 1 << 20, memo: NewMemo(1 << 22)}
	var text strings.Builder
	text.WriteString("GET / HTTP/1.1\r\n")
	for i := range 500 {
		fmt.Fprintf(&text, "A: %d\r\n", i)
	}
	text.WriteString("\r\n")
	for range 3 {
		r.request(text.String(), text.Len())
	}
	if n := len(r.outline.lines); n != maxOutline {
		t.Errorf("the outline has %d lines, want %d", n, maxOutline)
	}
}

// FuzzMemo checks that what a Memo has read before changes nothing of what it reads.
func FuzzMemo(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\nHost: a\n folded\n\n")
	f.Add("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\nA\r\n :b\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n", "GET / HTTP/1.1\r\nC: d\r\nA: b\r\n e\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\nServer: a\r\n\r\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		m := NewMemo(0)
		r := reader{limit: 1 << 20, memo: m}
		for i, text := range []string{first, second, first, second, second, first} {
			want, wantOK := parsed(NewMemo(0), text)
			cut := len(text)
			if i > 3 {
				cut /= 2
			}
			got, ok := r.request(text, cut)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(requestHead{}, framing{})); ok != wantOK || ok && diff != "" {
				t.Fatalf("%q: %v, want %v %s", text, ok, wantOK, diff)
			}
			wantAnswer, wantOK := (&reader{limit: 1 << 20, memo: NewMemo(0)}).response(text, len(text))
			answer, ok := r.response(text, cut)
			if answer != wantAnswer || ok != wantOK {
				t.Fatalf("%q: %+v %v, want %+v %v", text, answer, ok, wantAnswer, wantOK)
			}
		}
	})
}

// response reads an answer's head as request does.
func (r *reader) response(text string, cut int) (responseHead, bool) {
	part, ok := r.whole(text, cut)
	if !ok {
		return responseHead{}, false
	}
	return r.memo.parseResponse(part)
}
