package capture

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
)

// TestLive captures what a server on loopback is asked: everything is there, or the kernel's drop counter says that it is not.
func TestLive(t *testing.T) {
	if os.Getenv("UMBRA_ORACLE") == "" {
		t.Skip("it needs CAP_NET_RAW: make oracle runs it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })}
	go server.Serve(l) // it ends with Close
	defer server.Close()
	path := filepath.Join(t.TempDir(), "live.jsonl.zst")
	w := NewWriter(path, "iface:lo", nil, Rotation{})
	ctx, stop := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() {
		read <- Read(ctx, "iface:lo", nil, Options{Ports: []int{l.Addr().(*net.TCPAddr).Port}}, w)
	}()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) { // the first request on the disk shows that it has begun
		get(t, l.Addr(), "/probe")
		if _, err := os.Stat(path + ".part"); err == nil {
			break
		} else if time.Since(begun) > 20*time.Second {
			t.Fatal("nothing was captured in 20 s")
		}
	}
	const clients, each = 8, 2500
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				get(t, l.Addr(), fmt.Sprintf("/%d/%d", c, i))
			}
		})
	}
	all.Wait()
	stop()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	written, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, requests := contents(t, path)
	seen := 0
	for i, r := range requests {
		if i > 0 && r.At < requests[i-1].At {
			t.Fatalf("request %d is out of order", i)
		}
		if strings.Count(r.Path, "/") == 2 {
			seen++
			if r.Response == nil || r.Response.Status != 200 {
				t.Errorf("%s has the answer %+v", r.Path, r.Response)
			}
		}
	}
	dropped := written.Loss[string(exchange.PacketsDropped)]
	t.Logf("%d of %d requests, %d packets dropped by the kernel, loss %v", seen, clients*each, dropped, written.Loss)
	if seen != clients*each && dropped == 0 {
		t.Errorf("%d of %d requests were captured, and nothing was dropped", seen, clients*each)
	}
}

func get(t *testing.T, at net.Addr, path string) {
	r, err := http.Get("http://" + at.String() + path)
	if err != nil {
		t.Error(err)
		return
	}
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
}
