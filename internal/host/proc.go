package host

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The formats of Linux's /proc, of proc(5) and of the kernel's Documentation: scheduler/sched-stats.rst,
// admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1. The parsers are pure; what is not as it should be is not known.

// tick is the unit of CPU times in /proc/stat and /proc/PID/stat: USER_HZ is 100 wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// counter reads a number that is not negative, of at most what a count of ticks can be as nanoseconds.
func counter(field string) (int64, bool) {
	const most = 1<<63 - 1
	v, err := strconv.ParseUint(field, 10, 63)
	return int64(v), err == nil && v <= most/uint64(tick)
}

// counters reads the fields as numbers; nil where one is none.
func counters(fields []string) []int64 {
	out := make([]int64, 0, len(fields))
	for _, field := range fields {
		v, ok := counter(field)
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// parseSchedstat reads "cpu wait slices": the nanoseconds on a core, those in its run queue, and how often it got one.
// A kernel that does not count gives zeros, also for a thread that is reading this.
func (l *Loop) parseSchedstat(data []byte) bool {
	fields := counters(strings.Fields(string(data)))
	if len(fields) != 3 || fields[0] == 0 {
		return false
	}
	wait := time.Duration(fields[1])
	l.CPU, l.Wait = time.Duration(fields[0]), &wait
	return true
}

// parseStat reads utime and stime, the 14th and 15th fields; the second one, the name in parentheses, may hold anything.
func (l *Loop) parseStat(data []byte) bool {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return false
	}
	const utime = 14 - 3 // what follows the name begins with the third field
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < utime+2 {
		return false
	}
	times := counters(fields[utime : utime+2])
	if times == nil {
		return false
	}
	l.CPU = ticks(times[0]) + ticks(times[1])
	return l.CPU >= 0
}

func ticks(n int64) time.Duration { return time.Duration(n) * tick }

// parseStatus reads the two counts of context switches.
func (l *Loop) parseStatus(data []byte) bool {
	var ok1, ok2 bool
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "voluntary_ctxt_switches":
			l.Voluntary, ok1 = counter(strings.TrimSpace(value))
		case "nonvoluntary_ctxt_switches":
			l.Involuntary, ok2 = counter(strings.TrimSpace(value))
		}
	}
	return ok1 && ok2
}

// parseStat reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. Guests' time, which
// follows, is in user's.
func parseStat(data []byte) *Machine {
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return nil
	}
	spent := counters(fields[1:9])
	if spent == nil {
		return nil
	}
	const idle, iowait, steal = 3, 4, 7
	m := &Machine{Steal: ticks(spent[steal])}
	for i, n := range spent {
		if m.Total += ticks(n); m.Total < 0 { // more than 292 years
			return nil
		}
		if i != idle && i != iowait && i != steal {
			m.Busy += ticks(n)
		}
	}
	return m
}

// parseCPUStat reads a cgroup's cpu.stat, of version 2 (throttled_usec) or 1 (throttled_time, in nanoseconds); nil where it
// does not tell of throttling.
func parseCPUStat(data []byte) *Throttling {
	var t Throttling
	times, lasted := false, false
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, ok := counter(value)
		if !ok {
			continue
		}
		switch key {
		case "nr_throttled":
			t.Times, times = v, true
		case "throttled_usec":
			t.For, lasted = time.Duration(v)*time.Microsecond, true
		case "throttled_time":
			t.For, lasted = time.Duration(v), true
		}
	}
	if !times || !lasted {
		return nil
	}
	return &t
}

// cgroupDirs lists the folders of the cgroups that limit the process's CPU: its own and those above it, as far as they are
// mounted here. groups is /proc/self/cgroup, mounts /proc/self/mountinfo.
func cgroupDirs(groups, mounts []byte) (dirs []string) {
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[0] == "0" && parts[1] == ""
		if !v2 && !slices.Contains(strings.Split(parts[1], ","), "cpu") {
			continue
		}
		if root, point, found := cgroupMount(mounts, v2); found {
			dirs = append(dirs, upwards(root, point, parts[2])...)
		}
	}
	return dirs
}

// cgroupMount finds where the hierarchy is mounted, and which of its folders that is.
func cgroupMount(mounts []byte, v2 bool) (root, point string, found bool) {
	for line := range strings.Lines(string(mounts)) {
		mount, fs, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		where, what := strings.Fields(mount), strings.Fields(fs)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		if v2 && what[0] == "cgroup2" || !v2 && what[0] == "cgroup" && slices.Contains(strings.Split(what[2], ","), "cpu") {
			return unescape(where[3]), unescape(where[4]), true
		}
	}
	return "", "", false
}

// unescape puts back the characters that mountinfo writes as octal.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// upwards lists a cgroup's folder and those above it up to the mount. A cgroup outside of what is mounted, as seen from a
// container, has the mount's alone.
func upwards(root, point, group string) []string {
	below, inside := strings.CutPrefix(path.Clean(group), strings.TrimSuffix(root, "/"))
	if !inside || below != "" && below[0] != '/' || strings.HasPrefix(below, "/..") {
		below = ""
	}
	var dirs []string
	for dir := path.Join("/", below); ; dir = path.Dir(dir) {
		dirs = append(dirs, path.Join(point, dir))
		if dir == "/" {
			return dirs
		}
	}
}
