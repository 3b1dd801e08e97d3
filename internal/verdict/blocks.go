package verdict

import (
	"maps"
	"strings"
	"time"

	"umbra/internal/impact"
)

// The experiments that blocks belong to.
const (
	Total    = "total"    // mirroring off against on
	Negative = "negative" // off against off
	Positive = "positive" // off against off with a slower primary
	Harm     = "harm"     // off against on while the shadow misbehaves
)

// Block is a stretch of load with mirroring off or on, as the run played it.
type Block struct {
	Index      int     `json:"block"`
	Quadruple  int     `json:"quadruple"` // no other quadruple of the run has its number
	Experiment string  `json:"experiment"`
	Quantile   float64 `json:"quantile,omitempty"` // percent: the one that a positive control is for
	Cell       int     `json:"cell,omitempty"`     // which look for harm it belongs to, as an index of Experiment.Cells
	// Treated: it is one of the two of its quadruple that are compared with the other two. Mirrored: mirroring was on.
	Treated  bool          `json:"treated"`
	Mirrored bool          `json:"mirrored"`
	Delay    time.Duration `json:"delay_ns,omitempty"` // that the primary took more
	Planned  int           `json:"planned"`            // requests, without those of the settling
	Begin    time.Duration `json:"begin_ns"`           // of what counts, from the start of the run
	End      time.Duration `json:"end_ns"`
	Sent     uint64        `json:"sent,omitempty"`     // mirrored requests by the gateway's count, in a look for harm
	Relieved bool          `json:"relieved,omitempty"` // the shadow had been told to let go what it held, before it
	Left     uint64        `json:"left,omitempty"`     // mirrored requests that had not ended: in a look for harm LeftAfter its end, in a build-up at its end
	Counted  bool          `json:"counted"`
	Why      string        `json:"why,omitempty"` // it does not count
}

// Experiment is what a run says of its paired blocks.
type Experiment struct {
	Quadruples int           `json:"quadruples"` // planned
	Block      time.Duration `json:"block_ns"`
	Settle     time.Duration `json:"settle_ns"`
	// Buildup: what a block with mirroring on leaves to the shadow does not end by itself. It builds up over the two of each quadruple, which
	// are longer and have the others before and behind them, and the shadow is told to let go of it before each of those.
	Buildup bool          `json:"buildup,omitempty"`
	Rate    float64       `json:"rate_per_second"`
	Timeout time.Duration `json:"timeout_ns"` // of a request
	// Controls says when they are played, and NoControls why they were not in this run.
	Controls   string `json:"controls"`
	NoControls string `json:"no_controls,omitempty"`
	// ByStamps: the app cannot be made slower, so that the positive controls are the control off against off with a delay in the
	// client's stamps.
	ByStamps bool          `json:"by_stamps,omitempty"`
	Plans    []impact.Plan `json:"plans,omitempty"`   // as stated before the first block with mirroring on
	Stopped  string        `json:"stopped,omitempty"` // why it ended before its planned end
	// Saturation is how many requests a second a closed loop got answered just before, and where that was asked for; 0: not measured.
	Saturation float64 `json:"saturation_per_second,omitempty"`
	Saturated  bool    `json:"saturation_measured"`
	Shadow     string  `json:"shadow,omitempty"` // how the shadow was told to misbehave
	// Shared: client, gateway and both versions run on the same CPUs.
	Shared bool     `json:"shared_cpus"`
	CPUs   int      `json:"cpus"`
	Blocks []Block  `json:"blocks"`
	Cells  []Cell   `json:"cells,omitempty"` // the looks for harm
	Looks  []string `json:"looks,omitempty"` // the shadow's modes that were asked for
	// NoUploads is why the looks had no uploads, and OtherRoutes those that mirror uploads and that none was sent to.
	NoUploads   string   `json:"no_uploads,omitempty"`
	OtherRoutes []string `json:"other_routes,omitempty"`
	// Buffers: the gateway reads a request whole before it sends it on, so that no upload can be seen to stall.
	Buffers bool `json:"buffers"`
	// Unsettled: mirrored requests were under way when Aside was read.
	Unsettled bool `json:"unsettled,omitempty"`
	// Aside is how much the gateway's counters rose by the looks for harm, which the other verdicts leave out.
	Aside map[string]uint64 `json:"aside,omitempty"`
}

// without moves the counters from before the run by what the looks for harm added, so that the rise is that of the rest.
func (x *Experiment) without(before map[string]uint64) map[string]uint64 {
	if x == nil || len(x.Aside) == 0 {
		return before
	}
	moved := maps.Clone(before)
	for name, rise := range x.Aside {
		moved[name] += rise
	}
	return moved
}

// Rise is how much counters rose between two readings. Gauges are none, and are left out.
func Rise(before, after map[string]uint64) map[string]uint64 {
	rise := map[string]uint64{}
	for name, n := range after {
		gauge := strings.HasSuffix(name, "_active") || strings.Contains(name, ".membership_")
		if was := before[name]; !gauge && n > was {
			rise[name] = n - was
		}
	}
	return rise
}

// blocks are those that the run played; none where it had no experiment.
func (x *Experiment) blocks() []Block {
	if x == nil {
		return nil
	}
	return x.Blocks
}
