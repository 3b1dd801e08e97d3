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
	Waited       int `json:"waited"`        // sent after the plan's end, as no connection was free before; and Postponed
	Lagged       int `json:"lagged"`        // sent after the plan's end, though a connection was free before
	Held         int `json:"held"`          // never sent, though a connection was free or the client was late to look, or for want of ports or descriptors

	Refused   int `json:"refused"`   // of NoConnection: they could not connect, which is never the client's doing (ConnectErrors)
	Postponed int `json:"postponed"` // of Waited, where the plan's stages are not known: for a connection, for more than a second

	Overrun   time.Duration `json:"overrun_ns"` // from the plan's end to the last that was sent
	Displaced int           `json:"displaced"`  // sent more than a second late, though a connection was free
	Sent      int           `json:"sent"`
	Busy      time.Duration `json:"busy_ns"`           // for which connections were given to requests, summed
	Own       time.Duration `json:"own_ns"`            // of Busy, the client's own part: generator lag and read lag
	Classes   []Finding     `json:"classes,omitempty"` // of what was never sent
	// Stages are the parts of the counts above where the plan has several stages: what is late is then late for the end of its
	// stage. Each says in Stage which one it is.
	Stages []RateCounts `json:"stages,omitempty"`
	Stage  *Stage       `json:"stage,omitempty"`
}

// Stage is a stretch of a plan that is judged by itself: a rate that one stage missed is not made up for in another.
type Stage struct {
	Begin time.Duration `json:"begin_ns"` // from the start of the run
	End   time.Duration `json:"end_ns"`
	Asked int           `json:"asked"` // requests, on average where the arrivals are Poisson's
}

// RateFigures are the counts, and the rates that they come to.
type RateFigures struct {
	RateCounts
	Asked  float64 `json:"asked_per_second"`
	InTime float64 `json:"in_time_per_second"` // sent before the plan's end
}

// RateTally counts the rows of a run as they come, in any order. Its memory does not grow with their number.
type RateTally struct {
	stages  []stageTally // in their order; one without an end where the plan's are not known
	at      int          // the stage of the last row
	classes map[string]*Finding
}

// stageTally counts the rows of a stage. Where its end is not known, it keeps those that were sent after the last due instant
// seen so far, which are as many as are under way or wait for a connection.
type stageTally struct {
	Stage
	counts      RateCounts
	first, last time.Duration // due
	behind      []sending     // in the order of their rows
	done        int           // of behind, from its begin: sent before the last due instant
}

// sending is when a request was due, when it could have been sent, and when it was.
type sending struct{ due, could, sent time.Duration }

// postponed tells whether the request waited for its connection until another second than the one that was asked for.
func (s sending) postponed() bool { return s.could-s.due > displaced }

// displaced is the lag from which a request is in another second than the one that was asked for.
const displaced = time.Second

// In tells of the plan's stages, before the first row. Stages that do not follow each other are not known.
func (t *RateTally) In(stages []Stage) {
	end := time.Duration(0)
	for _, s := range stages {
		if s.Begin < end || s.End <= s.Begin || s.Asked < 0 {
			t.stages = nil
			return
		}
		t.stages, end = append(t.stages, stageTally{Stage: s}), s.End
	}
}

// known tells whether the stage's end is.
func (t *stageTally) known() bool { return t.End > 0 }

// Add counts a row.
func (t *RateTally) Add(r *traffic.Result) {
	if r.Phase != traffic.PhaseStage {
		return
	}
	s := t.stage(r.Due)
	if r.Outcome == traffic.Unsent && r.Error == traffic.Stopped {
		s.counts.Stopped++
		return
	}
	s.widen(r.Due)
	if r.Outcome == traffic.Unsent || r.Sent == traffic.Never {
		s.never(r)
		t.class(r)
	} else {
		s.sent(r)
	}
	s.forget()
}

// stage is the one that a due instant is of. It is mostly that of the row before.
func (t *RateTally) stage(due time.Duration) *stageTally {
	if t.stages == nil {
		t.stages = make([]stageTally, 1)
	}
	for t.at > 0 && due < t.stages[t.at].Begin {
		t.at--
	}
	for t.at+1 < len(t.stages) && due >= t.stages[t.at+1].Begin {
		t.at++
	}
	return &t.stages[t.at]
}

// widen keeps the first and the last due instant.
func (t *stageTally) widen(due time.Duration) {
	if t.counts.Planned == 0 {
		t.first, t.last = due, due
	}
	t.first, t.last = min(t.first, due), max(t.last, due)
	t.counts.Planned++
}

func (t *stageTally) sent(r *traffic.Result) {
	lag := r.Lag()
	t.counts.Sent++
	t.counts.Busy += lag + r.ServiceTime()
	t.counts.Own += clientPart(r)
	if lag > displaced {
		t.counts.Displaced++
	}
	switch s := (sending{r.Due, max(r.Due, r.Ready), r.Sent}); {
	case t.known():
		t.counts.after(s, t.End)
	case s.sent > t.last:
		t.behind = append(t.behind, s)
	case s.postponed():
		t.counts.postpone()
	}
}

// after counts what was sent after the end.
func (c *RateCounts) after(s sending, end time.Duration) {
	switch {
	case s.sent <= end:
		return
	case s.could > end:
		c.Waited++
	default:
		c.Lagged++
	}
	c.Overrun = max(c.Overrun, s.sent-end)
}

func (c *RateCounts) postpone() {
	c.Postponed++
	c.Waited++
}

// forget lets go of what was sent before the last due instant; of what is not in order, later.
func (t *stageTally) forget() {
	for ; t.done < len(t.behind) && t.behind[t.done].sent <= t.last; t.done++ {
		if t.behind[t.done].postponed() {
			t.counts.postpone()
		}
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
	StoppedWaiting:    "requests that waited for a connection when the run was stopped",
	"connect_timeout": "requests that timed out while their connection was made",
	"no_ports":        "requests for whose connection this machine had no port left",
	"no_descriptors":  "requests for whose connection this process had no descriptor left",
}

// never counts a request that was never sent.
func (t *stageTally) never(r *traffic.Result) {
	c := &t.counts
	switch {
	case r.Outcome != traffic.Unsent && slices.Contains(ConnectErrors, r.Error):
		c.NoConnection++
		c.Refused++
	case slices.Contains(ClientErrors, r.Error), r.Outcome != traffic.Unsent && r.Ready != traffic.Never, turnedAway(r) && ownFault(r):
		c.Held++
	case turnedAway(r):
		c.Unsent++
	default:
		c.NoConnection++
	}
}

// class counts the error class of a request that was never sent.
func (t *RateTally) class(r *traffic.Result) {
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

// Counts gives the counts of the rows so far.
func (t *RateTally) Counts() (c RateCounts) {
	for i := range t.stages {
		part := t.stages[i].sum()
		c.add(&part)
		if len(t.stages) > 1 {
			part.Stage = &Stage{t.stages[i].Begin, t.stages[i].End, t.stages[i].Asked}
			c.Stages = append(c.Stages, part)
		}
	}
	for _, code := range slices.SortedFunc(maps.Keys(t.classes), cmp.Compare) {
		f := *t.classes[code]
		f.Examples = slices.Clone(f.Examples)
		c.Classes = append(c.Classes, f)
	}
	return c
}

// sum gives the counts of a stage. It lasts until a gap after its last due instant, as n requests have n−1 gaps between them,
// and no longer than was planned.
func (t *stageTally) sum() RateCounts {
	c := t.counts
	if c.Planned > 1 {
		c.Span = time.Duration(float64(t.last-t.first) * float64(c.Planned) / float64(c.Planned-1))
	}
	if t.known() {
		if length := t.End - t.Begin; c.Span > length || c.Planned == 1 {
			c.Span = length
		}
		return c
	}
	end := t.first + c.Span
	for _, s := range t.behind[t.done:] {
		if s.postponed() {
			c.postpone()
			c.Overrun = max(c.Overrun, s.sent-end)
		} else {
			c.after(s, end)
		}
	}
	return c
}

// add adds the counts of a part.
func (c *RateCounts) add(part *RateCounts) {
	c.Planned += part.Planned
	c.Stopped += part.Stopped
	c.Span += part.Span
	c.Unsent += part.Unsent
	c.NoConnection += part.NoConnection
	c.Waited += part.Waited
	c.Lagged += part.Lagged
	c.Held += part.Held
	c.Refused += part.Refused
	c.Postponed += part.Postponed
	c.Overrun = max(c.Overrun, part.Overrun)
	c.Displaced += part.Displaced
	c.Sent += part.Sent
	c.Busy += part.Busy
	c.Own += part.Own
}

// How much of a rate may be missed, as a share, and which overrun misses nothing: a request that is due in the plan's last
// instant may wait for a connection as any other does.
const (
	missable = 0.001
	grace    = 10 * time.Millisecond
)

// system is how many requests were not sent in time as the system under test did not take them.
func (c *RateCounts) system() int { return c.Unsent + c.NoConnection + c.Waited }

// client is how many were not sent in time by the client's own doing.
func (c *RateCounts) client() int { return c.Lagged + c.Held }

// forgive takes out what was sent after the end of the plan where all of it was within a thousandth of its span (n requests in
// 1.001 times the span are the asked rate within 0.1 %), or within grace, which in a short run is more. What was postponed is
// not forgiven.
func (c RateCounts) forgive() RateCounts {
	if c.Overrun <= max(grace, time.Duration(missable*float64(c.Span))) {
		c.Waited, c.Lagged = c.Postponed, 0
	}
	return c
}

// missedBy tells whether n is more than may be missed.
func (c *RateCounts) missedBy(n int) bool { return float64(n) > missable*float64(c.Planned) }

// explained tells whether the client's own part of the time for which connections were taken is large (load-engine.md, item
// 4), and as large a share of it as what was missed: without it, connections would have been free for these requests. A
// client that reads late makes its server look busy; it refuses no connection.
func (c *RateCounts) explained() bool {
	if c.Sent == 0 || c.Busy <= 0 {
		return false
	}
	n := time.Duration(c.Sent)
	share := float64(c.Own) / float64(c.Busy)
	return c.Own/n > lagLimit(c.Busy/n) && share*float64(c.Planned) >= float64(c.system()-c.Refused)
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
	item.State, item.Summary = counts.judge()
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

// judge judges each stage by itself: the first one of the worst decides, and is named.
func (c *RateCounts) judge() (state State, text string) {
	if len(c.Stages) == 0 {
		return c.judgeAlone("the plan's end")
	}
	state = NotTested
	forgiven := RateCounts{Stages: c.Stages}
	for i := range c.Stages {
		part := &c.Stages[i]
		kept := part.forgive()
		forgiven.add(&kept)
		if part.Planned == 0 {
			continue
		}
		if own, says := part.judgeAlone("the stage's end"); rank[own] > rank[state] {
			state, text = own, fmt.Sprintf("stage %d of %d, %s/s: %s", i+1, len(c.Stages), number(part.Stage.rate()), says)
		}
	}
	if state == Pass {
		text = forgiven.inTime()
	}
	return state, text
}

// rate is what the stage asks for, on average.
func (s *Stage) rate() float64 { return float64(s.Asked) / (s.End - s.Begin).Seconds() }

// judgeAlone is the law of the rate, up to an end. Where more than may be missed is missed by either alone, or by both
// together, and the system's part is not enough, the client's makes the difference.
func (c *RateCounts) judgeAlone(end string) (State, string) {
	const failed = "the system under test did not take the rate: "
	kept := c.forgive()
	missed := kept.system() + kept.client()
	switch says := c.asked() + "; " + kept.late(end); {
	case c.missedBy(c.Refused):
		return Fail, failed + says
	case c.Unsent == 0 && !c.missedBy(missed) && !c.missedBy(c.Displaced):
		if c.Overrun > 0 {
			return Pass, kept.inTime() + ", the last one " + ms(c.Overrun) + " after " + end
		}
		return Pass, kept.inTime()
	case c.Unsent == 0 && !c.missedBy(kept.system()):
		return Invalid, "the client did not keep the rate: " + says
	case kept.explained():
		return Invalid, fmt.Sprintf("the rate was missed, and the client took %s %% of its connections' time itself, which may be why: %s",
			number(100*float64(c.Own)/float64(c.Busy)), says)
	default:
		return Fail, failed + says
	}
}

// inTime is "10,000 requests were asked for at 1000/s, and were sent in time, but for 2".
func (c *RateCounts) inTime() string {
	text := c.asked() + ", and were sent in time"
	if missed := c.system() + c.client(); missed > 0 {
		text += ", but for " + count(missed)
	}
	return text
}

// asked is "10,000 requests were asked for at 1000/s".
func (c *RateCounts) asked() string {
	text := plural(c.Planned, "request was", "requests were") + " asked for"
	switch {
	case len(c.Stages) > 0:
		return fmt.Sprintf("%s in %d stages", text, len(c.Stages))
	case c.Span == 0:
		return text
	}
	return fmt.Sprintf("%s at %s/s", text, number(float64(c.Planned)/c.Span.Seconds()))
}

// late lists what was not sent in time, up to an end.
func (c *RateCounts) late(end string) string {
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
		say(c.Waited-c.Postponed, "waited for a connection until after "+end+by),
		say(c.Postponed, "waited more than a second for a connection"),
		say(c.Lagged, "were sent after "+end+", though a connection was free"+by),
		say(c.Held, "were never sent, for want of nothing but the client"),
		say(c.Displaced, "were sent more than a second late, though a connection was free"),
	}, ", ")
}
