package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
)

// Has tells whether the node's containerd has an image under this name.
func (c *Cluster) Has(ctx context.Context, image string) (bool, error) {
	full, err := fullName(image)
	if err != nil {
		return false, err
	}
	out, err := c.ctr(ctx, "images", "ls", "-q")
	return slices.Contains(strings.Fields(out), full), err
}

// fullName is an image's name as containerd keeps it: with registry and tag.
func fullName(image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	if ref.Context().RegistryStr() == name.DefaultRegistry {
		return strings.TrimPrefix(ref.Name(), "index."), nil // containerd names the default one without it
	}
	return ref.Name(), nil
}

// ctr runs containerd's command in the node, in the namespace in which Kubernetes has its images.
func (c *Cluster) ctr(ctx context.Context, args ...string) (string, error) {
	return c.inside(ctx, quick, append([]string{"ctr", "--namespace=k8s.io"}, args...)...)
}

// Load puts the images of an archive (docker's or OCI's, as tar) into the node. It reads image to its end, unless it
// fails.
func (c *Cluster) Load(ctx context.Context, image io.Reader) error {
	ctx, cancel := context.WithTimeoutCause(ctx, slow, fmt.Errorf("the node did not take the images within %s", slow))
	defer cancel()
	if err := nodeutils.LoadImageArchive(member{c: c, ctx: ctx}, image); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("loading images into %s: %w", c.node(), kindError(err))
	}
	return nil
}

// member is the node as kind's helpers see it. Its commands end with ctx and have a process group of their own.
// Kind's helpers for images use nothing else of a node.
type member struct {
	nodes.Node
	c   *Cluster
	ctx context.Context
}

func (m member) String() string { return m.c.node() }

func (m member) Command(command string, args ...string) kindexec.Cmd {
	return m.CommandContext(m.ctx, command, args...)
}

func (m member) CommandContext(ctx context.Context, command string, args ...string) kindexec.Cmd {
	args = append([]string{"exec", "-i", m.c.node(), command}, args...)
	return &kindexec.LocalCmd{Cmd: m.c.engine.command(ctx, args...)}
}

// LoadFromEngine copies images of the engine into the node, except those that the node has in the same form. They go
// together in one stream, so that layers that they share go once, and nothing is written to this machine's disk.
// An image that the engine does not have is an error that names it, and then none is loaded.
func (c *Cluster) LoadFromEngine(ctx context.Context, images ...string) error {
	missing, err := c.missing(ctx, images)
	if err != nil || len(missing) == 0 {
		return err
	}
	args, err := c.saveArgs(ctx, missing)
	if err != nil {
		return err
	}
	return c.transfer(ctx, args)
}

// transfer pipes what the engine saves into the node.
func (c *Cluster) transfer(ctx context.Context, args []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, slow, fmt.Errorf("%s did not save images within %s", c.engine.name, slow))
	defer cancel()
	var said bytes.Buffer
	save := c.engine.command(ctx, args...)
	save.Stdout, save.Stderr = w, &said
	err = save.Start()
	w.Close()
	if err != nil {
		r.Close()
		return err
	}
	loaded := c.Load(ctx, r)
	r.Close() // before waiting: a load that failed leaves the saving command with nobody to write to
	if err := save.Wait(); err != nil && (loaded == nil || !brokenPipe(said.String())) {
		return errors.Join(c.engine.failure(ctx, args, said.String(), err), loaded)
	}
	return loaded
}

// brokenPipe tells from what it said whether a saving command failed only because nobody read on: the pipe's signal
// ends it silently, or it reports the error.
func brokenPipe(said string) bool {
	return said == "" || strings.Contains(said, "broken pipe")
}

// saveArgs are the engine's words for "write these images to standard output". Where the engine keeps images by
// containerd, one that was pulled for one platform is an index of many, whose others the node would miss.
func (c *Cluster) saveArgs(ctx context.Context, images []string) ([]string, error) {
	args := []string{"save"}
	switch {
	case c.engine.name == "podman":
		args = append(args, "--format=docker-archive", "--multi-image-archive")
	case c.engine.snapshotted:
		arch, err := c.Arch(ctx)
		if err != nil {
			return nil, err
		}
		args = append(args, "--platform=linux/"+arch)
	}
	return append(args, images...), nil
}

// missing are the images of which the node has no copy with the engine's id.
func (c *Cluster) missing(ctx context.Context, images []string) ([]string, error) {
	there, err := c.digests(ctx)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, image := range images {
		id, err := c.engineID(ctx, image)
		if err != nil {
			return nil, err
		}
		full, err := fullName(image)
		if err != nil {
			return nil, err
		}
		if digest := there[full]; digest != "" && (digest == id || c.configID(ctx, digest) == id) {
			continue
		}
		missing = append(missing, image)
	}
	return missing, nil
}

// engineID is the engine's id of a local image: the digest of its config, or of its manifest where images are kept by
// containerd.
func (c *Cluster) engineID(ctx context.Context, image string) (string, error) {
	id, err := c.engine.output(ctx, quick, "image", "inspect", "-f", "{{.Id}}", image)
	switch {
	case err == nil && strings.HasPrefix(id, "sha256:"):
		return id, nil
	case err == nil:
		return "sha256:" + id, nil // podman's
	case ctx.Err() == nil && noImage.MatchString(err.Error()):
		return "", fmt.Errorf("image %s: %s does not have it; pull or build it first (`%s pull %s`)", image, c.engine.name, c.engine.name, image)
	}
	return "", err
}

var noImage = regexp.MustCompile(`(?i)no such (image|object)|image not known|not found`)

// digests are the node's images by name, each with the digest of its manifest or index.
func (c *Cluster) digests(ctx context.Context) (map[string]string, error) {
	out, err := c.ctr(ctx, "images", "ls")
	if err != nil {
		return nil, err
	}
	return parseImages(out), nil
}

// parseImages reads the table that `ctr images ls` writes: a line of heads, then REF, TYPE, DIGEST and more.
func parseImages(table string) map[string]string {
	digests := map[string]string{}
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[2], "sha256:") {
			digests[fields[0]] = fields[2]
		}
	}
	return digests
}

// configID is the digest of the config that a manifest in the node names, or "" where that is not a manifest.
func (c *Cluster) configID(ctx context.Context, manifest string) string {
	out, err := c.ctr(ctx, "content", "get", manifest)
	if err != nil {
		return ""
	}
	var m struct {
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
	}
	if json.Unmarshal([]byte(out), &m) != nil {
		return ""
	}
	return m.Config.Digest
}

// pull has the engine pull an image: within find a registry must have answered that it has it, within all it must be here.
func (e *engine) pull(ctx context.Context, image string, find, all time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, all, fmt.Errorf("not pulled within %s", all))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	silence := time.AfterFunc(find, func() { giveUp(fmt.Errorf("no registry answered within %s", find)) })
	defer silence.Stop()
	said := &listener{heard: func() { silence.Stop() }}
	args := []string{"pull", image}
	cmd := e.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); err != nil {
		return e.failure(ctx, args, said.text.String(), err)
	}
	return nil
}

// listener keeps what a pull says and calls heard when that shows that the registry has the image. It is written to
// by one goroutine.
type listener struct {
	text  bytes.Buffer
	heard func()
}

// found is what docker, podman and nerdctl say when they have an image's manifest.
var found = regexp.MustCompile(`: Pulling from |Getting image source|Copying blob|manifest-sha256|layer-sha256`)

func (l *listener) Write(p []byte) (int, error) {
	l.text.Write(p)
	if found.Match(p) {
		l.heard()
	}
	return len(p), nil
}
