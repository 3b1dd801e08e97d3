package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"
)

// relayTo starts a relay to an app of one connection at a time and gives a connection to it.
func relayTo(t *testing.T, app func(*net.TCPConn)) (near *net.TCPConn, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			connection, err := l.Accept()
			if err != nil {
				return
			}
			app(connection.(*net.TCPConn))
			connection.Close()
		}
	}()
	return relay(t, &kubelet{t: t, app: l.Addr().String()})
}

func relay(t *testing.T, k *kubelet) (near *net.TCPConn, end func() error) {
	t.Helper()
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	t.Cleanup(k.cut)
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	address, end, err := c.Forward("shop", "app-1", 8081).Relay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection.(*net.TCPConn), end
}

func TestRelayPassesBytes(t *testing.T) {
	near, end := relayTo(t, func(c *net.TCPConn) { io.Copy(c, c) })
	for _, said := range []string{"one", "another"} {
		if _, err := io.WriteString(near, said); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(said))
		if _, err := io.ReadFull(near, got); err != nil || string(got) != said {
			t.Errorf("%q came back as %q: %v", said, got, err)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// The pod answers once it has seen the request's end, which is the end of what is sent.
func TestRelayPassesTheEnd(t *testing.T) {
	near, end := relayTo(t, func(c *net.TCPConn) {
		said, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(c, "heard "+string(said))
	})
	defer end()
	io.WriteString(near, "all")
	if err := near.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(near); string(got) != "heard all" || err != nil {
		t.Errorf("answered %q, %v", got, err)
	}
}

func TestRelayEnds(t *testing.T) {
	over := make(chan struct{})
	near, end := relayTo(t, func(c *net.TCPConn) {
		io.WriteString(c, "x")
		io.Copy(io.Discard, c)
		close(over)
	})
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	<-over // the pod's side
	if n, err := near.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes after the end", n)
	}
	if c, err := net.Dial("tcp", near.RemoteAddr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestRelayToNoPod(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		near, end := relay(t, &kubelet{t: t, app: "127.0.0.1:1"})
		defer end()
		if n, err := near.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes", n)
		}
	})
	t.Run("no such pod", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		c, err := Connect(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		address, end, err := c.Forward("shop", "app-2", 8081).Relay(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		near, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		if n, err := near.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes", n)
		}
	})
}

// scripted is a listener that answers Accept by its steps and is closed afterwards.
type scripted struct {
	net.Listener
	steps []func() (net.Conn, error)
}

func (s *scripted) Accept() (net.Conn, error) {
	if len(s.steps) == 0 {
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	return step()
}

func TestAcceptAll(t *testing.T) {
	full := func() (net.Conn, error) { return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE} }
	one := func() (net.Conn, error) { return &net.TCPConn{}, nil }
	taken := 0
	acceptAll(t.Context(), &scripted{steps: []func() (net.Conn, error){full, one, full, full, one}}, func(net.Conn) { taken++ })
	if taken != 2 {
		t.Errorf("took %d of 2 connections around temporary errors", taken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &scripted{steps: []func() (net.Conn, error){func() (net.Conn, error) { cancel(); return nil, errors.New("broken") }, one}}
	acceptAll(ctx, l, func(net.Conn) { t.Error("taken after the end") })
}
