package stats

import (
	"cmp"
	"slices"
)

// Holm gives the p-values adjusted by Holm's step-down procedure, in the order given: rejecting those at or below
// alpha keeps the chance of any false rejection at or below alpha, whatever the dependence between them.
//
// Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65–70.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	adjusted, worst := make([]float64, len(p)), 0.0
	for rank, i := range order {
		worst = max(worst, min(1, float64(len(p)-rank)*p[i]))
		adjusted[i] = worst
	}
	return adjusted
}
