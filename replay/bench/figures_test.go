//go:build linux

package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name string
		xs   []float64
		want string
	}{
		{"none", nil, "–"},
		{"one", []float64{2}, "2.0"},
		{"equal ones", []float64{2, 2, 2}, "2.0"},
		{"two", []float64{2, 1}, "1.5 (1.0 … 2.0)"},
		{"three", []float64{9, 1, 2}, "2.0 (1.0 … 9.0)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := spreadOf(c.xs).in(decimals(1)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	for ns, want := range map[float64]string{0: "0.00 µs", 999: "1.00 µs", 45_678: "45.7 µs", 136_400: "136 µs", 2_200_000: "2.20 ms", 2_549_000_000: "2.55 s"} {
		if got := short(ns); got != want {
			t.Errorf("%g: %q, want %q", ns, got, want)
		}
	}
}

func TestTableAligns(t *testing.T) {
	var out strings.Builder
	table := newTable("tool", "µs")
	table.add("wrk", "11.1")
	table.add("umbra", "9")
	table.add("k6")
	table.write(&out)
	if want := "tool     µs\nwrk    11.1\numbra     9\nk6\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestHighest(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		limit float64
		err   error
		want  float64
	}{
		{"within", 77, nil, 77},
		{"not even the low end", 40, nil, 0},
		{"also the high end", 200, nil, 120},
		{"an error ends it", 77, broken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := 0
			got, err := highest(50, 120, 6, func(rate float64) (bool, error) {
				runs++
				return rate <= c.limit, c.err
			})
			if !errors.Is(err, c.err) || got > c.want || got < c.want-70.0/64 || runs > 8 {
				t.Errorf("%g, %v after %d runs, want %g", got, err, runs, c.want)
			}
		})
	}
}

func TestTwoOfThree(t *testing.T) {
	broken := errors.New("broken")
	for plays, want := range map[string]bool{"++": true, "+-+": true, "-++": true, "--": false, "+--": false, "-+-": false, "!": false, "+!": false} {
		t.Run(plays, func(t *testing.T) {
			rest := plays
			got, err := twoOfThree(func() (bool, error) {
				play := rest[0]
				rest = rest[1:]
				if play == '!' {
					return false, broken
				}
				return play == '+', nil
			})
			if got != want || rest != "" || errors.Is(err, broken) != strings.HasSuffix(plays, "!") {
				t.Errorf("%v, %v, %q not played", got, err, rest)
			}
		})
	}
}

func TestSteadyRate(t *testing.T) {
	begin := time.Unix(0, 0)
	// load makes readings every 50 ms of 2 s of a count that follows f, in seconds from the load's begin at 0.3 s.
	load := func(f func(float64) float64) (readings []reading) {
		for at := time.Duration(0); at <= 2500*ms; at += 50 * ms {
			since := min(max(at.Seconds()-0.3, 0), 2)
			readings = append(readings, reading{begin.Add(at), int64(math.Round(f(since)))})
		}
		return readings
	}
	for _, c := range []struct {
		name     string
		readings []reading
		want     float64
	}{
		{"even", load(func(s float64) float64 { return 1000 * s }), 1000},
		{"a burst first, which does not count", load(func(s float64) float64 { return min(5000*s, 100+1000*s) }), 1000},
		{"falling behind", load(func(s float64) float64 { return 900 * s }), 900},
		{"no load", load(func(float64) float64 { return 0 }), 0},
		{"cut short", load(func(s float64) float64 { return 1000 * s })[:20], 0},
		{"no readings", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := steadyRate(c.readings, 2*time.Second); math.Abs(got-c.want) > 1 {
				t.Errorf("%g, want %g", got, c.want)
			}
		})
	}
}

func TestParseTicks(t *testing.T) {
	const stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 10 20 30 40 50 60 70 80 0 0\nintr 1\n"
	got, err := parseTicks(stat, 1)
	if want := (ticks{busy: 190, stolen: 80}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for name, text := range map[string]string{"no such core": "cpu0 1 2 3 4 5 6 7 8\n", "short": "cpu1 1 2\n", "no number": "cpu1 1 2 3 x 5 6 7 8\n"} {
		if got, err := parseTicks(text, 1); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestCrowd(t *testing.T) {
	const process = "12 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 1 0 5 6 7\n"
	nginx, err := parseProcessTicks(process)
	if err != nil || nginx != 400 {
		t.Errorf("%d ticks, %v, want 400", nginx, err)
	}
	if n, err := parseProcessTicks("12 (short) S 1"); err == nil {
		t.Errorf("a short line gave %d", n)
	}
	after := busy{client: ticks{busy: 300, stolen: 20}, server: ticks{busy: 500}, nginx: nginx}
	got := crowdOf(busy{}, after, 2*time.Second, 10*time.Second)
	if want := (crowd{client: 0.1, server: 0.1, stolen: 0.01}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
