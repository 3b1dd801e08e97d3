package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

// suite is what a cipher suite's records need, in either version. Its key exchange does not matter: the key log has its fruit.
type suite struct {
	hash func() hash.Hash
	key  int // bytes
	aead func(key []byte) (cipher.AEAD, error)
	// TLS 1.2 only: bytes of the nonce that come from the handshake, and those that each record carries (RFC 5288, 7905).
	fixed, explicit int
}

var (
	aes128 = &suite{sha256.New, 16, gcm, 4, 8}
	aes256 = &suite{sha512.New384, 32, gcm, 4, 8}
	chacha = &suite{sha256.New, chacha20poly1305.KeySize, chacha20poly1305.New, 12, 0}
)

const (
	nonceSize = 12
	tagSize   = 16
)

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// suite13 gives a suite of TLS 1.3 (RFC 8446, B.4); nil for one that is not read.
func suite13(id uint16) *suite {
	switch id {
	case 0x1301:
		return aes128
	case 0x1302:
		return aes256
	case 0x1303:
		return chacha
	}
	return nil
}

// suite12 gives a suite of TLS 1.2 (RFC 5288, 5289, 5487, 7905, 8442); nil for one that is not read, like those with CBC or CCM.
func suite12(id uint16) *suite {
	switch {
	case id >= 0x009c && id <= 0x00ad && id%2 == 0, id >= 0xc02b && id <= 0xc032 && id%2 == 1, id == 0xd001:
		return aes128
	case id >= 0x009c && id <= 0x00ad, id >= 0xc02b && id <= 0xc032, id == 0xd002:
		return aes256
	case id >= 0xcca8 && id <= 0xccae:
		return chacha
	}
	return nil
}

var (
	errSecret = errors.New("a secret that does not fit the cipher suite")
	errRecord = errors.New("a record that fails to authenticate")
)

// opener decrypts one direction's records under one key.
type opener struct {
	aead     cipher.AEAD
	version  uint16
	explicit int
	iv       [nonceSize]byte
	seq      uint64

	nonce [nonceSize]byte // scratch, here so that it need not be allocated
	extra [13]byte        // likewise
}

// opener13 derives the keys of a traffic secret (RFC 8446, 7.3).
func (s *suite) opener13(secret []byte) (*opener, error) {
	if len(secret) != s.hash().Size() {
		return nil, errSecret
	}
	key, err := s.expandLabel(secret, "key", s.key)
	if err != nil {
		return nil, err
	}
	iv, err := s.expandLabel(secret, "iv", nonceSize)
	if err != nil {
		return nil, err
	}
	return s.newOpener(version13, key, iv, 0)
}

// update gives the traffic secret that follows (RFC 8446, 7.2).
func (s *suite) update(secret []byte) ([]byte, error) {
	return s.expandLabel(secret, "traffic upd", len(secret))
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, 7.1).
func (s *suite) expandLabel(secret []byte, label string, n int) ([]byte, error) {
	var info cryptobyte.Builder
	info.AddUint16(uint16(n))
	info.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	info.AddUint8(0)
	bytes, err := info.Bytes()
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(s.hash, secret, string(bytes), n)
}

// opener12 derives one direction's keys from a master secret (RFC 5246, 6.3); an AEAD suite has no MAC keys.
func (s *suite) opener12(master []byte, client, server *random, ofServer bool) (*opener, error) {
	block := s.prf(master, "key expansion", server[:], client[:], 2*(s.key+s.fixed))
	keys, ivs := block[:2*s.key], block[2*s.key:]
	if ofServer {
		return s.newOpener(version12, keys[s.key:], ivs[s.fixed:], s.explicit)
	}
	return s.newOpener(version12, keys[:s.key], ivs[:s.fixed], s.explicit)
}

// prf is the pseudo-random function of TLS 1.2 (RFC 5246, 5).
func (s *suite) prf(secret []byte, label string, a, b []byte, n int) []byte {
	seed := append(append([]byte(label), a...), b...)
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(s.hash, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	var out []byte
	for link := mac(seed); len(out) < n; link = mac(link) {
		out = append(out, mac(link, seed)...)
	}
	return out[:n]
}

func (s *suite) newOpener(version uint16, key, iv []byte, explicit int) (*opener, error) {
	aead, err := s.aead(key)
	if err != nil {
		return nil, err
	}
	o := &opener{aead: aead, version: version, explicit: explicit}
	copy(o.iv[:], iv)
	return o, nil
}

// overhead is what a record's body is longer than its plaintext, padding and inner type of TLS 1.3 apart.
func (o *opener) overhead() int { return o.explicit + tagSize }

// open decrypts a whole record into dst's space. One that fails leaves the count of records as it was.
func (o *opener) open(dst, record []byte) ([]byte, error) {
	if len(record) < headerSize+o.overhead() {
		return nil, errRecord
	}
	sealed := record[headerSize+o.explicit:]
	o.setNonce(record)
	plain, err := o.aead.Open(dst, o.nonce[:], sealed, o.additional(record, len(sealed)-tagSize))
	if err != nil {
		return nil, errRecord
	}
	o.seq++
	return plain, nil
}

// setNonce makes the record's nonce: the IV and what the record carries (RFC 5288, 3), or the IV with the count of records
// in it (RFC 8446, 5.3; RFC 7905, 2).
func (o *opener) setNonce(record []byte) {
	o.nonce = o.iv
	if o.explicit > 0 {
		copy(o.nonce[nonceSize-o.explicit:], record[headerSize:])
		return
	}
	tail := o.nonce[nonceSize-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^o.seq)
}

// additional is what is authenticated besides (RFC 8446, 5.2; RFC 5246, 6.2.3.3).
func (o *opener) additional(record []byte, plain int) []byte {
	if o.version == version13 {
		return record[:headerSize]
	}
	binary.BigEndian.PutUint64(o.extra[:], o.seq)
	copy(o.extra[8:], record[:3])
	binary.BigEndian.PutUint16(o.extra[11:], uint16(plain))
	return o.extra[:]
}
