package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"umbra/cluster"
	"umbra/scenarios"
)

// The meshes that a run can be on.
const (
	onEmbedded = "embedded"
	onKind     = "kind"
	onExisting = "existing"
)

// meshOptions are the flags that say which mesh, and where it comes from.
type meshOptions struct {
	on       string
	settings cluster.Settings
	flags    map[string][]string // the meshes that each flag is for
}

// add adds the flags. What the environment says is their default.
func (o *meshOptions) add(c *cobra.Command) {
	o.settings = cluster.FromEnvironment(os.Getenv)
	o.flags = map[string][]string{}
	s, f := &o.settings, c.Flags()
	f.StringVar(&o.on, "on", onEmbedded, "the mesh: embedded (in this process, on loopback), kind (a cluster on the local engine, with Istio) or existing (your own cluster)")
	f.DurationVar(&s.Wait, "wait", s.Wait, "how long each thing that is waited for may take to get ready")
	o.mark(f, []string{onKind, onExisting}, "wait")
	f.StringVar(&s.Name, "name", s.Name, "kind: the cluster's name")
	f.StringVar(&s.NodeImage, "node-image", s.NodeImage, "kind: the node's image (UMBRA_NODE_IMAGE)")
	f.StringVar(&s.Hub, "istio-hub", s.Hub, "kind: where Istio's images are (UMBRA_ISTIO_HUB)")
	f.StringVar(&s.Tag, "istio-tag", s.Tag, "kind: their tag (UMBRA_ISTIO_TAG)")
	f.StringVar(&s.Values, "istio-values", s.Values, "kind: a file of Helm values for istiod (UMBRA_ISTIO_VALUES)")
	f.StringSliceVar(&s.LoadImages, "load-image", s.LoadImages, "kind: images of the local engine to load into the node (UMBRA_LOAD_IMAGES)")
	f.IntVar(&s.Port, "gateway-port", 0, "kind: the gateway's port on 127.0.0.1; 0 takes a free one")
	f.StringVar(&s.AppBinary, "app-binary", s.AppBinary, "kind: the Linux program that the app's image is made of (UMBRA_APP_BINARY; default this one)")
	f.BoolVar(&s.AccessLog, "access-log", false, "kind: have the gateway write access logs, and keep them in the run's folder")
	o.mark(f, []string{onKind}, "name", "node-image", "istio-hub", "istio-tag", "istio-values", "load-image", "gateway-port", "app-binary", "access-log")
	f.StringVar(&s.AppImage, "app-image", s.AppImage, "kind, existing: an image of umbra's app, in place of one made of this program (UMBRA_APP_IMAGE)")
	o.mark(f, []string{onKind, onExisting}, "app-image")
	f.StringVar(&s.Kubeconfig, "kubeconfig", "", "existing: the kubeconfig (default as kubectl finds it)")
	f.StringVar(&s.Context, "context", "", "existing: the context in it (default the current one)")
	f.StringVar(&s.Gateway, "gateway", "", "existing: host:port of the ingress gateway (default a port-forward on loopback)")
	f.BoolVar(&s.Apply, "apply", false, "existing: apply the manifests, and put back what was there when it is over")
	o.mark(f, []string{onExisting}, "kubeconfig", "context", "gateway", "apply")
}

// mark says for which meshes flags are.
func (o *meshOptions) mark(f *pflag.FlagSet, meshes []string, names ...string) {
	for _, name := range names {
		if f.Lookup(name) == nil {
			panic("no flag " + name)
		}
		o.flags[name] = meshes
	}
}

// check refuses a mesh that there is not, and flags of another mesh.
func (o *meshOptions) check(c *cobra.Command, meshes ...string) error {
	if !slices.Contains(meshes, o.on) {
		return fmt.Errorf("--on %s: %s takes %s", o.on, c.Name(), strings.Join(meshes, ", "))
	}
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if of, marked := o.flags[f.Name]; marked && !slices.Contains(of, o.on) {
			err = fmt.Errorf("--%s is for --on %s, and the mesh is %s", f.Name, strings.Join(of, " and --on "), o.on)
		}
	})
	return err
}

// provided is a mesh, and what becomes of it when a run is over.
type provided interface {
	scenarios.Mesh
	// End takes away what Up made, unless it is to be kept.
	End(ctx context.Context, keep bool) error
	// Stands tells whether something stands that umbra down takes away.
	Stands() bool
}

// mesh gives the mesh that is asked for. say is told each step and how long it took, note what else there is to know.
func (o *meshOptions) mesh(say, note func(text string)) provided {
	step := func(name string, took time.Duration) { say(fmt.Sprintf("%s (%.1f s)", name, took.Seconds())) }
	log := func(format string, args ...any) { note(fmt.Sprintf(format, args...)) }
	switch o.on {
	case onKind:
		return &cluster.Kind{Settings: o.settings, Step: step, Log: log}
	case onExisting:
		return &cluster.Existing{Settings: o.settings, Step: step, Log: log}
	}
	return inProcess{cluster.Embedded{}}
}

// inProcess is the embedded mesh, which ends with its run.
type inProcess struct{ cluster.Embedded }

func (inProcess) End(context.Context, bool) error { return nil }
func (inProcess) Stands() bool                    { return false }
