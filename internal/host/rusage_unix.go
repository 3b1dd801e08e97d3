//go:build linux || darwin

package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// usedByProcess is what the kernel has counted for all threads of the process.
func usedByProcess() *Process {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return nil
	}
	return &Process{time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano()), int64(r.Nvcsw), int64(r.Nivcsw)}
}
