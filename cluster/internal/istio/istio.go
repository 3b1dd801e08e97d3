// Package istio is pure: it renders Istio's embedded charts to objects, and makes of a scenario's manifests the objects
// that are applied. It talks to no cluster and reads no file.
package istio

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Object is an object of any kind.
type Object = unstructured.Unstructured

// Where Istio is: the names that internal/route takes for granted too.
const (
	Namespace   = "istio-system"
	GatewayName = "istio-ingressgateway" // of the release, its Deployment and its Service
)

// DefaultGatewayWorkers is the number of worker threads of a gateway replica where the settings name none. It is said
// outright because Envoy's own default is the node's number of cores: latencies of two machines would not compare.
const DefaultGatewayWorkers = 2

// Settings of the installation. Hub and Tag are always set, never left to the charts.
type Settings struct {
	Hub, Tag       string
	Values         map[string]any // of the user, for istiod's chart; merged over ours
	KubeVersion    string         // for the charts' capabilities, "v1.34.4"; "": what Helm's engine takes for current
	GatewayPorts   []uint32       // of the gateway's Service; ServicePort is one of them whether it is listed or not
	NodePort       int32          // where the node takes ServicePort; 0: the API server draws one
	ServicePort    uint32         // of the run
	GatewayWorkers int            // worker threads of a gateway replica; 0: DefaultGatewayWorkers
	AccessLog      bool           // the gateway writes its access log to standard output; sidecars do not
}

// Installation is Istio, in the order in which it is applied: each list needs the one before it to be ready. The
// gateway's image and its configuration are filled in by istiod when its pods are made.
type Installation struct {
	Base    []*Object // the namespace, the CRDs, what is cluster-wide
	Control []*Object // istiod
	Gateway []*Object
}

// Images gives the distinct images of all pods, sidecars with them, sorted.
func (i *Installation) Images() []string {
	return Images(slices.Concat(i.Base, i.Control, i.Gateway))
}

// Render renders the charts base, istio-discovery and gateway. It needs no cluster; it takes a few tenths of a second, most of it the CRDs.
func Render(s Settings) (*Installation, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	control := s.controlValues()
	out := &Installation{}
	for _, c := range []struct {
		chart, release string
		values         map[string]any
		to             *[]*Object
	}{
		{"base", "istio-base", nil, &out.Base},
		{"istio-control/istio-discovery", "istiod", control, &out.Control},
		{"gateway", GatewayName, s.gatewayValues(proxyImage(control)), &out.Gateway},
	} {
		objects, err := render(c.chart, c.release, c.values, s.KubeVersion)
		if err != nil {
			return nil, fmt.Errorf("chart %s of Istio: %w", c.chart, err)
		}
		*c.to = objects
	}
	out.Base = append([]*Object{newObject("v1", "Namespace", "", Namespace)}, out.Base...)
	if s.AccessLog {
		out.Gateway = append(out.Gateway, AccessLog())
	}
	return out, nil
}

func (s *Settings) check() error {
	switch {
	case s.Hub == "" || s.Tag == "":
		return errors.New("the images of Istio have no hub or no tag: set both")
	case s.ServicePort == 0 || s.ServicePort > 65535 || slices.ContainsFunc(s.GatewayPorts, func(p uint32) bool { return p == 0 || p > 65535 }):
		return fmt.Errorf("the gateway's ports %d and %v: give numbers from 1 to 65535", s.ServicePort, s.GatewayPorts)
	case s.NodePort < 0 || s.NodePort > 65535:
		return fmt.Errorf("node port %d: give one that the cluster serves (30000 to 32767 by default)", s.NodePort)
	case s.GatewayWorkers < 0:
		return fmt.Errorf("%d workers of the gateway: give a number from 1", s.GatewayWorkers)
	}
	return s.checkValues()
}

// small are the requests of everything that umbra installs, so that all fits on a node of two cores. Limits stay the
// charts' own.
func small() map[string]any {
	return map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "64Mi"}}
}

func (s *Settings) controlValues() map[string]any {
	ours := map[string]any{
		"autoscaleEnabled": false,
		"replicaCount":     1,
		"resources":        small(),
		"global": map[string]any{
			"hub":             s.Hub,
			"tag":             s.Tag,
			"imagePullPolicy": "IfNotPresent",
			"proxy":           map[string]any{"resources": small()},
		},
	}
	return merge(ours, s.Values)
}

// statsMatcher is what the gateway shows beyond Istio's few: the requests and connections of every cluster that a route
// or a mirror leads to, split into .internal. and .external. too, with overflow and none_healthy among them. Envoy
// matches a whole name.
const statsMatcher = `cluster\.outbound\|.*\.(upstream_rq|upstream_cx|membership)_.*`

func (s *Settings) gatewayValues(image string) map[string]any {
	workers := s.GatewayWorkers
	if workers == 0 {
		workers = DefaultGatewayWorkers
	}
	config, err := yaml.Marshal(map[string]any{
		"concurrency":       workers,
		"proxyStatsMatcher": map[string]any{"inclusionRegexps": []string{statsMatcher}},
	})
	if err != nil {
		panic(err) // a map of numbers and strings
	}
	return map[string]any{
		"replicaCount":    1,
		"autoscaling":     map[string]any{"enabled": false},
		"imagePullPolicy": "IfNotPresent",
		"resources":       small(),
		"service":         map[string]any{"type": "NodePort", "ports": s.servicePorts()},
		"podAnnotations": map[string]any{
			"proxy.istio.io/config": string(config), // ProxyConfig of this workload alone: the sidecars' stays the user's
			proxyImageAnnotation:    image,
		},
	}
}

// servicePorts lists the run's port first: the API server goes through them in order, and must not have drawn its node
// port for another one. The gateway listens on the target port, which is the Gateway server's own.
func (s *Settings) servicePorts() []any {
	rest := slices.DeleteFunc(slices.Clone(s.GatewayPorts), func(p uint32) bool { return p == s.ServicePort })
	slices.Sort(rest)
	var out []any
	for _, n := range append([]uint32{s.ServicePort}, slices.Compact(rest)...) {
		port := map[string]any{"name": portName(n), "port": int64(n), "targetPort": int64(n), "protocol": "TCP"}
		if n == s.ServicePort && s.NodePort != 0 {
			port["nodePort"] = int64(s.NodePort)
		}
		out = append(out, port)
	}
	return out
}

// portName follows Istio's convention. What the gateway speaks on a port is the Gateway's matter, not the name's.
func portName(n uint32) string {
	if n == 443 || n == 8443 {
		return fmt.Sprintf("https-%d", n)
	}
	return fmt.Sprintf("http-%d", n)
}

// proxyImageAnnotation names the image that istiod puts in place of "auto".
const proxyImageAnnotation = "sidecar.istio.io/proxyImage"

// proxyImage is the image of every proxy, as ProxyImage of istio.io/istio/pkg/kube/inject makes it of istiod's values.
func proxyImage(control map[string]any) string {
	image := text(control, "global", "proxy", "image")
	if image == "" {
		image = "proxyv2"
	}
	if strings.Contains(image, "/") {
		return image
	}
	image = text(control, "global", "hub") + "/" + image + ":" + text(control, "global", "tag")
	for _, from := range [][]string{{"global", "proxy", "variant"}, {"global", "variant"}} {
		if v := text(control, from...); v != "" && !strings.HasSuffix(image, "-"+v) {
			return image + "-" + v
		}
	}
	return image
}

// text gives the scalar at a path as text, "" where there is none.
func text(values map[string]any, path ...string) string {
	v, ok, err := unstructured.NestedFieldNoCopy(values, path...)
	if !ok || err != nil || v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// AccessLog turns on the access log of the gateway alone, by Istio's built-in provider.
func AccessLog() *Object {
	o := newObject("telemetry.istio.io/v1", "Telemetry", Namespace, "umbra-gateway-access-log")
	o.Object["spec"] = map[string]any{
		"selector":      map[string]any{"matchLabels": map[string]any{"istio": "ingressgateway"}},
		"accessLogging": []any{map[string]any{"providers": []any{map[string]any{"name": "envoy"}}}},
	}
	return o
}

func newObject(apiVersion, kind, namespace, name string) *Object {
	o := &Object{Object: map[string]any{}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetName(name)
	if namespace != "" {
		o.SetNamespace(namespace)
	}
	return o
}
