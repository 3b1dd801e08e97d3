package replay

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm waits until an instant. The runtime's own timers round waits on an idle process up to a millisecond
// (golang/go#44343), so this is a timerfd that the poller watches: good to the kernel's wake-up, and no thread is held.
type alarm struct {
	file *os.File // owns fd; its Fd method would make it block a thread
	fd   int
	stop func() bool
	buf  [8]byte
}

// newAlarm makes an alarm whose waits end with ctx.
func newAlarm(ctx context.Context) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
	a.stop = context.AfterFunc(ctx, func() { _ = a.file.SetReadDeadline(time.Unix(1, 0)) })
	return a, nil
}

// wait returns after d, or when the context has ended.
func (a *alarm) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if unix.TimerfdSettime(a.fd, 0, &spec, nil) == nil {
		_, _ = a.file.Read(a.buf[:])
	}
}

func (a *alarm) close() {
	a.stop()
	a.file.Close()
}
