package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A container that ended well is in no trouble where it is to end, and is where it is to go on.
func TestContainerState(t *testing.T) {
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}
	pod := func(policy corev1.RestartPolicy) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: policy}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: done}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: done, RestartCount: 2, LastTerminationState: done}}
		return p
	}
	for policy, says := range map[corev1.RestartPolicy]string{
		"":                            "exited 0 (Completed); 2 restarts, before: exited 0 (Completed)",
		corev1.RestartPolicyAlways:    "exited 0 (Completed); 2 restarts, before: exited 0 (Completed)",
		corev1.RestartPolicyOnFailure: "",
		corev1.RestartPolicyNever:     "",
	} {
		p := pod(policy)
		if got := containerState(p, p.Status.InitContainerStatuses[0]); got != "" {
			t.Errorf("policy %q: of the initialization: %q", policy, got)
		}
		if got := containerState(p, p.Status.ContainerStatuses[0]); got != says {
			t.Errorf("policy %q: %q, want %q", policy, got, says)
		}
		if all := strings.Join(podStates(p), "\n"); (says != "") != strings.Contains(all, "container app: exited 0") || strings.Contains(all, "container init") {
			t.Errorf("policy %q: %s", policy, all)
		}
	}
}
