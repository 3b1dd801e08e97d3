package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
)

// engine is the container engine's command line. kind drives the same one for its own steps.
type engine struct {
	name        string // docker, podman or nerdctl
	snapshotted bool   // images are kept by containerd, so that an image may lack the layers of other platforms
}

// Bounds of single commands: one that answers from memory, and one that moves images.
const (
	quick = 15 * time.Second
	slow  = 5 * time.Minute
)

// banners are what each engine's "-v" begins with, in the order in which kind prefers them. They are compared since
// "docker" may be another engine's shim.
var banners = []struct{ name, banner string }{
	{"docker", "Docker version"},
	{"nerdctl", "nerdctl version"},
	{"podman", "podman version"},
}

// findEngine gives the engine that KIND_EXPERIMENTAL_PROVIDER names, else the first that is installed, as the kind
// command does, and asks whether it answers.
func findEngine(ctx context.Context) (*engine, error) {
	name := os.Getenv("KIND_EXPERIMENTAL_PROVIDER")
	for _, b := range banners {
		if name == "" && announces(ctx, b.name, b.banner) {
			name = b.name
		}
	}
	if name == "" {
		return nil, fmt.Errorf("%w: none of docker, podman and nerdctl is on the PATH; install and start one of them", ErrNoEngine)
	}
	if (&engine{name: name}).provider() == nil {
		return nil, fmt.Errorf("%w: KIND_EXPERIMENTAL_PROVIDER=%s; it may be docker, podman or nerdctl", ErrNoEngine, name)
	}
	e := &engine{name: name}
	return e, e.greet(ctx)
}

// announces tells whether the command is there and is what its name says.
func announces(ctx context.Context, name, banner string) bool {
	out, err := (&engine{name: name}).output(ctx, quick, "-v")
	return err == nil && strings.HasPrefix(out, banner)
}

func (e *engine) provider() cluster.ProviderOption {
	switch e.name {
	case "docker":
		return cluster.ProviderWithDocker()
	case "nerdctl":
		return cluster.ProviderWithNerdctl("")
	case "podman":
		return cluster.ProviderWithPodman()
	}
	return nil
}

// greet tells an engine that is installed from one that runs.
func (e *engine) greet(ctx context.Context) error {
	if _, err := exec.LookPath(e.name); err != nil {
		return fmt.Errorf("%w: %s is not on the PATH; install and start it", ErrNoEngine, e.name)
	}
	out, err := e.output(ctx, quick, "info")
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %s is installed but does not answer; start it (is its daemon running, and may this user use it?): %w", ErrNoEngine, e.name, err)
	}
	e.snapshotted = strings.Contains(out, "io.containerd.snapshotter.v1")
	return err
}

// command is one of the engine's, in a process group of its own: an interrupt at the terminal reaches all processes
// of the foreground group, and would end the very commands that clean up after it.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.name, args...)
	ownGroup(cmd)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// output runs a command of the engine within a bound and gives what it wrote, without the white space around it.
// The error has the command and the last lines of what it said.
func (e *engine) output(ctx context.Context, within time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %s", within))
	defer cancel()
	cmd := e.command(ctx, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", e.failure(ctx, args, complaints.String(), err)
	}
	return strings.TrimSpace(out.String()), nil
}

// failure words the end of a command that did not succeed. Where its context ended, that is the cause.
func (e *engine) failure(ctx context.Context, args []string, said string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return classify(said, fmt.Errorf("%s %s: %w%s", e.name, strings.Join(args, " "), err, tail(said)))
}

// lines gives the non-empty lines of an answer.
func (e *engine) lines(ctx context.Context, args ...string) ([]string, error) {
	out, err := e.output(ctx, quick, args...)
	return strings.Fields(out), err
}

// symptoms are what engines say where an error has a name here. Docker's and podman's words differ.
var symptoms = []struct {
	says string
	err  error
}{
	{"port is already allocated", ErrPort},
	{"address already in use", ErrPort},
	{"no space left on device", ErrSpace},
	{"is already in use by container", ErrExists},
	{"that name is already in use", ErrExists},
	{"is already used by id", ErrExists},
	{"node(s) already exist for a cluster", ErrExists},
	{"cannot connect to the docker daemon", ErrNoEngine},
	{"failed to connect to the docker api", ErrNoEngine},
	{"cannot connect to podman", ErrNoEngine},
}

// classify joins the named error to err that said, the engine's own words, stand for.
func classify(said string, err error) error {
	said = strings.ToLower(said)
	for _, s := range symptoms {
		if strings.Contains(said, s.says) && !errors.Is(err, s.err) {
			return fmt.Errorf("%w: %w", s.err, err)
		}
	}
	return err
}

// tail is the end of what a command said, to stand behind its error: kubeadm alone says hundreds of lines.
func tail(said string) string {
	const most = 6
	said = strings.TrimSpace(said)
	if said == "" {
		return ""
	}
	lines := strings.Split(said, "\n")
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	if len(lines) == 1 {
		return ": " + lines[0]
	}
	return ":\n  " + strings.Join(lines, "\n  ")
}
