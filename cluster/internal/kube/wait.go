package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// watchPause is between two watches of an object: after an error, or where its kind is not served yet.
	watchPause = 200 * time.Millisecond
	// foreseePause is between two looks at the pods of what is not ready.
	foreseePause = time.Second
	// accountTime bounds the gathering of what a NotReady says, after the wait itself.
	accountTime = 5 * time.Second
)

// grace is how long a container may be seen in a state that it doesn't leave by itself, until waiting for it ends. It is
// above 0 for all: pods of a revision that is being replaced are still seen for a moment.
var grace = map[string]time.Duration{
	"ErrImageNeverPull":          2 * time.Second,
	"InvalidImageName":           2 * time.Second,
	"CreateContainerConfigError": 2 * time.Second,
	"ErrImagePull":               10 * time.Second, // these two alternate; a registry may answer the second time
	"ImagePullBackOff":           10 * time.Second,
}

// graceOf is 0 for a state that may pass. An image's name that no registry could answer for is told as a failed pull.
func graceOf(s *corev1.ContainerStateWaiting) time.Duration {
	switch {
	case s == nil:
		return 0
	case strings.Contains(s.Message, "invalid reference format"):
		return grace["InvalidImageName"]
	}
	return grace[s.Reason]
}

// waiting is an object that is waited for. One goroutine writes live and why, under mu.
type waiting struct {
	object *Object

	mu   sync.Mutex
	live *Object // as last seen, nil: there is none
	why  string  // what is missing, "" once it is ready
}

func (w *waiting) set(live *Object, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.why = live, why
}

func (w *waiting) state() (live *Object, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live, w.why
}

// errHopeless is why a wait ends early.
type errHopeless struct{ why string }

func (e *errHopeless) Error() string { return e.why }

// Wait waits until each object is ready, at most atMost. Deployments, StatefulSets and DaemonSets are ready when the
// newest revision is available and no replica of an older one is left, CRDs when Established, Namespaces when Active, Pods
// when Ready, all others when they exist. Otherwise the error is a *NotReady, also before atMost where a container can't
// become ready by itself; a *Rejected where the API server lets us not look; ctx's where that was cancelled.
func (c *Client) Wait(ctx context.Context, atMost time.Duration, objects ...*Object) error {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	bounded, giveUp := context.WithCancelCause(bounded)
	defer giveUp(nil)

	all := c.awaitAll(bounded, giveUp, objects)
	left := pending(all)
	var r *Rejected
	switch cause := context.Cause(bounded); {
	case len(left) == 0:
		return nil
	case errors.As(cause, &r):
		return r
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("waiting for %s: %w", Name(left[0].object), ctx.Err())
	default:
		var early *errHopeless
		errors.As(cause, &early)
		return c.account(ctx, time.Since(start), early, left)
	}
}

// awaitAll watches every object, and the pods of those not ready, until all are ready or ctx ends.
func (c *Client) awaitAll(ctx context.Context, giveUp context.CancelCauseFunc, objects []*Object) []*waiting {
	all := make([]*waiting, len(objects))
	var watches sync.WaitGroup
	for i, o := range objects {
		w := &waiting{object: o, why: "there is none"}
		all[i] = w
		watches.Go(func() { c.await(ctx, giveUp, w) })
	}
	looking, stop := context.WithCancel(ctx)
	var look sync.WaitGroup
	look.Go(func() { c.foresee(looking, giveUp, all) })
	watches.Wait()
	stop()
	look.Wait()
	return all
}

func pending(all []*waiting) []*waiting {
	var left []*waiting
	for _, w := range all {
		if _, why := w.state(); why != "" {
			left = append(left, w)
		}
	}
	return left
}

// await watches one object, again and again, until it is ready or ctx ends.
func (c *Client) await(ctx context.Context, giveUp context.CancelCauseFunc, w *waiting) {
	for {
		err := c.watchOne(ctx, w)
		live, why := w.state()
		if why == "" {
			return
		}
		if final(err) {
			giveUp(&Rejected{w.object, message(err)})
			return
		}
		if err != nil && ctx.Err() == nil {
			w.set(live, message(err))
		}
		if !pause(ctx, watchPause) {
			return
		}
	}
}

// watchOne watches an object until it is ready, or the watch ends. The watch begins with the object as it is.
func (c *Client) watchOne(ctx context.Context, w *waiting) error {
	api, err := c.resource(ctx, w.object)
	if err != nil {
		return err
	}
	events, err := api.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + w.object.GetName()})
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
				return nil
			}
			if done, err := w.take(event); done || err != nil {
				return err
			}
		}
	}
}

func (w *waiting) take(event watch.Event) (ready bool, err error) {
	live, isObject := event.Object.(*Object)
	switch {
	case event.Type == watch.Error:
		return false, apierrors.FromObject(event.Object)
	case !isObject || live.GetName() != w.object.GetName():
		return false, nil
	case event.Type == watch.Deleted:
		w.set(nil, "it was deleted")
		return false, nil
	}
	why := readiness(live)
	w.set(live, why)
	return why == "", nil
}

// foresee looks at the pods of what is not ready and gives up where one can't become ready by itself.
func (c *Client) foresee(ctx context.Context, giveUp context.CancelCauseFunc, all []*waiting) {
	since := map[string]time.Time{} // by container, when it was first seen in a state of grace
	for pause(ctx, foreseePause) {
		for _, w := range pending(all) {
			live, _ := w.state()
			if live == nil {
				continue
			}
			pods, err := c.podsOf(ctx, live)
			if err != nil {
				continue // the account says what is wrong, if it lasts
			}
			if why := hopeless(pods, since, time.Now()); why != "" {
				giveUp(&errHopeless{why})
				return
			}
		}
	}
}

// hopeless names a container that was seen long enough in a state that it doesn't leave. since is kept from call to call.
func hopeless(pods []corev1.Pod, since map[string]time.Time, now time.Time) string {
	for i := range pods {
		p := &pods[i]
		for _, s := range containers(p) {
			id := string(p.UID) + "/" + s.Name
			allowed := graceOf(s.State.Waiting)
			if allowed == 0 {
				delete(since, id)
			}
			if allowed == 0 || p.DeletionTimestamp != nil {
				continue
			}
			if since[id].IsZero() {
				since[id] = now
			}
			if now.Sub(since[id]) >= allowed {
				return fmt.Sprintf("container %s of pod %s/%s can't become ready by itself: %s",
					s.Name, p.Namespace, p.Name, s.State.Waiting.Reason)
			}
		}
	}
	return ""
}

// containers gives the states of all containers of a pod, those of its initialization first. It is a new slice.
func containers(p *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus(nil), p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
}
