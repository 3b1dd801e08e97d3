package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"umbra/internal/arrivals"
	"umbra/internal/evidence"
)

// capture says what of the captured traffic was replayed, and what of it the capture had lost.
func (t sheet) capture(r *Report) {
	c := r.Run.Capture
	if c == nil {
		return
	}
	t.title("Capture " + c.File)
	t.paragraph("  ", replayed(c, r))
	if c.Ordered {
		t.paragraph("  ", "the next request of a session waited until its predecessor had ended, which is in its response time")
	}
	t.loss(&c.Loss)
}

// replayed says what became of each request in the file. What was selected is what was replayed only where all of it was sent,
// in each round; stages send another number, and a stop or a full queue fewer.
func replayed(c *evidence.Capture, r *Report) string {
	whole := allSent(c, r)
	word := "selected"
	if whole {
		word = "replayed"
	}
	parts := []string{fmt.Sprintf("%d %s", c.Replayed, word)}
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
	if c.Rounds > 1 && whole {
		return line + fmt.Sprintf("; %d rounds of it", c.Rounds)
	}
	if c.Rounds > 1 {
		line += fmt.Sprintf("; %d rounds of it were asked for", c.Rounds)
	}
	if !whole {
		line += "; " + sent(r)
	}
	return line
}

// allSent tells whether each request that was selected was sent, in each round, and nothing else.
func allSent(c *evidence.Capture, r *Report) bool {
	f, all := &r.Figures, c.Replayed*max(1, c.Rounds)
	return r.Partial == "" && f.Planned == all && f.Lag.N == int64(all) // each request sent has a lag, that of the client
}

// sent says how many requests were sent; the figures do not know it of the phases that are not judged.
func sent(r *Report) string {
	f := &r.Figures
	line := fmt.Sprintf("%d requests were sent", f.Lag.N)
	if f.Warmup+f.Cooldown > 0 {
		line += " in the stages"
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

func (t sheet) loss(l *evidence.Loss) {
	switch {
	case l.Requests > 0:
		t.paragraph("  ", fmt.Sprintf("the capture lost %d requests that it knows of (%s): %s %% are whole", l.Requests, causes(l.Lost), Share(l.Whole)))
	case len(l.Hidden) == 0:
		t.paragraph("  ", "the capture lost no request")
	}
	if len(l.Hidden) > 0 {
		t.paragraph("  ", fmt.Sprintf("what the capture could not read may have held requests that nobody can count: %s", causes(l.Hidden)))
	}
}

// Share is a percentage of which something is missing, rounded down to two places, so that it never reads as 100.
func Share(percent float64) string {
	return strconv.FormatFloat(min(99.99, math.Floor(percent*100)/100), 'f', -1, 64)
}

func causes(all []evidence.Lost) string {
	parts := make([]string, len(all))
	for i, l := range all {
		parts[i] = fmt.Sprintf("%s %d", l.Cause, l.Count)
	}
	return strings.Join(parts, ", ")
}

// arrivals shows the gaps between requests as they were due and as they were sent.
func (t sheet) arrivals(s *arrivals.Shape) {
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
		t.paragraph("  ", "the arrivals differ from the capture's by no more than that, but for a tenth of the gaps at the most")
	default:
		t.paragraph("  ", "the arrivals are not shaped as the capture's: requests waited for connections or their sessions, were not sent, or the client was late")
	}
	if s.LeftOut > 0 {
		t.paragraph("  ", fmt.Sprintf("%d instants are left out, whose requests ended too long after the others", s.LeftOut))
	}
}
