package redact

import "bytes"

// prose redacts by name in plain text, YAML, source code and GraphQL: name: value and name = value. What is written
// name=value is left to params.
func (r *Redactor) prose(in []byte, names *nameSet, p place) []byte {
	if len(names.rules) == 0 {
		return in
	}
	var out []byte
	copied, valueAt := 0, proseValue
	if isGraphQL(in) {
		valueAt = valueOfGraphQL
	}
	for i := 0; i < len(in); i++ {
		if !assigns(in, i) {
			continue
		}
		u := r.memberOf(names, nameBefore(in[copied:i]))
		if u == nil {
			continue
		}
		from, to := valueAt(in, i+1)
		if from == to {
			continue
		}
		out = append(append(out, in[copied:from]...), r.replace(u, p, string(in[from:to]))...)
		copied, i = to, to-1
	}
	if copied == 0 {
		return in
	}
	return append(out, in[copied:]...)
}

// assigns tells of a ":", and of a "=" that params does not see: with a space before or a quote behind it.
func assigns(in []byte, i int) bool {
	next := byte(0)
	if i+1 < len(in) {
		next = in[i+1]
	}
	switch in[i] {
	case ':':
		return next != ':'
	case '=':
		return next != '=' && next != '>' && i > 0 && isSpace(in[i-1])
	}
	return false
}

// proseValue is the value that begins at i: between its quotes, or without them to the end of the line, and of a block of
// YAML (section 8.1) to the end of its lines.
func proseValue(in []byte, i int) (from, to int) {
	start := i
	for start < len(in) && isSpace(in[start]) {
		start++
	}
	if block := []byte(`"""`); bytes.HasPrefix(in[start:], block) {
		start += len(block)
		if n := bytes.Index(in[start:], block); n >= 0 {
			return start, start + n
		}
		return start, len(in)
	}
	if from, to = valueBehind(in, i); from == to || from > 0 && (in[from-1] == '"' || in[from-1] == '\'') {
		return from, to
	}
	if in[from] == '|' || in[from] == '>' {
		for to+1 < len(in) && isSpace(in[to+1]) {
			to = lineEnd(in, to+1)
		}
	}
	return from, from + len(bytes.TrimRight(in[from:to], " \t\r\n"))
}

// isGraphQL tells of a document of GraphQL (October 2021, section 2.2), or what begins as one.
func isGraphQL(in []byte) bool {
	s := bytes.TrimLeft(in, " \t\r\n")
	if len(s) > 0 && s[0] == '{' {
		s = bytes.TrimLeft(s[1:], " \t\r\n")
		n := wordWidth(s)
		s = bytes.TrimLeft(s[n:], " \t\r\n")
		return n > 0 && len(s) > 0 && (s[0] == '(' || s[0] == '{')
	}
	switch string(s[:wordWidth(s)]) {
	case "query", "mutation", "subscription", "fragment":
		return bytes.IndexByte(s, '{') >= 0
	}
	return false
}

func wordWidth(s []byte) int {
	n := 0
	for n < len(s) && (isWord(s[n]) || s[n] == '_') {
		n++
	}
	return n
}

// valueOfGraphQL is a string or a number; variables, types and names are no secrets, and stand before others on their line.
func valueOfGraphQL(in []byte, i int) (from, to int) {
	for i < len(in) && (isSpace(in[i]) || in[i] == '[') {
		i++
	}
	switch {
	case i == len(in):
		return i, i
	case in[i] == '"':
		return proseValue(in, i)
	}
	return i, i + numberWidth(in[i:])
}

// textInside redacts what a string of JSON holds of forms, URLs and text.
func (r *Redactor) textInside(text string, p place, depth int) string {
	text = string(r.prose([]byte(text), &r.members, p))
	return r.params(r.userInfo(text, p), field{names: &r.members, place: p, ends: formEnds, prosed: true}, depth)
}

// mayAssign tells of a string of JSON, not yet decoded, that may hold name: value or name=value.
func mayAssign(s []byte) bool {
	for i, c := range s {
		if c == ':' || c == '=' || c == '\\' && i+1 < len(s) && s[i+1] == 'u' {
			return true
		}
	}
	return false
}
