package doctor

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	extensions "istio.io/api/extensions/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingbeta "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/validation"
	kyaml "sigs.k8s.io/yaml"
)

// istioKind is a kind that istiod validates. Gateway, VirtualService and DestinationRule are validated by the route
// model, which tells the line of each complaint. An EnvoyFilter is not: its validation needs all of Envoy's API.
type istioKind struct {
	spec     func() proto.Message
	validate validation.ValidateFunc
}

var istioKinds = map[string]istioKind{
	"networking.istio.io/Sidecar":             {func() proto.Message { return &networking.Sidecar{} }, validation.ValidateSidecar},
	"networking.istio.io/ServiceEntry":        {func() proto.Message { return &networking.ServiceEntry{} }, validation.ValidateServiceEntry},
	"networking.istio.io/WorkloadEntry":       {func() proto.Message { return &networking.WorkloadEntry{} }, validation.ValidateWorkloadEntry},
	"networking.istio.io/WorkloadGroup":       {func() proto.Message { return &networking.WorkloadGroup{} }, validation.ValidateWorkloadGroup},
	"networking.istio.io/ProxyConfig":         {func() proto.Message { return &networkingbeta.ProxyConfig{} }, validation.ValidateProxyConfig},
	"security.istio.io/AuthorizationPolicy":   {func() proto.Message { return &security.AuthorizationPolicy{} }, validation.ValidateAuthorizationPolicy},
	"security.istio.io/PeerAuthentication":    {func() proto.Message { return &security.PeerAuthentication{} }, validation.ValidatePeerAuthentication},
	"security.istio.io/RequestAuthentication": {func() proto.Message { return &security.RequestAuthentication{} }, validation.ValidateRequestAuthentication},
	"telemetry.istio.io/Telemetry":            {func() proto.Message { return &telemetry.Telemetry{} }, validation.ValidateTelemetry},
	"extensions.istio.io/WasmPlugin":          {func() proto.Message { return &extensions.WasmPlugin{} }, validation.ValidateWasmPlugin},
}

// validate asks istiod's own validation about the kinds that the route model leaves alone.
func validate(f *facts) {
	for _, o := range f.objects {
		group, _, _ := strings.Cut(o.APIVersion, "/")
		kind, ok := istioKinds[group+"/"+o.Kind]
		if !ok {
			continue
		}
		if err := o.istiod(kind); err != nil {
			f.add("invalid", Error, o, []any{"spec"}, "istiod rejects "+o.ID(), strings.Join(strings.Fields(err.Error()), " "), "correct the spec; see the reference of "+o.Kind)
		}
	}
}

func (o *object) istiod(kind istioKind) error {
	var body struct {
		Metadata struct {
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec json.RawMessage `json:"spec"`
	}
	if err := kyaml.Unmarshal(o.Raw, &body); err != nil {
		return err
	}
	spec := kind.spec()
	if len(body.Spec) > 0 {
		if err := json.Unmarshal(body.Spec, spec); err != nil {
			return fmt.Errorf("spec: %w", err)
		}
	}
	meta := config.Meta{Name: o.Name, Namespace: o.Namespace, Labels: body.Metadata.Labels, Annotations: body.Metadata.Annotations, Domain: "cluster.local"}
	_, err := kind.validate(config.Config{Meta: meta, Spec: spec})
	return err
}
