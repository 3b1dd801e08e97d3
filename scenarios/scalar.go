package scenarios

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
	"umbra/internal/impact"
)

var (
	textTags   = []string{"!!str"}
	numberTags = []string{"!!int", "!!float"}
)

// text describes text that matches pattern, which want says in words.
func text(want, pattern string) shape[string] {
	re := regexp.MustCompile(pattern)
	schema := map[string]any{"type": "string", "pattern": pattern}
	return quotable(want, scalar(schema, want, textTags, func(s string) (string, error) {
		if !re.MatchString(s) {
			return "", errors.New(strconv.Quote(s))
		}
		return s, nil
	}))
}

// quotable helps with text that YAML takes for a number or the like.
func quotable(want string, s shape[string]) shape[string] {
	return shape[string]{s.schema, func(r *reader, n *yaml.Node, path string) (string, bool) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str" && n.ShortTag() != "!!null" {
			r.fault(n, "%s: want %s, got %s; if that is the text, put it in quotes", path, want, kindOf(n))
			return "", false
		}
		return s.read(r, n, path)
	}}
}

// anyText describes text that may be empty.
func anyText(want string) shape[string] { return text(want, `^(?s:.*)$`) }

// oneOf describes a choice of words.
func oneOf(words ...string) shape[string] {
	want := words[0]
	if len(words) > 1 {
		want = "one of " + strings.Join(words, ", ")
	}
	schema := map[string]any{"enum": words}
	return scalar(schema, want, textTags, func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		if near := diag.Nearest(s, words); near != "" && len(words) > 1 {
			return "", fmt.Errorf("%q; did you mean %q?", s, near)
		}
		return "", errors.New(strconv.Quote(s))
	})
}

// number describes a number between low and high, neither of them included.
func number(want string, low, high float64) shape[float64] {
	schema := map[string]any{"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
	return scalar(schema, want, numberTags, func(s string) (float64, error) {
		v, err := parseNumber(s)
		if err != nil || v <= low || v >= high {
			return 0, errors.New(s)
		}
		return v, nil
	})
}

// decimal is a number as JSON writes it: YAML's octal, hexadecimal, infinite and underscored ones are not taken.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func parseNumber(s string) (float64, error) {
	if !decimal.MatchString(s) {
		return 0, errors.New(s)
	}
	return strconv.ParseFloat(s, 64)
}

// integer describes a whole number of [low, high].
func integer(want string, low, high uint64) shape[uint64] {
	schema := map[string]any{"type": "integer", "minimum": low, "maximum": high}
	return scalar(schema, want, []string{"!!int"}, func(s string) (uint64, error) {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil || !decimal.MatchString(s) || v < low || v > high {
			return 0, errors.New(s)
		}
		return v, nil
	})
}

const (
	durationPattern = `([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+`
	percentPattern  = `[0-9]+(\.[0-9]+)?%`
)

// duration describes a duration above 0, or from 0 where zero.
func duration(zero bool) shape[time.Duration] {
	re := regexp.MustCompile("^" + durationPattern + "$")
	want := "a duration above 0 with its unit, like 500ms or 10s"
	if zero {
		want = "a duration with its unit, like 500ms or 10s"
	}
	schema := map[string]any{"type": "string", "pattern": re.String()}
	return scalar(schema, want, textTags, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || !re.MatchString(s) || d == 0 && !zero {
			return 0, errors.New(strconv.Quote(s))
		}
		return d, nil
	})
}

// percent describes a share as text with a percent sign; its value is in percent.
func percent(want string) shape[float64] {
	re := regexp.MustCompile("^" + percentPattern + "$")
	schema := map[string]any{"type": "string", "pattern": re.String()}
	return scalar(schema, want, textTags, func(s string) (float64, error) {
		v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || !re.MatchString(s) || v > 100 {
			return 0, errors.New(strconv.Quote(s))
		}
		return v, nil
	})
}

// maxBytes bounds a response: it is made in memory for every request.
const maxBytes = 64 << 20

var units = map[string]int{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}

// size describes a number of bytes with its binary unit.
func size() shape[int] {
	re := regexp.MustCompile(`^([0-9]{1,9})(B|KiB|MiB)$`)
	schema := map[string]any{"type": "string", "pattern": re.String()}
	want := "a size up to 64MiB with its unit, like 512B, 2KiB or 1MiB"
	return scalar(schema, want, textTags, func(s string) (int, error) {
		m := re.FindStringSubmatch(s)
		if m == nil {
			return 0, errors.New(strconv.Quote(s))
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxBytes/units[m[2]] {
			return 0, errors.New(strconv.Quote(s))
		}
		return n * units[m[2]], nil
	})
}

// margin describes an impact margin: a percentage, or the greater of one and a duration.
func margin() shape[string] {
	return text(`a margin like 5% or "max(5%, 0.1ms)"`, marginPattern.String())
}

var marginPattern = regexp.MustCompile(`^(` + percentPattern + `|max\( *` + percentPattern + ` *, *` + durationPattern + ` *\))$`)

// parseMargin reads what margin takes.
func parseMargin(text string) impact.Margin {
	var m impact.Margin
	percent, floor, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "max("), ")"), ",")
	m.Percent, _ = strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(percent), "%"), 64) // margin has seen to it
	if floor != "" {
		m.Floor, _ = time.ParseDuration(strings.TrimSpace(floor))
	}
	return m
}

// ParseMargin reads a margin as a scenario has it: 5%, or max(5%, 0.1ms).
func ParseMargin(text string) (impact.Margin, error) {
	if !marginPattern.MatchString(text) {
		return impact.Margin{}, errors.New(`want a margin like 5% or "max(5%, 0.1ms)"`)
	}
	return parseMargin(text), nil
}

// marginText writes a margin as parseMargin reads it.
func marginText(m impact.Margin) string {
	percent := strconv.FormatFloat(m.Percent, 'f', -1, 64) + "%"
	if m.Floor == 0 {
		return percent
	}
	return fmt.Sprintf("max(%s, %v)", percent, m.Floor)
}
