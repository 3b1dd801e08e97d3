package replay

import (
	"time"

	"golang.org/x/sys/unix"
)

// widen says how the range of local ports is widened.
const widen = " (sysctl net.inet.ip.portrange.first)"

// readLimits reads the limits of this machine; an ended connection keeps its port for twice the maximum segment lifetime,
// which net.inet.tcp.msl gives in milliseconds.
func readLimits() limits {
	l := limits{descriptors: descriptors()}
	first, err1 := unix.SysctlUint32("net.inet.ip.portrange.first")
	last, err2 := unix.SysctlUint32("net.inet.ip.portrange.last")
	if err1 == nil && err2 == nil && last >= first {
		l.ports = int(last-first) + 1
	}
	if msl, err := unix.SysctlUint32("net.inet.tcp.msl"); err == nil {
		l.linger = 2 * time.Duration(msl) * time.Millisecond
	}
	return l
}
