package verdict

import (
	"time"

	"umbra/internal/stats"
)

// SamplingTick is how many requests of a part of the stages were mirrored, by when they were due.
type SamplingTick struct {
	At       time.Duration `json:"at_ns"` // its begin, from the start of the run
	Eligible int           `json:"eligible"`
	Mirrored int           `json:"mirrored"`
	Percent  float64       `json:"percent"` // Mirrored of Eligible
	// Where the programmed fraction is applied, the share of mirrored requests lies between these in 95 % of such ticks.
	LowPercent  float64 `json:"low_percent"`
	HighPercent float64 `json:"high_percent"`
}

// tickCount is what the ticks of a mirror come to at the most, and the share that a band holds.
const (
	tickCount = 60
	tickBand  = 0.95
)

// overTime counts a mirror's requests tick by tick.
type overTime struct {
	width             time.Duration
	eligible, sampled []int
}

// tickWidth is the width of the ticks of a run, a multiple of 100 ms.
func (r *Recon) tickWidth() time.Duration {
	last := time.Duration(0)
	for i := range r.rows {
		if w := &r.rows[i]; w.phase == stage {
			last = max(last, w.due)
		}
	}
	const step = 100 * time.Millisecond
	return max(step, (last/tickCount/step+1)*step)
}

func (o *overTime) count(due time.Duration, mirrored bool) {
	i := int(max(0, due) / o.width)
	for len(o.eligible) <= i {
		o.eligible, o.sampled = append(o.eligible, 0), append(o.sampled, 0)
	}
	o.eligible[i]++
	if mirrored {
		o.sampled[i]++
	}
}

// ticks leave out those without a request.
func (o *overTime) ticks(p float64) (out []SamplingTick) {
	for i, n := range o.eligible {
		if n == 0 {
			continue
		}
		low, high := stats.Band(n, p, tickBand)
		out = append(out, SamplingTick{At: time.Duration(i) * o.width, Eligible: n, Mirrored: o.sampled[i],
			Percent: 100 * float64(o.sampled[i]) / float64(n), LowPercent: 100 * float64(low) / float64(n), HighPercent: 100 * float64(high) / float64(n)})
	}
	return out
}

// outside counts the ticks that lie outside their band.
func outside(ticks []SamplingTick) (n int) {
	for i := range ticks {
		if k := &ticks[i]; k.Percent < k.LowPercent || k.Percent > k.HighPercent {
			n++
		}
	}
	return n
}
