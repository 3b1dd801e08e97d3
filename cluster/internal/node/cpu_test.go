package node

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCPU(t *testing.T) {
	a, b := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	said := "/sys/fs/cgroup/kubelet.slice/pod1.slice/cri-containerd-" + a + ".scope/cpu.stat:usage_usec 2500000\n" +
		"/sys/fs/cgroup/kubelet.slice/pod1.slice/cri-containerd-" + a + ".scope/cpu.stat:user_usec 1\n" +
		"/sys/fs/cgroup/kubelet.slice/pod1.slice/cpu.stat:usage_usec 9\n" + // of a pod
		"/sys/fs/cgroup/cpuacct/kubepods/pod2/" + b + "/cpuacct.usage:1500000000\n" +
		"/sys/fs/cgroup/cpuacct/kubepods/pod2/" + b + "/cpuacct.usage:no number\n" +
		"rubbish\n"
	if diff := cmp.Diff(map[string]float64{a: 2.5, b: 1.5}, parseCPU(said)); diff != "" {
		t.Error(diff)
	}
}
