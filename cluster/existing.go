package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/internal/diag"
	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/route"
)

// Existing is the user's own cluster, in which Istio and its gateway stand. Nothing in it is changed without Settings.Apply, and
// what was changed is put back by End.
type Existing struct {
	Settings Settings
	Step     func(name string, took time.Duration)
	Log      func(format string, args ...any)

	client  *kube.Client
	changed bool
}

// putBackIn is the namespace in which what was there before is remembered.
const putBackIn = "istio-system"

// Up gives the mesh when it serves as the manifests say. Whether it fails or not, End is to be called afterwards.
func (e *Existing) Up(ctx context.Context, spec mesh.Spec) (mesh.Running, error) {
	if e.Log == nil {
		e.Log = func(string, ...any) {}
	}
	e.Settings = e.Settings.WithDefaults()
	deployed, err := e.plan(spec)
	if err != nil {
		return nil, err
	}
	if e.client, err = e.Settings.connect(); err != nil {
		return nil, err
	}
	m := &onKubernetes{spec: spec, client: e.client, deployed: deployed, wait: e.Settings.Wait, restore: !e.Settings.Apply, log: e.Log, facts: evidence.ClusterFacts{Reused: true}, cpu: e.cpu}
	if m.facts.Kubernetes, err = e.client.Version(ctx); err != nil {
		return nil, fmt.Errorf("the cluster does not answer: %w", err)
	}
	if m.facts.Istio, err = istioVersion(ctx, e.client); err != nil {
		return nil, err
	}
	if err := e.deploy(ctx, m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// plan checks everything before the cluster is asked anything. The error is diag.Faults: what is wrong is what was asked for.
func (e *Existing) plan(spec mesh.Spec) (*istio.Deployed, error) {
	var faults diag.Faults
	faults.Add("", onlyShadow(spec))
	faults.Add("", plainPort(spec))
	if len(faults) > 0 {
		return nil, faults.Err()
	}
	deployed, err := istio.Deploy(spec.Manifests, spec.Table, spec.Workloads, or(e.Settings.AppImage, route.AppImage))
	if err != nil {
		return nil, err
	}
	if len(deployed.Apps) == 0 {
		faults.Addf("", 0, 0, "no Deployment of the manifests is umbra's own app (image umbra-app), so that nobody would write receipts: without them nothing can be reconciled")
		return nil, faults
	}
	if w := deployed.Apps[0].Workload; e.Settings.Apply && e.Settings.AppImage == "" {
		faults.Addf("", 0, 0, "the image of umbra's own app (Deployment %s/%s) has to be one that your cluster can pull: push one and name it with --app-image or UMBRA_APP_IMAGE", w.Namespace, w.Name)
		return nil, faults
	}
	return deployed, nil
}

// connect reads the kubeconfig.
func (s Settings) connect() (*kube.Client, error) {
	config, err := kube.Load(s.Kubeconfig, s.Context)
	if err != nil {
		return nil, err
	}
	return kube.Connect(config)
}

func (e *Existing) deploy(ctx context.Context, m *onKubernetes) error {
	if e.Settings.Apply {
		if err := e.apply(ctx, m); err != nil {
			return err
		}
	} else {
		m.deployed.Changes = nil
	}
	if err := e.reach(ctx, m); err != nil {
		return err
	}
	return m.serve(ctx)
}

func (e *Existing) apply(ctx context.Context, m *onKubernetes) error {
	began := time.Now()
	stood, err := e.client.Remembers(ctx, putBackIn)
	if err != nil {
		return err
	}
	e.changed = !stood // what umbra up applied is left to umbra down
	err = bounded(ctx, e.Settings.Wait, "the API server to take all objects", func(ctx context.Context) error {
		if err := e.client.Remember(ctx, putBackIn, m.deployed.Objects); err != nil {
			return err
		}
		return e.client.Apply(ctx, m.deployed.Objects)
	})
	if err != nil {
		return advised(err, m.spec.Manifests)
	}
	if err := e.client.Wait(ctx, e.Settings.Wait, m.deployed.Objects...); err != nil {
		return advised(err, m.spec.Manifests)
	}
	e.step("manifests applied and ready", time.Since(began))
	return nil
}

// reach gives the gateway's address: the one that is named, or a port on loopback that is forwarded to its pod.
func (e *Existing) reach(ctx context.Context, m *onKubernetes) error {
	if m.address = e.Settings.Gateway; m.address != "" {
		return nil
	}
	pods, err := e.client.Pods(ctx, "", gatewayLabels)
	if err != nil {
		return err
	}
	for i := range pods {
		if !ready(&pods[i]) {
			continue
		}
		port, err := e.targetPort(ctx, &pods[i], int32(m.spec.Port))
		if err != nil {
			return err
		}
		address, end, err := e.client.Forward(pods[i].Namespace, pods[i].Name, port).Relay(ctx)
		if err != nil {
			return err
		}
		m.address, m.closing = address, append(m.closing, end)
		e.Log("the gateway is reached through a port-forward, which adds to every latency: name its address with --gateway where that matters")
		return nil
	}
	return errors.New("no gateway is ready: no pod with the label istio=ingressgateway")
}

// targetPort is the port of a gateway's pod that its Service's port leads to: where istiod has it listen for that port.
func (e *Existing) targetPort(ctx context.Context, pod *corev1.Pod, port int32) (int, error) {
	services, err := e.client.List(ctx, "v1", "Service", pod.Namespace, nil)
	if err != nil {
		return 0, err
	}
	for _, o := range services {
		var s corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &s); err != nil {
			return 0, err
		}
		if len(s.Spec.Selector) == 0 || !has(pod.Labels, s.Spec.Selector) {
			continue
		}
		for _, p := range s.Spec.Ports {
			if p.Port == port {
				return podPort(pod, p)
			}
		}
	}
	return 0, fmt.Errorf("no Service of the gateway %s/%s has the port %d", pod.Namespace, pod.Name, port)
}

func podPort(pod *corev1.Pod, p corev1.ServicePort) (int, error) {
	switch {
	case p.TargetPort.Type == intstr.Int && p.TargetPort.IntVal != 0:
		return int(p.TargetPort.IntVal), nil
	case p.TargetPort.Type == intstr.Int:
		return int(p.Port), nil
	}
	for _, c := range pod.Spec.Containers {
		for _, named := range c.Ports {
			if named.Name == p.TargetPort.StrVal {
				return int(named.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("gateway %s/%s has no port named %s", pod.Namespace, pod.Name, p.TargetPort.StrVal)
}

// cpu asks the kubelets, whose figures are up to 20 s old and say how old.
func (e *Existing) cpu(ctx context.Context, _ []corev1.Pod) (map[string]map[string]mesh.CPU, error) {
	usages, err := e.client.Usages(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]mesh.CPU{}
	for _, u := range usages {
		pod := u.Namespace + "/" + u.Pod
		if all[pod] == nil {
			all[pod] = map[string]mesh.CPU{}
		}
		all[pod][u.Container] = mesh.CPU{Seconds: u.Seconds, At: u.Time}
	}
	return all, nil
}

// Stands tells whether what Up applied stands.
func (e *Existing) Stands() bool { return e.changed }

// End puts back what Up changed, unless it is to be kept.
func (e *Existing) End(ctx context.Context, keep bool) error {
	if !e.changed || keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteIn)
	defer cancel()
	began := time.Now()
	if _, err := e.client.PutBack(ctx, putBackIn); err != nil {
		return err
	}
	e.changed = false
	e.step("your objects put back", time.Since(began))
	return nil
}

func (e *Existing) step(name string, took time.Duration) {
	if e.Step != nil {
		e.Step(name, took)
	}
}
