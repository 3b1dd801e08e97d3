package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// readiness judges a live object by its status: "" where it is ready, else what is missing.
func readiness(o *Object) string {
	if o.GetDeletionTimestamp() != nil {
		return "it is being deleted"
	}
	switch o.GetKind() {
	case "Deployment":
		return deploymentReadiness(o)
	case "StatefulSet":
		return statefulSetReadiness(o)
	case "DaemonSet":
		return daemonSetReadiness(o)
	case "CustomResourceDefinition":
		return needs(o, "Established")
	case "Pod":
		if text(o, "status", "phase") == "Succeeded" {
			return ""
		}
		return needs(o, "Ready")
	case "Namespace":
		if phase := text(o, "status", "phase"); phase != "Active" {
			return fmt.Sprintf("its phase is %q, not Active", phase)
		}
	}
	return ""
}

func deploymentReadiness(o *Object) string {
	want := replicas(o)
	updated, total := number(o, "status", "updatedReplicas"), number(o, "status", "replicas")
	switch available := number(o, "status", "availableReplicas"); {
	case !observed(o):
		return "its controller has not seen it yet"
	case updated < want:
		return fmt.Sprintf("%d of %d replicas updated", updated, want)
	case total > updated:
		return fmt.Sprintf("%d old replicas still there", total-updated)
	case available < want:
		return fmt.Sprintf("%d of %d replicas available", available, want)
	}
	return ""
}

func statefulSetReadiness(o *Object) string {
	want := replicas(o)
	toUpdate := want - number(o, "spec", "updateStrategy", "rollingUpdate", "partition")
	if text(o, "spec", "updateStrategy", "type") == "OnDelete" {
		toUpdate = 0
	}
	updated := number(o, "status", "updatedReplicas")
	switch ready := number(o, "status", "readyReplicas"); {
	case !observed(o):
		return "its controller has not seen it yet"
	case updated < toUpdate:
		return fmt.Sprintf("%d of %d replicas updated", updated, toUpdate)
	case ready < want:
		return fmt.Sprintf("%d of %d replicas ready", ready, want)
	}
	return ""
}

func daemonSetReadiness(o *Object) string {
	want := number(o, "status", "desiredNumberScheduled")
	updated := number(o, "status", "updatedNumberScheduled")
	switch available := number(o, "status", "numberAvailable"); {
	case !observed(o):
		return "its controller has not seen it yet"
	case updated < want && text(o, "spec", "updateStrategy", "type") != "OnDelete":
		return fmt.Sprintf("%d of %d pods updated", updated, want)
	case available < want:
		return fmt.Sprintf("%d of %d pods available", available, want)
	}
	return ""
}

// observed says whether the status is of the newest spec. Without a status nothing was observed.
func observed(o *Object) bool {
	seen := number(o, "status", "observedGeneration")
	return seen > 0 && seen >= o.GetGeneration()
}

// replicas is how many are asked for, 1 by default.
func replicas(o *Object) int64 {
	if _, found, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas"); !found {
		return 1
	}
	return number(o, "spec", "replicas")
}

func needs(o *Object, condition string) string {
	for _, c := range conditions(o) {
		if c.kind == condition && c.status == "True" {
			return ""
		}
	}
	return "it is not " + condition
}

func number(o *Object, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, path...)
	return n
}

func text(o *Object, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}
