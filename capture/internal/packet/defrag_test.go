package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// split4 cuts an IPv4 packet into fragments of n bytes of payload.
func split4(packet []byte, id uint16, n int) [][]byte {
	var all [][]byte
	body := packet[20:]
	for at := 0; at < len(body); at += n {
		piece := body[at:min(at+n, len(body))]
		f := join(packet[:20], piece)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[4:], id)
		flags := uint16(at / 8)
		if at+n < len(body) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], flags)
		all = append(all, f)
	}
	return all
}

// split6 cuts an IPv6 packet without extension headers into fragments of n bytes of payload; others than the first one name a wrong
// next header, as RFC 8200 lets them.
func split6(packet []byte, id uint32, n int) [][]byte {
	var all [][]byte
	body := packet[40:]
	for at := 0; at < len(body); at += n {
		position := uint16(at)
		if at+n < len(body) {
			position |= 1
		}
		next := packet[6]
		if at > 0 {
			next = protoDestination
		}
		header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{next, 0}, position), id)
		f := join(packet[:40], header, body[at:min(at+n, len(body))])
		f[6] = protoFragment
		binary.BigEndian.PutUint16(f[4:], uint16(len(f)-40))
		all = append(all, f)
	}
	return all
}

func records(at time.Time, all ...[]byte) []record {
	var out []record
	for _, b := range all {
		out = append(out, record{at, b, 0})
	}
	return out
}

func fragmentsFile(t testing.TB) []byte {
	return nanoPcap(101, records(start, append(split4(tcp4(t, payload), 1, 24), split6(tcp6(t, payload), 2, 16)...)...)...)
}

func TestFragments(t *testing.T) {
	a := split4(tcp4(t, payload), 1, 24)
	b := split6(tcp6(t, payload), 2, 24)
	damaged := func(f []byte) []byte {
		f = join(f)
		f[len(f)-1] ^= 1
		return f
	}
	reusedPayload := []byte("PUT / HTTP/1.1\r\nHost: shop\r\n\r\n")
	reused := split4(tcp4(t, reusedPayload), 1, 24)
	wantReused := want4()
	wantReused.Payload = string(reusedPayload)
	overlap := join(a[1])
	binary.BigEndian.PutUint16(overlap[6:], 0x2000|2) // 8 bytes into the first one
	beyond := join(a[0])
	binary.BigEndian.PutUint16(beyond[6:], 0x2000|100)
	late := seen{start.Add(31 * time.Second), want4().Net, want4().Ports, 1000, want4().Payload, 0}
	lost := func(n int64) exchange.Loss { return exchange.Loss{exchange.FragmentsLost: n} }
	for _, test := range []struct {
		name    string
		records []record
		want    []seen
		loss    exchange.Loss
	}{
		{"IPv4 in order", records(start, a...), []seen{want4()}, exchange.Loss{}},
		{"IPv4 backwards", records(start, a[2], a[1], a[0]), []seen{want4()}, exchange.Loss{}},
		{"IPv6 in order", records(start, b...), []seen{want6()}, exchange.Loss{}},
		{"IPv6 shuffled", records(start, b[1], b[2], b[0]), []seen{want6()}, exchange.Loss{}},
		{"interleaved", records(start, a[0], b[0], a[1], b[1], a[2], b[2]), []seen{want4(), want6()}, exchange.Loss{}},
		{"each twice", records(start, a[0], a[0], a[1], a[1], a[2], a[2]), []seen{want4()}, exchange.Loss{}},
		{"one missing", records(start, a[0], a[2]), nil, lost(2)},
		{"id used again", records(start, append(a, reused...)...), []seen{want4(), wantReused}, exchange.Loss{}},
		{"same place, other bytes", records(start, a[0], damaged(a[0]), a[1], a[2]), nil, lost(4)},
		{"overlap", records(start, a[0], overlap), nil, lost(2)},
		{"two ends", records(start, a[2], split4(tcp4(t, payload[:20]), 1, 24)[2]), nil, lost(2)},
		{"beyond the end", records(start, a[2], beyond), nil, lost(2)},
		{"too old for its rest", append(records(start, a[0], a[1]), records(start.Add(31*time.Second), append(a[2:], a...)...)...), []seen{late}, lost(2)},
		{"cut fragment", []record{{start, a[0], 0}, {start, a[1][:30], len(a[1])}, {start, a[2], 0}}, nil,
			exchange.Loss{exchange.PacketsTruncated: 1, exchange.FragmentsLost: 2}},
		{"no multiple of 8", records(start, split4(tcp4(t, payload), 1, 23)[0]), nil, exchange.Loss{exchange.PacketsUnreadable: 1}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, nanoPcap(101, test.records...), test.want, test.loss) })
	}
}

func TestFragmentsOfLargeDatagram(t *testing.T) {
	data := make([]byte, 65000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	all := split4(tcp4(t, data), 9, 1480)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	want := want4()
	want.Payload = string(data)
	check(t, nanoPcap(101, records(start, all...)...), []seen{want}, exchange.Loss{})
}

// TestFragmentsAreBounded sends first fragments only, and far more than may be held.
func TestFragmentsAreBounded(t *testing.T) {
	loss := exchange.Loss{}
	d := newDecoder(loss)
	packet := tcp4(t, make([]byte, 2000))
	most := 0
	const n = 10000
	for id := range n {
		f := frame{at: start, link: linkRaw, data: split4(packet, uint16(id), 1480)[0]}
		f.length = len(f.data)
		if d.decode(&f, new(Packet)) {
			t.Fatal("a datagram became whole")
		}
		most = max(most, d.fragments.held)
	}
	if most > maxFragmentMemory || most < maxFragmentMemory/2 {
		t.Errorf("%d bytes held at most", most)
	}
	d.finish()
	if d := cmp.Diff(exchange.Loss{exchange.FragmentsLost: n}, loss); d != "" {
		t.Error(d)
	}
}
