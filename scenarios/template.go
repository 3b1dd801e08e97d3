package scenarios

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"umbra/internal/diag"
)

// A template is text with {{ … }} in it. Inside stand a quoted text, which stands for itself, or a function:
//
//	int 1 50               a whole number of 1 to 50, both included
//	pick "a" "b"           one of the texts
//	uuid                   a random UUID (RFC 9562, version 4)
//	hex 8                  8 hexadecimal digits
//	seq                    0, 1, 2, … over the requests of the mix entry
//	csv "users.csv" "id"   column id of the file; the entry's k-th request takes the row k, and begins again after the last
//
// What a template makes depends on the seed and the request's index alone. Literal text is used verbatim. Values of
// pick and csv are escaped in paths (as a path segment before the "?", as a query component behind it), taken
// verbatim in bodies, and refused in headers where they would break the line; the other functions give nothing that
// needs it.
type template struct {
	parts []part
	text  string // what makes the same template anywhere: the names of CSV files are absolute
	fixed bool   // it makes the same text for every request
}

// part is one piece of a template. It is immutable, and append-only on the buffer that it is given.
type part func(to []byte, d *draw) []byte

// draw is what one request's templates draw from.
type draw struct {
	random random
	seq    uint64 // how many requests of the entry came before
}

// random is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a counter, mixed. Its zero-cost seeding is what makes
// every request's values a pure function of the seed and the request's index.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix64(uint64(*r))
}

// mix64 is SplitMix64's finalizer, a bijection.
func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a number of [0, n). The bias of the modulus is below n/2⁶⁴.
func (r *random) below(n uint64) uint64 { return r.next() % n }

// place says where a template's text goes.
type place int

const (
	inPath place = iota
	inQuery
	inHeader
	inBody
)

// slip is a fault at a byte offset of a template's text.
type slip struct {
	offset int
	msg    string
}

// tables are the CSV files of a scenario, each read once. Where blind is set no file is opened: the templates are
// checked and not to be rendered.
type tables struct {
	dir   string
	blind bool
	read  map[string]*table
}

// table is a CSV file: its header and its rows.
type table struct {
	columns []string
	rows    [][]string
}

// compile compiles a template; where slips are given it must not be used.
func compile(text string, at place, files *tables) (template, []slip) {
	c := compiler{text: text, at: at, files: files}
	c.run()
	return template{c.parts, c.out.String(), !strings.Contains(text, "{{")}, c.slips
}

type compiler struct {
	text  string
	at    place
	files *tables
	parts []part
	out   strings.Builder
	slips []slip
}

func (c *compiler) slip(offset int, format string, args ...any) {
	c.slips = append(c.slips, slip{offset, fmt.Sprintf(format, args...)})
}

func (c *compiler) run() {
	for pos := 0; pos < len(c.text); {
		open := strings.Index(c.text[pos:], "{{")
		if open < 0 {
			c.literal(pos, c.text[pos:])
			return
		}
		c.literal(pos, c.text[pos:pos+open])
		pos += open
		words, end, bad := scan(c.text, pos+2)
		if bad != nil {
			c.slips = append(c.slips, *bad)
			return
		}
		c.call(pos, words)
		c.out.WriteString(c.absolute(pos, end, words))
		pos = end
	}
}

// literal adds text as it stands.
func (c *compiler) literal(offset int, text string) {
	if text == "" {
		return
	}
	c.verbatim(offset, text)
	c.out.WriteString(text)
}

func (c *compiler) verbatim(offset int, text string) {
	c.checkLiteral(offset, text)
	c.parts = append(c.parts, func(to []byte, _ *draw) []byte { return append(to, text...) })
	if c.at == inPath && strings.Contains(text, "?") {
		c.at = inQuery
	}
}

// checkLiteral refuses what would not arrive as it was written.
func (c *compiler) checkLiteral(offset int, text string) {
	switch c.at {
	case inPath, inQuery:
		bad := func(r rune) bool { return r <= ' ' || r == '#' || r >= unicode.MaxASCII }
		if i := strings.IndexFunc(text, bad); i >= 0 {
			r, _ := utf8.DecodeRuneInString(text[i:])
			c.slip(offset+i, "%q cannot stand in a path; write it percent-encoded: %s", r, url.PathEscape(string(r)))
		}
		if i := badEscape(text); i >= 0 {
			c.slip(offset+i, "%% must be followed by two hexadecimal digits; a percent sign itself is %%25")
		}
	case inHeader:
		if i := strings.IndexFunc(text, breaksHeader); i >= 0 {
			c.slip(offset+i, "%q cannot stand in a header; remove it", text[i:i+1])
		}
	}
}

// badEscape is the offset of the first % that begins no percent-encoding, or -1.
func badEscape(text string) int {
	for i := range len(text) {
		if text[i] != '%' {
			continue
		}
		if i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2]) {
			return i
		}
	}
	return -1
}

func isHex(b byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", b) >= 0 }

// breaksHeader says that r is no part of a field value (RFC 9110, section 5.5).
func breaksHeader(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// word is a word of an expression: a bare one, or a quoted text.
type word struct {
	offset, end int
	text        string
	quoted      bool
}

// scan reads the words from pos to the closing braces and gives the offset behind them.
func scan(text string, pos int) (words []word, end int, bad *slip) {
	open := pos - 2
	for {
		for pos < len(text) && strings.IndexByte(" \t\r\n", text[pos]) >= 0 {
			pos++
		}
		switch rest := text[pos:]; {
		case rest == "":
			return nil, 0, &slip{open, "{{ is not closed; end it with }}, or write {{ \"{{\" }} for the braces themselves"}
		case strings.HasPrefix(rest, "}}"):
			return words, pos + 2, nil
		case rest[0] == '"' || rest[0] == '`':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, 0, &slip{pos, "this quoted text is not closed; end it with the quote that it begins with"}
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, 0, &slip{pos, "this quoted text is not valid; write it as Go does, like \"a\""}
			}
			words = append(words, word{pos, pos + len(quoted), value, true})
			pos += len(quoted)
		default:
			n := strings.IndexAny(rest, " \t\r\n\"`}")
			if n < 0 {
				n = len(rest)
			}
			n = max(n, 1)
			words = append(words, word{pos, pos + n, rest[:n], false})
			pos += n
		}
	}
}

// functions are what may stand first in an expression, by name.
var functions = []string{"int", "pick", "uuid", "seq", "hex", "csv"}

// call adds what the expression at offset makes.
func (c *compiler) call(offset int, words []word) {
	switch {
	case len(words) == 0:
		c.slip(offset, "{{ }} is empty; write a function like {{ int 1 50 }}")
		return
	case words[0].quoted && len(words) == 1:
		c.verbatim(words[0].offset, words[0].text)
		return
	}
	f, args := words[0], words[1:]
	switch f.text {
	case "int":
		c.integer(f, args)
	case "pick":
		c.pick(f, args)
	case "uuid":
		c.plain(f, args, appendUUID)
	case "seq":
		c.plain(f, args, func(to []byte, d *draw) []byte { return strconv.AppendUint(to, d.seq, 10) })
	case "hex":
		c.hex(f, args)
	case "csv":
		c.csv(f, args)
	default:
		c.slip(f.offset, "%s", unknownFunction(f.text))
	}
}

func unknownFunction(name string) string {
	if near := diag.Nearest(name, functions); near != "" {
		return fmt.Sprintf("there is no function %q; did you mean %q?", name, near)
	}
	return fmt.Sprintf("there is no function %q; the functions are %s", name, strings.Join(functions, ", "))
}

// plain adds a function without arguments.
func (c *compiler) plain(f word, args []word, p part) {
	if len(args) > 0 {
		c.slip(args[0].offset, "%s takes no argument; write {{ %s }}", f.text, f.text)
		return
	}
	c.parts = append(c.parts, p)
}

// wholes reads n whole numbers.
func (c *compiler) wholes(f word, args []word, n int, example string) ([]int64, bool) {
	if len(args) != n {
		c.slip(f.offset, "%s takes %d whole numbers, got %d; write {{ %s }}", f.text, n, len(args), example)
		return nil, false
	}
	numbers := make([]int64, n)
	for i, a := range args {
		v, err := strconv.ParseInt(a.text, 10, 64)
		if err != nil || a.quoted {
			c.slip(a.offset, "%s takes whole numbers, got %q; write {{ %s }}", f.text, a.text, example)
			return nil, false
		}
		numbers[i] = v
	}
	return numbers, true
}

func (c *compiler) integer(f word, args []word) {
	numbers, ok := c.wholes(f, args, 2, "int 1 50")
	if !ok {
		return
	}
	low, high := numbers[0], numbers[1]
	span := uint64(high) - uint64(low) + 1 // 0 for all of the 2⁶⁴ numbers
	if low > high || span == 0 {
		c.slip(f.offset, "int takes the lowest number first and then the highest; write {{ int 1 50 }}")
		return
	}
	c.parts = append(c.parts, func(to []byte, d *draw) []byte {
		return strconv.AppendInt(to, int64(uint64(low)+d.random.below(span)), 10)
	})
}

// maxHex bounds what hex makes of one expression.
const maxHex = 4096

func (c *compiler) hex(f word, args []word) {
	numbers, ok := c.wholes(f, args, 1, "hex 8")
	if !ok {
		return
	}
	if numbers[0] < 1 || numbers[0] > maxHex {
		c.slip(args[0].offset, "hex makes 1 to %d digits, not %d", maxHex, numbers[0])
		return
	}
	c.parts = append(c.parts, func(to []byte, d *draw) []byte { return appendHex(to, &d.random, int(numbers[0])) })
}

const hexDigits = "0123456789abcdef"

func appendHex(to []byte, r *random, digits int) []byte {
	for digits > 0 {
		bits := r.next()
		for range min(digits, 16) {
			to = append(to, hexDigits[bits&15])
			bits >>= 4
			digits--
		}
	}
	return to
}

// appendUUID makes a UUID of version 4 and variant 10 (RFC 9562, section 5.4).
func appendUUID(to []byte, d *draw) []byte {
	at := len(to)
	to = appendHex(to, &d.random, 32)
	to = append(to, "----"...)
	u := to[at:]
	for _, dash := range []int{8, 13, 18, 23} {
		copy(u[dash+1:], u[dash:])
		u[dash] = '-'
	}
	u[14] = '4'
	u[19] = hexDigits[8+strings.IndexByte(hexDigits, u[19])&3]
	return to
}

func (c *compiler) pick(f word, args []word) {
	if len(args) == 0 {
		c.slip(f.offset, `pick takes at least one text; write {{ pick "a" "b" }}`)
		return
	}
	texts := make([]string, len(args))
	for i, a := range args {
		if !a.quoted {
			c.slip(a.offset, "pick takes quoted texts, got %s; write %q", a.text, a.text)
			return
		}
		text, msg := c.fit(a.text)
		if msg != "" {
			c.slip(a.offset, "%s", msg)
			return
		}
		texts[i] = text
	}
	c.parts = append(c.parts, func(to []byte, d *draw) []byte {
		return append(to, texts[d.random.below(uint64(len(texts)))]...)
	})
}

// fit makes a value fit for where the template goes, or says why it cannot.
func (c *compiler) fit(value string) (string, string) {
	switch c.at {
	case inPath:
		return url.PathEscape(value), ""
	case inQuery:
		return url.QueryEscape(value), ""
	case inHeader:
		if i := strings.IndexFunc(value, breaksHeader); i >= 0 {
			return "", fmt.Sprintf("%q cannot stand in a header; remove the character %q", value, value[i:i+1])
		}
	}
	return value, ""
}

func (c *compiler) csv(f word, args []word) {
	if len(args) != 2 || !args[0].quoted || !args[1].quoted {
		c.slip(f.offset, `csv takes a file and a column, both quoted; write {{ csv "users.csv" "id" }}`)
		return
	}
	if c.files.blind {
		c.parts = append(c.parts, unread)
		return
	}
	t, err := c.files.open(args[0].text)
	if err != nil {
		c.slip(args[0].offset, "%v", err)
		return
	}
	column := slices.Index(t.columns, args[1].text)
	if column < 0 {
		c.slip(args[1].offset, "%s has no column %q; its first line names %s", args[0].text, args[1].text, strings.Join(t.columns, ", "))
		return
	}
	values := make([]string, len(t.rows))
	for i, row := range t.rows {
		text, msg := c.fit(row[column])
		if msg != "" {
			c.slip(args[0].offset, "row %d of %s: %s", i+1, args[0].text, msg)
			return
		}
		values[i] = text
	}
	c.parts = append(c.parts, func(to []byte, d *draw) []byte {
		return append(to, values[d.seq%uint64(len(values))]...)
	})
}

// unread stands for a column whose file was not read.
func unread([]byte, *draw) []byte {
	panic("scenarios: a resolved scenario does not read its CSV files and makes no requests")
}

// absolute is the expression of [from, end) with the name of a CSV file made absolute.
func (c *compiler) absolute(from, end int, words []word) string {
	if len(words) != 3 || words[0].text != "csv" || !words[1].quoted {
		return c.text[from:end]
	}
	name := c.files.path(words[1].text)
	return c.text[from:words[1].offset] + strconv.Quote(name) + c.text[words[1].end:end]
}

// path is where the file called name is.
func (f *tables) path(name string) string { return absolutePath(f.dir, name) }

// absolutePath is where a file is that the scenario names, as seen from anywhere.
func absolutePath(dir, name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

func (f *tables) open(name string) (*table, error) {
	if t, ok := f.read[name]; ok {
		return t, nil
	}
	data, err := os.ReadFile(f.path(name))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; name a CSV file relative to the scenario", name, reason(err))
	}
	t, err := parseTable(name, string(data))
	if err != nil {
		return nil, err
	}
	if f.read == nil {
		f.read = map[string]*table{}
	}
	f.read[name] = t
	return t, nil
}

func parseTable(name, data string) (*table, error) {
	records, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(data, "\ufeff"))).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s is no CSV: %w", name, err)
	}
	if len(records) < 2 {
		return nil, fmt.Errorf("%s has no rows; it needs a first line that names the columns, and at least one row", name)
	}
	return &table{records[0], records[1:]}, nil
}

// render appends what the template makes.
func (t *template) render(to []byte, d *draw) []byte {
	for _, p := range t.parts {
		to = p(to, d)
	}
	return to
}
