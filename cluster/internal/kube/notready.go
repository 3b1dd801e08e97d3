package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Bounds of what a NotReady says of one object.
const (
	maxPods      = 3
	maxEvents    = 5
	maxLogs      = 2 // containers
	logLines     = 10
	logBytes     = 4096
	maxLine      = 300
	maxUnready   = 5 // objects with details
	replicaSetAV = "apps/v1"
)

// NotReady is what a wait ended with.
type NotReady struct {
	Waited  time.Duration
	Early   string // why it ended before its time, "" where it didn't
	Objects []Unready
}

// Unready is an object that is not ready and what is known of why, each a line without an end.
type Unready struct {
	Object     *Object
	Why        string   // what is missing
	Conditions []string // those of its status that are not as they should be
	Pods       []string // the states of pods that are not ready
	Events     []string // the last ones of it and of its pods, warnings if there are any
	Logs       []Log
}

// Log is the end of the log of a container that fails.
type Log struct {
	Pod, Container string
	Lines          []string
}

func (e *NotReady) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "not ready after %v", e.Waited.Round(100*time.Millisecond))
	if e.Early != "" {
		b.WriteString(": " + e.Early)
	}
	for i, u := range e.Objects {
		if i == maxUnready {
			fmt.Fprintf(&b, "\n… and %d more", len(e.Objects)-maxUnready)
			break
		}
		u.render(&b)
	}
	return b.String()
}

func (u *Unready) render(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %s", Name(u.Object), clip(u.Why, maxLine))
	for _, lines := range [][]string{u.Conditions, u.Pods, u.Events} {
		for _, l := range lines {
			b.WriteString("\n  " + l)
		}
	}
	for _, l := range u.Logs {
		fmt.Fprintf(b, "\n  last lines of container %s of pod %s:", l.Container, l.Pod)
		for _, line := range l.Lines {
			b.WriteString("\n    " + line)
		}
	}
}

// account gathers what is known, within accountTime even where ctx's own time is up.
func (c *Client) account(ctx context.Context, waited time.Duration, early *errHopeless, left []*waiting) *NotReady {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), accountTime)
	defer cancel()
	e := &NotReady{Waited: waited}
	if early != nil {
		e.Early = early.why
	}
	for i, w := range left {
		live, why := w.state()
		u := Unready{Object: w.object, Why: why}
		if live != nil && i < maxUnready {
			c.explain(ctx, live, &u)
		}
		e.Objects = append(e.Objects, u)
	}
	return e
}

// explain adds to u what the cluster tells. What can't be read is left out: the wait's own error comes first.
func (c *Client) explain(ctx context.Context, live *Object, u *Unready) {
	u.Conditions = faults(live)
	pods, err := c.podsOf(ctx, live)
	if err != nil {
		return
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return podReady(&p) })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	pods = pods[:min(len(pods), maxPods)]
	about := []string{live.GetName()}
	for i := range pods {
		u.Pods = append(u.Pods, podStates(&pods[i])...)
		u.Logs = append(u.Logs, c.failing(ctx, &pods[i], maxLogs-len(u.Logs))...)
		about = append(about, pods[i].Name)
	}
	u.Events = c.lastEvents(ctx, namespaceOf(live), append(about, c.replicaSets(ctx, live)...))
}

// faults gives the conditions that say that something is wrong: failures that are True, all else that is not.
func faults(o *Object) []string {
	var all []string
	for _, c := range conditions(o) {
		bad := strings.Contains(c.kind, "Failure") || strings.Contains(c.kind, "Pressure")
		if (c.status == "True") != bad {
			continue
		}
		all = append(all, clip(fmt.Sprintf("condition %s is %s: %s: %s", c.kind, c.status, c.reason, c.message), maxLine))
	}
	return all
}

// podsOf gives the pods that a workload's selector selects, or the pod itself; none for other kinds.
func (c *Client) podsOf(ctx context.Context, o *Object) ([]corev1.Pod, error) {
	if o.GetKind() == "Pod" {
		p, err := toPod(o)
		if err != nil {
			return nil, err
		}
		return []corev1.Pod{*p}, nil
	}
	selector, err := selectorOf(o)
	if selector == "" || err != nil {
		return nil, err
	}
	return c.pods(ctx, o.GetNamespace(), selector)
}

// selectorOf is a workload's selector as the API takes it, "" where o is none.
func selectorOf(o *Object) (string, error) {
	switch o.GetKind() {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job":
	default:
		return "", nil
	}
	spec, _, err := unstructured.NestedMap(o.Object, "spec", "selector")
	if err != nil {
		return "", err
	}
	var s metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &s); err != nil {
		return "", err
	}
	selector, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		return "", err
	}
	return selector.String(), nil
}

// replicaSets names those that a Deployment has in use: a pod that is refused is told in their events.
func (c *Client) replicaSets(ctx context.Context, deployment *Object) []string {
	selector, err := selectorOf(deployment)
	if deployment.GetKind() != "Deployment" || selector == "" || err != nil {
		return nil
	}
	k, err := c.kinds.find(ctx, replicaSetAV, "ReplicaSet")
	if err != nil {
		return nil
	}
	sets, _, err := c.list(ctx, k, deployment.GetNamespace(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range sets {
		if replicas(s) > 0 {
			names = append(names, s.GetName())
		}
	}
	return names
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podStates says of a pod that is not ready why it isn't scheduled, and of each container why it isn't ready.
func podStates(p *corev1.Pod) []string {
	var all []string
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			all = append(all, clip(fmt.Sprintf("pod %s: %s: %s", p.Name, c.Reason, c.Message), maxLine))
		}
	}
	for _, s := range containers(p) {
		if state := containerState(p, s); state != "" {
			all = append(all, clip(fmt.Sprintf("pod %s, container %s: %s", p.Name, s.Name, state), maxLine))
		}
	}
	if len(all) == 0 {
		all = append(all, clip(fmt.Sprintf("pod %s: %s %s %s", p.Name, p.Status.Phase, p.Status.Reason, p.Status.Message), maxLine))
	}
	return all
}

// containerState is "" for a container of p that is well: ready, or done, as an initialization and a job are.
func containerState(p *corev1.Pod, s corev1.ContainerStatus) string {
	var state string
	switch {
	case s.State.Waiting != nil:
		state = s.State.Waiting.Reason + ": " + s.State.Waiting.Message
	case s.State.Terminated != nil && s.State.Terminated.ExitCode == 0 && mayEnd(p, s.Name) || s.Ready:
		return ""
	case s.State.Terminated != nil:
		state = ended(s.State.Terminated)
	default:
		state = "running, but not ready"
	}
	if last := s.LastTerminationState.Terminated; last != nil {
		state += fmt.Sprintf("; %d restarts, before: %s", s.RestartCount, ended(last))
	}
	return strings.TrimSuffix(state, ": ")
}

// mayEnd tells whether a container is one that is to end: an initialization, or one that is not started anew whatever it ends with.
func mayEnd(p *corev1.Pod, name string) bool {
	initial := slices.ContainsFunc(p.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	return initial || p.Spec.RestartPolicy == corev1.RestartPolicyOnFailure || p.Spec.RestartPolicy == corev1.RestartPolicyNever
}

func ended(t *corev1.ContainerStateTerminated) string {
	return strings.TrimSpace(fmt.Sprintf("exited %d (%s) %s", t.ExitCode, t.Reason, t.Message))
}

// failing reads the last lines of the containers that started and are not ready, at most n of them.
func (c *Client) failing(ctx context.Context, p *corev1.Pod, n int) []Log {
	var all []Log
	for _, s := range containers(p) {
		started := s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
		if len(all) >= n || !started || containerState(p, s) == "" {
			continue
		}
		request := c.logs(p.Namespace, p.Name, s.Name).
			Param("tailLines", fmt.Sprint(logLines)).Param("limitBytes", fmt.Sprint(logBytes))
		if s.State.Waiting != nil { // for its next start: what it said is the last start's
			request.Param("previous", "true")
		}
		body, err := request.Do(ctx).Raw()
		if err != nil || len(body) == 0 {
			continue
		}
		l := Log{Pod: p.Name, Container: s.Name}
		for line := range strings.Lines(strings.TrimSpace(string(body))) {
			l.Lines = append(l.Lines, clip(line, maxLine))
		}
		all = append(all, l)
	}
	return all
}

// lastEvents gives the last events about the named objects of a namespace, warnings if there are any.
func (c *Client) lastEvents(ctx context.Context, namespace string, about []string) []string {
	k, err := c.kinds.find(ctx, "v1", "Event")
	if err != nil {
		return nil
	}
	var all []*Object
	for _, name := range about {
		found, _, err := c.list(ctx, k, namespace, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err == nil {
			all = append(all, found...)
		}
	}
	return pickEvents(all)
}

func pickEvents(all []*Object) []string {
	if slices.ContainsFunc(all, warning) {
		all = slices.DeleteFunc(all, func(e *Object) bool { return !warning(e) })
	}
	slices.SortStableFunc(all, func(a, b *Object) int { return strings.Compare(eventTime(a), eventTime(b)) })
	var lines []string
	for _, e := range all[max(0, len(all)-maxEvents):] {
		line := fmt.Sprintf("event %s of %s %s: %s", text(e, "reason"),
			text(e, "involvedObject", "kind"), text(e, "involvedObject", "name"), text(e, "message"))
		if n := number(e, "count"); n > 1 {
			line = fmt.Sprintf("%s (%d times)", clip(line, maxLine), n)
		}
		lines = append(lines, clip(line, maxLine+20))
	}
	return lines
}

func warning(event *Object) bool { return text(event, "type") == corev1.EventTypeWarning }

// eventTime is comparable as a text: the API's times are RFC 3339 in UTC.
func eventTime(e *Object) string {
	return max(text(e, "lastTimestamp"), text(e, "series", "lastObservedTime"), text(e, "eventTime"))
}
