package replay

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm tells on C when an instant has come. The runtime's own timers round waits on an idle process up to a millisecond
// (golang/go#44343), so this is a timerfd that the poller watches: good to the kernel's wake-up, and no thread is held.
type alarm struct {
	C    chan struct{} // may also tell of an instant that was set before
	file *os.File      // owns fd; its Fd method would make it block a thread
	fd   int
	done sync.WaitGroup
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{C: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
	a.done.Go(a.watch)
	return a, nil
}

func (a *alarm) watch() {
	var b [8]byte
	for {
		if _, err := a.file.Read(b[:]); err != nil {
			return
		}
		select {
		case a.C <- struct{}{}:
		default:
		}
	}
}

// set lets C tell after d, which is above 0, in place of what was set before.
func (a *alarm) set(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = unix.TimerfdSettime(a.fd, 0, &spec, nil) // cannot fail with a valid time
}

func (a *alarm) close() {
	a.file.Close()
	a.done.Wait()
}
