package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// LogFormat is a compiled format of an access log's lines: fields, and the text between them. It reads one log at a time.
type LogFormat struct {
	parts  []part
	last   string // behind the last field
	escape escape
	spans  [2][]span // of the fields, found from the left and from the right
}

// part is a field and the text before it.
type part struct {
	before string
	fields []field // more than one where nothing stands between them; each but the first begins with a byte of its own
}

type span struct{ from, to int }

// escape says how a server writes bytes that would not be seen, or would end a field.
type escape int

const (
	escapeNone escape = iota
	escapeC           // \xHH, \" and \n, as Apache and nginx write them
	escapeJSON
)

// The named formats. Nginx's and Apache's combined format are one: they differ in how they escape, and both ways are read.
const (
	Combined = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`
	Common   = `%h %l %u %t "%r" %>s %b`
	// EnvoyText is Envoy's default (DEFAULT_FORMAT of its access log).
	EnvoyText = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
		`%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
		`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"`
	// IstioText is Istio's default since 1.9 (EnvoyTextLogFormat in pilot/pkg/model/telemetry_logging.go).
	IstioText = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
		`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% ` +
		`%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
		`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% ` +
		`%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%`
)

// ParseLog compiles a format, given by name ("combined", "common", "envoy", "istio") or as its server has it: nginx's log_format,
// Apache's LogFormat or Envoy's text_format, each as the whole directive or as its text alone.
func ParseLog(text string) (*LogFormat, error) {
	switch strings.TrimSpace(text) {
	case "combined":
		return compile(apache(Combined))
	case "common":
		return compile(apache(Common))
	case "envoy":
		return compile(envoy(EnvoyText))
	case "istio":
		return compile(envoy(IstioText))
	}
	name, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch {
	case name == "log_format" || strings.Contains(text, "$"):
		return compile(nginx(text))
	case strings.Contains(text, "%REQ(") || strings.Contains(text, "%REQUEST_HEADER(") || strings.Contains(text, "%START_TIME"):
		return compile(envoy(text))
	case strings.Contains(text, "%"):
		return compile(apache(text))
	}
	return nil, fmt.Errorf("log format %.80q: give combined, common, envoy or istio, or the text of nginx's log_format, Apache's LogFormat or Envoy's text_format", text)
}

// token is a piece of a format: a field, or the text between two.
type token struct {
	text  string
	field field
}

// compile checks that a line of the format can be taken apart, and that it holds a request.
func compile(tokens []token, e escape, err error) (*LogFormat, error) {
	if err != nil {
		return nil, err
	}
	f := &LogFormat{escape: e}
	for _, t := range beginsOnly(tokens) {
		switch n := len(f.parts); {
		case t.field.kind == isText:
			f.last += t.text
		case n == 0 || f.last != "":
			f.parts = append(f.parts, part{f.last, []field{t.field}})
			f.last = ""
		case t.field.kind == isIgnored && f.parts[n-1].fields[0].kind == isIgnored:
		case t.field.begins == 0:
			return nil, fmt.Errorf("log format: nothing stands between %s and what follows it, so that they cannot be told apart", f.parts[n-1].fields[0].name)
		default:
			f.parts[n-1].fields = append(f.parts[n-1].fields, t.field)
		}
	}
	f.spans = [2][]span{make([]span, len(f.parts)), make([]span, len(f.parts))}
	return f, f.holdsRequest()
}

// beginsOnly ignores the request's end where its begin is known.
func beginsOnly(tokens []token) []token {
	if slices.ContainsFunc(tokens, func(t token) bool { return t.field.kind == isTime }) {
		for i := range tokens {
			if tokens[i].field.kind == isEndTime {
				tokens[i].field.kind = isIgnored
			}
		}
	}
	return tokens
}

// timeTokens makes a field of each word of a time, so that the spaces in it count as text between fields.
func timeTokens(f field) (tokens []token) {
	for i, word := range strings.Split(f.layout, " ") {
		if i > 0 {
			tokens = append(tokens, token{text: " "})
		}
		f.layout = word
		tokens = append(tokens, token{field: f})
	}
	return tokens
}

func (f *LogFormat) holdsRequest() error {
	has := map[kind]bool{}
	for _, p := range f.parts {
		for _, field := range p.fields {
			has[field.kind] = true
		}
	}
	switch {
	case !has[isRequest] && !has[isMethod]:
		return errors.New("log format: it has no request line and no method ($request, %r, %REQ(:METHOD)%)")
	case !has[isRequest] && !has[isTarget] && !has[isOriginal] && !has[isPath]:
		return errors.New("log format: it has no request line and no path ($request, %r, %REQ(:PATH)%)")
	case !has[isTime] && !has[isEndTime]:
		return errors.New("log format: it has no time ($msec, $time_local, %t, %START_TIME%)")
	}
	return nil
}

// ReadLog reads an access log. A request's At is its begin: nginx stamps the end, from which its duration is taken where the
// format has that; Apache and Envoy stamp the begin. Session is the client's address, and the connection's number where the
// format has that. Logs hold no bodies (but nginx's $request_body): what had one, or may have had one, is not replayable unless
// Options.Bodyless says so. A line that can be taken apart in two ways is an error.
func ReadLog(r io.Reader, f *LogFormat, o Options) Requests {
	var origin origin
	var rec record
	return readLines(r, func(line []byte) (traffic.Request, error) {
		rec.reset()
		if err := f.split(line, &rec); err != nil {
			return traffic.Request{}, err
		}
		return rec.request(&origin, o)
	})
}

// split takes a line apart. It matches the texts between the fields from the left, each as early as can be, and from the right,
// each as late as can be: every other way lies between the two, so that where both agree there is no other. Nor is there where a
// field of known begin cannot hold the text behind it.
func (f *LogFormat) split(line []byte, rec *record) error {
	if !f.fromLeft(line) || !f.fromRight(line) {
		return refuse(exchange.LinesUnreadable, "it is not of the log's format: say which with --log-format")
	}
	begun := true // there is one way to read what is before the field
	for i, p := range f.parts {
		left, right := f.spans[0][i], f.spans[1][i]
		begun = begun && f.ends(i) || left == right
		if p.fields[0].kind == isIgnored {
			continue
		}
		if !begun {
			return refuse(exchange.LinesUnreadable, "it can be read in two ways: %s is %.60q or %.60q", p.fields[0].name, line[left.from:left.to], line[left.from:right.to])
		}
		if err := f.set(p.fields, line[left.from:left.to], rec); err != nil {
			return err
		}
	}
	return nil
}

// ends tells whether the values of a part cannot hold the text behind it.
func (f *LogFormat) ends(i int) bool {
	if i+1 == len(f.parts) {
		return true
	}
	text, fields := f.parts[i+1].before, f.parts[i].fields
	if f.escape != escapeNone && text[0] == '"' {
		return true
	}
	if len(fields) > 1 {
		return false
	}
	switch fields[0].kind {
	case isScheme, isMethod:
		return strings.ContainsAny(text, ` ":/|`)
	case isAddress, isConnection, isStatus, isDuration, isLength, isTime, isEndTime, isProtocol:
		return strings.ContainsAny(text, ` "`)
	}
	return false
}

func (f *LogFormat) fromLeft(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(f.parts[0].before)) {
		return false
	}
	pos := len(f.parts[0].before)
	for i := range f.parts {
		text := f.last
		if i+1 < len(f.parts) {
			text = f.parts[i+1].before
		}
		end := len(line) - len(f.last)
		if i+1 < len(f.parts) {
			end = f.index(line, pos, text)
		}
		if end < pos {
			return false
		}
		f.spans[0][i] = span{pos, end}
		pos = end + len(text)
	}
	return bytes.HasSuffix(line, []byte(f.last)) && f.endsOnce(line)
}

// endsOnce tells whether the last value, where quotes enclose it, holds none itself: a line of more fields does not pass for one.
func (f *LogFormat) endsOnce(line []byte) bool {
	last := f.spans[0][len(f.parts)-1]
	return f.escape == escapeNone || !strings.HasPrefix(f.last, `"`) || f.index(line, last.from, `"`) == last.to
}

func (f *LogFormat) fromRight(line []byte) bool {
	end := len(line) - len(f.last)
	for i := len(f.parts) - 1; i >= 0; i-- {
		begin := len(f.parts[0].before)
		if i > 0 {
			begin = f.lastIndex(line, end, f.parts[i].before) + len(f.parts[i].before)
			if begin < len(f.parts[i].before) {
				return false
			}
		}
		if begin > end {
			return false
		}
		f.spans[1][i] = span{begin, end}
		end = begin - len(f.parts[i].before)
	}
	return true
}

// index finds a text at or behind from; -1 where it is not there.
func (f *LogFormat) index(line []byte, from int, text string) int {
	for {
		i := bytes.Index(line[from:], []byte(text))
		if i < 0 {
			return -1
		}
		if from += i; !f.escaped(line, from, text) {
			return from
		}
		from++
	}
}

// lastIndex finds the last text that ends at or before end.
func (f *LogFormat) lastIndex(line []byte, end int, text string) int {
	for {
		i := bytes.LastIndex(line[:end], []byte(text))
		if i < 0 || !f.escaped(line, i, text) {
			return i
		}
		end = i + len(text) - 1
	}
}

// escaped tells whether a text that begins with a quote is part of a value, by the backslash before it.
func (f *LogFormat) escaped(line []byte, i int, text string) bool {
	if f.escape == escapeNone || text[0] != '"' {
		return false
	}
	n := 0
	for n < i && line[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// set gives a record the values of fields that nothing stands between.
func (f *LogFormat) set(fields []field, raw []byte, rec *record) error {
	for i, field := range fields {
		value := raw
		if i+1 < len(fields) {
			end := bytes.IndexByte(raw, fields[i+1].begins)
			if end < 0 {
				end = len(raw)
			}
			value, raw = raw[:end], raw[end:]
		}
		text, err := f.escape.decode(value)
		if err == nil {
			err = rec.set(field, text)
		}
		if err != nil {
			return refuse(exchange.LinesUnreadable, "%s: %v", field.name, err)
		}
	}
	return nil
}

var errEscape = errors.New("a malformed escape")

// decode undoes a server's escapes.
func (e escape) decode(raw []byte) (string, error) {
	if e == escapeNone || bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), nil
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		if i == len(raw) {
			return "", errEscape
		}
		digits := 0
		switch c := raw[i]; {
		case c == 'x' && e == escapeC:
			digits = 2
		case c == 'u' && e == escapeJSON:
			digits = 4
		default:
			plain := strings.IndexByte(`"\/nrtbfv`, c)
			if plain < 0 {
				return "", errEscape
			}
			out = append(out, "\"\\/\n\r\t\b\f\v"[plain])
			continue
		}
		code, ok := hexadecimal(raw[i+1:], digits)
		if !ok {
			return "", errEscape
		}
		i += digits
		out = append(out, byte(code))
	}
	return string(out), nil
}

// hexadecimal reads an escape's digits. What it gives fits a byte: nginx escapes control characters only as \u00XX.
func hexadecimal(b []byte, digits int) (n int, ok bool) {
	if len(b) < digits {
		return 0, false
	}
	for _, c := range b[:digits] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		n = n<<4 | d
	}
	return n, n < 256
}
