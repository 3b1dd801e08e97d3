package reports

import (
	"fmt"
	"strings"
	"time"

	"umbra/internal/arrivals"
	"umbra/internal/evidence"
)

// capture says what of the captured traffic was replayed, and what of it the capture had lost.
func (t *text) capture(c *evidence.Capture) {
	if c == nil {
		return
	}
	t.title("Capture " + c.File)
	t.paragraph("  ", replayed(c))
	if c.Ordered {
		t.paragraph("  ", "the next request of a session waited until its predecessor had ended, which is in its response time")
	}
	t.loss(&c.Loss)
}

// replayed says what became of each request in the file.
func replayed(c *evidence.Capture) string {
	parts := []string{fmt.Sprintf("%d replayed", c.Replayed)}
	add := func(n int, how string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d left out %s", n, how))
		}
	}
	add(c.Unsafe, fmt.Sprintf("as unsafe (%s)", methods(c.Methods)))
	add(c.Unasked, fmt.Sprintf("by their methods (%s)", methods(c.Methods)))
	add(c.Outside, "by the cuts")
	add(c.Sampled, "with sessions that are not in the sample")
	line := fmt.Sprintf("of %d captured: %s", c.Captured, strings.Join(parts, ", "))
	if c.Rounds > 1 {
		line += fmt.Sprintf("; %d rounds of it", c.Rounds)
	}
	return line
}

// named bounds how many methods a line names.
const named = 8

func methods(all []evidence.MethodLeft) string {
	var parts []string
	for _, m := range all[:min(len(all), named)] {
		parts = append(parts, fmt.Sprintf("%s %d", m.Method, m.Count))
	}
	if len(all) > named {
		parts = append(parts, "…")
	}
	return strings.Join(parts, ", ")
}

func (t *text) loss(l *evidence.Loss) {
	switch {
	case l.Requests > 0:
		t.paragraph("  ", fmt.Sprintf("the capture lost %d requests that it knows of (%s): %.4g %% are whole", l.Requests, causes(l.Lost), l.Whole))
	case len(l.Hidden) == 0:
		t.paragraph("  ", "the capture lost no request")
	}
	if len(l.Hidden) > 0 {
		t.paragraph("  ", fmt.Sprintf("what the capture could not read may have held requests that nobody can count: %s", causes(l.Hidden)))
	}
}

func causes(all []evidence.Lost) string {
	parts := make([]string, len(all))
	for i, l := range all {
		parts[i] = fmt.Sprintf("%s %d", l.Cause, l.Count)
	}
	return strings.Join(parts, ", ")
}

// arrivals shows the gaps between requests as they were due and as they were sent.
func (t *text) arrivals(s *arrivals.Shape) {
	if s == nil {
		return
	}
	t.title("Arrivals, gaps between requests in milliseconds")
	row := func(name string, g arrivals.Gaps) []string {
		return []string{name, fmt.Sprint(g.N), ms(g.P10), ms(g.P50), ms(g.P90), ms(g.P99), ms(g.Max)}
	}
	t.table([][]string{{"", "n", "p10", "p50", "p90", "p99", "max"}, row("due, as captured", s.Due), row("sent", s.Sent)}, 1)
	t.paragraph("  ", fmt.Sprintf("Kolmogorov-Smirnov distance of both: %.3f; %.3f where gaps that differ by up to %v count as equal", s.Distance, s.Beyond, s.Tolerance.Round(time.Microsecond)))
	switch {
	case !s.Differs:
	case s.Beyond <= arrivals.Noticeable:
		t.paragraph("  ", "the arrivals differ from the capture's in their small gaps alone")
	default:
		t.paragraph("  ", "the arrivals are not shaped as the capture's: requests waited for connections or their sessions, were not sent, or the client was late")
	}
	if s.LeftOut > 0 {
		t.paragraph("  ", fmt.Sprintf("%d instants are left out, whose requests ended too long after the others", s.LeftOut))
	}
}
