package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/cluster/internal/node"
)

// Status is what of a mesh stands.
type Status struct {
	Cluster    string      `json:"cluster"`           // the kind cluster's name, or the API server's address
	Serves     bool        `json:"serves"`            // istiod, a gateway and every pod of umbra's are ready
	Missing    string      `json:"missing,omitempty"` // why it does not serve
	Gateway    string      `json:"gateway,omitempty"` // host:port on 127.0.0.1
	Kubernetes string      `json:"kubernetes,omitempty"`
	Istio      string      `json:"istio,omitempty"`
	Pods       []PodStatus `json:"pods,omitempty"` // the gateway's, istiod's, and those that umbra applied
}

// PodStatus is a pod as it stands.
type PodStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`
	Ready     bool   `json:"ready"`
	Restarts  int    `json:"restarts,omitempty"`
}

// Text prints it for people.
func (s *Status) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster: %s", s.Cluster)
	if s.Kubernetes != "" {
		fmt.Fprintf(&b, " (Kubernetes %s, Istio %s)", s.Kubernetes, or(s.Istio, "none"))
	}
	b.WriteByte('\n')
	if s.Gateway != "" {
		fmt.Fprintf(&b, "gateway: http://%s\n", s.Gateway)
	}
	for _, p := range s.Pods {
		state := "ready"
		if !p.Ready {
			state = "NOT READY"
		}
		fmt.Fprintf(&b, "  %-50s %-10s %s", p.Namespace+"/"+p.Name, p.Version, state)
		if p.Restarts > 0 {
			fmt.Fprintf(&b, ", restarted %d times", p.Restarts)
		}
		b.WriteByte('\n')
	}
	if s.Missing != "" {
		fmt.Fprintf(&b, "does not serve: %s\n", s.Missing)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Ask tells what of a mesh stands: of umbra's kind cluster, or of the user's own.
func Ask(ctx context.Context, kind bool, s Settings) (*Status, error) {
	s = s.WithDefaults()
	if !kind {
		client, err := s.connect()
		if err != nil {
			return nil, err
		}
		return ask(ctx, client, &Status{Cluster: or(s.Context, "the current context")})
	}
	status := &Status{Cluster: s.Name}
	n, err := node.Find(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		status.Missing = "there is no kind cluster of that name; umbra up FILE --on kind makes it"
		return status, nil
	}
	client, err := connectTo(ctx, n)
	if err != nil {
		return nil, err
	}
	if status.Gateway, err = n.Address(ctx); err != nil {
		return nil, err
	}
	return ask(ctx, client, status)
}

func ask(ctx context.Context, client *kube.Client, s *Status) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	var err error
	if s.Kubernetes, err = client.Version(ctx); err != nil {
		return nil, fmt.Errorf("the cluster does not answer: %w", err)
	}
	if s.Istio, err = istioVersion(ctx, client); err != nil {
		return nil, err
	}
	var missing []string
	for what, labels := range map[string]map[string]string{"istiod": {"app": "istiod"}, "gateway": gatewayLabels} {
		n, err := s.add(ctx, client, "", labels)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			missing = append(missing, "no "+what)
		}
	}
	deployments, err := client.List(ctx, "apps/v1", "Deployment", "", map[string]string{kube.ManagedBy: kube.Manager})
	if err != nil {
		return nil, err
	}
	for _, o := range deployments {
		if o.GetNamespace() == istio.Namespace {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return nil, err
		}
		if _, err := s.add(ctx, client, d.Namespace, d.Spec.Selector.MatchLabels); err != nil {
			return nil, err
		}
	}
	for _, p := range s.Pods {
		if !p.Ready {
			missing = append(missing, "pod "+p.Namespace+"/"+p.Name+" is not ready")
		}
	}
	s.Missing = strings.Join(missing, ", ")
	s.Serves = s.Missing == ""
	return s, nil
}

func (s *Status) add(ctx context.Context, client *kube.Client, namespace string, labels map[string]string) (int, error) {
	pods, err := client.Pods(ctx, namespace, labels)
	for i := range pods {
		p := &pods[i]
		if p.DeletionTimestamp == nil {
			s.Pods = append(s.Pods, PodStatus{p.Namespace, p.Name, p.Labels["version"], ready(p), restarts(p)})
		}
	}
	return len(pods), err
}

// istioVersion is the tag of istiod's image; empty where there is no istiod.
func istioVersion(ctx context.Context, client *kube.Client) (string, error) {
	pods, err := client.Pods(ctx, "", map[string]string{"app": "istiod"})
	if err != nil || len(pods) == 0 || len(pods[0].Spec.Containers) == 0 {
		return "", err
	}
	image := pods[0].Spec.Containers[0].Image
	return image[strings.LastIndexByte(image, ':')+1:], nil
}

func connectTo(ctx context.Context, n *node.Cluster) (*kube.Client, error) {
	kubeconfig, err := n.Kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	config, err := kube.Parse(kubeconfig)
	if err != nil {
		return nil, err
	}
	return kube.Connect(config)
}

// Kubeconfig gives what kubectl needs for the cluster that Up gave.
func (k *Kind) Kubeconfig(ctx context.Context) ([]byte, error) {
	if k.node == nil {
		return nil, errors.New("there is no cluster")
	}
	return k.node.Kubeconfig(ctx)
}

// Down deletes umbra's kind cluster, or puts the objects of the user's own back. It says what it did.
func Down(ctx context.Context, kind bool, s Settings) ([]string, error) {
	s = s.WithDefaults()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteIn)
	defer cancel()
	if !kind {
		return putBack(ctx, s)
	}
	n, err := node.Find(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return []string{"there is no kind cluster " + s.Name}, nil
	}
	if err := ours(ctx, n); err != nil {
		return nil, err
	}
	if err := n.Delete(ctx); err != nil {
		return nil, err
	}
	return []string{"kind cluster " + s.Name + " deleted"}, nil
}

// ours refuses a kind cluster that umbra did not make: it changes none of another's, and deletes none.
func ours(ctx context.Context, n *node.Cluster) error {
	ours, err := n.Ours(ctx)
	if err == nil && !ours {
		err = fmt.Errorf("kind cluster %s was not made by umbra, which leaves it as it is: give another --name, or remove it by kind delete cluster --name %s", n.Name(), n.Name())
	}
	return err
}

func putBack(ctx context.Context, s Settings) ([]string, error) {
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	changed, err := client.PutBack(ctx, putBackIn)
	if err == nil && len(changed) == 0 {
		return []string{"nothing of umbra's is applied"}, nil
	}
	return changed, err
}
