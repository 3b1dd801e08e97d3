package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// patience bounds every wait of the tests; none is expected to take it.
const patience = 30 * time.Second

func start(t *testing.T, config Config) *App {
	t.Helper()
	config.Listen, config.Admin, config.SpillDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	if config.Version == "" {
		config.Version, config.Pod = "v1", "shop-v1-0"
	}
	a, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

// client speaks HTTP/2 without TLS, or HTTP/1.1.
func client(t *testing.T, h2 bool) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func send(c *http.Client, a *App, method, path, id, body string) (*http.Response, string, error) {
	r, err := http.NewRequest(method, "http://"+a.Addr()+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Host = "shop.example.com"
	if id != "" {
		r.Header.Set(traffic.IDHeader, id)
	}
	res, err := c.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

func admin(t *testing.T, a *App, path string) (*http.Response, []byte) {
	t.Helper()
	res, err := http.Get("http://" + a.AdminAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func receipts(t *testing.T, a *App) (all []traffic.Receipt) {
	t.Helper()
	res, body := admin(t, a, "/receipts")
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "application/vnd.apache.arrow.stream" {
		t.Fatalf("receipts: status %d, type %q: %s", res.StatusCode, got, body)
	}
	for r, err := range traffic.ReadReceipts(bytes.NewReader(body)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// awaitReceipts fetches until the receipts are as they should be.
func awaitReceipts(t *testing.T, a *App, what string, ok func([]traffic.Receipt) bool) []traffic.Receipt {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		all := receipts(t, a)
		if ok(all) {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s; receipts: %+v", what, all)
		}
	}
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestAnswerAndReceipt(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		h2                     bool
		method, path, id, body string
		size                   int
	}{
		{name: "HTTP/1.1 read", method: "GET", path: "/api/items?page=3", id: "a-1"},
		{name: "HTTP/2 read", h2: true, method: "GET", path: "/api/items?page=3", id: "a-1"},
		{name: "HTTP/1.1 write", method: "POST", path: "/api/orders", id: "a-2", body: `{"sku":"a"}`},
		{name: "HTTP/2 write", h2: true, method: "POST", path: "/api/orders", id: "a-2", body: `{"sku":"a"}`},
		{name: "without an id", method: "GET", path: "/"},
		{name: "bytes of the path are kept", method: "GET", path: "/a%2Fb//c?x=%20", id: "a-3"},
		{name: "small response", method: "GET", path: "/", id: "a-4", size: 300},
		{name: "large response", h2: true, method: "GET", path: "/", id: "a-5", size: 100_001},
		{name: "head", method: "HEAD", path: "/", id: "a-6", size: 300},
		{name: "large upload", method: "PUT", path: "/blob", id: "a-7", body: strings.Repeat("0123456789", 200_000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := start(t, Config{Behaviour: Behaviour{ResponseSize: tc.size}})
			before := time.Now()
			res, text, err := send(client(t, tc.h2), a, tc.method, tc.path, tc.id, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 200 || res.Header.Get(VersionHeader) != "v1" || strings.Contains(text, "v1") {
				t.Errorf("answer: status %d, headers %v, body %q", res.StatusCode, res.Header, text)
			}
			if tc.size > 0 && res.ContentLength != int64(tc.size) {
				t.Errorf("answer of %d bytes, not %d", res.ContentLength, tc.size)
			}
			if want := map[bool]int{true: 2, false: 1}[tc.h2]; res.ProtoMajor != want {
				t.Errorf("HTTP/%d, not %d", res.ProtoMajor, want)
			}
			all := receipts(t, a)
			if len(all) != 1 {
				t.Fatalf("%d receipts: %+v", len(all), all)
			}
			got := all[0]
			if got.Arrived.Before(before) || got.Arrived.After(time.Now()) || got.Duration < 0 || got.Duration > time.Since(before) {
				t.Errorf("arrived %v, duration %v", got.Arrived, got.Duration)
			}
			if len(got.HeaderSHA256) != 64 {
				t.Errorf("header digest %q", got.HeaderSHA256)
			}
			got.Arrived, got.Duration, got.HeaderSHA256 = time.Time{}, 0, ""
			want := traffic.Receipt{ID: tc.id, Version: "v1", Pod: "shop-v1-0", Method: tc.method, Authority: "shop.example.com",
				Path: tc.path, BodySHA256: sha(tc.body), BodyBytes: int64(len(tc.body)), Status: 200, ResponseSHA256: sha(text)}
			if got != want {
				t.Errorf("receipt\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestVersionsAnswerAlike(t *testing.T) {
	var texts, digests []string
	for _, version := range []string{"v1", "v2"} {
		a := start(t, Config{Version: version, Pod: version + "-0", Behaviour: Behaviour{ResponseSize: 256}})
		_, text, err := send(client(t, false), a, "POST", "/api?q=1", "id", "body")
		if err != nil {
			t.Fatal(err)
		}
		texts, digests = append(texts, text), append(digests, receipts(t, a)[0].HeaderSHA256)
	}
	if texts[0] != texts[1] || digests[0] != digests[1] {
		t.Errorf("answers %q, header digests %q", texts, digests)
	}
}

// What differs is asked for: by Differ the answers of the version that it names, by Stamp every one, and then nothing else.
func TestVersionsThatDiffer(t *testing.T) {
	for name, c := range map[string]struct {
		v1, v2           Behaviour
		same, normalised bool // equal digests of the bodies, and of their JSON without $.time
	}{
		"alike":                 {Behaviour{}, Behaviour{}, true, true},
		"of different lengths":  {Behaviour{}, Behaviour{ResponseSize: 999}, false, true},
		"both stamped":          {Behaviour{Stamp: true}, Behaviour{Stamp: true}, false, true},
		"one stamped":           {Behaviour{}, Behaviour{Stamp: true}, false, true},
		"one differs":           {Behaviour{}, Behaviour{Differ: 1}, false, false},
		"both differ":           {Behaviour{Differ: 1}, Behaviour{Differ: 1}, false, false},
		"stamped, and differs":  {Behaviour{Stamp: true}, Behaviour{Stamp: true, Differ: 1}, false, false},
		"differs in no request": {Behaviour{}, Behaviour{Differ: 1e-300}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var got []traffic.Receipt
			for version, b := range map[string]Behaviour{"v1": c.v1, "v2": c.v2} {
				a := start(t, Config{Version: version, Behaviour: b, Ignore: []string{"$.time"}})
				_, text, err := send(client(t, false), a, "POST", "/api?q=1", "id", "body")
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, receipts(t, a)...); got[len(got)-1].ResponseSHA256 != sha(text) {
					t.Errorf("the digest of %s is %s", text, got[len(got)-1].ResponseSHA256)
				}
				if b.Stamp != strings.Contains(text, `"time":"2`) || (b.Differ == 1) != strings.Contains(text, version) {
					t.Errorf("the answer is %s", text)
				}
			}
			if same := got[0].ResponseSHA256 == got[1].ResponseSHA256; same != c.same {
				t.Errorf("equal digests: %v", same)
			}
			if same := got[0].ResponseJSONSHA256 == got[1].ResponseJSONSHA256; same != c.normalised || len(got[0].ResponseJSONSHA256) != 64 {
				t.Errorf("equal digests of JSON: %v, %s", same, got[0].ResponseJSONSHA256)
			}
		})
	}
}

func TestDigestOfJSON(t *testing.T) {
	const form = `{"body_bytes":0,"method":"GET","path":"/"}`
	ignore := []string{"$.time", "$..body_sha256"}
	for name, c := range map[string]struct {
		ignore []string
		method string
		size   int
		want   string
	}{
		"nothing ignored": {nil, "GET", 0, ""},
		"ignored":         {ignore, "GET", 0, sha(form)},
		"with blanks":     {ignore, "GET", maxJSON, sha(form)},
		"too large":       {ignore, "GET", maxJSON + 1, ""},
		"no body":         {ignore, "HEAD", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, Config{Behaviour: Behaviour{Stamp: true, ResponseSize: c.size}})
			configure(t, a, Settings{Behaviour: Behaviour{Stamp: true, ResponseSize: c.size}, Ignore: c.ignore})
			if _, _, err := send(client(t, false), a, c.method, "/", "id", ""); err != nil {
				t.Fatal(err)
			}
			if got := receipts(t, a)[0].ResponseJSONSHA256; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHealthLeavesNoReceipt(t *testing.T) {
	a := start(t, Config{})
	for _, path := range []string{"/health", "/healthz", "/ready"} {
		res, text, err := send(client(t, false), a, "GET", path, "", "")
		if err != nil || res.StatusCode != 200 || text != "ok" {
			t.Errorf("%s: %v, %q, %v", path, res, text, err)
		}
	}
	if res, text := admin(t, a, "/health"); res.StatusCode != 200 || string(text) != "ok" {
		t.Errorf("admin: %d %q", res.StatusCode, text)
	}
	if all := receipts(t, a); len(all) != 0 {
		t.Errorf("receipts: %+v", all)
	}
}

func TestReceiptsOfConcurrentRequests(t *testing.T) {
	const workers, each, memory = 8, 100, 50
	a := start(t, Config{MaxReceipts: memory})
	var group sync.WaitGroup
	for w := range workers {
		c := client(t, w%2 == 1)
		group.Go(func() {
			for i := range each {
				id := fmt.Sprintf("r-%d-%d", w, i)
				if res, _, err := send(c, a, "POST", "/orders", id, id); err != nil || res.StatusCode != 200 {
					t.Errorf("%s: %v, %v", id, res, err)
				}
				if n := a.ledger.inMemory(); n > memory {
					t.Errorf("%d receipts in memory", n)
				}
			}
		})
	}
	group.Wait()
	for range 2 { // a fetch changes nothing
		seen := map[string]int{}
		for _, r := range receipts(t, a) {
			seen[r.ID]++
			if r.Status != 200 || r.Duration == traffic.Never || r.BodySHA256 != sha(r.ID) {
				t.Errorf("receipt %+v", r)
			}
		}
		for w := range workers {
			for i := range each {
				if id := fmt.Sprintf("r-%d-%d", w, i); seen[id] != 1 {
					t.Errorf("%s has %d receipts", id, seen[id])
				}
			}
		}
		if len(seen) != workers*each {
			t.Errorf("%d ids", len(seen))
		}
	}
}

func TestSpillBeyondMemory(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ memory, rows int }{{0, 5}, {1, 5}, {2, 1}, {10, 4}, {10, 5}, {10, 9}, {10, 101}} {
		t.Run(fmt.Sprintf("%d of %d", tc.memory, tc.rows), func(t *testing.T) {
			l, err := newLedger(dir, tc.memory)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.rows {
				e := l.begin(traffic.Receipt{ID: fmt.Sprint(i), Arrived: time.Now()})
				if !l.finish(e, func(r *traffic.Receipt) { r.Status = 200 }) || l.finish(e, func(r *traffic.Receipt) { r.Status = 500 }) {
					t.Fatal("a receipt is finished once")
				}
				if n := l.inMemory(); n > max(2, tc.memory) {
					t.Fatalf("%d in memory", n)
				}
			}
			l.begin(traffic.Receipt{ID: "open", Arrived: time.Now()})
			now, err := l.snapshot()
			if err != nil {
				t.Fatal(err)
			}
			half := max(1, tc.memory/2)
			if now.spilled != tc.rows/half*half || (now.size > 0) != (now.spilled > 0) || len(now.rest) != tc.rows%half+1 {
				t.Errorf("spilled %d rows in %d bytes, %d others", now.spilled, now.size, len(now.rest))
			}
			checkFetch(t, l, tc.rows)
			if err := l.close(); err != nil {
				t.Error(err)
			}
			if err := l.fetch(io.Discard); err == nil {
				t.Error("a closed ledger was fetched")
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// checkFetch wants rows finished receipts, numbered from 0, and the open one.
func checkFetch(t *testing.T, l *ledger, rows int) {
	t.Helper()
	var b bytes.Buffer
	if err := l.fetch(&b); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range traffic.ReadReceipts(&b) {
		if err != nil {
			t.Fatal(err)
		}
		finished := r.ID == fmt.Sprint(n) && r.Status == 200 && r.Duration != traffic.Never
		unfinished := r.ID == "open" && n == rows && r.Status == 0 && r.Duration == traffic.Never
		if !finished && !unfinished {
			t.Errorf("row %d: %+v", n, r)
		}
		n++
	}
	if n != rows+1 {
		t.Errorf("%d rows, not %d", n, rows+1)
	}
}

// TestSpillHasNoName: whatever ends the process, no file stays.
func TestSpillHasNoName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file keeps its name")
	}
	a := start(t, Config{MaxReceipts: 2})
	c := client(t, false)
	for i := range 5 {
		if _, _, err := send(c, a, "GET", "/", fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(a.config.SpillDir); err != nil || len(left) != 0 {
		t.Errorf("a running app has %v, %v", left, err)
	}
	awaitReceipts(t, a, "all are there", func(all []traffic.Receipt) bool { return len(all) == 5 })
}

// A file that cannot be removed while it is open is removed by close.
func TestSpillWithAName(t *testing.T) {
	l, err := newLedger(t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	l.name = filepath.Join(t.TempDir(), "spill")
	if err := os.WriteFile(l.name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestLostReceiptsAreTold(t *testing.T) {
	l, err := newLedger(t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	l.file.Close() // as good as a full disk
	for range 2 {
		l.finish(l.begin(traffic.Receipt{Arrived: time.Now()}), func(*traffic.Receipt) {})
	}
	if err := l.fetch(io.Discard); !errors.Is(err, os.ErrClosed) {
		t.Errorf("fetch: %v", err)
	}
	if err := l.close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

func TestHungRequestsAreUnfinished(t *testing.T) {
	a := start(t, Config{Mode: ModeHung})
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+a.Addr()+"/x", strings.NewReader("body"))
	r.Header.Set(traffic.IDHeader, "hung-1")
	ended := make(chan error, 1)
	c := client(t, false)
	go func() {
		_, err := c.Do(r)
		ended <- err
	}()
	all := awaitReceipts(t, a, "the body is read", func(all []traffic.Receipt) bool {
		return len(all) == 1 && all[0].BodySHA256 == sha("body")
	})
	if got := all[0]; got.ID != "hung-1" || got.Duration != traffic.Never || got.Status != 0 || got.ResponseSHA256 != "" {
		t.Errorf("receipt %+v", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	all = awaitReceipts(t, a, "the request has ended", func(all []traffic.Receipt) bool { return all[0].Duration != traffic.Never })
	if got := all[0]; len(all) != 1 || got.Status != 0 || got.ResponseSHA256 != "" || got.BodyCut {
		t.Errorf("receipts %+v", all)
	}
}

// A hung app reads no large body: the client's upload stands still, until the app is to hang no longer.
func TestHungAppReadsNoUpload(t *testing.T) {
	a := start(t, Config{Mode: ModeHung})
	body := &uploaded{left: 64 << 20}
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.Addr()+"/x", body)
	r.ContentLength = int64(body.left)
	r.Header.Set(traffic.IDHeader, "hung-2")
	ended := make(chan error, 1)
	c := client(t, false)
	go func() {
		_, err := c.Do(r)
		ended <- err
	}()
	all := awaitReceipts(t, a, "it has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
	if got := all[0]; got.BodySHA256 != "" || got.BodyBytes != 0 || got.Duration != traffic.Never {
		t.Errorf("receipt %+v", got)
	}
	configure(t, a, Settings{})
	if err := <-ended; err == nil {
		t.Error("it was answered")
	}
	if body.read.Load() >= 64<<20 {
		t.Error("the whole body was sent")
	}
}

// uploaded is a body that tells how much of it was sent.
type uploaded struct {
	left int
	read atomic.Int64
}

func (c *uploaded) Read(p []byte) (int, error) {
	n := min(len(p), c.left)
	if n == 0 {
		return 0, io.EOF
	}
	c.left -= n
	c.read.Add(int64(n))
	return n, nil
}

func TestCloseCutsHungRequestsOff(t *testing.T) {
	a := start(t, Config{Mode: ModeHung})
	ended := make(chan error, 1)
	c := client(t, false)
	go func() {
		_, _, err := send(c, a, "GET", "/", "x", "")
		ended <- err
	}()
	awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the hung request was answered")
	}
}

func TestCutBody(t *testing.T) {
	a := start(t, Config{})
	conn, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: h\r\nX-Replay-Id: cut\r\nContent-Length: 10\r\n\r\nfour")
	conn.(*net.TCPConn).CloseWrite()
	all := awaitReceipts(t, a, "a finished receipt", func(all []traffic.Receipt) bool {
		return len(all) == 1 && all[0].Duration != traffic.Never
	})
	if got := all[0]; got.ID != "cut" || !got.BodyCut || got.BodyBytes != 4 || got.BodySHA256 != sha("four") || got.Status == 200 {
		t.Errorf("receipt %+v", got)
	}
}

func TestModes(t *testing.T) {
	t.Run("errors", func(t *testing.T) {
		a := start(t, Config{Mode: ModeErrors})
		res, _, err := send(client(t, false), a, "GET", "/", "x", "")
		if err != nil || res.StatusCode != 503 || receipts(t, a)[0].Status != 503 {
			t.Errorf("%v, %v", res, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		a := start(t, Config{Mode: ModeSlow, SlowBy: 30 * time.Millisecond})
		res, _, err := send(client(t, false), a, "GET", "/", "x", "")
		if err != nil || res.StatusCode != 200 || receipts(t, a)[0].Duration < 30*time.Millisecond {
			t.Errorf("%v, %v", res, err)
		}
	})
	t.Run("dead", func(t *testing.T) {
		a := start(t, Config{Mode: ModeDead})
		if _, err := net.Dial("tcp", a.Addr()); err == nil {
			t.Error("somebody listens")
		}
		if all := receipts(t, a); len(all) != 0 {
			t.Errorf("receipts %+v", all)
		}
	})
}

func TestDrain(t *testing.T) {
	a := start(t, Config{Mode: ModeSlow, SlowBy: 300 * time.Millisecond})
	c := client(t, false)
	answered := make(chan int, 1)
	go func() {
		res, _, err := send(c, a, "GET", "/", "x", "")
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		answered <- res.StatusCode
	}()
	awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
	a.draining.Store(true) // as Close does first
	if res, text := admin(t, a, "/health"); res.StatusCode != 503 || string(text) != "draining" {
		t.Errorf("health while draining: %d %q", res.StatusCode, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Error(err)
	}
	if got := <-answered; got != 200 {
		t.Errorf("the request in flight got %d", got)
	}
	if _, err := net.Dial("tcp", a.Addr()); err == nil {
		t.Error("the app still listens")
	}
	if left, _ := os.ReadDir(a.config.SpillDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDrainIsBounded(t *testing.T) {
	config := Config{Version: "v1", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", SpillDir: t.TempDir(), Mode: ModeSlow, SlowBy: time.Hour}
	a, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, false)
	ended := make(chan error, 1)
	go func() {
		_, _, err := send(c, a, "GET", "/", "x", "")
		ended <- err
	}()
	awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Close(over); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("close: %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("a request of an hour was answered")
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"mode", Config{Mode: "sleepy"}, []string{`mode: "sleepy" is unknown`}},
		{"p99 without p50", Config{Behaviour: Behaviour{Latency: Latency{P99: 1}}}, []string{"needs a p50 above 0"}},
		{"p99 below p50", Config{Behaviour: Behaviour{Latency: Latency{P50: 2, P99: 1}}}, []string{"not above it"}},
		{"all at once", Config{Behaviour: Behaviour{Latency: Latency{P50: -1}, ErrorRate: 1.1, ResponseSize: -1, Differ: 2}, SlowBy: -1, MaxReceipts: -1, Ignore: []string{"time"}},
			[]string{"differ: 2 is not a share", "ignore", "must not be negative", "1.1 is not a share", "response size", "slow by", "receipts in memory"}},
		{"address", Config{Listen: "127.0.0.1:none"}, []string{"127.0.0.1:none"}},
		{"spill directory", Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", SpillDir: "no/such/directory"}, []string{"no place for receipts"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := Start(t.Context(), tc.config)
			if err == nil {
				a.Close(t.Context())
				t.Fatal("it started")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// A manifest's probes may name any path: what Kubernetes asks leaves no receipt, unless it carries an id.
func TestProbesLeaveNoReceipt(t *testing.T) {
	a := start(t, Config{})
	for _, id := range []string{"", "of-a-run"} {
		r, err := http.NewRequest(http.MethodGet, "http://"+a.Addr()+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", "kube-probe/1.34")
		if id != "" {
			r.Header.Set(traffic.IDHeader, id)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("id %q: %s", id, res.Status)
		}
	}
	if got := receipts(t, a); len(got) != 1 || got[0].ID != "of-a-run" {
		t.Errorf("receipts %+v", got)
	}
}
