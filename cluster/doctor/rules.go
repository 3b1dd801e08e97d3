package doctor

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"umbra/internal/route"
)

// checkPercentages finds percentages that istiod programs as others (uint32(p*10000) per million, truncated; see
// translatePercentToFractionalPercent in its core/route), and the deprecated field.
func checkPercentages(f *facts) {
	for _, l := range f.legs() {
		if !l.mirror {
			continue
		}
		f.truncated(l)
		//lint:ignore SA1019 istiod obeys it still
		if old := l.route().GetMirrorPercent(); old != nil && l.route().GetMirror() == l.dest {
			effect := "it is obeyed still"
			if l.route().GetMirrorPercentage() != nil {
				effect = "mirrorPercentage stands beside it and wins"
			}
			f.add("mirror-percent-deprecated", Warning, l.vs.object, []any{"spec", "http", l.index, "mirrorPercent"},
				fmt.Sprintf("%s uses the deprecated mirrorPercent: %s", l.named(), effect), fmt.Sprintf("mirrorPercent: %d", old.Value),
				fmt.Sprintf("write mirrorPercentage: {value: %s}", number(l.percent)))
		}
	}
}

func (f *facts) truncated(l leg) {
	programmed := uint32(max(0, min(l.percent, 100)) * 10000)
	asked, ok := new(big.Rat).SetString(number(l.percent))
	if !ok || l.percent < 0 || l.percent > 100 {
		return // istiod rejects it
	}
	asked.Mul(asked, big.NewRat(10000, 1))
	gap, _ := new(big.Rat).Sub(asked, new(big.Rat).SetInt64(int64(programmed))).Float64()
	if gap < 0.5 && (programmed > 0 || l.percent == 0) {
		return // the nearest there is
	}
	severity, what := Warning, fmt.Sprintf("%s %% is programmed as %d of a million", number(l.percent), programmed)
	if programmed == 0 {
		severity, what = Error, number(l.percent)+" % is programmed as 0: nothing is mirrored"
	}
	f.add("percentage-truncated", severity, l.vs.object, l.at, l.named()+": "+what,
		fmt.Sprintf("%s × 10000 = %s, which istiod truncates to a whole number", number(l.percent), asked.FloatString(4)),
		fmt.Sprintf("write %s, which is programmed as %d", above(programmed+1), programmed+1))
}

// above gives a percentage a little above a numerator's, so that truncation gives the numerator.
func above(numerator uint32) string {
	return strconv.FormatFloat(float64(numerator)/10000+0.00001, 'f', 5, 64)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// writes are the methods that change state (RFC 9110, section 9.2.1 and RFC 5789).
var writes = []string{"POST", "PUT", "PATCH", "DELETE"}

// checkWrites finds mirrors that get writes.
func checkWrites(f *facts) {
	f.onceARoute(func(l leg) {
		if methods := f.reaching(l, writes); len(methods) > 0 && !f.ownApp(l) && !f.nobody(l) {
			f.add("mirrored-writes", Warning, l.vs.object, l.where(), fmt.Sprintf("%s mirrors writes (%s): the shadow does them again", l.named(), strings.Join(methods, ", ")),
				fmt.Sprintf("nothing before it takes these methods away, and the mirror %s gets %s %% of them", l.dest.GetHost(), number(l.percent)),
				"where the shadow shares a database, a queue or an account with the primary, put a route without mirror before it, with match: [{method: {regex: POST|PUT|PATCH|DELETE}}]; where it has state of its own, nothing")
		}
	})
}

// checkUploads tells of mirrors whose uploads a hung shadow stalls (envoy PR 24365).
func checkUploads(f *facts) {
	f.onceARoute(func(l leg) {
		if methods := f.reaching(l, []string{"POST", "PUT", "PATCH"}); len(methods) > 0 && !f.ownApp(l) && !f.nobody(l) {
			f.add("mirrored-uploads", Info, l.vs.object, l.where(), l.named()+" mirrors requests with bodies: a shadow that stops reading stalls the client's upload",
				"Envoy passes the shadow's back-pressure to the client; seen with uploads of 24 MiB and more, which the route's timeout does not end, as it starts when the request is complete",
				"put a route without mirror before it for uploads, with match: [{method: {regex: POST|PUT|PATCH}}] or by path; neither the route's timeout, nor idle time-outs, nor connection pool limits removes it: umbra run --shadow hung (with checks.impact) tries them, and says from which size on")
		}
	})
}

// where is where the leg's route is written.
func (l leg) where() []any { return []any{"spec", "http", l.index} }

// onceARoute calls visit with the first programmed mirror of each route.
func (f *facts) onceARoute(visit func(leg)) {
	seen := map[string]bool{}
	for _, l := range f.mirrors() {
		key := fmt.Sprint(l.vs.ID(), l.index)
		if !seen[key] {
			seen[key] = true
			visit(l)
		}
	}
}

// reaching gives those of the methods that a leg's route can get: some condition of it takes the method, and no route
// before it takes every request of it.
func (f *facts) reaching(l leg, methods []string) []string {
	var out []string
	for _, m := range methods {
		earlier := slices.ContainsFunc(l.vs.spec.Http[:l.index], func(r *networking.HTTPRoute) bool { return takesAllOf(r, m) })
		if !earlier && takesSomeOf(l.route(), m) {
			out = append(out, m)
		}
	}
	return out
}

// takesSomeOf tells whether a route has requests of a method.
func takesSomeOf(r *networking.HTTPRoute, method string) bool {
	return len(r.GetMatch()) == 0 || slices.ContainsFunc(r.Match, func(m *networking.HTTPMatchRequest) bool { return matches(m.GetMethod(), method) })
}

// takesAllOf tells whether a route has every request of a method.
func takesAllOf(r *networking.HTTPRoute, method string) bool {
	return len(r.GetMatch()) == 0 || slices.ContainsFunc(r.Match, func(m *networking.HTTPMatchRequest) bool {
		return matches(m.GetMethod(), method) && onlyMethod(m)
	})
}

// onlyMethod tells whether a condition is on nothing but the method.
func onlyMethod(m *networking.HTTPMatchRequest) bool {
	anyPath := m.GetUri() == nil || m.GetUri().GetPrefix() == "/"
	return anyPath && m.GetScheme() == nil && m.GetAuthority() == nil && len(m.GetHeaders()) == 0 && len(m.GetWithoutHeaders()) == 0 &&
		len(m.GetQueryParams()) == 0 && m.GetPort() == 0 && len(m.GetSourceLabels()) == 0 && len(m.GetGateways()) == 0 && m.GetSourceNamespace() == ""
}

func matches(m *networking.StringMatch, s string) bool {
	switch m := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return m.Exact == s
	case *networking.StringMatch_Prefix:
		return strings.HasPrefix(s, m.Prefix)
	case *networking.StringMatch_Regex:
		re, err := regexp.Compile("^(?:" + m.Regex + ")$") // Envoy's regexes match the whole value
		return err == nil && re.MatchString(s)
	}
	return true
}

// ownApp tells whether umbra's own app is all that a mirror leads to: it keeps no state and reads every body.
func (f *facts) ownApp(l leg) bool {
	behind := f.workloadsOf(f.resolve(l))
	return len(behind) > 0 && !slices.ContainsFunc(behind, func(w workload) bool {
		return slices.ContainsFunc(w.spec.Containers, func(c corev1.Container) bool { return c.Name != "istio-proxy" && imageName(c.Image) != route.AppImage })
	})
}

// nobody tells whether nothing at all stands behind a leg in a cluster, which is a finding by itself: such a mirror can do no harm.
func (f *facts) nobody(l leg) bool {
	t := f.resolve(l)
	if f.in.Live == nil || t.service == nil && f.external(t.host) || t.service != nil && t.selector == nil {
		return false
	}
	return t.service == nil || len(f.workloadsOf(t)) == 0 && len(f.podsOf(t)) == 0
}

// imageName gives the name of an image without registry, tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}

// checkLostMethods finds the article's error 5: routes by method that forget the safe ones that are no GET.
func checkLostMethods(f *facts) {
	for _, vs := range f.virtualServices {
		if !vs.mirrors() || len(vs.spec.Http) == 0 {
			continue
		}
		var lost []string
		for _, m := range []string{"HEAD", "OPTIONS"} {
			if !slices.ContainsFunc(vs.spec.Http, func(r *networking.HTTPRoute) bool { return takesSomeOf(r, m) }) {
				lost = append(lost, m)
			}
		}
		if len(lost) > 0 {
			f.add("reads-only-loses-methods", Error, vs.object, []any{"spec", "http"}, fmt.Sprintf("no route of %s takes %s: clients get 404", vs.ID(), strings.Join(lost, " or ")),
				fmt.Sprintf("each of its %d routes asks for other methods", len(vs.spec.Http)),
				"end spec.http with a route without match and without mirror; let the mirrored one match GET, HEAD and OPTIONS")
		}
	}
}
