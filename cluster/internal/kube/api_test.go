package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
)

// api is an API server that keeps what it is given and does nothing of its own. client-go's fakes know too little of
// server-side apply, and nothing of what requests look like.
type api struct {
	t *testing.T
	// before answers in place of the server where it returns true. It is called under mu.
	before func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	changed  *sync.Cond
	served   map[string]string // "apps/v1" -> "Deployment deployments, …"; a cluster kind's resource begins with "*"
	objects  map[string]*Object
	events   []event
	version  int
	requests []string // "PATCH /api/v1/namespaces/shop", without those for kinds
}

type event struct {
	kind, path string
	object     *Object
}

// serve starts an API server with the usual kinds and a client to it.
func serve(t *testing.T) (*api, *Client) {
	t.Helper()
	a := &api{t: t, objects: map[string]*Object{}, served: map[string]string{
		"v1":                              "Namespace *namespaces,ConfigMap configmaps,Service services,Pod pods,Event events,Secret secrets,ServiceAccount serviceaccounts,PersistentVolumeClaim persistentvolumeclaims,Node *nodes",
		"apps/v1":                         "Deployment deployments,StatefulSet statefulsets,DaemonSet daemonsets,ReplicaSet replicasets",
		"apiextensions.k8s.io/v1":         "CustomResourceDefinition *customresourcedefinitions",
		"networking.istio.io/v1":          "VirtualService virtualservices,DestinationRule destinationrules",
		"networking.istio.io/v1alpha3":    "EnvoyFilter envoyfilters,VirtualService virtualservices",
		"batch/v1":                        "Job jobs",
		"admissionregistration.k8s.io/v1": "ValidatingWebhookConfiguration *validatingwebhookconfigurations",
	}}
	a.changed = sync.NewCond(&a.mu)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.before != nil && a.before(w, r) {
		return
	}
	if a.discovery(w, r.URL.Path) {
		return
	}
	a.requests = append(a.requests, r.Method+" "+r.URL.Path)
	switch parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case r.URL.Query().Get("watch") != "":
		a.watch(w, r)
	case r.Method == http.MethodGet && a.isList(parts):
		a.list(w, r)
	default:
		a.one(w, r)
	}
}

func (a *api) isList(parts []string) bool {
	last := parts[len(parts)-1]
	for _, kinds := range a.served {
		for entry := range strings.SplitSeq(kinds, ",") {
			if _, resource, _ := strings.Cut(entry, " "); strings.TrimPrefix(resource, "*") == last {
				return true
			}
		}
	}
	return false
}

// discovery answers for groups and versions.
func (a *api) discovery(w http.ResponseWriter, path string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	if kinds, ok := a.served[name]; ok {
		list := metav1.APIResourceList{GroupVersion: name}
		for entry := range strings.SplitSeq(kinds, ",") {
			kind, resource, _ := strings.Cut(entry, " ")
			plural := strings.TrimPrefix(resource, "*")
			list.APIResources = append(list.APIResources,
				metav1.APIResource{Name: plural, Kind: kind, Namespaced: plural == resource},
				metav1.APIResource{Name: plural + "/status", Kind: kind})
		}
		answer(w, http.StatusOK, list)
		return true
	}
	var versions []metav1.GroupVersionForDiscovery
	for _, gv := range slices.Sorted(maps.Keys(a.served)) {
		if group, version, ok := strings.Cut(gv, "/"); ok && group == name {
			versions = append(versions, metav1.GroupVersionForDiscovery{Version: version})
		}
	}
	if versions != nil {
		answer(w, http.StatusOK, metav1.APIGroup{Name: name, Versions: versions, PreferredVersion: versions[0]})
		return true
	}
	if strings.HasPrefix(path, "/apis/") && strings.Count(name, "/") < 2 {
		failure(w, http.StatusNotFound, "the server could not find the requested resource", "")
		return true
	}
	return false
}

func (a *api) one(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	path := r.URL.Path
	live := a.objects[path]
	switch r.Method {
	case http.MethodPost:
		o := &Object{}
		if err := o.UnmarshalJSON(body); err != nil {
			a.t.Error(err)
		}
		a.keep(path+"/"+o.GetName(), o)
		answer(w, http.StatusCreated, o)
		return
	case http.MethodPatch, http.MethodPut:
		o := &Object{}
		if err := o.UnmarshalJSON(body); err != nil {
			a.t.Error(err)
		}
		a.keep(path, o)
		live = o
	case http.MethodDelete:
		if live != nil {
			a.drop(path)
		}
	}
	if live == nil {
		failure(w, http.StatusNotFound, path+" not found", path[strings.LastIndex(path, "/")+1:])
		return
	}
	answer(w, http.StatusOK, live)
}

// keep stores an object, with mu held, and tells the watches.
func (a *api) keep(path string, o *Object) {
	kind := "MODIFIED"
	if a.objects[path] == nil {
		kind = "ADDED"
	}
	a.version++
	o.SetResourceVersion(fmt.Sprint(a.version))
	a.objects[path] = o
	a.events = append(a.events, event{kind, path, o.DeepCopy()})
	a.changed.Broadcast()
}

func (a *api) drop(path string) {
	a.events = append(a.events, event{"DELETED", path, a.objects[path]})
	delete(a.objects, path)
	a.changed.Broadcast()
}

// put stores an object from YAML from outside of the server.
func (a *api) put(path, yaml string) {
	a.t.Helper()
	o := decode(a.t, yaml)[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep(path, o)
}

// selects says whether an object is below the path of a list, in any namespace where that names none, and as asked for.
func selects(r *http.Request, path string, o *Object) bool {
	all := r.URL.Path
	resource := all[strings.LastIndex(all, "/"):] + "/"
	under := strings.HasPrefix(path, all+"/") ||
		!strings.Contains(all, "/namespaces/") && strings.HasPrefix(path, all[:strings.LastIndex(all, "/")]) && strings.Contains(path, resource)
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	field, value, _ := strings.Cut(r.URL.Query().Get("fieldSelector"), "=")
	return under && err == nil && selector.Matches(labels.Set(o.GetLabels())) &&
		(field == "" || text(o, strings.Split(field, ".")...) == value)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(a.objects)) {
		if o := a.objects[path]; selects(r, path, o) {
			items = append(items, o.Object)
		}
	}
	answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "List", "items": items,
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(len(a.events))}}) // the next event's index
}

// watch tells what is there, or from a list's version on what happens, until the request ends.
func (a *api) watch(w http.ResponseWriter, r *http.Request) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-r.Context().Done():
			a.mu.Lock()
			a.changed.Broadcast()
			a.mu.Unlock()
		case <-stop:
		}
	}()
	next := len(a.events)
	if from := r.URL.Query().Get("resourceVersion"); from != "" {
		fmt.Sscan(from, &next)
	} else {
		for path, o := range a.objects {
			if selects(r, path, o) {
				tell(w, "ADDED", o)
			}
		}
	}
	w.(http.Flusher).Flush()
	for r.Context().Err() == nil {
		for ; next < len(a.events); next++ {
			if e := a.events[next]; selects(r, e.path, e.object) {
				tell(w, e.kind, e.object)
			}
		}
		a.changed.Wait()
	}
}

func tell(w http.ResponseWriter, kind string, o any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
	w.(http.Flusher).Flush()
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}

func failure(w http.ResponseWriter, code int, message, name string) {
	status := metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code),
		Message: message, Details: &metav1.StatusDetails{Name: name}}
	if code == http.StatusNotFound {
		status.Reason = metav1.StatusReasonNotFound
	}
	answer(w, code, status)
}

// asked gives the requests so far that begin with a method.
func (a *api) asked(method string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []string
	for _, r := range a.requests {
		if path, ok := strings.CutPrefix(r, method+" "); ok {
			found = append(found, path)
		}
	}
	return found
}

func (a *api) has(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.objects[path] != nil
}
