package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"umbra/replay"
)

// version is set by the linker.
var version = "devel"

func versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print umbra's version, and which path sends the load here",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			transport := replay.PathName(false)
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS,
					"arch": runtime.GOARCH, "transport": transport, "istio": istioVersion()})
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "umbra %s\n%s %s/%s\nload is sent by: %s\nroutes are modelled on: istio.io/istio %s\n",
				version, runtime.Version(), runtime.GOOS, runtime.GOARCH, transport, istioVersion())
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// istioVersion is that of the module whose validation and defaults the route model uses.
func istioVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "istio.io/istio" {
				return d.Version
			}
		}
	}
	return "unknown"
}
