// Command bench measures umbra up on kind beside the same mesh made by hand with kind, kubectl and istioctl (the script by-hand), in
// interleaved rounds on the same machine, from nothing to the first answer of the gateway; and how soon a second umbra run on a
// cluster that was kept starts its load. It needs bin/umbra, a container engine, and kind, kubectl and istioctl on the PATH.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

func main() {
	n := flag.Int("n", 3, "rounds")
	umbra := flag.String("umbra", "bin/umbra", "the umbra to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *n, *umbra); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bed is what both sides use.
type bed struct {
	umbra string // the program
	dir   string // for files that go with the bench
	app   string // the app's image in the engine
	port  string // on 127.0.0.1
}

const appImage = "umbra-app:bench"

func bench(ctx context.Context, n int, umbra string) (err error) {
	dir, err := os.MkdirTemp("", "umbra-cluster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bed{dir: dir, app: appImage}
	if b.umbra, err = filepath.Abs(umbra); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	var hand, ours, again []time.Duration
	for round := range n {
		for _, side := range order(round) {
			var took time.Duration
			if side == "by hand" {
				took, err = b.byHand(ctx)
				hand = append(hand, took)
			} else {
				var second time.Duration
				took, second, err = b.up(ctx)
				ours, again = append(ours, took), append(again, second)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", side, err)
			}
			fmt.Printf("round %d, %-8s %6.1f s\n", round+1, side, took.Seconds())
		}
	}
	fmt.Printf("\nby hand: %s\numbra up: %s\nratio of the medians: %.2f\nload of a second run on a kept cluster begins after: %s\n",
		spread(hand), spread(ours), median(ours).Seconds()/median(hand).Seconds(), spread(again))
	return nil
}

// order changes who is first from round to round.
func order(round int) []string {
	sides := []string{"by hand", "umbra"}
	if round%2 == 1 {
		slices.Reverse(sides)
	}
	return sides
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func spread(all []time.Duration) string {
	return fmt.Sprintf("%.1f s (%.1f … %.1f, n = %d)", median(all).Seconds(), slices.Min(all).Seconds(), slices.Max(all).Seconds(), len(all))
}

// prepare makes the app's image and the overlay of istioctl's settings, which are nobody's time.
func (b *bed) prepare(ctx context.Context) error {
	dockerfile := "FROM scratch\nCOPY umbra /umbra\nCOPY tmp /tmp\nENTRYPOINT [\"/umbra\", \"app\"]\n"
	context := filepath.Join(b.dir, "image")
	data, err := os.ReadFile(b.umbra)
	if err != nil {
		return err
	}
	err = errors.Join(os.MkdirAll(filepath.Join(context, "tmp"), 0o777), os.WriteFile(filepath.Join(context, "umbra"), data, 0o755),
		os.WriteFile(filepath.Join(context, "tmp", ".keep"), nil, 0o644), os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o644))
	if err != nil {
		return err
	}
	if err := b.run(ctx, nil, "docker", "build", "-q", "-t", b.app, context); err != nil {
		return err
	}
	if b.port, err = freePort(); err != nil {
		return err
	}
	return b.overlay()
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// overlay writes the values that umbra gives to istiod's chart as istioctl has them.
func (b *bed) overlay() error {
	file := os.Getenv("UMBRA_ISTIO_VALUES")
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if env, ok := values["env"]; ok {
		values["pilot"] = map[string]any{"env": env}
		delete(values, "env")
	}
	out, err := yaml.Marshal(map[string]any{"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": map[string]any{"values": values}})
	if err != nil {
		return err
	}
	return os.WriteFile(b.overlayFile(), out, 0o644)
}

func (b *bed) overlayFile() string { return filepath.Join(b.dir, "overlay.yaml") }

// byHand times the script.
func (b *bed) byHand(ctx context.Context) (time.Duration, error) {
	var env []string
	if _, err := os.Stat(b.overlayFile()); err == nil {
		env = append(env, "UMBRA_BY_HAND_ISTIO="+b.overlayFile())
	}
	began := time.Now()
	err := b.run(ctx, env, filepath.Join("cluster", "bench", "by-hand"), b.app, b.port)
	took := time.Since(began)
	return took, errors.Join(err, b.run(context.WithoutCancel(ctx), nil, "kind", "delete", "cluster", "-q", "--name", "umbra-by-hand"))
}

// up times umbra up, and then how long a run on that cluster takes to begin its load.
func (b *bed) up(ctx context.Context) (took, again time.Duration, err error) {
	const name = "umbra-bench"
	scenario := filepath.Join("scenarios", "examples", "canary-10.yaml")
	began := time.Now()
	err = b.run(ctx, nil, b.umbra, "up", scenario, "--on", "kind", "--name", name)
	took = time.Since(began)
	if err == nil {
		again, err = b.second(ctx, scenario, name)
	}
	return took, again, errors.Join(err, b.run(context.WithoutCancel(ctx), nil, b.umbra, "down", "--on", "kind", "--name", name))
}

// second waits for the line that says that the load begins, and ends the run.
func (b *bed) second(ctx context.Context, scenario, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, b.umbra, "run", scenario, "--on", "kind", "--name", name, "--out", filepath.Join(b.dir, fmt.Sprint("run-", time.Now().UnixNano())))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = time.Minute
	said, err := c.StderrPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := c.Start(); err != nil {
		return 0, err
	}
	took, text := time.Duration(0), ""
	buf := make([]byte, 4096)
	for {
		n, err := said.Read(buf)
		text += string(buf[:n])
		if took == 0 && strings.Contains(text, "replaying ") {
			took = time.Since(began)
			cancel()
		}
		if err != nil {
			break
		}
	}
	_ = c.Wait() // it was interrupted
	if took == 0 {
		return 0, fmt.Errorf("the run began no load: %s", text)
	}
	return took, nil
}

func (b *bed) run(ctx context.Context, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	var said strings.Builder
	c.Stdout, c.Stderr = io.Discard, &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, said.String())
	}
	return nil
}

func (b *bed) clean() error {
	return b.run(context.Background(), nil, "docker", "image", "rm", "-f", b.app)
}
