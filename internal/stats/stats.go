// Package stats holds the statistics of umbra's verdicts: pure functions, exact where the field has an exact form,
// each with its source. Probabilities, shares and levels run from 0 to 1; counts are plain ints.
//
// Binomial tails are summed here rather than taken from gonum's incomplete beta function, whose continued fraction
// stops after 300 steps: for n = 1e8 and p = 0.1 it gives 0.416 where 0.500 is right.
package stats
