//go:build ignore

// Makes the fixtures of connections that crypto/tls cannot be made to have, with OpenSSL: go run make.go, in this folder.
// Their keys are of no use for anything else.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

type chunk struct {
	Server bool   `json:"server,omitempty"`
	Bytes  []byte `json:"bytes"`
}

type fixture struct {
	Name   string  `json:"name"`
	Keys   string  `json:"keys"`
	Client string  `json:"client"`
	Server string  `json:"server"`
	Chunks []chunk `json:"chunks"`
}

var dir string

func main() {
	dir = must(os.MkdirTemp("", "tls"))
	defer os.RemoveAll(dir)
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
		"-subj", "/CN=shop.test", "-keyout", file("key.pem"), "-out", file("cert.pem"))
	os.WriteFile(file("early"), []byte("GET /early HTTP/1.1\r\n\r\n"), 0o600)

	suite := func(s string) []string { return []string{"-tls1_3", "-ciphersuites", s} }
	plain := []string{"-early_data"}
	make1("tls13-aes256", nil, suite("TLS_AES_256_GCM_SHA384"), "hello\n")
	make1("tls13-chacha20", nil, suite("TLS_CHACHA20_POLY1305_SHA256"), "hello\n")
	make1("tls13-padded", []string{"-record_padding", "256"}, append(suite("TLS_AES_128_GCM_SHA256"), "-record_padding", "100"), "hello\n")
	make1("tls13-key-updates", nil, suite("TLS_AES_256_GCM_SHA384"), "one\n", "K\n", "two\n", "k\n", "three\n")
	make1("tls12-renegotiation", []string{"-client_renegotiation"}, []string{"-tls1_2"}, "one\n", "R\n", "two\n")

	session := []string{"-sess_out", file("session")}
	make1("", plain, append(suite("TLS_AES_256_GCM_SHA384"), session...), "hello\n")
	early := append(suite("TLS_AES_256_GCM_SHA384"), "-sess_in", file("session"), "-early_data", file("early"))
	make1("tls13-early-refused", plain, early, "hello\n")
	make1("tls13-early-retried", append(plain, "-groups", "P-384"), append(early, "-groups", "X25519:P-384"), "hello\n")
	makeResumed("tls13-early-taken", plain, append(suite("TLS_AES_256_GCM_SHA384"), session...), early, string(must(os.ReadFile(file("early")))))
	makeResumed("tls12-resumption", nil, append([]string{"-tls1_2"}, session...), []string{"-tls1_2", "-sess_in", file("session")}, "")
}

// make1 records a connection to a server of its own.
func make1(name string, server, client []string, lines ...string) {
	stop, port, told := serve(server)
	connect(name, port, client, "", lines, told)
	stop()
}

// makeResumed records the second connection to one server.
func makeResumed(name string, server, first, second []string, early string) {
	stop, port, told := serve(server)
	connect("", port, first, "", []string{"hello\n"}, told)
	connect(name, port, second, early, []string{"hello\n"}, told)
	stop()
}

func connect(name, port string, client []string, early string, lines []string, told io.Writer) {
	tee := listen(port)
	log := file("keys")
	os.Remove(log)
	args := append([]string{"s_client", "-connect", tee.l.Addr().String(), "-servername", "shop.test", "-keylogfile", log}, client...)
	c := exec.Command("openssl", args...)
	in := must(c.StdinPipe())
	c.Stdout, c.Stderr = io.Discard, os.Stderr
	check(c.Start())
	pause()
	f := fixture{Name: name, Client: early}
	for _, line := range lines {
		io.WriteString(in, line)
		pause()
		if len(line) > 2 {
			f.Client += line
			f.Server += "re: " + line
			io.WriteString(told, "re: "+line)
			pause()
		}
	}
	io.WriteString(in, "Q\n")
	c.Wait()
	pause()
	if name == "" {
		return
	}
	f.Keys, f.Chunks = string(must(os.ReadFile(log))), tee.taken()
	var keys []string
	for _, l := range strings.Split(f.Keys, "\n") {
		if !strings.HasPrefix(l, "#") && !strings.Contains(l, "EXPORTER") {
			keys = append(keys, l)
		}
	}
	f.Keys = strings.Join(keys, "\n")
	check(os.WriteFile(name+".json", append(must(json.Marshal(f)), '\n'), 0o644))
}

func serve(args []string) (stop func(), port string, in io.Writer) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	port = fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	args = append([]string{"s_server", "-accept", "127.0.0.1:" + port, "-key", file("key.pem"), "-cert", file("cert.pem"), "-num_tickets", "1"}, args...)
	c := exec.Command("openssl", args...)
	w := must(c.StdinPipe())
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, os.Stderr
	check(c.Start())
	pause()
	return func() { c.Process.Kill(); c.Wait() }, port, w
}

// tee passes one connection on to a port, and records it.
type tee struct {
	l      net.Listener
	mu     sync.Mutex
	chunks []chunk
}

func listen(port string) *tee {
	t := &tee{l: must(net.Listen("tcp", "127.0.0.1:0"))}
	go func() {
		client := must(t.l.Accept())
		server := must(net.Dial("tcp", "127.0.0.1:"+port))
		go t.pass(client, server, false)
		t.pass(server, client, true)
	}()
	return t
}

func (t *tee) pass(from, to net.Conn, server bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			t.mu.Lock()
			t.chunks = append(t.chunks, chunk{server, bytes.Clone(b[:n])})
			t.mu.Unlock()
			to.Write(b[:n])
		}
		if err != nil {
			to.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

func (t *tee) taken() []chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.chunks
}

func pause()                       { time.Sleep(300 * time.Millisecond) }
func file(name string) string      { return filepath.Join(dir, name) }
func run(args ...string)           { check(exec.Command("openssl", args...).Run()) }
func must[T any](v T, err error) T { check(err); return v }
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
