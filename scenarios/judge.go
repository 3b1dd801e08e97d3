package scenarios

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"umbra/internal/arrivals"
	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/summary"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// Judgement is what a run folder says.
type Judgement struct {
	Scenario *Scenario       // nil where the run had none (umbra replay)
	Record   evidence.Record // with the warnings of its reading
	Start    time.Time
	Figures  summary.Figures
	Verdicts []verdict.Verdict // without a scenario the rate's alone
	Versions *verdict.Versions // how the versions' answers compare; nil without a scenario, and where none were compared
	Doubts   []string          // what the folder lacks; the run is then partial
	Client   *host.Diagnosis   // what the client measured of itself; nil where it did not
	Arrivals *arrivals.Shape   // how those of the replay compare with the capture's; nil where they were not captured, or no rows are kept
}

// folder is a run folder being read.
type folder struct {
	dir   string
	log   func(start time.Time, s *summary.Summary) error
	out   Judgement
	facts verdict.Facts
	recon *verdict.Recon // nil without a scenario: a run of any length is then read in flat memory
}

// Judge reads a run folder and judges it anew: the same folder gives the same judgement. log, where it is not nil, is given
// the summary before its rows, and may have it write its logs; Judge closes it. A folder that a killed run left is judged as
// far as it goes; one that is none of ours is an error.
func Judge(dir string, log func(start time.Time, s *summary.Summary) error) (*Judgement, error) {
	f := &folder{dir: dir, log: log}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	record := &f.out.Record
	f.facts.Undrained, f.facts.Restarts = !record.Drained, record.Restarts
	f.facts.Start, f.facts.Experiment = f.out.Start, record.Experiment
	f.facts.Partial = f.facts.Incomplete || record.Partial() != ""
	if f.recon == nil {
		rate := f.out.Figures.Rate
		rate.Closed = record.ClosedLoop
		f.out.Verdicts = []verdict.Verdict{verdict.JudgeRate(rate, f.facts)}
		if record.Errors != nil {
			f.out.Verdicts = append(f.out.Verdicts, verdict.JudgeAnswers(answers(&f.out.Figures, *record.Errors), f.facts))
		}
		return &f.out, nil
	}
	verdicts, err := f.recon.Judge(f.facts, f.out.Scenario.options())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	f.out.Verdicts = verdicts
	f.versions()
	return &f.out, nil
}

func answers(f *summary.Figures, percent float64) verdict.AnswerCounts {
	without := f.Error + f.Timeout + f.Inflight
	return verdict.AnswerCounts{Sent: f.OK + without, Without: without, Failed: f.Failed, Percent: percent}
}

func (f *folder) read() error {
	record, err := evidence.ReadRecord(f.dir)
	if err != nil {
		return fmt.Errorf("not a run folder of umbra's (%s): %w", evidence.Run, err)
	}
	f.out.Record = record
	f.client()
	scenario := filepath.Join(f.dir, evidence.Scenario)
	if _, err := os.Stat(scenario); errors.Is(err, fs.ErrNotExist) && record.Mesh == evidence.NoMesh {
		return f.sums()
	}
	if f.out.Scenario, err = LoadResolved(scenario); err != nil {
		return err
	}
	f.recon = verdict.NewRecon()
	f.recon.In(record.Stages)
	return errors.Join(f.sums(), f.state(), f.receipts(evidence.PrimaryReceipts), f.receipts(evidence.ShadowReceipts))
}

// client takes what the client measured of itself, where it did. It explains, and proves nothing: what cannot be read is left
// out, and is a warning.
func (f *folder) client() {
	seconds, err := f.seconds()
	switch {
	case err != nil:
		f.out.Record.Warnings = append(f.out.Record.Warnings, fmt.Sprintf("%s is left out, so that nothing tells why the client was late: %v", host.File, err))
	case len(seconds) > 0:
		diagnosis := host.Diagnose(seconds, f.out.Record.Quantum)
		f.out.Client, f.facts.Client = &diagnosis, diagnosis.Sentences(told)
	}
}

// seconds are none where the client measured nothing.
func (f *folder) seconds() ([]host.Second, error) {
	file, err := os.Open(filepath.Join(f.dir, host.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return host.Read(file)
}

// told is how many intervals a verdict names in which the client was late.
const told = 10

// sums reads the figures: from the rows, or, where the run says that it kept none, as they stood at its end.
func (f *folder) sums() error {
	name, err := evidence.Results, error(nil)
	if f.out.Record.Results == evidence.NoRows {
		name, err = evidence.Figures, f.kept()
	} else {
		err = f.results()
	}
	record := &f.out.Record
	if n := f.out.Figures.Planned; err == nil && record.Finished && n != record.Planned {
		f.lacks("%s has %d rows of %d planned", name, n, record.Planned)
	}
	return err
}

// kept reads the figures of a run without rows. They reconcile nothing: a scenario's run lacks its rows all the same.
func (f *folder) kept() error {
	if f.recon != nil {
		f.lacks("%s was not kept, so no request can be reconciled", evidence.Results)
	}
	err := evidence.ReadJSON(f.dir, evidence.Figures, &f.out.Figures)
	if errors.Is(err, fs.ErrNotExist) {
		f.lacks("%s is missing", evidence.Figures)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", evidence.Figures, err)
	}
	return nil
}

// lacks notes that a part of the evidence is missing, so that its absence proves nothing.
func (f *folder) lacks(format string, args ...any) {
	f.facts.Incomplete = true
	f.out.Doubts = append(f.out.Doubts, fmt.Sprintf(format, args...))
}

func (f *folder) results() error {
	s := summary.New()
	s.In(f.out.Record.Stages)
	shape := f.shape()
	err := f.open(evidence.Results, func(file *os.File) error {
		start, batches, err := traffic.ReadResultBatches(bufio.NewReaderSize(file, 1<<20))
		if err != nil {
			return err
		}
		f.out.Start = start
		if f.log != nil {
			if err := f.log(start, s); err != nil {
				return err
			}
		}
		for rows, err := range batches {
			if err != nil {
				return err
			}
			f.add(rows, s)
			if shape != nil {
				shape.Add(rows)
			}
		}
		return nil
	})
	f.out.Figures = s.Figures()
	if shape != nil {
		f.out.Arrivals = shape.Close()
	}
	return errors.Join(err, s.Close())
}

// shape compares the arrivals with the capture's; nil where there is none that they follow.
func (f *folder) shape() *arrivals.Compare {
	if c := f.out.Record.Capture; c == nil || c.Speed == 0 {
		return nil
	}
	return arrivals.New(f.out.Record.Quantum)
}

func (f *folder) add(rows []traffic.Result, s *summary.Summary) {
	s.Add(rows)
	if f.recon == nil {
		return
	}
	for i := range rows {
		f.recon.AddResult(&rows[i])
	}
}

// open reads a file of the evidence. One that is missing, or cut because its writer was killed, is a doubt.
func (f *folder) open(name string, read func(*os.File) error) error {
	file, err := os.Open(filepath.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		f.lacks("%s is missing", name)
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	err = read(file)
	if errors.Is(err, traffic.ErrTruncated) {
		f.lacks("%s: %v", name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// each ranges over rows until one fails.
func each[T any](rows iter.Seq2[T, error], do func(*T) error) error {
	for v, err := range rows {
		if err != nil {
			return err
		}
		if err := do(&v); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) receipts(name string) error {
	return f.open(name, func(file *os.File) error {
		outside := 0
		err := each(traffic.ReadReceipts(file), func(r *traffic.Receipt) error {
			f.recon.AddReceipt(r)
			if !f.during(r.Arrived) {
				outside++
			}
			return nil
		})
		if outside > 0 {
			f.lacks("%s has %d receipts that are not of the time of this run: are they another run's?", name, outside)
		}
		return err
	})
}

// skew is how far a replica's clock may be from the client's.
const skew = time.Minute

// during tells whether an instant may lie within the run.
func (f *folder) during(t time.Time) bool {
	record := &f.out.Record
	return !t.Before(record.Started.Add(-skew)) && (record.Ended.IsZero() || !t.After(record.Ended.Add(skew)))
}

// state reads what the mesh said of itself before and after.
func (f *folder) state() error {
	var before, after mesh.State
	for name, into := range map[string]*mesh.State{evidence.Before: &before, evidence.After: &after} {
		err := evidence.ReadJSON(f.dir, name, into)
		if errors.Is(err, fs.ErrNotExist) {
			f.lacks("%s is missing", name)
		} else if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	f.facts.Routes = routeFacts(f.out.Scenario.Table, &before)
	f.facts.Pods, f.facts.Before, f.facts.After = endpoints(&before, &after), before.Counters, after.Counters
	if len(before.Routes) == 0 || len(f.facts.Pods) == 0 {
		f.lacks("%s names no routes or no endpoints", evidence.Before)
	}
	f.changes(&before, &after)
	for _, pod := range pods(f.facts.Pods) {
		if f.out.Record.Finished && !slices.Contains(f.out.Record.Collected, pod) && !f.lost(pod) {
			f.lacks("no receipts were collected from pod %s", pod)
		}
	}
	return nil
}

// lost tells whether the record itself says that a pod's receipts may be missing, which the verdicts weigh.
func (f *folder) lost(pod string) bool {
	return slices.ContainsFunc(f.out.Record.Restarts, func(r verdict.Restart) bool { return r.Pod == pod && r.Lost })
}

// changes doubts a run during which the gateways became others, or were configured otherwise.
func (f *folder) changes(before, after *mesh.State) {
	if after.Routes == nil && after.Counters == nil {
		return // it was not written, which is told
	}
	if !slices.EqualFunc(before.Routes, after.Routes, mesh.Route.Equal) {
		f.lacks("the gateway's routes changed during the run: %v before, %v after", before.Routes, after.Routes)
	}
	for _, state := range []*mesh.State{before, after} {
		if state.Doubt != "" {
			f.lacks("%s", state.Doubt)
		}
	}
	if was, is := gateways(before), gateways(after); !slices.Equal(was, is) {
		f.lacks("the gateway's pods changed during the run, so that their counters are not whole: %s before, %s after", strings.Join(was, ", "), strings.Join(is, ", "))
	}
}

// gateways are the gateway's pods, each as it was started.
func gateways(s *mesh.State) (all []string) {
	for _, p := range s.Pods {
		if p.Version == "" {
			all = append(all, fmt.Sprintf("%s (restarted %d times)", p.Name, p.Restarts))
		}
	}
	slices.Sort(all)
	return all
}

// endpoints are those of before and of after: pods may have come during the run.
func endpoints(before, after *mesh.State) map[string][]string {
	out := map[string][]string{}
	for _, state := range []*mesh.State{before, after} {
		for cluster, pods := range state.Endpoints {
			out[cluster] = append(out[cluster], pods...)
		}
	}
	for cluster, pods := range out {
		slices.Sort(pods)
		out[cluster] = slices.Compact(pods)
	}
	return out
}

// pods are all of the clusters' pods, each once.
func pods(endpoints map[string][]string) []string {
	all := slices.Concat(slices.Collect(maps.Values(endpoints))...)
	slices.Sort(all)
	return slices.Compact(all)
}

// routeFacts joins what the manifests say of each route with what the gateway was given.
func routeFacts(t *route.Table, state *mesh.State) (out []verdict.RouteFact) {
	programmed := map[string]map[string]uint32{}
	for _, r := range state.Routes {
		programmed[r.Name] = map[string]uint32{}
		for _, m := range r.Mirrors {
			programmed[r.Name][m.Cluster] = m.Numerator
		}
	}
	for _, r := range t.Routes() {
		fact := verdict.RouteFact{Name: r.Name, Upstream: r.Kind == route.Forward, Retries: r.Retries.Attempts}
		for _, d := range r.Destinations {
			fact.Clusters = append(fact.Clusters, d.Cluster)
		}
		for _, m := range r.Mirrors {
			numerator, known := programmed[r.Name][m.Cluster]
			if !known && programmed[r.Name] == nil { // no config dump: the manifests' word
				numerator = m.Numerator
			}
			fact.Mirrors = append(fact.Mirrors, verdict.MirrorFact{Cluster: m.Cluster, Percent: m.Percent, Numerator: numerator})
		}
		if r.Fault != nil {
			fact.AbortStatus, fact.AbortNumerator = r.Fault.AbortStatus, r.Fault.AbortNumerator
		}
		out = append(out, fact)
	}
	return out
}

// impactOptions are what the paired blocks are judged by.
func (s *Scenario) impactOptions() verdict.ImpactOptions {
	c := s.Checks.Impact
	return verdict.ImpactOptions{Margins: c.Tested(), Errors: c.Errors, Seed: s.Load.Seed, Quadruples: c.Quadruples(), Timeout: s.Load.Timeout,
		Controls: c.Controls == ControlsEach}
}

// options are the checks as the verdicts take them.
func (s *Scenario) options() verdict.Options {
	var o verdict.Options
	c := &s.Checks
	if c.Impact != nil {
		impact := s.impactOptions()
		o.Impact = &impact
		o.Margins = c.Impact.Margins
	}
	if c.Fraction != nil {
		o.Fraction = &c.Fraction.Within
	}
	for _, objective := range c.Objectives {
		v := verdict.Objective{Quantile: objective.Quantile, Under: objective.Under}
		if objective.Errors != nil {
			v.Errors = *objective.Errors
		}
		o.Objectives = append(o.Objectives, v)
	}
	return o
}
