// Package trend finds since when the figures of a series of runs are not what they were. It is pure: the figures of reports go in, and data
// come out that a renderer only has to print.
package trend

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"umbra/internal/runs"
	"umbra/internal/stats"
	"umbra/internal/verdict"
)

// Format is the version that a trend's JSON names.
const Format = "trend/v1"

// MinRuns is how many runs a series has to have for anything to be told, whatever the level.
const MinRuns = 8

// Least is how many runs lie on both sides of a change: one is told at the earliest in its third run.
const Least = 3

// Options are what changes are looked for with.
type Options struct {
	// Level is the chance, for all figures of a group together, of a change being told where there is none.
	Level        float64
	Permutations int // at least
	Seed         uint64
}

// Defaults are those of Options.
func Defaults() Options { return Options{Level: 0.05, Permutations: 999, Seed: 1} }

// Result is what a folder of runs tells.
type Result struct {
	Umbra    string  `json:"umbra"`
	Headline string  `json:"headline"`
	Level    float64 `json:"level"`
	Seed     uint64  `json:"seed"`
	// Told: some group had enough runs for a change to be seen.
	Told    bool    `json:"told"`
	Groups  []Group `json:"groups"` // those of which something can be told first, then the one with the newest run
	LeftOut []Left  `json:"left_out,omitempty"`
}

// Left is what is in no series, and why.
type Left struct {
	Source string `json:"source"`
	Why    string `json:"why"`
}

// Group is the runs of one scenario on one machine, in the order of time.
type Group struct {
	Name    string   `json:"name"`
	Load    string   `json:"load,omitempty"`
	Mesh    string   `json:"mesh"`
	Machine string   `json:"machine"`
	Runs    []Member `json:"runs"`
	Series  []Series `json:"series"`
	// Why nothing can be told; "" where something can.
	Why string `json:"why,omitempty"`
	// Tests is how many series were looked at, among which the level is divided.
	Tests int `json:"tests"`
}

// Member is a run of a group.
type Member struct {
	Source   string    `json:"source"`
	Started  time.Time `json:"started"`
	Version  string    `json:"umbra_version"`
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Verdict is what a verdict of a run came to.
type Verdict struct {
	Name  string        `json:"name"`
	State verdict.State `json:"state"`
}

// Series is a figure over the runs that have it.
type Series struct {
	Name       string  `json:"name"`
	Unit       string  `json:"unit"` // ms, %, /s
	ChangeUnit string  `json:"change_unit"`
	Values     []Value `json:"values"`
	// Spread is the standard deviation from run to run between changes, in ChangeUnit; nil where it is not known.
	Spread  *float64 `json:"spread,omitempty"`
	Changes []Change `json:"changes,omitempty"`
	// Constant: the value is the same in all runs, so that there is nothing to look for.
	Constant bool   `json:"constant,omitempty"`
	Why      string `json:"why,omitempty"` // it was not looked at for changes
}

// Value is a run's figure.
type Value struct {
	Run   int     `json:"run"` // its index among the group's runs
	Value float64 `json:"value"`
}

// Change is a place from which on a series is not what it was.
type Change struct {
	Run     int       `json:"run"` // the first one behind it, as an index
	Source  string    `json:"source"`
	Started time.Time `json:"started"`
	// Before and After are the means up to the neighbouring changes, of times and rates geometric ones, in the series' unit.
	Before     float64 `json:"before"`
	After      float64 `json:"after"`
	RunsBefore int     `json:"runs_before"`
	RunsAfter  int     `json:"runs_after"`
	// Change is in the series' ChangeUnit, with a 95 % interval that takes the place of the change as given.
	Change float64 `json:"change"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	// P is the permutation p-value after Bonferroni over the group's series; Confidence is what it leaves, in percent.
	P          float64 `json:"p"`
	Confidence float64 `json:"confidence_percent"`
	// Verdict is "worse" or "better" where more of the figure is either; "" where it is neither.
	Verdict string `json:"verdict,omitempty"`
	// Differences are what is not alike in that run and the one before it in the series.
	Differences []runs.Difference `json:"differences,omitempty"`
}

// Of looks for changes in runs, which may be of several scenarios and machines and in any order.
func Of(all []runs.Run, o Options) *Result {
	r := &Result{Umbra: Format, Level: o.Level, Seed: o.Seed, Groups: []Group{}}
	whole := r.sift(all)
	for _, members := range grouped(whole) {
		g := group(members, o)
		r.Told = r.Told || g.Why == ""
		r.Groups = append(r.Groups, g)
	}
	slices.SortStableFunc(r.Groups, func(a, b Group) int { return cmp.Compare(min(1, len(a.Why)), min(1, len(b.Why))) })
	r.Headline = r.headline()
	return r
}

// sift gives the runs that can be in a series, in the order of time, and notes why the others cannot.
func (r *Result) sift(all []runs.Run) (whole []runs.Run) {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b runs.Run) int {
		return cmp.Or(a.Record.Started.Compare(b.Record.Started), cmp.Compare(a.Source, b.Source))
	})
	for i := range sorted {
		run := &sorted[i]
		same := slices.IndexFunc(whole, func(other runs.Run) bool { return run.Same(&other) })
		why := ""
		switch {
		case run.Record.Started.IsZero():
			why = "it does not tell when it began"
		case run.Partial != "":
			why = run.Partial
		case same >= 0:
			why = "it is the same run as " + whole[same].Source
		}
		if why != "" {
			r.LeftOut = append(r.LeftOut, Left{run.Source, why})
			continue
		}
		whole = append(whole, *run)
	}
	return whole
}

// grouped puts runs of one key together, the group with the newest run first.
func grouped(sorted []runs.Run) (out [][]runs.Run) {
	index := map[string]int{}
	for _, run := range sorted {
		key := run.Key()
		i, known := index[key]
		if !known {
			i = len(out)
			index[key], out = i, append(out, nil)
		}
		out[i] = append(out[i], run)
	}
	slices.SortStableFunc(out, func(a, b []runs.Run) int {
		return b[len(b)-1].Record.Started.Compare(a[len(a)-1].Record.Started)
	})
	return out
}

func group(members []runs.Run, o Options) Group {
	last := &members[len(members)-1]
	m := last.Record.Machine
	g := Group{Name: last.Name, Load: last.Load, Mesh: last.Record.Mesh, Machine: fmt.Sprintf("%s/%s with %d CPUs", m.OS, m.Arch, m.CPUs)}
	for i := range members {
		g.Runs = append(g.Runs, memberOf(&members[i]))
	}
	all := figures(members)
	for i := range all {
		if s := &all[i]; s.lacks() == "" {
			g.Tests++
		} else {
			s.Why, s.Constant = s.lacks(), len(s.Values) >= MinRuns && constant(s.Values)
		}
	}
	level := o.Level / float64(max(1, g.Tests))
	g.Why = tooFew(len(members), level)
	for i := range all {
		s := &all[i]
		s.Why = cmp.Or(s.Why, tooFew(len(s.Values), level))
		if s.Why == "" && g.Why == "" {
			s.search(members, o, g.Tests)
		}
		g.Series = append(g.Series, s.Series)
	}
	return g
}

func memberOf(run *runs.Run) Member {
	m := Member{Source: run.Source, Started: run.Record.Started, Version: run.Record.Version}
	for _, v := range run.Verdicts {
		m.Verdicts = append(m.Verdicts, Verdict{v.Name, v.State})
	}
	return m
}

// tooFew tells why so many runs tell nothing at a level; "" where they may.
func tooFew(n int, level float64) string {
	need := enough(level)
	if n >= need {
		return ""
	}
	return fmt.Sprintf("nothing can be told of %s: at least %d are needed for a change to be seen, so that whether there was one is not known", plural(n, "run", "runs"), need)
}

// enough is the least number of runs of which the clearest change can be found at a level: of n values, those of one half all above those of
// the other, 2 of the C(n, n/2) ways to halve them tell as much.
func enough(level float64) int {
	for n := MinRuns; ; n++ {
		a, _ := math.Lgamma(float64(n) + 1)
		b, _ := math.Lgamma(float64(n/2) + 1)
		c, _ := math.Lgamma(float64(n-n/2) + 1)
		if math.Log(2)-(a-b-c) <= math.Log(level) {
			return n
		}
	}
}

// search finds a series' changes. The level is divided among the group's tests (Bonferroni).
func (s *figure) search(members []runs.Run, o Options, tests int) {
	values := s.scaled()
	share := o.Level / float64(tests)
	d := stats.Divisive{Least: Least, Level: share, Permutations: max(o.Permutations, int(math.Ceil(4/share))), Seed: o.Seed}
	found := d.Changes(values)
	bounds := []int{0}
	for _, c := range found {
		bounds = append(bounds, c.At)
	}
	bounds = append(bounds, len(values))
	s.Spread = s.spread(values, bounds)
	for i, c := range found {
		before, after := stats.MeanOf(values[bounds[i]:c.At]), stats.MeanOf(values[c.At:bounds[i+2]])
		shift := stats.Welch(before, after)
		at, under := s.Values[c.At].Run, s.Values[c.At-1].Run
		change := Change{Run: at, Source: members[at].Source, Started: members[at].Record.Started,
			Before: s.unscaled(before.Mean), After: s.unscaled(after.Mean), RunsBefore: before.N, RunsAfter: after.N,
			Change: s.change(shift.Value), Low: s.change(shift.Lower(0.025)), High: s.change(shift.Upper(0.025)),
			P: min(1, c.P*float64(tests)), Differences: runs.Differences(members[under:under+1], members[at:at+1])}
		change.Confidence = 100 * (1 - change.P)
		switch {
		case s.harm*shift.Value > 0:
			change.Verdict = "worse"
		case s.harm*shift.Value < 0:
			change.Verdict = "better"
		}
		s.Changes = append(s.Changes, change)
	}
}

// spread is the pooled standard deviation within the stretches between bounds.
func (s *figure) spread(values []float64, bounds []int) *float64 {
	sum, n := 0.0, 0
	for i := 1; i < len(bounds); i++ {
		m := stats.MeanOf(values[bounds[i-1]:bounds[i]])
		sum += m.SE * m.SE * float64(m.N) * float64(m.N-1)
		n += m.N - 1
	}
	if n < 1 {
		return nil
	}
	spread := s.change(math.Sqrt(sum / float64(n)))
	return &spread
}

// headline sums up: the newest change for the worse first.
func (r *Result) headline() string {
	var latest *Change
	name, changes, runs := "", 0, 0
	for i := range r.Groups {
		g := &r.Groups[i]
		runs += len(g.Runs)
		for j := range g.Series {
			for k := range g.Series[j].Changes {
				c := &g.Series[j].Changes[k]
				changes++
				if latest == nil || worse(c, latest) {
					latest, name = c, g.Series[j].Sentence(c)
				}
			}
		}
	}
	switch {
	case runs == 0:
		return "nothing can be told: there is no whole run"
	case !r.Told && len(r.Groups) == 1:
		return r.Groups[0].Why
	case !r.Told:
		return fmt.Sprintf("nothing can be told: %s, of %d scenarios or machines, and none has enough of them for a change to be seen", plural(runs, "run", "runs"), len(r.Groups))
	case changes == 0:
		return fmt.Sprintf("no change was found in %s, which does not tell that there was none", plural(runs, "run", "runs")) + r.untold()
	}
	return fmt.Sprintf("%s in %s; the newest: %s", plural(changes, "change", "changes"), plural(runs, "run", "runs"), name) + r.untold()
}

// untold names the groups with too few runs.
func (r *Result) untold() string {
	var names []string
	for _, g := range r.Groups {
		if g.Why != "" {
			names = append(names, fmt.Sprintf("%s on %s (%d)", g.Name, g.Machine, len(g.Runs)))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; too few runs for anything to be told: " + strings.Join(names, ", ")
}

// worse orders changes by what a reader asks for first: those for the worse, the newest one.
func worse(a, b *Change) bool {
	bad := func(c *Change) int {
		if c.Verdict == "worse" {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(bad(a), bad(b)), a.Started.Compare(b.Started)) > 0
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
