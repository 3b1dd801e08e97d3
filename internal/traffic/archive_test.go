package traffic

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var archived = []Request{
	{Method: "GET", Scheme: "http", Authority: "shop", Path: "/", Headers: []Header{{"accept", "*/*"}}},
	{At: 5, Session: "a#1", Method: "POST", Scheme: "https", Authority: "shop:8443", Path: `/"q"?a=\b<&>`, Headers: []Header{{"x", "é\u2028\t"}, {"y", ""}},
		Body: []byte{0, 1, 255}, Response: &Response{Status: 201, Latency: 3 * time.Millisecond, BodySHA256: "ab"}},
	{At: 7, Method: "GET", Path: "/", Response: &Response{Status: 204}},
}

// TestAppendRequest holds the fast encoder against encoding/json and the reader.
func TestAppendRequest(t *testing.T) {
	for _, want := range archived {
		got, err := parseRequest(bytes.TrimRight(AppendRequest(nil, &want), "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if want.Headers == nil {
			want.Headers = []Header{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzAppendRequest(f *testing.F) {
	f.Add("GET", "/", "x", "é\x00\"", []byte("b"))
	f.Fuzz(func(t *testing.T, method, path, name, value string, body []byte) {
		line := AppendRequest(nil, &Request{Method: method, Path: path, Headers: []Header{{name, value}}, Body: body})
		var got requestLine
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(value)
		var through string
		_ = json.Unmarshal(want, &through)
		if got.Headers[0][1] != through || !bytes.Equal(got.Body, body) {
			t.Errorf("%q became %q, %q became %q", value, got.Headers[0][1], body, got.Body)
		}
	})
}

func TestArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.jsonl.zst")
	a, err := CreateArchive(path, FileHeader{Source: "shop.pcap"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range archived {
		if err := a.Write(&archived[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if h, n := readBack(t, path+".part"); !h.Partial || n != len(archived) {
		t.Errorf("before the end: %+v, %d requests", h, n)
	}
	if err := a.Close(FileHeader{Source: "shop.pcap", Loss: map[string]int64{"gaps": 2}, Start: 9}); err != nil {
		t.Fatal(err)
	}
	want := FileHeader{Umbra: Format, Source: "shop.pcap", Loss: map[string]int64{"gaps": 2}, Start: 9, Requests: 3}
	h, n := readBack(t, path)
	if diff := cmp.Diff(want, h); diff != "" || n != len(archived) {
		t.Errorf("%d requests, %s", n, diff)
	}
	if _, err := os.Stat(path + ".part"); !os.IsNotExist(err) {
		t.Errorf("the partial file is still there: %v", err)
	}
}

// TestArchiveHeaderTooLong checks that a header for which there is no room is an error, and not written over the requests.
func TestArchiveHeaderTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	a, err := CreateArchive(path, FileHeader{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Abandon()
	loss := map[string]int64{}
	for i := range int64(3000) {
		loss[string(AppendRequest(nil, &Request{At: time.Duration(i * 7919)}))] = i * 104729
	}
	if err := a.Close(FileHeader{Loss: loss}); err == nil {
		t.Error("no error")
	}
}

func readBack(t *testing.T, path string) (FileHeader, int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for got, err := range r.Requests() {
		if err != nil {
			break // the frame has no end yet
		}
		if got.Path != archived[n].Path {
			t.Errorf("request %d is %+v", n, got)
		}
		n++
	}
	return r.Header, n
}

func BenchmarkArchive(b *testing.B) {
	a, err := CreateArchive(filepath.Join(b.TempDir(), "x"), FileHeader{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Abandon()
	for i := 0; b.Loop(); i++ {
		if err := a.Write(&archived[i%len(archived)]); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPlain holds plain and bits against looking at each byte: each of the bytes at each place of texts of several lengths.
func TestPlain(t *testing.T) {
	for n := range 26 {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte("~"), n)
				b[at] = byte(c)
				if want := c >= ' ' && c < 0x80 && c != '"' && c != '\\'; plain(string(b)) != want {
					t.Fatalf("plain(%q) is not %v", b, want)
				}
				if want := c < 0x80; (bits(string(b))&high == 0) != want {
					t.Fatalf("%q is ASCII: not %v", b, want)
				}
			}
		}
	}
	if !plain("") || bits("")&high != 0 {
		t.Error("an empty text is neither")
	}
}
