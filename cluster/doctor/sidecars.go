package doctor

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const (
	injectKey = "sidecar.istio.io/inject"
	proxyName = "istio-proxy"
)

// checkSidecars finds pods behind mirrored hosts that have, or will get, no sidecar: the shadow's access log and every
// metric with reporter="destination" come from it.
func checkSidecars(f *facts) {
	workloads, pods := f.concerned()
	for _, p := range pods {
		if !slices.Contains(p.Containers, proxyName) && !f.ambient(p.Namespace) {
			f.found = append(f.found, Finding{Check: "sidecar-absent", Severity: Error, Object: "Pod " + p.Namespace + "/" + p.Name,
				Finding: "the pod has no sidecar: no metrics with reporter=\"destination\", no access log of mirrored requests", Evidence: fmt.Sprintf("its containers are %v", p.Containers),
				Remedy: "kubectl label namespace " + p.Namespace + " istio-injection=enabled, then kubectl -n " + p.Namespace + " rollout restart its Deployment"})
		}
	}
	if f.in.Live != nil {
		return // the pods themselves tell
	}
	for _, w := range workloads {
		f.injection(w)
	}
}

func (f *facts) ambient(namespace string) bool {
	return f.namespaces[namespace]["istio.io/dataplane-mode"] == "ambient"
}

// injection follows the selectors of Istio's injection webhook: it looks at labels of the namespace and of the pod. The
// annotation can only switch injection off, or keep on what a label of the namespace switched on.
func (f *facts) injection(w workload) {
	ns, declared := f.namespaces[w.Namespace]
	label, annotation := w.labels[injectKey], w.annotations[injectKey]
	_, revision := ns["istio.io/rev"]
	_, podRevision := w.labels["istio.io/rev"]
	off := func(s Severity, path []any, evidence, remedy string) {
		f.add("sidecar-absent", s, w.object, append(slices.Clone(w.at), path...), "the pods of "+w.ID()+" get no sidecar: no metrics with reporter=\"destination\", no access log of mirrored requests", evidence, remedy)
	}
	switch {
	case f.ambient(w.Namespace) || slices.ContainsFunc(w.spec.Containers, isProxy) || slices.ContainsFunc(w.spec.InitContainers, isProxy):
	case label == "false":
		off(Error, []any{"labels", injectKey}, "its label "+injectKey+` is "false"`, `make the label "true"`)
	case annotation == "false" && label == "":
		off(Error, []any{"annotations", injectKey}, "its annotation "+injectKey+` is "false"`, "remove the annotation")
	case w.spec.HostNetwork:
		off(Error, nil, "hostNetwork is true, and such pods are not injected", "remove hostNetwork")
	case ns["istio-injection"] == "disabled":
		off(Error, nil, "Namespace "+w.Namespace+" has istio-injection: disabled", "label the Namespace istio-injection: enabled")
	case label == "true" || revision || podRevision || ns["istio-injection"] == "enabled":
	case declared:
		off(Error, nil, "Namespace "+w.Namespace+" has no label istio-injection, and the pods have no label "+injectKey+annotationNote(annotation), "label the Namespace istio-injection: enabled")
	case annotation == "true":
		off(Info, []any{"annotations", injectKey}, "only an annotation asks for it, which the webhook does not see: the label of Namespace "+w.Namespace+", which is not among the files, decides",
			"label the Namespace istio-injection: enabled, or make "+injectKey+" a label of the pods")
	}
}

func annotationNote(annotation string) string {
	if annotation == "" {
		return ""
	}
	return " (an annotation alone is not seen)"
}

func isProxy(c corev1.Container) bool { return c.Name == proxyName }
