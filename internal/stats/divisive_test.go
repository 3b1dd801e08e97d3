package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The series of the reference, and noise with changes of the mean and of the spread alone.
var (
	plateau = []float64{1.2, 0.7, 1.9, 1.1, 0.4, 1.5, 3.9, 4.4, 3.1, 4.8, 3.6, 4.1, 0.9, 1.3, 0.2, 1.7}
	ties    = []float64{5, 5, 5, 5, 9, 9, 9, 9, 9, 7, 7, 7, 1, 1, 1, 1, 1, 2}
	spreads = []float64{-0.63, 0.18, -0.84, 1.6, 0.33, -0.82, 0.49, 0.74, 0.58, -0.31, 1.51, 0.39, -0.62, -2.21, 1.12, -0.04, -0.02, 0.94, 0.82, 0.59, 0.92, 0.78, 0.07, -1.99, 0.62,
		1.44, 1.34, 0.03, 1.02, 1.92, 2.86, 1.4, 1.89, 1.45, 0.12, 1.09, 1.11, 1.44, 2.6, 2.26, 1.34, 1.25, 2.2, 2.06, 0.81,
		-0.62, 2.59, 3.81, 1.16, 4.14, 2.69, -0.34, 2.52, -1.89, 5.8, 7.44, 0.4, -1.63, 3.21, 1.09, 8.7, 1.38, 3.57, 1.58, -0.73, 2.07, -3.91, 5.9, 1.96, 8.02, 2.93, -0.63, 3.33, -1.3, -2.26}
	quiet = []float64{1.2, 0.7, 1.9, 1.1, 0.4, 1.5, 1.6, 1.0, 2.9, 2.4, 1.1, 1.8}
)

// R's ecp: splitPoint(1, n, as.matrix(dist(x)), min.size) for the statistic, e.divisive(matrix(x), k = k, min.size = m)$order.found for
// the places, which count from 1 there.
func TestDivisiveAsEcp(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		least  int
		q      float64
		order  []int
	}{
		{"plateau", plateau, 3, 12.879999999999995, []int{6, 12}},
		{"plateau, pairs", plateau, 2, 12.879999999999995, []int{6, 12, 2}},
		{"ties", ties, 3, 38.545454545454547, []int{12, 4, 9}},
		{"spreads", spreads, 3, 19.152689797320495, []int{29, 45}},
		{"spreads, tens", spreads, 10, 19.152689797320495, []int{29, 45}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Divisive{Least: c.least}
			var found []Change
			for step, want := range c.order {
				at, q := d.split(c.values, d.stretches(found, len(c.values)))
				if at != want {
					t.Fatalf("step %d: at %d, want %d", step, at, want)
				}
				if step == 0 {
					near(t, "Q", q, c.q, 1e-9)
				}
				found = append(found, Change{At: at})
				slices.SortFunc(found, func(a, b Change) int { return a.At - b.At })
			}
		})
	}
}

// R's ecp: e.divisive(matrix(x), R = 9999, min.size = 3)$p.values, of 0.0028 and 0.0106, then 0.9377, and 0.474.
func TestDivisivePValues(t *testing.T) {
	d := Divisive{Least: 3, Level: 0.05, Permutations: 9999, Seed: 1}
	got := d.Changes(plateau)
	if len(got) != 2 || got[0].At != 6 || got[1].At != 12 {
		t.Fatalf("%+v, want changes at 6 and 12", got)
	}
	for i, want := range []float64{0.0028, 0.0106} {
		if margin := 5 * math.Sqrt(2*want/9999); math.Abs(got[i].P-want) > margin {
			t.Errorf("p is %v, want %v ± %v", got[i].P, want, margin)
		}
	}
	if got := d.Changes(quiet); got != nil {
		t.Errorf("%+v of a series without changes", got)
	}
	// A test that goes on to its end, as the level is 1, and one that ends early.
	for level, margin := range map[float64]float64{1: 0.025, 0.05: 0.1} {
		d := Divisive{Least: 3, Level: level, Permutations: 9999}
		stretches := [][2]int{{0, len(quiet)}}
		_, q := d.split(quiet, stretches)
		if p := d.test(quiet, stretches, q, rand.New(rand.NewPCG(1, 1))); math.Abs(p-0.474) > margin {
			t.Errorf("at a level of %v p is %v, want 0.474 ± %v", level, p, margin)
		}
	}
}

func TestDivisiveEdges(t *testing.T) {
	d := Divisive{Least: 3, Level: 0.05, Permutations: 199, Seed: 1}
	for name, values := range map[string][]float64{"none": nil, "one": {1}, "too few": {1, 1, 9, 9, 9}, "constant": make([]float64, 40)} {
		if got := d.Changes(values); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	again := d.Changes(plateau)
	if !slices.Equal(again, d.Changes(plateau)) {
		t.Error("one seed gives two results")
	}
}

// Of noise, whatever its distribution, a change is told about as often as the level says.
func TestDivisiveFalseAlarms(t *testing.T) {
	const times = 500
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":     func(r *rand.Rand) float64 { return r.NormFloat64() },
		"log-normal": func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) },
		"few values": func(r *rand.Rand) float64 { return float64(r.IntN(3)) },
	} {
		t.Run(name, func(t *testing.T) {
			random, alarms := rand.New(rand.NewPCG(5, 5)), 0
			for i := range times {
				values := make([]float64, 12)
				for j := range values {
					values[j] = draw(random)
				}
				if len(Divisive{Least: 3, Level: 0.05, Permutations: 199, Seed: uint64(i)}.Changes(values)) > 0 {
					alarms++
				}
			}
			// 25 are expected; 4 standard errors are 20.
			if alarms < 5 || alarms > 45 {
				t.Errorf("%d alarms in %d series, at a level of 5 %%", alarms, times)
			}
		})
	}
}

// A clear shift is found, where it is.
func TestDivisiveFindsShifts(t *testing.T) {
	random, found, near := rand.New(rand.NewPCG(6, 6)), 0, 0
	const times = 200
	for i := range times {
		values := make([]float64, 24)
		for j := range values {
			values[j] = random.NormFloat64()
			if j >= 15 {
				values[j] += 2.5
			}
		}
		changes := Divisive{Least: 3, Level: 0.05, Permutations: 199, Seed: uint64(i)}.Changes(values)
		if len(changes) > 0 {
			found++
			if slices.ContainsFunc(changes, func(c Change) bool { return c.At >= 14 && c.At <= 16 }) {
				near++
			}
		}
	}
	if found < times*9/10 || near < times*8/10 {
		t.Errorf("of %d shifts %d were found, %d of them where they are", times, found, near)
	}
}

func BenchmarkDivisiveYear(b *testing.B) {
	random := rand.New(rand.NewPCG(7, 7))
	values := make([]float64, 365)
	for i := range values {
		values[i] = random.NormFloat64() + float64(i/180)
	}
	for b.Loop() {
		Divisive{Least: 3, Level: 0.005, Permutations: 999, Seed: 1}.Changes(values)
	}
}
