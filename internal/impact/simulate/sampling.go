package simulate

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"umbra/internal/stats"
)

// Sampling is the table of the verdict on the mirrored fraction.
const Sampling = "The verdict on the fraction"

// fraction is a programmed fraction p0 ± delta, tested by n requests to each of so many mirrors.
type fraction struct {
	p0, delta float64
	n         int
	mirrors   int
}

func fractions() []fraction {
	return []fraction{{0.1, 0.01, 9950, 1}, {0.1, 0.01, 22200, 1}, {0.1, 0.005, 39221, 1}, {0.25, 0.01, 20450, 1}, {0.5, 0.02, 15350, 1}, {0.01, 0.005, 4750, 1}, {0.1, 0.01, 9950, 3}}
}

// sampled plays the verdict of internal/verdict's sampling.go: PASS where the 90 % Clopper–Pearson interval lies inside, FAIL where a
// one-sided exact test, after Holm over all mirrors, puts the fraction outside.
func sampled(f fraction) Study {
	truths := []struct {
		name                 string
		p                    float64
		passLimit, failLimit float64
	}{
		{"p₀", f.p0, 0, 0.05}, {"p₀ + δ", f.p0 + f.delta, 0.05, 0.05}, {"p₀ − δ", f.p0 - f.delta, 0.05, 0.05}, {"p₀ + 2δ", f.p0 + 2*f.delta, 0.05, 0}, {"p₀ − 1.5δ", f.p0 - 1.5*f.delta, 0.05, 0},
	}
	return Study{
		Name:   fmt.Sprintf("sampling/%v/%v/%d/%d", f.p0, f.delta, f.n, f.mirrors),
		Counts: 2 * len(truths),
		Prepare: func() Play {
			var draws []binomial
			for _, t := range truths {
				draws = append(draws, newBinomial(f.n, t.p))
			}
			low, high := stats.PassRange(f.n, f.p0, f.delta)
			p := make([]float64, f.mirrors)
			return func(random Random, counts []int64) {
				for i := range truths {
					passes := 0
					for m := range p {
						x := draws[i].draw(random)
						p[m] = min(stats.TailGE(f.n, x, f.p0+f.delta), stats.TailLE(f.n, x, f.p0-f.delta))
						if x >= low && x <= high && x > 0 {
							passes++
						}
					}
					count(&counts[2*i], passes == f.mirrors)
					count(&counts[2*i+1], slices.Min(stats.Holm(p)) <= 0.05)
				}
			}
		},
		Rows: func(counts []int64, n int) (rows []Row) {
			labels := []string{fmt.Sprintf("%v %% ± %v", 100*f.p0, 100*f.delta), strconv.Itoa(f.n), strconv.Itoa(f.mirrors)}
			low, high := stats.PassRange(f.n, f.p0, f.delta)
			for i, t := range truths {
				exact := math.Pow(1-stats.TailLE(f.n, low-1, t.p)-stats.TailGE(f.n, high+1, t.p), float64(f.mirrors))
				labels := append(slices.Clone(labels), t.name)
				rows = append(rows,
					Row{Table: Sampling, Labels: slices.Concat(labels, []string{"PASS"}), Rates: []Rate{{int(counts[2*i]), n}}, Limit: t.passLimit, More: []string{fmt.Sprintf("%.2f %%", 100*exact)}},
					Row{Table: Sampling, Labels: slices.Concat(labels, []string{"FAIL"}), Rates: []Rate{{int(counts[2*i+1]), n}}, Limit: t.failLimit, More: []string{""}})
			}
			return rows
		},
	}
}

// binomial draws by inversion.
type binomial struct {
	from int
	upTo []float64
}

func newBinomial(n int, p float64) (b binomial) {
	reach := int(10*math.Sqrt(float64(n)*p*(1-p))) + 10
	mean := int(float64(n) * p)
	b.from = max(0, mean-reach)
	sum := 0.0
	for x := b.from; x <= min(n, mean+reach); x++ {
		sum += math.Exp(stats.LogPMF(n, x, p))
		b.upTo = append(b.upTo, sum)
	}
	return b
}

func (b binomial) draw(random Random) int {
	at, _ := slices.BinarySearch(b.upTo, random.Float64())
	return b.from + min(at, len(b.upTo)-1)
}
