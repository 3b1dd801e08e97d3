package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"umbra/cluster"
	"umbra/internal/mesh"
	"umbra/scenarios"
)

func upCommand() *cobra.Command {
	var o meshOptions
	var kubeconfig string
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Stand up the mesh of a scenario alone",
		Long: `Stand up the mesh of a scenario alone. The embedded one serves in the foreground until Ctrl-C. A kind
cluster stays: umbra run --on kind uses it again, and umbra down --on kind removes it. In your own
cluster (--on existing --apply) the scenario's manifests are applied; umbra down puts back what was
there.`,
		Args: exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c, onEmbedded, onKind, onExisting); err != nil {
				return err
			}
			s, err := scenarios.Load(args[0])
			if err != nil {
				return err
			}
			return up(c, &o, s, kubeconfig)
		},
	}
	o.add(c)
	c.Flags().StringVar(&kubeconfig, "write-kubeconfig", "", "kind: write the cluster's kubeconfig to this file")
	o.mark(c.Flags(), []string{onKind}, "write-kubeconfig")
	return c
}

// up stands the mesh up and says where it is. What it made is taken away where it fails.
func up(c *cobra.Command, o *meshOptions, s *scenarios.Scenario, kubeconfig string) (err error) {
	say := func(text string) { fmt.Fprintln(c.ErrOrStderr(), "umbra:", text) }
	m := o.mesh(say, func(string) {})
	defer func() {
		if ended := m.End(c.Context(), err == nil); ended != nil && err == nil {
			err = broken(ended)
		}
	}()
	running, err := m.Up(c.Context(), s.Spec())
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
	printEndpoints(c.OutOrStdout(), s, state)
	if kubeconfig != "" {
		if err := writeKubeconfig(c, m.(*cluster.Kind), kubeconfig); err != nil {
			return broken(err)
		}
	}
	if m.Stands() || o.on == onEmbedded {
		say(o.kept())
	}
	if o.on == onEmbedded {
		<-c.Context().Done()
	}
	return nil
}

// kept says how what stands is taken away.
func (o *meshOptions) kept() string {
	switch o.on {
	case onKind:
		return fmt.Sprintf("cluster %s stays; umbra down --on kind --name %s removes it", o.settings.Name, o.settings.Name)
	case onExisting:
		return "the manifests stay applied; umbra down --on existing puts back what was there"
	}
	return "Ctrl-C ends it"
}

func printEndpoints(w io.Writer, s *scenarios.Scenario, state *mesh.State) {
	for _, cluster := range s.Table.Clusters() {
		fmt.Fprintf(w, "%s: %s\n", cluster.Name, strings.Join(state.Endpoints[cluster.Name], ", "))
	}
}

func writeKubeconfig(c *cobra.Command, k *cluster.Kind, file string) error {
	data, err := k.Kubeconfig(c.Context())
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

func statusCommand() *cobra.Command {
	var o meshOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell what of a mesh stands: exit status 0 where it serves, 5 where it does not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.checkStanding(c); err != nil {
				return err
			}
			status, err := cluster.Ask(c.Context(), o.on == onKind, o.settings)
			if err != nil {
				return broken(err)
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), status)
			} else {
				err = status.Text(c.OutOrStdout())
			}
			if err == nil && !status.Serves {
				return exit(exitMesh)
			}
			return broken(err)
		},
	}
	o.add(c)
	jsonFlag(c, &asJSON)
	return c
}

func downCommand() *cobra.Command {
	var o meshOptions
	c := &cobra.Command{
		Use:   "down",
		Short: "Take a mesh down: delete umbra's kind cluster, or put your own cluster's objects back",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.checkStanding(c); err != nil {
				return err
			}
			did, err := cluster.Down(c.Context(), o.on == onKind, o.settings)
			for _, text := range did {
				fmt.Fprintln(c.OutOrStdout(), text)
			}
			return broken(err)
		},
	}
	o.add(c)
	return c
}

// checkStanding refuses the mesh that does not stand by itself.
func (o *meshOptions) checkStanding(c *cobra.Command) error {
	if o.on == onEmbedded {
		return fmt.Errorf("%s: the embedded mesh lives in the process of umbra up or umbra run and ends with it: there is nothing to ask or to take down; give --on kind or --on existing", c.Name())
	}
	return o.check(c, onKind, onExisting)
}
