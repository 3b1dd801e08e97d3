package exchange

// Cause is why something of a capture is missing, as the traffic file's header names it.
type Cause string

// The causes. What they count is packets, bytes, connections, requests or responses, as their names say.
const (
	// In the file or on the interface.
	PacketsDropped    Cause = "packets_dropped_by_kernel" // live: the kernel's own count
	PacketsTruncated  Cause = "packets_truncated"         // cut by the capture's snap length
	PacketsUnreadable Cause = "packets_unreadable"        // of an unknown link layer, or malformed
	FileTruncated     Cause = "file_truncated"            // 1: the file ends within a packet
	FragmentsLost     Cause = "fragments_without_rest"    // IP fragments whose datagram never became whole

	// On connections.
	Gaps            Cause = "gaps"
	MissingBytes    Cause = "missing_bytes"       // in gaps of known length
	OutOfOrder      Cause = "segments_reordered"  // no loss: they were put in order
	Retransmitted   Cause = "retransmitted_bytes" // no loss: they were left out once
	JoinedMidway    Cause = "connections_joined_midway"
	BuffersFull     Cause = "connections_cut_for_memory"
	TLSWithoutKeys  Cause = "tls_connections_without_keys"
	TLSUnreadable   Cause = "tls_connections_unreadable" // a version or cipher suite that is not read, or records that fail
	NotHTTP         Cause = "connections_not_http"
	HPACKLost       Cause = "http2_directions_without_hpack_state"
	HTTP2Unreadable Cause = "http2_connections_unreadable"
	Upgraded        Cause = "connections_upgraded" // to another protocol, like websocket: what follows is not read

	// Of messages.
	RequestsCut             Cause = "requests_incomplete"
	RequestsMalformed       Cause = "requests_malformed"
	BodyTooLong             Cause = "requests_with_bodies_too_long"
	NoMemory                Cause = "requests_dropped_for_memory"
	RequestsWithoutResponse Cause = "requests_without_response" // they are in the file, without an answer
	ResponsesCut            Cause = "responses_incomplete"      // their requests are in the file, without an answer
	ResponsesMalformed      Cause = "responses_malformed"       // likewise
	ResponsesWithoutRequest Cause = "responses_without_request"
	ResponsesNotAwaited     Cause = "responses_not_awaited_for_memory" // their requests are in the file
	HeadsUnreadable         Cause = "http2_heads_unreadable"           // requests whose header block needs lost state
	ResponsesUnreadable     Cause = "responses_unreadable"             // answers likewise; their requests are in the file

	// Of other sources.
	LinesUnreadable Cause = "lines_unreadable"
	NotReplayable   Cause = "requests_not_replayable" // like CONNECT, an entry of a HAR that was never sent, or bytes that are no UTF-8
	NotRedactable   Cause = "requests_not_redactable" // a rule concerns a body that cannot be looked into, so it was left out
)

// Loss counts by cause.
type Loss map[Cause]int64

// Add adds n; 0 leaves no trace.
func (l Loss) Add(c Cause, n int64) {
	if n != 0 {
		l[c] += n
	}
}

// Harmless tells whether a cause lost nothing that could be replayed.
func (c Cause) Harmless() bool { return c == OutOfOrder || c == Retransmitted }
