//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// server is nginx on a core of its own, with a port for HTTP/1.1 and one for h2c. It is a single process (no master), so
// that a signal stops all of it and none of it is left behind.
type server struct {
	http1, h2c string // URLs
	status     string // URL of its counters
	version    string
	process    *os.Process
	stderr     *bytes.Buffer // to be read after ended
	ended      <-chan error  // closed when the process is gone
	client     *http.Client
}

var nginxConfig = template.Must(template.New("nginx.conf").Parse(`daemon off;
master_process off;
worker_processes 1;
pid {{.Dir}}/nginx.pid;
error_log {{.Dir}}/error.log;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type text/plain;
    client_body_temp_path {{.Dir}}/body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
    scgi_temp_path {{.Dir}}/scgi;
    server {
        listen 127.0.0.1:{{.HTTP1}};
        location / { return 200 "{{.Body}}"; }
        location = /counters { stub_status; }
    }
    server {
        listen 127.0.0.1:{{.H2C}}{{if .OldHTTP2}} http2{{end}};
        {{if not .OldHTTP2}}http2 on;{{end}}
        location / { return 200 "{{.Body}}"; }
    }
}
`))

// bodySize is the size of each response's body, in bytes.
const bodySize = 100

// startServer starts nginx on a core, with its files in dir, and waits until it answers. The caller stops it.
func startServer(ctx context.Context, dir string, core int) (*server, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // where Debian has it, which is not on every PATH
	}
	version, err := nginxVersion(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("nginx, which every tool is measured against: %w (apt-get install nginx-light)", err)
	}
	s := &server{version: version, stderr: &bytes.Buffer{}, client: &http.Client{Timeout: 10 * time.Second}}
	config, err := s.configure(dir)
	if err != nil {
		return nil, err
	}
	c := exec.Command(path, "-p", dir, "-c", config)
	c.Stderr = s.stderr
	if s.ended, err = onCore(core, c); err != nil {
		return nil, err
	}
	s.process = c.Process
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("nginx: %w\n%s", err, s.stderr)
	}
	return s, nil
}

// configure chooses the ports and writes the configuration, whose path it gives.
func (s *server) configure(dir string) (file string, err error) {
	ports, err := freePorts(2)
	if err != nil {
		return "", err
	}
	s.http1, s.h2c = fmt.Sprintf("http://127.0.0.1:%d/", ports[0]), fmt.Sprintf("http://127.0.0.1:%d/", ports[1])
	s.status = s.http1 + "counters"
	var config bytes.Buffer
	if err := nginxConfig.Execute(&config, map[string]any{"Dir": dir, "HTTP1": ports[0], "H2C": ports[1],
		"Body": strings.Repeat("0123456789", bodySize/10), "OldHTTP2": oldHTTP2(s.version)}); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "nginx.conf")
	return file, os.WriteFile(file, config.Bytes(), 0o644)
}

// nginxVersion asks for the version, like 1.22.1.
func nginxVersion(ctx context.Context, path string) (string, error) {
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return "", err
	}
	_, version, ok := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	if !ok {
		return "", fmt.Errorf("%q has no version", out)
	}
	return version, nil
}

// oldHTTP2 says whether the version takes HTTP/2 as a word of listen: the directive came with 1.25.1.
func oldHTTP2(version string) bool {
	var major, minor, patch int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch) // what is missing stays 0
	return major < 1 || major == 1 && (minor < 25 || minor == 25 && patch < 1)
}

// freePorts gives n loopback ports that were free a moment ago.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all of them at the end, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		_, err := s.served(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", err)
		case <-s.ended:
			return errors.New("it ended at once")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server, a frozen one too, and waits for its end.
func (s *server) stop() {
	_ = s.process.Kill() // gone already is as good
	for range s.ended {
	}
}

var statusLine = regexp.MustCompile(`(?m)^\s*\d+ \d+ (\d+)\s*$`)

// served is how many requests the server saw so far, those of served itself among them.
func (s *server) served(ctx context.Context) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.status, nil)
	if err != nil {
		return 0, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	m := statusLine.FindSubmatch(body)
	if m == nil {
		return 0, fmt.Errorf("%s: %q has no count of requests (nginx without stub_status?)", s.status, body)
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// watch reads the count, from when it was base, every 50 ms until the context ends. Its own requests are left out; there is
// one for each reading, none of which the end cuts short, so that the load can be told from them exactly.
func (s *server) watch(ctx context.Context, base int64) (readings []reading, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for own := int64(1); ; own++ {
		before := time.Now()
		n, err := s.served(context.WithoutCancel(ctx))
		if err != nil {
			return readings, err
		}
		readings = append(readings, reading{before.Add(time.Since(before) / 2), n - base - own})
		select {
		case <-ctx.Done():
			return readings, nil
		case <-tick.C:
		}
	}
}

// freeze waits for a load that begins after the count was base, lets it go on for a while, and stops the server for as
// long as d. The server goes on in any case. It gives how often it asked the server.
func (s *server) freeze(ctx context.Context, base int64, after, d time.Duration) (asked int64, err error) {
	for {
		n, err := s.served(ctx)
		if asked++; err != nil {
			return asked, err
		}
		if n-base-asked > 0 {
			break
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return asked, err
		}
	}
	if err := sleep(ctx, after); err != nil {
		return asked, err
	}
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		return asked, err
	}
	defer s.process.Signal(syscall.SIGCONT)
	return asked, sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
