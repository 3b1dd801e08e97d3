package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// blocks writes pcapng in a byte order.
type blocks struct{ order binary.AppendByteOrder }

func (w blocks) block(kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(slices.Clip(body), 0)
	}
	length := uint32(len(body) + 12)
	b := w.order.AppendUint32(w.order.AppendUint32(nil, kind), length)
	return w.order.AppendUint32(append(b, body...), length)
}

func (w blocks) section() []byte {
	b := w.order.AppendUint32(nil, byteOrderMagic)
	b = w.order.AppendUint16(w.order.AppendUint16(b, 1), 0)
	return w.block(blockSection, w.order.AppendUint64(b, 1<<64-1))
}

func (w blocks) option(kind uint16, value []byte) []byte {
	b := w.order.AppendUint16(w.order.AppendUint16(nil, kind), uint16(len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func (w blocks) number(kind uint16, value uint64) []byte {
	return w.option(kind, w.order.AppendUint64(nil, value))
}

func (w blocks) iface(link uint16, snap uint32, options ...[]byte) []byte {
	b := w.order.AppendUint32(w.order.AppendUint16(w.order.AppendUint16(nil, link), 0), snap)
	return w.block(blockInterface, append(b, join(options...)...))
}

func (w blocks) stamped(stamp uint64, data []byte, options ...[]byte) []byte {
	b := w.order.AppendUint32(w.order.AppendUint32(nil, uint32(stamp>>32)), uint32(stamp))
	b = w.order.AppendUint32(w.order.AppendUint32(b, uint32(len(data))), uint32(len(data)))
	b = append(append(b, data...), make([]byte, -len(data)&3)...)
	return append(b, join(options...)...)
}

func (w blocks) enhanced(number uint32, stamp uint64, data []byte, options ...[]byte) []byte {
	return w.block(blockEnhanced, append(w.order.AppendUint32(nil, number), w.stamped(stamp, data, options...)...))
}

func (w blocks) obsolete(number, drops uint16, stamp uint64, data []byte) []byte {
	return w.block(blockPacket, append(w.order.AppendUint16(w.order.AppendUint16(nil, number), drops), w.stamped(stamp, data)...))
}

func (w blocks) simple(length int, data []byte) []byte {
	return w.block(blockSimple, append(w.order.AppendUint32(nil, uint32(length)), data...))
}

func (w blocks) secrets(kind uint32, text string) []byte {
	b := w.order.AppendUint32(w.order.AppendUint32(nil, kind), uint32(len(text)))
	return w.block(blockSecrets, append(b, text...))
}

func (w blocks) statistics(number uint32, options ...[]byte) []byte {
	return w.block(blockStatistics, append(w.order.AppendUint32(nil, number), append(make([]byte, 8), join(options...)...)...))
}

func ngFile(order binary.AppendByteOrder, records ...record) []byte {
	w := blocks{order}
	file := join(w.section(), w.iface(1, 0, w.option(optionResolution, []byte{9})))
	for _, r := range records {
		file = append(file, w.enhanced(0, uint64(r.at.UnixNano()), r.data)...)
	}
	return file
}

func secretsFile(order binary.AppendByteOrder, data []byte) []byte {
	w := blocks{order}
	return join(w.section(), w.iface(1, 0), w.secrets(tlsKeyLog, "CLIENT_RANDOM 1 1\n"), w.enhanced(0, 1, data),
		w.secrets(0x57474b4c, "wireguard"), w.secrets(tlsKeyLog, "CLIENT_RANDOM 2 2\n"), w.enhanced(0, 2, data))
}

func TestPcapng(t *testing.T) {
	ether, raw := ether4(t, payload), tcp6(t, payload)
	micro := uint64(start.UnixMicro())
	at := func(s seen, when time.Time) seen {
		s.At = when
		return s
	}
	short := want4()
	short.Payload, short.Missing = string(payload[:10]), len(payload)-10
	for name, order := range map[string]binary.AppendByteOrder{"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian} {
		w := blocks{order}
		other := blocks{binary.BigEndian}
		if name == "big-endian" {
			other.order = binary.LittleEndian
		}
		for _, test := range []struct {
			name string
			file []byte
			want []seen
			loss exchange.Loss
		}{
			{"microseconds by default", join(w.section(), w.iface(1, 0), w.enhanced(0, micro, ether)),
				[]seen{at(want4(), start.Truncate(time.Microsecond))}, exchange.Loss{}},
			{"interfaces of different link types and resolutions", join(w.section(),
				w.iface(1, 0, w.option(optionResolution, []byte{9}), w.option(optionEnd, nil)),
				w.iface(101, 0, w.option(2, []byte("eth1")), w.option(optionResolution, []byte{3})),
				w.enhanced(1, uint64(start.UnixMilli()), raw), w.enhanced(0, uint64(start.UnixNano()), ether)),
				[]seen{at(want6(), start.Truncate(time.Millisecond)), want4()}, exchange.Loss{}},
			{"resolution of a power of two", join(w.section(), w.iface(1, 0, w.option(optionResolution, []byte{0x80 | 10})),
				w.enhanced(0, 5<<10|256, ether)), []seen{at(want4(), time.Unix(5, 250e6).UTC())}, exchange.Loss{}},
			{"resolution of 2^-63", join(w.section(), w.iface(1, 0, w.option(optionResolution, []byte{0x80 | 63})),
				w.enhanced(0, 3<<62, ether)), []seen{at(want4(), time.Unix(1, 500e6).UTC())}, exchange.Loss{}},
			{"picoseconds", join(w.section(), w.iface(1, 0, w.option(optionResolution, []byte{12})),
				w.enhanced(0, 2_000_000_123_999, ether)), []seen{at(want4(), time.Unix(2, 123).UTC())}, exchange.Loss{}},
			{"time offset", join(w.section(), w.iface(1, 0, w.number(optionOffset, 1000)), w.enhanced(0, 7e6, ether)),
				[]seen{at(want4(), time.Unix(1007, 0).UTC())}, exchange.Loss{}},
			{"sections of both byte orders", join(w.section(), w.iface(1, 0), w.enhanced(0, 1e6, ether), other.section(),
				other.iface(101, 0), other.enhanced(0, 2e6, raw)),
				[]seen{at(want4(), time.Unix(1, 0).UTC()), at(want6(), time.Unix(2, 0).UTC())}, exchange.Loss{}},
			{"unknown blocks", join(w.section(), w.block(0x0bad, make([]byte, 3*maxBlock)), w.iface(1, 0), w.block(4, nil), w.enhanced(0, 1e6, ether)),
				[]seen{at(want4(), time.Unix(1, 0).UTC())}, exchange.Loss{}},
			{"obsolete packet block", join(w.section(), w.iface(1, 0), w.obsolete(0, 3, 1e6, ether), w.obsolete(0, 0xffff, 2e6, ether)),
				[]seen{at(want4(), time.Unix(1, 0).UTC()), at(want4(), time.Unix(2, 0).UTC())}, exchange.Loss{exchange.PacketsDropped: 3}},
			{"simple packet block", join(w.section(), w.iface(1, 0), w.simple(len(ether), ether), w.enhanced(0, 1e6, ether), w.simple(len(ether), ether)),
				[]seen{at(want4(), time.Unix(0, 0).UTC()), at(want4(), time.Unix(1, 0).UTC()), at(want4(), time.Unix(1, 0).UTC())}, exchange.Loss{}},
			{"simple packet block, cut", join(w.section(), w.iface(1, uint32(len(ether)-len(payload)+10)), w.simple(len(ether), ether[:len(ether)-len(payload)+10])),
				[]seen{at(short, time.Unix(0, 0).UTC())}, exchange.Loss{exchange.PacketsTruncated: 1}},
			{"drops told by packets and again by statistics", join(w.section(), w.iface(1, 0), w.enhanced(0, 1e6, ether, w.number(optionDropCount, 4)),
				w.statistics(0, w.number(4, 900), w.number(optionIfDrop, 5)), w.statistics(0, w.number(optionIfDrop, 6), w.number(optionOSDrop, 1))),
				[]seen{at(want4(), time.Unix(1, 0).UTC())}, exchange.Loss{exchange.PacketsDropped: 7}},
		} {
			t.Run(test.name+", "+name, func(t *testing.T) { check(t, test.file, test.want, test.loss) })
		}
	}
}

// TestSecrets shows that keys come before the packets that follow them.
func TestSecrets(t *testing.T) {
	r, err := Open(bytes.NewReader(secretsFile(binary.BigEndian, ether4(t, payload))), exchange.Loss{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	r.Secrets = func(keylog []byte) { got = append(got, string(keylog)) }
	var p Packet
	for err = r.Next(&p); err == nil; err = r.Next(&p) {
		got = append(got, "packet")
	}
	want := []string{"CLIENT_RANDOM 1 1\n", "packet", "CLIENT_RANDOM 2 2\n", "packet"}
	if d := cmp.Diff(want, got); !errors.Is(err, io.EOF) || d != "" {
		t.Errorf("error %v, got (-want +got):\n%s", err, d)
	}
}

func TestCutPcapng(t *testing.T) {
	file := secretsFile(binary.LittleEndian, ether4(t, payload))
	ends := []int{28}
	for at := 28; at < len(file); {
		at += int(binary.LittleEndian.Uint32(file[at+4:]))
		ends = append(ends, at)
	}
	for n := 28; n <= len(file); n++ {
		loss := exchange.Loss{exchange.FileTruncated: 1}
		if slices.Contains(ends, n) {
			loss = exchange.Loss{}
		}
		if _, got := readAll(t, file[:n]); !cmp.Equal(loss, got) {
			t.Errorf("cut at %d: loss %v, want %v", n, got, loss)
		}
	}
}

func TestCorruptPcapng(t *testing.T) {
	w := blocks{binary.LittleEndian}
	data := ether4(t, payload)
	head := join(w.section(), w.iface(1, 0))
	length := func(block []byte, n uint32) []byte {
		binary.LittleEndian.PutUint32(block[4:], n)
		return block
	}
	word := func(block []byte, at int, n uint32) []byte {
		binary.LittleEndian.PutUint32(block[at:], n)
		return block
	}
	second := w.section()
	copy(second[8:], "abcd")
	version := w.section()
	version[12] = 2
	for _, test := range []struct {
		name    string
		block   []byte
		message string
	}{
		{"a block shorter than its frame", length(w.enhanced(0, 1, data), 8), "a block of 8 bytes"},
		{"a block of odd length", length(w.enhanced(0, 1, data), 13), "a block of 13 bytes"},
		{"a packet block that is too long", length(w.enhanced(0, 1, data), 1<<30), "a block of 1073741824 bytes"},
		{"lengths that differ", append(length(w.enhanced(0, 1, data), 60), make([]byte, 40)...), "a block of 60 bytes that ends as one of"},
		{"lengths of an unknown block that differ", append(length(w.block(99, make([]byte, 40)), 20), make([]byte, 40)...), "a block of 20 bytes that ends as one of"},
		{"an unknown interface", w.enhanced(1, 1, data), "interface 1, of which nothing was said"},
		{"statistics of an unknown interface", w.statistics(9), "interface 9, of which nothing was said"},
		{"statistics that are too short", w.block(blockStatistics, nil), "a statistics block of 0 bytes"},
		{"a packet longer than its block", word(w.enhanced(0, 1, data), 20, 1<<31), "a packet of 2147483648 bytes in a block"},
		{"a simple packet longer than its block", w.simple(1<<31, data), "a packet of 2147483648 bytes in a block"},
		{"a packet block that is too short", w.block(blockEnhanced, make([]byte, 16)), "a packet block of 16 bytes"},
		{"an obsolete packet block that is too short", w.block(blockPacket, make([]byte, 16)), "a packet block of 16 bytes"},
		{"an interface that is too short", w.block(blockInterface, make([]byte, 4)), "an interface description of 4 bytes"},
		{"a resolution beyond 64 bits", w.iface(1, 0, w.option(optionResolution, []byte{20})), "the resolution 0x14"},
		{"a binary resolution beyond 64 bits", w.iface(1, 0, w.option(optionResolution, []byte{0x80 | 64})), "the resolution 0xc0"},
		{"a secrets block that is too short", w.block(blockSecrets, nil), "a secrets block of 12 bytes"},
		{"secrets longer than their block", word(w.secrets(tlsKeyLog, "x"), 12, 1000), "secrets of 1000 bytes in a block of 24"},
		{"secrets that are too long", word(length(w.secrets(tlsKeyLog, "x"), 1<<30), 12, 1<<29), "a key log of 536870912 bytes"},
		{"a section of unknown byte order", second, "unknown byte order"},
		{"a section of version 2", version, "a pcapng section of version 2"},
		{"a section header that is too short", length(w.section(), 12), "a section header of 12 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Open(bytes.NewReader(join(head, test.block)), exchange.Loss{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = read(t, r)
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Fatalf("error %v, want one that says %q", err, test.message)
			}
			var at int
			if _, scan := fmt.Sscanf(err.Error(), "byte %d:", &at); scan != nil || at < len(head) {
				t.Errorf("error %q does not name a byte from %d on", err, len(head))
			}
		})
	}
}
