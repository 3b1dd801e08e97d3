package redact

import (
	"encoding/base64"
	"hash/maphash"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"umbra/internal/traffic"
)

// headerTable finds what to do with a header. Most headers are to be left alone, so a miss must be cheap: the table is hashed
// by length, first and last letter.
type headerTable struct {
	slots [256][]headerEntry
}

// headerEntry is of one header: redacted by its rule, or kept as it is, or else a URL.
type headerEntry struct {
	name string
	rule *rule
	kept bool
}

func slotOf(name string) byte {
	if name == "" {
		return 0
	}
	return byte(len(name))*37 ^ (name[0]|0x20)*5 ^ (name[len(name)-1]|0x20)*11
}

func (t *headerTable) add(name string, u *rule) { t.put(headerEntry{name: name, rule: u}) }
func (t *headerTable) addURL(name string)       { t.put(headerEntry{name: name}) }
func (t *headerTable) addKept(name string)      { t.put(headerEntry{name: name, kept: true}) }

// put takes the place of an entry of the same name: the user's rules come behind the defaults.
func (t *headerTable) put(e headerEntry) {
	slot := &t.slots[slotOf(e.name)]
	*slot = slices.DeleteFunc(*slot, func(o headerEntry) bool { return strings.EqualFold(o.name, e.name) })
	*slot = append(*slot, e)
}

func (t *headerTable) find(name string) *headerEntry {
	slot := t.slots[slotOf(name)]
	for i := range slot {
		if len(slot[i].name) == len(name) && strings.EqualFold(slot[i].name, name) {
			return &slot[i]
		}
	}
	return nil
}

// untouched remembers headers in which there was nothing to redact: most come again, and are the same texts in memory. Each
// name has places of its own, as many values of some names never come again.
type untouched struct {
	last  [256]traffic.Header // by name
	older [256 * ways]traffic.Header
}

// ways is how many values of a name are remembered beside the last one. It is a power of two.
const ways = 16

// has tells whether a header is remembered. If it is not, it may be put where place says.
func (u *untouched) has(h *traffic.Header, seed maphash.Seed) (place *traffic.Header, ok bool) {
	slot := int(slotOf(h[0]))
	last := &u.last[slot]
	if *last == *h {
		return nil, true
	}
	if len(h[0])+len(h[1]) > maxRememberedValue {
		return nil, false
	}
	place = &u.older[slot*ways+int(maphash.String(seed, h[1])%ways)]
	if *place != *h {
		return place, false
	}
	*last = *h
	return nil, true
}

// dropped marks header lines to remove: no line has this name.
const dropped = "\x00"

func (r *Redactor) headerLines(lines []traffic.Header) []traffic.Header {
	drop := false
	for i := range lines {
		h := &lines[i]
		place, ok := r.untouched.has(h, r.seed)
		if ok {
			continue
		}
		name := h[0]
		if n := len(name); n > 0 && (name[n-1] <= ' ' || name[0] <= ' ') {
			name = strings.TrimSpace(name) // a server that takes the line takes it for this name
		}
		e := r.headers.find(name)
		if n := len(name); e == nil && n > 1 && r.headerEnds.may(name[n-2], name[n-1]) {
			if end := findEnd(&r.headerEnds, name); end != nil {
				h[1] = r.headerValue(&headerEntry{name: end.text, rule: end.rule}, h[1])
				continue
			}
		}
		switch {
		case e != nil && e.kept:
		case e != nil && e.rule != nil && e.rule.drop:
			r.replace(e.rule, inHeader, h[1]) // counts it
			r.note(e.rule, h[1])
			h[0], drop = dropped, true
		case e != nil && e.rule != nil:
			h[1] = r.headerValue(e, h[1])
		case e == nil && len(r.patterns) == 0 && !holdsURL(h[1]):
			if place != nil {
				*place = *h
			}
		default:
			h[1] = r.otherHeader(e, h[1])
		}
	}
	if drop {
		lines = slices.DeleteFunc(lines, func(h traffic.Header) bool { return h[0] == dropped })
	}
	return lines
}

// headerValue redacts the value of a header that a rule names. Most values come again and again, so the last ones are remembered.
func (r *Redactor) headerValue(e *headerEntry, value string) string {
	r.note(e.rule, value)
	near := r.near(value)
	if near.rule == e.rule && near.name == e.name && sameText(near.value, value) {
		r.addAgain(e.rule, inHeader, near.replaced)
		return near.redacted
	}
	m := r.remembered(e, value)
	if m.rule == e.rule && m.name == e.name && m.value == value {
		r.addAgain(e.rule, inHeader, m.replaced)
		*near = *m
		near.value = value
		return m.redacted
	}
	had := e.rule.counts[inHeader].values
	redacted := r.structured(e, value)
	if len(value) <= maxRememberedValue {
		*m = memory{e.rule, e.name, strings.Clone(value), redacted, e.rule.counts[inHeader].values - had}
	}
	return redacted
}

// memory is a header's value and what it became. Values are compared byte by byte: their hash only tells where they are.
type memory struct {
	rule            *rule
	name            string
	value, redacted string
	replaced        int64 // how many values were counted
}

// Bounds of the memories; each takes at most a few KiB. They are powers of two.
const (
	maxMemories = 1024
	maxNear     = 128
)

func (r *Redactor) remembered(e *headerEntry, value string) *memory {
	return &r.memories[(maphash.String(r.seed, value)^uint64(len(e.name)))%maxMemories]
}

// near gives the memory of a value by where its text lies, as who reads a capture gives the same text again where it can.
func (r *Redactor) near(value string) *memory {
	at := uintptr(unsafe.Pointer(unsafe.StringData(value)))
	return &r.nearest[(at>>4^at>>11)%maxNear]
}

// sameText tells whether two texts are one in memory, so that nobody has to look at their bytes.
func sameText(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// structured redacts the value of a header and keeps its structure.
func (r *Redactor) structured(e *headerEntry, value string) string {
	switch strings.ToLower(e.name) {
	case "authorization", "proxy-authorization":
		return r.credentials(e.rule, value)
	case "cookie":
		return r.cookies(e.rule, value, false)
	case "set-cookie":
		return r.cookies(e.rule, value, true)
	}
	return r.replace(e.rule, inHeader, strings.TrimSpace(value))
}

// otherHeader redacts what a header that no rule names holds of URLs, and the matches of patterns. e is nil where the header
// need not hold one.
func (r *Redactor) otherHeader(e *headerEntry, value string) string {
	switch {
	case e != nil && (strings.EqualFold(e.name, "host") || e.name == ":authority"):
		value = r.userInfo(value, inAuthority)
	case e != nil || holdsURL(value):
		value = r.urlText(value, e != nil)
	}
	if len(r.patterns) > 0 {
		value = r.match(value, InHeaders, inHeader, asIs)
	}
	return value
}

// shortestURL is the length of the shortest value with something to redact: ?a=b, where a rule names a.
const shortestURL = 4

// holdsURL tells of a value that may hold a URL with something to redact. It looks at every header of every request.
func holdsURL(value string) bool {
	if len(value) < shortestURL {
		return false
	}
	return strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '@') >= 0 ||
		strings.IndexByte(value, '=') >= 0 && (strings.IndexByte(value, '?') >= 0 || strings.IndexByte(value, '#') >= 0)
}

// urlText redacts the URLs in a header.
func (r *Redactor) urlText(s string, isURL bool) string {
	s = r.userInfo(s, inHeader)
	end := strings.IndexAny(s, "?#")
	if end < 0 {
		end = len(s)
	}
	head, query := s[:end], s[end:]
	if isURL {
		head = r.params(head, field{names: &r.query, place: inHeader, ends: segmentEnds}, 0)
	}
	return r.segments(head, inHeader) + r.params(query, field{names: &r.query, place: inHeader, ends: urlEnds}, 0)
}

// schemes are the known ones of HTTP authentication (IANA's registry, and some in wide use). Another first word could be the
// secret itself.
var schemes = []string{
	"Basic", "Bearer", "Concealed", "Digest", "DPoP", "GNAP", "HOBA", "Mutual", "Negotiate", "NTLM", "OAuth", "PrivateToken", "SCRAM-SHA-1", "SCRAM-SHA-256", "vapid",
	"ApiKey", "AWS", "AWS4-HMAC-SHA256", "GoogleLogin", "Hawk", "JWT", "Key", "MAC", "SharedAccessSignature", "SharedKey", "SharedKeyLite", "Signature", "Token",
}

// credentials redacts what Authorization holds (RFC 9110, section 11.4) behind its scheme.
func (r *Redactor) credentials(u *rule, value string) string {
	value = strings.TrimSpace(value)
	scheme, rest, found := strings.Cut(value, " ")
	known := func(s string) bool { return strings.EqualFold(s, scheme) }
	if !found || !slices.ContainsFunc(schemes, known) {
		return r.replace(u, inHeader, value)
	}
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, "Basic") {
		return scheme + " " + r.basic(u, rest)
	}
	return scheme + " " + r.replace(u, inHeader, rest)
}

// basic keeps name:password in base64 (RFC 7617), with and without padding.
func (r *Redactor) basic(u *rule, rest string) string {
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
	if err != nil {
		plain = []byte(rest)
	}
	name, password, found := strings.Cut(string(plain), ":")
	redacted := r.replace(u, inHeader, name)
	if found {
		redacted += ":" + r.replace(u, inHeader, password)
	}
	return base64.StdEncoding.EncodeToString([]byte(redacted))
}

// cookieAttributes are those of Set-Cookie (RFC 6265bis, section 5.6), none of them secret.
var cookieAttributes = []string{"domain", "expires", "httponly", "max-age", "partitioned", "path", "priority", "samesite", "secure"}

// cookies redacts the values of name=value; name=value.
func (r *Redactor) cookies(u *rule, value string, attributes bool) string {
	var b strings.Builder
	for i, pair := range strings.Split(value, ";") {
		if i > 0 {
			b.WriteByte(';')
		}
		name, v, found := strings.Cut(pair, "=")
		switch {
		case attributes && i > 0 && slices.Contains(cookieAttributes, strings.ToLower(strings.TrimSpace(name))):
			b.WriteString(pair)
		case found:
			b.WriteString(name + "=" + r.cookie(u, v))
		default: // a cookie without a name
			b.WriteString(pair[:len(pair)-len(strings.TrimLeft(pair, " "))] + r.cookie(u, pair))
		}
	}
	return b.String()
}

func (r *Redactor) cookie(u *rule, value string) string {
	value = strings.TrimSpace(value)
	quote := ""
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		quote, value = `"`, value[1:n-1]
	}
	return quote + encodeIfNeeded(r.replace(u, inHeader, pathDecoded(value))) + quote
}

// encodeIfNeeded percent-encodes what would end a cookie: pseudonyms that keep the class may hold it.
func encodeIfNeeded(value string) string {
	if strings.ContainsAny(value, "; \",\\") {
		return url.PathEscape(value)
	}
	return value
}
