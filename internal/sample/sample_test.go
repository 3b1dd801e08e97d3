package sample

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMake checks that both files are there, and the same each time.
func TestMake(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := Make(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{PCAP, HAR} {
		first, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(b, name))
		if err != nil || !bytes.Equal(first, second) || len(first) < 10_000 {
			t.Errorf("%s: %d and %d bytes, %v", name, len(first), len(second), err)
		}
	}
}
