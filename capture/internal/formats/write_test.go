package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

type writer interface {
	Write(*traffic.Request) error
	Close() error
}

// targets are the formats that are written, with what each loses of a request.
var targets = []struct {
	kind Kind
	open func(io.Writer) writer
	lose func(*traffic.Request)
}{
	{HAR, func(w io.Writer) writer { return NewHARWriter(w) }, func(r *traffic.Request) {}},
	{Gor, func(w io.Writer) writer { return NewGorWriter(w) }, func(r *traffic.Request) {
		r.Session, r.Response, r.Scheme = "", nil, "http"
	}},
	{VegetaJSON, func(w io.Writer) writer { return NewVegetaWriter(w) }, func(r *traffic.Request) {
		r.Session, r.Response, r.At = "", nil, 0
		slices.SortStableFunc(r.Headers, func(a, b traffic.Header) int { return strings.Compare(a[0], b[0]) })
	}},
}

// sent leaves of a request what is sent again: without the headers that the next connection sets itself.
func sent(r traffic.Request) traffic.Request {
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h traffic.Header) bool { return traffic.OfConnection(strings.ToLower(h[0])) })
	if len(r.Headers) == 0 {
		r.Headers = nil
	}
	if len(r.Body) == 0 {
		r.Body = nil
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var requests []traffic.Request
	for i := range 500 {
		requests = append(requests, randomRequest(random, i))
	}
	for _, target := range targets {
		t.Run(string(target.kind), func(t *testing.T) {
			var file bytes.Buffer
			w := target.open(&file)
			var want []traffic.Request
			for _, r := range requests {
				if err := w.Write(&r); err != nil {
					t.Fatal(err)
				}
				r = sent(r)
				target.lose(&r)
				want = append(want, r)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if found, ok := Recognise(file.Bytes(), ""); !ok || found.Kind != target.kind {
				t.Errorf("recognised as %+v, %v", found, ok)
			}
			rows, err := Read(target.kind, "", &file, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []traffic.Request
			for r, err := range rows {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, sent(r))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-written +read)\n%s", diff)
			}
		})
	}
}

func randomRequest(random *rand.Rand, i int) traffic.Request {
	methods := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}
	r := traffic.Request{At: time.Duration(i) * 1234567 * time.Nanosecond, Session: fmt.Sprintf("10.0.0.%d:%d", i%7, i%11+1), Method: methods[random.IntN(len(methods))],
		Scheme: []string{"http", "https"}[i%2], Authority: fmt.Sprintf("h%d.test:8080", i%3), Path: fmt.Sprintf("/p%d?a=%%20é&b=%d", i, random.IntN(9))}
	for range random.IntN(4) {
		r.Headers = append(r.Headers, traffic.Header{[]string{"X-A", "x-b", "Accept"}[random.IntN(3)], fmt.Sprintf("v\"<ü\u2028 %d", random.IntN(9))})
	}
	r.Headers = append(r.Headers, traffic.Header{"Content-Type", "text/plain"}, traffic.Header{"Connection", "close"})
	if r.Method != "GET" {
		r.Body = make([]byte, random.IntN(40))
		for i := range r.Body {
			r.Body[i] = byte(random.IntN(256))
		}
		if i%3 == 0 {
			r.Body = []byte("text \ufffd <&> \u2028\r\n")
		}
	}
	if i%4 > 0 {
		r.Response = &traffic.Response{Status: 200 + i%4, Latency: time.Duration(i) * time.Microsecond}
		if i%4 > 1 {
			r.Response.BodySHA256 = digest(r.Body)
		}
	}
	return r
}

func TestUnwritable(t *testing.T) {
	good := traffic.Request{Method: "POST", Scheme: "http", Authority: "a.test", Path: "/"}
	for _, c := range []struct {
		name string
		edit func(*traffic.Request)
		gor  bool // GoReplay's format can hold it
	}{
		{"line break in a header", func(r *traffic.Request) { r.Headers = []traffic.Header{{"A", "b\r\nC: d"}} }, false},
		{"space in the path", func(r *traffic.Request) { r.Path = "/a b" }, false},
		{"before the start", func(r *traffic.Request) { r.At = -1 }, false},
		{"no host", func(r *traffic.Request) { r.Authority = "" }, false},
		{"asterisk", func(r *traffic.Request) { r.Method, r.Path = "OPTIONS", "*" }, true},
		{"fragment", func(r *traffic.Request) { r.Path = "/a#b" }, true},
		{"Latin-1 header", func(r *traffic.Request) { r.Headers = []traffic.Header{{"A", "\xe9"}} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good
			c.edit(&r)
			for _, target := range targets {
				var e *EntryError
				err := target.open(io.Discard).Write(&r)
				if holds := target.kind == Gor && c.gor; holds != (err == nil) || err != nil && !errors.As(err, &e) {
					t.Errorf("%s: %v", target.kind, err)
				}
			}
		})
	}
	good.Body = []byte("a\n" + gorSeparator + "\nb")
	if err := NewGorWriter(io.Discard).Write(&good); err == nil {
		t.Error("a body with the separator was written")
	}
	good.Body = []byte("a\n" + gorSeparator) // the line's end is the record's own
	if err := NewGorWriter(io.Discard).Write(&good); err == nil {
		t.Error("a body that ends with the separator was written")
	}
}

// What HAR 1.2 requires is there, whatever the requests.
func TestHARIsValid(t *testing.T) {
	for n := range 3 {
		var b bytes.Buffer
		w := NewHARWriter(&b)
		for i := range n {
			r := randomRequest(rand.New(rand.NewPCG(3, 4)), i)
			if err := w.Write(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var har struct {
			Log struct {
				Version string
				Creator struct{ Name, Version string }
				Entries []map[string]any
			}
		}
		if err := json.Unmarshal(b.Bytes(), &har); err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		if l := har.Log; l.Version != "1.2" || l.Creator.Name == "" || l.Creator.Version == "" || len(l.Entries) != n {
			t.Errorf("%d entries written, got %+v", n, l)
		}
		required := map[string][]string{"": {"startedDateTime", "time", "request", "response", "cache", "timings"},
			"request":  {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"},
			"response": {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"},
			"timings":  {"send", "wait", "receive"}}
		for _, e := range har.Log.Entries {
			for of, names := range required {
				object := e
				if of != "" {
					object, _ = e[of].(map[string]any)
				}
				for _, name := range names {
					if v, ok := object[name]; !ok || v == nil {
						t.Errorf("%s.%s is missing", of, name)
					}
				}
			}
		}
	}
}
