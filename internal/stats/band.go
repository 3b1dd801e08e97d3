package stats

import "sort"

// Band gives the least and the greatest x between which a binomial variable lies with a probability of at least level, with at most half
// of the rest to either side: its equal-tailed quantiles. Source: the definition, by TailLE and TailGE, which are exact.
func Band(n int, p, level float64) (low, high int) {
	tail := (1 - level) / 2
	low = sort.Search(n, func(x int) bool { return TailLE(n, x, p) > tail })
	high = n - sort.Search(n, func(x int) bool { return TailGE(n, n-x, p) > tail })
	return low, high
}
