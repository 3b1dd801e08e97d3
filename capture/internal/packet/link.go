package packet

import (
	"encoding/binary"
	"math/bits"
)

// Link types (https://www.tcpdump.org/linktypes.html).
const (
	linkNull      = 0   // an address family in the byte order of the host that captured
	linkEthernet  = 1   // IEEE 802.3
	linkRaw12     = 12  // IP as it is, by the numbers of various systems
	linkRaw14     = 14  // OpenBSD's
	linkRaw       = 101 // IP as it is
	linkLoop      = 108 // as linkNull, in network byte order
	linkCooked    = 113 // LINUX_SLL
	linkIPv4      = 228
	linkIPv6      = 229
	linkCookedTwo = 276 // LINUX_SLL2
)

// Lengths of link layer headers.
const (
	familyHeader    = 4
	ethernetHeader  = 14
	vlanTag         = 4
	cookedHeader    = 16
	cookedTwoHeader = 20
)

// EtherTypes (https://www.iana.org/assignments/ieee-802-numbers).
const (
	etherIPv4      = 0x0800
	etherVLAN      = 0x8100 // IEEE 802.1Q
	etherIPv6      = 0x86dd
	etherMPLS      = 0x8847
	etherMPLSMulti = 0x8848
	etherPPPoE     = 0x8864
	etherQinQ      = 0x88a8 // IEEE 802.1ad
	etherQinQOld   = 0x9100
)

// network takes the link layer off. Where it is readable, b is not empty and holds an IP packet, or should.
func network(link int, b []byte) ([]byte, verdict) {
	switch link {
	case linkEthernet:
		return ether(b, 12, ethernetHeader)
	case linkCooked:
		return ether(b, 14, cookedHeader)
	case linkCookedTwo:
		return ether(b, 0, cookedTwoHeader)
	case linkNull, linkLoop:
		return family(b)
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		return behind(b, 0)
	}
	return nil, malformed
}

// ether reads a header of the given length that has an EtherType at an offset, and the VLAN tags behind it.
func ether(b []byte, offset, header int) ([]byte, verdict) {
	for {
		if len(b) < header {
			return nil, short
		}
		switch binary.BigEndian.Uint16(b[offset:]) {
		case etherIPv4, etherIPv6:
			return behind(b, header)
		case etherVLAN, etherQinQ, etherQinQOld:
			b, offset, header = b[header:], 2, vlanTag
		case etherMPLS, etherMPLSMulti, etherPPPoE:
			return nil, malformed // they may carry TCP, and are not read
		default:
			return nil, foreign
		}
	}
}

// family reads a BSD loopback header: an address family, in either byte order, as the header does not tell which.
func family(b []byte) ([]byte, verdict) {
	if len(b) < familyHeader {
		return nil, short
	}
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = bits.ReverseBytes32(family)
	}
	switch family {
	case 2, 10, 24, 28, 30: // AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS
		return behind(b, familyHeader)
	}
	return nil, foreign
}

func behind(b []byte, header int) ([]byte, verdict) {
	if len(b) <= header {
		return nil, short
	}
	return b[header:], readable
}
