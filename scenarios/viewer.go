package scenarios

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"umbra/internal/live"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/verdict"
)

// Viewer is a Watcher that shows a run while it goes on.
type Viewer interface {
	Watcher
	Playing(part live.Part)  // from now on; an empty part: nothing
	Counted(mirrored uint64) // by the gateway's counters, since the run began
}

// playing tells the Viewer, where there is one, what is played.
func (r *Run) playing(p live.Part) {
	if v, ok := r.Watcher.(Viewer); ok {
		v.Playing(p)
	}
}

// counted tells the Viewer what the gateway's counters say, where they tell mirrored requests from others.
func (r *Run) counted(counters map[string]uint64) {
	v, ok := r.Watcher.(Viewer)
	if !ok || !tellsMirrored(r.Scenario.Table) {
		return
	}
	was, is := r.before, &mesh.State{Counters: counters}
	n := uint64(0)
	for _, c := range mirrorClusters(r.Scenario.Table) {
		before, now := was.Counter(c, "upstream_rq_total"), is.Counter(c, "upstream_rq_total")
		n += now - min(before, now)
	}
	v.Counted(n)
}

// countEvery is how often the counters are read for a Viewer. A real gateway's main thread takes some milliseconds for a reading, and its
// workers, which carry the traffic, none.
const countEvery = time.Second

// count reads the gateway's counters now and then, where the run is told to, until stop, which waits for it. A reading that fails is
// left out: the evidence is read at the end.
func (r *Run) count(ctx context.Context, running Running) (stop func()) {
	if !r.Counts {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		ticks := time.NewTicker(countEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
			if counters, err := running.Counters(ctx); err == nil {
				r.counted(counters)
			}
		}
	})
	return func() {
		cancel()
		reader.Wait()
	}
}

// MirrorShares are how many of a million requests each route mirrors as it is configured, by its name: of several mirrors, the sum. It has
// no routes that do not mirror.
func (s *Scenario) MirrorShares() map[string]uint64 {
	shares := map[string]uint64{}
	clusters := mirrorClusters(s.Table)
	for _, r := range s.Table.Routes() {
		for _, m := range r.Mirrors {
			if slices.Contains(clusters, m.Cluster) {
				shares[r.Name] += uint64(m.Numerator)
			}
		}
	}
	return shares
}

// tellsMirrored is false where a cluster gets mirrored requests and others: its counters do not tell them apart.
func tellsMirrored(t *route.Table) bool {
	clusters := mirrorClusters(t)
	return !slices.ContainsFunc(t.Routes(), func(r *route.Route) bool {
		return slices.ContainsFunc(r.Destinations, func(d route.Destination) bool { return slices.Contains(clusters, d.Cluster) })
	})
}

// describeBlocks says in a few words which experiment a block belongs to.
func describeBlocks(b *verdict.Block) string {
	switch b.Experiment {
	case verdict.Negative:
		return "control: off against off"
	case verdict.Positive:
		return fmt.Sprintf("control: a slower primary (p%g)", b.Quantile)
	}
	return "mirroring off against on"
}
