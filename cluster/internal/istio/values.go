package istio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"umbra/internal/diag"
)

const controlChart = "istio-control/istio-discovery"

// Values reads a Helm values file for istiod's chart. The error is diag.Faults: what is no YAML, and each key at the
// top that the chart does not know, at its place. An empty file has no values.
func Values(file string, data []byte) (map[string]any, error) {
	r := valuesReader{file: file, data: data}
	root := r.root()
	if root == nil {
		return nil, r.faults.Err()
	}
	if err := r.checkKeys(root); err != nil {
		return nil, err
	}
	var whole any
	r.yaml(root.Decode(&whole)) // a key that stands twice, anywhere
	if err := r.faults.Err(); err != nil {
		return nil, err
	}
	values, err := loader.LoadValues(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return values, nil
}

type valuesReader struct {
	file   string
	data   []byte
	faults diag.Faults
}

// root gives the mapping that the file holds, nil where it holds nothing or something else, which is a fault.
func (r *valuesReader) root() *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(r.data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		r.yaml(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		r.faults.Addf(r.file, more.Line, 0, "a second YAML document: a values file has one")
		return nil
	case !errors.Is(err, io.EOF):
		r.yaml(err)
		return nil
	}
	root := doc.Content[0]
	switch {
	case root.ShortTag() == "!!null":
		return nil
	case root.Kind != yaml.MappingNode:
		r.faults.Addf(r.file, root.Line, root.Column, "Helm values are a mapping: write keys of istiod's chart, such as meshConfig")
		return nil
	}
	return root
}

// typeError is how yaml.v3 tells the line of what is YAML but cannot be decoded.
var typeError = regexp.MustCompile(`^line ([0-9]+): (.*)$`)

// yaml notes an error of package yaml; the end of the file is none.
func (r *valuesReader) yaml(err error) {
	var decoding *yaml.TypeError
	switch {
	case err == nil, errors.Is(err, io.EOF):
	case errors.As(err, &decoding):
		for _, msg := range decoding.Errors {
			line := 0
			if m := typeError.FindStringSubmatch(msg); m != nil {
				line, _ = strconv.Atoi(m[1])
				msg = m[2]
			}
			r.faults.Addf(r.file, line, 0, "%s: write it once, as the chart has it", msg)
		}
	default:
		line, msg := diag.YAML(err, r.data)
		r.faults.Addf(r.file, line, 0, "%s", msg)
	}
}

// checkKeys finds the keys at the top that the chart does not know: Helm would pass over them without a word.
func (r *valuesReader) checkKeys(root *yaml.Node) error {
	known, err := knownValues()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if slices.Contains(known, key.Value) || key.ShortTag() == "!!merge" {
			continue
		}
		hint := "; see helm show values istiod for those that it has"
		if near := diag.Nearest(key.Value, known); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		r.faults.Addf(r.file, key.Line, key.Column, "istiod's chart has no value %q%s", key.Value, hint)
	}
	return r.faults.Err()
}

// readValue is how a template reads a value of the top.
var readValue = regexp.MustCompile(`\.Values\)?\.([a-z][a-zA-Z]*)`)

// knownValues gives the keys at the top of istiod's values: those with a default, and those that a template reads.
// The chart copies what is under "pilot" to the top itself.
func knownValues() ([]string, error) {
	c, err := load(controlChart)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	defaults, _ := c.Values["_internal_defaults_do_not_set"].(map[string]any)
	for key := range defaults {
		known[key] = true
	}
	for _, f := range slices.Concat(c.Templates, c.Files) {
		for _, m := range readValue.FindAllSubmatch(f.Data, -1) {
			known[string(m[1])] = true
		}
	}
	delete(known, "defaults") // the chart fails where it is set
	return slices.Sorted(maps.Keys(known)), nil
}

// fixed are values that umbra itself stands on. Others would make an installation that umbra does not find again.
var fixed = []struct {
	path []string
	want func(*Settings) string
	why  string
}{
	{[]string{"global", "hub"}, hub, "the hub is a setting of its own"},
	{[]string{"hub"}, hub, "the hub is a setting of its own"},
	{[]string{"pilot", "hub"}, hub, "the hub is a setting of its own"},
	{[]string{"global", "tag"}, tag, "the tag is a setting of its own"},
	{[]string{"tag"}, tag, "the tag is a setting of its own"},
	{[]string{"pilot", "tag"}, tag, "the tag is a setting of its own"},
	{[]string{"revision"}, none, "namespaces are labelled istio-injection: enabled, which the default revision alone obeys"},
	{[]string{"global", "revision"}, none, "namespaces are labelled istio-injection: enabled, which the default revision alone obeys"},
	{[]string{"global", "istioNamespace"}, namespace, "umbra looks for Istio there"},
}

func hub(s *Settings) string     { return s.Hub }
func tag(s *Settings) string     { return s.Tag }
func none(*Settings) string      { return "" }
func namespace(*Settings) string { return Namespace }

func (s *Settings) checkValues() error {
	var faults diag.Faults
	for _, f := range fixed {
		if got, want := text(s.Values, f.path...), f.want(s); got != "" && got != want {
			faults.Addf("", 0, 0, "Istio's values say %s: %s, where umbra has %q (%s): remove it from the values", strings.Join(f.path, "."), got, want, f.why)
		}
	}
	return faults.Err()
}

// merge gives base with over on top: mappings are merged, all else is replaced. Neither is changed.
func merge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range over {
		below, both := out[k].(map[string]any)
		if above, ok := v.(map[string]any); ok && both {
			v = merge(below, above)
		}
		out[k] = v
	}
	return out
}
