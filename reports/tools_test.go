//go:build e2e

package reports

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"umbra/internal/evidence"
	"umbra/internal/outside"
)

// What carries Maven Surefire's schema, and its SHA-256.
const (
	surefire       = "org.apache.maven.surefire:surefire:3.2.5:zip:source-release"
	surefireSum    = "412969da9b0c6808ec391ece3f86a3103ad83bc9c57f5608803d8436276796eb"
	surefireSchema = "/xsd/surefire-test-report.xsd"
)

// every report that there is to hold against a tool: of each ending, and with each hostile string.
func every() map[string]*Report {
	all := samples()
	for name, s := range hostile {
		all["hostile, "+name] = spoiled(s)
	}
	all["empty"] = &Report{Name: "replay"}
	all["empty"].Close()
	return all
}

// The JUnit reports are valid by Surefire's published schema, which refuses others.
func TestE2EJUnitIsValid(t *testing.T) {
	xmllint := outside.Program(t, "xmllint", "libxml2-utils")
	schema := unzipped(t, outside.Artifact(t, surefire, surefireSum), surefireSchema)
	dir := t.TempDir()
	valid := func(data []byte) (string, error) {
		path := filepath.Join(dir, evidence.JUnit)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), xmllint, "--noout", "--schema", schema, path).CombinedOutput()
		return string(out), err
	}
	for name, r := range every() {
		var b bytes.Buffer
		if err := r.JUnit(&b); err != nil {
			t.Fatal(err)
		}
		if out, err := valid(b.Bytes()); err != nil {
			t.Errorf("%s: %v\n%.2000s", name, err, out)
		}
	}
	for _, wrong := range []string{`<testsuite name="a"/>`, `<testsuite name="a" tests="1" errors="0" skipped="0" failures="0"><testcase name="b" time="fast"/></testsuite>`} {
		if out, err := valid([]byte(wrong)); err == nil {
			t.Errorf("%s is valid: %s", wrong, out)
		}
	}
}

// unzipped takes the file whose path ends with suffix out of an archive.
func unzipped(t *testing.T, archive, suffix string) string {
	t.Helper()
	z, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, suffix) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), filepath.Base(suffix))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatalf("%s has no %s", archive, suffix)
	return ""
}

// Prometheus' own check takes the metrics, and finds nothing to say of their names; it refuses others.
func TestE2EPromtoolTakesTheMetrics(t *testing.T) {
	promtool := outside.Program(t, "promtool", "prometheus")
	check := func(data []byte) (string, error) {
		c := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		c.Stdin = bytes.NewReader(data)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for name, r := range every() {
		var b bytes.Buffer
		if err := r.Prometheus(&b); err != nil {
			t.Fatal(err)
		}
		if out, err := check(b.Bytes()); err != nil || out != "" {
			t.Errorf("%s: %v\n%.2000s", name, err, out)
		}
	}
	for _, wrong := range []string{"a b c\n", "# TYPE a counter\na 1\n", "# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n"} {
		if out, err := check([]byte(wrong)); err == nil {
			t.Errorf("%q is taken: %s", wrong, out)
		}
	}
}
