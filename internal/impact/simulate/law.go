package simulate

import (
	"math"
	"slices"

	"umbra/internal/impact"
)

// A Law is a marginal distribution of response times in seconds, given by its quantiles: Log is the logarithm of the quantile Φ(z).
type Law struct {
	Name string
	Log  func(z float64) float64
}

// Cluster looks like the primary of a small cluster of kind with Istio at 300 requests a second: p50 1.2 ms, p90 1.5 ms, p99 3.2 ms.
func Cluster() Law {
	return mixture("cluster", 1e-3, lognormal{0.96, 1.191, 0.155}, lognormal{0.04, 2.4, 0.42})
}

// Bimodal is a cache that four of five requests hit.
func Bimodal() Law {
	return mixture("bimodal", 1e-3, lognormal{0.8, 1, 0.25}, lognormal{0.2, 5, 0.3})
}

// HeavyTailed is log-normal up to p95, and has from there on Pareto's tail with an index of 1.5, whose variance is infinite.
func HeavyTailed() Law {
	const from, index, median, sigma = 1.6448536269514722, 1.5, 5e-3, 0.5
	return Law{"heavy-tailed", func(z float64) float64 {
		if z <= from {
			return math.Log(median) + sigma*z
		}
		return math.Log(median) + sigma*from + math.Log(above(from)/above(z))/index
	}}
}

// above is 1 − Φ(z).
func above(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// lognormal is a part of a mixture.
type lognormal struct{ weight, median, sigma float64 }

// mixture is that of log-normal parts, whose medians are in the unit.
func mixture(name string, unit float64, parts ...lognormal) Law {
	over := func(log float64) (p float64) {
		for _, part := range parts {
			p += part.weight * above((log-math.Log(unit*part.median))/part.sigma)
		}
		return p
	}
	return Law{name, func(z float64) float64 {
		low, high := math.Log(unit)-30, math.Log(unit)+30
		for range 80 {
			if mid := (low + high) / 2; over(mid) > above(z) {
				low = mid
			} else {
				high = mid
			}
		}
		return (low + high) / 2
	}}
}

// An Effect is what mirroring does to the primary.
type Effect struct {
	Name string
	// Shift is added to the logarithm of the quantile Φ(z); the result must not fall as z rises.
	Shift func(z float64) float64
	// Failed is added to the share of failed requests.
	Failed float64
	// Uneven draws what Shift is multiplied with in a treated block, for shifts that are the same at all z only; nil: always 1.
	Uneven func(random Random) float64
}

// None is no effect.
func None() Effect { return Effect{Name: "none", Shift: func(float64) float64 { return 0 }} }

// Everywhere slows every request by so much, in the logarithm.
func Everywhere(shift float64) Effect {
	return Effect{Name: "all quantiles alike", Shift: func(float64) float64 { return shift }}
}

// point is a value of a function at z.
type point struct{ z, value float64 }

// through is the function through points, straight between them and level outside.
func through(points ...point) func(z float64) float64 {
	return func(z float64) float64 {
		at, _ := slices.BinarySearchFunc(points, z, func(p point, z float64) int {
			if p.z < z {
				return -1
			}
			return 1
		})
		switch at {
		case 0:
			return points[0].value
		case len(points):
			return points[at-1].value
		}
		a, b := points[at-1], points[at]
		return a.value + (b.value-a.value)*(z-a.z)/(b.z-a.z)
	}
}

// The quantiles' places in z.
const (
	z90 = 1.2815515655446004
	z99 = 2.3263478740408408
)

// At moves the quantile of one of the default margins by a shift, in the logarithm, exactly, and the other two not at all. Around its
// quantile the shift is level, farther than samples of a block stray, so that it is what is estimated, too.
func At(quantile, shift float64) Effect {
	e := Effect{Name: Percentile(quantile)}
	switch quantile {
	case 50:
		e.Shift = through(point{0.55, shift}, point{1.2, 0})
	case 90:
		e.Shift = through(point{0.1, 0}, point{0.5, shift}, point{2.15, shift}, point{2.3, 0})
	case 99:
		e.Shift = through(point{1.4, 0}, point{1.8, shift})
	}
	return e
}

// All moves p50 and p90 by one shift and p99 by another, and adds to the share of failed requests.
func All(body, tail, failed float64) Effect {
	return Effect{Name: "all figures", Shift: through(point{1.45, body}, point{1.85, tail}), Failed: failed}
}

// Allowed is a margin in the logarithm, where a law has its quantile.
func (l Law) Allowed(m impact.Margin) float64 { return math.Log1p(m.Share(l.Quantile(m.Quantile))) }

// Quantile is one of p50, p90 and p99, in seconds.
func (l Law) Quantile(percent float64) float64 {
	return math.Exp(l.Log(map[float64]float64{50: 0, 90: z90, 99: z99}[percent]))
}
