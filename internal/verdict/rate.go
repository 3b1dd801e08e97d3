package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"umbra/internal/traffic"
)

// ClientErrors are the error classes of requests that were not sent as this machine had no port, or no descriptor, left.
var ClientErrors = []string{"no_ports", "no_descriptors"}

// RateCounts is what became of the rate that a plan asked for, counted over the rows of its stages.
type RateCounts struct {
	Closed  bool          `json:"closed_loop,omitempty"` // it asks for no rate; set by who knows the plan
	Planned int           `json:"planned"`               // whose time came
	Stopped int           `json:"stopped"`               // whose time had not come when the run was stopped: in no other count
	Span    time.Duration `json:"span_ns"`               // of the plan: from the first to the last due instant, and a gap

	// What was not sent in time. The first three are the system's doing, the others the client's.
	Unsent       int `json:"unsent"`        // by the overload policy
	NoConnection int `json:"no_connection"` // they could not connect, or waited for a connection until their time-out
	Waited       int `json:"waited"`        // sent after the plan's end: no connection was free before
	Lagged       int `json:"lagged"`        // sent after the plan's end, though a connection was free before
	Held         int `json:"held"`          // never sent, though a connection was free or the client was late to look, or for want of ports or descriptors

	Overrun   time.Duration `json:"overrun_ns"` // from the plan's end to the last that was sent
	Displaced int           `json:"displaced"`  // sent more than a second late, though a connection was free
	Sent      int           `json:"sent"`
	Busy      time.Duration `json:"busy_ns"`           // for which connections were given to requests, summed
	Own       time.Duration `json:"own_ns"`            // of Busy, the client's own part: generator lag and read lag
	Classes   []Finding     `json:"classes,omitempty"` // of what was never sent
}

// RateFigures are the counts, and the rates that they come to.
type RateFigures struct {
	RateCounts
	Asked  float64 `json:"asked_per_second"`
	InTime float64 `json:"in_time_per_second"` // sent before the plan's end
}

// RateTally counts the rows of a run as they come, in any order. Its memory does not grow with their number: it keeps those
// that were sent after the last due instant seen so far, which are as many as are under way or wait for a connection.
type RateTally struct {
	counts      RateCounts
	first, last time.Duration // due
	classes     map[string]*Finding
	behind      []sending // in the order of their rows
	done        int       // of behind, from its begin: sent before the last due instant
}

// sending is when a request was sent, and when it could have been.
type sending struct{ sent, could time.Duration }

// displaced is the lag from which a request is in another second than the one that was asked for.
const displaced = time.Second

// Add counts a row.
func (t *RateTally) Add(r *traffic.Result) {
	switch {
	case r.Phase != traffic.PhaseStage:
	case r.Outcome == traffic.Unsent && r.Error == traffic.Stopped:
		t.counts.Stopped++
	default:
		t.widen(r.Due)
		if r.Outcome == traffic.Unsent || r.Sent == traffic.Never {
			t.never(r)
		} else {
			t.sent(r)
		}
		t.forget()
	}
}

// widen keeps the first and the last due instant.
func (t *RateTally) widen(due time.Duration) {
	if t.counts.Planned == 0 {
		t.first, t.last = due, due
	}
	t.first, t.last = min(t.first, due), max(t.last, due)
	t.counts.Planned++
}

func (t *RateTally) sent(r *traffic.Result) {
	lag := r.Lag()
	t.counts.Sent++
	t.counts.Busy += lag + r.ServiceTime()
	t.counts.Own += clientPart(r)
	if lag > displaced {
		t.counts.Displaced++
	}
	if r.Sent > t.last {
		t.behind = append(t.behind, sending{r.Sent, max(r.Due, r.Ready)})
	}
}

// forget lets go of what was sent before the last due instant; of what is not in order, later.
func (t *RateTally) forget() {
	for t.done < len(t.behind) && t.behind[t.done].sent <= t.last {
		t.done++
	}
	if t.done > len(t.behind)/2 {
		t.behind = t.behind[:copy(t.behind, t.behind[t.done:])]
		t.done = 0
	}
}

// unsentTexts say what the classes of never sent requests are.
var unsentTexts = map[string]string{
	"queue_full":      "requests that were due while the queue for a connection was full",
	"dropped":         "requests that were due while no connection was free, and were dropped",
	"aborted":         "requests that were left when the run ended itself, as no connection was free",
	"timeout_queue":   "requests that timed out while they waited for a connection",
	stoppedInQueue:    "requests that waited for a connection when the run was stopped",
	"connect_timeout": "requests that timed out while their connection was made",
	"no_ports":        "requests for whose connection this machine had no port left",
	"no_descriptors":  "requests for whose connection this process had no descriptor left",
}

// never counts a request that was never sent.
func (t *RateTally) never(r *traffic.Result) {
	c := &t.counts
	switch {
	case slices.Contains(ClientErrors, r.Error), r.Outcome != traffic.Unsent && r.Ready != traffic.Never, turnedAway(r) && clientPart(r) > grace:
		c.Held++
	case turnedAway(r):
		c.Unsent++
	default:
		c.NoConnection++
	}
	f := t.classes[r.Error]
	if f == nil {
		text := unsentTexts[r.Error]
		if text == "" {
			text = "requests that were never sent"
		}
		f = &Finding{Code: r.Error, Text: text}
		if t.classes == nil {
			t.classes = map[string]*Finding{}
		}
		t.classes[r.Error] = f
	}
	f.Count++
	f.Examples = example(f.Examples, r.ID)
}

// Counts gives the counts of the rows so far. The plan's end is a gap after its last due instant: n requests have n−1 gaps
// between them.
func (t *RateTally) Counts() RateCounts {
	c := t.counts
	if c.Planned > 1 {
		c.Span = time.Duration(float64(t.last-t.first) * float64(c.Planned) / float64(c.Planned-1))
	}
	end := t.first + c.Span
	for _, s := range t.behind[t.done:] {
		switch {
		case s.sent <= end:
		case s.could > end:
			c.Waited++
		default:
			c.Lagged++
		}
		c.Overrun = max(c.Overrun, s.sent-end)
	}
	for _, code := range slices.SortedFunc(maps.Keys(t.classes), cmp.Compare) {
		f := *t.classes[code]
		f.Examples = slices.Clone(f.Examples)
		c.Classes = append(c.Classes, f)
	}
	return c
}

// How much of a rate may be missed, as a share, and which overrun misses nothing: a request that is due in the plan's last
// instant may wait for a connection as any other does. A client that turns a request away more than grace after
// it was due did not look whether a connection was free then.
const (
	missable = 0.001
	grace    = 10 * time.Millisecond
)

// system is how many requests were not sent in time as the system under test did not take them.
func (c *RateCounts) system() int { return c.Unsent + c.NoConnection + c.Waited }

// client is how many were not sent in time by the client's own doing.
func (c *RateCounts) client() int { return c.Lagged + c.Held }

// forgive takes out what was sent after the end of the plan where all of it was within a thousandth of its span (n requests
// in 1.001 times the span are the asked rate within 0.1 %), or within grace, which in a short run is more.
func (c RateCounts) forgive() RateCounts {
	if c.Overrun <= max(grace, time.Duration(missable*float64(c.Span))) {
		c.Waited, c.Lagged = 0, 0
	}
	return c
}

// missedBy tells whether n is more than may be missed.
func (c *RateCounts) missedBy(n int) bool { return float64(n) > missable*float64(c.Planned) }

// explained tells whether the client's own part of the time for which connections were taken is large (load-engine.md, item
// 4), and as large a share of it as what was missed: without it, connections would have been free for these requests. A
// client that reads late makes its server look busy.
func (c *RateCounts) explained() bool {
	if c.Sent == 0 || c.Busy <= 0 {
		return false
	}
	n := time.Duration(c.Sent)
	share := float64(c.Own) / float64(c.Busy)
	return c.Own/n > lagLimit(c.Busy/n) && share*float64(c.Planned) >= float64(c.system())
}

// JudgeRate judges whether a plan's rate was kept. A missed rate is a failure of its own: where requests were not sent, or
// too late, as no connection was free, the system under test did not take the rate; where they were late by the client's own
// doing the run is not valid. Of f it takes what it says of the run as a whole (Partial, Incomplete) and of the client.
func JudgeRate(c RateCounts, f Facts) Verdict {
	v := rateVerdict(c)
	v.blame(f.Client)
	if f.Partial || f.Incomplete {
		v.cutShort()
	}
	return v
}

func rateVerdict(counts RateCounts) Verdict {
	v := Verdict{Name: Rate}
	switch {
	case counts.Closed:
		v.State, v.Summary = NotTested, "a closed loop asks for no rate"
		return v
	case counts.Planned == 0:
		v.State, v.Summary = NotTested, "no request of the stages was due"
		return v
	case counts.Span == 0 && counts.Unsent == 0:
		v.State, v.Summary = NotTested, fmt.Sprintf("%s at one instant ask for no rate", plural(counts.Planned, "request", "requests"))
		return v
	}
	item := Item{Rate: counts.figures()}
	item.State, item.Summary = counts.forgive().judge()
	if item.State == Pass && counts.Overrun > 0 {
		item.Summary += ", the last one " + ms(counts.Overrun) + " after the plan's end"
	}
	item.ClientSuspect = item.State == Invalid
	v.State, v.Summary, v.Items = item.State, item.Summary, []Item{item}
	for _, f := range counts.Classes {
		f.Severity = Warning
		if v.State == Fail {
			f.Severity = Failure
		}
		v.Findings = append(v.Findings, f)
	}
	return v
}

func (c RateCounts) figures() *RateFigures {
	g := &RateFigures{RateCounts: c}
	g.Classes = nil // they are the verdict's findings
	if seconds := c.Span.Seconds(); seconds > 0 {
		g.Asked = float64(c.Planned) / seconds
		g.InTime = float64(c.Planned-c.system()-c.client()) / seconds
	}
	return g
}

// judge is the law of the rate. Where more than may be missed is missed by either alone, or by both together, and the
// system's part is not enough, the client's makes the difference.
func (c RateCounts) judge() (State, string) {
	missed := c.system() + c.client()
	switch {
	case c.Unsent == 0 && !c.missedBy(missed) && !c.missedBy(c.Displaced):
		return Pass, c.asked() + ", and were sent in time" + c.allBut(missed)
	case c.Unsent == 0 && !c.missedBy(c.system()):
		return Invalid, "the client did not keep the rate: " + c.asked() + "; " + c.late()
	case c.explained():
		return Invalid, fmt.Sprintf("the rate was missed, and the client took %s %% of its connections' time itself, which may be why: %s; %s",
			number(100*float64(c.Own)/float64(c.Busy)), c.asked(), c.late())
	}
	return Fail, "the system under test did not take the rate: " + c.asked() + "; " + c.late()
}

// asked is "10,000 requests were asked for at 1000/s".
func (c *RateCounts) asked() string {
	if c.Span == 0 {
		return plural(c.Planned, "request was", "requests were") + " asked for"
	}
	return fmt.Sprintf("%s asked for at %s/s", plural(c.Planned, "request was", "requests were"), number(float64(c.Planned)/c.Span.Seconds()))
}

// allBut tells of the few that were not.
func (c *RateCounts) allBut(missed int) string {
	if missed == 0 {
		return ""
	}
	return fmt.Sprintf(", but for %s", count(missed))
}

// late lists what was not sent in time.
func (c *RateCounts) late() string {
	say := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return count(n) + " " + what
	}
	by := " (by up to " + ms(c.Overrun) + ")"
	return join([]string{
		say(c.Unsent, "were left out by the overload policy"),
		say(c.NoConnection, "got no connection"),
		say(c.Waited, "waited for a connection until after the plan's end"+by),
		say(c.Lagged, "were sent after the plan's end, though a connection was free"+by),
		say(c.Held, "were never sent, for want of nothing but the client"),
		say(c.Displaced, "were sent more than a second late, though a connection was free"),
	}, ", ")
}
