package diag

import "strings"

// Nearest is the one of names that name may be a slip of: at most two edits and less than half its length away, letter
// case and underscores aside; "" where there is none.
func Nearest(name string, names []string) string {
	fold := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	best, at := "", min(3, (len(name)+1)/2+1)
	for _, n := range names {
		if d := edits(fold(name), fold(n)); d < at {
			best, at = n, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b in bytes (Wagner and Fischer, J. ACM 21, 1974).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
