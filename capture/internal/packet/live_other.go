//go:build !linux

package packet

import (
	"errors"

	"umbra/capture/internal/exchange"
)

var errLive = errors.New("live capture needs Linux (AF_PACKET): capture to a file with tcpdump, and read that")

// Live captures on Linux only.
type Live struct{ Idle func() }

// OpenLive gives an error that says what to do instead.
func OpenLive(string, []int, int, exchange.Loss) (*Live, error) { return nil, errLive }

// Next gives an error.
func (*Live) Next(*Packet) error { return errLive }

// Stop does nothing.
func (*Live) Stop() error { return nil }

// Close does nothing.
func (*Live) Close() error { return nil }

// Dropped gives an error.
func (*Live) Dropped() (int64, error) { return 0, errLive }
