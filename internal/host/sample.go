// Package host measures the machine that the load comes from: what this process, its event loops and the machine did,
// second by second, so that a slow client is not taken for a slow server. What a system does not tell is absent, never
// made up.
package host

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// LoopThread begins the names of the threads that are event loops.
const LoopThread = "umbra-loop"

// Sample is a reading of counters that only grow: two of them make a Usage.
type Sample struct {
	at        time.Time
	process   *Process
	loops     map[int]Loop // by thread
	throttled *Throttling
	machine   *Machine
	gc        collections
	cpus      int
}

// Usage is what was done between two samples.
type Usage struct {
	For       time.Duration `json:"for_ns"` // between the samples
	Process   *Process      `json:"process,omitempty"`
	Loops     []Loop        `json:"loops,omitempty"` // by thread
	Throttled *Throttling   `json:"throttled,omitempty"`
	Machine   *Machine      `json:"machine,omitempty"`
	GC        GC            `json:"gc"`
	CPUs      int           `json:"cpus"` // that this process may run on
}

// Process is what the whole process used.
type Process struct {
	User        time.Duration `json:"user_ns"`
	System      time.Duration `json:"system_ns"`
	Voluntary   int64         `json:"voluntary_switches"`   // it waited for something
	Involuntary int64         `json:"involuntary_switches"` // it was pushed off its core
}

// CPU is user and system time.
func (p *Process) CPU() time.Duration { return p.User + p.System }

// Loop is what an event loop's thread used.
type Loop struct {
	Thread      int            `json:"thread"`
	Name        string         `json:"name"`
	CPU         time.Duration  `json:"cpu_ns"`
	Wait        *time.Duration `json:"run_queue_wait_ns,omitempty"` // it could have run, and its core ran something else
	Voluntary   int64          `json:"voluntary_switches"`
	Involuntary int64          `json:"involuntary_switches"`
}

// waited is Wait, 0 where it is not known.
func (l *Loop) waited() time.Duration {
	if l.Wait == nil {
		return 0
	}
	return *l.Wait
}

// Throttling is how often, and for how long, the process's cgroups were out of CPU time: summed over them, and over CPUs.
type Throttling struct {
	Times int64         `json:"times"`
	For   time.Duration `json:"for_ns"`
}

// Machine is the whole machine's CPU time, summed over its CPUs.
type Machine struct {
	Total time.Duration `json:"total_ns"`
	Busy  time.Duration `json:"busy_ns"`
	Steal time.Duration `json:"steal_ns"` // that the hypervisor gave to others
}

// GC is what the garbage collector did. Its pauses are known within 12.5 %, so both times are upper bounds.
type GC struct {
	Cycles  int64         `json:"cycles"`
	Pauses  int64         `json:"pauses"` // stops of all goroutines, two a cycle
	Paused  time.Duration `json:"paused_ns"`
	Longest time.Duration `json:"longest_pause_ns"`
}

// Since is what was done from earlier to s.
func (s *Sample) Since(earlier *Sample) Usage {
	return Usage{
		For:       s.at.Sub(earlier.at),
		Process:   s.process.since(earlier.process),
		Loops:     loopsSince(s.loops, earlier.loops),
		Throttled: s.throttled.since(earlier.throttled),
		Machine:   s.machine.since(earlier.machine),
		GC:        s.gc.since(&earlier.gc),
		CPUs:      s.cpus,
	}
}

// rise is how much a counter grew. The kernel takes steal and idle time back now and then: that counts as none.
func rise[N int64 | time.Duration](now, then N) N { return max(0, now-then) }

func (p *Process) since(e *Process) *Process {
	if p == nil || e == nil {
		return nil
	}
	return &Process{rise(p.User, e.User), rise(p.System, e.System), rise(p.Voluntary, e.Voluntary), rise(p.Involuntary, e.Involuntary)}
}

// loopsSince takes a thread that is new from 0; what a thread that has ended did after the earlier sample is lost.
func loopsSince(now, then map[int]Loop) (out []Loop) {
	for id, l := range now {
		e := then[id]
		l.CPU, l.Voluntary, l.Involuntary = rise(l.CPU, e.CPU), rise(l.Voluntary, e.Voluntary), rise(l.Involuntary, e.Involuntary)
		if l.Wait != nil {
			wait := rise(*l.Wait, e.waited())
			l.Wait = &wait
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Loop) int { return cmp.Compare(a.Thread, b.Thread) })
	return out
}

func (t *Throttling) since(e *Throttling) *Throttling {
	if t == nil || e == nil {
		return nil
	}
	return &Throttling{rise(t.Times, e.Times), rise(t.For, e.For)}
}

func (m *Machine) since(e *Machine) *Machine {
	if m == nil || e == nil {
		return nil
	}
	return &Machine{rise(m.Total, e.Total), rise(m.Busy, e.Busy), rise(m.Steal, e.Steal)}
}

// add joins the usage of another interval to u. What either does not know, the sum does not, but for a sum that is empty.
func (u *Usage) add(v *Usage) {
	first := u.For == 0
	u.For += v.For
	u.Process = sum(u.Process, v.Process, first, func(a, b *Process) Process {
		return Process{a.User + b.User, a.System + b.System, a.Voluntary + b.Voluntary, a.Involuntary + b.Involuntary}
	})
	u.Throttled = sum(u.Throttled, v.Throttled, first, func(a, b *Throttling) Throttling {
		return Throttling{a.Times + b.Times, a.For + b.For}
	})
	u.Machine = sum(u.Machine, v.Machine, first, func(a, b *Machine) Machine {
		return Machine{a.Total + b.Total, a.Busy + b.Busy, a.Steal + b.Steal}
	})
	u.Loops = addLoops(u.Loops, v.Loops)
	u.GC = GC{u.GC.Cycles + v.GC.Cycles, u.GC.Pauses + v.GC.Pauses, u.GC.Paused + v.GC.Paused, max(u.GC.Longest, v.GC.Longest)}
	u.CPUs = v.CPUs
}

func sum[T any](a, b *T, first bool, plus func(a, b *T) T) *T {
	switch {
	case b == nil || a == nil && !first:
		return nil
	case a == nil:
		v := *b
		return &v
	}
	v := plus(a, b)
	return &v
}

func addLoops(a, b []Loop) []Loop {
	byThread := map[int]Loop{}
	for _, l := range slices.Concat(a, b) {
		s, known := byThread[l.Thread]
		if known && (s.Wait == nil || l.Wait == nil) {
			l.Wait = nil
		} else if l.Wait != nil {
			wait := s.waited() + *l.Wait
			l.Wait = &wait
		}
		l.CPU, l.Voluntary, l.Involuntary = s.CPU+l.CPU, s.Voluntary+l.Voluntary, s.Involuntary+l.Involuntary
		byThread[l.Thread] = l
	}
	if len(byThread) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Values(byThread), func(a, b Loop) int { return cmp.Compare(a.Thread, b.Thread) })
}
