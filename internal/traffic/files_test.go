package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func sampleResults(n int) []Result {
	out := make([]Result, n)
	for i := range out {
		due := time.Duration(i) * time.Millisecond
		out[i] = Result{ID: fmt.Sprintf("%016x", i), Name: "list", Route: "shop/app/all", Method: "GET", Path: "/a?b=1", Phase: PhaseStage,
			Block: -1, Due: due, Ready: due, Sent: due + 10, FirstByte: due + 20, LastByte: due + 30, End: due + 30,
			Outcome: OK, Status: 200, RequestBytes: 120, ResponseBytes: 220, Conn: i % 4}
	}
	if n > 1 {
		out[1] = Result{ID: "never", Method: "POST", Path: "/", Phase: PhaseBlock, Block: 3, Arm: "on", Due: 5, Ready: Never, Sent: Never,
			FirstByte: Never, LastByte: Never, End: 9, Outcome: Unsent, Error: "dropped", Conn: -1}
	}
	return out
}

func collect[T any](rows iter.Seq2[T, error]) (out []T, err error) {
	for v, e := range rows {
		if e != nil {
			return out, e
		}
		out = append(out, v)
	}
	return out, nil
}

func writeResults(t testing.TB, rows []Result, start time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewResultWriter(&b, start)
	for i := range rows {
		if err := w.Write(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestResultsRoundTrip(t *testing.T) {
	want, begin := sampleResults(3*batchRows+7), time.Unix(1700000000, 42)
	start, rows, err := ReadResults(bytes.NewReader(writeResults(t, want, begin)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(rows)
	if err != nil {
		t.Fatal(err)
	}
	if !start.Equal(begin) {
		t.Errorf("start = %v, want %v", start, begin)
	}
	sameRows(t, got, want)
}

// A writer that is killed can leave any prefix of its file.
func TestResultsOfAKilledWriter(t *testing.T) {
	whole := writeResults(t, sampleResults(2*batchRows), time.Unix(1, 0))
	seen := map[int]bool{}
	cuts := []int{0, 1, 7, 8, len(whole) - len(endOfStream), len(whole) - 1}
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		cuts = append(cuts, random.IntN(len(whole)))
	}
	for _, cut := range cuts {
		_, rows, err := ReadResults(bytes.NewReader(whole[:cut]))
		var got []Result
		if err == nil {
			got, err = collect(rows)
		}
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d of %d: error %v does not say that the file ends early", cut, len(whole), err)
		}
		if len(got)%batchRows != 0 {
			t.Fatalf("cut at %d: %d rows, want whole batches of %d", cut, len(got), batchRows)
		}
		seen[len(got)] = true
	}
	for _, n := range []int{0, batchRows, 2 * batchRows} {
		if !seen[n] {
			t.Errorf("no cut left %d rows: whole batches were lost", n)
		}
	}
}

// Rows behind the end of a stream would be passed over: that must not look like a whole file.
func TestResultsOfJoinedFiles(t *testing.T) {
	one := writeResults(t, sampleResults(5), time.Unix(1, 0))
	_, rows, err := ReadResults(bytes.NewReader(append(bytes.Clone(one), one...)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(rows); len(got) != 5 || err == nil || errors.Is(err, ErrTruncated) {
		t.Errorf("%d rows and error %v, want 5 and one that is not of a cut file", len(got), err)
	}
}

func TestResultsFlushReachesTheFile(t *testing.T) {
	var b bytes.Buffer
	w := NewResultWriter(&b, time.Unix(1, 0))
	rows := sampleResults(3)
	for i := range rows {
		if err := w.Write(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	_, seq, err := ReadResults(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(seq)
	if len(got) != 3 || !errors.Is(err, ErrTruncated) {
		t.Errorf("after Flush: %d rows and %v, want 3 and ErrTruncated", len(got), err)
	}
}

func TestResultsOfAnotherSchema(t *testing.T) {
	var b bytes.Buffer
	w := NewReceiptWriter(&b)
	if err := errors.Join(w.Write(&Receipt{ID: "a", Arrived: time.Unix(0, 1)}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadResults(&b); err == nil || errors.Is(err, ErrTruncated) {
		t.Errorf("reading receipts as results: %v", err)
	}
}

func sampleReceipts() []Receipt {
	return []Receipt{
		{"a", "v1", "app-v1-0", time.Unix(5, 6), time.Millisecond, "GET", "h", "/p", "11", "22", 3, 200, "33", false, "44"},
		{"", "v2", "app-v2-0", time.Unix(5, 7), Never, "POST", "h", "/p", "11", "22", 3, 0, "", true, ""},
	}
}

func TestReceiptsRoundTrip(t *testing.T) {
	want := sampleReceipts()
	var b bytes.Buffer
	w := NewReceiptWriter(&b)
	for i := range want {
		if err := w.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := collect(ReadReceipts(&b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func sampleTraffic() []Request {
	return []Request{
		{At: 0, Method: "GET", Scheme: "http", Authority: "a.example.com", Path: "/?q=<&>", Headers: []Header{{"Accept", "*/*"}}},
		{At: 5, Session: "c1", Method: "POST", Scheme: "https", Authority: "a", Path: "/x", Headers: []Header{}, Body: []byte{0, 255, '\n'},
			Response: &Response{Status: 201, Latency: 7, BodySHA256: "ab"}},
	}
}

func writeTraffic(t testing.TB, requests []Request) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, "test", map[string]int64{"gaps": 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		if err := w.Write(&requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTrafficRoundTrip(t *testing.T) {
	r, err := NewReader(bytes.NewReader(writeTraffic(t, sampleTraffic())))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := collect(r.Requests())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleTraffic(), got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(FileHeader{Umbra: Format, Source: "test", Loss: map[string]int64{"gaps": 2}}, r.Header); diff != "" {
		t.Error(diff)
	}
}

// The golden file is what zstdcat shows: others read it with jq.
func TestTrafficLines(t *testing.T) {
	d, err := zstd.NewReader(bytes.NewReader(writeTraffic(t, sampleTraffic())))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "traffic.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func compress(t testing.TB, text string) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll([]byte(text), nil)
}

func TestTrafficFaults(t *testing.T) {
	const head = `{"umbra":"traffic/v1","source":"x","loss":{}}` + "\n"
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"not zstd":      {[]byte("hello"), "not a traffic file"},
		"empty":         {nil, "not a traffic file"},
		"no header":     {compress(t, "{}\n"), "line 1: not a traffic file"},
		"later version": {compress(t, `{"umbra":"traffic/v2"}`+"\n"), "line 1: not a traffic file"},
		"bad JSON":      {compress(t, head+"{]\n"), "line 2: "},
		"no method":     {compress(t, head+`{"path":"/"}`+"\n"), `line 2: "method" is missing`},
		"no path":       {compress(t, head+`{"method":"GET"}`+"\n"), `line 2: "path" is missing`},
		"negative":      {compress(t, head+`{"method":"GET","path":"/","at_ns":-1}`+"\n"), `line 2: "at_ns" is -1`},
		"cut line":      {compress(t, head+`{"method":"GET"`), "line 2: the file ends early"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(c.file))
			if err == nil {
				defer r.Close()
				_, err = collect(r.Requests())
			}
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// Reading goes on behind a bad line.
func TestTrafficBadLineLosesNothingElse(t *testing.T) {
	r, err := NewReader(bytes.NewReader(compress(t, `{"umbra":"traffic/v1","source":"x","loss":{}}`+"\n{\n"+`{"method":"GET","path":"/"}`+"\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var good, bad int
	for _, err := range r.Requests() {
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d good and %d bad lines, want 1 and 1", good, bad)
	}
}

func TestTrafficOfAKilledWriter(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	requests := sampleTraffic()
	for i := range requests {
		if err := errors.Join(w.Write(&requests[i]), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewReader(bytes.NewReader(b.Bytes())) // no Close: the frame has no end
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := collect(r.Requests())
	if len(got) != 2 || !errors.Is(err, ErrTruncated) {
		t.Errorf("%d requests and %v, want 2 and ErrTruncated", len(got), err)
	}
}

func FuzzTrafficFile(f *testing.F) {
	f.Add(writeTraffic(f, sampleTraffic()))
	f.Add(compress(f, `{"umbra":"traffic/v1","loss":{"a":1}}`+"\n\n"+`{"method":"GET","path":"/","headers":[["a"]]}`+"\n"))
	f.Add([]byte("(\xb5/\xfd"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		defer r.Close()
		var good []Request
		for v, err := range r.Requests() {
			if err == nil {
				good = append(good, v)
			}
		}
		again, err := NewReader(bytes.NewReader(writeTraffic(t, good)))
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		got, err := collect(again.Requests())
		if err != nil || len(got) != len(good) {
			t.Fatalf("%d of %d requests after a round trip, error %v", len(got), len(good), err)
		}
	})
}

func TestHeaderDigest(t *testing.T) {
	base := http.Header{"Content-Type": {"application/json"}, "X-Replay-Id": {"1"}, "Cookie": {"a", "b"}}
	same := http.Header{"X-Replay-Id": {"1"}, "Cookie": {"b", "a"}, "Content-Type": {"application/json"}, "X-Forwarded-For": {"10.0.0.1"},
		"X-Request-Id": {"z"}, "X-Envoy-Internal": {"true"}, "X-B3-Traceid": {"1"}, "Connection": {"close"}, "Content-Length": {"3"}}
	if HeaderDigest(base) != HeaderDigest(same) {
		t.Error("what proxies add changes the digest")
	}
	for name, h := range map[string]http.Header{
		"value":   {"Content-Type": {"text/plain"}, "X-Replay-Id": {"1"}, "Cookie": {"a", "b"}},
		"missing": {"X-Replay-Id": {"1"}, "Cookie": {"a", "b"}},
		"added":   {"Content-Type": {"application/json"}, "X-Replay-Id": {"1"}, "Cookie": {"a", "b"}, "X-Forward": {"1"}},
	} {
		if HeaderDigest(base) == HeaderDigest(h) {
			t.Errorf("%s: the digest does not change", name)
		}
	}
}
