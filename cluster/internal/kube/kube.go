// Package kube talks to the API server of one cluster: it applies objects, waits for them with an account of what holds
// them up, reads pods, reaches their ports and puts a user's own objects back as they were.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Object is an object of any kind. No function of this package changes one that it is given.
type Object = unstructured.Unstructured

const (
	// Manager owns the fields that Apply sets.
	Manager = "umbra"
	// ManagedBy is the label of all that Apply applies; its value is Manager.
	ManagedBy = "app.kubernetes.io/managed-by"

	dialTimeout = 5 * time.Second
	// requestTimeout bounds each request that is answered at once. Watches, logs and forwarded ports have none.
	requestTimeout = 30 * time.Second
	pageSize       = 500
	kindGrace      = 10 * time.Second
)

// Client is a connection to one API server. Its methods may be used concurrently.
type Client struct {
	config  *rest.Config
	rest    *rest.RESTClient
	dynamic dynamic.Interface
	kinds   *kinds

	kindGrace time.Duration // how long Apply and PutBack wait for a kind that no CRD declares
}

// Load reads a kubeconfig as kubectl does: path, or where that is empty $KUBECONFIG, ~/.kube/config, or the service
// account of the pod that this process runs in. An empty contextName is the current one.
func Load(path, contextName string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: contextName}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	if contextName != "" {
		if err := checkContext(loader, contextName); err != nil {
			return nil, err
		}
	}
	config, err := loader.ClientConfig()
	switch {
	case err == nil:
		return config, nil
	case path != "":
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no kubeconfig: name one, or set KUBECONFIG, or write ~/.kube/config")
	}
	return nil, fmt.Errorf("kubeconfig %s: %w", strings.Join(rules.Precedence, string(os.PathListSeparator)), err)
}

func checkContext(loader clientcmd.ClientConfig, name string) error {
	raw, err := loader.RawConfig()
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if raw.Contexts[name] != nil {
		return nil
	}
	var known []string
	for k := range raw.Contexts {
		known = append(known, k)
	}
	slices.Sort(known)
	return fmt.Errorf("the kubeconfig has no context %q; it has: %s", name, strings.Join(known, ", "))
}

// Parse reads a kubeconfig's text and takes its current context.
func Parse(kubeconfig []byte) (*rest.Config, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return config, nil
}

// Connect makes a client. It sends nothing: ask Version for whether the API server answers.
func Connect(config *rest.Config) (*Client, error) {
	config = dynamic.ConfigFor(config)
	config.QPS = -1 // the server's priority and fairness limits us; client-go's limiter would only add waits
	config.WarningHandler = rest.NoWarnings{}
	config.UserAgent = Manager
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", config.Host, err)
	}
	client, err := rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", config.Host, err)
	}
	return &Client{config: config, rest: client, dynamic: dynamic.New(client), kinds: &kinds{raw: client}, kindGrace: kindGrace}, nil
}

// Version gives the API server's version, as "v1.34.4".
func (c *Client) Version(ctx context.Context) (string, error) {
	body, err := c.get(ctx, "/version")
	if err != nil {
		return "", fmt.Errorf("API server %s: %w", c.config.Host, err)
	}
	var v version.Info
	if err := json.Unmarshal(body, &v); err != nil || v.GitVersion == "" {
		return "", fmt.Errorf("%s answers /version, but not as an API server does: %.80q", c.config.Host, body)
	}
	return v.GitVersion, nil
}

// get reads an answer whole.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.rest.Get().RequestURI(path).Do(ctx).Raw()
}

// Get gives the live object of o's kind, namespace and name; nil where there is none, or the cluster has no such kind.
func (c *Client) Get(ctx context.Context, o *Object) (*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api, err := c.resource(ctx, o)
	if unknown(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(o), err)
	}
	live, err := api.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(o), err)
	}
	return live, nil
}

// List gives the objects of a kind that carry all the labels; an empty namespace is all of them. A kind that the
// cluster doesn't have gives none.
func (c *Client) List(ctx context.Context, apiVersion, kind, namespace string, with map[string]string) ([]*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := c.kinds.find(ctx, apiVersion, kind)
	if unknown(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", kind, err)
	}
	objects, _, err := c.list(ctx, found, namespace, metav1.ListOptions{LabelSelector: labels.FormatLabels(with)})
	return objects, err
}

// list also gives the resource version to watch from.
func (c *Client) list(ctx context.Context, k kind, namespace string, o metav1.ListOptions) ([]*Object, string, error) {
	if o.LabelSelector == labels.FormatLabels(nil) {
		o.LabelSelector = ""
	}
	o.Limit = pageSize
	var objects []*Object
	for {
		page, err := c.dynamic.Resource(k.resource).Namespace(namespace).List(ctx, o)
		if notServed(err) {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("listing %s: %w", k.resource.Resource, err)
		}
		for i := range page.Items {
			objects = append(objects, &page.Items[i])
		}
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return objects, page.GetResourceVersion(), nil
		}
	}
}

// Name is how messages name an object: "Deployment shop/my-app-v1", "Namespace shop".
func Name(o *Object) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// pause waits; false where ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// notServed says whether the API server knows no such path, as just after a CRD's deletion or before it is served.
func notServed(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusNotFound {
		return false
	}
	return status.Status().Details == nil || status.Status().Details.Name == ""
}
