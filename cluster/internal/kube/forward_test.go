package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	streamspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

// kubelet is the far end of port-forwarding by SPDY: each pair of streams is joined to a TCP connection to the app. It
// refuses WebSockets, as Kubernetes before 1.30 does.
type kubelet struct {
	t    *testing.T
	app  string // host:port
	mu   sync.Mutex
	open []httpstream.Connection
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/shop/pods/app-1/portforward" {
		failure(w, http.StatusBadRequest, "pods \"app-2\" not found", "app-2")
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		k.t.Error(err)
		return
	}
	streams := make(chan httpstream.Stream, 2)
	connection := streamspdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if connection == nil {
		return
	}
	defer connection.Close()
	k.mu.Lock()
	k.open = append(k.open, connection)
	k.mu.Unlock()
	complaints, data := <-streams, <-streams
	if got := data.Headers().Get("port"); got != "8081" {
		k.t.Errorf("asked for port %s", got)
	}
	k.join(complaints, data)
	<-connection.CloseChan()
}

func (k *kubelet) join(complaints, data httpstream.Stream) {
	defer complaints.Close()
	defer data.Close()
	target, err := net.Dial("tcp", k.app)
	if err != nil {
		io.WriteString(complaints, err.Error())
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := io.Copy(target, data); err != nil {
			target.Close()
			return
		}
		target.(*net.TCPConn).CloseWrite()
	})
	io.Copy(data, target)
	data.Reset()
	up.Wait()
}

// cut ends all connections, as an API server that goes away does.
func (k *kubelet) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.open {
		c.Close()
	}
}

func forwardTo(t *testing.T, app http.HandlerFunc) (*kubelet, *Client) {
	t.Helper()
	target := httptest.NewServer(app)
	t.Cleanup(target.Close)
	k := &kubelet{t: t, app: target.Listener.Addr().String()}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	t.Cleanup(k.cut)
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

func TestForward(t *testing.T) {
	const size = 10 << 20
	_, c := forwardTo(t, func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(w, zeros{}, size)
	})
	f := c.Forward("shop", "app-1", 8081)
	client := &http.Client{Transport: f}
	for range 3 {
		if n := read(t, client, "/"); n != size {
			t.Errorf("%d bytes", n)
		}
	}
	f.mu.Lock()
	n := len(f.open)
	f.mu.Unlock()
	if n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Get("http://pod/"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestForwardErrors(t *testing.T) {
	k, c := forwardTo(t, nil)
	f := c.Forward("shop", "app-2", 8081)
	defer f.Close()
	if _, err := (&http.Client{Transport: f}).Get("http://pod/"); err == nil || !strings.Contains(err.Error(), `pods "app-2" not found`) {
		t.Errorf("a pod that is not there: %v", err)
	}
	k.app = "127.0.0.1:1"
	f = c.Forward("shop", "app-1", 8081)
	defer f.Close()
	if _, err := (&http.Client{Transport: f}).Get("http://pod/"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestForwardLost: a body that ends with its connection is not whole when it was the way to the pod that ended.
func TestForwardLost(t *testing.T) {
	begun := make(chan struct{}, 1)
	k, c := forwardTo(t, func(w http.ResponseWriter, r *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer connection.Close()
		io.WriteString(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
		begun <- struct{}{}
		io.Copy(io.Discard, connection) // until the other end closes
	})
	f := c.Forward("shop", "app-1", 8081)
	defer f.Close()
	answer, err := (&http.Client{Transport: f}).Get("http://pod/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	<-begun
	if _, err := io.ReadFull(answer.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	k.cut()
	if _, err := io.ReadAll(answer.Body); !errors.Is(err, portforward.ErrLostConnectionToPod) {
		t.Errorf("the connection was cut: %v", err)
	}
}

func TestForwardCancelled(t *testing.T) {
	arrived := make(chan struct{}, 1)
	_, c := forwardTo(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	f := c.Forward("shop", "app-1", 8081)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.RoundTrip(request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
