package route

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"
)

// Edited gives the manifests with some objects changed. edit is called with each object and a copy of its tree, flat
// (without aliases, merge keys and comments) and with the file's line numbers; it says whether it changed the tree.
// Objects that did change are decoded anew, as strictly as Load does it, and get a Raw of their own; File, Line and the
// lines of what edit left alone stay, so that routes keep their names and places. The other objects stay as they are,
// byte by byte. The error is edit's, or diag.Faults.
func (m *Manifests) Edited(edit func(o *Object, root *yaml.Node) (changed bool, err error)) (*Manifests, error) {
	l := &loader{seen: map[string]*document{}}
	for _, d := range m.documents {
		object, root := d.Object, copied(d.root)
		changed, err := edit(&object, root)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", d.ID(), err)
		case !changed:
			l.object(d.File, d.root, d.Raw)
		default:
			l.edited(d, root)
		}
	}
	if err := l.faults.Err(); err != nil {
		return nil, err
	}
	return &l.m, nil
}

// edited decodes a tree in the place of an object's own.
func (l *loader) edited(d *document, root *yaml.Node) {
	raw, err := yaml.Marshal(root)
	if err == nil {
		err = l.sameValue(d.File, root, raw)
	}
	if err != nil {
		l.faults.Addf(d.File, d.Line, 0, "%s cannot be written anew: %v", d.ID(), err)
		return
	}
	l.object(d.File, root, bytes.TrimSpace(raw))
}

// sameValue reads what was written: the API server is given the text, the table is made from the tree.
func (l *loader) sameValue(file string, root *yaml.Node, raw []byte) error {
	read, ok := l.parse(file, chunk{text: raw})
	if !ok || !reflect.DeepEqual(plain(read), plain(root)) {
		return errors.New("the text would say something else")
	}
	return nil
}

// copied is a copy of a flat tree.
func copied(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	for _, c := range n.Content {
		out.Content = append(out.Content, copied(c))
	}
	return &out
}

// Unmirrored gives the same manifests with every mirror of every VirtualService at 0 percent, for which Istio programs
// no policy; the mirrors' clusters stay referenced.
func (m *Manifests) Unmirrored() (*Manifests, error) {
	return m.routes(func(r *yaml.Node) []*yaml.Node {
		if !unmirror(r) {
			return nil
		}
		return []*yaml.Node{r}
	})
}

// unmirror sets the percentages of an HTTPRoute's mirrors to 0. It tells whether one was not 0.
func unmirror(r *yaml.Node) (changed bool) {
	if mirror := child(r, "mirror"); mirror != nil && !isZero(child(r, "mirrorPercentage")) {
		remove(r, "mirrorPercent", "mirror_percent", "mirrorPercentage")
		setZero(r, "mirrorPercentage", mirror)
		changed = true
	}
	if mirrors := child(r, "mirrors"); mirrors != nil {
		for _, policy := range mirrors.Content {
			if !isZero(child(policy, "percentage")) {
				remove(policy, "percentage")
				setZero(policy, "percentage", policy)
				changed = true
			}
		}
	}
	return changed
}

// isZero tells whether a percentage is written as 0.
func isZero(percentage *yaml.Node) bool {
	value := child(percentage, "value")
	if value == nil {
		return false
	}
	switch n := plain(value).(type) {
	case int:
		return n == 0
	case float64:
		return n == 0
	}
	return false
}

// remove takes keys out of a mapping.
func remove(n *yaml.Node, keys ...string) {
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if slices.Contains(keys, n.Content[i].Value) {
			n.Content = slices.Delete(n.Content, i, i+2)
		}
	}
}

// setZero adds a percentage of 0 to a mapping. What is told of it is told at the line of another node.
func setZero(n *yaml.Node, key string, at *yaml.Node) {
	scalar := func(tag, value string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Line: at.Line, Column: at.Column}
	}
	percentage := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column,
		Content: []*yaml.Node{scalar("!!str", "value"), scalar("!!int", "0")}}
	n.Content = append(n.Content, scalar("!!str", key), percentage)
}

// Changed gives the objects of other whose text is not m's, or that m lacks.
func (m *Manifests) Changed(other *Manifests) []Object {
	have := map[string][]byte{}
	for i := range m.Objects {
		have[m.Objects[i].Key()] = m.Objects[i].Raw
	}
	var out []Object
	for i := range other.Objects {
		o := &other.Objects[i]
		if raw, ok := have[o.Key()]; !ok || !bytes.Equal(raw, o.Raw) {
			out = append(out, *o)
		}
	}
	return out
}
