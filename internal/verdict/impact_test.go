package verdict

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/internal/impact"
	"umbra/internal/traffic"
)

// trial is an experiment that a bed plays behind its stages.
type trial struct {
	experiment string
	quantile   float64
	quadruples int
	each       int                                                  // requests of a block
	delay      time.Duration                                        // of the primary in treated blocks
	slower     float64                                              // what mirroring does to a treated block: a factor
	spread     float64                                              // of a block's level, as the standard deviation of its logarithm
	mirrored   bool                                                 // in treated blocks
	spoil      func(b *Block, i int, r *traffic.Result) (lost bool) // may change a row
}

const blockOf = 100 * time.Millisecond

// experiment prepares a bed for trials of so many quadruples each.
func (b *bed) experiment(quadruples int) {
	b.facts.Start = b.start
	b.facts.Experiment = &Experiment{Quadruples: quadruples, Block: blockOf, Settle: 20 * time.Millisecond, Rate: 1000, Timeout: 2 * time.Second, Saturation: 5000, Saturated: true, CPUs: 2}
	b.options.Impact = &ImpactOptions{Margins: []impact.Margin{{Quantile: 50, Percent: 5, Asked: true}, {Quantile: 90, Percent: 5, Asked: true}}, Errors: 0.1, Seed: 1,
		Quadruples: quadruples, Timeout: 2 * time.Second}
}

// trial plays one.
func (b *bed) trial(t trial) {
	x := b.facts.Experiment
	first := 0
	if n := len(x.Blocks); n > 0 {
		first = x.Blocks[n-1].Quadruple + 1
	}
	orders := impact.Orders(t.quadruples, uint64(len(x.Blocks)))
	if x.Buildup {
		orders = impact.Buildup(t.quadruples)
	}
	for q, order := range orders {
		for _, treated := range order {
			block := Block{Index: len(x.Blocks), Quadruple: first + q, Experiment: t.experiment, Quantile: t.quantile, Treated: treated, Mirrored: treated && t.mirrored,
				Planned: t.each, Begin: time.Duration(len(b.results)+1000) * time.Millisecond, Counted: true}
			block.End = block.Begin + blockOf
			if treated {
				block.Delay = t.delay
			}
			b.block(&block, t)
			x.Blocks = append(x.Blocks, block)
		}
	}
}

// block plays a block's requests, all reads.
func (b *bed) block(block *Block, t trial) {
	arm := "off"
	switch {
	case block.Mirrored:
		arm = "on"
	case block.Treated:
		arm = "control"
	}
	level := math.Exp(t.spread * b.random.NormFloat64())
	for i := range t.each {
		id := fmt.Sprintf("%08x", len(b.results)+1_000_000)
		took := 10e6 * level * math.Exp(0.2*b.random.NormFloat64())
		if block.Mirrored && t.slower > 0 {
			took *= t.slower
		}
		end := block.Begin + time.Duration(i)*blockOf/time.Duration(t.each)
		due := end
		end += time.Duration(took) + block.Delay
		res := traffic.Result{ID: id, Route: reads, Method: "GET", Path: "/api/items", Phase: traffic.PhaseBlock, Block: block.Index, Arm: arm,
			Due: due, Ready: due, Sent: due, FirstByte: end, LastByte: end, End: end, Outcome: traffic.OK, Status: 200}
		lost := t.spoil != nil && t.spoil(block, i, &res)
		b.results = append(b.results, res)
		if lost {
			continue
		}
		b.arrive(id, v1, false)
		if block.Mirrored && draw(7, id) < b.facts.Routes[0].Mirrors[0].Numerator {
			b.arrive(id, v2, true)
		}
	}
}

// whole is a bed with the experiment and its controls.
func whole(slower float64, spread float64) *bed { return wholeOf(slower, spread, false) }

// built is the same of a shadow that holds what it gets.
func built(slower float64, spread float64) *bed { return wholeOf(slower, spread, true) }

func wholeOf(slower, spread float64, buildup bool) *bed {
	b := newBed(setup{n: 12_000, seed: 7, route: onlyReads})
	quadruples, each := 8, 400
	b.experiment(quadruples)
	if buildup {
		b.facts.Experiment.Buildup = true
		quadruples = impact.Fewer(quadruples)
		b.facts.Experiment.Quadruples = quadruples
	}
	b.trial(trial{experiment: Negative, quadruples: quadruples, each: each, spread: spread})
	quads := b.recon().Quadruples(b.facts.Experiment, *b.options.Impact, Negative, 0)
	b.facts.Experiment.Plans = impact.Plans(quads, b.options.Impact.Margins, quadruples)
	b.trial(trial{experiment: Total, quadruples: quadruples, each: each, spread: spread, slower: slower, mirrored: true})
	for _, p := range b.facts.Experiment.Plans {
		b.trial(trial{experiment: Positive, quantile: p.Quantile, quadruples: quadruples, each: each, spread: spread, delay: p.Delay()})
	}
	return b
}

func TestImpact(t *testing.T) {
	for _, c := range []struct {
		name  string
		bed   *bed
		spoil func(*bed)
		want  State
		says  []string

		controls string
	}{
		{"no harm", whole(1, 0.01), func(*bed) {}, Pass, []string{"no harm beyond the margins", "the controls were found"}, "off against off: PASS in 8 quadruples; a primary 1.00 ms slower at p50: found"},
		{"20 % slower", whole(1.2, 0.01), func(*bed) {}, Fail, []string{"mirroring makes the primary slower", "p50"}, ""},
		{"exactly at the margin", whole(1.05, 0.01), func(*bed) {}, Inconclusive, []string{"quadruples would decide"}, ""},
		{"a machine that is too coarse", whole(1, 0.3), func(*bed) {}, Inconclusive, []string{"margin"}, ""},
		{"without controls", whole(1, 0.01), func(b *bed) {
			x := b.facts.Experiment
			x.NoControls = "without controls, as the scenario says"
			b.only(Total)
		}, Pass, []string{"without controls, as the scenario says"}, ""},
		{"off against off fails", whole(1, 0.01), func(b *bed) {
			b.delayed(Negative, 3*time.Millisecond)
		}, Invalid, []string{"off against off FAILs"}, ""},
		{"off against off does not pass", whole(1, 0.01), func(b *bed) {
			b.delayed(Negative, 500*time.Microsecond)
		}, Inconclusive, []string{"off against off does not pass"}, ""},
		{"the slower primary is not found", whole(1, 0.01), func(b *bed) {
			b.delayed(Positive, -700*time.Microsecond)
		}, Inconclusive, []string{"was not found there"}, ""},
		{"controls change no FAIL", whole(1.2, 0.01), func(b *bed) { b.delayed(Negative, 3*time.Millisecond) }, Fail, nil, ""},
		{"near to saturation", whole(1, 0.01), func(b *bed) { b.facts.Experiment.Saturation = 1500 }, Inconclusive, []string{"66.67 % of the measured saturation"}, ""},
		{"a pod restarted within a block", whole(1, 0.01), func(b *bed) {
			at := b.facts.Experiment.Blocks[len(b.facts.Experiment.Blocks)/2-1]
			for i := range b.facts.Experiment.Blocks { // a block of the total effect
				if b.facts.Experiment.Blocks[i].Experiment == Total {
					at = b.facts.Experiment.Blocks[i]
					break
				}
			}
			b.facts.Restarts = []Restart{{Pod: "v1-a", What: "restarted (Error)", At: b.start.Add(at.Begin + time.Millisecond)}}
		}, Inconclusive, []string{"pod v1-a restarted (Error) in its time", "7 of 8 quadruples count"}, ""},
		{"a block that the run did not count", whole(1, 0.01), func(b *bed) {
			for i := range b.facts.Experiment.Blocks {
				if x := &b.facts.Experiment.Blocks[i]; x.Experiment == Total {
					x.Counted, x.Why = false, "requests mirrored before it were still under way"
					break
				}
			}
		}, Inconclusive, []string{"block that does not count: requests mirrored before it"}, ""},
		{"receipts were lost", whole(1, 0.01), func(b *bed) {
			b.facts.Restarts = []Restart{{Pod: "v2-a", What: "ended", Lost: true, At: b.start.Add(time.Hour)}}
		}, Inconclusive, []string{"receipts may be missing (pod v2-a ended)"}, ""},
		{"two blocks were not mirrored", whole(1, 0.01), func(b *bed) {
			n := 0
			for i := range b.facts.Experiment.Blocks {
				if x := &b.facts.Experiment.Blocks[i]; x.Mirrored && n < 2 {
					b.unmirror(x.Index)
					n++
				}
			}
		}, Inconclusive, []string{"mirroring was on, and 0 copies arrived where about 40 should"}, ""},
		{"arms that are not those of the rows", whole(1.2, 0.01), func(b *bed) {
			for i := range b.facts.Experiment.Blocks {
				if x := &b.facts.Experiment.Blocks[i]; x.Experiment == Total {
					x.Treated, x.Mirrored = !x.Treated, !x.Mirrored
				}
			}
		}, Inconclusive, []string{"its rows are not those of its arm"}, ""},
		{"a plan cut short afterwards", whole(1, 0.01), func(b *bed) {
			x := b.facts.Experiment
			x.Quadruples, x.Blocks = 5, x.Blocks[:len(x.Blocks)-12]
		}, Inconclusive, []string{"was not found there"}, ""},
		{"controls left out though the scenario asks for them", whole(1, 0.01), func(b *bed) {
			b.only(Total)
			b.options.Impact.Controls, b.facts.Experiment.NoControls = true, "forged"
		}, Inconclusive, []string{"the controls were not played"}, ""},
		{"most requests are refused", whole(1, 0.01), func(b *bed) {
			for i := range b.results {
				b.results[i].Status = 404
			}
		}, Inconclusive, []string{"most requests were refused"}, ""},
		{"the primary is not well", whole(1, 0.01), func(b *bed) {
			for i := range b.results {
				if i%10 == 0 {
					b.results[i].Status = 503
				}
			}
		}, Inconclusive, []string{"this primary is not well"}, ""},
		{"the shadow was told to let go", whole(1, 0.01), func(b *bed) {
			for i := range b.facts.Experiment.Blocks {
				b.facts.Experiment.Blocks[i].Relieved = true
			}
		}, Inconclusive, []string{"what piles up at the shadow for longer than a block is not in this"}, ""},
		{"what is mirrored builds up", built(1, 0.01), func(b *bed) {
			for i := range b.facts.Experiment.Blocks {
				x := &b.facts.Experiment.Blocks[i]
				x.Relieved = x.Experiment == Total && i%4 == 3
				if x.Mirrored {
					x.Left = uint64(100 * (i % 4))
				}
			}
		}, Inconclusive, []string{"this saw 240ms of it at a time: nothing passes", "in each of 5 quadruples the blocks were off, on, on, off: up to 200 mirrored requests were under way", "told to let go of what it held 5 times"},
			"off against off: PASS in 5 quadruples"},
		{"what builds up makes the primary slower", built(1.2, 0.01), func(*bed) {}, Fail, []string{"mirroring makes the primary slower"}, ""},
		{"what builds up, off against off fails", built(1.2, 0.01), func(b *bed) { b.delayed(Negative, 3*time.Millisecond) }, Fail, []string{"something goes along with it, and a FAIL may be its doing"}, ""},
		{"a closed loop got nothing answered", whole(1, 0.01), func(b *bed) { b.facts.Experiment.Saturation = 0 }, Inconclusive, []string{"a closed loop got nothing answered"}, ""},
		{"shared CPUs are told", whole(1, 0.01), func(b *bed) { b.facts.Experiment.Shared = true }, Pass, []string{"share 2 CPUs"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spoil(c.bed)
			v := c.bed.judge(t)[Impact]
			if v.State != c.want {
				t.Errorf("%s, want %s", v.State, c.want)
			}
			says(t, v, c.says...)
			if x := v.Experiment; c.controls != "" && !strings.Contains(x.Controls, c.controls) {
				t.Errorf("the controls: %s", x.Controls)
			}
			if v.State != c.want || testing.Verbose() {
				t.Log(v.Summary, v.Warnings)
				for _, i := range v.Items {
					t.Log(i.State, i.Summary)
				}
			}
		})
	}
}

// unmirror takes a block's copies back.
func (b *bed) unmirror(block int) {
	ids := map[string]bool{}
	for i := range b.results {
		ids[b.results[i].ID] = b.results[i].Block == block
	}
	b.receipts = slices.DeleteFunc(b.receipts, func(r traffic.Receipt) bool {
		lost := ids[r.ID] && slices.Contains(b.facts.Pods[v2], r.Pod)
		if lost {
			b.facts.After["cluster."+v2+".upstream_rq_total"]--
		}
		return lost
	})
}

// only keeps the blocks of one experiment.
func (b *bed) only(experiment string) {
	var kept []Block
	for _, x := range b.facts.Experiment.Blocks {
		if x.Experiment == experiment {
			kept = append(kept, x)
		}
	}
	b.facts.Experiment.Blocks, b.facts.Experiment.Plans = kept, nil
}

// delayed changes what the treated blocks of an experiment took.
func (b *bed) delayed(experiment string, by time.Duration) {
	treated := map[int]bool{}
	for _, x := range b.facts.Experiment.Blocks {
		treated[x.Index] = x.Experiment == experiment && x.Treated
	}
	for i := range b.results {
		if r := &b.results[i]; r.Block >= 0 && treated[r.Block] {
			r.End += by
			r.LastByte, r.FirstByte = r.End, r.End
		}
	}
}

// The blocks change no other verdict, and a mirror that is not off in its off blocks is found.
func TestImpactLeavesTheOthers(t *testing.T) {
	b := whole(1, 0.01)
	expect(t, b.judge(t), map[string]State{Impact: Pass})
	for _, x := range b.facts.Experiment.Blocks {
		if x.Experiment == Total && !x.Treated {
			for i := range b.results {
				if b.results[i].Block == x.Index {
					b.arrive(b.results[i].ID, v2, true)
					break
				}
			}
			break
		}
	}
	v := b.judge(t)[Impact]
	if v.State != Inconclusive {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, v, "mirroring was off, and 1 copy arrived at a shadow")
}

// A treated block whose requests fail, or time out, is slower by its time-outs and has failures.
func TestImpactCountsFailures(t *testing.T) {
	b := newBed(setup{n: 12_000, seed: 7, route: onlyReads})
	b.experiment(8)
	b.trial(trial{experiment: Total, quadruples: 8, each: 400, spread: 0.01, mirrored: true, spoil: func(x *Block, i int, r *traffic.Result) bool {
		if !x.Mirrored || i%20 != 0 {
			return false
		}
		r.Outcome, r.Error, r.Status = traffic.Error, "reset", 0
		r.FirstByte, r.LastByte = traffic.Never, traffic.Never
		r.End = r.Due + time.Millisecond // at once
		return true
	}})
	v := b.judge(t)[Impact]
	if v.State != Fail || v.Experiment.Figures[2].FailedOn != 16*20 || v.Experiment.Figures[2].State != impact.Fail {
		t.Errorf("%s: %+v", v.State, v.Experiment.Figures[2])
	}
	says(t, v, "failed requests 0 of 6,400 off, 320 of 6,400 on: +5.000 points")
}

// Where the app cannot be made slower, the positive control is the negative one with a delay in the client's stamps.
func TestImpactByStamps(t *testing.T) {
	b := whole(1, 0.01)
	x := b.facts.Experiment
	x.ByStamps = true
	var kept []Block
	for _, block := range x.Blocks {
		if block.Experiment != Positive {
			kept = append(kept, block)
		}
	}
	x.Blocks = kept
	v := b.judge(t)[Impact]
	if v.State != Pass || len(v.Experiment.Positive) != 2 || !v.Experiment.Positive[0].Stamps || !v.Experiment.Positive[0].Found {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, v, "no harm")
}

// The client's own lag decides nothing: what is within the margin only by it, or is above its limit, is INVALID, and exit status 3.
func TestImpactOfALateClient(t *testing.T) {
	b := whole(1, 0.01)
	for i := range b.results {
		if r := &b.results[i]; r.Block >= 0 {
			r.Sent, r.End = r.Sent+3*time.Millisecond, r.End+3*time.Millisecond
			r.FirstByte, r.LastByte = r.End, r.End
		}
	}
	all := b.judge(t)
	if v := all[Impact]; v.State != Invalid || ExitStatus([]Verdict{v}) != ExitClient {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, all[Impact], "the client lagged 3.00 ms there")
}

// A scenario that asks for blocks passes nothing where they were not played.
func TestImpactNotPlayed(t *testing.T) {
	b := newBed(setup{n: 12_000, seed: 7, route: onlyReads})
	b.options.Impact = &ImpactOptions{Margins: impact.DefaultMargins(), Quadruples: 20}
	v := b.judge(t)[Impact]
	if v.State != Inconclusive {
		t.Errorf("%s", v.State)
	}
	says(t, v, "the paired blocks that the scenario asks for were not played")
}

// The direct effect stays beside the total one, and may fail it at its own level.
func TestImpactKeepsTheDirectEffect(t *testing.T) {
	b := whole(1, 0.01)
	b.slow(20 * time.Millisecond) // those of the stage that are mirrored
	v := b.judge(t)[Impact]
	if v.State != Fail {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	says(t, v, "mirrored requests of "+reads+" are slower")
}

func TestHarm(t *testing.T) {
	const setting = "a route without mirror for uploads"
	b := newBed(setup{n: 12_000, seed: 7, route: onlyReads})
	b.experiment(8)
	x := b.facts.Experiment
	x.Looks = []string{"hung"}
	look := func(c Cell, fails bool, left uint64) {
		c.Timeout = 5 * time.Second
		x.Cells = append(x.Cells, c)
		cell := len(x.Cells) - 1
		from, quadruples := len(x.Blocks), 1
		if fails && c.Setting == "" {
			quadruples = 2
		}
		b.trial(trial{experiment: Harm, quadruples: quadruples, each: 8, mirrored: true, spoil: func(block *Block, _ int, r *traffic.Result) bool {
			if !fails || !block.Mirrored {
				return false
			}
			r.Outcome, r.Error, r.Status, r.End = traffic.Timeout, "timeout", 0, r.Due+5*time.Second
			r.FirstByte, r.LastByte = traffic.Never, traffic.Never
			return true
		}})
		for i := from; i < len(x.Blocks); i++ {
			x.Blocks[i].Cell = cell
			if x.Blocks[i].Mirrored {
				x.Blocks[i].Left, x.Blocks[i].Sent = left, uint64(x.Blocks[i].Planned)
			}
		}
	}
	before := maps.Clone(b.facts.After)
	look(Cell{Shadow: "hung", Body: 8 << 20}, false, 40)
	look(Cell{Shadow: "hung", Body: 32 << 20}, true, 8)
	look(Cell{Shadow: "hung", Body: 20 << 20, Narrows: true}, true, 8)
	look(Cell{Shadow: "hung", Body: 14 << 20, Narrows: true}, false, 8)
	look(Cell{Shadow: "hung", Body: 32 << 20, Setting: "a time-out of 2s on the route"}, true, 0)
	look(Cell{Shadow: "hung", Body: 32 << 20, Setting: setting}, false, 0)
	b.bump(v2, "upstream_rq_pending_overflow", 2) // by a pool that was tried
	x.Aside = Rise(before, b.facts.After)
	all := b.judge(t)
	v := all[HarmVerdict]
	if v.State != Fail {
		t.Errorf("%s", v.State)
	}
	says(t, v, "a hung shadow makes uploads of 32 MiB fail: 32 of 32, against 0 of 32 with mirroring off (from between 14 MiB and 20 MiB on); removed by "+setting+"; not by a time-out of 2s on the route")
	if f := found(t, v, "streams_pile_up"); f.Count != 40 {
		t.Errorf("%+v", f)
	}
	for name, c := range map[string]struct {
		spoil func(*Experiment)
		want  State
		says  string
	}{
		"refused": {func(*Experiment) { b.status(x.Blocks, 0, 405) }, Inconclusive, "most fail, or are refused, with mirroring off"},
		"nothing mirrored": {func(x *Experiment) {
			x.Blocks[2].Sent, x.Blocks[1].Sent, x.Blocks[0].Sent, x.Blocks[3].Sent = 0, 0, 0, 0
		}, Inconclusive, "the gateway mirrored 0 of them"},
		"a gateway that buffers": {func(x *Experiment) { x.Buffers = true }, NotTested, "no upload can stall here"},
	} {
		t.Run(name, func(t *testing.T) {
			before, blocks, results := *x, slices.Clone(x.Blocks), slices.Clone(b.results)
			defer func() { *x, x.Blocks, b.results = before, blocks, results }()
			c.spoil(x)
			v := b.judge(t)[HarmVerdict]
			if v.Items[0].State != c.want {
				t.Errorf("%s, want %s: %s", v.Items[0].State, c.want, v.Items[0].Summary)
			}
			says(t, v, c.says)
		})
	}
	if v.Items[0].State != Pass || v.Items[1].State != Fail || v.Items[2].State != Fail || v.Items[3].State != Pass || v.Items[4].State != NotTested {
		t.Errorf("%+v", v.Items)
	}
	expect(t, all, map[string]State{Impact: Inconclusive})
}

// What a look comes to by its counts alone. Each has 8 requests an arm, or 16 where it was played once more.
func TestHarmByCounts(t *testing.T) {
	type tried struct {
		Cell
		failedOff, failedOn int
		again               bool
		left                uint64
	}
	hung := func(mib int) Cell { return Cell{Shadow: "hung", Body: mib << 20} }
	narrows := func(mib int) Cell { return Cell{Shadow: "hung", Body: mib << 20, Narrows: true} }
	with := func(mib int, setting string, piling bool) Cell {
		return Cell{Shadow: "hung", Body: mib << 20, Setting: setting, Piling: piling}
	}
	for name, c := range map[string]struct {
		looks  []tried
		want   State
		says   []string
		states []State // of the items
	}{
		"harm, narrowed, is not weakened by what led from it": {
			[]tried{{hung(1), 0, 0, false, 0}, {hung(2), 0, 0, false, 0}, {hung(8), 0, 0, false, 0}, {hung(32), 0, 6, true, 0}, {narrows(20), 0, 0, false, 0}, {narrows(26), 0, 0, false, 0}},
			Fail, []string{"uploads of 32 MiB fail: 6 of 16", "(from between 26 MiB and 32 MiB on)"}, []State{Pass, Pass, Pass, Fail, Pass, Pass}},
		"what looked like harm does not pass": {
			[]tried{{hung(32), 0, 4, true, 0}}, Inconclusive, []string{"was played once more, which did not decide it"}, []State{Inconclusive}},
		"a size between that decides nothing is no lower end": {
			[]tried{{hung(8), 0, 0, false, 0}, {hung(32), 0, 14, true, 0}, {narrows(20), 0, 3, false, 0}, {narrows(26), 0, 12, true, 0}},
			Fail, []string{"(from between 8 MiB and 26 MiB on)"}, []State{Pass, Fail, Inconclusive, Fail}},
		"nothing below that was sound": {
			[]tried{{hung(8), 0, 1, false, 0}, {hung(32), 0, 14, true, 0}, {narrows(20), 0, 12, true, 0}}, Fail, []string{"(seen from 20 MiB on)"}, nil},
		"a narrowed look alone is no harm": {
			[]tried{{hung(32), 0, 4, true, 0}, {narrows(20), 0, 8, false, 0}}, Inconclusive, []string{"do not fail for sure"}, []State{Inconclusive, Inconclusive}},
		"few that fail without a setting are not removed by it": {
			[]tried{{hung(32), 0, 6, true, 0}, {with(32, "a pool", false), 0, 0, false, 0}}, Fail, []string{"none of the settings tried removes it: a pool"}, nil},
		"many are": {
			[]tried{{hung(32), 0, 14, true, 0}, {with(32, "a pool", false), 0, 0, false, 0}}, Fail, []string{"removed by a pool"}, nil},
		"what piles up, and what bounds it": {
			[]tried{{hung(1), 0, 0, false, 40}, {with(1, "a time-out", true), 0, 0, false, 0}, {with(1, "a pool", true), 0, 8, false, 0}, {with(1, "idle", true), 0, 0, false, 40}},
			Pass, []string{"bounded by a time-out"}, []State{Pass, NotTested, NotTested, NotTested}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(setup{n: 200, seed: 7, route: onlyReads})
			b.experiment(8)
			x := b.facts.Experiment
			x.Looks = []string{"hung"}
			for _, look := range c.looks {
				look.Timeout = 5 * time.Second
				x.Cells = append(x.Cells, look.Cell)
				from, quadruples := len(x.Blocks), 1
				if look.again {
					quadruples = 2
				}
				left := map[bool]int{false: look.failedOff, true: look.failedOn}
				b.trial(trial{experiment: Harm, quadruples: quadruples, each: 4, mirrored: true, spoil: func(block *Block, _ int, r *traffic.Result) bool {
					if left[block.Mirrored] > 0 {
						left[block.Mirrored]--
						r.Status = 503
					}
					return false
				}})
				for i := from; i < len(x.Blocks); i++ {
					x.Blocks[i].Cell = len(x.Cells) - 1
					if x.Blocks[i].Mirrored {
						x.Blocks[i].Sent, x.Blocks[i].Left = uint64(x.Blocks[i].Planned), look.left
					}
				}
			}
			v := b.judge(t)[HarmVerdict]
			if v.State != c.want {
				t.Errorf("%s: %s, want %s", v.State, v.Summary, c.want)
			}
			says(t, v, c.says...)
			for i, want := range c.states {
				if v.Items[i].State != want {
					t.Errorf("item %d is %s, want %s: %s", i, v.Items[i].State, want, v.Items[i].Summary)
				}
			}
		})
	}
}

// A setting that the run was interrupted at has bounded nothing.
func TestHarmOfASettingNotPlayed(t *testing.T) {
	f := &HarmFigures{Cell: Cell{Shadow: "hung", Setting: "a time-out", Piling: true}, PValue: 1, High: 100}
	if f.bounded() || f.bounds() != "not decided" || f.removed(&HarmFigures{On: 8, FailedOn: 8}) {
		t.Errorf("%s", f.bounds())
	}
}

// status gives the requests of a look another status.
func (b *bed) status(blocks []Block, cell, status int) {
	of := map[int]bool{}
	for _, x := range blocks {
		of[x.Index] = x.Cell == cell && x.Experiment == Harm
	}
	for i := range b.results {
		if r := &b.results[i]; r.Block >= 0 && of[r.Block] {
			r.Status = status
		}
	}
}
