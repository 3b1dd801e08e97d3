package diag

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// yamlError is how yaml.v3 tells a line.
var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line ([0-9]+): )?(.*)$`)

// parserErrors are those of yaml.v3's parser, which counts lines from 0; its scanner's count from 1.
var parserErrors = regexp.MustCompile(`^did not find expected (<|node content|',' or|key$|'-' indicator)`)

// YAML tells where and why text is no YAML at all, from the error of yaml.v3, and what to do. The line counts from 1
// within text.
func YAML(err error, text []byte) (line int, msg string) {
	lines := strings.Split(string(bytes.TrimRight(text, "\n")), "\n")
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		m = []string{"", "", err.Error()}
	}
	line, _ = strconv.Atoi(m[1])
	switch {
	case line == 0:
		line = firstOddLine(lines)
	case parserErrors.MatchString(m[2]):
		line++
	}
	line = min(max(line, 1), len(lines))
	return line, fmt.Sprintf("not valid YAML: %s; %s", strings.ReplaceAll(m[2], "\n", " "), yamlAdvice(lines[line-1]))
}

// yamlAdvice says what to do about a line that is no YAML.
func yamlAdvice(line string) string {
	switch {
	case strings.ContainsFunc(line, odd):
		return "save the file as UTF-8 text without control characters"
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "YAML is indented with spaces: replace the tab"
	}
	return "check the indentation, the quotes and the brackets at or above this line"
}

// odd says that c cannot stand in YAML.
func odd(c rune) bool { return c == utf8.RuneError || unicode.IsControl(c) && c != '\t' && c != '\r' }

// firstOddLine is the first line that is no text, for the errors of yaml.v3 that name no line; 1 where there is none.
func firstOddLine(lines []string) int {
	for i, l := range lines {
		if strings.ContainsFunc(l, odd) {
			return i + 1
		}
	}
	return 1
}
