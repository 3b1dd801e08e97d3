package istio

import (
	"errors"
	"fmt"
	"slices"

	"umbra/internal/diag"
	"umbra/internal/route"
)

// Deployed is what is applied for a scenario.
type Deployed struct {
	Objects []*Object // in order: namespaces first; the user's own as written; those that umbra added
	Changes []string  // every change to the user's manifests and every addition, a sentence each
	Apps    []App     // in the order of the workloads
}

// App is a workload whose containers are umbra's own app.
type App struct {
	Workload        route.Workload
	Port, AdminPort int32 // where the container serves, and where its receipts are
	Container       string
}

// Deploy makes of a scenario's manifests what is applied: the user's objects as they are but for the containers that
// are umbra's app, the namespaces that they use, and the Deployments and Services that routes lead to and nobody made.
// workloads are route.Workloads of the same manifests. The error is diag.Faults.
func Deploy(m *route.Manifests, t *route.Table, workloads []route.Workload, appImage string) (*Deployed, error) {
	if appImage == "" {
		return nil, errors.New("the app has no image: make one or name one")
	}
	d := &deployment{appImage: appImage, apps: map[string]App{}}
	for i := range m.Objects {
		d.user(&m.Objects[i])
	}
	for _, w := range workloads {
		if w.Added {
			d.addWorkload(w)
		}
	}
	for _, s := range t.AddedServices() {
		d.addService(s, workloads)
	}
	d.addNamespaces()
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	return &Deployed{
		Objects: slices.Concat(d.namespaces, d.users, d.added),
		Changes: d.changes,
		Apps:    d.appsOf(workloads),
	}, nil
}

// Applied gives objects of the user's that have no pods in the form in which Deploy gives them. The error is diag.Faults.
func Applied(objects []route.Object) ([]*Object, error) {
	d := &deployment{apps: map[string]App{}}
	for i := range objects {
		d.user(&objects[i])
	}
	return d.users, d.faults.Err()
}

// deployment is a Deployed in the making.
type deployment struct {
	appImage                 string
	namespaces, users, added []*Object
	changes                  []string
	apps                     map[string]App // by namespace/name of the Deployment
	faults                   diag.Faults
}

func (d *deployment) change(format string, args ...any) {
	d.changes = append(d.changes, fmt.Sprintf(format, args...))
}

// user takes over an object of the user's.
func (d *deployment) user(in *route.Object) {
	o, err := decode(in.Raw)
	if err != nil || o == nil {
		d.faults.Addf(in.File, in.Line, 0, "%s is no object that the API server would read: %v", in.ID(), err)
		return
	}
	if o.GetNamespace() == "" && namespaced(o) {
		o.SetNamespace(in.Namespace)
		d.change("%s: metadata.namespace, which is not written, is %s", in.ID(), in.Namespace)
	}
	d.checkMeta(in, o)
	if pod := podOf(o); pod != nil {
		d.pod(in, o, pod)
	}
	if o.GetKind() == "Namespace" && o.GroupVersionKind().Group == "" {
		d.namespaces = append(d.namespaces, o)
		return
	}
	d.users = append(d.users, o)
}

// serverFields are what the API server writes into metadata, and does not take from who applies.
var serverFields = []string{"managedFields", "resourceVersion", "uid"}

func (d *deployment) checkMeta(in *route.Object, o *Object) {
	meta, _ := o.Object["metadata"].(map[string]any)
	for _, field := range serverFields {
		if _, ok := meta[field]; ok {
			d.faults.Addf(in.File, in.Line, 0, "%s has metadata.%s, which only the API server writes: remove it", in.ID(), field)
		}
	}
}

// pod turns the containers of umbra's app in a user's pods into it.
func (d *deployment) pod(in *route.Object, o *Object, pod map[string]any) {
	for _, c := range containersOf(pod, "initContainers") {
		if isApp(c) {
			d.image(in.ID(), c)
		}
	}
	var app map[string]any
	for _, c := range containersOf(pod, "containers") {
		switch {
		case !isApp(c):
		case app != nil:
			d.faults.Addf(in.File, in.Line, 0, "%s has two containers of image %s in a pod, which would write the same receipts: keep one", in.ID(), route.AppImage)
			return
		default:
			app = c
		}
	}
	if app == nil {
		return
	}
	a, err := d.app(in.ID(), pod, app)
	if err != nil {
		d.faults.Addf(in.File, in.Line, 0, "%s: %v", in.ID(), err)
		return
	}
	if o.GetKind() == "Deployment" {
		d.apps[o.GetNamespace()+"/"+o.GetName()] = a
	}
}

// addWorkload adds a Deployment of umbra's app.
func (d *deployment) addWorkload(w route.Workload) {
	o := newObject("apps/v1", "Deployment", w.Namespace, w.Name)
	o.SetLabels(w.Labels)
	app := map[string]any{
		"name":           "app",
		"image":          w.Image,
		"ports":          []any{map[string]any{"name": "http", "containerPort": int64(w.Port)}},
		"resources":      small(),
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/health", "port": int64(w.Port)}, "periodSeconds": int64(1)},
	}
	pod := map[string]any{"metadata": map[string]any{"labels": labelsOf(w.Labels)}, "spec": map[string]any{"containers": []any{app}}}
	o.Object["spec"] = map[string]any{"replicas": int64(w.Replicas), "selector": map[string]any{"matchLabels": labelsOf(w.Labels)}, "template": pod}
	id := fmt.Sprintf("Deployment %s/%s", w.Namespace, w.Name)
	silent := &deployment{appImage: d.appImage} // what it is made of is told in one sentence
	a, err := silent.app(id, pod, app)
	if err != nil {
		d.faults.Addf("", 0, 0, "%s, which umbra adds: %v", id, err)
		return
	}
	d.apps[w.Namespace+"/"+w.Name] = a
	d.added = append(d.added, o)
	d.change("%s: added, with umbra's app %s, as routes lead to pods that no Deployment makes (%s)", id, d.appImage, labelText(w.Labels))
}

// addService adds a Service that routes lead to.
func (d *deployment) addService(s route.Service, workloads []route.Workload) {
	target, err := targetPort(s, workloads)
	if err != nil {
		d.faults.Addf("", 0, 0, "Service %s/%s, which umbra adds: %v", s.Namespace, s.Name, err)
		return
	}
	o := newObject("v1", "Service", s.Namespace, s.Name)
	var ports []any
	for _, n := range s.Ports {
		name := "http"
		if len(s.Ports) > 1 {
			name = fmt.Sprintf("http-%d", n)
		}
		ports = append(ports, map[string]any{"name": name, "port": int64(n), "targetPort": int64(target), "protocol": "TCP"})
	}
	o.Object["spec"] = map[string]any{"selector": labelsOf(s.Selector), "ports": ports}
	d.added = append(d.added, o)
	d.change("Service %s/%s: added, ports %v to %d of the pods with %s, as routes lead to it and the manifests have none", s.Namespace, s.Name, s.Ports, target, labelText(s.Selector))
}

// targetPort gives the one port on which all pods of a Service listen.
func targetPort(s route.Service, workloads []route.Workload) (uint32, error) {
	var first *route.Workload
	for i, w := range workloads {
		switch {
		case w.Namespace != s.Namespace || !within(s.Selector, w.Labels):
		case first == nil:
			first = &workloads[i]
		case first.Port != w.Port:
			return 0, fmt.Errorf("its pods listen on different ports, %s on %d and %s on %d: write the Service, or give them one port", first.Name, first.Port, w.Name, w.Port)
		}
	}
	if first == nil {
		return defaultPort, nil
	}
	return first.Port, nil
}

// appsOf gives the apps in the order of the workloads.
func (d *deployment) appsOf(workloads []route.Workload) []App {
	var out []App
	for _, w := range workloads {
		if a, ok := d.apps[w.Namespace+"/"+w.Name]; ok {
			a.Workload = w
			out = append(out, a)
		}
	}
	return out
}
