package scenarios

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/internal/diag"
	"umbra/internal/evidence"
	"umbra/internal/traffic"
	"umbra/replay"
)

// Recorded is a traffic file that was read to its end and found good, and what of it is replayed.
type Recorded struct {
	File     string
	Count    int              // requests that are replayed, from 1, those of all rounds
	Length   time.Duration    // from the first of them to the last, of all rounds, at the speed of the capture
	Sessions int              // requests that name their session, of one round
	Replay   evidence.Capture // what is replayed and what is left out, but for how

	selection Selection
	first     time.Duration // when the first one came
	last      time.Duration
	period    time.Duration // from the begin of a round to that of the next one
	adapt     func(*traffic.Request)
	rules     *rewriting         // which faults blame for a path that adapt spoiled; nil: they blame them all
	kept      []*traffic.Request // all of them; nil where that would take more than keepBytes
}

// keepBytes is how much of a traffic file is kept in memory: its requests are then read once, and items of the plan that
// send the same one share it. A longer file is read again while it is played, a request at a time.
const keepBytes = 32 << 20

// ReadTraffic reads a traffic file to its end, so that no run starts with one that it cannot finish. adapt may change each
// request before it is sent. The error is diag.Faults with the line.
func ReadTraffic(file string, adapt func(*traffic.Request)) (*Recorded, error) {
	return ReadSelection(file, Selection{}, adapt)
}

// ReadSelection is ReadTraffic for a part of the file. Requests that are not in the order of their times are sorted where the
// file is not too long for that.
func ReadSelection(file string, selection Selection, adapt func(*traffic.Request)) (*Recorded, error) {
	return readTraffic(file, selection, adapt, keepBytes)
}

// readRewritten is ReadSelection where adapt applies rules, which its faults name.
func readRewritten(file string, selection Selection, adapt func(*traffic.Request), rules *rewriting) (*Recorded, error) {
	return (&Recorded{File: file, selection: selection, adapt: adapt, rules: rules}).readWhole(keepBytes)
}

func readTraffic(file string, selection Selection, adapt func(*traffic.Request), keep int) (*Recorded, error) {
	return (&Recorded{File: file, selection: selection, adapt: adapt}).readWhole(keep)
}

// readWhole reads the file for the first time, and keeps so many bytes of it.
func (r *Recorded) readWhole(keep int) (*Recorded, error) {
	in := &intake{into: r, selector: r.selection.selector(), keep: keep}
	var header traffic.FileHeader
	for request, err := range r.read(&header) {
		if err == nil {
			err = in.add(request)
		}
		if err != nil {
			return nil, err
		}
	}
	in.flush()
	r.Replay = in.selector.sum()
	r.Replay.File, r.Replay.Source, r.Replay.Loss = r.File, header.Source, evidence.NewLoss(header.Loss, r.Replay.Captured)
	return r, r.close()
}

// intake is a traffic file being read for the first time. What comes is held back, to be sorted, up to the bound of what is kept;
// then it goes straight through, and must be in order.
type intake struct {
	into     *Recorded
	selector *selector
	keep     int // bytes
	held     []*traffic.Request
	bytes    int
	through  bool
	last     time.Duration // of what came
	unsorted error         // the first request that came before the one in front of it
	kept     int           // bytes of what is replayed
	lines    int
}

func (in *intake) add(r *traffic.Request) error {
	in.lines++
	if r.At < in.last && in.unsorted == nil {
		in.unsorted = in.into.unsorted(in.lines, in.last-r.At)
	}
	in.last = r.At
	if in.through {
		in.take(r)
		return in.unsorted
	}
	in.held = append(in.held, r)
	if in.bytes += r.Size(); in.bytes <= in.keep {
		return nil
	}
	in.flush()
	in.through = true
	return in.unsorted
}

// unsorted is the fault of a request that is not in order, n from 1.
func (r *Recorded) unsorted(n int, by time.Duration) error {
	return r.fault(n+1, "request %d was captured %v before the one in front of it, and the file is too long to be sorted here: sort the lines by at_ns", n, by)
}

// fault is one of the file, or of what it was made of, where the line is another; a line of 0 is none.
func (r *Recorded) fault(line int, format string, args ...any) error {
	f := diag.Fault{File: r.File, Line: line, Msg: fmt.Sprintf(format, args...)}
	if r.selection.Original != "" {
		f.File, f.Line, f.Msg = r.selection.Original, 0, "in the traffic file made of it: "+f.Msg
	}
	return diag.Faults{f}
}

// flush takes what was held back.
func (in *intake) flush() {
	if in.unsorted != nil {
		slices.SortStableFunc(in.held, func(a, b *traffic.Request) int { return cmp.Compare(a.At, b.At) })
	}
	for _, r := range in.held {
		in.take(r)
	}
	in.held = nil
}

// take counts a request, and keeps it where it is replayed and there is room.
func (in *intake) take(r *traffic.Request) {
	if !in.selector.take(r) {
		return
	}
	to := in.into
	if to.Count == 0 {
		to.first = r.At
	}
	to.Count++
	to.last = r.At
	if r.Session != "" {
		to.Sessions++
	}
	if in.kept += r.Size(); in.kept <= in.keep {
		to.kept = append(to.kept, r)
	} else {
		to.kept = nil
	}
}

// close adds the rounds up, when all of the file is read.
func (r *Recorded) close() error {
	r.Length = r.last - r.first
	switch {
	case r.Replay.Captured == 0:
		return r.fault(0, "no requests in it: there is nothing to replay")
	case r.Count == 0:
		return r.fault(0, "of its %d requests none is left to replay: %d lie outside of the cuts, %d have methods that are left out, %d are not in the sample: ask for more",
			r.Replay.Captured, r.Replay.Outside, r.Replay.Unsafe+r.Replay.Unasked, r.Replay.Sampled)
	case r.selection.Loops <= 1:
		return nil
	case r.Length == 0:
		return r.fault(0, "what is replayed of it came at one instant, so that nobody can tell when the next round begins: replay it once, or at a rate")
	}
	loops, gap := r.selection.Loops, math.Round(float64(r.Length)/float64(max(1, r.Count-1)))
	if float64(loops)*(float64(r.Length)+gap) > math.MaxInt64/2 {
		return r.fault(0, "%d rounds of %v last for centuries: ask for fewer", loops, r.Length)
	}
	r.period = r.Length + time.Duration(gap)
	r.Count *= loops
	r.Length += time.Duration(loops-1) * r.period
	return nil
}

// Requests gives the requests in their order, due as on the capture's own clock: all rounds of them, or, where again says so,
// from the first again behind the last for ever, as if that were one round.
func (r *Recorded) Requests(again bool) replay.Requests {
	return func() (func() (replay.Item, error), func()) {
		if r.kept != nil {
			return r.fromMemory(again), func() {}
		}
		pull, stop := iter.Pull2(r.reread(again))
		return func() (replay.Item, error) {
			item, err, more := pull()
			if !more {
				err = io.EOF
			}
			return item, err
		}, stop
	}
}

// rounds goes round after round.
type rounds struct {
	*Recorded
	again bool
	round int
	names map[string]string // of the sessions of this round, as far as they are known
}

// knownNames bounds rounds.names, however many sessions there are.
const knownNames = 4096

// more begins the next round; false where there is none.
func (p *rounds) more() bool {
	if p.again {
		return true
	}
	p.round++
	p.names = make(map[string]string)
	return p.round < p.selection.Loops
}

// item is a request in this round.
func (p *rounds) item(r *traffic.Request) replay.Item {
	item := replay.Item{Request: r, Due: r.At - p.first + time.Duration(p.round)*p.period}
	if p.round > 0 && r.Session != "" {
		item.Session = p.session(r.Session)
	}
	return item
}

// session names a session of this round, as no capture names one.
func (p *rounds) session(name string) string {
	known, ok := p.names[name]
	if ok {
		return known
	}
	if len(p.names) == knownNames {
		clear(p.names)
	}
	known = name + "\x00" + strconv.Itoa(p.round)
	p.names[name] = known
	return known
}

func (r *Recorded) fromMemory(again bool) func() (replay.Item, error) {
	p, i := rounds{Recorded: r, again: again}, 0
	return func() (replay.Item, error) {
		if i == len(r.kept) {
			if !p.more() {
				return replay.Item{}, io.EOF
			}
			i = 0
		}
		i++
		return p.item(r.kept[i-1]), nil
	}
}

// reread reads the file once for each round; a file that has nothing any more to be replayed ends it.
func (r *Recorded) reread(again bool) iter.Seq2[replay.Item, error] {
	return func(yield func(replay.Item, error) bool) {
		p := rounds{Recorded: r, again: again}
		for found := true; found; found = found && p.more() {
			found = false
			for request, err := range r.selected() {
				found = true
				if err != nil {
					yield(replay.Item{}, err)
					return
				}
				if !yield(p.item(request), nil) {
					return
				}
			}
		}
	}
}

// selected reads what is replayed of the file, which must be in order. An error, the last there is, is diag.Faults with the line.
func (r *Recorded) selected() iter.Seq2[*traffic.Request, error] {
	return func(yield func(*traffic.Request, error) bool) {
		selector, n, last := r.selection.selector(), 0, time.Duration(0)
		for request, err := range r.read(new(traffic.FileHeader)) {
			n++
			if err == nil && request.At < last {
				err = r.unsorted(n, last-request.At)
			}
			switch {
			case err != nil:
				yield(nil, err)
				return
			case selector.over(request.At):
				return
			case selector.take(request) && !yield(request, nil):
				return
			}
			last = request.At
		}
	}
}

// read reads the file once. An error, the last there is, is diag.Faults with the line.
func (r *Recorded) read(header *traffic.FileHeader) iter.Seq2[*traffic.Request, error] {
	return func(yield func(*traffic.Request, error) bool) {
		f, err := os.Open(r.File)
		if err != nil {
			yield(nil, r.fault(0, "cannot be read: %v", reason(err)))
			return
		}
		defer f.Close()
		if err := r.decode(f, header, yield); err != nil {
			yield(nil, r.fault(0, "%v", err))
		}
	}
}

func (r *Recorded) decode(f io.Reader, header *traffic.FileHeader, yield func(*traffic.Request, error) bool) error {
	reader, err := traffic.NewReader(f)
	if err != nil {
		return err
	}
	defer reader.Close()
	*header = reader.Header
	line := 1
	for request, err := range reader.Requests() {
		line++
		if err == nil {
			err = r.check(line, &request)
		}
		if err != nil {
			return err
		}
		if !yield(&request, nil) {
			return nil
		}
	}
	return nil
}

// check adapts a request, and tells what would keep it from being sent: the rules, where it was good without them.
func (r *Recorded) check(line int, q *traffic.Request) error {
	if q.Authority == "" {
		return fmt.Errorf("line %d: \"authority\" is missing: give the Host that the request had", line)
	}
	captured := q.Path
	r.adapt(q)
	err := checkRequest(q)
	if err == nil {
		return nil
	}
	spoiled := q.Path
	if q.Path = captured; spoiled != captured && checkRequest(q) == nil {
		return fmt.Errorf("line %d: %s makes of the captured path %q: %w", line, r.rules.spoils(q), captured, err)
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// checkRequest tells what keeps a request from being sent to an origin server (RFC 9112, 3.2.1 and 3.2.4; RFC 9113, 8.3.1).
func checkRequest(q *traffic.Request) error {
	if err := replay.CheckRequest(q); err != nil {
		return err
	}
	if strings.HasPrefix(q.Path, "/") || q.Path == "*" && q.Method == http.MethodOptions {
		return nil
	}
	return fmt.Errorf("path %q does not begin with a slash: give it one, or * with OPTIONS", q.Path)
}
