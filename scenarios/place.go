package scenarios

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// inside is the line and column of the byte offset of a text's value, as the file has it. Where the way back from the
// value to the file is lost (folded text, text over several lines, tags), it is where the text begins.
func (r *reader) inside(n *yaml.Node, offset int) (line, col int) {
	n = resolve(n)
	offset = min(offset, len(n.Value))
	if n.Line < 1 || n.Line > len(r.lines) {
		return n.Line, n.Column
	}
	if n.Style&yaml.LiteralStyle != 0 {
		return r.insideBlock(n, offset)
	}
	raw := []rune(strings.TrimSuffix(r.lines[n.Line-1], "\r"))
	if n.Column-1 > len(raw) {
		return n.Line, n.Column
	}
	width, ok := rawWidth(raw[n.Column-1:], n.Value[:offset], n.Style)
	if !ok {
		return n.Line, n.Column
	}
	return n.Line, n.Column + width
}

// insideBlock is inside for a literal block: its lines are the value's, indented.
func (r *reader) insideBlock(n *yaml.Node, offset int) (line, col int) {
	before := n.Value[:offset]
	below := strings.Count(before, "\n")
	line = n.Line + 1 + below
	if line > len(r.lines) {
		return n.Line, n.Column
	}
	text := n.Value[offset-len(before[strings.LastIndex(before, "\n")+1:]):]
	text, _, _ = strings.Cut(text, "\n")
	indent := len(r.lines[line-1]) - len(strings.TrimLeft(r.lines[line-1], " ")) - (len(text) - len(strings.TrimLeft(text, " ")))
	return line, max(indent, 0) + len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
}

// escapeWidths are the characters of YAML's escapes in double quotes that have more than two.
var escapeWidths = map[rune]int{'x': 4, 'u': 6, 'U': 10}

// rawWidth is how many characters of raw, where a scalar begins, stand before the end of value.
func rawWidth(raw []rune, value string, style yaml.Style) (int, bool) {
	quote := rune(0)
	switch {
	case style&yaml.SingleQuotedStyle != 0:
		quote = '\''
	case style&yaml.DoubleQuotedStyle != 0:
		quote = '"'
	case style&yaml.FoldedStyle != 0:
		return 0, false
	}
	at := 0
	if quote != 0 {
		if len(raw) == 0 || raw[0] != quote {
			return 0, false
		}
		at = 1
	}
	for _, want := range value {
		switch {
		case at >= len(raw):
			return 0, false
		case quote == '\'' && raw[at] == quote:
			at += 2
		case quote == '"' && raw[at] == '\\' && at+1 < len(raw):
			at += max(2, escapeWidths[raw[at+1]])
		case raw[at] == want:
			at++
		default:
			return 0, false
		}
	}
	return at, at <= len(raw)
}
