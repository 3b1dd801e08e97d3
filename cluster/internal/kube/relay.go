package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

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
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.pass(live, near) })
		}
	})
	return l.Addr().String(), func() error {
		cancel()
		err := errors.Join(l.Close(), f.Close())
		running.Wait()
		return err
	}, nil
}

// pass joins a connection to one of the pod's until one of them ends. Where the pod cannot be reached the connection is closed, as
// the gateway's own would be.
func (f *Forward) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	stop := context.AfterFunc(ctx, func() { near.Close() })
	defer stop()
	far, err := f.dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	join := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from) // either end says so by ending
		ended <- struct{}{}
	}
	go join(far, near)
	go join(near, far)
	<-ended
	near.Close()
	far.Close()
	<-ended
}
