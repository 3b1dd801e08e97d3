package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
// is nothing to do. After an error the ConfigMap stays, and PutBack can be called again.
func (c *Client) PutBack(ctx context.Context, namespace string) (changed []string, err error) {
	store, memories, err := c.recall(ctx, namespace)
	if err != nil || store == nil {
		return nil, err
	}
	// Routes go back before the subsets that they named go away: as in Delete.
	slices.SortStableFunc(memories, func(a, b memory) int { return class(b.object()) - class(a.object()) })
	var errs []error
	for _, m := range memories {
		did, err := c.putBack(ctx, &m)
		if did != "" {
			changed = append(changed, Name(m.object())+": "+did)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return changed, fmt.Errorf("putting back: %w", err)
	}
	return changed, c.deleteOne(ctx, store)
}

// putBack says what it did, "" where the object is as it was.
func (c *Client) putBack(ctx context.Context, m *memory) (did string, err error) {
	if m.Before == nil {
		return c.undo(ctx, m.object())
	}
	o := m.object()
	err = persist(ctx, o, func(ctx context.Context) error {
		live, err := c.Get(ctx, o)
		if err != nil {
			return err
		}
		if live == nil {
			did = "made again"
			return c.makeAgain(ctx, m)
		}
		did, err = c.restore(ctx, live, m.Before)
		return err
	})
	return did, err
}

// undo deletes what was not there before. What someone else made since doesn't carry our label, and stays.
func (c *Client) undo(ctx context.Context, o *Object) (string, error) {
	live, err := c.Get(ctx, o)
	if err != nil || live == nil || live.GetLabels()[ManagedBy] != Manager {
		return "", err
	}
	return "deleted", c.deleteOne(ctx, o)
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
