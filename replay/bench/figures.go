//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"umbra/internal/stats"
)

// spread is a median between the least and the greatest of n values.
type spread struct {
	n                int
	median, min, max float64
}

func spreadOf(xs []float64) spread {
	if len(xs) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(xs))
	return spread{len(s), stats.MedianUnbiased(s, 0.5), s[0], s[len(s)-1]}
}

// in writes the spread with a format for each value, and the median alone where there is no spread.
func (s spread) in(format func(float64) string) string {
	switch {
	case s.n == 0:
		return "–"
	case s.min == s.max:
		return format(s.median)
	}
	return fmt.Sprintf("%s (%s … %s)", format(s.median), format(s.min), format(s.max))
}

func decimals(n int) func(float64) string {
	return func(x float64) string { return fmt.Sprintf("%.*f", n, x) }
}

// short writes nanoseconds in the unit that suits them, with three digits.
func short(ns float64) string {
	value, unit := ns/1e9, "s"
	switch {
	case ns < 1e6:
		value, unit = ns/1e3, "µs"
	case ns < 1e9:
		value, unit = ns/1e6, "ms"
	}
	places := 2
	switch {
	case value >= 100:
		places = 0
	case value >= 10:
		places = 1
	}
	return fmt.Sprintf("%.*f %s", places, value, unit)
}

// table is rows of cells under a header.
type table struct{ rows [][]string }

func newTable(header ...string) *table { return &table{rows: [][]string{header}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write aligns the first column to the left and the others to the right.
func (t *table) write(w io.Writer) {
	widths := make([]int, 0)
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString(cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// highest finds by bisection between low and high the greatest rate that holds: where low does not, 0, where high does, high.
// Each step halves what is open, so the answer is at most (high − low) / 2^steps too low.
func highest(low, high float64, steps int, holds func(float64) (bool, error)) (float64, error) {
	for _, end := range []float64{high, low} {
		ok, err := holds(end)
		switch {
		case err != nil:
			return 0, err
		case ok && end == high:
			return high, nil
		case !ok && end == low:
			return 0, nil
		}
	}
	for range steps {
		middle := (low + high) / 2
		ok, err := holds(middle)
		switch {
		case err != nil:
			return 0, err
		case ok:
			low = middle
		default:
			high = middle
		}
	}
	return low, nil
}

// twoOfThree plays until two plays agree.
func twoOfThree(holds func() (bool, error)) (bool, error) {
	held, missed := 0, 0
	for held < 2 && missed < 2 {
		ok, err := holds()
		switch {
		case err != nil:
			return false, err
		case ok:
			held++
		default:
			missed++
		}
	}
	return held == 2, nil
}

// reading is the server's count of requests at an instant.
type reading struct {
	at       time.Time
	requests int64
}

// steadyRate is the rate, in requests a second, of the server's own count in the middle of a load that lasts d: its first
// tenth and last fifth are left out. It is 0 where the readings do not reach that far.
func steadyRate(readings []reading, d time.Duration) float64 {
	first := slices.IndexFunc(readings, func(r reading) bool { return r.requests > 0 })
	if first < 0 {
		return 0
	}
	find := func(after time.Duration) int {
		i, _ := slices.BinarySearchFunc(readings, readings[first].at.Add(after), func(r reading, t time.Time) int { return r.at.Compare(t) })
		return i
	}
	from, to := find(d/10), find(d*4/5)
	if to >= len(readings) || to <= from {
		return 0
	}
	a, b := readings[from], readings[to]
	return float64(b.requests-a.requests) / b.at.Sub(a.at).Seconds()
}
