package simulate

import (
	"fmt"
	"io"
	"strings"

	"umbra/internal/stats"
)

// Studies are all of them, in the order of the tables.
func Studies() (all []Study) {
	for _, p := range places() {
		all = append(all, wrong(p))
	}
	for _, p := range failing() {
		all = append(all, failures(p))
	}
	all = append(all, uneven()...)
	for _, p := range buildups() {
		all = append(all, buildup(p))
	}
	for _, s := range spreads() {
		for _, quads := range []int{10, 20, 40} {
			all = append(all, power(s, quads))
		}
		all = append(all, twice(s, 20), controls(s, 20))
	}
	for _, f := range fractions() {
		all = append(all, sampled(f))
	}
	for _, s := range spreads() {
		all = append(all, lengthStudy(s))
	}
	return all
}

// table is how rows are shown.
type table struct {
	title  string
	prose  string
	labels []string
	rates  []string
	more   []string
}

// spreadIs explains the column of spreads.
const spreadIs = "Spread: the standard deviation of the log ratio of a pair of blocks of 2 s at 300 requests a second, at p50, p90 and p99. "

func lengthNames() (names []string) {
	for _, l := range lengths {
		names = append(names, "blocks of "+l.String())
	}
	return names
}

var tables = []table{
	{FalsePass, "Blocks of 600 requests (2 s at 300 a second). Cluster: p50 1.2 ms, p90 1.5 ms, p99 3.2 ms; bimodal: four of five near 1 ms, one near 5 ms; " +
		"heavy-tailed: log-normal, from p95 on Pareto's tail of index 1.5. Autocorrelated: neighbours by 0.95 (cluster) or 0.9, across blocks as well, and each block at a level of its own (7.4 %), " +
		"pairs (5 %) and quadruples (10 %) too; straight drift: of 65 % over the run; slow wave: three of ± 20 %.\n\n" +
		"Margins 5, 5 and 10 % without their floors (with them in the rows that say so), and 0.1 points of failed requests (0.2 % off). " +
		"The rate of the figure alone bounds that of the experiment, whatever the others do.",
		[]string{"law", "requests are", "quadruples", "at its margin"}, []string{"figure PASS", "experiment PASS"}, nil},
	{FailedPass, "Burst: how many fail together, on average (geometric). Claimed for bursts of up to 5, and of up to a 4,000th of an arm's requests: of longer ones a run may see none.",
		[]string{"failed, off", "burst", "requests a block", "quadruples"}, []string{"PASS at the margin", "PASS without an effect"}, nil},
	{NoBursts, "", []string{"failed, off", "burst", "requests a block", "quadruples"}, []string{"PASS at the margin", "PASS without an effect"}, nil},
	{UnevenPass, spreadIs + "The mean effect is the margin. Claimed where the spread is that of a cluster and at least four blocks are struck on average: " +
		"of what strikes more seldom a run may see nothing.",
		[]string{"spread", "requests a block", "figure", "effect", "quadruples"}, []string{"PASS"}, nil},
	{NoClaim, "", []string{"spread", "requests a block", "figure", "effect", "quadruples"}, []string{"PASS"}, nil},
	{BuildupFail, "Where the shadow hangs: off, on, on, off in every quadruple, in blocks of 8 s at 300 requests a second, a tenth of which it takes to make way for the last one; p50 alone. " +
		"Such an experiment does not PASS. Of the rows that drift the blocks' levels are those of a quiet machine, 1 %, so that a drift weighs most. What has the period of a quadruple is not kept out.",
		[]string{"law", "requests are", "quadruples"}, []string{"FAIL at the margin", "FAIL without an effect"}, nil},
	{FalseFail, "Looks at a quarter, a half, three quarters and the end, as far as they have 5 quadruples; 4 % in all. At their margins: all four figures at once.",
		[]string{"law", "requests are", "quadruples", "effect"}, []string{"FAIL"}, nil},
	{FailedFalse, "", []string{"failed, off", "burst", "requests a block", "quadruples"}, []string{"FAIL at the margin", "FAIL without an effect"}, nil},
	{PowerNone, spreadIs + "Blocks of 2 s, the default margins with their floors (8.3, 6.7 and 15.7 % here), all asked for.",
		[]string{"spread", "quadruples"}, []string{"experiment PASS", "p50", "p90", "p99", "failed"}, nil},
	{PowerTwice, "The same. Played: the mean share of the planned quadruples, thanks to the looks.",
		[]string{"spread", "effect", "quadruples"}, []string{"FAIL"}, []string{"played"}},
	{Controls, "The same.", []string{"spread", "quadruples", "control"}, []string{"rate"}, nil},
	{WholeLaw, "PASS asks for a PASS of off against off, and for the slower primary to be found at each gated quantile.",
		[]string{"spread", "quadruples", "effect", "margins"}, []string{"PASS"}, nil},
	{Planned, "Stated: the mean power that the control predicts for the planned number, to be held against how often the figure passed.",
		[]string{"spread", "quadruples", "figure"}, []string{"said to have power", "figure PASS", "of those said to have power"}, []string{"stated"}},
	{Sampling, "Exact: the probability of PASS by enumeration. FAIL is after Holm over the mirrors, all of which have the same fraction.",
		[]string{"p₀ ± δ", "n", "mirrors", "true fraction", "verdict"}, []string{"rate"}, []string{"exact"}},
	{Soonest, "Minutes (quadruples) to a power of 90 % without an effect, with 0.4 s to settle and 0.5 s to switch for each block, at 300 requests a second. " +
		"A pair's spread has a part that falls with the block's length, that of requests which remember each other for some 20 of them, and one that does not, that of the block's level.",
		[]string{"spread", "figure", "margin"}, nil, lengthNames()},
	{ThreeMinutes, "The least margins with a power of 90 %, with the overhead as above.",
		[]string{"spread", "three minutes for", "block", "quadruples"}, nil, []string{"p50", "p90", "p99"}},
}

// Write writes the tables of rows.
func Write(w io.Writer, rows []Row) error {
	for _, t := range tables {
		var mine []Row
		limited := false
		for _, r := range rows {
			if r.Table == t.title {
				mine, limited = append(mine, r), limited || r.Limit > 0
			}
		}
		if len(mine) == 0 {
			continue
		}
		if err := t.write(w, mine, limited); err != nil {
			return err
		}
	}
	return nil
}

func (t table) write(w io.Writer, rows []Row, limited bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\n## %s\n\n", t.title)
	if t.prose != "" {
		fmt.Fprintf(&out, "%s\n\n", strings.TrimSpace(t.prose))
	}
	head := append(append([]string{}, t.labels...), t.rates...)
	head = append(head, t.more...)
	if len(t.rates) > 0 {
		head = append(head, "n")
	}
	if limited {
		head = append(head, "99 % lower limit", "may be", "")
	}
	line(&out, head)
	line(&out, strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, r := range rows {
		cells := append([]string{}, r.Labels...)
		for _, rate := range r.Rates {
			cells = append(cells, rate.String())
		}
		cells = append(cells, r.More...)
		if len(t.rates) > 0 {
			cells = append(cells, fmt.Sprint(r.Rates[0].Of))
		}
		if limited {
			cells = append(cells, r.judged()...)
		}
		line(&out, cells)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// judged holds a row against its limit.
func (r Row) judged() []string {
	if r.Limit == 0 {
		return []string{"", "", ""}
	}
	word := "ok"
	if r.Over() {
		word = "**too high**"
	}
	return []string{fmt.Sprintf("%.2f %%", 100*r.Rates[0].Lower(0.01)), fmt.Sprintf("%.0f %%", 100*r.Limit), word}
}

func line(w io.Writer, cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// String is the rate with its 99 % interval.
func (r Rate) String() string {
	if r.Of == 0 {
		return "none"
	}
	low, high := stats.Interval(r.Hits, r.Of, 0.99)
	return fmt.Sprintf("%.2f %% (%.2f … %.2f)", 100*r.Share(), 100*low, 100*high)
}
