package evidence

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewLoss(t *testing.T) {
	for name, c := range map[string]struct {
		causes map[string]int64
		inFile int
		want   Loss
	}{
		"nothing":       {nil, 10, Loss{Whole: 100}},
		"harmless":      {map[string]int64{"segments_reordered": 5, "retransmitted_bytes": 9, "requests_without_response": 3, "responses_incomplete": 2}, 10, Loss{Whole: 100}},
		"requests":      {map[string]int64{"requests_incomplete": 5, "lines_unreadable": 3, "http2_heads_unreadable": 2}, 30, Loss{Requests: 10, Whole: 75, Lost: []Lost{{"http2_heads_unreadable", 2}, {"lines_unreadable", 3}, {"requests_incomplete", 5}}}},
		"unknown":       {map[string]int64{"gaps": 1, "packets_dropped_by_kernel": 7}, 30, Loss{Whole: 100, Hidden: []Lost{{"gaps", 1}, {"packets_dropped_by_kernel", 7}}}},
		"no count":      {map[string]int64{"gaps": 0, "requests_incomplete": -4}, 30, Loss{Whole: 100}},
		"answers":       {map[string]int64{"responses_without_request": 5, "requests_incomplete": 3}, 5, Loss{Requests: 5, Whole: 50, Lost: []Lost{{"requests_incomplete", 3}, {"responses_without_request", 5}}}},
		"nothing whole": {map[string]int64{"requests_incomplete": 4}, 0, Loss{Requests: 4, Whole: 0, Lost: []Lost{{"requests_incomplete", 4}}}},
	} {
		if d := cmp.Diff(c.want, NewLoss(c.causes, c.inFile)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	hostile := NewLoss(map[string]int64{"requests_incomplete": math.MaxInt64, "requests_malformed": math.MaxInt64}, 1)
	if hostile.Requests != 1<<53 || !(hostile.Whole > 0 && hostile.Whole < 1) {
		t.Errorf("a header that says anything gives %+v", hostile)
	}
}
