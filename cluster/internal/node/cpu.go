package node

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cpuIn bounds the reading of the containers' CPU.
const cpuIn = 10 * time.Second

// containerID is the name of a container as containerd has it; its cgroup's name holds it.
var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// CPU gives the CPU that each container in the node has used since it started, in seconds by its id, as it is at this instant: the
// kernel's own count, which the kubelet repeats up to 20 s late.
func (c *Cluster) CPU(ctx context.Context) (map[string]float64, error) {
	said, err := c.inside(ctx, cpuIn, "sh", "-c", `find /sys/fs/cgroup \( -name cpu.stat -o -name cpuacct.usage \) -exec grep -H . {} + 2>/dev/null || true`)
	if err != nil {
		return nil, err
	}
	return parseCPU(said), nil
}

// parseCPU reads lines as grep -H writes them: of cpu.stat "PATH:usage_usec N" in microseconds (Documentation/admin-guide/cgroup-v2.rst),
// of cpuacct.usage "PATH:N" in nanoseconds (cgroup-v1/cpuacct.rst). Where a container has both, they agree.
func parseCPU(said string) map[string]float64 {
	used := map[string]float64{}
	for line := range strings.Lines(said) {
		path, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		ids := containerID.FindAllString(path, -1)
		if len(ids) == 0 {
			continue
		}
		unit := 1e-9
		if strings.HasSuffix(path, "cpu.stat") {
			var known bool
			if value, known = strings.CutPrefix(value, "usage_usec "); !known {
				continue
			}
			unit = 1e-6
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			id := ids[len(ids)-1]
			used[id] = max(used[id], float64(n)*unit)
		}
	}
	return used
}
