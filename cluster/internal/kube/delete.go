package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const gonePause = 200 * time.Millisecond

// Delete deletes the objects, in the order opposite to Apply's. What is gone already is fine. It doesn't wait for their
// end: see Gone. Failures that may pass are tried again until ctx ends.
func (c *Client) Delete(ctx context.Context, objects []*Object) error {
	for _, group := range slices.Backward(classes(objects)) {
		if err := each(ctx, group, c.deleteOne); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) deleteOne(ctx context.Context, o *Object) error {
	return persist(ctx, o, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		api, err := c.resource(ctx, o)
		if unknown(err) {
			return nil
		}
		if err != nil {
			return err
		}
		background := metav1.DeletePropagationBackground
		err = api.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// Gone waits until none of the objects exists, at most atMost. The error names those that are left and what holds them.
func (c *Client) Gone(ctx context.Context, atMost time.Duration, objects []*Object) error {
	bounded, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	left, live := slices.Clone(objects), map[string]*Object{}
	var last error
	for {
		left = slices.DeleteFunc(left, func(o *Object) bool {
			found, err := c.Get(bounded, o)
			if err == nil && found == nil {
				return true
			}
			if found != nil {
				live[key(o)] = found
			}
			if bounded.Err() == nil {
				last = err
			}
			return false
		})
		if len(left) == 0 {
			return nil
		}
		if !pause(bounded, gonePause) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: waiting for its deletion: %w", Name(left[0]), errors.Join(err, last))
	}
	return notGone(atMost, left, live, last)
}

func notGone(atMost time.Duration, left []*Object, live map[string]*Object, last error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "not gone after %v:", atMost)
	for _, o := range left {
		b.WriteString("\n  " + Name(o))
		if l := live[key(o)]; l != nil {
			b.WriteString(holders(l))
		}
	}
	if last != nil {
		fmt.Fprintf(&b, "\n  %v", last)
	}
	return errors.New(b.String())
}

// holders says why an object stands: nobody deleted it, its finalizers, or a namespace's content.
func holders(o *Object) string {
	if o.GetDeletionTimestamp() == nil {
		return ": nobody deleted it, or it was made again"
	}
	var why []string
	if f := o.GetFinalizers(); len(f) > 0 {
		why = append(why, "finalizers "+strings.Join(f, ", "))
	}
	for _, c := range conditions(o) {
		if c.status == "True" && c.message != "" {
			why = append(why, clip(c.message, 200))
		}
	}
	if len(why) == 0 {
		return ": it is being deleted"
	}
	return ": it waits for " + strings.Join(why, "; ")
}

// prunedGroups are those of which Prune looks at every kind, prunedKinds those by name.
var (
	prunedGroups = []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io",
		"gateway.networking.k8s.io", "networking.k8s.io", "autoscaling", "policy", "batch"}
	prunedKinds = [][2]string{{"apps/v1", "Deployment"}, {"apps/v1", "StatefulSet"}, {"apps/v1", "DaemonSet"},
		{"v1", "Service"}, {"v1", "ConfigMap"}, {"v1", "Secret"}, {"v1", "ServiceAccount"}}
)

// Prune deletes what carries umbra's label and is not in keep: Istio's objects and the Gateway API's, network policies,
// autoscalers, budgets, jobs, workloads, Services, ConfigMaps, Secrets and ServiceAccounts, in all namespaces but kube-*.
// Of what stands in istio-system keep must name all that is to stay. It doesn't wait.
func (c *Client) Prune(ctx context.Context, keep []*Object) (deleted []*Object, err error) {
	kept := map[string]bool{}
	for _, o := range keep {
		kept[key(o)] = true
	}
	all, err := c.prunable(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for what an earlier run left: %w", err)
	}
	for _, o := range all {
		system := strings.HasPrefix(o.GetNamespace(), "kube-")
		if !system && !kept[key(o)] && len(o.GetOwnerReferences()) == 0 && o.GetDeletionTimestamp() == nil {
			deleted = append(deleted, o)
		}
	}
	return deleted, c.Delete(ctx, deleted)
}

// prunable gives all that carries the label of the kinds that Prune looks at.
func (c *Client) prunable(ctx context.Context) ([]*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all, err := c.prunableKinds(ctx)
	if err != nil {
		return nil, err
	}
	var objects []*Object
	for _, k := range all {
		found, _, err := c.list(ctx, k, "", metav1.ListOptions{LabelSelector: ManagedBy + "=" + Manager})
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func (c *Client) prunableKinds(ctx context.Context) ([]kind, error) {
	var all []kind
	for _, group := range prunedGroups {
		found, err := c.kinds.group(ctx, group)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	for _, k := range prunedKinds {
		found, err := c.kinds.find(ctx, k[0], k[1])
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

// condition is one of status.conditions.
type condition struct{ kind, status, reason, message string }

func conditions(o *Object) []condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var all []condition
	for _, entry := range list {
		m, _ := entry.(map[string]any)
		text := func(field string) string { s, _ := m[field].(string); return s }
		all = append(all, condition{text("type"), text("status"), text("reason"), text("message")})
	}
	return all
}

// clip bounds a text for a message.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
