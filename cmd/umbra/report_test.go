package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"umbra/internal/evidence"
)

// A run without rows keeps its figures and its histograms, and can be judged again; its histograms are left as they are.
func TestReplayWithoutRows(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	dir := t.TempDir()
	var out strings.Builder
	if status := run(t.Context(), []string{"replay", server.URL, "--rate", "100", "--for", "500ms", "--connections", "2", "--results", "none", "--out", dir}, &out, io.Discard); status == exitUsage || status == exitMesh {
		t.Fatalf("exit status %d:\n%s", status, out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, evidence.Results)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", evidence.Results, err)
	}
	log := filepath.Join(dir, evidence.HDR, "response.hlog")
	before, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(before), "Tag=stage,") {
		t.Fatalf("%v:\n%s", err, before)
	}
	for _, verb := range []string{"verify", "report"} {
		var again strings.Builder
		if run(t.Context(), []string{verb, dir}, &again, io.Discard); !strings.Contains(again.String(), "50 planned = 50 ok") || strings.Contains(again.String(), "PARTIAL") {
			t.Errorf("%s:\n%s", verb, again.String())
		}
	}
	if after, err := os.ReadFile(log); err != nil || string(after) != string(before) {
		t.Errorf("the log changed, %v:\n%s", err, after)
	}
}

// The report of a run with rows writes its histograms anew.
func TestReportWritesHistograms(t *testing.T) {
	dir := madeFolder(t, 1000, 0, -1)
	run(t.Context(), []string{"verify", dir}, io.Discard, io.Discard)
	if _, err := os.Stat(filepath.Join(dir, evidence.HDR)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("verify wrote: %v", err)
	}
	if status := run(t.Context(), []string{"report", dir}, io.Discard, io.Discard); status != exitPassed {
		t.Errorf("exit status %d", status)
	}
	if data, err := os.ReadFile(filepath.Join(dir, evidence.HDR, "response.hgrm")); err != nil || !strings.Contains(string(data), "Total count    =         1000") {
		t.Errorf("%v:\n%s", err, data)
	}
}

// A scenario's run that says that it kept no rows reconciles nothing, whatever its figures say.
func TestNoRowsNeverPass(t *testing.T) {
	got := spoiled(t, func(dir string) error {
		return errors.Join(rewrite(dir, func(r *evidence.Record) { r.Results = evidence.NoRows }),
			evidence.WriteJSON(dir, evidence.Figures, map[string]int{"planned": 1000, "ok": 1000}))
	})
	if !strings.Contains(got, "results.arrows was not kept") {
		t.Error(got)
	}
}
