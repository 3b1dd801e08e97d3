package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/traffic"
)

func TestAddressIsOfLoopback(t *testing.T) {
	for text, want := range map[string]string{":0": "127.0.0.1:0", "localhost:8000": "127.0.0.1:8000", "127.0.0.1:80": "127.0.0.1:80", "127.9.9.9:1": "127.9.9.9:1", "[::1]:0": "[::1]:0"} {
		if got, err := Address(text); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"0.0.0.0:0": "for this machine alone", "[::]:80": "for this machine alone", "10.0.0.1:80": "for this machine alone", "example.com:80": "for this machine alone",
		"127.0.0.1:65536": "no port", ":http": "no port", "8000": "no address like", "": "no address like", "127.0.0.1": "no address like",
	} {
		if got, err := Address(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func serve(t *testing.T, s *State) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return Serve(listener, s)
}

// ask asks the server, under a name.
func ask(t *testing.T, s *Server, method, path, host string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestServerShowsTheRun(t *testing.T) {
	b := newBed(Run{Title: "canary-10", Folder: "runs/canary-10"})
	b.Playing(PartOf(start, 0, stages, 0))
	b.play(0, 8*time.Second)
	server := serve(t, b.State)
	defer server.Close()
	answer, page := ask(t, server, "GET", "", "")
	for _, want := range []string{"<h1>canary-10</h1>", "stage 1 of 2 at 100/s, 8s of 32s", "100/s asked, 99/s answered", `<progress max="100" value="25.0"`, "800 ended, 16 not ok", `<meta http-equiv="refresh" content="2">`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	if kind := answer.Header.Get("Content-Type"); kind != "text/html; charset=utf-8" || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", answer.Header)
	}
	_, data := ask(t, server, "GET", "state.json", "")
	var x Snapshot
	if err := json.Unmarshal([]byte(data), &x); err != nil || x.Ended != 800 || x.Place.Stage != 1 || *x.Asked != 100 {
		t.Errorf("%v: %s", err, data)
	}
	b.Over()
	if _, page := ask(t, server, "GET", "", ""); !strings.Contains(page, "The run has ended. Its report is in runs/canary-10.") || strings.Contains(page, "http-equiv") {
		t.Errorf("at the end:\n%s", page)
	}
}

// The policy lets run what the page has, and nothing else.
func TestServerAllowsOnlyThePagesOwn(t *testing.T) {
	server := serve(t, New(Run{}))
	defer server.Close()
	answer, page := ask(t, server, "GET", "", "")
	policy := answer.Header.Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		served := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`).FindStringSubmatch(page)
		source := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`).FindStringSubmatch(pageText)
		if served == nil || served[1] != source[1] || !strings.Contains(policy, element+"-src '"+hashOf(element)+"';") {
			t.Errorf("the %s that is served is not that of the policy %s", element, policy)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("policy %s", policy)
	}
	if outside := regexp.MustCompile(`(src|href|url\()[^>]*(//|https?:)`).FindString(page); outside != "" {
		t.Errorf("the page names something outside: %s", outside)
	}
}

func TestServerAnswersToItsOwnNamesAlone(t *testing.T) {
	server := serve(t, New(Run{}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.listener.Addr().String())
	for host, want := range map[string]int{"127.0.0.1:" + port: 200, "localhost:" + port: 200, "evil.example.com:" + port: 421, "127.0.0.1": 421, "127.0.0.1:1": 421, "evil.example.com": 421} {
		for _, path := range []string{"", "state.json"} {
			if answer, body := ask(t, server, "GET", path, host); answer.StatusCode != want || want != 200 && strings.Contains(body, "<h1>") {
				t.Errorf("Host %s, /%s: status %d, want %d", host, path, answer.StatusCode, want)
			}
		}
	}
	for path, want := range map[string]int{"nothing": 404, "../live.go": 404} {
		if answer, _ := ask(t, server, "GET", path, ""); answer.StatusCode != want {
			t.Errorf("/%s: status %d, want %d", path, answer.StatusCode, want)
		}
	}
	if answer, _ := ask(t, server, "POST", "", ""); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", answer.StatusCode)
	}
}

func TestServerShowsHostileTextsAsTexts(t *testing.T) {
	const hostile = `</h1><script>alert(1)</script><img src=x onerror=alert(1)>"'{{.}}` + "\u202e\x1b"
	b := newBed(Run{Title: hostile, Folder: hostile})
	b.Step(hostile)
	p := Part{Start: start, Span: time.Minute, Block: &Block{Experiment: hostile, Arm: hostile, Number: 1, Of: 4}}
	b.Playing(p)
	b.Results([]traffic.Result{{Outcome: traffic.Error, Error: hostile, Phase: traffic.PhaseStage}})
	server := serve(t, b.State)
	defer server.Close()
	_, page := ask(t, server, "GET", "", "")
	if n := strings.Count(page, "<script"); n != 1 || strings.Contains(page, "<img") || strings.ContainsAny(page, "\u202e\x1b") {
		t.Errorf("%d scripts:\n%s", n, page)
	}
	if text := html.UnescapeString(page); strings.Count(text, "</h1><script>alert(1)</script>") < 6 {
		t.Errorf("the texts are not shown:\n%s", page)
	}
}

// Who asks and does not read, and who asks for as many connections as there are, hold up neither the rows nor the end.
func TestSlowReadersHoldUpNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	s := New(Run{Title: strings.Repeat("x", longest)})
	server := serve(t, s)
	var open []net.Conn
	for range 2 * connections {
		c, err := net.Dial("tcp", server.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.(*net.TCPConn).SetReadBuffer(1); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\nGET / HTTP/1.1\r\n", server.listener.Addr())
		open = append(open, c)
	}
	if _, err := bufio.NewReader(open[0]).ReadString('\n'); err != nil { // it serves
		t.Fatal(err)
	}
	begin := time.Now()
	for range 1000 {
		s.Results([]traffic.Result{row(0, time.Millisecond)})
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("1000 rows took %v", took)
	}
	begin = time.Now()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > endTimeout+time.Second {
		t.Errorf("the end took %v", took)
	}
	if c, err := net.Dial("tcp", server.listener.Addr().String()); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// All at once, for the race detector.
func TestTheStateIsForMany(t *testing.T) {
	b := New(Run{Shares: map[string]uint64{"shop/app/all": 100_000}, Gauge: &counts{}})
	server := serve(t, b)
	defer server.Close()
	var group sync.WaitGroup
	for _, f := range []func(){
		func() { b.Results([]traffic.Result{row(time.Second, time.Millisecond)}) },
		func() { b.Playing(PartOf(time.Now(), 0, stages, 0)) },
		func() { b.Counted(1) },
		func() { b.Step("a step") },
		func() { ask(t, server, "GET", "", "") },
		func() { ask(t, server, "GET", "state.json", "") },
	} {
		group.Go(func() {
			for range 20 {
				f()
			}
		})
	}
	group.Wait()
	if x := b.Snapshot(); x.Ended != 20 || x.Step != "a step" {
		t.Errorf("%+v", x)
	}
}
