package host

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestThreadFiles(t *testing.T) {
	stat := "4711 (umbra) loop) 0) S 1 4711 4711 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 9 0 1 1 1"
	status := "Name:\tumbra-loop\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t4\n"
	for name, c := range map[string]struct {
		parse func(*Loop, []byte) bool
		text  string
		want  *Loop // nil: refused
	}{
		"schedstat":              {(*Loop).parseSchedstat, "943401 65948 2\n", &Loop{CPU: 943401, Wait: ptr(time.Duration(65948))}},
		"schedstat not counted":  {(*Loop).parseSchedstat, "0 0 0\n", nil},
		"schedstat cut":          {(*Loop).parseSchedstat, "943401 65948", nil},
		"schedstat empty":        {(*Loop).parseSchedstat, "", nil},
		"schedstat negative":     {(*Loop).parseSchedstat, "-1 2 3", nil},
		"stat, name with spaces": {(*Loop).parseStat, stat, &Loop{CPU: 420 * time.Millisecond}},
		"stat cut":               {(*Loop).parseStat, stat[:60], nil},
		"stat without a name":    {(*Loop).parseStat, "1 2 3", nil},
		"status":                 {(*Loop).parseStatus, status, &Loop{Voluntary: 9, Involuntary: 4}},
		"status with one count":  {(*Loop).parseStatus, "voluntary_ctxt_switches:\t9\n", nil},
		"status with words":      {(*Loop).parseStatus, "voluntary_ctxt_switches:\tx\nnonvoluntary_ctxt_switches:\t4\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got Loop
			ok := c.parse(&got, []byte(c.text))
			if ok != (c.want != nil) {
				t.Fatalf("%v: %+v", ok, got)
			}
			if c.want != nil {
				if diff := cmp.Diff(*c.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want *Machine
	}{
		"2.6.33 and later": {"cpu  100 20 30 4000 50 6 7 8 9 0\ncpu0 1 2 3\n", &Machine{Total: 42210 * time.Millisecond, Busy: 1630 * time.Millisecond, Steal: 80 * time.Millisecond}},
		"without guests":   {"cpu 1 1 1 1 1 1 1 1", &Machine{Total: 80 * time.Millisecond, Busy: 50 * time.Millisecond, Steal: 10 * time.Millisecond}},
		"without steal":    {"cpu 1 2 3 4\n", nil},
		"one CPU's line":   {"cpu0 1 1 1 1 1 1 1 1\n", nil},
		"no numbers":       {"cpu a b c d e f g h\n", nil},
		"too large":        {"cpu 900000000000 900000000000 1 1 1 1 1 1\n", nil},
		"empty":            {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseStat([]byte(c.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseCPUStat(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want *Throttling
	}{
		"version 2":                {"usage_usec 9\nnr_periods 5\nnr_throttled 3\nthrottled_usec 1500\n", &Throttling{3, 1500 * time.Microsecond}},
		"version 2, no controller": {"usage_usec 9\nuser_usec 5\nsystem_usec 4\n", nil},
		"version 1":                {"nr_periods 5\nnr_throttled 3\nthrottled_time 1500\n", &Throttling{3, 1500}},
		"never throttled":          {"nr_throttled 0\nthrottled_usec 0", &Throttling{}},
		"a count alone":            {"nr_throttled 3\n", nil},
		"negative":                 {"nr_throttled -3\nthrottled_usec 1\n", nil},
		"empty":                    {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseCPUStat([]byte(c.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCgroupDirs(t *testing.T) {
	const (
		unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		old     = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
		scoped  = "30 23 0:26 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		spaced  = `30 23 0:26 / /mnt/my\040cgroups rw - cgroup2 cgroup2 rw` + "\n"
	)
	for name, c := range map[string]struct {
		groups, mounts string
		want           []string
	}{
		"version 2, nested":             {"0::/a/b\n", unified, []string{"/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"}},
		"version 2, the root":           {"0::/\n", unified, []string{"/sys/fs/cgroup"}},
		"version 1":                     {"4:cpuset:/x\n3:cpu,cpuacct:/a\n", old, []string{"/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/cpu,cpuacct"}},
		"both":                          {"3:cpu,cpuacct:/\n0::/\n", old + unified, []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"}},
		"a container's mount":           {"0::/kubepods/pod1/c\n", scoped, []string{"/sys/fs/cgroup/c", "/sys/fs/cgroup"}},
		"a group outside of the mount":  {"0::/kubepods/pod10\n", scoped, []string{"/sys/fs/cgroup"}},
		"a group above its namespace":   {"0::/../../x\n", unified, []string{"/sys/fs/cgroup/x", "/sys/fs/cgroup"}},
		"a mount with a space":          {"0::/\n", spaced, []string{"/mnt/my cgroups"}},
		"not mounted":                   {"0::/a\n", old, nil},
		"a hierarchy without the CPU's": {"4:cpuset:/x\n", old, nil},
		"neither":                       {"", "", nil},
		"cut":                           {"0:", "30 23", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, cgroupDirs([]byte(c.groups), []byte(c.mounts))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzProcFiles gives any text to all parsers: what they take has no negative figure, and no folder is outside of its
// mount.
func FuzzProcFiles(f *testing.F) {
	for _, seed := range []string{"943401 65948 2\n", "1 (a b) S 1 1 1 0 0 0 0 0 0 0 12 30", "voluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t4\n",
		"cpu  100 20 30 4000 50 6 7 8 9 0\n", "nr_throttled 3\nthrottled_usec 1500\n", "nr_throttled 3\nthrottled_time 9223372036854775807\n", "0::/a/../..//b\n", "3:cpu:/\n"} {
		f.Add([]byte(seed))
	}
	mounts := []byte("30 23 0:26 /r /mnt rw - cgroup2 c rw\n31 23 0:26 / /mnt rw - cgroup c rw,cpu\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func(*Loop, []byte) bool{(*Loop).parseSchedstat, (*Loop).parseStat, (*Loop).parseStatus} {
			var l Loop
			if parse(&l, data) && (l.CPU < 0 || l.waited() < 0 || l.Voluntary < 0 || l.Involuntary < 0) {
				t.Errorf("%+v", l)
			}
		}
		if m := parseStat(data); m != nil && (m.Busy < 0 || m.Steal < 0 || m.Busy+m.Steal > m.Total) {
			t.Errorf("%+v", m)
		}
		if c := parseCPUStat(data); c != nil && (c.Times < 0 || c.For < 0) {
			t.Errorf("%+v", c)
		}
		for _, dir := range cgroupDirs(data, mounts) {
			if dir != "/mnt" && (len(dir) < 5 || dir[:5] != "/mnt/") {
				t.Errorf("%q is outside of the mount", dir)
			}
		}
		cgroupDirs([]byte("0::/a\n1:cpu:/b\n"), data)
	})
}
