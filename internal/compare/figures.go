package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"umbra/internal/impact"
	"umbra/internal/runs"
	"umbra/internal/stats"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// response compares a quantile of the response time, on logarithms: between runs by Welch's t on the quantiles of the runs, within them by
// Student's t on paired stretches.
func (c *comparison) response(m impact.Margin) Figure {
	f := Figure{Name: verdict.QuantileName(m.Quantile), Kind: Response, Quantile: m.Quantile, Unit: "ms", ChangeUnit: "%", Margin: m.Percent, Gated: m.Asked}
	a, whyA := logs(c.a, m.Quantile)
	b, whyB := logs(c.b, m.Quantile)
	f.EachA, f.EachB = milliseconds(a), milliseconds(b)
	if f.Why = cmp.Or(whyA, whyB); len(a)*len(b) == 0 {
		return f
	}
	meanA, meanB := stats.MeanOf(a), stats.MeanOf(b)
	f.logs(meanA.Mean, meanB.Mean, m)
	if f.Why != "" {
		return f
	}
	c.doubt(&f)
	if c.result.Between {
		d := stats.Welch(meanA, meanB)
		limit := f.limit()
		f.tested(min(len(a), len(b)), d.Above(limit), d.Below(limit), impact.PercentOf(d.Lower(Level)), impact.PercentOf(d.Upper(Level)))
		return f
	}
	c.stretches(&f, m)
	return f
}

// logs are the logarithms of a quantile, in seconds, by run. why tells what a run lacks for the quantile to be tested.
func logs(of []runs.Run, percent float64) (out []float64, why string) {
	need := int64(impact.Need(percent / 100))
	for i := range of {
		took, ok := of[i].Quantile(percent)
		if !ok {
			return nil, of[i].Source + " has no response times"
		}
		if n := of[i].Figures.Response.N; n < need {
			why = fmt.Sprintf("%s has %d requests, and %s needs %d, so that %d are beyond it", of[i].Source, n, verdict.QuantileName(percent), need, impact.Beyond)
		}
		out = append(out, math.Log(took.Seconds()))
	}
	return out, why
}

func milliseconds(logs []float64) []float64 {
	out := make([]float64, len(logs))
	for i, v := range logs {
		out[i] = 1e3 * math.Exp(v)
	}
	return out
}

// logs enters both sides' mean logarithms, and the margin that holds there.
func (f *Figure) logs(a, b float64, m impact.Margin) {
	f.A, f.B, f.Change = 1e3*math.Exp(a), 1e3*math.Exp(b), impact.PercentOf(b-a)
	f.Margin = 100 * m.Share(math.Exp(a))
}

// limit is the margin on the scale of logarithms.
func (f *Figure) limit() float64 { return math.Log1p(f.Margin / 100) }

// doubt tells where a quantile is not what it seems. Of what had no complete response a time is known from below only; and where the client
// was late itself, its own lateness is in the figure.
func (c *comparison) doubt(f *Figure) {
	q := f.Quantile
	if r := censored(c.a, q); r != nil {
		f.notWorse = fmt.Sprintf("%d response times of %s are lower bounds, so that A may be slower than it shows", r.Figures.Response.LowerBound, r.Source)
	}
	if r := censored(c.b, q); r != nil {
		f.notNoWorse = fmt.Sprintf("%d response times of %s are lower bounds, so that B may be slower than it shows", r.Figures.Response.LowerBound, r.Source)
	}
	for _, side := range [][]runs.Run{c.a, c.b} {
		for i := range side {
			took, _ := side[i].Quantile(q)
			if lag := side[i].Lag(q); lag > max(took/10, 200*time.Microsecond) {
				f.notWorse = fmt.Sprintf("the client of %s was itself %v late there, too much of %v", side[i].Source, lag.Round(time.Microsecond), took.Round(time.Microsecond))
				f.notNoWorse = f.notWorse
			}
		}
	}
}

// censored gives a run of whose requests beyond a quantile more than a tenth had no complete response; nil where there is none.
func censored(of []runs.Run, percent float64) *runs.Run {
	for i := range of {
		l := &of[i].Figures.Response
		if l.LowerBound > 0 && 10*float64(l.LowerBound) > (1-percent/100)*float64(l.N) {
			return &of[i]
		}
	}
	return nil
}

// The stretches of a run are neighbouring ticks of its time line, so many that neighbours are about independent: 20 at the most, at least
// impact.MinUnits. Source: batch means, Schmeiser, Operations Research 30 (1982), 556–568, who finds 10 to 30 batches to be enough.
const maxStretches = 20

// stretches tests a quantile within the runs. A report keeps p50 and p99 of each tick, and no other quantile.
func (c *comparison) stretches(f *Figure, m impact.Margin) {
	var value func(*summary.Tick) time.Duration
	switch m.Quantile {
	case 50:
		value = func(t *summary.Tick) time.Duration { return t.P50 }
	case 99:
		value = func(t *summary.Tick) time.Duration { return t.P99 }
	default:
		f.Why = fmt.Sprintf("within runs it has no units: a report keeps p50 and p99 of its stretches alone; %d runs a side are tested", MinRuns)
		return
	}
	need := impact.Need(m.Quantile / 100)
	a, b, why := c.paired(func(t *summary.Tick) (float64, string) {
		if t.Ended < need || value(t) <= 0 {
			return 0, fmt.Sprintf("a stretch of the time line has %d requests, and %s needs %d, so that %d are beyond it", t.Ended, f.Name, need, impact.Beyond)
		}
		return math.Log(value(t).Seconds()), ""
	})
	if why != "" {
		f.Why = why
		return
	}
	ratios := differences(a, b)
	d := stats.MeanOf(ratios)
	f.logs(stats.MeanOf(a).Mean, stats.MeanOf(b).Mean, m)
	limit, skew := f.limit(), stats.Skew(ratios)
	f.tested(len(ratios), d.Above(limit), d.BelowSkewed(limit, skew), impact.PercentOf(d.Lower(Level)), impact.PercentOf(d.UpperSkewed(Level, skew)))
}

// paired gives the value of each stretch, averaged over the runs of a side. The n-th of A and the n-th of B were played at the same time of
// the same plan, so that what the plan does to both cancels.
func (c *comparison) paired(value func(*summary.Tick) (float64, string)) (a, b []float64, why string) {
	all := append(append([]runs.Run(nil), c.a...), c.b...)
	ticks := make([][]summary.Tick, len(all))
	least, width, plan := math.MaxInt, all[0].Figures.Timeline.Width, all[0].Record.Stages
	for i := range all {
		ticks[i] = staged(&all[i])
		least = min(least, len(ticks[i]))
		if all[i].Figures.Timeline.Width != width || !slices.EqualFunc(all[i].Record.Stages, plan, alike) {
			return nil, nil, "the runs' time lines are not of the same plan, so that their stretches cannot be paired"
		}
	}
	size := (least + maxStretches - 1) / maxStretches
	if least/max(1, size) < impact.MinUnits {
		return nil, nil, fmt.Sprintf("whole stretches of %v in the stages: %d, and a test rests on at least %d", width, least, impact.MinUnits)
	}
	for unit := range least / size {
		sums := make([]float64, len(all))
		for i := range all {
			for t := unit * size; t < (unit+1)*size; t++ {
				v, lacks := value(&ticks[i][t])
				if lacks != "" {
					return nil, nil, lacks
				}
				sums[i] += v / float64(size)
			}
		}
		a, b = append(a, stats.MeanOf(sums[:len(c.a)]).Mean), append(b, stats.MeanOf(sums[len(c.a):]).Mean)
	}
	return a, b, ""
}

func alike(a, b verdict.Stage) bool {
	return a.Begin == b.Begin && a.End == b.End && a.Asked == b.Asked
}

// staged are the ticks that lie wholly in the stages. Where the run has none, as a closed loop, they are all but the first and the last,
// and none where the run had other phases as well.
func staged(r *runs.Run) []summary.Tick {
	line, stages := &r.Figures.Timeline, r.Record.Stages
	if len(stages) == 0 {
		if f := &r.Figures; f.Warmup+f.Cooldown+f.Blocks > 0 || len(line.Ticks) < 3 {
			return nil
		}
		return line.Ticks[1 : len(line.Ticks)-1]
	}
	begin, end := stages[0].Begin, stages[len(stages)-1].End
	var out []summary.Tick
	for _, t := range line.Ticks {
		if t.At >= begin && t.At+line.Width <= end {
			out = append(out, t)
		}
	}
	return out
}

func differences(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = b[i] - a[i]
	}
	return out
}

// share compares the share of requests that a count is of. Two tests have to agree: the score test on counts (Miettinen and Nurminen,
// Statistics in Medicine 4 (1985), 213–226), for NO WORSE with what runs show of bursts, and Welch's t on the shares of runs. Within runs
// the counts are divided by the design effect of the stretches (Rao and Scott, Biometrics 48 (1992), 577–585).
func (c *comparison) share(kind Kind, name string, margin float64, count func(*runs.Run) int) Figure {
	f := Figure{Name: name, Kind: kind, Unit: "%", ChangeUnit: "points", Margin: margin, Gated: true}
	a, b := clusters(c.a, count), clusters(c.b, count)
	f.EachA, f.EachB = shares(a), shares(b)
	if slices.Contains(a.N, 0) || slices.Contains(b.N, 0) {
		f.EachA, f.EachB = nil, nil
		f.Why = "a report does not count the requests of its stages: it is of an older umbra (umbra report DIR makes it anew), or nothing was played"
		return f
	}
	xa, na, xb, nb := total(a.Failed), total(a.N), total(b.Failed), total(b.N)
	f.A, f.B = percentage(xa, na), percentage(xb, nb)
	f.Change = f.B - f.A
	limit := margin / 100
	if !c.result.Between {
		effect := impact.DesignEffect(bursts(c.a), bursts(c.b))
		xa, na, xb, nb = fewer(xa, effect), fewer(na, effect), fewer(xb, effect), fewer(nb, effect)
		low, high := stats.DifferenceBounds(xa, na, xb, nb, Level)
		f.tested(1, stats.DifferencePValue(xa, na, xb, nb, limit), stats.DifferencePValue(xb, nb, xa, na, -limit), 100*low, 100*high)
		return f
	}
	d := stats.Welch(stats.MeanOf(f.EachA), stats.MeanOf(f.EachB)) // in points
	risen := impact.RisenOf(a, b)
	low, _ := stats.DifferenceBounds(xa, na, xb, nb, Level)
	f.tested(min(len(a.N), len(b.N)), max(stats.DifferencePValue(xa, na, xb, nb, limit), d.Above(margin)), max(risen.Less(limit), d.Below(margin)),
		min(100*low, d.Lower(Level)), max(100*risen.Upper(Level), d.Upper(Level)))
	return f
}

func clusters(of []runs.Run, count func(*runs.Run) int) (out impact.Clusters) {
	for i := range of {
		out.Failed, out.N = append(out.Failed, float64(count(&of[i]))), append(out.N, float64(of[i].Figures.Judged.Rows))
	}
	return out
}

// bursts are the stretches of runs with what was not ok in them.
func bursts(of []runs.Run) (out impact.Clusters) {
	for i := range of {
		for _, t := range staged(&of[i]) {
			if t.Ended > 0 {
				out.Failed, out.N = append(out.Failed, float64(t.NotOK)), append(out.N, float64(t.Ended))
			}
		}
	}
	return out
}

func shares(c impact.Clusters) []float64 {
	out := make([]float64, len(c.N))
	for i := range c.N {
		out[i] = 100 * c.Failed[i] / c.N[i]
	}
	return out
}

func total(xs []float64) (sum int) {
	for _, x := range xs {
		sum += int(x)
	}
	return sum
}

func percentage(x, n int) float64 { return 100 * float64(x) / float64(n) }

func fewer(n int, effect float64) int { return int(math.Round(float64(n) / effect)) }

// rate compares what was sent a second, by t on its differences: Welch's between runs, Student's on paired stretches within them.
func (c *comparison) rate(margin float64) Figure {
	f := Figure{Name: "achieved rate", Kind: Rate, Unit: "/s", ChangeUnit: "%", Margin: margin, Gated: true}
	f.EachA, f.EachB = sent(c.a), sent(c.b)
	a, b := stats.MeanOf(f.EachA), stats.MeanOf(f.EachB)
	f.A, f.B = a.Mean, b.Mean
	if f.A <= 0 {
		f.Why, f.EachA, f.EachB = "A has no rate", nil, nil
		return f
	}
	f.Change = 100 * (f.B - f.A) / f.A
	if f.Why = c.unlikeRates(); f.Why != "" {
		return f
	}
	d, units := stats.Welch(a, b), min(len(c.a), len(c.b))
	if !c.result.Between {
		inA, inB, why := c.paired(func(t *summary.Tick) (float64, string) { return float64(t.Sent), "" })
		if why != "" {
			f.Why = why
			return f
		}
		width := c.a[0].Figures.Timeline.Width.Seconds()
		a, b = stats.MeanOf(inA), stats.MeanOf(inB)
		f.A, f.B = a.Mean/width, b.Mean/width
		d, units = stats.EstimateOf(stats.MeanOf(differences(inA, inB))), len(inA)
	}
	if a.Mean <= 0 {
		f.Why = "A has no rate"
		return f
	}
	each := 100 / a.Mean
	limit := -margin / each
	f.Change = d.Value * each
	f.tested(units, d.Below(limit), d.Above(limit), d.Lower(Level)*each, d.Upper(Level)*each)
	for _, side := range [][]runs.Run{c.a, c.b} {
		for i := range side {
			if state(&side[i], verdict.Rate) == verdict.Invalid {
				f.notWorse = "the client of " + side[i].Source + " did not keep the rate itself"
				f.notNoWorse = f.notWorse
			}
		}
	}
	return f
}

func sent(of []runs.Run) (out []float64) {
	for i := range of {
		out = append(out, of[i].Figures.Sent)
	}
	return out
}

// unlikeRates tells why the achieved rates say nothing of each other; "" where they do. Rates that are drawn at random are a little apart.
func (c *comparison) unlikeRates() string {
	a, b := asked(c.a), asked(c.b)
	closed := func(of []runs.Run) (n int) {
		for i := range of {
			if of[i].Record.ClosedLoop {
				n++
			}
		}
		return n
	}
	loops := closed(c.a) + closed(c.b)
	switch {
	case loops == len(c.a)+len(c.b):
		return ""
	case loops > 0:
		return "some of the runs are closed loops, and others asked for a rate"
	case math.Abs(a-b) > 0.01*max(a, b) && len(differing(c.a, c.b)) > 0:
		return fmt.Sprintf("other rates were asked for: %s/s in A, %s/s in B", verdict.Digits(a), verdict.Digits(b))
	}
	return ""
}

func asked(of []runs.Run) (mean float64) {
	for i := range of {
		mean += of[i].Figures.Asked / float64(len(of))
	}
	return mean
}

// differing are the differences of what was played.
func differing(a, b []runs.Run) (out []runs.Difference) {
	for _, d := range runs.Differences(a, b) {
		if d.What == "load" || d.What == "stages" || d.What == "traffic" || d.What == "capture" {
			out = append(out, d)
		}
	}
	return out
}

// state is that of one of a run's verdicts; "" where it has none of that name.
func state(r *runs.Run, name string) verdict.State {
	for _, v := range r.Verdicts {
		if v.Name == name {
			return v.State
		}
	}
	return ""
}

// sentence is "p99 4.91 ms → 5.82 ms: +18.5 % (+12.1 … +25.3), margin 10.2 %".
func (f *Figure) sentence() string {
	if f.PWorse == nil {
		return f.Name + ": " + cmp.Or(f.Why, "nothing to test")
	}
	unit := f.Unit
	if unit != "/s" {
		unit = " " + unit
	}
	text := fmt.Sprintf("%s %s%s → %s%s: %s %s (%s … %s), margin %s %s", f.Name, verdict.Digits(f.A), unit, verdict.Digits(f.B), unit, f.signed(f.Change), f.ChangeUnit,
		f.signed(*f.Low), f.signed(*f.High), verdict.Digits(f.Margin), f.ChangeUnit)
	if f.Why != "" {
		text += "; " + f.Why
	}
	return text
}

// signed writes a change: points to three decimals, percent to one.
func (f *Figure) signed(v float64) string {
	if f.ChangeUnit == "points" {
		return fmt.Sprintf("%+.3f", v)
	}
	return fmt.Sprintf("%+.1f", v)
}
