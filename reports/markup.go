package reports

import "strings"

// gridOf writes rows as a Markdown table, those from the right-th column on aligned to the right.
func gridOf(b *strings.Builder, rows [][]string, right int) {
	for i := range rows {
		b.WriteString(tableLine(rows, i, right) + "\n")
	}
}

// foldOf writes a part that opens.
func foldOf(b *strings.Builder, title string, part func()) {
	b.WriteString("\n<details><summary>" + title + "</summary>\n\n")
	part()
	b.WriteString("\n</details>\n")
}
