package simulate

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"umbra/internal/impact"
	"umbra/internal/stats"
)

func TestLaws(t *testing.T) {
	for _, c := range []struct {
		law  Law
		want [3]float64 // ms
	}{
		{Cluster(), [3]float64{1.2, 1.5, 3.2}},
		{Bimodal(), [3]float64{1.083, 5, 8.19}},
		{HeavyTailed(), [3]float64{5, 9.49, 33.3}},
	} {
		for i, q := range []float64{50, 90, 99} {
			if got := 1e3 * c.law.Quantile(q); math.Abs(got/c.want[i]-1) > 0.01 {
				t.Errorf("%s: p%v = %.3f ms, want %v", c.law.Name, q, got, c.want[i])
			}
		}
	}
}

// TestEffectsMoveOneQuantile holds each effect against what it shall do, where requests are as many as quantiles.
func TestEffectsMoveOneQuantile(t *testing.T) {
	for _, p := range places() {
		for i, m := range p.margins {
			shift := p.Law.Allowed(m)
			e := At(m.Quantile, shift)
			for j, z := range []float64{0, z90, z99} {
				want := 0.0
				if i == j {
					want = shift
				}
				if got := e.Shift(z); math.Abs(got-want) > 1e-12 {
					t.Errorf("%s of %s moves the quantile at z = %.2f by %v, want %v", e.Name, p.Law.Name, z, got, want)
				}
			}
			if c := newCurve(p.Law, e.Shift); !slices.IsSorted(c) {
				t.Errorf("%s of %s: a faster request overtakes a slower one", e.Name, p.Law.Name)
			}
		}
	}
}

// TestPlantedEffectIsEstimated plays experiments and takes the mean of what is estimated.
func TestPlantedEffectIsEstimated(t *testing.T) {
	p := places()[1]
	g := NewGenerator(p.World, 10)
	random := rand.New(rand.NewPCG(3, 4))
	for i, m := range p.margins {
		var all []float64
		for range 150 {
			g.Play(random, 10)
			r := impact.Judge(g.Quadruples(random, At(m.Quantile, p.Law.Allowed(m))), criteria(p.margins, 10))
			all = append(all, math.Log1p(r.Figures[i].Change/100))
		}
		mean := stats.MeanOf(all)
		if d := math.Abs(mean.Mean - p.Law.Allowed(m)); d > 4*mean.SE {
			t.Errorf("%s: %.4f ± %.4f is estimated, planted were %.4f", Percentile(m.Quantile), mean.Mean, mean.SE, p.Law.Allowed(m))
		}
	}
}

func TestSpreadsAreAsTheySay(t *testing.T) {
	want := [][]float64{{0.12, 0.165, 0.55}, {0.06, 0.072, 0.34}}
	for i, s := range spreads() {
		g := NewGenerator(s.World, 10)
		random := rand.New(rand.NewPCG(1, 2))
		squares := make([]float64, 3)
		const plays = 60
		for range plays {
			g.Play(random, 10)
			for _, q := range g.Quadruples(random, None()) {
				for b := 0; b < impact.Blocks; b += 2 {
					for j, share := range []float64{0.5, 0.9, 0.99} {
						d := math.Log(stats.MedianUnbiased(q.Blocks[b].Took, share) / stats.MedianUnbiased(q.Blocks[b+1].Took, share))
						squares[j] += d * d / (plays * 20)
					}
				}
			}
		}
		for j, v := range squares {
			if got := math.Sqrt(v); math.Abs(got/want[i][j]-1) > 0.1 {
				t.Errorf("%s: %.3f, want %v", s.says, got, want[i][j])
			}
		}
	}
}

func TestMarginalLawIsKept(t *testing.T) {
	w := World{Law: Cluster(), Requests: 1000, Memory: 0.95, Failed: 0.03, Burst: 4}
	g := NewGenerator(w, 10)
	random := rand.New(rand.NewPCG(1, 2))
	var all []float64
	failed := 0
	for range 10 {
		g.Play(random, 10)
		for _, q := range g.Quadruples(random, None()) {
			for _, s := range q.Blocks {
				if !slices.IsSorted(s.Took) {
					t.Fatal("a block is not sorted")
				}
				all = append(all, s.Took...)
				failed += s.Failed
			}
		}
	}
	slices.Sort(all)
	for _, q := range []float64{50, 90, 99} {
		if got, want := stats.Quantile(all, q/100), w.Law.Quantile(q); math.Abs(math.Log(got/want)) > 0.04 {
			t.Errorf("p%v = %v, want %v", q, got, want)
		}
	}
	if got := float64(failed) / float64(len(all)); math.Abs(got/w.Failed-1) > 0.1 {
		t.Errorf("%v failed, want %v", got, w.Failed)
	}
}

func TestFailuresWithoutBurstsAreBinomial(t *testing.T) {
	g := NewGenerator(World{Requests: 600, Burst: 1}, 1)
	random := rand.New(rand.NewPCG(1, 2))
	var all []float64
	for range 20000 {
		all = append(all, float64(g.fail(random, 0.01)))
	}
	mean := stats.MeanOf(all)
	if variance := mean.SE * mean.SE * 20000; math.Abs(mean.Mean-6) > 4*mean.SE || math.Abs(variance-5.94) > 0.3 {
		t.Errorf("mean %v, variance %v, want 6 and 5.94", mean.Mean, variance)
	}
}

func TestBinomialDraws(t *testing.T) {
	b := newBinomial(9950, 0.1)
	random := rand.New(rand.NewPCG(1, 2))
	var all []float64
	for range 20000 {
		all = append(all, float64(b.draw(random)))
	}
	mean := stats.MeanOf(all)
	if variance := mean.SE * mean.SE * 20000; math.Abs(mean.Mean-995) > 4*mean.SE || math.Abs(variance/895.5-1) > 0.05 {
		t.Errorf("mean %v, variance %v, want 995 and 895.5", mean.Mean, variance)
	}
}

// TestCountsDoNotDependOnWorkers plays the same with one and with three goroutines.
func TestCountsDoNotDependOnWorkers(t *testing.T) {
	for _, s := range Studies() {
		if !strings.HasPrefix(s.Name, "sampling/0.1/0.01/9950/1") && s.Name != "wrong/cluster/autocorrelated/10" && s.Name != "failed/0.002/3/600/10" {
			continue
		}
		one, err := s.Run(t.Context(), 50, 9, 1)
		if err != nil {
			t.Fatal(err)
		}
		three, err := s.Run(t.Context(), 50, 9, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one, three) {
			t.Errorf("%s: %v with one goroutine, %v with three", s.Name, one, three)
		}
		other, err := s.Run(t.Context(), 50, 10, 1)
		if err != nil || reflect.DeepEqual(one, other) {
			t.Errorf("%s: another seed gives the same, %v", s.Name, err)
		}
	}
}

func TestStudiesStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Studies()[0].Run(ctx, 1000000, 1, 2); err == nil {
		t.Error("a study went on after its context ended")
	}
}

func TestStudiesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Studies() {
		if seen[s.Name] {
			t.Errorf("two studies are named %s: they would share their random numbers", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestOver(t *testing.T) {
	for _, c := range []struct {
		hits  int
		limit float64
		want  bool
	}{{500, 0.05, false}, {551, 0.05, false}, {560, 0.05, true}, {400, 0.04, false}, {460, 0.04, true}, {9000, 0, false}} {
		if got := (Row{Rates: []Rate{{c.hits, 10000}}, Limit: c.limit}).Over(); got != c.want {
			t.Errorf("%d of 10,000 against %v: %v", c.hits, c.limit, got)
		}
	}
}
