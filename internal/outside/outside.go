// Package outside brings to tests what they are held against and what Go does not bring: programs, and artifacts of Maven Central.
// Where one cannot be had the test is skipped, and says why; in CI, which installs them, it fails.
package outside

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program finds a program on the PATH. from is the Debian package that has it.
func Program(t testing.TB, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "%v; Debian has it in %s", err, from)
	}
	return path
}

// Artifact fetches an artifact by its coordinates, group:artifact:version[:type[:classifier]], from where Maven is set up to fetch from,
// and gives its path in the test's own folder. It fails where the artifact's SHA-256 is not sum, in hexadecimal.
func Artifact(t testing.TB, coordinates, sum string) string {
	t.Helper()
	mvn, dir := Program(t, "mvn", "maven"), t.TempDir()
	c := exec.CommandContext(t.Context(), mvn, "--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
		"-Dartifact="+coordinates, "-DoutputDirectory="+dir)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		missing(t, "%s cannot be fetched: %v\n%s", coordinates, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s is %v, %v", coordinates, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		t.Fatalf("%s has the SHA-256 %x, want %s", coordinates, got, sum)
	}
	return found[0]
}

// Run runs a program and gives what it printed. It fails where the program did.
func Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
