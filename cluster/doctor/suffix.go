package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"gopkg.in/yaml.v3"
)

// suffix tells whether the gateway appends -shadow to the mirrored Host, and by what that is known. Istio 1.28 and
// later do not (DISABLE_SHADOW_HOST_SUFFIX in pilot/pkg/features/pilot.go); its compatibility profiles 1.25 to 1.27
// bring it back. The feature's own setting wins over the profile.
type suffix struct {
	on   bool
	why  string
	by   *object // that says so, nil where the version does
	line int     // of its text
}

func (f *facts) suffix() suffix {
	s := suffix{on: false, why: "off by default in Istio 1.28 and later"}
	if v, ok := parseVersion(f.istioVersion()); ok {
		s.on, s.why = v.before(1, 28), "Istio is "+f.istioVersion()
	}
	explicit := false
	for _, o := range slices.Concat(f.objects, f.others) {
		scalars(o.root, func(in, key, value *yaml.Node) {
			set, profile := settingOf(in, key, value)
			switch {
			case set != "":
				explicit = true
				s = suffix{on: set == "false", why: "DISABLE_SHADOW_HOST_SUFFIX is " + set, by: o, line: value.Line}
			case profile != "" && !explicit:
				s = suffix{on: true, why: key.Value + " is " + profile, by: o, line: value.Line}
			}
		})
	}
	return s
}

// settingOf reads what decides on the suffix: the feature, as a key or as a container's variable; and the compatibility
// profile, where it is one that brings the suffix back.
func settingOf(in, key, value *yaml.Node) (feature, profile string) {
	const name = "DISABLE_SHADOW_HOST_SUFFIX"
	switch key.Value {
	case name:
		return strings.ToLower(value.Value), ""
	case "name":
		if v := child(in, "value"); value.Value == name && v != nil {
			return strings.ToLower(v.Value), ""
		}
	case "compatibilityVersion", "compatibilityProfile":
		if v, ok := parseVersion(value.Value); ok && v.before(1, 28) {
			return "", value.Value
		}
	}
	return "", ""
}

// checkSuffix tells that the suffix is on, and who depends on it: the article's error 2.
func checkSuffix(f *facts) {
	s := f.suffix()
	if s.on && len(f.mirrors()) > 0 {
		x := Finding{Check: "shadow-suffix", Severity: Info, Finding: "mirrored requests get the suffix -shadow at their Host", Evidence: s.why,
			Remedy: "let nothing be told by the suffix; to be rid of it use Istio 1.28 or later without compatibilityVersion, or set DISABLE_SHADOW_HOST_SUFFIX=true at istiod"}
		if s.by != nil {
			x.Object, x.File, x.Line = s.by.name(), s.by.File, s.by.nodeLine(s.line)
		}
		f.found = append(f.found, x)
	}
	for _, o := range slices.Concat(f.objects, f.others) {
		f.dependent(o, s)
	}
	for _, vs := range f.virtualServices {
		f.matchesOnSuffix(vs, s)
	}
}

// nodeLine gives the file's line of a node.
func (o *object) nodeLine(line int) int {
	if !o.exact {
		return o.Line
	}
	return line + o.shift
}

// suffixUse is a text that has the suffix at the end of a host or of a pattern, not within a name.
var suffixUse = regexp.MustCompile(`-shadow(["'$)\s:]|\\|$)`)

// hostUse is a text that is on host names.
var hostUse = regexp.MustCompile(`(?i)host|authority`)

// dependent finds EnvoyFilters that remove the suffix, and settings of applications that look for it.
func (f *facts) dependent(o *object, s suffix) {
	switch o.Kind {
	case "EnvoyFilter":
		done := false
		scalars(o.root, func(_, key, value *yaml.Node) {
			if !done && key.Value != "name" && suffixUse.MatchString(value.Value) {
				done = true
				f.onSuffix(o, o.nodeLine(key.Line), s, o.ID()+" changes the suffix -shadow", "remove the EnvoyFilter: it does nothing but cost time in each request")
			}
		})
	case "ConfigMap", "Deployment", "StatefulSet", "DaemonSet":
		scalars(o.root, func(in, key, value *yaml.Node) {
			subject := key.Value
			if n := child(in, "name"); n != nil {
				subject += " " + n.Value
			}
			if suffixUse.MatchString(value.Value) && (hostUse.MatchString(subject) || hostUse.MatchString(value.Value)) && !isName(key.Value) {
				f.onSuffix(o, o.nodeLine(value.Line), s, fmt.Sprintf("%s has a setting that looks for the suffix -shadow (%s)", o.ID(), subject), "tell shadow traffic by the workload that has it, or by a header that the VirtualService sets")
			}
		})
	}
}

// isName tells whether a key's value is a name of Kubernetes, which may end as anybody likes.
func isName(key string) bool {
	return slices.Contains([]string{"name", "namespace", "app", "version", "image", "hostname", "serviceAccountName"}, key)
}

// matchesOnSuffix finds conditions on a Host with the suffix.
func (f *facts) matchesOnSuffix(vs virtualService, s suffix) {
	for i, r := range vs.spec.Http {
		for j, m := range r.GetMatch() {
			header := m.GetHeaders()[":authority"]
			if header == nil {
				header = m.GetHeaders()["host"]
			}
			for _, c := range []*networking.StringMatch{m.GetAuthority(), header} {
				if c != nil && strings.Contains(c.GetExact()+c.GetPrefix()+c.GetRegex(), "-shadow") {
					f.onSuffix(vs.object, vs.line("spec", "http", i, "match", j), s, vs.ID()+" matches on a Host with -shadow", "match on a header that the mirroring VirtualService sets, or give the shadow a VirtualService of its own host")
				}
			}
		}
	}
}

func (f *facts) onSuffix(o *object, line int, s suffix, what, remedy string) {
	severity, state := Warning, "the suffix is off, so that this never acts"
	if s.on {
		severity, state = Info, "the suffix is on, so that this acts; it is off by default from Istio 1.28"
		remedy = "keep it until then; afterwards " + remedy
	}
	f.found = append(f.found, Finding{Check: "shadow-suffix", Severity: severity, Object: o.name(), File: o.File, Line: line,
		Finding: what + ": " + state, Evidence: s.why, Remedy: remedy})
}
