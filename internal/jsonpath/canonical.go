package jsonpath

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"unicode/utf8"
)

// Canonical is a JSON text (RFC 8259) in the one form that all texts of equal meaning share: members sorted by name, no white
// space, strings without needless escapes, numbers as written; of members with one name the last, as most readers take it. What
// the paths select is taken away, with all that is below it; the elements behind one move up. It reports false where the text
// is no single JSON value, or has strings that are no Unicode, which could not be told apart any more, or where a path selects
// all of it. It may be called concurrently.
func Canonical(text []byte, without []Path) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	if slices.ContainsFunc(without, func(p Path) bool { return len(p) == 0 }) {
		return nil, false
	}
	if states := Start(without, nil); len(states) > 0 {
		v = strip(v, without, states)
	}
	return encode(v)
}

func encode(v any) ([]byte, bool) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil || bytes.ContainsRune(out.Bytes(), utf8.RuneError) { // the decoder's stand-in for what is no Unicode
		return nil, false
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), true
}

// strip takes away what the paths select below v, at which they have matched as far as the states say.
func strip(v any, paths []Path, states []State) any {
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			below, selected := Advance(paths, nil, states, func(s Step) bool { return s.Any || !s.IsIndex && s.Name == name })
			if selected != None {
				delete(v, name)
			} else if len(below) > 0 {
				v[name] = strip(child, paths, below)
			}
		}
		return v
	case []any:
		kept := v[:0]
		for i, child := range v {
			below, selected := Advance(paths, nil, states, func(s Step) bool { return s.Any || s.IsIndex && s.Index == i })
			if selected != None {
				continue
			}
			if len(below) > 0 {
				child = strip(child, paths, below)
			}
			kept = append(kept, child)
		}
		return kept
	}
	return v
}
