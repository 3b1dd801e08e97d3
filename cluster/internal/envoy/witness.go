package envoy

import (
	"maps"
	"net/http"
	"regexp/syntax"
	"slices"
	"strings"

	"umbra/internal/route"
)

// witness makes up a request that a match takes; nil where it finds none. at has what the virtual host gives.
func (m *routeMatch) witness(at route.Request) *route.Request {
	at.Method, at.Header = http.MethodGet, http.Header{}
	at.Path = m.samplePath()
	for i := range m.Headers {
		m.Headers[i].addTo(&at)
	}
	for i, q := range m.Query {
		at.Path += string("?&"[min(i, 1)]) + q.Name + "=" + q.String.sample()
	}
	if !m.match(&at) {
		return nil
	}
	return &at
}

func (m *routeMatch) samplePath() string {
	switch {
	case m.Regex != nil:
		return m.Regex.sample()
	case m.Prefix != nil:
		return *m.Prefix
	case m.Path != nil:
		return *m.Path
	case m.Separated != nil:
		return *m.Separated
	}
	return "/"
}

func (h *headerMatch) addTo(r *route.Request) {
	if h.Invert {
		return // a request without it, or with the usual method and scheme, is the witness
	}
	switch value := h.String.sample(); {
	case h.Name == ":method":
		r.Method = value
	case !strings.HasPrefix(h.Name, ":") && !strings.EqualFold(h.Name, "host"):
		r.Header.Set(h.Name, value)
	}
}

// sample gives a string that matches.
func (m *stringMatch) sample() string {
	switch {
	case m == nil:
		return "x"
	case m.Regex != nil:
		return m.Regex.sample()
	}
	for _, s := range []*string{m.Exact, m.Prefix, m.Suffix, m.Contains} {
		if s != nil {
			return *s
		}
	}
	return ""
}

// maxSample bounds a sample of a regular expression, in bytes: repetitions multiply.
const maxSample = 4096

func (r *regexMatch) sample() string {
	tree, err := syntax.Parse(r.Regex, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	sample(&b, tree)
	return b.String()
}

// sample writes the least that an expression needs: no repetition that may be left out, the first of alternatives.
func sample(b *strings.Builder, re *syntax.Regexp) {
	if b.Len() > maxSample {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(visible(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpAlternate, syntax.OpCapture, syntax.OpPlus:
		sample(b, re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			sample(b, sub)
		}
	case syntax.OpRepeat:
		for n := 0; n < re.Min && b.Len() <= maxSample; n++ {
			sample(b, re.Sub[0])
		}
	}
}

// visible gives a rune of a class of ranges, one that a path may hold where there is one.
func visible(ranges []rune) rune {
	for _, r := range "ax0-_/" {
		for i := 0; i+1 < len(ranges); i += 2 {
			if ranges[i] <= r && r <= ranges[i+1] {
				return r
			}
		}
	}
	if len(ranges) == 0 {
		return 'x'
	}
	return ranges[0]
}

// variations are requests that differ from one in a single respect, so that they tell what a match asks for.
func variations(of *route.Request) []*route.Request {
	out := []*route.Request{of}
	add := func(change func(r *route.Request)) {
		r := *of
		r.Header = maps.Clone(of.Header)
		change(&r)
		out = append(out, &r)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"} {
		add(func(r *route.Request) { r.Method = method })
	}
	bare, query, _ := strings.Cut(of.Path, "?")
	for _, path := range []string{"/", bare, bare + "x", bare + "/x", "/umbra" + bare, strings.ToUpper(bare), strings.TrimSuffix(bare, "/"), bare[:strings.LastIndexByte(bare, '/')+1]} {
		add(func(r *route.Request) { r.Path = path })
		add(func(r *route.Request) { r.Path = path + "?" + query })
	}
	for _, name := range slices.Sorted(maps.Keys(of.Header)) {
		value := of.Header.Get(name)
		add(func(r *route.Request) { r.Header.Del(name) })
		add(func(r *route.Request) { r.Header.Set(name, value+"x") })
		add(func(r *route.Request) { r.Header.Set(name, "x"+value) })
	}
	return out
}
