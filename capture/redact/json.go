package redact

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"umbra/internal/jsonpath"
)

// maxDepth bounds the nesting of JSON.
const maxDepth = 256

// looksJSON tells of text that may be an object or an array, alone or the first of several.
func looksJSON[T string | []byte](s T) bool {
	i := jsonStart(s)
	return i < len(s) && (s[i] == '{' || s[i] == '[')
}

// jsonStart skips a byte order mark, white space, and the record separators of RFC 7464.
func jsonStart[T string | []byte](s T) int {
	i := 0
	if len(s) > 2 && s[0] == 0xEF && s[1] == 0xBB && s[2] == 0xBF {
		i = 3
	}
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == 0x1E }

// jsonInside redacts by name in JSON that stands within a parameter or a string.
func (r *Redactor) jsonInside(text string, p place, depth int) string {
	if len(r.members.rules) == 0 {
		return text
	}
	if isGraphQL([]byte(text)) {
		return r.textInside(text, p, depth)
	}
	out, err := r.jsonText([]byte(text), nil, p, depth)
	if err != nil {
		return string(r.lenient([]byte(text), p))
	}
	return string(out)
}

// jsonText redacts the values that names and paths select in texts of JSON, and gives in itself where there are none. The
// error says what is wrong where it is no JSON.
func (r *Redactor) jsonText(in []byte, paths []jsonpath.Path, p place, depth int) ([]byte, error) {
	w := jsonWalk{r: r, paths: paths, place: p, nested: depth, in: in, at: jsonStart(in)}
	var root *rule
	for i := range paths {
		if len(paths[i]) == 0 {
			root = r.pathRules[i]
		}
	}
	w.states = jsonpath.Start(paths, nil)
	for n := len(w.states); w.at < len(in); w.space() {
		if err := w.value(root, 0, n); err != nil {
			return nil, err
		}
	}
	if w.copied == 0 {
		return in, nil
	}
	return append(w.out, in[w.copied:]...), nil
}

// jsonWalk goes through texts of JSON (RFC 8259) and edits them.
type jsonWalk struct {
	r      *Redactor
	paths  []jsonpath.Path // the Redactor's, or none
	place  place
	nested int // how deep the text lies in strings

	in     []byte
	at     int
	out    []byte
	copied int // in[:copied] is in out, or replaced there
	states []jsonpath.State
	depth  int
}

func (w *jsonWalk) replaceFrom(from int, with string) {
	w.out = append(append(w.out, w.in[w.copied:from]...), with...)
	w.copied = w.at
}

func (w *jsonWalk) malformed(want string) error {
	return fmt.Errorf("the body is no valid JSON: want %s at byte %d", want, w.at)
}

func (w *jsonWalk) space() {
	for w.at < len(w.in) && isSpace(w.in[w.at]) {
		w.at++
	}
}

// take takes a byte behind white space, if it is next.
func (w *jsonWalk) take(c byte) bool {
	w.space()
	if w.at < len(w.in) && w.in[w.at] == c {
		w.at++
		return true
	}
	return false
}

// value walks one value. u is the rule that selects it, nil where none does; states[from:to] are those of its container's
// paths.
func (w *jsonWalk) value(u *rule, from, to int) error {
	w.space()
	if w.at == len(w.in) {
		return w.malformed("a value")
	}
	switch c := w.in[w.at]; {
	case c == '{':
		return w.nest(u, from, to, w.object)
	case c == '[':
		return w.nest(u, from, to, w.array)
	case c == '"':
		return w.text(u)
	case c == '-' || '0' <= c && c <= '9':
		return w.number(u)
	}
	return w.literal(u)
}

func (w *jsonWalk) nest(u *rule, from, to int, walk func(u *rule, from, to int) error) error {
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("the body's JSON is nested deeper than %d", maxDepth)
	}
	w.at++
	err := walk(u, from, to)
	w.depth--
	return err
}

func (w *jsonWalk) object(u *rule, from, to int) error {
	if w.take('}') {
		return nil
	}
	for {
		w.space()
		name, err := w.quoted()
		if err != nil {
			return err
		}
		if !w.take(':') {
			return w.malformed(`":"`)
		}
		if err := w.member(u, name, from, to); err != nil {
			return err
		}
		if w.take('}') {
			return nil
		}
		if !w.take(',') {
			return w.malformed(`"," or "}"`)
		}
	}
}

func (w *jsonWalk) array(u *rule, from, to int) error {
	if w.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := w.child(u, from, to, func(s jsonpath.Step) bool { return s.Any || s.IsIndex && s.Index == i }); err != nil {
			return err
		}
		if w.take(']') {
			return nil
		}
		if !w.take(',') {
			return w.malformed(`"," or "]"`)
		}
	}
}

// member walks a member's value. The rule of its container holds before a path's, and that before a name's.
func (w *jsonWalk) member(u *rule, name []byte, from, to int) error {
	name, _ = decode(name, asJSON, false)
	if u == nil {
		w.r.name = appendName(w.r.name[:0], name, false)
		u = w.r.members.find(w.r.name)
	}
	if from == to {
		return w.value(u, from, to)
	}
	return w.child(u, from, to, func(s jsonpath.Step) bool { return s.Any || !s.IsIndex && s.Name == string(name) })
}

func (w *jsonWalk) child(u *rule, from, to int, matches func(jsonpath.Step) bool) error {
	if from == to {
		return w.value(u, from, to)
	}
	states, selected := jsonpath.Advance(w.paths, w.states, w.states[from:to], matches)
	w.states = states
	if selected != jsonpath.None && (u == nil || u.byDefault) {
		u = w.r.pathRules[selected]
	}
	err := w.value(u, to, len(w.states))
	w.states = w.states[:to]
	return err
}

// quoted takes a string and gives what is between its quotes.
func (w *jsonWalk) quoted() ([]byte, error) {
	if w.at == len(w.in) || w.in[w.at] != '"' {
		return nil, w.malformed("a string")
	}
	for i := w.at + 1; i < len(w.in); i++ {
		switch c := w.in[i]; {
		case c == '"':
			s := w.in[w.at+1 : i]
			w.at = i + 1
			return s, nil
		case c < ' ':
			w.at = i
			return nil, w.malformed("a character that is no control")
		case c == '\\':
			width := escapeWidth(w.in[i:])
			if width == 0 {
				w.at = i
				return nil, w.malformed("an escape")
			}
			i += width - 1
		}
	}
	w.at = len(w.in)
	return nil, w.malformed("the end of a string")
}

// escapeWidth is that of the escape at the start of s; 0 where it is none.
func escapeWidth(s []byte) int {
	if len(s) > 1 && unescapes[s[1]] != 0 {
		return 2
	}
	if _, ok := hex4(s); ok {
		return 6
	}
	return 0
}

func (w *jsonWalk) text(u *rule) error {
	from := w.at
	raw, err := w.quoted()
	if err != nil || len(raw) == 0 {
		return err
	}
	if u == nil {
		w.insideText(from, raw)
		return nil
	}
	value, _ := decode(raw, asJSON, false)
	w.putText(from, w.r.replace(u, w.place, string(value)))
	return nil
}

func (w *jsonWalk) putText(from int, text string) {
	w.replaceFrom(from, string(append(appendEscaped([]byte{'"'}, text), '"')))
}

// insideText looks into JSON, and into other text with names, within a string.
func (w *jsonWalk) insideText(from int, raw []byte) {
	if len(w.r.members.rules) == 0 || !looksJSON(raw) && raw[0] != '\\' && raw[0] != ' ' && !mayAssign(raw) {
		return
	}
	decoded, _ := decode(raw, asJSON, false)
	value := string(decoded)
	if !looksJSON(decoded) {
		if redacted := w.r.textInside(value, w.place, w.nested); redacted != value {
			w.putText(from, redacted)
		}
		return
	}
	if w.nested >= maxNested {
		w.putText(from, w.r.replace(w.r.nested, w.place, value))
		return
	}
	at, depth := w.at, w.nested+1
	if redacted := w.r.jsonInside(value, w.place, depth); redacted != value {
		w.at = at
		w.putText(from, redacted)
	}
}

func (w *jsonWalk) number(u *rule) error {
	from := w.at
	end := from + numberWidth(w.in[from:])
	if end == from {
		return w.malformed("a number")
	}
	w.at = end
	if u != nil {
		w.replaceFrom(from, w.r.replaceAs(u, keepNumber, w.place, string(w.in[from:end])))
	}
	return nil
}

// numberWidth is that of the number at the start of s (RFC 8259, section 6); 0 where it is none.
func numberWidth(s []byte) int {
	digits := func(i int) int {
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i
	}
	start := 0
	if s[0] == '-' {
		start = 1
	}
	i := digits(start)
	if i == start || s[start] == '0' && i > start+1 {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		point := i + 1
		if i = digits(point); i == point {
			return 0
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		exponent := i + 1
		if exponent < len(s) && (s[exponent] == '+' || s[exponent] == '-') {
			exponent++
		}
		if i = digits(exponent); i == exponent {
			return 0
		}
	}
	return i
}

var literals = [][]byte{[]byte("true"), []byte("false"), []byte("null")}

// literal walks true, false and null. A default rule leaves them: they are flags, like "password": true.
func (w *jsonWalk) literal(u *rule) error {
	from := w.at
	i := slices.IndexFunc(literals, func(l []byte) bool { return bytes.HasPrefix(w.in[from:], l) })
	if i < 0 {
		return w.malformed("a value")
	}
	w.at += len(literals[i])
	if u != nil && !u.byDefault && literals[i][0] != 'n' {
		w.r.replace(u, w.place, string(literals[i])) // counts it
		w.replaceFrom(from, "null")
	}
	return nil
}

// lenient redacts by name what is no valid JSON: it looks for name: value and name = value, quoted or not, and rather replaces
// too much than too little.
func (r *Redactor) lenient(in []byte, p place) []byte {
	var out []byte
	copied := 0
	for i := 0; i < len(in); i++ {
		if in[i] != ':' && in[i] != '=' {
			continue
		}
		u := r.memberOf(&r.members, nameBefore(in[copied:i]))
		if u == nil {
			continue
		}
		from, to := valueBehind(in, i+1)
		if from == to {
			continue
		}
		with := r.replace(u, p, string(in[from:to]))
		if in[from-1] != '"' && in[from-1] != '\'' {
			with = `"` + with + `"`
		}
		out = append(append(out, in[copied:from]...), with...)
		copied, i = to, to-1
	}
	if copied == 0 {
		return in
	}
	return append(out, in[copied:]...)
}

func (r *Redactor) memberOf(names *nameSet, name []byte) *rule {
	name, _ = decode(name, asJSON, false)
	bare := strings.NewReplacer(`"`, "", "'", "", `\`, "").Replace(string(name))
	r.name = appendName(r.name[:0], strings.TrimLeft(bare, "["), true)
	return names.find(r.name)
}

// maxNameBefore bounds the search for a name; no default is nearly as long, escaped throughout.
const maxNameBefore = 512

// nameBefore is the last word of s, with its quotes.
func nameBefore(s []byte) []byte {
	s = s[max(0, len(s)-maxNameBefore):]
	s = bytes.TrimRight(s, " \t\r\n")
	start := len(s)
	for start > 0 && isNamePart(s[start-1]) {
		start--
	}
	return s[start:]
}

func isNamePart(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c >= 0x80 || strings.IndexByte(`_-.%\"'[]`, c) >= 0
}

// valueBehind is the value that begins at i: between its quotes, or without them to the end of the line. A quote that is
// escaped is ended by one that is no more so.
func valueBehind(in []byte, i int) (from, to int) {
	backslashes := 0
	for i < len(in) && (isSpace(in[i]) || in[i] == '\\') {
		if in[i] == '\\' {
			backslashes++
		}
		i++
	}
	if i == len(in) {
		return i, i
	}
	quote := in[i]
	if quote != '"' && quote != '\'' {
		return i, lineEnd(in, i)
	}
	run := 0
	for j := i + 1; j < len(in); j++ {
		switch {
		case in[j] == '\\':
			run++
		case in[j] == quote && run <= backslashes:
			return i + 1, j - run
		default:
			run = 0
		}
	}
	return i + 1, len(in)
}

func lineEnd(in []byte, i int) int {
	if n := bytes.IndexByte(in[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(in)
}
