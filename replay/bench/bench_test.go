//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/verdict"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string // part of the error; empty: none
	}{
		{"nothing", nil, ""},
		{"sections and tools", []string{"-only", "cost,freeze", "-tools", "wrk,umbra", "-n", "2", "-for", "1s"}, ""},
		{"a section that is none", []string{"-only", "cost,speed"}, "-only speed: there are cost,"},
		{"an argument", []string{"cost"}, "flags only"},
		{"too short", []string{"-for", "10ms"}, "at least 1s"},
		{"half a second", []string{"-for", "1500ms"}, "whole seconds"},
		{"no connection", []string{"-connections", "0"}, "above 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.args, io.Discard)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A tool must be asked for nothing that it would do otherwise than the others.
func TestWhoCanDoWhat(t *testing.T) {
	names := func(j job) (names []string) {
		j.connections, j.duration, j.timeout = 50, 4*time.Second, 10*time.Second
		for _, tool := range append(slices.Clone(peers), umbra("umbra")) {
			if args := tool.args(j); args != nil {
				names = append(names, tool.name)
				if text := strings.Join(args, " "); !strings.Contains(text, "50") && tool.name != "k6" {
					t.Errorf("%s: no 50 connections in %q", tool.name, text)
				}
			}
		}
		return names
	}
	for _, c := range []struct {
		name string
		job  job
		want string
	}{
		{"closed loop", job{}, "wrk h2load hey vegeta fortio k6 oha umbra"},
		{"open loop", job{rate: 1000}, "vegeta fortio k6 oha wrk2 umbra"},
		{"closed loop of h2c", job{streams: 10}, "h2load umbra"},
		{"open loop of h2c", job{streams: 10, rate: 1000}, "umbra"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(names(c.job), " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// fortio's threads fire in lockstep unless told otherwise, and then its latencies are worse than they need be.
func TestFortioSpreadsItsThreads(t *testing.T) {
	for rate, want := range map[int]bool{0: false, 1000: true} {
		if args := fortioArgs(job{rate: rate}); slices.Contains(args, "-uniform") != want {
			t.Errorf("at %d/s: %q", rate, args)
		}
	}
}

func TestExecute(t *testing.T) {
	cores, err := chooseCores()
	if err != nil {
		t.Fatal(err)
	}
	r, err := execute(t.Context(), cores.client, time.Minute, "/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status; echo bad >&2; exit 3")
	if err != nil || r.exit != 3 || string(r.stderr) != "bad\n" || r.cpu <= 0 {
		t.Errorf("exit %d, stderr %q, CPU %v, %v", r.exit, r.stderr, r.cpu, err)
	}
	if want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", cores.client); cores.client != anyCore && string(r.stdout) != want {
		t.Errorf("%q, want %q", r.stdout, want)
	}
	if _, err := execute(t.Context(), anyCore, 50*time.Millisecond, "/bin/sh", "-c", "exec sleep 600"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command without end gave %v", err)
	}
	if _, err := execute(t.Context(), anyCore, time.Minute, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error where there is no such program")
	}
}

func TestOldHTTP2(t *testing.T) {
	for version, want := range map[string]bool{"1.22.1": true, "1.25.0": true, "1.25.1": false, "1.26.3": false, "2.0.0": false} {
		if got := oldHTTP2(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}

// counting is a server's counters, which go up by step each time that they are asked for; asked hears which time it is.
func counting(t *testing.T, step int64, asked func(int64)) *server {
	var n atomic.Int64
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i := n.Add(1)
		asked(i)
		fmt.Fprintf(w, "Active connections: 1 \nserver accepts handled requests\n 1 1 %d \nReading: 0 Writing: 1 Waiting: 0 \n", i*step)
	}))
	t.Cleanup(h.Close)
	return &server{status: h.URL, client: h.Client()}
}

func TestWatchLeavesOutItsOwn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := counting(t, 11, func(i int64) { // 10 of a load, and its own
		if i == 6 {
			cancel()
		}
	})
	base, err := s.served(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The last one goes on beyond the end, as nobody could tell whether the server has counted one that is cut short.
	readings, err := s.watch(ctx, base)
	if err != nil || len(readings) != 5 {
		t.Fatalf("%d readings of 5, %v", len(readings), err)
	}
	for i, r := range readings {
		if want := int64(10 * (i + 1)); r.requests != want {
			t.Errorf("reading %d: %d requests, want %d", i, r.requests, want)
		}
	}
}

func TestWatchTellsOfTheServersSilence(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(h.Close)
	s := &server{status: h.URL, client: h.Client()}
	if readings, err := s.watch(t.Context(), 0); err == nil {
		t.Errorf("no error; readings %v", readings)
	}
}

// state is a process's state letter, by /proc.
func state(t *testing.T, pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))[0]
}

func TestFreezeEndsWithTheLoad(t *testing.T) {
	s := counting(t, 2, func(int64) {})
	victim := exec.Command("sleep", "600")
	ended, err := onCore(anyCore, victim)
	if err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = victim.Process, ended
	defer s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.freeze(ctx, 0, time.Millisecond, time.Hour)
		done <- err
	}()
	await(t, "stopped", func() bool { return state(t, victim.Process.Pid) == "T" })
	cancel() // as where the tool has ended
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("freeze gave %v", err)
	}
	await(t, "going on", func() bool { return state(t, victim.Process.Pid) == "S" })
}

// await waits until a condition holds, at most a minute.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never ", what)
		}
	}
}

func TestRemark(t *testing.T) {
	for _, c := range []struct {
		name string
		run  measured
		want string
	}{
		{"nothing to say", measured{said: said{requests: 100_000}, served: 100_100}, ""},
		{"the server saw more", measured{said: said{requests: 100_000}, served: 100_400}, "the server saw 100400"},
		{"the server saw less", measured{said: said{requests: 100_000}, served: 99_600}, "the server saw 99600"},
		{"failures", measured{said: said{requests: 100_000, failed: 5000}, served: 100_000}, "5000 of 100000 requests failed"},
		{"an exit status", measured{said: said{requests: 100_000}, served: 100_000, exit: 3}, "exit status 3"},
		{"no run", measured{err: errors.New("it broke")}, "failed: it broke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := remark(c.run, 100)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A rate is held only where everything says so: the server's counts, umbra's outcomes, its verdict and its exit status.
func TestMissed(t *testing.T) {
	j := job{rate: 1000, duration: 4 * time.Second}
	for _, c := range []struct {
		name    string
		change  func(m *measured)
		counted float64
		want    string
	}{
		{"held", func(*measured) {}, 1000, ""},
		{"held just so", func(m *measured) { m.umbra.Figures.Lag.P99 = time.Millisecond }, 999, ""},
		{"its latencies are not to be trusted, its rate is", func(m *measured) { m.exit = 3 }, 1000, ""},
		{"inconclusive, but its rate is not", func(m *measured) { m.exit = 4 }, 1000, ""},
		{"the client missed it", func(m *measured) { m.exit, m.umbra.Verdicts[0].State = 3, verdict.Invalid }, 1000, "exit status 3, Rate INVALID"},
		{"the server missed it", func(m *measured) { m.exit, m.umbra.Verdicts[0].State = 1, verdict.Fail }, 1000, "exit status 1, Rate FAIL"},
		{"another exit status", func(m *measured) { m.exit = 130 }, 1000, "exit status 130, Rate PASS"},
		{"no verdict", func(m *measured) { m.umbra.Verdicts = nil }, 1000, "exit status 0, Rate NOT TESTED"},
		{"another plan", func(m *measured) { m.umbra.Figures.Planned = 3999 }, 1000, "3999 requests planned of 4000"},
		{"one unsent", func(m *measured) { m.unsent = 1 }, 1000, "1 unsent, 0 failed"},
		{"one failed", func(m *measured) { m.failed = 1 }, 1000, "0 unsent, 1 failed"},
		{"the server saw less", func(m *measured) { m.served = 3999 }, 1000, "the server saw 3999 of 4000"},
		{"the server saw more", func(m *measured) { m.served = 4001 }, 1000, "the server saw 4001 of 4000"},
		{"too slow", func(*measured) {}, 998.9, "the server counted 999/s"},
		{"too fast", func(*measured) {}, 1001.1, "the server counted 1001/s"},
		{"no count", func(*measured) {}, 0, "the server counted 0/s"},
		{"late", func(m *measured) { m.umbra.Figures.Lag.P99 = 1001 * time.Microsecond }, 1000, "lag p99 1.00 ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &umbraSays{Verdicts: []verdict.Verdict{{Name: verdict.Rate, State: verdict.Pass}}}
			u.Figures.Planned = 4000
			m := measured{said: said{requests: 4000, umbra: u}, served: 4000}
			c.change(&m)
			if got := missed(m, j, c.counted); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// What limits a round is told: the plays that missed at the rate that held, and at the next above it.
func TestClimbRemarks(t *testing.T) {
	fine := measured{said: said{requests: 100}, served: 100}
	c := climb{wrk: measured{said: said{requests: 100_000, failed: 900}, served: 100_000}, held: 700, trials: []trial{
		{900, fine, "far too much"}, {500, fine, ""}, {700, fine, ""}, {700, fine, "lag p99 2.00 ms"}, {700, fine, ""}, {800, fine, "1 unsent, 0 failed"},
	}}
	if got, want := c.remarks(100), []string{"wrk: 900 of 100000 requests failed", "700/s missed: lag p99 2.00 ms", "800/s missed: 1 unsent, 0 failed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := len(c.there()); n != 2 {
		t.Errorf("%d plays held, want 2", n)
	}
	untrusted := fine
	untrusted.exit = 3
	c = climb{wrk: fine, held: 700, trials: []trial{{700, untrusted, ""}, {700, untrusted, ""}}}
	if got, want := c.remarks(100), []string{"700/s held: exit status 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A ratio belongs to its round: a round in which either failed has none.
func TestRatios(t *testing.T) {
	of := func(us int) measured { return measured{said: said{requests: 1}, cpu: time.Duration(us)} }
	failed := measured{err: errors.New("it broke")}
	got := ratios([]measured{of(20), of(30), failed, of(40)}, []measured{of(10), failed, of(10), of(80)}, measured.perRequest)
	if !slices.Equal(got, []float64{2, 0.5}) {
		t.Error(got)
	}
}

func TestRemarksSayEachOnce(t *testing.T) {
	fine, failed := measured{said: said{requests: 10}, served: 10}, measured{err: errors.New("it broke")}
	got := remarks([]measured{failed, fine, failed}, 0)
	if want := []string{"round 1 3: failed: it broke"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
