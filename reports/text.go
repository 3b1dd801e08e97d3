package reports

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"umbra/internal/verdict"
)

// width is what a line of the text report fits into.
const width = 100

// text is a page of a terminal or a log.
type text struct {
	strings.Builder
	colours bool
}

// Text renders r for a terminal (with colours, and time lines drawn of letters) or a log, at most 100 columns wide. Strings
// from outside are inert: control characters are shown, not sent.
func (r *Report) Text(w io.Writer, colours bool) error {
	t := &text{colours: colours}
	t.head(r)
	sheet{t}.sections(r)
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *text) head(r *Report) {
	t.paragraph("", r.Headline)
	if r.Partial != "" {
		t.paragraph("", "PARTIAL: "+r.Partial)
	}
	for _, l := range r.Lead {
		t.paragraph("  ", fmt.Sprintf("%s: %s, %s", l.Name, l.Value, l.Against))
	}
	if len(r.Verdicts) == 0 {
		return
	}
	t.WriteByte('\n')
	for _, v := range r.Verdicts {
		t.paragraph(fmt.Sprintf("  %-11s %s  ", middle(inert(v.Name), 11), t.state(v.State)), v.Summary)
	}
}

// paint holds the terminal colours of the states.
var paint = map[verdict.State]string{verdict.Pass: "32", verdict.Fail: "31", verdict.Inconclusive: "33", verdict.Invalid: "35", verdict.NotTested: "2"}

func (t *text) state(s verdict.State) string {
	padded := fmt.Sprintf("%-12s", s)
	if !t.colours {
		return padded
	}
	return "\x1b[" + paint[s] + "m" + padded + "\x1b[0m"
}

func (t *text) draws() bool { return t.colours }

func (t *text) title(s string) {
	t.WriteByte('\n')
	t.paragraph("", s)
}

// paragraph writes s behind lead, broken at spaces, further lines indented as far as lead is wide.
func (t *text) paragraph(lead, s string) {
	indent := visible(lead)
	line, used := lead, indent
	for _, word := range strings.Fields(inert(s)) {
		n := utf8.RuneCountInString(word)
		if used > indent && used+1+n > width {
			t.WriteString(strings.TrimRight(line, " ") + "\n")
			line, used = strings.Repeat(" ", indent), indent
		}
		if used > indent {
			line, used = line+" ", used+1
		}
		for runes := []rune(word); n > width-used; n = len(runes) { // a word wider than a line
			t.WriteString(line + string(runes[:width-used]) + "\n")
			runes = runes[width-used:]
			word, line, used = string(runes), strings.Repeat(" ", indent), indent
		}
		line, used = line+word, used+n
	}
	t.WriteString(strings.TrimRight(line, " ") + "\n")
}

// visible is how many columns s takes, without its colours.
func visible(s string) (n int) {
	escape := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// table writes rows in columns, those from the right-th on aligned to the right; cells that would not fit the width are
// cut in their middle.
func (t *text) table(rows [][]string, right int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = inert(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	shrink(widths, right)
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			cell = middle(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < right {
				line += " " + cell + pad + " "
			} else {
				line += " " + pad + cell + " "
			}
		}
		t.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// shrink takes from the widest of the columns on the left until the row fits.
func shrink(widths []int, left int) {
	for {
		total := 1
		widest := 0
		for i, w := range widths {
			total += w + 2
			if i < left && w > widths[widest] {
				widest = i
			}
		}
		if total <= width || widths[widest] <= 8 {
			return
		}
		widths[widest]--
	}
}

// middle cuts the middle out of s where it is wider than n. It costs what is kept, and one look at s.
func middle(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	head, tail := 0, len(s)
	for range (n - 1) / 2 {
		_, size := utf8.DecodeRuneInString(s[head:])
		head += size
	}
	for range n - 1 - (n-1)/2 {
		_, size := utf8.DecodeLastRuneInString(s[:tail])
		tail -= size
	}
	return s[:head] + "…" + s[tail:]
}

// longest is how many characters of a string from outside are shown; report.json has all of it.
const longest = 600

// inert shows what a terminal would act on: control characters, and those that turn the direction of writing.
func inert(s string) string {
	s = middle(s, longest)
	if !strings.ContainsFunc(s, active) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if active(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Inert is a string from outside as a terminal shows it without acting on it.
func Inert(s string) string { return inert(s) }

func active(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
