// Package scenarios reads scenario files, makes the requests of their mixes and tells the story of a run.
package scenarios

import (
	"time"

	"umbra/internal/impact"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/replay"
)

// Scenario is a scenario file, checked, with its defaults filled in and the manifests that it names.
type Scenario struct {
	Name    string
	File    string // as errors show it
	Mesh    MeshConfig
	Mix     *Mix     // nil with a capture
	Capture *Capture // nil with a mix
	Load    LoadConfig
	Checks  Checks
	Drain   time.Duration // how long a run waits at most for the shadow to fall idle

	Manifests *route.Manifests
	Table     *route.Table

	recorded  *Recorded  // of Capture, once CheckPlan has read it
	rewriting *rewriting // of Capture.Rewrite; nil: none
}

// MeshConfig says what stands and where the traffic goes in.
type MeshConfig struct {
	ManifestFiles []string // as the process can open them
	Host          string   // the authority of every scripted request
	Port          uint32   // of the Gateway server that takes the traffic
	Primary       string   // value of the pods' label "version"
	Shadows       []string // likewise
	App           map[string]mesh.Behaviour
}

// Capture names recorded traffic.
type Capture struct {
	File  string  // absolute
	Raw   bool    // File is no traffic file but what one is to be made of; whoever runs the scenario does, and puts its name here
	Speed float64 // 2 plays twice as fast; only with captured arrivals
	Selection
	Rewrite *Rewrite // nil: nothing but the host, which is the mesh's
}

// The arrival processes.
const (
	Poisson  = "poisson"
	Constant = "constant"
	Captured = "captured"
)

// The protocols that a gateway takes.
const (
	HTTP1 = "http1"
	H2C   = "h2c"
)

// LoadConfig says how the traffic is offered.
type LoadConfig struct {
	Arrivals    string
	Connections int
	Protocol    string // HTTP1 or H2C
	Streams     int    // of a connection, with H2C
	Reuse       replay.Reuse
	Overload    replay.Overload
	Ordered     bool          // see replay.Options; traffic.capture.ordered says it
	Quantum     time.Duration // see replay.Options
	Timeout     time.Duration // of one request, from due
	Seed        uint64        // of everything random
	Warmup      *Stage        // recorded apart, never judged; nil: none
	Cooldown    *Stage        // likewise
	Stages      []Stage       // empty with captured arrivals
}

// Options are the transport's, to play this load against host:port.
func (l *LoadConfig) Options(address string) replay.Options {
	o := replay.Options{Address: address, Protocol: replay.HTTP1, Connections: l.Connections, Reuse: l.Reuse, Ordered: l.Ordered,
		Timeout: l.Timeout, Overload: l.Overload, Quantum: l.Quantum}
	if l.Protocol == H2C {
		o.Protocol = replay.H2C
		if l.Reuse != replay.Fresh {
			o.Streams = l.Streams
		}
	}
	return o
}

// Stage offers a rate for a while.
type Stage struct {
	Rate float64 // requests a second at its start
	To   float64 // and at its end: the same as Rate where it is no ramp
	For  time.Duration
}

// Checks are what the scenario asks beyond integrity and delivery, which always run. What is nil or empty is not tested.
type Checks struct {
	Fraction   *FractionCheck
	Impact     *ImpactCheck
	Objectives []Objective
	Versions   *VersionsCheck
}

// VersionsCheck asks for the comparison of the versions' answers, which is made without it too.
type VersionsCheck struct {
	Ignore []string // paths of the answers' JSON that are not compared (package jsonpath)
}

// ignore is what the app is told to ignore.
func (c *Checks) ignore() []string {
	if c.Versions == nil {
		return nil
	}
	return c.Versions.Ignore
}

// ImpactCheck plays paired blocks with mirroring off and on, behind the stages.
type ImpactCheck struct {
	Pairs    int // of blocks; two make a quadruple
	Block    time.Duration
	Settle   time.Duration   // of load before each block
	Margins  []impact.Margin // none: impact.DefaultMargins and impact.TailMargin
	Errors   float64         // percentage points
	Controls Controls
	Uploads  []int // bytes; 0: the scenario's own requests
}

// Controls is when the controls of the experiment are played.
type Controls string

// The times.
const (
	ControlsEach    Controls = "each"    // with every run
	ControlsNightly Controls = "nightly" // where the run is said to be the nightly one
	ControlsOff     Controls = "off"
)

// Quadruples is how many the experiment has.
func (c *ImpactCheck) Quadruples() int { return c.Pairs / 2 }

// Rows is about how many requests the blocks have at the most, without looks for harm, where the shadow is told to misbehave so.
func (s *Scenario) Rows(nightly bool, shadow string) int {
	c := s.Checks.Impact
	if c == nil {
		return 0
	}
	experiments := 1
	if c.Controls == ControlsEach || c.Controls == ControlsNightly && nightly {
		experiments += 1 + len(c.Tested())
	}
	quadruples, block := c.Quadruples(), c.Block
	if buildsUp(shadow) {
		quadruples, block = impact.Fewer(quadruples), impact.Longer*block
	}
	return int(s.blockRate() * (block + c.Settle).Seconds() * float64(impact.Blocks*quadruples*experiments))
}

// Tested are the margins that are tested: those named, or the default ones.
func (c *ImpactCheck) Tested() []impact.Margin {
	if len(c.Margins) > 0 {
		return c.Margins
	}
	return append(impact.DefaultMargins(), impact.TailMargin())
}

// FractionCheck tests the share of mirrored requests against the programmed one.
type FractionCheck struct {
	Within float64 // percentage points
}

// Objective bounds a quantile of the response time, or the share of errors where Errors is set.
type Objective struct {
	Quantile float64 // percent, 99 is p99
	Under    time.Duration
	Errors   *float64 // percent
}
