package app

import "math"

// Draws are the random numbers that belong to one request: a pure function of the seed and the keys that made them,
// whatever ran before or beside it.
type Draws uint64

// NewDraws hashes keys by FNV-1a (Fowler, Noll and Vo; draft-eastlake-fnv), each ended so that ("ab", "c") is not
// ("a", "bc"), and mixes the seed in.
func NewDraws(seed uint64, keys ...string) Draws {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, k := range keys {
		for i := range len(k) {
			h = (h ^ uint64(k[i])) * prime
		}
		h = (h ^ 0xff) * prime // no byte of valid UTF-8 text
	}
	return Draws(mix(h ^ mix(seed)))
}

// At is the i-th draw, uniform over all 64-bit numbers: the i-th output of SplitMix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014) that starts from d.
func (d Draws) At(i uint64) uint64 {
	return mix(uint64(d) + (i+1)*0x9e3779b97f4a7c15)
}

// Unit is the i-th draw as a number strictly between 0 and 1.
func (d Draws) Unit(i uint64) float64 {
	return math.Ldexp(float64(d.At(i)>>11)+0.5, -53)
}

// mix is SplitMix64's output function.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
