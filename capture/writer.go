package capture

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/capture/redact"
	"umbra/internal/traffic"
)

// Redactor takes secrets out of a request before anything of it is written; one that it cannot see through is an error, and
// left out.
type Redactor interface {
	Request(r *traffic.Request) error
}

// Rotation begins a new traffic file now and then; zero values never do.
type Rotation struct {
	Size  int64         // bytes, about
	Every time.Duration // of the capture's time
}

// Writer writes captured requests to traffic files, redacted and in the order in which they began. A request that comes later
// than its turn is laid aside, and put in its place when the file is closed.
type Writer struct {
	path     string
	source   string
	redactor Redactor // nil: nothing is redacted
	rotation Rotation
	Loss     exchange.Loss // of all that was captured so far
	Partial  bool          // the source could not be read to its end
	Told     []error       // the first entries of the source that gave no request
	lateRoom int           // how many bytes of late requests are kept in memory

	archive  *traffic.Archive
	base     time.Time // what At counts from, in the open file
	newest   time.Time
	checked  time.Time // when the size was last looked at
	before   exchange.Loss
	late     []laid
	lateTo   time.Time // the earliest of them
	held     int
	runs     []lateRun        // the oldest first
	spilled  int              // late runs so far
	files    []string         // that have their names
	open     string           // the name that the open file will have
	redacted map[string]int64 // before the open file, by rule; negative for what a copied file says of itself
	since    int              // requests since the size was looked at
	count    int64
	lateN    int64
	err      error
}

// laid is a request that came too late for its turn.
type laid struct {
	start   time.Time
	request traffic.Request
}

// NewWriter makes a Writer of the file path, which comes into being with the first request, or at the end.
func NewWriter(path, source string, redactor Redactor, rotation Rotation) *Writer {
	return &Writer{path: path, source: source, redactor: redactor, rotation: rotation, lateRoom: defaultMemory / 8, Loss: exchange.Loss{}, before: exchange.Loss{}}
}

// Write takes a request that began at start, and changes it; of what it points to it keeps nothing but texts. Errors of the file are told by Close.
func (w *Writer) Write(start time.Time, r *traffic.Request) {
	if w.err != nil {
		return
	}
	if w.archive == nil || w.rotates(start) {
		if w.err = w.begin(start); w.err != nil {
			return
		}
	}
	if !w.fit(r) {
		return
	}
	w.count++
	if start.Before(w.newest) {
		w.layAside(start, r)
		return
	}
	w.newest = start
	r.At = start.Sub(w.base)
	w.err = w.archive.Write(r)
}

// fit redacts a request, and tells whether it may be written at all.
func (w *Writer) fit(r *traffic.Request) bool {
	if !traffic.Textual(r) {
		w.Loss.Add(exchange.NotReplayable, 1)
		return false
	}
	if w.redactor == nil {
		return true
	}
	if err := w.redactor.Request(r); err != nil {
		w.Loss.Add(exchange.NotRedactable, 1)
		return false
	}
	return true
}

func (w *Writer) rotates(start time.Time) bool {
	if every := w.rotation.Every; every > 0 && start.Sub(w.base) >= every {
		return true
	}
	if w.since++; w.rotation.Size <= 0 || start.Sub(w.checked) < 100*time.Millisecond && w.since < lookAtSize {
		return false
	}
	w.checked, w.since = start, 0
	if w.err = w.archive.Flush(); w.err != nil {
		return false
	}
	size, err := w.archive.Size()
	return err == nil && size >= w.rotation.Size
}

// lookAtSize is after how many requests the size is looked at, where the capture's time does not say.
const lookAtSize = 1000

// begin begins the next file.
func (w *Writer) begin(start time.Time) error {
	if err := w.end(); err != nil {
		return err
	}
	path := w.path
	if w.rotation != (Rotation{}) {
		path = numbered(w.path, len(w.files)+1)
	}
	archive, err := traffic.CreateArchive(path, traffic.FileHeader{Source: w.source, Start: start.UnixNano()})
	if err != nil {
		return err
	}
	w.archive, w.base, w.newest, w.checked, w.open = archive, start, start, start, path
	return nil
}

// numbered puts a number before a file name's endings.
func numbered(path string, n int) string {
	dir, name := filepath.Split(path)
	stem, endings, _ := strings.Cut(name, ".")
	if endings != "" {
		endings = "." + endings
	}
	return fmt.Sprintf("%s%s-%04d%s", dir, stem, n, endings)
}

// end closes the open file. After an error it is left as it is, partial.
func (w *Writer) end() error {
	archive := w.archive
	w.archive = nil
	switch {
	case archive == nil:
		return nil
	case w.err != nil:
		archive.Leave()
		return nil
	}
	header, err := w.header(), error(nil)
	if len(w.late)+len(w.runs) > 0 {
		err = w.merge(archive, header)
	} else {
		err = archive.Close(header)
	}
	if err == nil {
		w.files = append(w.files, w.open)
	}
	return err
}

// header is that of the open file: it counts what was lost since the one before.
func (w *Writer) header() traffic.FileHeader {
	h := traffic.FileHeader{Source: w.source, Start: w.base.UnixNano(), Loss: map[string]int64{}, Partial: w.Partial}
	for cause, n := range w.Loss {
		if more := n - w.before[cause]; more != 0 {
			h.Loss[string(cause)] = more
		}
	}
	w.before = maps.Clone(w.Loss)
	if r, ok := w.redactor.(*redact.Redactor); ok {
		total := map[string]int64{}
		for _, c := range r.Report().Counts {
			total[c.Rule] += c.Values
		}
		h.Redacted = maps.Clone(total)
		for rule, n := range w.redacted {
			h.Redacted[rule] -= n
		}
		maps.DeleteFunc(h.Redacted, func(_ string, n int64) bool { return n == 0 })
		w.redacted = total
	}
	return h
}

// layAside keeps a request until the file is closed.
func (w *Writer) layAside(start time.Time, r *traffic.Request) {
	if len(w.late)+len(w.runs) == 0 || start.Before(w.lateTo) {
		w.lateTo = start
	}
	kept := *r
	kept.Headers, kept.Body = slices.Clone(r.Headers), bytes.Clone(r.Body)
	if r.Response != nil {
		answer := *r.Response
		kept.Response = &answer
	}
	w.late = append(w.late, laid{start, kept})
	w.lateN++
	if w.held += exchangeSize + r.Size(); w.held > w.lateRoom {
		w.err = w.spill()
	}
}

// lateRun is a file of late requests, in order, whose times count from 1970. Of fanIn runs of a level one of the next is made, so
// that few have to be open at once.
type lateRun struct {
	path  string
	level int
}

const fanIn = 8

// newRun adds a run of what fill writes.
func (w *Writer) newRun(level int, fill func(*traffic.Archive) error) error {
	w.spilled++
	run := lateRun{fmt.Sprintf("%s.late-%d", w.open, w.spilled), level}
	header := traffic.FileHeader{Source: w.source}
	archive, err := traffic.CreateArchive(run.path, header)
	if err != nil {
		return err
	}
	if err := fill(archive); err != nil {
		archive.Abandon()
		return err
	}
	if err := archive.Close(header); err != nil {
		return err
	}
	w.runs = append(w.runs, run)
	return nil
}

// spill writes the late requests in memory to a file of their own.
func (w *Writer) spill() error {
	err := w.newRun(0, func(archive *traffic.Archive) error {
		for r := range w.sortedLate() {
			r.request.At = time.Duration(r.start.UnixNano())
			if err := archive.Write(&r.request); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	clear(w.late)
	w.late, w.held = w.late[:0], 0
	return w.compact()
}

// compact makes one run of the last fanIn, as long as these are of one level.
func (w *Writer) compact() error {
	for len(w.runs) >= fanIn && w.runs[len(w.runs)-fanIn].level == w.runs[len(w.runs)-1].level {
		rest := len(w.runs) - fanIn
		last := slices.Clone(w.runs[rest:])
		var open []opening
		for _, r := range last {
			open = append(open, opening{r.path, 0})
		}
		if err := w.newRun(last[0].level+1, func(archive *traffic.Archive) error { return mergeRuns(open, archive) }); err != nil {
			return err
		}
		w.runs = slices.Delete(w.runs, rest, rest+fanIn)
		for _, r := range last {
			os.Remove(r.path)
		}
	}
	return nil
}

func (w *Writer) sortedLate() iter.Seq[laid] {
	slices.SortStableFunc(w.late, func(a, b laid) int { return a.start.Compare(b.start) })
	return slices.Values(w.late)
}

// merge writes the file again, with the late requests in their places. Where it fails, all is left in files of other names.
func (w *Writer) merge(early *traffic.Archive, header traffic.FileHeader) error {
	if len(w.late) > 0 {
		if err := w.spill(); err != nil {
			early.Leave()
			return err
		}
	}
	base := w.base
	if w.lateTo.Before(base) {
		base = w.lateTo
	}
	first := w.open + ".early"
	if err := early.CloseAs(first, header); err != nil {
		return err
	}
	open := []opening{{first, w.base.Sub(base)}}
	for _, r := range w.runs {
		open = append(open, opening{r.path, time.Duration(-base.UnixNano())})
	}
	w.runs = nil
	header.Start = base.UnixNano()
	out, err := traffic.CreateArchive(w.open, header)
	if err != nil {
		return err
	}
	if err := mergeRuns(open, out); err != nil {
		out.Abandon()
		return fmt.Errorf("%w; what was captured is in %s and in %s.late-*", err, first, w.open)
	}
	if err := out.Close(header); err != nil {
		return err
	}
	for _, o := range open {
		os.Remove(o.path)
	}
	return nil
}

// opening is a file to be merged, and what is added to its times.
type opening struct {
	path string
	from time.Duration
}

// mergeRuns merges files that are each in order. Of equal times the earlier file's go first.
func mergeRuns(files []opening, out *traffic.Archive) error {
	var heads []*run
	defer func() {
		for _, h := range heads {
			h.close()
		}
	}()
	for _, file := range files {
		h, err := openRun(file.path, file.from)
		if err != nil {
			return err
		}
		heads = append(heads, h)
		if err := h.step(); err != nil {
			return err
		}
	}
	for {
		least := slices.MinFunc(heads, func(a, b *run) int { return a.compare(b) })
		if least.over {
			return nil
		}
		if err := out.Write(&least.request); err != nil {
			return err
		}
		if err := least.step(); err != nil {
			return err
		}
	}
}

// run is a file that is being merged.
type run struct {
	file    *os.File
	reader  *traffic.Reader
	next    func() (traffic.Request, error, bool)
	stop    func()
	from    time.Duration
	request traffic.Request
	over    bool
}

func openRun(path string, from time.Duration) (*run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	reader, err := traffic.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	next, stop := iter.Pull2(reader.Requests())
	return &run{file: f, reader: reader, next: next, stop: stop, from: from}, nil
}

func (r *run) step() error {
	request, err, ok := r.next()
	r.over = !ok
	if err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	r.request = request
	r.request.At += r.from
	return nil
}

func (r *run) compare(other *run) int {
	if r.over != other.over {
		if r.over {
			return 1
		}
		return -1
	}
	return cmp.Compare(r.request.At, other.request.At)
}

func (r *run) close() {
	r.stop()
	r.reader.Close()
	r.file.Close()
}

// Flush puts all that was written into the file: what a kill cannot take.
func (w *Writer) Flush() error {
	if w.archive != nil && w.err == nil {
		w.err = w.archive.Flush()
	}
	return w.err
}

// Written is what a Writer wrote.
type Written struct {
	Files    []string         `json:"files"`
	Requests int64            `json:"requests"`
	Late     int64            `json:"late,omitempty"` // of them, how many came later than their turn
	Loss     map[string]int64 `json:"loss"`
}

// Close ends the files. Its error is the first there was.
func (w *Writer) Close() (Written, error) {
	if w.archive == nil && w.err == nil && len(w.files) == 0 {
		w.err = w.begin(time.Now())
	}
	if err := w.end(); w.err == nil {
		w.err = err
	}
	out := Written{Files: w.files, Requests: w.count, Late: w.lateN, Loss: map[string]int64{}}
	for cause, n := range w.Loss {
		out.Loss[string(cause)] = n
	}
	return out, w.err
}

// Abandon ends without a file. What was there under its name before stays, as an open file has another one.
func (w *Writer) Abandon() {
	if w.archive != nil {
		w.archive.Abandon()
	}
	for _, r := range w.runs {
		os.Remove(r.path)
	}
	w.archive, w.runs = nil, nil
}

// Count is how many requests were written.
func (w *Writer) Count() int64 { return w.count }

// Copy writes all requests of a traffic file once more: redacted, or cut.
func Copy(from io.Reader, w *Writer) error {
	reader, err := traffic.NewReader(from)
	if err != nil {
		return err
	}
	defer reader.Close()
	for cause, n := range reader.Header.Loss {
		w.Loss.Add(exchange.Cause(cause), n)
	}
	w.Partial = w.Partial || reader.Header.Partial
	w.redacted = map[string]int64{}
	for rule, n := range reader.Header.Redacted {
		w.redacted[rule] = -n
	}
	start := time.Unix(0, reader.Header.Start)
	for request, err := range reader.Requests() {
		if err != nil {
			return err
		}
		w.Write(start.Add(request.At), &request)
	}
	return nil
}
