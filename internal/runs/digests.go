package runs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"umbra/internal/evidence"
)

// Digests are those of what a run was of: SHA-256, in hexadecimal digits, of the parts of its resolved scenario, the order of keys and
// the writing of scalars left aside. The seed is no part of them, so that runs that differ in it alone are repetitions; nor is the name of a
// capture's file, which says nothing of what is in it.
type Digests struct {
	Mesh      string `json:"mesh"`
	Traffic   string `json:"traffic"`
	Load      string `json:"load"`
	Checks    string `json:"checks"`
	Manifests string `json:"manifests"` // of the file of what was applied
}

// DigestFolder takes those of a run folder. They are nil without an error where it has no scenario, as that of a run without a mesh.
func DigestFolder(dir string) (*Digests, error) {
	text, err := os.ReadFile(filepath.Join(dir, evidence.Scenario))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	manifests, err := os.ReadFile(filepath.Join(dir, evidence.Manifests))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	d, err := digestsOf(text, manifests)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", evidence.Scenario, err)
	}
	return d, nil
}

func digestsOf(scenario, manifests []byte) (*Digests, error) {
	var parts struct {
		Mesh    any            `yaml:"mesh"`
		Traffic map[string]any `yaml:"traffic"`
		Load    map[string]any `yaml:"load"`
		Checks  any            `yaml:"checks"`
	}
	if err := yaml.Unmarshal(scenario, &parts); err != nil {
		return nil, err
	}
	delete(parts.Load, "seed")
	if capture, ok := parts.Traffic["capture"].(map[string]any); ok {
		delete(capture, "file")
	}
	d := &Digests{}
	for _, p := range []struct {
		into *string
		of   any
	}{{&d.Mesh, parts.Mesh}, {&d.Traffic, parts.Traffic}, {&d.Load, parts.Load}, {&d.Checks, parts.Checks}} {
		canonical, err := json.Marshal(p.of) // whose maps are sorted
		if err != nil {
			return nil, err
		}
		*p.into = digest(canonical)
	}
	d.Manifests = digest(bytes.TrimSpace(manifests))
	return d, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
