package evidence

import (
	"maps"
	"slices"
	"strings"
)

// Capture is what a run replayed of a traffic file, and what of the traffic itself the capture had lost. The requests that were
// left out and those replayed add up to Captured.
type Capture struct {
	File     string       `json:"file"`
	Source   string       `json:"source,omitempty"`              // what it was captured from, as the file says
	Speed    float64      `json:"speed,omitempty"`               // how many times as fast; 0 where the arrivals were not the captured ones
	Ordered  bool         `json:"ordered,omitempty"`             // a session's next request waited until its predecessor had ended
	Captured int          `json:"captured"`                      // requests in the file
	Replayed int          `json:"replayed"`                      // of them, selected for each round; how many were sent stands in the figures
	Rounds   int          `json:"rounds"`                        // how often they were replayed; 1 where stages said how many there are
	Outside  int          `json:"left_out_by_cuts,omitempty"`    // before, behind, or more than asked for
	Methods  []MethodLeft `json:"left_out_by_method,omitempty"`  // the most frequent first
	Unsafe   int          `json:"left_out_as_unsafe,omitempty"`  // those of Methods where only safe ones (RFC 9110, 9.2.1) were allowed
	Unasked  int          `json:"left_out_as_unasked,omitempty"` // those of Methods where a list named the allowed ones
	Sampled  int          `json:"left_out_by_sample,omitempty"`  // of sessions that were not drawn
	Loss     Loss         `json:"loss"`
}

// MethodLeft counts the requests of a method that were left out.
type MethodLeft struct {
	Method string `json:"method"`
	Count  int    `json:"count"`
}

// Loss is what a capture lost, as the header of its traffic file says.
type Loss struct {
	Requests int64   `json:"requests"`      // that it knows of and that are not in the file, at least
	Whole    float64 `json:"whole_percent"` // the share of those in the file of all that it knows of
	// Hidden are causes that may have cost requests that nobody can count, so that Whole is the most that it can be.
	Hidden []Lost `json:"hidden,omitempty"`
	Lost   []Lost `json:"lost,omitempty"` // the causes that Requests sums up
}

// Lost is a cause of loss and what it counts.
type Lost struct {
	Cause string `json:"cause"`
	Count int64  `json:"count"`
}

// NewLoss sorts what a traffic file's header says that was lost, besides the requests in it.
func NewLoss(causes map[string]int64, inFile int) Loss {
	l := Loss{Whole: 100}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		n := causes[cause]
		if n <= 0 || harmless(cause) {
			continue
		}
		if !ofRequests(cause) {
			l.Hidden = append(l.Hidden, Lost{cause, n})
			continue
		}
		l.Lost = append(l.Lost, Lost{cause, n})
		if cause == withoutRequest {
			continue
		}
		l.Requests += min(n, 1<<53-l.Requests) // a header can say anything, and the sum stays a number
	}
	l.Requests = max(l.Requests, min(causes[withoutRequest], 1<<53)) // the answers may be those of requests that were seen in part
	if all := float64(inFile) + float64(l.Requests); l.Requests > 0 {
		l.Whole = 100 * float64(inFile) / all
	}
	return l
}

// withoutAnswer is of requests that are in the file.
const withoutAnswer = "requests_without_response"

// withoutRequest is of answers whose requests are not in the file.
const withoutRequest = "responses_without_request"

// ofRequests tells whether a cause counts requests that are not in the file. The names are those of the capture's causes.
func ofRequests(cause string) bool {
	return strings.HasPrefix(cause, "requests_") && cause != withoutAnswer || cause == withoutRequest || cause == "http2_heads_unreadable" || cause == "lines_unreadable"
}

// harmless tells whether a cause lost no request: bytes that were put in order or were there twice, and answers.
func harmless(cause string) bool {
	return cause == "segments_reordered" || cause == "retransmitted_bytes" || cause == withoutAnswer || strings.HasPrefix(cause, "responses_") && cause != withoutRequest
}
