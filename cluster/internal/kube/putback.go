package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	memoryName = "umbra-put-back"
	memoryKey  = "objects.json"
)

// memory is how an object was before umbra changed it.
type memory struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Namespace  string  `json:"namespace,omitempty"`
	Name       string  `json:"name"`
	Before     *Object `json:"before"` // without its status; null: there was none
}

func (m *memory) object() *Object {
	o := &Object{Object: map[string]any{}}
	o.SetAPIVersion(m.APIVersion)
	o.SetKind(m.Kind)
	o.SetNamespace(m.Namespace)
	o.SetName(m.Name)
	return o
}

// Remember stores how each object is now, or that there is none, in the ConfigMap umbra-put-back of a namespace that
// exists. What stands in it already is older, and stays. Secrets that exist are refused: a ConfigMap is no place for them.
func (c *Client) Remember(ctx context.Context, namespace string, objects []*Object) error {
	store := memoryObject(namespace)
	return persist(ctx, store, func(ctx context.Context) error {
		store, memories, err := c.recall(ctx, namespace)
		if err != nil {
			return err
		}
		known := map[string]bool{}
		for _, m := range memories {
			known[key(m.object())] = true
		}
		for _, o := range unique(objects) {
			if known[key(o)] {
				continue
			}
			m, err := c.remember(ctx, o)
			if err != nil {
				return err
			}
			memories = append(memories, m)
		}
		return c.store(ctx, store, namespace, memories)
	})
}

func (c *Client) remember(ctx context.Context, o *Object) (memory, error) {
	m := memory{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
	live, err := c.Get(ctx, o)
	if live == nil || err != nil {
		return m, err
	}
	if live.GetKind() == "Secret" && live.GroupVersionKind().Group == "" {
		return m, refused(o, "it exists, and umbra stores no Secret to put it back: leave it out of what umbra applies")
	}
	for _, field := range []string{"resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(live.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(live.Object, "status")
	m.Before = live
	return m, nil
}

// refused is a refusal of our own, as final as the API server's.
func refused(o *Object, why string) error {
	return apierrors.NewBadRequest(Name(o) + ": " + why)
}

func memoryObject(namespace string) *Object {
	return (&memory{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: memoryName}).object()
}

// recall reads the ConfigMap; nil where there is none.
func (c *Client) recall(ctx context.Context, namespace string) (*Object, []memory, error) {
	store, err := c.Get(ctx, memoryObject(namespace))
	if store == nil || err != nil {
		return nil, nil, err
	}
	var memories []memory
	if err := json.Unmarshal([]byte(text(store, "data", memoryKey)), &memories); err != nil {
		return nil, nil, refused(store, fmt.Sprintf("its %s was changed by someone: %v", memoryKey, err))
	}
	return store, memories, nil
}

// store writes the ConfigMap; a conflict with another writer is an error after which all is read again.
func (c *Client) store(ctx context.Context, old *Object, namespace string, memories []memory) error {
	body, err := json.Marshal(memories)
	if err != nil {
		return err
	}
	updated := memoryObject(namespace)
	if old != nil {
		updated = old.DeepCopy()
	}
	if err := unstructured.SetNestedField(updated.Object, string(body), "data", memoryKey); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api, err := c.resource(ctx, updated)
	if err != nil {
		return err
	}
	if old == nil {
		_, err = api.Create(ctx, updated, metav1.CreateOptions{FieldManager: Manager})
	} else {
		_, err = api.Update(ctx, updated, metav1.UpdateOptions{FieldManager: Manager})
	}
	return err
}

// PutBack makes all as Remember found it: deletes what was not there (and still carries umbra's label), replaces the rest
// by what it was, its owners of fields too, and deletes the ConfigMap. What it changed is named. Without a ConfigMap there
// is nothing to do. What someone else changed after umbra, and a namespace that holds another's objects, is left as it is.
// The error names that and what failed; the ConfigMap then keeps those alone, and PutBack can be called again.
func (c *Client) PutBack(ctx context.Context, namespace string) (changed []string, err error) {
	store, memories, err := c.recall(ctx, namespace)
	if err != nil || store == nil {
		return nil, err
	}
	// Routes go back before the subsets that they named go away: as in Delete.
	slices.SortStableFunc(memories, func(a, b memory) int { return class(b.object()) - class(a.object()) })
	var left []memory
	var errs []error
	for _, m := range memories {
		did, err := c.putBack(ctx, &m)
		switch {
		case err != nil:
			left, errs = append(left, m), append(errs, err)
		case did != "":
			changed = append(changed, Name(m.object())+": "+did)
		}
	}
	if len(left) == 0 {
		return changed, c.deleteOne(ctx, store)
	}
	errs = append(errs, c.store(ctx, store, namespace, left))
	return changed, fmt.Errorf("putting back (ConfigMap %s/%s keeps how what is left was; delete it once all is as you want it): %w",
		namespace, memoryName, errors.Join(errs...))
}

// putBack says what it did, "" where the object is as it was.
func (c *Client) putBack(ctx context.Context, m *memory) (did string, err error) {
	if m.Before == nil {
		return c.undo(ctx, m.object())
	}
	o := m.object()
	var theirs error
	err = persist(ctx, o, c.ifKnown(o, false, func(ctx context.Context) error {
		live, err := c.Get(ctx, o)
		if err != nil {
			return err
		}
		if live == nil {
			did = "made again"
			return c.makeAgain(ctx, m)
		}
		if theirs = changedSince(live, m.Before); theirs != nil {
			return nil
		}
		did, err = c.restore(ctx, live, m.Before)
		return err
	}))
	return did, errors.Join(err, theirs)
}

// undo deletes what was not there before. What someone else made since doesn't carry our label, and stays.
func (c *Client) undo(ctx context.Context, o *Object) (string, error) {
	live, err := c.Get(ctx, o)
	if err != nil || live == nil || live.GetLabels()[ManagedBy] != Manager {
		return "", err
	}
	if err := changedSince(live, nil); err != nil {
		return "", err
	}
	if live.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
		if err := c.unused(ctx, live); err != nil {
			return "", err
		}
	}
	return "deleted", c.deleteOne(ctx, o)
}

// changedSince is an error that says who wrote an object after umbra's last write of it, whatever that was. Times are of
// whole seconds, so an entry of the same second counts as later unless it was there before. Of the writes of others that
// umbra undid there is no trace: the owners of fields are put back with the rest.
func changedSince(live, before *Object) error {
	old := map[string]bool{}
	if before != nil {
		for _, e := range before.GetManagedFields() {
			old[write(e)] = true
		}
	}
	var last time.Time
	for _, e := range live.GetManagedFields() {
		if e.Manager == Manager && e.Time != nil && e.Time.After(last) {
			last = e.Time.Time
		}
	}
	for _, e := range live.GetManagedFields() {
		if byUser(e) && !old[write(e)] && (e.Time == nil || !e.Time.Time.Before(last)) {
			return fmt.Errorf("%s: %s changed it after umbra did; it was left as it is", Name(live), e.Manager)
		}
	}
	return nil
}

// write tells the writes of managedFields apart.
func write(e metav1.ManagedFieldsEntry) string {
	return fmt.Sprintf("%s/%s/%v", e.Manager, e.Operation, e.Time)
}

// byUser leaves out what a cluster's own controllers write: a status, scale, or a Deployment's revision.
func byUser(e metav1.ManagedFieldsEntry) bool {
	return e.Manager != Manager && e.Manager != "kube-controller-manager" && e.Subresource == "" && !onlyStatus(e.FieldsV1)
}

func onlyStatus(f *metav1.FieldsV1) bool {
	if f == nil {
		return false
	}
	var fields map[string]any
	if json.Unmarshal(f.GetRawBytes(), &fields) != nil {
		return false
	}
	_, status := fields["f:status"]
	return status && len(fields) == 1
}

// unused is an error that names what others have in a namespace that umbra made.
func (c *Client) unused(ctx context.Context, namespace *Object) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kinds, err := c.prunableKinds(ctx)
	if err != nil {
		return fmt.Errorf("%s: looking at what it holds: %w", Name(namespace), err)
	}
	for _, more := range []string{"Pod", "PersistentVolumeClaim"} {
		found, err := c.kinds.find(ctx, "v1", more)
		if err != nil {
			return fmt.Errorf("%s: looking at what it holds: %w", Name(namespace), err)
		}
		kinds = append(kinds, found)
	}
	var theirs []string
	for _, k := range kinds {
		if !k.namespaced {
			continue
		}
		objects, _, err := c.list(ctx, k, namespace.GetName(), metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("%s: looking at what it holds: %w", Name(namespace), err)
		}
		for _, o := range objects {
			if !expected(k.name, o) {
				theirs = append(theirs, k.name+" "+o.GetName())
			}
		}
	}
	if len(theirs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: it holds what is not umbra's and was left: %s", Name(namespace), clip(strings.Join(theirs, ", "), 300))
}

// expected says of an object in a namespace whether umbra made it, or the cluster does in every one; what has an owner
// stands and falls with that.
func expected(kind string, o *Object) bool {
	if o.GetLabels()[ManagedBy] == Manager || len(o.GetOwnerReferences()) > 0 || o.GetDeletionTimestamp() != nil {
		return true
	}
	switch kind + " " + o.GetName() {
	case "ConfigMap kube-root-ca.crt", "ConfigMap istio-ca-root-cert", "ConfigMap istio-ca-crl", "ConfigMap " + memoryName, "ServiceAccount default":
		return true
	}
	return kind == "Secret" && text(o, "type") == "kubernetes.io/service-account-token" // before Kubernetes 1.24
}

func (c *Client) makeAgain(ctx context.Context, m *memory) error {
	o := m.Before.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(o.Object, "metadata", "ownerReferences") // they name owners by uid, perhaps gone too
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api, err := c.resource(ctx, o)
	if err != nil {
		return err
	}
	_, err = api.Create(ctx, o, metav1.CreateOptions{FieldManager: Manager})
	return err
}

// restore replaces the live object's content by what it was. A second write gives the owners of fields as they were: the
// first one makes us the owner of what it changes, and the user's next apply would find a conflict.
func (c *Client) restore(ctx context.Context, live, before *Object) (string, error) {
	target := merged(live, before)
	if unchanged(live, target) {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api, err := c.resource(ctx, live)
	if err != nil {
		return "", err
	}
	written, err := api.Update(ctx, target, metav1.UpdateOptions{FieldManager: Manager})
	if err != nil {
		return "", err
	}
	written.SetManagedFields(target.GetManagedFields())
	if _, err := api.Update(ctx, written, metav1.UpdateOptions{FieldManager: Manager}); err != nil {
		return "", err
	}
	return "restored", nil
}

// unchanged leaves the field owners of others out: those of a status change by themselves.
func unchanged(live, target *Object) bool {
	ours := func(m metav1.ManagedFieldsEntry) bool { return m.Manager == Manager }
	if slices.ContainsFunc(live.GetManagedFields(), ours) {
		return false
	}
	live, target = live.DeepCopy(), target.DeepCopy()
	live.SetManagedFields(nil)
	target.SetManagedFields(nil)
	return reflect.DeepEqual(live.Object, target.Object)
}

// merged is the live object with the content, labels, annotations and field owners that it had before.
func merged(live, before *Object) *Object {
	target, was := live.DeepCopy(), before.DeepCopy()
	for field := range maps.Keys(target.Object) {
		if !identity(field) && was.Object[field] == nil {
			delete(target.Object, field)
		}
	}
	for field, value := range was.Object {
		if !identity(field) {
			target.Object[field] = value
		}
	}
	for _, field := range []string{"labels", "annotations", "managedFields"} {
		value, found, _ := unstructured.NestedFieldNoCopy(was.Object, "metadata", field)
		if found {
			target.Object["metadata"].(map[string]any)[field] = value
		} else {
			unstructured.RemoveNestedField(target.Object, "metadata", field)
		}
	}
	return target
}

// identity says which fields of an object are not its content.
func identity(field string) bool {
	switch field {
	case "apiVersion", "kind", "metadata", "status":
		return true
	}
	return false
}
