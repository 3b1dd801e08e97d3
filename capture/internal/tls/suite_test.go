package tls

import (
	"encoding/hex"
	"testing"
)

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExpandLabel has the vectors of RFC 8448, 3 (simple 1-RTT handshake).
func TestExpandLabel(t *testing.T) {
	tests := map[string]struct{ secret, key, iv string }{
		"server handshake": {"b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
			"3fce516009c21727d0f2e4e86ee403bc", "5d313eb2671276ee13000b30"},
		"client handshake": {"b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
			"dbfaa693d1762c5b666af5d950258d01", "5bd3c71b836e0b76bb73265f"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for label, want := range map[string]string{"key": tt.key, "iv": tt.iv} {
				got, err := aes128.expandLabel(unhexed(t, tt.secret), label, len(want)/2)
				if err != nil || hex.EncodeToString(got) != want {
					t.Errorf("%s %x, %v; want %s", label, got, err, want)
				}
			}
		})
	}
}

func TestSuites(t *testing.T) {
	tests := map[string]struct {
		got, want *suite
	}{
		"TLS_AES_128_GCM_SHA256":                      {suite13(0x1301), aes128},
		"TLS_AES_256_GCM_SHA384":                      {suite13(0x1302), aes256},
		"TLS_CHACHA20_POLY1305_SHA256":                {suite13(0x1303), chacha},
		"TLS_AES_128_CCM_SHA256":                      {suite13(0x1304), nil},
		"TLS_RSA_WITH_AES_128_GCM_SHA256":             {suite12(0x009c), aes128},
		"TLS_RSA_PSK_WITH_AES_256_GCM_SHA384":         {suite12(0x00ad), aes256},
		"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384":         {suite12(0x009f), aes256},
		"TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384":        {suite12(0xc032), aes256},
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":       {suite12(0xc02f), aes128},
		"TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256":       {suite12(0xd001), aes128},
		"TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256":   {suite12(0xccaa), chacha},
		"TLS_RSA_WITH_AES_128_CBC_SHA":                {suite12(0x002f), nil},
		"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384":       {suite12(0xc028), nil},
		"TLS_RSA_WITH_AES_128_CCM":                    {suite12(0xc09c), nil},
		"TLS_AES_128_GCM_SHA256 in 1.2":               {suite12(0x1301), nil},
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 1.3": {suite13(0xc02b), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("%p, want %p", tt.got, tt.want)
			}
		})
	}
}
