package capture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/capture/redact"
	"umbra/internal/traffic"
)

// stripped redacts by leaving bodies out, and refuses what it is told to.
type stripped struct{}

func (stripped) Request(r *traffic.Request) error {
	if r.Method == "BAD" {
		return errors.New("cannot be looked into")
	}
	r.Body = nil
	return nil
}

func contents(t *testing.T, path string) (traffic.FileHeader, []traffic.Request) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := traffic.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []traffic.Request
	for request, err := range r.Requests() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, request)
	}
	return r.Header, out
}

// TestWriterSortsLate checks that requests in any order come out in theirs, whether the late ones fit into memory or not.
func TestWriterSortsLate(t *testing.T) {
	for room, body := range map[int]int{defaultMemory: 0, 10 << 20: 200_000, 4 << 10: 1} { // none, ten, and some hundred runs
		t.Run(fmt.Sprint(body), func(t *testing.T) {
			dir := t.TempDir()
			w := NewWriter(filepath.Join(dir, "a.jsonl.zst"), "test", nil, Rotation{})
			w.lateRoom = room
			const n = 500
			for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(n) {
				w.Write(epoch.Add(time.Duration(i)*time.Millisecond), &traffic.Request{Method: "GET", Path: fmt.Sprint("/", i), Body: make([]byte, body)})
			}
			w.Loss.Add(exchange.Gaps, 2)
			written, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			if written.Requests != n || written.Late == 0 || written.Loss["gaps"] != 2 {
				t.Errorf("wrote %+v", written)
			}
			header, requests := contents(t, filepath.Join(dir, "a.jsonl.zst"))
			if len(requests) != n || header.Requests != n || header.Loss["gaps"] != 2 || header.Start != epoch.UnixNano() || header.Partial {
				t.Errorf("%d requests, header %+v", len(requests), header)
			}
			for i, r := range requests {
				if r.At != time.Duration(i)*time.Millisecond || r.Path != fmt.Sprint("/", i) {
					t.Fatalf("request %d is %s at %v", i, r.Path, r.At)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("files were left: %v", left)
			}
		})
	}
}

func TestWriterRotates(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(filepath.Join(dir, "a.jsonl.zst"), "test", nil, Rotation{Every: time.Minute})
	for i := range 150 {
		w.Loss.Add(exchange.Gaps, 1)
		w.Write(epoch.Add(time.Duration(i)*time.Second), &traffic.Request{Method: "GET", Path: "/"})
	}
	written, err := w.Close()
	if err != nil || len(written.Files) != 3 {
		t.Fatalf("%+v, %v", written, err)
	}
	gaps := int64(0)
	for i, want := range []int{60, 60, 30} {
		header, requests := contents(t, filepath.Join(dir, fmt.Sprintf("a-%04d.jsonl.zst", i+1)))
		if len(requests) != want || requests[0].At != 0 || header.Start != epoch.Add(time.Duration(i)*time.Minute).UnixNano() {
			t.Errorf("file %d: %d requests from %v, header %+v", i+1, len(requests), requests[0].At, header)
		}
		gaps += header.Loss["gaps"]
	}
	if gaps != 150 {
		t.Errorf("the files lost %d in all", gaps)
	}
}

func TestWriterRotatesBySize(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(filepath.Join(dir, "a"), "test", nil, Rotation{Size: 200_000})
	random := rand.NewChaCha8([32]byte{})
	for i := range 100 {
		body := make([]byte, 10_000)
		_, _ = random.Read(body)
		w.Write(epoch.Add(time.Duration(i)*time.Second), &traffic.Request{Method: "POST", Path: "/", Body: body})
	}
	written, err := w.Close()
	if err != nil || len(written.Files) < 4 { // a million bytes, which base64 makes more
		t.Errorf("%+v, %v", written, err)
	}
	for _, file := range written.Files {
		if info, err := os.Stat(file); err != nil || info.Size() > 230_000 {
			t.Errorf("%s: %v, %d bytes", file, err, info.Size())
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	w := NewWriter(path, "test", stripped{}, Rotation{})
	for _, r := range []traffic.Request{{Method: "GET", Path: "/", Body: []byte("secret")}, {Method: "BAD", Path: "/"}, {Method: "GET", Path: "/\xff"}} {
		w.Write(epoch, &r)
	}
	written, err := w.Close()
	if err != nil || written.Requests != 1 || written.Loss[string(exchange.NotRedactable)] != 1 || written.Loss[string(exchange.NotReplayable)] != 1 {
		t.Errorf("%+v, %v", written, err)
	}
	if _, requests := contents(t, path); len(requests[0].Body) != 0 {
		t.Errorf("the file holds what was not redacted: %q", requests[0].Body)
	}
}

// TestWriterEmpty checks that a capture of nothing is a file all the same, that tells what was lost.
func TestWriterEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	w := NewWriter(path, "test", nil, Rotation{})
	w.Loss.Add(exchange.NotHTTP, 3)
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if header, requests := contents(t, path); len(requests) != 0 || header.Loss["connections_not_http"] != 3 {
		t.Errorf("%d requests, %+v", len(requests), header)
	}
}

func TestWriterCannotWrite(t *testing.T) {
	w := NewWriter(filepath.Join(t.TempDir(), "none", "a"), "test", nil, Rotation{})
	w.Write(epoch, &traffic.Request{Method: "GET", Path: "/"})
	if _, err := w.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

// TestWriterLeaves checks that what fails takes away no file that was there.
func TestWriterLeaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := NewWriter(path, "test", nil, Rotation{})
	w.Write(epoch, &traffic.Request{Method: "GET", Path: "/"})
	w.Abandon()
	if b, err := os.ReadFile(path); err != nil || string(b) != "kept" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files were left: %v", left)
	}
}

// TestCopyKeeps checks that a copy says of itself what its original does.
func TestCopyKeeps(t *testing.T) {
	dir := t.TempDir()
	a, err := traffic.CreateArchive(filepath.Join(dir, "a"), traffic.FileHeader{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Write(&traffic.Request{Method: "GET", Path: "/"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(traffic.FileHeader{Partial: true, Loss: map[string]int64{"gaps": 3}, Redacted: map[string]int64{"header cookie": 7}}); err != nil {
		t.Fatal(err)
	}
	redactor, err := redact.New(redact.Rules{}, redact.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(filepath.Join(dir, "b"), "a", redactor, Rotation{})
	if err := Copy(f, w); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if h, _ := contents(t, filepath.Join(dir, "b")); !h.Partial || h.Loss["gaps"] != 3 || h.Redacted["header cookie"] != 7 {
		t.Errorf("the header is %+v", h)
	}
}

// TestWriterKeepsNothing checks that a late request is not changed by what its memory is used for next.
func TestWriterKeepsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl.zst")
	w := NewWriter(path, "test", nil, Rotation{})
	start := time.Unix(1_700_000_000, 0)
	r := traffic.Request{Method: "GET", Scheme: "http", Path: "/new"}
	w.Write(start.Add(time.Second), &r)
	answer := traffic.Response{Status: 200}
	late := traffic.Request{Method: "POST", Scheme: "http", Path: "/late", Headers: []traffic.Header{{"a", "b"}}, Body: []byte("body"), Response: &answer}
	w.Write(start, &late)
	late.Headers[0], late.Body[0], answer.Status = traffic.Header{"x", "y"}, 'x', 500
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, requests := contents(t, path)
	if len(requests) != 2 {
		t.Fatalf("%d requests", len(requests))
	}
	got := requests[0]
	if got.Headers[0] != (traffic.Header{"a", "b"}) || string(got.Body) != "body" || got.Response.Status != 200 {
		t.Errorf("the late request became %+v, %+v", got, *got.Response)
	}
}
