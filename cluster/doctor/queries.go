package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// query is a PromQL expression, with where it stands.
type query struct {
	o    *object
	line int
	expr string
}

// queries gives the expressions of PrometheusRules, rule files and dashboards: whatever stands under the key "expr",
// also in the texts of ConfigMaps and of Grafana's own resources.
func (f *facts) queries() []query {
	var out []query
	for _, o := range slices.Concat(f.objects, f.others) {
		scalars(o.root, func(_, key, value *yaml.Node) {
			line := o.nodeLine(key.Line)
			if key.Value == "expr" {
				out = append(out, query{o, line, value.Value})
			} else if strings.Contains(value.Value, "expr") && (o.Kind == "ConfigMap" || strings.HasPrefix(o.Kind, "Grafana")) {
				out = append(out, embedded(o, line, value)...)
			}
		})
	}
	return out
}

// embedded gives the expressions of a document that is the text of a node.
func embedded(o *object, line int, text *yaml.Node) []query {
	var out []query
	root := parse([]byte(text.Value))
	if root == nil {
		return nil
	}
	block := text.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 && o.exact
	scalars(root, func(_, key, value *yaml.Node) {
		at := line
		if block {
			at += key.Line // the text begins on the line after the key's
		}
		if key.Value == "expr" {
			out = append(out, query{o, at, value.Value})
		}
	})
	return out
}

// selector is a selector of one of Istio's request metrics, with its label matchers; a brace within quotes ends none.
var selector = regexp.MustCompile(`\b(istio_requests_total|istio_request_(?:duration_milliseconds|bytes)(?:_bucket|_sum|_count)?|istio_response_bytes(?:_bucket|_sum|_count)?)\s*(\{(?:[^}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*\})?`)

var (
	reporter    = regexp.MustCompile(`\breporter\s*(=~|=)\s*["']([^"']*)["']`)
	serverError = regexp.MustCompile(`\b(?:response_code|code)\s*(?:=~|=)\s*["']\^?\(?5`)
	braces      = regexp.MustCompile(`\{(?:[^}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*\}`)
	orOperator  = regexp.MustCompile(`(?i)\bor\b`)
)

// checkQueries finds the article's error 8 in rules and dashboards.
func checkQueries(f *facts) {
	for _, q := range f.queries() {
		f.queryReporter(q)
		f.queryEmpty(q)
	}
}

func (f *facts) queryReporter(q query) {
	for _, m := range selector.FindAllStringSubmatch(q.expr, -1) {
		r := reporter.FindStringSubmatch(m[2])
		switch {
		case r == nil || r[1] == "=~" && strings.Contains(r[2], "|"):
			f.onQuery(q, "query-without-reporter", Error, "the query counts requests between sidecars twice", "it has no reporter: "+m[0],
				`add reporter="destination" to the matchers of `+m[1])
		case r[2] == "source":
			f.onQuery(q, "query-without-reporter", Warning, "the query leaves out mirrored requests: the source reports none", m[0],
				`use reporter="destination"; mirrored requests are not marked there, so tell the versions by destination_version`)
		default:
			continue
		}
		return
	}
}

func (f *facts) queryEmpty(q query) {
	rest := braces.ReplaceAllString(q.expr, "")
	if serverError.MatchString(q.expr) && !orOperator.MatchString(rest) {
		f.onQuery(q, "error-rate-empty", Warning, "the error rate is empty, not zero, while there was no 5xx: a comparison with it says nothing", "nothing stands in for the missing series: "+shorten(q.expr),
			"write (NUMERATOR or vector(0)) / DENOMINATOR; with labels, (NUMERATOR or 0 * DENOMINATOR) / DENOMINATOR")
	}
}

func (f *facts) onQuery(q query, id string, s Severity, finding, evidence, remedy string) {
	f.found = append(f.found, Finding{Check: id, Severity: s, Object: q.o.name(), File: q.o.File, Line: q.line, Finding: finding, Evidence: shorten(evidence), Remedy: remedy})
}

// shorten makes one line of a text, of 200 characters at most.
func shorten(s string) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > 200 {
		return fmt.Sprintf("%s…", string(r[:199]))
	}
	return string(r)
}
