package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"umbra/internal/traffic"
)

// Rewrite changes each captured request before it is sent.
type Rewrite struct {
	Host    string           // the authority, instead of mesh.host; "": mesh.host
	Paths   []PathRule       // each on what the one before it left
	Headers []traffic.Header // instead of all that the request has of the name; an empty value takes it away
}

// PathRule replaces all that its pattern matches in a path with its query.
type PathRule struct {
	Match   string // RE2
	Replace string // with $1, ${name}
}

// rewriting is a Rewrite whose patterns are compiled.
type rewriting struct {
	*Rewrite
	patterns []*regexp.Regexp
}

func (w *rewriting) apply(r *traffic.Request) {
	if w == nil {
		return
	}
	if w.Host != "" {
		r.Authority = w.Host
	}
	for i, pattern := range w.patterns {
		r.Path = pattern.ReplaceAllString(r.Path, w.Paths[i].Replace)
	}
	for _, h := range w.Headers {
		r.Headers = slices.DeleteFunc(r.Headers, func(had traffic.Header) bool { return strings.EqualFold(had[0], h[0]) })
		if h[1] != "" {
			r.Headers = append(r.Headers, h)
		}
	}
}

// spoils names the rule that left the path of a good request unfit to be sent, and no rule behind it mended that.
func (w *rewriting) spoils(captured *traffic.Request) string {
	r, culprit := *captured, -1
	for i := range w.rules() {
		r.Path = w.patterns[i].ReplaceAllString(r.Path, w.Paths[i].Replace)
		switch {
		case checkRequest(&r) == nil:
			culprit = -1
		case culprit < 0:
			culprit = i
		}
	}
	if culprit < 0 {
		return rewritePath
	}
	rule := w.Paths[culprit]
	return fmt.Sprintf("%s, replacing %q by %q,", rulePath(culprit), rule.Match, rule.Replace)
}

// rules is how many rules for paths there are.
func (w *rewriting) rules() int {
	if w == nil {
		return 0
	}
	return len(w.patterns)
}

// rulePath is where a rule for paths stands.
func rulePath(i int) string { return rewritePath + ".paths[" + strconv.Itoa(i) + "]" }

type (
	rawRewrite struct {
		host    value[string]
		paths   value[[]value[rawPathRule]]
		headers value[[]entry[string]]
	}
	rawPathRule struct {
		match, replace value[string]
	}
)

func rewriteShape() shape[rawRewrite] {
	rule := object(nil,
		key("match", "A regular expression (RE2).", text("a regular expression that is not empty", `.`), func(p *rawPathRule) *value[string] { return &p.match }).must(),
		key("replace", "What stands instead of each match; $1 is what the first group matched.", anyText("text"), func(p *rawPathRule) *value[string] { return &p.replace }).must(),
	)
	return object(nil,
		key("host", "The authority of every request; by default mesh.host.", text("a host name without scheme and port", hostPattern), func(w *rawRewrite) *value[string] { return &w.host }),
		key("paths", "Rules for the path and query, each on what the one before it left.", list(rule), func(w *rawRewrite) *value[[]value[rawPathRule]] { return &w.paths }),
		key("headers", "Header lines instead of those that the request has of the same name; an empty text takes them away.", mapping(anyText("text")), func(w *rawRewrite) *value[[]entry[string]] { return &w.headers }),
	)
}

const rewritePath = "traffic.capture.rewrite"

// rewrite compiles the rules; nil where there are none.
func (r *reader) rewrite(raw value[rawRewrite]) *rewriting {
	if !raw.given() {
		return nil
	}
	w := &rewriting{Rewrite: &Rewrite{Host: raw.v.host.v}}
	for i, rule := range raw.v.paths.v {
		w.Paths = append(w.Paths, PathRule{rule.v.match.v, rule.v.replace.v})
		w.patterns = append(w.patterns, r.pattern(&rule.v, rulePath(i)))
	}
	seen := map[string]bool{}
	for _, h := range raw.v.headers.v {
		r.headerName(h.key, h.at, rewritePath+".headers", seen)
		if h.value.given() && !httpguts.ValidHeaderFieldValue(h.value.v) {
			r.fault(h.value.at, "%s.headers.%s: %q cannot stand in a header line; leave control characters out", rewritePath, h.key, h.value.v)
		}
		w.Headers = append(w.Headers, traffic.Header{h.key, h.value.v})
	}
	return w
}

// references are the groups that a replacement names (regexp, Expand).
var references = regexp.MustCompile(`\$\$|\$(\w+)|\$\{(\w+)\}`)

func (r *reader) pattern(rule *rawPathRule, path string) *regexp.Regexp {
	if !rule.match.given() {
		return nil
	}
	pattern, err := regexp.Compile(rule.match.v)
	if err != nil {
		r.fault(rule.match.at, "%s.match: %v; write a regular expression as RE2 has them", path, err)
		return nil
	}
	if !rule.replace.given() {
		return nil
	}
	for _, m := range references.FindAllStringSubmatch(rule.replace.v, -1) {
		name := m[1] + m[2]
		n, err := strconv.Atoi(name)
		if name == "" || err == nil && n <= pattern.NumSubexp() || err != nil && slices.Contains(pattern.SubexpNames(), name) {
			continue
		}
		r.fault(rule.replace.at, "%s.replace: %s names a group that match does not have; write ${1} for the first group, $$ for a dollar sign", path, m[0])
	}
	return pattern
}
