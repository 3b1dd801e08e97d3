package tcp

import (
	"bytes"
	"encoding/binary"
	"strings"

	"umbra/capture/internal/exchange"
)

// The bounds of what is taken for a record, a frame or a method.
const (
	maxRecord = 1<<14 + 2048 // RFC 5246, 6.2.3
	maxFrame  = 1 << 20      // RFC 9113, 4.2: 16 KiB by default, and up to 16 MiB if the receiver allows
	maxMethod = 32
)

// recognize tells what the first bytes b of a direction show. What a server sends first shows little; then the client's bytes
// are awaited.
func recognize(d exchange.Direction, b []byte) finding {
	if p, from := hello(b); p != unclear {
		return finding{p, from}
	}
	if strings.HasPrefix(string(b[:min(len(b), 7)]), "HTTP/1.") {
		return finding{http1, exchange.FromServer}
	}
	if d == exchange.FromServer || len(b) < 6 && b[0] == 0x16 {
		return finding{unclear, d}
	}
	n := min(len(b), len(preface))
	switch {
	case string(b[:n]) != preface[:n]:
		return finding{requestLine(b), d}
	case n == len(preface):
		return finding{http2, d}
	}
	return finding{unclear, d}
}

// hello tells whether b begins with the record of a TLS hello (RFC 8446, 5.1 and 4).
func hello(b []byte) (protocol, exchange.Direction) {
	if len(b) < 6 || b[0] != 0x16 || b[1] != 3 || b[2] > 4 {
		return unclear, exchange.FromClient
	}
	switch b[5] {
	case 1:
		return tls, exchange.FromClient
	case 2:
		return tls, exchange.FromServer
	}
	return unclear, exchange.FromClient
}

// requestLine tells whether b begins with a request line of HTTP/1 (RFC 9112, 3), which empty lines may precede (2.2).
func requestLine(b []byte) protocol {
	b = bytes.TrimLeft(b, "\r\n")
	method := b[:min(len(b), maxMethod)]
	for i, x := range method {
		if x == ' ' && i > 0 {
			return versionOf(b)
		}
		if !tchar(x) {
			return other
		}
	}
	if len(method) < maxMethod {
		return unclear
	}
	return other
}

// versionOf looks at the end of the first line.
func versionOf(b []byte) protocol {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	if !whole {
		return unclear
	}
	line = bytes.TrimRight(line, "\r")
	if i := bytes.LastIndexByte(line, ' '); i > 0 && strings.HasPrefix(string(line[i+1:]), "HTTP/1.") {
		return http1
	}
	return other
}

// tchar tells whether a token may have b (RFC 9110, 5.6.2).
func tchar(b byte) bool {
	return b-'0' < 10 || b|0x20-'a' < 26 || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// recognizeMidway tells what bytes show that were sent at any time.
func recognizeMidway(d exchange.Direction, b []byte) finding {
	if p, from := hello(b); p != unclear {
		return finding{p, from}
	}
	switch {
	case strings.HasPrefix(string(b[:min(len(b), len(preface))]), preface):
		return finding{http2, exchange.FromClient}
	case record(b):
		return finding{tls, d}
	case frames(b):
		return finding{http2Midway, d}
	}
	return message(d, b)
}

// message looks for a request line's end or a status line.
func message(d exchange.Direction, b []byte) finding {
	version := []byte("HTTP/1.")
	for i := bytes.Index(b, version); i >= 0; i = bytes.Index(b, version) {
		before := b[:i]
		b = b[i+len(version):]
		switch {
		case len(b) < 2 || b[0]-'0' > 1:
		case len(before) > 0 && before[len(before)-1] == ' ' && (b[1] == '\r' || b[1] == '\n'):
			return finding{http1, exchange.FromClient}
		case len(b) >= 5 && b[1] == ' ' && b[2]-'1' < 5 && b[3]-'0' < 10 && b[4]-'0' < 10:
			return finding{http1, exchange.FromServer}
		}
	}
	return finding{unclear, d}
}

// record tells whether b begins with the header of a TLS record.
func record(b []byte) bool {
	if len(b) < 5 || b[0] < 0x14 || b[0] > 0x17 || b[1] != 3 || b[2] > 4 {
		return false
	}
	n := binary.BigEndian.Uint16(b[3:])
	return n > 0 && n <= maxRecord
}

// frames tells whether b is nothing but frames of HTTP/2, of which the last may be cut.
func frames(b []byte) bool {
	if len(b) < 9 {
		return false
	}
	for len(b) >= 9 {
		n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if !frame(b[3], binary.BigEndian.Uint32(b[5:]), n) {
			return false
		}
		b = b[min(len(b), 9+n):]
	}
	return true
}

// frame tells whether a frame of a type may have a stream and a length (RFC 9113, 6).
func frame(kind byte, stream uint32, n int) bool {
	if n > maxFrame || stream>>31 != 0 {
		return false
	}
	switch kind {
	case 0, 1, 9: // DATA, HEADERS, CONTINUATION
		return stream != 0
	case 2: // PRIORITY
		return stream != 0 && n == 5
	case 3: // RST_STREAM
		return stream != 0 && n == 4
	case 4: // SETTINGS
		return stream == 0 && n%6 == 0
	case 5: // PUSH_PROMISE
		return stream != 0 && n >= 4
	case 6: // PING
		return stream == 0 && n == 8
	case 7: // GOAWAY
		return stream == 0 && n >= 8
	case 8: // WINDOW_UPDATE
		return n == 4
	}
	return false
}
