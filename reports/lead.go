package reports

import (
	"cmp"
	"fmt"
	"slices"

	"umbra/internal/verdict"
)

// Lead is a figure that carries the headline.
type Lead struct {
	Verdict string        `json:"verdict"`
	State   verdict.State `json:"state"`
	Name    string        `json:"name"`    // what it is of
	Value   string        `json:"value"`   // with its interval
	Against string        `json:"against"` // what it is held against
}

// leads is how many there are at the most.
const leads = 3

// weight orders states by what a headline is about.
var weight = map[verdict.State]int{verdict.Fail: 4, verdict.Invalid: 3, verdict.Inconclusive: 2, verdict.Pass: 1}

// telling orders verdicts that are in the same state by what a reader asks first.
var telling = []string{verdict.Impact, verdict.Sampling, verdict.Integrity, verdict.Delivery, verdict.HarmVerdict, verdict.Objectives, verdict.Rate}

// leading picks the figures: those of the gravest state first, of different verdicts as far as there are such.
func (r *Report) leading() (out []Lead) {
	var all []Lead
	for _, v := range r.Verdicts {
		for i := range v.Items {
			if l, ok := leadOf(v.Name, &v.Items[i]); ok && weight[l.State] > 0 {
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Lead) int {
		return cmp.Or(cmp.Compare(weight[b.State], weight[a.State]), cmp.Compare(slices.Index(telling, a.Verdict), slices.Index(telling, b.Verdict)))
	})
	for _, again := range []bool{false, true} {
		for _, l := range all {
			known := slices.ContainsFunc(out, func(o Lead) bool { return o.Verdict == l.Verdict })
			if len(out) < leads && known == again && !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// leadOf is an item's figure; ok is false where it has none.
func leadOf(name string, item *verdict.Item) (l Lead, ok bool) {
	l = Lead{Verdict: name, State: item.State}
	of := ""
	if s := subject(item); s != "" {
		of = ", " + s[:len(s)-len(": ")]
	}
	switch {
	case item.Impact != nil && item.Impact.Tested && item.Impact.Quantile > 0:
		f := item.Impact
		l.Name, l.Value, l.Against = verdict.QuantileName(f.Quantile)+" with mirroring on", changed(f.Change, f.Low, f.High), fmt.Sprintf("a margin of %s %%", verdict.Digits(f.MarginPct))
	case item.Impact != nil && item.Impact.Tested:
		f := item.Impact
		l.Name, l.Value, l.Against = "failed requests with mirroring on", fmt.Sprintf("%+.3f points (%+.3f … %+.3f)", f.Change, f.Low, f.High), fmt.Sprintf("a margin of %s points", verdict.Digits(f.MarginPct))
	case item.Effect != nil && item.Effect.Gated:
		f := item.Effect
		l.Name, l.Value, l.Against = verdict.QuantileName(f.Quantile)+" of mirrored requests", changed(f.Change, f.Low, f.High), fmt.Sprintf("a margin of %s %%", verdict.Digits(f.MarginPct))
	case item.Sampling != nil && item.Sampling.Eligible > 0:
		f := item.Sampling
		l.Name, l.Value, l.Against = "mirrored"+of, sampled(f), programmed(f)
	case item.Integrity != nil:
		f := item.Integrity
		l.Name, l.Value, l.Against = "requests with a finding"+of, fmt.Sprintf("%d", f.Failed), fmt.Sprintf("%d sent, %d copies compared", f.Requests, f.Compared)
	case item.Delivery != nil:
		f := item.Delivery
		l.Name, l.Value, l.Against = "copies that arrived"+of, fmt.Sprintf("%d", f.Arrived), fmt.Sprintf("%d sent by the gateway's count", f.Counted)
	case item.Harm != nil:
		f := item.Harm
		l.Name, l.Value = "failed while the shadow is "+f.Shadow, fmt.Sprintf("%d of %d", f.FailedOn, f.On)
		if f.Body > 0 {
			l.Name += ", uploads of " + verdict.Size(f.Body)
		}
		l.Against = fmt.Sprintf("%d of %d with mirroring off", f.FailedOff, f.Off)
	case item.Objective != nil && item.Objective.Quantile > 0 && item.Objective.EstimateNS != nil:
		f := item.Objective
		l.Name, l.Value, l.Against = verdict.QuantileName(f.Quantile)+of, ms(*f.EstimateNS)+" ms", "under "+ms(f.UnderNS)+" ms"
	case item.Objective != nil && item.Objective.LimitPercent != nil:
		f := item.Objective
		l.Name, l.Value, l.Against = "errors"+of, verdict.Digits(f.EstimatePercent)+" %", fmt.Sprintf("at most %s %%", verdict.Digits(*f.LimitPercent))
	case item.Rate != nil && !item.Rate.Closed:
		l.Name, l.Value, l.Against = "rate", fmt.Sprintf("%.1f/s in time", item.Rate.InTime), fmt.Sprintf("asked %.1f/s", item.Rate.Asked)
	default:
		return l, false
	}
	return l, true
}

// sampled is "9.99 % of 12007 (9.55 … 10.5)".
func sampled(f *verdict.SamplingFigures) string {
	return fmt.Sprintf("%s %% of %d (%s … %s)", verdict.Digits(f.EstimatePercent), f.Eligible, verdict.Digits(f.LowPercent), verdict.Digits(f.HighPercent))
}

// programmed is "programmed 10 % ± 1".
func programmed(f *verdict.SamplingFigures) string {
	return fmt.Sprintf("programmed %s %% ± %s", verdict.Digits(float64(f.Numerator)/1e4), verdict.Digits(f.WithinPoints))
}

// changed is "+19.4 % (+19.1 … +19.7)".
func changed(change, low, high float64) string {
	return fmt.Sprintf("%+.1f %% (%+.1f … %+.1f)", change, low, high)
}
