//go:build linux || darwin

package app

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what the kernel has counted for all threads of the process; 0 where it does not tell.
func cpuTime() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
