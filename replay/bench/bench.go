//go:build linux

package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// bench is what all sections share. Nothing in it runs concurrently but the server and the one tool that is measured.
type bench struct {
	options
	cores
	dir      string // for the runs' files
	server   *server
	paths    map[string]string // of the tools that are here, by program
	out      io.Writer         // tables
	progress io.Writer
	failed   bool    // some run did
	crowds   []crowd // of the runs since the last heading
}

// find looks for the tools, and prints what is here, what is missing and where.
func (b *bench) find(ctx context.Context) (map[string]string, error) {
	paths := map[string]string{}
	found := newTable("tool", "version")
	var missing []string
	found.add("nginx", b.server.version)
	for _, t := range append([]tool{umbra("umbra")}, peers...) {
		path, err := b.look(t.program)
		if err != nil {
			missing = append(missing, fmt.Sprintf("missing: %s (%s)", t.name, t.install))
			continue
		}
		paths[t.program] = path
		found.add(t.name, versionOf(ctx, path, t.version))
	}
	fmt.Fprintln(b.out, machine())
	if b.cores.client == anyCore {
		fmt.Fprintln(b.out, "A single core: nginx and the tools share it and nothing is pinned. The figures mean nothing.")
	} else {
		fmt.Fprintf(b.out, "nginx on core %d, the tools on core %d, %d-byte bodies\n", b.cores.server, b.cores.client, bodySize)
	}
	fmt.Fprintln(b.out)
	found.write(b.out)
	for _, line := range missing {
		fmt.Fprintln(b.out, line)
	}
	if len(paths) == 0 {
		return nil, errors.New("no tool is here: make build, and install peers")
	}
	return paths, nil
}

// look finds a program in the folder of peers, or else on PATH.
func (b *bench) look(program string) (string, error) {
	if program == "umbra" {
		return exec.LookPath(b.options.umbra)
	}
	if b.peers != "" {
		if path, err := exec.LookPath(filepath.Join(b.peers, program)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(program)
}

var versionLike = regexp.MustCompile(`v?\d+\.\d+\S*|[0-9a-f]{7,}\S*`)

// versionOf asks a program for its version, or, without arguments, reads what Go built into it.
func versionOf(ctx context.Context, path string, args []string) string {
	if len(args) == 0 {
		if info, err := buildinfo.ReadFile(path); err == nil && info.Main.Version != "" {
			return info.Main.Version
		}
		return "unknown"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput() // some print it with an exit status of 1
	if v := versionLike.Find(out); v != nil {
		return strings.Trim(string(v), ",;")
	}
	return "unknown"
}

// measured is a run of a tool.
type measured struct {
	said
	cpu    time.Duration // of the tool, user and system
	exit   int
	served int64 // by the server's count
	size   int64 // of the files that the run left, in bytes
	err    error
}

// perRequest is the CPU time of a request, in nanoseconds.
func (m measured) perRequest() float64 { return float64(m.cpu) / float64(m.requests) }

// during is what goes on beside a run; it begins with the run, and its context ends with it. base is the server's count
// before. It gives how often it asked the server for its count.
type during func(ctx context.Context, base int64) (asked int64, err error)

// nothing goes on beside most runs.
func nothing(context.Context, int64) (int64, error) { return 0, nil }

// measure runs a tool once.
func (b *bench) measure(ctx context.Context, t tool, j job, beside during) measured {
	m, err := b.try(ctx, t, j, beside)
	if err != nil {
		m.err = err
		b.failed = true
	}
	return m
}

func (b *bench) try(ctx context.Context, t tool, j job, beside during) (m measured, err error) {
	if j.dir, err = os.MkdirTemp(b.dir, "run-"); err != nil {
		return m, err
	}
	defer os.RemoveAll(j.dir)
	if err := t.prepare(j); err != nil {
		return m, err
	}
	before, err := b.server.served(ctx)
	if err != nil {
		return m, err
	}
	r, asked, err := b.load(ctx, t, j, func(ctx context.Context) (int64, error) { return beside(ctx, before) })
	if err != nil {
		return m, err
	}
	after, err := b.server.served(ctx)
	if err != nil {
		return m, err
	}
	m.cpu, m.exit, m.served, m.size = r.cpu, r.exit, after-before-asked-1, sizeOf(j.dir)
	m.said, err = b.figures(ctx, t, j, r)
	return m, err
}

// load runs the tool, and what goes on beside it, until both have ended, and notes what else went on.
func (b *bench) load(ctx context.Context, t tool, j job, beside func(context.Context) (int64, error)) (r result, asked int64, err error) {
	before, err := b.busyNow()
	if err != nil {
		return r, 0, err
	}
	begin := time.Now()
	besides, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() {
		var err error
		asked, err = beside(besides)
		done <- err
	}()
	r, err = execute(ctx, b.cores.client, j.duration+time.Minute, b.paths[t.program], t.args(j)...)
	end()
	if other := <-done; err == nil && !errors.Is(other, context.Canceled) {
		err = other
	}
	if err != nil {
		return r, asked, err
	}
	after, err := b.busyNow()
	if wall := time.Since(begin); wall >= time.Second { // ticks say nothing of a shorter one
		b.crowds = append(b.crowds, crowdOf(before, after, r.cpu, wall))
	}
	return r, asked, err
}

// figures reads what the tool said.
func (b *bench) figures(ctx context.Context, t tool, j job, r result) (said, error) {
	out := r.stdout
	if len(out) == 0 && r.exit != 0 {
		return said{}, fmt.Errorf("exit status %d: %s", r.exit, lastLine(r.stderr))
	}
	if t.report != nil && r.exit == 0 {
		second, err := execute(ctx, b.cores.client, time.Minute, b.paths[t.program], t.report(j)...)
		if err != nil {
			return said{}, err
		}
		out = second.stdout
	}
	s, err := t.said(out, j.dir)
	if err != nil {
		return s, fmt.Errorf("exit status %d, %w: %s", r.exit, err, lastLine(r.stderr))
	}
	if s.requests == 0 {
		return s, fmt.Errorf("exit status %d, no request: %s", r.exit, lastLine(r.stderr))
	}
	return s, nil
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// sizeOf adds up the files under a folder.
func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// able are the tools that are here, asked for, and can do the job.
func (b *bench) able(j job, tools ...tool) (able []tool) {
	for _, t := range tools {
		wanted := len(b.tools) == 0 || slices.Contains(b.tools, t.program)
		if b.paths[t.program] != "" && wanted && t.args(j) != nil {
			able = append(able, t)
		}
	}
	return able
}

// rounds runs every tool once a round, one after the other, so that a drift of the machine hits all alike; each round
// begins with another tool. The result is by tool, then by round.
func (b *bench) rounds(ctx context.Context, title string, n int, j job, tools []tool) ([][]measured, error) {
	runs := make([][]measured, len(tools))
	for i := range runs {
		runs[i] = make([]measured, n)
	}
	for round := range n {
		for k := range tools {
			i := (k + round) % len(tools)
			fmt.Fprintf(b.progress, "%s %d/%d: %s\n", title, round+1, n, tools[i].name)
			runs[i][round] = b.measure(ctx, tools[i], j, nothing)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return runs, nil
}

// each gathers a figure of the runs that succeeded.
func each(runs []measured, figure func(measured) float64) (xs []float64) {
	for _, m := range runs {
		if m.err == nil {
			xs = append(xs, figure(m))
		}
	}
	return xs
}

// ratios divides a figure by the base's of the same round.
func ratios(runs, base []measured, figure func(measured) float64) (xs []float64) {
	for i, m := range runs {
		if m.err == nil && base[i].err == nil {
			xs = append(xs, figure(m)/figure(base[i]))
		}
	}
	return xs
}

// notes prints what a reader must know of the runs beside the table: failures, counts that differ from the server's, and
// what else the machine did.
func (b *bench) notes(tools []tool, runs [][]measured, slack int64) {
	for i, t := range tools {
		for _, text := range remarks(runs[i], slack) {
			fmt.Fprintf(b.out, "%s, %s\n", t.name, text)
		}
	}
	b.crowded()
}

// remarks are what there is to say of a tool's runs, each once, with the rounds that it is said of.
func remarks(runs []measured, slack int64) (texts []string) {
	rounds := map[string][]int{}
	for round, m := range runs {
		if text := remark(m, slack); text != "" {
			if rounds[text] == nil {
				texts = append(texts, text)
			}
			rounds[text] = append(rounds[text], round+1)
		}
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("round %s: %s", strings.Trim(fmt.Sprint(rounds[text]), "[]"), text)
	}
	return texts
}

// crowded prints what others took since the last heading.
func (b *bench) crowded() {
	if len(b.crowds) == 0 {
		return
	}
	percent := func(figure func(crowd) float64) string {
		var xs []float64
		for _, c := range b.crowds {
			xs = append(xs, 100*figure(c))
		}
		return spreadOf(xs).in(func(x float64) string { return fmt.Sprintf("%.1f %%", x) })
	}
	fmt.Fprintf(b.out, "Others took %s of the tools' core and %s of nginx's, the hypervisor %s of both.\n",
		percent(func(c crowd) float64 { return c.client }), percent(func(c crowd) float64 { return c.server }),
		percent(func(c crowd) float64 { return c.stolen }))
}

// remark is empty where there is nothing to say. Tools may leave slack requests at the end that only one side counts, and
// one in a thousand.
func remark(m measured, slack int64) string {
	switch off := m.served - m.requests; {
	case m.err != nil:
		return fmt.Sprintf("failed: %v", m.err)
	case max(off, -off) > slack+m.requests/1000:
		return fmt.Sprintf("it says %d requests, the server saw %d", m.requests, m.served)
	case m.failed > slack:
		return fmt.Sprintf("%d of %d requests failed", m.failed, m.requests)
	case m.exit != 0:
		return fmt.Sprintf("exit status %d", m.exit)
	}
	return ""
}
