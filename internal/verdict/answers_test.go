package verdict

import "testing"

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		counts AnswerCounts
		facts  Facts
		want   State
	}{
		"all answered":       {AnswerCounts{Sent: 1000, Percent: 0.1}, Facts{}, Pass},
		"one in a thousand":  {AnswerCounts{Sent: 1000, Without: 1, Percent: 0.1}, Facts{}, Pass},
		"two in a thousand":  {AnswerCounts{Sent: 1000, Without: 1, Failed: 1, Percent: 0.1}, Facts{}, Fail},
		"all failed":         {AnswerCounts{Sent: 1000, Failed: 1000, Percent: 0.1}, Facts{}, Fail},
		"any are allowed":    {AnswerCounts{Sent: 1000, Failed: 1000, Percent: 100}, Facts{}, Pass},
		"none is":            {AnswerCounts{Sent: 1000, Without: 1}, Facts{}, Fail},
		"nothing was sent":   {AnswerCounts{Percent: 0.1}, Facts{}, Inconclusive},
		"cut short":          {AnswerCounts{Sent: 1000, Percent: 0.1}, Facts{Partial: true}, Inconclusive},
		"cut short, failing": {AnswerCounts{Sent: 1000, Failed: 9, Percent: 0.1}, Facts{Partial: true}, Fail},
	} {
		if v := JudgeAnswers(c.counts, c.facts); v.State != c.want || v.Summary == "" {
			t.Errorf("%s: %s, want %s: %s", name, v.State, c.want, v.Summary)
		}
	}
}
