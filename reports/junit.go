package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"umbra/internal/verdict"
)

// A suite is the root of a JUnit report, in the words of Maven Surefire's schema (surefire-test-report.xsd), which CI servers read.
type suite struct {
	XMLName    xml.Name   `xml:"testsuite"`
	Name       string     `xml:"name,attr"`
	Time       string     `xml:"time,attr"` // seconds
	Tests      int        `xml:"tests,attr"`
	Errors     int        `xml:"errors,attr"`
	Skipped    int        `xml:"skipped,attr"`
	Failures   int        `xml:"failures,attr"`
	Properties []property `xml:"properties>property"`
	Cases      []testcase `xml:"testcase"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testcase struct {
	Name    string  `xml:"name,attr"`
	Class   string  `xml:"classname,attr"`
	Time    string  `xml:"time,attr"`
	Failure *result `xml:"failure"`
	Skipped *result `xml:"skipped"`
	Error   *result `xml:"error"`
	Out     string  `xml:"system-out,omitempty"`
}

type result struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"` // the schema knows none of what was skipped
	Text    string `xml:",chardata"`
}

// JUnit renders r as a JUnit report: a case for the run as a whole, one for each verdict, with its items in its text, and one for each
// objective.
//
// FAIL is a failure: what was asserted does not hold. INCONCLUSIVE and INVALID are errors of that type: the test came to no result,
// which CI servers never take for a pass, as some of them do with what was skipped. NOT TESTED is skipped. A partial run is an
// error of the run's own case, so that no report passes that umbra's exit status does not.
func (r *Report) JUnit(w io.Writer) error {
	class := "umbra." + inert(r.Name)
	s := &suite{Name: class, Time: timed(r.took()), Properties: r.properties()}
	s.add(r.runCase(class))
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		s.add(verdictCase(class, v))
		for j := range v.Items {
			if o := v.Items[j].Objective; o != nil {
				s.add(itemCase(class+"."+inert(v.Name), objectiveName(o), &v.Items[j]))
			}
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// took is how long the run took; 0 where it could not say when it ended.
func (r *Report) took() time.Duration { return max(0, r.Run.Ended.Sub(r.Run.Started)) }

func timed(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func (s *suite) add(c testcase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

// runCase takes the time of the run, as the verdicts take none.
func (r *Report) runCase(class string) testcase {
	c := testcase{Name: "Run", Class: class, Time: timed(r.took()), Out: inert(r.Headline)}
	if r.Partial != "" {
		c.Error = &result{Message: inert(r.Partial), Type: "PARTIAL", Text: inert(r.Headline)}
		c.Out = ""
	}
	return c
}

func verdictCase(class string, v *verdict.Verdict) testcase {
	var lines []string
	for i := range v.Items {
		lines = append(lines, string(v.Items[i].State)+" "+itemText(&v.Items[i]))
	}
	for i := range v.Findings {
		lines = append(lines, findingText(&v.Findings[i]))
	}
	for _, w := range v.Warnings {
		lines = append(lines, "warning: "+w)
	}
	return resulting(testcase{Name: inert(v.Name), Class: class, Time: timed(0)}, v.State, v.Summary, lines)
}

func itemCase(class, name string, item *verdict.Item) testcase {
	return resulting(testcase{Name: inert(name), Class: class, Time: timed(0)}, item.State, itemText(item), nil)
}

func objectiveName(o *verdict.ObjectiveFigures) string {
	if o.LimitPercent != nil {
		return fmt.Sprintf("errors at most %s %%", verdict.Digits(*o.LimitPercent))
	}
	return fmt.Sprintf("%s under %s ms", verdict.QuantileName(o.Quantile), ms(o.UnderNS))
}

// resulting gives a case what its state comes to.
func resulting(c testcase, state verdict.State, summary string, lines []string) testcase {
	for i := range lines {
		lines[i] = inert(lines[i])
	}
	out := &result{Message: inert(summary), Type: inert(string(state)), Text: strings.Join(lines, "\n")}
	switch state {
	case verdict.Pass:
		c.Out = strings.Join(append([]string{inert(summary)}, lines...), "\n")
	case verdict.Fail:
		c.Failure = out
	case verdict.NotTested:
		c.Skipped, out.Type = out, ""
	default:
		c.Error = out
	}
	return c
}

// properties are the run's settings, versions and main figures.
func (r *Report) properties() (all []property) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, property{inert(name), inert(value)})
		}
	}
	run, f := &r.Run, &r.Figures
	add("headline", r.Headline)
	for i, l := range r.Lead {
		add(fmt.Sprintf("lead.%d", i+1), fmt.Sprintf("%s: %s, %s", l.Name, l.Value, l.Against))
	}
	add("exit_status", fmt.Sprint(r.ExitStatus))
	add("seed", fmt.Sprint(r.Seed))
	add("load", r.Load)
	add("umbra", run.Version)
	add("mesh", run.Mesh)
	add("client", run.Transport)
	add("machine", fmt.Sprintf("%s/%s with %d CPUs, %s", run.Machine.OS, run.Machine.Arch, run.Machine.CPUs, run.Machine.Go))
	if c := run.Cluster; c != nil {
		add("kubernetes", c.Kubernetes)
		add("istio", c.Istio)
		add("proxy", c.Proxy)
		add("node", c.Node)
	}
	add("faults", run.Faults)
	add("started", run.Started.Format(time.RFC3339))
	add("command", strings.Join(run.Command, " "))
	for _, o := range f.Outcomes() {
		add("requests."+string(o.Outcome), fmt.Sprint(o.Count))
	}
	if l := &f.Response; l.N > 0 {
		add("response.p50_ms", ms(l.P50))
		add("response.p90_ms", ms(l.P90))
		add("response.p99_ms", ms(l.P99))
	}
	for _, v := range r.Verdicts {
		for i := range v.Items {
			if s := v.Items[i].Sampling; s != nil && s.Eligible > 0 {
				add("mirrored "+strings.TrimSuffix(subject(&v.Items[i]), ": "), sampled(s)+", "+programmed(s))
			}
		}
	}
	return all
}
