package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"umbra/internal/traffic"
)

// VersionExample is a request that both versions answered, and what sets their answers apart. Name, method, path and digests
// are not known before the files were gone through once more (TellResult, TellReceipt).
type VersionExample struct {
	ID      string        `json:"id"`
	Name    string        `json:"name,omitempty"` // the mix entry
	Method  string        `json:"method"`
	Path    string        `json:"path,omitempty"` // as the client sent it
	Route   string        `json:"route"`
	Cluster string        `json:"cluster"`
	Due     time.Duration `json:"due_ns"` // from the start of the run
	Why     string        `json:"why"`    // it is telling
	Primary VersionAnswer `json:"primary"`
	Shadow  VersionAnswer `json:"shadow"`

	toldResult bool
}

// VersionAnswer is one version's answer.
type VersionAnswer struct {
	Version            string        `json:"version"`
	Pod                string        `json:"pod"`
	Status             int           `json:"status"`
	ResponseSHA256     string        `json:"response_sha256,omitempty"`
	ResponseJSONSHA256 string        `json:"response_json_sha256,omitempty"`
	Took               time.Duration `json:"duration_ns"` // at the app

	arrived int64 // Unix nanoseconds
	told    bool
}

// contrariety is what sets two answers apart, the most telling kind first.
type contrariety uint8

const (
	failureDiffers contrariety = iota // one of 500 or above, the other below
	statusDiffers
	answerDiffers // in the bodies
	timeDiffers   // nothing else
	contrarieties
)

// ofEachKind is how many examples of each kind are told where there are so many, so that a frequent kind hides no other one.
const ofEachKind = 2

// candidate is a pair that may be told as an example.
type candidate struct {
	kind            contrariety
	row             *row
	primary, shadow *arrival
	of              *comparison
}

// ratio is how many times longer the shadow took.
func (c *candidate) ratio() float64 {
	return float64(max(shortest, c.shadow.took)) / float64(max(shortest, c.primary.took))
}

// compareCandidates puts the more telling one first; among those that differ otherwise than in time, the earlier one.
func compareCandidates(a, b candidate) int {
	order := cmp.Compare(a.kind, b.kind)
	if order == 0 && a.kind == timeDiffers {
		order = cmp.Compare(b.ratio(), a.ratio())
	}
	return cmp.Or(order, cmp.Compare(a.row.due, b.row.due), strings.Compare(a.row.id, b.row.id), strings.Compare(a.of.figures.Cluster, b.of.figures.Cluster))
}

// tell keeps a pair among the candidates while it is one of the most telling ones of its kind. Of a pair that differs in time
// alone, only a slower shadow tells anything.
func (v *versions) tell(c candidate) {
	best := v.telling[c.kind]
	full := len(best) == maxExamples
	if c.kind == timeDiffers && c.ratio() <= 1 || full && compareCandidates(c, best[maxExamples-1]) > 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(best, c, compareCandidates)
	best = slices.Insert(best, at, c)
	v.telling[c.kind] = best[:min(maxExamples, len(best))]
}

// examples are the most telling candidates: some of each kind, and for the rest of the more telling kinds.
func (v *versions) examples() (out []VersionExample) {
	take, left := [contrarieties]int{}, maxExamples
	for _, most := range []int{ofEachKind, maxExamples} {
		for kind, best := range v.telling {
			more := max(0, min(left, min(most, len(best))-take[kind]))
			take[kind], left = take[kind]+more, left-more
		}
	}
	for kind, best := range v.telling {
		for i := range best[:take[kind]] {
			out = append(out, v.example(&best[i]))
		}
	}
	return out
}

func (v *versions) example(c *candidate) VersionExample {
	e := VersionExample{ID: c.row.id, Method: v.recon.methods.text[c.primary.method], Route: c.of.figures.Route, Cluster: c.of.figures.Cluster, Due: c.row.due,
		Primary: v.answer(c.primary), Shadow: v.answer(c.shadow)}
	e.Why = c.why(&e)
	return e
}

func (v *versions) answer(a *arrival) VersionAnswer {
	return VersionAnswer{Version: v.recon.versions[a.pod], Pod: v.recon.pods.text[a.pod], Status: int(a.status), Took: duration(float64(a.took)), arrived: a.at}
}

// why says what sets the answers apart.
func (c *candidate) why(e *VersionExample) string {
	switch c.kind {
	case failureDiffers, statusDiffers:
		return fmt.Sprintf("%s answered %d, %s %d", e.Shadow.Version, e.Shadow.Status, e.Primary.Version, e.Primary.Status)
	case answerDiffers:
		if !c.primary.is(jsonUnknown) && !c.shadow.is(jsonUnknown) {
			return "another body, also without the ignored paths"
		}
		return "another body"
	}
	return fmt.Sprintf("%s took %s times as long", e.Shadow.Version, number(c.ratio()))
}

// TellResult completes the example that a row belongs to. It gives whether every example has its row by now.
func (v *Versions) TellResult(res *traffic.Result) (all bool) {
	all = true
	for i := range v.Examples {
		e := &v.Examples[i]
		if e.ID == res.ID && !e.toldResult {
			e.Name, e.Method, e.Path, e.toldResult = strings.Clone(res.Name), strings.Clone(res.Method), strings.Clone(res.Path), true
		}
		all = all && e.toldResult
	}
	return all
}

// TellReceipt completes the answers that a receipt belongs to. It gives whether every answer has its receipt by now.
func (v *Versions) TellReceipt(rc *traffic.Receipt) (all bool) {
	all = true
	for i := range v.Examples {
		e := &v.Examples[i]
		for _, a := range []*VersionAnswer{&e.Primary, &e.Shadow} {
			if e.ID == rc.ID {
				a.tell(rc)
			}
			all = all && a.told
		}
	}
	return all
}

// tell completes the answer where the receipt of its request is its own.
func (a *VersionAnswer) tell(rc *traffic.Receipt) {
	if a.Pod != rc.Pod || a.arrived != rc.Arrived.UnixNano() {
		return
	}
	a.ResponseSHA256, a.ResponseJSONSHA256, a.Took, a.told = strings.Clone(rc.ResponseSHA256), strings.Clone(rc.ResponseJSONSHA256), rc.Duration, true
}
