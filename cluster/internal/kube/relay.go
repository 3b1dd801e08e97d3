package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// acceptPause is between two tries to accept a connection: the process may be out of file descriptors for a moment.
const acceptPause = 50 * time.Millisecond

// Relay listens on 127.0.0.1 and passes every connection on to the port of the pod, each through one of its own. It gives its
// address, and what ends it and everything that it began.
func (f *Forward) Relay(ctx context.Context) (address string, end func() error, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		acceptAll(live, l, func(near net.Conn) { running.Go(func() { f.pass(live, near) }) })
	})
	return l.Addr().String(), func() error {
		cancel()
		err := errors.Join(l.Close(), f.Close())
		running.Wait()
		return err
	}, nil
}

// acceptAll hands on connections until the listener is closed or ctx ends. Any other error of the listener may pass.
func acceptAll(ctx context.Context, l net.Listener, take func(net.Conn)) {
	for {
		near, err := l.Accept()
		switch {
		case err == nil:
			take(near)
		case errors.Is(err, net.ErrClosed) || !pause(ctx, acceptPause):
			return
		}
	}
}

// pass joins a connection to one of the pod's. The end of what comes from near is passed on, while the pod may still
// answer; when the pod's side ends, or either fails, both are closed. Where the pod cannot be reached the connection is
// closed, as the gateway's own would be.
func (f *Forward) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	stop := context.AfterFunc(ctx, func() { near.Close() })
	defer stop()
	far, err := f.dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	var sending sync.WaitGroup
	sending.Go(func() {
		_, err := io.Copy(far, near)
		if err == nil {
			err = far.CloseWrite()
		}
		if err != nil { // ends the other direction
			near.Close()
			far.Close()
		}
	})
	_, _ = io.Copy(near, far) // either end says so by ending
	near.Close()
	far.Close()
	sending.Wait()
}
