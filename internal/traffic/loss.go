package traffic

import (
	"fmt"
	"slices"
)

// lostRequests are the causes in a traffic file's header that each stand for one request that is not in the file. What was on
// connections that could not be read at all is in none of them.
var lostRequests = []string{"requests_incomplete", "requests_malformed", "requests_with_bodies_too_long", "requests_dropped_for_memory",
	"requests_not_replayable", "requests_not_redactable", "responses_without_request", "http2_request_heads_unreadable", "lines_unreadable"}

// unreadable are the causes that hide nobody knows how many requests.
var unreadable = []string{"packets_dropped_by_kernel", "packets_truncated", "packets_unreadable", "file_truncated", "fragments_without_rest", "gaps",
	"connections_joined_midway", "connections_cut_for_memory", "tls_connections_without_keys", "tls_connections_unreadable",
	"http2_directions_without_hpack_state", "http2_connections_unreadable", "connections_not_http", "connections_upgraded"}

// LostRequests is how many requests a capture is known to have lost, by its header's counts, and whether there may be more.
func LostRequests(loss map[string]int64) (known int64, more bool) {
	for _, cause := range lostRequests {
		known += loss[cause]
	}
	return known, slices.ContainsFunc(unreadable, func(cause string) bool { return loss[cause] > 0 })
}

// LossShare says in words what share of a capture of so many whole requests is in its file.
func LossShare(loss map[string]int64, requests int64) string {
	known, more := LostRequests(loss)
	text := "no request is known to be missing"
	if known > 0 {
		text = fmt.Sprintf("%.4g %% of the requests seen are whole (%d of %d)", 100*float64(requests)/float64(requests+known), requests, requests+known)
	}
	if more {
		text += "; others may be missing, as not all could be read"
	}
	return text
}
