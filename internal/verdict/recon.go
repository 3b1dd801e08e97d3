package verdict

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/internal/traffic"
)

// Recon accumulates results and receipts, in any order, in about 220 bytes for a request with one receipt. It is used
// by one goroutine; the rows that it is given may be changed or reused afterwards.
type Recon struct {
	index    map[string]int32 // id → rows
	rows     []row
	arrivals []arrival
	nameless []int32 // arrivals without an id
	rate     RateTally

	routes, pods, methods, authorities names
	versions                           []string // of each of pods
}

// NewRecon starts an empty one.
func NewRecon() *Recon { return &Recon{index: map[string]int32{}} }

// row is what is kept of one id.
type row struct {
	id        string
	due, took time.Duration
	client    time.Duration // the client's own part of took
	last      int32         // its latest arrival, as an index; none where -1
	block     int32         // -1 outside blocks
	route     uint32
	status    uint16
	outcome   outcome
	phase     phase
	flags     rowFlags
}

type rowFlags uint16

const (
	planned    rowFlags = 1 << iota // a result told of it
	reused                          // more than one did
	sent                            // some of it was handed to the kernel
	write                           // by its method
	unreached                       // its error proves that it never came to the gateway
	mirroredIn                      // its block, if any, has the mirror on
	stopped                         // the run was stopped before its time
	ownFailure                      // it failed by the client's own doing
	treatedIn                       // its block, if any, is compared with one that is not
)

// is tells whether all of the flags are set.
func (r *row) is(f rowFlags) bool { return r.flags&f == f }

type outcome uint8

const (
	unsent outcome = iota
	ok
	timeout
	otherwise
)

type phase uint8

const (
	warmup phase = iota // or the cool-down: recorded, never judged
	stage
	block
)

// arrival is what is kept of one receipt: hashes of 64 bits in place of strings, as copies are only compared with each
// other. Those of answers, which no verdict rests on, have 32: of so many pairs that differ one in four billion is missed.
type arrival struct {
	at                  int64 // Unix nanoseconds
	path, body, headers uint64
	response, json      uint32  // of the answer's body, and of its normalised JSON
	took                float32 // seconds at the app, right to a ten-millionth of it
	row, earlier        int32   // the id's arrival that was added before; -1 where none was
	authority, method   uint32
	pod                 uint32
	status              uint16
	flags               arrivalFlags
}

type arrivalFlags uint8

const (
	bodyCut arrivalFlags = 1 << iota
	unfinished
	bodyUnknown    // no digest
	headersUnknown // no digest
	responseUnknown
	jsonUnknown // not asked for, or no JSON
)

func (a *arrival) is(f arrivalFlags) bool { return a.flags&f != 0 }

// none is the index of no row and of no arrival.
const none = -1

// In tells of the plan's stages, before the first result.
func (r *Recon) In(stages []Stage) { r.rate.In(stages) }

// AddResult takes the client's record of a request.
func (r *Recon) AddResult(res *traffic.Result) {
	r.rate.Add(res)
	w := r.rowOf(res.ID)
	if w.is(planned) {
		w.flags |= reused
		return
	}
	w.flags |= planned
	w.due, w.took, w.client = res.Due, max(0, res.ResponseTime()), clientPart(res) // what was aborted ended before it was due
	w.route = r.routes.of(res.Route)
	w.status = uint16(res.Status)
	w.outcome = outcomeOf(res.Outcome)
	w.phase, w.block = phaseOf(res.Phase), int32(res.Block)
	w.set(sent, res.Sent != traffic.Never && res.Outcome != traffic.Unsent)
	w.set(write, slices.Contains(writes, res.Method))
	w.set(unreached, slices.Contains(ConnectErrors, res.Error))
	w.set(stopped, res.Outcome == traffic.Unsent && res.Error == traffic.Stopped)
	w.set(ownFailure, ownFault(res))
	w.set(treatedIn, res.Arm == "on" || res.Arm == "control")
	w.set(mirroredIn, res.Phase != traffic.PhaseBlock || res.Arm == "on")
}

// writes are the methods that change state.
var writes = []string{"POST", "PUT", "PATCH", "DELETE"}

func (r *row) set(f rowFlags, on bool) {
	if on {
		r.flags |= f
	}
}

func outcomeOf(o traffic.Outcome) outcome {
	switch o {
	case traffic.OK:
		return ok
	case traffic.Timeout:
		return timeout
	case traffic.Unsent:
		return unsent
	}
	return otherwise
}

func phaseOf(p traffic.Phase) phase {
	switch p {
	case traffic.PhaseStage:
		return stage
	case traffic.PhaseBlock:
		return block
	}
	return warmup
}

// clientPart is what of a response time is the client's own doing: what it was late to send, and at most was late to read; of
// a request that was never sent, how long a connection was free for it, or how late the client was to turn it away.
func clientPart(res *traffic.Result) time.Duration {
	switch {
	case res.Sent != traffic.Never && res.Outcome != traffic.Unsent:
		return res.Lag() + max(0, res.ReadLag)
	case turnedAway(res):
		return max(0, res.End-res.Due)
	case res.Ready != traffic.Never && res.Outcome != traffic.Unsent:
		return max(0, res.End-max(res.Due, res.Ready))
	}
	return 0
}

// turnedAway tells whether the overload policy left the request out, which it does when the request is due.
func turnedAway(res *traffic.Result) bool {
	return res.Outcome == traffic.Unsent && res.Error != traffic.Stopped && res.Error != StoppedWaiting
}

// StoppedWaiting is the Result.Error of an Unsent request that was due, and waited for a connection, when the run was
// stopped: its response time is at least what it had waited.
const StoppedWaiting = "stopped_in_queue"

// ownFault tells whether a request failed by the client's own doing: for want of a port or a descriptor, or as it timed out,
// or was turned away, with a client's part in its time that is too large (load-engine.md, item 4).
func ownFault(res *traffic.Result) bool {
	late := res.Outcome == traffic.Timeout || res.Outcome == traffic.Unsent
	return slices.Contains(ClientErrors, res.Error) || late && clientPart(res) > lagLimit(max(0, res.ResponseTime()))
}

// without is the response time without the client's part.
func (r *row) without() time.Duration { return max(0, r.took-r.client) }

// AddReceipt takes a replica's record of a request.
func (r *Recon) AddReceipt(rc *traffic.Receipt) {
	at := int32(len(r.arrivals))
	a := arrival{
		at:        rc.Arrived.UnixNano(),
		path:      hash(rc.Path),
		body:      hash(rc.BodySHA256, strconv.FormatInt(rc.BodyBytes, 10)),
		headers:   hash(rc.HeaderSHA256),
		row:       none,
		earlier:   none,
		method:    r.methods.of(rc.Method),
		authority: r.authorities.of(rc.Authority),
		pod:       r.podOf(rc),
		status:    uint16(rc.Status),
		response:  uint32(hash(rc.ResponseSHA256)),
		json:      uint32(hash(rc.ResponseJSONSHA256)),
		took:      float32(max(0, rc.Duration).Seconds()),
	}
	a.set(bodyCut, rc.BodyCut)
	a.set(unfinished, rc.Duration == traffic.Never)
	a.set(bodyUnknown, rc.BodySHA256 == "")
	a.set(headersUnknown, rc.HeaderSHA256 == "")
	a.set(responseUnknown, rc.ResponseSHA256 == "")
	a.set(jsonUnknown, rc.ResponseJSONSHA256 == "")
	if rc.ID == "" {
		r.nameless = append(r.nameless, at)
	} else {
		w := r.rowOf(rc.ID)
		a.row, a.earlier = r.index[rc.ID], w.last
		w.last = at
	}
	r.arrivals = append(r.arrivals, a)
}

// podOf is the number of a receipt's pod, whose version it keeps.
func (r *Recon) podOf(rc *traffic.Receipt) uint32 {
	pod := r.pods.of(rc.Pod)
	if int(pod) == len(r.versions) {
		r.versions = append(r.versions, strings.Clone(rc.Version))
	}
	return pod
}

func (a *arrival) set(f arrivalFlags, on bool) {
	if on {
		a.flags |= f
	}
}

// rowOf finds an id's row, or makes it. It copies the id, which may lie in a larger buffer of the caller's.
func (r *Recon) rowOf(id string) *row {
	at, found := r.index[id]
	if !found {
		id = strings.Clone(id)
		at = int32(len(r.rows))
		r.index[id] = at
		r.rows = append(r.rows, row{id: id, last: none, block: none})
	}
	return &r.rows[at]
}

// arrivalsOf gives the arrivals of a row by the time of their arrival, in buf.
func (r *Recon) arrivalsOf(w *row, buf []*arrival) []*arrival {
	buf = buf[:0]
	for i := w.last; i != none; i = r.arrivals[i].earlier {
		buf = append(buf, &r.arrivals[i])
	}
	slices.Reverse(buf)
	slices.SortStableFunc(buf, func(a, b *arrival) int { return int(min(1, max(-1, a.at-b.at))) })
	return buf
}

// hash is FNV-1a of 64 bits over the parts, each closed by a byte that no UTF-8 text has.
func hash(parts ...string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	return h
}

// names gives each of few strings a number, from 0.
type names struct {
	number map[string]uint32
	text   []string
}

func (n *names) of(s string) uint32 {
	if v, ok := n.number[s]; ok {
		return v
	}
	if n.number == nil {
		n.number = map[string]uint32{}
	}
	s = strings.Clone(s)
	v := uint32(len(n.text))
	n.number[s] = v
	n.text = append(n.text, s)
	return v
}
