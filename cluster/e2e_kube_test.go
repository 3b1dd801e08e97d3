//go:build e2e

package cluster_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestE2EKube has package kube's own tests on a real API server run on the shared cluster, in namespaces of their own.
func TestE2EKube(t *testing.T) {
	c := exec.CommandContext(ended, "go", "test", "-count=1", "-timeout", "5m", "-run", "^TestCluster", "-v", "./internal/kube")
	c.Env = append(os.Environ(), "UMBRA_E2E_KUBECONFIG="+kubeconfig(t))
	said, err := c.CombinedOutput()
	t.Logf("%s", said)
	if err != nil {
		t.Error(err)
	}
}
