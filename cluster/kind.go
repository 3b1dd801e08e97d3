package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/cluster/internal/node"
	"umbra/internal/diag"
	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// Kind is a kind cluster on the local engine with Istio and the apps in it, made from nothing or used again. It is for one run.
type Kind struct {
	Settings Settings
	Step     func(name string, took time.Duration) // a step has ended; calls are serialised. nil: nobody asks
	Log      func(format string, args ...any)      // what kind says, and what could not be done; nil drops it

	node  *node.Cluster
	made  bool // by us
	mu    sync.Mutex
	steps []evidence.Step
}

// nodePort is the node's port of the gateway, which a port on 127.0.0.1 is mapped to.
const nodePort = 30080

// Up makes the cluster, or takes the one that stands, and gives the mesh when it serves as the manifests say. Whether it fails or
// not, End is to be called afterwards.
func (k *Kind) Up(ctx context.Context, spec mesh.Spec) (mesh.Running, error) {
	if k.Log == nil {
		k.Log = func(string, ...any) {}
	}
	k.Settings = k.Settings.WithDefaults()
	p, err := k.plan(spec)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	client, err := k.cluster(ctx, p)
	if err != nil {
		return nil, advised(err, spec.Manifests)
	}
	m := &onKubernetes{spec: spec, client: client, deployed: p.deployed, wait: k.Settings.Wait, log: k.Log, steps: k.took, cpu: k.cpu}
	if err := k.deploy(ctx, m, p); err != nil {
		return nil, errors.Join(advised(err, spec.Manifests), m.Close())
	}
	k.step("mesh ready", time.Since(began))
	return m, nil
}

// End deletes the cluster where this made it, unless it is to be kept. It has its own bound, so that an interrupted run cleans up.
func (k *Kind) End(ctx context.Context, keep bool) error {
	if k.node == nil || !k.made || keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteIn)
	defer cancel()
	err := k.timed("cluster deleted", func() error { return k.node.Delete(ctx) })
	if err == nil {
		k.node = nil
	}
	return err
}

// Stands tells whether the cluster stands.
func (k *Kind) Stands() bool { return k.node != nil }

// deleteIn bounds the deletion of a cluster.
const deleteIn = 90 * time.Second

// kindPlan is what is known before anything is started.
type kindPlan struct {
	appImage string // its name in the node
	app      string // the program that it is made of; empty where an image was named
	istio    *istio.Installation
	digest   string // of all that is installed
	deployed *istio.Deployed
}

// plan checks everything at once, before anything is started. The error is diag.Faults: what is wrong is what was asked for.
func (k *Kind) plan(spec mesh.Spec) (*kindPlan, error) {
	p := &kindPlan{}
	var faults diag.Faults
	for _, err := range []error{onlyShadow(spec), plainPort(spec), p.findApp(k.Settings), p.install(k.Settings, spec)} {
		faults.Add("", err)
	}
	if len(faults) > 0 {
		return nil, faults.Err()
	}
	var err error
	if p.deployed, err = istio.Deploy(spec.Manifests, spec.Table, spec.Workloads, p.appImage); err != nil {
		return nil, err
	}
	return p, p.injected()
}

// injectedBy is an annotation of pods: the control plane that gave them their sidecars.
const injectedBy = "umbra/injected-by"

// injected has the gateway's and the apps' pods made anew when the control plane is another, which their sidecars come from.
func (p *kindPlan) injected() error {
	by, err := digest(p.istio.Control)
	if err != nil {
		return err
	}
	for _, o := range slices.Concat(p.istio.Gateway, p.deployed.Objects) {
		if kind := o.GetKind(); kind != "Deployment" && kind != "StatefulSet" {
			continue
		}
		if err := unstructured.SetNestedField(o.Object, by, "spec", "template", "metadata", "annotations", injectedBy); err != nil {
			return fmt.Errorf("%s: %w", kube.Name(o), err)
		}
	}
	p.deployed.Changes = append(p.deployed.Changes, fmt.Sprintf("the pods of every Deployment and StatefulSet get the annotation %s: %s, so that another installation of Istio's gives them its sidecars", injectedBy, by))
	return nil
}

// digest tells objects apart by what they say.
func digest(objects []*kube.Object) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, o := range objects {
		if err := enc.Encode(o.Object); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func (p *kindPlan) findApp(s Settings) (err error) {
	if s.AppImage != "" {
		p.appImage = s.AppImage
		return nil
	}
	if p.app, err = node.AppBinary(s.AppBinary, runtime.GOARCH); err != nil {
		return err
	}
	p.appImage, err = node.AppTag(p.app)
	return err
}

// install renders Istio's charts.
func (p *kindPlan) install(s Settings, spec mesh.Spec) error {
	var values map[string]any
	if s.Values != "" {
		data, err := os.ReadFile(s.Values)
		if err != nil {
			return fmt.Errorf("values for Istio (UMBRA_ISTIO_VALUES): %w", err)
		}
		if values, err = istio.Values(s.Values, data); err != nil {
			return err
		}
	}
	installation, err := istio.Render(istio.Settings{Hub: s.Hub, Tag: s.Tag, Values: values, ServicePort: spec.Port, NodePort: nodePort,
		GatewayPorts: gatewayPorts(spec.Table), AccessLog: s.AccessLog})
	if err != nil {
		return err
	}
	p.istio = installation
	p.digest, err = digest(slices.Concat(installation.Base, installation.Control, installation.Gateway))
	return err
}

func gatewayPorts(t *route.Table) (ports []uint32) {
	for _, s := range t.Servers() {
		ports = append(ports, s.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// cluster finds or makes the cluster, with the images in it and the control plane ready.
func (k *Kind) cluster(ctx context.Context, p *kindPlan) (client *kube.Client, err error) {
	if k.node, err = node.Find(ctx, k.Settings.Name); err != nil {
		return nil, err
	}
	if k.node != nil {
		return k.again(ctx, p)
	}
	k.made = true
	loading, stop := context.WithCancel(ctx)
	defer stop()
	images, ictx := errgroup.WithContext(loading)
	create := func() (err error) {
		k.node, err = node.Create(ctx, node.Settings{Name: k.Settings.Name, Image: k.Settings.NodeImage, HostPort: k.Settings.Port, NodePort: nodePort, Log: k.Log},
			func(c *node.Cluster) { k.load(ictx, images, c, p) })
		return err
	}
	if err := k.timed("cluster created", create); err != nil {
		stop()
		_ = images.Wait() // they failed as there is no node
		return nil, err
	}
	if client, err = connectTo(ctx, k.node); err == nil {
		err = k.timed("base applied", func() error { return k.apply(ctx, client, p.istio.Base) })
	}
	if err != nil {
		stop()
		_ = images.Wait()
		return nil, err
	}
	if err := images.Wait(); err != nil {
		return nil, err
	}
	return client, k.control(ctx, client, p)
}

// apply applies objects, within the time that each wait has.
func (k *Kind) apply(ctx context.Context, client *kube.Client, objects []*kube.Object) error {
	return bounded(ctx, k.Settings.Wait, "the API server to take all objects", func(ctx context.Context) error { return client.Apply(ctx, objects) })
}

// load begins to load the images that are not in the node.
func (k *Kind) load(ctx context.Context, group *errgroup.Group, c *node.Cluster, p *kindPlan) {
	group.Go(func() error {
		return k.timed("images loaded", func() error { return c.LoadFromEngine(ctx, k.Settings.LoadImages...) })
	})
	if p.app != "" {
		group.Go(func() error {
			return k.timed("app loaded", func() error { return loadApp(ctx, c, p) })
		})
	}
}

func loadApp(ctx context.Context, c *node.Cluster, p *kindPlan) error {
	if there, err := c.Has(ctx, p.appImage); there || err != nil {
		return err
	}
	var image bytes.Buffer
	if _, err := node.AppImage(p.app, &image); err != nil {
		return err
	}
	return c.Load(ctx, &image)
}

// again uses a cluster that stands: what it has already is left as it is.
func (k *Kind) again(ctx context.Context, p *kindPlan) (*kube.Client, error) {
	if err := ours(ctx, k.node); err != nil {
		k.node = nil // it is nobody's to keep or to delete here
		return nil, err
	}
	if runs, err := k.node.Running(ctx); err != nil || !runs {
		return nil, errors.Join(err, fmt.Errorf("cluster %s does not run: its node is stopped or was never finished; umbra down --on kind --name %s removes it", k.Settings.Name, k.Settings.Name))
	}
	client, installed, err := k.standing(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster %s does not answer; umbra down --on kind --name %s removes it: %w", k.Settings.Name, k.Settings.Name, err)
	}
	if err := k.samePort(ctx); err != nil {
		return nil, err
	}
	images, ictx := errgroup.WithContext(ctx)
	k.load(ictx, images, k.node, p)
	if installed == p.digest {
		return client, images.Wait()
	}
	// From here until everything serves it is neither the one installation nor the other: a run that comes after one that failed
	// in between has to install its own.
	err = bounded(ctx, answerIn, "the API server", func(ctx context.Context) error { return client.Delete(ctx, []*kube.Object{installedAs("")}) })
	if err == nil {
		err = k.apply(ctx, client, p.istio.Base)
	}
	if err = errors.Join(err, images.Wait()); err != nil {
		return nil, err
	}
	return client, k.control(ctx, client, p)
}

// standing connects to a cluster that is said to stand, and tells what is installed in it.
func (k *Kind) standing(ctx context.Context) (*kube.Client, string, error) {
	client, err := connectTo(ctx, k.node)
	if err != nil {
		return nil, "", err
	}
	installed, err := installedDigest(ctx, client)
	return client, installed, err
}

// samePort refuses a port that the cluster, whose ports are fixed when it is made, does not have.
func (k *Kind) samePort(ctx context.Context) error {
	if k.Settings.Port == 0 {
		return nil
	}
	address, err := k.node.Address(ctx)
	if err != nil {
		return err
	}
	if _, port, _ := net.SplitHostPort(address); port != strconv.Itoa(k.Settings.Port) {
		return fmt.Errorf("cluster %s stands with its gateway at port %s, and --gateway-port asks for %d: leave it out, or remove the cluster by umbra down --on kind --name %s",
			k.Settings.Name, port, k.Settings.Port, k.Settings.Name)
	}
	return nil
}

// control applies the control plane and waits for it: who comes later is injected by it.
func (k *Kind) control(ctx context.Context, client *kube.Client, p *kindPlan) error {
	return k.timed("istiod ready", func() error {
		if err := k.apply(ctx, client, p.istio.Control); err != nil {
			return err
		}
		return client.Wait(ctx, k.Settings.Wait, p.istio.Control...)
	})
}

// deploy applies the gateway and the manifests, takes away what an earlier run had applied, and waits for all of it.
func (k *Kind) deploy(ctx context.Context, m *onKubernetes, p *kindPlan) (err error) {
	all := slices.Concat(p.istio.Gateway, p.deployed.Objects)
	err = k.timed("gateway and apps ready", func() error {
		if err := k.apply(ctx, m.client, all); err != nil {
			return err
		}
		if err := k.prune(ctx, m.client, slices.Concat(p.istio.Base, p.istio.Control, all)); err != nil {
			return err
		}
		return m.client.Wait(ctx, k.Settings.Wait, all...)
	})
	if err != nil {
		return err
	}
	if m.address, err = k.node.Address(ctx); err != nil {
		return err
	}
	m.facts = evidence.ClusterFacts{Istio: k.Settings.Tag, Reused: !k.made}
	if m.facts.Node, err = k.node.Image(ctx); err != nil {
		return err
	}
	if m.facts.Kubernetes, err = m.client.Version(ctx); err != nil {
		return err
	}
	if err := k.timed("configured as the manifests say", func() error { return m.serve(ctx) }); err != nil {
		return err
	}
	return k.apply(ctx, m.client, []*kube.Object{installedAs(p.digest)})
}

// prune deletes what an earlier run had applied to a cluster that stood, and this one has not.
func (k *Kind) prune(ctx context.Context, client *kube.Client, keep []*kube.Object) error {
	if k.made {
		return nil
	}
	return bounded(ctx, k.Settings.Wait, "an earlier run's objects to be deleted", func(ctx context.Context) error {
		_, err := client.Prune(ctx, append(keep, installedAs("")))
		return err
	})
}

// cpu asks the node's kernel.
func (k *Kind) cpu(ctx context.Context, pods []corev1.Pod) (map[string]map[string]mesh.CPU, error) {
	used, err := k.node.CPU(ctx)
	if err != nil {
		return nil, err
	}
	at, all := time.Now(), map[string]map[string]mesh.CPU{}
	for i := range pods {
		one := map[string]mesh.CPU{}
		for _, c := range containers(&pods[i]) {
			_, id, _ := strings.Cut(c.ContainerID, "://")
			if seconds, known := used[id]; known {
				one[c.Name] = mesh.CPU{Seconds: seconds, At: at}
			}
		}
		all[pods[i].Namespace+"/"+pods[i].Name] = one
	}
	return all, nil
}

// The mark of what is installed in a cluster of umbra's.
const (
	markNamespace = "istio-system"
	markName      = "umbra"
	markKey       = "installation"
)

func installedAs(digest string) *kube.Object {
	o := &kube.Object{Object: map[string]any{"data": map[string]any{markKey: digest}}}
	o.SetAPIVersion("v1")
	o.SetKind("ConfigMap")
	o.SetNamespace(markNamespace)
	o.SetName(markName)
	return o
}

func installedDigest(ctx context.Context, client *kube.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	live, err := client.Get(ctx, installedAs(""))
	if err != nil || live == nil {
		return "", err
	}
	data, _ := live.Object["data"].(map[string]any)
	digest, _ := data[markKey].(string)
	return digest, nil
}

// answerIn bounds the first question to a cluster that is said to stand.
const answerIn = 10 * time.Second

// timed plays a step and tells how long it took.
func (k *Kind) timed(name string, do func() error) error {
	began := time.Now()
	err := do()
	if err != nil {
		return err
	}
	k.step(name, time.Since(began))
	return nil
}

func (k *Kind) step(name string, took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps = append(k.steps, evidence.Step{Name: name, Took: took})
	if k.Step != nil {
		k.Step(name, took)
	}
}

func (k *Kind) took() []evidence.Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.steps)
}

// onlyShadow refuses the faults that a real mesh cannot be told.
func onlyShadow(spec mesh.Spec) error {
	faults := spec.Faults
	faults.Shadow = ""
	if faults != (mesh.Faults{}) {
		return errors.New("only the embedded mesh can be told to misbehave in other ways than --shadow")
	}
	return nil
}

// plainPort refuses a run through a server that speaks TLS, for which a real gateway needs certificates that umbra does not have.
func plainPort(spec mesh.Spec) error {
	for _, s := range spec.Table.Servers() {
		if s.Port == spec.Port && s.TLS {
			return diag.Faults{{File: s.File, Line: s.Line, Msg: fmt.Sprintf("the Gateway's server at port %d terminates TLS, for which umbra has no certificates: "+
				"add an HTTP server, and name its port in mesh.port", s.Port)}}
		}
	}
	return nil
}
