package replay_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/traffic"
	"umbra/replay"
	"umbra/replay/internal/chaos"
)

// TestTorture plays random runs against a server that does all that servers do, and holds every row against the server's
// ledger. UMBRA_TORTURE is the number of runs, UMBRA_TORTURE_SEED the seed of the first one; each next run has the next
// seed, and a run follows from its seed but for the order of events.
func TestTorture(t *testing.T) {
	runs, first := tortures(t)
	totals := tally{}
	for seed := first; seed < first+runs; seed++ {
		run := drawRun(seed)
		t.Log(run)
		if err := run.play(t, totals); err != nil {
			t.Errorf("%v\n%v\nagain: UMBRA_TORTURE=1 UMBRA_TORTURE_SEED=%d go test -count=1 -run '^TestTorture$' -v ./replay", run, err, seed)
			totals["runs that failed"]++
		}
		if totals["runs that failed"] == maxFailed {
			t.Fatalf("%d runs failed: the others are not played", maxFailed)
		}
	}
	t.Logf("%d runs, seeds %d to %d\n%v", runs, first, first+runs-1, totals)
}

// maxFailed and maxReported bound how many runs fail, and what each then says.
const (
	maxFailed   = 10
	maxReported = 5
)

// tortures says how many runs there are, and the first one's seed: without being asked the same 20 each time, else others
// each time.
func tortures(t *testing.T) (runs, first uint64) {
	t.Helper()
	runs, first = 20, 1
	if os.Getenv("UMBRA_TORTURE") != "" {
		first = uint64(time.Now().Unix()) * 1000
	}
	for name, v := range map[string]*uint64{"UMBRA_TORTURE": &runs, "UMBRA_TORTURE_SEED": &first} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 63)
			if err != nil {
				t.Fatalf("%s=%s: give a whole number", name, text)
			}
			*v = n
		}
	}
	return runs, first
}

// tally counts rows by what they are.
type tally map[string]int

func (c tally) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%8d %s\n", c[name], name)
	}
	return b.String()
}

// torture is one run.
type torture struct {
	seed     uint64
	random   *rand.Rand
	options  replay.Options
	server   chaos.Options
	requests int
	rate     float64       // of arrivals per second; +Inf: a closed loop
	stop     time.Duration // when the run is stopped from outside; 0: never
}

// drawRun draws a run. One of a hundred has bodies of 100 MB.
func drawRun(seed uint64) *torture {
	random := rand.New(rand.NewPCG(seed, 0))
	r := &torture{seed: seed, random: random, requests: 50 + random.IntN(450), rate: math.Exp(5 + 4*random.Float64())} // 150 to 8,000
	r.options = replay.Options{
		Protocol: pick(random, replay.HTTP1, replay.H2C), Reuse: pick(random, replay.Keep, replay.Keep, replay.Session, replay.Fresh),
		Overload: pick(random, replay.QueueUp, replay.QueueUp, replay.Drop, replay.AbortRun), Connections: 1 + random.IntN(32), Streams: 1 + random.IntN(32),
		Timeout: time.Duration(30+random.IntN(400)) * time.Millisecond, Queue: pick(random, 0, 5, 100), Quantum: pick(random, 0, 0, 100*time.Microsecond, time.Millisecond),
		Loops: 1 + random.IntN(2), Portable: random.IntN(2) == 0, Precise: random.IntN(8) == 0,
	}
	r.server = chaos.Options{HTTP2: r.options.Protocol == replay.H2C, Seed: seed, Weights: weights(random, r.options.Protocol == replay.H2C)}
	switch random.IntN(10) {
	case 0:
		r.stop = time.Duration(1+random.IntN(200)) * time.Millisecond
	case 1:
		r.rate, r.options.Until = math.Inf(1), time.Duration(20+random.IntN(200))*time.Millisecond
		if r.options.Reuse == replay.Session { // which a closed loop has not
			r.options.Reuse = replay.Fresh
		}
	}
	if seed%100 == 37 {
		r.requests, r.rate, r.options.Timeout, r.server.Big, r.stop, r.options.Until = 20, 20, 20*time.Second, 100<<20, 0, 0
		r.server.Weights = map[chaos.Kind]int{chaos.Plain: 3, chaos.Trailers: 1, chaos.Big: 2, chaos.CloseInBody: 1}
	}
	r.options.Ordered = random.IntN(3) == 0 && !math.IsInf(r.rate, 1) // a closed loop has no order
	return r
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// weights lets most requests be answered, and draws how often the server does what else it can.
func weights(random *rand.Rand, http2 bool) map[chaos.Kind]int {
	w := map[chaos.Kind]int{}
	for _, k := range chaos.Kinds(http2) {
		if random.IntN(2) == 0 {
			w[k] = random.IntN(6)
		}
	}
	w[chaos.Plain] = 1 + random.IntN(100)
	w[chaos.Big] = min(w[chaos.Big], 1)
	return w
}

func (r *torture) String() string {
	o := &r.options
	path := "fast"
	if o.Portable {
		path = "portable"
	}
	order := ""
	if o.Ordered {
		order = ", ordered"
	}
	return fmt.Sprintf("seed %d: %s %s, %d connections of %d streams in %d loops, %s%s, %s, queue %d, time-out %v, quantum %v, %d requests at %.0f/s, stop %v, until %v",
		r.seed, path, o.Protocol, o.Connections, o.Streams, o.Loops, o.Reuse, order, o.Overload, o.Queue, o.Timeout, o.Quantum, r.requests, r.rate, r.stop, o.Until)
}

// place is where a planned request stands in its session.
type place struct {
	session string
	number  int // in the plan
}

// plan draws the requests, some of which share one. planned gets the ids that were yielded.
func (r *torture) plan(planned map[string]place) replay.Plan {
	var pool []*traffic.Request
	for i := range 1 + r.random.IntN(30) {
		q := &traffic.Request{Method: pick(r.random, "GET", "GET", "GET", "HEAD", "POST", "PUT"), Scheme: "http", Authority: "a.example.com", Path: fmt.Sprint("/", i),
			Session: pick(r.random, "", "", "a", "b", "c", fmt.Sprint(i)), Headers: []traffic.Header{{"accept", "*/*"}, {"X-Long", strings.Repeat("x", r.random.IntN(2000))}}}
		if q.Method == "POST" || q.Method == "PUT" {
			q.Body = make([]byte, pick(r.random, 0, 1, 300, 20_000, r.random.IntN(200_000)))
		}
		pool = append(pool, q)
	}
	return func(yield func(replay.Item, error) bool) {
		var due time.Duration
		for i := uint64(0); i < uint64(r.requests) || math.IsInf(r.rate, 1); i++ {
			item := replay.Item{ID: replay.ID(r.seed, i), Phase: traffic.PhaseStage, Due: due, Request: pick(r.random, pool...)}
			if math.IsInf(r.rate, 1) {
				item.Due = replay.AsSoonAsPossible
			}
			if item.Request.Session != "" && r.random.IntN(2) == 0 {
				item.Session = item.Request.Session + "\x002"
			}
			planned[item.ID] = place{cmp.Or(item.Session, item.Request.Session), int(i)}
			if !yield(item, nil) {
				return
			}
			due += time.Duration(r.random.ExpFloat64() / r.rate * 1e9)
		}
	}
}

// kept is a Recorder that keeps rows.
type kept struct {
	sync.Mutex
	rows []traffic.Result
}

func (k *kept) Record(rows []traffic.Result) {
	k.Lock()
	defer k.Unlock()
	k.rows = append(k.rows, rows...)
}

// play plays the run, and tells what is wrong with it.
func (r *torture) play(t *testing.T, totals tally) error {
	t.Helper()
	server, err := chaos.Start(r.server)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r.options.Address = server.Address()
	transport, err := replay.New(r.options)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if r.stop > 0 {
		stopped, cancel := context.WithTimeout(ctx, r.stop)
		defer cancel()
		ctx = stopped
	}
	planned := map[string]place{}
	var rows kept
	var played replay.Played
	done := make(chan error, 1)
	go func() {
		var err error
		played, err = transport.Play(ctx, time.Now().Add(5*time.Millisecond), r.plan(planned), &rows)
		done <- err
	}()
	select {
	case err = <-done:
	case <-time.After(2 * time.Minute): // a run lasts for a second or two, and its time-out
		t.Fatalf("%v: Play has not returned", r)
	}
	server.Close()
	return errors.Join(err, server.Faults(), r.check(rows.rows, planned, played, server.Ledger(), totals))
}

// check holds the rows against the plan and the ledger.
func (r *torture) check(rows []traffic.Result, planned map[string]place, played replay.Played, ledger []chaos.Entry, totals tally) error {
	entries := map[string][]chaos.Entry{}
	for _, e := range ledger {
		entries[e.ID] = append(entries[e.ID], e)
	}
	var wrong []error
	retries, seen := 0, map[string]bool{}
	for i := range rows {
		row := &rows[i]
		if _, known := planned[row.ID]; seen[row.ID] || !known {
			wrong = append(wrong, fmt.Errorf("id %s is there twice, or was not planned", row.ID))
		}
		seen[row.ID] = true
		if err := errors.Join(r.instants(row), r.against(row, entries[row.ID])); err != nil {
			wrong = append(wrong, fmt.Errorf("%+v\n\tledger: %+v\n\t%w", *row, entries[row.ID], err))
		}
		retries += row.Retries
		totals[strings.TrimSuffix(string(row.Outcome)+" "+row.Error, " ")]++
	}
	if r.options.Ordered {
		wrong = append(wrong, outOfOrder(rows, planned)...)
		totals["runs with ordered sessions"]++
	}
	for id := range entries {
		if !seen[id] {
			wrong = append(wrong, fmt.Errorf("the server saw %q, of which there is no row", id))
		}
	}
	if played.Planned != len(rows) || r.options.Until == 0 && len(rows) != r.requests || retries != played.Connections.Retries {
		wrong = append(wrong, fmt.Errorf("%d rows with %d retries; %d were asked for, and Played says %d and %d", len(rows), retries, r.requests, played.Planned, played.Connections.Retries))
	}
	totals["requests in all"] += len(rows)
	totals["requests that the server saw"] += len(ledger)
	totals["retries"] += retries
	totals["runs on "+string(r.options.Protocol)]++
	return errors.Join(wrong[:min(len(wrong), maxReported)]...)
}

// outOfOrder tells of the rows that were sent before all that came before them in their session had ended.
func outOfOrder(rows []traffic.Result, planned map[string]place) (wrong []error) {
	inPlan := slices.Clone(rows)
	slices.SortFunc(inPlan, func(a, b traffic.Result) int { return planned[a.ID].number - planned[b.ID].number })
	ended := map[string]time.Duration{}
	for _, row := range inPlan {
		session := planned[row.ID].session
		if session == "" {
			continue
		}
		if row.Sent != traffic.Never && row.Sent < ended[session] {
			wrong = append(wrong, fmt.Errorf("%+v was sent while its session %q was under way until %v", row, session, ended[session]))
		}
		ended[session] = max(ended[session], row.End)
	}
	return wrong
}

// instants checks a row for itself.
func (r *torture) instants(row *traffic.Result) error {
	sent, ok := row.Sent != traffic.Never, row.Outcome == traffic.OK
	switch {
	case !slices.Contains([]traffic.Outcome{traffic.OK, traffic.Error, traffic.Timeout, traffic.Inflight, traffic.Unsent}, row.Outcome):
		return errors.New("it has no outcome")
	case ok != (row.Error == ""):
		return errors.New("its class does not suit its outcome")
	case row.Due < 0 || row.End < 0 || row.Outcome != traffic.Unsent && row.End < row.Due:
		return errors.New("it ended before it was due")
	case sent && (row.Sent < row.Due || row.Ready == traffic.Never || row.Sent < row.Ready || row.End < row.Sent):
		return errors.New("it was sent before it was due, before a connection was free, or after its end")
	case row.FirstByte != traffic.Never && (!sent || row.FirstByte < row.Sent || row.End < row.FirstByte):
		return errors.New("its first byte came before it was sent, or after its end")
	case ok && !(sent && row.FirstByte != traffic.Never && row.FirstByte <= row.LastByte && row.LastByte == row.End):
		return errors.New("it is ok, and an instant is missing or out of order")
	case ok && (row.Status == 0 || row.RequestBytes == 0 || row.ResponseBytes == 0):
		return errors.New("it is ok, without status or bytes")
	case !ok && row.LastByte != traffic.Never:
		return errors.New("it has a last byte, and is not ok")
	case row.Outcome == traffic.Timeout && row.End < row.Due+r.options.Timeout:
		return errors.New("it timed out before its time")
	case sent && row.Retries == 0 && row.Conn < 0 || row.Conn >= r.options.Connections:
		return errors.New("it was sent on no connection")
	case row.ReadLag < 0 || ok && row.ReadLag > row.End-row.Sent:
		return errors.New("its read lag is longer than its service time")
	}
	return nil
}

// against holds a row against what the server says of the request.
func (r *torture) against(row *traffic.Result, entries []chaos.Entry) error {
	var processed []chaos.Entry // those that the server did not take back
	for _, e := range entries {
		if !e.Unprocessed {
			processed = append(processed, e)
		}
	}
	connect := strings.HasPrefix(row.Error, "connect") && row.Retries == 0
	unsent := row.Outcome == traffic.Unsent || row.Sent == traffic.Never || connect
	switch {
	case unsent && len(entries) > 0:
		return errors.New("it was not sent, and the server saw it")
	case len(entries) > 1+row.Retries:
		return errors.New("the server saw it more often than it was sent")
	case len(processed) > 1:
		return errors.New("it was sent again after the server had begun to process it")
	case row.Outcome == traffic.OK && (len(processed) == 0 || !processed[0].Whole || processed[0].Status != row.Status):
		return errors.New("it is ok, and the server sent no such response")
	case len(processed) == 0:
		return nil
	case processed[0].Sure && row.Outcome != traffic.OK && row.Outcome != traffic.Timeout:
		return errors.New("the server answered it, and it is neither ok nor a time-out")
	case row.Status != 0 && processed[0].Status != 0 && row.Status != processed[0].Status:
		return errors.New("its status is another than the server's")
	}
	return nil
}
