package host

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A thread that is named as a loop is measured, with its CPU, as long as it has the name.
func TestLoopThread(t *testing.T) {
	s := NewSampler()
	named, work, done := make(chan bool), make(chan bool), make(chan bool)
	var group sync.WaitGroup
	group.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer rename(t, "done")
		rename(t, LoopThread+"/0")
		close(named)
		<-work
		for begin := threadCPU(t); threadCPU(t)-begin < 5*time.Millisecond; {
		}
		done <- true
		<-done
	})
	<-named
	before := s.Read()
	close(work)
	<-done
	u := s.Read().Since(before)
	done <- true
	group.Wait()
	if len(u.Loops) != 1 || u.Loops[0].Name != LoopThread+"/0" || u.Loops[0].CPU < 5*time.Millisecond || u.Loops[0].CPU > 2*u.For {
		t.Errorf("%+v", u.Loops)
	}
	if after := s.Read().Since(before); len(after.Loops) != 0 {
		t.Errorf("it has ended: %+v", after.Loops)
	}
	if _, err := os.Stat("/proc/self/schedstat"); err == nil && u.Loops[0].Wait == nil {
		t.Error("the time in the run queue is absent")
	}
}

// rename names the calling thread.
func rename(t *testing.T, name string) {
	b := append([]byte(name), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0); err != nil {
		t.Error(err)
	}
}

// threadCPU is what the calling thread has used.
func threadCPU(t *testing.T) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		t.Error(err)
		return 1 << 40 // ends the loop
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
