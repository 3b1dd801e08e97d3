package route

import "strings"

// Istio's gateways normalise paths before they match them: pathNormalization is BASE by default, which sets
// normalize_path and neither merge_slashes nor an action on escaped slashes (pilot/pkg/networking/core/listener_builder.go).
// Envoy's normalize_path is Chromium's url::CanonicalizePath (source/common/http/path_utility.cc), which this follows:
// dot segments are resolved, backslashes become slashes, %-sequences of unreserved characters are decoded, and what a
// path may not hold as it is becomes a %-sequence. Slashes are not merged, %2F stays.

// What CanonicalizePath does with a byte (its kPathCharLookup).
const (
	pass     = iota // copied; as a %-sequence it stays one
	escape          // becomes a %-sequence
	unescape        // copied; its %-sequence becomes the byte
)

var pathBytes = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			table[i] = unescape
		case strings.IndexByte("\"<>^`{|}\\%", c) >= 0:
			table[i] = escape
		}
	}
	return table
}()

const hexDigits = "0123456789ABCDEF"

// normalizePath gives the path as a gateway routes and forwards it, with the query, which is untouched, and without a
// fragment, which Istio's bootstrap has Envoy cut off (http_reject_path_with_fragment: false). It is false where Envoy
// answers 400: for what does not begin with a slash or is not all visible ASCII (its HTTP/1 codec), and an encoded NUL.
// It is false too for a '%' in the path that begins no %-sequence, which Envoy carries: the embedded mesh cannot, as
// package net/http answers 400 to it.
func normalizePath(path string) (string, bool) {
	if !isVisible(path) {
		return "", false
	}
	path, _, _ = strings.Cut(path, "#")
	bare, query := cutQuery(path)
	switch {
	case !strings.HasPrefix(bare, "/"):
		return "", false
	case isNormal(bare):
		return path, true
	}
	n := normalizer{in: bare, out: make([]byte, 0, len(bare))}
	for n.i < len(n.in) {
		n.step()
	}
	return string(n.out) + query, !n.failed
}

func isVisible(path string) bool {
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// cutQuery splits a path before its query.
func cutQuery(path string) (bare, query string) {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// isNormal tells quickly that a path, which begins with a slash, stays as it is; it may be false for some that do.
func isNormal(path string) bool {
	for i := range len(path) {
		if pathBytes[path[i]] == escape || path[i] == '.' && path[i-1] == '/' {
			return false
		}
	}
	return true
}

type normalizer struct {
	in     string
	i      int // next byte of in
	out    []byte
	failed bool
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

func (n *normalizer) step() {
	c := n.in[n.i]
	dot := n.dot(n.i)
	switch {
	case dot > 0:
		n.dots(dot)
		return
	case c == '\\':
		n.out = append(n.out, '/')
	case c == '%':
		n.sequence()
		return
	case pathBytes[c] == escape:
		n.out = append(n.out, '%', hexDigits[c>>4], hexDigits[c&15])
	default:
		n.out = append(n.out, c)
	}
	n.i++
}

// dot gives the length of the dot at i, 0 where there is none.
func (n *normalizer) dot(i int) int {
	switch rest := n.in[i:]; {
	case strings.HasPrefix(rest, "."):
		return 1
	case len(rest) >= 3 && strings.EqualFold(rest[:3], "%2e"):
		return 3
	}
	return 0
}

// dots deals with a dot of the given length: /./ is nothing, /../ takes the segment before it away.
func (n *normalizer) dots(length int) {
	after := n.i + length
	if len(n.out) == 0 || n.out[len(n.out)-1] != '/' {
		n.out = append(n.out, '.')
		n.i = after
		return
	}
	if end, ok := n.segmentEnd(after); ok {
		n.i = end
		return
	}
	if second := n.dot(min(after, len(n.in))); second > 0 {
		if end, ok := n.segmentEnd(after + second); ok {
			n.up()
			n.i = end
			return
		}
	}
	n.out = append(n.out, '.')
	n.i = after
}

// segmentEnd tells whether a segment ends at i, and where the next one starts.
func (n *normalizer) segmentEnd(i int) (int, bool) {
	switch {
	case i == len(n.in):
		return i, true
	case isSlash(n.in[i]):
		return i + 1, true
	}
	return 0, false
}

// up drops the last segment, but never the first slash.
func (n *normalizer) up() {
	if len(n.out) > 1 {
		n.out = n.out[:strings.LastIndexByte(string(n.out[:len(n.out)-1]), '/')+1]
	}
}

// sequence deals with a '%'.
func (n *normalizer) sequence() {
	v, ok := unhex(n.in[n.i:])
	switch {
	case !ok || v == 0:
		n.failed = true
		n.i++
		return
	case pathBytes[v] == unescape:
		n.out = append(n.out, v)
	default:
		n.out = append(n.out, n.in[n.i:n.i+3]...)
	}
	n.i += 3
}

// unhex reads a %-sequence.
func unhex(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := hexValue(s[1]), hexValue(s[2])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
