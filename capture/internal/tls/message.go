package tls

import (
	"golang.org/x/crypto/cryptobyte"
)

// Handshake messages (RFC 8446, 4; RFC 5246, 7.4). Those that are not named are skipped.
const (
	helloRequest        = 0
	clientHelloMessage  = 1
	serverHelloMessage  = 2
	endOfEarlyData      = 5
	encryptedExtensions = 8
	finished            = 20
	keyUpdate           = 24
)

const (
	extensionEarlyData         = 42
	extensionSupportedVersions = 43
)

// maxMessage bounds a message whose body is needed; the extensions of a hello fit in 64 KiB.
const maxMessage = 80 << 10

// messages cuts a direction's handshake into messages, however records cut it. Bodies that nobody needs are not held.
type messages struct {
	head [4]byte // of the message at hand, or of the last one
	got  int     // bytes of head
	left int     // bytes of the body that have not come
	body []byte  // what has come, where it came in parts and is needed
}

func (m *messages) kind() byte { return m.head[0] }

// midway tells whether a message was begun and not ended.
func (m *messages) midway() bool { return m.got > 0 }

func (m *messages) needed() bool {
	return m.kind() == clientHelloMessage || m.kind() == serverHelloMessage || m.kind() == encryptedExtensions
}

func (m *messages) tooLong() bool { return m.midway() && m.needed() && m.left+len(m.body) > maxMessage }

// next takes from b what belongs to the message at hand. body is valid until b changes, and empty unless it is needed.
func (m *messages) next(b []byte) (body, rest []byte, whole bool) {
	if m.got < len(m.head) {
		n := copy(m.head[m.got:], b)
		m.got, b = m.got+n, b[n:]
		if m.got < len(m.head) {
			return nil, nil, false
		}
		m.left = int(m.head[1])<<16 | int(m.head[2])<<8 | int(m.head[3])
	}
	n := min(m.left, len(b))
	body, rest, m.left = b[:n], b[n:], m.left-n
	if m.needed() && !m.tooLong() && (m.left > 0 || len(m.body) > 0) {
		m.body = append(m.body, body...)
		body = m.body
	}
	if m.left > 0 {
		return nil, nil, false
	}
	m.got, m.body = 0, nil
	return body, rest, true
}

// clientHello is what matters of it (RFC 8446, 4.1.2).
type clientHello struct {
	random random
	early  bool // early data follows
}

func parseClientHello(body []byte) (h clientHello, ok bool) {
	s := cryptobyte.String(body)
	var version uint16
	var session, suites, compression cryptobyte.String
	if !s.ReadUint16(&version) || !s.CopyBytes(h.random[:]) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16LengthPrefixed(&suites) || !s.ReadUint8LengthPrefixed(&compression) {
		return h, false
	}
	ok = extensions(s, func(kind uint16, _ cryptobyte.String) bool {
		h.early = h.early || kind == extensionEarlyData
		return true
	})
	return h, ok
}

// serverHello is what matters of it (RFC 8446, 4.1.3).
type serverHello struct {
	random     random
	version    uint16
	suite      uint16
	compressed bool
}

// retryRandom marks a ServerHello that is a HelloRetryRequest (RFC 8446, 4.1.3).
var retryRandom = random{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

func (h *serverHello) retry() bool { return h.version == version13 && h.random == retryRandom }

func parseServerHello(body []byte) (h serverHello, ok bool) {
	s := cryptobyte.String(body)
	var session cryptobyte.String
	var compression uint8
	if !s.ReadUint16(&h.version) || !s.CopyBytes(h.random[:]) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16(&h.suite) || !s.ReadUint8(&compression) {
		return h, false
	}
	h.compressed = compression != 0
	ok = extensions(s, func(kind uint16, value cryptobyte.String) bool {
		return kind != extensionSupportedVersions || value.ReadUint16(&h.version) && value.Empty()
	})
	return h, ok
}

// acceptsEarly reads EncryptedExtensions (RFC 8446, 4.3.1).
func acceptsEarly(body []byte) (accepted, ok bool) {
	ok = extensions(body, func(kind uint16, _ cryptobyte.String) bool {
		accepted = accepted || kind == extensionEarlyData
		return true
	})
	return accepted, ok
}

// extensions hands out the extensions at the end of a message; TLS 1.2 may leave the whole block out.
func extensions(s cryptobyte.String, each func(kind uint16, value cryptobyte.String) bool) bool {
	if s.Empty() {
		return true
	}
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() {
		return false
	}
	for !list.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !list.ReadUint16(&kind) || !list.ReadUint16LengthPrefixed(&value) || !each(kind, value) {
			return false
		}
	}
	return true
}
