package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/impact"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// switched is a fake mesh whose mirrors can be switched and whose primary can be slowed down.
type switched struct {
	*fake
	mu       sync.Mutex
	said     []string // what it was told, in order
	mirrored bool
	delay    time.Duration
	cost     time.Duration // of mirroring, for each request
	fixed    bool          // the app cannot be told
	copies   uint64        // that the gateway has sent
	left     uint64        // mirrored requests that do not end, as long as mirroring has been on
	holds    bool          // the shadow holds what it gets, until it is told not to hang
	onSwitch func(n int)
}

func newSwitched(t *testing.T, s *Scenario) *switched {
	m := &switched{fake: newFake(t, s), mirrored: true}
	m.onServe = func() {
		m.mu.Lock()
		d := 4*time.Millisecond + m.delay
		if m.mirrored {
			d += m.cost
			m.copies++
			if m.holds {
				m.left++
			}
		}
		m.mu.Unlock()
		time.Sleep(d)
	}
	m.state = func(int) *mesh.State {
		m.mu.Lock()
		defer m.mu.Unlock()
		state := stateOf(s, m.left)
		state.Counters["cluster."+shadowCluster+".upstream_rq_total"] = m.copies
		return state
	}
	return m
}

func (m *switched) Up(_ context.Context, spec mesh.Spec) (Running, error) {
	m.spec = spec
	return m, nil
}

func (m *switched) Reroute(ctx context.Context, _ *route.Manifests, t *route.Table) error {
	on := false
	for _, r := range t.Routes() {
		on = on || len(mesh.Programmed(r)) > 0
	}
	m.mu.Lock()
	m.mirrored = on
	m.said = append(m.said, map[bool]string{true: "on", false: "off"}[on])
	n := len(m.said)
	m.mu.Unlock()
	if m.onSwitch != nil {
		m.onSwitch(n)
	}
	return ctx.Err()
}

func (m *switched) Conduct(_ context.Context, c mesh.Conduct) error {
	if m.fixed && len(c.Delay) > 0 {
		return mesh.ErrFixed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = c.Delay["v1"]
	if c.Shadow == "" && m.holds {
		m.left = 0
	}
	m.said = append(m.said, fmt.Sprintf("shadow %q, v1 +%v", c.Shadow, m.delay))
	return nil
}

// blocks is a scenario with an experiment of five quadruples.
func blocks(t *testing.T, impact string) *Scenario {
	t.Helper()
	return runScenario(t, `traffic: {mix: [{name: get, path: '/{{ int 1 999 }}'}]}
load: {arrivals: constant, timeout: 2s, connections: 8, stages: [{rate: 400, for: 100ms}]}
checks: {impact: {pairs: 10, block: 60ms, settle: 10ms, `+impact+`}}
drain: 300ms
`)
}

func playSwitched(ctx context.Context, t *testing.T, s *Scenario, m *switched) (string, evidence.Record) {
	t.Helper()
	return playShadow(ctx, t, s, m, "slow")
}

// playShadow plays a run whose shadow misbehaves.
func playShadow(ctx context.Context, t *testing.T, s *Scenario, m *switched, shadow string) (string, evidence.Record) {
	t.Helper()
	dir := t.TempDir()
	run := Run{Scenario: s, Mesh: m, Dir: dir, Watcher: silent{}, Faults: mesh.Faults{Shadow: shadow}, Transport: transportOf()}
	if err := run.Play(ctx); err != nil {
		t.Fatal(err)
	}
	record, err := evidence.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, record
}

// played counts an experiment's blocks and looks at what each of them was.
func played(t *testing.T, x *verdict.Experiment, experiment string) (n int) {
	t.Helper()
	var pair []verdict.Block
	for _, b := range x.Blocks {
		if b.Experiment != experiment {
			continue
		}
		n++
		if b.Mirrored != (b.Treated && experiment == verdict.Total) || b.Planned != 24 || b.End-b.Begin != 60*time.Millisecond {
			t.Errorf("%+v", b)
		}
		if pair = append(pair, b); len(pair) == 2 {
			if pair[0].Treated == pair[1].Treated || pair[0].Quadruple != pair[1].Quadruple {
				t.Errorf("no pair: %+v", pair)
			}
			pair = nil
		}
	}
	return n
}

// sent gives what each block sent, in the order of the due instants, from results.arrows.
func sent(t *testing.T, dir string) map[int][]string {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, evidence.Results))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, rows, err := traffic.ReadResults(file)
	if err != nil {
		t.Fatal(err)
	}
	byBlock, ids := map[int][]traffic.Result{}, map[string]bool{}
	for r, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		if ids[r.ID] {
			t.Errorf("two requests have the id %s", r.ID)
		}
		ids[r.ID] = true
		if (r.Phase == traffic.PhaseBlock) != (r.Block >= 0) || (r.Phase == traffic.PhaseBlock) != (r.Arm != "") {
			t.Errorf("%+v", r)
		}
		if r.Block >= 0 {
			byBlock[r.Block] = append(byBlock[r.Block], r)
		}
	}
	out := map[int][]string{}
	for block, rows := range byBlock {
		slices.SortFunc(rows, func(a, b traffic.Result) int { return int(a.Due - b.Due) })
		for _, r := range rows {
			out[block] = append(out[block], fmt.Sprint(r.Path, " +", r.Due-rows[0].Due))
		}
	}
	return out
}

func TestExperiment(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}")
	m := newSwitched(t, s)
	dir, record := playSwitched(t.Context(), t, s, m)
	x := record.Experiment
	if x == nil || played(t, x, verdict.Negative) != 20 || played(t, x, verdict.Total) != 20 || x.Stopped != "" || x.NoControls != "" || len(x.Plans) != 1 {
		t.Fatalf("%+v", x)
	}
	if x.Saturation <= 0 || x.Rate != 400 || x.Timeout != 2*time.Second {
		t.Errorf("%+v", x)
	}
	requests := sent(t, dir)
	first := map[int]int{}
	for _, b := range x.Blocks {
		one, seen := first[b.Quadruple]
		if !seen {
			first[b.Quadruple] = b.Index
			continue
		}
		if !slices.Equal(requests[b.Index], requests[one]) {
			t.Errorf("blocks %d and %d of a quadruple differ: %v, %v", one, b.Index, requests[one], requests[b.Index])
		}
	}
	if slices.Equal(requests[first[0]], requests[first[1]]) {
		t.Error("two quadruples sent the same")
	}
	if last := m.said[len(m.said)-1]; !m.mirrored || m.delay != 0 || last != "on" && !strings.HasPrefix(last, `shadow "slow", v1 +0s`) {
		t.Errorf("it was left as %q", m.said)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := j.Verdicts[3]
	if v.Name != verdict.Impact || v.Experiment == nil || v.Experiment.Done != 5 || v.Experiment.Negative == nil {
		t.Errorf("%+v", v)
	}
	// A margin of four times what a request takes is decided on any machine: the slower primary was played for it.
	if v.Experiment.Result.State == impact.Pass && played(t, x, verdict.Positive) != 20 {
		t.Errorf("%d blocks of the positive control", played(t, x, verdict.Positive))
	}
	if figures := j.Figures; figures.Blocks != 24*len(x.Blocks) || figures.Span > time.Second {
		t.Errorf("%d rows of blocks, the stages lasted %v", figures.Blocks, figures.Span)
	}
}

// Early stopping: at a look, and only to FAIL.
func TestExperimentStopsEarly(t *testing.T) {
	t.Parallel()
	s := runScenario(t, `traffic: {mix: [{name: get, path: /}]}
load: {arrivals: constant, timeout: 2s, connections: 16, stages: [{rate: 400, for: 100ms}]}
checks: {impact: {pairs: 40, block: 60ms, settle: 0s, margins: {p50: 5%}, controls: off}}
drain: 300ms
`)
	m := newSwitched(t, s)
	m.cost = 20 * time.Millisecond
	dir, record := playSwitched(t.Context(), t, s, m)
	x := record.Experiment
	n := played(t, x, verdict.Total)
	if n >= 80 || !strings.Contains(x.Stopped, "it had failed after") {
		t.Errorf("%d blocks, %q", n, x.Stopped)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := j.Verdicts[3]; v.State != verdict.Fail || !slices.ContainsFunc(v.Warnings, func(w string) bool { return strings.Contains(w, "ended early") }) {
		t.Errorf("%s: %s %q", v.State, v.Summary, v.Warnings)
	}
}

// An app that cannot be told leaves the positive controls to the client's stamps.
func TestExperimentOfAFixedApp(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}")
	m := newSwitched(t, s)
	m.fixed = true
	dir, record := playSwitched(t.Context(), t, s, m)
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := j.Verdicts[3].Experiment
	passed := x.Result.State == impact.Pass // of a margin of 20 ms: the controls come behind it
	if record.Experiment.ByStamps != passed || played(t, record.Experiment, verdict.Positive) != 0 {
		t.Errorf("%s, %+v", x.Result.State, record.Experiment)
	}
	if passed && (len(x.Positive) != 1 || !x.Positive[0].Stamps || x.Positive[0].Delay <= 0) {
		t.Errorf("%+v", x.Positive)
	}
}

// A run that is interrupted leaves the mesh as it was, and what was played is judged.
func TestExperimentInterrupted(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}, controls: off")
	m := newSwitched(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.onSwitch = func(n int) {
		if n == 6 {
			cancel()
		}
	}
	_, record := playSwitched(ctx, t, s, m)
	if !record.Interrupted || !record.Finished || !m.mirrored {
		t.Errorf("interrupted %v, finished %v, mirrored %v", record.Interrupted, record.Finished, m.mirrored)
	}
	if n := len(record.Experiment.Blocks); n == 0 || n >= 20 {
		t.Errorf("%d blocks", n)
	}
}

// Where it is cut within a switch, nobody knows which way that went: the mesh is told once more.
func TestExperimentCutWithinASwitch(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}, controls: off")
	m := newSwitched(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.onSwitch = func(int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.said) > 2 && m.said[len(m.said)-1] == "off" {
			cancel()
		}
	}
	_, record := playSwitched(ctx, t, s, m)
	if !record.Interrupted || !m.mirrored || m.said[len(m.said)-1] != "on" {
		t.Errorf("interrupted %v, mirrored %v: %q", record.Interrupted, m.mirrored, m.said)
	}
}

// Blocks at whose start mirrored requests are under way do not count, and others are played in the place of their quadruples, half as many
// again at the most. The shadow is told to let go first.
func TestExperimentCarriesNothingOver(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}, controls: off")
	s.Drain = 20 * time.Millisecond
	m := newSwitched(t, s)
	m.onSwitch = func(int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.left = 3
	}
	dir, record := playSwitched(t.Context(), t, s, m)
	x := record.Experiment
	if n := played(t, x, verdict.Total); n != 32 || slices.ContainsFunc(x.Blocks[1:], func(b verdict.Block) bool { return b.Counted }) {
		t.Errorf("%d blocks: %+v", n, x.Blocks)
	}
	if !slices.Contains(m.said, `shadow "", v1 +0s`) || !slices.Contains(m.said, `shadow "slow", v1 +0s`) {
		t.Errorf("it was told %q", m.said)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := j.Verdicts[3]; v.State != verdict.Inconclusive || v.Experiment.Dropped != 32 || !strings.Contains(v.Findings[0].Text, "still under way") {
		t.Errorf("%s: %s %+v", v.State, v.Summary, v.Findings)
	}
}

// A hung shadow holds what it gets: that builds up over the two mirrored blocks of a quadruple, which lie between the others, and the shadow
// is told to let go of it before it is off again.
func TestExperimentLetsBuildUp(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}, controls: off")
	m := newSwitched(t, s)
	m.holds = true
	dir, record := playShadow(t.Context(), t, s, m, "hung")
	x := record.Experiment
	if !x.Buildup || x.Quadruples != 5 || x.Block != impact.Longer*60*time.Millisecond {
		t.Fatalf("%+v", x)
	}
	var total []verdict.Block
	for _, b := range x.Blocks {
		if b.Experiment == verdict.Total {
			total = append(total, b)
		}
	}
	if len(total) != 20 {
		t.Fatalf("%d blocks", len(total))
	}
	for i, b := range total {
		if on := i%4 == 1 || i%4 == 2; b.Mirrored != on || !b.Counted || i > 0 && b.Relieved != (i%4 == 3) || b.Planned != 96 || on != (b.Left > 0) {
			t.Errorf("%d: %+v", i, b)
		}
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := j.Verdicts[3]; v.State != verdict.Inconclusive || v.Experiment.Done != 5 || !strings.Contains(v.Summary, "nothing passes") {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
}

// Looks for harm: each mode and body, every request mirrored, and, where there is harm, each setting.
func TestExperimentLooksForHarm(t *testing.T) {
	t.Parallel()
	s := blocks(t, "margins: {p50: 'max(400%, 20ms)'}, controls: off, uploads: [0B, 64KiB]")
	m := newSwitched(t, s)
	dir := t.TempDir()
	run := Run{Scenario: s, Mesh: m, Dir: dir, Watcher: silent{}, Transport: transportOf(), Looks: []string{"healthy", "errors"}}
	if err := run.Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	record, err := evidence.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := record.Experiment
	if len(x.Cells) != 2 || x.Cells[0].Shadow != "healthy" || x.Cells[1].Shadow != "errors" {
		t.Fatalf("%+v", x.Cells) // writes are not mirrored by the manifests, so that there are no uploads
	}
	looks := 0
	for _, b := range x.Blocks {
		if b.Experiment == verdict.Harm {
			looks++
		}
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := j.Verdicts[5]
	if looks != 8 || v.Name != verdict.HarmVerdict || v.State != verdict.Pass {
		t.Errorf("%d blocks, %s: %s: %s", looks, v.Name, v.State, v.Summary)
	}
	if last := m.said[len(m.said)-1]; last != "on" {
		t.Errorf("it was left as %q", m.said)
	}
}

// The size from which on uploads are hurt is looked for between the greatest that is not and the least that is.
func TestBisect(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		sound, hurt, from int
		want              []int
	}{
		{8 * mib, 32 * mib, 17 * mib, []int{20 * mib, 14 * mib}},
		{8 * mib, 32 * mib, 25 * mib, []int{20 * mib, 26 * mib}},
		{1 * mib, 3 * mib, 3 * mib, []int{2 * mib}},
		{64 << 10, 2 * mib, mib, []int{mib}},
		{7 * mib, 8 * mib, 8 * mib, nil},
		{0, 32 * mib, 1, nil},
	} {
		var tried []int
		err := bisect(c.sound, c.hurt, func(body int) (bool, error) {
			tried = append(tried, body)
			return body >= c.from, nil
		})
		if err != nil || !slices.Equal(tried, c.want) {
			t.Errorf("between %d and %d: tried %v, want %v (%v)", c.sound, c.hurt, tried, c.want, err)
		}
	}
	if err := bisect(8*mib, 32*mib, func(int) (bool, error) { return false, context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("an error is lost: %v", err)
	}
}
