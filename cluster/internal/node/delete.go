package node

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

// claimFile is a file in the node that says that umbra made it. It has the id of the network that was made for it, so
// that the last to leave can remove it; nothing where there was one. A file outlives this program, and goes with the node.
const claimFile = "/kind/umbra"

// Ours tells whether umbra made the cluster, whether its node runs or was stopped. A cluster that kind alone made, or one
// that is gone, is not.
func (c *Cluster) Ours(ctx context.Context) (bool, error) {
	_, ours, err := c.claimed(ctx)
	return ours, err
}

// Delete removes the node, its volumes, and the network that was made for it unless others use it. It is no error
// where the cluster is gone already. Give it a context that an interrupt does not end.
func (c *Cluster) Delete(ctx context.Context) error {
	network, _, unread := c.claimed(ctx)
	if err := c.remove(ctx, 1); err != nil {
		return errors.Join(err, unread)
	}
	if network == "" {
		return unread
	}
	return c.removeNetwork(ctx, network)
}

// remove takes the containers away until none was seen calm times.
func (c *Cluster) remove(ctx context.Context, calm int) error {
	const tries = 10
	var last error
	for try, quiet := 0, 0; try < tries && quiet < calm; try++ {
		if try > 0 {
			if err := pause(ctx); err != nil {
				return errors.Join(err, last)
			}
		}
		left, err := c.own(ctx)
		if err == nil && len(left) == 0 {
			quiet++
			last = nil
			continue
		}
		quiet, last = 0, errors.Join(err, c.removeContainers(ctx))
	}
	if last != nil {
		return fmt.Errorf("the node %s is still there; remove it by `%s rm -f -v %s`: %w", c.node(), c.engine.name, c.node(), last)
	}
	return c.removeVolumes(ctx)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(retryAfter):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// removeContainers asks for it once; no container is no error.
func (c *Cluster) removeContainers(ctx context.Context) error {
	ids, err := c.own(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = c.engine.output(ctx, cleaningUp, append([]string{"rm", "-f", "-v"}, ids...)...)
	return err
}

// removeVolumes removes those that no container uses. On docker and nerdctl they go with their container; on podman kind
// makes them by themselves, labelled with the node's name.
func (c *Cluster) removeVolumes(ctx context.Context) error {
	if c.engine.name != "podman" {
		return nil
	}
	names, err := c.engine.lines(ctx, "volume", "ls", "-q", "--filter", "label="+c.node(), "--filter", "dangling=true")
	if err != nil || len(names) == 0 {
		return err
	}
	_, err = c.engine.output(ctx, quick, append([]string{"volume", "rm"}, names...)...)
	return err
}

// networkName is the one that kind puts its nodes into.
func (c *Cluster) networkName() string {
	variable := map[string]string{"docker": "KIND_EXPERIMENTAL_DOCKER_NETWORK", "podman": "KIND_EXPERIMENTAL_PODMAN_NETWORK"}[c.engine.name]
	if name := os.Getenv(variable); variable != "" && name != "" {
		return name
	}
	return "kind"
}

// networkID is the id of kind's network, or "" where there is none. The engine's filter finds parts of names, too.
func (c *Cluster) networkID(ctx context.Context) (string, error) {
	words, err := c.engine.lines(ctx, "network", "ls", "--no-trunc", "--filter", "name="+c.networkName(), "--format", "{{.ID}} {{.Name}}")
	if err != nil {
		return "", err
	}
	for i := 1; i < len(words); i += 2 {
		if words[i] == c.networkName() {
			return words[i-1], nil
		}
	}
	return "", nil
}

// claim notes in the node that it is umbra's, and the network where that was made for it.
func (c *Cluster) claim(ctx context.Context, makes bool) error {
	id := ""
	if makes {
		var err error
		if id, err = c.networkID(ctx); err != nil {
			return err
		}
	}
	_, err := c.inside(ctx, quick, "sh", "-c", `printf %s "$1" > "$2"`, "sh", id, claimFile)
	return err
}

// claimed reads the claim: the network that was made for the node, or "", and whether there is one at all. The node may
// be stopped, so nothing can be run in it.
func (c *Cluster) claimed(ctx context.Context) (network string, ours bool, err error) {
	archive, err := c.engine.output(ctx, quick, "cp", c.node()+":"+claimFile, "-")
	switch {
	case err == nil:
	case ctx.Err() == nil && noFile.MatchString(err.Error()):
		return "", false, nil
	default:
		return "", false, fmt.Errorf("asking the node %s who made it: %w", c.node(), err)
	}
	if network, err = onlyFile(archive); err != nil {
		return "", false, fmt.Errorf("%s of the node %s: %w", claimFile, c.node(), err)
	}
	return network, true, nil
}

// noFile is what docker, podman and nerdctl say of a file, or a container, that is not there.
var noFile = regexp.MustCompile(`(?i)no such (file|container)|could not find the file|could not be found|no container with name`)

// onlyFile is the text of a short file that came as tar.
func onlyFile(archive string) (string, error) {
	r := tar.NewReader(strings.NewReader(archive))
	if _, err := r.Next(); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, 256))
	return string(text), err
}

// removeNetwork removes a network of kind's that nobody uses. Containers that are stopped count: the engine would let
// the network go, and they could not start again.
func (c *Cluster) removeNetwork(ctx context.Context, id string) error {
	if now, err := c.networkID(ctx); err != nil || now != id {
		return err
	}
	users, err := c.engine.lines(ctx, "ps", "-a", "-q", "--filter", "network="+id)
	if err != nil || len(users) > 0 {
		return err
	}
	_, err = c.engine.output(ctx, quick, "network", "rm", id)
	return err
}
