package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"umbra/internal/evidence"
)

// newFolder makes the run folder: the given one, which must be new or empty so that no evidence is lost, or a new one
// under runs/.
func newFolder(given, name string) (string, error) {
	if given != "" {
		return given, emptyFolder(given)
	}
	base := filepath.Join("runs", name+"-"+time.Now().UTC().Format("20060102T150405Z"))
	if err := os.MkdirAll("runs", 0o755); err != nil {
		return "", broken(err)
	}
	for dir, n := base, 2; ; dir, n = fmt.Sprintf("%s-%d", base, n), n+1 {
		err := os.Mkdir(dir, 0o755)
		if !errors.Is(err, fs.ErrExist) {
			return dir, broken(err)
		}
	}
}

func emptyFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("--out %s: this is a file; give a folder that is new or empty", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return broken(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return broken(err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("--out %s: the folder is not empty; give a new one, or remove what is in it", dir)
	}
	return nil
}

// openLog makes the folder's umbra.log.
func openLog(dir string) (*os.File, error) {
	f, err := os.Create(filepath.Join(dir, evidence.Log))
	return f, broken(err)
}
