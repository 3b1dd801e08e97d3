package redact

import (
	"net/url"
	"strings"
)

// maxNested is how deep parameters and JSON within values are looked into.
const maxNested = 4

// nameSet are names of parameters.
type nameSet struct {
	rules  map[string]*rule
	first  [64]uint64 // by length, a bit for each first byte that there is, modulo 64: most names need no look-up
	longer bool       // whether there are names of other lengths
	ends   endSet
}

// add takes the place of a rule of the same name.
func (s *nameSet) add(name string, u *rule) {
	key := string(appendName(nil, name, false))
	if s.rules == nil {
		s.rules = map[string]*rule{}
	}
	s.rules[key] = u
	if n := len(key); 0 < n && n < 64 {
		s.first[n] |= 1 << (key[0] & 63)
	} else {
		s.longer = true
	}
}

func (s *nameSet) get(key []byte) *rule {
	switch n := len(key); {
	case n == 0, n < 64 && s.first[n]&(1<<(key[0]&63)) == 0, n >= 64 && !s.longer:
		return nil
	}
	return s.rules[string(key)]
}

// find gives the rule of a normal name, or else that of its last part, or of the end of that.
func (s *nameSet) find(key []byte) *rule {
	if u := s.get(key); u != nil {
		return u
	}
	last := lastPart(key)
	if len(last) < len(key) {
		if u := s.get(last); u != nil {
			return u
		}
	}
	if end := findEnd(&s.ends, last); end != nil {
		return end.rule
	}
	return nil
}

// lastPart is c of a[b][c], a[b][c][], a[b][c][0] and a.b.c.
func lastPart(key []byte) []byte {
	for len(key) > 0 && key[len(key)-1] == ']' {
		open := len(key) - 1
		for open > 0 && key[open] != '[' {
			open--
		}
		if part := key[open+1 : max(open+1, len(key)-1)]; key[open] == '[' && !isIndex(part) {
			return part
		}
		key = key[:open]
	}
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '.' || key[i] == ']' {
			return key[i+1:]
		}
	}
	return key
}

func isIndex(part []byte) bool {
	for _, c := range part {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// appendName appends a name as names are compared: in lower case, without -, _ and white space, percent-decoded where that is.
func appendName[T string | []byte](dst []byte, name T, percent bool) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if percent && c == '%' && i+2 < len(name) {
			if hi, lo := hexDigit(name[i+1]), hexDigit(name[i+2]); hi >= 0 && lo >= 0 {
				c = byte(hi<<4 | lo)
				i += 2
			}
		}
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c|0x20)
		case c == '-' || c == '_' || c <= ' ' || percent && c == '+':
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// field is where parameters stand: which of them are redacted, and what ends one.
type field struct {
	names *nameSet
	place place
	ends  *[256]bool

	prosed bool // whether prose has seen the text already
}

// The ends. They are few on purpose: what one server takes for the end of a value, another takes for a part of it.
var (
	formEnds    = bytesSet("&")
	segmentEnds = bytesSet(";/?#")
	urlEnds     = bytesSet("&>\"")
)

// nameStarts stand before a name.
var nameStarts = bytesSet("&;?#/\n\r <>,\"'")

func bytesSet(s string) *[256]bool {
	var set [256]bool
	for i := range len(s) {
		set[s[i]] = true
	}
	return &set
}

// params redacts the parameters in s, and gives s itself where there are none. It runs over s once, whatever s holds.
func (r *Redactor) params(s string, f field, depth int) string {
	if len(f.names.rules) == 0 || strings.IndexByte(s, '=') < 0 {
		return s
	}
	var out []byte
	copied, start, end := 0, 0, -1 // the value that a "=" is in or begins runs up to end
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			if nameStarts[s[i]] {
				start = i + 1
			}
			continue
		}
		u := r.parameter(f.names, s[start:i])
		first := i >= end
		if first {
			for end = i + 1; end < len(s) && !f.ends[s[end]]; end++ {
			}
		}
		from, to, with, changed := i+1, end, "", false
		switch {
		case u != nil && u.drop:
			r.replace(u, f.place, queryDecoded(s[from:to])) // counts it
			from, to = withSeparator(s, start, end, copied)
			changed = true
		case u != nil:
			with, changed = url.QueryEscape(r.replace(u, f.place, queryDecoded(s[from:to]))), true
		case first:
			with, changed = r.inside(s[from:to], f, depth)
		}
		if changed {
			out = append(append(out, s[copied:from]...), with...)
			copied, i = to, max(end, to)-1
		}
		start = i + 1
	}
	if copied == 0 {
		return s
	}
	return string(append(out, s[copied:]...))
}

func (r *Redactor) parameter(names *nameSet, name string) *rule {
	r.name = appendName(r.name[:0], name, true)
	return names.find(r.name)
}

// withSeparator widens a parameter by one separator beside it.
func withSeparator(s string, from, to, copied int) (int, int) {
	switch {
	case to < len(s) && s[to] == '&':
		to++
	case from > copied && (s[from-1] == '&' || s[from-1] == ';'):
		from--
	}
	return from, to
}

// shortestNested is the length of the shortest value to look into: a%3Db.
const shortestNested = 5

// inside redacts the parameters or the JSON that a percent-encoded value holds, and tells whether there was anything.
func (r *Redactor) inside(value string, f field, depth int) (string, bool) {
	if len(value) < shortestNested {
		return value, false
	}
	decoded := queryDecoded(value)
	isJSON := looksJSON(decoded)
	encoded := len(decoded) != len(value)
	isProse := (encoded || !f.prosed) && strings.IndexByte(decoded, ':') >= 0
	if len(f.names.rules) == 0 || !isJSON && !isProse && (!encoded || !strings.ContainsAny(decoded, "=%@")) {
		return value, false
	}
	var redacted string
	switch {
	case depth >= maxNested:
		redacted = r.replace(r.nested, f.place, decoded)
	case isJSON:
		redacted = r.jsonInside(decoded, f.place, depth+1)
	case !encoded:
		redacted = string(r.prose([]byte(decoded), f.names, f.place))
	default:
		f.prosed = true
		redacted = string(r.prose([]byte(r.userInfo(decoded, f.place)), f.names, f.place))
		redacted = r.params(redacted, f, depth+1)
		if redacted == decoded {
			redacted, _ = r.inside(decoded, f, depth+1)
		}
	}
	if redacted == decoded {
		return value, false
	}
	return url.QueryEscape(redacted), true
}

// queryDecoded is lenient: what is no percent-encoding stays.
func queryDecoded(s string) string { return decoded(s, asQuery) }

func pathDecoded(s string) string { return decoded(s, asPath) }

func decoded(s string, e encoding) string {
	if strings.IndexByte(s, '%') < 0 && (e != asQuery || strings.IndexByte(s, '+') < 0) {
		return s
	}
	text, _ := decode([]byte(s), e, false)
	return string(text)
}

// target redacts a request's target: a path with its query, or a URL.
func (r *Redactor) target(s string) string {
	path, query, hasQuery := strings.Cut(s, "?")
	newPath, newQuery := r.path(path), query
	if hasQuery {
		newQuery = r.fields(query, field{names: &r.query, place: inQuery, ends: formEnds})
	}
	if len(r.patterns) > 0 {
		newPath = r.match(newPath, InPath, inPath, asPath)
		newQuery = r.match(newQuery, InQuery, inQuery, asQuery)
	}
	switch {
	case newPath == path && newQuery == query:
		return s
	case !hasQuery || newQuery == "" && query != "":
		return newPath
	}
	return newPath + "?" + newQuery
}

// fields redacts a query or a form, also one that is a single encoded value without a name.
func (r *Redactor) fields(s string, f field) string {
	s = r.userInfo(s, f.place)
	if strings.IndexByte(s, '=') < 0 {
		s, _ = r.inside(s, f, 0)
		return s
	}
	return r.params(s, f, 0)
}

// path redacts the user information of a URL, the parameters of segments, and URLs encoded in a segment.
func (r *Redactor) path(s string) string {
	s = r.userInfo(s, inPath)
	return r.segments(r.params(s, field{names: &r.query, place: inPath, ends: segmentEnds}, 0), inPath)
}

// segments redacts URLs that are encoded in a segment of a path.
func (r *Redactor) segments(s string, p place) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		segments[i], _ = r.inside(segment, field{names: &r.query, place: p, ends: formEnds}, 0)
	}
	return strings.Join(segments, "/")
}

// userInfo redacts name:password@ (RFC 3986, section 3.2.1) of the URLs in s, or of s itself where it is an authority.
func (r *Redactor) userInfo(s string, p place) string {
	if r.userinfo == nil || strings.IndexByte(s, '@') < 0 {
		return s
	}
	if p == inAuthority {
		return r.authority(s, p)
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i+3])
		s = s[i+3:]
		end := strings.IndexAny(s, "/?#\\ \"<>,")
		if end < 0 {
			end = len(s)
		}
		b.WriteString(r.authority(s[:end], p))
		s = s[end:]
	}
}

func (r *Redactor) authority(s string, p place) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	name, password, found := strings.Cut(s[:at], ":")
	redacted := r.replace(r.userinfo, p, pathDecoded(name))
	if found {
		redacted += ":" + r.replace(r.userinfo, p, pathDecoded(password))
	}
	return redacted + s[at:]
}
