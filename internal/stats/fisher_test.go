package stats

import "testing"

// R: fisher.test(matrix(c(x2, n2-x2, x1, n1-x1), 2), alternative = "greater")$p.value
func TestFisherGreater(t *testing.T) {
	for _, c := range []struct {
		name           string
		x1, n1, x2, n2 int
		want           float64
	}{
		{"Fisher's tea: 17/70", 1, 4, 3, 4, 17. / 70},
		{"convicts", 2, 15, 10, 12, 0.00040905759710444049},
		{"rare", 3, 3000, 5, 3000, 0.36319002053014404},
		{"more errors", 3, 3000, 30, 3000, 6.6028410367071255e-07},
		{"none before", 0, 3000, 40, 3000, 7.9793465715344711e-13},
		{"fewer", 5, 3000, 1, 3000, 0.98441404946831068},
		{"a third of 40,000", 1000, 20000, 1100, 20000, 0.013219145540912906},
		{"all of the second", 3, 5, 7, 7, 0.15151515151515146},
		{"a million", 12000, 1_000_000, 12400, 1_000_000, 0.005083322384344907},
		{"the least there can be", 10, 10, 3, 10, 1},
		{"all but one", 100, 100, 99, 100, 1},
		{"none", 0, 10, 0, 10, 1},
		{"all", 10, 10, 5, 5, 1},
		{"no trial of the first", 0, 0, 3, 10, 1},
		{"no trial of the second", 3, 10, 0, 0, 1},
		{"nothing", 0, 0, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "p", FisherGreater(c.x1, c.n1, c.x2, c.n2), c.want, 1e-9)
		})
	}
}

// The masses of all tables with the same margins sum to 1, and p-values are their sums.
func TestFisherIsASumOfMasses(t *testing.T) {
	for _, m := range [][3]int{{5, 7, 4}, {9, 3, 10}, {1, 1, 1}, {40, 60, 33}} {
		h, sum := hypergeometric{n1: m[0], n2: m[1], all: m[2]}, 0.0
		for x2 := min(m[1], m[2]); x2 >= h.least(); x2-- {
			sum += h.mass(x2)
			near(t, "p", FisherGreater(m[2]-x2, m[0], x2, m[1]), sum, 1e-11)
		}
		near(t, "the sum", sum, 1, 1e-12)
	}
}
