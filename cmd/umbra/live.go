package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"umbra/internal/live"
)

// liveOptions are the flag that has a run shown on a page while it goes on.
type liveOptions struct {
	address  string
	at       netip.AddrPort
	listener net.Listener // nil: no page
}

func (o *liveOptions) add(c *cobra.Command) {
	c.Flags().StringVar(&o.address, "live", "", "serve a page that shows the run while it goes on, on an address of loopback: :0 takes a free port")
}

// check refuses what is no address of loopback.
func (o *liveOptions) check() (err error) {
	if o.address == "" {
		return nil
	}
	if o.at, err = live.Address(o.address); err != nil {
		return fmt.Errorf("--live %w", err)
	}
	return nil
}

// listen takes the port, before a run leaves anything.
func (o *liveOptions) listen() (err error) {
	if o.address == "" {
		return nil
	}
	if o.listener, err = net.Listen("tcp", o.at.String()); err != nil {
		return broken(fmt.Errorf("--live %s: %w; give another port, or :0 for a free one", o.address, err))
	}
	return nil
}

// close lets the port go, where no server did.
func (o *liveOptions) close() {
	if o.listener != nil {
		o.listener.Close()
	}
}
