package host

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A reading after work tells of the work.
func TestSampler(t *testing.T) {
	s := NewSampler()
	before := s.Read()
	runtime.GC()
	begin := time.Now()
	for x := 0; time.Since(begin) < 20*time.Millisecond; x++ {
		_ = math.Sqrt(float64(x))
	}
	u := s.Read().Since(before)
	if u.For < 20*time.Millisecond || u.CPUs < 1 || u.CPUs > runtime.NumCPU() {
		t.Errorf("%+v", u)
	}
	if u.GC.Cycles < 1 || u.GC.Pauses < 1 || u.GC.Paused < u.GC.Longest || u.GC.Longest <= 0 {
		t.Errorf("a forced collection is %+v", u.GC)
	}
	if len(u.Loops) != 0 {
		t.Errorf("loops where there is none: %+v", u.Loops)
	}
	switch runtime.GOOS {
	case "linux":
		if u.Machine == nil || u.Machine.Busy > u.Machine.Total {
			t.Errorf("machine %+v", u.Machine)
		}
		fallthrough
	case "darwin":
		if u.Process == nil || u.Process.CPU() <= 0 {
			t.Errorf("the process used %+v", u.Process)
		}
	}
}

// The throttling is absent only where no cgroup tells of it.
func TestThrottlingIsFound(t *testing.T) {
	u := NewSampler()
	got := u.Read()
	for _, file := range []string{"/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"} {
		data, err := os.ReadFile(file)
		if err == nil && parseCPUStat(data) != nil && got.throttled == nil {
			t.Errorf("%s tells of throttling, the sampler does not", file)
		}
	}
}

func TestSince(t *testing.T) {
	at := time.Unix(0, 0)
	edges := []float64{math.Inf(-1), 0, 1e-5, 2e-5, math.Inf(1)}
	before := &Sample{at: at, cpus: 2,
		process: &Process{10, 20, 3, 4}, loops: map[int]Loop{7: {7, "umbra-loop/0", 100, ptr(time.Duration(50)), 5, 6}, 8: {Thread: 8}},
		throttled: &Throttling{1, 10}, machine: &Machine{1000, 500, 40},
		gc: collections{cycles: 1, edges: edges, pauses: []uint64{0, 2, 0, 0}}}
	after := &Sample{at: at.Add(time.Second), cpus: 2,
		process: &Process{11, 22, 6, 8}, loops: map[int]Loop{7: {7, "umbra-loop/0", 160, ptr(time.Duration(60)), 6, 8}, 9: {9, "umbra-loop/1", 5, nil, 1, 1}},
		throttled: &Throttling{4, 30}, machine: &Machine{1200, 600, 39}, // steal was taken back
		gc: collections{cycles: 3, edges: edges, pauses: []uint64{0, 3, 2, 1}}}
	want := Usage{For: time.Second, CPUs: 2,
		Process:   &Process{1, 2, 3, 4},
		Loops:     []Loop{{7, "umbra-loop/0", 60, ptr(time.Duration(10)), 1, 2}, {9, "umbra-loop/1", 5, nil, 1, 1}},
		Throttled: &Throttling{3, 20}, Machine: &Machine{200, 100, 0},
		GC: GC{Cycles: 2, Pauses: 4, Paused: 10*time.Microsecond + 3*20*time.Microsecond, Longest: 20 * time.Microsecond}}
	if diff := cmp.Diff(want, after.Since(before)); diff != "" {
		t.Error(diff)
	}
	absent := (&Sample{at: at.Add(time.Second)}).Since(before)
	if diff := cmp.Diff(Usage{For: time.Second}, absent); diff != "" {
		t.Errorf("what is not known is made up: %s", diff)
	}
}

// BenchmarkRead is what a reading costs.
func BenchmarkRead(b *testing.B) {
	s := NewSampler()
	for b.Loop() {
		s.Read()
	}
}
