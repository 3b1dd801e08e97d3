package route

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// networkingVersions are the versions of networking.istio.io that the three kinds are served in; their specs are one.
var networkingVersions = []string{"v1", "v1beta1", "v1alpha3"}

// typed decodes the kinds that routes are made of, and refuses those that change them in ways that a route cannot say.
// What is left is of no concern to a route, and is kept as it is.
func (l *loader) typed(d *document, dec *decoder) {
	group := groupOf(d.APIVersion)
	switch {
	case group == "networking.istio.io":
		l.networking(d, dec)
	case group == "security.istio.io" && d.Kind == "PeerAuthentication", group == "telemetry.istio.io" && d.Kind == "Telemetry":
		l.m.noted = append(l.m.noted, d)
	case changesRouting(group, d.Kind):
		l.refuse(d)
	default:
		l.kubernetes(d, dec)
	}
}

// changesRouting names the kinds that decide where requests go, and that neither Deployments, Services nor Istio's
// three routing kinds express.
func changesRouting(group, kind string) bool {
	switch {
	case group == "istio.io", strings.HasSuffix(group, ".istio.io"):
		return true
	case strings.HasSuffix(group, "gateway.networking.k8s.io"), group == "inference.networking.k8s.io":
		return true
	case group == "networking.k8s.io":
		return kind == "Ingress" || kind == "IngressClass"
	case group == "discovery.k8s.io":
		return kind == "EndpointSlice"
	}
	return group == "" && kind == "Endpoints"
}

func (l *loader) refuse(d *document) {
	at := d.place("kind")
	l.faults.Addf(d.File, at.line, at.col, "%s changes where requests go, and umbra's route model does not know its kind: "+
		"take it out of the manifests, or say what it does with a VirtualService, a DestinationRule and a Gateway", d.ID())
}

func (l *loader) networking(d *document, dec *decoder) {
	gw, vs, dr := &networking.Gateway{}, &networking.VirtualService{}, &networking.DestinationRule{}
	spec, ok := map[string]proto.Message{"Gateway": gw, "VirtualService": vs, "DestinationRule": dr}[d.Kind]
	if !ok {
		l.refuse(d)
		return
	}
	if version := strings.TrimPrefix(d.APIVersion, "networking.istio.io/"); !slices.Contains(networkingVersions, version) {
		at := d.place("apiVersion")
		l.faults.Addf(d.File, at.line, at.col, "%s has no version %s: write networking.istio.io/v1", d.Kind, version)
		return
	}
	if !l.spec(d, dec, spec) {
		return
	}
	switch d.Kind {
	case "Gateway":
		l.m.gateways = append(l.m.gateways, &resource[*networking.Gateway]{d, gw})
	case "VirtualService":
		l.m.virtualServices = append(l.m.virtualServices, &resource[*networking.VirtualService]{d, vs})
	case "DestinationRule":
		l.m.rules = append(l.m.rules, &resource[*networking.DestinationRule]{d, dr})
	}
}

// spec decodes the spec of one of Istio's kinds; a status is the cluster's and passed over.
func (l *loader) spec(d *document, dec *decoder, to proto.Message) bool {
	before := len(l.faults)
	for key, n := range pairs(d.root) {
		switch key.Value {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			dec.message(n, to.ProtoReflect(), "spec")
		default:
			dec.unknown(key, d.Kind, []string{"apiVersion", "kind", "metadata", "spec"})
		}
	}
	if child(d.root, "spec") == nil {
		l.faults.Addf(d.File, d.Line, d.root.Column, "%s has no spec", d.ID())
	}
	return len(l.faults) == before
}

func (l *loader) kubernetes(d *document, dec *decoder) {
	switch d.Kind {
	case "Deployment":
		var spec appsv1.Deployment
		if l.version(d, "apps/v1") && dec.into(d.root, &spec, d.Kind) && l.deployment(d, &spec) {
			l.m.deployments = append(l.m.deployments, &resource[*appsv1.Deployment]{d, &spec})
		}
	case "Service":
		var spec corev1.Service
		if groupOf(d.APIVersion) == "" && l.version(d, "v1") && dec.into(d.root, &spec, d.Kind) {
			l.m.services = append(l.m.services, &resource[*corev1.Service]{d, &spec})
		}
	case "Namespace":
		var spec corev1.Namespace
		if l.version(d, "v1") {
			dec.into(d.root, &spec, d.Kind)
		}
	case "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob":
		l.m.pods = append(l.m.pods, d)
	}
}

func (l *loader) version(d *document, want string) bool {
	if d.APIVersion == want {
		return true
	}
	at := d.place("apiVersion")
	l.faults.Addf(d.File, at.line, at.col, "a %s is of %s; this one says %s", d.Kind, want, d.APIVersion)
	return false
}

// deployment checks what the API server would and umbra relies on.
func (l *loader) deployment(d *document, spec *appsv1.Deployment) bool {
	before := len(l.faults)
	fault := func(at place, format string, args ...any) {
		l.faults.Addf(d.File, at.line, at.col, d.ID()+" "+format, args...)
	}
	labels := spec.Spec.Template.Labels
	switch sel := spec.Spec.Selector; {
	case sel == nil || len(sel.MatchLabels) == 0 && len(sel.MatchExpressions) == 0:
		fault(d.place("spec"), "has no spec.selector: give it matchLabels that its pods have")
	case !within(sel.MatchLabels, labels):
		fault(d.place("spec", "selector", "matchLabels"), "selects pods with labels that its template does not give them: make matchLabels part of spec.template.metadata.labels")
	}
	if len(spec.Spec.Template.Spec.Containers) == 0 {
		fault(d.place("spec", "template", "spec"), "has no containers: its pods need one")
	}
	if r := spec.Spec.Replicas; r != nil && *r < 0 {
		fault(d.place("spec", "replicas"), "has %d replicas: give a number from 0", *r)
	}
	return len(l.faults) == before
}

// within tells whether every label of selector is in labels.
func within(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
