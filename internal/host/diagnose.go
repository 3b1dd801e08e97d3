package host

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The error classes that are this machine's doing, not the server's.
const (
	NoPorts       = "no_ports"       // no local port is left to connect from (EADDRNOTAVAIL)
	NoDescriptors = "no_descriptors" // no descriptor is left for a connection (EMFILE, ENFILE)
)

// Cause is why the client was late.
type Cause string

// The causes.
const (
	Descriptors Cause = "descriptors"
	Ports       Cause = "ports"
	Quantum     Cause = "quantum"
	Throttled   Cause = "throttled"
	Stolen      Cause = "stolen"
	Collector   Cause = "garbage collector"
	Saturated   Cause = "saturated"
	OwnThreads  Cause = "own threads"
	Crowded     Cause = "crowded"
	Halted      Cause = "halted"
	Unknown     Cause = "unknown"
)

// Diagnosis is what a run's seconds say of the client.
type Diagnosis struct {
	Seconds int           `json:"seconds"`
	Rows    int64         `json:"rows"`
	Looped  int64         `json:"looped"` // of Rows, those of the seconds whose loops were measured: the last has none any more
	ReadLag time.Duration `json:"read_lag_max_ns"`
	Total   Usage         `json:"total"`
	Spans   []Span        `json:"spans,omitempty"` // in which the client was the cause, in their order
}

// Span is an interval in which the client was late, or could not connect, by its own doing.
type Span struct {
	From    int64         `json:"from_second"`
	To      int64         `json:"to_second"`  // not in it
	Lag     time.Duration `json:"lag_max_ns"` // the largest in it
	ReadLag time.Duration `json:"read_lag_max_ns"`
	Causes  []Cause       `json:"causes"` // the likeliest first
	Text    string        `json:"text"`   // "from 12 s to 14 s the client …", with the evidence
}

// When a second is the client's: the 99th percentile of its lag is above a tenth of the response time's, and above 0.2 ms,
// as in the verdicts. The read lag is known by its maximum alone, which is many times its 99th percentile, and is an upper
// bound; so it counts from ten times that.
const (
	lagFloor       = 200 * time.Microsecond
	readLagBeyond  = 10
	figureFraction = 10
)

// quantumSlack is how much later than its quantum a client may be by it (load-engine's economical quantum: lag p99 ≤ quantum
// + 150 µs).
const quantumSlack = 150 * time.Microsecond

// late tells whether the client was the cause in this second.
func (s *Second) late() bool { return s.Lag.P99 > s.limit() || s.lateBeside() }

// lateBeside tells whether it was the cause by something else than when it sent.
func (s *Second) lateBeside() bool {
	return s.ReadLagMax > readLagBeyond*s.limit() || s.Errors[NoPorts]+s.Errors[NoDescriptors] > 0
}

func (s *Second) limit() time.Duration { return max(s.Response/figureFraction, lagFloor) }

// byQuantum tells whether the client was late by its quantum, and by nothing else.
func (s *Second) byQuantum(quantum time.Duration) bool {
	return quantum > 0 && s.late() && !s.lateBeside() && s.Lag.P99 <= quantum+quantumSlack
}

// begins is the first second of what made this one late: a request that was sent two seconds late, and was recorded in this
// one, waited in the two before.
func (s *Second) begins() int64 {
	return max(0, s.Second-int64(max(s.Lag.Max, s.ReadLagMax)/time.Second))
}

// Diagnose finds the intervals in which the client was the cause, joins those that touch, and names the likely causes by
// what was measured in them, or by the quantum that was asked for. It is pure; seconds are in their order, and some may be
// missing.
func Diagnose(seconds []Second, quantum time.Duration) Diagnosis {
	d := Diagnosis{Seconds: len(seconds)}
	for i := range seconds {
		s := &seconds[i]
		d.Rows += s.Rows
		if len(s.Loops) > 0 {
			d.Looped += s.Rows
		}
		d.ReadLag = max(d.ReadLag, s.ReadLagMax)
		d.Total.add(&s.Usage)
	}
	for _, span := range spans(seconds) {
		d.Spans = append(d.Spans, span.explain(seconds, quantum))
	}
	return d
}

// Sentences says each span in words, at most n of them, the longest lags first chosen and told in their order; what is left
// out is counted.
func (d *Diagnosis) Sentences(n int) (out []string) {
	worst := slices.Clone(d.Spans)
	slices.SortStableFunc(worst, func(a, b Span) int { return cmp.Compare(max(b.Lag, b.ReadLag), max(a.Lag, a.ReadLag)) })
	worst = worst[:min(n, len(worst))]
	slices.SortFunc(worst, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	for _, span := range worst {
		out = append(out, span.Text)
	}
	if left := len(d.Spans) - len(worst); left > 0 {
		out = append(out, fmt.Sprintf("and in %d other intervals, each with a smaller lag", left))
	}
	return out
}

// spans joins late seconds with what they began in.
func spans(seconds []Second) (out []Span) {
	for i := range seconds {
		s := &seconds[i]
		if !s.late() {
			continue
		}
		span := Span{From: s.begins(), To: s.Second + 1, Lag: s.Lag.Max, ReadLag: s.ReadLagMax}
		for len(out) > 0 && out[len(out)-1].To >= span.From {
			before := out[len(out)-1]
			out = out[:len(out)-1]
			span.From, span.Lag, span.ReadLag = min(span.From, before.From), max(span.Lag, before.Lag), max(span.ReadLag, before.ReadLag)
		}
		out = append(out, span)
	}
	return out
}

// explain names the causes of a span, with the evidence. Where the client was late by its quantum alone, what else went on is
// no cause.
func (s Span) explain(seconds []Second, quantum time.Duration) Span {
	var used Usage
	var by, beside bool // the quantum
	failed := map[string]int64{}
	for i := range seconds {
		if at := seconds[i].Second; at < s.From || at >= s.To {
			continue
		}
		if seconds[i].byQuantum(quantum) {
			by = true
			continue
		}
		beside = beside || seconds[i].late()
		used.add(&seconds[i].Usage)
		for class, n := range seconds[i].Errors {
			failed[class] += n
		}
	}
	var why []string
	if beside && used.halted(s.Lag) {
		s.Causes = []Cause{Halted}
		s.Text = fmt.Sprintf("from %d s to %d s %s: it did not run for so long (stopped, suspended or swapped out), as all else that was measured took %s", s.From, s.To, s.what(failed), round(used.lost()))
		return s
	}
	for _, e := range append(evidence(&used, failed), finding{Quantum, by, fmt.Sprintf("what is due within its quantum of %s is sent at once", round(quantum))}) {
		if e.found && (beside || e.cause == Quantum) {
			s.Causes, why = append(s.Causes, e.cause), append(why, e.says)
		}
	}
	if s.Causes == nil {
		s.Causes, why = []Cause{Unknown}, []string{"nothing that was measured explains it"}
	}
	s.Text = fmt.Sprintf("from %d s to %d s %s: %s", s.From, s.To, s.what(failed), strings.Join(why, "; "))
	return s
}

// halted tells whether a lag is far longer than all that is known to have kept the client from running, so that what there
// was of that is no cause. The shortest such lag is what no run queue of a machine in use explains.
func (u *Usage) halted(lag time.Duration) bool {
	const shortest = 200 * time.Millisecond
	return len(u.Loops) > 0 && lag >= shortest && u.lost() < lag/4 && u.share(u.busiest().CPU) < usedUp
}

// lost is the time for which something is known to have kept the client from running.
func (u *Usage) lost() time.Duration {
	return u.waited() + known(u.Throttled).For + known(u.Machine).Steal + u.GC.Paused
}

// what says what happened in the span.
func (s *Span) what(failed map[string]int64) string {
	if failed[NoPorts]+failed[NoDescriptors] > 0 && s.Lag <= lagFloor {
		return "the client could not connect"
	}
	if s.ReadLag > s.Lag {
		return fmt.Sprintf("the client read up to %s late", round(s.ReadLag))
	}
	return fmt.Sprintf("the client sent up to %s late", round(s.Lag))
}

// finding is a possible cause, with whether the evidence is there.
type finding struct {
	cause Cause
	found bool
	says  string
}

// What makes a cause: a hundredth of the time, as that is what a 99th percentile can tell, and a little more in a run queue,
// where every wake-up spends some microseconds; a core is used up from 95 %.
const (
	noticed = 0.01
	queued  = 0.02
	usedUp  = 0.95
)

// share is a time as a share of the usage's.
func (u *Usage) share(d time.Duration) float64 { return d.Seconds() / max(u.For.Seconds(), 1e-9) }

// evidence lists the possible causes, the most specific ones first.
func evidence(u *Usage, failed map[string]int64) []finding {
	throttled, machine := known(u.Throttled), known(u.Machine)
	stolen := machine.Steal.Seconds() / max(machine.Total.Seconds(), 1e-9)
	out := []finding{
		{Descriptors, failed[NoDescriptors] > 0, fmt.Sprintf("no descriptor was left for %d connections (ulimit -n)", failed[NoDescriptors])},
		{Ports, failed[NoPorts] > 0, fmt.Sprintf("no local port was left for %d connections", failed[NoPorts])},
		{Throttled, u.share(throttled.For) >= noticed, fmt.Sprintf("the limit of its cgroup stopped it %d times, for %s", throttled.Times, round(throttled.For))},
		{Stolen, stolen >= noticed, fmt.Sprintf("the hypervisor took %s of the machine's CPU time", percent(stolen))},
		{Collector, u.GC.Longest >= lagFloor && u.share(u.GC.Paused) >= noticed, fmt.Sprintf("the garbage collector stopped it %d times, for up to %s", u.GC.Pauses, round(u.GC.Longest))},
	}
	if len(u.Loops) > 0 {
		return append(out, u.ofLoops(out[2].found || out[3].found)...)
	}
	return append(out, u.ofProcess()...)
}

// ofLoops is the evidence of the event loops' threads. Time that a limit or a hypervisor takes is in the run queue too: it
// is told once.
func (u *Usage) ofLoops(told bool) []finding {
	most, waited := u.busiest(), u.waited()
	full := u.share(most.CPU) >= usedUp
	crowded := !told && !full && u.share(waited) >= queued
	own := crowded && u.beside() >= waited
	took := fmt.Sprintf("took its event loop's core (%s in the run queue, %s)", round(waited), switches(u.pushed()))
	return []finding{
		{Saturated, full, fmt.Sprintf("its event loop had %s of a core, and could do no more", percent(u.share(most.CPU)))},
		{OwnThreads, own, "its other threads " + took},
		{Crowded, crowded && !own, "another process " + took},
	}
}

// ofProcess is the evidence where there are no event loops.
func (u *Usage) ofProcess() []finding {
	process, machine := known(u.Process), known(u.Machine)
	cores := u.share(process.CPU())
	full := u.CPUs > 0 && cores >= usedUp*float64(u.CPUs)
	busy := machine.Busy.Seconds() / max(machine.Total.Seconds(), 1e-9)
	return []finding{
		{Saturated, full, fmt.Sprintf("it used %.3g of its %d CPUs, and could do no more", cores, u.CPUs)},
		{Crowded, !full && busy >= usedUp, fmt.Sprintf("the machine's CPUs were busy for %s of the time, by it for %.3g CPUs", percent(busy), cores)},
	}
}

// known is what a measurement says; nothing where there is none.
func known[T any](v *T) (out T) {
	if v != nil {
		out = *v
	}
	return out
}

// busiest is the loop that used most CPU.
func (u *Usage) busiest() (l Loop) {
	for _, other := range u.Loops {
		if other.CPU > l.CPU {
			l = other
		}
	}
	return l
}

// waited is the longest that a loop was in a run queue.
func (u *Usage) waited() (wait time.Duration) {
	for i := range u.Loops {
		wait = max(wait, u.Loops[i].waited())
	}
	return wait
}

// pushed is how often loops were pushed off their cores.
func (u *Usage) pushed() (n int64) {
	for i := range u.Loops {
		n += u.Loops[i].Involuntary
	}
	return n
}

// beside is the CPU time of the process that no loop used.
func (u *Usage) beside() time.Duration {
	if u.Process == nil {
		return 0
	}
	rest := u.Process.CPU()
	for i := range u.Loops {
		rest -= u.Loops[i].CPU
	}
	return max(0, rest)
}

func switches(n int64) string {
	if n == 1 {
		return "1 involuntary switch"
	}
	return strconv.FormatInt(n, 10) + " involuntary switches"
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// round keeps three digits of a duration.
func round(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}
