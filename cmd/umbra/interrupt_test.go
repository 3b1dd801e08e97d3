package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cancelAt ends a context when the text has been written to it.
type cancelAt struct {
	text   string
	cancel context.CancelFunc
}

func (c cancelAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.text) {
		c.cancel()
	}
	return len(p), nil
}

// What main makes of the first Ctrl-C, in process: the exit status is 130, and the report is there.
func TestInterruptedRunEndsWith130(t *testing.T) {
	dir := t.TempDir()
	scenario := filepath.Join(dir, "long.yaml")
	for path, data := range map[string][]byte{filepath.Join(dir, "istio.yaml"): manifests, scenario: []byte(`apiVersion: umbra/v1
kind: Scenario
name: long
mesh: {manifests: [istio.yaml], host: shop.example.com, versions: {primary: v1, shadow: v2}}
traffic: {mix: [{name: get, path: /a}]}
load: {stages: [{rate: 100, for: 10m}]}
`)} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range map[string][]string{
		"run":    {"run", scenario, "--out", filepath.Join(dir, "run")},
		"replay": {"replay", "http://127.0.0.1:1", "--rate", "10", "--for", "10m", "--out", filepath.Join(dir, "replay")},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			status := run(ctx, args, &out, cancelAt{"replaying", cancel})
			if status != exitInterrupted || !strings.Contains(out.String(), "PARTIAL: the run was interrupted") {
				t.Errorf("exit status %d, want 130:\n%.600s", status, out.String())
			}
			if status := run(t.Context(), []string{"verify", filepath.Join(dir, name)}, io.Discard, io.Discard); status != exitInconclusive {
				t.Errorf("verify ends with %d, want 4", status)
			}
		})
	}
}
