//go:build !linux

package pause

import "time"

// fine waits by the runtime's timer: how precise that is depends on the system's poller.
func fine(d time.Duration) { time.Sleep(d) }
