// Package oracle holds umbra capture against tshark, on captures that the tests make themselves on loopback.
package oracle

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture"
	"umbra/internal/evidence"
	"umbra/internal/traffic"
)

// TestTshark records what curl, wrk, h2load and, where there is one, a browser ask nginx, and expects umbra and tshark to find
// the same requests in it, and in shuffled, duplicated, truncated and gap-ridden copies, or the loss that explains why not.
func TestTshark(t *testing.T) {
	if os.Getenv("UMBRA_ORACLE") == "" {
		t.Skip("it needs tshark, nginx, curl, wrk and h2load: make oracle runs it")
	}
	r := record(t)
	want := tshark(t, r.file, r)
	got, written := umbra(t, r.file, r.keylog)
	if len(want) < 1000 {
		t.Errorf("tshark found only %d requests", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loss %v; tshark's requests (-) and umbra's (+): %s", written.Loss, clip(diff))
	}
	t.Logf("%d requests, loss %v", len(got), written.Loss)
	for _, copy := range copies {
		t.Run(copy.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "copy.pcap")
			rewrite(t, r.file, file, copy.change)
			mutated, written := umbra(t, file, r.keylog)
			theirs := tshark(t, file, r)
			t.Logf("umbra %d, tshark %d of %d, loss %v", len(mutated), len(theirs), len(want), written.Loss)
			if copy.whole {
				if diff := cmp.Diff(want, mutated); diff != "" {
					t.Errorf("the original's requests (-) and the copy's (+): %s", clip(diff))
				}
				return
			}
			if extra := beyond(mutated, want); len(extra) > 0 {
				t.Errorf("%d requests were never sent, or never answered so: %v", len(extra), extra[:min(len(extra), 5)])
			}
			lost := evidence.NewLoss(written.Loss, len(mutated))
			if missing := len(want) - len(mutated); missing > 0 && int64(missing) > lost.Requests && len(lost.Hidden) == 0 && len(mutated) < len(theirs) {
				t.Errorf("%d requests are missing, the loss explains %d: %v", missing, lost.Requests, written.Loss)
			}
		})
	}
}

func clip(s string) string { return s[:min(len(s), 4000)] }

// beyond gives what of some stands in no entry of all; one without an answer may stand for one with it.
func beyond(some, all []string) []string {
	left := map[string]int{}
	for _, line := range all {
		left[line]++
		left[unanswered(line)]++
	}
	var out []string
	for _, line := range some {
		if left[line] == 0 {
			out = append(out, line)
		}
		left[line]--
	}
	return out
}

func unanswered(line string) string { return strings.Join(strings.Fields(line)[:3], " ") + " -" }

// recording is a capture, with the keys of its TLS connections.
type recording struct {
	file, keylog string
	ports        [3]int // of HTTP/1.1, h2c and HTTPS
}

func record(t *testing.T) recording {
	dir := t.TempDir()
	ports := startNginx(t, dir)
	r := recording{filepath.Join(dir, "all.pcapng"), filepath.Join(dir, "keys.log"), ports}
	stop := startDumpcap(t, r.file, ports[:])
	at := func(i int, path string) string {
		return fmt.Sprintf("%s://localhost:%d%s", map[bool]string{true: "https", false: "http"}[i == 2], ports[i], path)
	}
	body := filepath.Join(dir, "body")
	must(t, os.WriteFile(body, bytes.Repeat([]byte("umbra "), 3000), 0o600))
	curl := func(args ...string) {
		t.Helper()
		c := exec.Command("curl", append([]string{"-sSk", "--noproxy", "*", "--max-time", "10", "-o", "/dev/null"}, args...)...)
		c.Env = append(os.Environ(), "SSLKEYLOGFILE="+r.keylog)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("curl %v: %v: %s", args, err, out)
		}
	}
	for n := range 5 {
		q := fmt.Sprint("?n=", n)
		for i, how := range []string{"--http1.1", "--http2-prior-knowledge", "--http2"} { // by ALPN over TLS
			curl(how, at(i, "/"+q))
			curl(how, at(i, "/none"+q))
			curl(how, "-d", "@"+body, at(i, "/echo"+q))
			curl(how, "-I", at(i, "/head"+q))
		}
		curl("-H", "Expect: 100-continue", "-d", "@"+body, at(0, "/continue"+q))
		curl("-H", "Transfer-Encoding: chunked", "-d", "@"+body, at(0, "/chunked"+q))
		curl("-H", "Connection: close", at(0, "/close"+q))
		curl("--http1.0", at(0, "/ten"+q))
		curl("--http1.1", at(0, "/first"+q), "-o", "/dev/null", at(0, "/big"))
		curl("--http2-prior-knowledge", at(1, "/big"))
		curl("--http1.1", "--tls-max", "1.2", at(2, "/tls12"+q))
	}
	lua := filepath.Join(dir, "delay.lua")
	must(t, os.WriteFile(lua, []byte("function delay() return 3 end"), 0o600))
	command(t, "wrk", "-t1", "-c8", "-d1s", "-s", lua, at(0, "/wrk"))
	command(t, "h2load", "-n300", "-c3", "-m5", at(1, "/h2load"))
	browse(t, dir, r.keylog, at(0, "/page.html"))
	curl("--http1.1", at(0, "/last-of-all"))
	await(t, func() bool { // dumpcap writes packets in blocks: behind this answer nothing is missing
		captured, err := os.ReadFile(r.file)
		return err == nil && bytes.Contains(captured, []byte("of /last-of-all\n"))
	})
	stop()
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// browse has a browser load a page, where there is one.
func browse(t *testing.T, dir, keylog, url string) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if _, err := exec.LookPath(name); err == nil {
			command(t, name, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--ssl-key-log-file="+keylog, "--user-data-dir="+filepath.Join(dir, "browser"), "--dump-dom", url)
			return
		}
	}
	t.Log("no browser on the PATH: its traffic is not in the capture")
}

// startNginx serves HTTP/1.1, h2c and HTTPS, and gives their ports.
func startNginx(t *testing.T, dir string) (ports [3]int) {
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		defer l.Close()
	}
	certificate(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, "www"), 0o755))
	must(t, os.Chmod(dir, 0o755))
	page := `<html><head><link rel=stylesheet href=/a.css></head><body><img src=/b.png><script src=/c.js></script></body></html>`
	must(t, os.WriteFile(filepath.Join(dir, "www", "page.html"), []byte(page), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "www", "big"), bytes.Repeat([]byte("0123456789abcdef"), 8000), 0o644))
	locations := fmt.Sprintf(`location = /page.html { root %[1]s/www; } location = /big { root %[1]s/www; } location /echo { proxy_pass http://127.0.0.1:%[2]d/; } location = /none { return 404 "none\n"; } location / { return 200 "of $request_uri\n"; }`, dir, ports[0])
	conf := fmt.Sprintf(`daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log; events { worker_connections 1024; }
http { access_log off; client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
server { listen 127.0.0.1:%[2]d; %[5]s } server { listen 127.0.0.1:%[3]d http2; %[5]s }
server { listen 127.0.0.1:%[4]d ssl http2; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; ssl_protocols TLSv1.2 TLSv1.3; %[5]s } }`, dir, ports[0], ports[1], ports[2], locations)
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o644))
	c := exec.Command("nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	start(t, c, syscall.SIGQUIT)
	await(t, func() bool {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[2]))
		if err != nil {
			return false
		}
		return connection.Close() == nil
	})
	return ports
}

func certificate(t *testing.T, dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o644))
}

// start runs a command until the test ends, or what it gives is called.
func start(t *testing.T, c *exec.Cmd, end os.Signal) (stop func()) {
	t.Helper()
	must(t, c.Start())
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = c.Process.Signal(end) // it may have ended by itself
		kill := time.AfterFunc(20*time.Second, func() { _ = c.Process.Kill() })
		defer kill.Stop()
		_ = c.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func await(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for 20 s in vain")
		}
	}
}

// startDumpcap records the ports, and gives what ends that with all that was seen.
func startDumpcap(t *testing.T, file string, ports []int) (stop func()) {
	var filter []string
	for _, port := range ports {
		filter = append(filter, fmt.Sprint("tcp port ", port))
	}
	c := exec.Command("dumpcap", "-q", "-i", "lo", "-B", "64", "-f", strings.Join(filter, " or "), "-w", file)
	var said bytes.Buffer
	c.Stderr = &said
	end := start(t, c, syscall.SIGINT)
	probe := func() bool { // the first packet in the file shows that it has begun
		if connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0])); err == nil {
			connection.Close()
		}
		info, err := os.Stat(file)
		return err == nil && info.Size() > 600
	}
	await(t, probe)
	return end
}

// umbra gives the requests that umbra finds, a line each, sorted.
func umbra(t *testing.T, file, keylog string) ([]string, capture.Written) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.jsonl.zst")
	w := capture.NewWriter(out, file, nil, capture.Rotation{})
	if err := capture.Read(t.Context(), file, nil, capture.Options{Keylog: keylog}, w); err != nil {
		t.Fatal(err)
	}
	written, err := w.Close()
	must(t, err)
	f, err := os.Open(out)
	must(t, err)
	defer f.Close()
	reader, err := traffic.NewReader(f)
	must(t, err)
	defer reader.Close()
	var lines []string
	for r, err := range reader.Requests() {
		must(t, err)
		answer := "-"
		if r.Response != nil {
			answer = fmt.Sprint(r.Response.Status, " ", r.Response.BodySHA256)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", r.Method, r.Authority, r.Path, answer))
	}
	slices.Sort(lines)
	return lines, written
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
