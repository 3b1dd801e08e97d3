package node

import (
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// kindConfig is one node that is all there is. Where no port is asked for, kind takes a free one.
func kindConfig(s Settings, apiPort int) *v1alpha4.Cluster {
	config := &v1alpha4.Cluster{
		Networking: v1alpha4.Networking{APIServerPort: int32(apiPort)},
		Nodes: []v1alpha4.Node{{
			Role: v1alpha4.ControlPlaneRole,
			ExtraPortMappings: []v1alpha4.PortMapping{{
				ContainerPort: s.NodePort,
				HostPort:      int32(s.HostPort),
				ListenAddress: "127.0.0.1",
				Protocol:      v1alpha4.PortMappingProtocolTCP,
			}},
		}},
		KubeadmConfigPatches: patches,
	}
	v1alpha4.SetDefaultsCluster(config)
	return config
}

// patches make kubeadm's start shorter. There is one controller manager and one scheduler, so neither needs to win an
// election first; and a cluster that lives for minutes need not survive a power cut, so etcd does not wait for the
// disk. kind takes version v1beta3 of kubeadm's settings for Kubernetes before 1.36, v1beta4 since, and merges those
// that fit; v1beta4 has arguments as lists, which replace kind's own, so kind's are repeated.
var patches = []string{`
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
etcd: {local: {extraArgs: {unsafe-no-fsync: "true"}}}
controllerManager: {extraArgs: {leader-elect: "false"}}
scheduler: {extraArgs: {leader-elect: "false"}}
`, `
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd: {local: {extraArgs: [{name: unsafe-no-fsync, value: "true"}]}}
controllerManager: {extraArgs: [{name: enable-hostpath-provisioner, value: "true"}, {name: leader-elect, value: "false"}]}
scheduler: {extraArgs: [{name: leader-elect, value: "false"}]}
`}
