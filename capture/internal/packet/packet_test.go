package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"umbra/capture/internal/exchange"
)

var (
	start   = time.Unix(1_700_000_000, 123_456_789).UTC()
	payload = []byte("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
)

func serialize(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// header is Ethernet with VLAN tags, without the padding that gopacket gives a short frame.
func header(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	return serialize(t, all...)[:ethernetHeader+(len(all)-1)*vlanTag]
}

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: kind}
}

func vlan(kind layers.EthernetType) *layers.Dot1Q {
	return &layers.Dot1Q{VLANIdentifier: 7, Type: kind}
}

func ipv4() *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: 77, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
}

func ipv6() *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
}

func tcp(ip gopacket.NetworkLayer) *layers.TCP {
	segment := &layers.TCP{SrcPort: 40000, DstPort: 8080, Seq: 1000, Ack: 2000, PSH: true, ACK: true, Window: 512,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte("12345678")}}}
	segment.SetNetworkLayerForChecksum(ip)
	return segment
}

// tcp4 and tcp6 are whole IP packets.
func tcp4(t testing.TB, data []byte) []byte {
	ip := ipv4()
	return serialize(t, ip, tcp(ip), gopacket.Payload(data))
}

func tcp6(t testing.TB, data []byte) []byte {
	ip := ipv6()
	return serialize(t, ip, tcp(ip), gopacket.Payload(data))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// ether4 is the packet that tests of containers use.
func ether4(t testing.TB, data []byte) []byte {
	return join(header(t, ethernet(layers.EthernetTypeIPv4)), tcp4(t, data))
}

// record is a frame of a file; wire is its length on the wire, where that is not all.
type record struct {
	at   time.Time
	data []byte
	wire int
}

func pcapFile(order binary.AppendByteOrder, magic uint32, unit time.Duration, link uint32, records ...record) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	b = order.AppendUint32(order.AppendUint32(b, 0), 0)
	b = order.AppendUint32(order.AppendUint32(b, 262144), link)
	for _, r := range records {
		b = order.AppendUint32(b, uint32(r.at.Unix()))
		b = order.AppendUint32(b, uint32(time.Duration(r.at.Nanosecond())/unit))
		b = order.AppendUint32(order.AppendUint32(b, uint32(len(r.data))), uint32(max(len(r.data), r.wire)))
		b = append(b, r.data...)
	}
	return b
}

func nanoPcap(link uint32, records ...record) []byte {
	return pcapFile(binary.LittleEndian, magicNanoseconds, 1, link, records...)
}

// seen is what a test compares of a packet.
type seen struct {
	At      time.Time
	Net     string
	Ports   string
	Seq     uint32
	Payload string
	Missing int
}

func read(t testing.TB, r *Reader) ([]seen, error) {
	t.Helper()
	var all []seen
	var p Packet
	for {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, seen{p.At, fmt.Sprintf("%v->%v", p.From, p.To), fmt.Sprintf("%d->%d", p.TCP.SrcPort, p.TCP.DstPort), p.TCP.Seq, string(p.TCP.Payload), p.Missing})
	}
}

// readAll reads a file that is not corrupt.
func readAll(t testing.TB, file []byte) ([]seen, exchange.Loss) {
	t.Helper()
	loss := exchange.Loss{}
	r, err := Open(iotest.HalfReader(bytes.NewReader(file)), loss)
	if err != nil {
		t.Fatal(err)
	}
	all, err := read(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return all, loss
}

func want4() seen {
	return seen{start, "10.0.0.1->10.0.0.2", "40000->8080", 1000, string(payload), 0}
}

func want6() seen {
	return seen{start, "fd00::1->fd00::2", "40000->8080", 1000, string(payload), 0}
}

func check(t *testing.T, file []byte, want []seen, wantLoss exchange.Loss) {
	t.Helper()
	got, loss := readAll(t, file)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("packets (-want +got):\n%s", d)
	}
	if d := cmp.Diff(wantLoss, loss); d != "" {
		t.Errorf("loss (-want +got):\n%s", d)
	}
}

func TestLinkTypes(t *testing.T) {
	ip4, ip6 := tcp4(t, payload), tcp6(t, payload)
	cooked := func(kind uint16) []byte { return binary.BigEndian.AppendUint16(make([]byte, 14), kind) }
	cookedTwo := func(kind uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, kind), make([]byte, 18)...) }
	family := func(order binary.AppendByteOrder, f uint32) []byte { return order.AppendUint32(nil, f) }
	little, big := binary.LittleEndian, binary.BigEndian
	unreadable := exchange.Loss{exchange.PacketsUnreadable: 1}
	for _, test := range []struct {
		name string
		link uint32
		data []byte
		want []seen
		loss exchange.Loss
	}{
		{"ethernet IPv4", 1, join(header(t, ethernet(layers.EthernetTypeIPv4)), ip4), []seen{want4()}, exchange.Loss{}},
		{"ethernet IPv6", 1, join(header(t, ethernet(layers.EthernetTypeIPv6)), ip6), []seen{want6()}, exchange.Loss{}},
		{"ethernet with padding", 1, join(header(t, ethernet(layers.EthernetTypeIPv4)), ip4, make([]byte, 6)), []seen{want4()}, exchange.Loss{}},
		{"ethernet IPv6 with padding", 1, join(header(t, ethernet(layers.EthernetTypeIPv6)), ip6, make([]byte, 6)), []seen{want6()}, exchange.Loss{}},
		{"802.1Q", 1, join(header(t, ethernet(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv4)), ip4), []seen{want4()}, exchange.Loss{}},
		{"802.1ad stacked", 1, join(header(t, ethernet(layers.EthernetTypeQinQ), vlan(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv6)), ip6), []seen{want6()}, exchange.Loss{}},
		{"frame check sequence told in the link type", 0x54000001, join(header(t, ethernet(layers.EthernetTypeIPv4)), ip4, []byte("fcs!")), []seen{want4()}, exchange.Loss{}},
		{"cooked", 113, join(cooked(etherIPv4), ip4), []seen{want4()}, exchange.Loss{}},
		{"cooked IPv6", 113, join(cooked(etherIPv6), ip6), []seen{want6()}, exchange.Loss{}},
		{"cooked v2", 276, join(cookedTwo(etherIPv4), ip4), []seen{want4()}, exchange.Loss{}},
		{"cooked v2 with VLAN", 276, join(cookedTwo(etherVLAN), []byte{0, 7, 0x86, 0xdd}, ip6), []seen{want6()}, exchange.Loss{}},
		{"null little-endian", 0, join(family(little, 2), ip4), []seen{want4()}, exchange.Loss{}},
		{"null big-endian", 0, join(family(big, 2), ip4), []seen{want4()}, exchange.Loss{}},
		{"null IPv6 of macOS", 0, join(family(little, 30), ip6), []seen{want6()}, exchange.Loss{}},
		{"loop", 108, join(family(big, 24), ip6), []seen{want6()}, exchange.Loss{}},
		{"null of another family", 0, join(family(big, 7), ip6), nil, exchange.Loss{}},
		{"raw 12", 12, ip4, []seen{want4()}, exchange.Loss{}},
		{"raw 14", 14, ip6, []seen{want6()}, exchange.Loss{}},
		{"raw 101", 101, ip6, []seen{want6()}, exchange.Loss{}},
		{"IPv4", 228, ip4, []seen{want4()}, exchange.Loss{}},
		{"IPv6", 229, ip6, []seen{want6()}, exchange.Loss{}},
		{"unknown link type", 127, ip4, nil, unreadable},
		{"ARP is no loss", 1, header(t, ethernet(layers.EthernetTypeARP)), nil, exchange.Loss{}},
		{"MPLS is not read", 1, join(header(t, ethernet(layers.EthernetTypeMPLSUnicast)), ip4), nil, unreadable},
		{"runt", 1, make([]byte, 9), nil, unreadable},
		{"nothing behind ethernet", 1, header(t, ethernet(layers.EthernetTypeIPv4)), nil, unreadable},
		{"neither IPv4 nor IPv6", 101, []byte("This is no packet of the internet protocol."), nil, unreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, nanoPcap(test.link, record{start, test.data, 0}), test.want, test.loss)
		})
	}
}

func TestIP(t *testing.T) {
	patch := func(b []byte, at int, with ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], with)
		return b
	}
	whole4, whole6 := tcp4(t, payload), tcp6(t, payload)
	segment := whole6[40:]
	// behind6 puts extension headers between IPv6 and TCP.
	behind6 := func(first byte, extensions ...byte) []byte {
		b := join(whole6[:40], extensions, segment)
		b[6] = first
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return b
	}
	udp := ipv4()
	udp.Protocol = layers.IPProtocolUDP
	missing := func(s seen, n int) []seen {
		s.Payload, s.Missing = s.Payload[:len(s.Payload)-n], n
		return []seen{s}
	}
	none, unreadable, truncated := exchange.Loss{}, exchange.Loss{exchange.PacketsUnreadable: 1}, exchange.Loss{exchange.PacketsTruncated: 1}
	for _, test := range []struct {
		name string
		data []byte
		wire int
		want []seen
		loss exchange.Loss
	}{
		{"IPv4 options", join(patch(whole4[:20], 0, 0x46, 0, 0, byte(len(whole4)+4)), []byte{1, 1, 1, 0}, whole4[20:]), 0, []seen{want4()}, none},
		{"IPv4 total length 0", patch(whole4, 2, 0, 0), 0, []seen{want4()}, none},
		{"IPv4 total length 0, cut", patch(whole4, 2, 0, 0)[:len(whole4)-5], len(whole4), missing(want4(), 5), truncated},
		{"IPv4 total length 0, absurd length on the wire", patch(whole4, 2, 0, 0), 1 << 31, nil, unreadable},
		{"IPv4 total length too small", patch(whole4, 2, 0, 19), 0, nil, unreadable},
		{"IPv4 header length too small", patch(whole4, 0, 0x44), 0, nil, unreadable},
		{"IPv4 header longer than the packet", patch(whole4, 0, 0x4f)[:30], 0, nil, unreadable},
		{"IPv4 that is cut without the frame telling", whole4[:len(whole4)-7], 0, missing(want4(), 7), truncated},
		{"UDP", serialize(t, udp, gopacket.Payload(make([]byte, 40))), 0, nil, none},
		{"UDP, cut", serialize(t, udp, gopacket.Payload(make([]byte, 40))), 1000, nil, none},
		{"IPv6 payload length 0", patch(whole6, 4, 0, 0), 0, []seen{want6()}, none},
		{"IPv6 hop-by-hop, routing, destination", behind6(0, join([]byte{43, 0, 1, 4, 0, 0, 0, 0}, []byte{60, 1}, make([]byte, 14), []byte{6, 0, 1, 4, 0, 0, 0, 0})...), 0, []seen{want6()}, none},
		{"IPv6 authentication header", behind6(51, join([]byte{6, 4}, make([]byte, 22))...), 0, []seen{want6()}, none},
		{"IPv6 extension longer than the packet", behind6(0, 6, 255, 0, 0, 0, 0, 0, 0), 0, nil, unreadable},
		{"IPv6 ESP", behind6(50), 0, nil, none},
		{"IPv6 header cut", whole6[:30], len(whole6), nil, truncated},
		{"IPv6 atomic fragment", behind6(44, 6, 0, 0, 0, 0, 0, 0, 1), 0, []seen{want6()}, none},
		{"IPv6 fragment within a fragment", behind6(44, join([]byte{60, 0, 0, 0, 0, 0, 0, 1}, []byte{44, 0, 1, 4, 0, 0, 0, 0}, []byte{6, 0, 0, 0, 0, 0, 0, 1})...), 0, nil, unreadable},
		{"cut within the payload", whole4[:len(whole4)-1], len(whole4), missing(want4(), 1), truncated},
		{"cut before the payload", whole4[:len(whole4)-len(payload)], len(whole4), missing(want4(), len(payload)), truncated},
		{"cut within the TCP options", whole4[:42], len(whole4), missing(want4(), len(payload)), truncated},
		{"cut within the TCP header", whole4[:30], len(whole4), nil, truncated},
		{"cut within Ethernet padding", append(bytes.Clone(whole4), 0), len(whole4) + 6, []seen{want4()}, none},
		{"TCP data offset too small", patch(whole4, 32, 0x40), 0, nil, unreadable},
		{"TCP data offset too large", patch(tcp4(t, nil), 32, 0xf0), 0, nil, unreadable},
		{"TCP options malformed", patch(whole4, 40, 99, 0), 0, []seen{want4()}, none},
		{"TCP shorter than a header", patch(whole4, 2, 0, 39), 0, nil, unreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, nanoPcap(101, record{start, test.data, test.wire}), test.want, test.loss)
		})
	}
}

// TestFlags shows that the segment is decoded whole.
func TestFlags(t *testing.T) {
	ip := ipv4()
	segment := &layers.TCP{SrcPort: 1, DstPort: 2, Seq: 3, SYN: true, ECE: true, Window: 9, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}}}
	segment.SetNetworkLayerForChecksum(ip)
	r, err := Open(bytes.NewReader(nanoPcap(101, record{start, serialize(t, ip, segment), 0})), exchange.Loss{})
	if err != nil {
		t.Fatal(err)
	}
	var p Packet
	if err := r.Next(&p); err != nil {
		t.Fatal(err)
	}
	if got := &p.TCP; !got.SYN || !got.ECE || got.ACK || got.FIN || got.Window != 9 || len(got.Options) == 0 || got.Options[0].String() != segment.Options[0].String() {
		t.Errorf("got %+v", got)
	}
	if flow := p.TCP.TransportFlow().String(); flow != "1->2" {
		t.Errorf("transport flow %s", flow)
	}
}

func TestPcap(t *testing.T) {
	data := ether4(t, payload)
	micro, nano := start.Truncate(time.Microsecond), start
	for _, test := range []struct {
		name  string
		order binary.AppendByteOrder
		magic uint32
		unit  time.Duration
		at    time.Time
	}{
		{"microseconds, little-endian", binary.LittleEndian, magicMicroseconds, time.Microsecond, micro},
		{"microseconds, big-endian", binary.BigEndian, magicMicroseconds, time.Microsecond, micro},
		{"nanoseconds, little-endian", binary.LittleEndian, magicNanoseconds, time.Nanosecond, nano},
		{"nanoseconds, big-endian", binary.BigEndian, magicNanoseconds, time.Nanosecond, nano},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := want4()
			want.At = test.at
			second := want
			second.At = test.at.Add(time.Second)
			file := pcapFile(test.order, test.magic, test.unit, 1, record{test.at, data, 0}, record{second.At, data, 0})
			check(t, file, []seen{want, second}, exchange.Loss{})
		})
	}
}

func TestCompressed(t *testing.T) {
	data := ether4(t, payload)
	plain := nanoPcap(1, record{start, data, 0}, record{start, data, 0})
	var zipped bytes.Buffer
	for _, half := range [][]byte{plain[:50], plain[50:]} { // two members, as by cat
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(half); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zstandard := encoder.EncodeAll(plain, nil)
	skippable := join([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, []byte("abc"), zstandard)
	both := []seen{want4(), want4()}
	cutFile := exchange.Loss{exchange.FileTruncated: 1}
	for _, test := range []struct {
		name string
		file []byte
		want []seen
		loss exchange.Loss
	}{
		{"gzip", zipped.Bytes(), both, exchange.Loss{}},
		{"gzip, cut behind the last packet", zipped.Bytes()[:zipped.Len()-3], both, cutFile},
		{"zstd", zstandard, both, exchange.Loss{}},
		{"zstd behind a skippable frame", skippable, both, exchange.Loss{}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, test.file, test.want, test.loss) })
	}

	t.Run("gzip with a wrong checksum", func(t *testing.T) {
		broken := bytes.Clone(zipped.Bytes())
		broken[len(broken)-6] ^= 1
		r, err := Open(bytes.NewReader(broken), exchange.Loss{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = read(t, r)
		if err == nil || !strings.Contains(err.Error(), "gzip: ") || !strings.Contains(err.Error(), "byte ") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCutPcap(t *testing.T) {
	data := ether4(t, payload)
	file := nanoPcap(1, record{start, data, 0}, record{start, data, 0})
	first := 24 + 16 + len(data)
	for n := 24; n <= len(file); n++ {
		want, loss := 0, exchange.Loss{exchange.FileTruncated: 1}
		switch {
		case n == 24:
			loss = exchange.Loss{}
		case n == first:
			want, loss = 1, exchange.Loss{}
		case n == len(file):
			want, loss = 2, exchange.Loss{}
		case n > first:
			want = 1
		}
		got, gotLoss := readAll(t, file[:n])
		if len(got) != want || !cmp.Equal(loss, gotLoss) {
			t.Errorf("cut at %d: %d packets, loss %v; want %d, %v", n, len(got), gotLoss, want, loss)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, test := range []struct {
		name, file, message string
	}{
		{"nothing", "", "the file is empty"},
		{"two bytes", "ab", "ends before it tells its format"},
		{"a HAR", `{"log":{}}`, "neither a pcap nor a pcapng file"},
		{"a header that is cut", "\xd4\xc3\xb2\xa1\x02\x00", "ends within its header"},
		{"a pcapng header that is cut", "\x0a\x0d\x0d\x0a\x1c\x00\x00\x00", "ends within its header"},
		{"a pcapng of no byte order", "\x0a\x0d\x0d\x0a\x1c\x00\x00\x00abcdefghijklmnop", "unknown byte order"},
		{"a bad gzip header", "\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff", "gzip: "},
		{"an empty zstd frame", "\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00", "ends before it tells its format"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(strings.NewReader(test.file), exchange.Loss{})
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %v, want one that says %q", err, test.message)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	data := ether4(t, payload)
	file := nanoPcap(1, record{start, data, 0}, record{start, data, 0})
	second := 24 + 16 + len(data)
	corrupt := bytes.Clone(file)
	binary.LittleEndian.PutUint32(corrupt[second+8:], 1<<30)
	for _, test := range []struct {
		name    string
		r       io.Reader
		message string
	}{
		{"corrupt length", bytes.NewReader(corrupt), fmt.Sprintf("byte %d: a packet of 1073741824 bytes", second)},
		{"failing disk", io.MultiReader(bytes.NewReader(file[:second+5]), iotest.ErrReader(errors.New("disk on fire"))), fmt.Sprintf("byte %d: disk on fire", second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Open(test.r, exchange.Loss{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := read(t, r)
			if len(got) != 1 || err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("%d packets, error %v, want one that says %q", len(got), err, test.message)
			}
			if again := r.Next(new(Packet)); again != err {
				t.Errorf("the next error is %v", again)
			}
		})
	}
}

// TestForeignWriter reads what gopacket's writers make.
func TestForeignWriter(t *testing.T) {
	data := ether4(t, payload)
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: start, CaptureLength: len(data), Length: len(data)}, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	check(t, file.Bytes(), []seen{want4()}, exchange.Loss{})
}

func TestReadsWithoutAllocating(t *testing.T) {
	data := ether4(t, payload)
	records := make([]record, 2000)
	for i := range records {
		records[i] = record{start, data, 0}
	}
	for name, file := range map[string][]byte{"pcap": nanoPcap(1, records...), "pcapng": ngFile(binary.LittleEndian, records...)} {
		r, err := Open(bytes.NewReader(file), exchange.Loss{})
		if err != nil {
			t.Fatal(err)
		}
		var p Packet
		if n := testing.AllocsPerRun(1000, func() {
			if err := r.Next(&p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a packet", name, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	data := ether4(f, payload)
	v6 := join(header(f, ethernet(layers.EthernetTypeIPv6)), tcp6(f, payload))
	for _, link := range []uint32{1, 0, 101, 113, 276} {
		f.Add(nanoPcap(link, record{start, data, 0}, record{start, v6, 2000}))
	}
	f.Add(ngFile(binary.LittleEndian, record{start, data, 0}, record{start, v6, 0}))
	f.Add(ngFile(binary.BigEndian, record{start, data, 0}))
	f.Add(fragmentsFile(f))
	f.Add(secretsFile(binary.LittleEndian, data))
	f.Fuzz(func(t *testing.T, file []byte) {
		if bytes.HasPrefix(file, []byte{0x1f, 0x8b}) || bytes.HasPrefix(file, []byte{0x28, 0xb5}) {
			return // the parsers of others, whose output is not bounded by the input
		}
		r, err := Open(bytes.NewReader(file), exchange.Loss{})
		if err != nil {
			return
		}
		secrets := 0
		r.Secrets = func(keylog []byte) { secrets += len(keylog) }
		var p Packet
		packets := 0
		for err = r.Next(&p); err == nil; err = r.Next(&p) {
			packets++
			if p.Missing < 0 || p.Missing > maxPacket {
				t.Fatalf("%d bytes missing", p.Missing)
			}
			if held := r.decoder.fragments.held; held > maxFragmentMemory {
				t.Fatalf("%d bytes of fragments held", held)
			}
		}
		if packets > len(file) || secrets > len(file) {
			t.Fatalf("%d packets and %d bytes of secrets in %d bytes", packets, secrets, len(file))
		}
		if held := r.decoder.fragments.held; held != 0 || len(r.decoder.fragments.partials) != 0 {
			t.Fatalf("%d bytes of fragments held at the end", held)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"300 bytes", 300}, {"1400 bytes", 1400}} {
		data := ether4(b, make([]byte, bench.size))
		records := make([]record, 20000)
		for i := range records {
			records[i] = record{start, data, 0}
		}
		for name, file := range map[string][]byte{"pcap": nanoPcap(1, records...), "pcapng": ngFile(binary.LittleEndian, records...)} {
			b.Run(name+" "+bench.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(file) / len(records)))
				var r *Reader
				var p Packet
				for i := range b.N {
					if i%len(records) == 0 {
						var err error
						if r, err = Open(bytes.NewReader(file), exchange.Loss{}); err != nil {
							b.Fatal(err)
						}
					}
					if err := r.Next(&p); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
			})
		}
	}
}
