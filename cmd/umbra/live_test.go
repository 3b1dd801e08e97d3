//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"

	"umbra/internal/live"
	"umbra/internal/traffic"
)

// shared is a buffer for two goroutines.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// eventually waits, within a bound, until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// sameGoroutines tells, within a bound, whether no more goroutines are there than before.
func sameGoroutines(t *testing.T, before int) {
	t.Helper()
	eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before })
}

// Off a terminal a line every 5 s tells all there is, in umbra.log too, also while nothing comes; behind the end none do.
func TestLinesEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log shared
		p := newProgress(&out, &log, live.Run{Title: "test"})
		p.Step("starting \x1b[2Jthe mesh")
		time.Sleep(time.Minute)
		legs := []live.Leg{{Phase: traffic.PhaseStage, From: 50, To: 50, For: 20 * time.Second}}
		p.Playing(live.PartOf(time.Now(), 0, legs, 0))
		p.Results([]traffic.Result{{Phase: traffic.PhaseStage, Outcome: traffic.OK, Status: 200, Sent: 0, End: 1500 * time.Millisecond, LastByte: 1500 * time.Millisecond}})
		time.Sleep(11 * time.Second)
		p.Playing(live.Part{})
		p.Step("collecting receipts")
		p.Close()
		p.Close()
		p.Step("kept")
		time.Sleep(time.Minute)
		const want = `umbra: starting �[2Jthe mesh
umbra: stage 1 of 1 at 50/s, 5s of 20s; 50/s asked, 0.25/s answered in the last 4s; response p50 1500.512 ms, p99 1500.512 ms in the last 4s; so far p50 1500.512 ms, p99 1500.512 ms in the stages; 1 ended, 0 not ok, 0 in flight
umbra: stage 1 of 1 at 50/s, 10s of 20s; 50/s asked, 0/s answered in the last 5s; response p50 –, p99 – in the last 5s; so far p50 1500.512 ms, p99 1500.512 ms in the stages; 1 ended, 0 not ok, 0 in flight
umbra: collecting receipts
umbra: kept
`
		if got := out.String(); got != want {
			t.Errorf("standard error:\n%s", got)
		}
		for _, part := range []string{"10s of 20s", "the run has ended; so far p50 1500.512 ms", "kept"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("umbra.log has no %q:\n%s", part, log.String())
			}
		}
	})
}

// screen is what a terminal shows of what is written to it, as far as umbra writes: text, line ends, the cursor up, and clearing.
func screen(written string, columns int) []string {
	lines, row, column := [][]rune{{}}, 0, 0
	escape := regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)
	for len(written) > 0 {
		if m := escape.FindStringSubmatch(written); m != nil {
			written = written[len(m[0]):]
			switch m[2] {
			case "A":
				for range int(m[1][0] - '0') {
					row = max(0, row-1)
				}
			case "J":
				lines = lines[:row+1]
				lines[row] = lines[row][:min(column, len(lines[row]))]
			}
			continue
		}
		r := []rune(written)[0]
		written = written[len(string(r)):]
		switch r {
		case '\r':
			column = 0
			continue
		case '\n':
			row++
		default:
			if column == columns {
				row, column = row+1, 0
			}
		}
		for len(lines) <= row {
			lines = append(lines, nil)
		}
		if r == '\n' {
			continue
		}
		for len(lines[row]) <= column {
			lines[row] = append(lines[row], ' ')
		}
		lines[row][column] = r
		column++
	}
	var out []string
	for _, l := range lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return out
}

// terminal is a pseudo terminal, and what was written to it.
func terminal(t *testing.T, columns, lines uint16) (of *os.File, keyboard io.Writer, written *shared) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: lines, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	written = &shared{}
	var reader sync.WaitGroup
	reader.Go(func() { io.Copy(written, master) }) // until it is closed
	t.Cleanup(func() {
		slave.Close()
		master.Close()
		reader.Wait()
	})
	return slave, master, written
}

func answering(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// On a terminal, wide or narrow, a display stands below what was said, and nothing of it is left behind the run, also where it is
// interrupted by Ctrl-C, which the terminal itself shows.
func TestDisplayOnATerminal(t *testing.T) {
	server := answering(t)
	for name, c := range map[string]struct {
		columns   uint16
		interrupt bool
		colourful bool
	}{"wide": {100, false, true}, "narrow": {40, false, false}, "interrupted": {80, true, false}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			if t.Setenv("NO_COLOR", "1"); c.colourful {
				t.Setenv("NO_COLOR", "")
			}
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tty, keyboard, written := terminal(t, c.columns, 30)
			dir := filepath.Join(t.TempDir(), "out")
			args := []string{"replay", server.URL + "/bad", "--rate", "50", "--for", "1700ms", "--out", dir}
			if c.interrupt {
				args[5] = "10m"
			}
			ended := make(chan int, 1)
			go func() { ended <- run(ctx, args, io.Discard, tty) }()
			shown := func() string { return strings.Join(screen(written.String(), int(c.columns)), "\n") }
			eventually(t, "the display does not come", func() bool {
				s := shown()
				return strings.Contains(s, "\n  rate      50/s asked") && strings.Contains(s, "\n [") && strings.Contains(s, "\n  now       stage 1 of 1 at 50/s") && strings.Contains(s, "\n  not ok    status 503 ×")
			})
			for _, line := range screen(written.String(), 1<<20) {
				if strings.HasPrefix(line, " ") && len([]rune(line)) > int(c.columns) {
					t.Errorf("a row of the display is wider than the terminal: %q", line)
				}
			}
			if c.interrupt {
				if _, err := keyboard.Write([]byte{3}); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			status := <-ended
			if c.interrupt != (status == exitInterrupted) {
				t.Errorf("exit status %d", status)
			}
			tty.WriteString("the end\n")
			eventually(t, "the end is not written", func() bool { return strings.HasSuffix(written.String(), "the end\r\n") })
			lines := screen(written.String(), 1000)
			for _, line := range lines {
				if line != "" && !strings.HasPrefix(line, "umbra:") && line != "the end" {
					t.Errorf("left behind: %q in\n%s", line, strings.Join(lines, "\n"))
				}
			}
			if red := strings.Contains(written.String(), "\x1b[31m"); red != c.colourful {
				t.Errorf("colours %t, want %t", red, c.colourful)
			}
			server.CloseClientConnections()
			sameGoroutines(t, before+1) // the terminal's reader
		})
	}
}

// Where the cursor cannot be moved, or there is no room, lines are told.
func TestNoDisplayWhereItCannotBeDrawn(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for name, c := range map[string]struct {
		columns, lines uint16
		term           string
		want           bool
	}{"good": {80, 24, "xterm", true}, "dumb": {80, 24, "dumb", false}, "no size": {0, 0, "xterm", false}, "low": {80, 5, "xterm", false}} {
		tty, _, _ := terminal(t, c.columns, c.lines)
		t.Setenv("TERM", c.term)
		if got := drawable(tty) != nil; got != c.want {
			t.Errorf("%s: drawable %t", name, got)
		}
	}
	if drawable(&bytes.Buffer{}) != nil {
		t.Error("a buffer is no terminal")
	}
}

var shownAt = regexp.MustCompile(`the run is shown at (http://127\.0\.0\.1:\d+/)`)

// --live serves the run while it goes on, and lets go of its port and goroutines at the end, here by Ctrl-C.
func TestLivePage(t *testing.T) {
	server := answering(t)
	scenario := filepath.Join(t.TempDir(), "long.yaml")
	for path, data := range map[string][]byte{filepath.Join(filepath.Dir(scenario), "istio.yaml"): manifests, scenario: []byte(`apiVersion: umbra/v1
kind: Scenario
name: long
mesh: {manifests: [istio.yaml], host: shop.example.com, versions: {primary: v1, shadow: v2}}
traffic: {mix: [{name: get, path: /half}]}
load: {stages: [{rate: 100, for: 10m}]}
`)} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args     []string
		title    string
		mirrored bool
	}{
		"run":    {[]string{"run", scenario}, "long", true},
		"replay": {[]string{"replay", server.URL + "/<b>", "--rate", "100", "--for", "10m"}, "replay against " + server.URL + "/%3Cb%3E", false},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stderr shared
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, append(c.args, "--live", ":0", "--out", filepath.Join(t.TempDir(), "out")), io.Discard, &stderr)
			}()
			eventually(t, "no address is told", func() bool { return shownAt.MatchString(stderr.String()) })
			page := shownAt.FindStringSubmatch(stderr.String())[1]
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			var x live.Snapshot
			eventually(t, "the page does not show the run", func() bool {
				answer, err := client.Get(page + "state.json")
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				x = live.Snapshot{}
				if err := json.NewDecoder(answer.Body).Decode(&x); err != nil {
					t.Fatal(err)
				}
				return x.Asked != nil && *x.Asked == 100 && x.Ended > 100 && (x.Mirrored != nil) == c.mirrored
			})
			if x.Title != c.title || x.Place.Span != 10*time.Minute || x.UnderWay == nil {
				t.Errorf("shown: %+v", x)
			}
			if m := x.Mirrored; m != nil && (m.Configured != .5 || m.Share() < .2 || m.Share() > .8) {
				t.Errorf("mirrored: %+v", m)
			}
			cancel()
			if status := <-ended; status != exitInterrupted {
				t.Errorf("exit status %d:\n%s", status, stderr.String())
			}
			u, _ := url.Parse(page)
			if conn, err := net.Dial("tcp", u.Host); err == nil {
				conn.Close()
				t.Error("the port is open behind the run")
			}
			server.CloseClientConnections()
			client.CloseIdleConnections()
			sameGoroutines(t, before)
		})
	}
}

// An address that others could reach is refused before anything is done, and so is a port that is taken.
func TestLiveAddressIsRefused(t *testing.T) {
	server := answering(t)
	taken := server.Listener.Addr().String()
	for address, want := range map[string]struct {
		status int
		text   string
	}{"0.0.0.0:0": {exitUsage, "for this machine alone"}, "example.com:80": {exitUsage, "for this machine alone"}, "8000": {exitUsage, "no address like :0"}, taken: {exitMesh, "address already in use; give another port, or :0"}} {
		dir := filepath.Join(t.TempDir(), "out")
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"replay", server.URL, "--rate", "1", "--for", "1s", "--out", dir, "--live", address}, io.Discard, &stderr)
		if status != want.status || !strings.Contains(stderr.String(), "umbra: --live ") || !strings.Contains(stderr.String(), want.text) {
			t.Errorf("--live %s: exit status %d, %s", address, status, stderr.String())
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("--live %s: a folder was made", address)
		}
	}
}
