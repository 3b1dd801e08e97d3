package reports

import "testing"

// The mesh has what its verdicts counted, and nothing where nothing was counted.
func TestCounts(t *testing.T) {
	route := passing().Mesh.Routes[0]
	if route.Counts == nil || *route.Counts != (RouteCounts{19050, 19050, 19050}) {
		t.Errorf("%+v", route.Counts)
	}
	if m := route.Mirrors[0]; m.Counts == nil || *m.Counts != (MirrorCounts{19050, 1912}) {
		t.Errorf("%+v", m.Counts)
	}
	r := passing()
	r.Verdicts = nil
	if r.Close(); r.Mesh.Routes[0].Counts != nil || r.Mesh.Routes[0].Mirrors[0].Counts != nil {
		t.Errorf("%+v, of no verdict", r.Mesh)
	}
}
