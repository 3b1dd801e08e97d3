package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"umbra/internal/diag"
	"umbra/scenarios"
)

// checked is the result of check as JSON.
type checked struct {
	Scenario string       `json:"scenario"`
	Routes   []string     `json:"routes"`
	Warnings []diag.Fault `json:"warnings"`
	Faults   []diag.Fault `json:"faults"`
	OK       bool         `json:"ok"`
}

func checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Validate a scenario and its manifests; every fault at once",
		Args:  exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := loadAside(c.Context(), args[0])
			if asJSON {
				return checkJSON(c, s, err)
			}
			if err != nil {
				return err
			}
			for _, w := range s.Table.Warnings() {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: scenario %s, %d manifests, %d routes\n", args[0], s.Name, len(s.Manifests.Objects), len(s.Table.Routes()))
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// loadAside loads a scenario that is not to be run: what it would make of a capture goes.
func loadAside(ctx context.Context, file string) (*scenarios.Scenario, error) {
	dir, err := os.MkdirTemp("", "umbra-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return load(ctx, file, func(string) (string, error) { return dir, nil })
}

func checkJSON(c *cobra.Command, s *scenarios.Scenario, err error) error {
	out := checked{OK: err == nil, Routes: []string{}, Warnings: []diag.Fault{}, Faults: []diag.Fault{}}
	var faults diag.Faults
	faults.Add("", err)
	out.Faults = append(out.Faults, faults...)
	if err == nil {
		out.Scenario = s.Name
		out.Warnings = append(out.Warnings, s.Table.Warnings()...)
		for _, r := range s.Table.Routes() {
			out.Routes = append(out.Routes, r.Name)
		}
	}
	if err := printJSON(c.OutOrStdout(), out); err != nil {
		return err
	}
	if !out.OK {
		return exit(exitUsage)
	}
	return nil
}
