package capture

import (
	"umbra/capture/internal/exchange"
)

// words say what the causes of loss count.
var words = map[exchange.Cause]string{
	exchange.PacketsDropped:          "packets dropped by the kernel, as this program was too slow: capture with --port, or on more CPU",
	exchange.PacketsTruncated:        "packets cut by the capture's snap length: capture with a longer one",
	exchange.PacketsUnreadable:       "packets malformed or of an unknown link layer",
	exchange.FileTruncated:           "file that ends within a packet",
	exchange.FragmentsLost:           "IP fragments without their rest",
	exchange.Gaps:                    "gaps in connections",
	exchange.MissingBytes:            "bytes missing in gaps",
	exchange.OutOfOrder:              "segments that came out of order (put in order, no loss)",
	exchange.Retransmitted:           "bytes that came more than once (taken once, no loss)",
	exchange.JoinedMidway:            "connections that had begun before the capture",
	exchange.BuffersFull:             "connections given up as buffers were full: raise --memory",
	exchange.TLSWithoutKeys:          "TLS connections without keys: give --keylog",
	exchange.TLSUnreadable:           "TLS connections that could not be read: version, cipher suite or bytes missing",
	exchange.NotHTTP:                 "connections that are not HTTP",
	exchange.HPACKLost:               "directions of HTTP/2 connections without header compression state: they had begun before the capture, or bytes are missing",
	exchange.HTTP2Unreadable:         "HTTP/2 connections that could not be read",
	exchange.Upgraded:                "connections that changed to another protocol, like WebSocket, which is not read",
	exchange.RequestsCut:             "requests not whole",
	exchange.RequestsMalformed:       "requests malformed",
	exchange.BodyTooLong:             "requests with bodies too long: raise --max-body",
	exchange.NoMemory:                "requests dropped for memory: raise --memory",
	exchange.RequestsWithoutResponse: "requests whose answer was not seen (they are in the file)",
	exchange.ResponsesCut:            "answers not whole (their requests are in the file)",
	exchange.ResponsesMalformed:      "answers malformed (their requests are in the file)",
	exchange.ResponsesWithoutRequest: "answers whose request was not seen",
	exchange.ResponsesNotAwaited:     "answers not waited for, for memory (their requests are in the file): raise --memory",
	exchange.HeadsUnreadable:         "HTTP/2 requests unreadable without lost header compression state",
	exchange.ResponsesUnreadable:     "HTTP/2 answers unreadable without lost header compression state (their requests are in the file)",
	exchange.LinesUnreadable:         "lines or entries unreadable",
	exchange.NotReplayable:           "requests that cannot be replayed unchanged, like CONNECT, a POST in a log without its body, or bytes that are no UTF-8",
	exchange.NotRedactable:           "requests left out as a rule of redaction could not look into them",
}

// Explain says in words what a cause in a traffic file's header counts.
func Explain(cause string) string {
	if text := words[exchange.Cause(cause)]; text != "" {
		return text
	}
	return cause
}
