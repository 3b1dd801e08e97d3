package kube

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Decode reads YAML documents, in their order. Lists are expanded, empty documents are skipped. An error names the line.
func Decode(text []byte) ([]*Object, error) {
	var objects []*Object
	for _, d := range documents(text) {
		found, err := d.decode()
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// document is a part of a YAML stream and the line that it begins at, from 1.
type document struct {
	text []byte
	line int
}

// documents splits at the markers of YAML 1.2, section 9.1.2: "---" or "..." at the start of a line.
func documents(text []byte) []document {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var all []document
	current := document{line: 1}
	line := 0
	for l := range bytes.Lines(text) {
		line++
		rest, marker := afterMarker(l)
		if !marker {
			current.text = append(current.text, l...)
			continue
		}
		all = append(all, current)
		current = document{text: bytes.Clone(rest), line: line}
	}
	return append(all, current)
}

// afterMarker gives what follows a document's marker on its line: "--- # from x" or "--- {a: 1}".
func afterMarker(line []byte) ([]byte, bool) {
	for _, m := range []string{"---", "..."} {
		rest, ok := bytes.CutPrefix(line, []byte(m))
		if ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0]))) {
			return rest, true
		}
	}
	return nil, false
}

func (d document) decode() ([]*Object, error) {
	json, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, d.syntaxError(err)
	}
	if string(json) == "null" {
		return nil, nil
	}
	first := d.line + blankLines(d.text)
	if json[0] != '{' {
		return nil, fmt.Errorf("line %d: not an object with apiVersion, kind and metadata", first)
	}
	o := &Object{}
	if err := o.UnmarshalJSON(json); err != nil {
		return nil, fmt.Errorf("line %d: %w", first, plain(err))
	}
	objects, err := expand(o)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", first, err)
	}
	return objects, nil
}

// syntaxError says the parser's error with lines of the whole text: the document is parsed again behind as many empty
// lines as it has lines before it.
func (d document) syntaxError(err error) error {
	if _, again := yaml.YAMLToJSONStrict(append(bytes.Repeat([]byte("\n"), d.line-1), d.text...)); again != nil {
		err = again
	}
	message := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	return errors.New(strings.TrimPrefix(message, "yaml: "))
}

// plain drops the object's whole text, which the decoder of unstructured objects appends to its message.
func plain(err error) error {
	message, _, _ := strings.Cut(err.Error(), " in '")
	return errors.New(message)
}

func blankLines(text []byte) int {
	n := 0
	for l := range bytes.Lines(text) {
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' {
			break
		}
		n++
	}
	return n
}

// expand gives the items of a list, and those of lists in it.
func expand(o *Object) ([]*Object, error) {
	if !o.IsList() || !strings.HasSuffix(o.GetKind(), "List") {
		return []*Object{o}, check(o)
	}
	json, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	list := &unstructured.UnstructuredList{} // gives the items of a typed list, as ConfigMapList, their kind
	if err := list.UnmarshalJSON(json); err != nil {
		return nil, plain(err)
	}
	var all []*Object
	for i := range list.Items {
		items, err := expand(&list.Items[i])
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		all = append(all, items...)
	}
	return all, nil
}

func check(o *Object) error {
	if o.GetKind() == "" {
		return errors.New("an object without kind")
	}
	if o.GetAPIVersion() == "" {
		return fmt.Errorf("a %s without apiVersion", o.GetKind())
	}
	metadata, _, _ := unstructured.NestedMap(o.Object, "metadata")
	if metadata["name"] == nil || metadata["name"] == "" {
		return fmt.Errorf("a %s without metadata.name: give it one", o.GetKind())
	}
	for _, field := range []string{"name", "namespace"} { // YAML 1.1 reads n as false, 12 as a number
		if value := metadata[field]; value != nil && !isText(value) {
			return fmt.Errorf("%s: metadata.%s is %v, not a text: quote it", o.GetKind(), field, value)
		}
	}
	return nil
}

func isText(value any) bool { _, ok := value.(string); return ok }
