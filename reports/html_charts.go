package reports

import (
	"fmt"
	"math"
	"strings"
	"time"

	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// The axes that the pictures share.
var (
	percentileAxis = axis{Label: "percentile, by log 1/(1−p)", Scale: nines, Holds: []float64{0}}
	latencyAxis    = axis{Label: "milliseconds, logarithmic", Scale: logarithmic}
)

// timeAxis is that of a run's time, from its start to the end of its last tick.
func timeAxis(end time.Duration) axis {
	return axis{Label: "seconds from the start of the run", Holds: []float64{0, end.Seconds()}}
}

// millis is a duration on an axis of milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// OffOn is the spectrum of the experiment; nil where there is none.
func (v *view) OffOn() *chart {
	x := v.experiment()
	if x == nil || len(x.Spectrum) == 0 {
		return nil
	}
	off, on := series{Name: "mirroring off"}, series{Name: "mirroring on"}
	for _, p := range x.Spectrum {
		off.Points = append(off.Points, hdrPoint(p.Percentile, &p.Off))
		on.Points = append(on.Points, hdrPoint(p.Percentile, &p.On))
	}
	return &chart{ID: "off-on", Title: "Response time of the primary, mirroring off and on", X: percentileAxis, Y: latencyAxis, Series: []series{off, on},
		Desc: "Response time in milliseconds at each percentile, one line for the blocks with mirroring off and one for those with mirroring on; the areas are 95 % intervals. " +
			"Where the lines lie on each other, mirroring costs the primary nothing. The table below has the figures."}
}

func hdrPoint(percentile float64, h *verdict.HDRValue) point {
	p := point{X: percentile, Y: millis(h.Value)}
	if h.Interval != nil {
		p.Interval = &span{millis(h.Interval.Low), millis(h.Interval.High)}
	}
	return p
}

// experiment is that of the verdict on impact; nil where none was played.
func (v *view) experiment() *verdict.ExperimentFigures {
	for i := range v.Verdicts {
		if x := v.Verdicts[i].Experiment; x != nil {
			return x
		}
	}
	return nil
}

// Changes is how much slower the quantiles are with mirroring on, against their margins; nil where there is no experiment.
func (v *view) Changes() *chart {
	x := v.experiment()
	if x == nil {
		return nil
	}
	change, margin := series{Name: "change, with one-sided 95 % bounds", Style: dots}, series{Name: "margin", Style: dots}
	for i := range x.Figures {
		if f := &x.Figures[i]; f.Tested && f.Quantile > 0 {
			change.Points = append(change.Points, point{f.Quantile, f.Change, &span{f.Low, f.High}})
			margin.Points = append(margin.Points, point{X: f.Quantile, Y: f.MarginPct})
		}
	}
	if len(change.Points) == 0 {
		return nil
	}
	return &chart{ID: "changes", Title: "Change of the primary's quantiles by mirroring", X: percentileAxis, Y: axis{Label: "percent slower", Holds: []float64{0}}, Series: []series{change, margin},
		Desc: "How many percent slower each tested quantile is with mirroring on, with its bounds, and the margin that it is held against. Harm is shown where the bounds lie above the margin, and none where they lie below. The table below has the figures."}
}

// ResponseService is the response time, from due, against the service time, from sent.
func (v *view) ResponseService() *chart {
	return &chart{ID: "response-service", Title: "Response time and service time", X: percentileAxis, Y: latencyAxis,
		Series: []series{spectrumSeries("response time, from when a request was due", v.Figures.ResponseSpectrum), spectrumSeries("service time, from when it was sent", v.Figures.ServiceSpectrum)},
		Desc:   "Both times in milliseconds at each percentile, over the stages. What lies between the lines is the time for which requests waited to be sent. The table below has the figures."}
}

func spectrumSeries(name string, points []summary.Percentile) series {
	s := series{Name: name}
	for _, p := range points {
		s.Points = append(s.Points, point{X: p.Percentile, Y: millis(p.Value)})
	}
	return s
}

// OverTime are the pictures of the time line.
func (v *view) OverTime() []*chart {
	t := &v.Figures.Timeline
	end := t.Ticks[len(t.Ticks)-1].At + t.Width
	each := "in each " + tickOf(t.Width)
	counts := axis{Label: "requests " + each, Holds: []float64{0}}
	one := func(id, title string, y axis, desc string, all ...series) *chart {
		return &chart{ID: id, Title: title, X: timeAxis(end), Y: y, Series: all, Desc: desc + " The table below has the figures."}
	}
	rate := one("rate", "Rate, asked and achieved", counts, "How many requests were due, sent and ended "+each+".",
		ticks("asked", t, func(k *summary.Tick) float64 { return float64(k.Asked) }),
		ticks("sent", t, func(k *summary.Tick) float64 { return float64(k.Sent) }),
		ticks("ended", t, func(k *summary.Tick) float64 { return float64(k.Ended) }))
	rate.Marks = v.begins()
	return []*chart{
		rate,
		one("in-flight", "In flight", axis{Label: "requests", Holds: []float64{0}}, "How many requests were sent and had not ended, at the end of each "+tickOf(t.Width)+".",
			ticks("in flight", t, func(k *summary.Tick) float64 { return float64(k.InFlight) })),
		one("over-time", "Response time", latencyAxis, "The median and the 99th percentile of the response time "+each+".",
			ticks("p50", t, func(k *summary.Tick) float64 { return millis(k.P50) }), ticks("p99", t, func(k *summary.Tick) float64 { return millis(k.P99) })),
		one("lag", "The client's lag", latencyAxis, "How late the client itself sent, "+each+".",
			ticks("p99", t, func(k *summary.Tick) float64 { return millis(k.LagP99) }), ticks("maximum", t, func(k *summary.Tick) float64 { return millis(k.LagMax) })),
		one("errors-over-time", "Errors", counts, "How many requests "+each+" had no complete response, or a status of 500 or above.",
			ticks("without a complete response, or failed", t, func(k *summary.Tick) float64 { return float64(k.NotOK) })),
	}
}

// begins marks the stages where there are several, as far as they can be told apart.
func (v *view) begins() (marks []mark) {
	stages := v.Run.Stages
	if len(stages) < 2 || len(stages) > drawn {
		return nil
	}
	for i, s := range stages {
		marks = append(marks, mark{s.Begin.Seconds(), fmt.Sprintf("stage %d begins", i+1)})
	}
	return marks
}

func ticks(name string, t *summary.Timeline, of func(*summary.Tick) float64) series {
	s := series{Name: name, Style: step}
	for i := range t.Ticks {
		s.Points = append(s.Points, point{X: t.Ticks[i].At.Seconds(), Y: of(&t.Ticks[i])})
	}
	return s
}

// tickOf is the width of a tick: "second", "4 s".
func tickOf(d time.Duration) string {
	if d == time.Second {
		return "second"
	}
	return d.String()
}

// sampled are the items of mirrors that have a fraction over time.
func (v *view) sampled() (out []*verdict.Item) {
	for i := range v.Verdicts {
		for k := range v.Verdicts[i].Items {
			if item := &v.Verdicts[i].Items[k]; item.Sampling != nil && len(item.Sampling.Ticks) > 0 {
				out = append(out, item)
			}
		}
	}
	return out
}

// Fractions are the pictures of the mirrors' fractions.
func (v *view) Fractions() (out []*chart) {
	items, _ := bounded(v.sampled(), drawn)
	for i, item := range items {
		f := item.Sampling
		bands := series{Name: "where 95 % of such ticks lie, if what is programmed is applied", Style: band}
		programmed := series{Name: "programmed"}
		mirrored := series{Name: "mirrored", Style: dots}
		for _, k := range f.Ticks {
			x := k.At.Seconds()
			bands.Points = append(bands.Points, point{X: x, Y: math.NaN(), Interval: &span{k.LowPercent, k.HighPercent}})
			programmed.Points = append(programmed.Points, point{X: x, Y: float64(f.Numerator) / 1e4})
			mirrored.Points = append(mirrored.Points, point{X: x, Y: k.Percent})
		}
		out = append(out, &chart{ID: fmt.Sprintf("fraction-%d", i+1), Title: strings.TrimSuffix(subject(item), ": "), X: timeAxis(f.Ticks[len(f.Ticks)-1].At + f.TickWidth), Y: axis{Label: "percent mirrored, in each " + tickOf(f.TickWidth)},
			Series: []series{bands, programmed, mirrored},
			Desc:   "The share of requests that were mirrored, by when they were due, with the programmed fraction and the band around it that chance alone explains. The table below has the figures."})
	}
	return out
}

// MoreFractions says how many mirrors have no picture.
func (v *view) MoreFractions() string {
	_, more := bounded(v.sampled(), drawn)
	return more
}
