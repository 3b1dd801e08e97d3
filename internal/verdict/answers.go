package verdict

import "fmt"

// Answers is the verdict on a run without a mesh: whether its requests were answered. Those that were never sent are the
// rate's.
const Answers = "Answers"

// AnswerCounts are of all rows of a run.
type AnswerCounts struct {
	Sent    int     // requests that were sent, or were to be and found no connection
	Without int     // of these, without a complete response
	Failed  int     // answered with a status of 500 or above
	Percent float64 // how many of Sent may be either
}

// JudgeAnswers fails where more requests than allowed got no complete response, or a status of 500 or above.
func JudgeAnswers(c AnswerCounts, f Facts) Verdict {
	v := Verdict{Name: Answers}
	if c.Sent == 0 {
		v.State, v.Summary = Inconclusive, "no request was sent"
		return v
	}
	bad := c.Without + c.Failed
	v.Summary = fmt.Sprintf("%s of %s got no complete answer, and %s a status of 500 or above (%s %% may)", count(c.Without), count(c.Sent), count(c.Failed), number(c.Percent))
	v.State = Pass
	if float64(bad) > c.Percent/100*float64(c.Sent) {
		v.State = Fail
	}
	if f.Partial || f.Incomplete {
		v.cutShort()
	}
	return v
}
