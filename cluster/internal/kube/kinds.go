package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// kind is how a kind is addressed.
type kind struct {
	name       string
	resource   schema.GroupVersionResource
	namespaced bool
}

// kinds maps kinds to resources by asking for the one group and version that an object names. client-go's mapper reads
// those of all groups, obeys no context, and never asks again for what it once did not find, as with a CRD just applied.
type kinds struct {
	raw rest.Interface

	mu    sync.Mutex
	known map[schema.GroupVersion][]kind
}

// unknownKind is a kind that the cluster doesn't serve, or not yet.
type unknownKind struct{ apiVersion, kind string }

func (e *unknownKind) Error() string {
	return fmt.Sprintf("the cluster has no kind %s of %s: its CRD is not installed", e.kind, e.apiVersion)
}

func unknown(err error) bool {
	var u *unknownKind
	return errors.As(err, &u)
}

func (k *kinds) find(ctx context.Context, apiVersion, name string) (kind, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return kind{}, err
	}
	k.mu.Lock()
	cached := k.known[gv]
	k.mu.Unlock()
	if found, ok := named(cached, name); ok {
		return found, nil
	}
	fresh, err := k.read(ctx, gv)
	if err != nil {
		return kind{}, err
	}
	if found, ok := named(fresh, name); ok {
		return found, nil
	}
	return kind{}, &unknownKind{apiVersion, name}
}

func named(all []kind, name string) (kind, bool) {
	for _, k := range all {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

// read asks the API server for a version's kinds; none where it doesn't serve the version.
func (k *kinds) read(ctx context.Context, gv schema.GroupVersion) ([]kind, error) {
	path := "/apis/" + gv.String()
	if gv.Group == "" {
		path = "/api/" + gv.Version
	}
	body, err := k.raw.Get().AbsPath(path).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("kinds of %s: %w", gv, err)
	}
	var all []kind
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") { // a subresource, as pods/log
			all = append(all, kind{r.Kind, gv.WithResource(r.Name), r.Namespaced})
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[schema.GroupVersion][]kind{}
	}
	k.known[gv] = all
	return all, nil
}

// group gives the kinds of a group, each in the version that the server prefers or else in one that it serves: Istio's
// EnvoyFilter has none but v1alpha3. There are none where the server doesn't have the group.
func (k *kinds) group(ctx context.Context, group string) ([]kind, error) {
	body, err := k.raw.Get().AbsPath("/apis/" + group).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var g metav1.APIGroup
	if err := json.Unmarshal(body, &g); err != nil {
		return nil, fmt.Errorf("versions of %s: %w", group, err)
	}
	var all []kind
	for _, version := range append([]metav1.GroupVersionForDiscovery{g.PreferredVersion}, g.Versions...) {
		found, err := k.read(ctx, schema.GroupVersion{Group: group, Version: version.Version})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if _, there := named(all, f.name); !there {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// resource is where o's kind is read and written: in its namespace, "default" where it names none.
func (c *Client) resource(ctx context.Context, o *Object) (dynamic.ResourceInterface, error) {
	k, err := c.kinds.find(ctx, o.GetAPIVersion(), o.GetKind())
	if err != nil {
		return nil, err
	}
	if !k.namespaced {
		return c.dynamic.Resource(k.resource), nil
	}
	return c.dynamic.Resource(k.resource).Namespace(namespaceOf(o)), nil
}

func namespaceOf(o *Object) string {
	if o.GetNamespace() == "" {
		return metav1.NamespaceDefault
	}
	return o.GetNamespace()
}
