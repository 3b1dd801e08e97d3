package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpguts"

	"umbra/internal/traffic"
)

// The classes of Result.Error. Those of ConnectErrors prove that the server never saw the request.
const (
	ConnectRefused = "connect_refused"
	ConnectTimeout = "connect_timeout"
	DNS            = "dns"
	TLS            = "tls"
	Connect        = "connect" // any other failure to connect
	Reset          = "reset"
	Closed         = "closed"    // the connection ended before the response did
	Malformed      = "malformed" // what came was no HTTP response
	BadRequest     = "bad_request"
	TimeoutQueue   = "timeout_queue" // waiting for a connection
	TimeoutSend    = "timeout_send"
	TimeoutHeaders = "timeout_headers"
	TimeoutBody    = "timeout_body"
	QueueFull      = "queue_full"
)

// skipped are headers that the connection sets itself.
var skipped = map[string]bool{"host": true, "connection": true, "content-length": true, "transfer-encoding": true, "expect": true,
	"keep-alive": true, "proxy-connection": true, "upgrade": true, "te": true, "trailer": true, "http2-settings": true,
	strings.ToLower(traffic.IDHeader): true}

// appendRequest appends the head of an HTTP/1.1 request: header lines as they were captured, in their order, without
// those that belong to the connection it was captured from.
func appendRequest(b []byte, id string, r *traffic.Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Authority...)
	b = append(b, "\r\n"+traffic.IDHeader+": "...)
	b = append(b, id...)
	b = append(b, "\r\n"...)
	for _, h := range r.Headers {
		if skipped[strings.ToLower(h[0])] || strings.HasPrefix(h[0], ":") {
			continue
		}
		b = append(b, h[0]...)
		b = append(b, ": "...)
		b = append(b, h[1]...)
		b = append(b, "\r\n"...)
	}
	if len(r.Body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
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

// wire is an HTTP/1.1 connection that counts what goes over it.
type wire struct {
	net.Conn
	reader   *bufio.Reader
	in, out  int64
	failed   error  // of the last Read: what a parser's complaint about too little comes from
	head     []byte // kept between requests
	reusable bool   // no request has failed on it, and neither side asked to close
}

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, reusable: true}
	w.reader = bufio.NewReaderSize(w, 16<<10)
	return w
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.in += int64(n)
	w.failed = err
	return n, err
}

// send writes the whole request.
func (w *wire) send(id string, r *traffic.Request) error {
	w.head = appendRequest(w.head[:0], id, r)
	buffers := net.Buffers{w.head}
	if len(r.Body) > 0 {
		buffers = append(buffers, r.Body)
	}
	n, err := buffers.WriteTo(w.Conn)
	w.out += n
	return err
}

// receive reads one response to its end and drops its body. It calls firstByte when the first byte of the final
// response's head has come, interim (1xx) responses apart. The status is given as soon as it is known, with an error too.
func (w *wire) receive(method string, firstByte func()) (status int, err error) {
	for {
		if _, err := w.reader.Peek(1); err != nil {
			return 0, err
		}
		firstByte()
		response, err := http.ReadResponse(w.reader, &http.Request{Method: method})
		if err != nil {
			return 0, w.cause(err)
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		w.reusable = w.reusable && !response.Close && response.StatusCode != http.StatusSwitchingProtocols
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, w.cause(err)
	}
}

var errMalformed = errors.New("malformed response")

// cause tells what is no HTTP from what the connection cut.
func (w *wire) cause(err error) error {
	switch {
	case err == nil:
		return nil
	case w.failed != nil:
		return w.failed
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// alive tells whether the idle connection still stands: nothing has come on it, neither an end nor bytes that no
// request asked for.
func (w *wire) alive() bool { return w.reusable && w.reader.Buffered() == 0 && quiet(w.Conn) }

// classify gives the outcome and the class of an error on a connection, with the class of a time-out at this stage.
func classify(err error, onTimeout string) (traffic.Outcome, string) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return traffic.Timeout, onTimeout
	case errors.Is(err, errMalformed):
		return traffic.Error, Malformed
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
	}
	return traffic.Error, Connect
}

// handshakeError is a failure of the TLS handshake.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }
