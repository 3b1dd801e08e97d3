package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Usage is the CPU that a container has used since it started, as the kubelet measured it at Time.
type Usage struct {
	Namespace, Pod, Container string
	Seconds                   float64
	Time                      time.Time // of the node's clock
}

// Usages asks the kubelet of each node, through the API server. Its figures are those of cAdvisor, which measures each
// container by itself every 10 to 20 s, under whichever of the kubelet's paths they are read; so they are up to 20 s old,
// and a share of CPU is the difference of two Seconds by that of their Times.
func (c *Client) Usages(ctx context.Context) ([]Usage, error) {
	nodes, err := c.List(ctx, "v1", "Node", "", nil)
	if err != nil {
		return nil, err
	}
	var asked sync.WaitGroup
	found, errs := make([][]Usage, len(nodes)), make([]error, len(nodes))
	for i, n := range nodes {
		asked.Go(func() { found[i], errs[i] = c.nodeUsages(ctx, n.GetName()) })
	}
	asked.Wait()
	var all []Usage
	for _, f := range found {
		all = append(all, f...)
	}
	return all, errors.Join(errs...)
}

func (c *Client) nodeUsages(ctx context.Context, node string) ([]Usage, error) {
	body, err := c.get(ctx, "/api/v1/nodes/"+node+"/proxy/stats/summary?only_cpu_and_memory=true")
	if err != nil {
		return nil, fmt.Errorf("CPU of node %s: %w", node, err)
	}
	usages, err := parseSummary(body)
	if err != nil {
		return nil, fmt.Errorf("CPU of node %s: %w", node, err)
	}
	return usages, nil
}

// parseSummary reads a Summary of k8s.io/kubelet/pkg/apis/stats/v1alpha1. Containers not measured yet are left out.
func parseSummary(body []byte) ([]Usage, error) {
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				Name string
				CPU  struct {
					Time                 time.Time
					UsageCoreNanoSeconds *uint64
				}
			}
		}
	}
	if err := json.Unmarshal(body, &summary); err != nil {
		return nil, fmt.Errorf("the kubelet's summary: %w", err)
	}
	var all []Usage
	for _, p := range summary.Pods {
		for _, c := range p.Containers {
			if c.CPU.UsageCoreNanoSeconds != nil {
				all = append(all, Usage{p.PodRef.Namespace, p.PodRef.Name, c.Name,
					float64(*c.CPU.UsageCoreNanoSeconds) / 1e9, c.CPU.Time})
			}
		}
	}
	return all, nil
}
