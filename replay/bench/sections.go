//go:build linux

package main

import (
	"context"

	"fmt"
	"slices"
	"strconv"
	"time"

	"umbra/internal/summary"
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
	rateWithin = 0.001            // of the asked rate, by the server's own count
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
	t := newTable("round", "wrk, requests/s", "umbra holds", "× wrk", "lag p99 there")
	var all []float64
	for round := range n {
		peer, held, lag, err := b.capacity(ctx, wrk[0], tool[0], d)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			t.add(strconv.Itoa(round+1), "failed: "+err.Error())
			continue
		}
		all = append(all, held/peer)
		t.add(strconv.Itoa(round+1), decimals(0)(peer), decimals(0)(held), decimals(3)(held/peer), short(float64(lag)))
	}
	t.write(b.out)
	fmt.Fprintf(b.out, "× wrk: %s. Held: the server counted the asked rate within %.1f %%, and lag p99 ≤ %v. 0: not even half of wrk's rate; 1.2 is the most that was tried.\n",
		spreadOf(all).in(decimals(3)), 100*rateWithin, lagWithin)
	b.crowded()
	return nil
}

// capacity is wrk's rate in a closed loop, and the highest that umbra holds right after, with its lag p99.
func (b *bench) capacity(ctx context.Context, wrk, umbra tool, d time.Duration) (peer, held float64, lag time.Duration, err error) {
	closed := b.measure(ctx, wrk, b.http1(0, d), nothing)
	if closed.err != nil {
		return 0, 0, 0, fmt.Errorf("wrk: %w", closed.err)
	}
	peer = float64(closed.requests) / d.Seconds()
	held, err = highest(peer/2, peer*1.2, rateSteps, func(rate float64) (bool, error) {
		ok, p99, err := b.holds(ctx, umbra, int(rate), d)
		if ok {
			lag = p99
		}
		return ok, err
	})
	return peer, held, lag, err
}

// holds plays a rate once.
func (b *bench) holds(ctx context.Context, t tool, rate int, d time.Duration) (ok bool, lag time.Duration, err error) {
	var readings []reading
	m := b.measure(ctx, t, b.http1(rate, d), func(ctx context.Context, base int64) (int64, error) {
		readings = b.server.watch(ctx, base)
		return int64(len(readings)), nil
	})
	if m.err != nil {
		return false, 0, fmt.Errorf("%s at %d/s: %w", t.name, rate, m.err)
	}
	lag = m.umbra.Figures.Lag.P99
	counted := steadyRate(readings, d)
	ok = counted >= float64(rate)*(1-rateWithin) && lag <= lagWithin
	fmt.Fprintf(b.progress, "rate: asked %d, counted %.0f, lag p99 %v: held %v\n", rate, counted, lag, ok)
	return ok, lag, nil
}

// truth is what each open-loop tool says of an idle server, and what that costs.
func (b *bench) truth(ctx context.Context, n int, d time.Duration) error {
	b.heading("truth: open loop of %d/s over HTTP/1.1, %d connections, n = %d of %v (wrk2: 11 s more, which it needs to calibrate)", b.rate, b.connections, n, d)
	return b.paced(ctx, "truth", n, b.http1(b.rate, d), append(slices.Clone(peers),
		umbraQuantum("0s"), umbraPlain, umbraQuantum("1ms")))
}

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
		planned := frozenRate * int(v.job.duration.Seconds())
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
