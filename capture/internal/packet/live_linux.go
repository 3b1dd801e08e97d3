package packet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"umbra/capture/internal/exchange"
)

const (
	receiveBuffer = 64 << 20 // bytes that the kernel holds for us: half a second and more at 120,000 packets a second
)

// Live reads the TCP packets of a network interface. One goroutine calls Next; Stop, Close and Dropped may be called from others.
type Live struct {
	// Idle, where it is set, is called by Next about once a second while nothing comes. To be set before the first Next.
	Idle func()

	name    string
	handle  *pcapgo.EthernetHandle
	fd      int // the handle's
	wake    int // an eventfd that ends a wait
	ports   map[layers.TCPPort]bool
	decoder *decoder
	frame   frame

	stopped atomic.Bool
	closing atomic.Bool

	reading sync.Mutex // held by Next, and by Close once Next has left
	closed  bool       // guarded by reading
	end     error      // guarded by reading

	counting  sync.Mutex // guards what follows; taken after reading where both are
	released  bool
	delivered int64 // packets that came through the filter, without the dropped ones
	dropped   int64
	read      atomic.Int64 // packets taken from the kernel
}

// OpenLive begins to capture the TCP packets from and to the ports (none: all ports) of an Ethernet or loopback interface, snaplen
// bytes of each at most (0: all of them). Loss is added to by Next. It needs the capability CAP_NET_RAW. Close it when done.
func OpenLive(iface string, ports []int, snaplen int, loss exchange.Loss) (*Live, error) {
	if err := checkLive(ports, snaplen); err != nil {
		return nil, err
	}
	if snaplen == 0 {
		snaplen = maxPacket
	}
	i, err := findInterface(iface)
	if err != nil {
		return nil, err
	}
	handle, err := pcapgo.NewEthernetHandle(iface)
	if err != nil {
		return nil, explainOpen(iface, err)
	}
	l := &Live{name: iface, handle: handle, fd: descriptor(handle), decoder: newDecoder(loss), ports: map[layers.TCPPort]bool{}}
	for _, port := range ports {
		l.ports[layers.TCPPort(port)] = true
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		handle.Close()
		return nil, fmt.Errorf("interface %s: eventfd: %w", iface, err)
	}
	if err := l.configure(i, ports, snaplen); err != nil {
		l.release()
		return nil, fmt.Errorf("interface %s: %w", iface, err)
	}
	return l, nil
}

func checkLive(ports []int, snaplen int) error {
	if len(ports) > maxPorts {
		return fmt.Errorf("%d ports: at most %d can be filtered for; give none to capture all", len(ports), maxPorts)
	}
	for _, port := range ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d: expected 1 to 65535", port)
		}
	}
	if snaplen < 0 || snaplen > maxPacket {
		return fmt.Errorf("snap length %d: expected 0 (all) to %d bytes", snaplen, maxPacket)
	}
	return nil
}

func findInterface(name string) (*net.Interface, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w; there are: %s", name, err, strings.Join(interfaceNames(), ", "))
	}
	if i.Flags&net.FlagLoopback == 0 && len(i.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s is no Ethernet, and only Ethernet and loopback can be captured live; "+
			"capture it to a file with tcpdump, and read that", name)
	}
	if i.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("interface %s is down", name)
	}
	return i, nil
}

func interfaceNames() []string {
	all, err := net.Interfaces()
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// explainOpen says which right is missing: EthernetHandle tells errors by their text only.
func explainOpen(iface string, err error) error {
	if hasErrno(err, unix.EPERM) || hasErrno(err, unix.EACCES) {
		return fmt.Errorf("interface %s: no permission to capture packets: run as root, or give the program the capability CAP_NET_RAW "+
			"(setcap cap_net_raw+ep PROGRAM): %w", iface, err)
	}
	return fmt.Errorf("interface %s: %w", iface, err)
}

func hasErrno(err error, errno unix.Errno) bool { return strings.HasSuffix(err.Error(), errno.Error()) }

// descriptor gives the handle's socket, which pcapgo 1.1.19 keeps to itself: without it, there are neither a larger receive buffer
// nor a read that ends.
func descriptor(h *pcapgo.EthernetHandle) int {
	return int(reflect.ValueOf(h).Elem().FieldByName("fd").Int())
}

// configure sets the socket up. Until the handle was bound, it took packets of all interfaces: they are discarded behind a filter
// that lets nothing through, before the true one is set.
func (l *Live) configure(i *net.Interface, ports []int, snaplen int) error {
	loopback := i.Flags&net.FlagLoopback != 0
	if err := unix.SetNonblock(l.fd, true); err != nil {
		return err
	}
	if err := l.filter([]bpf.Instruction{bpf.RetConstant{}}); err != nil {
		return err
	}
	if err := l.handle.SetCaptureLength(snaplen); err != nil {
		return err
	}
	if err := l.discard(); err != nil {
		return err
	}
	if err := enlarge(l.fd); err != nil {
		return err
	}
	if !loopback {
		if err := l.handle.SetPromiscuous(true); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	// A loopback interface shows each packet twice, as it is sent and as it arrives.
	return l.filter(filter(ports, loopback, uint32(snaplen)))
}

func (l *Live) filter(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if err := l.handle.SetBPF(raw); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	return nil
}

// discard empties the receive buffer, and resets the kernel's counters by reading them.
func (l *Live) discard() error {
	var err error
	for err == nil {
		_, _, err = l.handle.ZeroCopyReadPacketData()
	}
	if !hasErrno(err, unix.EAGAIN) {
		return err
	}
	_, err = l.handle.Stats()
	return err
}

// enlarge makes the receive buffer as large as the host allows; only CAP_NET_ADMIN may exceed net.core.rmem_max.
func enlarge(fd int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) == nil {
		return nil
	}
	return os.NewSyscallError("SO_RCVBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer))
}

// idle is how long a wait lasts before Idle is called.
const idle = time.Second

// Next waits for the next TCP packet and reads it into p. It returns io.EOF after Close, and after Stop as soon as what the kernel
// had taken until then was read.
func (l *Live) Next(p *Packet) error {
	l.reading.Lock()
	defer l.reading.Unlock()
	for l.end == nil {
		if l.closing.Load() {
			return l.finish(io.EOF)
		}
		stopped := l.stopped.Load() // before the read: nothing comes after it
		data, info, err := l.handle.ZeroCopyReadPacketData()
		if err != nil {
			if err := l.wait(err, stopped); err != nil {
				return l.finish(err)
			}
			continue
		}
		l.read.Add(1)
		l.frame = frame{info.Timestamp.UTC(), linkEthernet, data, max(info.Length, len(data))}
		if l.decoder.decode(&l.frame, p) && l.wanted(p) {
			return nil
		}
	}
	return l.end
}

func (l *Live) finish(err error) error {
	l.decoder.finish()
	l.end = err
	return err
}

// wanted judges what the kernel's filter could not: fragments, and what stands behind extension headers.
func (l *Live) wanted(p *Packet) bool {
	return len(l.ports) == 0 || l.ports[p.TCP.DstPort] || l.ports[p.TCP.SrcPort]
}

// wait waits for a packet after a read that failed for want of one, or for the end.
func (l *Live) wait(err error, stopped bool) error {
	if !hasErrno(err, unix.EAGAIN) {
		return fmt.Errorf("interface %s: %w", l.name, err)
	}
	if stopped {
		return io.EOF
	}
	events := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.wake), Events: unix.POLLIN}}
	n, err := unix.Poll(events, int(idle/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("poll", err)
	}
	if n == 0 && err == nil && l.Idle != nil {
		l.Idle()
	}
	return nil
}

// Stop ends the capture cleanly: nothing more is taken, and Next gives what the kernel holds, then io.EOF. It may be called more
// than once, also after Close.
func (l *Live) Stop() error {
	l.counting.Lock()
	defer l.counting.Unlock()
	if l.released || l.stopped.Load() {
		return nil
	}
	err := l.filter([]bpf.Instruction{bpf.RetConstant{}})
	l.stopped.Store(true)
	return errors.Join(err, l.signal())
}

func (l *Live) signal() error {
	_, err := unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return os.NewSyscallError("eventfd", err)
}

// Close ends the capture at once, and frees the socket as soon as Next has left. What the kernel held and nobody read counts as
// dropped. It may be called more than once.
func (l *Live) Close() error {
	err := l.Stop()
	l.closing.Store(true)
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed {
		return err
	}
	l.closed = true
	l.counting.Lock()
	defer l.counting.Unlock()
	err = errors.Join(err, l.count())
	l.dropped += l.delivered - l.read.Load()
	l.release()
	return err
}

// release frees what the system gave.
func (l *Live) release() {
	l.released = true
	l.handle.Close()
	unix.Close(l.wake)
}

// Dropped is how many packets that came through the filter were lost since the begin, by the kernel's count.
func (l *Live) Dropped() (int64, error) {
	l.counting.Lock()
	defer l.counting.Unlock()
	if l.released {
		return l.dropped, nil
	}
	err := l.count()
	return l.dropped, err
}

// count adds up the kernel's statistics, which it resets whenever they are read.
func (l *Live) count() error {
	stats, err := l.handle.Stats()
	if err != nil {
		return os.NewSyscallError("PACKET_STATISTICS", err)
	}
	l.dropped += int64(stats.Drops)
	l.delivered += int64(stats.Packets) - int64(stats.Drops)
	return nil
}
