package doctor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gopkg.in/yaml.v3"
	kyaml "sigs.k8s.io/yaml"

	"umbra/internal/diag"
	"umbra/internal/route"
)

// facts is what the sources hold, decoded, and what has been found so far.
type facts struct {
	in    Input
	table *route.Table // nil where the manifests are too wrong for one

	objects         []*object // of every kind, those below among them
	others          []*object // documents that are no objects: dashboards, rule files, Helm values
	virtualServices []virtualService
	rules           []rule // by name
	gateways        []gateway
	services        []service
	workloads       []workload
	namespaces      map[string]map[string]string // their labels

	found []Finding
}

type (
	virtualService struct {
		*object
		spec *networking.VirtualService
	}
	rule struct {
		*object
		spec *networking.DestinationRule
	}
	gateway struct {
		*object
		spec *networking.Gateway
	}
	service struct {
		*object
		labels map[string]string
		spec   corev1.ServiceSpec
	}
	// workload is whatever makes pods.
	workload struct {
		*object
		labels, annotations map[string]string // of its pods
		spec                corev1.PodSpec
		replicas            int
		at                  []any // where its pods' metadata are
	}
)

// object is a document with its tree. It is nobody's but the examination's.
type object struct {
	route.Object
	root  *yaml.Node
	shift int  // to be added to a node's line
	exact bool // the nodes' lines are those of the file
}

// survey decodes the sources. What cannot be decoded becomes findings.
func survey(in Input) *facts {
	f := &facts{in: in, namespaces: map[string]map[string]string{}}
	text := map[string][]byte{}
	var manifests []route.Source
	for _, s := range in.Sources {
		if o := other(s); o != nil {
			f.others = append(f.others, o)
			continue
		}
		text[s.Name] = s.Data
		manifests = append(manifests, s)
	}
	m, err := route.Load(manifests...)
	for _, o := range m.Objects {
		f.object(o, text[o.File])
	}
	f.faults(err)
	slices.SortStableFunc(f.rules, func(a, b rule) int { return strings.Compare(a.Name, b.Name) })
	f.model(m)
	return f
}

// model builds the table of routes, and takes over what it says.
func (f *facts) model(m *route.Manifests) {
	table, err := route.NewTable(m)
	f.faults(err)
	if err != nil || table == nil {
		return
	}
	f.table = table
	for _, w := range table.Warnings() {
		switch {
		case told(w.Msg), strings.Contains(w.Msg, "goes to target port") && !f.mirroredService(f.objectAt(w.File, w.Line)):
		case strings.Contains(w.Msg, "none of its routes is"):
			f.fault("vs-not-bound", Error, w)
		default:
			f.fault("route-warning", Warning, w)
		}
	}
}

// mirroredService tells whether an object is a Service that a mirroring VirtualService leads to. Whether other ones lead to a port
// that their pods name is nothing to a mirror: a gateway's containers, for one, name none of those that istiod has them listen at.
func (f *facts) mirroredService(id string) bool {
	return slices.ContainsFunc(f.servicesOf(f.legs()), func(s *service) bool { return s.ID() == id })
}

// told tells whether a warning of the route model is one that a check here gives with more detail.
func told(warning string) bool {
	for _, s := range []string{"names no gateway", "which the manifests do not have", "share a host at a gateway",
		"deprecated setting \"mirrorPercent\"", "no DestinationRule defines", "no Service has the host", " has no port ", "no pod can have both"} {
		if strings.Contains(warning, s) {
			return true
		}
	}
	return false
}

// faults takes over the faults of package route.
func (f *facts) faults(err error) {
	var faults diag.Faults
	if !errors.As(err, &faults) && err != nil {
		faults = diag.Faults{{Msg: err.Error()}}
	}
	for _, x := range faults {
		switch {
		case strings.HasPrefix(x.Msg, "not valid YAML"):
			f.fault("not-yaml", Error, x)
		case strings.Contains(x.Msg, "route model does not know"), strings.Contains(x.Msg, "cannot be modelled"):
			f.fault("not-modelled", Info, x)
		default:
			f.fault("invalid", Error, x)
		}
	}
}

// usualRemedies are for messages of package route that end in none.
var usualRemedies = map[string]string{
	"not-yaml":      "correct the syntax at the line named",
	"invalid":       "correct the line named: the API server or istiod would not take the object",
	"not-modelled":  "see at the line named whether it changes where requests go",
	"route-warning": "change the line named, unless it is meant so",
	"vs-not-bound":  "make spec.hosts of the VirtualService and the hosts of a server of its Gateway share a name",
}

// fault adds a fault of package route, whose message ends in what to do.
func (f *facts) fault(id string, s Severity, x diag.Fault) {
	finding, remedy, ok := strings.Cut(x.Msg, "; ")
	if i := strings.LastIndex(finding, ": "); !ok && i > 0 && !strings.HasPrefix(finding, "istiod ") {
		finding, remedy = finding[:i], finding[i+2:]
	}
	remedy = cmp.Or(remedy, usualRemedies[id])
	f.found = append(f.found, Finding{Check: id, Severity: s, Object: f.objectAt(x.File, x.Line), File: x.File, Line: x.Line, Finding: finding, Remedy: remedy})
}

// objectAt names the object that a line is part of.
func (f *facts) objectAt(file string, line int) string {
	for _, o := range f.objects {
		begin := o.Line
		if o.exact {
			begin = 1 + o.shift
		}
		if o.File == file && begin <= line && line <= begin+bytes.Count(o.Raw, []byte("\n")) {
			return o.ID()
		}
	}
	return ""
}

// add adds a finding on an object, at the place that path leads to.
func (f *facts) add(id string, s Severity, o *object, path []any, finding, evidence, remedy string) {
	x := Finding{Check: id, Severity: s, Finding: finding, Evidence: evidence, Remedy: remedy}
	if o != nil {
		x.Object, x.File, x.Line = o.name(), o.File, o.line(path...)
	}
	f.found = append(f.found, x)
}

func (o *object) name() string {
	if o.Kind == "" {
		return ""
	}
	return o.ID()
}

// absent is the severity of something that the sources lack: it is certain in a cluster, and in files alone it may
// stand elsewhere.
func (f *facts) absent() Severity {
	if f.in.Live != nil {
		return Error
	}
	return Warning
}

// knownKeys are keys that tell what a document without apiVersion and kind is: a dashboard, as Grafana's export or its
// API has it; a rule file of Prometheus; values of Istio's charts.
var knownKeys = []string{"dashboard", "panels", "groups", "compatibilityVersion", "pilot", "meshConfig", "global", "proxy"}

// other gives a source that is one document but no object, nil for anything else.
func other(s route.Source) *object {
	root := parse(s.Data)
	if root == nil || child(root, "apiVersion") != nil || child(root, "kind") != nil {
		return nil
	}
	if !slices.ContainsFunc(knownKeys, func(k string) bool { return child(root, k) != nil }) {
		return nil
	}
	return &object{Object: route.Object{File: s.Name, Line: root.Line}, root: root, exact: true}
}

// parse gives the tree of the first document, nil where it is no mapping.
func parse(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	return doc.Content[0]
}

// object sorts an object by its kind. One that does not decode is left out: route.Load or validate tell why.
func (f *facts) object(in route.Object, file []byte) {
	o := &object{Object: in, root: parse(in.Raw), exact: bytes.Contains(file, in.Raw)}
	if o.root == nil {
		return
	}
	o.shift = in.Line - o.root.Line
	f.objects = append(f.objects, o)
	var body struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     json.RawMessage   `json:"spec"`
	}
	if kyaml.Unmarshal(in.Raw, &body) != nil {
		return
	}
	decodes := func(into any) bool { return len(body.Spec) > 0 && json.Unmarshal(body.Spec, into) == nil }
	switch group, _, _ := strings.Cut(in.APIVersion, "/"); {
	case group == "networking.istio.io":
		f.istio(o, decodes)
	case in.Kind == "Namespace":
		f.namespaces[in.Name] = body.Metadata.Labels
	case in.Kind == "Service" && in.APIVersion == "v1":
		s := service{object: o, labels: body.Metadata.Labels}
		if decodes(&s.spec) {
			f.services = append(f.services, s)
		}
	default:
		f.workload(o, body.Metadata, decodes)
	}
}

func (f *facts) istio(o *object, decodes func(any) bool) {
	switch o.Kind {
	case "VirtualService":
		if vs := (virtualService{o, &networking.VirtualService{}}); decodes(vs.spec) {
			f.virtualServices = append(f.virtualServices, vs)
		}
	case "DestinationRule":
		if dr := (rule{o, &networking.DestinationRule{}}); decodes(dr.spec) {
			f.rules = append(f.rules, dr)
		}
	case "Gateway":
		if g := (gateway{o, &networking.Gateway{}}); decodes(g.spec) {
			f.gateways = append(f.gateways, g)
		}
	}
}

func (f *facts) workload(o *object, meta metav1.ObjectMeta, decodes func(any) bool) {
	w := workload{object: o, replicas: 1}
	switch o.Kind {
	case "Pod":
		w.labels, w.annotations, w.at = meta.Labels, meta.Annotations, []any{"metadata"}
		if !decodes(&w.spec) {
			return
		}
	case "Deployment", "StatefulSet", "DaemonSet":
		var spec struct {
			Replicas *int                   `json:"replicas"`
			Template corev1.PodTemplateSpec `json:"template"`
		}
		if !decodes(&spec) {
			return
		}
		w.labels, w.annotations, w.spec = spec.Template.Labels, spec.Template.Annotations, spec.Template.Spec
		w.at = []any{"spec", "template", "metadata"}
		if spec.Replicas != nil {
			w.replicas = *spec.Replicas
		}
	default:
		return
	}
	f.workloads = append(f.workloads, w)
}

// line gives the line of the node that path leads to, or of the last one that is there.
func (o *object) line(path ...any) int {
	if !o.exact {
		return o.Line
	}
	n, line := o.root, o.root.Line
	for _, step := range path {
		switch s := step.(type) {
		case string:
			key, value := entry(n, s)
			if key == nil {
				return line + o.shift
			}
			n, line = value, key.Line
		case int:
			if n.Kind != yaml.SequenceNode || s >= len(n.Content) {
				return line + o.shift
			}
			n, line = n.Content[s], n.Content[s].Line
		}
	}
	return line + o.shift
}

func entry(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

func child(n *yaml.Node, path ...string) *yaml.Node {
	for _, name := range path {
		_, n = entry(n, name)
	}
	return n
}

// scalars calls visit for each mapping entry of a tree whose value is a scalar. It follows no alias, so that its work
// is bounded by the text.
func scalars(n *yaml.Node, visit func(in, key, value *yaml.Node)) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; v.Kind == yaml.ScalarNode {
				visit(n, n.Content[i], v)
			}
		}
	}
	for _, c := range n.Content {
		scalars(c, visit)
	}
}
