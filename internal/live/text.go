package live

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"umbra/internal/summary"
	"umbra/internal/traffic"
)

// Row is a line of what is shown, under a name.
type Row struct {
	Name  string
	Value string
	Bad   bool // it is about failures
}

// Rows are what is shown of a run, the most telling first: the same on a terminal and on the page.
func (x *Snapshot) Rows() []Row {
	rows := []Row{{Name: "now", Value: x.Where()}}
	if x.Place != nil {
		rows = append(rows, Row{Name: "rate", Value: x.rates()})
	}
	if x.Place != nil && x.Answered != nil {
		rows = append(rows, Row{Name: "response", Value: quantiles(x.Window.Response) + x.window()})
	}
	rows = append(rows, Row{Name: "so far", Value: quantiles(x.SoFar) + " in the stages"}, Row{Name: "requests", Value: x.requests(), Bad: x.NotOK > 0})
	if x.NotOK > 0 {
		rows = append(rows, Row{Name: "not ok", Value: x.whatFailed(), Bad: true})
	}
	if text := x.mirrored(); text != "" {
		rows = append(rows, Row{Name: "mirrored", Value: text})
	}
	return rows
}

// Line is all of it in one line.
func (x *Snapshot) Line() string {
	var parts []string
	for _, r := range x.Rows() {
		switch r.Name {
		case "now", "rate", "requests":
			parts = append(parts, r.Value)
		case "not ok":
			parts = append(parts, "not ok: "+r.Value)
		default:
			parts = append(parts, r.Name+" "+r.Value)
		}
	}
	return strings.Join(parts, "; ")
}

// Where tells the stage and its place in the plan.
func (x *Snapshot) Where() string {
	p := x.Place
	switch {
	case x.Over:
		return "the run has ended"
	case x.Stopped && p != nil:
		return "stopped: waiting for what is under way"
	case p == nil:
		return cmp.Or(x.Step, "beginning")
	}
	text := p.stage()
	if p.Elapsed == p.Span && p.Span > 0 {
		text = "waiting for the last answers"
	}
	if b := p.Block; b != nil {
		return fmt.Sprintf("%s, block %d of %d (%s), %d of %d quadruples done; %s", b.Experiment, b.Number, b.Of, b.Arm, b.Done, b.Quadruples, text)
	}
	if p.Span == 0 {
		return fmt.Sprintf("%s, %s", text, seconds(p.Elapsed))
	}
	return fmt.Sprintf("%s, %s of %s", text, seconds(p.Elapsed), seconds(p.Span))
}

// stage names the leg, and its rates.
func (p *Place) stage() string {
	text := map[traffic.Phase]string{traffic.PhaseWarmup: "warm-up", traffic.PhaseCooldown: "cool-down", traffic.PhaseBlock: "measuring"}[p.Phase]
	switch {
	case p.Closed:
		return "closed loop"
	case p.Phase == "":
		return "as captured"
	case p.Block != nil && p.Phase == traffic.PhaseWarmup:
		text = "settling"
	case p.Phase == traffic.PhaseStage:
		text = fmt.Sprintf("stage %d of %d", p.Stage, p.Stages)
	}
	if p.From == p.To {
		return fmt.Sprintf("%s at %s", text, rate(p.From))
	}
	return fmt.Sprintf("%s from %s to %s", text, rate(p.From), rate(p.To))
}

func (x *Snapshot) rates() string {
	switch {
	case x.Answered == nil:
		return "no second is over yet"
	case x.Asked == nil:
		return rate(*x.Answered) + " answered" + x.window()
	}
	return fmt.Sprintf("%s asked, %s answered%s", rate(*x.Asked), rate(*x.Answered), x.window())
}

func (x *Snapshot) window() string { return " in the last " + seconds(x.Window.To-x.Window.From) }

func quantiles(t summary.Times) string {
	if t.N == 0 {
		return "p50 –, p99 –"
	}
	return fmt.Sprintf("p50 %s, p99 %s", ms(t.P50), ms(t.P99))
}

func (x *Snapshot) requests() string {
	text := fmt.Sprintf("%d ended, %d not ok", x.Ended, x.NotOK)
	if x.UnderWay != nil {
		text += fmt.Sprintf(", %d in flight", *x.UnderWay)
	}
	return text
}

// shown is how many classes of failures are named.
const shown = 4

func (x *Snapshot) whatFailed() string {
	var parts []string
	for _, c := range x.Failures[:min(shown, len(x.Failures))] {
		parts = append(parts, fmt.Sprintf("%s × %d", c.What, c.Count))
	}
	if more := len(x.Failures) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d kinds more", more))
	}
	return strings.Join(parts, ", ")
}

func (x *Snapshot) mirrored() string {
	m := x.Mirrored
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%.2f %% of %d by the gateway's count so far, configured %.4g %%", 100*m.Share(), m.Requests, 100*m.Configured)
}

func rate(r float64) string {
	if r < 100 {
		return fmt.Sprintf("%.3g/s", r)
	}
	return fmt.Sprintf("%.0f/s", r)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }

// seconds is a time in whole seconds, or finer where it is shorter than ten.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// longest is how many characters are shown of a text from outside.
const longest = 600

// Plain makes a text harmless wherever it is shown: in the place of what a terminal or a browser would act on, control characters and those
// that turn the direction of writing, stands U+FFFD.
func Plain(s string) string {
	if len(s) > 4*longest {
		s = s[:4*longest]
	}
	s = strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest-1]) + "…"
	}
	return s
}
