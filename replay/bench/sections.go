//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// section is a part of the bench, which -only selects by name.
type section struct {
	name     string
	rounds   int           // unless -n says otherwise
	duration time.Duration // of a run, unless -for says otherwise
	play     func(b *bench, ctx context.Context, n int, d time.Duration) error
}

// sections in their order.
var sections = []section{
	{"cost", 5, 4 * time.Second, (*bench).cost},
	{"rows", 5, 4 * time.Second, (*bench).rows},
	{"rate", 3, 4 * time.Second, (*bench).highestRate},
	{"truth", 5, 5 * time.Second, (*bench).truth},
	{"curve", 3, 5 * time.Second, (*bench).curve},
	{"freeze", 1, 10 * time.Second, (*bench).freeze},
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// play plays the sections that are asked for.
func (b *bench) play(ctx context.Context) error {
	for _, s := range sections {
		if len(b.only) > 0 && !slices.Contains(b.only, s.name) {
			continue
		}
		if err := b.section(ctx, s); err != nil {
			return err
		}
	}
	if b.failed {
		return errFailed
	}
	return nil
}

// section plays one, as long and as often as the command line asks.
func (b *bench) section(ctx context.Context, s section) error {
	n, d := s.rounds, s.duration
	if b.options.rounds > 0 {
		n = b.options.rounds
	}
	if b.duration > 0 && s.name != "freeze" {
		d = b.duration
	}
	return s.play(b, ctx, n, d)
}

// heading begins a table.
func (b *bench) heading(format string, args ...any) {
	fmt.Fprintf(b.out, "\n"+format+"\n", args...)
	b.crowds = nil
}

// nobody stands for a table without rows.
func (b *bench) nobody() error {
	_, err := fmt.Fprintln(b.out, "None of the tools that are here, and asked for, can do this.")
	return err
}

// The variants of umbra. Rows are left out where the peers write none.
var (
	umbraPlain = umbra("umbra --results none", "--results", "none")
	umbraRows  = umbra("umbra --results all", "--results", "all")
)

func umbraQuantum(quantum string) tool {
	return umbra("umbra --quantum "+quantum, "--results", "none", "--quantum", quantum)
}

// http1 is the job over HTTP/1.1 that most sections begin with.
func (b *bench) http1(rate int, d time.Duration) job {
	return job{url: b.server.http1, connections: b.connections, rate: rate, duration: d, timeout: 10 * time.Second}
}

// cost is the client's CPU time for a request, in a closed loop.
func (b *bench) cost(ctx context.Context, n int, d time.Duration) error {
	b.heading("cost: closed loop over HTTP/1.1, %d connections, n = %d of %v", b.connections, n, d)
	err := b.costs(ctx, "cost", n, b.http1(0, d), "wrk", append(slices.Clone(peers), umbraPlain, umbraRows))
	if err != nil {
		return err
	}
	const connections, streams = 10, 10
	b.heading("cost: closed loop over h2c, %d connections of %d streams, n = %d of %v", connections, streams, n, d)
	j := b.http1(0, d)
	j.url, j.connections, j.streams = b.server.h2c, connections, streams
	return b.costs(ctx, "cost, h2c", n, j, "h2load", append(slices.Clone(peers), umbraPlain, umbraRows))
}

func (b *bench) costs(ctx context.Context, title string, n int, j job, base string, tools []tool) error {
	tools = b.able(j, tools...)
	if len(tools) == 0 {
		return b.nobody()
	}
	runs, err := b.rounds(ctx, title, n, j, tools)
	if err != nil {
		return err
	}
	first := slices.IndexFunc(tools, func(t tool) bool { return t.name == base })
	t := newTable("tool", "n", "CPU µs/request", "× "+base+" of the same round", "requests/s")
	for i := range tools {
		cost := spreadOf(each(runs[i], measured.perRequest))
		ratio := "–"
		if first >= 0 {
			ratio = spreadOf(ratios(runs[i], runs[first], measured.perRequest)).in(decimals(3))
		}
		perSecond := spreadOf(each(runs[i], func(m measured) float64 { return float64(m.requests) / j.duration.Seconds() }))
		t.add(tools[i].name, strconv.Itoa(cost.n), cost.in(micros), ratio, perSecond.in(decimals(0)))
	}
	t.write(b.out)
	b.notes(tools, runs, slack(j))
	return nil
}

// micros writes nanoseconds as microseconds.
func micros(ns float64) string { return fmt.Sprintf("%.2f", ns/1e3) }

// slack is how many requests may be under way when a run ends, on both sides.
func slack(j job) int64 { return int64(2 * j.connections * max(1, j.streams)) }

// rows is the price of writing a row for each request.
func (b *bench) rows(ctx context.Context, n int, d time.Duration) error {
	b.heading("rows: the price of a row, closed loop over HTTP/1.1, %d connections, n = %d of %v", b.connections, n, d)
	j := b.http1(0, d)
	tools := b.able(j, umbraPlain, umbraRows)
	if len(tools) == 0 {
		return b.nobody()
	}
	runs, err := b.rounds(ctx, "rows", n, j, tools)
	if err != nil {
		return err
	}
	var price []float64
	for round, with := range runs[1] {
		if without := runs[0][round]; with.err == nil && without.err == nil {
			price = append(price, with.perRequest()-without.perRequest())
		}
	}
	t := newTable("umbra", "n", "CPU µs/request", "bytes in the folder/request")
	for i := range tools {
		cost := spreadOf(each(runs[i], measured.perRequest))
		size := spreadOf(each(runs[i], func(m measured) float64 { return float64(m.size) / float64(m.requests) }))
		t.add(tools[i].name, strconv.Itoa(cost.n), cost.in(micros), size.in(decimals(1)))
	}
	t.write(b.out)
	fmt.Fprintf(b.out, "A row costs %s ns (the difference within a round).\n", spreadOf(price).in(decimals(0)))
	b.notes(tools, runs, slack(j))
	return nil
}

// What it means that a rate is held.
const (
	rateWithin = 0.001            // of the asked rate, either way, by the server's own count
	lagWithin  = time.Millisecond // of generator lag, at p99
	rateSteps  = 6                // of the bisection between half of wrk's rate and 1.2 times: to 1.1 % of wrk's
)

// highestRate is the highest rate of an open loop that umbra holds, beside wrk's in a closed loop.
func (b *bench) highestRate(ctx context.Context, n int, d time.Duration) error {
	b.heading("rate: the highest open-loop rate that umbra holds, %d connections, n = %d, runs of %v", b.connections, n, d)
	tool, wrk := b.able(b.http1(1, d), umbraPlain), b.able(b.http1(0, d), peers[0])
	if len(tool) == 0 || len(wrk) == 0 {
		fmt.Fprintln(b.out, "It takes umbra and wrk, and one of them is missing.")
		return nil
	}
	t := newTable("round", "wrk, requests/s", "umbra holds", "× wrk", "plays that held", "lag p99 there")
	var all []float64
	var notes []string
	for i := range n {
		round := strconv.Itoa(i + 1)
		c, err := b.climb(ctx, wrk[0], tool[0], d)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			t.add(round, "failed: "+err.Error())
			continue
		}
		all = append(all, c.ratio(d))
		t.add(round, decimals(0)(c.peer(d)), strconv.Itoa(c.held), decimals(3)(c.ratio(d)), strconv.Itoa(len(c.there())),
			lag(c.there(), func(l summary.Latency) time.Duration { return l.P99 }))
		for _, text := range c.remarks(slack(b.http1(0, d))) {
			notes = append(notes, fmt.Sprintf("round %s, %s", round, text))
		}
	}
	t.write(b.out)
	fmt.Fprintf(b.out, "× wrk: %s. 0: not even half of wrk's rate; 1.2 is the most that was tried.\n", spreadOf(all).in(decimals(3)))
	fmt.Fprintf(b.out, "Held: in two of three plays every request was sent, answered and counted by the server, whose count went up at the\n"+
		"asked rate within %.1f %%, umbra's verdict on the rate was PASS, and lag p99 was at most %v.\n", 100*rateWithin, lagWithin)
	for _, text := range notes {
		fmt.Fprintln(b.out, text)
	}
	b.crowded()
	return nil
}

// climb is a round: wrk in a closed loop, and right after umbra's way to the highest rate that it holds.
type climb struct {
	wrk    measured
	held   int
	trials []trial // in their order
}

// trial is a play of a rate.
type trial struct {
	rate int
	measured
	missed string // why it did not hold; empty: it did
}

func (c *climb) peer(d time.Duration) float64  { return float64(c.wrk.requests) / d.Seconds() }
func (c *climb) ratio(d time.Duration) float64 { return float64(c.held) / c.peer(d) }

// there are the plays that held at the highest rate that did.
func (c *climb) there() (runs []measured) {
	for _, t := range c.trials {
		if t.rate == c.held && t.missed == "" {
			runs = append(runs, t.measured)
		}
	}
	return runs
}

// remarks are what there is to say of wrk, and of umbra at the rate that held and at the next that was tried above it.
func (c *climb) remarks(slack int64) (texts []string) {
	if text := remark(c.wrk, slack); text != "" {
		texts = append(texts, "wrk: "+text)
	}
	above := math.MaxInt
	for _, t := range c.trials {
		if t.rate > c.held {
			above = min(above, t.rate)
		}
	}
	for _, t := range c.trials {
		text := t.remark()
		if (t.rate == c.held || t.rate == above) && text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

func (t *trial) remark() string {
	if t.missed != "" {
		return fmt.Sprintf("%d/s missed: %s", t.rate, t.missed)
	}
	if text := remark(t.measured, 0); text != "" {
		return fmt.Sprintf("%d/s held: %s", t.rate, text)
	}
	return ""
}

// climb plays a round with runs of d.
func (b *bench) climb(ctx context.Context, wrk, umbra tool, d time.Duration) (c climb, err error) {
	if c.wrk = b.measure(ctx, wrk, b.http1(0, d), nothing); c.wrk.err != nil {
		return c, fmt.Errorf("wrk: %w", c.wrk.err)
	}
	held, err := highest(c.peer(d)/2, c.peer(d)*1.2, rateSteps, func(rate float64) (bool, error) {
		return twoOfThree(func() (bool, error) {
			t, err := b.playAt(ctx, umbra, int(rate), d)
			c.trials = append(c.trials, t)
			return t.missed == "", err
		})
	})
	c.held = int(held)
	return c, err
}

// playAt plays a rate once.
func (b *bench) playAt(ctx context.Context, umbra tool, rate int, d time.Duration) (t trial, err error) {
	j := b.http1(rate, d)
	var readings []reading
	t.rate = rate
	t.measured = b.measure(ctx, umbra, j, func(ctx context.Context, base int64) (asked int64, err error) {
		readings, err = b.server.watch(ctx, base)
		return int64(len(readings)), err
	})
	if t.err != nil {
		return t, fmt.Errorf("%s at %d/s: %w", umbra.name, rate, t.err)
	}
	counted := steadyRate(readings, d)
	t.missed = missed(t.measured, j, counted)
	fmt.Fprintf(b.progress, "rate: asked %d, counted %.0f, lag p99 %v, missed: %q\n", rate, counted, t.umbra.Figures.Lag.P99, t.missed)
	return t, nil
}

// missed says why a run of umbra did not hold its rate, of which the server counted so much in the middle of the run; empty: it
// did. That nothing was late at either end, where the server's count by time is too coarse, is for umbra's verdict to say.
// Figures of time that are not to be trusted (exit status 3 or 4) leave the rate what it is.
func missed(m measured, j job, counted float64) string {
	trusted := m.exit == verdict.ExitPassed || m.exit == verdict.ExitClient || m.exit == verdict.ExitInconclusive
	off := counted - float64(j.rate)
	switch f := m.umbra.Figures; {
	case !trusted || m.umbra.rate() != verdict.Pass:
		return fmt.Sprintf("exit status %d, Rate %s", m.exit, m.umbra.rate())
	case f.Planned != j.planned():
		return fmt.Sprintf("%d requests planned of %d", f.Planned, j.planned())
	case m.unsent != 0 || m.failed != 0:
		return fmt.Sprintf("%d unsent, %d failed", m.unsent, m.failed)
	case m.served != int64(j.planned()):
		return fmt.Sprintf("the server saw %d of %d", m.served, j.planned())
	case max(off, -off) > float64(j.rate)*rateWithin:
		return fmt.Sprintf("the server counted %.0f/s", counted)
	case f.Lag.P99 > lagWithin:
		return "lag p99 " + short(float64(f.Lag.P99))
	}
	return ""
}

// truth is what each open-loop tool says of an idle server, and what that costs.
func (b *bench) truth(ctx context.Context, n int, d time.Duration) error {
	b.heading("truth: open loop of %d/s over HTTP/1.1, %d connections, n = %d of %v (wrk2: 11 s more, which it needs to calibrate)", b.rate, b.connections, n, d)
	err := b.paced(ctx, "truth", n, b.http1(b.rate, d), append(slices.Clone(peers),
		umbraQuantum("0s"), umbraPlain, umbraQuantum("1ms")))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(b.out, ends)
	return err
}

// ends says what the times are from and to, which is not the same for all and shows in such small ones.
const ends = `These times do not end alike. umbra's ends when the kernel had received the answer (its stamp), a peer's when the peer,
once awake, had read it: a peer's p50 and p99 hold its own wake-up and reading, umbra's hold neither, and it reports no figure
that does. Nor do they begin alike: umbra's, wrk2's and oha's when a request was due, the others' when they sent it.`

// curve is what a quantum costs in lag and saves in CPU time.
func (b *bench) curve(ctx context.Context, n int, d time.Duration) error {
	b.heading("curve: umbra's quantum against lag and CPU, open loop of %d/s, %d connections, n = %d of %v", b.rate, b.connections, n, d)
	var tools []tool
	for _, quantum := range []string{"0s", "50us", "100us", "200us", "500us", "1ms", "2ms"} {
		tools = append(tools, umbraQuantum(quantum))
	}
	return b.paced(ctx, "curve", n, b.http1(b.rate, d), tools)
}

// paced runs tools at a rate and prints what they cost and say.
func (b *bench) paced(ctx context.Context, title string, n int, j job, tools []tool) error {
	tools = b.able(j, tools...)
	if len(tools) == 0 {
		return b.nobody()
	}
	runs, err := b.rounds(ctx, title, n, j, tools)
	if err != nil {
		return err
	}
	t := newTable("tool", "n", "CPU µs/request", "says p50", "says p99", "unsent", "lag p50", "lag p99", "lag p99.9")
	for i := range tools {
		cost := spreadOf(each(runs[i], measured.perRequest))
		unsent := spreadOf(each(runs[i], func(m measured) float64 { return float64(m.unsent) }))
		row := []string{tools[i].name, strconv.Itoa(cost.n), cost.in(micros), sayings(runs[i], p50), sayings(runs[i], p99), unsent.in(decimals(0))}
		if tools[i].program == "umbra" {
			row = append(row, lag(runs[i], func(l summary.Latency) time.Duration { return l.P50 }),
				lag(runs[i], func(l summary.Latency) time.Duration { return l.P99 }),
				lag(runs[i], func(l summary.Latency) time.Duration { return l.P999 }))
		}
		t.add(row...)
	}
	t.write(b.out)
	b.notes(tools, runs, slack(j))
	return nil
}

// lag is the spread of a quantile of umbra's generator lag.
func lag(runs []measured, quantile func(summary.Latency) time.Duration) string {
	return sayings(runs, func(m measured) time.Duration { return quantile(m.umbra.Figures.Lag) })
}

// How the server is frozen.
const (
	frozenRate  = 1000
	frozenAfter = 2500 * time.Millisecond // from the first request
	frozenFor   = 5 * time.Second
)

// variant is a tool with a job of its own.
type variant struct {
	tool
	job
}

// freeze is what each tool says of a server that stops for half of the run. With all of n requests timed from when they
// were due, half of them in the freeze, response times there go evenly from 5 s to 0: p75 = 2.5 s, p99 = 4.9 s.
func (b *bench) freeze(ctx context.Context, n int, d time.Duration) error {
	b.heading("freeze: the server stopped for %v of %v at %d/s, %d connections, n = %d", frozenFor, d, frozenRate, b.connections, n)
	variants := b.frozen(d)
	if len(variants) == 0 {
		return b.nobody()
	}
	runs := make([][]measured, len(variants))
	for round := range n {
		for i, v := range variants {
			fmt.Fprintf(b.progress, "freeze %d/%d: %s\n", round+1, n, v.name)
			runs[i] = append(runs[i], b.measure(ctx, v.tool, v.job, func(ctx context.Context, base int64) (int64, error) {
				return b.server.freeze(ctx, base, frozenAfter, frozenFor)
			}))
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	b.thawed(variants, runs)
	b.account(variants, runs)
	return nil
}

// thawed prints what the tools say of the freeze.
func (b *bench) thawed(variants []variant, runs [][]measured) {
	t := newTable("tool", "n", "says p50", "says p75", "says p99", "requests", "the server saw", "failed", "unsent")
	var tools []tool
	for i, v := range variants {
		tools = append(tools, v.tool)
		counts := func(figure func(measured) int64) string {
			return spreadOf(each(runs[i], func(m measured) float64 { return float64(figure(m)) })).in(decimals(0))
		}
		says := func(figure func(measured) time.Duration) string { return sayings(runs[i], figure) }
		t.add(v.name, strconv.Itoa(len(each(runs[i], measured.perRequest))), says(p50), says(p75), says(p99),
			counts(func(m measured) int64 { return m.requests }), counts(func(m measured) int64 { return m.served }),
			counts(func(m measured) int64 { return m.failed }), counts(func(m measured) int64 { return m.unsent }))
	}
	t.write(b.out)
	b.notes(tools, runs, frozenRate*int64(frozenFor.Seconds())) // failures are shown above
}

// frozen are the tools of the freeze, and umbra's five ways through it.
func (b *bench) frozen(d time.Duration) (vs []variant) {
	j := b.http1(frozenRate, d)
	for _, t := range b.able(j, peers...) {
		vs = append(vs, variant{t, j})
	}
	hasty, h2c := j, j
	hasty.timeout = time.Second
	h2c.url, h2c.streams = b.server.h2c, 10
	for _, v := range []variant{
		{umbra("umbra --overload queue", "--overload", "queue"), j},
		{umbra("umbra --overload drop", "--overload", "drop"), j},
		{umbra("umbra --overload abort", "--overload", "abort"), j},
		{umbra("umbra --timeout 1s"), hasty},
		{umbra("umbra --h2c --streams 10"), h2c},
	} {
		if len(b.able(v.job, v.tool)) > 0 {
			vs = append(vs, v)
		}
	}
	return vs
}

// account adds up umbra's outcomes, in each run, to what was to be played.
func (b *bench) account(variants []variant, runs [][]measured) {
	t := newTable("umbra", "round", "planned", "ok", "error", "timeout", "inflight", "unsent", "accounted for")
	for i, v := range variants {
		planned := v.job.planned()
		for round, m := range runs[i] {
			if m.umbra == nil {
				continue
			}
			f := m.umbra.Figures
			verdict := "yes"
			if f.Planned != planned || !m.umbra.accounted() {
				verdict = fmt.Sprintf("NO: %d were to be", planned)
				b.failed = true
			}
			t.add(v.name, strconv.Itoa(round+1), strconv.Itoa(f.Planned), strconv.Itoa(f.OK), strconv.Itoa(f.Error),
				strconv.Itoa(f.Timeout), strconv.Itoa(f.Inflight), strconv.Itoa(f.Unsent), verdict)
		}
	}
	if len(t.rows) > 1 {
		fmt.Fprintln(b.out)
		t.write(b.out)
	}
}

// The figures of a run that tables show.
func p50(m measured) time.Duration { return m.p50 }
func p75(m measured) time.Duration { return m.p75 }
func p99(m measured) time.Duration { return m.p99 }

// sayings is the spread of a time that tools report, where they do.
func sayings(runs []measured, figure func(measured) time.Duration) string {
	var xs []float64
	for _, m := range runs {
		if m.err == nil && figure(m) != silent {
			xs = append(xs, float64(figure(m)))
		}
	}
	return spreadOf(xs).in(short)
}
