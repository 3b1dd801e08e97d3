package cluster

import (
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
)

// The public images. Nothing else in this repository names a registry.
const (
	defaultHub = "docker.io/istio"
	defaultTag = "1.31.0"
)

// DefaultName is the kind cluster's name where none is given.
const DefaultName = "umbra"

// defaultWait bounds each wait for something to become ready: images may have to be pulled.
const defaultWait = 5 * time.Minute

// Settings say where a mesh on Kubernetes comes from. What is empty takes its default.
type Settings struct {
	Name       string   // the kind cluster's
	NodeImage  string   // the kind node's
	Hub, Tag   string   // of Istio's images
	Values     string   // a file of Helm values for istiod's chart
	LoadImages []string // images of the local engine that are loaded into the node
	AppImage   string   // an image of umbra's app, in place of one made of this program
	AppBinary  string   // the Linux program that the app's image is made of, in place of this one
	Port       int      // of the gateway on 127.0.0.1; 0: a free one
	Kubeconfig string   // of the user's own cluster; empty: as kubectl finds it
	Context    string   // in it; empty: the current one
	Gateway    string   // host:port of the user's own gateway; empty: it is forwarded to loopback
	Apply      bool     // the manifests may be applied to the user's own cluster, and are put back
	AccessLog  bool     // gateways write access logs, which the run keeps
	Wait       time.Duration
}

// FromEnvironment reads the settings that are given as UMBRA_*.
func FromEnvironment(get func(name string) string) Settings {
	s := Settings{
		NodeImage: get("UMBRA_NODE_IMAGE"), Hub: get("UMBRA_ISTIO_HUB"), Tag: get("UMBRA_ISTIO_TAG"), Values: get("UMBRA_ISTIO_VALUES"),
		AppImage: get("UMBRA_APP_IMAGE"), AppBinary: get("UMBRA_APP_BINARY"),
	}
	for _, image := range strings.Split(get("UMBRA_LOAD_IMAGES"), ",") {
		if image = strings.TrimSpace(image); image != "" {
			s.LoadImages = append(s.LoadImages, image)
		}
	}
	return s.WithDefaults()
}

// WithDefaults fills in what is empty.
func (s Settings) WithDefaults() Settings {
	s.Name = or(s.Name, DefaultName)
	s.NodeImage = or(s.NodeImage, defaults.Image)
	s.Hub, s.Tag = or(s.Hub, defaultHub), or(s.Tag, defaultTag)
	if s.Wait == 0 {
		s.Wait = defaultWait
	}
	return s
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
