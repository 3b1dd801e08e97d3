package scenarios

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/live"
	"umbra/internal/traffic"
)

// viewer notes what it is told.
type viewer struct {
	silent
	mu    sync.Mutex
	parts []live.Part
	count []uint64
}

func (v *viewer) Playing(p live.Part) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.parts = append(v.parts, p)
}

func (v *viewer) Counted(n uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count = append(v.count, n)
}

func playViewed(t *testing.T, s *Scenario, m Mesh, counts bool) *viewer {
	t.Helper()
	var v viewer
	run := Run{Scenario: s, Mesh: m, Dir: t.TempDir(), Watcher: &v, Counts: counts, Transport: transportOf()}
	if err := run.Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &v
}

// The stages, nothing, the closed loop, each block in its turn, and nothing: and the counters once, when the mirrors have ended.
func TestViewerIsToldWhatIsPlayed(t *testing.T) {
	s := blocks(t, "controls: off")
	v := playViewed(t, s, newSwitched(t, s), false)
	if len(v.parts) != 24 || len(v.count) != 1 {
		t.Fatalf("%d parts, %d readings; want the stages, nothing, the closed loop, 20 blocks and nothing, and one reading", len(v.parts), len(v.count))
	}
	stages, closed, last := v.parts[0], v.parts[2], v.parts[23]
	if d := cmp.Diff([]live.Leg{{Phase: traffic.PhaseStage, From: 400, To: 400, For: 100 * time.Millisecond}}, stages.Legs); d != "" || stages.Start.IsZero() || stages.Span != 100*time.Millisecond {
		t.Errorf("stages %+v:\n%s", stages, d)
	}
	if !v.parts[1].Start.IsZero() || !last.Start.IsZero() || !closed.Closed || closed.Begin < stages.Span {
		t.Errorf("nothing is %+v and %+v, the closed loop %+v", v.parts[1], last, closed)
	}
	on := 0
	for i, p := range v.parts[3:23] {
		b := p.Block
		if b.Experiment != "mirroring off against on" || b.Number != i+1 || b.Of != 20 || b.Done != i/4 || b.Quadruples != 5 || len(p.Legs) != 2 || p.Begin <= closed.Begin {
			t.Errorf("block %d: %+v, %+v", i, p, b)
		}
		if b.Arm == "on" {
			on++
		}
	}
	if on != 10 {
		t.Errorf("mirroring was on in %d of 20 blocks", on)
	}
}

// While the stages are played the counters are read once a second, from where they stood before.
func TestCountersAreReadOnceASecond(t *testing.T) {
	s := runScenario(t, `traffic: {mix: [{name: get, path: /}]}
load: {arrivals: constant, timeout: 20s, stages: [{rate: 100, for: 2500ms}]}
`)
	m := newSwitched(t, s)
	m.copies = 1000
	v := playViewed(t, s, m, true)
	if n := len(v.count); n != 3 || v.count[0] == 0 || v.count[0] >= v.count[1] || v.count[n-1] != 250 {
		t.Errorf("the readings %v are not two that rise, and 250 behind the load", v.count)
	}
	if d := cmp.Diff(map[string]uint64{"shop/app/reads": 100_000}, s.MirrorShares()); d != "" {
		t.Error(d)
	}
}

// A cluster that is a route's own and another one's mirror does not tell how much was mirrored.
func TestMirroredRequestsAreToldApart(t *testing.T) {
	s := short(t)
	if !tellsMirrored(s.Table) {
		t.Error("v2 gets mirrored requests alone")
	}
	for _, r := range s.Table.Routes() {
		r.Destinations = append(r.Destinations, r.Destinations[0])
		r.Destinations[1].Cluster = shadowCluster
	}
	if tellsMirrored(s.Table) {
		t.Error("v2 gets others, too")
	}
}
