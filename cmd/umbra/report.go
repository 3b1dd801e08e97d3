package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"umbra/internal/evidence"
	"umbra/internal/runs"
	"umbra/internal/summary"
	"umbra/reports"
	"umbra/scenarios"
)

func verifyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Judge a run again from its folder alone; writes nothing",
		Args:  exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := judged(args[0], nil)
			if err != nil {
				return err
			}
			return show(c, r, asJSON)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func reportCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Judge a run again from its folder alone, and write its reports anew",
		Args:  exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			dir := args[0]
			status, err := reported(c, dir, asJSON, func(start time.Time, s *summary.Summary) error {
				return broken(s.LogTo(start, evidence.HDRFiles(dir)))
			})
			if err != nil {
				return err
			}
			return exit(status)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// conclude is what follows a run, whose histograms were written while it went on.
func conclude(c *cobra.Command, dir string, asJSON bool) (int, error) {
	return reported(c, dir, asJSON, nil)
}

// reported judges a folder, writes its reports and prints the result. It gives the exit status that it comes to. log, where it
// is not nil, has the histograms written anew from the rows, where there are rows.
func reported(c *cobra.Command, dir string, asJSON bool, log func(time.Time, *summary.Summary) error) (int, error) {
	r, err := judged(dir, log)
	if err != nil {
		return 0, err
	}
	if err := r.Write(dir); err != nil {
		return 0, broken(err)
	}
	err = show(c, r, asJSON)
	if !asJSON {
		fmt.Fprintf(c.ErrOrStderr(), "umbra: all evidence is in %s; umbra verify judges it again\n", dir)
	}
	var status statusError
	if errors.As(err, &status) {
		return status.status, nil
	}
	return exitPassed, err
}

// show prints a report, and gives its exit status as an error.
func show(c *cobra.Command, r *reports.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = r.WriteJSON(c.OutOrStdout())
	} else {
		err = r.Text(c.OutOrStdout(), colours(c.OutOrStdout()))
	}
	if err != nil {
		return broken(err)
	}
	return exit(r.ExitStatus)
}

// judged makes the report of a folder.
func judged(dir string, log func(time.Time, *summary.Summary) error) (*reports.Report, error) {
	j, err := scenarios.Judge(dir, log)
	if err != nil {
		return nil, err
	}
	r := &reports.Report{Name: "replay", Verdicts: j.Verdicts, Figures: j.Figures, Run: j.Record, Partial: j.Record.Partial(),
		Connections: j.Record.Connections, Arrivals: j.Arrivals, Versions: j.Versions}
	if j.Client != nil {
		r.Client = reports.NewClient(j.Client)
	}
	if r.Partial == "" && len(j.Doubts) > 0 {
		r.Partial = "evidence is missing"
	}
	r.Warnings = append(r.Warnings, j.Doubts...)
	r.Warnings = append(r.Warnings, j.Record.Warnings...)
	for _, name := range slices.Sorted(maps.Keys(j.Record.FaultHits)) {
		if j.Record.FaultHits[name] == 0 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the fault %s was asked for and never acted: nothing that it acts on came by", name))
		}
	}
	if s := j.Scenario; s != nil {
		r.Name, r.Load, r.Seed, r.Mesh = s.Name, s.Describe(), s.Load.Seed, meshOf(j)
		if !j.Record.Drained && r.Partial == "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the mirrors had not ended %v after the load", s.Drain))
		}
	}
	if r.Digests, err = runs.DigestFolder(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	r.Close()
	return r, nil
}

// meshOf is the mesh as it was configured.
func meshOf(j *scenarios.Judgement) *reports.Mesh {
	m := &reports.Mesh{Host: j.Scenario.Mesh.Host}
	for _, route := range j.Scenario.Table.Routes() {
		r := reports.Route{Name: route.Name}
		for _, d := range route.Destinations {
			r.To = append(r.To, d.Cluster)
		}
		for _, mirror := range route.Mirrors {
			r.Mirrors = append(r.Mirrors, reports.Mirror{Cluster: mirror.Cluster, Percent: mirror.Percent, Numerator: mirror.Numerator,
				Programmed: float64(mirror.Numerator) / 1e4})
		}
		m.Routes = append(m.Routes, r)
	}
	return m
}
