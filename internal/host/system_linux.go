package host

import (
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// system reads /proc and the cgroups.
type system struct {
	throttles []string // the cpu.stat files that tell of throttling
}

const tasks = "/proc/self/task"

// newSystem finds the process's cgroups; one that moves to others later is measured by those it had.
func newSystem() (s system) {
	groups, err1 := os.ReadFile("/proc/self/cgroup")
	mounts, err2 := os.ReadFile("/proc/self/mountinfo")
	if err1 != nil || err2 != nil {
		return s
	}
	for _, dir := range cgroupDirs(groups, mounts) {
		file := path.Join(dir, "cpu.stat")
		if data, err := os.ReadFile(file); err == nil && parseCPUStat(data) != nil {
			s.throttles = append(s.throttles, file)
		}
	}
	return s
}

func (s *system) read(out *Sample) {
	out.process = usedByProcess()
	out.loops = loops()
	out.throttled = s.throttled()
	if data, err := os.ReadFile("/proc/stat"); err == nil {
		out.machine = parseStat(data)
	}
	out.cpus = affinity()
}

// affinity is how many CPUs the process's main thread may run on.
func affinity() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(os.Getpid(), &set) != nil {
		return runtime.NumCPU()
	}
	return set.Count()
}

func (s *system) throttled() *Throttling {
	var all *Throttling
	for _, file := range s.throttles {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		if t := parseCPUStat(data); t != nil {
			if all == nil {
				all = &Throttling{}
			}
			all.Times, all.For = all.Times+t.Times, all.For+t.For
		}
	}
	return all
}

// loops reads the threads that are event loops. Threads come and go, so their names are read each time.
func loops() map[int]Loop {
	dir, err := os.Open(tasks)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	out := map[int]Loop{}
	for _, name := range names {
		comm, err := os.ReadFile(path.Join(tasks, name, "comm"))
		if err != nil || !strings.HasPrefix(string(comm), LoopThread) {
			continue
		}
		id, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		l := Loop{Thread: id, Name: strings.TrimSpace(string(comm))}
		if l.readFrom(path.Join(tasks, name)) {
			out[id] = l
		}
	}
	return out
}

// readFrom reads a thread's counters: its CPU from schedstat in nanoseconds, or from stat in ticks where the kernel was
// built without the former. It is false where the thread has ended meanwhile.
func (l *Loop) readFrom(dir string) bool {
	if data, err := os.ReadFile(path.Join(dir, "schedstat")); err == nil && l.parseSchedstat(data) {
	} else if data, err := os.ReadFile(path.Join(dir, "stat")); err != nil || !l.parseStat(data) {
		return false
	}
	data, err := os.ReadFile(path.Join(dir, "status"))
	return err == nil && l.parseStatus(data)
}
