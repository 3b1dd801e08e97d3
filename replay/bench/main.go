//go:build linux

// Command bench plays umbra and its peers side by side against the same nginx and prints what each costs and says:
// see README.md. Tables go to standard output, progress to standard error. The exit status is 0, 1 where a run of a
// tool that is here failed, 2 where the bench could not start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errFailed says that a table has a run that failed, which the table names.
var errFailed = errors.New("some runs failed: see the tables")

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := play(ctx, args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFailed):
		return 1
	}
	return 2
}

// options is the command line.
type options struct {
	only        []string // sections
	tools       []string // names of tools; none: all
	rounds      int      // of each section; 0: the section's own
	duration    time.Duration
	connections int
	rate        int // of the sections at a fixed rate, requests a second
	umbra       string
	peers       string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	var only, tools string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&only, "only", "", "sections, comma-separated: "+strings.Join(sectionNames(), ",")+" (default all)")
	f.StringVar(&tools, "tools", "", "tools, comma-separated, like wrk,umbra (default all)")
	f.IntVar(&o.rounds, "n", 0, "rounds (default: the section's own)")
	f.DurationVar(&o.duration, "for", 0, "how long each run is, at least 1s, in whole seconds (default: the section's own; freeze always 10s)")
	f.IntVar(&o.connections, "connections", 50, "connections over HTTP/1.1")
	f.IntVar(&o.rate, "rate", 10_000, "requests a second of truth and curve")
	f.StringVar(&o.umbra, "umbra", filepath.Join("bin", "umbra"), "the umbra to measure")
	f.StringVar(&o.peers, "peers", os.Getenv("UMBRA_PEERS"), "a folder of peers beside those on PATH (default $UMBRA_PEERS)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only, o.tools = list(only), list(tools)
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	for _, name := range o.only {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("-only %s: there are %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: bench takes flags only", rest[0])
	case o.rounds < 0 || o.duration < 0 || o.duration%time.Second != 0:
		return errors.New("-n must be at least 1 and -for at least 1s, in whole seconds")
	case o.connections < 1 || o.rate < 1:
		return errors.New("-connections and -rate must be above 0")
	}
	return nil
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// play is the story: find the tools, start the server, play the sections.
func play(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	cores, err := chooseCores()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "umbra-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := startServer(ctx, dir, cores.server)
	if err != nil {
		return err
	}
	defer server.stop()
	b := &bench{options: o, cores: cores, dir: dir, server: server, out: stdout, progress: stderr}
	if b.paths, err = b.find(ctx); err != nil {
		return err
	}
	return b.play(ctx)
}
