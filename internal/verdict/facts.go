package verdict

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"umbra/internal/impact"
)

// million is the denominator of programmed fractions.
const million = 1_000_000

// Facts is what the mesh says of itself. Judge does not change it.
type Facts struct {
	Routes []RouteFact         `json:"routes"`
	Pods   map[string][]string `json:"pods"` // the endpoints of each cluster
	// Before and After are the gateway's counters and gauges under Envoy's names, "cluster.NAME.upstream_rq_total", read
	// before the first request and after the drain. Where After is empty no verdict leans on counters.
	Before map[string]uint64 `json:"before"`
	After  map[string]uint64 `json:"after"`
	// Partial: the run was cut short. What it shows can fail, but nothing passes.
	Partial bool `json:"partial"`
	// Incomplete: results or receipts are known to be missing (killed before they were collected), so that the absence of
	// a row or of a receipt proves nothing.
	Incomplete bool `json:"incomplete"`
	// Undrained: the run ended its drain before the mirror clusters were idle and still, so that copies may have come later.
	Undrained bool `json:"undrained"`
	// Restarts are the pods of the app that did not last the whole run.
	Restarts []Restart `json:"restarts,omitempty"`
	// Start is when the run began, and Experiment what it says of its paired blocks; nil where it had none.
	Start      time.Time   `json:"start,omitzero"`
	Experiment *Experiment `json:"experiment,omitempty"`
	// Client says when and why the client was late, a sentence for each interval (host.Diagnosis.Sentences), where that is
	// known. It explains verdicts, and changes none.
	Client []string `json:"client,omitempty"`
}

// Restart is a pod of the app that restarted, ended or began during the run.
type Restart struct {
	Pod     string    `json:"pod"`
	Version string    `json:"version"`
	What    string    `json:"what"` // "restarted 1 time", "ended", "began"
	At      time.Time `json:"at"`
	// Lost: receipts of the pod may be missing (it ended before they were collected, or wrote its last ones not before it
	// crashed), so that the absence of a receipt of it proves nothing.
	Lost bool `json:"lost"`
}

// RouteFact is one route as programmed into the gateway.
type RouteFact struct {
	Name           string       `json:"name"`
	Upstream       bool         `json:"upstream"` // false: answered at the gateway (redirect, direct response)
	Clusters       []string     `json:"clusters"` // of its primary destinations
	Mirrors        []MirrorFact `json:"mirrors"`
	Retries        int          `json:"retries"` // after the first try
	AbortStatus    int          `json:"abort_status"`
	AbortNumerator uint32       `json:"abort_numerator"` // per million
}

// MirrorFact is one mirror policy of a route.
type MirrorFact struct {
	Cluster   string  `json:"cluster"`
	Percent   float64 `json:"percent"`   // as configured
	Numerator uint32  `json:"numerator"` // as programmed, per million; the one that is tested
}

// p is the programmed fraction.
func (m MirrorFact) p() float64 { return min(1, float64(m.Numerator)/million) }

// partly tells whether some requests are to be mirrored and some are not.
func (m MirrorFact) partly() bool { return m.Numerator > 0 && m.Numerator < million }

// Options is what the scenario asks for.
type Options struct {
	Fraction   *float64        // the margin around each programmed fraction, in percentage points; nil: Sampling is not tested
	Margins    []impact.Margin // of the direct effect; nil: impact.DefaultMargins, by which it can fail, but is not asked for
	Impact     *ImpactOptions  // of the paired blocks; nil: there are none to judge
	Objectives []Objective     // none: Objectives is not tested
}

// Objective is a limit on the response time at a quantile, or, where Quantile is 0, on the share of errors.
type Objective struct {
	Quantile float64 // percent, as 99
	Under    time.Duration
	Errors   float64 // percent; 0 tolerates none
}

// ConnectErrors are the error classes that prove that a request never reached the gateway.
var ConnectErrors = []string{"connect", "connect_refused", "connect_timeout", "dns", "tls"}

// ErrMargin is the error of a margin that no count of requests can be judged with.
var ErrMargin = errors.New("the margin must be above 0 and smaller than the fraction and than 100 % less the fraction")

// CheckMargin refuses a margin delta around a programmed fraction p0 (both as shares) that would accept a mirror of
// nothing or of everything. Fractions of 0 and 1 are exact and need none.
func CheckMargin(p0, delta float64) error {
	if p0 <= 0 || p0 >= 1 || delta > 0 && delta < p0 && delta < 1-p0 {
		return nil
	}
	return fmt.Errorf("within %s points of %s %%: %w", number(delta*100), number(p0*100), ErrMargin)
}

// check refuses what cannot be judged, all of it at once.
func check(f Facts, o Options) error {
	var faults []error
	seen := map[string]bool{}
	for _, r := range f.Routes {
		if seen[r.Name] {
			faults = append(faults, fmt.Errorf("two routes are named %q: give each its own name", r.Name))
		}
		seen[r.Name] = true
		for _, m := range r.Mirrors {
			if o.Fraction == nil {
				continue
			}
			if err := CheckMargin(m.p(), *o.Fraction/100); err != nil {
				faults = append(faults, fmt.Errorf("route %q, mirror %q: %w", r.Name, m.Cluster, err))
			}
		}
	}
	for _, obj := range o.Objectives {
		faults = append(faults, obj.check())
	}
	for _, m := range o.Margins {
		if !(m.Quantile > 0 && m.Quantile < 100) || m.Percent < 0 || m.Floor < 0 {
			faults = append(faults, fmt.Errorf("impact margin %+v: the quantile must be between 0 and 100, the margin at or above 0", m))
		}
	}
	return errors.Join(faults...)
}

func (o Objective) check() error {
	switch {
	case o.Quantile == 0 && !(o.Errors >= 0 && o.Errors < 100):
		return fmt.Errorf("objective errors %s: give a percentage from 0 to below 100", number(o.Errors))
	case o.Quantile != 0 && !(o.Quantile > 0 && o.Quantile < 100):
		return fmt.Errorf("objective quantile %s: give a percentage between 0 and 100", number(o.Quantile))
	case o.Quantile != 0 && o.Under <= 0:
		return fmt.Errorf("objective quantile %s: give a limit above 0", number(o.Quantile))
	}
	return nil
}

// counters are the gateway's, before and after.
type counters struct{ before, after map[string]uint64 }

// delta is how much a cluster's counter rose. It is not known where the gateway does not export it, nor where it
// fell, which a gateway only does by starting again.
func (c counters) delta(cluster, name string) (rise uint64, known bool) {
	key := "cluster." + cluster + "." + name
	after, ok := c.after[key]
	before := c.before[key]
	if !ok || after < before {
		return 0, false
	}
	return after - before, true
}

// rise is delta with 0 for unknown.
func (c counters) rise(cluster, name string) uint64 {
	v, _ := c.delta(cluster, name)
	return v
}

// fell tells whether any of a cluster's counters named is below what it was.
func (c counters) fell(cluster string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		key := "cluster." + cluster + "." + name
		before, had := c.before[key]
		after, has := c.after[key]
		return had && has && after < before
	})
}
