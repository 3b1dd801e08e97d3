package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/internal/traffic"
)

// flushEvery is how often finished receipts are written where they are to outlive the process. A kill loses those of
// less than 200 ms, the time of the writing included.
const flushEvery = 150 * time.Millisecond

// unready ends the name of a file that is about to replace another.
const unready = ".new"

// keptFile is the file of an earlier process.
type keptFile struct {
	path   string
	number int // of the process in its folder, from 1
	rows   int
	cut    bool // without an end, as its process was killed
}

func keptName(number int) string { return fmt.Sprintf("receipts-%d.arrows", number) }

// keptNumber is the inverse of keptName; false for other names.
func keptNumber(name string) (int, bool) {
	text, prefixed := strings.CutPrefix(name, "receipts-")
	text, suffixed := strings.CutSuffix(text, ".arrows")
	n, err := strconv.Atoi(text)
	return n, prefixed && suffixed && err == nil && n > 0 && keptName(n) == name
}

// newKeptLedger is a ledger whose file outlives the process, in a folder in which earlier processes may have left theirs.
func newKeptLedger(dir string, memory int) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("no place for receipts: %w", err)
	}
	earlier, err := findKept(dir)
	if err != nil {
		return nil, err
	}
	l := &ledger{earlier: earlier, number: 1, stop: make(chan struct{})}
	if n := len(earlier); n > 0 {
		l.number = earlier[n-1].number + 1
	}
	l.kept = filepath.Join(dir, keptName(l.number))
	if err := l.init(memory); err != nil {
		return nil, err
	}
	l.flushing.Go(l.keepFlushing)
	return l, nil
}

// findKept reads what earlier processes left, the oldest first.
func findKept(dir string) ([]keptFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("no place for receipts: %w", err)
	}
	var files []keptFile
	for _, e := range entries {
		number, ours := keptNumber(e.Name())
		if !ours {
			continue
		}
		f := keptFile{path: filepath.Join(dir, e.Name()), number: number}
		if f.rows, f.cut, err = countKept(f.path); err != nil {
			return nil, fmt.Errorf("receipts of an earlier process: %s: %w; remove the file where nobody needs it", f.path, err)
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b keptFile) int { return a.number - b.number })
	return files, nil
}

func countKept(path string) (rows int, cut bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer file.Close()
	return eachKept(file, func(*traffic.Receipt) error { return nil })
}

// eachKept reads the receipts of a file as far as it was written, and tells whether it was cut.
func eachKept(r io.Reader, do func(*traffic.Receipt) error) (rows int, cut bool, err error) {
	for receipt, err := range traffic.ReadReceipts(bufio.NewReader(r)) {
		if errors.Is(err, traffic.ErrTruncated) {
			return rows, true, nil
		}
		if err == nil {
			err = do(&receipt)
		}
		if err != nil {
			return rows, false, err
		}
		rows++
	}
	return rows, false, nil
}

// copyTo gives the file's receipts to out.
func (f *keptFile) copyTo(out *traffic.ReceiptWriter) error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("receipts of an earlier process: %w", err)
	}
	defer file.Close()
	n, _, err := eachKept(file, out.Write)
	if err != nil {
		return fmt.Errorf("receipts of an earlier process: %s: %w", f.path, err)
	}
	if n != f.rows {
		return fmt.Errorf("receipts of an earlier process: %s: %d of %d can be read", f.path, n, f.rows)
	}
	return nil
}

// keepFlushing writes finished receipts until the ledger is closed.
func (l *ledger) keepFlushing() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.flush()
		case <-l.stop:
			return
		}
	}
}

// flush spills what is finished.
func (l *ledger) flush() {
	l.mu.Lock()
	if len(l.rows) == 0 || l.closed {
		l.mu.Unlock()
		return
	}
	batch := l.rows
	l.rows = <-l.spare
	l.mu.Unlock()
	l.spare <- l.spill(batch)
}

// replaceKept makes the ledger's own file anew and empty; what it held is gone in the same instant.
func replaceKept(path string) (*os.File, error) {
	file, err := os.OpenFile(path+unready, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return file, nil
}
