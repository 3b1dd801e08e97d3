package replay

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"umbra/internal/host"
)

// fastName is what the fast path is called; "" where there is none.
const fastName = "epoll (raw sockets, one locked thread a loop)"

// epoll is the reactor on raw non-blocking sockets and edge-triggered epoll. Waits end at absolute instants, good to the
// kernel's wake-up: its thread's timer slack is 1 ns. It allocates nothing after it was made.
type epoll struct {
	start   time.Time
	precise bool
	fd      int
	waker   int // an eventfd
	mu      sync.Mutex
	over    bool // guarded by mu: the waker is closed
	sockets []socket
	raw     []unix.EpollEvent
	events  []event

	closed  bool          // the loop is closed: it waits often, and never long
	stamps  bool          // the kernel stamps what comes
	offset  time.Duration // of the run's clock against the kernel's stamps
	message unix.Msghdr
	piece   unix.Iovec
	control [64]byte
}

// socket is a connection's descriptor, -1 where there is none. The generation tells events of a descriptor that was closed
// from those of the one that came after it.
type socket struct {
	fd         int
	generation uint32
}

// edges is what is watched of a connection, once for all its life: with edges nothing has to be armed again.
const edges = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// spin is how long before an instant a precise wait begins to spin: what waking a core takes.
const spin = 80 * time.Microsecond

// newFast makes the fast reactor. Its methods must be called from the thread that calls this one, which is locked for good.
func newFast(start time.Time, connections int, precise, closed bool) (reactor, error) {
	e := &epoll{start: start, precise: precise, stamps: !closed, closed: closed, sockets: make([]socket, connections), raw: make([]unix.EpollEvent, connections+1), events: make([]event, 0, connections+1)}
	for i := range e.sockets {
		e.sockets[i].fd = -1
	}
	var err error
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.waker, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(e.fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	wakes := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: -1}
	if err := unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, e.waker, &wakes); err != nil {
		e.end()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	e.offset = -time.Duration(start.UnixNano())
	// Failures of these two cost precision, or a name in top, and nothing else.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	name := append([]byte(loopThread), 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	return e, nil
}

// loopThread is the name of a loop's thread: what samples the threads' CPU finds it by that.
const loopThread = host.LoopThread

func (e *epoll) add(c int32, fd int) error {
	s := &e.sockets[c]
	s.generation++
	if e.stamps {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // without it reads tell no time, and the loop takes its own
	}
	watch := unix.EpollEvent{Events: edges, Fd: c, Pad: int32(s.generation)}
	if err := unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &watch); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.fd = fd
	return nil
}

// adopt takes over a copy of the descriptor, and closes the original.
func (e *epoll) adopt(c int32, tcp *net.TCPConn) error {
	defer tcp.Close()
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	fd, dup := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if dup != nil {
		return os.NewSyscallError("dup", dup)
	}
	return e.add(c, fd)
}

func (e *epoll) connect(c int32, from netip.Addr, to netip.AddrPort) error {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // without it requests are only later
	if from.IsValid() {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // the port is chosen at connect: one for each destination
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			unix.Close(fd)
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	return e.add(c, fd)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			s.ZoneId = uint32(i.Index)
		}
	}
	return s
}

func (e *epoll) connected(c int32) error {
	code, err := unix.GetsockoptInt(e.sockets[c].fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// read and write do their system calls without telling the scheduler, as they never wait.
func (e *epoll) read(c int32, b []byte) (int, time.Duration, error) {
	for {
		n, came, errno := e.receive(e.sockets[c].fd, b)
		switch {
		case errno == 0 && n == 0 && len(b) > 0:
			return 0, came, io.EOF
		case errno == 0:
			return n, came, nil
		case errno == unix.EAGAIN:
			return 0, 0, errAgain
		case errno != unix.EINTR:
			return 0, 0, errno
		}
	}
}

func (e *epoll) receive(fd int, b []byte) (int, time.Duration, syscall.Errno) {
	if !e.stamps {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		return int(n), 0, errno
	}
	e.piece.Base = unsafe.SliceData(b)
	e.piece.SetLen(len(b))
	e.message.Iov, e.message.Iovlen = &e.piece, 1
	e.message.Control = &e.control[0]
	e.message.SetControllen(len(e.control))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&e.message)), 0)
	if errno != 0 || n == 0 {
		return int(n), 0, errno
	}
	return int(n), e.settled(fd, e.came()), 0
}

// settled is when the last of what was read could be read. The kernel's stamp is that of the last segment in sequence: behind a
// hole that a retransmission filled it is too early. What seems to have lain here for long is therefore held against the
// connection's own word of when data last came in order, which is good to a jiffy.
func (e *epoll) settled(fd int, came time.Duration) time.Duration {
	const long, jiffy = 2 * time.Millisecond, 4 * time.Millisecond
	now := time.Since(e.start)
	if came == 0 || now-came < long {
		return came
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return max(came, now-time.Duration(info.Last_data_recv)*time.Millisecond-jiffy)
}

// came is when the last of the bytes that were just received reached this machine, by the kernel's stamp; 0 where there is
// none.
func (e *epoll) came() time.Duration {
	const size = unix.SizeofCmsghdr + int(unsafe.Sizeof(unix.Timespec{}))
	if uint64(e.message.Controllen) < uint64(size) {
		return 0
	}
	head := (*unix.Cmsghdr)(unsafe.Pointer(&e.control[0]))
	if head.Level != unix.SOL_SOCKET || head.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	stamp := (*unix.Timespec)(unsafe.Pointer(&e.control[unix.SizeofCmsghdr]))
	return time.Duration(stamp.Nano()) + e.offset
}

// tune gives the time, and looks how the kernel's clock, which may be set and slewed, stands to the run's. A look that took
// long was interrupted, perhaps between the two clocks, and is done again or left.
func (e *epoll) tune() time.Duration {
	now := time.Since(e.start)
	for range 3 {
		if !e.stamps {
			break
		}
		look := time.Now()
		before := now
		now = look.Sub(e.start)
		if now-before < 2*time.Microsecond {
			e.offset = now - time.Duration(look.UnixNano())
			break
		}
	}
	return now
}

func (e *epoll) write(c int32, b []byte) (done int, err error) {
	for done < len(b) {
		rest := b[done:]
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(e.sockets[c].fd), uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == 0:
			done += int(n)
		case errno == unix.EAGAIN:
			return done, errAgain
		case errno != unix.EINTR:
			return done, errno
		}
	}
	return done, nil
}

func (e *epoll) close(c int32) {
	if s := &e.sockets[c]; s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
		s.generation++
	}
}

func (e *epoll) wait(until time.Duration, deaf bool) (events []event, now time.Duration, slept bool) {
	before := time.Since(e.start)
	timeout := until - before
	switch {
	case deaf && timeout > 0:
		e.sleep(timeout)
		events = e.gather(e.poll(0))
	case e.precise && timeout > 0 && timeout <= spin:
		events = e.spin(until)
	case e.precise:
		events = e.gather(e.poll(timeout - spin))
	default:
		events = e.gather(e.poll(timeout))
	}
	now = e.tune()
	return events, now, !deaf && now-before > asleep
}

// sleep waits without telling the scheduler: else the runtime's monitor, which looks after system calls, would wake some
// thousand times a second on this core (measured: 4 to 5 µs a request at 10,000/s and a quantum of 1 ms). What is short enough
// to be a quantum holds nothing up, and the runtime's signals end it, as they do poll's; the loop then comes again.
func (e *epoll) sleep(d time.Duration) {
	spec := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// asleep is longer than a poll takes that has something to give at once.
const asleep = 10 * time.Microsecond

// spin polls until something happens, or the instant has come.
func (e *epoll) spin(until time.Duration) []event {
	for {
		n := e.poll(0)
		if n > 0 || time.Since(e.start) >= until {
			return e.gather(n)
		}
	}
}

// poll waits for timeout at the most, which may have passed.
func (e *epoll) poll(timeout time.Duration) int {
	at, room := uintptr(unsafe.Pointer(&e.raw[0])), uintptr(len(e.raw))
	var n uintptr
	var errno syscall.Errno
	spec := unix.NsecToTimespec(int64(timeout))
	switch {
	case timeout <= 0:
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), at, room, 0, 0, 0)
	case e.closed: // see sleep
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(e.fd), at, room, uintptr(unsafe.Pointer(&spec)), 0, 0)
	default:
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(e.fd), at, room, uintptr(unsafe.Pointer(&spec)), 0, 0)
	}
	if errno == unix.ENOSYS { // before Linux 5.11: milliseconds, and the rest of the way by polling
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), at, room, uintptr(timeout/time.Millisecond), 0, 0)
	}
	if errno == unix.EINTR && timeout > 0 { // by the runtime's own signals, or as the process goes on after a stop
		return e.poll(0)
	}
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (e *epoll) gather(n int) []event {
	e.events = e.events[:0]
	for _, raw := range e.raw[:n] {
		if raw.Fd < 0 {
			e.drainWaker()
			continue
		}
		e.events = append(e.events, event{conn: raw.Fd, generation: uint32(raw.Pad), readable: raw.Events&unix.EPOLLIN != 0, writable: raw.Events&unix.EPOLLOUT != 0,
			ended: raw.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0})
	}
	return e.events
}

func (e *epoll) drainWaker() {
	var b [8]byte
	_, _ = unix.Read(e.waker, b[:]) // it is non-blocking; what is not read is told again by the next wake
}

func (e *epoll) stale(ev *event) bool { return e.sockets[ev.conn].generation != ev.generation }

func (e *epoll) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(e.waker, b[:]) // it fails only where it is closed, or says the same already
}

func (e *epoll) end() {
	for c := range e.sockets {
		e.close(int32(c))
	}
	unix.Close(e.fd)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	unix.Close(e.waker)
}
