// Package diag holds faults of files that people write, each at its place, so that all of them can be told at once.
package diag

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong in a file. Its message says what is wrong and what to do.
type Fault struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0 where unknown
	Col  int    `json:"column,omitempty"`
	Msg  string `json:"message"`
}

// String gives file:line:col: message, without the parts that are unknown.
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File + ":")
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:", f.Line)
		if f.Col > 0 {
			fmt.Fprintf(&b, "%d:", f.Col)
		}
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	return b.String() + f.Msg
}

// Faults is an error that holds every fault found.
type Faults []Fault

// Addf appends a fault.
func (fs *Faults) Addf(file string, line, col int, format string, args ...any) {
	*fs = append(*fs, Fault{file, line, col, fmt.Sprintf(format, args...)})
}

// Add appends the faults that err holds, or err itself as a fault of file. A nil err adds nothing.
func (fs *Faults) Add(file string, err error) {
	var more Faults
	switch {
	case err == nil:
	case errors.As(err, &more):
		*fs = append(*fs, more...)
	default:
		*fs = append(*fs, Fault{File: file, Msg: err.Error()})
	}
}

// Err returns the faults in the order of their places, each once; nil where there are none.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.Compact(sorted)
}

// Error gives one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}
