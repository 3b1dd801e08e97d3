// Package node keeps a kind cluster of one node: a container on the engine of this machine (docker, podman or
// nerdctl) in which Kubernetes runs, and the images in it.
//
// What Create made, Delete takes away without a trace; a Create that fails or is interrupted has done so itself when
// it returns. No file of the user's is read or written, in particular no kubeconfig.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/cluster"
)

// What can be wrong with the machine or the settings. Errors of this package wrap one of these where it applies, and
// say what to do.
var (
	ErrNoEngine = errors.New("no container engine")
	ErrImage    = errors.New("the node image cannot be had")
	ErrPort     = errors.New("the host port is in use")
	ErrExists   = errors.New("a cluster of this name exists")
	ErrSpace    = errors.New("no space left for the node")
	ErrName     = errors.New("not a name for a cluster")
)

// Defaults of Settings.
const (
	DefaultName     = "umbra"
	DefaultImage    = defaults.Image // of the kind release that is compiled in
	DefaultNodePort = 30080
)

// apiPort is where the API server listens inside the node, as kind has it.
const apiPort = 6443

// Settings of a cluster; the zero value takes defaults.
type Settings struct {
	Name     string                           // lower-case letters, digits, dots and hyphens; by default DefaultName
	Image    string                           // the node image; by default kind's own
	HostPort int                              // on 127.0.0.1; 0 takes a free one
	NodePort int32                            // the node's port that HostPort leads to; by default DefaultNodePort
	Log      func(format string, args ...any) // gets the steps, a line each without its end; nil drops them
}

func (s Settings) withDefaults() Settings {
	if s.Name == "" {
		s.Name = DefaultName
	}
	if s.Image == "" {
		s.Image = DefaultImage
	}
	if s.NodePort == 0 {
		s.NodePort = DefaultNodePort
	}
	if s.Log == nil {
		s.Log = func(string, ...any) {}
	}
	return s
}

// Cluster is a kind cluster on this machine's engine. Its methods can be called from several goroutines.
type Cluster struct {
	name     string
	nodePort int32
	apiPort  int // on this machine, chosen by Create and none else's; 0 where the cluster was found
	engine   *engine
	kind     *cluster.Provider
}

func newCluster(e *engine, s Settings) *Cluster {
	return &Cluster{
		name: s.Name, nodePort: s.NodePort, engine: e,
		kind: cluster.NewProvider(e.provider(), cluster.ProviderWithLogger(stepLogger{s.Log})),
	}
}

// Find gives the cluster of a name, whether its node runs or was stopped (see Running); nil where there is none.
// Without an engine the error is ErrNoEngine.
func Find(ctx context.Context, name string) (*Cluster, error) {
	s := Settings{Name: name}.withDefaults()
	e, err := findEngine(ctx)
	if err != nil {
		return nil, err
	}
	c := newCluster(e, s)
	containers, err := c.containers(ctx)
	if err != nil || len(containers) == 0 {
		return nil, err
	}
	return c, nil
}

// Name is the cluster's, as `kind get clusters` lists it.
func (c *Cluster) Name() string { return c.name }

// node is the name of the container, which kind derives from the cluster's.
func (c *Cluster) node() string { return c.name + "-control-plane" }

// containers are the ids of the cluster's containers, stopped ones too.
func (c *Cluster) containers(ctx context.Context) ([]string, error) {
	return c.engine.lines(ctx, "ps", "-a", "-q", "--filter", "label=io.x-k8s.kind.cluster="+c.name)
}

// own are those of containers that this Cluster made; where it was found, all. Another program may have made its node
// between our look and kind's: it has another port for its API server.
func (c *Cluster) own(ctx context.Context) ([]string, error) {
	all, err := c.containers(ctx)
	if err != nil || c.apiPort == 0 {
		return all, err
	}
	var own []string
	for _, id := range all {
		bindings, err := c.engine.output(ctx, quick, "inspect", "-f", "{{json .HostConfig.PortBindings}}", id)
		if err != nil {
			if noObject.MatchString(err.Error()) { // gone since
				continue
			}
			return nil, err
		}
		// nerdctl before 2.1 does not tell bindings.
		if c.engine.name == "nerdctl" && bindings == "null" || publishes(bindings, c.apiPort) {
			own = append(own, id)
		}
	}
	return own, nil
}

var noObject = regexp.MustCompile(`(?i)no such (object|container)`)

// publishes tells from HostConfig.PortBindings whether the API server's port leads to a port of this machine.
func publishes(bindings string, port int) bool {
	var in map[string][]struct{ HostPort string }
	if json.Unmarshal([]byte(bindings), &in) != nil {
		return false
	}
	for _, b := range in[strconv.Itoa(apiPort)+"/tcp"] {
		if b.HostPort == strconv.Itoa(port) {
			return true
		}
	}
	return false
}

// Running tells whether the node's container runs; after a restart of the machine it may not.
func (c *Cluster) Running(ctx context.Context) (bool, error) {
	out, err := c.engine.output(ctx, quick, "inspect", "-f", "{{.State.Running}}", c.node())
	return out == "true", err
}

// Kubeconfig is the administrator's, for the API server's port on this machine.
func (c *Cluster) Kubeconfig(ctx context.Context) ([]byte, error) {
	type answer struct {
		config string
		err    error
	}
	answers := make(chan answer, 1) // kind's own commands know no context: they end by themselves, or never with a dead engine
	go func() {
		config, err := c.kind.KubeConfig(c.name, false)
		answers <- answer{config, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("kubeconfig of the cluster %s: %w (a node that was stopped or never finished: delete the cluster and make it again)", c.name, kindError(a.err))
		}
		return []byte(a.config), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(quick):
		return nil, fmt.Errorf("kubeconfig of the cluster %s: %s did not answer within %s", c.name, c.engine.name, quick)
	}
}

// Address is where the node port is reached from this machine: 127.0.0.1:PORT. It may change when the engine
// restarts the node.
func (c *Cluster) Address(ctx context.Context) (string, error) {
	out, err := c.engine.output(ctx, quick, "port", c.node())
	if err != nil {
		return "", err
	}
	address, err := mapped(out, c.nodePort)
	if err != nil {
		return "", fmt.Errorf("cluster %s: %w", c.name, err)
	}
	return address, nil
}

// mapped finds where a node port leads to in what `docker port` writes: lines like "30080/tcp -> 127.0.0.1:30080".
// A cluster that was made with another node port has one port besides the API server's.
func mapped(table string, nodePort int32) (string, error) {
	var others []string
	for line := range strings.Lines(table) {
		inside, outside, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		port, protocol, _ := strings.Cut(inside, "/")
		if !ok || protocol != "tcp" || port == strconv.Itoa(apiPort) {
			continue
		}
		address, err := loopback(outside)
		if err != nil {
			return "", err
		}
		if port == strconv.Itoa(int(nodePort)) {
			return address, nil
		}
		others = append(others, address)
	}
	if len(others) == 1 {
		return others[0], nil
	}
	return "", fmt.Errorf("node port %d is not mapped to this machine (%d other ports are); delete the cluster and make it again", nodePort, len(others))
}

// loopback is an address to connect to from one that is listened on.
func loopback(listened string) (string, error) {
	host, port, err := net.SplitHostPort(listened)
	if err != nil {
		return "", fmt.Errorf("port mapping %q: %w", listened, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Arch is the node's architecture in Go's words: amd64, arm64, ….
func (c *Cluster) Arch(ctx context.Context) (string, error) {
	machine, err := c.inside(ctx, quick, "uname", "-m")
	if err != nil {
		return "", err
	}
	if arch, ok := arches[machine]; ok {
		return arch, nil
	}
	return "", fmt.Errorf("node %s: unknown architecture %q", c.node(), machine)
}

// arches are Go's words for what uname says.
var arches = map[string]string{
	"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64",
}

// Image is the image that the node was made of.
func (c *Cluster) Image(ctx context.Context) (string, error) {
	out, err := c.engine.output(ctx, quick, "inspect", "-f", "{{.Config.Image}}", c.node())
	return strings.TrimSpace(out), err
}

// inside runs a command in the node and gives what it wrote.
func (c *Cluster) inside(ctx context.Context, within time.Duration, args ...string) (string, error) {
	return c.engine.output(ctx, within, append([]string{"exec", c.node()}, args...)...)
}
