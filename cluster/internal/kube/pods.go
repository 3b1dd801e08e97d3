package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Events of WatchPods.
const (
	Added    = string(watch.Added)
	Modified = string(watch.Modified)
	Deleted  = string(watch.Deleted)
)

// Pods gives the pods that carry all the labels; an empty namespace is all of them.
func (c *Client) Pods(ctx context.Context, namespace string, with map[string]string) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.pods(ctx, namespace, labels.FormatLabels(with))
}

func (c *Client) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	pods, _, err := c.podsAt(ctx, namespace, selector)
	return pods, err
}

// podsAt also gives the resource version to watch from.
func (c *Client) podsAt(ctx context.Context, namespace, selector string) ([]corev1.Pod, string, error) {
	k, err := c.kinds.find(ctx, "v1", "Pod")
	if err != nil {
		return nil, "", fmt.Errorf("listing pods: %w", err)
	}
	objects, version, err := c.list(ctx, k, namespace, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, "", err
	}
	pods := make([]corev1.Pod, len(objects))
	for i, o := range objects {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pods[i]); err != nil {
			return nil, "", fmt.Errorf("%s: %w", Name(o), err)
		}
	}
	return pods, version, nil
}

func toPod(o *Object) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, p); err != nil {
		return nil, fmt.Errorf("%s: %w", Name(o), err)
	}
	return p, nil
}

// WatchPods calls f, one call at a time, for each pod that is there (Added) and for each change, until ctx ends; then it
// returns nil. A watch that breaks is made again: changes meanwhile are told as one, and a pod that went as Deleted with
// what was last known of it. A pod replaced by one of the same name is Deleted, then Added. f owns the pod. The error is
// the API server's refusal.
func (c *Client) WatchPods(ctx context.Context, namespace string, with map[string]string, f func(event string, p *corev1.Pod)) error {
	w := &podWatch{client: c, namespace: namespace, selector: labels.FormatLabels(with), known: map[string]*corev1.Pod{}, tell: f}
	if len(with) == 0 {
		w.selector = ""
	}
	for {
		err := w.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return fmt.Errorf("watching pods of namespace %q: %w", namespace, err)
		}
		if !pause(ctx, watchPause) {
			return nil
		}
	}
}

// podWatch is one WatchPods; known is what f was told, by namespace and name.
type podWatch struct {
	client              *Client
	namespace, selector string
	known               map[string]*corev1.Pod
	tell                func(event string, p *corev1.Pod)
}

// once lists and then watches until the watch ends.
func (w *podWatch) once(ctx context.Context) error {
	listing, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pods, version, err := w.client.podsAt(listing, w.namespace, w.selector)
	if err != nil {
		return err
	}
	w.catchUp(pods)
	k, err := w.client.kinds.find(listing, "v1", "Pod")
	if err != nil {
		return err
	}
	events, err := w.client.dynamic.Resource(k.resource).Namespace(w.namespace).Watch(ctx,
		metav1.ListOptions{LabelSelector: w.selector, ResourceVersion: version})
	if err != nil {
		return err
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, open := <-events.ResultChan():
			if !open {
				return errors.New("the watch ended")
			}
			if err := w.take(event); err != nil {
				return err
			}
		}
	}
}

// catchUp tells the difference between what f was told and a new list.
func (w *podWatch) catchUp(pods []corev1.Pod) {
	listed := map[string]bool{}
	for i := range pods {
		listed[podKey(&pods[i])] = true
	}
	for k, p := range w.known {
		if !listed[k] {
			w.gone(p)
		}
	}
	for i := range pods {
		w.seen(&pods[i])
	}
}

func (w *podWatch) take(event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	o, ok := event.Object.(*Object)
	if !ok {
		return fmt.Errorf("a watch of pods tells of a %T", event.Object)
	}
	p, err := toPod(o)
	if err != nil {
		return err
	}
	if event.Type == watch.Deleted {
		w.gone(p)
		return nil
	}
	w.seen(p)
	return nil
}

func (w *podWatch) seen(p *corev1.Pod) {
	before := w.known[podKey(p)]
	if before != nil && before.UID != p.UID {
		w.gone(before)
		before = nil
	}
	if before != nil && before.ResourceVersion == p.ResourceVersion {
		return
	}
	w.known[podKey(p)] = p.DeepCopy()
	if before == nil {
		w.tell(Added, p)
	} else {
		w.tell(Modified, p)
	}
}

func (w *podWatch) gone(p *corev1.Pod) {
	if w.known[podKey(p)] == nil {
		return
	}
	delete(w.known, podKey(p))
	w.tell(Deleted, p)
}

func podKey(p *corev1.Pod) string { return p.Namespace + "/" + p.Name }

// Logs copies what a container wrote since a time, in whole seconds and from the start where it is zero. An empty
// container is the pod's default one. The kubelet gives its current file only: 10 MiB by default, the newest.
func (c *Client) Logs(ctx context.Context, namespace, pod, container string, since time.Time, w io.Writer) error {
	request := c.logs(namespace, pod, container)
	if !since.IsZero() {
		request.Param("sinceTime", since.UTC().Format(time.RFC3339))
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return fmt.Errorf("logs of container %s of pod %s/%s: %w", container, namespace, pod, err)
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("logs of container %s of pod %s/%s: %w", container, namespace, pod, err)
	}
	return nil
}

func (c *Client) logs(namespace, pod, container string) *rest.Request {
	request := c.rest.Get().AbsPath("/api/v1/namespaces", namespace, "pods", pod, "log")
	if container != "" {
		request.Param("container", container)
	}
	return request
}
