package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"umbra/internal/app"
)

func appCommand() *cobra.Command {
	var config app.Config
	var drain time.Duration
	host, _ := os.Hostname()
	c := &cobra.Command{
		Use:   "app",
		Short: "Serve the two-version app: HTTP/1.1 and h2c, a receipt for every request",
		Long: `Serve the app that stands behind the mesh: every request but /health gets a receipt, which
GET /receipts on the admin port gives as an Arrow IPC stream, and DELETE /receipts forgets; PUT and
GET /settings there change and show how it behaves, GET /status tells of the process, and GET /metrics
is Prometheus text. SIGTERM drains it; with --linger it then waits for its receipts to be fetched.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := config.Check(); err != nil {
				return err
			}
			a, err := app.Start(c.Context(), config)
			if err != nil {
				return broken(err)
			}
			fmt.Fprintf(c.OutOrStdout(), "app %s: http://%s, admin http://%s\n", config.Version, a.Addr(), a.AdminAddr())
			<-c.Context().Done()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), drain)
			defer cancel()
			return broken(a.Close(ctx))
		},
	}
	f := c.Flags()
	f.StringVar(&config.Version, "version-label", or(os.Getenv("VERSION"), "v1"), "the version that receipts name (default $VERSION, or v1)")
	f.StringVar(&config.Pod, "pod", or(os.Getenv("POD_NAME"), host), "the pod that receipts name (default $POD_NAME, or the host name)")
	f.StringVar(&config.Listen, "listen", ":8080", "where requests come in")
	f.StringVar(&config.Admin, "admin", ":8081", "where /receipts, /settings, /status, /metrics and /health are")
	f.DurationVar(&config.Behaviour.Latency.P50, "latency", 0, "median of the log-normal latency")
	f.DurationVar(&config.Behaviour.Latency.P99, "latency-p99", 0, "its 99th percentile; 0: constant")
	f.Float64Var(&config.Behaviour.ErrorRate, "error-rate", 0, "share of requests that are answered 503, 0 to 1")
	f.Float64Var(&config.Behaviour.Differ, "differ", 0, "share of requests that are answered with another body than by other versions, 0 to 1")
	f.BoolVar(&config.Behaviour.Stamp, "stamp", false, "put the time into each answer's JSON, as $.time")
	f.StringArrayVar(&config.Ignore, "ignore", nil, "JSON path, like $.time, that the receipts' digest of an answer's JSON leaves out; may be given several times")
	f.IntVar(&config.Behaviour.ResponseSize, "size", 0, "bytes of a response")
	f.StringVar(&config.Mode, "mode", "", "misbehave: slow, hung, errors, dead")
	f.Uint64Var(&config.Seed, "seed", 1, "of latency, errors and answers that differ")
	f.StringVar(&config.ReceiptsDir, "receipts-dir", "", "folder where receipts and changed settings outlive a crash, and are found by the next start")
	f.DurationVar(&config.ShutdownDelay, "shutdown-delay", 0, "how long it goes on taking requests when it is told to end; part of the drain")
	f.DurationVar(&config.Linger, "linger", 0, "how long it waits for its receipts to be fetched, after the drain")
	f.DurationVar(&drain, "drain", 10*time.Second, "how long requests under way may take when it ends")
	return c
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
