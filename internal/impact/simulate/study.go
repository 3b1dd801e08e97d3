package simulate

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"umbra/internal/stats"
)

// Play plays one experiment and counts what came of it. It is for one goroutine.
type Play func(random Random, counts []int64)

// Study is one kind of experiment, played many times, from which one or several rows come.
type Study struct {
	Name    string
	Counts  int                               // that Play keeps
	Prepare func() Play                       // for each goroutine
	Rows    func(counts []int64, n int) []Row // from the sums
}

// Rate is how often something happened.
type Rate struct{ Hits, Of int }

// Share is the rate.
func (r Rate) Share() float64 { return float64(r.Hits) / float64(max(1, r.Of)) }

// Lower is the lower confidence limit of the true rate at alpha (Clopper and Pearson).
func (r Rate) Lower(alpha float64) float64 { return stats.LowerBound(r.Hits, r.Of, alpha) }

// Row is a row of a table.
type Row struct {
	Table  string // its title
	Labels []string
	Rates  []Rate
	Limit  float64 // that the first rate must keep; 0: none
	More   []string
}

// Over tells whether the row exceeds its limit: the 99 % lower limit of the rate does, or the rate itself does by a fifth.
func (r Row) Over() bool {
	return r.Limit > 0 && (r.Rates[0].Lower(0.01) > r.Limit || r.Rates[0].Share() > 1.2*r.Limit)
}

// chunk is how many experiments a goroutine takes at a time.
const chunk = 20

// Run plays a study's experiments in so many goroutines. Each experiment has its own random numbers, by its index, so that the counts
// do not depend on who plays it.
func (s Study) Run(ctx context.Context, n int, seed uint64, workers int) ([]Row, error) {
	name := fnv.New64a()
	name.Write([]byte(s.Name))
	var next atomic.Int64
	var all sync.Mutex
	var done sync.WaitGroup
	sums := make([]int64, s.Counts)
	for range workers {
		done.Go(func() {
			play, counts := s.Prepare(), make([]int64, s.Counts)
			for ctx.Err() == nil {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					break
				}
				for i := from; i < min(n, from+chunk); i++ {
					play(rand.New(rand.NewPCG(seed^name.Sum64(), uint64(i))), counts)
				}
			}
			all.Lock()
			defer all.Unlock()
			for i, c := range counts {
				sums[i] += c
			}
		})
	}
	done.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Rows(sums, n), nil
}
