package istio

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Images gives the distinct images that the objects' pods have, sorted. "auto" stands for the proxy that istiod puts in,
// which the pod's annotation names; where none does, it is left out.
func Images(objects []*Object) []string {
	var out []string
	for _, o := range objects {
		pod := podOf(o)
		if pod == nil {
			continue
		}
		auto, _, _ := unstructured.NestedString(pod, "metadata", "annotations", proxyImageAnnotation)
		for _, c := range slices.Concat(containersOf(pod, "initContainers"), containersOf(pod, "containers")) {
			image, _ := c["image"].(string)
			if image == "auto" {
				image = auto
			}
			if image != "" {
				out = append(out, image)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// podPaths are where the kinds that make pods keep their template (its metadata and spec).
var podPaths = map[string][]string{
	"Pod":                   {},
	"Deployment":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
}

// podOf gives the pod template in an object, nil where it makes no pods. It is part of the object, not a copy.
func podOf(o *Object) map[string]any {
	path, ok := podPaths[o.GetKind()]
	if !ok {
		return nil
	}
	pod, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	m, _ := pod.(map[string]any)
	return m
}

// containersOf gives the containers under a key of a pod's spec; they are part of it. What is no container is left out.
func containersOf(pod map[string]any, key string) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(pod, "spec", key)
	items, _ := list.([]any)
	var out []map[string]any
	for _, item := range items {
		if c, ok := item.(map[string]any); ok {
			out = append(out, c)
		}
	}
	return out
}
