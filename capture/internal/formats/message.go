package formats

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// splitURL takes an absolute URL apart, byte for byte, as a client puts it on the wire: without its fragment and user
// information, and with a path.
func splitURL(url string) (scheme, authority, path string, ok bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return scheme, "", "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, path = rest[:end], rest[end:]
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme, authority, path, authority != ""
}

// joinURL is the URL of a request; an error where a URL could not say the same.
func joinURL(r *traffic.Request) (string, error) {
	url := r.Scheme + "://" + r.Authority + r.Path
	if s, a, p, ok := splitURL(url); !ok || s != r.Scheme || a != r.Authority || p != r.Path {
		return "", refuse(exchange.NotReplayable, "%s %q of host %q has no URL", r.Method, r.Path, r.Authority)
	}
	return url, nil
}

// setTarget takes the target of a request line (RFC 9112, 3.2). One in absolute form names the authority, whatever Host says.
func setTarget(r *traffic.Request, target string) {
	r.Path = target
	if strings.HasPrefix(target, "/") || !strings.Contains(target, "://") {
		return
	}
	if scheme, authority, path, ok := splitURL(target); ok {
		r.Scheme, r.Authority, r.Path = scheme, authority, path
	}
}

// check refuses what is no request, or none that can be played to a server. It fills in the authority from the options.
func check(r *traffic.Request, o Options) error {
	if r.Authority == "" {
		r.Authority = o.Host
	}
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method):
		return refuse(exchange.RequestsMalformed, "%.40q is no method", r.Method)
	case r.Method == "CONNECT":
		return refuse(exchange.NotReplayable, "CONNECT asks for a tunnel")
	case r.Path == "*" && r.Method == "OPTIONS":
	case !strings.HasPrefix(r.Path, "/") || strings.ContainsFunc(r.Path, notInTarget):
		return refuse(exchange.RequestsMalformed, "%.80q is no path", r.Path)
	}
	switch {
	case r.Authority == "":
		return refuse(exchange.LinesUnreadable, "it names no host: say which with --host NAME")
	case strings.ContainsFunc(r.Authority, notInTarget) || strings.ContainsAny(r.Authority, "/?#@"):
		return refuse(exchange.RequestsMalformed, "%.80q is no host", r.Authority)
	}
	for _, h := range r.Headers {
		if !httpguts.ValidHeaderFieldName(h[0]) || !httpguts.ValidHeaderFieldValue(h[1]) {
			return refuse(exchange.RequestsMalformed, "%.80q is no header", h[0]+": "+h[1])
		}
	}
	return nil
}

// notInTarget is what would end a request line's target, or break the line. Bytes above ASCII do occur.
func notInTarget(c rune) bool { return c <= ' ' || c == 0x7f }

// lookup gives a header's first value. name is in lower case.
func lookup(headers []traffic.Header, name string) (string, bool) {
	for _, h := range headers {
		if strings.EqualFold(h[0], name) {
			return h[1], true
		}
	}
	return "", false
}

// parseHead reads the start line and the header lines of an HTTP/1 message (RFC 9112, 2.1) and gives the rest.
func parseHead(message []byte) (start string, headers []traffic.Header, rest []byte, ok bool) {
	size := len(message)
	for first := true; ; first = false {
		line, after, found := bytes.Cut(message, []byte("\n"))
		if !found || size-len(after) > maxHead {
			return "", nil, nil, false
		}
		message = after
		line = bytes.TrimSuffix(line, []byte("\r"))
		if first {
			start = string(line)
			continue
		}
		if len(line) == 0 {
			return start, headers, message, true
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return "", nil, nil, false
		}
		headers = append(headers, traffic.Header{string(name), string(bytes.Trim(value, " \t"))})
	}
}

// unframe gives the body of a message whose whole rest is its body (RFC 9112, 6.3). What is left open, cut or said twice is an
// error.
func unframe(headers []traffic.Header, rest []byte) ([]byte, error) {
	coding, length := "", ""
	for _, h := range headers {
		switch value := strings.ToLower(h[1]); strings.ToLower(h[0]) {
		case "transfer-encoding":
			coding += value
		case "content-length":
			if length != "" && length != value {
				return nil, refuse(exchange.RequestsMalformed, "it says two lengths, %s and %s", length, value)
			}
			length = value
		}
	}
	switch {
	case coding == "chunked" && length == "":
		return unchunk(rest)
	case coding != "":
		return nil, refuse(exchange.RequestsMalformed, "its transfer-encoding %q leaves its length open", coding)
	case length == "":
		length = "0"
	}
	switch n, err := strconv.ParseUint(length, 10, 63); {
	case err != nil:
		return nil, refuse(exchange.RequestsMalformed, "its content-length is %q", length)
	case n > uint64(len(rest)):
		return nil, refuse(exchange.RequestsCut, "its body has %d bytes of %d", len(rest), n)
	case n < uint64(len(rest)):
		return nil, refuse(exchange.RequestsMalformed, "%d bytes follow its body", uint64(len(rest))-n)
	}
	return rest, nil
}

func unchunk(rest []byte) ([]byte, error) {
	source := bufio.NewReader(bytes.NewReader(rest)) // which the chunked reader takes as it is, and reads no further than it needs
	body, err := io.ReadAll(httputil.NewChunkedReader(source))
	if err != nil {
		return nil, refuse(exchange.RequestsCut, "its chunked body is cut or malformed: %v", err)
	}
	// The chunked reader stops behind the last chunk's own line; the empty line that ends the trailer is ours.
	if end, _ := io.ReadAll(source); string(end) != "\r\n" {
		return nil, refuse(exchange.NotReplayable, "it has trailers, or more than its body")
	}
	return body, nil
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
