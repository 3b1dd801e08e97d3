// Command umbra proves what a mirrored (shadow) route of a service mesh does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"umbra/internal/diag"
	"umbra/scenarios"
)

// The exit statuses. A contract: others script against them.
const (
	exitPassed       = 0
	exitFailed       = 1   // a verdict or an objective failed
	exitUsage        = 2   // bad usage, scenario or input
	exitClient       = 3   // a gated time figure is not to be trusted because of the client
	exitInconclusive = 4   // inconclusive or invalid
	exitMesh         = 5   // the mesh or the machine failed
	exitInterrupted  = 130 // Ctrl-C
)

func main() {
	ctx, interrupt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // it ends with the process
		<-signals
		interrupt() // runs drain, and report
		secondSignal(signals)
		fmt.Fprintln(os.Stderr, "umbra: left at once; umbra verify judges what there is, and umbra down --on kind or --on existing takes away what was not taken away yet")
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// oneSignal is how far apart two signals lie that are meant as two: timeout(1), and a shell that ends its job, send one to the
// process and one to its group.
const oneSignal = time.Second

// secondSignal waits for a signal that is not the first one once more.
func secondSignal(signals <-chan os.Signal) {
	again := time.After(oneSignal)
	for {
		select {
		case <-signals:
			if again == nil {
				return
			}
		case <-again:
			again = nil
		}
	}
}

// run does what args say and gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var status statusError
	switch {
	case err == nil:
		return exitPassed
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintln(stderr, "umbra:", status.err)
		}
		return status.status
	case errors.Is(err, scenarios.ErrMesh):
		fmt.Fprintln(stderr, "umbra:", err)
		return exitMesh
	}
	var faults diag.Faults
	if errors.As(err, &faults) { // each names its own file
		fmt.Fprintln(stderr, faults)
		return exitUsage
	}
	fmt.Fprintln(stderr, "umbra:", err)
	return exitUsage
}

// statusError ends a command with a status, and with a message where err is not nil.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string { return fmt.Sprintf("exit status %d: %v", e.status, e.err) }
func (e statusError) Unwrap() error { return e.err }

// exit ends a command that has said what it had to say.
func exit(status int) error {
	if status == exitPassed {
		return nil
	}
	return statusError{status: status}
}

// broken ends a command because of the machine: a file that cannot be written, a port that is taken.
func broken(err error) error {
	var faults diag.Faults
	if err == nil || errors.As(err, &faults) { // what was asked for is at fault
		return err
	}
	if errors.Is(err, context.Canceled) {
		return statusError{exitInterrupted, fmt.Errorf("interrupted: %w", err)}
	}
	return statusError{exitMesh, err}
}

// exactly asks for one argument, and names it.
func exactly(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one %s, and %d are given: %s", c.Name(), what, len(args), c.UseLine())
		}
		return nil
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "umbra",
		Short: "Prove what mirrored traffic in Istio does: every request once and unchanged, in the configured fraction, at whose cost",
		Long: `umbra stands up a mesh with two versions of an app, replays traffic through its ingress gateway
at a controlled rate, reconciles request by request what the shadow got, and ends with a verdict.

Results go to standard output, progress and messages to standard error. Exit status: 0 passed;
1 a verdict or an objective failed; 2 bad usage, scenario or input; 3 a gated time figure is not to
be trusted because of the client; 4 inconclusive or invalid; 5 the mesh or the machine failed;
130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(runCommand(), upCommand(), statusCommand(), downCommand(), doctorCommand(), checkCommand(), replayCommand(), captureCommand(), trafficCommand(),
		verifyCommand(), reportCommand(), compareCommand(), trendCommand(), appCommand(), schemaCommand(), versionCommand())
	return root
}
