package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"umbra/internal/traffic"
)

// ledger keeps a receipt of every request. Unfinished ones are in memory; finished ones gather there until there are
// half, and then go to a file as a batch of an Arrow stream, in a goroutine of their own while the other half fills.
// Where the file is slower than the requests, they wait for it: memory is bounded, and nothing is lost.
type ledger struct {
	name string // of the file, where it could not be removed yet; close does
	half int

	mu     sync.Mutex
	open   map[*entry]struct{}
	rows   []traffic.Receipt // finished, and not yet given to a spill
	closed bool

	// spare holds the other half while no spill runs. Who has taken it owns the fields below.
	spare   chan []traffic.Receipt
	file    *os.File
	out     *bufio.Writer
	stream  *traffic.ReceiptWriter
	spilled int
	err     error // of the first spill that failed; rows are lost from then on
}

// entry is a request that is not finished.
type entry struct {
	receipt traffic.Receipt // guarded by ledger.mu
}

// newLedger keeps at most memory finished receipts (2 at least) in memory and spills to a file in dir. The file is
// removed while it is open, so that nothing stays however the process ends; not every system can.
func newLedger(dir string, memory int) (*ledger, error) {
	file, err := os.CreateTemp(dir, "umbra-receipts-")
	if err != nil {
		return nil, fmt.Errorf("no place for receipts: %w", err)
	}
	l := &ledger{half: max(1, memory/2), open: map[*entry]struct{}{}, file: file, out: bufio.NewWriter(file)}
	if os.Remove(file.Name()) != nil {
		l.name = file.Name()
	}
	l.stream = traffic.NewReceiptWriter(l.out)
	l.rows = make([]traffic.Receipt, 0, l.half)
	l.spare = make(chan []traffic.Receipt, 1)
	l.spare <- make([]traffic.Receipt, 0, l.half)
	return l, nil
}

func (l *ledger) begin(r traffic.Receipt) *entry {
	e := &entry{receipt: r}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[e] = struct{}{}
	return e
}

// update changes the receipt of an unfinished request.
func (l *ledger) update(e *entry, change func(*traffic.Receipt)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&e.receipt)
}

// finish makes the last change to a receipt. It reports false, and does nothing, where the entry is finished already
// or the ledger is closed.
func (l *ledger) finish(e *entry, change func(*traffic.Receipt)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, unfinished := l.open[e]; !unfinished || l.closed {
		return false
	}
	delete(l.open, e)
	change(&e.receipt)
	l.rows = append(l.rows, e.receipt)
	if len(l.rows) == l.half {
		full := l.rows
		l.rows = <-l.spare
		go func() { l.spare <- l.spill(full) }()
	}
	return true
}

// spill writes a batch and gives its memory back. Its caller has taken spare.
func (l *ledger) spill(batch []traffic.Receipt) []traffic.Receipt {
	for i := range batch {
		if l.err == nil {
			l.err = l.stream.Write(&batch[i])
		}
	}
	if l.err == nil {
		l.err = errors.Join(l.stream.Flush(), l.out.Flush())
	}
	l.spilled += len(batch)
	clear(batch) // lets go of the strings
	return batch[:0]
}

// inMemory counts the finished receipts that are in memory.
func (l *ledger) inMemory() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) == 0 {
		return len(l.rows) + l.half
	}
	return len(l.rows)
}

// fetch writes everything so far as one Arrow stream: finished receipts, then unfinished ones as they stand.
func (l *ledger) fetch(w io.Writer) error {
	spilled, size, rest, err := l.snapshot()
	if err != nil {
		return err
	}
	out := traffic.NewReceiptWriter(w)
	if err := l.copySpilled(out, spilled, size); err != nil {
		return errors.Join(err, out.Close())
	}
	for i := range rest {
		if err := out.Write(&rest[i]); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return out.Close()
}

// snapshot gives how many receipts are in the file, its size then, and copies of the others.
func (l *ledger) snapshot() (spilled int, size int64, rest []traffic.Receipt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spare := <-l.spare // a spill under way ends first
	defer func() { l.spare <- spare }()
	if l.closed {
		return 0, 0, nil, errors.New("receipts: the app has ended")
	}
	if l.err != nil {
		return 0, 0, nil, fmt.Errorf("receipts were lost: %w", l.err)
	}
	if size, err = l.file.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, nil, fmt.Errorf("receipts: %w", err)
	}
	rest = append(rest, l.rows...)
	for e := range l.open {
		r := e.receipt
		r.Duration = traffic.Never
		rest = append(rest, r)
	}
	return l.spilled, size, rest, nil
}

// copySpilled reads the first size bytes of the file, to which others may append meanwhile. The stream has no end yet;
// the count tells whether it was whole.
func (l *ledger) copySpilled(out *traffic.ReceiptWriter, rows int, size int64) error {
	if rows == 0 {
		return nil
	}
	n := 0
	for r, err := range traffic.ReadReceipts(bufio.NewReader(io.NewSectionReader(l.file, 0, size))) {
		if errors.Is(err, traffic.ErrTruncated) {
			break
		}
		if err == nil {
			err = out.Write(&r)
		}
		if err != nil {
			return fmt.Errorf("spilled receipts: %w", err)
		}
		n++
	}
	if n != rows {
		return fmt.Errorf("spilled receipts: %d of %d can be read", n, rows)
	}
	return nil
}

// close ends a spill under way and the file with it. Requests that finish later leave no receipt.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	spare := <-l.spare
	defer func() { l.spare <- spare }()
	err := l.err
	if err != nil {
		err = fmt.Errorf("receipts were lost: %w", err)
	}
	// The stream's own end goes to memory that nobody reads.
	l.out.Reset(io.Discard)
	err = errors.Join(err, l.stream.Close(), l.file.Close())
	if l.name != "" {
		err = errors.Join(err, os.Remove(l.name))
	}
	return err
}
