package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
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
	network, err := c.networkID(ctx)
	if err != nil {
		return nil, err
	}
	makes := network == "" // kind makes the network where it is missing
	err = c.provision(ctx, s, makes, started)
	if err == nil {
		return c, nil
	}
	if errors.Is(err, ErrExists) { // made by another program since admit: not ours to delete
		return nil, err
	}
	return nil, errors.Join(err, c.undo(ctx, makes))
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
	if err := portFree(s.HostPort); err != nil {
		return err
	}
	return c.ensureImage(ctx, s)
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
	}
	<-attended
	return err
}

// runKind lets kind make the cluster. The kubeconfig that it insists on writing goes to a folder that is removed.
func (c *Cluster) runKind(s Settings) error {
	dir, err := os.MkdirTemp("", "umbra-kind-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = c.kind.Create(s.Name,
		cluster.CreateWithV1Alpha4Config(kindConfig(s)),
		cluster.CreateWithNodeImage(s.Image),
		cluster.CreateWithKubeconfigPath(filepath.Join(dir, "config")),
		cluster.CreateWithWaitForReady(0),
		cluster.CreateWithDisplayUsage(false),
		cluster.CreateWithDisplaySalutation(false))
	if err != nil {
		return fmt.Errorf("making the cluster %s: %w", s.Name, kindError(err))
	}
	return nil
}

// attend notes in the node which network was made for it, as soon as the node runs, and calls started when the node
// takes images.
func (c *Cluster) attend(ctx context.Context, makes bool, started func(*Cluster)) error {
	soon, cancel := context.WithTimeoutCause(ctx, imagesUp, fmt.Errorf("the node %s did not take images within %s", c.node(), imagesUp))
	defer cancel()
	if err := c.await(soon, c.Running); err != nil {
		return err
	}
	if makes {
		if err := c.claimNetwork(soon); err != nil {
			return err
		}
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
		case <-created:
			return nil
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("kind still makes the cluster %s after %s of deleting it", c.name, cleaningUp), err)
		case <-time.After(retryAfter):
		}
	}
}

// undo deletes what a Create that failed has made, also when its context has ended. It looks more than once: a command
// of kind's that was cut off by an interrupt may have left the engine a container to make that shows a moment later.
func (c *Cluster) undo(ctx context.Context, makes bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaningUp)
	defer cancel()
	if err := c.remove(ctx, 3); err != nil {
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
