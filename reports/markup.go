package reports

import (
	"regexp"
	"strings"
)

// plainWord is one that means nothing to Markdown, nor to what forges make of it: no emphasis, mention, link or reference.
var plainWord = regexp.MustCompile(`^[\p{L}\p{N}%…→+.,;:()/'−-]+$`)

// meaning is what looks plain and is taken for a link or a reference.
var meaning = regexp.MustCompile(`(?i)://|^www\.|^gh-[0-9]|^[0-9a-f]{7,40}$|^[-+=]+$|^[0-9]+[.)]$`)

// proseOf writes a string for Markdown, where each word that could mean something stands as code; it is in one line.
func proseOf(s string) string {
	all := strings.Fields(inert(s))
	for i, w := range all {
		if !plainWord.MatchString(w) || meaning.MatchString(w) {
			all[i] = "`" + strings.NewReplacer("`", `\u0060`, "|", `\u007c`).Replace(w) + "`"
		}
	}
	return strings.Join(all, " ")
}

// gridOf writes rows as a Markdown table, those from the right-th column on aligned to the right.
func gridOf(b *strings.Builder, rows [][]string, right int) {
	for i, row := range rows {
		for _, cell := range row {
			b.WriteString("| " + proseOf(cell) + " ")
		}
		b.WriteString("|\n")
		if i > 0 {
			continue
		}
		for j := range row {
			b.WriteString("|---")
			if j >= right {
				b.WriteString(":")
			}
		}
		b.WriteString("|\n")
	}
}

// foldOf writes a part that opens.
func foldOf(b *strings.Builder, title string, part func()) {
	b.WriteString("\n<details><summary>" + title + "</summary>\n\n")
	part()
	b.WriteString("\n</details>\n")
}
