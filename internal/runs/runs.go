// Package runs is what comparisons and trends take of the reports of runs: their figures, and what tells whether two runs are of the same
// thing. It is pure but for the digests of a run folder's files.
package runs

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// Run is a run as its report tells of it.
type Run struct {
	Source   string // where it lies, for who reads of it
	Name     string // of the scenario
	Digests  *Digests
	Load     string // what was played, in a few words
	Seed     uint64
	Partial  string // why it is not whole; "" where it is
	Status   int    // the exit status that it came to
	Record   evidence.Record
	Figures  summary.Figures
	Verdicts []verdict.Verdict
}

// Same tells whether two reports are of one run: a run begins at an instant that no other shares.
func (r *Run) Same(other *Run) bool {
	if r.Record.Started.IsZero() || other.Record.Started.IsZero() {
		return filepath.Clean(r.Source) == filepath.Clean(other.Source)
	}
	return r.Record.Started.Equal(other.Record.Started) && r.Figures.Planned == other.Figures.Planned
}

// Quantile is the response time at a quantile in percent, of 50, 90, 99 and 99.9; ok is false where there was none.
func (r *Run) Quantile(percent float64) (took time.Duration, ok bool) {
	l := &r.Figures.Response
	return at(l, percent), l.N > 0 && at(l, percent) > 0
}

// Lag is the client's own part at a quantile.
func (r *Run) Lag(percent float64) time.Duration { return at(&r.Figures.Lag, percent) }

func at(l *summary.Latency, percent float64) time.Duration {
	switch percent {
	case 50:
		return l.P50
	case 90:
		return l.P90
	case 99:
		return l.P99
	case 99.9:
		return l.P999
	}
	return 0
}

// Mirror is what was seen of a mirror policy.
type Mirror struct {
	Route, Cluster string
	State          verdict.State
	*verdict.SamplingFigures
}

// Name is "route → cluster".
func (m *Mirror) Name() string { return m.Route + " → " + verdict.ShortCluster(m.Cluster) }

// Mirrors are the mirror policies that requests came by, in the order of the report.
func (r *Run) Mirrors() (out []Mirror) {
	for _, v := range r.Verdicts {
		if v.Name != verdict.Sampling {
			continue
		}
		for _, item := range v.Items {
			if item.Sampling != nil && item.Sampling.Eligible > 0 {
				out = append(out, Mirror{item.Route, item.Cluster, item.State, item.Sampling})
			}
		}
	}
	return out
}

// Difference is something that is not alike in runs that are held against each other.
type Difference struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
	// Apart: runs that differ in it are not of the same thing, so that their figures are not comparable.
	Apart bool `json:"apart"`
}

// trait is something that runs may differ in.
type trait struct {
	what  string
	of    func(*Run) string
	apart bool
}

// unrecorded stands for what a report does not tell.
const unrecorded = "not recorded"

// traits in the order in which a reader looks for a cause.
var traits = []trait{
	{"scenario", func(r *Run) string { return r.Name }, true},
	{"traffic", func(r *Run) string { return r.digest(func(d *Digests) string { return d.Traffic }) }, true},
	{"capture", func(r *Run) string { return capture(r.Record.Capture) }, true},
	{"load", func(r *Run) string { return r.digest(func(d *Digests) string { return d.Load }) }, true},
	{"stages", func(r *Run) string { return stages(&r.Record) }, true},
	{"mesh section of the scenario", func(r *Run) string { return r.digest(func(d *Digests) string { return d.Mesh }) }, true},
	{"checks", func(r *Run) string { return r.digest(func(d *Digests) string { return d.Checks }) }, true},
	{"mesh", func(r *Run) string { return r.Record.Mesh }, true},
	{"machine", func(r *Run) string {
		return fmt.Sprintf("%s/%s with %d CPUs", r.Record.Machine.OS, r.Record.Machine.Arch, r.Record.Machine.CPUs)
	}, true},
	{"seed", func(r *Run) string { return strconv.FormatUint(r.Seed, 10) }, false},
	{"manifests", func(r *Run) string { return r.digest(func(d *Digests) string { return d.Manifests }) }, false},
	{"faults asked for", func(r *Run) string { return cmp.Or(r.Record.Faults, "none") }, false},
	{"umbra", func(r *Run) string { return r.Record.Version }, false},
	{"Go", func(r *Run) string { return r.Record.Machine.Go }, false},
	{"client path", func(r *Run) string { return r.Record.Transport }, false},
	{"Kubernetes", func(r *Run) string {
		return fact(r.Record.Cluster, func(c *evidence.ClusterFacts) string { return c.Kubernetes })
	}, false},
	{"Istio", func(r *Run) string {
		return fact(r.Record.Cluster, func(c *evidence.ClusterFacts) string { return c.Istio })
	}, false},
	{"gateway proxy", func(r *Run) string {
		return fact(r.Record.Cluster, func(c *evidence.ClusterFacts) string { return c.Proxy })
	}, false},
	{"node", func(r *Run) string {
		return fact(r.Record.Cluster, func(c *evidence.ClusterFacts) string { return c.Node })
	}, false},
	{"command", func(r *Run) string { return cmp.Or(strings.Join(settings(r.Record.Command), " "), unrecorded) }, false},
}

// Differences tells what the runs of two sides, or those of one, are not alike in. What neither side's reports tell and would set them
// apart is a difference as well, as it may be one.
func Differences(a, b []Run) (out []Difference) {
	for _, t := range traits {
		inA, inB := values(t, a), values(t, b)
		unknown := t.apart && slices.Contains(inA, unrecorded)
		if unknown || len(inA) != 1 || !slices.Equal(inA, inB) {
			out = append(out, Difference{t.what, strings.Join(inA, " or "), strings.Join(inB, " or "), t.apart})
		}
	}
	return out
}

// Key is alike for runs that belong to one series: of the same scenario and load, on the same mesh and machine. What else a scenario says
// may change within a series, and explain what changes in it.
func (r *Run) Key() string {
	var parts []string
	for _, t := range traits {
		if t.apart && t.what != "checks" && t.what != "mesh section of the scenario" {
			parts = append(parts, t.what+" "+t.of(r))
		}
	}
	return strings.Join(parts, "; ")
}

// values are the different values of a trait, sorted.
func values(t trait, of []Run) (out []string) {
	for i := range of {
		out = append(out, t.of(&of[i]))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// digest is a part of the scenario's digests; a run without a mesh has no scenario.
func (r *Run) digest(part func(*Digests) string) string {
	switch {
	case r.Digests != nil && part(r.Digests) != "":
		return part(r.Digests)[:min(shown, len(part(r.Digests)))]
	case r.Digests != nil || r.Record.Mesh == evidence.NoMesh:
		return "none"
	}
	return unrecorded
}

// shown is how many digits of a digest are told.
const shown = 12

func capture(c *evidence.Capture) string {
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s, %d of %d requests", filepath.Base(cmp.Or(c.Source, c.File)), c.Replayed, c.Captured)
}

// stages are what was asked for, as "1000 in 10s, 2000 in 20s".
func stages(r *evidence.Record) string {
	if r.ClosedLoop {
		return "a closed loop"
	}
	var parts []string
	for _, s := range r.Stages {
		parts = append(parts, fmt.Sprintf("%d in %v", s.Asked, s.End-s.Begin))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// fact is one of a cluster's; a mesh that is no cluster has none.
func fact(c *evidence.ClusterFacts, of func(*evidence.ClusterFacts) string) string {
	if c == nil {
		return "none"
	}
	return cmp.Or(of(c), unrecorded)
}

// settings leaves out of a command what differs in every run: the program's own path, and where its folder is.
func settings(command []string) (out []string) {
	skip := true // the program
	for _, word := range command {
		switch {
		case skip:
			skip = false
		case word == "--out":
			skip = true
		case !strings.HasPrefix(word, "--out="):
			out = append(out, word)
		}
	}
	return out
}
