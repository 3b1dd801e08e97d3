// Calibrate writes the operating characteristics of package impact: how often its verdicts are wrong, and how often they decide, in
// experiments that are made up (internal/impact/simulate). Its output is internal/impact/calibration.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"time"

	"umbra/internal/impact/simulate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	out  string
	n    int
	rows *regexp.Regexp
	seed uint64
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("calibrate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.out, "o", "", "write the tables to this `file` (default: standard output)")
	flags.IntVar(&o.n, "n", 10000, "experiments a row")
	rows := flags.String("rows", "", "play only studies whose name matches this `regexp`, such as wrong/, failed/, uneven/, buildup/, power/, twice/, controls/, sampling/, length/")
	flags.Uint64Var(&o.seed, "seed", 1, "of the random numbers")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.n < 1 {
		return o, errors.New("arguments: see -h")
	}
	o.rows, err = regexp.Compile(*rows)
	return o, err
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	rows, err := play(ctx, o, stderr)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, `# How often the verdicts on impact are wrong

Written by %s: do not edit. It plays %d experiments a row with the seed %d, the same on any machine.
The numbers in parentheses are 99 %% Clopper–Pearson intervals. A row with a limit ("may be") is too high where the 99 %% lower limit of its
first rate exceeds it, or the rate itself does by a fifth; then the method has to change, never the row, and the command fails.
The worlds and the effects are those of internal/impact/simulate.
`, "`make calibrate`", o.n, o.seed)
	if err := simulate.Write(&page, rows); err != nil {
		return err
	}
	if o.out == "" {
		_, err = os.Stdout.Write(page.Bytes())
	} else {
		err = os.WriteFile(o.out, page.Bytes(), 0o644)
	}
	over := 0
	for _, r := range rows {
		if r.Over() {
			over++
			fmt.Fprintln(stderr, "too high:", r.Table, r.Labels)
		}
	}
	if err == nil && over > 0 {
		err = fmt.Errorf("%d rows are too high", over)
	}
	return err
}

// play runs the studies one after the other, each on every core.
func play(ctx context.Context, o options, stderr io.Writer) (rows []simulate.Row, err error) {
	begin := time.Now()
	for _, s := range simulate.Studies() {
		if !o.rows.MatchString(s.Name) {
			continue
		}
		each := time.Now()
		more, err := s.Run(ctx, o.n, o.seed, runtime.GOMAXPROCS(0))
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
		fmt.Fprintf(stderr, "%7.1f s  %6.1f s  %s\n", time.Since(begin).Seconds(), time.Since(each).Seconds(), s.Name)
	}
	return rows, nil
}
