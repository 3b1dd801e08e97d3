package redact

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"unicode/utf8"
)

type pattern struct {
	*rule
	re    *regexp.Regexp
	group int
	in    []Part
}

// addPatterns compiles the patterns; the error tells every one that is wrong.
func (r *Redactor) addPatterns(patterns []Pattern) error {
	var errs []error
	for i, p := range patterns {
		re, err := checkPattern(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("patterns: %w", err))
			continue
		}
		r.patterns = append(r.patterns, pattern{r.rule(fmt.Sprintf("pattern %d", i+1), p.Keep), re, p.Group, p.In})
	}
	return errors.Join(errs...)
}

func checkPattern(p Pattern) (*regexp.Regexp, error) {
	re, err := regexp.Compile(p.Match)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w; give a regular expression in RE2's syntax", err)
	case p.Match == "":
		return nil, errors.New("an empty pattern; give what is to be redacted as match")
	case p.Group < 0 || p.Group > re.NumSubexp():
		return nil, fmt.Errorf("%q has groups 0 to %d; %d is none", p.Match, re.NumSubexp(), p.Group)
	case len(p.In) == 0:
		return nil, fmt.Errorf("%q has no place to be matched; give in, of %v", p.Match, allParts)
	}
	for _, part := range p.In {
		if !slices.Contains(allParts, part) {
			return nil, fmt.Errorf("%q: in %q is no part of a request; give one of %v", p.Match, part, allParts)
		}
	}
	return re, checkKeep(fmt.Sprintf("%q", p.Match), p.Keep)
}

// matchesIn tells whether any pattern is for a part.
func (r *Redactor) matchesIn(part Part) bool {
	return slices.ContainsFunc(r.patterns, func(p pattern) bool { return slices.Contains(p.in, part) })
}

// match replaces what the patterns for a part match in s, which they see decoded.
func (r *Redactor) match(s string, part Part, p place, e encoding) string {
	for i := range r.patterns {
		if slices.Contains(r.patterns[i].in, part) {
			s = r.matchOne(s, &r.patterns[i], p, e)
		}
	}
	return s
}

func (r *Redactor) matchOne(s string, m *pattern, p place, e encoding) string {
	text, at := decode([]byte(s), e, true)
	var out []byte
	copied := 0
	for _, loc := range m.re.FindAllSubmatchIndex(text, -1) {
		from, to := loc[2*m.group], loc[2*m.group+1]
		if from >= to { // the group is empty, or took no part
			continue
		}
		out = append(out, s[copied:offset(at, from)]...)
		out = append(out, r.matched(m, p, string(text[from:to]), e)...)
		copied = offset(at, to)
	}
	if copied == 0 {
		return s
	}
	return string(append(out, s[copied:]...))
}

func (r *Redactor) matched(m *pattern, p place, value string, e encoding) string {
	switch e {
	case asPath:
		return url.PathEscape(r.replace(m.rule, p, value))
	case asQuery:
		return url.QueryEscape(r.replace(m.rule, p, value))
	case asJSON:
		keep := m.keep
		if isIndex([]byte(value)) {
			keep = keepNumber
		}
		return string(appendEscaped(nil, r.replaceAs(m.rule, keep, p, value)))
	}
	return r.replace(m.rule, p, value)
}

// encoding is how a text stands for another one.
type encoding int

const (
	asIs encoding = iota
	asPath
	asQuery // as asPath, and + is a space
	asJSON  // the escapes of JSON's strings
)

// decode gives the text, and where asked the offset in s of each of its bytes and of its end; nil offsets are those of
// the text itself. What is no escape stays.
func decode(s []byte, e encoding, offsets bool) (text []byte, at []int) {
	if !escaped(s, e) {
		return s, nil
	}
	text = make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		n := len(text)
		var width int
		text, width = appendDecoded(text, s[i:], e)
		for ; offsets && n < len(text); n++ {
			at = append(at, i)
		}
		i += width
	}
	return text, append(at, len(s))
}

func offset(at []int, i int) int {
	if at == nil {
		return i
	}
	return at[i]
}

func escaped(s []byte, e encoding) bool {
	for _, c := range s {
		if c == '%' && (e == asPath || e == asQuery) || c == '+' && e == asQuery || c == '\\' && e == asJSON {
			return true
		}
	}
	return false
}

// appendDecoded appends what the first character of s, or its first escape, stands for, and tells its width.
func appendDecoded(dst, s []byte, e encoding) ([]byte, int) {
	switch {
	case s[0] == '%' && (e == asPath || e == asQuery) && len(s) > 2 && hexDigit(s[1]) >= 0 && hexDigit(s[2]) >= 0:
		return append(dst, byte(hexDigit(s[1])<<4|hexDigit(s[2]))), 3
	case s[0] == '+' && e == asQuery:
		return append(dst, ' '), 1
	case s[0] == '\\' && e == asJSON && len(s) > 1:
		return appendUnescaped(dst, s)
	}
	return append(dst, s[0]), 1
}

// unescapes are the short escapes of JSON (RFC 8259, section 7).
var unescapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func appendUnescaped(dst, s []byte) ([]byte, int) {
	if c := unescapes[s[1]]; c != 0 {
		return append(dst, c), 2
	}
	high, ok := hex4(s)
	if !ok {
		return append(dst, s[0]), 1
	}
	if low, ok := hex4(s[6:]); ok && 0xD800 <= high && high < 0xDC00 && 0xDC00 <= low && low < 0xE000 {
		return utf8.AppendRune(dst, (high-0xD800)<<10|(low-0xDC00)+0x10000), 12
	}
	return utf8.AppendRune(dst, high), 6 // a lone surrogate becomes U+FFFD
}

// hex4 reads \uXXXX at the start of s.
func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var c rune
	for _, d := range s[2:6] {
		h := hexDigit(d)
		if h < 0 {
			return 0, false
		}
		c = c<<4 | rune(h)
	}
	return c, true
}

// appendEscaped appends text as it stands in a string of JSON.
func appendEscaped(dst []byte, text string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
