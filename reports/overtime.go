package reports

import (
	"fmt"
	"math"
	"strings"
	"time"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// strand is one of the figures of a time line.
type strand struct {
	name  string
	of    func(*summary.Tick) float64
	sum   bool // of ticks joined, the sum; else the greatest
	write func(float64) string
}

// timeline shows the run's time: drawn where the page can, and from where to where each figure went.
func (t sheet) timeline(l *summary.Timeline) {
	if len(l.Ticks) < 2 || l.Width <= 0 {
		return
	}
	count := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	millis := func(v float64) string { return ms(time.Duration(v)) }
	rate := func(v float64) string { return fmt.Sprintf("%.1f", v/l.Width.Seconds()) }
	rows := [][]string{{fmt.Sprintf("in %d ticks of %v", len(l.Ticks), l.Width), "least", "most"}}
	for _, s := range []strand{
		{"asked for, a second", func(k *summary.Tick) float64 { return float64(k.Asked) }, true, rate},
		{"sent, a second", func(k *summary.Tick) float64 { return float64(k.Sent) }, true, rate},
		{"response time p99, ms", func(k *summary.Tick) float64 { return float64(k.P99) }, false, millis},
		{"in flight at its end", func(k *summary.Tick) float64 { return float64(k.InFlight) }, false, count},
		{"not ok", func(k *summary.Tick) float64 { return float64(k.NotOK) }, true, count},
		{"generator lag, the most, ms", func(k *summary.Tick) float64 { return float64(k.LagMax) }, false, millis},
	} {
		values, low, high := make([]float64, len(l.Ticks)), math.Inf(1), math.Inf(-1)
		for i := range l.Ticks {
			v := s.of(&l.Ticks[i])
			values[i], low, high = v, min(low, v), max(high, v)
		}
		rows = append(rows, t.drawn([]string{s.name, s.write(low), s.write(high)}, spark(values, s.sum)))
	}
	rows[0] = t.drawn(rows[0], "")
	t.table(rows, len(rows[0])-2)
}

// drawn puts a drawing behind a row's name, on a page that draws.
func (t sheet) drawn(row []string, drawing string) []string {
	if !t.draws() {
		return row
	}
	return append([]string{row[0], drawing}, row[1:]...)
}

// fractions are the mirrors' shares, over the stages and over time.
func (t sheet) fractions(r *Report) {
	titled := false
	for _, v := range r.Verdicts {
		for i := range v.Items {
			item := &v.Items[i]
			if item.Sampling == nil || item.Sampling.Eligible == 0 {
				continue
			}
			if !titled {
				t.title("Mirror fraction, with its 90 % interval")
				titled = true
			}
			t.paragraph("  ", subject(item)+sampled(item.Sampling)+", "+programmed(item.Sampling))
			t.fractionTicks(item.Sampling)
		}
	}
}

func (t sheet) fractionTicks(f *verdict.SamplingFigures) {
	if len(f.Ticks) < 2 {
		return
	}
	shares := make([]float64, len(f.Ticks))
	for i := range f.Ticks {
		shares[i] = f.Ticks[i].Percent
	}
	line := fmt.Sprintf("%d of %d ticks of %v lie outside the band that holds 95 %% of such at the programmed fraction", f.Outside, len(f.Ticks), f.TickWidth)
	if t.draws() {
		line = spark(shares, false) + " " + line
	}
	t.paragraph("    ", line)
}

// blocks are the letters of a spark line: 0 is the first, and the greatest value the last.
var blocks = []rune("▁▂▃▄▅▆▇█")

// sparks is how many letters a spark line has at the most.
const sparks = 52

// spark draws values, which are at or above 0. More of them than it has letters are joined to letters of equal width.
func spark(values []float64, sum bool) string {
	each := (len(values) + sparks - 1) / sparks
	var joined []float64
	for i := 0; i < len(values); i += each {
		v, n := 0.0, 0
		for _, x := range values[i:min(i+each, len(values))] {
			if n++; sum {
				v += x
			} else {
				v = max(v, x)
			}
		}
		if sum { // the last letter may stand for fewer
			v /= float64(n)
		}
		joined = append(joined, v)
	}
	most := 0.0
	for _, v := range joined {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range joined {
		b.WriteRune(blocks[height(v, most)])
	}
	return b.String()
}

// height is the letter of a value: only 0 has the first one.
func height(v, most float64) int {
	if !(v > 0) {
		return 0
	}
	top := float64(len(blocks) - 1)
	return int(min(top, max(1, math.Round(v/most*top))))
}
