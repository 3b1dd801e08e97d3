package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
)

// Bounds of Create's parts and of taking away what it made.
const (
	findImage  = 20 * time.Second // until the registry says whether it has the node image
	pullImage  = 10 * time.Minute
	imagesUp   = 60 * time.Second // from kind's start until the node's containerd answers
	cleaningUp = time.Minute      // seconds on an idle machine: the engine deletes a gigabyte of files
	retryAfter = 300 * time.Millisecond
)

// Create makes a cluster whose API server answers when it returns; its node need not be ready yet.
//
// started, which may be nil, is called as soon as the node takes images, while Kubernetes still starts, in a goroutine
// that Create awaits. It should end with ctx.
//
// When ctx ends or a step fails, everything is gone again when Create returns, seconds and at most two minutes later; what could
// not be taken away is named in the error.
func Create(ctx context.Context, s Settings, started func(*Cluster)) (*Cluster, error) {
	s = s.withDefaults()
	e, err := findEngine(ctx)
	if err != nil {
		return nil, err
	}
	c := newCluster(e, s)
	if err := c.admit(ctx, s); err != nil {
		return nil, err
	}
	if c.apiPort, err = freePort(); err != nil {
		return nil, err
	}
	network, err := c.networkID(ctx)
	if err != nil {
		return nil, err
	}
	makes := network == "" // kind makes the network where it is missing
	err = c.provision(ctx, s, makes, started)
	if err == nil {
		return c, nil
	}
	return nil, errors.Join(err, c.undo(ctx, makes, errors.Is(err, ErrExists)))
}

// admit finds what is wrong with the settings while nothing has been made.
func (c *Cluster) admit(ctx context.Context, s Settings) error {
	if !validName.MatchString(s.Name) {
		return fmt.Errorf("%w: %q; it needs at most 49 lower-case letters, digits, dots and hyphens", ErrName, s.Name)
	}
	switch containers, err := c.containers(ctx); {
	case err != nil:
		return err
	case len(containers) > 0:
		return fmt.Errorf("%w: %s; use it, delete it, or choose another name", ErrExists, s.Name)
	}
	if err := c.nameFree(ctx); err != nil {
		return err
	}
	if err := portFree(s.HostPort); err != nil {
		return err
	}
	return c.ensureImage(ctx, s)
}

// nameFree finds a container that has the node's name and is no kind node: kind looks at labels, and would fail later.
func (c *Cluster) nameFree(ctx context.Context) error {
	words, err := c.engine.lines(ctx, "ps", "-a", "--filter", "name="+c.node(), "--format", "{{.ID}} {{.Names}}")
	if err != nil {
		return err
	}
	for i := 1; i < len(words); i += 2 { // the filter finds parts of names, too
		if slices.Contains(strings.Split(words[i], ","), c.node()) {
			return fmt.Errorf("%w: a container %s that is no kind node has its node's name; remove it (`%s rm -f -v %s`), or choose another name",
				ErrExists, c.node(), c.engine.name, c.node())
		}
	}
	return nil
}

// freePort is one of 127.0.0.1 for the API server. Kind would choose one alike; as we do, it tells our node from one of
// the same name that another program made since admit.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("%w: none is free on 127.0.0.1: %w", ErrPort, err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// validName is kind's own rule; with "-control-plane" behind it the name must still be a host's, of at most 63.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,48}$`)

// portFree tells by listening on it for a moment.
func portFree(port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("%w: %d is no port; choose one from 1 to 65535, or 0 for a free one", ErrPort, port)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("%w: %w; choose another, or 0 for a free one", ErrPort, err)
	}
	return l.Close()
}

// ensureImage has the engine pull the node image where it is missing. An image that no registry knows, or a registry
// that does not answer, is told within findImage.
func (c *Cluster) ensureImage(ctx context.Context, s Settings) error {
	image := untagged(s.Image)
	if _, err := c.engine.output(ctx, quick, "image", "inspect", "-f", "{{.Id}}", image); err == nil || ctx.Err() != nil {
		return err
	}
	s.Log("Pulling node image %s", s.Image)
	if err := c.engine.pull(ctx, image, findImage, pullImage); err != nil {
		return fmt.Errorf("%w: %s: %w; name one that is here or can be pulled by --node-image or UMBRA_NODE_IMAGE", ErrImage, s.Image, err)
	}
	return nil
}

// untagged drops the tag of a reference that has a digest too, as kind does: engines do not take both.
func untagged(image string) string {
	name, digest, ok := strings.Cut(image, "@")
	if !ok {
		return image
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name + "@" + digest
}

// provision runs kind and, beside it, what can be done once the node runs. Both have ended when it returns, unless
// the engine stopped answering.
func (c *Cluster) provision(ctx context.Context, s Settings, makes bool, started func(*Cluster)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	created, attended := make(chan error, 1), make(chan error, 1)
	go func() { created <- c.runKind(s) }()
	go func() { attended <- c.attend(ctx, makes, started) }()
	var err error
	select {
	case err = <-created:
	case <-ctx.Done():
		err = errors.Join(context.Cause(ctx), c.abort(ctx, created))
	}
	if err == nil {
		return <-attended
	}
	stop()
	if !errors.Is(err, ErrExists) {
		_ = c.removeContainers(context.WithoutCancel(ctx)) // so that what started still does in the node fails; undo tells errors
	} // else nothing of ours runs
	<-attended
	return err
}

// runKind lets kind make the cluster. The kubeconfig that it insists on writing goes to a folder that is removed. What
// failed is retained: kind would delete by label, also another's node; undo removes what is ours.
func (c *Cluster) runKind(s Settings) error {
	dir, err := os.MkdirTemp("", "umbra-kind-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = c.kind.Create(s.Name,
		cluster.CreateWithV1Alpha4Config(kindConfig(s, c.apiPort)),
		cluster.CreateWithNodeImage(s.Image),
		cluster.CreateWithKubeconfigPath(filepath.Join(dir, "config")),
		cluster.CreateWithWaitForReady(0),
		cluster.CreateWithRetain(true),
		cluster.CreateWithDisplayUsage(false),
		cluster.CreateWithDisplaySalutation(false))
	if err != nil {
		return fmt.Errorf("making the cluster %s: %w", s.Name, kindError(err))
	}
	return nil
}

// attend notes in the node that it is umbra's and which network was made for it, as soon as the node runs, and calls
// started when the node takes images.
func (c *Cluster) attend(ctx context.Context, makes bool, started func(*Cluster)) error {
	soon, cancel := context.WithTimeoutCause(ctx, imagesUp, fmt.Errorf("the node %s did not take images within %s", c.node(), imagesUp))
	defer cancel()
	if err := c.await(soon, c.ownRuns); err != nil {
		return err
	}
	if err := c.claim(soon, makes); err != nil {
		return err
	}
	if started == nil {
		return nil
	}
	if err := c.await(soon, c.takesImages); err != nil {
		return err
	}
	started(c)
	return ctx.Err()
}

// ownRuns tells whether the container that kind made for us runs, and not another program's of the same name.
func (c *Cluster) ownRuns(ctx context.Context) (bool, error) {
	if own, err := c.own(ctx); err != nil || len(own) == 0 {
		return false, err
	}
	return c.Running(ctx)
}

func (c *Cluster) takesImages(ctx context.Context) (bool, error) {
	_, err := c.inside(ctx, quick, "ctr", "version")
	return err == nil, err
}

// await asks until the answer is yes. An error is no answer yet: the container may not be there. When ctx ends, its
// cause comes with the last one.
func (c *Cluster) await(ctx context.Context, answer func(context.Context) (bool, error)) error {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	for {
		yes, err := answer(ctx)
		if yes {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// abort ends a kind that is still at work. Kind knows no context, but each of its steps is a command in the node, so
// it fails at once when the node is gone; and may be about to start it, so that is repeated until kind has ended.
func (c *Cluster) abort(ctx context.Context, created <-chan error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaningUp)
	defer cancel()
	for {
		err := c.removeContainers(ctx)
		select {
		case failed := <-created:
			if errors.Is(failed, ErrExists) {
				return failed
			}
			return nil // failed by the deletion, or done before it
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("kind still makes the cluster %s after %s of deleting it", c.name, cleaningUp), err)
		case <-time.After(retryAfter):
		}
	}
}

// undo deletes what a Create that failed has made, also when its context has ended. It looks more than once: a command
// of kind's that was cut off by an interrupt may have left the engine a container to make that shows a moment later. Where
// another program has the name no container is ours; a network that was made before that showed is.
func (c *Cluster) undo(ctx context.Context, makes, conflict bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaningUp)
	defer cancel()
	takeAway := func() error { return c.remove(ctx, 3) }
	if conflict {
		takeAway = func() error { return c.removeVolumes(ctx) }
	}
	if err := takeAway(); err != nil {
		return fmt.Errorf("cleaning up after it: %w", err)
	}
	if !makes {
		return nil
	}
	id, err := c.networkID(ctx)
	if err != nil || id == "" {
		return err
	}
	return c.removeNetwork(ctx, id)
}
