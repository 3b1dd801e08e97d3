package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/traffic"
	"umbra/reports"
)

// seen is what a server saw of one request.
type seen struct {
	method, host, path, body, kind, from string
	protocol                             int
}

// watched is a server that keeps what it sees. Requests with ?hang wait until it is closed.
type watched struct {
	*httptest.Server
	mu          sync.Mutex
	requests    []seen
	connections int
}

func watch(t *testing.T, start func(*httptest.Server)) *watched {
	w := &watched{}
	closing := make(chan struct{})
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a client that has gone
		w.mu.Lock()
		w.requests = append(w.requests, seen{r.Method, r.Host, r.URL.RequestURI(), string(body), r.Header.Get("content-type"), r.RemoteAddr, r.ProtoMajor})
		w.mu.Unlock()
		if r.URL.RawQuery == "hang" {
			<-closing
		}
	}))
	w.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			w.mu.Lock()
			w.connections++
			w.mu.Unlock()
		}
	}
	start(w.Server)
	t.Cleanup(func() { close(closing); w.Close() })
	return w
}

// saw takes the requests so far, and how many connections they came on.
func (w *watched) saw() (requests []seen, connections int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests, w.requests = w.requests, nil
	connections, w.connections = w.connections, 0
	return requests, connections
}

// played is what umbra replay says.
type played struct {
	reports.Report
	status int
	stderr string
}

// replayed runs umbra replay --json.
func replayed(t *testing.T, args ...string) played {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), append(append([]string{"replay"}, args...), "--json", "--out", filepath.Join(t.TempDir(), "run")), &stdout, &stderr)
	p := played{status: status, stderr: stderr.String()}
	if err := json.Unmarshal(stdout.Bytes(), &p.Report); err != nil {
		t.Fatalf("exit status %d, no report: %v\n%s", status, err, &stderr)
	}
	f := &p.Figures
	if f.OK+f.Error+f.Timeout+f.Inflight+f.Unsent != f.Planned {
		t.Errorf("%d planned are not the sum of %+v", f.Planned, f)
	}
	return p
}

// patient is a rate that gives 20 requests, each with more time than any machine takes.
var patient = []string{"--rate", "100", "--for", "200ms", "--timeout", "1m"}

// allOK gives what the server saw, and tells where not all 20 requests were answered, or where it saw others.
func allOK(t *testing.T, p played, w *watched) (requests []seen, connections int) {
	t.Helper()
	requests, connections = w.saw()
	if p.Figures.Planned != 20 || p.Figures.OK != 20 || len(requests) != 20 {
		t.Errorf("exit status %d, %d planned, %d ok, %d seen\n%s", p.status, p.Figures.Planned, p.Figures.OK, len(requests), p.stderr)
	}
	return requests, connections
}

func TestReplayOverTLS(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprint("http2 offered: ", http2), func(t *testing.T) {
			w := watch(t, func(s *httptest.Server) {
				s.EnableHTTP2 = http2
				s.Config.ErrorLog = discardLog()
				s.StartTLS()
			})
			p := replayed(t, append(patient, w.URL)...)
			if requests, _ := w.saw(); p.status != exitMesh || p.Figures.Error != 20 || p.Figures.Errors[0].Class != "tls" || len(requests) != 0 {
				t.Errorf("with a certificate of nobody's: exit status %d, %+v, %d seen", p.status, p.Figures.Errors, len(requests))
			}
			p = replayed(t, append(patient, w.URL, "--insecure", "--streams", "3")...)
			requests, _ := allOK(t, p, w)
			if !strings.Contains(strings.Join(p.Warnings, "\n"), "certificate was not verified") || !strings.Contains(p.stderr, "certificates not verified") {
				t.Errorf("nothing says that the certificate was not verified: %v\n%s", p.Warnings, p.stderr)
			}
			want := map[bool]int{true: 2, false: 1}[http2]
			for _, r := range requests {
				if r.protocol != want {
					t.Fatalf("the server saw HTTP/%d, want HTTP/%d", r.protocol, want)
				}
			}
		})
	}
}

func TestReplayH2C(t *testing.T) {
	w := watch(t, func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	})
	for _, path := range [][]string{nil, {"--portable"}} {
		p := replayed(t, append(append(patient, w.URL+"/x?y", "--h2c", "--streams", "4", "--connections", "2", "-X", "POST", "-d", "body"), path...)...)
		requests, _ := allOK(t, p, w)
		for _, r := range requests {
			if r.protocol != 2 || r.path != "/x?y" || r.body != "body" || r.host != strings.TrimPrefix(w.URL, "http://") {
				t.Fatalf("%v: the server saw %+v", path, r)
			}
		}
	}
}

// A request is sent as the flags say, the body's file byte for byte.
func TestReplaySendsWhatTheFlagsSay(t *testing.T) {
	const text = "line one\nline two\r\n\x00"
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := watch(t, (*httptest.Server).Start)
	source := "127.0.0.1"
	if runtime.GOOS == "linux" { // where all of 127/8 is this machine's
		source = "127.0.0.9"
	}
	for _, body := range [][]string{{"-d", "@" + file}, {"--body-file", file}, {"-d", text[:18]}} {
		p := replayed(t, append(append(patient, w.URL+"/a%20b?c=d", "-X", "PUT", "-H", "Content-Type: text/x", "-H", "host: b.example.com", "--source", source), body...)...)
		requests, _ := allOK(t, p, w)
		want := seen{"PUT", "b.example.com", "/a%20b?c=d", text, "text/x", "", 1}
		if body[1] == text[:18] {
			want.body = text[:18]
		}
		for _, r := range requests {
			from, _, err := net.SplitHostPort(r.from)
			if r.from = ""; err != nil || r != want || from != source {
				t.Fatalf("%v: the server saw %+v from %s, want %+v from %s", body[0], r, from, want, source)
			}
		}
	}
}

// sessions writes a traffic file of ten requests in two sessions.
func sessions(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "sessions.jsonl.zst")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := traffic.NewWriter(f, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		r := traffic.Request{At: time.Duration(i) * time.Millisecond, Session: fmt.Sprint("s", i%2), Method: "GET", Authority: "a.example.com", Path: fmt.Sprint("/s", i%2)}
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplayReuse(t *testing.T) {
	w := watch(t, (*httptest.Server).Start)
	fresh := replayed(t, append(patient, w.URL, "--reuse", "fresh", "--connections", "20")...)
	if _, connections := allOK(t, fresh, w); connections < 20 {
		t.Errorf("fresh: %d connections for 20 requests", connections)
	}
	p := replayed(t, sessions(t), w.URL, "--reuse", "session", "--keep-host", "--timeout", "1m", "--connections", "5")
	if p.Figures.OK != 10 {
		t.Errorf("%d of 10 ok\n%s", p.Figures.OK, p.stderr)
	}
	from := map[string]string{}
	requests, _ := w.saw()
	for _, r := range requests {
		if at, known := from[r.path]; known && at != r.from || r.host != "a.example.com" {
			t.Errorf("session %s came from %s and %s, for %s", r.path, at, r.from, r.host)
		}
		from[r.path] = r.from
	}
	if len(from) != 2 || from["/s0"] == from["/s1"] {
		t.Errorf("the sessions came from %v", from)
	}
}

// One connection, whose first request hangs: what follows has none.
func TestReplayOverload(t *testing.T) {
	for policy, unsent := range map[string]int{"drop": 19, "abort": 19, "queue": 0} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := watch(t, (*httptest.Server).Start)
			p := replayed(t, w.URL+"/?hang", "--rate", "100", "--for", "200ms", "--timeout", "5s", "--connections", "1", "--overload", policy)
			if p.status == exitPassed || p.Figures.Planned != 20 || p.Figures.OK != 0 || p.Figures.Unsent != unsent {
				t.Errorf("exit status %d, %+v", p.status, p.Figures)
			}
			if aborted := strings.Contains(strings.Join(p.Warnings, "\n"), "ended before its time"); aborted != (policy == "abort") {
				t.Errorf("warnings %v", p.Warnings)
			}
		})
	}
}

// discardLog keeps a server's complaints about clients that hang up out of the tests' output.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
