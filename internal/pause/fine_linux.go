package pause

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fine waits by a timerfd that the runtime's poller watches, which tells to the kernel's wake-up. A nanosleep would be
// as precise for the one who waits, but it holds a thread, and the processor of the scheduler's that the thread has,
// until the runtime's monitor looks: with two processors, two of them keep everything else waiting.
func fine(d time.Duration) {
	defer ringing.Add(-1)
	if ringing.Add(1) > maxRinging || !ring(d) {
		time.Sleep(d)
	}
}

// maxRinging bounds the descriptors. Where more wait at the same time, a machine has no tenths of milliseconds to give,
// and the others wait by the runtime's timers.
const maxRinging = 512

var (
	ringing atomic.Int64 // how many wait
	bells   sync.Pool    // of *bell; those that it drops are closed as files are that nobody has
)

// bell is a timerfd. One goroutine has it at a time.
type bell struct {
	file *os.File // owns fd; its Fd method would make it block a thread
	fd   int
}

// ring waits; it is false where the system gives no timer, or it could not be waited for to the end.
func ring(d time.Duration) bool {
	b, _ := bells.Get().(*bell)
	if b == nil {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		if err != nil {
			return false
		}
		b = &bell{os.NewFile(uintptr(fd), "timerfd"), fd}
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if unix.TimerfdSettime(b.fd, 0, &spec, nil) != nil {
		return false
	}
	var expired [8]byte
	if _, err := b.file.Read(expired[:]); err != nil {
		return false
	}
	bells.Put(b)
	return true
}
