package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// maxRules bounds a rules file in bytes.
const maxRules = 1 << 20

// ReadRules reads rules strictly; file is what errors call r. The error is diag.Faults: everything that is wrong, each at its place.
func ReadRules(file string, r io.Reader) (Rules, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRules+1))
	switch {
	case err != nil:
		return Rules{}, diag.Faults{{File: file, Msg: fmt.Sprintf("cannot be read: %v; give a file of redaction rules", err)}}
	case len(data) > maxRules:
		return Rules{}, diag.Faults{{File: file, Msg: fmt.Sprintf("is larger than %d MiB; give a file of redaction rules", maxRules>>20)}}
	}
	d := decoder{file: file}
	if root := d.document(data); root != nil {
		d.root(root)
	}
	if err := d.faults.Err(); err != nil {
		return Rules{}, err
	}
	return d.rules, nil
}

type decoder struct {
	file   string
	faults diag.Faults
	rules  Rules
	kept   []*yaml.Node // of Rules.Keep
}

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	d.faults.Addf(d.file, n.Line, n.Column, format, args...)
}

// document parses the file's one YAML document; nil where it has none.
func (d *decoder) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.faults.Addf(d.file, 1, 1, "the file is empty; give rules, or leave the file out for the default ones")
		return nil
	case err != nil:
		line, msg := diag.YAML(err, data)
		d.faults.Addf(d.file, line, 1, "%s", msg)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.fault(&second, "a second YAML document begins here; a file of rules holds one: remove it")
	case !errors.Is(err, io.EOF):
		line, msg := diag.YAML(err, data)
		d.faults.Addf(d.file, line, 1, "%s", msg)
	}
	return resolve(doc.Content[0])
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// key is what a mapping may hold under a name.
type key struct {
	name string
	read func(n *yaml.Node)
}

// mapping reads a mapping of the given keys.
func (d *decoder) mapping(n *yaml.Node, what string, keys ...key) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "want %s, a mapping, got %s", what, kindOfNode(n))
		return
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		at := slices.Index(names, name)
		switch {
		case at < 0:
			d.fault(n.Content[i], "unknown key %q in %s%s", name, what, advice(name, names))
		case seen[name]:
			d.fault(n.Content[i], "%s is given twice; remove one of them", name)
		default:
			keys[at].read(resolve(n.Content[i+1]))
		}
		seen[name] = true
	}
}

func advice(name string, names []string) string {
	if near := diag.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; the keys are " + strings.Join(names, ", ")
}

// list reads a list.
func (d *decoder) list(n *yaml.Node, path string, read func(n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s: want a list like [a, b], got %s", path, kindOfNode(n))
		return
	}
	for _, item := range n.Content {
		read(resolve(item))
	}
}

func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.fault(n, "%s: want text, got %s; if that is the text, put it in quotes", path, kindOfNode(n))
		return "", false
	}
	if strings.TrimSpace(n.Value) == "" {
		d.fault(n, "%s: want text, got none", path)
		return "", false
	}
	return n.Value, true
}

func kindOfNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func (d *decoder) root(n *yaml.Node) {
	r := &d.rules
	d.mapping(n, "the rules",
		key{"defaults", func(n *yaml.Node) { r.NoDefaults = d.choice(n, "defaults", "on", "off") == "off" }},
		key{"headers", func(n *yaml.Node) { r.Headers = d.names(n, "headers") }},
		key{"query", func(n *yaml.Node) { r.Query = d.names(n, "query") }},
		key{"form", func(n *yaml.Node) { r.Form = d.names(n, "form") }},
		key{"json", func(n *yaml.Node) { r.JSON = d.paths(n) }},
		key{"patterns", func(n *yaml.Node) { r.Patterns = d.patterns(n) }},
		key{"keep", func(n *yaml.Node) { r.Keep = d.keptHeaders(n) }},
		key{"digests", func(n *yaml.Node) { r.KeyedDigests = d.choice(n, "digests", "plain", "keyed") == "keyed" }},
	)
	for _, n := range d.kept { // headers may stand behind keep
		if err := checkKept(Rules{Headers: r.Headers, Keep: []string{n.Value}}); err != nil {
			d.fault(n, "%v", err)
		}
	}
}

// choice reads one of words; "" where it is none.
func (d *decoder) choice(n *yaml.Node, path string, words ...string) string {
	if n.Kind == yaml.ScalarNode && slices.Contains(words, n.Value) {
		return n.Value
	}
	d.fault(n, "%s: want one of %s, got %s", path, strings.Join(words, ", "), kindOfNode(n))
	return ""
}

func (d *decoder) keep(n *yaml.Node) Keep {
	return Keep(d.choice(n, "keep", string(KeepLength), string(KeepClass)))
}

func (d *decoder) bool(n *yaml.Node, path string) bool {
	return d.choice(n, path, "true", "false") == "true"
}

// names reads names, each alone or with its options.
func (d *decoder) names(n *yaml.Node, path string) (names []Name) {
	d.list(n, path, func(n *yaml.Node) {
		var name Name
		if !d.entry(n, path, "name", &name.Name,
			key{"keep", func(n *yaml.Node) { name.Keep = d.keep(n) }},
			key{"drop", func(n *yaml.Node) { name.Drop = d.bool(n, "drop") }}) {
			return
		}
		if err := checkName(path, name); err != nil {
			d.fault(n, "%v", err)
			return
		}
		names = append(names, name)
	})
	return names
}

// entry reads an entry of a list: its main key's text alone, or a mapping of that and of more. It is false where it is neither.
func (d *decoder) entry(n *yaml.Node, list, main string, text *string, more ...key) (ok bool) {
	if n.Kind != yaml.MappingNode {
		*text, ok = d.text(n, list)
		return ok
	}
	d.mapping(n, "an entry of "+list, append([]key{{main, func(n *yaml.Node) { *text, _ = d.text(n, main) }}}, more...)...)
	return true
}

func (d *decoder) paths(n *yaml.Node) (paths []Path) {
	d.list(n, "json", func(n *yaml.Node) {
		var path Path
		if !d.entry(n, "json", "path", &path.Path, key{"keep", func(n *yaml.Node) { path.Keep = d.keep(n) }}) {
			return
		}
		if _, err := parsePath(path.Path); err != nil {
			d.fault(n, "%v", err)
			return
		}
		paths = append(paths, path)
	})
	return paths
}

func (d *decoder) patterns(n *yaml.Node) (patterns []Pattern) {
	d.list(n, "patterns", func(n *yaml.Node) {
		var p Pattern
		before := len(d.faults)
		d.mapping(n, "an entry of patterns",
			key{"match", func(n *yaml.Node) { p.Match, _ = d.text(n, "match") }},
			key{"in", func(n *yaml.Node) { p.In = d.parts(n) }},
			key{"group", func(n *yaml.Node) { p.Group = d.group(n) }},
			key{"keep", func(n *yaml.Node) { p.Keep = d.keep(n) }},
		)
		if len(d.faults) > before {
			return
		}
		if _, err := checkPattern(p); err != nil {
			d.fault(n, "patterns: %v", err)
			return
		}
		patterns = append(patterns, p)
	})
	return patterns
}

func (d *decoder) parts(n *yaml.Node) (parts []Part) {
	d.list(n, "in", func(n *yaml.Node) {
		parts = append(parts, Part(d.choice(n, "in", string(InPath), string(InQuery), string(InHeaders), string(InBody))))
	})
	return parts
}

func (d *decoder) group(n *yaml.Node) int {
	group, err := strconv.ParseUint(n.Value, 10, 16)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fault(n, "group: want the number of a group, 0 for the whole match, got %s", kindOfNode(n))
	}
	return int(group)
}

func (d *decoder) keptHeaders(n *yaml.Node) (kept []string) {
	d.list(n, "keep", func(n *yaml.Node) {
		name, ok := d.text(n, "keep")
		if !ok {
			return
		}
		kept = append(kept, name)
		d.kept = append(d.kept, n)
	})
	return kept
}
