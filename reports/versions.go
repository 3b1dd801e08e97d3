package reports

import (
	"fmt"
	"slices"
	"strings"

	"umbra/internal/verdict"
)

// compared tells how the versions' answers compare.
func (t sheet) compared(v *verdict.Versions) {
	if v == nil {
		return
	}
	t.title("Versions, " + strings.Join(against(v), ", ") + " (told, and no verdict; intervals are of 95 %)")
	for i := range v.Mirrors {
		t.comparison(&v.Mirrors[i])
	}
	t.telling(v)
}

// against names the versions that were compared, "v2 against v1", each two once.
func against(v *verdict.Versions) (names []string) {
	for i := range v.Mirrors {
		g := &v.Mirrors[i]
		if name := g.Shadow + " against " + g.Primary; g.Pairs > 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (t sheet) comparison(g *verdict.VersionFigures) {
	line := fmt.Sprintf("%s → %s: %d requests answered by both", g.Route, verdict.ShortCluster(g.Cluster), g.Pairs)
	if g.LeftOut > 0 {
		line += fmt.Sprintf(", %d mirrored ones left out (repeated, unfinished, or without a primary's receipt)", g.LeftOut)
	}
	if g.Approximate {
		line += "; approximately, as both share pods"
	}
	t.paragraph("  ", line)
	if g.Pairs == 0 {
		return
	}
	t.statuses(g)
	t.paragraph("    body    ", bodies(&g.Body)+joined("; ", explained(g.Noise.ExplainsBody, g.Primary)))
	t.noise(g)
	t.paces(g)
}

func (t sheet) statuses(g *verdict.VersionFigures) {
	s := &g.Status
	line := share(s.Differing, "requests")
	for i, c := range s.Changes {
		by := ", "
		if i == 0 {
			by = ": "
		}
		line += fmt.Sprintf("%s%d → %d × %d", by, c.Primary, c.Shadow, c.Count)
	}
	t.paragraph("    status  ", line+joined("; ", explained(g.Noise.ExplainsStatus, g.Primary)))
	t.paragraph("            ", fmt.Sprintf("failed, with 500 or above: %s alone %d, %s alone %d, both %d (McNemar's exact test, p = %.3g)",
		g.Shadow, s.ShadowFailed, g.Primary, s.PrimaryFailed, s.BothFailed, s.PValue))
}

// share is "0.24 % differ (0.08 … 0.71), 3 of 1231 requests".
func share(s verdict.Share, what string) string {
	return fmt.Sprintf("%.3g %% differ (%.3g … %.3g), %d of %d %s", s.Percent, s.Low, s.High, s.Count, s.N, what)
}

func bodies(g *verdict.BodyFigures) string {
	if g.Differing.N == 0 {
		return "none could be compared"
	}
	line := share(g.Differing, "with equal status")
	switch g.Normalised {
	case 0:
		return line + ", by their digest"
	case g.Differing.N:
		return line + ", as JSON without what is ignored"
	}
	return line + fmt.Sprintf(", %d as JSON without what is ignored, the others by their digest", g.Normalised)
}

func explained(is bool, primary string) string {
	if !is {
		return ""
	}
	return primary + " differs from itself as often"
}

func joined(by, s string) string {
	if s == "" {
		return ""
	}
	return by + s
}

func (t sheet) noise(g *verdict.VersionFigures) {
	n := &g.Noise
	itself := fmt.Sprintf("%s against %s: ", g.Primary, g.Primary)
	if n.Why != "" {
		t.paragraph("    noise   ", itself+"not measured ("+n.Why+")")
		return
	}
	t.paragraph("    noise   ", itself+"status "+share(n.Status, "requests sent again")+"; body "+bodies(&n.Body))
}

// nameShown is how wide a version may make its column of times.
const nameShown = 16

func (t sheet) paces(g *verdict.VersionFigures) {
	if len(g.Times) > 0 {
		rows := [][]string{{"  service time at the app, ms", middle(inert(g.Primary), nameShown), middle(inert(g.Shadow), nameShown), "ratio", "interval"}}
		for _, p := range g.Times {
			rows = append(rows, []string{fmt.Sprintf("  p%g of %d", p.Quantile, p.Pairs), ms(p.PrimaryNS), ms(p.ShadowNS), fmt.Sprintf("%.3f", p.Ratio), fmt.Sprintf("%.3f … %.3f", p.Low, p.High)})
		}
		t.table(rows, 1)
	}
	if len(g.TimesLeftOut) > 0 {
		t.paragraph("    time    ", strings.Join(g.TimesLeftOut, "; "))
	}
}

// telling lists the examples; where they are of several mirrors, each says of which.
func (t sheet) telling(v *verdict.Versions) {
	if len(v.Examples) == 0 {
		return
	}
	t.paragraph("  ", "the most telling requests:")
	for i := range v.Examples {
		e := &v.Examples[i]
		line := e.ID + " " + e.Method + " " + e.Path
		if e.Name != "" {
			line += " (" + e.Name + ")"
		}
		if len(v.Mirrors) > 1 {
			line += ", " + e.Route + " → " + verdict.ShortCluster(e.Cluster)
		}
		if e.Primary.Status == e.Shadow.Status { // else it shows
			line += ": " + e.Why
		}
		p, s := digests(e)
		t.paragraph("    ", line+": "+answer(&e.Primary, p)+", "+answer(&e.Shadow, s))
	}
}

func answer(a *verdict.VersionAnswer, digest string) string {
	return fmt.Sprintf("%s %d in %s ms%s", a.Version, a.Status, ms(a.Took), digest)
}

// digests are the begin of those that part two answers of equal status: of the JSON, or else of the body.
func digests(e *verdict.VersionExample) (primary, shadow string) {
	p, s := &e.Primary, &e.Shadow
	switch {
	case p.Status != s.Status:
		return "", ""
	case p.ResponseJSONSHA256 != "" && s.ResponseJSONSHA256 != "":
		return parting(p.ResponseJSONSHA256, s.ResponseJSONSHA256, " with JSON ")
	}
	return parting(p.ResponseSHA256, s.ResponseSHA256, " with body ")
}

// digestShown is how many characters of a digest are shown; report.json has all of it.
const digestShown = 12

func parting(p, s, lead string) (primary, shadow string) {
	if p == s {
		return "", ""
	}
	return lead + p[:min(digestShown, len(p))], lead + s[:min(digestShown, len(s))]
}
