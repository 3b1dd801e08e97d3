package tls

import (
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
)

// script writes a connection as FuzzStream reads it: an operation, a direction in its lowest bit, two bytes of size, the bytes.
func script(chunks []chunk) []byte {
	var out []byte
	for _, c := range chunks {
		out = append(out, byte(c.from()))
		out = binary.BigEndian.AppendUint16(out, uint16(len(c.Bytes)))
		out = append(out, c.Bytes...)
	}
	return out
}

// FuzzStream gives connections of any bytes, with gaps and ends; heard checks what comes out. Two key logs are tried: all
// secrets of the fixtures are in one, and the other one never has any but may.
func FuzzStream(f *testing.F) {
	var logs strings.Builder
	for _, name := range append([]string{"tls12-renegotiation"}, fixtures...) {
		r := fixture(f, name)
		logs.WriteString(r.Keys)
		f.Add(script(r.Chunks), false)
		f.Add(script(r.split(100).Chunks), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, wait bool) {
		k := keysOf(t, logs.String())
		if wait {
			k = NewKeys()
			k.More = func() error { return nil }
		}
		s, h, loss := listen(t, k)
		fuzzed(s, b)
		s.Close(start)
		if h.closed != 1 || k.held != 0 || len(loss) > 1 {
			t.Errorf("closed %d times, %d bytes held, loss %v", h.closed, k.held, loss)
		}
		if got := h.bytes[0].Len() + h.bytes[1].Len(); got > len(b) {
			t.Errorf("%d bytes of plaintext from %d", got, len(b))
		}
	})
}

func fuzzed(s exchange.Stream, b []byte) {
	for i := 0; len(b) >= 3; i++ {
		op, d, n := b[0]>>1%8, exchange.Direction(b[0]&1), int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		switch op {
		case 5:
			s.Gap(d, int64(n)-1, at(i))
		case 6, 7:
			s.End(d, at(i), op == 7)
		default:
			s.Data(d, b[:min(n, len(b))], at(i))
			b = b[min(n, len(b)):]
		}
	}
}

// FuzzKeyLog reads any key log, at once and in halves, which must give the same.
func FuzzKeyLog(f *testing.F) {
	f.Add([]byte(line("CLIENT_RANDOM", 48)+"\n"), 50)
	f.Add([]byte("# comment\r\n"+line("CLIENT_TRAFFIC_SECRET_0", 32)+"\n"+line("SERVER_TRAFFIC_SECRET_0", 48)+"\n"), 90)
	f.Add([]byte("EXPORTER_SECRET\nCLIENT_RANDOM x y\n\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		whole, halves := NewKeys(), NewKeys()
		b = append(b, '\n')
		err := whole.Read(strings.NewReader(string(b)))
		at = max(0, min(at, len(b)))
		from := &growing{parts: []string{string(b[:at]), string(b[at:])}}
		first := halves.Follow(from)
		second := halves.More()
		if (err != nil) != (first != nil || second != nil) || len(whole.secrets) != len(halves.secrets) {
			t.Errorf("at once %v, %d connections; in halves %v, %v, %d", err, len(whole.secrets), first, second, len(halves.secrets))
		}
		for r, set := range whole.secrets {
			if got := halves.secrets[r]; got == nil || *got != *set {
				t.Errorf("other secrets in halves")
			}
		}
	})
}

// TestIdleConnectionsAreSmall keeps many connections open within a record: only its bytes are held for each.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const n = 2000
	r := fixture(t, "tls13-aes256")
	keys := keysOf(t, r.Keys)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	streams := make([]exchange.Stream, n)
	for i := range streams {
		s, _, _ := listen(t, keys)
		for _, c := range r.Chunks[:len(r.Chunks)-1] {
			s.Data(c.from(), c.Bytes, time.Time{})
		}
		streams[i] = s
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 8<<10 {
		t.Errorf("%d bytes held of each connection", each)
	}
	runtime.KeepAlive(streams)
}

// growing is a file that has its next part once its end was read.
type growing struct{ parts []string }

func (g *growing) Read(b []byte) (int, error) {
	if len(g.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, g.parts[0])
	g.parts[0] = g.parts[0][n:]
	if n == 0 && len(b) > 0 {
		g.parts = g.parts[1:]
		return 0, io.EOF
	}
	return n, nil
}
