package route

import (
	"fmt"
	"iter"
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// Bounds on a document, so that a few aliases cannot grow into gigabytes.
const (
	maxNodes = 200_000
	maxDepth = 100
)

// flattener copies a tree without aliases and merge keys, with every mapping's keys being unique scalars and with
// line numbers that count from the start of the file.
type flattener struct {
	file   string
	before int // lines of the file before the document
	budget int // nodes left
	faults *diag.Faults
	open   map[*yaml.Node]bool // anchors being expanded
}

func (f *flattener) fault(n *yaml.Node, format string, args ...any) {
	f.faults.Addf(f.file, n.Line+f.before, n.Column, format, args...)
}

// node gives the flat copy of n; its Kind is 0 where it has a fault.
func (f *flattener) node(n *yaml.Node, depth int) *yaml.Node {
	if f.budget < 0 {
		return &yaml.Node{} // told already
	}
	if f.budget--; f.budget < 0 || depth > maxDepth {
		f.budget = -1
		f.fault(n, "the document is larger than %d nodes or deeper than %d levels, its aliases included: split it", maxNodes, maxDepth)
		return &yaml.Node{}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return f.alias(n, depth)
	case yaml.MappingNode:
		return f.mapping(n, depth)
	case yaml.SequenceNode:
		out := f.shell(n)
		for _, c := range n.Content {
			out.Content = append(out.Content, f.node(c, depth+1))
		}
		return out
	}
	out := f.shell(n)
	if _, err := scalar(out); err != nil {
		f.fault(n, "%v", err)
	}
	return out
}

func (f *flattener) shell(n *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line + f.before, Column: n.Column}
}

func (f *flattener) alias(n *yaml.Node, depth int) *yaml.Node {
	if f.open[n.Alias] {
		f.fault(n, "the alias *%s stands inside its own anchor: write the value out", n.Value)
		return &yaml.Node{}
	}
	f.open[n.Alias] = true
	defer delete(f.open, n.Alias)
	return f.node(n.Alias, depth+1)
}

func (f *flattener) mapping(n *yaml.Node, depth int) *yaml.Node {
	out := f.shell(n)
	have := map[string]bool{}
	add := func(key, value *yaml.Node) {
		have[key.Value] = true
		out.Content = append(out.Content, key, value)
	}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		k := f.node(key, depth+1)
		switch {
		case k.Kind == 0:
		case k.Kind != yaml.ScalarNode || tagOf(k) == "!!null" || tagOf(k) == "!!bool": // kubectl makes "true" of the key y
			f.fault(key, "a key must be a string (write it in quotes); this is %s", kindOf(k))
		case have[k.Value]:
			f.fault(key, "the key %q stands twice in one mapping: remove one", k.Value)
		default:
			add(k, f.node(n.Content[i+1], depth+1))
		}
	}
	for _, m := range merges {
		f.merge(m, depth, have, add)
	}
	return out
}

// merge adds the keys of a "<<" value that are not there yet. Earlier mappings win (YAML's merge key type).
func (f *flattener) merge(n *yaml.Node, depth int, have map[string]bool, add func(key, value *yaml.Node)) {
	flat := f.node(n, depth+1)
	sources := []*yaml.Node{flat}
	if flat.Kind == yaml.SequenceNode {
		sources = flat.Content
	}
	for _, s := range sources {
		if s.Kind != yaml.MappingNode {
			f.fault(n, "<< takes a mapping or a list of mappings; this is %s", kindOf(s))
			return
		}
		for k, v := range pairs(s) {
			if !have[k.Value] {
				add(k, v)
			}
		}
	}
}

// pairs iterates over the keys and values of a mapping; anything else, nil too, has none.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// child gives the value of a key, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(n) {
		if k.Value == key {
			return v
		}
	}
	return nil
}

// place is where something stands in a file.
type place struct{ line, col int }

// place finds the deepest part of path that is written: keys as strings, list indices as ints.
func (d *document) place(path ...any) place {
	n, at := d.root, place{d.root.Line, d.root.Column}
	for _, step := range path {
		next := (*yaml.Node)(nil)
		switch s := step.(type) {
		case string:
			for k, v := range pairs(n) {
				if k.Value == s || s == "mirrorPercent" && k.Value == "mirror_percent" {
					next, at = v, place{k.Line, k.Column}
				}
			}
		case int:
			if n.Kind == yaml.SequenceNode && s < len(n.Content) {
				next = n.Content[s]
				at = place{next.Line, next.Column}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return at
}

// yaml11Bools are the plain words that Kubernetes' YAML reader takes for booleans, as YAML 1.1 had them.
var yaml11Bools = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

// tagOf gives the type that Kubernetes takes a scalar for.
func tagOf(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	if _, word := yaml11Bools[n.Value]; word && n.Style == 0 && (n.Tag == "" || n.Tag == "!!str") {
		return "!!bool"
	}
	return n.ShortTag()
}

func isNull(n *yaml.Node) bool { return tagOf(n) == "!!null" }

// scalar gives the value of a scalar as encoding/json knows it.
func scalar(n *yaml.Node) (any, error) {
	switch tag := tagOf(n); tag {
	case "!!str", "!!timestamp", "!!merge":
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		if b, word := yaml11Bools[n.Value]; word {
			return b, nil
		}
	case "!!int", "!!float":
	default:
		return nil, fmt.Errorf("the tag %s is not for manifests: write a plain value", tag)
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("%q is not a value: %s", n.Value, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, fmt.Errorf("%s is not a number that a manifest may have: give a finite one", n.Value)
	}
	return v, nil
}

// plain gives a flat tree as encoding/json knows it.
func plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for k, v := range pairs(n) {
			m[k.Value] = plain(v)
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, c := range n.Content {
			s[i] = plain(c)
		}
		return s
	}
	v, _ := scalar(n) // a flat tree's scalars have been read before
	return v
}

// kindOf names what a node is, for errors.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tagOf(n) {
	case "!!null":
		return "empty (null)"
	case "!!bool":
		return fmt.Sprintf("the boolean %s", n.Value)
	case "!!int", "!!float":
		return fmt.Sprintf("the number %s", n.Value)
	}
	return fmt.Sprintf("the string %q", n.Value)
}
