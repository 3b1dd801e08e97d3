package redact

import (
	"strings"

	"umbra/internal/traffic"
)

// elsewhere is what of a request's headers may stand in other fields of it: access logs take the session from
// X-Forwarded-For, and the authority is Host.
type elsewhere struct {
	session, authority string

	sessionRule, authorityRule *rule // of the header that holds it, nil where none does
}

// note sees each value that a header's rule replaces. An authority that stands in a cookie by chance is left.
func (e *elsewhere) note(u *rule, value string) {
	value = strings.TrimSpace(value)
	if e.session != "" && e.sessionRule == nil && (strings.IndexByte(value, ':') >= 0 || !e.hasColon()) {
		address, _, _ := strings.Cut(e.session, "#")
		if isPart(value, e.session) || address != "" && isPart(value, address) {
			e.sessionRule = u
		}
	}
	if e.authority != "" && e.authorityRule == nil && (value == e.authority || !u.byDefault && isPart(value, e.authority)) {
		e.authorityRule = u
	}
}

// hasColon tells of a session whose address has a colon, as most have: it stands only in values that have one too.
func (e *elsewhere) hasColon() bool {
	colon := strings.IndexByte(e.session, ':')
	return colon >= 0 && strings.IndexByte(e.session[:colon], '#') < 0
}

// replaceElsewhere replaces the session and the authority where a header's rule has replaced them. A rule for Host is one for
// the authority.
func (r *Redactor) replaceElsewhere(q *traffic.Request) {
	if u := r.sessionRule; u != nil {
		address, connection, found := strings.Cut(q.Session, "#") // as access logs write them
		q.Session = r.replace(u, inHeader, address)
		if found {
			q.Session += "#" + connection
		}
	}
	u := r.authorityRule
	if r.host != nil {
		u = r.host
	}
	if u != nil {
		q.Authority = r.replace(u, inAuthority, q.Authority)
		return
	}
	q.Authority = r.userInfo(q.Authority, inAuthority)
}

// shortestPart is the length of the shortest session that is looked for within a value: shorter ones stand there by chance.
const shortestPart = 6

// isPart tells whether part is value, or stands in it between other characters than letters and digits.
func isPart(value, part string) bool {
	if value == part {
		return true
	}
	if len(part) < shortestPart {
		return false
	}
	for at := 0; ; at++ {
		i := strings.Index(value[at:], part)
		if i < 0 {
			return false
		}
		at += i
		end := at + len(part)
		if (at == 0 || !isWord(value[at-1])) && (end == len(value) || !isWord(value[end])) {
			return true
		}
	}
}

func isWord(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c >= 0x80
}
