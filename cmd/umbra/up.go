package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"umbra/cluster"
	"umbra/scenarios"
)

func upCommand() *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Stand up the mesh of a scenario alone, in the foreground, until Ctrl-C",
		Args:  exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := checkMesh(on); err != nil {
				return err
			}
			s, err := scenarios.Load(args[0])
			if err != nil {
				return err
			}
			running, err := cluster.Embedded{}.Up(c.Context(), s.Spec())
			if err != nil {
				return broken(err)
			}
			defer func() {
				if closed := running.Close(); err == nil {
					err = broken(closed)
				}
			}()
			state, err := running.State(c.Context())
			if err != nil {
				return broken(err)
			}
			fmt.Fprintf(c.OutOrStdout(), "gateway: http://%s (Host: %s)\n", running.Address(), s.Mesh.Host)
			for _, cluster := range s.Table.Clusters() {
				fmt.Fprintf(c.OutOrStdout(), "%s: %v\n", cluster.Name, state.Endpoints[cluster.Name])
			}
			fmt.Fprintln(c.ErrOrStderr(), "umbra: Ctrl-C ends it")
			<-c.Context().Done()
			return nil
		},
	}
	meshFlag(c, &on)
	return c
}

// downCommand is status or down, which have nothing to act on with the embedded mesh.
func downCommand(verb string) *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   verb,
		Short: map[string]string{"status": "Tell what of a mesh stands", "down": "Take a mesh down"}[verb] + " (the embedded mesh ends with the command that started it)",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkMesh(on); err != nil {
				return err
			}
			return fmt.Errorf("%s: the embedded mesh lives in the process of umbra up or umbra run and ends with it: there is nothing to ask or to take down", verb)
		},
	}
	meshFlag(c, &on)
	return c
}
