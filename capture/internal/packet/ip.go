package packet

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// IP protocol numbers (https://www.iana.org/assignments/protocol-numbers), those of IPv6 extension headers among them.
const (
	protoHopByHop    = 0
	protoTCP         = 6
	protoRouting     = 43
	protoFragment    = 44
	protoAH          = 51
	protoDestination = 60
	protoMobility    = 135
	protoHIP         = 139
	protoShim6       = 140
)

// flow is the IP addresses, from and to.
type flow struct{ from, to netip.Addr }

// datagram is the TCP of an IP packet, or of several fragments.
type datagram struct {
	at time.Time
	flow
	payload []byte
	missing int // bytes behind payload that were not captured
}

// ipv4 reads an IPv4 packet (RFC 791, section 3.1); uncaptured bytes followed b on the wire.
func (d *decoder) ipv4(ip *datagram, b []byte, uncaptured int) verdict {
	if len(b) < 20 {
		return short
	}
	if b[9] != protoTCP {
		return foreign
	}
	header := int(b[0]&0xf) * 4
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length == 0 { // segmented by the network card after it was captured
		length = len(b) + uncaptured
	}
	if header < 20 || length < header || length > maxPacket {
		return malformed
	}
	if len(b) < header {
		return short
	}
	ip.flow = flow{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))}
	ip.payload = b[header:min(length, len(b))]
	ip.missing = max(0, length-len(b))
	flags := binary.BigEndian.Uint16(b[6:])
	if flags&0x3fff == 0 { // neither more fragments nor an offset
		return readable
	}
	f := fragment{id: uint32(binary.BigEndian.Uint16(b[4:])), next: protoTCP, offset: int(flags&0x1fff) * 8, more: flags&0x2000 != 0}
	v, _ := d.fragment(ip, f)
	return v
}

// ipv6 reads an IPv6 packet (RFC 8200, section 3); uncaptured bytes followed b on the wire.
func (d *decoder) ipv6(ip *datagram, b []byte, uncaptured int) verdict {
	const header = 40
	if len(b) < header {
		return short
	}
	length := header + int(binary.BigEndian.Uint16(b[4:]))
	if length == header { // a jumbogram (RFC 2675), or segmented by the network card after it was captured
		length = len(b) + uncaptured
	}
	if length > maxPacket {
		return malformed
	}
	ip.flow = flow{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))}
	ip.payload = b[header:min(length, len(b))]
	ip.missing = max(0, length-len(b))
	return d.extensions(ip, b[6], true)
}

// extensions goes through the headers in front of TCP (RFC 8200, section 4). Those of a datagram that was put together of
// fragments must not be fragments again.
func (d *decoder) extensions(ip *datagram, next byte, fragments bool) verdict {
	for {
		b := ip.payload
		var header int
		switch next {
		case protoTCP:
			return readable
		case protoFragment:
			if !fragments {
				return malformed
			}
			return d.fragment6(ip)
		case protoHopByHop, protoRouting, protoDestination, protoMobility, protoHIP, protoShim6, protoAH:
			if len(b) < 8 {
				return short
			}
			header = 8 + int(b[1])*8
			if next == protoAH { // RFC 4302, section 2.2: 32 bit words, less 2
				header = 8 + int(b[1])*4
			}
		default:
			return foreign
		}
		if len(b) < header {
			return short
		}
		next, ip.payload = b[0], b[header:]
	}
}

// fragment6 reads a fragment header (RFC 8200, section 4.5) and what follows it.
func (d *decoder) fragment6(ip *datagram) verdict {
	b := ip.payload
	if len(b) < 8 {
		return short
	}
	position := binary.BigEndian.Uint16(b[2:])
	f := fragment{id: binary.BigEndian.Uint32(b[4:]), next: b[0], offset: int(position &^ 7), more: position&1 != 0}
	if !carriesTCP(f.next) {
		return foreign
	}
	ip.payload = b[8:]
	if f.offset == 0 && !f.more { // alone (RFC 6946)
		return d.extensions(ip, f.next, false)
	}
	v, next := d.fragment(ip, f)
	if v != readable {
		return v
	}
	return d.extensions(ip, next, false)
}

// carriesTCP tells whether TCP may stand behind a header that names the next one.
func carriesTCP(next byte) bool {
	switch next {
	case protoTCP, protoHopByHop, protoRouting, protoDestination, protoMobility, protoHIP, protoShim6, protoAH:
		return true
	}
	return false
}

// fragment keeps a fragment. It is readable if it completed its datagram, which then stands in ip, and the protocol of what is in
// it is told.
func (d *decoder) fragment(ip *datagram, f fragment) (verdict, byte) {
	if ip.missing > 0 {
		return cut, 0
	}
	f.flow, f.data = ip.flow, ip.payload
	payload, next, v := d.fragments.add(&f, ip.at)
	ip.payload = payload
	return v, next
}
