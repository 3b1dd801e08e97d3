package pause

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// grain is by how much the clock that a wait is measured with, read at another instant, may say less.
const grain = time.Microsecond

// A wait is never shorter than was asked for, whoever waits beside it. How much longer it is the machine says; see
// BenchmarkFor.
func TestForIsNotShorter(t *testing.T) {
	for _, d := range []time.Duration{time.Nanosecond, 50 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, lead, 2200 * time.Microsecond, 5 * time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					for range 20 {
						begin := time.Now()
						if !For(t.Context(), d) {
							t.Error("it says that the context ended")
						}
						if took := time.Since(begin); took < d-grain {
							t.Errorf("it took %v", took)
						}
					}
				})
			}
			group.Wait()
		})
	}
}

// More may wait than there are descriptors for.
func TestForOfMany(t *testing.T) {
	var group sync.WaitGroup
	for range 3 * 512 {
		group.Go(func() {
			begin := time.Now()
			For(t.Context(), time.Millisecond)
			if took := time.Since(begin); took < time.Millisecond-grain {
				t.Errorf("it took %v", took)
			}
		})
	}
	group.Wait()
}

func TestForNothing(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []time.Duration{0, -time.Hour} {
		if !For(t.Context(), d) || For(ended, d) {
			t.Errorf("%v", d)
		}
	}
}

// A context that ends, or has ended, ends a wait that nobody would see the end of.
func TestForEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), make(chan bool)
	go func() {
		close(begun)
		ended <- For(ctx, 24*time.Hour)
	}()
	<-begun
	cancel()
	if <-ended || For(ctx, 24*time.Hour) || For(ctx, time.Microsecond) {
		t.Error("it says that the time has passed")
	}
}

// BenchmarkFor tells how much longer than asked for a wait is, in µs at some quantiles.
func BenchmarkFor(b *testing.B) {
	for _, d := range []time.Duration{100 * time.Microsecond, time.Millisecond, 2200 * time.Microsecond} {
		for name, wait := range map[string]func(context.Context, time.Duration) bool{"": For, "/runtime": coarse} {
			b.Run(fmt.Sprint(d, name), func(b *testing.B) {
				var over []time.Duration
				for b.Loop() {
					begin := time.Now()
					wait(b.Context(), d)
					over = append(over, time.Since(begin)-d)
				}
				slices.Sort(over)
				for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
					b.ReportMetric(float64(over[int(q*float64(len(over)-1))])/1e3, fmt.Sprintf("µs-over-p%g", 100*q))
				}
			})
		}
	}
}
