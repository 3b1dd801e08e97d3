package host

import (
	"math"
	"runtime/metrics"
	"time"
)

// Sampler reads the counters. It is used by one goroutine, which is not a loop's: a reading costs a fraction of a
// millisecond.
type Sampler struct {
	system  system
	metrics []metrics.Sample
}

// NewSampler finds out where this system keeps its counters.
func NewSampler() *Sampler {
	return &Sampler{system: newSystem(), metrics: []metrics.Sample{{Name: gcCycles}, {Name: gcPauses}}}
}

// Read takes a sample.
func (s *Sampler) Read() *Sample {
	metrics.Read(s.metrics)
	out := &Sample{at: time.Now(), gc: collectionsOf(s.metrics)}
	s.system.read(out)
	return out
}

// The metrics of the garbage collector, of package runtime/metrics.
const (
	gcCycles = "/gc/cycles/total:gc-cycles"
	gcPauses = "/sched/pauses/total/gc:seconds"
)

// collections counts garbage collections and their pauses since the program began.
type collections struct {
	cycles int64
	edges  []float64 // of the pauses' histogram, in seconds; the runtime's, never changed
	pauses []uint64  // in each bucket
}

// collectionsOf copies what the runtime will overwrite. A metric that this version of Go does not have counts nothing.
func collectionsOf(samples []metrics.Sample) (c collections) {
	for _, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			c.cycles = int64(s.Value.Uint64())
		case metrics.KindFloat64Histogram:
			h := s.Value.Float64Histogram()
			c.edges, c.pauses = h.Buckets, append([]uint64(nil), h.Counts...)
		}
	}
	return c
}

// since takes each pause as long as its bucket allows.
func (c *collections) since(e *collections) GC {
	g := GC{Cycles: rise(c.cycles, e.cycles)}
	for i, n := range c.pauses {
		if i < len(e.pauses) {
			n -= min(n, e.pauses[i])
		}
		if n == 0 {
			continue
		}
		long := upper(c.edges, i)
		g.Pauses += int64(n)
		g.Paused += time.Duration(n) * long
		g.Longest = max(g.Longest, long)
	}
	return g
}

// upper is the upper edge of bucket i, or its lower one where it has none.
func upper(edges []float64, i int) time.Duration {
	edge := edges[i+1]
	if math.IsInf(edge, 1) {
		edge = edges[i]
	}
	return time.Duration(max(0, edge) * float64(time.Second))
}
