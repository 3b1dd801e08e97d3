package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	streamspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

const (
	// upgradeTimeout bounds the opening of one forwarded connection.
	upgradeTimeout = 10 * time.Second
	// complaintTimeout bounds the wait for the kubelet's word on why a stream ended.
	complaintTimeout = time.Second
	// lostTimeout is how long after its streams the end of a lost connection may show: an API server resets them first.
	lostTimeout = 500 * time.Millisecond
	forwardIdle = 90 * time.Second
	errorBytes  = 4096
)

// Forward is a way to a port of a pod, through the API server: an http.RoundTripper whose requests may name any host.
// It reaches listeners on the pod's loopback as well. Each of its TCP connections has an upgraded connection to the API
// server of its own, so that a stream nobody reads holds up no other; they are kept alive between requests.
type Forward struct {
	client         *Client
	namespace, pod string
	port           int
	transport      *http.Transport

	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
}

// Forward gives a way to a port of a pod. Nothing is opened before the first request. Close ends all that was.
func (c *Client) Forward(namespace, pod string, port int) *Forward {
	f := &Forward{client: c, namespace: namespace, pod: pod, port: port, open: map[*stream]struct{}{}}
	f.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			s, err := f.dial(ctx)
			if err != nil {
				return nil, err // and no typed nil
			}
			return s, nil
		},
		IdleConnTimeout:     forwardIdle,
		MaxIdleConnsPerHost: 4,
		DisableCompression:  true,
		ReadBufferSize:      64 << 10,
	}
	return f
}

// RoundTrip implements http.RoundTripper. The request's scheme is http.
func (f *Forward) RoundTrip(request *http.Request) (*http.Response, error) {
	return f.transport.RoundTrip(request)
}

// Close ends all connections; requests under way fail.
func (f *Forward) Close() error {
	f.mu.Lock()
	f.closed = true
	open := f.open
	f.open = map[*stream]struct{}{}
	f.mu.Unlock()
	for s := range open {
		s.end()
	}
	f.transport.CloseIdleConnections()
	return nil
}

func (f *Forward) String() string {
	return fmt.Sprintf("port %d of pod %s/%s", f.port, f.namespace, f.pod)
}

// dial opens a connection to the port.
func (f *Forward) dial(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	connection, err := f.upgrade(ctx)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", f, err)
	}
	s, err := f.openStream(connection)
	if err != nil {
		connection.Close()
		return nil, fmt.Errorf("%v: %w", f, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		s.end()
		return nil, fmt.Errorf("%v: %w", f, net.ErrClosed)
	}
	f.open[s] = struct{}{}
	return s, nil
}

// upgrade asks for a connection that carries streams: SPDY in a WebSocket (Kubernetes 1.30 and later), else SPDY alone,
// as kubectl port-forward does.
func (f *Forward) upgrade(ctx context.Context) (httpstream.Connection, error) {
	target := f.client.rest.Get().AbsPath("/api/v1/namespaces", f.namespace, "pods", f.pod, "portforward").URL()
	connection, err := f.overWebSocket(ctx, target)
	if httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) {
		return f.overSPDY(ctx, target)
	}
	return connection, err
}

func (f *Forward) overWebSocket(ctx context.Context, target *url.URL) (httpstream.Connection, error) {
	transport, holder, err := websocket.RoundTripperFor(f.client.config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	socket, err := websocket.Negotiate(transport, holder, request, "SPDY/3.1+"+portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	tunnel := portforward.NewTunnelingConnection("client", socket)
	connection, err := streamspdy.NewClientConnectionWithPings(tunnel, portforward.PingPeriod)
	if err != nil {
		tunnel.Close()
	}
	return connection, err
}

func (f *Forward) overSPDY(ctx context.Context, target *url.URL) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(f.client.config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, err
	}
	connection, _, err := spdy.NegotiateStreaming(upgrader, &http.Client{Transport: transport}, request,
		portforward.PortForwardProtocolV1Name)
	return connection, err
}

// openStream opens the pair of streams that the kubelet joins to one TCP connection: on the first it tells errors.
func (f *Forward) openStream(connection httpstream.Connection) (*stream, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(f.port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	complaints, err := connection.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	complaints.Close() // our direction; it says nothing
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := connection.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	s := &stream{Stream: data, forward: f, connection: connection, heard: make(chan struct{})}
	go s.listen(complaints)
	return s, nil
}

// stream is one TCP connection to the port, as a net.Conn.
type stream struct {
	httpstream.Stream
	forward    *Forward
	connection httpstream.Connection
	heard      chan struct{} // closed when complaint is complete; the listening goroutine ends with the connection
	complaint  string
	once       sync.Once
}

func (s *stream) listen(complaints io.Reader) {
	defer close(s.heard)
	said, _ := io.ReadAll(io.LimitReader(complaints, errorBytes)) // an error here is the connection's own end
	s.complaint = strings.TrimSpace(string(said))
}

// Read tells the end of the TCP connection (io.EOF) from that of the way to it: a body that ends with its connection must
// not pass for whole when the API server went away.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if !errors.Is(err, io.EOF) || n > 0 {
		return n, err
	}
	timer := time.NewTimer(complaintTimeout)
	defer timer.Stop()
	select {
	case <-s.heard:
		if s.complaint != "" {
			return 0, fmt.Errorf("%v: %s", s.forward, s.complaint)
		}
	case <-timer.C:
	}
	timer.Reset(lostTimeout)
	select {
	case <-s.connection.CloseChan():
		return 0, fmt.Errorf("%v: %w", s.forward, portforward.ErrLostConnectionToPod)
	case <-timer.C:
		return 0, io.EOF
	}
}

func (s *stream) Close() error {
	s.forward.mu.Lock()
	delete(s.forward.open, s)
	s.forward.mu.Unlock()
	s.end()
	return nil
}

// CloseWrite tells the pod that nothing more is sent; reading goes on. A container runtime may end the connection a second
// later, as containerd does.
func (s *stream) CloseWrite() error { return s.Stream.Close() }

// end closes the connection, which ends both streams.
func (s *stream) end() {
	s.once.Do(func() {
		s.Reset()
		s.connection.Close()
	})
}

// A stream has no addresses, and no deadlines: http.Transport sets none, requests end with their contexts.
func (s *stream) LocalAddr() net.Addr              { return address(s.forward.client.config.Host) }
func (s *stream) RemoteAddr() net.Addr             { return address(s.forward.String()) }
func (s *stream) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (s *stream) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (s *stream) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type address string

func (a address) Network() string { return "port-forward" }
func (a address) String() string  { return string(a) }
