// Package verdict judges a run: what the client saw (traffic.Result), what the replicas saw (traffic.Receipt) and what
// the gateway says of itself (Facts) go in; verdicts come out, as data that a renderer only has to print. It is pure,
// reads no clock and gives equal verdicts for equal input.
//
// A Recon accumulates the rows, in any order; Judge closes it.
package verdict

import (
	"fmt"
	"slices"

	"umbra/internal/impact"
)

// State is what a verdict, or one item of it, comes to.
type State string

// The states.
const (
	Pass         State = "PASS"
	Fail         State = "FAIL"
	Inconclusive State = "INCONCLUSIVE" // the evidence does not decide
	Invalid      State = "INVALID"      // the evidence is not to be trusted
	NotTested    State = "NOT TESTED"   // not asked for, or without anything to judge
)

// The names of the verdicts, in the order that Judge gives them.
const (
	Integrity  = "Integrity"
	Delivery   = "Delivery"
	Sampling   = "Sampling"
	Impact     = "Impact"
	Objectives = "Objectives"
	Rate       = "Rate"
	// HarmVerdict is there where the run looked for harm by a shadow that misbehaves.
	HarmVerdict = "Harm"
)

// Verdict is one verdict with all that carries it.
type Verdict struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	Summary  string    `json:"summary"` // one sentence
	Items    []Item    `json:"items,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
	// Experiment is what the paired blocks came to, in Impact where there were such.
	Experiment *ExperimentFigures `json:"experiment,omitempty"`
}

// Item is one thing judged: a route, a route's mirror, a mirror's cluster, a quantile or an objective. The one of the
// figures that is not nil belongs to its verdict.
type Item struct {
	Route         string `json:"route,omitempty"`
	Cluster       string `json:"cluster,omitempty"`
	State         State  `json:"state"`
	Summary       string `json:"summary"`               // one sentence
	Approximate   bool   `json:"approximate,omitempty"` // primary and mirror share pods or a cluster
	ClientSuspect bool   `json:"client_suspect,omitempty"`

	Integrity *IntegrityFigures `json:"integrity,omitempty"`
	Delivery  *DeliveryFigures  `json:"delivery,omitempty"`
	Sampling  *SamplingFigures  `json:"sampling,omitempty"`
	Effect    *EffectFigures    `json:"effect,omitempty"`
	Impact    *impact.Figure    `json:"impact,omitempty"`
	Harm      *HarmFigures      `json:"harm,omitempty"`
	Objective *ObjectiveFigures `json:"objective,omitempty"`
	Rate      *RateFigures      `json:"rate,omitempty"`
}

// Severity is what a finding does to its verdict.
type Severity string

// The severities.
const (
	Failure Severity = "fail"
	Warning Severity = "warning"
)

// Finding is one kind of trouble with how often it was met and up to maxExamples ids, in the order of the rows.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"` // what is counted, as a noun phrase
	Count    int      `json:"count"`
	Examples []string `json:"examples,omitempty"`
}

const maxExamples = 10

// The exit statuses of verdicts; 2 and 5 are the caller's.
const (
	ExitPassed       = 0
	ExitFailed       = 1
	ExitClient       = 3 // a gated time figure is not to be trusted because of the client
	ExitInconclusive = 4
)

// ExitStatus is the exit status that verdicts come to, with the precedence 1, 3, 4, 0.
func ExitStatus(vs []Verdict) int {
	client, undecided := false, false
	for _, v := range vs {
		switch v.State {
		case Fail:
			return ExitFailed
		case Invalid, Inconclusive:
			undecided = true
		}
		for _, item := range v.Items {
			client = client || item.State == Invalid && item.ClientSuspect
		}
	}
	switch {
	case client:
		return ExitClient
	case undecided:
		return ExitInconclusive
	}
	return ExitPassed
}

// rank orders states by what prevails where several are joined.
var rank = map[State]int{NotTested: 0, Pass: 1, Inconclusive: 2, Invalid: 3, Fail: 4}

// worst is the state that prevails: FAIL, INVALID, INCONCLUSIVE, PASS; NOT TESTED only where nothing was tested.
func worst(items []Item) State {
	state := NotTested
	for _, item := range items {
		if rank[item.State] > rank[state] {
			state = item.State
		}
	}
	return state
}

// maxBlamed is how many sentences of the client's a verdict repeats; the report has all of them.
const maxBlamed = 3

// blame adds when and why the client was late, to a verdict of which an item is not to be trusted because of it.
func (v *Verdict) blame(client []string) {
	if !slices.ContainsFunc(v.Items, func(i Item) bool { return i.State == Invalid && i.ClientSuspect }) {
		return
	}
	for _, sentence := range client[:min(maxBlamed, len(client))] {
		v.Warnings = append(v.Warnings, "the client's part: "+sentence)
	}
	if more := len(client) - maxBlamed; more > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the client's part: %s more, which the report lists", plural(more, "interval", "intervals")))
	}
}

// cutShort takes the PASS from a verdict on a run that was cut short.
func (v *Verdict) cutShort() {
	const why = "the run was cut short, so nothing of it can pass"
	for i := range v.Items {
		if v.Items[i].State == Pass {
			v.Items[i].State = Inconclusive
		}
	}
	if v.State == Pass {
		v.State, v.Summary = Inconclusive, why+"; so far: "+v.Summary
	} else if v.State != NotTested {
		v.Warnings = append(v.Warnings, why)
	}
}
