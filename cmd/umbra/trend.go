package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"umbra/internal/trend"
	"umbra/reports"
)

func trendCommand() *cobra.Command {
	o := trend.Defaults()
	var output outputOptions
	c := &cobra.Command{
		Use:   "trend DIR",
		Short: "Since when is it slower? The changes in a series of runs",
		Long: `Look for changes in the figures of all runs in a folder: response times, the achieved rate, failed
requests, mirrored fractions, and what mirroring costs the primary. DIR holds run folders, or
report.json files by any name that ends in .json. Runs of other scenarios or machines are series of
their own; what is no run, is not whole, or is there twice is named and left out.

For each change: the run that began it, by how much, with what confidence, and what else was new in
that run: versions, manifests, scenario, command. Changes are found by E-divisive (Matteson and James
2014), tested by permutations, at --level for all figures of a series together. Of too few runs
nothing is told, nor that nothing changed.

Exit status: 0 the series were looked at, whatever was found; 2 bad input; 4 too few runs.`,
		Args: exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			if !(o.Level >= 0.001 && o.Level <= 0.5) {
				return fmt.Errorf("--level %g: want a probability from 0.001 to 0.5, as 0.05", o.Level)
			}
			if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
				return fmt.Errorf("%s is a file; trend takes the folder that holds the runs", args[0])
			}
			all, left, err := collected(args)
			if err != nil {
				return err
			}
			r := &reports.Trend{Result: trend.Of(all, o)}
			r.LeftOut = slices.Concat(left, r.LeftOut)
			err = output.print(c, r, func(w io.Writer) error { return r.Text(w, colours(w), isTerminal(w)) }, nil, r.HTML)
			if err != nil {
				return err
			}
			if !r.Told {
				return exit(exitInconclusive)
			}
			return nil
		},
	}
	c.Flags().Float64Var(&o.Level, "level", o.Level, "the chance of a change being told where there is none, for all figures of a series together")
	c.Flags().Uint64Var(&o.Seed, "seed", o.Seed, "of the permutations")
	output.flags(c, false)
	return c
}
