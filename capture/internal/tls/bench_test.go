package tls

import (
	"strings"
	"testing"
	"time"

	cryptotls "crypto/tls"

	"umbra/capture/internal/exchange"
)

type nowhere struct{}

func (nowhere) Data(exchange.Direction, []byte, time.Time) {}
func (nowhere) Gap(exchange.Direction, int64, time.Time)   {}
func (nowhere) End(exchange.Direction, time.Time, bool)    {}
func (nowhere) Close(time.Time)                            {}

// BenchmarkData reads a whole connection, its handshake included.
func BenchmarkData(b *testing.B) {
	tests := map[string]struct {
		version, suite uint16
		packet         int
		part           int
		parts          int
	}{
		"1.3 big records":   {cryptotls.VersionTLS13, 0, 1448, 1 << 20, 1},
		"1.2 chacha20":      {cryptotls.VersionTLS12, suites12[7], 1448, 1 << 20, 1},
		"1.3 requests":      {cryptotls.VersionTLS13, 0, 1448, 300, 100},
		"1.2 GCM requests":  {cryptotls.VersionTLS12, suites12[4], 1448, 300, 100},
		"1.3 whole packets": {cryptotls.VersionTLS13, 0, 64 << 10, 1 << 20, 1},
	}
	for name, tt := range tests {
		b.Run(name, func(b *testing.B) {
			client, server := configs(tt.version, tt.suite)
			client.DynamicRecordSizingDisabled, server.DynamicRecordSizingDisabled = true, true
			parts := make([]string, tt.parts)
			for i := range parts {
				parts[i] = strings.Repeat("x", tt.part)
			}
			whole := record(b, client, server, parts...)
			r := whole.split(tt.packet)
			keys := keysOf(b, r.Keys)
			b.SetBytes(int64(len(r.Client) + len(r.Server)))
			b.ReportAllocs()
			for b.Loop() {
				loss := exchange.Loss{}
				s := New(Options{Keys: keys, Loss: loss, Next: nowhere{}})
				for _, c := range r.Chunks {
					s.Data(c.from(), c.Bytes, start)
				}
				s.Close(start)
				if len(loss) > 0 {
					b.Fatal(loss)
				}
			}
		})
	}
}
