package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"umbra/internal/app"
	"umbra/internal/impact"
	"umbra/internal/live"
	"umbra/internal/mesh"
	"umbra/internal/pause"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/replay"
)

// experiment plays the paired blocks of a run, behind its stages, on the mesh that stands. One goroutine has it, but for its
// collector, which the loops of a transport give their rows to.
type experiment struct {
	*Run
	check   *ImpactCheck
	running Running
	keeping *keeping
	seen    collector
	said    *verdict.Experiment // the record's, which grows block by block

	ways       ways         // the manifests with mirroring off and on
	mirrored   bool         // mirroring is on
	fresh      bool         // ways are others than those in force, or may be
	unsure     bool         // the apps may have been told otherwise than conduct says
	reliefs    int          // how often the shadow was told to let go
	conduct    mesh.Conduct // as the apps were told last
	quadruples int          // begun so far
	view       live.Block   // what a Viewer is told of the next block
}

// connectIn is how long before the first due instant of a block its transport is started, so that its connections stand.
const connectIn = 100 * time.Millisecond

// experiment plays the blocks and leaves the mesh as it was before. When ctx ends it stops where it is, and what was played is judged.
func (r *Run) experiment(ctx context.Context, running Running, k *keeping) error {
	if r.Scenario.Checks.Impact == nil {
		return nil
	}
	x, err := r.newExperiment(running, k)
	if err != nil {
		return err
	}
	err = x.play(ctx)
	r.playing(live.Part{})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // the record says that the run was interrupted
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectIn)
	defer cancel()
	return errors.Join(err, x.restore(back))
}

func (r *Run) newExperiment(running Running, k *keeping) (*experiment, error) {
	s, check := r.Scenario, r.Scenario.Checks.Impact
	x := &experiment{Run: r, check: check, running: running, keeping: k, mirrored: true, conduct: mesh.Conduct{Shadow: shadowOf(r.Faults.Shadow)}}
	x.seen.recon, x.seen.next = verdict.NewRecon(), k.recording
	var err error
	if x.ways, err = newWays(s.Manifests); err != nil {
		return nil, err
	}
	x.said = &verdict.Experiment{Quadruples: check.Quadruples(), Block: check.Block, Settle: check.Settle, Rate: s.blockRate(), Timeout: s.Load.Timeout,
		Controls: string(check.Controls), NoControls: r.noControls(), Shadow: r.Faults.Shadow, Shared: r.Shared, CPUs: runtime.NumCPU()}
	if buildsUp(r.Faults.Shadow) {
		x.said.Buildup, x.said.Quadruples, x.said.Block = true, impact.Fewer(check.Quadruples()), impact.Longer*check.Block
	}
	r.Record.Experiment = x.said
	return x, nil
}

// buildsUp tells whether what a shadow gets does not end by itself.
func buildsUp(shadow string) bool { return shadow == app.ModeHung }

// way is manifests and what they come to.
type way struct {
	manifests *route.Manifests
	table     *route.Table
}

// ways are the manifests with mirroring off and on.
type ways struct{ off, on way }

func newWays(m *route.Manifests) (w ways, err error) {
	off, err := m.Unmirrored()
	if err != nil {
		return w, err
	}
	w.off.manifests, w.on.manifests = off, m
	for _, way := range []*way{&w.off, &w.on} {
		if way.table, err = route.NewTable(way.manifests); err != nil {
			return w, err
		}
	}
	return w, nil
}

// waysOf has the next switch lead to other manifests, in which every request is mirrored.
func (x *experiment) waysOf(m *route.Manifests) error {
	all, err := m.Mirrored()
	if err != nil {
		return err
	}
	x.ways, err = newWays(all)
	x.fresh = true
	return err
}

// noControls says why the controls are not played; "" where they are.
func (r *Run) noControls() string {
	switch c := r.Scenario.Checks.Impact.Controls; {
	case c == ControlsOff:
		return "without controls, as the scenario says (controls: off): nothing shows that this test can pass and can fail"
	case c == ControlsNightly && !r.Nightly:
		return "without controls, which are played with umbra run --nightly: nothing of this run shows that its test can pass and can fail"
	}
	return ""
}

// play is the story: how much load the mesh takes, off against off, what that says of the experiment's power, off against on, and, where
// that passes, a slower primary for each quantile that it passed by.
func (x *experiment) play(ctx context.Context) error {
	x.Watcher.Step(x.describe())
	if err := x.saturate(ctx); err != nil {
		return err
	}
	if x.said.NoControls == "" {
		if err := x.negative(ctx); err != nil {
			return err
		}
	}
	result, err := x.total(ctx)
	if err != nil {
		return err
	}
	if result.State == impact.Pass && x.said.NoControls == "" && !x.said.Buildup { // which does not pass
		if err := x.positives(ctx, result); err != nil {
			return err
		}
	}
	return x.harm(ctx)
}

// describe says what will be played and how long it takes at the least.
func (x *experiment) describe() string {
	text := fmt.Sprintf("paired blocks: %d quadruples of 4 × (%v + %v), %v and the switching", x.said.Quadruples, x.said.Block, x.said.Settle, x.takes(x.said.Quadruples))
	if x.said.Buildup {
		text += "; off, on, on, off in each, as a hung shadow ends nothing that it gets: it piles up over both"
	}
	if x.said.NoControls == "" {
		text += "; the control off against off takes as long again"
		if !x.said.Buildup {
			text += fmt.Sprintf(", and, where nothing fails, so does each of %d slower primaries", len(x.check.Tested()))
		}
	}
	return text
}

// takes is how long so many quadruples last, but for the switching.
func (x *experiment) takes(quadruples int) time.Duration {
	return (time.Duration(quadruples*impact.Blocks) * (x.said.Block + x.said.Settle)).Round(time.Second)
}

// options are what the verdict will judge by.
func (x *experiment) options() verdict.ImpactOptions { return x.Scenario.impactOptions() }

// negative plays off against off, and states what that says of the power to come.
func (x *experiment) negative(ctx context.Context) error {
	x.Watcher.Step("control: mirroring off against off")
	if err := x.quads(ctx, verdict.Block{Experiment: verdict.Negative}, 0x6e, nil); err != nil {
		return err
	}
	control := x.seen.quadruples(x.said, x.options(), verdict.Negative, 0)
	x.said.Plans = impact.Plans(control, x.check.Tested(), x.said.Quadruples)
	for _, p := range x.said.Plans {
		x.Watcher.Step(x.sayPlan(p))
	}
	return nil
}

func (x *experiment) sayPlan(p impact.Plan) string {
	text := fmt.Sprintf("p%g %.3f ms with mirroring off, a margin of %.1f %% (%.3f ms), a spread of %.1f %%: ", p.Quantile, float64(p.Off)/1e6, p.MarginPct, float64(p.MarginNS)/1e6, p.Spread)
	if p.Quadruples == 0 {
		return text + "no number of quadruples has a power of 90 %"
	}
	text += fmt.Sprintf("a power of 90 %% asks for %d quadruples (%v); the %d planned have %.0f %%", p.Quadruples, x.takes(p.Quadruples), x.said.Quadruples, 100*p.Power)
	return text
}

// total plays off against on. At the looks it may end early, with a FAIL only.
func (x *experiment) total(ctx context.Context) (impact.Result, error) {
	x.Watcher.Step("mirroring off against on")
	planned := x.said.Quadruples
	looks := impact.Looks(planned)
	var last impact.Result
	err := x.quads(ctx, verdict.Block{Experiment: verdict.Total}, 0x74, func(done int) bool {
		if done != planned && !slices.ContainsFunc(looks, func(l impact.Look) bool { return l.Quadruples == done }) {
			return false
		}
		last = x.seen.judge(x.said, x.options())
		if last.State == impact.Fail && done < planned {
			x.said.Stopped = fmt.Sprintf("it had failed after %d of %d quadruples (a look at a level of %g of the 5 %%)", done, planned, last.Level)
			return true
		}
		return false
	})
	return last, err
}

// positives plays a slower primary for each quantile that is gated: by twice its margin, with mirroring off.
func (x *experiment) positives(ctx context.Context, result impact.Result) error {
	for _, f := range result.Figures {
		if f.Quantile == 0 || !f.Gated {
			continue
		}
		at := slices.IndexFunc(x.said.Plans, func(p impact.Plan) bool { return p.Quantile == f.Quantile })
		if at < 0 {
			continue
		}
		delay := x.said.Plans[at].Delay()
		x.Watcher.Step(fmt.Sprintf("control: a primary slower by %.3f ms, twice the margin of p%g", float64(delay)/1e6, f.Quantile))
		err := x.quads(ctx, verdict.Block{Experiment: verdict.Positive, Quantile: f.Quantile, Delay: delay}, math.Float64bits(f.Quantile), nil)
		if errors.Is(err, mesh.ErrFixed) {
			x.said.ByStamps = true
			for i := range x.said.Blocks {
				if b := &x.said.Blocks[i]; b.Experiment == verdict.Positive {
					b.Counted, b.Why = false, err.Error()
				}
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quads plays as many quadruples as planned, and others in the place of those of which a block does not count, half as many again at the
// most. kind says what its treated blocks are; counted is told how many count so far, and ends it by true.
func (x *experiment) quads(ctx context.Context, kind verdict.Block, salt uint64, counted func(done int) bool) error {
	x.seen.begin()
	planned, done := x.said.Quadruples, 0
	x.view = live.Block{Experiment: describeBlocks(&kind), Of: planned * impact.Blocks, Quadruples: planned}
	most := planned + (planned+1)/2
	orders := slices.Concat(impact.Orders(planned, x.Scenario.Load.Seed^salt), impact.Orders(most-planned, x.Scenario.Load.Seed^salt^1))
	if x.said.Buildup {
		orders = impact.Buildup(most)
	}
	for _, order := range orders {
		counts, err := x.quad(ctx, kind, order)
		if err != nil {
			return err
		}
		if !counts {
			x.view.Of += impact.Blocks
			continue
		}
		x.view.Done++
		if done++; counted != nil && counted(done) {
			return nil
		}
		if done == planned {
			return nil
		}
		if done%5 == 0 {
			x.Watcher.Step(fmt.Sprintf("%d of %d quadruples", done, planned))
		}
	}
	x.Watcher.Step(fmt.Sprintf("only %d of %d quadruples count", done, planned))
	return nil
}

// quad plays a quadruple: four times the same requests at the same instants.
func (x *experiment) quad(ctx context.Context, kind verdict.Block, order impact.Order) (counts bool, err error) {
	number := x.quadruples
	x.quadruples++
	counts = true
	for _, treated := range order {
		b := kind
		b.Quadruple, b.Treated = number, treated
		b.Mirrored = treated && (kind.Experiment == verdict.Total || kind.Experiment == verdict.Harm)
		if b.Delay = 0; treated {
			b.Delay = kind.Delay
		}
		if err := x.block(ctx, &b, x.requests(number)); err != nil {
			return false, err
		}
		if x.said.Buildup && b.Mirrored {
			if x.said.Blocks[b.Index].Left, err = x.left(ctx); err != nil {
				return false, err
			}
		}
		counts = counts && b.Counted
	}
	return counts, x.Record.Write(x.Dir) // a kill loses one quadruple at the most
}

// blockLoad is what a block sends.
type blockLoad struct {
	stages   []replay.Stage
	seed     uint64 // of the arrivals
	requests replay.Requests
	timeout  time.Duration // of a request, where it is not the scenario's
	constant bool          // whatever the scenario's arrivals are
	watch    *counted      // sees the rows; nil: nobody
}

// requests are those of a quadruple, which each of its blocks sends.
func (x *experiment) requests(quadruple int) blockLoad {
	s := x.Scenario
	rate := s.blockRate()
	l := blockLoad{seed: mix64(s.Load.Seed + 2 + uint64(quadruple))}
	if x.said.Settle > 0 {
		l.stages = append(l.stages, replay.Stage{Phase: traffic.PhaseWarmup, From: rate, To: rate, For: x.said.Settle})
	}
	l.stages = append(l.stages, replay.Stage{Phase: traffic.PhaseBlock, From: rate, To: rate, For: x.said.Block})
	switch {
	case s.Capture != nil:
		l.requests = s.captured(true)
	default:
		each := uint64(replay.CountOf(l.stages))
		l.requests = s.scriptedFrom(uint64(s.Count()) + each*uint64(quadruple))
	}
	return l
}

// block plays one block: what the one before left at the mirrors has to end, the mesh is switched, and after settling the requests count.
func (x *experiment) block(ctx context.Context, b *verdict.Block, l blockLoad) error {
	b.Index = len(x.said.Blocks)
	before := x.reliefs
	idle, err := x.goesOn(b), error(nil)
	if !idle {
		idle, err = x.clear(ctx)
	}
	b.Relieved = x.reliefs > before
	if err != nil {
		return err
	}
	if err := x.switchTo(ctx, b.Mirrored); err != nil {
		return err
	}
	if err := x.slow(ctx, b.Delay); err != nil {
		return err
	}
	b.Counted = idle
	if !idle {
		b.Why = fmt.Sprintf("requests mirrored before it were still under way at its start, after %v", x.Scenario.Drain)
	}
	arm := "off"
	switch {
	case b.Mirrored:
		arm = "on"
	case b.Treated:
		arm = "control"
	}
	transport, err := x.Transport(x.sending(l))
	if err != nil {
		return err
	}
	begin := time.Since(x.keeping.start) + connectIn
	end := begin + replay.Duration(l.stages)
	b.Begin, b.End = end-l.stages[len(l.stages)-1].For, end
	b.Planned = x.planned(l)
	x.said.Blocks = append(x.said.Blocks, *b)
	x.seen.watch = l.watch
	x.showBlock(begin, l, arm)
	if err := x.keeping.play(ctx, transport, x.plan(l, begin, b, arm), &x.seen); err != nil {
		return err
	}
	return ctx.Err()
}

// showBlock tells the Viewer of a block that begins.
func (x *experiment) showBlock(begin time.Duration, l blockLoad, arm string) {
	x.view.Number++
	x.view.Arm = arm
	part, block := live.PartOf(x.keeping.start, begin, l.stages, 0), x.view
	part.Block = &block
	x.playing(part)
}

// sending are the transport's options for a block: the scenario's, with as much memory as a block can need.
func (x *experiment) sending(l blockLoad) replay.Options {
	o := x.Scenario.Load.Options(x.running.Address())
	o.Queue = replay.CountOf(l.stages)*2 + 1024
	o.Timeout = cmp.Or(l.timeout, o.Timeout)
	return o
}

// arrivals are the instants of a block's requests, from its begin on.
func (x *experiment) arrivals(l blockLoad) iter.Seq[replay.Arrival] {
	process := replay.Arrivals(x.Scenario.Load.Arrivals)
	if l.constant {
		process = replay.Constant
	}
	return replay.Schedule(l.stages, process, l.seed)
}

// planned is how many of a block's requests count.
func (x *experiment) planned(l blockLoad) (n int) {
	for a := range x.arrivals(l) {
		if a.Phase == traffic.PhaseBlock {
			n++
		}
	}
	return n
}

// plan is a block's requests, each at its instant of the run.
func (x *experiment) plan(l blockLoad, begin time.Duration, b *verdict.Block, arm string) replay.Plan {
	of := &replay.Block{Index: b.Index, Arm: arm}
	ids := mix64(x.Scenario.Load.Seed ^ mix64(uint64(b.Index)+1))
	plan := replay.PlanAt(x.arrivals(l), ids, l.requests)
	return func(yield func(replay.Item, error) bool) {
		for item, err := range plan {
			item.Due += begin
			if item.Phase == traffic.PhaseBlock {
				item.Block = of
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// goesOn tells whether a block is to find what the one before it left at the mirrors.
func (x *experiment) goesOn(b *verdict.Block) bool {
	if !x.said.Buildup || !b.Mirrored || b.Experiment != verdict.Total || len(x.said.Blocks) == 0 {
		return false
	}
	last := x.said.Blocks[len(x.said.Blocks)-1]
	return last.Quadruple == b.Quadruple && last.Mirrored
}

// clear waits until no mirrored request is under way. Where a misbehaving shadow keeps them, it is told to let them go for a moment.
func (x *experiment) clear(ctx context.Context) (idle bool, err error) {
	if idle, err = x.idle(ctx, x.patience()); idle || err != nil || x.conduct.Shadow == "" {
		return idle, err
	}
	asked := x.conduct
	x.reliefs++
	if err := x.behave(ctx, mesh.Conduct{Delay: asked.Delay}); err != nil {
		return false, err
	}
	idle, err = x.idle(ctx, x.Scenario.Drain)
	return idle, errors.Join(err, x.behave(ctx, asked))
}

// patience is how long mirrored requests may take to end by themselves before the shadow is told to let them go.
func (x *experiment) patience() time.Duration {
	if buildsUp(x.conduct.Shadow) {
		return 0
	}
	return x.Scenario.Drain
}

// idle waits for the mirrors' clusters to have nothing active and nothing pending.
func (x *experiment) idle(ctx context.Context, atMost time.Duration) (bool, error) {
	deadline := time.Now().Add(atMost)
	poll := time.NewTicker(pollEvery / 2)
	defer poll.Stop()
	clusters := mirrorClusters(x.Scenario.Table)
	for failed := 0; ; {
		counters, err := x.running.Counters(ctx)
		if err == nil {
			failed = 0
		} else if failed++; failed > retries || ctx.Err() != nil {
			return false, err
		}
		if _, idle := activity(&mesh.State{Counters: counters}, clusters); idle {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// retries is how many readings of the counters in a row may fail: a connection to a gateway's admin port may break.
const retries = 3

// switchTo has mirroring on or off on every gateway, and confirmed.
func (x *experiment) switchTo(ctx context.Context, on bool) error {
	if on == x.mirrored && !x.fresh {
		return nil
	}
	to := x.ways.off
	if on {
		to = x.ways.on
	}
	fresh := x.fresh
	x.fresh = true // until it is known to be done
	if err := x.running.Reroute(ctx, to.manifests, to.table); err != nil {
		return err
	}
	x.mirrored, x.fresh = on, false
	if fresh { // what a cluster was told is not seen in its routes
		pause.For(ctx, settleSetting)
		return ctx.Err()
	}
	return nil
}

// slow has the primary take longer by so much.
func (x *experiment) slow(ctx context.Context, by time.Duration) error {
	version := x.Scenario.Mesh.Primary
	if x.conduct.Delay[version] == by {
		return nil
	}
	next := x.conduct
	next.Delay = nil
	if by > 0 {
		next.Delay = map[string]time.Duration{version: by}
	}
	return x.behave(ctx, next)
}

func (x *experiment) behave(ctx context.Context, next mesh.Conduct) error {
	if !x.unsure && x.conduct.Shadow == next.Shadow && maps.Equal(x.conduct.Delay, next.Delay) {
		return nil
	}
	x.unsure = true
	if err := x.running.Conduct(ctx, next); err != nil {
		return err
	}
	x.conduct, x.unsure = next, false
	return nil
}

// restore has the mesh as it was before the experiment.
func (x *experiment) restore(ctx context.Context) error {
	x.ways.on = way{x.Scenario.Manifests, x.Scenario.Table}
	x.fresh = x.fresh || len(x.said.Cells) > 0
	return errors.Join(x.behave(ctx, mesh.Conduct{Shadow: shadowOf(x.Faults.Shadow)}), x.switchTo(ctx, true))
}

// How long the saturation is measured, and what of its begin is left out.
const (
	saturateFor  = 2 * time.Second
	saturateFrom = 500 * time.Millisecond
)

// saturate measures how many requests a second a closed loop gets answered: with mirroring as configured, unless the shadow misbehaves.
func (x *experiment) saturate(ctx context.Context) error {
	if err := x.switchTo(ctx, x.conduct.Shadow == ""); err != nil {
		return err
	}
	begin := time.Since(x.keeping.start) + connectIn
	o := x.Scenario.Load.Options(x.running.Address())
	o.Until, o.Overload = begin+saturateFor, replay.QueueUp
	transport, err := x.Transport(o)
	if err != nil {
		return err
	}
	x.Watcher.Step(fmt.Sprintf("how much the mesh takes: a closed loop for %v, recorded as a warm-up", saturateFor))
	x.playing(live.Part{Start: x.keeping.start, Begin: begin, Closed: true, Span: saturateFor})
	answered := 0
	count := counter{next: x.keeping.recording, count: func(r *traffic.Result) bool {
		return r.Outcome == traffic.OK && r.Status < 500 && r.LastByte >= begin+saturateFrom && r.LastByte < begin+saturateFor
	}, n: &answered}
	requests := x.Scenario.captured(true)
	if x.Scenario.Capture == nil {
		requests = x.Scenario.scriptedFrom(0)
	}
	plan := replay.PlanAt(replay.ClosedLoop, mix64(x.Scenario.Load.Seed^0x73), requests)
	err = x.keeping.play(ctx, transport, func(yield func(replay.Item, error) bool) {
		for item, err := range plan {
			item.Phase = traffic.PhaseWarmup
			if !yield(item, err) {
				return
			}
		}
	}, &count)
	if err != nil {
		return err
	}
	x.said.Saturated = ctx.Err() == nil
	x.said.Saturation = math.Round(float64(answered) / (saturateFor - saturateFrom).Seconds())
	return ctx.Err()
}

// counter counts rows on their way to a recorder.
type counter struct {
	mu    sync.Mutex
	next  replay.Recorder
	count func(*traffic.Result) bool
	n     *int
}

// Record implements replay.Recorder.
func (c *counter) Record(rows []traffic.Result) {
	c.next.Record(rows)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rows {
		if c.count(&rows[i]) {
			*c.n++
		}
	}
}

// collector keeps the rows of blocks for the looks, on their way to a recorder.
type collector struct {
	mu    sync.Mutex
	next  replay.Recorder
	recon *verdict.Recon
	watch *counted
}

// begin forgets the rows of the experiment before.
func (c *collector) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recon = verdict.NewRecon()
}

// Record implements replay.Recorder.
func (c *collector) Record(rows []traffic.Result) {
	c.next.Record(rows)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rows {
		switch {
		case rows[i].Phase != traffic.PhaseBlock:
		case c.watch != nil:
			c.watch.add(&rows[i])
		default:
			c.recon.AddResult(&rows[i])
		}
	}
}

// quadruples are those of an experiment so far that count.
func (c *collector) quadruples(said *verdict.Experiment, o verdict.ImpactOptions, experiment string, quantile float64) []impact.Quadruple {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recon.Quadruples(said, o, experiment, quantile)
}

// judge judges the total effect so far.
func (c *collector) judge(said *verdict.Experiment, o verdict.ImpactOptions) impact.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recon.Total(said, o)
}
