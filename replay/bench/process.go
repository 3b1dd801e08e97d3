//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cores says where server and client run. Both are anyCore where there is a single one.
type cores struct{ server, client int }

const anyCore = -1

// chooseCores takes the first two cores that this process may use, and moves the process itself to the server's, where it
// takes nothing from the client.
func chooseCores() (cores, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}, fmt.Errorf("which cores may be used: %w", err)
	}
	var found []int
	for i := 0; i < len(allowed)*64 && len(found) < 2; i++ {
		if allowed.IsSet(i) {
			found = append(found, i)
		}
	}
	if len(found) < 2 {
		return cores{anyCore, anyCore}, nil
	}
	return cores{found[0], found[1]}, moveAll(found[0])
}

// moveAll pins every thread that the process has; later ones inherit it.
func moveAll(core int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := pin(id, core); err != nil && !errors.Is(err, unix.ESRCH) { // a thread may end meanwhile
			return err
		}
	}
	return nil
}

func pin(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("pinning to core %d: %w", core, err)
	}
	return nil
}

// onCore starts a command on a core; the channel gives how it ended, and is then closed. The child inherits the core from
// the thread that starts it. Should this process be killed, the kernel kills the child, which it does as soon as that
// thread ends: so a goroutine keeps the thread until the child is gone, and then drops it, as it is pinned.
func onCore(core int, c *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		err := launch(core, c)
		started <- err
		if err == nil {
			ended <- c.Wait()
		}
	}()
	return ended, <-started
}

// launch starts a command on a core, from a thread that it pins there.
func launch(core int, c *exec.Cmd) error {
	if core != anyCore {
		if err := pin(0, core); err != nil {
			return err
		}
	}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c.Start()
}

// result is what a run of a command left.
type result struct {
	stdout, stderr []byte
	cpu            time.Duration // of user and system, from rusage
	exit           int
}

// execute runs a command on a core and waits for its end, at most for the limit. An exit status is no error.
func execute(ctx context.Context, core int, limit time.Duration, path string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Stdout, c.Stderr, c.WaitDelay = &stdout, &stderr, time.Second
	ended, err := onCore(core, c)
	if err != nil {
		return result{}, err
	}
	err = <-ended
	if ctx.Err() != nil {
		return result{}, fmt.Errorf("%s: %w; it may take %v", filepath.Base(path), ctx.Err(), limit)
	}
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		return result{}, err
	}
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return result{stdout.Bytes(), stderr.Bytes(), cpu, c.ProcessState.ExitCode()}, nil
}

// ticks is what /proc/stat says of a core, in hundredths of a second (USER_HZ).
type ticks struct{ busy, stolen int64 }

// parseTicks reads /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal.
func parseTicks(stat string, core int) (ticks, error) {
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != "cpu"+strconv.Itoa(core) {
			continue
		}
		var n [8]int64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseInt(f[i+1], 10, 64); err != nil {
				return ticks{}, fmt.Errorf("/proc/stat: %w", err)
			}
		}
		return ticks{n[0] + n[1] + n[2] + n[5] + n[6], n[7]}, nil
	}
	return ticks{}, fmt.Errorf("/proc/stat has no line of core %d", core)
}

// busy is how much of both cores was taken up to now.
type busy struct {
	client, server ticks // of the cores
	nginx          int64 // of the server's process, in ticks
}

// busyNow reads it; without pinned cores it is 0.
func (b *bench) busyNow() (now busy, err error) {
	if b.cores.client == anyCore {
		return now, nil
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return now, err
	}
	if now.client, err = parseTicks(string(stat), b.cores.client); err != nil {
		return now, err
	}
	if now.server, err = parseTicks(string(stat), b.cores.server); err != nil {
		return now, err
	}
	process, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.server.process.Pid))
	if err != nil {
		return now, err
	}
	now.nginx, err = parseProcessTicks(string(process))
	return now, err
}

// parseProcessTicks adds utime and stime of /proc/PID/stat (proc_pid_stat(5)): the twelfth and thirteenth field behind the
// name, which may hold anything, and ends with the last parenthesis.
func parseProcessTicks(stat string) (int64, error) {
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat: %q is short", stat)
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	system, err := strconv.ParseInt(f[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	return user + system, nil
}

// crowd is what others than the tool and the server took of their cores while a run lasted, as shares from 0 to 1. The
// kernel counts by ticks, so they are good to some percent.
type crowd struct{ client, server, stolen float64 }

// crowdOf compares two readings that lie wall apart, between which the tool took cpu.
func crowdOf(before, after busy, cpu, wall time.Duration) crowd {
	share := func(ticks int64, own time.Duration) float64 {
		return max(0, float64(ticks)/100-own.Seconds()) / wall.Seconds()
	}
	return crowd{
		client: share(after.client.busy-before.client.busy, cpu),
		server: share(after.server.busy-before.server.busy-(after.nginx-before.nginx), 0),
		stolen: share(after.client.stolen-before.client.stolen+after.server.stolen-before.server.stolen, 0) / 2,
	}
}

// machine names the kernel and the processor.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("Linux %s, %s, %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]), model)
}
