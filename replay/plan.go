package replay

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"time"

	"umbra/internal/host"
	"umbra/internal/traffic"
)

// AsSoonAsPossible is the due time of a closed loop's item: when a connection is free.
const AsSoonAsPossible time.Duration = -1

// Item is one planned request.
type Item struct {
	ID      string
	Name    string // the mix entry; empty for captured traffic
	Route   string // what the route model says; empty without a mesh
	Phase   traffic.Phase
	Due     time.Duration    // from the start of the run, never falling within a plan; or AsSoonAsPossible
	Session string           // where it is not Request.Session: each round of a capture has sessions of its own
	Block   *Block           // that it belongs to; nil outside blocks
	Request *traffic.Request // never changed once it was yielded; items that send the same share it, and so its prepared bytes
}

// Block is a block of an experiment, as the rows of its requests name it.
type Block struct {
	Index int    // from 0
	Arm   string // "off", "on" or "control"
}

// session is what the item shares with others: their connection (Session), their order (Ordered); "" is a session of its own.
func (it *Item) session() string { return cmp.Or(it.Session, it.Request.Session) }

// result begins the item's Result, as a request that was never sent.
func (it *Item) result() traffic.Result {
	r := traffic.Result{
		ID: it.ID, Name: it.Name, Route: it.Route, Method: it.Request.Method, Path: it.Request.Path,
		Phase: it.Phase, Block: -1, Due: it.Due,
		Ready: traffic.Never, Sent: traffic.Never, FirstByte: traffic.Never, LastByte: traffic.Never, Conn: -1,
	}
	if b := it.Block; b != nil {
		r.Block, r.Arm = b.Index, b.Arm
	}
	return r
}

// Plan is the items of a run in the order of their due times. An error ends it.
type Plan = iter.Seq2[Item, error]

// Transport plays plans. Implementations own their connections, goroutines and threads, which have ended when Play returns.
type Transport interface {
	// Name says which path sends the load.
	Name() string
	// Play sends each item of plan when it is due, counted from start, and gives recorder exactly one Result for each
	// item, before it returns. When ctx ends it sends nothing more, waits for what is under way (each request ends by its
	// time-out), and gives the rest of the plan to recorder as unsent. It returns the error that ended the plan.
	Play(ctx context.Context, start time.Time, plan Plan, recorder Recorder) (Played, error)
}

// Recorder keeps results. It may be called concurrently, and must be quick. The rows are the caller's again when Record
// returns; the strings in them may be kept.
type Recorder interface {
	Record(rows []traffic.Result)
}

// Played is what a transport says of a run beside its rows.
type Played struct {
	Planned     int              // items taken from the plan, each of which has a row
	Aborted     string           // why the transport itself ended the run (AbortRun); else empty
	Connections host.Connections // how they came about
}

// idLength is how long an ID is.
const idLength = 16

// ID is the id of request i of a run: 16 hex digits, different for each i, the same for equal seeds.
func ID(seed, i uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], mix(i^mix(seed)))
	return hex.EncodeToString(b[:])
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014), a bijection.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
