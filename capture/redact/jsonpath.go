package redact

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxSteps bounds a path, and so the states that matching holds.
const maxSteps = 32

// jsonPath is a path and its rule.
type jsonPath struct {
	*rule
	steps []step
}

// step selects members by name, elements by index, or all of either.
type step struct {
	any     bool
	isIndex bool
	name    string
	index   int
	below   bool // ..: at any depth
}

// addPaths reads the paths; the error tells every one that is wrong.
func (r *Redactor) addPaths(paths []Path) error {
	var errs []error
	for _, p := range paths {
		steps, err := parsePath(p.Path)
		errs = append(errs, err, checkKeep("json: "+p.Path, p.Keep))
		r.paths = append(r.paths, jsonPath{r.rule("json "+p.Path, p.Keep), steps})
	}
	return errors.Join(errs...)
}

// parsePath reads the subset of RFC 9535 that the package's doc describes.
func parsePath(path string) ([]step, error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, fmt.Errorf("json: %q does not begin with $; write a path like $.user.email", path)
	}
	var steps []step
	for rest != "" {
		s, after, err := parseStep(rest)
		if err != nil {
			return nil, fmt.Errorf("json: %q, character %d: %w", path, len([]rune(path[:len(path)-len(rest)]))+1, err)
		}
		steps, rest = append(steps, s), after
	}
	if len(steps) > maxSteps {
		return nil, fmt.Errorf("json: %q has %d steps; give at most %d", path, len(steps), maxSteps)
	}
	return steps, nil
}

func parseStep(s string) (step, string, error) {
	if rest, ok := strings.CutPrefix(s, ".."); ok && !strings.HasPrefix(rest, ".") {
		if !strings.HasPrefix(rest, "[") {
			rest = "." + rest
		}
		inner, after, err := parseStep(rest)
		inner.below = true
		return inner, after, err
	}
	switch {
	case strings.HasPrefix(s, ".*"):
		return step{any: true}, s[2:], nil
	case s[0] == '.':
		return parseMember(s[1:])
	case strings.HasPrefix(s, "[*]"):
		return step{any: true}, s[3:], nil
	case strings.HasPrefix(s, "['"), strings.HasPrefix(s, `["`):
		return parseQuoted(s)
	case s[0] == '[':
		return parseIndex(s)
	}
	return step{}, "", errors.New("want .name, ['name'], [0], .*, [*] or ..name")
}

func parseMember(s string) (step, string, error) {
	end := strings.IndexFunc(s, func(c rune) bool {
		return c != '_' && c != '-' && c != '$' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return step{}, "", errors.New("a name is missing behind the dot; write others than letters, digits, _ and - as ['name']")
	}
	return step{name: s[:end]}, s[end:], nil
}

func parseQuoted(s string) (step, string, error) {
	quote := s[1]
	var name []byte
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			name = append(name, s[i])
		case s[i] == quote && strings.HasPrefix(s[i+1:], "]"):
			return step{name: string(name)}, s[i+2:], nil
		case s[i] == quote:
			return step{}, "", errors.New("want ] behind the quoted name; of several names make several paths")
		default:
			name = append(name, s[i])
		}
	}
	return step{}, "", errors.New("the quoted name does not end; close it with the quote and ]")
}

func parseIndex(s string) (step, string, error) {
	text, rest, found := strings.Cut(s[1:], "]")
	n, err := strconv.ParseUint(text, 10, 31)
	if !found || err != nil {
		return step{}, "", errors.New("want an index like [0], [*] or ['name']; slices, filters and indexes from the end are not read")
	}
	return step{isIndex: true, index: int(n)}, rest, nil
}

// state is how far a path has matched: its steps before the given one.
type state struct{ path, step int }

// advance appends the states that the member or element brings, and gives the rule of a path that it completes.
func advance(paths []jsonPath, to []state, from []state, matches func(step) bool) ([]state, *rule) {
	var selected *rule
	base := len(to)
	put := func(s state) {
		if !slices.Contains(to[base:], s) {
			to = append(to, s)
		}
	}
	for _, at := range from {
		p := &paths[at.path]
		s := p.steps[at.step]
		if s.below {
			put(at)
		}
		switch {
		case !matches(s):
		case at.step+1 < len(p.steps):
			put(state{at.path, at.step + 1})
		case selected == nil:
			selected = p.rule
		}
	}
	return to, selected
}
