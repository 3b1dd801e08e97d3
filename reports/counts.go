package reports

import "umbra/internal/verdict"

// count puts on the mesh what the verdicts counted of each route and mirror.
func (r *Report) count() {
	if r.Mesh == nil {
		return
	}
	for i := range r.Mesh.Routes {
		route := &r.Mesh.Routes[i]
		route.Counts = nil
		if item := r.item(verdict.Integrity, route.Name, ""); item != nil && item.Integrity != nil {
			route.Counts = &RouteCounts{item.Integrity.Requests, item.Integrity.OK, item.Integrity.Primaries}
		}
		for k := range route.Mirrors {
			m := &route.Mirrors[k]
			m.Counts = nil
			if item := r.item(verdict.Sampling, route.Name, m.Cluster); item != nil && item.Sampling != nil {
				m.Counts = &MirrorCounts{item.Sampling.Eligible, item.Sampling.Mirrored}
			}
		}
	}
}

// item is a verdict's item of a route and cluster; nil where there is none.
func (r *Report) item(name, route, cluster string) *verdict.Item {
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		for k := range v.Items {
			if item := &v.Items[k]; v.Name == name && item.Route == route && item.Cluster == cluster {
				return item
			}
		}
	}
	return nil
}
