package verdict

import (
	"fmt"
	"math"
	"slices"
	"time"

	"umbra/internal/stats"
)

// ObjectiveFigures are one objective's. Durations are nanoseconds; a bound that is null is not bounded by the data.
type ObjectiveFigures struct {
	Quantile float64       `json:"quantile,omitempty"` // percent; absent for a limit on errors
	UnderNS  time.Duration `json:"under_ns,omitempty"`

	Requests int `json:"requests"` // rows of the stages
	NotOK    int `json:"not_ok"`   // that got no complete answer

	EstimateNS *time.Duration `json:"estimate_ns,omitempty"` // with rows that are not ok beyond every limit
	LowNS      *time.Duration `json:"low_ns,omitempty"`      // one-sided 95 % bounds, by order statistics: rows that are not
	HighNS     *time.Duration `json:"high_ns,omitempty"`     // ok count as their lower bound, and as infinite
	LagNS      time.Duration  `json:"lag_ns,omitempty"`      // the client's part (generator and read lag) at this quantile
	LagLimitNS time.Duration  `json:"lag_limit_ns,omitempty"`

	LimitPercent    *float64 `json:"limit_percent,omitempty"` // of errors
	Errors          int      `json:"errors"`                  // rows that are not ok or have a status of 500 and above
	Own             int      `json:"own_errors,omitempty"`    // of Errors, those by the client's own doing
	EstimatePercent float64  `json:"estimate_percent,omitempty"`
	LowPercent      float64  `json:"low_percent,omitempty"` // one-sided 95 % Clopper–Pearson bounds
	HighPercent     float64  `json:"high_percent,omitempty"`

	Decides int `json:"n_decides,omitempty"` // about the n that would decide, should the share seen so far stay
}

// objectives judges the rows of the stages against limits, from the client's side alone.
type objectives struct {
	asked []Objective
	rows  []*row
}

func (o *objectives) visit(w *row) {
	if len(o.asked) > 0 && w.is(planned) && !w.is(stopped) && w.phase == stage {
		o.rows = append(o.rows, w)
	}
}

func (o *objectives) verdict() Verdict {
	v := Verdict{Name: Objectives}
	if len(o.asked) == 0 {
		v.State, v.Summary = NotTested, "the scenario has no objectives (checks.objectives)"
		return v
	}
	times, less := newTimes(o.rows, false), newTimes(o.rows, true)
	for _, asked := range o.asked {
		if asked.Quantile == 0 {
			v.Items = append(v.Items, o.errors(asked))
		} else {
			v.Items = append(v.Items, asked.judge(times, less))
		}
	}
	v.State = worst(v.Items)
	v.Summary = headline(v.Items, v.State)
	return v
}

// times are the response times of rows, sorted: as lower bounds, and with what is not ok as infinite.
type times struct {
	low, high []time.Duration
	lags      []time.Duration // the client's part of what was sent, or could have been
	notOK     int
}

// infinite stands for a response that never came.
const infinite = time.Duration(math.MaxInt64)

func newTimes(rows []*row, lessClient bool) *times {
	t := &times{}
	for _, w := range rows {
		took := w.took
		if lessClient {
			took = w.without()
		}
		t.low = append(t.low, took)
		if w.outcome != ok {
			t.notOK++
			took = infinite
		}
		t.high = append(t.high, took)
		if w.is(sent) || w.client > 0 {
			t.lags = append(t.lags, w.client)
		}
	}
	slices.Sort(t.low)
	slices.Sort(t.high)
	slices.Sort(t.lags)
	return t
}

// bounds are the one-sided 95 % bounds of a quantile, whatever the distribution; nil where the data have none.
func (t *times) bounds(q float64) (low, high *time.Duration) {
	n := len(t.low)
	if l := stats.LowerRank(n, q, alpha); l > 0 {
		low = &t.low[l-1]
	}
	if u := stats.UpperRank(n, q, alpha); u > 0 && t.high[u-1] != infinite {
		high = &t.high[u-1]
	}
	return low, high
}

// decide is the law of a quantile's limit.
func (t *times) decide(q float64, under time.Duration) State {
	low, high := t.bounds(q)
	switch {
	case high != nil && *high < under:
		return Pass
	case low != nil && *low >= under:
		return Fail
	}
	return Inconclusive
}

// judge judges a limit on a quantile. Where what it comes to is changed by the client's own part, or where that part is
// large against the figure, it is invalid: the client is to blame (load-engine.md, item 4). The read lag in that part is an
// upper bound; a quantile moves with it one way alone, so what holds with and without all of it holds for any share of it.
func (o Objective) judge(t, less *times) Item {
	q, n := o.Quantile/100, len(t.low)
	g := &ObjectiveFigures{Quantile: o.Quantile, UnderNS: o.Under, Requests: n, NotOK: t.notOK}
	item := Item{Objective: g}
	if n == 0 {
		item.State, item.Summary = Inconclusive, o.name()+": the stages have no request"
		return item
	}
	if v := stats.Quantile(t.high, q); v != infinite {
		g.EstimateNS = &v
	}
	g.LowNS, g.HighNS = t.bounds(q)
	item.State = t.decide(q, o.Under)
	item.Summary = o.sentence(g)
	if item.State == Inconclusive {
		g.Decides = o.decides(t, n)
		item.Summary += ": " + undecided(g, n)
	}
	o.distrust(&item, t, less)
	return item
}

// name is "p99 under 50.0 ms".
func (o Objective) name() string { return QuantileName(o.Quantile) + " under " + ms(o.Under) }

// sentence is "p99 12.1 ms (11.8 … 12.6) of 20,000, to be under 50.0 ms".
func (o Objective) sentence(g *ObjectiveFigures) string {
	say := func(d *time.Duration) string {
		if d == nil {
			return "?"
		}
		return ms(*d)
	}
	return fmt.Sprintf("%s %s (%s … %s) of %s, to be under %s", QuantileName(o.Quantile), say(g.EstimateNS), say(g.LowNS), say(g.HighNS), count(g.Requests), ms(o.Under))
}

// decides is about the n at which the share of slow rows, should it stay, is told apart from what the quantile
// allows. 0 where rows of unknown response time are what keeps it from being decided.
func (o Objective) decides(t *times, n int) int {
	slowest, slow := slower(t.high, o.Under), slower(t.low, o.Under)
	if slow != slowest {
		return 0
	}
	return stats.DecisiveSize(slow, n, 1-o.Quantile/100, alpha)
}

// slower counts the times at or above a limit.
func slower(sorted []time.Duration, limit time.Duration) int {
	at, _ := slices.BinarySearch(sorted, limit)
	return len(sorted) - at
}

func undecided(g *ObjectiveFigures, n int) string {
	switch {
	case g.Decides > n:
		return fmt.Sprintf("about %s requests would decide", count(g.Decides))
	case g.NotOK > 0:
		return plural(g.NotOK, "request has", "requests have") + " no known response time"
	}
	return "too near to the limit to tell"
}

// distrust marks an item whose figure is the client's doing.
func (o Objective) distrust(item *Item, t, less *times) {
	g, q := item.Objective, o.Quantile/100
	if len(t.lags) == 0 {
		return
	}
	g.LagNS, g.LagLimitNS = stats.Quantile(t.lags, q), lagLimit(stats.Quantile(t.low, q))
	switch without := less.decide(q, o.Under); {
	case without != item.State:
		item.Summary += fmt.Sprintf("; without the client's own lag (%s) it would be %s", ms(g.LagNS), without)
	case g.LagNS > g.LagLimitNS:
		item.Summary += fmt.Sprintf("; the client lagged %s at this quantile (limit %s)", ms(g.LagNS), ms(g.LagLimitNS))
	default:
		return
	}
	item.State, item.ClientSuspect = Invalid, true
}

// errors judges a limit on the share of errors.
func (o *objectives) errors(asked Objective) Item {
	n := len(o.rows)
	notOK, bad, own := o.tally()
	g := &ObjectiveFigures{Requests: n, NotOK: notOK, LimitPercent: &asked.Errors, Errors: bad, Own: own}
	item := Item{Objective: g}
	if n == 0 {
		item.State, item.Summary = Inconclusive, fmt.Sprintf("errors at most %s %%: the stages have no request", number(asked.Errors))
		return item
	}
	low, high := stats.LowerBound(bad, n, alpha), stats.UpperBound(bad, n, alpha)
	g.EstimatePercent, g.LowPercent, g.HighPercent = 100*float64(bad)/float64(n), 100*low, 100*high
	item.Summary = fmt.Sprintf("%s %% errors (%s of %s; %s … %s), to be under %s %%", number(g.EstimatePercent), count(bad), count(n),
		number(g.LowPercent), number(g.HighPercent), number(asked.Errors))
	item.State = asked.decideErrors(bad, n)
	switch {
	case item.State == Pass && bad == 0 && asked.Errors == 0:
		item.Summary = fmt.Sprintf("no error of %s, as none is tolerated", count(n))
	case item.State == Inconclusive:
		g.Decides = stats.DecisiveSize(bad, n, asked.Errors/100, alpha)
		item.Summary += ": " + undecidedErrors(g)
	}
	if without := asked.decideErrors(bad-g.Own, n-g.Own); g.Own > 0 && without != item.State {
		item.Summary += fmt.Sprintf("; without %s by the client's own doing it would be %s", plural(g.Own, "error", "errors"), without)
		item.State, item.ClientSuspect = Invalid, true
	}
	return item
}

// decideErrors is the law of a limit on errors. Where none is tolerated, none is what was asked for.
func (o Objective) decideErrors(bad, n int) State {
	limit := o.Errors / 100
	switch {
	case n == 0:
		return Inconclusive
	case limit == 0 && bad == 0, stats.UpperBound(bad, n, alpha) < limit:
		return Pass
	case stats.LowerBound(bad, n, alpha) > limit:
		return Fail
	}
	return Inconclusive
}

func undecidedErrors(g *ObjectiveFigures) string {
	if g.Decides > g.Requests {
		return fmt.Sprintf("about %s requests would decide", count(g.Decides))
	}
	return "too near to the limit to tell"
}

// tally counts the rows that are not ok, and those that are errors: not ok, or with a status of 500 and above; and of these
// the client's own.
func (o *objectives) tally() (notOK, bad, own int) {
	for _, w := range o.rows {
		if w.outcome != ok {
			notOK++
		}
		if w.outcome != ok || w.status >= 500 {
			bad++
			if w.is(ownFailure) {
				own++
			}
		}
	}
	return notOK, bad, own
}
