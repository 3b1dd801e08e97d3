package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"umbra/internal/traffic"
)

// ledger keeps a receipt of every request. Unfinished ones are in memory; finished ones gather there until there are
// half, and then go to a file as a batch of an Arrow stream, in a goroutine of their own while the other half fills.
// Where the file is slower than the requests, they wait for it: memory is bounded, and nothing is lost.
type ledger struct {
	dir  string // of the file; empty: os.TempDir
	name string // of the file, where it could not be removed yet; close does
	half int

	// Where receipts outlive the process (newKeptLedger):
	kept        string // the path of the file, which stays; empty where it does not
	number      int    // of this process in its folder, from 1
	stop        chan struct{}
	flushing    sync.WaitGroup
	endFlushing sync.Once

	mu     sync.Mutex
	open   map[*entry]struct{}
	rows   []traffic.Receipt // finished, and not yet given to a spill
	closed bool
	// earlier are the files of earlier processes.
	earlier []keptFile

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
	receipt   traffic.Receipt // guarded by ledger.mu, as all of it
	forgotten bool            // it leaves no receipt
}

// newLedger keeps at most memory finished receipts (2 at least) in memory and spills to a file in dir. The file is
// removed while it is open, so that nothing stays however the process ends; not every system can.
func newLedger(dir string, memory int) (*ledger, error) {
	l := &ledger{dir: dir, number: 1}
	return l, l.init(memory)
}

// init makes an empty ledger of one that has its place.
func (l *ledger) init(memory int) error {
	l.half, l.open = max(1, memory/2), map[*entry]struct{}{}
	l.rows = make([]traffic.Receipt, 0, l.half)
	l.spare = make(chan []traffic.Receipt, 1)
	l.spare <- make([]traffic.Receipt, 0, l.half)
	return l.begins()
}

// begins opens an empty file and stream. Its caller has taken spare, or is alone.
func (l *ledger) begins() error {
	file, name, err := l.create()
	if err != nil {
		return fmt.Errorf("no place for receipts: %w", err)
	}
	l.file, l.name, l.out = file, name, bufio.NewWriter(file)
	l.stream, l.spilled, l.err = traffic.NewReceiptWriter(l.out), 0, nil
	return nil
}

// create gives the name too where somebody is to remove the file.
func (l *ledger) create() (file *os.File, name string, err error) {
	if l.kept != "" {
		file, err = replaceKept(l.kept)
		return file, "", err
	}
	if file, err = os.CreateTemp(l.dir, "umbra-receipts-"); err != nil {
		return nil, "", err
	}
	if os.Remove(file.Name()) != nil {
		name = file.Name()
	}
	return file, name, nil
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
	if e.forgotten {
		return true
	}
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

// fetch writes everything so far as one Arrow stream: receipts of earlier processes, then finished ones, then unfinished
// ones as they stand.
func (l *ledger) fetch(w io.Writer) error {
	now, err := l.snapshot()
	if err != nil {
		return err
	}
	out := traffic.NewReceiptWriter(w)
	if err := now.copyTo(out); err != nil {
		return err // and no end of the stream, which would make it a whole one
	}
	return out.Close()
}

// snapshot is where the receipts of an instant are.
type snapshot struct {
	earlier []keptFile
	file    *os.File          // of which the first size bytes hold
	spilled int               // receipts
	size    int64             // others may append to the file meanwhile
	rest    []traffic.Receipt // copies
}

func (l *ledger) snapshot() (*snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spare := <-l.spare // a spill under way ends first
	defer func() { l.spare <- spare }()
	if l.closed {
		return nil, errEnded
	}
	if l.err != nil {
		return nil, fmt.Errorf("receipts were lost: %w", l.err)
	}
	size, err := l.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	now := &snapshot{earlier: l.earlier, file: l.file, spilled: l.spilled, size: size, rest: slices.Clone(l.rows)}
	for e := range l.open {
		if e.forgotten {
			continue
		}
		r := e.receipt
		r.Duration = traffic.Never
		now.rest = append(now.rest, r)
	}
	return now, nil
}

var errEnded = errors.New("receipts: the app has ended")

func (s *snapshot) copyTo(out *traffic.ReceiptWriter) error {
	for i := range s.earlier {
		if err := s.earlier[i].copyTo(out); err != nil {
			return err
		}
	}
	if err := s.copySpilled(out); err != nil {
		return err
	}
	for i := range s.rest {
		if err := out.Write(&s.rest[i]); err != nil {
			return err
		}
	}
	return nil
}

// copySpilled reads a stream that has no end yet; the count tells whether it was whole.
func (s *snapshot) copySpilled(out *traffic.ReceiptWriter) error {
	if s.spilled == 0 {
		return nil
	}
	n, _, err := eachKept(io.NewSectionReader(s.file, 0, s.size), out.Write)
	if err != nil {
		return fmt.Errorf("spilled receipts: %w", err)
	}
	if n != s.spilled {
		return fmt.Errorf("spilled receipts: %d of %d can be read", n, s.spilled)
	}
	return nil
}

// describe fills in what the ledger knows of a status.
func (l *ledger) describe(s *Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spare := <-l.spare // a spill under way ends first
	defer func() { l.spare <- spare }()
	s.Incarnation, s.Earlier, s.Receipts = l.number, len(l.earlier), l.spilled+len(l.rows)
	for _, f := range l.earlier {
		s.Receipts += f.rows
		if f.cut {
			s.Cut++
		}
	}
	for e := range l.open {
		if !e.forgotten {
			s.Receipts++
		}
	}
}

// forget drops all receipts, those of earlier processes among them; requests under way leave none. A fetch under way fails.
func (l *ledger) forget() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	spare := <-l.spare
	defer func() { l.spare <- spare }()
	if l.closed {
		return errEnded
	}
	old := l.tail()
	if err := l.begins(); err != nil {
		return err
	}
	for e := range l.open {
		e.forgotten = true
	}
	clear(l.rows)
	l.rows = l.rows[:0]
	err := old.drop()
	for _, f := range l.earlier {
		err = errors.Join(err, os.Remove(f.path))
	}
	l.earlier = nil
	return err
}

// tail is the end of a file of receipts.
type tail struct {
	name   string
	file   *os.File
	out    *bufio.Writer
	stream *traffic.ReceiptWriter
}

func (l *ledger) tail() *tail { return &tail{l.name, l.file, l.out, l.stream} }

// drop closes a file that nobody reads any more. The stream's own end goes nowhere.
func (t *tail) drop() error {
	t.out.Reset(io.Discard)
	err := errors.Join(t.stream.Close(), t.file.Close())
	if t.name != "" {
		err = errors.Join(err, os.Remove(t.name))
	}
	return err
}

// finish ends the stream in a file that stays.
func (t *tail) finish() error {
	return errors.Join(t.stream.Close(), t.out.Flush(), t.file.Close())
}

// close ends a spill under way and the file with it. Requests that finish later leave no receipt.
func (l *ledger) close() error {
	if l.stop != nil {
		l.endFlushing.Do(func() { close(l.stop) })
		l.flushing.Wait()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	spare := <-l.spare
	defer func() { l.spare <- spare }()
	end := (*tail).drop
	if l.kept != "" {
		end = (*tail).finish
		l.rows = l.spill(l.rows)
	}
	err := l.err
	if err != nil {
		err = fmt.Errorf("receipts were lost: %w", err)
		end = (*tail).drop // of a kept file too: without an end it says that it is not whole
	}
	return errors.Join(err, end(l.tail()))
}
