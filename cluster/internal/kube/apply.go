package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

const (
	retryPause  = 100 * time.Millisecond
	parallelism = 8 // requests under way; more only queue at an API server on a laptop
)

// Rejected is an object that the API server or a webhook of its does not take: trying again would not help.
type Rejected struct {
	Object  *Object
	Message string // the API server's
}

func (e *Rejected) Error() string {
	return fmt.Sprintf("%s: rejected by the API server: %s", Name(e.Object), e.Message)
}

// Apply applies by server-side apply, as field manager "umbra", and takes over fields that others own. Each object
// carries the label app.kubernetes.io/managed-by=umbra afterwards. Objects go class by class (see class), those of one
// class in parallel; of two with the same name the last one counts. What may pass by itself, as a kind that is not served
// yet or a webhook that isn't reachable, is tried again until ctx ends; the error then says the last failure. A
// rejection ends Apply at once with one *Rejected for each object rejected so far, joined; so does, after 10 s, a kind
// that no CRD among the objects or in the cluster declares.
func (c *Client) Apply(ctx context.Context, objects []*Object) error {
	apply := func(ctx context.Context, o *Object) error { return c.applyOne(ctx, o, declares(objects, o)) }
	for _, group := range classes(objects) {
		if err := each(ctx, group, apply); err != nil {
			return err
		}
	}
	return nil
}

// class orders objects by what must stand before what.
func class(o *Object) int {
	switch o.GetKind() {
	case "Namespace":
		return 0
	case "CustomResourceDefinition":
		return 1
	case "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret", "Service",
		"PriorityClass", "LimitRange", "ResourceQuota":
		return 2
	case "VirtualService", "HTTPRoute", "GRPCRoute": // they name subsets and gateways of the class before
		return 4
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
		return 5
	}
	return 3
}

func classes(objects []*Object) [][]*Object {
	groups := make([][]*Object, 6)
	for _, o := range unique(objects) {
		groups[class(o)] = append(groups[class(o)], o)
	}
	return groups
}

// unique drops all but the last of the objects with the same key.
func unique(objects []*Object) []*Object {
	seen := map[string]bool{}
	var all []*Object
	for _, o := range slices.Backward(objects) {
		if !seen[key(o)] {
			seen[key(o)] = true
			all = append(all, o)
		}
	}
	slices.Reverse(all)
	return all
}

// key tells objects apart whatever the version that they are read in.
func key(o *Object) string {
	gk := o.GroupVersionKind().GroupKind()
	return strings.Join([]string{gk.Group, gk.Kind, namespaceOf(o), o.GetName()}, "/")
}

// each calls f for the objects in parallel and waits for all. The first rejection cancels the others.
func each(ctx context.Context, objects []*Object, f func(context.Context, *Object) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(objects))
	limit := make(chan struct{}, parallelism)
	var all sync.WaitGroup
	for i, o := range objects {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			if errs[i] = f(ctx, o); rejected(errs[i]) {
				cancel(errs[i])
			}
		})
	}
	all.Wait()
	if rejected(context.Cause(ctx)) { // the others' failures are only its consequence
		errs = slices.DeleteFunc(errs, func(err error) bool { return !rejected(err) })
	}
	return errors.Join(errs...)
}

// rejected does not unwrap: a failure by another object's rejection is none itself.
func rejected(err error) bool {
	_, ok := err.(*Rejected)
	return ok
}

func (c *Client) applyOne(ctx context.Context, o *Object, promised bool) error {
	o, err := prepared(o)
	if err != nil {
		return err
	}
	return persist(ctx, o, c.ifKnown(o, promised, func(ctx context.Context) error {
		live, err := c.patch(ctx, o)
		if err == nil && o.GetKind() == "Namespace" && live.GetDeletionTimestamp() != nil {
			return errors.New("it is still being deleted")
		}
		return err
	}))
}

// ifKnown makes try refuse a kind that stays unknown. A promised one, or one that a CRD in the cluster declares, will be
// served in time.
func (c *Client) ifKnown(o *Object, promised bool, try func(context.Context) error) func(context.Context) error {
	begun := time.Now()
	return func(ctx context.Context) error {
		err := try(ctx)
		if promised || !unknown(err) || time.Since(begun) < c.kindGrace {
			return err
		}
		crds, listErr := c.List(ctx, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", nil)
		if listErr != nil && !final(listErr) { // who may not look at CRDs is told as if there were none
			return listErr
		}
		if promised = declares(crds, o); promised {
			return err
		}
		return apierrors.NewBadRequest(fmt.Sprintf("the cluster knows no kind %s of %s: install its CRD, or take the object out", o.GetKind(), o.GetAPIVersion()))
	}
}

// declares tells whether a CRD among the objects declares o's kind.
func declares(objects []*Object, o *Object) bool {
	gk := o.GroupVersionKind().GroupKind()
	return slices.ContainsFunc(objects, func(crd *Object) bool {
		return crd.GetKind() == "CustomResourceDefinition" && text(crd, "spec", "group") == gk.Group && text(crd, "spec", "names", "kind") == gk.Kind
	})
}

// prepared is what is sent of an object: with the label, and without what only the API server sets, as a manifest that
// was read from a cluster has it.
func prepared(o *Object) (*Object, error) {
	o = o.DeepCopy()
	if o.GetName() == "" {
		return nil, &Rejected{o, "it has no metadata.name"}
	}
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	// SetLabels would drop the labels that are there where one is not a text; the API server is to name it.
	if err := unstructured.SetNestedField(o.Object, Manager, "metadata", "labels", ManagedBy); err != nil {
		return nil, &Rejected{o, "metadata.labels is not a map of texts"}
	}
	return o, nil
}

// patch sends one server-side apply. Unknown fields are errors, as with kubectl.
func (c *Client) patch(ctx context.Context, o *Object) (*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api, err := c.resource(ctx, o)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	force := true
	return api.Patch(ctx, o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: Manager, Force: &force, FieldValidation: metav1.FieldValidationStrict})
}

// persist tries until it succeeds, is rejected, or ctx ends.
func persist(ctx context.Context, o *Object, try func(context.Context) error) error {
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if final(err) {
			return &Rejected{o, message(err)}
		}
		if ctx.Err() == nil || last == nil {
			last = err // once ctx has ended err only says so
		}
		if !pause(ctx, retryPause) {
			return fmt.Errorf("%s: %w; the last failure: %s", Name(o), context.Cause(ctx), message(last))
		}
	}
}

// final says whether the API server has judged: an answer about the object, not about the server's state.
func final(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	switch {
	case strings.Contains(s.Message, "denied the request"): // by a webhook, which chooses the code
		return true
	case strings.Contains(s.Message, "failed calling webhook"),
		strings.Contains(s.Message, "error looking up service account"), // of a namespace just made
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return false
	case strings.Contains(s.Message, "failed to create typed patch object"): // a field of the wrong type, as status 500
		return true
	case s.Code == http.StatusNotFound: // the namespace; or a path that is not served yet
		return s.Details != nil && s.Details.Kind == "namespaces"
	}
	switch s.Code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusNotAcceptable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// message is the API server's sentence where it is its error.
func message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}
