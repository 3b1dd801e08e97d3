package formats

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// kind is what a field of a log tells.
type kind int

const (
	isText kind = iota // no field: the text between two
	isIgnored
	isRequest // the request line
	isMethod
	isTarget   // path and query as sent
	isOriginal // path and query before the proxy rewrote them
	isPath     // the path as the server decoded and normalised it
	isQuery    // with or without its '?'
	isProtocol
	isScheme
	isHost       // the Host header or :authority
	isServerName // the server's idea of it, where there is nothing better
	isHeader
	isLength // bytes of the request's body
	isBody
	isAddress
	isForwarded // x-forwarded-for: a header, and the session where there is no address
	isConnection
	isTime
	isEndTime
	isDuration // field.unit each
	isStatus
)

// field is a part of a line.
type field struct {
	kind    kind
	name    string        // as the format has it
	header  string        // isHeader
	begins  byte          // every value begins with it, if it is not empty; 0 where that is not so
	layout  string        // isTime, isEndTime: see stamp
	unit    time.Duration // isDuration
	longest int           // the server cuts longer values; 0 where it does not
}

// record is what a line tells of its request.
type record struct {
	line, method, target, original, path, query, scheme string
	host, serverName                                    string
	hasBody                                             bool
	body                                                string
	length                                              int64 // -1 where unknown
	address, forwarded, connection                      string
	stamp                                               stamp
	duration                                            time.Duration
	status                                              int
	headers                                             []traffic.Header
	cut                                                 string // a field that the server cut
}

func (r *record) reset() {
	*r = record{length: -1, stamp: stamp{layout: r.stamp.layout[:0], value: r.stamp.value[:0]}}
}

// set takes a field's value. "-" and nothing are what servers write for what is not there.
func (r *record) set(f field, value string) (err error) {
	if value == "" || value == "-" && f.kind != isTime && f.kind != isEndTime {
		return nil
	}
	if f.longest > 0 && len(value) >= f.longest {
		r.cut = f.name
	}
	switch f.kind {
	case isRequest:
		r.line = value
	case isMethod:
		r.method = value
	case isTarget:
		r.target = value
	case isOriginal:
		r.original = value
	case isPath:
		r.path = value
	case isQuery:
		r.query = strings.TrimPrefix(value, "?")
	case isScheme:
		r.scheme = strings.ToLower(value)
	case isHost:
		r.host = value
	case isServerName:
		r.serverName = value
	case isHeader:
		r.headers = append(r.headers, traffic.Header{f.header, value})
	case isForwarded:
		r.forwarded = value
		r.headers = append(r.headers, traffic.Header{f.header, value})
	case isLength:
		r.length, err = strconv.ParseInt(value, 10, 64)
	case isBody:
		r.body, r.hasBody = value, true
	case isAddress:
		r.address = value
	case isConnection:
		r.connection = value
	case isTime, isEndTime:
		r.stamp.end = r.stamp.end || f.kind == isEndTime
		err = r.stamp.add(f.layout, value)
	case isDuration:
		r.duration, err = duration(value, f.unit)
	case isStatus:
		r.status, err = strconv.Atoi(value)
	}
	if err != nil {
		return fmt.Errorf("%.60q: %w", value, err)
	}
	return nil
}

// duration reads a decimal number of units.
func duration(value string, unit time.Duration) (time.Duration, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= 0 && n*float64(unit) < float64(365*24*time.Hour)) {
		return 0, fmt.Errorf("no duration")
	}
	return time.Duration(n*float64(unit) + 0.5), nil
}

// request makes the request that a record tells of.
func (r *record) request(origin *origin, o Options) (traffic.Request, error) {
	out := traffic.Request{Scheme: r.scheme, Headers: r.headers, Session: r.session()}
	if out.Scheme != "http" && out.Scheme != "https" {
		out.Scheme = o.scheme()
	}
	if out.Authority = r.host; out.Authority == "" {
		out.Authority = r.serverName
	}
	if err := r.setTarget(&out); err != nil {
		return out, err
	}
	if err := check(&out, o); err != nil {
		return out, err
	}
	if err := r.setBody(&out, o); err != nil {
		return out, err
	}
	began, err := r.stamp.time()
	if err != nil {
		return out, err
	}
	if r.stamp.end {
		began = began.Add(-r.duration)
	}
	if out.At, err = origin.since(began, o.Began); err != nil {
		return out, err
	}
	// 499 is nginx's for a client that went away before there was an answer, 0 Envoy's.
	if r.status > 0 && r.status != 499 {
		out.Response = &traffic.Response{Status: r.status, Latency: r.duration}
	}
	return out, nil
}

func (r *record) session() string {
	switch {
	case r.address == "" && r.connection == "":
		return r.forwarded
	case r.connection == "":
		return r.address
	}
	return r.address + "#" + r.connection
}

// setTarget fills in method and path from the best that the log has.
func (r *record) setTarget(out *traffic.Request) error {
	method, target, version, three := requestLine(r.line)
	switch {
	case r.cut != "":
		return refuse(exchange.NotReplayable, "%s was cut by the server", r.cut)
	case r.status == 101:
		return refuse(exchange.NotReplayable, "its connection was upgraded to another protocol")
	case r.line == "" && r.method == "":
		return refuse(exchange.NotReplayable, "no HTTP request came: it has no method")
	case r.line != "" && (!three || !strings.HasPrefix(version, "HTTP/")):
		return refuse(exchange.RequestsMalformed, "%.80q is no request line", r.line)
	}
	if r.line == "" {
		method, target = r.method, r.target
	}
	if r.original != "" {
		target = r.original
	}
	if target == "" && r.path != "" {
		target = (&url.URL{Path: r.path}).EscapedPath()
		if r.query != "" {
			target += "?" + r.query
		}
	}
	out.Method = method
	setTarget(out, target)
	return nil
}

// setBody refuses a request whose body the log does not hold.
func (r *record) setBody(out *traffic.Request, o Options) error {
	switch {
	case r.hasBody && (r.length < 0 || r.length == int64(len(r.body))):
		out.Body = []byte(r.body)
		return nil
	case r.length == 0 || r.length < 0 && !out.HasLength() || o.Bodyless:
		return nil
	case r.length > 0:
		return refuse(exchange.NotReplayable, "the log does not hold its body of %d bytes: --bodyless lets it through without", r.length)
	}
	return refuse(exchange.NotReplayable, "the log does not say whether the %s had a body: --bodyless lets it through without", out.Method)
}

// stamp gathers a time that a line may hold in pieces. Its layout is one of package time, with these in place of fractions and
// epochs.
type stamp struct {
	layout, value []byte
	unix          time.Duration // since 1970, from one piece
	fraction      time.Duration
	epoch, end    bool // unix is set; the time is the request's end
}

// The layouts of numbers.
const (
	layoutSec      = "sec"
	layoutMsec     = "msec"
	layoutUsec     = "usec"
	layoutNsec     = "nsec"
	layoutFloat    = "float" // seconds and a fraction, as $msec
	layoutMsecFrac = "msec_frac"
	layoutUsecFrac = "usec_frac"
)

var epochUnits = map[string]time.Duration{layoutSec: time.Second, layoutMsec: time.Millisecond, layoutUsec: time.Microsecond, layoutNsec: 1}

func (s *stamp) add(layout, value string) error {
	switch layout {
	case layoutFloat:
		return s.float(value)
	case layoutMsecFrac, layoutUsecFrac:
		unit := time.Millisecond
		if layout == layoutUsecFrac {
			unit = time.Microsecond
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if s.fraction = time.Duration(n) * unit; s.fraction >= time.Second {
			return fmt.Errorf("no fraction of a second")
		}
		return err
	case layoutSec, layoutMsec, layoutUsec, layoutNsec:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || n > int64(lastTime.Sub(firstTime)/epochUnits[layout]) {
			return fmt.Errorf("no time since 1970")
		}
		s.unix, s.epoch = time.Duration(n)*epochUnits[layout], true
		return nil
	}
	s.layout = append(append(s.layout, ' '), layout...)
	s.value = append(append(s.value, ' '), value...)
	return nil
}

// float reads seconds, to the ns, without the rounding of a float64.
func (s *stamp) float(value string) error {
	whole, part, _ := strings.Cut(value, ".")
	if len(part) > 9 {
		part = part[:9]
	}
	fraction, err := strconv.ParseUint(part+"000000000"[len(part):], 10, 32)
	if err != nil {
		return fmt.Errorf("no time since 1970")
	}
	if err := s.add(layoutSec, whole); err != nil {
		return err
	}
	s.unix += time.Duration(fraction)
	return nil
}

// time puts the pieces together. A time without a zone is taken as UTC: only differences of times are used.
func (s *stamp) time() (time.Time, error) {
	if s.epoch {
		return time.Unix(0, int64(s.unix+s.fraction)), nil
	}
	t, err := time.Parse(string(s.layout), string(s.value))
	if err != nil {
		return t, refuse(exchange.LinesUnreadable, "%.60q is not a time as the log's format has it", strings.TrimSpace(string(s.value)))
	}
	return t.Add(s.fraction), nil
}

// strftime is what of strftime(3) time.Parse can read.
var strftime = map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'd': "02", 'e': "_2", 'D': "01/02/06",
	'F': "2006-01-02", 'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'y': "06", 'Y': "2006",
	'z': "-0700", 'Z': "MST", '%': "%", 'n': "\n", 't': "\t"}

// layoutOf is the layout of a strftime format; %3f and the like are Envoy's fractions.
func layoutOf(format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			if c := format[i]; c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' && c != 'T' && c != 'Z' || c >= 'a' && c <= 'z' {
				return "", fmt.Errorf("log format: time format %q: %q cannot stand outside %%x", format, c)
			}
			b.WriteByte(format[i])
			continue
		}
		i++
		c := format[i]
		width := 9
		if c >= '1' && c <= '9' && i+1 < len(format) && format[i+1] == 'f' {
			width, c, i = int(c-'0'), 'f', i+1
		}
		layout, ok := strftime[c]
		if c == 'f' && (strings.HasSuffix(b.String(), ".") || strings.HasSuffix(b.String(), ",")) {
			layout, ok = strings.Repeat("0", width), true
		}
		if !ok {
			return "", fmt.Errorf("log format: time format %q: %%%c is not read", format, c)
		}
		b.WriteString(layout)
	}
	return b.String(), nil
}
