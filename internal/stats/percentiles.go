package stats

import "math"

// Percentiles are those of a spectrum of n values: the quartiles and tenths of the first decade, and 90, 95 and 97.5 % of each decade of
// what is left, as far as one value lies beyond.
func Percentiles(n int64) (out []float64) {
	if n == 0 {
		return nil
	}
	out = []float64{10, 25, 50, 75}
	for left := 100.0; float64(n)*left/10 >= 100*(1-1e-9); left /= 10 {
		for _, share := range []float64{0.9, 0.95, 0.975} {
			if beyond := left * (1 - share); float64(n)*beyond >= 100*(1-1e-9) {
				out = append(out, math.Round((100-beyond)*1e9)/1e9) // sums of tenths are none
			}
		}
	}
	return out
}
