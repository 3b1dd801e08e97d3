//go:build e2e

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"umbra/cluster/internal/kube"
	"umbra/cluster/internal/node"
	"umbra/internal/evidence"
	"umbra/reports"
)

// The bed of all tests on a real cluster. They run the built command, ../bin/umbra or $UMBRA_BINARY, on a kind cluster that the
// first of them makes and TestMain deletes. They run one after the other: what a run finds in the cluster is what it made of it.
//
//	UMBRA_E2E_NAME  the cluster's name, umbra-e2e by default
//	UMBRA_E2E_KEEP  where set, the cluster is left for the next try
//
// How fast the machine is may decide no test: verdicts on time are logged.

// example is a scenario of scenarios/examples.
func example(name string) string { return filepath.Join("..", "scenarios", "examples", name+".yaml") }

// commandIn bounds a command. With an idle machine it takes seconds, a cluster from nothing half a minute, and a long proof half an hour.
var commandIn = 6 * time.Minute

func init() {
	if os.Getenv("UMBRA_PROVE") != "" {
		commandIn = time.Hour
	}
}

// cleanIn is what a command that is interrupted may take to clean up, and the deletion of the shared cluster too.
const cleanIn = time.Minute

// ended is done when the tests are interrupted, or soon run out of time. Commands end with it; each holds underWay for reading until
// then, and none begins anymore.
var (
	ended    context.Context
	underWay sync.RWMutex
)

var errEnded = errors.New("the tests were interrupted or ran out of time")

func TestMain(m *testing.M) {
	flag.Parse()
	var end context.CancelFunc
	ended, end = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // it ends with the process
		<-ended.Done()
		underWay.Lock() // at most cleanIn later
		fmt.Fprintln(os.Stderr, errors.Join(errEnded, bed.delete()))
		os.Exit(1)
	}()
	if timeout := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration); timeout > 3*cleanIn {
		time.AfterFunc(timeout-2*cleanIn, end)
	}
	status := m.Run()
	if err := bed.delete(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// bed is the cluster that tests share.
var bed shared

type shared struct {
	once, gone sync.Once
	made       bool // or being made
	err        error
	mu         sync.Mutex
}

func clusterName() string {
	if name := os.Getenv("UMBRA_E2E_NAME"); name != "" {
		return name
	}
	return "umbra-e2e"
}

// cluster gives the name of the shared cluster, which is made where it does not stand.
func cluster(t *testing.T) string {
	t.Helper()
	needEngine(t)
	bed.once.Do(func() {
		bed.mu.Lock()
		bed.made = true
		bed.mu.Unlock()
		began := time.Now()
		_, stderr, status, err := command(context.Background(), "up", example("canary-10"), "--on", "kind", "--name", clusterName())
		if err == nil && status != 0 {
			err = fmt.Errorf("exit status %d:\n%s", status, stderr)
		}
		if bed.err = err; err == nil {
			t.Logf("cluster %s stands after %.1f s", clusterName(), time.Since(began).Seconds())
		}
	})
	if bed.err != nil {
		t.Fatalf("umbra up: %v", bed.err)
	}
	return clusterName()
}

// delete ends the shared cluster, unless it is to be kept for the next try.
func (s *shared) delete() (err error) {
	s.mu.Lock()
	made := s.made
	s.mu.Unlock()
	if !made || os.Getenv("UMBRA_E2E_KEEP") != "" {
		return nil
	}
	s.gone.Do(func() { // whoever comes second waits
		_, stderr, status, fault := commandWith(context.Background(), "down", "--on", "kind", "--name", clusterName())
		if fault != nil || status != 0 {
			err = fmt.Errorf("cluster %s is still there: exit status %d, %v: %s", clusterName(), status, fault, stderr)
		}
	})
	return err
}

// needEngine skips where there is no container engine. Under CI its lack is a failure.
func needEngine(t *testing.T) {
	t.Helper()
	_, err := node.Find(t.Context(), clusterName())
	switch {
	case err == nil:
	case errors.Is(err, node.ErrNoEngine) && os.Getenv("CI") == "":
		t.Skipf("it needs a cluster: %v", err)
	default:
		t.Fatal(err)
	}
}

// binary is the command under test.
func binary() (string, error) {
	path := os.Getenv("UMBRA_BINARY")
	if path == "" {
		path = filepath.Join("..", "bin", "umbra")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run make build, or name the command in UMBRA_BINARY", err)
	}
	return path, nil
}

// prepared is a command that is interrupted, as by Ctrl-C, when its context ends, and killed where that does not end it.
func prepared(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path, args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = cleanIn
	return c, nil
}

// command runs umbra. The error is of what kept it from running to its end by itself.
func command(ctx context.Context, args ...string) (stdout, stderr string, status int, err error) {
	if !underWay.TryRLock() {
		return "", "", -1, errEnded
	}
	defer underWay.RUnlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ended, func() { cancel(errEnded) })()
	return commandWith(ctx, args...)
}

// commandWith runs umbra whether or not the tests were interrupted.
func commandWith(ctx context.Context, args ...string) (stdout, stderr string, status int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandIn, fmt.Errorf("umbra %s took more than %v", strings.Join(args, " "), commandIn))
	defer cancel()
	c, err := prepared(ctx, args...)
	if err != nil {
		return "", "", -1, err
	}
	var out, log strings.Builder
	c.Stdout, c.Stderr = &out, &log
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.String(), log.String(), c.ProcessState.ExitCode(), err
}

// umbra runs the command with a bound, and logs what it says.
func umbra(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	began := time.Now()
	stdout, stderr, status, err := command(t.Context(), args...)
	t.Logf("umbra %s: exit status %d after %.1f s\n%s", strings.Join(args, " "), status, time.Since(began).Seconds(), stderr)
	if err != nil {
		t.Fatal(err)
	}
	return stdout, stderr, status
}

// runOn plays a scenario on the shared cluster and gives its report and exit status.
func runOn(t *testing.T, file string, args ...string) (*reports.Report, int) {
	t.Helper()
	return runIn(t, filepath.Join(t.TempDir(), "run"), file, args...)
}

// runIn does the same with the folder for the run.
func runIn(t *testing.T, dir, file string, args ...string) (*reports.Report, int) {
	t.Helper()
	_, _, status := umbra(t, append([]string{"run", file, "--on", "kind", "--name", cluster(t), "--json", "--out", dir}, args...)...)
	return report(t, dir), status
}

// report reads the report of a run's folder.
func report(t *testing.T, dir string) *reports.Report {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, evidence.Report))
	if err != nil {
		t.Fatal(err)
	}
	r := &reports.Report{}
	if err := json.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	t.Log(r.Headline)
	return r
}

// kubeconfig is a file with the shared cluster's kubeconfig.
func kubeconfig(t *testing.T) string {
	t.Helper()
	n, err := node.Find(t.Context(), cluster(t))
	if err != nil || n == nil {
		t.Fatalf("cluster %s is not there: %v", clusterName(), err)
	}
	data, err := n.Kubeconfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// client talks to the shared cluster, to plant things in it and to look at it.
func client(t *testing.T) *kube.Client {
	t.Helper()
	config, err := kube.Load(kubeconfig(t), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
