// Package jsonpath reads paths that select parts of JSON, a subset of RFC 9535, and follows them: members (.name,
// ['name']), elements ([0]), all of either (.*, [*]), and descendants (..). Slices, filters and indexes from the end are not
// read. It imports no sibling.
package jsonpath

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// MaxSteps bounds a path, and so the states that matching holds.
const MaxSteps = 32

// Path selects parts of a JSON text; one without steps, "$", selects all of it.
type Path []Step

// Step selects members by name, elements by index, or all of either.
type Step struct {
	Any     bool
	IsIndex bool
	Name    string
	Index   int
	Below   bool // ..: at any depth
}

// SyntaxError tells what is wrong with a path, and where.
type SyntaxError struct {
	Path   string
	Offset int // in bytes
	Msg    string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%q, character %d: %s", e.Path, len([]rune(e.Path[:e.Offset]))+1, e.Msg)
}

// Parse reads a path. Its error is a *SyntaxError.
func Parse(path string) (Path, error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, &SyntaxError{path, 0, "it does not begin with $; write a path like $.user.email"}
	}
	var steps Path
	for rest != "" {
		at := len(path) - len(rest)
		s, after, err := parseStep(rest)
		if err != nil {
			return nil, &SyntaxError{path, at, err.Error()}
		}
		if len(steps) == MaxSteps {
			return nil, &SyntaxError{path, at, fmt.Sprintf("it has more than %d steps; give at most so many", MaxSteps)}
		}
		steps, rest = append(steps, s), after
	}
	return steps, nil
}

func parseStep(s string) (Step, string, error) {
	if rest, ok := strings.CutPrefix(s, ".."); ok && !strings.HasPrefix(rest, ".") {
		if !strings.HasPrefix(rest, "[") {
			rest = "." + rest
		}
		inner, after, err := parseStep(rest)
		inner.Below = true
		return inner, after, err
	}
	switch {
	case strings.HasPrefix(s, ".*"):
		return Step{Any: true}, s[2:], nil
	case s[0] == '.':
		return parseMember(s[1:])
	case strings.HasPrefix(s, "[*]"):
		return Step{Any: true}, s[3:], nil
	case strings.HasPrefix(s, "['"), strings.HasPrefix(s, `["`):
		return parseQuoted(s)
	case s[0] == '[':
		return parseIndex(s)
	}
	return Step{}, "", errors.New("want .name, ['name'], [0], .*, [*] or ..name")
}

func parseMember(s string) (Step, string, error) {
	end := strings.IndexFunc(s, func(c rune) bool {
		return c != '_' && c != '-' && c != '$' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return Step{}, "", errors.New("a name is missing behind the dot; write others than letters, digits, _ and - as ['name']")
	}
	return Step{Name: s[:end]}, s[end:], nil
}

func parseQuoted(s string) (Step, string, error) {
	quote := s[1]
	var name []byte
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			name = append(name, s[i])
		case s[i] == quote && strings.HasPrefix(s[i+1:], "]"):
			return Step{Name: string(name)}, s[i+2:], nil
		case s[i] == quote:
			return Step{}, "", errors.New("want ] behind the quoted name; of several names make several paths")
		default:
			name = append(name, s[i])
		}
	}
	return Step{}, "", errors.New("the quoted name does not end; close it with the quote and ]")
}

func parseIndex(s string) (Step, string, error) {
	text, rest, found := strings.Cut(s[1:], "]")
	n, err := strconv.ParseUint(text, 10, 31)
	if !found || err != nil {
		return Step{}, "", errors.New("want an index like [0], [*] or ['name']; slices, filters and indexes from the end are not read")
	}
	return Step{IsIndex: true, Index: int(n)}, rest, nil
}

// State is how far a path has matched: its steps before the given one.
type State struct{ Path, Step int }

// Start appends the states before anything has matched. Paths that select all of the text have none.
func Start(paths []Path, to []State) []State {
	for i, p := range paths {
		if len(p) > 0 {
			to = append(to, State{i, 0})
		}
	}
	return to
}

// None is the index of no path.
const None = -1

// Advance appends the states that a member or an element brings, of those of its container, and gives the first path that it
// completes, None where there is none. matches tells whether a step selects it.
func Advance(paths []Path, to, from []State, matches func(Step) bool) ([]State, int) {
	selected, base := None, len(to)
	put := func(s State) {
		if !slices.Contains(to[base:], s) {
			to = append(to, s)
		}
	}
	for _, at := range from {
		p := paths[at.Path]
		s := p[at.Step]
		if s.Below {
			put(at)
		}
		switch {
		case !matches(s):
		case at.Step+1 < len(p):
			put(State{at.Path, at.Step + 1})
		case selected == None:
			selected = at.Path
		}
	}
	return to, selected
}
