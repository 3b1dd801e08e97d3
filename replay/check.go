package replay

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Demand is what a plan will ask of the machine.
type Demand struct {
	Fresh     float64       // new connections a second, where each request gets its own; else 0
	For       time.Duration // how long; 0 where that is not known
	Addresses int           // that the server's name stands for; 0 where that is not known, which is taken for one
}

// Check tells, before the start, all that would keep o from being played as asked: options that contradict each other, and
// limits of this machine that the connections would run into. It sends nothing, and looks no name up.
func (o *Options) Check(e Demand) error {
	return errors.Join(o.contradictions(), o.addresses(), o.limits(e, readLimits()))
}

// contradictions tells of options that are out of range or do not go together. A zero Protocol, Reuse, Overload, Streams,
// Queue or Loops stands for the default.
func (o *Options) contradictions() error {
	http2, closed := o.Protocol == H2C || o.Protocol == ALPN, o.Until > 0
	return faults(append(o.impossible(), []fault{
		{!known(o.Protocol, HTTP1, H2C, ALPN), fmt.Sprintf("protocol %q: give %s, %s or %s", o.Protocol, HTTP1, H2C, ALPN)},
		{!known(o.Reuse, Keep, Session, Fresh), fmt.Sprintf("reuse of connections %q: give %s, %s or %s", o.Reuse, Keep, Session, Fresh)},
		{!known(o.Overload, QueueUp, Drop, AbortRun), fmt.Sprintf("overload %q: give %s, %s or %s", o.Overload, QueueUp, Drop, AbortRun)},
		{o.Until < 0, fmt.Sprintf("a closed loop of %v: give a time above 0", o.Until)},
		{o.Streams < 0, fmt.Sprintf("%d streams: at least one is needed", o.Streams)},
		{o.Queue < 0, fmt.Sprintf("a queue of %d: give how many requests may wait for a connection", o.Queue)},
		{o.Quantum < 0, fmt.Sprintf("a quantum of %v: give 0 or more", o.Quantum)},
		{o.Loops < 0, fmt.Sprintf("%d event loops: at least one is needed", o.Loops)},
		{o.Streams > 1 && !http2, fmt.Sprintf("%d streams: a connection of HTTP/1.1 has one request at a time; ask for HTTP/2 or for more connections", o.Streams)},
		{o.Streams > 1 && o.Reuse == Fresh, fmt.Sprintf("%d streams: a fresh connection has one request; leave one of both out", o.Streams)},
		{o.Quantum > 0 && o.Precise, "precise sends each request at its instant, and a quantum sends several at once: leave one of both out"},
		{o.Quantum > 0 && o.Timeout > 0 && o.Quantum >= o.Timeout, fmt.Sprintf("a quantum of %v makes requests that late, and they time out after %v: give a shorter one", o.Quantum, o.Timeout)},
		{closed && o.Quantum > 0, "a closed loop sends when a connection is free, so a quantum does nothing: leave it out, or give a rate"},
		{closed && o.Precise, "a closed loop sends when a connection is free, so precise does nothing: leave it out, or give a rate"},
		{closed && o.Overload != "" && o.Overload != QueueUp, fmt.Sprintf("overload %s: in a closed loop no request waits for a connection; leave it out, or give a rate", o.Overload)},
		{o.Queue > 0 && (o.Overload == Drop || o.Overload == AbortRun), fmt.Sprintf("a queue of %d: with overload %s no request waits; leave one of both out", o.Queue, o.Overload)},
	}...))
}

// impossible is what no transport can play, and New refuses too.
func (o *Options) impossible() []fault {
	return []fault{
		{o.Connections < 1, fmt.Sprintf("%d connections: at least one is needed", o.Connections)},
		{o.Timeout <= 0, fmt.Sprintf("a timeout of %v: give one above 0", o.Timeout)},
		{o.Protocol == H2C && o.TLS != nil, "h2c is HTTP/2 in the clear, and the URL asks for TLS: leave h2c out, or give an http:// URL"},
		{o.Protocol == ALPN && o.TLS == nil, "the protocol is agreed on in the TLS handshake (ALPN), and the URL asks for none: give an https:// URL, or h2c"},
		{o.Until > 0 && o.Reuse == Session, "a closed loop sends as fast as it can, so sessions have no meaning in it: keep connections, or take a fresh one for each request"},
	}
}

// fault is something that may be wrong.
type fault struct {
	is   bool
	says string
}

// faults joins those that are.
func faults(all []fault) error {
	var errs []error
	for _, f := range all {
		if f.is {
			errs = append(errs, errors.New(f.says))
		}
	}
	return errors.Join(errs...)
}

// known tells whether v is one of the values, or not given.
func known[T ~string](v T, values ...T) bool {
	for _, other := range values {
		if v == other {
			return true
		}
	}
	return v == ""
}

// addresses checks where to connect to, and from.
func (o *Options) addresses() error {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil || host == "" {
		return fmt.Errorf("address %q: give host:port", o.Address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q: a port is a number from 1 to 65535", o.Address)
	}
	if !o.Source.IsValid() {
		return nil
	}
	if to, err := netip.ParseAddr(host); err == nil && to.Unmap().Is4() != o.Source.Unmap().Is4() {
		return fmt.Errorf("source address %v: it is not of the same kind (IPv4 or IPv6) as the server's address %v", o.Source, to)
	}
	return ours(o.Source)
}

// ours binds a socket that nobody can connect to, as that is how the kernel says whether an address is this machine's.
func ours(source netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
	if err != nil {
		return fmt.Errorf("source address %v is none of this machine's (%w): give one that its interfaces have", source, err)
	}
	return c.Close()
}

// limits are this machine's; what is not known is 0, and is not checked.
type limits struct {
	descriptors uint64        // that the process may have open
	ports       int           // that outgoing connections get theirs from, for each pair of source and server address
	linger      time.Duration // how long an ended connection keeps its port (TIME_WAIT)
	reuse       reuseOfPorts
}

// reuseOfPorts says from which connections in TIME_WAIT a port may be taken, after a second.
type reuseOfPorts int

const (
	reuseNever reuseOfPorts = iota
	reuseAlways
	reuseOnLoopback
)

// besides are descriptors that the process has beside its connections: files, logs, event loops.
const besides = 64

// limits checks o against l.
func (o *Options) limits(e Demand, l limits) error {
	need := uint64(max(o.Connections, 0)) + besides
	addresses := max(1, e.Addresses)
	ports := l.ports * addresses
	keep := o.keeps(e, l)
	held := int(math.Ceil(e.Fresh * keep.Seconds()))
	return faults([]fault{
		{l.descriptors > 0 && need > l.descriptors, fmt.Sprintf("%d connections need %d descriptors, and this process may have %d: raise the limit (ulimit -n %d), or use fewer connections",
			o.Connections, need, l.descriptors, need)},
		{l.ports > 0 && o.Connections > ports, fmt.Sprintf("%d connections need as many local ports, and there are %d to %s: use fewer connections, or widen the range%s",
			o.Connections, ports, addressesOf(addresses), widen)},
		{l.ports > 0 && o.Connections <= ports && held+o.Connections > ports, fmt.Sprintf(
			"%.0f fresh connections a second keep %d local ports, as each is kept for %v after its end, and there are %d to %s: lower the rate, keep the connections, or widen the range%s",
			e.Fresh, held, keep, ports, addressesOf(addresses), widen)},
	})
}

// keeps is how long a fresh connection's port cannot be used again: for the time of TIME_WAIT, or for the whole of a shorter
// run, or for a second where the kernel takes such ports again.
func (o *Options) keeps(e Demand, l limits) time.Duration {
	keep := l.linger
	if l.reuse == reuseAlways || l.reuse == reuseOnLoopback && o.toLoopback() {
		keep = min(keep, time.Second)
	}
	if e.For > 0 {
		keep = min(keep, e.For)
	}
	return keep
}

func (o *Options) toLoopback() bool {
	host, _, _ := net.SplitHostPort(o.Address)
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func addressesOf(n int) string {
	if n == 1 {
		return "one address"
	}
	return fmt.Sprintf("%d addresses", n)
}

// CheckSpace says how large the rows of a run will be, and how much space is free in the folder dir, to be printed; where
// they do not fit, it is an error. planned is 0 where it is not known before the run, as in a closed loop.
func CheckSpace(dir string, planned int, rowBytes float64) (string, error) {
	free, known, err := freeSpace(dir)
	if err != nil {
		return "", fmt.Errorf("%s: how much space is free cannot be told: %w", dir, err)
	}
	return space(dir, planned, rowBytes, free, known)
}

func space(dir string, planned int, rowBytes float64, free uint64, known bool) (string, error) {
	var parts []string
	need := float64(planned) * rowBytes
	if planned > 0 {
		rows := "rows"
		if planned == 1 {
			rows = "row"
		}
		parts = append(parts, fmt.Sprintf("about %s for %s %s", size(need), thousands(planned), rows))
	} else {
		parts = append(parts, fmt.Sprintf("%.0f bytes for each row", math.Ceil(rowBytes)))
	}
	if known {
		parts = append(parts, size(float64(free))+" are free")
	}
	text := strings.Join(parts, "; ")
	if known && need > float64(free) {
		return text, fmt.Errorf("%s: the results take %s: free some, choose another folder (--out), or write no rows (--results none)", dir, text)
	}
	return text, nil
}

// size writes bytes in powers of 1000, with two digits.
func size(bytes float64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for ; bytes >= 999.5 && i < len(units)-1; i++ {
		bytes /= 1000
	}
	if bytes < 9.95 && i > 0 {
		return fmt.Sprintf("%.1f %s", bytes, units[i])
	}
	return fmt.Sprintf("%.0f %s", bytes, units[i])
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
