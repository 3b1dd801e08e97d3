package stats

// McNemar is the exact two-sided p-value of paired yes-or-no answers that differ b times one way and c times the other:
// twice the smaller binomial tail at one half, at most 1. It is 1 where none differ.
//
// Source: McNemar, Psychometrika 12 (1947), 153–157; in exact form the sign test.
func McNemar(b, c int) float64 { return min(1, 2*TailLE(b+c, min(b, c), 0.5)) }
