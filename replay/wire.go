package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpguts"

	"umbra/internal/host"
	"umbra/internal/traffic"
)

// The classes of Result.Error. Those of ConnectErrors prove that the server never saw the request.
const (
	ConnectRefused = "connect_refused"
	ConnectTimeout = "connect_timeout"
	DNS            = "dns"
	TLS            = "tls"
	Connect        = "connect" // any other failure to connect
	NoDescriptors  = host.NoDescriptors
	NoPorts        = host.NoPorts
	Reset          = "reset"
	Closed         = "closed"    // the connection ended before the response did
	Malformed      = "malformed" // what came was no HTTP response
	BadRequest     = "bad_request"
	TimeoutQueue   = "timeout_queue"   // waiting for a connection
	TimeoutSession = "timeout_session" // waiting for its predecessor in its session (Options.Ordered)
	TimeoutSend    = "timeout_send"
	TimeoutHeaders = "timeout_headers"
	TimeoutBody    = "timeout_body"
	QueueFull      = "queue_full"
	Dropped        = "dropped"          // no connection was free when it was due (Drop)
	Aborted        = "aborted"          // the run had ended itself (AbortRun)
	StoppedWaiting = "stopped_in_queue" // it was due, and waited, when the run was stopped
	GoAway         = "goaway"           // HTTP/2: the server did not process it, again and again
	RefusedStream  = "refused_stream"   // likewise
	StreamReset    = "stream_reset"
	HTTP2          = "h2_protocol" // what came was no HTTP/2
)

// appendRequest appends the head of an HTTP/1.1 request: header lines as they were captured, in their order, without
// those that belong to the connection it was captured from.
// closing asks the server to close the connection after it. idAt is where the id stands.
func appendRequest(b []byte, id string, r *traffic.Request, closing bool) (out []byte, idAt int) {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Authority...)
	b = append(b, "\r\n"+traffic.IDHeader+": "...)
	idAt = len(b)
	b = append(b, id...)
	b = append(b, "\r\n"...)
	if closing {
		b = append(b, "Connection: close\r\n"...)
	}
	for _, h := range r.Headers {
		if name := strings.ToLower(h[0]); name == "te" || traffic.OfConnection(name) {
			continue
		}
		b = append(b, h[0]...)
		b = append(b, ": "...)
		b = append(b, h[1]...)
		b = append(b, "\r\n"...)
	}
	if r.HasLength() {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...), idAt
}

// CheckRequest tells why a request cannot be sent as one HTTP/1.1 message: what would split it, or be no token.
func CheckRequest(r *traffic.Request) error {
	if !httpguts.ValidHeaderFieldName(r.Method) { // a method is a token too (RFC 9110, 9.1)
		return fmt.Errorf("method %q is not a token", r.Method)
	}
	if r.Method == http.MethodConnect {
		return errors.New("CONNECT asks for a tunnel, which a replay does not open")
	}
	if r.Path == "" || strings.ContainsFunc(r.Path, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return fmt.Errorf("path %q is empty or has a space or a control character: percent-encode it", r.Path)
	}
	if !httpguts.ValidHostHeader(r.Authority) {
		return fmt.Errorf("authority %q is not a host", r.Authority)
	}
	for _, h := range r.Headers {
		if !strings.HasPrefix(h[0], ":") && (!httpguts.ValidHeaderFieldName(h[0]) || !httpguts.ValidHeaderFieldValue(h[1])) {
			return fmt.Errorf("header %q: %q is not a valid header line", h[0], h[1])
		}
	}
	return nil
}

// classify gives the outcome and the class of an error on a connection, with the class of a time-out at this stage.
func classify(err error, onTimeout string) (traffic.Outcome, string) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return traffic.Timeout, onTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return traffic.Error, Reset
	}
	return traffic.Error, Closed
}

// classifyDial gives the outcome and the class of a failure to connect.
func classifyDial(err error) (traffic.Outcome, string) {
	var dns *net.DNSError
	var handshake *handshakeError
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return traffic.Timeout, ConnectTimeout
	case errors.As(err, &handshake):
		return traffic.Error, TLS
	case errors.As(err, &dns):
		return traffic.Error, DNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return traffic.Error, ConnectRefused
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return traffic.Error, NoDescriptors
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return traffic.Error, NoPorts
	}
	return traffic.Error, Connect
}

// handshakeError is a failure of the TLS handshake.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }
