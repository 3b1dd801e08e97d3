package replay

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// widen says how the range of local ports is widened.
const widen = " (net.ipv4.ip_local_port_range)"

// timeWait is the kernel's TCP_TIMEWAIT_LEN.
const timeWait = time.Minute

// readLimits reads the limits of this machine. The range of ports is IPv6's too (kernel Documentation,
// networking/ip-sysctl.rst).
func readLimits() limits {
	const ipv4 = "/proc/sys/net/ipv4/"
	l := limits{descriptors: descriptors(), linger: timeWait}
	if text, err := os.ReadFile(ipv4 + "ip_local_port_range"); err == nil {
		reserved, _ := os.ReadFile(ipv4 + "ip_local_reserved_ports")
		l.ports = portsIn(string(text), string(reserved))
	}
	if text, err := os.ReadFile(ipv4 + "tcp_tw_reuse"); err == nil {
		l.reuse = reuseOf(string(text))
	}
	return l
}

// portsIn counts the ports of a range like "32768 60999", without those reserved, like "40000,50000-50009"; 0 where it
// cannot be told.
func portsIn(text, reserved string) int {
	bounds := strings.Fields(text)
	if len(bounds) != 2 {
		return 0
	}
	low, ok1 := port(bounds[0])
	high, ok2 := port(bounds[1])
	if !ok1 || !ok2 || high < low {
		return 0
	}
	ports := high - low + 1
	for part := range strings.SplitSeq(strings.TrimSpace(reserved), ",") {
		first, last, is := strings.Cut(part, "-")
		if !is {
			last = first
		}
		from, ok1 := port(first)
		to, ok2 := port(last)
		if ok1 && ok2 {
			ports -= max(0, min(to, high)-max(from, low)+1)
		}
	}
	return max(0, ports)
}

func port(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil
}

// reuseOf reads tcp_tw_reuse: 0 never, 1 always, 2 on loopback.
func reuseOf(text string) reuseOfPorts {
	switch strings.TrimSpace(text) {
	case "1":
		return reuseAlways
	case "2":
		return reuseOnLoopback
	}
	return reuseNever
}
