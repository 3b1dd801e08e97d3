package reports

import (
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"unicode"

	"umbra/internal/verdict"
)

// room is how long Markdown becomes before lines are left out and counted, in bytes. What is told of them and ends sections comes
// on top, so that all of it stays below 60,000; GitHub takes 65,536 characters in a comment.
const room = 56_000

// titleShown is how many characters of a title are shown, which is in no count.
const titleShown = 120

// markdown is a page of GitHub Flavored Markdown, whose sections fold.
type markdown struct {
	strings.Builder
	until int  // the length at which the open section is full
	open  bool // a section is
	left  int  // lines of the open section that are left out
	out   int  // lines of sections that are left out
	last  block
}

// block is what a line is of; blank lines part one from the next.
type block int

const (
	nothing block = iota // a section begins
	list
	table
)

// Markdown renders r as a comment on a pull request: the verdict and its figures, and all else folded, below 60,000 bytes whatever r
// holds. Strings from outside are inert: they are neither markup nor HTML, and mention, link and close nothing.
func (r *Report) Markdown(w io.Writer) error {
	m := &markdown{}
	m.head(r)
	sheet{m}.sections(r)
	m.close()
	if m.out > 0 {
		m.line("\n" + leftOut(m.out))
	}
	_, err := io.WriteString(w, m.String())
	return err
}

func leftOut(lines int) string {
	return fmt.Sprintf("*%s left out, for the length of a comment: report.json has all.*", plural(int64(lines), "line is", "lines are"))
}

func (m *markdown) line(s string) { m.WriteString(s + "\n") }

// head is the sentence, the figures that carry it, and the verdicts.
func (m *markdown) head(r *Report) {
	m.line(fmt.Sprintf("**umbra** %s: %s", code(inert(r.Name)), words(r.Headline)))
	if r.Partial != "" {
		m.line("\n**PARTIAL** " + words(r.Partial))
	}
	m.until = room / 2
	if len(r.Lead) > 0 {
		rows := [][]string{{"figure", "value", "held against", "verdict"}}
		for _, l := range r.Lead {
			rows = append(rows, []string{l.Name, l.Value, l.Against, l.Verdict + " " + string(l.State)})
		}
		m.line("")
		m.table(rows, len(rows[0]))
	}
	if len(r.Verdicts) > 0 {
		rows := [][]string{{"verdict", "state", ""}}
		for _, v := range r.Verdicts {
			rows = append(rows, []string{v.Name, string(v.State), v.Summary})
		}
		if len(r.Lead) == 0 {
			m.line("")
		}
		m.table(rows, len(rows[0]))
	}
	m.told()
}

// title begins a section, which may take a third of what room is left, so that long ones leave some for those behind them. Where there is none, the section is left out.
func (m *markdown) title(s string) {
	m.close()
	if m.Len() >= room {
		m.until = 0
		return
	}
	m.open, m.until = true, m.Len()+(room-m.Len())/3
	m.line(fmt.Sprintf("\n<details><summary>%s</summary>\n", summaryWords(s)))
}

// close ends the open section.
func (m *markdown) close() {
	m.told()
	if m.open {
		m.line("\n</details>")
	}
	m.open, m.last = false, nothing
}

// told says how many lines of what is open are left out.
func (m *markdown) told() {
	if m.left > 0 {
		m.line("\n" + leftOut(m.left))
	}
	m.left = 0
}

// fits tells whether a line of a section still fits, and counts it where it does not. What comes behind it is left out too.
func (m *markdown) fits(line string) bool {
	switch {
	case m.until == 0:
		m.out++
		return false
	case m.left > 0 || m.Len()+len(line) > m.until:
		m.left++
		return false
	}
	return true
}

// begin parts a block from the last one.
func (m *markdown) begin(b block) {
	if m.last != nothing && (m.last != b || b == table) {
		m.line("")
	}
	m.last = b
}

func (m *markdown) paragraph(lead, s string) {
	deep := max(0, len(lead)-len(strings.TrimLeft(lead, " "))-2)
	line := strings.Repeat(" ", min(deep, 2)) + "- "
	text := words(s)
	if lead = strings.TrimSpace(lead); lead != "" {
		line += "**" + words(lead) + "** "
	} else if first, more, _ := strings.Cut(text, " "); blockMarker.MatchString(first) {
		text = code(first) + " " + more
	}
	if line += text; m.fits(line) {
		m.begin(list)
		m.line(line)
	}
}

func (m *markdown) table(rows [][]string, right int) {
	for i := range rows {
		line := tableLine(rows, i, right)
		if !m.fits(line) {
			continue
		}
		if i == 0 {
			m.begin(table)
		}
		m.line(line)
	}
}

// tableLine is the i-th of rows; the first is followed by the rule that has the columns from the right-th on aligned to the right.
func tableLine(rows [][]string, i, right int) string {
	row := rows[i]
	cells := make([]string, len(row))
	for c := range row {
		cells[c] = words(row[c])
	}
	line := "| " + strings.Join(cells, " | ") + " |"
	if i == 0 {
		line += "\n|" + strings.Repeat("---|", min(right, len(row))) + strings.Repeat("---:|", max(0, len(row)-right))
	}
	return line
}

func (m *markdown) state(s verdict.State) string { return string(s) }

func (m *markdown) draws() bool { return true }

// words makes a line of Markdown out of a sentence. What of it could be markup, a link or a mention stands in code, word by word:
// nothing in code is any of these.
func words(s string) string {
	all := strings.Fields(inert(s))
	for i, w := range all {
		if !plain(w) {
			core := strings.TrimRight(w, ",;:.")
			all[i] = code(core) + w[len(core):]
		}
	}
	return strings.Join(all, " ")
}

// blockMarker is what begins a block of Markdown, made of signs that are plain elsewhere: a list, a rule, a heading's underline.
var blockMarker = regexp.MustCompile(`^([-+]|[0-9]+[.)]|[-=]+)$`)

// code is a word in code. A back-quote would end it, and a bar the cell of a table that it is in: they are shown as inert shows
// what acts on a terminal.
func code(w string) string {
	if w == "" {
		w = " "
	}
	return "`" + strings.NewReplacer("`", `\u0060`, "|", `\u007c`).Replace(w) + "`"
}

// summaryWords is what words is in HTML: Markdown does not look into a summary, but mentions and links are looked for there too.
func summaryWords(s string) string {
	all := strings.Fields(middle(inert(s), titleShown))
	for i, w := range all {
		if !plain(w) {
			all[i] = "<code>" + html.EscapeString(w) + "</code>"
		}
	}
	return strings.Join(all, " ")
}

// emoji is what GitHub makes a picture of.
var emoji = regexp.MustCompile(`:[A-Za-z0-9_+-]+:`)

// plain tells whether a word means nothing to Markdown, nor to what GitHub does besides it: mentions, references, e-mail and web
// addresses, emoji.
func plain(w string) bool {
	if strings.Contains(w, "://") || strings.Contains(strings.ToLower(w), "www.") || emoji.MatchString(w) || reference.MatchString(w) {
		return false
	}
	return !strings.ContainsFunc(w, func(r rune) bool {
		return r < unicode.MaxASCII && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("+-.,;:/%=?()'\"{}!", r)
	})
}

// reference is the digest of a commit, or GH-1, which is the issue 1.
var reference = regexp.MustCompile(`\b([0-9a-f]{7,}|(?i:gh-\d.*))\b`)
