package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// Load reads a scenario file and the manifests that it names. The error is diag.Faults: everything that is wrong in
// all of these files, each fault at its place.
func Load(path string) (*Scenario, error) { return load(path, false) }

// LoadResolved reads the scenario of a run folder, as Resolved wrote it. Captures and CSV files need not exist any
// more: the scenario is good for judging the run, and its Mix makes no requests where it has CSV columns.
func LoadResolved(path string) (*Scenario, error) { return load(path, true) }

func load(path string, blind bool) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.Faults{{File: path, Msg: fmt.Sprintf("cannot be read: %v; give the path of a scenario file", reason(err))}}
	}
	return parse(path, data, filepath.Dir(path), blind)
}

// Parse is Load of data, which errors call name; the files that it names are relative to dir.
func Parse(name string, data []byte, dir string) (*Scenario, error) {
	return parse(name, data, dir, false)
}

// parse reads strictly, fills in the defaults and then holds the parts against each other and the manifests. Each
// step goes on with what the one before could read, so that all faults are told at once.
func parse(name string, data []byte, dir string, blind bool) (*Scenario, error) {
	r := &reader{file: name, lines: strings.Split(string(data), "\n")}
	root := r.document(data)
	if root == nil || !r.ours(root) {
		return nil, r.faults.Err()
	}
	raw, ok := scenarioShape().read(r, root, "")
	if !ok {
		return nil, r.faults.Err()
	}
	s := r.assemble(&raw, root, dir, blind)
	if err := r.faults.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// document parses the file's one YAML document; nil where it has none.
func (r *reader) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.faults.Addf(r.file, 1, 1, "the file is empty; a scenario begins with apiVersion: %s", apiVersion)
		return nil
	case err != nil:
		r.syntax(err, data)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		r.fault(&second, "a second YAML document begins here; a scenario file holds one: remove it")
	case !errors.Is(err, io.EOF):
		r.syntax(err, data)
	}
	return resolve(doc.Content[0])
}

// syntax tells of what is no YAML at all.
func (r *reader) syntax(err error, data []byte) {
	line, msg := diag.YAML(err, data)
	r.faults.Addf(r.file, line, 1, "%s", msg)
}

// ours tells where the file is something else altogether, as every further fault would then be noise.
func (r *reader) ours(root *yaml.Node) bool {
	before := len(r.faults)
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		switch n := resolve(root.Content[i+1]); root.Content[i].Value {
		case "apiVersion":
			oneOf(apiVersion).read(r, n, "apiVersion")
		case "kind":
			oneOf(kind).read(r, n, "kind")
		}
	}
	return len(r.faults) == before
}

// reason is err without the operation and the path, which the message around it names.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
