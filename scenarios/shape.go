package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// A shape describes one kind of value of the scenario file, once: how it is read strictly and what the JSON Schema
// says of it. The two cannot drift apart, because there is no second description.
type shape[T any] struct {
	schema map[string]any
	// read tells what is wrong with n, which stands at path, and then gives false. An object is well read when it is a
	// mapping: faults of its fields are marked in the fields.
	read func(r *reader, n *yaml.Node, path string) (T, bool)
}

// value is a value of the file and its place.
type value[T any] struct {
	v   T
	at  *yaml.Node // nil where the file leaves it out; v is then the default
	bad bool       // a fault was told of it; v is then meaningless
}

// given says that the file has the value and that it is well read.
func (v value[T]) given() bool { return v.at != nil && !v.bad }

// usable says that v means something: it is well read or a default.
func (v value[T]) usable() bool { return !v.bad }

// reader collects the faults of one scenario file.
type reader struct {
	file   string
	lines  []string
	faults diag.Faults
}

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	r.faults.Addf(r.file, n.Line, n.Column, format, args...)
}

// field is a key of an object T.
type field[T any] struct {
	name     string
	required bool
	schema   map[string]any
	read     func(r *reader, n *yaml.Node, path string, into *T)
	fallback func(r *reader, into *T) // nil without a default
	dflt     func(text string) field[T]
}

// key describes the key name of an object T whose value is kept where get says.
func key[T, V any](name, doc string, s shape[V], get func(*T) *value[V]) field[T] {
	f := field[T]{name: name, schema: with(s.schema, "description", doc)}
	f.read = func(r *reader, n *yaml.Node, path string, into *T) {
		v, ok := s.read(r, resolve(n), path)
		*get(into) = value[V]{v, n, !ok}
	}
	f.dflt = func(text string) field[T] {
		n, plain := literal(text)
		f.schema = with(f.schema, "default", plain)
		f.fallback = func(r *reader, into *T) {
			v, ok := s.read(r, n, name)
			*get(into) = value[V]{v: v, bad: !ok}
		}
		return f
	}
	return f
}

// must makes the key a required one.
func (f field[T]) must() field[T] {
	f.required = true
	return f
}

// or gives the key a default, written as in the file.
func (f field[T]) or(text string) field[T] { return f.dflt(text) }

// literal parses the YAML of a default, which stands in this package's source.
func literal(text string) (*yaml.Node, any) {
	var n yaml.Node
	var plain any
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	if err := n.Decode(&plain); err != nil {
		panic(err)
	}
	return n.Content[0], plain
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// object describes a mapping with known keys. More holds further keywords of its schema.
func object[T any](more map[string]any, fields ...field[T]) shape[T] {
	properties, required := map[string]any{}, []string{}
	for _, f := range fields {
		properties[f.name] = f.schema
		if f.required {
			required = append(required, f.name)
		}
	}
	schema := with(more, "type", "object", "properties", properties, "additionalProperties", false)
	if len(required) > 0 {
		schema["required"] = required
	}
	read := func(r *reader, n *yaml.Node, path string) (T, bool) { return readObject(r, n, path, fields) }
	return shape[T]{schema, read}
}

func readObject[T any](r *reader, n *yaml.Node, path string, fields []field[T]) (T, bool) {
	var into T
	pairs, ok := r.pairs(n, path)
	if !ok {
		return into, false
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == p.key.Value })
		if i < 0 {
			r.fault(p.key, "%s", unknownKey(join(path, p.key.Value), p.key.Value, fields))
			continue
		}
		seen[fields[i].name] = true
		fields[i].read(r, p.value, join(path, fields[i].name), &into)
	}
	for _, f := range fields {
		switch {
		case seen[f.name]:
		case f.required:
			r.fault(n, "%s is missing; add it", join(path, f.name))
		case f.fallback != nil:
			f.fallback(r, &into)
		}
	}
	return into, true
}

func unknownKey[T any](path, name string, fields []field[T]) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if near := diag.Nearest(name, names); near != "" {
		return fmt.Sprintf("%s is not a known key; did you mean %q?", path, near)
	}
	return fmt.Sprintf("%s is not a known key; the keys here are %s", path, strings.Join(names, ", "))
}

// pair is a key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// pairs gives a mapping's pairs, each key once; later ones of the same name are faults.
func (r *reader) pairs(n *yaml.Node, path string) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "%s: want a mapping of keys, got %s", named(path), kindOf(n))
		return nil, false
	}
	var pairs []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			r.fault(n.Content[i], "%s: a key must be text, got %s", named(path), kindOf(k))
			continue
		}
		if line, twice := first[k.Value]; twice {
			r.fault(n.Content[i], "%s stands here a second time; it is already given in line %d: remove one", join(path, k.Value), line)
			continue
		}
		first[k.Value] = n.Content[i].Line
		pairs = append(pairs, pair{k, v})
	}
	return pairs, true
}

// entry is a pair of a mapping whose keys the user chooses.
type entry[V any] struct {
	key   string
	at    *yaml.Node
	value value[V]
}

// mapping describes a mapping whose keys the user chooses.
func mapping[V any](s shape[V]) shape[[]entry[V]] {
	schema := map[string]any{"type": "object", "additionalProperties": s.schema}
	return shape[[]entry[V]]{schema, func(r *reader, n *yaml.Node, path string) ([]entry[V], bool) {
		pairs, ok := r.pairs(n, path)
		var entries []entry[V]
		for _, p := range pairs {
			v, ok := s.read(r, resolve(p.value), join(path, p.key.Value))
			entries = append(entries, entry[V]{p.key.Value, p.key, value[V]{v, p.value, !ok}})
		}
		return entries, ok
	}}
}

// list describes a sequence of at least one item.
func list[V any](s shape[V]) shape[[]value[V]] {
	schema := map[string]any{"type": "array", "minItems": 1, "items": s.schema}
	return shape[[]value[V]]{schema, func(r *reader, n *yaml.Node, path string) ([]value[V], bool) {
		if n.Kind != yaml.SequenceNode {
			r.fault(n, "%s: want a list, got %s", path, kindOf(n))
			return nil, false
		}
		if len(n.Content) == 0 {
			r.fault(n, "%s is empty; give at least one item", path)
			return nil, false
		}
		items := make([]value[V], len(n.Content))
		for i, item := range n.Content {
			v, ok := s.read(r, resolve(item), fmt.Sprintf("%s[%d]", path, i))
			items[i] = value[V]{v, item, !ok}
		}
		return items, true
	}}
}

// scalarOr describes a value with a short form, a scalar, and a long one.
func scalarOr[V any](short, long shape[V]) shape[V] {
	schema := map[string]any{"anyOf": []any{short.schema, long.schema}}
	return shape[V]{schema, func(r *reader, n *yaml.Node, path string) (V, bool) {
		if n.Kind == yaml.ScalarNode {
			return short.read(r, n, path)
		}
		return long.read(r, n, path)
	}}
}

// as turns what a shape reads into something else.
func as[A, B any](s shape[A], f func(A, *yaml.Node) B) shape[B] {
	return shape[B]{s.schema, func(r *reader, n *yaml.Node, path string) (B, bool) {
		a, ok := s.read(r, n, path)
		return f(a, n), ok
	}}
}

// scalar describes a scalar by its YAML tags, what it should be in words, and a parser.
func scalar[V any](schema map[string]any, want string, tags []string, parse func(string) (V, error)) shape[V] {
	return shape[V]{schema, func(r *reader, n *yaml.Node, path string) (V, bool) {
		var none V
		if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) {
			r.fault(n, "%s: want %s, got %s", path, want, kindOf(n))
			return none, false
		}
		v, err := parse(n.Value)
		if err != nil {
			r.fault(n, "%s: want %s, got %s", path, want, err)
			return none, false
		}
		return v, true
	}}
}

// kindOf says in words what a node is.
func kindOf(n *yaml.Node) string {
	switch resolve(n).Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the truth value " + n.Value
	case "!!str":
		return strconv.Quote(n.Value)
	default:
		return strconv.Quote(n.Value) + ", which YAML takes for " + tag
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// named gives the root a name.
func named(path string) string {
	if path == "" {
		return "the scenario"
	}
	return path
}

// with is schema and further keywords.
func with(schema map[string]any, pairs ...any) map[string]any {
	out := maps.Clone(schema)
	if out == nil {
		out = map[string]any{}
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}
