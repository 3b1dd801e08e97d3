package istio

import (
	"slices"
	"strings"
)

// injection is the label by which istiod puts sidecars into a namespace's pods.
const injection = "istio-injection"

// addNamespaces adds, with injection on, the namespaces that the objects use and nobody declares. Those of the system
// are there, and must not get sidecars.
func (d *deployment) addNamespaces() {
	var declared []string
	for _, o := range d.namespaces {
		declared = append(declared, o.GetName())
	}
	for _, o := range slices.Concat(d.users, d.added) {
		name := o.GetNamespace()
		if name == "" || isSystem(name) || clusterScoped(o) || slices.Contains(declared, name) {
			continue
		}
		declared = append(declared, name)
		ns := newObject("v1", "Namespace", "", name)
		ns.SetLabels(map[string]string{injection: "enabled"})
		d.namespaces = append(d.namespaces, ns)
		if name == "default" {
			d.change("Namespace default: gets the label %s: enabled", injection)
		} else {
			d.change("Namespace %s: added, with the label %s: enabled", name, injection)
		}
	}
}

func isSystem(namespace string) bool {
	return namespace == Namespace || strings.HasPrefix(namespace, "kube-")
}

// namespacedKinds are kinds that are known to live in a namespace, by API group. Others without a namespace go to the
// API server as they are written.
var namespacedKinds = map[string][]string{
	"":                          {"ConfigMap", "Endpoints", "Event", "LimitRange", "PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Secret", "Service", "ServiceAccount"},
	"apps":                      {"ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"},
	"autoscaling":               {"HorizontalPodAutoscaler"},
	"batch":                     {"CronJob", "Job"},
	"coordination.k8s.io":       {"Lease"},
	"discovery.k8s.io":          {"EndpointSlice"},
	"extensions.istio.io":       {"WasmPlugin"},
	"gateway.networking.k8s.io": {"Gateway", "GRPCRoute", "HTTPRoute", "ReferenceGrant"},
	"monitoring.coreos.com":     {"PodMonitor", "Probe", "PrometheusRule", "ServiceMonitor"},
	"networking.istio.io":       {"DestinationRule", "EnvoyFilter", "Gateway", "ProxyConfig", "ServiceEntry", "Sidecar", "VirtualService", "WorkloadEntry", "WorkloadGroup"},
	"networking.k8s.io":         {"Ingress", "NetworkPolicy"},
	"policy":                    {"PodDisruptionBudget"},
	"rbac.authorization.k8s.io": {"Role", "RoleBinding"},
	"security.istio.io":         {"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"},
	"telemetry.istio.io":        {"Telemetry"},
}

// clusterKinds are kinds that are known to live in none; the API server drops a namespace that is written there.
var clusterKinds = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"gateway.networking.k8s.io":    {"GatewayClass"},
	"networking.k8s.io":            {"IngressClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "StorageClass"},
}

func namespaced(o *Object) bool    { return among(namespacedKinds, o) }
func clusterScoped(o *Object) bool { return among(clusterKinds, o) }

func among(kinds map[string][]string, o *Object) bool {
	gvk := o.GroupVersionKind()
	return slices.Contains(kinds[gvk.Group], gvk.Kind)
}
