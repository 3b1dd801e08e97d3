package packet

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"
	"golang.org/x/net/bpf"
)

func TestFilter(t *testing.T) {
	plain4, plain6 := header(t, ethernet(layers.EthernetTypeIPv4)), header(t, ethernet(layers.EthernetTypeIPv6))
	whole4, whole6 := tcp4(t, payload), tcp6(t, payload) // from port 40000 to 8080
	options := join(whole4[:20], []byte{1, 1, 1, 0}, whole4[20:])
	options[0] = 0x46
	udp := join(whole4)
	udp[9] = 17
	udp6 := join(whole6)
	udp6[6] = 17
	other := func(b []byte, at int) []byte {
		b = join(b)
		binary.BigEndian.PutUint16(b[at:], 9999)
		return b
	}
	fragments := split4(whole4, 1, 24)
	single := header(t, ethernet(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv4))
	stacked := header(t, ethernet(layers.EthernetTypeQinQ), vlan(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv6))
	const snap = 100
	for _, test := range []struct {
		name             string
		frame            []byte
		ports, any, wide bool // what is kept: by ports 8080 and 9090, without ports, by 256 other ports
	}{
		{"IPv4 to port", join(plain4, whole4), true, true, false},
		{"IPv4 from port", join(plain4, other(other(whole4, 20), 22)), false, true, false},
		{"IPv4 from a wanted port", join(plain4, swapPorts(whole4, 20)), true, true, false},
		{"IPv4 with options", join(plain4, options), true, true, false},
		{"IPv4 other port", join(plain4, other(whole4, 22)), false, true, false},
		{"IPv4 UDP", join(plain4, udp), false, false, false},
		{"IPv4 first fragment", join(plain4, fragments[0]), true, true, false},
		{"IPv4 later fragment", join(plain4, fragments[1]), true, true, true},
		{"IPv6 to port", join(plain6, whole6), true, true, false},
		{"IPv6 from a wanted port", join(plain6, swapPorts(whole6, 40)), true, true, false},
		{"IPv6 other port", join(plain6, other(whole6, 42)), false, true, false},
		{"IPv6 UDP", join(plain6, udp6), false, false, false},
		{"IPv6 fragment", join(plain6, split6(whole6, 1, 24)[1]), true, true, true},
		{"VLAN", join(single, whole4), true, true, false},
		{"VLAN, other port", join(single, other(whole4, 22)), false, true, false},
		{"stacked VLAN", join(stacked, whole6), true, true, false},
		{"ARP", serialize(t, ethernet(layers.EthernetTypeARP)), false, false, false},
		{"runt", make([]byte, 5), false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			wide := make([]int, maxPorts)
			for i := range wide {
				wide[i] = i + 1
			}
			for _, c := range []struct {
				name  string
				ports []int
				want  bool
			}{{"two ports", []int{9090, 8080}, test.ports}, {"all ports", nil, test.any}, {"many ports", wide, test.wide}} {
				vm, err := bpf.NewVM(filter(c.ports, false, snap))
				if err != nil {
					t.Fatal(err)
				}
				n, err := vm.Run(test.frame)
				if err != nil {
					t.Fatal(err)
				}
				if want := map[bool]int{true: min(snap, len(test.frame)), false: 0}[c.want]; min(n, len(test.frame)) != want {
					t.Errorf("%s: kept %d bytes, want %d", c.name, n, want)
				}
			}
		})
	}
}

// swapPorts makes a packet that comes from where it went.
func swapPorts(packet []byte, at int) []byte {
	b := join(packet)
	copy(b[at:], packet[at+2:at+4])
	copy(b[at+2:], packet[at:at+2])
	return b
}

func TestFilterFitsTheKernel(t *testing.T) {
	raw, err := bpf.Assemble(filter(make([]int, maxPorts), true, maxPacket))
	if err != nil {
		t.Fatal(err)
	}
	const most = 4096 // BPF_MAXINSNS of linux/bpf_common.h
	if len(raw) > most {
		t.Errorf("%d instructions", len(raw))
	}
}
