package verdict

import "testing"

// The ticks of a mirror add up to what was sampled, and hold the programmed fraction as they should.
func TestSamplingOverTime(t *testing.T) {
	b := newBed(setup{n: 12_000, seed: 7, route: onlyReads})
	within := 1.0
	b.options.Fraction = &within
	for _, item := range b.judge(t)[Sampling].Items {
		f := item.Sampling
		eligible, mirrored, outside := 0, 0, 0
		for i, k := range f.Ticks {
			eligible, mirrored = eligible+k.Eligible, mirrored+k.Mirrored
			share := 100 * float64(k.Mirrored) / float64(k.Eligible)
			if k.Percent != share {
				t.Errorf("%g %%, want %g", k.Percent, share)
			}
			if share < k.LowPercent || share > k.HighPercent {
				outside++
			}
			if i > 0 && k.At-f.Ticks[i-1].At < f.TickWidth {
				t.Errorf("ticks at %v and %v, each %v wide", f.Ticks[i-1].At, k.At, f.TickWidth)
			}
		}
		if eligible != f.Eligible || mirrored != f.Mirrored || len(f.Ticks) == 0 || len(f.Ticks) > tickCount+1 {
			t.Errorf("%d ticks with %d of %d, in all %d of %d", len(f.Ticks), mirrored, eligible, f.Mirrored, f.Eligible)
		}
		if outside > len(f.Ticks)/4 || outside != f.Outside {
			t.Errorf("%d of %d ticks outside their band, said to be %d", outside, len(f.Ticks), f.Outside)
		}
	}
}

// A tick outside its band is counted, on either side, and one at its edge is not.
func TestOutside(t *testing.T) {
	tick := func(mirrored int) SamplingTick {
		return SamplingTick{Eligible: 100, Mirrored: mirrored, Percent: float64(mirrored), LowPercent: 5, HighPercent: 15}
	}
	if n := outside([]SamplingTick{tick(4), tick(5), tick(10), tick(15), tick(16)}); n != 2 {
		t.Errorf("%d of 2", n)
	}
}
