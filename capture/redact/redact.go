package redact

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	"umbra/internal/jsonpath"
	"umbra/internal/traffic"
)

// ErrRefused is wrapped by the errors of Redactor.Request.
var ErrRefused = errors.New("cannot be redacted")

// Redactor redacts the requests of a capture. It is not safe for concurrent use.
type Redactor struct {
	tally
	pseudonyms *pseudonyms

	headers     headerTable
	query, form nameSet // the parameters of URLs, and of forms
	members     nameSet // of JSON
	paths       []jsonpath.Path
	pathRules   []*rule // of each of paths
	patterns    []pattern
	userinfo    *rule // nil where the defaults are off
	nested      *rule // for what is nested too deep to look into
	keyed       bool  // whether responses' digests become HMACs

	headerEnds endSet
	host       *rule // the user's, for Host or :authority
	elsewhere

	untouched untouched
	memories  []memory // of headers' values, by their hash
	nearest   []memory // of those that came again, by where their texts lie
	seed      maphash.Seed

	unpack unpacker
	name   []byte // scratch: the name that is compared
}

// New makes a Redactor whose pseudonyms have the given key, of at least 16 bytes. The error tells every rule that is wrong.
func New(rules Rules, key []byte) (*Redactor, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	r := &Redactor{pseudonyms: newPseudonyms(key), keyed: rules.KeyedDigests, seed: maphash.MakeSeed(),
		memories: make([]memory, maxMemories), nearest: make([]memory, maxNear)}
	r.nested = r.rule("nested too deep", "")
	var errs []error
	if !rules.NoDefaults {
		r.addDefaults()
	}
	for _, k := range rules.Keep {
		r.headers.addKept(k)
	}
	for _, n := range rules.Headers {
		errs = append(errs, checkName("headers", n))
		u := r.named("header", n)
		r.headers.add(n.Name, u)
		if strings.EqualFold(n.Name, "host") || strings.EqualFold(n.Name, ":authority") {
			r.host = u
		}
	}
	for _, n := range rules.Query {
		errs = append(errs, checkName("query", n))
		r.query.add(n.Name, r.named("query", n))
	}
	for _, n := range rules.Form {
		errs = append(errs, checkName("form", n))
		r.form.add(n.Name, r.named("form", n))
	}
	errs = append(errs, r.addPaths(rules.JSON), r.addPatterns(rules.Patterns), checkKept(rules))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// addDefaults adds the default rules, which what is added later of the same name takes the place of.
func (r *Redactor) addDefaults() {
	r.userinfo = r.rule("userinfo", "")
	for _, h := range urlHeaders() {
		r.headers.addURL(h)
	}
	for _, h := range DefaultHeaders() {
		u := r.named("header", Name{Name: h})
		u.byDefault = true
		r.headers.add(h, u)
	}
	for _, end := range append(headerEnds(), nameEnds()...) {
		u := r.rule("header *"+end, "")
		u.byDefault = true
		r.headerEnds.add(end, u)
	}
	for _, end := range nameEnds() {
		u := r.rule("name *"+end, "")
		u.byDefault = true
		for _, names := range []*nameSet{&r.query, &r.form, &r.members} {
			names.ends.add(end, u)
		}
	}
	for _, n := range DefaultNames() {
		u := r.named("name", Name{Name: n})
		u.byDefault = true
		r.query.add(n, u)
		r.form.add(n, u)
		r.members.add(n, u)
	}
}

func (r *Redactor) named(kind string, n Name) *rule {
	u := r.rule(kind+" "+strings.ToLower(n.Name), n.Keep)
	u.drop = n.Drop
	return u
}

func checkName(list string, n Name) error {
	if strings.Trim(n.Name, "-_ ") == "" {
		return fmt.Errorf("%s: an empty name; give the name of what is to be redacted", list)
	}
	if n.Drop && n.Keep != "" {
		return fmt.Errorf("%s: %s: what is dropped keeps nothing; remove drop or keep", list, n.Name)
	}
	return checkKeep(list+": "+n.Name, n.Keep)
}

func checkKeep(what string, k Keep) error {
	if k != "" && k != KeepLength && k != KeepClass {
		return fmt.Errorf("%s: keep is %q; give %q or %q, or leave it out", what, k, KeepLength, KeepClass)
	}
	return nil
}

// checkKept finds headers that are both redacted and kept.
func checkKept(rules Rules) error {
	for _, n := range rules.Headers {
		for _, k := range rules.Keep {
			if strings.EqualFold(n.Name, k) {
				return fmt.Errorf("keep: %s is among the headers to redact too; remove one of them", k)
			}
		}
	}
	return nil
}

// Request redacts a request in place; its body, where that changes, is a new one. An error, which wraps ErrRefused and tells
// nothing of the request's content, says why it cannot: part of the request may be redacted then, and none may be written.
func (r *Redactor) Request(q *traffic.Request) error {
	r.requests++
	if len(q.Body) > 0 {
		if err := r.body(q); err != nil {
			r.refused++
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	q.Path = r.target(q.Path)
	r.elsewhere = elsewhere{session: q.Session, authority: q.Authority}
	q.Headers = r.headerLines(q.Headers)
	r.replaceElsewhere(q)
	if r.keyed && q.Response != nil && q.Response.BodySHA256 != "" {
		q.Response.BodySHA256 = r.pseudonyms.keyedDigest(q.Response.BodySHA256)
	}
	return nil
}

// Report counts what was redacted so far.
func (r *Redactor) Report() Report { return r.report() }

// replace gives a value's pseudonym and counts it. Nothing stands for nothing.
func (r *Redactor) replace(u *rule, p place, value string) string {
	return r.replaceAs(u, u.keep, p, value)
}

func (r *Redactor) replaceAs(u *rule, keep Keep, p place, value string) string {
	if value == "" {
		return ""
	}
	s := r.pseudonyms.of(value, keep)
	r.add(u, p, s.tag)
	return s.text
}
