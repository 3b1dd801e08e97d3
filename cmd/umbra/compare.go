package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"umbra/internal/compare"
	"umbra/internal/runs"
	"umbra/internal/trend"
	"umbra/reports"
	"umbra/scenarios"
)

type compareOptions struct {
	a, b    []string
	margins []string
	anyway  bool
	output  outputOptions
}

func compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Is B worse than A, beyond margins? Runs against runs",
		Long: `Tell whether runs B are worse than runs A beyond margins: in response times (p50, p90, p99, p99.9),
requests that fail, the achieved rate and the mirrored fractions.

A and B are each a run folder, a report.json, or a folder of such; --a and --b add more:
  umbra compare runs/before runs/after             a folder of run folders for each side
  umbra compare --a run1 --a run2 --a run3 --b run4 --b run5 --b run6

With at least 3 runs a side the run is the unit, and B is WORSE, NO WORSE, or that is INCONCLUSIVE.
With fewer, what varies from run to run is in no interval: B can be WORSE within these runs, and is
never found to be no worse.

Margins, as in a scenario's checks.impact, each set by --margin NAME=VALUE, or left out by NAME=off:
  p50, p90   max(5%, 0.1ms)    how much slower B may be
  p99        max(10%, 0.5ms)
  p99.9      max(10%, 0.5ms)   can be WORSE; need not be decided, unless it is named
  errors     0.1               percentage points more without a complete response, or with 500 and above
  rate       5%                less of A's achieved rate
  fraction   1                 percentage points farther from what is programmed

Runs that differ in scenario (traffic, load, mesh, checks) or machine, or that are not whole, are not
compared without --anyway. Exit status: 0 no worse; 1 worse; 2 bad input, or runs that are not of the
same thing; 4 inconclusive.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	c.Flags().StringArrayVar(&o.a, "a", nil, "a run of side A, more of them by repeating it")
	c.Flags().StringArrayVar(&o.b, "b", nil, "a run of side B, more of them by repeating it")
	c.Flags().StringArrayVar(&o.margins, "margin", nil, "a margin, as p99=10%, 'p50=max(5%, 0.1ms)', errors=0.1 or rate=off; may be repeated")
	c.Flags().BoolVar(&o.anyway, "anyway", false, "compare runs that differ in scenario or machine, or that are not whole")
	o.output.flags(c, true)
	return c
}

func (o *compareOptions) run(c *cobra.Command, args []string) error {
	if err := o.output.check(); err != nil {
		return err
	}
	if len(args) == 1 {
		return fmt.Errorf("compare takes A and B, and one is given: %s", c.UseLine())
	}
	if len(args) == 2 {
		o.a, o.b = slices.Concat(args[:1], o.a), slices.Concat(args[1:], o.b)
	}
	options, err := o.options()
	if err != nil {
		return err
	}
	a, leftA, err := collected(o.a)
	if err != nil {
		return err
	}
	b, leftB, err := collected(o.b)
	if err != nil {
		return err
	}
	result, err := compare.Compare(a, b, options)
	if err != nil {
		return inertError(err)
	}
	r := &reports.Comparison{Result: result, LeftOut: slices.Concat(leftA, leftB)}
	if err := o.output.print(c, r, func(w io.Writer) error { return r.Text(w, colours(w)) }, r.Markdown, r.HTML); err != nil {
		return err
	}
	return exit(r.ExitStatus)
}

// options are the defaults with what --margin says.
func (o *compareOptions) options() (compare.Options, error) {
	out := compare.Defaults()
	out.Anyway = o.anyway
	for _, m := range o.margins {
		name, value, found := strings.Cut(m, "=")
		if !found {
			return out, fmt.Errorf("--margin %s: write NAME=VALUE, as p99=10%% or errors=off", m)
		}
		if err := setMargin(&out, name, value); err != nil {
			return out, fmt.Errorf("--margin %s: %w", m, err)
		}
	}
	return out, nil
}

func setMargin(o *compare.Options, name, value string) error {
	number := func(into **float64, unit string) error {
		if value == "off" {
			*into = nil
			return nil
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(value, unit), 64)
		if err != nil || !(v > 0 && v < 100) {
			return fmt.Errorf("want a number above 0 and below 100, or off")
		}
		*into = &v
		return nil
	}
	switch name {
	case "errors":
		return number(&o.Errors, "")
	case "rate":
		return number(&o.Rate, "%")
	case "fraction":
		return number(&o.Fraction, "")
	}
	for i := range o.Margins {
		m := &o.Margins[i]
		if name != "p"+strconv.FormatFloat(m.Quantile, 'f', -1, 64) {
			continue
		}
		if value == "off" {
			o.Margins = slices.Delete(o.Margins, i, i+1)
			return nil
		}
		parsed, err := scenarios.ParseMargin(value)
		if err != nil {
			return err
		}
		m.Percent, m.Floor, m.Asked = parsed.Percent, parsed.Floor, true
		return nil
	}
	return errors.New("no such figure (or it is off): there are p50, p90, p99, p99.9, errors, rate and fraction")
}

// collected are the runs at several paths. A path without any is an error, which says what lies there.
func collected(paths []string) (all []runs.Run, left []trend.Left, err error) {
	for _, path := range paths {
		found, none, err := reports.Collect(path)
		if err != nil {
			return nil, nil, inertError(err)
		}
		if len(found) == 0 {
			why := "it is empty"
			if len(none) > 0 {
				why = fmt.Sprintf("%s: %s", none[0].Source, none[0].Why)
			}
			return nil, nil, inertError(fmt.Errorf("%s holds no report of umbra's (%s)", path, why))
		}
		all, left = append(all, found...), append(left, none...)
	}
	return all, left, nil
}

// inertError is an error whose text, which has strings from reports in it, a terminal does not act on.
func inertError(err error) error { return errors.New(reports.Inert(err.Error())) }

// outputOptions are how the result of a verb that reads reports is printed.
type outputOptions struct {
	json, markdown bool
	html           string
}

func (o *outputOptions) flags(c *cobra.Command, markdown bool) {
	jsonFlag(c, &o.json)
	if markdown {
		c.Flags().BoolVar(&o.markdown, "markdown", false, "print the result as Markdown, for a comment on a pull request")
	}
	c.Flags().StringVar(&o.html, "html", "", "write the result to this file as a page besides")
}

func (o *outputOptions) check() error {
	if o.json && o.markdown {
		return errors.New("--json and --markdown: give one of them")
	}
	return nil
}

// print writes the page, where one is asked for, and then the result in the format asked for.
func (o *outputOptions) print(c *cobra.Command, result any, text, markdown, html func(io.Writer) error) error {
	if o.html != "" {
		if err := written(o.html, html); err != nil {
			return broken(err)
		}
	}
	w := c.OutOrStdout()
	switch {
	case o.json:
		return broken(printJSON(w, result))
	case o.markdown:
		return broken(markdown(w))
	}
	return broken(text(w))
}

func written(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
