package main

import (
	"github.com/spf13/cobra"

	"umbra/reports"
	"umbra/scenarios"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [scenario|report]",
		Short:     "Print the JSON Schema of scenario files, or of report.json",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"scenario", "report"},
		RunE: func(c *cobra.Command, args []string) error {
			schema := scenarios.Schema()
			if len(args) == 1 && args[0] == "report" {
				schema = reports.Schema()
			}
			_, err := c.OutOrStdout().Write(schema)
			return err
		},
	}
}
