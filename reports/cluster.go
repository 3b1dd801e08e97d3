package reports

import (
	"fmt"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/verdict"
)

// cluster shows what a mesh on Kubernetes is made of, and what umbra did to it.
func (t sheet) cluster(r *evidence.Record) {
	t.versions(r.Cluster)
	t.list("Changes to the manifests", r.Changes)
	t.cpu(r.CPU)
	t.steps(r.Steps)
}

func (t sheet) versions(c *evidence.ClusterFacts) {
	if c == nil {
		return
	}
	t.title("Cluster")
	stood := "made for this run"
	if c.Reused {
		stood = "stood already"
	}
	unknown := "not known"
	t.paragraph("  ", fmt.Sprintf("Kubernetes %s, Istio %s, proxy %s, node %s, %s", or(c.Kubernetes, unknown), or(c.Istio, unknown), or(c.Proxy, unknown), or(c.Node, unknown), stood))
}

func (t sheet) restarts(rs []verdict.Restart) {
	if len(rs) == 0 {
		return
	}
	t.title("Pods of the app that did not last the whole run")
	rows := [][]string{{"pod", "version", "what", "at", "its receipts"}}
	for _, r := range rs {
		at, receipts := "not known", "whole"
		if !r.At.IsZero() {
			at = r.At.UTC().Format(time.RFC3339)
		}
		if r.Lost {
			receipts = "some may be lost"
		}
		rows = append(rows, []string{r.Pod, r.Version, r.What, at, receipts})
	}
	t.table(rows, len(rows[0]))
}

func (t sheet) cpu(uses []evidence.CPUUse) {
	if len(uses) == 0 {
		return
	}
	t.title("CPU on average, in cores")
	rows := [][]string{{"namespace", "pod", "container", "version", "cores", "over, s"}}
	for _, u := range uses {
		rows = append(rows, []string{u.Namespace, u.Pod, u.Container, u.Version, fmt.Sprintf("%.3f", u.Cores), fmt.Sprintf("%.1f", u.Over.Seconds())})
	}
	t.table(rows, 4)
}

func (t sheet) steps(steps []evidence.Step) {
	if len(steps) == 0 {
		return
	}
	t.title("Steps to the mesh, in seconds; some went on side by side")
	rows := [][]string{{"step", "took"}}
	for _, s := range steps {
		rows = append(rows, []string{s.Name, fmt.Sprintf("%.3f", s.Took.Seconds())})
	}
	t.table(rows, 1)
}
